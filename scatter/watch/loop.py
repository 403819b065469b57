"""Notices of saved files, from the operating system through watchfiles, or by looking.

The only module that imports watchfiles. Notices say where to look, nothing else: the kind of an
event means nothing (a save by rename is `added`, or `added` and `deleted`), and any of them may
be missing or repeated.

Why these numbers (m, watchfiles 1.3): it sleeps `step`, and yields when one step brought nothing
new, so a save is noticed after 1.5 steps: 3.6 ms at 2, 9 ms at 5, 72 ms at its default of 50, for
1 % of a core. `debounce` is the longest it waits while events keep coming (a log written to the
same directory); there is nothing to wait for, since half-written files are recognised by their
content. Directories are watched one by one, not as trees: arming a tree of 6,000 directories
(`.venv`, `node_modules`) takes 250 ms, and all its events come here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import watchfiles

from scatter.watch.events import Polling

_STEP_MS = 2
_DEBOUNCE_MS = 20
_TICK_MS = 25
_POLL_S = 0.2

Notice = frozenset[Path]
"""Paths where something happened; empty when only time has passed."""


class Notices:
    """Yields where something happened, and at least every 25 ms (polling: 200 ms) nothing."""

    def __init__(self, stop_event: threading.Event, tell: Callable[[Polling], None]) -> None:
        """Yield until `stop_event` is set; `tell` when files can only be polled."""
        self._stop_event = stop_event
        self._tell = tell
        self.polling = False

    def of(self, directories: Iterable[Path]) -> Iterator[Notice]:
        """Yield notices of these directories, not of those inside them."""
        if not self.polling and _is_polling_forced():
            self._poll("WATCHFILES_FORCE_POLLING is set")
        if not self.polling:
            try:
                yield from self._notified(directories)
            except FileNotFoundError:
                yield frozenset()  # a directory went away just now: the caller looks which are left
                return
            except (OSError, RuntimeError) as error:  # no inotify watches left, an odd file system
                self._poll(str(error))
        while self.polling and not self._stop_event.wait(_POLL_S):
            yield frozenset()

    def _poll(self, reason: str) -> None:
        self.polling = True
        self._tell(Polling(reason=reason, every_s=_POLL_S))

    def _notified(self, directories: Iterable[Path]) -> Iterator[Notice]:
        batches = watchfiles.watch(
            *(folder for folder in directories if folder.is_dir()),
            watch_filter=None,  # with a filter, a busy log file would starve the empty notices
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            recursive=False,
            force_polling=False,
            stop_event=self._stop_event,
        )
        for batch in batches:
            yield frozenset(Path(path) for _, path in batch)


def _is_polling_forced() -> bool:
    value = os.environ.get("WATCHFILES_FORCE_POLLING", "")
    return value.lower() not in ("", "0", "false", "disable", "disabled")
