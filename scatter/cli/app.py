"""The command group, and what all commands share."""

from __future__ import annotations

import importlib
from typing import Any

import click

from scatter._version import __version__

_COMMANDS = {
    "watch": "run",
    "push": "change",
    "release": "change",
    "rollback": "change",
    "delete": "change",
    "list": "read",
    "log": "read",
    "show": "read",
    "diff": "read",
    "status": "read",
    "config": "read",
    "server": "run",
    "demo": "run",
    "completion": "run",
}


class Lazy(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return all commands, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; a mistyped one gets a suggestion."""
        if cmd_name not in _COMMANDS:
            close = [c for c in _COMMANDS if cmd_name and c.startswith(cmd_name[:2])]
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            ctx.fail(f"There is no command {cmd_name!r}.{hint} See `scatter --help`.")
        module = importlib.import_module(f"scatter.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_")
        return command


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 Redis unreachable, 4 partial, 5 conflict.",
)
@click.option("-u", "--redis-url", metavar="URL", help="redis://, rediss://, unix:// or local://")
@click.option("-n", "--namespace", metavar="NAME", help="Which application's functions.")
@click.version_option(__version__, "-V", "--version", message="scatter %(version)s")
@click.pass_context
def cli(ctx: click.Context, redis_url: str | None, namespace: str | None) -> None:
    """Live-reloadable functions for Python, through Redis.

    \b
    scatter demo                     see it work, in 20 seconds
    scatter watch src/               push functions as they are saved
    scatter log score                who changed it, when and why
    scatter diff score               what the live version changed
    scatter rollback score           back to the version before, everywhere
    scatter status                   which process runs what
    """
    ctx.obj = {"redis_url": redis_url, "namespace": namespace}


def settings_of(ctx: click.Context) -> Any:
    """Return the settings in force for a command."""
    from scatter.config import resolve

    return resolve(**ctx.obj)


def client_of(ctx: click.Context) -> Any:
    """Return the client for a command; it connects when it is first used."""
    from scatter.client import Client
    from scatter.registry import Registry

    client = Client(settings_of(ctx), registry=Registry())
    ctx.call_on_close(client.close)
    return client
