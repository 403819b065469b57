"""Runs benchmarks by name, prints their tables, and keeps them in `benchmarks/results/`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks import NAMES, noise
from benchmarks.harness import Progress
from benchmarks.results import Result
from benchmarks.table import curves_table, rows_table


def main() -> int:
    """Run what was asked for; return 1 if something misses its goal and `--strict` was given."""
    arguments = _arguments()
    names: Sequence[str] = arguments.names or NAMES
    results = []
    with _bar(names) as start:
        for name in names:
            results.append(_measure(name, start(name)))
            if not arguments.no_save:
                _keep(results[-1])
    _print(results)
    return int(arguments.strict and any(result.missed for result in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--no-save", action="store_true", help="print only")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark {name!r}; known: {', '.join(NAMES)}")
    return arguments


def _measure(name: str, progress: Progress) -> Result:
    before = noise.listen()
    found = importlib.import_module(f"benchmarks.{name}").run(progress)
    return Result.of(name, found, noise.worse(before, noise.listen()))


def _keep(result: Result) -> None:
    """Keep it, draw it, and write the pages that show it."""
    from benchmarks import pages, plots

    result.keep()
    plots.draw(result)
    pages.write()


def _print(results: Sequence[Result]) -> None:
    rows = [row for result in results for row in result.rows]
    curves = [curve for result in results for curve in result.curves]
    for table in [rows_table(rows)] * bool(rows) + [curves_table(curves)] * bool(curves):
        print(f"{table}\n")
    for result in results:
        print(f"{result.name}: {result.noise}.")


@contextmanager
def _bar(names: Sequence[str]) -> Iterator[Callable[[str], Progress]]:
    """Show a bar on a terminal; yields what starts the next benchmark's part of it."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = BarColumn(20), TextColumn("{task.completed:.1f}/{task.total}"), TimeElapsedColumn()
    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    with Bar(
        *columns, text, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=len(names))
        begun = iter(range(len(names)))

        def start(name: str) -> Progress:
            done = next(begun)

            def progress(text: str, share: float | None = None, /) -> None:
                bar.update(task, description=text[:44])
                if share is not None:
                    bar.update(task, completed=done + share)

            bar.update(task, completed=done, description=name)
            return progress

        yield start


if __name__ == "__main__":
    sys.exit(main())
