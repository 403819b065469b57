"""The agent: one thread that keeps this process's functions on the log.

Each wake-up, whatever woke it, leads to the same step: read the log after the last sequence, plan,
prepare, switch, report. Between steps it waits at the doorbell, and looks every few seconds
anyway: a lost ring costs time, never an update.

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from scatter import apply
from scatter._logging import log
from scatter.apply import Wanted
from scatter.config import Settings
from scatter.errors import ScatterError, StoreRefused, StoreUnavailable, Untrusted
from scatter.log import Journal
from scatter.model import Change, Refusal, Release
from scatter.registry import Registry
from scatter.slot import Slot
from scatter.store import open_store
from scatter.store.port import Doorbell, Ring, Store
from scatter.verbs import attach
from scatter_agent import lifecycle, plan
from scatter_agent.plan import Failure, Running, View
from scatter_agent.report import Reporter
from scatter_agent.status import AgentStatus, State

LOOK_S = 5.0
"""Seconds between two looks at the log without a ring; ±20 %, so that a fleet spreads out."""
POLL_S = 0.5
"""The same where the server sends no notifications."""
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
        self._ready = threading.Event()
        self._reset()

    def __repr__(self) -> str:
        return f"<Agent of {self.settings!r}, {self._state}>"

    def _reset(self) -> None:
        """Begin a life: at construction, and in a forked child."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._store: Store | None = None
        self._bell: Doorbell | None = None
        self._journal: Journal | None = None
        self._failures: dict[str, Failure] = {}
        self._floor: dict[str, int] = {}
        self._applied = 0
        self._doorbell = ""
        self._backoff_s = FIRST_BACKOFF_S
        self._state: State = "starting"
        self._since, self._reason = time.time(), ""
        self._reporter = Reporter(self._application, secrets.token_hex(4))

    # life --------------------------------------------------------------------------------

    def start(self, delay_s: float = 0.0) -> None:
        """Start the thread, which waits `delay_s` first. Never waits for the store."""
        if self._thread is None:
            lifecycle.look_after(self)
            self.registry.on_track(self._tracked)
            self._thread = threading.Thread(
                target=self._run, args=(self._stop, delay_s), name="scatter-agent", daemon=True
            )
            self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread; what runs stays as it is. Idempotent."""
        self._stop.set()
        self.registry.off_track(self._tracked)
        if self._bell is not None:
            self._bell.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        self._be("stopped", "it was stopped")

    def wait(self, timeout_s: float) -> bool:
        """Wait until the log was read and followed for the first time; return whether it was."""
        return self._ready.wait(timeout_s)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def in_child(self) -> None:
        """Begin anew in a forked child; see `lifecycle`."""
        was_running = self._thread is not None and not self._stop.is_set()
        store = self._store
        link = getattr(store, "link", None)
        if link is not None:
            link.abandon()
        self.registry.off_track(self._tracked)
        self._reset()
        if was_running:
            self.start(lifecycle.CHILD_DELAY_S)

    def at_exit(self) -> None:
        """Stop as the interpreter ends."""
        self.stop(lifecycle.EXIT_WAIT_S)

    def status(self) -> AgentStatus:
        """Return what this agent says of itself."""
        slots = self.registry.slots()
        return AgentStatus(
            state=self._state,
            since=self._since,
            reason=self._reason,
            process=self._reporter.process,
            sequence=self._applied,
            functions={name: slot.version for name, slot in slots.items()},
            held=tuple(name for name, slot in slots.items() if slot.held),
            refused=self._refusals(),
            doorbell=self._doorbell,
        )

    def _be(self, state: State, reason: str = "") -> None:
        """Take on a state; a change of it is an event."""
        if (state, reason) == (self._state, self._reason):
            return
        self._state, self._reason, self._since = state, reason, time.time()
        level = log().info if state in ("ready", "stopped") else log().warning
        level(f"scatter.{state}", reason=reason, namespace=self.settings.namespace)

    def _tracked(self, slot: Slot) -> None:
        """Note that a function was tracked or defined anew; give it its version at once."""
        journal, bell = self._journal, self._bell
        if slot.redefined and journal is not None:
            self._floor[slot.name] = journal.ledger.sequence
        if bell is not None:
            bell.wake()

    # the thread --------------------------------------------------------------------------

    def _run(self, stop: threading.Event, delay_s: float) -> None:
        if delay_s and stop.wait(delay_s):
            return
        while not stop.is_set():
            try:
                self._follow(stop)
            except StoreUnavailable as error:
                self._be("stale", str(error))
            except ScatterError as error:
                self._be("error", str(error))
            except Exception as error:
                self._be("error", f"{type(error).__name__}: {error}")
                log().exception("scatter.fault")
            if not stop.is_set():
                self._pause(stop)
        self._leave()

    def _pause(self, stop: threading.Event) -> None:
        """Wait before the next try: longer each time, and not as long as the others do."""
        stop.wait(self._backoff_s * random.uniform(0.5, 1.0))
        self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)

    def _follow(self, stop: threading.Event) -> None:
        """Connect, catch up, and follow until the connection is lost or the agent is stopped."""
        with self._working():
            store, journal, bell = self._open()
            bell.listen()
        self._doorbell = "notifications" if bell.works else f"polling: {bell.trouble}"
        if not bell.works:
            log().warning("scatter.polling", reason=bell.trouble, every_s=POLL_S)
        self._reporter.forget()
        ring = Ring()
        while not stop.is_set():
            self._step(journal, ring)
            self._backoff_s = FIRST_BACKOFF_S
            self._reporter.tell(store, self.status())
            self._ready.set()
            ring = bell.wait(self._next_look_s(bell))

    def _open(self) -> tuple[Store, Journal, Doorbell]:
        """Return the store, its journal and its doorbell, made when they are first needed."""
        if self._store is None:
            store = self._given_store or open_store(
                self.settings.redis_url, self.settings.namespace, **_named(self.settings)
            )
            self._store, self._journal, self._bell = store, Journal(store), store.doorbell()
        assert self._journal is not None
        assert self._bell is not None
        return self._store, self._journal, self._bell

    def _next_look_s(self, bell: Doorbell) -> float:
        """Return how long to wait at the doorbell."""
        every_s = self._look_s if bell.works else min(POLL_S, self._look_s)
        look_s = every_s * random.uniform(0.8, 1.2)
        retry_at = plan.next_retry(self._failures.values())
        return look_s if retry_at is None else max(0.0, min(look_s, retry_at - time.monotonic()))

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Hold forks up while modules may be imported; see `lifecycle`."""
        with lifecycle.WORK:
            yield

    def _leave(self) -> None:
        """Take this process's report away and close the connection, if that can be done now."""
        try:
            if self._store is not None:
                if self._state != "stale":
                    self._store.remove_report(self._reporter.process)
                self._store.close()
        except ScatterError:
            pass  # the report expires by itself

    # one step ----------------------------------------------------------------------------

    def _step(self, journal: Journal, ring: Ring) -> None:
        """Read the log and bring the process to its tip."""
        try:
            releases = journal.catch_up(recent=ring.log)
        except (Untrusted, StoreRefused) as error:
            self._be("error", str(error))
            releases = []
        else:
            self._be("ready")
        view = self._view(journal)
        self._failures = plan.still_open(view)
        changes = plan.goal(view)
        if changes:
            with self._working():
                self._move(journal, view, changes, releases)
        self._applied = journal.ledger.sequence

    def _view(self, journal: Journal) -> View:
        running = {
            name: Running(
                version=slot.version, bundle=slot.bundle, held=slot.held, fetched=slot.fetched
            )
            for name, slot in self.registry.slots().items()
        }
        return View(
            running=running,
            functions=journal.ledger.functions,
            failures=self._failures,
            floor=self._floor,
            now=time.monotonic(),
        )

    def _move(
        self, journal: Journal, view: View, changes: Sequence[Change], releases: Sequence[Release]
    ) -> None:
        """Go to the tip in one switch; release by release if something in it will not run."""
        functions = journal.ledger.functions
        if not self._try(journal, changes):
            return
        for sequence, step in plan.stepwise(view, releases):
            refusals = self._try(journal, step)
            self._refuse(view, step, sequence, refusals)
        stuck = {n for n, f in self._failures.items() if functions[n].sequence == f.sequence}
        for name in sorted(stuck):
            failure = self._failures[name]
            log().warning(
                "scatter.refused",
                function=name,
                version=failure.version,
                reason=failure.reason,
                detail=failure.message,
            )

    def _try(self, journal: Journal, changes: Sequence[Change]) -> Mapping[str, Refusal]:
        """Prepare changes and switch to them all, or to none; return what was refused."""
        data = journal.bundles(c for c in changes if not self._is_loaded(c))
        wanted = [Wanted(change=c, data=data.get(c.bundle)) for c in changes]
        prepared = apply.prepare(self.registry, wanted, lambda name: _lookup(journal, name))
        if prepared.refusals:
            return {refusal.function: refusal for refusal in prepared.refusals}
        apply.switch(self.registry, prepared)
        for name, function in prepared.fetched.items():
            attach(function, name)
        for change in changes:
            self.registry.saw(change.function, change.version)
        log().info(
            "scatter.applied",
            sequence=journal.ledger.sequence,
            functions={c.function: c.version for c in changes},
        )
        return {}

    def _is_loaded(self, change: Change) -> bool:
        slot = self.registry.get(change.function)
        linked = slot.loaded.get(change.version or 0) if slot else None
        return linked is not None and linked.bundle == change.bundle

    def _refuse(
        self,
        view: View,
        step: Sequence[Change],
        sequence: int,
        refusals: Mapping[str, Refusal],
    ) -> None:
        """Remember what was refused; a release with a refused part is refused whole."""
        if not refusals:
            return
        culprits = ", ".join(f"`{name}`" for name in sorted(refusals))
        for change in step:
            refusal = refusals.get(change.function)
            reason = refusal.reason if refusal else "released-together"
            message = (
                refusal.message
                if refusal
                else f"It was released with {culprits}, which was refused."
            )
            self._failures[change.function] = plan.failed(view, change, sequence, reason, message)

    def _refusals(self) -> tuple[Refusal, ...]:
        return tuple(
            Refusal(function=name, version=f.version, reason=f.reason, message=f.message)
            for name, f in sorted(self._failures.copy().items())
        )


def _lookup(journal: Journal, name: str) -> Wanted | None:
    """Return the live version of a function that another one calls."""
    state = journal.ledger.functions.get(name)
    if state is None or not state.version:
        return None
    return Wanted(change=state.live, data=journal.bundles([state.live]).get(state.live.bundle))


def _named(settings: Settings) -> dict[str, str]:
    """Return what makes the connection known as an agent's, where the store has connections."""
    memory = settings.redis_url.startswith("memory:")
    return {} if memory else {"name": f"scatter-agent-{os.getpid()}"}
