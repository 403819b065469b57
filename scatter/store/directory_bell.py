"""The doorbell of a directory: rings when `tip` was replaced.

Invariants
1. Whatever woke it, it looks at `tip` itself: it rings for a new one, however that was noticed, and
   for nothing else.
2. A directory that was put in the place of the known one is noticed at the next `check`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from scatter.store.notices import open_notices
from scatter.store.port import Ring

Identity = tuple[int, int, int] | None


class DirectoryDoorbell:
    """Waits for a mirror to write a release; reports ring for nobody here."""

    def __init__(self, folder: Path, check: Callable[[], None]) -> None:
        """Remember which.

        Args:
            folder: Of the namespace.
            check: Raises if the directory is not there, or may not be believed.

        """
        self._folder = folder
        self._check = check
        self._notices = open_notices(folder)
        self._rings = True
        self._seen: Identity = None

    def __repr__(self) -> str:
        return f"<DirectoryDoorbell of {self._folder}>"

    @property
    def works(self) -> bool:
        """False when writes are not noticed."""
        return not self._notices.trouble

    @property
    def trouble(self) -> str:
        """Why not, and what to do."""
        why = self._notices.trouble
        return why and (
            f"{self._folder} cannot be watched ({why}); it is looked at instead. Raise "
            "fs.inotify.max_user_instances if there are too few."
        )

    def listen(
        self,
        *,
        log: bool = True,
        processes: Iterable[str] = (),  # noqa: ARG002 - what they say is on the way to the server
    ) -> None:
        """Ring for what is written from now on.

        Raises:
            StoreUnavailable, StoreRefused: There is no such directory, or it is not to be believed.

        """
        self._check()
        self._notices.watch()
        self._rings = log
        self._seen = self._identity()

    def wait(self, timeout_s: float) -> Ring:
        """Block until `tip` is another one, a wake, or the time is up."""
        deadline = time.monotonic() + timeout_s
        self._notices.watch()
        while not self._is_new():
            left_s = max(0.0, deadline - time.monotonic())
            noticed = self._notices.wait(left_s)
            if noticed == "woken":
                return Ring(log=self._is_new(), woken=True)
            if noticed == "time" and not left_s:
                return Ring()
        return Ring(log=True)

    def check(self, *, suspect: bool = False) -> None:  # noqa: ARG002 - it costs one stat
        """Look whether it is still the same directory.

        Raises:
            StoreUnavailable, StoreRefused: As for `listen`.

        """
        self._check()
        self._notices.watch()

    def wake(self) -> None:
        """Make `wait` return."""
        self._notices.wake()

    def _is_new(self) -> bool:
        found = self._identity()
        if found == self._seen:
            return False
        self._seen = found
        return self._rings

    def _identity(self) -> Identity:
        try:
            found = os.stat(self._folder / "tip")
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
