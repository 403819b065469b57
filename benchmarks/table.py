"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.harness import Curve, Row

_MARKS = {True: "✓", False: "✗", None: ""}
_ROWS = (
    "benchmark",
    "what",
    "Python",
    "min",
    "p50",
    "p99",
    "against",
    "ratio",
    "quartiles",
    "goal",
    "",
)


def rows_table(rows: Sequence[Row]) -> str:
    """Return rows as a table."""
    return table(_ROWS, map(_cells, rows))


def curves_table(curves: Sequence[Curve]) -> str:
    """Return curves as a table: the cost at both ends, and how it grows."""
    names = "benchmark", "what", "from", "to", "grows as", "expected", ""
    return table(names, map(_curve_cells, curves))


def _cells(row: Row) -> list[str]:
    sample = row.sample
    return [
        row.benchmark,
        row.what,
        row.python,
        *map(row.show, (sample.least, sample.p50, sample.p99)),
        against_of(row),
        ratio_of(row),
        " to ".join(map(_ratio, row.spread)) if row.spread else "",
        row.goal,
        _MARKS[row.reached],
    ]


def against_of(row: Row) -> str:
    """Return what a row is compared with, and the median of that."""
    return f"{row.against} ({row.show(row.floor.p50)})" if row.floor else row.against


def ratio_of(row: Row) -> str:
    """Return the ratio of a row; empty if it has none."""
    return f"{_ratio(row.ratio)}×" if row.ratio is not None else ""


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _curve_cells(curve: Curve) -> list[str]:
    (least, first), (most, last) = curve.points[0], curve.points[-1]
    return [
        curve.benchmark,
        curve.what,
        f"{curve.show(first.p50)} at {least:,g} {curve.over}",
        f"{curve.show(last.p50)} at {most:,g}",
        f"size ^ {curve.exponent:.2f}",
        curve.expected or "",
        _MARKS[curve.reached],
    ]


def table(names: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return lines as a table."""
    rule = ["---"] * len(names)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, rule, *lines))
