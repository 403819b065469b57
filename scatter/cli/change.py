"""Commands that change what the fleet runs: push, release, rollback, delete."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scatter.cli.app import (
    allow,
    as_json,
    check_allow,
    client_of,
    complete_function,
    secrets,
    settings_of,
    track,
)
from scatter.cli.choosing import against_live, candidates_of, changed_by
from scatter.cli.cosign import into_file, propose
from scatter.cli.explain import headline, open_workspace, show, strangers_of
from scatter.cli.gate import check, checks_of, no_check
from scatter.cli.lending import expires
from scatter.cli.output import confirm, data, data_json, say
from scatter.cli.releasing import Releasing, acknowledge, dry, releasing, until_of, wait, why
from scatter.errors import UsageError

if TYPE_CHECKING:
    from scatter.model import FunctionState
    from scatter.releases import Releases
    from scatter.workspace import Explanation


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
@allow
@secrets
@check
@no_check
@click.option("--force", is_flag=True, help="Go over somebody else's version.")
@expires
@why
@propose
@dry
@wait
@as_json
@click.pass_context
def push_(
    ctx: click.Context,
    paths: tuple[Path, ...],
    only: tuple[str, ...],
    track: tuple[str, ...],
    allow: tuple[str, ...],
    secrets: bool,
    checks: tuple[str, ...],
    no_check: bool,
    force: bool,
    lasts_s: float,
    message: str,
    propose: Path | None,
    dry_run: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Push the tracked functions in PATHS, in one release. What is live as it is stays.

    Files are read, never imported or run. Before anything is sent, they are looked through for
    names and modules that there are not, and for what would break callers; then the checks run.

    \b
    scatter push                     everything under the configured paths
    scatter push src/pricing.py -m "cap the discount"
    scatter push -f score --expires 30m   half an hour of it; then what was before
    scatter push -f score --dry-run  what would be pushed
    """
    from scatter.workspace.gate import Gate

    client, settings = client_of(ctx), settings_of(ctx)
    releases: Releases = client.releases
    verbs = into_file(releases, propose, dry_run=dry_run)
    chosen = paths or tuple(Path(p) for p in settings.paths)
    workspace = open_workspace(chosen, track or settings.track, strict=not only, secrets=secrets)
    before = dict(releases.functions())
    in_bundle, at_gate = check_allow(allow)
    candidates = candidates_of(releases, workspace, only, in_bundle)
    if candidates and not no_check:
        gate = Gate(workspace, checks_of(settings, checks), allow=at_gate)
        found = against_live(releases, workspace, before, candidates)
        gate.read(found)
        gate.run(found, say)
    began = time.monotonic()
    pushed = verbs.push(candidates, message=message, force=force, dry_run=dry_run, lasts_s=lasts_s)
    dry_run = dry_run or propose is not None
    changed = changed_by(pushed, before)
    live = releases.live_bundles([before[n] for n in changed if n in before])
    explained = {n: workspace.explain(n, live.get(n)) for n in changed}
    if as_json:
        sequence = pushed.release and pushed.release.sequence
        body = {"changed": changed, "sizes": pushed.sizes, "sequence": sequence}
        texts = {n: asdict(one) for n, one in explained.items()}
        data_json("push", body | {"explained": texts, "dry_run": dry_run})
    elif not changed:
        count = len(only) or len(workspace.functions)
        what = (
            "1 function is live as it is"
            if count == 1
            else f"{count} functions are live as they are"
        )
        say(f"Nothing to push: {what}.")
    else:
        verb = "Would push" if dry_run else "Pushed"
        listed = ", ".join(f"{n} v{v} ({pushed.sizes[n]} B)" for n, v in changed.items())
        say(f"{verb} {listed}{until_of(pushed.release)}")
        _explain(explained, before, dry_run)
    if not dry_run:
        acknowledge(client.releases, pushed.release, wait_s, began)


def _explain(
    explained: dict[str, Explanation], before: dict[str, FunctionState], dry_run: bool
) -> None:
    """Say what a push does, before it is done; afterwards, whom it does not reach."""
    for name, explanation in explained.items():
        if dry_run:
            data(headline(explanation, before.get(name)))
            show(explanation)
        else:
            for line in strangers_of(explanation):
                say(line)


@click.command()
@click.argument("versions", nargs=-1, required=True, metavar="NAME=VERSION...")
@expires
@releasing
def release_(ctx: click.Context, how: Releasing, versions: tuple[str, ...], lasts_s: float) -> None:
    """Make existing versions live everywhere, all in one release.

    VERSION is a number; 0 is the code that processes were deployed with.

    \b
    scatter release score=7 rank=3
    scatter release score=0          the deployed code again
    scatter release score=7 --expires 2h
    """
    wanted = dict(map(_parse_version, versions))
    if len(wanted) < len(versions):
        raise UsageError("A function is named twice. Give each one version.")
    how.do(ctx, lambda verbs, **given: verbs.release(wanted, lasts_s=lasts_s, **given))


def _parse_version(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    number = number.removeprefix("v")
    if not name or not number.isdecimal():
        raise UsageError(f"Expected NAME=VERSION such as score=7; found {text!r}.")
    return name, int(number)


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_function)
@click.option("--to", type=int, metavar="RELEASE", help="Back to right after this release.")
@releasing
def rollback_(ctx: click.Context, how: Releasing, names: tuple[str, ...], to: int | None) -> None:
    """Go back, everywhere. Functions NAMES go back to the version that was live before.

    Watchers push nothing over that until a push or release by hand lifts it.

    Without NAMES, those of the newest release do. Whether a version ran well is not looked at: it
    may be one that processes refused.

    \b
    scatter rollback                 take back the newest release
    scatter rollback score           score to the version that was live before
    scatter rollback --to 41         everything to how it was after release 41
    """
    how.do(ctx, lambda verbs, **given: verbs.rollback(*names, to=to, **given))


@click.command()
@click.argument("name", shell_complete=complete_function)
@click.option(
    "--older-than",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Only versions below this one; the live one stays.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@propose
@dry
@as_json
@click.pass_context
def delete_(
    ctx: click.Context,
    name: str,
    older_than: int | None,
    yes: bool,
    propose: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove function NAME, or its older versions, for good. Their code goes too.

    Processes go back to the code that they were deployed with; the log keeps the fact.

    \b
    scatter delete score             all of it; asks before
    scatter delete score --older-than 40 -y
    """
    releases = client_of(ctx).releases
    verbs = into_file(releases, propose, dry_run=dry_run)
    function = releases.find(name).function
    numbers = releases.delete(function, older_than=older_than, dry_run=True)
    if numbers and not dry_run:
        if not yes and not propose and not confirm(_really(numbers, function)):
            say("Nothing was removed.")
            ctx.exit(1)
        numbers = verbs.delete(function, older_than=older_than)
    dry_run = dry_run or propose is not None
    if as_json:
        data_json("deleted", {"function": function, "versions": numbers, "dry_run": dry_run})
    else:
        say(f"{'Would remove' if dry_run else 'Removed'} {_count(numbers)} of {function}.")


def _really(numbers: Sequence[int], function: str) -> str:
    return f"Remove {_count(numbers)} of {function} for good?"


def _count(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} version{'s' * (len(numbers) != 1)}"
