"""What is in the tables of the screen: rows of text from a fleet. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scatter.cli.output import ago, fitted, number_of, short
from scatter.fleet import Alike, Fleet, Share, Spread, names_of
from scatter.model import ProcessReport
from scatter.names import printable

FUNCTIONS = (" ", "FUNCTION", "LIVE", "RUNNING IT", "IN THE WAY", "BY", "WHEN")
SHARES = (" ", "PROCESS", "RUNS", "IN THE WAY", "WHY")
PROCESSES = (" ", "PROCESS", "APPLICATION", "PYTHON", "STATE", "RELEASE", "NOTES")
_MARK = {False: "!", True: " "}
"""Before a row: whether all is well. A letter, since there may be no colour."""
_CELL = 2
"""What a table adds to the width of each cell."""
_MANY = 40
"""Processes that are named where all are asked for."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table.

    Attributes:
        key: Tells it from the other rows, also after they have changed.
        cells: What is in it.
        reports: Of the processes that it stands for.

    """

    key: str
    cells: tuple[str, ...]
    reports: tuple[ProcessReport, ...] = ()


SORTS: dict[str, Callable[[Spread], Any] | None] = {
    "trouble first": None,  # as the fleet has them
    "by name": lambda spread: spread.name,
    "newest first": lambda spread: -spread.state.sequence,
}


def function_lines(fleet: Fleet, sort: str, wanted: str, now: datetime) -> list[Line]:
    """Return a row for each function.

    Args:
        fleet: The fleet.
        sort: One of `SORTS`.
        wanted: Only rows that have this text; empty: all.
        now: For ages.

    """
    key = SORTS[sort]
    spreads = sorted(fleet.spreads, key=key) if key else list(fleet.spreads)
    return _having(wanted, (_function_line(spread, now) for spread in spreads))


def _function_line(spread: Spread, now: datetime) -> Line:
    state = spread.state
    cells = (
        _MARK[not spread.marks],
        spread.name,
        number_of(state.version),
        spread.running(),
        spread.said(),
        short(state.author.partition("@")[0], 12),  # the details have all of it
        ago(state.time, now),
    )
    return Line(spread.name, tuple(map(printable, cells)))


def share_lines(fleet: Fleet, function: str, *, each: bool = False) -> list[Line]:
    """Return the processes that have a function: a row for each thing that it is in some."""
    shares = fleet.shares(function)
    if each:
        shares = [
            Share(version=s.version, mark=s.mark, why=s.why, reports=(report,))
            for s in shares
            for report in s.reports
        ]
    return [_share_line(share) for share in shares]


def _share_line(share: Share) -> Line:
    runs = "?" if share.version is None else number_of(share.version)
    cells = (_MARK[not share.mark], names_of(share.reports), runs, share.mark or "-", share.why)
    key = f"{share.version} {share.mark} {share.why}"
    return Line(_key(share.reports, key), tuple(map(printable, cells)), share.reports)


def process_lines(fleet: Fleet, wanted: str, *, each: bool = False) -> list[Line]:
    """Return the processes, of all functions: a row for those that are alike."""
    return _having(wanted, map(_process_line, fleet.processes(each=each)))


def _process_line(group: Alike) -> Line:
    first = group.first
    notes = [*group.notes, first.reason] if first.reason else group.notes
    cells = (
        _MARK[group.is_well],
        names_of(group.reports),
        first.application,
        first.python,
        first.state,
        group.where(),
        ", ".join(notes),
    )
    return Line(_key(group.reports, str(cells[2:])), tuple(map(printable, cells)), group.reports)


def _key(reports: Sequence[ProcessReport], text: str) -> str:
    """Return what a row of processes is known by: the one process, or what they have in common."""
    return f"process {reports[0].id}" if len(reports) == 1 else text


def _having(wanted: str, lines: Iterable[Line]) -> list[Line]:
    wanted = wanted.casefold()
    return [line for line in lines if any(wanted in cell.casefold() for cell in line.cells)]


# widths ----------------------------------------------------------------------------------


def widths(headers: Sequence[str], lines: Sequence[Line], room: int) -> list[int]:
    """Return the widths of columns, so that a table fits into a room of characters."""
    columns = zip(headers, *(line.cells for line in lines), strict=True)
    wide = [max(map(len, column)) for column in columns]
    rest = room - _CELL * len(wide) - wide[0] + 2 * (len(wide) - 2)  # as `fitted` counts gaps
    return [wide[0], *fitted(wide[1:], rest)]


def cut(cell: str, width: int, *, at_end: bool = True) -> str:
    """Return a cell that is no wider than its column; of names the end is kept."""
    if len(cell) <= width:
        return cell
    return f"{cell[: width - 1]}…" if at_end else f"…{cell[1 - width :]}"


# everything about a row ------------------------------------------------------------------


def function_details(fleet: Fleet, function: str, now: datetime) -> Iterator[str]:
    """Yield lines with all that there is to say of a function."""
    state = fleet.functions[function]
    live = f"{number_of(state.version)} by {state.author}, {ago(state.time, now)}"
    yield printable(f"{function} {live}, release {state.sequence}")
    for share in fleet.shares(function):
        runs = "runs ?" if share.version is None else f"runs {number_of(share.version)}"
        what = f"{share.mark}, {runs}" if share.mark else runs
        yield ""
        yield printable(f"{what}: {names_of(share.reports, _MANY)}")
        if share.why:
            yield printable(f"  {share.why}")


def process_details(fleet: Fleet, reports: Sequence[ProcessReport]) -> Iterator[str]:
    """Yield lines with all that there is to say of processes that are alike."""
    known = {report.id for report in reports}
    yield printable(names_of(reports, _MANY))
    first = reports[0]
    told = {"image": first.image, "commit": first.commit, **first.labels}
    yield printable(", ".join(f"{name} {text}" for name, text in told.items() if text))
    for trouble in fleet.troubles():
        having = [report for report in trouble.reports if report.id in known]
        if having:
            yield ""
            yield printable(f"{trouble.what}, in {names_of(having, _MANY)}")
            yield printable(f"  {trouble.why}")
    if len(reports) == 1:
        yield ""
        for name, version in sorted(first.functions.items()):
            held = " (held)" if name in first.held else ""
            yield printable(f"{name} {number_of(version)}{held}")
