"""What commands that release have in common: their options, doing it, and who took the release."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scatter.cli.app import as_json, client_of
from scatter.cli.cosign import into_file, propose
from scatter.cli.lending import until
from scatter.cli.output import data_json, number_of, say
from scatter.errors import PartialRelease, ScatterError
from scatter.names import printable

if TYPE_CHECKING:
    from scatter.model import Release
    from scatter.releases import Releases

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Releasing:
    """How a command is to release.

    Attributes:
        message: Why.
        propose: Write it here, for others to sign; None: release it.
        dry_run: Only say what would happen.
        wait_s: Seconds to wait for processes to take it.
        as_json: Print JSON.

    """

    message: str
    propose: Path | None
    dry_run: bool
    wait_s: float
    as_json: bool

    def do(self, ctx: click.Context, make: Callable[..., Release | None]) -> None:
        """Release, and say what came of it.

        Args:
            ctx: Of the command.
            make: Given the verbs, a message and whether it is a dry run, it makes the release.

        """
        releases: Releases = client_of(ctx).releases
        verbs = into_file(releases, self.propose, dry_run=self.dry_run)
        releases.journal.catch_up()  # connected, so that what is timed is the release
        began = time.monotonic()
        release = make(verbs, message=self.message, dry_run=self.dry_run)
        is_trial = self.dry_run or self.propose is not None
        tell(releases, release, self.wait_s, is_trial, self.as_json, began)


def releasing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all that release; it has them as its `Releasing`."""

    @functools.wraps(command)
    def run(
        ctx: click.Context,
        *,
        message: str,
        propose: Path | None,
        dry_run: bool,
        wait_s: float,
        as_json: bool,
        **own: Any,
    ) -> None:
        how = Releasing(
            message=message, propose=propose, dry_run=dry_run, wait_s=wait_s, as_json=as_json
        )
        command(ctx, how, **own)

    found: Callable[..., None] = click.pass_context(run)
    for option in (as_json, wait, dry, propose, why):
        found = option(found)
    return found


def until_of(release: Release | None) -> str:
    """Return until when a release holds, for the end of a line; empty if it is for good."""
    if release is None or not release.expires:
        return ""
    return f", until {until(release.expires)}; then what was live before"


def tell(
    releases: Releases,
    release: Release | None,
    wait_s: float,
    dry_run: bool,
    as_json: bool,
    began: float,
) -> None:
    """Say what a release changed or would change, and who took it."""
    if as_json:
        data_json("release", asdict(release) if release else None)
    elif release is None:
        say("Nothing changes: it is live already.")
    else:
        listed = ", ".join(f"{c.function} {number_of(c.version)}" for c in release.changes)
        verb = "Would be release" if dry_run else "Release"
        say(f"{verb} {release.sequence}: {listed}{until_of(release)}")
    if not dry_run:
        acknowledge(releases, release, wait_s, began)


def acknowledge(releases: Releases, release: Release | None, wait_s: float, began: float) -> None:
    """Wait for the processes, and say how many took the release, and how long after it `began`.

    Raises:
        PartialRelease: Not all did, or nobody could be asked.

    """
    if release is None or wait_s <= 0:
        return
    from scatter.acks import wait_for

    store, number = releases.journal.store, release.sequence
    names = [change.function for change in release.changes]
    try:
        acks = wait_for(
            store,
            store.doorbell(),
            number,
            timeout_s=wait_s,
            functions=names,
            released_at=began,
        )
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
