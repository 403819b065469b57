"""Commands for releases that several people sign: `--propose FILE`, sign, publish."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scatter.cli.app import as_json, client_of
from scatter.cli.output import ago, confirm, data, data_json, say
from scatter.errors import UsageError
from scatter.names import printable

if TYPE_CHECKING:
    from scatter.log.cosign import Considered
    from scatter.log.journal import Journal
    from scatter.log.proposal import Proposal
    from scatter.model import Release
    from scatter.releases import Releases
    from scatter.trust.policy import Signatory

propose = click.option(
    "--propose",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it, signed, to FILE for others to sign; release nothing.",
)
_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.command()
@_file
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only look; sign nothing.")
@as_json
@click.pass_context
def sign_(ctx: click.Context, file: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Look at what was proposed in FILE, and sign it.

    Shows who signed it and what it would change, checked against what is live; asks; adds your
    signature to FILE.

    \b
    scatter push --propose FILE      makes one
    scatter sign FILE                the others look at it, and sign
    scatter publish FILE             releases it
    """
    from scatter.log.cosign import consider, sign

    journal = client_of(ctx).journal
    considered = consider(journal, load(file))
    diffs = _diffs(journal, considered)
    if not as_json:
        _show(journal, considered, diffs)
    if not dry_run and not yes and not confirm("Sign it?"):
        say("Nothing was signed.")
        ctx.exit(1)
    if not dry_run:
        considered = sign(journal, considered)
        save(file, considered.proposal)
    if as_json:
        plain = {name: [click.unstyle(line) for line in lines] for name, lines in diffs.items()}
        data_json("proposal", _fields(considered) | {"diffs": plain, "dry_run": dry_run})
    elif not dry_run:
        say(f"Signed by {_listed(considered.signatories)}.")
        _say_next(considered, file)


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for running processes to take it; 0: not at all.",
)
@as_json
@click.pass_context
def publish_(
    ctx: click.Context, files: tuple[Path, ...], dry_run: bool, wait_s: float, as_json: bool
) -> None:
    """Release what was proposed in FILE, once enough have signed it.

    If somebody released since it was proposed, it is a conflict, and is to be proposed again. Give
    all copies of FILE that people have signed, if each signed another.

    \b
    scatter publish FILE
    scatter publish FILE --dry-run   whether it could be
    """
    from scatter.cli.releasing import tell
    from scatter.log.cosign import consider, merged, publish

    releases: Releases = client_of(ctx).releases
    considered = consider(releases.journal, merged([load(file) for file in files]))
    _say_left_out(considered)
    if not as_json:
        say(f"Signed by {_listed(considered.signatories)}.")
    if dry_run:
        _say_next(considered, files[0])
    began = time.monotonic()
    release = considered.release if dry_run else publish(releases.journal, considered)
    tell(releases, release, wait_s, dry_run, as_json, began)


# proposing -------------------------------------------------------------------------------


def into_file(releases: Releases, file: Path | None, *, dry_run: bool) -> Releases:
    """Return the verbs that write to the log; with a file, those that write a proposal there.

    Raises:
        UsageError: The file is something else, or cannot be made.

    """
    if file is None:
        return releases
    if dry_run:
        raise UsageError("Give --dry-run or --propose: with the first, nothing is written.")
    if file.exists() and not _begins_as_proposal(file):
        raise UsageError(f"{file} is there, and is no proposal: it is left alone. Name another.")

    def propose(_release: Release, proposal: Proposal) -> None:
        from scatter.log.cosign import consider

        considered = consider(releases.journal, proposal)
        save(file, considered.proposal)
        say(f"Proposed in {file}, signed by {_listed(considered.signatories)}.")
        _say_next(considered, file)

    return releases.proposing(propose)


def load(file: Path) -> Proposal:
    """Return the proposal in a file.

    Raises:
        UsageError: It cannot be read.
        Untrusted: `bad-proposal` or `too-big`.

    """
    from scatter.log.proposal import MAX_PROPOSAL_BYTES, read

    try:
        with file.open("rb") as stream:
            return read(stream.read(MAX_PROPOSAL_BYTES + 1))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error


def save(file: Path, proposal: Proposal) -> None:
    """Write a proposal to a file, whole.

    Raises:
        UsageError: It cannot be written.

    """
    from scatter.files import write_whole
    from scatter.log.proposal import write

    try:
        write_whole(file, write(proposal), keep_owner=True)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error


def _begins_as_proposal(file: Path) -> bool:
    from scatter.log.proposal import is_proposal

    try:
        with file.open("rb") as stream:
            return is_proposal(stream.read(64))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error


# showing ---------------------------------------------------------------------------------


def _diffs(journal: Journal, considered: Considered) -> dict[str, list[str]]:
    from scatter.cli.review import diff_of

    changes = considered.release.changes
    return {change.function: diff_of(journal, considered, change) for change in changes}


def _show(journal: Journal, considered: Considered, diffs: dict[str, list[str]]) -> None:
    """Show a proposal to whoever is to sign it."""
    from scatter.cli.review import headline

    release = considered.release
    why = f": {printable(release.message)}" if release.message else ""
    say(
        f"Release {release.sequence} of {release.namespace}, a {release.action} proposed by "
        f"{printable(release.author)} {ago(release.time)} ({release.time}){why}"
    )
    if release.expires:
        say(f"It is over by itself at {release.expires}; then what was live before is so again.")
    say(f"Signed by {_listed(considered.signatories)}.")
    _say_left_out(considered)
    for change in release.changes:
        state = journal.current().get(change.function)
        removed = considered.removed.get(change.function, ())
        data(headline(change, state.live if state else None, removed))
        for line in diffs[change.function]:
            data(line)


def _say_left_out(considered: Considered) -> None:
    for refusal in considered.left_out:
        say(f"A signature is left out: {printable(refusal.detail)}")


def _say_next(considered: Considered, file: Path) -> None:
    """Say what is missing, or that nothing is."""
    for refusal in considered.missing:
        say(printable(refusal.detail))
    if considered.missing:
        say(f"The others sign it with:\n    scatter sign {file}")
    else:
        say(
            f"Enough have signed, as far as the policy here says. To release it:\n"
            f"    scatter publish {file}"
        )


def _listed(signatories: tuple[Signatory, ...]) -> str:
    return ", ".join(
        f"{printable(', '.join(one.principals))} ({one.fingerprint})" for one in signatories
    )


def _fields(considered: Considered) -> dict[str, Any]:
    """Return what is known of a proposal, for JSON."""
    return {
        "release": asdict(considered.release),
        "signed_by": [asdict(one) for one in considered.signatories],
        "left_out": [refusal.detail for refusal in considered.left_out],
        "missing": [refusal.detail for refusal in considered.missing],
        "removed": {name: list(numbers) for name, numbers in considered.removed.items()},
    }
