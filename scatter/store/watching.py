"""Notices of what is written into one directory, through watchfiles: where there is no inotify.

Beside the watcher's loop the only module that imports watchfiles.

Why this number (m, watchfiles 1.3): it sleeps `step` and looks at what the system told it
meanwhile, so a write is noticed after one to three steps, and waiting costs 0.25 % of a core at
20 ms, 0.1 % at 50 ms, 1.1 % at 2 ms. Many processes of a machine wait for one directory.

Invariant: after a wake, and so before a fork, no thread of watchfiles is left: a fork of a process
that has threads is unsafe, and Python says so.
"""

from __future__ import annotations

import os
from pathlib import Path

from scatter import native
from scatter.store.notices import Noticed

STEP_MS = 40
_POLL_MS = 300


class WatchfilesNotices:
    """As in `scatter.store.notices.Notices`."""

    def __init__(self, folder: Path) -> None:
        """Remember which; `watch` begins."""
        self._folder = folder
        self._native: _Watch | None = None
        self._woken = native.Flag()
        self.trouble = ""

    def __repr__(self) -> str:
        return f"<WatchfilesNotices of {self._folder}{f': {self.trouble}' * bool(self.trouble)}>"

    def watch(self) -> None:
        """Begin to watch, or go on. What was written before this is not noticed."""
        found = _identity(self._folder)
        if self._native is not None and self._native.identity == found:
            return
        self.close()
        try:
            self._native = _Watch(self._folder, found)
            self.trouble = ""
        except (OSError, RuntimeError) as error:  # no watches left, an odd file system
            self.trouble = str(error)

    def wait(self, timeout_s: float) -> Noticed:
        """Wait until something is written, `wake` is called, or the time is up."""
        if self._native is None:
            self._woken.wait(timeout_s)
            noticed: Noticed = "time"
        else:
            noticed = self._native.wait(timeout_s, self._woken)
        if not self._woken.is_set():
            return noticed
        self._woken = native.Flag()
        self.close()
        return "woken"

    def wake(self) -> None:
        """Make the current or next `wait` return, within a step. Any thread, never blocks."""
        self._woken.set()

    def close(self) -> None:
        """Watch no more. Idempotent; `watch` begins again."""
        if self._native is not None:
            self._native.close()
            self._native = None


class _Watch:
    """One directory under watch, as long as it is that one."""

    def __init__(self, folder: Path, identity: tuple[int, int]) -> None:
        from watchfiles._rust_notify import RustNotify

        self.identity = identity
        # `watchfiles.watch` would close it at the end of each wait, and miss what comes between
        self._notify = RustNotify([str(folder)], False, False, _POLL_MS, False, False)

    def wait(self, timeout_s: float, woken: native.Flag) -> Noticed:
        timeout_ms = max(1, round(timeout_s * 1000))
        found = self._notify.watch(0, STEP_MS, timeout_ms, woken)
        return "time" if found == "timeout" else "woken" if isinstance(found, str) else "written"

    def close(self) -> None:
        self._notify.close()


def _identity(folder: Path) -> tuple[int, int]:
    """Return what tells a directory from another of that name."""
    try:
        found = os.stat(folder)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino
