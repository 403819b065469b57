"""Commands for the way back to git: `drift` says what is not there, `patch` brings it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scatter.cli.app import as_json, client_of, complete_function, settings_of
from scatter.cli.output import ago, data, data_json, note, number_of, say, table, who
from scatter.cli.sides import LOST, Sides
from scatter.errors import PartialRelease, UsageError
from scatter.names import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scatter.model import FunctionState
    from scatter.workspace import AtHead, Live, Patch


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_function)
@click.option(
    "--revision", default="HEAD", show_default=True, metavar="COMMIT", help="Compare with this."
)
@as_json
@click.pass_context
def drift_(ctx: click.Context, names: tuple[str, ...], revision: str, as_json: bool) -> None:
    """List what is live and not in git, since when and by whom.

    Of all, or of NAMES. Fails with 1 if there is one, with 4 if there is none but not all could be
    compared: for CI. `scatter patch` brings them into the working tree.

    \b
    scatter drift
    scatter drift --revision origin/main
    """
    sides = Sides(client_of(ctx).releases, settings_of(ctx))
    known = {name: state for name, state in sides.known.items() if state.version}
    chosen = [resolve(name, known) for name in names] or list(known)
    at = sides.commit(revision, chosen)
    if at is None:
        raise UsageError(
            f"Expected a git working tree that has {revision}; found none at {Path.cwd()}. Run "
            "this in the program's working tree."
        )
    drifted = [known[name] for name in sorted({*at.differs, *at.missing})]
    if as_json:
        data_json("drift", _drift_fields(at, drifted))
    else:
        _show_drift(at, drifted, revision, len(chosen))
    if drifted or at.unclear:
        ctx.exit(1 if drifted else PartialRelease.exit_code)


def _drift_fields(at: AtHead, drifted: list[FunctionState]) -> dict[str, Any]:
    rows = [
        {
            "function": state.function,
            "version": state.version,
            "since": state.time,
            "release": state.sequence,
            "author": state.author,
            "in_commit": state.function in at.differs,
        }
        for state in drifted
    ]
    return {"commit": at.commit, "functions": rows, "unclear": dict(at.unclear)}


def _show_drift(at: AtHead, drifted: list[FunctionState], revision: str, count: int) -> None:
    if drifted:
        rows = [
            (
                state.function,
                number_of(state.version),
                who(state.author),
                ago(state.time),
                "differs" if state.function in at.differs else "not there",
            )
            for state in drifted
        ]
        table(("FUNCTION", "LIVE", "BY", "SINCE", f"IN {revision}"), rows)
    for name, why in at.unclear.items():
        note(f"cannot be compared: {name}", why)
    if not drifted and not at.unclear:
        say(f"No drift: {count} live function{'s' * (count != 1)} as in {revision}.")


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_function)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write it there, in place of the standard output.",
)
@click.pass_context
def patch_(ctx: click.Context, names: tuple[str, ...], output: Path | None) -> None:
    """Write a patch that brings live code into the working tree.

    Of all functions whose live version is not in the files, or of NAMES. Helpers that travelled
    with them come too. The files are left alone: `git apply` changes them.

    \b
    scatter patch | git apply
    scatter patch score -o score.patch
    """
    made = _made(Sides(client_of(ctx).releases, settings_of(ctx)), names)
    for name, why in made.left.items():
        say(f"Not in the patch: {name}: {why}. See `scatter diff {name} tree live`.")
    if output is not None and made.text:
        output.write_bytes(made.text)
    elif made.text:
        data(made.text, nl=False)
    if made.functions:
        say(f"{', '.join(made.functions)} in {', '.join(made.files)}")
    elif not made.left:
        say("Nothing to bring: the files hold what is live.")
    if made.left:
        ctx.exit(PartialRelease.exit_code)


def _made(sides: Sides, names: tuple[str, ...]) -> Patch:
    from scatter.workspace import make_patch, top_of

    live = sides.live_code()
    known = [name for name, state in sides.known.items() if state.version]
    wanted = [resolve(name, known) for name in names] or known
    lost = dict.fromkeys(sides.lost(wanted, live), LOST)
    top = top_of(sides.tree.project) or sides.tree.project
    ordered = _newest_first(live, sides.known)
    found = [name for name in wanted if name not in lost]
    made = make_patch(sides.tree, ordered, found, top=top, track=sides.track)
    return replace(made, left={**lost, **made.left})


def _newest_first(live: Mapping[str, Live], known: Mapping[str, FunctionState]) -> dict[str, Live]:
    ordered = sorted(live, key=lambda name: known[name].sequence, reverse=True)
    return {name: live[name] for name in ordered}
