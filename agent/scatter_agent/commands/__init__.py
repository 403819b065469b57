"""The command line of the worker side: `scatter-agent`, or `python -m scatter_agent`.

Not here: what the commands do; each is imported when it is asked for. Errors and exit codes are
those of `scatter`.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    from scatter.cli import main as run
    from scatter_agent.commands.app import cli

    run(arguments, group=cli)
