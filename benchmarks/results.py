"""Keeps what a benchmark measured: one JSON file each, in `benchmarks/results/`.

A benchmark can be measured again alone; tables, plots and pages are made of all that is kept.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Curve, Row, curve_of, row_of
from benchmarks.noise import Noise

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one benchmark measured, and where.

    Attributes:
        name: Of the benchmark.
        date: Of the measurement, `YYYY-MM-DD`.
        machine: What it ran on.
        noise: What was seen before and after, the worst of both.
        rows, curves: The figures.

    """

    name: str
    date: str
    machine: str
    noise: Noise
    rows: Sequence[Row]
    curves: Sequence[Curve]

    @classmethod
    def of(cls, name: str, found: Sequence[Row | Curve], noise: Noise) -> Result:
        """Sum up what a benchmark returned here and now."""
        return cls(
            name=name,
            date=time.strftime("%Y-%m-%d"),
            machine=_machine(),
            noise=noise,
            rows=[one for one in found if isinstance(one, Row)],
            curves=[one for one in found if isinstance(one, Curve)],
        )

    @property
    def missed(self) -> list[Row | Curve]:
        """What does not reach its goal."""
        return [one for one in (*self.rows, *self.curves) if one.reached is False]

    def keep(self) -> None:
        """Write it."""
        body = {
            "date": self.date,
            "machine": self.machine,
            "noise": self.noise.fields(),
            "rows": [row.fields() for row in self.rows],
            "curves": [curve.fields() for curve in self.curves],
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(json.dumps(body, indent=1) + "\n", "utf-8")


def read(name: str) -> Result | None:
    """Return what is kept of a benchmark; None if it was never measured."""
    file = RESULTS / f"{name}.json"
    if not file.exists():
        return None
    body: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return Result(
        name=name,
        date=body["date"],
        machine=body["machine"],
        noise=Noise(**body["noise"]),
        rows=[row_of(fields) for fields in body["rows"]],
        curves=[curve_of(fields) for fields in body["curves"]],
    )


def _machine() -> str:
    """Return what tells this machine from others: processor, cores, system."""
    model = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        model = next(names, model)
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{model}, {os.cpu_count()} cores, {system}"
