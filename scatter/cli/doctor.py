"""The command `doctor`: what was found, and what to do, in 80 columns.

Not here: the checks (`scatter.doctor`).
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from scatter.cli.app import as_json, settings_of
from scatter.cli.output import data, data_json, say
from scatter.names import printable
from scatter.store.acl import ROLES

if TYPE_CHECKING:
    from scatter.doctor import Finding
    from scatter.store.acl import Role

_COLUMNS = 80
_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "unchecked": "cyan"}
_STATE, _CHECK = 11, 15
"""Width of the columns of state and name."""


@click.command()
@click.option(
    "--role",
    type=click.Choice(ROLES),
    help="What the account is meant for: fail if it may not do what that needs.",
)
@as_json
@click.pass_context
def doctor_(ctx: click.Context, role: Role | None, as_json: bool) -> None:
    """Check all that scatter needs, and say what to do about it.

    The server: version, part (master, replica, cluster, sentinels), latency, clock, memory, what it
    keeps on disk, notifications. TLS and certificates. The account and its rights. The namespace.
    The libraries of this side. Nothing is changed.

    Exits with 0 when there is no problem (warnings are none), and with 1 otherwise.

    \b
    scatter doctor
    scatter doctor --role agent      with the settings of a service
    scatter doctor --json
    """
    from scatter.doctor import examine

    found: list[Finding] = []
    for finding in examine(settings_of(ctx), role):
        found.append(finding)
        if not as_json:
            data("\n".join(_lines(finding)))
    counts = {state: sum(f.state == state for f in found) for state in _COLOURS}
    if as_json:
        data_json("doctor", {"findings": [asdict(f) for f in found], "counts": counts})
    else:
        say(_summary(counts))
    if counts["problem"]:
        raise click.exceptions.Exit(1)


def _lines(finding: Finding) -> Iterator[str]:
    """Yield the lines of a finding: state, name, what was found, and what to do below it."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _COLUMNS
    indent = " " * (_STATE + _CHECK)
    room = max(width, 40)
    state = click.style(finding.state.ljust(_STATE), fg=_COLOURS[finding.state])
    texts = [finding.found] + [f"→ {finding.advice}"] * bool(finding.advice)
    for number, text in enumerate(texts):
        lines = textwrap.wrap(
            printable(text), room - len(indent), break_on_hyphens=False,
            subsequent_indent="  " * bool(number),
        )  # fmt: skip
        for line in lines:
            is_first = not number and line is lines[0]
            yield (state + finding.check.ljust(_CHECK) if is_first else indent) + line


def _summary(counts: dict[str, int]) -> str:
    said = [
        f"{count} {what if count == 1 or what == 'not checked' else what + 's'}"
        for what, count in (
            ("problem", counts["problem"]),
            ("warning", counts["warning"]),
            ("not checked", counts["unchecked"]),
        )
        if count
    ]
    summary = f"{', '.join(said)}." if said else "All is well."
    if counts["unchecked"]:
        summary += " An administrator's account may ask for more."
    return summary
