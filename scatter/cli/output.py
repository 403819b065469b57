"""How the command line speaks: tables, diffs and JSON on stdout, messages on stderr.

Invariants
1. Nothing but data on stdout. JSON carries the number of its schema.
2. Colour only on a terminal, and never under `NO_COLOR`.
3. Without `rich` everything works; tables are plain columns.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

SCHEMA = 1
"""Number of the JSON output's schema; a change that breaks a reader raises it."""

Row = Sequence[str]


def say(text: str = "") -> None:
    """Print a message for the person, on stderr."""
    click.echo(text, err=True, color=_colour(sys.stderr))


def data(text: str) -> None:
    """Print data on stdout."""
    click.echo(text, color=_colour(sys.stdout))


def complain(error: BaseException) -> None:
    """Print an error and its notes on stderr."""
    say(f"{click.style('Error:', fg='red', bold=True)} {error}")
    for note in getattr(error, "__notes__", ()):
        say(note)


def data_json(kind: str, body: Any) -> None:
    """Print `body` as JSON, with its kind and schema number."""
    click.echo(json.dumps({"schema": SCHEMA, "kind": kind, kind: body}, indent=2, default=str))


def table(headers: Row, rows: Iterable[Row]) -> None:
    """Print rows in columns; as a rich table where rich is installed and stdout is a terminal."""
    listed = [tuple(row) for row in rows]
    if _colour(sys.stdout) and _rich_table(headers, listed):
        return
    widths = [max(map(len, column)) for column in zip(headers, *listed, strict=True)]
    for row in (headers, *listed):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _rich_table(headers: Row, rows: Iterable[Row]) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        shown.add_column(header, no_wrap=number == 0, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)
    return True


def diff_lines(old: str, new: str, old_name: str, new_name: str) -> Iterator[str]:
    """Yield the lines of a unified diff, coloured for a terminal."""
    before, after = old.splitlines(), new.splitlines()
    for line in difflib.unified_diff(before, after, old_name, new_name, lineterm=""):
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        yield click.style(line, fg=colour, bold=line[:3] in ("+++", "---")) if colour else line


def ago(time: str, now: datetime | None = None) -> str:
    """Return an ISO 8601 time as `12 s ago`, `3 h ago`, or its date when it is long past."""
    try:
        then = datetime.fromisoformat(time)
    except ValueError:
        return time
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < limit:
            return f"{max(0, int(seconds / size))} {unit} ago"
    return time[:10]


def short(text: str, width: int = 40) -> str:
    """Return the first line of a text, cut to `width` characters."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= width else f"{line[: width - 1]}…"


def number_of(version: int | None) -> str:
    """Return a version for people: `v7`, `deployed`, `deleted`."""
    if version is None:
        return "deleted"
    return f"v{version}" if version else "deployed"


def _colour(stream: Any) -> bool:
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")
