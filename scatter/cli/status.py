"""The command `status`: the fleet on one screen, and waiting for a release to be answered."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from scatter.cli.app import as_json, client_of, settings_of
from scatter.cli.output import ago, complain, data, data_json, say
from scatter.errors import NotFound, PartialRelease, Untrusted, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scatter.acks import Acks
    from scatter.model import FunctionState, ProcessReport, Release
    from scatter.releases import Releases
    from scatter.store.outbox import Contact
    from scatter.store.port import Store


@click.command()
@click.argument("release", required=False, type=click.IntRange(min=1))
@click.option("-a", "--all", "everything", is_flag=True, help="Each process and function in a row.")
@click.option("--no-git", is_flag=True, help="Do not compare what is live with git HEAD.")
@click.option("-w", "--watch", is_flag=True, help="Show it again after each change, until Ctrl-C.")
@click.option("--wait", is_flag=True, help="Wait until every process has answered RELEASE.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait waits at most.",
)
@as_json
@click.pass_context
def status_(
    ctx: click.Context,
    release: int | None,
    everything: bool,
    no_git: bool,
    watch: bool,
    wait: bool,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Show which process runs what. Also who is behind, and what was refused and why.

    In a git working tree it shows, too, what is live and is not in HEAD as it is live.

    With --watch it is redrawn live, without git. Where that is no terminal, or with --json, there
    is one snapshot for each change; of JSON, one on a line.

    With --wait it returns when every running process has applied or refused RELEASE, by default
    the newest; it fails with 4 if one refused it or did not answer in time.

    \b
    scatter status
    scatter status --all             a row for each process
    scatter status --json            all that the processes report
    scatter status --watch           live
    scatter status --wait 41 --timeout 30
    """
    if wait and watch:
        raise UsageError("--watch never ends, --wait does: give one of the two.")
    if wait:
        _wait(client_of(ctx).releases, release, timeout_s, as_json)
        return
    if release is not None:
        raise UsageError(f"Found a release, {release}, which is for --wait: add it.")
    if watch:
        from scatter.cli.watching import watch_fleet

        watch_fleet(client_of(ctx).releases, everything=everything, as_json=as_json)
    else:
        _show(ctx, everything, no_git, as_json)


def _show(ctx: click.Context, everything: bool, no_git: bool, as_json: bool) -> None:
    from scatter.cli import fleet, in_git
    from scatter.cli.watching import fleet_fields
    from scatter.fleet import fleet_of
    from scatter.reports import read_reports

    releases = client_of(ctx).releases
    functions, trouble = _believed(releases)
    tip = releases.journal.ledger.sequence
    found = fleet_of(functions, read_reports(releases.journal.store), tip)
    if not as_json and not functions and not found.reports:
        say("No functions and no processes yet. Start with `scatter demo`.")
        _show_scope(releases.journal.store)
        return
    if trouble is not None:
        complain(trouble)
    if not as_json:
        fleet.show(found, everything=everything)
        _show_scope(releases.journal.store)
    at_head, error = (None, "") if no_git else in_git.compare(releases, functions, settings_of(ctx))
    if not as_json:
        in_git.show(at_head, error, functions)
        ctx.exit(1 if trouble else 0)
    mirror = _mirror(releases.journal.store)
    body = fleet_fields(found) | {
        "git": in_git.fields(at_head, error, functions),
        "mirror": mirror._asdict() if mirror else None,
    }
    data_json("status", body)
    ctx.exit(1 if trouble else 0)


def _mirror(store: Store) -> Contact | None:
    """Return how the mirror stands whose directory is looked at; None: it is a server."""
    from scatter.store.directory import DirectoryStore

    return store.contact() if isinstance(store, DirectoryStore) else None


def _show_scope(store: Store) -> None:
    """Say that a directory knows of one host, and since when it may lack what is newest."""
    mirror = _mirror(store)
    if mirror is None:
        return
    say(f"These are processes of this host that follow {store.address}; the server knows all.")
    if not mirror.is_online:
        heard = ago(datetime.fromtimestamp(mirror.at, UTC).isoformat())
        say(
            f"The mirror could last ask its server {heard}; what is newer is not known here.\n"
            "`scatter doctor` says more."
        )


def _believed(releases: Releases) -> tuple[dict[str, FunctionState], Untrusted | None]:
    """Return the functions as far as the log can be believed here, and why not further.

    What processes report is worth seeing all the same.
    """
    try:
        return releases.functions(), None
    except Untrusted as error:
        return releases.known(), error


# waiting ---------------------------------------------------------------------------------


def _wait(releases: Releases, number: int | None, timeout_s: float, as_json: bool) -> None:
    """Wait for the answers to a release, and say in one line what they were.

    Raises:
        NotFound: There is no such release.
        PartialRelease: Not everybody runs it.

    """
    from scatter.acks import wait_for

    release = _release(releases, number)
    if release is None:
        if as_json:
            data_json("wait", None)
        else:
            say("The log is empty: nothing was released yet.")
        return
    store = releases.journal.store
    names = [change.function for change in release.changes]
    bell = store.doorbell()
    acks = wait_for(store, bell, release.sequence, timeout_s=timeout_s, functions=names)
    if as_json:
        data_json("wait", _fields(release, acks))
    if acks.refused or acks.behind:
        refusals = {report.id: found[0].message for report, found in acks.refused}
        raise PartialRelease(_line(release, acks), refusals=refusals)
    if not as_json:
        data(_line(release, acks))


def _release(releases: Releases, number: int | None) -> Release | None:
    """Return a release by its number, by default the newest; None if there is none at all."""
    releases.journal.catch_up()
    tip = releases.journal.ledger.sequence
    if number is not None and number > tip:
        raise NotFound(f"There is no release {number}; the newest is {tip}.", name=str(number))
    wanted = number or tip
    found = releases.journal.releases(limit=1, before=wanted + 1) if wanted else []
    return found[0] if found else None


def _line(release: Release, acks: Acks) -> str:
    """Return what the processes did about a release, in one line that names those who did not."""
    if not acks.total:
        return f"Release {release.sequence}: no process runs its functions under an agent."
    noun = "process" if acks.total == 1 else "processes"
    parts = [f"applied by {len(acks.applied)} of {acks.total} {noun}"]
    parts += [f"held by {_named(acks.held)}"] * bool(acks.held)
    parts += [f"refused by {_named([r for r, _ in acks.refused])}"] * bool(acks.refused)
    parts += [f"not answered by {_named(acks.behind)}"] * bool(acks.behind)
    return f"Release {release.sequence}: {', '.join(parts)}, in {acks.elapsed_s * 1000:.0f} ms"


def _named(reports: Sequence[ProcessReport], most: int = 3) -> str:
    from scatter.acks import label

    rest = len(reports) - most
    names = ", ".join(label(report) for report in reports[:most])
    return f"{len(reports)} ({names}{f' and {rest} more' if rest > 0 else ''})"


def _fields(release: Release, acks: Acks) -> dict[str, object]:
    return {
        "sequence": release.sequence,
        "functions": [change.function for change in release.changes],
        "applied": [report.id for report in acks.applied],
        "held": [report.id for report in acks.held],
        "refused": {
            report.id: [asdict(refusal) for refusal in found] for report, found in acks.refused
        },
        "behind": [report.id for report in acks.behind],
        "elapsed_s": round(acks.elapsed_s, 6),
    }
