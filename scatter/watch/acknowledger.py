"""The acknowledger: a thread that asks the running processes about each push.

A push must not wait for stragglers before the next save is handled, so they are asked about here,
one push after the other. Whoever took a later release has taken this one, so a push that is
overtaken is answered at once.

Invariants
1. Owned by one `watch` call: started with the first push, joined when the call returns.
2. It waits at most `PATIENCE_S` for a push, and ends within one slice of that when stopped.
3. Not fork-safe, and need not be: the watcher never forks.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scatter.errors import ScatterError
from scatter.model import ProcessReport
from scatter.watch.events import Acknowledged, Pushed

PATIENCE_S = 2.0
"""How long a push waits for processes that do not answer before they are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What processes answered to one release.

    Attributes:
        applied, behind: Reports of the processes that did and did not take it.
        refused: (report, reason) of those that would not.
    """

    applied: Sequence[ProcessReport] = ()
    behind: Sequence[ProcessReport] = ()
    refused: Sequence[tuple[ProcessReport, str]] = ()


Ask = Callable[[int, float], Answers]
"""Waits until every process has answered release `sequence`, at most so many seconds."""


class Acknowledger:
    """Asks about pushes on a thread of its own, and tells what was answered."""

    def __init__(
        self, ask: Ask, *, tell: Callable[[Acknowledged], None], clock: Callable[[], float]
    ) -> None:
        """Remember whom to ask; the thread starts with the first push."""
        self._ask = ask
        self._tell = tell
        self._clock = clock
        self._pushes: queue.SimpleQueue[Pushed | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, pushed: Pushed) -> None:
        """Ask about a push, soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="scatter-acks", daemon=True)
            self._thread.start()
        self._pushes.put(pushed)

    def stop(self) -> None:
        """Answer what is open, and end. Idempotent."""
        if self._thread is not None:
            self._pushes.put(None)
            self._thread.join(PATIENCE_S + 1.0)

    def _run(self) -> None:
        while (pushed := self._pushes.get()) is not None:
            self._tell(self._answered(pushed))

    def _answered(self, pushed: Pushed) -> Acknowledged:
        """Return what the processes did about one push."""
        error = ""
        try:
            answers = self._ask(pushed.sequence, PATIENCE_S)
        except ScatterError as failure:
            answers, error = Answers(), str(failure)
        return Acknowledged(
            pushed=pushed,
            applied=len(answers.applied),
            total=len(answers.applied) + len(answers.behind) + len(answers.refused),
            elapsed_s=self._clock() - pushed.noticed_at,
            behind=tuple(_label(report) for report in answers.behind),
            refused=tuple((_label(report), reason) for report, reason in answers.refused),
            error=error,
        )


def _label(report: ProcessReport) -> str:
    """Return how people know a process: application, host and pid."""
    name = f"{report.application} " if report.application else ""
    return f"{name}{report.host}:{report.pid}"
