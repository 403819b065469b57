"""Notices of what is written into one directory, by inotify: Linux alone.

Invariants
1. Nothing is polled, and there is no thread.
2. A forked child shares nothing that its parent waits for: what it inherited it never uses.
"""

from __future__ import annotations

import ctypes
import os
import select
import weakref
from pathlib import Path
from typing import Any

from scatter import native
from scatter.store.notices import Noticed

_MOVED_TO, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x80, 0x200, 0x400, 0x800
_MASK = _MOVED_TO | _DELETE | _DELETE_SELF | _MOVE_SELF
"""Files come whole, by their names; what is touched or half-written is nobody's business."""


class InotifyNotices:
    """As in `scatter.store.notices.Notices`."""

    def __init__(self, folder: Path) -> None:
        """Remember which; `watch` begins."""
        self._folder = folder
        self._pid = os.getpid()
        self._handle = -1  # first: `__del__` looks at it, also if there are no descriptors left
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._wake).atexit = False  # agents end at the exit too
        self._watched: tuple[int, int] | None = None
        self.trouble = ""

    def __repr__(self) -> str:
        return f"<InotifyNotices of {self._folder}{f': {self.trouble}' * bool(self.trouble)}>"

    def watch(self) -> None:
        """Begin to watch, or go on, if it is still the same directory."""
        found = _identity(self._folder)
        if self._handle >= 0 and self._watched == found:
            return
        self.close()
        try:
            self._handle, self._watched = _begin(self._folder), found
            self.trouble = ""
        except OSError as error:  # no instances left, or no such directory
            self.trouble = error.strerror or str(error)

    def wait(self, timeout_s: float) -> Noticed:
        """Wait until something is written, `wake` is called, or the time is up."""
        poll = native.poll()
        for handle in (self._wake, self._handle):
            if handle >= 0:
                poll.register(handle, select.POLLIN)
        ready = {handle for handle, _ in poll.poll(max(0, round(timeout_s * 1000)))}
        if self._wake in ready:
            os.eventfd_read(self._wake)
            return "woken"
        if not ready:
            return "time"
        _drain(self._handle)
        return "written"

    def wake(self) -> None:
        """Make the current or next `wait` return. Any thread, never blocks."""
        if self._pid == os.getpid():  # else it is the parent's
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Watch no more. Idempotent; `watch` begins again."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        self.close()


def _begin(folder: Path) -> int:
    """Return a handle that can be read when something was written."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if handle < 0:
        raise _last_error()
    if libc.inotify_add_watch(handle, os.fsencode(folder), _MASK) < 0:
        error = _last_error()
        os.close(handle)
        raise error
    return int(handle)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _drain(handle: int) -> None:
    """Forget what was told: who is woken looks at all there is."""
    try:
        while os.read(handle, 65536):
            pass
    except BlockingIOError:
        pass


def _identity(folder: Path) -> tuple[int, int]:
    """Return what tells a directory from another of that name."""
    try:
        found = os.stat(folder)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino
