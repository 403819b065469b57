"""Follows a fleet: a thread asks the store again and again, and hands on what has changed.

The doorbell wakes it for releases and reports. A look without a ring finds the processes that came
and went.

Invariants
1. The thread has its store for itself; nobody else uses that object.
2. A failure loses nothing: the last known fleet is handed on, with why and since when.
3. It goes on until it is stopped, whatever happens. Looking takes a tenth of the time at most, and
   half of it while rings do not end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scatter.errors import ScatterError, Untrusted
from scatter.fleet import Fleet, fleet_of
from scatter.reports import Reader

if TYPE_CHECKING:
    from scatter.releases import Releases
    from scatter.store.port import Doorbell

LOOK_S = 1.0
"""How often to look without a ring, and after a failure."""
GATHER_S = 0.05
"""How long rings are gathered: processes answer a release one after the other."""
_SHARE = 10
"""Of so many parts of the time at most one is spent on looking without a ring."""
_JOIN_S = 5.0
NOTHING = fleet_of({}, (), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is known of a fleet at some moment.

    Attributes:
        fleet: The fleet as it was last seen.
        is_known: Whether it ever was.
        error: Why the store cannot be asked; empty if it can.
        failing_since: Since when, in seconds since the epoch; 0 if it can be asked.
        doubt: Why the log cannot be believed further than this; empty if it can.

    """

    fleet: Fleet = NOTHING
    is_known: bool = False
    error: str = ""
    failing_since: float = 0.0
    doubt: str = ""


class Follower:
    """The thread, from `with` to its end. A forked child has none."""

    def __init__(self, releases: Releases, on_view: Callable[[View], object]) -> None:
        """Prepare.

        Args:
            releases: Of the namespace; from `start` on of the thread alone.
            on_view: Called from the thread with each view that differs from the one before.

        """
        self._releases = releases
        self._on_view = on_view
        self._view = View()
        self._reader = Reader()
        self._bell: Doorbell = releases.journal.store.doorbell()
        self._listening: frozenset[str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scatter-follower", daemon=True)

    def __repr__(self) -> str:
        return f"<Follower of {self._releases.journal.ledger.namespace}>"

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the thread. Idempotent; a store that does not answer is not waited for long."""
        self._stop.set()
        self._bell.wake()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._listen_and_look()
                took_s = time.monotonic() - began
                self._bell.wait(max(LOOK_S, _SHARE * took_s))
            except Exception as error:  # whatever it is, it is shown, and tried again
                self._fail(error)
                self._stop.wait(LOOK_S)
            else:
                self._stop.wait(max(GATHER_S, took_s))

    def _listen_and_look(self) -> None:
        """Look, and again if there was somebody who was not listened to yet."""
        if self._listening is None:  # at first, and after a failure
            self._listen(frozenset(report.id for report in self._view.fleet.reports))
        while not self._stop.is_set():
            self._look()
            processes = frozenset(report.id for report in self._view.fleet.reports)
            if processes == self._listening:
                return
            self._listen(processes)

    def _listen(self, processes: frozenset[str]) -> None:
        self._bell.listen(log=True, processes=processes)
        self._listening = processes

    def _look(self) -> None:
        releases, doubt = self._releases, ""
        try:
            functions = releases.functions()
        except Untrusted as error:
            functions, doubt = releases.known(), str(error)
        tip = releases.journal.ledger.sequence
        reports = self._reader.read(releases.journal.store)
        last = self._view.fleet
        if (functions, tuple(reports), tip) == (last.functions, last.reports, last.tip):
            fleet = last
        else:
            fleet = fleet_of(functions, reports, tip)
        self._tell(View(fleet=fleet, is_known=True, doubt=doubt))

    def _fail(self, error: Exception) -> None:
        self._listening = None
        text = str(error) if isinstance(error, ScatterError) else repr(error)
        since = self._view.failing_since or time.time()
        self._tell(replace(self._view, error=text, failing_since=since))

    def _tell(self, view: View) -> None:
        if view != self._view:
            self._view = view
            self._on_view(view)
