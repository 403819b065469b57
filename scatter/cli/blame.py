"""The command `blame`: which version each line of a function is from."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import click

from scatter.bundle.text import text_of
from scatter.cli.app import as_json, client_of, complete_function
from scatter.cli.output import ago, data, data_json, visible, who

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scatter.model import Version
    from scatter.releases import Releases

_MOST = 1000
"""Versions that are looked through."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and the version that brought it."""

    text: str
    version: Version


@click.command()
@click.argument("name", shell_complete=complete_function)
@click.option(
    "-v", "--version", "number", type=int, metavar="NUMBER", help="Default: the live one."
)
@as_json
@click.pass_context
def blame_(ctx: click.Context, name: str, number: int | None, as_json: bool) -> None:
    """Show the version and the author of each line of function NAME.

    What travels with it is among the lines. Lines that are older than the oldest version that is
    kept are given to that one.

    \b
    scatter blame score
    scatter blame score -v 3
    """
    lines = blame(client_of(ctx).releases, name, number)
    if as_json:
        data_json("lines", [_fields(at, line) for at, line in enumerate(lines, 1)])
        return
    said = [_said(line.version) for line in lines]
    widths = [max(map(len, column)) for column in zip(*said, strict=True)]
    digits = len(str(len(lines)))
    for at, (line, cells) in enumerate(zip(lines, said, strict=True), 1):
        is_first = at == 1 or lines[at - 2].version != line.version
        head = "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True))
        shown = click.style(head if is_first else " " * len(head), fg="yellow")
        data(f"{shown}  {at:>{digits}} │ {visible(line.text)}".rstrip())


def _said(version: Version) -> tuple[str, str, str]:
    return f"v{version.number}", who(version.author), ago(version.time)


def _fields(number: int, line: Line) -> dict[str, object]:
    version = line.version
    return {
        "line": number,
        "text": line.text,
        "version": version.number,
        "author": version.author,
        "time": version.time,
        "message": version.message,
    }


def blame(releases: Releases, name: str, number: int | None = None) -> list[Line]:
    """Return the lines of a version, each with the version that it came with.

    A line is followed from a version to the one that its code was made from, if that is kept.

    Raises:
        NotFound: No such function or version.

    """
    last = releases.version(name, number)
    kept = releases.journal.versions(last.function, below=last.number, limit=_MOST)
    by_number = {version.number: version for version in (last, *kept)}
    chain = _chain(last, by_number)
    found = releases.journal.bundles(version.as_change() for version in chain)
    lines = list[Line]()
    for version in reversed(chain):
        if version is last or version.bundle in found:
            text = text_of(releases.fetch(version))
            lines = _after(lines, text.splitlines(), version)
    return lines


def _chain(last: Version, kept: Mapping[int, Version]) -> list[Version]:
    """Return a version and those that it was made from, the newest first."""
    chain, older = [last], sorted(kept, reverse=True)
    while True:
        version = chain[-1]
        before = next((number for number in older if number < version.number), None)
        base = version.base if version.base in kept else before
        if base is None or base >= version.number:
            return chain
        chain.append(kept[base])


def _after(before: Sequence[Line], texts: Sequence[str], version: Version) -> list[Line]:
    """Return the lines of a version, given those of the one that it was made from."""
    lines = [Line(text, version) for text in texts]
    matcher = SequenceMatcher(None, [line.text for line in before], texts, autojunk=False)
    for old, new, size in matcher.get_matching_blocks():
        lines[new : new + size] = before[old : old + size]
    return lines
