"""The fleet on one screen, as lines: functions by version, processes, what keeps them from it.

A fleet agrees about most things, so what is the same is said once: processes that are alike are
one row, and of many functions those come first that do not run everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from scatter.cli.lending import live_of
from scatter.cli.output import Row, ago, data, note_lines, say, table_lines, who
from scatter.fleet import names_of

if TYPE_CHECKING:
    from scatter.fleet import Fleet

NOBODY = "No process has reported. Does your application call scatter_agent.start()?"
_NAMED = 3
"""How many processes a note names before it says how many more there are."""
_FEW = 8
"""Processes up to this number get a row each."""
_ROWS = 15
"""Rows of a table that fit on the screen with the others."""
_LEAST = 3


def show(fleet: Fleet, *, everything: bool = False) -> None:
    """Print all of it.

    Args:
        fleet: What there is to show.
        everything: A row for each function and each process, however many there are.

    """
    for line in lines(fleet, everything=everything):
        data(line)
    if not fleet.reports:
        say(NOBODY)


def fitted(fleet: Fleet, height: int, *, everything: bool = False) -> list[str]:
    """Return the lines that fit a screen: with fewer rows if need be, and cut at last.

    Args:
        fleet: What there is to show.
        height: How many lines the screen has.
        everything: As in `show`.

    """
    rows = _ROWS
    found = list(lines(fleet, everything=everything))
    while len(found) > height and rows > _LEAST and not everything:
        rows -= 1
        found = list(lines(fleet, rows=rows))
    if len(found) > height:
        rest = len(found) - height + 1
        found[height - 1 :] = [f"… and {rest} more lines (make the window higher, or scatter top)"]
    return found


def lines(fleet: Fleet, *, everything: bool = False, rows: int = _ROWS) -> Iterator[str]:
    """Yield the lines of the screen.

    Args:
        fleet: What there is to show.
        everything: As in `show`.
        rows: How many rows a table has at most.

    """
    most = None if everything else rows
    if fleet.functions:
        yield from _limited(("FUNCTION", "LIVE", "RUNNING IT", "BY", "WHEN"), _spreads(fleet), most)
        yield ""
    if not fleet.reports:
        return
    yield from note_lines(fleet.headline())
    headers = ("PROCESS", "APPLICATION", "PYTHON", "STATE", f"RELEASE {fleet.tip}", "NOTES")
    yield from _limited(headers, _processes(fleet, everything), most)
    for trouble in fleet.troubles():
        yield ""
        headline = f"{trouble.what}, in {names_of(trouble.reports, _NAMED)}"
        yield from note_lines(headline, trouble.why)


def _limited(headers: Row, rows: Sequence[Row], most: int | None) -> Iterator[str]:
    """Yield the lines of a table, and how much of it was left out."""
    yield from table_lines(headers, rows[:most])
    if most is not None and len(rows) > most:
        yield f"… and {len(rows) - most} more (scatter status --all)"


def _spreads(fleet: Fleet) -> list[Row]:
    return [
        (s.name, live_of(s.state), s.running(), who(s.state.author), ago(s.state.time))
        for s in fleet.spreads
    ]


def _processes(fleet: Fleet, everything: bool) -> list[Row]:
    return [
        (
            names_of(group.reports),
            group.first.application,
            group.first.python,
            group.first.state,
            group.where(),
            ", ".join(group.notes),
        )
        for group in fleet.processes(each=everything or len(fleet.reports) <= _FEW)
    ]
