"""Acknowledgements: waits until the running processes have answered a release.

A process has answered release N when it reports a sequence of at least N: it runs what the release
says, or says why it does not. Nothing here is inferred from time or from silence. Of a release of
some functions, processes that have none of them are no part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scatter.model import ProcessReport, Refusal
from scatter.names import printable
from scatter.reports import read_reports
from scatter.store.port import Doorbell, Store

_LOOK_S = 0.25
"""How often to look without a ring: a doorbell may be silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acks:
    """What the processes did about a release.

    Attributes:
        applied: Reports of those that run it.
        held: Reports of those that keep one of its functions where somebody moved it by hand.
        refused: (report, refusals) of those that would not take all of it.
        behind: Reports of those that have not answered.
        elapsed_s: Seconds from the release, where its moment was given, else from asking, to
            the last answer or to giving up.

    """

    applied: tuple[ProcessReport, ...] = ()
    held: tuple[ProcessReport, ...] = ()
    refused: tuple[tuple[ProcessReport, tuple[Refusal, ...]], ...] = ()
    behind: tuple[ProcessReport, ...] = ()
    elapsed_s: float = 0.0

    @property
    def total(self) -> int:
        """How many processes there are."""
        return len(self.applied) + len(self.held) + len(self.refused) + len(self.behind)

    def __str__(self) -> str:
        if not self.total:
            return "No process runs under an agent."
        noun = "process" if self.total == 1 else "processes"
        lines = [f"{len(self.applied)}/{self.total} {noun} in {self.elapsed_s * 1000:.0f} ms"]
        for message, reports in self.refusals().items():
            lines.append(f"  refused by {', '.join(reports)}: {message}")
        lines += [f"  held by {label(report)}: it stays where it is" for report in self.held]
        lines += [f"  no answer yet from {label(report)}" for report in self.behind]
        return "\n".join(lines)

    def refusals(self) -> dict[str, list[str]]:
        """Return message → processes that gave it: a fleet refuses with one voice."""
        found: dict[str, list[str]] = {}
        for report, refusals in self.refused:
            for refusal in refusals:
                found.setdefault(printable(refusal.message), []).append(label(report))
        return found


def label(report: ProcessReport) -> str:
    """Return how people know a process: application, host and pid."""
    return printable(f"{report.application} {report.host}:{report.pid}".strip())


def wait_for(
    store: Store,
    doorbell: Doorbell,
    sequence: int,
    *,
    timeout_s: float,
    functions: Iterable[str] = (),
    released_at: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Acks:
    """Wait until every live process has answered release `sequence`.

    Args:
        store: Where they report.
        doorbell: Of that same store object, used by no other thread.
        sequence: The release.
        timeout_s: How long to wait at most.
        functions: Names that the release changed: only processes that have one of these, and
            only refusals of these, count. None: all.
        released_at: When writing the release began, by `clock`, if that is known.
        clock: For tests.

    Raises:
        StoreUnavailable: The store cannot be asked.

    """
    began = clock()
    names = frozenset(functions)
    listening: set[str] = set()
    while True:
        reports = [r for r in read_reports(store) if not names or names & r.functions.keys()]
        behind = [report for report in reports if report.sequence < sequence]
        elapsed_s = clock() - began
        if not behind or elapsed_s >= timeout_s:
            since = began if released_at is None else released_at
            return _sorted(reports, behind, names, clock() - since)
        waiting = {report.id for report in behind}
        if not waiting <= listening:
            doorbell.listen(log=False, processes=waiting)
            listening = waiting  # and look again: one may have answered meanwhile
            continue
        doorbell.wait(min(_LOOK_S, timeout_s - elapsed_s))


def _sorted(
    reports: list[ProcessReport],
    behind: list[ProcessReport],
    names: frozenset[str],
    elapsed_s: float,
) -> Acks:
    answered = [report for report in reports if report not in behind]
    refusals = {
        report.id: tuple(r for r in report.refused if not names or r.function in names)
        for report in answered
    }
    ran = [report for report in answered if not refusals[report.id]]
    return Acks(
        applied=tuple(report for report in ran if not _holds(report, names)),
        held=tuple(report for report in ran if _holds(report, names)),
        refused=tuple((r, refusals[r.id]) for r in answered if refusals[r.id]),
        behind=tuple(behind),
        elapsed_s=elapsed_s,
    )


def _holds(report: ProcessReport, names: frozenset[str]) -> bool:
    return bool(names.intersection(report.held) if names else report.held)
