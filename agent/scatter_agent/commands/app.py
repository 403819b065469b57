"""The command group of `scatter-agent`."""

from __future__ import annotations

import click

from scatter._version import __version__
from scatter.cli.lazy import Lazy

_COMMANDS = {
    "mirror": "mirror",
}


@click.group(
    cls=Lazy,
    package="scatter_agent.commands",
    modules=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 Redis unreachable, 130 interrupted.",
)
@click.version_option(__version__, "-V", "--version", message="scatter-agent %(version)s")
def cli() -> None:
    """Live-reloadable functions for Python, on the machines that run them.

    \b
    scatter-agent mirror             keep a copy for all processes of this host
    """
