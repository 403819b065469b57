"""The command `diff`: any two of what is live, a version, the working tree and a git revision."""

from __future__ import annotations

import difflib
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scatter.bundle.text import text_of
from scatter.cli.app import as_json, client_of, complete_function, settings_of
from scatter.cli.output import data, data_json, diff_lines, say, visible
from scatter.cli.sides import BEFORE, LIVE, TREE, Sides, not_there
from scatter.errors import UsageError

if TYPE_CHECKING:
    from scatter.cli.sides import Side

WIDE = 140
"""Columns from which on both sides are shown beside each other."""
_BAR = 40


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs of one function.

    Attributes:
        function: Its full name.
        old, new: Which code that is, for people; `/dev/null` where there is none.
        before, after: The code.

    """

    function: str
    old: str
    new: str
    before: str
    after: str

    def lines(self) -> list[str]:
        """Return the lines of a unified diff, coloured."""
        names = (
            f"{self.function} {name}" if name else "/dev/null" for name in (self.old, self.new)
        )
        return list(diff_lines(self.before, self.after, *names))

    def counts(self) -> tuple[int, int]:
        """Return how many lines were added and removed."""
        plain = [click.unstyle(line) for line in self.lines()[2:]]
        return sum(line[:1] == "+" for line in plain), sum(line[:1] == "-" for line in plain)


@click.command()
@click.argument("name", required=False, shell_complete=complete_function)
@click.argument("old", required=False)
@click.argument("new", required=False)
@click.option("--from", "from_", metavar="SIDE", help="For all functions: what to compare.")
@click.option("--to", metavar="SIDE", help="For all functions: with what.")
@click.option("--stat", is_flag=True, help="Only how many lines each function gained and lost.")
@click.option(
    "-y/-U",
    "--side-by-side/--unified",
    "beside",
    default=None,
    help=f"Both sides beside each other; so on a terminal of {WIDE} columns or more.",
)
@as_json
@click.pass_context
def diff_(
    ctx: click.Context,
    name: str | None,
    old: str | None,
    new: str | None,
    from_: str | None,
    to: str | None,
    stat: bool,
    beside: bool | None,
    as_json: bool,
) -> None:
    """Compare what is live, versions, the working tree and git.

    Any two of them, of function NAME or of all. OLD and NEW are `live`, `tree` (the working tree),
    the number of a version, or a git revision (`git:3` if it looks like a version). Without them:
    what the live version of NAME changed; of all functions, how the working tree differs from what
    is live.

    \b
    scatter diff score               what the live version changed
    scatter diff score 3             version 3 against the live one
    scatter diff score live tree     what a push would change
    scatter diff                     the same, of all functions
    scatter diff --from HEAD --to live --stat
    """
    sides = Sides(client_of(ctx).releases, settings_of(ctx))
    if name:
        if from_ or to:
            raise UsageError("Give OLD and NEW behind NAME; --from and --to are for all functions.")
        first, second = _defaults(old, new, BEFORE, LIVE)
        functions = [sides.find(name, (first, second))]
    else:
        first, second = _defaults(from_, to, LIVE, TREE)
        functions = sides.everything((first, second))
    one, other = sides.read(first, functions), sides.read(second, functions)
    if name and not {*one.bundles, *other.bundles} & {*functions}:
        raise not_there(functions[0], one, other)
    found = list(differences(functions, one, other))
    if as_json:
        data_json("diffs", [_fields(difference) for difference in found])
    else:
        _show(found, stat, beside)
        _show_unclear(one, other)


def _defaults(old: str | None, new: str | None, first: str, second: str) -> tuple[str, str]:
    """Return both sides: with one alone, it is compared with what is live, and that with files."""
    if old is None and new is None:
        return first, second
    old = old or LIVE
    return old, new or (TREE if old == LIVE else LIVE)


def differences(functions: Sequence[str], old: Side, new: Side) -> Iterator[Difference]:
    """Yield what differs, of those functions that a side has and of which both can be told."""
    for function in functions:
        if function in old.unclear or function in new.unclear:
            continue
        one, other = old.bundles.get(function), new.bundles.get(function)
        before, after = (text_of(bundle) if bundle else "" for bundle in (one, other))
        if before != after:
            was = old.name_of(function) if one else ""
            yield Difference(function, was, new.name_of(function) if other else "", before, after)


def _fields(difference: Difference) -> dict[str, Any]:
    added, removed = difference.counts()
    return {
        "function": difference.function,
        "old": difference.old or None,
        "new": difference.new or None,
        "added": added,
        "removed": removed,
        "lines": [click.unstyle(line) for line in difference.lines()],
    }


def _show(found: Sequence[Difference], stat: bool, beside: bool | None) -> None:
    if not found:
        say("No difference.")
        return
    if stat:
        data("\n".join(_stat(found)))
        return
    on_terminal = sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns
    if on_terminal:
        found = [_seen(difference) for difference in found]
    if beside or (beside is None and on_terminal and columns >= WIDE):
        width = columns if on_terminal else WIDE
        data("\n\n".join("\n".join(_beside(one, width)) for one in found))
    else:
        data("\n".join("\n".join(one.lines()) for one in found))


def _seen(one: Difference) -> Difference:
    """Return a difference as a terminal may have it."""
    before, after = ("\n".join(map(visible, t.split("\n"))) for t in (one.before, one.after))
    return Difference(one.function, one.old, one.new, before, after)


def _show_unclear(*sides: Side) -> None:
    for side in sides:
        for function, why in side.unclear.items():
            say(f"Not compared: {function} in {side.name_of(function)}: {why}")


def _stat(found: Sequence[Difference]) -> Iterator[str]:
    """Yield a line for each function, as `git diff --stat` has for files."""
    counted = [(one.function, *one.counts()) for one in found]
    width = max(len(function) for function, *_ in counted)
    most = max(added + removed for _, added, removed in counted)
    digits = len(str(most))
    for function, added, removed in counted:
        scale = min(1.0, _BAR / most)
        bar = click.style("+" * _shown(added, scale), fg="green")
        bar += click.style("-" * _shown(removed, scale), fg="red")
        yield f" {function:<{width}} | {added + removed:>{digits}} {bar}"
    noun = "functions differ" if len(found) > 1 else "function differs"
    added, removed = (sum(counts) for counts in zip(*(row[1:] for row in counted), strict=True))
    yield f" {len(found)} {noun}, {added} lines (+), {removed} lines (-)"


def _shown(count: int, scale: float) -> int:
    return max(1, round(count * scale)) if count else 0


def _beside(difference: Difference, width: int) -> Iterator[str]:
    """Yield the lines of both sides beside each other; what is the same is left out but for three.

    Long lines are folded.
    """
    room = (width - 3) // 2
    names = [difference.old or "(not there)", difference.new or "(not there)"]
    yield click.style(difference.function, bold=True)
    yield click.style(" │ ".join(name.ljust(room) for name in names).rstrip(), bold=True)
    old, new = difference.before.splitlines(), difference.after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(3)):
        if number:
            yield click.style("⋯".center(width), fg="cyan")
        for tag, a, b, c, d in group:
            yield from _rows(tag, old[a:b], new[c:d], room)


def _rows(tag: str, old: Sequence[str], new: Sequence[str], room: int) -> Iterator[str]:
    left = [(part, "red") for line in old for part in _folded(line, room)]
    right = [(part, "green") for line in new for part in _folded(line, room)]
    for number in range(max(len(left), len(right))):
        cells = [side[number] if number < len(side) else ("", "") for side in (left, right)]
        texts = [
            click.style(text.ljust(room), fg=colour if tag != "equal" and text else None)
            for text, colour in cells
        ]
        mark = " " if tag == "equal" else click.style("│", fg="cyan")
        yield f"{texts[0]} {mark} {texts[1]}".rstrip()


def _folded(line: str, room: int) -> list[str]:
    return [line[at : at + room] for at in range(0, len(line), room)] or [""]
