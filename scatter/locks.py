"""Locks that a forked child can use, whoever held them in the parent at that moment.

A lock that another thread held when the process was forked stays locked in the child for ever:
that thread does not exist there. What such a lock guards must be right between any two stores,
since a child may begin in between.
"""

from __future__ import annotations

import os
import weakref

from scatter import native

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from types import TracebackType


class ForkSafeLock:
    """A re-entrant lock, free in a forked child unless the thread that forked holds it."""

    __slots__ = ("__weakref__", "_is_known", "_lock")

    def __init__(self) -> None:
        """Begin free."""
        self._lock = native.rlock()
        self._is_known = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._is_known:
            _use(self)
            self._is_known = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Be free, unless this thread is inside. For the only thread of a forked child."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = native.rlock()


_used: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()
_installed = False


def _use(lock: ForkSafeLock) -> None:
    """Have a lock renewed in forked children; nothing is hooked before the first one is used."""
    global _installed
    if not _installed:
        _installed = True
        os.register_at_fork(after_in_child=_renew_all)
    _used.add(lock)


def _renew_all() -> None:
    for lock in list(_used):
        lock.renew()
