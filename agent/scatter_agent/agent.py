"""The agent: one thread that keeps this process's functions on the log.

Each wake-up, whatever woke it, leads to the same step: read the log after the last sequence, plan,
prepare, switch, report. Between steps it waits at the doorbell, and looks every few seconds
anyway: a lost ring costs time, never an update.

Not here: the step itself (`follower`), forks and the exit (`lifecycle`).

Invariants
1. Nothing here reaches a caller of a tracked function, and no call waits for anything here.
2. Whatever fails, the running code goes on running, the status says what is the matter, and the
   agent goes on trying.
3. One thread, one connection, used by that thread alone.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable

from scatter import bases, native
from scatter.config import Settings
from scatter.errors import ScatterError, StoreRefused, StoreUnavailable, Untrusted
from scatter.log import Journal
from scatter.model import Release
from scatter.registry import Registry
from scatter.slot import Slot
from scatter.store import open_store
from scatter.store.port import Doorbell, Ring, Store
from scatter_agent import hosts, lifecycle
from scatter_agent.follower import Follower
from scatter_agent.health import AgentStatus, State
from scatter_agent.report import Reporter
from scatter_agent.tell import tell

LOOK_S = 5.0
"""Seconds between two looks at the log without a ring; ±20 %, so that a fleet spreads out."""
POLL_S = 0.5
"""The same where the server sends no notifications."""
IMPORT_S = 0.02
"""The same while modules with tracked functions are being imported."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.05, 5.0
BOOT_S = 0.002
"""Seconds between two looks whether a server has made this process a worker."""
YOUNG_S, YOUNG_LOOK_S = 3.0, 0.5
"""So long a process is young: it may turn out to be a server's master, so it looks more often."""


class Agent:
    """Follows one namespace for this process."""

    def __init__(
        self,
        settings: Settings,
        *,
        registry: Registry,
        application: str = "",
        store: Store | None = None,
        look_s: float = LOOK_S,
    ) -> None:
        """Prepare; `start` starts the thread.

        Args:
            settings: Where the log is.
            registry: The functions of this process.
            application: How people know this process; default: its program's name.
            store: Used in place of the settings' address.
            look_s: Seconds between two looks without a ring.

        """
        self.settings = settings
        self.registry = registry
        self._application = application
        self._given_store = store
        self._look_s = look_s
        self._reset({})

    def __repr__(self) -> str:
        return f"<Agent of {self.settings!r}, {self._state}>"

    def _reset(self, floor: dict[str, int]) -> None:
        """Begin a life: at construction, after a stop, and in a forked child.

        What was defined anew in this process, and when, stays known: it is no part of a life.
        """
        self._pid = os.getpid()
        self._stop = native.Flag()
        self._ready = native.Flag()
        self._wanted = False
        self._workers_wait_s = 0.0
        self._has_booted: Callable[[], bool] = lambda: True
        self._thread: native.Thread | None = None
        self._ident = 0
        self._grown_at = time.monotonic() + YOUNG_S
        self._store: Store | None = None
        self._bell: Doorbell | None = None
        self._journal: Journal | None = None
        self._follower = Follower(self.registry, lifecycle.WORKING)
        self._follower.floor = floor
        self._doorbell = ""
        self._unreported = ""
        self._backoff_s = FIRST_BACKOFF_S
        self._state: State = "starting"
        self._code = self._reason = ""
        self._since = time.time()
        self._reporter = Reporter(self._application, secrets.token_hex(4))

    # life --------------------------------------------------------------------------------

    def start(self, delay_s: float = 0.0) -> None:
        """Start the thread, which waits `delay_s` first. Never waits for the store.

        In a process that only starts those that serve (`hosts`), its forks start theirs instead.
        """
        if self._pid != os.getpid():
            self.in_child()  # a fork that ran no hooks, as those of uWSGI
        if self.stopped:
            self._reset(self._follower.floor)
        self._wanted = True
        lifecycle.look_after(self)
        if (self._thread is not None and self._thread.is_alive()) or self._rests():
            return
        self.registry.off_track(self._tracked)
        self.registry.on_track(self._tracked)
        self._thread = native.start_thread(self._run, self._stop, delay_s, name="scatter-agent")

    def _rests(self) -> bool:
        """Return whether this process needs no agent or can have none, and say so."""
        trouble, master = hosts.trouble(), hosts.master()
        if trouble:
            self._be("error", trouble)
        elif master:
            self._be("stopped", f"{master} calls no function; each process that it starts follows")
            if hosts.forks_from(master):
                lifecycle.load_all()
        return bool(trouble or master)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread; what runs stays as it is. Idempotent."""
        self._end(timeout_s)
        self._be("stopped", "it was stopped")

    def at_exit(self) -> None:
        """Stop as the interpreter ends, without a word: loggers and their streams may be gone."""
        self._end(lifecycle.EXIT_WAIT_S)

    def _end(self, timeout_s: float) -> None:
        self._stop.set()
        self.registry.off_track(self._tracked)
        if self._bell is not None:
            self._bell.wake()
        if self._thread is not None and self._ident != native.ident():
            self._thread.join(timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the log was read and followed for the first time; return whether it was.

        In a master that rests it is the workers that wait so long, before they serve.
        """
        if self._is_resting:
            self._workers_wait_s = timeout_s
        return self._ready.wait(0 if self._thread is None or self._is_resting else timeout_s)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    @property
    def _is_resting(self) -> bool:
        return self._state == "stopped"

    def in_child(self) -> None:
        """Begin anew in a forked child; see `lifecycle`."""
        was_wanted, was_stopped = self._wanted, self._stop.is_set()
        # What the master of a server forks is a worker, and no program about to be replaced.
        delay_s = 0.0 if self._is_resting else lifecycle.CHILD_DELAY_S
        wait_s = self._workers_wait_s
        link = getattr(self._store, "link", None)
        if link is not None:
            link.abandon()
        self._reset(self._follower.floor)
        if was_stopped:
            self._stop.set()
            self._state, self._reason = "stopped", "it was stopped"
        elif was_wanted:
            self._has_booted = hosts.has_booted()
            self.start(delay_s)
            self.wait(wait_s if self._has_booted() else 0)  # it may not hold up its own start

    def in_worker(self) -> None:
        """Begin in a process that a server made a worker of, unless that was done."""
        if self._wanted and not self.stopped:
            self.start()

    def status(self) -> AgentStatus:
        """Return what this agent says of itself."""
        slots, follower = self.registry.slots(), self._follower
        return AgentStatus(
            state=self._state,
            since=self._since,
            code=self._code,
            reason=self._reason,
            process=self._reporter.process,
            sequence=follower.sequence,
            switched_at=follower.switched_at,
            functions={name: slot.version for name, slot in slots.items()},
            held=tuple(name for name, slot in slots.items() if slot.held),
            refused=follower.refusals(),
            doorbell=self._doorbell,
            unreported=self._unreported,
        )

    def _be(self, state: State, reason: str = "", code: str = "") -> None:
        """Take on a state; a change of it is an event."""
        if (state, reason) == (self._state, self._reason):
            return
        self._state, self._reason, self._code, self._since = state, reason, code, time.time()
        level = "info" if state in ("ready", "stopped") else "warning"
        fields = {"code": code} if code else {}
        tell(
            level,
            f"scatter.{state}",
            reason=reason,
            namespace=self.settings.namespace,
            **fields,
        )

    def _tracked(self, slot: Slot) -> None:
        """Note that a function was tracked or defined anew; give it its version at once."""
        journal, bell = self._journal, self._bell
        if slot.redefined and journal is not None:
            self._follower.redefined(slot, journal.ledger.sequence)
        if bell is not None:
            bell.wake()

    # the thread --------------------------------------------------------------------------

    def _run(self, stop: native.Flag, delay_s: float) -> None:
        self._ident = native.ident()
        if delay_s and stop.wait(delay_s):
            return
        while not self._has_booted() and not stop.wait(BOOT_S):
            pass
        bases.remember_project()
        while not stop.is_set() and not self._rests():
            try:
                self._follow(stop)
            except StoreUnavailable as error:
                self._be("stale", str(error))
            except ScatterError as error:
                self._be("error", str(error), getattr(error, "reason", ""))
            except Exception as error:
                self._be("error", f"{type(error).__name__}: {error}", "internal")
                tell("exception", "scatter.fault")
            else:
                continue  # stopped, or to rest
            self._pause(stop)
        self._leave()

    def _pause(self, stop: native.Flag) -> None:
        """Wait before the next try: longer each time, and not as long as the others do."""
        stop.wait(self._backoff_s * random.uniform(0.5, 1.0))
        self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)

    def _follow(self, stop: native.Flag) -> None:
        """Connect, catch up, and follow until the agent is stopped, or this turns out a master."""
        with lifecycle.WORKING:  # with all that is imported on the way
            lifecycle.load()
            store, journal, bell = self._open()
            bell.listen()
            self._heed(bell)
            self._turn(store, journal, Ring())
        while not stop.is_set():
            self._backoff_s = FIRST_BACKOFF_S
            ring = bell.wait(self._next_look_s(bell))
            if not ring and hosts.master():
                return
            self._turn(store, journal, ring)

    def _open(self) -> tuple[Store, Journal, Doorbell]:
        """Return the store, its journal and its doorbell, made when they are first needed."""
        if self._store is None:
            store = self._given_store or open_store(
                self.settings.redis_url, self.settings.namespace, **_named(self.settings)
            )
            self._store, self._journal, self._bell = store, Journal(store), store.doorbell()
        assert self._journal is not None
        assert self._bell is not None
        self._reporter.forget()
        return self._store, self._journal, self._bell

    def _heed(self, bell: Doorbell) -> None:
        """Note whether the doorbell works, and say so when it does not."""
        before = self._doorbell
        self._doorbell = "notifications" if bell.works else f"polling: {bell.trouble}"
        if not bell.works and self._doorbell != before:
            tell("warning", "scatter.polling", reason=bell.trouble, every_s=POLL_S)

    def _next_look_s(self, bell: Doorbell) -> float:
        """Return how long to wait at the doorbell."""
        if self._follower.was_overtaken:
            return 0.0
        if self._follower.waits_for_import:
            return IMPORT_S
        every_s = self._look_s if bell.works else min(POLL_S, self._look_s)
        if time.monotonic() < self._grown_at:
            every_s = min(every_s, YOUNG_LOOK_S)
        look_s = every_s * random.uniform(0.8, 1.2)
        retry_at = self._follower.next_retry()
        return look_s if retry_at is None else max(0.0, min(look_s, retry_at - time.monotonic()))

    def _turn(self, store: Store, journal: Journal, ring: Ring) -> None:
        """Read the log, bring the process to its tip, and report."""
        releases: list[Release] = []
        state: tuple[State, str, str] = ("ready", "", "")
        try:
            releases = journal.catch_up(rung=ring.log)
        except (Untrusted, StoreRefused) as error:
            state = "error", str(error), getattr(error, "reason", "")
        self._follower.step(journal, releases)
        self._be(*state)
        self._report(store)
        if self._state == "ready":
            self._ready.set()

    def _report(self, store: Store) -> None:
        """Tell the store what runs here; a process that may not goes on all the same."""
        try:
            self._reporter.tell(store, self.status())
            self._unreported = ""
        except StoreRefused as error:
            if not self._unreported:
                tell("warning", "scatter.unreported", reason=str(error))
            self._unreported = str(error)

    def _leave(self) -> None:
        """Take this process's report away and close the connection, if that can be done now."""
        if self._store is None:
            return
        try:
            if self._state != "stale":
                self._store.remove_report(self._reporter.process)
        except ScatterError:
            pass  # the report expires by itself
        finally:
            self._store.close()


def _named(settings: Settings) -> dict[str, str]:
    """Return what makes the connection known as an agent's, where the store has connections."""
    memory = settings.redis_url.startswith("memory:")
    return {} if memory else {"name": f"scatter-agent-{os.getpid()}"}
