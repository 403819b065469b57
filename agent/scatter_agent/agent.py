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
import threading
import time
from typing import Any

from scatter import bases
from scatter.config import Settings
from scatter.errors import ScatterError, StoreRefused, StoreUnavailable, Untrusted
from scatter.log import Journal
from scatter.model import Release
from scatter.registry import Registry
from scatter.slot import Slot
from scatter.store import open_store
from scatter.store.port import Doorbell, Ring, Store
from scatter_agent import lifecycle
from scatter_agent.follower import Follower
from scatter_agent.health import AgentStatus, State
from scatter_agent.report import Reporter
from scatter_agent.tell import begin, tell

LOOK_S = 5.0
"""Seconds between two looks at the log without a ring; ±20 %, so that a fleet spreads out."""
POLL_S = 0.5
"""The same where the server sends no notifications."""
IMPORT_S = 0.02
"""The same while modules with tracked functions are being imported."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.05, 5.0


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
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
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
        self._told: tuple[State, str] = (self._state, "")
        self._contact_at = 0.0
        begin()
        self._reporter = Reporter(self._application, secrets.token_hex(4))

    # life --------------------------------------------------------------------------------

    def start(self, delay_s: float = 0.0) -> None:
        """Start the thread, which waits `delay_s` first. Never waits for the store."""
        if self._pid != os.getpid():
            self.in_child()  # a fork that ran no hooks, as those of uWSGI
        if self.stopped:
            self._reset(self._follower.floor)
        if self._thread is None or not self._thread.is_alive():
            lifecycle.look_after(self)
            self.registry.off_track(self._tracked)
            self.registry.on_track(self._tracked)
            self._thread = threading.Thread(
                target=self._run, args=(self._stop, delay_s), name="scatter-agent", daemon=True
            )
            self._thread.start()

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
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the log was read and followed for the first time; return whether it was."""
        return self._ready.wait(timeout_s)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def in_child(self) -> None:
        """Begin anew in a forked child; see `lifecycle`."""
        was_started, was_stopped = self._thread is not None, self._stop.is_set()
        link = getattr(self._store, "link", None)
        if link is not None:
            link.abandon()
        self._reset(self._follower.floor)
        if was_stopped:
            self._stop.set()
            self._state, self._reason = "stopped", "it was stopped"
        elif was_started:
            self.start(lifecycle.CHILD_DELAY_S)

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
            switches=follower.switches,
            contact_at=self._contact_at,
            functions={name: slot.version for name, slot in slots.items()},
            held=tuple(name for name, slot in slots.items() if slot.held),
            refused=follower.refusals(),
            doorbell=self._doorbell,
            unreported=self._unreported,
        )

    def _be(self, state: State, reason: str = "", code: str = "") -> None:
        """Take on a state; a change of it is an event.

        One that comes and goes is not told each time. But a log must not end with a state that is
        over: that trouble is over is told at once, and trouble that lasts is told when it may be.
        """
        is_new = (state, reason) != (self._state, self._reason)
        if is_new:
            self._state, self._reason, self._code, self._since = state, reason, code, time.time()
        elif self._told == (state, reason):
            return
        is_good = state in ("ready", "stopped")
        fields: dict[str, Any] = {"code": code} if code else {}
        if tell(
            "info" if is_good else "warning",
            f"scatter.{state}",
            always=is_good and state != self._told[0],
            owed=not is_new,
            reason=reason,
            namespace=self.settings.namespace,
            **fields,
        ):
            self._told = state, reason

    def _tracked(self, slot: Slot) -> None:
        """Note that a function was tracked or defined anew; give it its version at once."""
        journal, bell = self._journal, self._bell
        if slot.redefined and journal is not None:
            self._follower.redefined(slot, journal.ledger.sequence)
        if bell is not None:
            bell.wake()

    # the thread --------------------------------------------------------------------------

    def _run(self, stop: threading.Event, delay_s: float) -> None:
        if delay_s and stop.wait(delay_s):
            return
        bases.remember_project()
        while not stop.is_set():
            try:
                self._follow(stop)
            except StoreUnavailable as error:
                self._be("stale", str(error))
            except ScatterError as error:
                self._be("error", str(error), getattr(error, "reason", ""))
            except Exception as error:
                self._be("error", f"{type(error).__name__}: {error}", "internal")
                tell("exception", "scatter.fault")
            if not stop.is_set():
                self._pause(stop)
        self._leave()

    def _pause(self, stop: threading.Event) -> None:
        """Wait before the next try: longer each time, and not as long as the others do."""
        stop.wait(self._backoff_s * random.uniform(0.5, 1.0))
        self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)

    def _follow(self, stop: threading.Event) -> None:
        """Connect, catch up, and follow until the connection is lost or the agent is stopped."""
        with lifecycle.WORKING:  # with all that is imported on the way
            lifecycle.load()
            store, journal, bell = self._open()
            bell.listen()
            self._heed(bell)
            self._turn(store, journal, Ring())
        while not stop.is_set():
            self._backoff_s = FIRST_BACKOFF_S
            self._turn(store, journal, bell.wait(self._next_look_s(bell)))

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
        self._contact_at = time.time()
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
