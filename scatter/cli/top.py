"""The command `top`: the fleet on a full screen. The screen is `scatter.cli.screen`."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from scatter.cli.app import client_of, made_text, settings_of
from scatter.errors import ScatterError, UsageError

if TYPE_CHECKING:
    from scatter.cli.screen.actions import Actions


@click.command()
@click.pass_context
def top_(ctx: click.Context) -> None:
    """Watch the fleet on a full screen, and act. Functions above, the processes of one below.

    What is refused or behind comes first, with the reason. Keys: arrows and Tab to move, `d` what
    the live version changed, `r` roll back (asks first), `l` log, `/` filter, `s` sort, `?` all
    keys, `q` quit. Needs the extra `tui`; `scatter status --watch` needs nothing.

    \b
    scatter top
    scatter -n shop top
    """
    if find_spec("textual") is None:
        raise ScatterError(
            "scatter top needs the package textual: `pip install 'scatter[tui]'`, or `pip install "
            "textual`. Without it there is `scatter status --watch`."
        )
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise UsageError(
            "scatter top needs a terminal that can move its cursor. Elsewhere there is `scatter "
            "status --watch --json`."
        )
    from scatter.cli.follow import Follower
    from scatter.cli.screen.app import Top

    settings, watched = settings_of(ctx), client_of(ctx)
    store = watched.releases.journal.store
    title = f"scatter top: {settings.namespace} on {store.address}"
    top = Top(title, lambda tell: Follower(watched.releases, tell), _actions(ctx))
    top.run()
    ctx.exit(top.return_code or 0)


def _actions(ctx: click.Context) -> Actions:
    """Return what keys ask for, with a client of its own that asks for nothing on the terminal."""
    from scatter.cli.screen.actions import Actions
    from scatter.client import Client
    from scatter.log import LazySigner
    from scatter.registry import Registry

    notes: list[str] = []
    signer = LazySigner(on_made=lambda own: notes.append(made_text(own)))
    client = Client(settings_of(ctx), registry=Registry(), signer=signer)
    ctx.call_on_close(client.close)
    return Actions(client, notes)
