"""The command `undo`: takes back my last release."""

from __future__ import annotations

import click

from scatter.cli.releasing import Releasing, releasing


@click.command()
@click.option("--force", is_flag=True, help="Also what others have released over since.")
@releasing
def undo_(ctx: click.Context, how: Releasing, force: bool) -> None:
    """Take back my last release.

    What was live before it is live again. Mine are those by the author that `scatter config` shows.
    Once more takes back the one before. `scatter rollback` takes back the newest release, whoever
    made it.

    \b
    scatter undo
    scatter undo --dry-run
    """
    how.do(ctx, lambda verbs, **given: verbs.undo(force=force, **given))
