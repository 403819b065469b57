"""Measuring: both sides of a ratio take turns, many times, and every figure keeps its spread.

Not here: what is measured. A side is a function that runs once and returns how long it took, in
seconds for one unit of work.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from benchmarks.units import show

Side = Callable[[], float]
Slope = Literal["constant", "linear"]
MOST_SLOPE = {"constant": 0.25, "linear": 1.15}
"""Largest exponent of size, in `cost = a · size ** exponent`, of a curve that is as expected."""


class Progress(Protocol):
    """Tells what is measured just now."""

    def __call__(self, text: str, share: float | None = None, /) -> None:
        """Show it.

        Args:
            text: What.
            share: How much of this benchmark is done, 0 to 1; None if nobody knows.

        """
        ...


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
        unit: What the figures are: `s`, `share` of one core, `MB`, `B`, or empty for numbers.

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
        return show(value, self.unit)

    def fields(self) -> dict[str, Any]:
        """Return the row as JSON fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A cost that is measured at several sizes.

    Attributes:
        benchmark, what: As for a row.
        over: What grows: `functions`, `releases missed`.
        points: Size, and the figures there.
        expected: How the cost should grow over the whole range.
        floor: The same of what it is compared with, where there is that.
        against: What that is.
        unit: As for a row.
        python: As for a row.

    """

    benchmark: str
    what: str
    over: str
    points: Sequence[tuple[float, Sample]]
    expected: Slope | None = None
    floor: Sequence[tuple[float, Sample]] = ()
    against: str = ""
    unit: str = "s"
    python: str = ".".join(map(str, sys.version_info[:3]))

    @property
    def exponent(self) -> float:
        """How the cost grows: 0 is constant, 1 linear. Least squares over logarithms."""
        at = [(math.log(x), math.log(sample.p50)) for x, sample in self.points]
        return statistics.linear_regression(*zip(*at, strict=True)).slope

    @property
    def reached(self) -> bool | None:
        """Whether it grows no faster than it should; None where nothing is expected."""
        return self.exponent <= MOST_SLOPE[self.expected] if self.expected else None

    def show(self, value: float) -> str:
        """Return a figure of this curve for people."""
        return show(value, self.unit)

    def fields(self) -> dict[str, Any]:
        """Return the curve as JSON fields."""
        return asdict(self)


def curve_of(fields: dict[str, Any]) -> Curve:
    """Return a curve from its JSON fields."""
    sides = {
        name: [(x, Sample(**sample)) for x, sample in fields[name]] for name in ("points", "floor")
    }
    return Curve(**{**fields, **sides})


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
