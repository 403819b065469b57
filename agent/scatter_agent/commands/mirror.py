"""The command `mirror`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from scatter_agent.commands.options import configured, settings_of


@click.command()
@configured("namespace", "track", "application", "labels", "cache")
def mirror_(**given: Any) -> None:
    """Keep a verified copy of namespaces in a directory, for all processes of this host.

    They follow it with SCATTER_STORE=dir:DIRECTORY, and need no Redis and no password. It runs
    until SIGTERM or Ctrl-C; SIGHUP has it read the files of trust again.

    \b
    scatter-agent mirror -u redis://redis.internal:6379/0 -n shop
    scatter-agent mirror -d ./mirror -n shop -n lab
    """
    import logging

    from scatter_agent.mirror.daemon import run

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    settings = settings_of(given)
    os.environ.update(settings.environment())  # files of trust are found by it
    run(settings.common, settings.namespaces, Path(settings.directory).expanduser().absolute())
