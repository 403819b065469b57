"""Results as pictures: one SVG for each benchmark that has something to draw.

Ratios are dots with their quartiles on a logarithmic axis, goals are ticks; curves are lines over
sizes, with what they should look like beside them.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import RESULTS, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Curve, Row

INK, ACCENT, GOOD, BAD, PALE = "#24292f", "#0b62a4", "#2a7f3f", "#b3261e", "#b8bec6"


def draw(result: Result) -> Path | None:
    """Draw a benchmark's picture; return its file, or None if there is nothing to draw."""
    ratios = [row for row in result.rows if row.ratio is not None]
    if not ratios and not result.curves:
        return None
    plt = _pyplot()
    heights = [0.32 * len(ratios) + 0.9] * bool(ratios) + [3.2] * len(result.curves)
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(8.5, sum(heights)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    free = iter(axes[:, 0])
    if ratios:
        _draw_ratios(next(free), ratios)
    for axis, curve in zip(free, result.curves, strict=True):
        _draw_curve(axis, curve)
    figure.suptitle(f"{result.name}: {result.machine}", fontsize=9, color=INK)
    file = RESULTS / f"{result.name}.svg"
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = file.read_text("utf-8")
    file.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")
    return file


def _pyplot() -> Any:
    """Return matplotlib's, set up so that equal figures make equal files."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "scatter", "font.size": 9, "axes.edgecolor": PALE})
    return plt


def _draw_ratios(axis: Any, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        color = {True: GOOD, False: BAD, None: ACCENT}[row.reached]
        if row.spread:
            axis.plot(row.spread, [place, place], color=color, alpha=0.45, lw=4)
        axis.plot([row.ratio], [place], "o", color=color, ms=5)
    names = [
        textwrap.shorten(f"{row.what} ({row.python[:4]})", 68, placeholder="…") for row in rows
    ]
    axis.set_yticks(range(len(rows)), names, fontsize=7.5)
    axis.invert_yaxis()
    axis.axvline(1, color=PALE, lw=1, zorder=0)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axis.xaxis.set_minor_formatter(lambda value, _: f"{value:g}×")
    axis.tick_params(axis="x", which="both", labelsize=7.5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title("ratio to what it is compared with, and its quartiles", fontsize=8, loc="left")


def _draw_curve(axis: Any, curve: Curve) -> None:
    sides = [(curve.what, ACCENT, curve.points)]
    sides += [(curve.against, INK, curve.floor)] * bool(curve.floor)
    for name, color, points in sides:
        sizes = [x for x, _ in points]
        axis.plot(sizes, [sample.p50 for _, sample in points], "o-", color=color, ms=4, label=name)
        low, high = ([getattr(s, end) for _, s in points] for end in ("least", "p99"))
        axis.fill_between(sizes, low, high, color=color, alpha=0.12, lw=0)
    if curve.expected:
        (first, at), last = curve.points[0], curve.points[-1][0]
        grown = at.p50 * (last / first if curve.expected == "linear" else 1)
        axis.plot([first, last], [at.p50, grown], ":", color=PALE, label=curve.expected)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(curve.over, fontsize=8)
    axis.yaxis.set_major_formatter(lambda value, _: curve.show(value))
    axis.yaxis.set_minor_formatter("")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7.5, frameon=False)
