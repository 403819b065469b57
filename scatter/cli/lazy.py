"""A command group that imports a command's module when it is asked for, and how it is run."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click


class Lazy(click.Group):
    """A group whose commands are listed without importing them."""

    def __init__(
        self, *args: Any, package: str = "", modules: Mapping[str, str] | None = None, **rest: Any
    ) -> None:
        """Take a group's arguments.

        Args:
            *args, **rest: Of `click.Group`.
            package: Where the modules are.
            modules: Command → its module, which has it as a function with `_` after its name; in
                the order of the help.

        """
        super().__init__(*args, **rest)
        self._package = package
        self._modules = dict(modules or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return all commands, in the order of the help."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; a mistyped one gets a suggestion."""
        if cmd_name not in self._modules:
            if ctx.resilient_parsing:  # a shell asks for completions: no place for messages
                return None
            close = difflib.get_close_matches(cmd_name, self._modules)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            program = ctx.find_root().info_name
            ctx.fail(f"There is no command {cmd_name!r}.{hint} See `{program} --help`.")
        module = importlib.import_module(f"{self._package}.{self._modules[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_")
        return command


def perform(group: click.Group, program: str, arguments: Sequence[str] | None) -> NoReturn:
    """Run a command and exit with its code.

    Args:
        group: The commands.
        program: Its name, as people type it.
        arguments: Of the command line; None: those of this process.

    """
    from scatter.cli.output import complain
    from scatter.errors import ScatterError

    try:
        given = list(arguments) if arguments is not None else None
        code = group.main(given, prog_name=program, standalone_mode=False)
    except click.exceptions.Abort:  # Ctrl-C
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ScatterError as error:
        complain(error)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)
