"""The fleet on one screen: functions by version, processes, and what keeps them from it.

A fleet agrees about most things, so what is the same is said once: processes that are alike are
one row, and of many functions those come first that do not run everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from scatter.cli.lending import live_of
from scatter.cli.output import Row, ago, data, note, number_of, say, table, who

if TYPE_CHECKING:
    from scatter.model import FunctionState, ProcessReport

_NAMED = 3
"""How many processes a note names before it says how many more there are."""
_FEW = 8
"""Processes up to this number get a row each."""
_ROWS = 15
"""Rows of a table that fit on the screen with the others."""


def show(
    functions: Mapping[str, FunctionState],
    reports: Sequence[ProcessReport],
    tip: int,
    *,
    everything: bool = False,
) -> None:
    """Print all of it.

    Args:
        functions: What the log says.
        reports: What the processes say.
        tip: The newest release.
        everything: A row for each function and each process, however many there are.

    """
    if functions:
        _show_functions(functions, reports, everything)
        data("")
    if not reports:
        say("No process has reported. Does your application call scatter_agent.start()?")
        return
    note(_headline(reports, tip))
    _show_processes(reports, tip, everything)
    _show_troubles(functions, reports, tip)


def _headline(reports: Sequence[ProcessReport], tip: int) -> str:
    """Return one line that sums the processes up."""
    counts = {
        "current": sum(r.sequence >= tip and r.state == "ready" for r in reports),
        "behind": sum(r.sequence < tip for r in reports),
        "not ready": sum(r.state != "ready" for r in reports),
        "with refusals": sum(bool(r.refused) for r in reports),
        "with holds": sum(bool(r.held) for r in reports),
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{len(reports)} process{'es' * (len(reports) != 1)} at release {tip}: {said}"


# functions -------------------------------------------------------------------------------


def _show_functions(
    functions: Mapping[str, FunctionState], reports: Sequence[ProcessReport], everything: bool
) -> None:
    rows: list[tuple[bool, int, Row]] = []
    for name, state in functions.items():
        running = Counter(r.functions[name] for r in reports if name in r.functions)
        on_live = running.pop(state.version, 0) if state.version is not None else 0
        total = on_live + running.total()
        others = ", ".join(_times(v, count) for v, count in sorted(running.items()))
        runs = f"{on_live}/{total}" + (f" ({others})" if others else "")
        row = (name, live_of(state), runs, who(state.author), ago(state.time))
        rows.append((not others, -state.sequence, row))
    if len(rows) > _ROWS and not everything:
        rows.sort(key=lambda row: row[:2])  # what differs first, then what is newest
    _limited(
        ("FUNCTION", "LIVE", "RUNNING IT", "BY", "WHEN"),
        [row for *_, row in rows],
        everything,
    )


def _times(version: int, count: int) -> str:
    return f"{number_of(version)} ×{count}" if count > 1 else number_of(version)


def _limited(headers: Row, rows: Sequence[Row], everything: bool) -> None:
    """Print a table, and how much of it was left out."""
    shown = rows if everything else rows[:_ROWS]
    table(headers, shown)
    if len(rows) > len(shown):
        data(f"… and {len(rows) - len(shown)} more (scatter status --all)")


# processes -------------------------------------------------------------------------------


def _show_processes(reports: Sequence[ProcessReport], tip: int, everything: bool) -> None:
    alike: dict[Row, list[ProcessReport]] = {}
    for report in reports:
        alike.setdefault(_state_of(report, tip), []).append(report)
    groups = list(alike.items())
    if everything or len(reports) <= _FEW:
        groups = [(_state_of(report, tip), [report]) for report in reports]
    else:  # those that differ first: they are why somebody looks
        groups.sort(key=lambda group: (_is_well(group[1][0], tip), -len(group[1])))
    headers = ("PROCESS", "APPLICATION", "PYTHON", "STATE", f"RELEASE {tip}", "NOTES")
    _limited(headers, [(_called(found), *state) for state, found in groups], everything)


def _state_of(report: ProcessReport, tip: int) -> Row:
    """Return what there is to see of a process, but for its name."""
    behind = tip - report.sequence
    notes = [f"{len(report.refused)} refused"] * bool(report.refused)
    notes += [f"{name} held" for name in report.held]
    notes += [f"{len(report.pending)} waiting"] * bool(report.pending)
    notes += [f"{len(report.superseded)} superseded"] * bool(report.superseded)
    notes += [f"{len(report.distrusted)} distrusted"] * bool(report.distrusted)
    where = "current" if not behind else f"{abs(behind)} {'behind' if behind > 0 else 'ahead'}"
    return report.application, report.python, report.state, where, ", ".join(notes)


def _is_well(report: ProcessReport, tip: int) -> bool:
    at_tip = report.state == "ready" and report.sequence >= tip
    return at_tip and not (report.refused or report.held or report.distrusted)


def _called(reports: Sequence[ProcessReport]) -> str:
    """Return how people know a process, or several that are alike."""
    first = _name(reports[0])
    return first if len(reports) == 1 else f"{first} and {len(reports) - 1} more"


def _name(report: ProcessReport) -> str:
    return f"{report.host}:{report.pid}"


# troubles --------------------------------------------------------------------------------


def _show_troubles(
    functions: Mapping[str, FunctionState], reports: Sequence[ProcessReport], tip: int
) -> None:
    """Say each trouble once, with the processes that have it: a fleet refuses with one voice."""
    found: dict[tuple[str, str], list[str]] = {}
    for report in reports:
        for trouble in _troubles(functions, report, tip):
            found.setdefault(trouble, []).append(_name(report))
    for (what, why), processes in found.items():
        rest = len(processes) - _NAMED
        more = f" and {rest} more" if rest > 0 else ""
        data("")
        note(f"{what}, in {', '.join(processes[:_NAMED])}{more}", why)


def _troubles(
    functions: Mapping[str, FunctionState], report: ProcessReport, tip: int
) -> Iterator[tuple[str, str]]:
    """Yield (what, why) of all that a process has trouble with."""
    if report.reason:
        yield report.state, report.reason
    elif report.pending:
        yield (
            f"{len(report.pending)} waiting",
            "It takes versions on its own terms, where it calls agent.apply().",
        )
    elif report.sequence < tip:
        yield (
            f"{tip - report.sequence} behind",
            "It lives and has not answered yet: it is importing modules, busy or stopped.",
        )
    for refusal in report.refused:
        yield f"{refusal.function} v{refusal.version} refused: {refusal.reason}", refusal.message
    for name in report.superseded:
        live = functions[name].version if name in functions else None
        yield (
            f"{name} {number_of(live)} superseded",
            "The code that is deployed there is newer. Push again to go over it.",
        )
    for name in report.distrusted:
        yield (
            f"{name} distrusted",
            "A key that signed it was revoked since. Vouch for it with `scatter reset`, or push "
            "again.",
        )
    elsewhere = {*report.held, *report.superseded, *report.pending}
    elsewhere |= {refusal.function for refusal in report.refused}
    for name, version in report.functions.items():
        state = functions.get(name)
        answered = state is not None and report.sequence >= state.sequence
        if state is None or not state.version or not answered or version == state.version:
            continue
        if name not in elsewhere:
            yield _other(state, version)


def _other(state: FunctionState, version: int) -> tuple[str, str]:
    """Return (what, why) of a version that a process runs in place of the live one."""
    if state.lapsed and version:
        what = f"{state.function} {number_of(version)} is over"
        return what, "It was temporary. The process goes back to what was before, by its own clock."
    what = f"{state.function} {number_of(version)} in place of {number_of(state.version)}"
    return what, "Its code there was defined after that release."
