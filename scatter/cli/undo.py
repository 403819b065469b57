"""The command `undo`: takes back my last release."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scatter.cli.app import as_json, client_of
from scatter.cli.change import dry, tell, wait, why
from scatter.cli.cosign import into_file, propose

if TYPE_CHECKING:
    from scatter.releases import Releases


@click.command()
@click.option("--force", is_flag=True, help="Also what others have released over since.")
@why
@propose
@dry
@wait
@as_json
@click.pass_context
def undo_(
    ctx: click.Context,
    force: bool,
    message: str,
    propose: Path | None,
    dry_run: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Take back my last release.

    What was live before it is live again. Mine are those by the author that `scatter config` shows.
    Once more takes back the one before. `scatter rollback` takes back the newest release, whoever
    made it.

    \b
    scatter undo
    scatter undo --dry-run
    """
    releases: Releases = client_of(ctx).releases
    verbs = into_file(releases, propose, dry_run=dry_run)
    releases.journal.catch_up()  # connected, so that what is timed is the release
    began = time.monotonic()
    release = verbs.undo(message=message, force=force, dry_run=dry_run)
    tell(releases, release, wait_s, dry_run or propose is not None, as_json, began)
