"""Jupyter and IPython: `%load_ext scatter` gives `%%push` and `%scatter`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from scatter import api
from scatter.cli.app import cli
from scatter.cli.output import data, say
from scatter.client import current_settings
from scatter.registry import REGISTRY

if TYPE_CHECKING:
    from scatter.slot import Slot

COMMANDS = (
    *("status", "list", "log", "show", "diff", "blame", "drift"),
    *("release", "rollback", "undo"),
)


def load_ipython_extension(shell: Any) -> None:
    """Register the magics; IPython calls this."""

    def push(line: str, cell: str) -> None:
        """Run the cell, then push the tracked functions that it defined: `%%push [why]`."""
        defined: dict[str, None] = {}

        def note(slot: Slot) -> None:
            defined[slot.name] = None

        REGISTRY.on_track(note)
        try:
            done = shell.run_cell(cell)
        finally:
            REGISTRY.off_track(note)
        _push(list(defined), line.strip()) if done.success else say("Nothing was pushed.")

    shell.register_magic_function(push, "cell")
    shell.register_magic_function(_scatter, "line", "scatter")


def _push(names: list[str], message: str) -> None:
    if not names:
        say("Nothing to push: put @scatter.track above a `def` of the cell.")
        return
    before = api.functions()
    for name, version in api.push(*names, message=message).items():
        data(f"{name} v{version}" + ", as it was" * (before.get(name) == version))


def _scatter(line: str) -> None:
    """Run a command on the namespace of this notebook: `%scatter status`, `%scatter log NAME`."""
    words = shlex.split(line)
    if not words or words[0] not in COMMANDS:
        say(f"Use %scatter with one of: {', '.join(COMMANDS)}.")
        return
    try:
        cli.main(words, "%scatter", standalone_mode=False, obj=current_settings())
    except click.ClickException as error:
        error.show()
