"""The options that say what must be well before a push."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from scatter.config import Settings
    from scatter.workspace.checks import Check

check = click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="COMMAND",
    help="Run this first, such as 'pytest -q tests/unit', and push nothing if it fails; may be "
    "repeated. Those of the setting `checks` run, too.",
)
no_check = click.option("--no-check", is_flag=True, help="Look at nothing first: for emergencies.")


def checks_of(settings: Settings, commands: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks of the settings, and those of the command line.

    Raises:
        UsageError: One cannot be read, or may not be run.

    """
    from scatter.workspace.checks import check_owner, read_checks

    origin = Path(settings.origins.get("checks", ""))
    if settings.checks and origin.is_absolute():
        check_owner(origin)
    return read_checks([*settings.checks, *commands])
