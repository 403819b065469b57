"""The command group of `scatter-agent`."""

from __future__ import annotations

import click

from scatter._version import __version__
from scatter.cli.lazy import Lazy

_COMMANDS = {
    "run": "run",
    "mirror": "mirror",
    "check": "check",
    "install": "install",
}


@click.group(
    cls=Lazy,
    package="scatter_agent.commands",
    modules=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 Redis unreachable, 130 interrupted. Those of "
    "`run` are the program's own.",
)
@click.version_option(__version__, "-V", "--version", message="scatter-agent %(version)s")
def cli() -> None:
    """Run what follows the log of releases: programs with an agent in them, and the mirror.

    \b
    scatter-agent run --track 'pricing.*' -- gunicorn app:app
    scatter-agent mirror             keep a copy for all processes of this host
    scatter-agent check              the settings in force, and where each came from
    scatter-agent install --systemd  units for systemd
    """
