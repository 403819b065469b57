"""The command line of the agent's side: `scatter-agent`.

Each command is imported when it runs. What runs for long tells its events on stderr, where systemd
and containers look for them.

Exit codes: those of `scatter`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    import click

    from scatter.cli.output import complain
    from scatter.errors import ScatterError
    from scatter_agent.commands.app import cli

    try:
        code = cli.main(list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.exceptions.Abort:  # Ctrl-C
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ScatterError as error:
        complain(error)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)
