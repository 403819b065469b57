"""Runs benchmarks by name, prints their table, and keeps it in `benchmarks/results/`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

from benchmarks.harness import Row, markdown

NAMES = ("imports", "call", "link", "push", "trust", "save", "report", "idle", "mirror")
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run what was asked for; return 1 if something misses its goal and `--strict` was given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--no-save", action="store_true", help="print only")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {sorted(unknown)[0]!r}; known: {', '.join(NAMES)}")
    rows: list[Row] = []
    for name in arguments.names or NAMES:
        rows += importlib.import_module(f"benchmarks.{name}").run(_progress)
    _progress("")
    print(markdown(rows))
    if not arguments.no_save and not arguments.names:
        _keep(rows)
    return int(arguments.strict and any(row.reached is False for row in rows))


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:79]}", end="", file=sys.stderr, flush=True)


def _keep(rows: list[Row]) -> None:
    """Write the table and its figures, with what they were measured on."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    RESULTS.mkdir(exist_ok=True)
    body = {"machine": machine, "rows": [row.fields() for row in rows]}
    (RESULTS / "latest.json").write_text(json.dumps(body, indent=1) + "\n", "utf-8")
    text = f"# Results\n\nMeasured on {machine}. Trust ratios.\n\n{markdown(rows)}\n"
    (RESULTS / "latest.md").write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
