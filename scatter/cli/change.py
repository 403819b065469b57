"""Commands that change what the fleet runs: push, release, rollback, delete."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scatter.cli.app import client_of, settings_of
from scatter.cli.output import complain, data_json, number_of, say
from scatter.cli.read import as_json
from scatter.errors import PartialRelease, ScatterError, UsageError

if TYPE_CHECKING:
    from scatter.model import Release
    from scatter.releases import Pushed, Releases

dry = click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
why = click.option("-m", "--message", default="", help="Why; shown in the log.")
wait = click.option(
    "--wait",
    "wait_s",
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for running processes to take it.",
)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-f",
    "--function",
    "only",
    multiple=True,
    metavar="NAME",
    help="Push only this function; may be repeated.",
)
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
    force: bool,
    message: str,
    dry_run: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Push the tracked functions in PATHS that differ from what is live, in one release.

    Files are read, never imported or run.

    \b
    scatter push                     everything under the configured paths
    scatter push src/pricing.py -m "cap the discount"
    scatter push -f score --dry-run  what would be pushed
    """
    client = client_of(ctx)
    chosen = paths or tuple(Path(p) for p in settings_of(ctx).paths)
    candidates = _candidates(client.releases, chosen, only)
    before = dict(client.releases.functions())
    pushed: Pushed = client.releases.push(candidates, message=message, force=force, dry_run=dry_run)
    changed = {
        n: v for n, v in pushed.versions.items() if n not in before or before[n].version != v
    }
    if as_json:
        data_json("push", {"changed": changed, "sizes": pushed.sizes, "dry_run": dry_run})
    elif not changed:
        say(f"Nothing to push: {len(pushed.versions)} functions are live as they are.")
    else:
        verb = "Would push" if dry_run else "Pushed"
        listed = ", ".join(f"{n} v{v} ({pushed.sizes[n]} B)" for n, v in changed.items())
        say(f"{verb} {listed}")
    _acknowledge(client.releases, pushed.release, wait_s, quiet=as_json)


def _candidates(releases: Releases, paths: tuple[Path, ...], only: tuple[str, ...]) -> list[Any]:
    """Return what the files hold, as candidates; each file that cannot be read is an error."""
    from scatter.names import resolve
    from scatter.releases import Candidate
    from scatter.watch import Text
    from scatter.workspace import Workspace

    workspace = Workspace(paths)
    problems = workspace.load().problems
    if problems:
        text = Text.on(sys.stderr)
        for problem in problems:
            for line in text.lines(problem):
                say(line)
        raise UsageError("Nothing was pushed: mend the files named above.")
    built = workspace.functions
    if not built:
        where = ", ".join(map(str, paths))
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
    """
    wanted = dict(map(_parse_version, versions))
    releases = client_of(ctx).releases
    release = releases.release(wanted, message=message, dry_run=dry_run)
    _tell(releases, release, wait_s, dry_run, as_json)


def _parse_version(text: str) -> tuple[str, int]:
    name, equals, number = text.rpartition("=")
    if not equals or not number.lstrip("v").isdigit():
        raise UsageError(f"Expected NAME=VERSION such as score=7; found {text!r}.")
    return name, int(number.lstrip("v"))


@click.command()
@click.argument("names", nargs=-1)
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
    """Go back everywhere: functions NAMES one live version, or all of the newest release.

    \b
    scatter rollback                 take back the newest release
    scatter rollback score           score to the version that was live before
    scatter rollback --to 41         everything to how it was after release 41
    """
    releases = client_of(ctx).releases
    release = releases.rollback(*names, to=to, message=message, dry_run=dry_run)
    _tell(releases, release, wait_s, dry_run, as_json)


@click.command()
@click.argument("name")
@click.option("--older-than", type=int, metavar="VERSION", help="Only versions below this one.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry
@as_json
@click.pass_context
def delete_(
    ctx: click.Context, name: str, older_than: int | None, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Remove function NAME, or its older versions, and their code, for good.

    Processes go back to the code that they were deployed with; the log keeps the fact.
    """
    releases = client_of(ctx).releases
    numbers = releases.delete(name, older_than=older_than, dry_run=True)
    what = f"{len(numbers)} version{'s' * (len(numbers) != 1)} of {releases.find(name).function}"
    if not dry_run and numbers:
        if not yes:
            click.confirm(f"Remove {what} for good?", abort=True, err=True)
        numbers = releases.delete(name, older_than=older_than)
    if as_json:
        data_json("deleted", {"function": name, "versions": numbers, "dry_run": dry_run})
    else:
        say(f"{'Would remove' if dry_run else 'Removed'} {what}.")


def _tell(
    releases: Releases, release: Release | None, wait_s: float, dry_run: bool, as_json: bool
) -> None:
    """Say what a release changed, and who took it."""
    if as_json:
        data_json("release", asdict(release) if release else None)
    elif release is None:
        say("Dry run: nothing was changed." if dry_run else "Nothing changes: it is live already.")
    else:
        listed = ", ".join(f"{c.function} {number_of(c.version)}" for c in release.changes)
        say(f"Release {release.sequence}: {listed}")
    _acknowledge(releases, release, wait_s, quiet=as_json)


def _acknowledge(
    releases: Releases, release: Release | None, wait_s: float, *, quiet: bool
) -> None:
    """Wait for the processes, say how many took the release, fail if some refused it."""
    if release is None or wait_s <= 0:
        return
    from scatter.acks import wait_for

    store = releases.journal.store
    try:
        names = [change.function for change in release.changes]
        acks = wait_for(
            store, store.doorbell(), release.sequence, timeout_s=wait_s, functions=names
        )
    except ScatterError as error:
        complain(error)
        return
    if not quiet:
        say(str(acks))
    if acks.refused:
        raise PartialRelease(
            f"Release {release.sequence} was refused by {len(acks.refused)} of {acks.total} "
            "processes. See `scatter status`.",
            refusals={report.id: found[0].message for report, found in acks.refused},
        )
