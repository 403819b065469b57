"""The command `check`: which settings are in force, and where each came from."""

from __future__ import annotations

from typing import Any

import click

from scatter.cli.app import as_json
from scatter.cli.output import data, data_json, table
from scatter_agent.commands.options import configured, settings_of


@click.command()
@configured()
@as_json
def check_(as_json: bool, **given: Any) -> None:
    """Show the settings in force and where each came from. Nothing is connected.

    A flag goes over the environment, that over systemd's credentials, those over the file, that
    over `[tool.scatter]`, and that over the default. Passwords are hidden. Exits with 2 when a
    setting is wrong, or a file that one names cannot be used. A password that every user of the
    machine can read is a warning.

    \b
    scatter-agent check
    scatter-agent check --config ./agent.toml --json
    """
    from scatter.errors import UsageError
    from scatter_agent.settings import FILE, problems

    settings = settings_of(given)
    rows = list(settings.shown())
    if as_json:
        keys = ("name", "value", "from")
        data_json("settings", [dict(zip(keys, row, strict=True)) for row in rows])
    else:
        data(f"File: {settings.file or f'none (there is no {FILE})'}")
        table(("setting", "value", "from"), rows)
    found = problems(settings)
    if found:
        raise UsageError("\n".join(found))
