"""Forks and exits: what happens to an agent when its process divides or ends.

The fork story. A thread does not survive a fork, and a child of a process whose other thread was
importing something finds that module half-made for ever. So an agent's thread ends before a fork,
and another one goes on after it with the same connection; Python 3.12 and later, which warn of
forks of processes that have threads, find none. A thread that only waits is given `REST_S` for
that, one that is busy, perhaps with a server that does not answer, `BUSY_S`; and since it works
under `WORK`, where modules may be imported, a fork waits for that too (at most `FORK_WAIT_S`: a
server that does not answer holds no fork up; at most `LOAD_WAIT_S` while nothing is done but to
import, which may take long on a busy machine). In the child only memory is reset and the inherited
socket closed, which sends nothing. The child's agent starts `CHILD_DELAY_S` later on a thread of
its own: `subprocess` with `preexec_fn` runs these hooks too, and its child is another program by
then. Where a server forks its workers, the agent of the master rests (`hosts`): the fork waits for
nothing, and the workers' agents start at once.

The exit story. A daemon thread must not run into the interpreter's end, so `atexit` stops it and
waits `EXIT_WAIT_S` at most, and `EXIT_LOAD_S` for one that only imports. A process that is killed
says no goodbye: its report expires.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - see `look_after`
import os
import threading
import time
import weakref
from typing import Protocol

from scatter import native
from scatter._logging import is_heard, log
from scatter_agent import hosts

FORK_WAIT_S, LOAD_WAIT_S = 1.0, 10.0
_LOOK_S = 0.1
REST_S, BUSY_S = 0.2, 0.02
AFTER_FORK_S = 0.001
CHILD_DELAY_S = 0.1
EXIT_WAIT_S, EXIT_LOAD_S = 0.25, 5.0


class Mortal(Protocol):
    """What this module asks of an agent."""

    def before_fork(self) -> None:
        """End the thread, if that takes no longer than `REST_S`."""
        ...

    def in_parent(self) -> None:
        """Go on with what `before_fork` ended."""
        ...

    def in_child(self) -> None:
        """Forget threads and connections; start anew a little later."""
        ...

    def in_worker(self) -> None:
        """Begin, if a start was asked for, in a worker of a server that forks without hooks."""
        ...

    def at_exit(self) -> None:
        """Stop within `EXIT_WAIT_S`."""
        ...


WORK = native.rlock()
"""Held by an agent while it connects, links and switches; never while it waits for a ring."""


class _Working:
    """Holds forks up while modules may be imported."""

    def __enter__(self) -> None:
        WORK.acquire()

    def __exit__(self, *_: object) -> None:
        WORK.release()


WORKING = _Working()


class _Loading:
    """Says that nothing but imports is done; to be used under `WORKING`, by one thread."""

    def __init__(self) -> None:
        self.is_on = False

    def __enter__(self) -> None:
        self.is_on = True

    def __exit__(self, *_: object) -> None:
        self.is_on = False


LOADING = _Loading()

_agents: weakref.WeakSet[Mortal] = weakref.WeakSet()
_forking = threading.local()  # several threads may fork at once
_installed = False


def look_after(agent: Mortal) -> None:
    """Tell `agent` of forks and of the exit, as long as it lives.

    redis-py imports `concurrent.futures.thread`, which has hooks of its own. Were they installed
    while a fork waits in ours, they would run after it and not before; so it is imported first.
    """
    global _installed
    _agents.add(agent)
    if not _installed:
        _installed = True
        os.register_at_fork(
            before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child
        )
        atexit.register(_at_exit)
        hosts.after_fork_in_uwsgi(_in_worker)


def load() -> None:
    """Import what the agent's thread would import later, in the middle of something.

    To be called under `WORKING` and `LOADING`. The codecs are those of `socket.getaddrinfo` and of
    log records.
    """
    import encodings.idna  # noqa: F401
    import linecache  # noqa: F401
    import tokenize  # noqa: F401

    if is_heard("info"):
        log()


def load_all() -> None:
    """Import all that an agent needs, by the thread that starts it.

    In a master that is once for all of the workers that it forks. Under gevent a greenlet that
    waits for a module which a thread of the system imports waits for ever.
    """
    import scatter.bundle.build
    import scatter.linker.link
    import scatter.store.redis
    import scatter.trust.verifier  # noqa: F401
    from scatter.trust import keys

    keys.load()
    load()
    log()


def _before_fork() -> None:
    for agent in list(_agents):
        agent.before_fork()
    _forking.holds = _acquire()


def _acquire() -> bool:
    """Wait until no agent works; return whether that was so in time."""
    began = time.monotonic()
    while not WORK.acquire(timeout=_LOOK_S):
        if time.monotonic() - began > (LOAD_WAIT_S if LOADING.is_on else FORK_WAIT_S):
            return False
    return True


def _in_parent() -> None:
    if _forking.holds:
        WORK.release()
    for agent in list(_agents):
        agent.in_parent()


def _in_child() -> None:
    global WORK
    WORK = native.rlock()
    LOADING.is_on = False
    for agent in list(_agents):
        agent.in_child()


def _in_worker() -> None:
    for agent in list(_agents):
        agent.in_worker()


def _at_exit() -> None:
    for agent in list(_agents):
        agent.at_exit()
