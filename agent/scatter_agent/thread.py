"""One thread of an agent, from its start until a fork, a stop or the exit ends it.

Not here: what it does (`work`), and when it is ended (`agent`, `lifecycle`).

Invariants
1. Of one life of an agent two never work at once: the thread before has ended when one begins.
2. It takes no signal that the application waits for.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scatter import native

_FAULTS = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
}


class AgentThread:
    """A daemon thread that the system schedules, also under gevent.

    Attributes:
        stop: Set to end it; it ends when it sees that.

    """

    def __init__(self) -> None:
        """Prepare; `start` starts it."""
        self.stop = native.Flag()
        self._thread: native.Thread | None = None
        self._ident = self._system_ident = 0

    def __repr__(self) -> str:
        return f"<AgentThread, {'alive' if self.is_alive else 'not alive'}>"

    @property
    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on it."""
        return self._ident == native.ident()

    def start(
        self, work: Callable[[native.Flag], None], *, after: AgentThread | None = None
    ) -> None:
        """Begin to work.

        Args:
            work: Called with `stop`, on the thread.
            after: A thread that may be busy still: it ends first.

        """
        before = after._thread if after is not None else None
        arguments = work, before, native.ident()
        self._thread = native.start_thread(self._run, *arguments, name="scatter-agent")

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended, for the system too, which has it a little longer.

        Args:
            timeout_s: How long to wait at most, in seconds. The thread itself does not wait.

        """
        if self._thread is None or self.is_current:
            return
        deadline = time.monotonic() + timeout_s
        self._thread.join(timeout_s)
        task = Path(f"/proc/self/task/{self._system_ident}")
        while not self.is_alive and task.exists() and time.monotonic() < deadline:
            native.sleep(0.0001)

    def _run(
        self, work: Callable[[native.Flag], None], before: native.Thread | None, starter: int
    ) -> None:
        self._ident, self._system_ident = native.ident(), threading.get_native_id()
        if starter != self._ident:
            _leave_signals_to_others()
        if before is not None:
            before.join()  # it was busy when it should have ended for a fork
        work(self.stop)


def _leave_signals_to_others() -> None:
    """Have no signal delivered to the calling thread, apart from those of its own faults.

    A program that blocks a signal, to take it later (`sigwait`), means all of its threads. The
    price: a program that a version starts while it is being linked begins with signals blocked.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
