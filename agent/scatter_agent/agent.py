"""The agent: what an application holds, and its life across starts, stops, forks and the exit.

A life is one `Work`, which one thread at a time does. A stop ends both; a fork ends the thread, and
another one goes on with the same work; a forked child begins a work of its own.

Not here: what the thread does (`work`), when forks and the exit come (`lifecycle`).

Invariants
1. No call of a tracked function waits for anything here.
2. At most one thread works for an agent, and none while its process forks, unless it is busy.
3. Starting and stopping are idempotent, and neither waits for the store.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial

from scatter import native
from scatter.config import Settings
from scatter.errors import UsageError
from scatter.names import resolve as resolve_name
from scatter.registry import Registry
from scatter.slot import Slot
from scatter.store.port import Store
from scatter_agent import lifecycle
from scatter_agent.cache import Keeper
from scatter_agent.health import AgentStatus
from scatter_agent.listen import LOOK_S
from scatter_agent.terms import AT_ONCE, Callbacks, Terms
from scatter_agent.thread import AgentThread
from scatter_agent.work import Assignment, Work


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
        keeper: Keeper | None = None,
    ) -> None:
        """Prepare; `start` starts the thread.

        Args:
            settings: Where the log is.
            registry: The functions of this process.
            application: How people know this process; default: its program's name.
            store: Used in place of the settings' address.
            look_s: Seconds between two looks without a ring.
            terms: How the application wants to take versions.
            keeper: Keeps what is followed; default: a cache where the settings say.

        """
        self.settings = settings
        self.registry = registry
        self._terms = terms
        assignment = Assignment(
            settings=settings,
            registry=registry,
            application=application,
            store=store,
            look_s=look_s,
            terms=terms,
            keeper=keeper,
        )
        self._begin(Work(assignment))

    def __repr__(self) -> str:
        return f"<Agent of {self.settings!r}, {self._work.standing.state}>"

    def _begin(self, work: Work) -> None:
        """Begin a life: at construction, after a stop, and in a forked child."""
        self._pid = os.getpid()
        self._work = work
        self._thread: AgentThread | None = None
        self._is_wanted = self._is_paused = False
        self._workers_wait_s = 0.0

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
            self._begin(self._work.again())
        self._is_wanted = True
        lifecycle.look_after(self)
        if (self._thread is not None and self._thread.is_alive) or self._work.must_rest():
            return
        if native.is_patched():
            lifecycle.load_all()
        self.registry.off_track(self._tracked)
        self.registry.on_track(self._tracked)
        self._start_thread(delay_s)

    def _start_thread(self, delay_s: float) -> None:
        before, thread = self._thread, AgentThread()
        self._thread = thread
        if self.stopped:
            thread.stop.set()  # it was stopped meanwhile; the thread only says goodbye
        thread.start(partial(self._work.run, delay_s=delay_s), after=before)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread; what runs stays as it is. Idempotent."""
        self._end(timeout_s)
        self._work.standing.be("stopped", "it was stopped")

    def at_exit(self) -> None:
        """Stop as the interpreter ends, without a word: loggers and their streams may be gone.

        A thread that imports is waited for longer. Python ends threads where they take its lock
        again, and one that is inside of a module in Rust just then takes the process with it.
        """
        self._end(lifecycle.EXIT_WAIT_S)
        deadline = time.monotonic() + lifecycle.EXIT_LOAD_S
        while lifecycle.LOADING.is_on and time.monotonic() < deadline:
            if self._thread is None or not self._thread.is_alive:
                return
            self._thread.join(0.05)

    def _end(self, timeout_s: float) -> None:
        self._work.end()
        self.registry.off_track(self._tracked)
        self._end_thread(timeout_s)

    def _end_thread(self, timeout_s: float) -> None:
        thread = self._thread
        if thread is not None:
            thread.stop.set()
            self._work.wake()
            thread.join(timeout_s)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._work.is_over

    def before_fork(self) -> None:
        """End the thread for the time of a fork; its connection stays. See `lifecycle`."""
        thread = self._thread
        if thread is None or thread.is_current or self._pid != os.getpid():
            return
        if thread.is_alive and not self.stopped:
            self._is_paused = True
            self._end_thread(lifecycle.REST_S if self._work.is_idle else lifecycle.BUSY_S)

    def in_parent(self) -> None:
        """Go on after a fork."""
        if self._is_paused:
            self._is_paused = False
            # not at once: the thread that forked would wait for the interpreter's lock
            self._start_thread(lifecycle.AFTER_FORK_S)

    def in_child(self) -> None:
        """Begin anew in a forked child; see `lifecycle`."""
        was_wanted, wait_s = self._is_wanted, self._workers_wait_s
        # What the master of a server forks is a worker, and no program about to be replaced.
        delay_s = 0.0 if self._work.standing.is_resting else lifecycle.CHILD_DELAY_S
        self._begin(self._work.in_child())
        if was_wanted and not self.stopped:
            self.start(delay_s)
            self.wait(wait_s if self._work.has_booted() else 0)  # it may not hold up its own start

    def in_worker(self) -> None:
        """Begin in a process that a server made a worker of, unless that was done."""
        if self._is_wanted and not self.stopped:
            self.start()

    # what an application asks ------------------------------------------------------------

    def wait(self, timeout_s: float) -> bool:
        """Wait until the log was read and followed for the first time; return whether it was.

        In a master that rests it is the workers that wait so long, before they serve.
        """
        is_resting = self._work.standing.is_resting
        if is_resting:
            self._workers_wait_s = timeout_s
        return self._work.wait(0 if is_resting or self._thread is None else timeout_s)

    def wake(self) -> None:
        """Have the log read now, without waiting for it."""
        self._work.wake()

    def silent_s(self) -> float:
        """Return for how many seconds the thread has not begun anything; it looks every few."""
        return time.monotonic() - self._work.active_at

    def look(self, timeout_s: float) -> bool:
        """Read the log now, and wait until that was followed; return whether it was.

        For what must run the newest version: a process that was frozen, or that forks. Where the
        store is known to be away, nothing is waited for.
        """
        return self._work.look(timeout_s)

    def status(self) -> AgentStatus:
        """Return what this agent says of itself."""
        return self._work.status()

    def apply(self) -> Mapping[str, int]:
        """Switch to what is prepared, where the agent was started with `apply="manual"`.

        Costs what a switch costs; waits for nothing. To be called where the application can take
        new code: between two steps, jobs or requests.

        Returns:
            Function → version that runs since; empty when nothing was waiting.

        """
        return self._work.apply()

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
        self._work.wake()

    def _tracked(self, slot: Slot) -> None:
        self._work.tracked(slot)
