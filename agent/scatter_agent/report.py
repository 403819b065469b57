"""Tells the store what this process runs: on every change, and that it still lives."""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scatter.errors import StoreRefused
from scatter.model import ProcessReport
from scatter.reports import write_report
from scatter.store.port import Store
from scatter_agent.health import AgentStatus
from scatter_agent.tell import tell

TTL_S = 15.0
"""How long a report outlives its process."""
BEAT_S = 5.0
"""Seconds between two signs of life; ±20 %."""


IMAGE_VARIABLES = ("SCATTER_IMAGE", "IMAGE_TAG", "K_REVISION", "HEROKU_RELEASE_VERSION")
COMMIT_VARIABLES = (
    *("SCATTER_COMMIT", "GIT_COMMIT", "GIT_SHA", "SOURCE_COMMIT", "SOURCE_VERSION"),
    *("HEROKU_SLUG_COMMIT", "RENDER_GIT_COMMIT", "RAILWAY_GIT_COMMIT_SHA"),
)
"""Environment variables that say what was deployed; the first that is set counts."""


class Reporter:
    """Writes the report of one process, when it has changed or is about to expire.

    Attributes:
        process: Id of the process.
        unreported: Why others cannot see the process; empty if they can.
        next_beat: When the next sign of life is due, by `time.monotonic`.

    """

    def __init__(
        self, application: str, token: str, labels: Mapping[str, str] | None = None
    ) -> None:
        """Name the process: host, pid, and a token, since pids come again."""
        self._host = socket.gethostname()
        self._pid = os.getpid()
        self._application = application or _program()
        self._labels = dict(labels or {})
        self._image = _first_of(IMAGE_VARIABLES)
        self._commit = _first_of(COMMIT_VARIABLES)
        self.process = f"{self._host}-{self._pid}-{token}"
        self._written = b""
        self.unreported = ""
        self.next_beat = 0.0

    def __repr__(self) -> str:
        return f"<Reporter of {self.process}>"

    def forget(self) -> None:
        """Write the report again next time: the store may have lost it."""
        self._written = b""

    def tell(self, store: Store, status: AgentStatus) -> None:
        """Write what runs if it changed, else make the report live on when that is due.

        A process that may not be reported goes on all the same; it is tried again at the next beat.

        Raises:
            StoreUnavailable: The store cannot be reached.

        """
        try:
            self._tell(store, status)
        except StoreRefused as error:
            self.next_beat = beat_after(time.monotonic())
            if not self.unreported:
                tell("warning", "scatter.unreported", reason=str(error))
            self.unreported = str(error)
        else:
            self.unreported = ""

    def _tell(self, store: Store, status: AgentStatus) -> None:
        report = write_report(self._report(status))
        now = time.monotonic()
        if report == self._written and (
            now < self.next_beat or store.keep_report(self.process, TTL_S)
        ):
            self.next_beat = self.next_beat if now < self.next_beat else beat_after(now)
            return
        store.write_report(self.process, report, TTL_S)
        self._written, self.next_beat = report, beat_after(now)

    def _report(self, status: AgentStatus) -> ProcessReport:
        return ProcessReport(
            id=self.process,
            host=self._host,
            pid=self._pid,
            application=self._application,
            python=".".join(map(str, sys.version_info[:3])),
            state=status.state,
            reason=f"{status.code}: {status.reason}" if status.code else status.reason,
            sequence=status.sequence,
            functions=dict(status.functions),
            held=status.held,
            refused=status.refused,
            switched_at=status.switched_at,
            superseded=status.superseded,
            distrusted=status.distrusted,
            epoch=status.epoch,
            pending=dict(status.pending),
            labels=self._labels,
            image=self._image,
            commit=self._commit,
        )


def beat_after(now: float) -> float:
    """Return when the next sign of life is due, so that a fleet spreads out."""
    return now + BEAT_S * random.uniform(0.8, 1.2)


def _first_of(variables: Sequence[str]) -> str:
    found = (os.environ.get(variable, "").strip() for variable in variables)
    return next(filter(None, found), "")[:200]


def _program() -> str:
    """Return the program's name, as people know it."""
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else ""
    return name if name not in ("", "-c", "-m") else "python"
