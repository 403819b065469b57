"""The command `run`: a program with an agent in it."""

from __future__ import annotations

import os
from typing import Any

import click

from scatter_agent.commands.options import configured, settings_of


@click.command(context_settings={"allow_interspersed_args": False})
@configured("namespaces", "directory")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_(command: tuple[str, ...], **given: Any) -> None:
    """Run a program with the agent in it; its source stays as it is.

    COMMAND replaces this process, so that signals and the exit status are its own. Every Python
    process of it gets an agent as soon as a function in it is tracked: by --track, by the setting
    `track`, or by `@scatter.track` in its source. Interpreters that run with -S, -I or -E get
    none. SCATTER_DISABLED=1 runs COMMAND and nothing else. When something is wrong with scatter,
    that is one line on stderr, and COMMAND runs without an agent.

    \b
    scatter-agent run --track 'pricing.*' -- gunicorn app:app
    scatter-agent run -n shop --track shop -- python -m shop.worker
    """
    from scatter_agent.launch import execute, is_disabled, with_agent

    environment = dict(os.environ)
    if not is_disabled(environment):
        try:
            environment = with_agent(environment, settings_of(given).environment())
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            click.echo(f"scatter-agent run: no agent in this program: {text}", err=True)
    execute(command, environment)
