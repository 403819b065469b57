"""Judges a fault run by what its processes told and what the log had.

Not here: results that were torn or mixed, and callers' errors: the workers find those themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.faults_app import NAMES, SHORTS
from benchmarks.faults_fleet import Process
from benchmarks.faults_log import Record

HONEST_S = 15.0
"""How long a process may call itself ready below the tip: a look (6 s at most), two replies that do
not come (2 s each), and a machine that has more to do."""
WAKES_S = 3.0
"""How long a process that was frozen itself may take to find out."""


class Judge:
    """Knows what each process should have run after each release."""

    def __init__(self, record: Record, bad: set[int]) -> None:
        """Take the finished record, and the stamps of versions that could not be had or linked."""
        self._record = record
        self._bad = bad
        self._live = [list(_folded(era)) for era in record.eras]

    def faults_of(self, process: Process) -> list[str]:
        """Return every promise that one process broke."""
        found = [f"{process.name}: {wrong}" for wrong in process.newest.get("wrong", ())]
        first = process.states[0]["vector"] if process.is_child else dict.fromkeys(NAMES, 0)
        found += [f"{process.name}: {text}" for text in self._history(process.switches, first)]
        found += [f"{process.name}: {text}" for text in self._lies(process.states)]
        return found

    # what was applied --------------------------------------------------------------------

    def _history(self, switches: list[dict[str, Any]], vector: dict[str, int]) -> Iterator[str]:
        """Hold what a process switched to against the logs, laid end to end.

        After each switch it must run exactly what the log had as of the release that it names, at a
        place that is not before the last one. Where that includes a version that could not run, it
        runs others: each must be of the log, and not before the last one of its function.
        """
        place = (0, 0)
        at = dict.fromkeys(NAMES, (0, 0))
        for switch in switches:
            vector = vector | {SHORTS[full]: stamp for full, stamp in switch["stamps"].items()}
            found = self._place(switch["sequence"], vector, place)
            if found is not None:
                place = found
                at = dict.fromkeys(NAMES, found)
                continue
            problem = self._is_explained(switch, place, at)
            if problem:
                yield f"{problem}: {switch}"

    def _place(
        self, sequence: int, vector: dict[str, int], after: tuple[int, int]
    ) -> tuple[int, int] | None:
        """Return (era, sequence) at which the log had just this; None if nowhere."""
        for era in range(after[0], len(self._live)):
            states = self._live[era]
            if (era, sequence) >= after and sequence < len(states):
                live = states[sequence]
                if all(vector[name] == stamp for name, (_, stamp) in live.items()):
                    return era, sequence
        return None

    def _is_explained(
        self, switch: dict[str, Any], place: tuple[int, int], at: dict[str, tuple[int, int]]
    ) -> str:
        """Return why a switch is none that the log had; empty if it is."""
        sequence = switch["sequence"]
        eras = range(place[0], len(self._live))
        if not any(self._is_bad(era, sequence) for era in eras):
            return "it ran what no log had"
        for full, version in switch["versions"].items():
            name = SHORTS[full]
            change = version, switch["stamps"][full]
            found = self._change(name, change, at[name], sequence)
            if found is None:
                return f"version {version} of {full} is nowhere in the log after {at[name]}"
            at[name] = found
        return ""

    def _is_bad(self, era: int, sequence: int) -> bool:
        if sequence >= len(self._live[era]):
            return False
        return any(stamp in self._bad for _, stamp in self._live[era][sequence].values())

    def _change(
        self, name: str, change: tuple[int, int], after: tuple[int, int], until: int
    ) -> tuple[int, int] | None:
        """Return the first place after `after` where the log has a change of a function."""
        for era in range(after[0], len(self._record.eras)):
            first = after[1] if era == after[0] else 0
            for entry in self._record.eras[era][first:until]:
                if entry.changes.get(name) == change:
                    return era, entry.sequence
        return None

    # what was said -----------------------------------------------------------------------

    def _lies(self, states: list[dict[str, Any]]) -> Iterator[str]:
        """Find where a process said that it was ready and had not been at the tip for long."""
        before = awake_at = 0.0
        for state in states:
            if state["t"] - before > 2.0:
                awake_at = state["t"]
            before = state["t"]
            if state["state"] != "ready" or state["t"] - awake_at < WAKES_S:
                continue
            era, tip = self._record.tip_at(state["t"] - HONEST_S)
            if era == self._record.tip_at(state["t"])[0] and state["sequence"] < tip:
                yield f"it was ready at {state['sequence']}, {HONEST_S:g} s after {tip}: {state}"
                return


def _folded(era: list[Any]) -> Iterator[dict[str, tuple[int, int]]]:
    """Yield function → (version, stamp) as of each release, from 0."""
    live: dict[str, tuple[int, int]] = {}
    yield live
    for entry in era:
        live = live | entry.changes
        yield live
