"""How the command line speaks: tables, diffs and JSON on stdout, messages on stderr.

Invariants
1. Nothing but data on stdout. JSON carries the number of its schema.
2. Colour only on a terminal, and never under `NO_COLOR` or `TERM=dumb`: `in_colour` decides.
3. On a terminal, tables and notes keep to its width: long cells are folded, names at last.
4. What other processes reported cannot steer the terminal: it is shown without control characters.
5. A reader that goes away, as `head` does, ends the command and is no failure.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, TextIO

import click

from scatter.names import number_of as number_of  # noqa: PLC0414 - commands have it from here
from scatter.names import printable

SCHEMA = 1
"""Number of the JSON output's schema; a change that breaks a reader raises it."""

Row = Sequence[str]
_GAP = "  "
_NARROWEST = 8
"""Characters that a column of a table keeps, however narrow the terminal is."""


def in_colour(stream: TextIO) -> bool:
    """Return whether a stream should get colours."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def say(text: str = "") -> None:
    """Print a message for the person, on stderr."""
    click.echo(text, err=True, color=in_colour(sys.stderr))


def data(text: str | bytes, *, nl: bool = True) -> None:
    """Print data on stdout, with a line's end behind it or without."""
    try:
        click.echo(text, nl=nl, color=in_colour(sys.stdout))
    except BrokenPipeError:
        # What Python still holds back has nowhere to go; it would complain of that as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from None


def visible(line: str) -> str:
    """Return a line with what a terminal would not show as it is written as escapes.

    Those are control characters, and those that turn the direction of text.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in line.expandtabs(4)
    )


def source(text: str) -> None:
    """Print Python source, highlighted on a terminal where `rich` is installed."""
    if sys.stdout.isatty():  # else it may be kept, and stays what it is
        text = "\n".join(map(visible, text.split("\n")))
    try:
        from rich.console import Console
        from rich.syntax import Syntax
    except ImportError:
        data(text)
        return
    if in_colour(sys.stdout):
        shown = Syntax("", "python", theme="ansi_dark").highlight(text.rstrip("\n"))
        Console().print(shown, soft_wrap=True)  # no line is cut: it may be copied from here
    else:
        data(text)


def confirm(question: str) -> bool:
    """Ask, and return whether the answer was yes; the end of input is none.

    `click.confirm` makes the same of the end of input and of Ctrl-C: an interrupt.
    """
    click.echo(f"{question} [y/N]: ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        say()
    return answer.strip().lower() in ("y", "yes")


def complain(error: BaseException) -> None:
    """Print an error and its notes on stderr."""
    text = "\n".join(["Error: " + str(error), *getattr(error, "__notes__", ())])
    if sys.stderr.isatty():
        text = "\n".join(part for line in text.splitlines() for part in _shown(line))
    say(click.style("Error:", fg="red", bold=True) + text.removeprefix("Error:"))


def data_json(kind: str, body: Any, *, on_a_line: bool = False) -> None:
    """Print `body` as JSON, with its kind and schema number."""
    document = {"schema": SCHEMA, "kind": kind, kind: body}
    data(json.dumps(document, indent=None if on_a_line else 2, default=str))


def table(headers: Row, rows: Iterable[Row]) -> None:
    """Print rows in columns. The first column, which has the names, is folded last."""
    for line in table_lines(headers, rows):
        data(line)


def table_lines(headers: Row, rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines that `table` prints."""
    listed = [tuple(headers), *(tuple(map(printable, row)) for row in rows)]
    widths = fitted([max(map(len, column)) for column in zip(*listed, strict=True)], _room())
    for number, row in enumerate(listed):
        cells = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
            line = _GAP.join(padded).rstrip()
            yield line if number else click.style(line, bold=True)


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns, narrowed until they fit in a room, the first one at last."""
    found = list(widths)
    while sum(found) + len(_GAP) * (len(found) - 1) > room:
        wide = [n for n, width in enumerate(found) if n and width > _NARROWEST] or [0]
        widest = max(wide, key=found.__getitem__)
        if found[widest] <= _NARROWEST:
            break
        found[widest] -= 1
    return found


def _shown(line: str) -> list[str]:
    """Return a line folded to the terminal, but for one that is a command to be copied."""
    is_command = line.startswith("    ")
    return [line] if is_command else _folded(line, shutil.get_terminal_size().columns)


def _folded(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def facts(rows: Iterable[tuple[str, str]]) -> None:
    """Print labelled lines, indented; long ones are folded beside their label."""
    listed = list(rows)
    width = max((len(label) for label, _ in listed), default=0)
    for label, text in listed:
        room = max(_room() - width - 4, _NARROWEST)
        for number, line in enumerate(_folded(printable(text), room) or [""]):
            shown = (label if not number else "").ljust(width)
            data(f"  {click.style(shown, fg='cyan')}  {line}")


def note(headline: str, text: str = "") -> None:
    """Print a headline and, indented, what else there is to say of it."""
    data("\n".join(note_lines(headline, text)))


def note_lines(headline: str, text: str = "") -> list[str]:
    """Return the lines that `note` prints."""
    return [*_folded(printable(headline), _room()), *_folded(printable(text), _room(), "  ")]


def _room() -> int:
    """Return the characters that fit into a line; without a terminal there is no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


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


def who(author: str) -> str:
    """Return an author as tables have them: what comes before the `@` tells people apart."""
    return short(author, 16)
