"""The agent: one thread that keeps this process's functions on the log.

Each wake-up, whatever woke it, leads to the same step: read the log after the last sequence, plan,
prepare, switch, report. Between steps it waits at the doorbell, and looks every few seconds
anyway: a lost ring costs time, never an update.

Not here: the step itself (`follower`), waiting (`listen`), deploys (`deployed`), forks and the exit
(`lifecycle`).

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
from collections.abc import Callable, Mapping
from typing import Any

from scatter import bases, native
from scatter.config import Settings
from scatter.errors import ScatterError, StoreRefused, StoreUnavailable, Untrusted, UsageError
from scatter.log import Journal, open_journal
from scatter.log.opening import open_verifier
from scatter.model import Release
from scatter.names import resolve as resolve_name
from scatter.registry import Registry
from scatter.slot import Slot
from scatter.store import open_store
from scatter.store.port import Doorbell, Ring, Store
from scatter.trust import Verifier
from scatter_agent import hosts, lifecycle
from scatter_agent.cache import Cache
from scatter_agent.deployed import Deployed
from scatter_agent.follower import Follower
from scatter_agent.health import AgentStatus, State
from scatter_agent.listen import IMPORT_S, LOOK_S, Listener
from scatter_agent.report import Reporter
from scatter_agent.tell import begin, tell
from scatter_agent.terms import AT_ONCE, Callbacks, Terms

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
        terms: Terms = AT_ONCE,
    ) -> None:
        """Prepare; `start` starts the thread.

        Args:
            settings: Where the log is.
            registry: The functions of this process.
            application: How people know this process; default: its program's name.
            store: Used in place of the settings' address.
            look_s: Seconds between two looks without a ring.
            terms: How the application wants to take versions.

        """
        self.settings = settings
        self.registry = registry
        self._application = application
        self._given_store = store
        self._look_s = look_s
        self._terms = terms
        self._reset({})

    def __repr__(self) -> str:
        return f"<Agent of {self.settings!r}, {self._state}>"

    def _reset(self, floor: dict[str, int]) -> None:
        """Begin a life: at construction, after a stop, and in a forked child.

        What was defined anew in this process, and when, stays known: it is no part of a life.
        """
        self._pid = os.getpid()
        self._stop = native.Flag()  # of the thread: it ends for the time of a fork, too
        self._ended = self._is_paused = self._is_on = self._idle = self._wanted = False
        self._ready = native.Flag()
        self._asked: list[native.Flag] = []  # of those who wait in `look`
        self._workers_wait_s = 0.0
        self._has_booted: Callable[[], bool] = lambda: True
        self._thread: native.Thread | None = None
        self._ident = self._system_ident = 0
        self._grown_at = time.monotonic() + YOUNG_S
        self._store: Store | None = None
        self._bell: Doorbell | None = None
        self._journal: Journal | None = None
        self._follower = Follower(self.registry, lifecycle.WORKING, self._terms)
        self._follower.floor = floor
        self._cache = Cache(self.settings.cache, self.settings.namespace)
        self._deployed = Deployed(lifecycle.WORKING)
        self._follower.deployed = self._deployed
        self._replaced = 0
        self._listener = Listener(self._look_s)
        self._unreported = self._kept = ""
        self._backoff_s = FIRST_BACKOFF_S
        self._retry_at = 0.0
        self._state: State = "starting"
        self._code = self._reason = ""
        self._since = time.time()
        self._told: tuple[State, str] = (self._state, "")
        self._contact_at = 0.0
        begin()
        self._reporter = Reporter(self._application, secrets.token_hex(4), self._terms.labels)

    def check_is(
        self,
        settings: Settings,
        *,
        apply: str | None,
        labels: Mapping[str, str] | None,
        callbacks: Callbacks,
    ) -> None:
        """Return if this agent is one that was started in this way.

        Args:
            settings: Where the log is.
            apply, labels, callbacks: As for `scatter_agent.start`; what is None may be anything.

        Raises:
            UsageError: It was started in another way, and says in which.

        """
        if not settings.same_as(self.settings):
            raise UsageError(
                f"An agent runs already with {self.settings!r}; found {settings!r}. "
                "Call scatter_agent.stop() first."
            )
        other = self._terms.other_than(apply=apply, labels=labels, callbacks=callbacks)
        if other:
            raise UsageError(
                f"An agent runs already with another `{other}`: it may have been started by the "
                "framework's integration, or twice. Start it once, with all arguments, or call "
                "scatter_agent.stop() first."
            )

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
        if (self._thread is not None and self._thread.is_alive()) or self._must_rest():
            return
        if native.is_patched():
            lifecycle.load_all()
        self.registry.off_track(self._tracked)
        self.registry.on_track(self._tracked)
        self._start_thread(delay_s)

    def _start_thread(self, delay_s: float = 0.0) -> None:
        arguments = self._stop, delay_s, self._thread, native.ident()
        self._thread = native.start_thread(self._run, *arguments, name="scatter-agent")

    def _must_rest(self) -> bool:
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
        self._ended = True
        self.registry.off_track(self._tracked)
        self._end_thread(timeout_s)

    def _end_thread(self, timeout_s: float) -> None:
        self._stop.set()
        if self._bell is not None:
            self._bell.wake()
        if self._thread is not None and self._ident != native.ident():
            lifecycle.join(self._thread, self._system_ident, timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the log was read and followed for the first time; return whether it was.

        In a master that rests it is the workers that wait so long, before they serve.
        """
        if self._is_resting:
            self._workers_wait_s = timeout_s
        return self._ready.wait(0 if self._thread is None or self._is_resting else timeout_s)

    def look(self, timeout_s: float) -> bool:
        """Read the log now, and wait until that was followed; return whether it was.

        For what must run the newest version: a process that was frozen, or that forks. Where the
        store is known to be away, nothing is waited for.
        """
        if self._state not in ("starting", "ready"):
            return False
        looked = native.Flag()
        self._asked.append(looked)
        if self._bell is not None:
            self._bell.wake()
        return looked.wait(timeout_s) and self._state == "ready"

    def _answer(self, asked: list[native.Flag]) -> None:
        """Let those go on who wait in `look`."""
        for looked in asked:
            self._asked.remove(looked)
            looked.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._ended

    def before_fork(self) -> None:
        """End the thread for the time of a fork; its connection stays. See `lifecycle`."""
        thread = self._thread
        mine = self._pid == os.getpid() and self._ident != native.ident()
        if mine and thread is not None and thread.is_alive() and not self._ended:
            self._is_paused = True
            self._end_thread(lifecycle.REST_S if self._idle else lifecycle.BUSY_S)

    def in_parent(self) -> None:
        """Go on after a fork."""
        if self._is_paused:
            self._is_paused, self._stop = False, native.Flag()
            if self._ended:
                self._stop.set()  # it was stopped meanwhile; the thread only says goodbye
            # not at once: the thread that forked would wait for the interpreter's lock
            self._start_thread(lifecycle.AFTER_FORK_S)

    @property
    def _is_resting(self) -> bool:
        return self._state == "stopped"

    def in_child(self) -> None:
        """Begin anew in a forked child; see `lifecycle`."""
        was_wanted, was_stopped, deployed = self._wanted, self._ended, self._deployed
        # What the master of a server forks is a worker, and no program about to be replaced.
        delay_s = 0.0 if self._is_resting else lifecycle.CHILD_DELAY_S
        wait_s = self._workers_wait_s
        link = getattr(self._store, "link", None)
        if link is not None:
            link.abandon()
        self._reset(self._follower.floor)
        self._deployed = self._follower.deployed = deployed  # the code is the same
        if was_stopped:
            self._ended = True
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
            switches=follower.switches,
            contact_at=self._contact_at,
            functions={name: slot.version for name, slot in slots.items()},
            held=tuple(name for name, slot in slots.items() if slot.held),
            refused=follower.refusals(),
            pending=follower.pending(),
            superseded=follower.superseded(),
            labels=self._terms.labels,
            doorbell=self._listener.doorbell,
            unreported=self._unreported,
        )

    def apply(self) -> Mapping[str, int]:
        """Switch to what is prepared, where the agent was started with `apply="manual"`.

        Costs what a switch costs; waits for nothing. To be called where the application can take
        new code: between two steps, jobs or requests.

        Returns:
            Function → version that runs since; empty when nothing was waiting.

        """
        switched = self._follower.apply()
        if self._bell is not None and (switched or self._follower.was_overtaken):
            self._bell.wake()
        return switched

    def hold(self, *names: str) -> None:
        """Keep functions of this process where they are, whatever is released.

        Args:
            names: Functions, full or short names.

        Raises:
            NotFound, Ambiguous: No function of this process is meant; nothing was changed.

        """
        self._hold(names, True)

    def unhold(self, *names: str) -> None:
        """Let functions follow the log again; they get the live version at once."""
        self._hold(names, False)

    def _hold(self, names: tuple[str, ...], held: bool) -> None:
        for name in [resolve_name(name, self.registry.slots()) for name in names]:
            self.registry.hold(name, held)
        if self._bell is not None:
            self._bell.wake()

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
        if is_new:
            self._terms.callbacks.health(self.status())

    def _tracked(self, slot: Slot) -> None:
        """Note that a function was tracked or defined anew; give it its version at once."""
        journal, bell = self._journal, self._bell
        if slot.redefined and journal is not None:
            self._follower.redefined(slot, journal.ledger.sequence)
        if bell is not None:
            bell.wake()

    # the thread --------------------------------------------------------------------------

    def _run(
        self, stop: native.Flag, delay_s: float, before: native.Thread | None, starter: int
    ) -> None:
        self._ident, self._system_ident = native.ident(), threading.get_native_id()
        if starter != self._ident:
            lifecycle.leave_signals_to_others()
        if before is not None:
            before.join()  # it was busy when it should have ended for a fork
        delay_s = max(delay_s, self._retry_at - time.monotonic())
        if delay_s > 0 and self._sleep(stop, delay_s) and not self._ended:
            return
        while not self._has_booted() and not stop.wait(BOOT_S):
            pass
        bases.remember_project()
        while not stop.is_set() and not self._must_rest():
            self._try_to_follow(stop)
            self._answer([*self._asked])
            if not self._is_on and not hosts.master():
                self._pause(stop)
        if self._ended or self._is_resting:
            self._leave()

    def _try_to_follow(self, stop: native.Flag) -> None:
        """Follow until something is in the way, and say what."""
        try:
            self._follow(stop)
        except StoreUnavailable as error:
            self._be("stale", str(error) + self._kept)
            self._start_from_cache()
        except ScatterError as error:
            self._be("error", str(error) + self._kept, getattr(error, "reason", ""))
            self._start_from_cache()
        except Exception as error:
            self._be("error", f"{type(error).__name__}: {error}", "internal")
            tell("exception", "scatter.fault")

    def _start_from_cache(self) -> None:
        """Run what was good last, in a process that has not reached the store yet."""
        if not self._cache or self._follower.sequence or self._cache.was_read:
            return
        try:
            with lifecycle.WORKING:
                lifecycle.load()
                journal = self._cache.journal(self._verifier())
                journal.catch_up()
                tip, known = journal.ledger.sequence, journal.ledger.functions
                self._deployed.look_up(journal.store, tip, self._follower.whole(), known)
                self._follower.step(journal, [])
        except ScatterError as error:
            tell("warning", "scatter.not_cached", reason=str(error))
        except Exception:
            tell("exception", "scatter.fault")
        else:
            tell("info", "scatter.from_cache", sequence=tip)
            self._kept = f" Until then it runs release {tip} as it was kept here."
            self._be(self._state, self._reason + self._kept, self._code)
        self._deployed.forget()

    def _verifier(self) -> Verifier:
        """Return who decides what is believed, also where there is no store to be had."""
        if self._journal is not None:
            return self._journal.ledger.verifier
        return open_verifier(self.settings, self._given_store)

    def _pause(self, stop: native.Flag) -> None:
        """Wait before the next try: longer each time, and not as long as the others do."""
        pause_s = self._backoff_s * random.uniform(0.5, 1.0)
        self._retry_at = time.monotonic() + pause_s
        self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)
        self._sleep(stop, pause_s)

    def _sleep(self, stop: native.Flag, time_s: float) -> bool:
        """Wait for the end of the thread; return whether it has come."""
        self._idle = True
        stop.wait(time_s)
        self._idle = False
        return stop.is_set()

    def _follow(self, stop: native.Flag) -> None:
        """Connect, catch up, and follow until the thread is to end, or this turns out a master."""
        was_on, self._is_on = self._is_on, False
        store, journal, bell = self._open() if was_on else self._set_out()
        if was_on:
            self._turn(store, journal, Ring())
        while not stop.is_set():
            self._backoff_s = FIRST_BACKOFF_S
            due = self._due()
            self._idle = True
            ring = self._listener.wait(bell, stop, due)
            self._idle = False
            if not ring and hosts.master():
                return
            if not stop.is_set():  # else the next thread looks without a ring
                before = journal.ledger.sequence
                self._turn(store, journal, ring)
                if not ring:
                    bell.check(suspect=journal.ledger.sequence > before)
                self._listener.heed(bell)
        self._is_on = True

    def _set_out(self) -> tuple[Store, Journal, Doorbell]:
        """Connect, and catch up for the first time."""
        with lifecycle.WORKING:  # with all that is imported on the way
            lifecycle.load()
            store, journal, bell = self._open()
            self._reporter.forget()
            bell.listen()
            self._listener.heed(bell)
            self._turn(store, journal, Ring())
        return store, journal, bell

    def _open(self) -> tuple[Store, Journal, Doorbell]:
        """Return the store, its journal and its doorbell, made when they are first needed."""
        if self._store is None:
            store = self._given_store or open_store(
                self.settings.redis_url, self.settings.namespace, **_named(self.settings)
            )
            journal = open_journal(self.settings, store)
            self._store, self._journal, self._bell = store, journal, store.doorbell()
        assert self._journal is not None
        assert self._bell is not None
        return self._store, self._journal, self._bell

    def _due(self) -> float | None:
        """Return when there is something to do without a ring, by `time.monotonic`."""
        if self._follower.was_overtaken or self._deployed.is_behind:
            return 0.0
        if self._follower.waits_for_import:
            return time.monotonic() + IMPORT_S
        now = time.monotonic()
        moments = [self._follower.next_retry(), self._reporter.next_beat or None]
        moments += [now + YOUNG_LOOK_S] * (now < self._grown_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def _turn(self, store: Store, journal: Journal, ring: Ring) -> None:
        """Read the log, bring the process to its tip, and report."""
        asked = [*self._asked]
        releases: list[Release] = []
        state: tuple[State, str, str] = ("ready", "", "")
        try:
            releases = journal.catch_up(rung=ring.log)
        except (Untrusted, StoreRefused) as error:
            state = "error", str(error), getattr(error, "reason", "")
        self._contact_at = time.time()
        self._listener.answered(ring, found=bool(releases))
        self._heed_replaced(journal)
        known, whole = journal.ledger.functions, self._follower.whole()
        tip, settled = journal.ledger.sequence, state[0] == "ready"
        self._deployed.look_up(store, tip, whole, known, settled=settled)
        self._follower.step(journal, releases)
        self._be(*state)
        self._report(store)
        if self._state == "ready":
            self._ready.set()
        if not (self._follower.waits_for_import or self._follower.was_overtaken):
            self._answer(asked)
        self._deployed.look_up(store, tip, whole, settled=settled)
        if self._cache and self._state == "ready":
            self._cache.keep(journal, frozenset(self.registry.slots()), self._deployed.seen())

    def _heed_replaced(self, journal: Journal) -> None:
        """Begin anew on a log that took the place of the one that was followed."""
        if journal.replaced != self._replaced:
            self._replaced = journal.replaced
            self._deployed.forget()
            self._follower.begin_anew(journal.ledger.sequence)
            tell("warning", "scatter.log_replaced", sequence=journal.ledger.sequence)

    def _report(self, store: Store) -> None:
        """Tell the store what runs here; a process that may not goes on all the same."""
        try:
            self._reporter.tell(store, self.status())
            self._unreported = ""
        except StoreRefused as error:
            self._reporter.postpone()
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
