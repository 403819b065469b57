"""The fleet as one value: what runs where, which processes are alike, and what is in the way.

Not here: asking for it (`scatter.reports`, `scatter.cli.follow`) and showing it (`scatter.cli`).

Invariants
1. Values only: no I/O, no clock.
2. What differs comes first, and each trouble is there once, with all processes that have it.
3. Texts are as they were reported: who shows them makes them `printable`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scatter.model import FunctionState, ProcessReport
from scatter.names import number_of

REFUSED, BEHIND, WAITING, DISTRUSTED = "refused", "behind", "waiting", "distrusted"
HELD, SUPERSEDED, OTHER, WELL = "held", "superseded", "other code", ""
"""What a function can be in a process; `WELL`: its live version, or nothing to say of it."""
_ORDER = {
    mark: place
    for place, mark in enumerate(
        (REFUSED, DISTRUSTED, BEHIND, WAITING, OTHER, HELD, SUPERSEDED, WELL)
    )
}
_WHY = {
    BEHIND: "It lives and has not answered yet: it is importing modules, busy or stopped.",
    WAITING: "It takes versions on its own terms, where it calls agent.apply().",
    SUPERSEDED: "The code that is deployed there is newer. Push again to go over it.",
    DISTRUSTED: "A key that signed it was revoked since. Vouch for it with `scatter reset`, or "
    "push again.",
    OTHER: "Its code there was defined after that release.",
    HELD: "The process was moved there by hand, and keeps it until it calls pull().",
}
_LAPSED = "It was temporary. The process goes back to what was before, by its own clock."


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How one function is spread over the processes.

    Attributes:
        state: What the log says of it.
        versions: Version → how many processes run it.
        marks: What it is in processes (`REFUSED`, `BEHIND` …) → in how many, the worst first.

    """

    state: FunctionState
    versions: Mapping[int, int]
    marks: Mapping[str, int]

    @property
    def name(self) -> str:
        """The function's full name."""
        return self.state.function

    @property
    def total(self) -> int:
        """How many processes have the function."""
        return sum(self.versions.values())

    @property
    def on_live(self) -> int:
        """How many of them run the live version."""
        live = self.state.version
        return self.versions.get(live, 0) if live is not None else 0

    @property
    def is_well(self) -> bool:
        """Whether all run the live version, and nothing is to be said."""
        return self.on_live == self.total and not self.marks

    def running(self) -> str:
        """Return how many run the live version, and which others are run: `3/5 (v1 ×2)`."""
        rest = sorted((v, n) for v, n in self.versions.items() if v != self.state.version)
        others = ", ".join(f"{number_of(v)} ×{n}" if n > 1 else number_of(v) for v, n in rest)
        return f"{self.on_live}/{self.total}" + (f" ({others})" if others else "")

    def said(self) -> str:
        """Return what keeps it from running everywhere: `2 refused, 1 held`."""
        return ", ".join(f"{count} {mark}" for mark, count in self.marks.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Processes of which there is the same to say.

    Attributes:
        reports: What they report; at least one.
        behind: By how many releases they are behind; less than 0: ahead.
        notes: What else is so in each: `1 refused`, `pricing:score held`.

    """

    reports: tuple[ProcessReport, ...]
    behind: int
    notes: tuple[str, ...]

    @property
    def first(self) -> ProcessReport:
        """The report that stands for all."""
        return self.reports[0]

    def where(self) -> str:
        """Return where in the log they are: `current`, `2 behind`."""
        if not self.behind:
            return "current"
        return f"{abs(self.behind)} {'behind' if self.behind > 0 else 'ahead'}"

    @property
    def is_well(self) -> bool:
        """Whether they run what they should."""
        return self.first.state == "ready" and self.behind <= 0 and not _in_the_way(self.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Processes in which one function is the same.

    Attributes:
        version: What they run of it; None: nothing that they tell.
        mark: What it is there: `REFUSED`, `BEHIND` …, or `WELL`.
        why: What keeps them from the live version; empty where nothing does.
        reports: What they report; at least one.

    """

    version: int | None
    mark: str
    why: str
    reports: tuple[ProcessReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is in the way.

    Attributes:
        what: What it is, in a few words.
        why: Why, and what to do.
        reports: Of the processes that have it; at least one.

    """

    what: str
    why: str
    reports: tuple[ProcessReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Functions by version, and the processes that run them.

    Attributes:
        functions: What the log says.
        reports: What the processes say.
        tip: The newest release.
        spreads: Each function; those first that do not run everywhere, then the newest.

    """

    functions: Mapping[str, FunctionState]
    reports: tuple[ProcessReport, ...]
    tip: int
    spreads: tuple[Spread, ...]

    def headline(self) -> str:
        """Return one line that sums the processes up."""
        reports, tip = self.reports, self.tip
        counts = {
            "current": sum(r.sequence >= tip and r.state == "ready" for r in reports),
            "behind": sum(r.sequence < tip for r in reports),
            "not ready": sum(r.state != "ready" for r in reports),
            "with refusals": sum(bool(r.refused) for r in reports),
            "with holds": sum(bool(r.held) for r in reports),
        }
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        noun = "process" if len(reports) == 1 else "processes"
        return f"{len(reports)} {noun} at release {tip}" + (f": {said}" if said else "")

    def processes(self, *, each: bool = False) -> list[Alike]:
        """Return the processes, those in trouble first, then the largest groups.

        Args:
            each: One by one; else those that are alike together.

        """
        found: dict[object, list[ProcessReport]] = {}
        for report in self.reports:
            key = report.id if each else (*_what(report), report.sequence, _notes(report))
            found.setdefault(key, []).append(report)
        groups = [
            Alike(
                reports=tuple(reports),
                behind=self.tip - reports[0].sequence,
                notes=_notes(reports[0]),
            )
            for reports in found.values()
        ]
        return sorted(groups, key=lambda group: (group.is_well, -len(group.reports)))

    def shares(self, function: str) -> list[Share]:
        """Return the processes that have a function by what it is there, the worst first."""
        state = self.functions.get(function)
        found: dict[tuple[int | None, str, str], list[ProcessReport]] = {}
        for report in self.reports:
            version = report.functions.get(function)
            mark, why = _standing(report, function, state)
            if version is not None or mark:
                found.setdefault((version, mark, why), []).append(report)
        shares = [
            Share(version=version, mark=mark, why=why, reports=tuple(reports))
            for (version, mark, why), reports in found.items()
        ]
        return sorted(shares, key=lambda share: (_ORDER[share.mark], -len(share.reports)))

    def troubles(self) -> list[Trouble]:
        """Return each trouble once: a fleet refuses with one voice."""
        found: dict[tuple[str, str], list[ProcessReport]] = {}
        for report in self.reports:
            for trouble in _troubles(self.functions, report, self.tip):
                found.setdefault(trouble, []).append(report)
        return [
            Trouble(what=what, why=why, reports=tuple(reports))
            for (what, why), reports in found.items()
        ]


def fleet_of(
    functions: Mapping[str, FunctionState], reports: Sequence[ProcessReport], tip: int
) -> Fleet:
    """Return the fleet.

    Args:
        functions: What the log says.
        reports: What the processes say.
        tip: The newest release.

    """
    versions: dict[str, Counter[int]] = {name: Counter() for name in functions}
    marks: dict[str, Counter[str]] = {name: Counter() for name in functions}
    for report in reports:
        for name, version in report.functions.items():
            if name in versions:
                versions[name][version] += 1
        for name, mark in _marks(report, functions).items():
            if name in marks:
                marks[name][mark] += 1
    spreads = [
        Spread(
            state=state,
            versions=versions[name],
            marks=dict(sorted(marks[name].items(), key=lambda item: _ORDER[item[0]])),
        )
        for name, state in functions.items()
    ]
    return Fleet(
        functions=functions,
        reports=tuple(reports),
        tip=tip,
        spreads=tuple(sorted(spreads, key=_place)),
    )


def _place(spread: Spread) -> tuple[int, bool, int, str]:
    worst = min((_ORDER[mark] for mark in spread.marks), default=_ORDER[WELL])
    return worst, spread.is_well, -spread.state.sequence, spread.name


# of one process --------------------------------------------------------------------------


def name_of(report: ProcessReport) -> str:
    """Return the short name of a process: host and pid."""
    return f"{report.host}:{report.pid}"


def names_of(reports: Sequence[ProcessReport], most: int = 1) -> str:
    """Return how people know processes: the first ones by name, and how many more there are."""
    names = ", ".join(map(name_of, reports[:most]))
    rest = len(reports) - most
    return f"{names} and {rest} more" if rest > 0 else names


def _what(report: ProcessReport) -> tuple[str, str, str]:
    return report.application, report.python, report.state


def _notes(report: ProcessReport) -> tuple[str, ...]:
    """Return what there is to note of a process, in a few words each."""
    notes = [f"{len(report.refused)} refused"] * bool(report.refused)
    notes += [f"{name} held" for name in report.held]
    notes += [f"{len(report.pending)} waiting"] * bool(report.pending)
    notes += [f"{len(report.superseded)} superseded"] * bool(report.superseded)
    notes += [f"{len(report.distrusted)} distrusted"] * bool(report.distrusted)
    return tuple(notes)


def _in_the_way(report: ProcessReport) -> bool:
    return bool(report.refused or report.held or report.distrusted)


def _marks(report: ProcessReport, functions: Mapping[str, FunctionState]) -> dict[str, str]:
    """Return function → what it is in a process, of those of which there is something to say."""
    found = {name: _unlike(report, name, functions.get(name)) for name in report.functions}
    found |= _named(report)
    return {name: mark for name, mark in found.items() if mark}


def _named(report: ProcessReport) -> dict[str, str]:
    """Return function → what a process itself says that it is there; the worst where several."""
    found = dict.fromkeys(report.superseded, SUPERSEDED)
    found |= dict.fromkeys(report.held, HELD)
    found |= dict.fromkeys(report.pending, WAITING)
    found |= dict.fromkeys(report.distrusted, DISTRUSTED)
    return found | {refusal.function: REFUSED for refusal in report.refused}


def _unlike(report: ProcessReport, function: str, state: FunctionState | None) -> str:
    """Return what a version that is not the live one is, where the process says nothing of it."""
    if state is None or state.version is None:
        return WELL
    if report.functions.get(function, state.version) == state.version:
        return WELL
    if report.sequence < state.sequence:
        return BEHIND
    return OTHER if state.version else WELL  # a function that was fetched has no deployed code


def _standing(report: ProcessReport, function: str, state: FunctionState | None) -> tuple[str, str]:
    """Return what a function is in a process, and why."""
    mark = _named(report).get(function) or _unlike(report, function, state)
    if mark == REFUSED:
        found = next(r for r in report.refused if r.function == function)
        return mark, f"v{found.version} {found.reason}: {found.message}"
    if mark == BEHIND and report.reason:
        return mark, f"{report.state}: {report.reason}"
    return mark, _WHY.get(mark, "")


def _troubles(
    functions: Mapping[str, FunctionState], report: ProcessReport, tip: int
) -> Iterator[tuple[str, str]]:
    """Yield (what, why) of all that a process has trouble with."""
    if report.reason:
        yield report.state, report.reason
    elif report.pending:
        yield f"{len(report.pending)} waiting", _WHY[WAITING]
    elif report.sequence < tip:
        yield f"{tip - report.sequence} behind", _WHY[BEHIND]
    for refusal in report.refused:
        yield f"{refusal.function} v{refusal.version} refused: {refusal.reason}", refusal.message
    for name in report.superseded:
        live = functions[name].version if name in functions else None
        yield f"{name} {number_of(live)} superseded", _WHY[SUPERSEDED]
    for name in report.distrusted:
        yield f"{name} distrusted", _WHY[DISTRUSTED]
    for name, mark in _marks(report, functions).items():
        if mark == OTHER:
            yield _other(functions[name], report.functions[name])


def _other(state: FunctionState, version: int) -> tuple[str, str]:
    """Return (what, why) of a version that a process runs in place of the live one."""
    if state.lapsed and version:
        return f"{state.function} {number_of(version)} is over", _LAPSED
    here, due = number_of(version), number_of(state.version)
    return f"{state.function} {here} in place of {due}", _WHY[OTHER]


__all__ = [
    "Alike", "Fleet", "Share", "Spread", "Trouble", "fleet_of", "name_of", "names_of",
    "BEHIND", "DISTRUSTED", "HELD", "OTHER", "REFUSED", "SUPERSEDED", "WAITING", "WELL",
]  # fmt: skip
