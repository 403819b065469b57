"""The command line of the agent's side: `scatter-agent`.

Each command is imported when it runs. What runs for long tells its events on stderr, where systemd
and containers look for them.

Exit codes: those of `scatter`.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    from scatter.cli.lazy import perform
    from scatter_agent.commands.app import cli

    perform(cli, "scatter-agent", arguments)
