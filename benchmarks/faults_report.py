"""What a fault run found, as a table and as JSON in `benchmarks/results/`."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.harness import Sample
from benchmarks.units import show

RESULTS = Path(__file__).parent / "results"


def markdown(summary: dict[str, Any]) -> str:
    """Return the table: by kind of fault, how long the slowest process took to the tip."""
    lines = [
        "| fault | count | lasted at most | to the tip: p50 | p99 | max |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    whole = [fault for fault in summary["faults"] if fault.get("took_s")]
    for kind in sorted({fault["kind"] for fault in whole}):
        some = [fault for fault in whole if fault["kind"] == kind]
        took = [max(fault["took_s"].values()) for fault in some]
        lasted = max(fault["lasted_s"] for fault in some)
        cells = [kind, str(len(some)), show(lasted), *_cells(took)]
        lines.append(f"| {' | '.join(cells)} |")
    if whole:
        took = [max(fault["took_s"].values()) for fault in whole]
        cells = ["**all**", str(len(whole)), "", *_cells(took)]
        lines.append(f"| {' | '.join(cells)} |")
    figures = (f"- {key}: {value:,}" for key, value in summary.items() if key not in _APART)
    return "\n".join([*lines, "", f"- seed: {summary['seed']}", *figures])


_APART = ("faults", "seed")


def _cells(took: list[float]) -> list[str]:
    sample = Sample.of(took)
    return [show(max(value, 1e-3)) for value in (sample.p50, sample.p99, max(took))]


def keep(summary: dict[str, Any]) -> None:
    """Write the results."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    RESULTS.mkdir(exist_ok=True)
    body = {"machine": machine, **summary}
    (RESULTS / "faults.json").write_text(json.dumps(body, indent=1) + "\n", "utf-8")
    text = (
        "# The fault run\n\nWritten by `python -m benchmarks.faults`, which says what is done and "
        "what is asserted; a run that breaks a promise writes nothing here. The time counts from "
        "the end of the fault, or from the last release after it, until the slowest process runs "
        f"that release.\n\nMeasured on {machine}.\n\n{markdown(summary)}\n"
    )
    (RESULTS / "faults.md").write_text(text, "utf-8")
