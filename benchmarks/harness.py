"""Measuring: both sides of a ratio take turns, many times, and every figure keeps its spread.

Not here: what is measured. A side is a function that runs once and returns how long it took, in
seconds for one unit of work.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Side = Callable[[], float]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Figures of one side, in the unit of their row."""

    least: float
    p50: float
    p99: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Sample:
        """Sum up measured values."""
        ordered = sorted(values)
        return cls(
            least=ordered[0],
            p50=statistics.median(ordered),
            p99=ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
            count=len(ordered),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        benchmark, what: Which benchmark, and what it measured.
        sample: The figures.
        against: What it is compared with; empty if with nothing.
        floor: Figures of that, from the same run.
        ratio: `sample` to `floor`, by the measure that suits the benchmark.
        spread: First and third quartile of the ratio over the rounds.
        goal: What it should reach.
        reached: Whether it does, here and now; None where there is no goal.
        python: Version of the interpreter that was measured.
        unit: What the figures are: `s`, `share` of one core, `MB`, or empty for numbers.

    """

    benchmark: str
    what: str
    sample: Sample
    against: str = ""
    floor: Sample | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    goal: str = ""
    reached: bool | None = None
    python: str = ".".join(map(str, sys.version_info[:3]))
    unit: str = "s"

    def show(self, value: float) -> str:
        """Return a figure of this row for people."""
        if self.unit == "share":
            return f"{value:.3%}" if value < 0.005 else f"{value:.2%}"
        return show(value) if self.unit == "s" else f"{value:.1f} {self.unit}".strip()

    def fields(self) -> dict[str, Any]:
        """Return the row as JSON fields."""
        return asdict(self)


def row_of(fields: dict[str, Any]) -> Row:
    """Return a row from its JSON fields: those of another Python come through a pipe."""
    floor = fields["floor"]
    return Row(
        **{
            **fields,
            "sample": Sample(**fields["sample"]),
            "floor": Sample(**floor) if floor else None,
            "spread": tuple(fields["spread"]) if fields["spread"] else None,
        }
    )


def take_turns(sides: Mapping[str, Side], rounds: int) -> dict[str, list[float]]:
    """Run all sides one after the other, `rounds` times; return what each measured.

    Every second round goes backwards, so that no side always follows the same one.
    """
    measured: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        for name in names if number % 2 else reversed(names):
            measured[name].append(sides[name]())
    return measured


def compare(
    benchmark: str,
    what: str,
    values: Sequence[float],
    against: str,
    floor: Sequence[float],
    *,
    most: float | None = None,
    by_least: bool = False,
) -> Row:
    """Return the row of a ratio: of minima where noise only adds, else of medians."""
    one, other = Sample.of(values), Sample.of(floor)
    ratio = one.least / other.least if by_least else one.p50 / other.p50
    ratios = sorted(a / b for a, b in zip(values, floor, strict=False))
    quarter = len(ratios) // 4
    return Row(
        benchmark=benchmark,
        what=what,
        sample=one,
        against=against,
        floor=other,
        ratio=ratio,
        spread=(ratios[quarter], ratios[-1 - quarter]),
        goal=f"≤ {most:g}×" if most else "",
        reached=ratio <= most if most else None,
    )


def alone(benchmark: str, what: str, values: Sequence[float], *, most_s: float = 0) -> Row:
    """Return the row of a duration that has no floor, with a goal for its median."""
    sample = Sample.of(values)
    return Row(
        benchmark=benchmark,
        what=what,
        sample=sample,
        goal=f"p50 ≤ {show(most_s)}" if most_s else "",
        reached=sample.p50 <= most_s if most_s else None,
    )


def show(seconds: float) -> str:
    """Return a duration with a unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a table."""
    lines = [
        "| benchmark | what | Python | min | p50 | p99 | against | ratio | quartiles | goal | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sample = row.sample
        ratio = f"{row.ratio:.2f}×" if row.ratio else ""
        spread = f"{row.spread[0]:.2f} to {row.spread[1]:.2f}" if row.spread else ""
        floor = f"{row.against} ({row.show(row.floor.p50)})" if row.floor else ""
        reached = {True: "✓", False: "✗", None: ""}[row.reached]
        cells = [row.benchmark, row.what, row.python, row.show(sample.least), row.show(sample.p50)]
        cells += [row.show(sample.p99), floor, ratio, spread, row.goal, reached]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
