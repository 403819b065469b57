"""What `import scatter` adds to the start of an interpreter."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.harness import Progress, Row, Sample, take_turns

ROUNDS = 25
MOST_S = 0.040


def run(progress: Progress) -> list[Row]:
    """Compare interpreters that import with one that does nothing."""
    progress("imports")
    programs = {
        "pass": "pass",
        "import scatter": "import scatter",
        "import scatter_agent": "import scatter_agent",
        "import scatter; track a function": "import scatter\n@scatter.track\ndef f(): pass",
    }
    measured = take_turns(
        {name: (lambda code=code: _start(code)) for name, code in programs.items()}, ROUNDS
    )
    floor = measured.pop("pass")
    rows = []
    for name, values in measured.items():
        added = [max(0.0, a - b) for a, b in zip(values, floor, strict=True)]
        over = min(values) - min(floor)
        rows.append(
            Row(
                benchmark="imports",
                what=f"{name}, over `python -c pass`",
                sample=Sample.of(added),
                against="python -c pass",
                floor=Sample.of(floor),
                goal="≤ 40 ms more",
                reached=over <= MOST_S,
            )
        )
    return rows


def _start(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began
