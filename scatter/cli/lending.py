"""Versions that are live for a while: for how long, as an option; until when, as people read it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from scatter.model import FunctionState

_NEAR_S = 120
_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_FORM = re.compile(r"(\d+)(s|m|min|h|d)")
DEFAULT_LEASE = "10m"
LONGEST_S = 30 * 86400
"""What is to stay longer than 30 days is no trial."""


def seconds_of(text: str, advice: str = "") -> float:
    """Return a time span such as `90s`, `30m`, `2h` or `1d` in seconds.

    Args:
        text: The time span.
        advice: What else to say where it is none.

    Raises:
        click.BadParameter: It is none, or more than 30 days.

    """
    found = _FORM.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_S:
        wanted = "Expected a time such as 90s, 30m, 2h or 1d, at most 30d"
        raise click.BadParameter(f"{wanted}; found {text!r}.{advice}")
    return float(seconds)


def _lasts(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> float:
    return seconds_of(text) if text is not None else 0.0


def _lease(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> float:
    advice = f" Write --temporary={DEFAULT_LEASE} before a path, or paths first."
    return seconds_of(text, advice) if text is not None else 0.0


expires = click.option(
    "--expires",
    "lasts_s",
    callback=_lasts,
    metavar="TIME",
    help="Only for so long, such as 30m; then what was live before is live again, by itself.",
)
temporary = click.option(
    "--temporary",
    "lasts_s",
    callback=_lease,
    is_flag=False,
    flag_value=DEFAULT_LEASE,
    metavar="[LEASE]",
    help="Only while this runs; Ctrl-C brings back what was live before. Should this die, that is "
    f"so after LEASE at the latest. Default: {DEFAULT_LEASE}.",
)


def until(time: str, now: datetime | None = None) -> str:
    """Return an ISO 8601 time as a clock on the wall here has it.

    With its day if that is another one, and with its seconds if it is near.
    """
    if not time:
        return ""
    here, now = datetime.fromisoformat(time).astimezone(), (now or datetime.now(UTC)).astimezone()
    if here.date() != now.date():
        return f"{here:%Y-%m-%d %H:%M}"
    return f"{here:%H:%M:%S}" if (here - now).total_seconds() < _NEAR_S else f"{here:%H:%M}"


def live_of(state: FunctionState) -> str:
    """Return what is live of a function, and until when: `v8`, `v8 until 17:30`."""
    from scatter.cli.output import number_of

    text = number_of(state.version)
    return f"{text} until {until(state.expires)}" if state.expires else text
