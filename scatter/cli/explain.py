"""The command `explain`, and what a dry push says: what a push of a function does."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scatter.cli.app import as_json, client_of, complete_function, settings_of, track
from scatter.cli.output import data, data_json, facts, in_colour, number_of, say
from scatter.errors import NotFound, ScatterError, StoreUnavailable
from scatter.names import resolve, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scatter.bundle import Bundle
    from scatter.model import FunctionState
    from scatter.releases import Releases
    from scatter.workspace import Explanation, Piece, Workspace

_MOST, _STRANGERS = 12, 5
"""Names that one line lists at most; lines about untracked users."""


@click.command()
@click.argument("name", shell_complete=complete_function)
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@track
@as_json
@click.pass_context
def explain_(
    ctx: click.Context, name: str, paths: tuple[Path, ...], track: tuple[str, ...], as_json: bool
) -> None:
    """Say what a push of function NAME does.

    What travels, what is used live, what changed, who is not reached. Reads the files, and
    compares with the live version if the store can be reached.

    \b
    scatter explain score
    scatter explain score src/ --json
    """
    settings = settings_of(ctx)
    chosen = paths or tuple(Path(p) for p in settings.paths)
    workspace = open_workspace(chosen, track or settings.track)
    full = resolve(name, workspace.functions)
    state, before = _live(client_of(ctx).releases, full)
    explanation = workspace.explain(full, before)
    if as_json:
        version = state.version if state else None
        data_json("explanation", asdict(explanation) | {"live": version})
        return
    data(headline(explanation, state))
    show(explanation)


def open_workspace(
    paths: tuple[Path, ...],
    patterns: tuple[str, ...],
    *,
    strict: bool = False,
    secrets: bool = False,
) -> Workspace:
    """Return what the files hold; say what is wrong with them.

    Raises:
        UsageError: Something is, and `strict` is set; or no function is tracked.

    """
    from scatter.errors import UsageError
    from scatter.watch import Text
    from scatter.workspace import Workspace

    workspace = Workspace(paths, track=patterns, secrets=secrets)
    problems = workspace.load().problems
    text = Text(colour=in_colour(sys.stderr))
    for problem in problems:
        for line in text.lines(problem):
            say(line)
    if problems and strict:
        raise UsageError("Nothing was pushed: mend the files named above.")
    if not workspace.functions:
        where = ", ".join(f"`{path}`" for path in paths)
        raise UsageError(
            f"No tracked function in {where}. Put @scatter.track above a `def`, or name modules "
            "with --track."
        )
    return workspace


def _live(releases: Releases, name: str) -> tuple[FunctionState | None, Bundle | None]:
    """Return what is live of a function; nothing, and a word, if the store cannot be reached."""
    try:
        state = releases.find(name)
        return state, releases.fetch(releases.version(name)) if state.version else None
    except StoreUnavailable as error:
        say(f"Not compared with the live version: {error}")
    except NotFound:
        pass
    except ScatterError as error:
        say(f"The live version cannot be read: {error}")
    return None, None


def headline(explanation: Explanation, state: FunctionState | None) -> str:
    """Return the line above an explanation."""
    if state is None:
        what = "was never pushed"
    elif not state.version:
        what = "runs the deployed code"
    else:
        same = "is the same" if not explanation.changed and not explanation.gone else "differs"
        what = f"{number_of(state.version)} is live, and {same}"
    return f"{click.style(explanation.name, bold=True)}  {explanation.own.place}  {what}"


def show(explanation: Explanation) -> None:
    """Print an explanation, a line for each thing that there is to say."""
    facts(_facts(explanation))


def _facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    changed = [f"{_called(p)}{' (new)' * (p.change == 'new')}" for p in explanation.changed]
    gone = [f"{name} (no longer used)" for name in explanation.gone]
    rows: list[tuple[str, list[str], str]] = [
        ("changed", changed + gone, ""),
        ("travels", [_called(p) for p in explanation.of("function", "constant")], ""),
        ("imports", [p.name for p in explanation.of("import")], ""),
        ("live", [p.name for p in explanation.of("state")], "state of the process"),
        ("classes", [_called(p) for p in explanation.of("class")], "live ones stay as they are"),
        ("newest", [p.name for p in explanation.of("tracked")], "tracked: versions of their own"),
        ("unknown", list(explanation.unknown), "defined nowhere: refused where it is missing"),
    ]
    for label, names, remark in rows:
        if names:
            listed = ", ".join(names[:_MOST])
            more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
            yield label, f"{listed}{more}" + (f"  ({remark})" if remark else "")
    if explanation.skipped:
        what = "1 decorator" if explanation.skipped == 1 else f"{explanation.skipped} decorators"
        yield "stays", f"{what} above @track: not run again"
    for line in strangers_of(explanation):
        yield "half", line


def strangers_of(explanation: Explanation) -> list[str]:
    """Return a line for each untracked user of a helper that changed."""
    lines = [
        f"`{one.user}` ({one.file}:{one.line}) also uses `{one.helper}` and is not tracked: "
        "it keeps the deployed one"
        for one in explanation.strangers
    ]
    rest = len(lines) - _STRANGERS
    return [*lines[:_STRANGERS], f"… and {rest} more"] if rest > 0 else lines


def _called(piece: Piece) -> str:
    return f"{split(piece.name)[1]} ({piece.place})" if piece.line else piece.name
