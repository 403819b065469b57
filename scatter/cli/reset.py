"""Commands for a log that is quiet, or lost: renew, reset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scatter.cli.app import as_json, client_of, settings_of
from scatter.cli.cosign import into_file, propose
from scatter.cli.output import confirm, data_json, say, who

if TYPE_CHECKING:
    from scatter.log.reset import Survey
    from scatter.trust import Position

why = click.option("-m", "--message", default="", help="Why; shown in the log.")


@click.command()
@why
@propose
@as_json
@click.pass_context
def renew_(ctx: click.Context, message: str, propose: Path | None, as_json: bool) -> None:
    """Release nothing, to say that the log is not behind.

    Where a policy has `stale_after`, processes report a log that is older. Run this from a timer.

    \b
    scatter renew
    """
    verbs = into_file(client_of(ctx).releases, propose, dry_run=False)
    release = verbs.renew(message=message)
    if as_json:
        data_json("renewed", {"sequence": release.sequence, "time": release.time})
    else:
        verb = "Would be release" if propose else "Release"
        say(f"{verb} {release.sequence}: the log is of {release.time}.")


@click.command()
@click.option(
    "--from",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Take the functions from a copy that an agent kept (SCATTER_CACHE), not from the log.",
)
@click.option("--adopt", is_flag=True, help="Believe what nobody signed, in the log or the copy.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@why
@as_json
@click.pass_context
def reset_(
    ctx: click.Context,
    folder: Path | None,
    adopt: bool,
    yes: bool,
    message: str,
    as_json: bool,
) -> None:
    """Begin the log anew, and vouch for what is live in it.

    For a log that was lost, damaged or written to by others; that was never signed; or of which a
    key was revoked. Every process follows, if the policy lets you: see docs/how-to/trust.md. What
    comes behind the last release that can be believed is removed.

    \b
    scatter reset                    go on from what can be believed
    scatter reset --from /var/cache/scatter
    scatter reset --adopt            a log of before releases were signed
    """
    from scatter.log.reset import survey
    from scatter.reports import read_reports
    from scatter.store.directory import DirectoryStore
    from scatter.trust import Unsigned

    settings, client = settings_of(ctx), client_of(ctx)
    journal = client.journal
    verifier = Unsigned() if adopt else journal.ledger.verifier
    found = survey(journal.store, verifier)
    copy = DirectoryStore(folder, settings.namespace) if folder else None
    source = survey(copy, verifier) if copy else found
    reported = [report.epoch for report in read_reports(journal.store)]
    epoch = journal.next_epoch(max([found.ledger.epoch, source.ledger.epoch, *reported]))
    for line in _plan(found, source, epoch, journal.known()):
        say(line)
    if not yes and not confirm("Reset the log of every process?"):
        say("Nothing was changed.")
        ctx.exit(1)
    sequence = _carry_out(client, found, source, epoch, message)
    if as_json:
        body: dict[str, Any] = {"sequence": sequence, "epoch": epoch}
        data_json("reset", body | {"functions": len(source.ledger.functions)})
    else:
        say(f"Release {sequence} begins epoch {epoch} of the log.")


def _plan(found: Survey, source: Survey, epoch: int, position: Position | None) -> list[str]:
    """Return what a reset would do, for people."""
    store, known = found.journal.store, found.ledger.sequence
    live = [state for state in source.ledger.functions.values() if state.version]
    lines = [f"{store.address}: {known} of {found.tip} releases can be believed."]
    if found.trouble:
        lines.append(f"After that: {found.trouble.detail}")
    last = max(known, source.ledger.sequence)
    if position is not None and (source.ledger.epoch, last) < (position.epoch, position.sequence):
        lines.append(
            f"This account knew release {position.sequence} of epoch {position.epoch}: what came "
            f"after release {last} would be gone for good. Is there no backup?"
        )
    if source is not found:
        address = source.journal.store.address
        lines.append(f"{address}: release {source.ledger.sequence} was kept there.")
    lines.append(f"Epoch {epoch} would begin with release {known + 1}; live would be:")
    lines += [f"  {s.function} v{s.version}, by {who(s.author)}" for s in live]
    return lines if live else [*lines, "  nothing"]


def _carry_out(client: Any, found: Survey, source: Survey, epoch: int, message: str) -> int:
    """Reset; return the sequence of the release."""
    from scatter.log import Draft
    from scatter.log.reset import missing_bundles, reset

    store = found.journal.store
    bundles = missing_bundles(store, source) if source is not found else {}
    author = client.releases.author
    draft = Draft(action="reset", changes=(), author=author, message=message, bundles=bundles)
    release = reset(found, draft, state=source.ledger, epoch=epoch, journal=client.journal)
    return release.sequence
