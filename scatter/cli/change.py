"""Commands that change what the fleet runs: push, release, rollback, delete."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scatter.cli.app import as_json, client_of, complete_function, settings_of, track
from scatter.cli.output import data_json, in_colour, number_of, say
from scatter.errors import PartialRelease, ScatterError, UsageError
from scatter.names import printable

if TYPE_CHECKING:
    from scatter.model import Release
    from scatter.releases import Pushed, Releases

dry = click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
why = click.option("-m", "--message", default="", help="Why; shown in the log.")
wait = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for running processes to take it; 0: not at all.",
)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-f",
    "--function",
    "only",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_function,
    help="Push only this function; may be repeated.",
)
@track
@click.option("--force", is_flag=True, help="Go over somebody else's version.")
@why
@dry
@wait
@as_json
@click.pass_context
def push_(
    ctx: click.Context,
    paths: tuple[Path, ...],
    only: tuple[str, ...],
    track: tuple[str, ...],
    force: bool,
    message: str,
    dry_run: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Push the tracked functions in PATHS, in one release. What is live as it is stays.

    Files are read, never imported or run.

    \b
    scatter push                     everything under the configured paths
    scatter push src/pricing.py -m "cap the discount"
    scatter push -f score --dry-run  what would be pushed
    """
    client = client_of(ctx)
    chosen = paths or tuple(Path(p) for p in settings_of(ctx).paths)
    patterns = track or settings_of(ctx).track
    candidates = _candidates(client.releases, chosen, only, patterns)
    before = dict(client.releases.functions())
    pushed: Pushed = client.releases.push(candidates, message=message, force=force, dry_run=dry_run)
    changed = {
        n: v for n, v in pushed.versions.items() if n not in before or before[n].version != v
    }
    if as_json:
        sequence = pushed.release and pushed.release.sequence
        body = {"changed": changed, "sizes": pushed.sizes, "sequence": sequence}
        data_json("push", body | {"dry_run": dry_run})
    elif not changed:
        count = len(pushed.versions)
        what = (
            "1 function is live as it is"
            if count == 1
            else f"{count} functions are live as they are"
        )
        say(f"Nothing to push: {what}.")
    else:
        verb = "Would push" if dry_run else "Pushed"
        listed = ", ".join(f"{n} v{v} ({pushed.sizes[n]} B)" for n, v in changed.items())
        say(f"{verb} {listed}")
    if not dry_run:
        _acknowledge(client.releases, pushed.release, wait_s)


def _candidates(
    releases: Releases, paths: tuple[Path, ...], only: tuple[str, ...], patterns: tuple[str, ...]
) -> list[Any]:
    """Return what the files hold, as candidates; each file that cannot be read is an error."""
    from scatter.names import resolve
    from scatter.releases import Candidate
    from scatter.watch import Text
    from scatter.workspace import Workspace

    workspace = Workspace(paths, track=patterns)
    problems = workspace.load().problems
    if problems:
        text = Text(colour=in_colour(sys.stderr))
        for problem in problems:
            for line in text.lines(problem):
                say(line)
        if not only:  # those that were named may be pushed beside what is wrong elsewhere
            raise UsageError("Nothing was pushed: mend the files named above.")
    built = workspace.functions
    if not built:
        where = ", ".join(f"`{path}`" for path in paths)
        raise UsageError(f"No tracked function in {where}. Put @scatter.track above a `def`.")
    names = [resolve(name, built) for name in only] or list(built)
    chosen = _with_called(names, built, releases.functions().keys())
    return [
        Candidate(bundle=built[n].bundle, lines=built[n].lines, file=built[n].file) for n in chosen
    ]


def _with_called(names: list[str], built: Any, live: Any) -> list[str]:
    """Return the names, and the tracked functions they call that the namespace lacks."""
    chosen: dict[str, None] = {}
    todo = list(names)
    while todo:
        name = todo.pop(0)
        chosen[name] = None
        called = [i.source for i in built[name].bundle.items if i.kind == "tracked"]
        todo += [n for n in called if n in built and n not in live and n not in chosen]
    return list(chosen)


@click.command()
@click.argument("versions", nargs=-1, required=True, metavar="NAME=VERSION...")
@why
@dry
@wait
@as_json
@click.pass_context
def release_(
    ctx: click.Context,
    versions: tuple[str, ...],
    message: str,
    dry_run: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Make existing versions live everywhere, all in one release.

    VERSION is a number; 0 is the code that processes were deployed with.

    \b
    scatter release score=7 rank=3
    scatter release score=0          the deployed code again
    """
    wanted = dict(map(_parse_version, versions))
    if len(wanted) < len(versions):
        raise UsageError("A function is named twice. Give each one version.")
    releases = client_of(ctx).releases
    release = releases.release(wanted, message=message, dry_run=dry_run)
    _tell(releases, release, wait_s, dry_run, as_json)


def _parse_version(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    number = number.removeprefix("v")
    if not name or not number.isdecimal():
        raise UsageError(f"Expected NAME=VERSION such as score=7; found {text!r}.")
    return name, int(number)


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_function)
@click.option("--to", type=int, metavar="RELEASE", help="Back to right after this release.")
@why
@dry
@wait
@as_json
@click.pass_context
def rollback_(
    ctx: click.Context,
    names: tuple[str, ...],
    to: int | None,
    message: str,
    dry_run: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Go back, everywhere. Functions NAMES go back to the version that was live before.

    Without NAMES, those of the newest release do. Whether a version ran well is not looked at: it
    may be one that processes refused.

    \b
    scatter rollback                 take back the newest release
    scatter rollback score           score to the version that was live before
    scatter rollback --to 41         everything to how it was after release 41
    """
    releases = client_of(ctx).releases
    release = releases.rollback(*names, to=to, message=message, dry_run=dry_run)
    _tell(releases, release, wait_s, dry_run, as_json)


@click.command()
@click.argument("name", shell_complete=complete_function)
@click.option(
    "--older-than",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Only versions below this one; the live one stays.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry
@as_json
@click.pass_context
def delete_(
    ctx: click.Context, name: str, older_than: int | None, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Remove function NAME, or its older versions, for good. Their code goes too.

    Processes go back to the code that they were deployed with; the log keeps the fact.

    \b
    scatter delete score             all of it; asks before
    scatter delete score --older-than 40 -y
    """
    releases = client_of(ctx).releases
    function = releases.find(name).function
    numbers = releases.delete(function, older_than=older_than, dry_run=True)
    if numbers and not dry_run:
        if not yes and not _confirm(f"Remove {_count(numbers)} of {function} for good?"):
            say("Nothing was removed.")
            ctx.exit(1)
        numbers = releases.delete(function, older_than=older_than)
    if as_json:
        data_json("deleted", {"function": function, "versions": numbers, "dry_run": dry_run})
    else:
        say(f"{'Would remove' if dry_run else 'Removed'} {_count(numbers)} of {function}.")


def _count(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} version{'s' * (len(numbers) != 1)}"


def _confirm(question: str) -> bool:
    """Ask, and return whether the answer was yes; the end of input is none.

    `click.confirm` makes the same of the end of input and of Ctrl-C: an interrupt.
    """
    click.echo(f"{question} [y/N]: ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        say()
    return answer.strip().lower() in ("y", "yes")


def _tell(
    releases: Releases, release: Release | None, wait_s: float, dry_run: bool, as_json: bool
) -> None:
    """Say what a release changed or would change, and who took it."""
    if as_json:
        data_json("release", asdict(release) if release else None)
    elif release is None:
        say("Nothing changes: it is live already.")
    else:
        listed = ", ".join(f"{c.function} {number_of(c.version)}" for c in release.changes)
        say(f"{'Would be release' if dry_run else 'Release'} {release.sequence}: {listed}")
    if not dry_run:
        _acknowledge(releases, release, wait_s)


def _acknowledge(releases: Releases, release: Release | None, wait_s: float) -> None:
    """Wait for the processes, and say how many took the release.

    Raises:
        PartialRelease: Not all did, or nobody could be asked.

    """
    if release is None or wait_s <= 0:
        return
    from scatter.acks import wait_for

    store, number = releases.journal.store, release.sequence
    names = [change.function for change in release.changes]
    try:
        acks = wait_for(store, store.doorbell(), number, timeout_s=wait_s, functions=names)
    except ScatterError as error:
        raise PartialRelease(
            f"Release {number} is in the log, but the processes could not be asked: {error}",
            refusals={},
        ) from error
    say("\n".join(map(printable, str(acks).splitlines())))
    if acks.refused or acks.behind:
        refused = [f"refused by {len(acks.refused)}"] * bool(acks.refused)
        behind = [f"not answered by {len(acks.behind)}"] * bool(acks.behind)
        raise PartialRelease(
            f"Release {number} was {' and '.join(refused + behind)} of {acks.total} processes. "
            "See `scatter status`.",
            refusals={report.id: found[0].message for report, found in acks.refused},
        )
