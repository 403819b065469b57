"""Notices of what is written into one directory: by inotify, or else through watchfiles.

A notice says that a file came, by its name, or went, and nothing else; any may be missing or
repeated.

Why two (m, Linux 6, 100 processes on two cores): watchfiles wakes 25 times a second to look, which
is 10 % of a core for 100 processes that wait, and notices a write after 40 to 120 ms. inotify costs
nothing while it waits, notices at once, and needs no thread, which forks would meet.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, Protocol

Noticed = Literal["written", "woken", "time"]


class Notices(Protocol):
    """Waits for something to be written into a directory; what is inside of others does not count.

    One thread waits; any thread may wake it.

    Attributes:
        trouble: Why nothing can be noticed; empty if it can.

    """

    trouble: str

    def watch(self) -> None:
        """Begin to watch, or go on. What was written before this is not noticed."""
        ...

    def wait(self, timeout_s: float) -> Noticed:
        """Wait until something is written, `wake` is called, or the time is up."""
        ...

    def wake(self) -> None:
        """Make the current or next `wait` return. Any thread, never blocks."""
        ...

    def close(self) -> None:
        """Watch no more. Idempotent; `watch` begins again."""
        ...


def open_notices(folder: Path) -> Notices:
    """Return the notices of a directory; nothing is watched yet."""
    if sys.platform == "linux":
        from scatter.store.inotify import InotifyNotices

        return InotifyNotices(folder)
    from scatter.store.watching import WatchfilesNotices

    return WatchfilesNotices(folder)
