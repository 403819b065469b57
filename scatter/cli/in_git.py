"""What is live and not in git: for `status`, which it never keeps from its work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scatter.cli.output import ago, data, note, number_of, say, who
from scatter.errors import ScatterError

if TYPE_CHECKING:
    from scatter.config import Settings
    from scatter.model import FunctionState
    from scatter.releases import Releases
    from scatter.workspace import AtHead

_MOST = 10
"""How many functions are listed."""


def compare(
    releases: Releases, functions: Mapping[str, FunctionState], settings: Settings
) -> tuple[AtHead | None, str]:
    """Compare what is live with git HEAD.

    Returns:
        What was found, None if there is nothing to compare with; and what went wrong, if anything.

    """
    try:
        from scatter.cli.sides import live_code
        from scatter.workspace import compare_with_head

        live = live_code(releases, functions.values())
        here = Path.cwd()
        return compare_with_head(here, live, paths=settings.paths, track=settings.track), ""
    except Exception as error:  # whatever it is: this is the last thing that status is asked for
        return None, str(error) if isinstance(error, ScatterError) else repr(error)


def fields(
    at_head: AtHead | None, error: str, functions: Mapping[str, FunctionState]
) -> dict[str, Any] | None:
    """Return what was found, for JSON; None where there was nothing to compare with."""
    if at_head is None:
        return {"error": error} if error else None
    listed = [
        {
            "function": name,
            "version": functions[name].version,
            "author": functions[name].author,
            "time": functions[name].time,
            "in_head": name in at_head.differs,
        }
        for name in _not_in_head(at_head)
    ]
    return {"head": at_head.commit, "not_in_head": listed, "unclear": dict(at_head.unclear)}


def show(at_head: AtHead | None, error: str, functions: Mapping[str, FunctionState]) -> None:
    """Print what is live and not in HEAD, one line each."""
    if error:
        say(f"Not compared with git: {error}")
    if at_head is None:
        return
    names = _not_in_head(at_head)
    if names and not at_head.same and not at_head.differs:
        data("")
        note("live, not in git HEAD: any function", "Is this the working tree of another program?")
        return
    if names or at_head.unclear:
        data("")
    for name in names[:_MOST]:
        remark = "" if name in at_head.differs else ", which has no such function"
        state = functions[name]
        by = f"{number_of(state.version)} by {who(state.author)}, {ago(state.time)}"
        note(f"live, not in git HEAD{remark}: {name} {by}")
    if len(names) > _MOST:
        data(f"live, not in git HEAD: {len(names) - _MOST} more (scatter status --json)")
    for name, why in list(at_head.unclear.items())[:_MOST]:
        note(f"live, and git HEAD cannot be compared: {name}", why)


def _not_in_head(at_head: AtHead) -> Sequence[str]:
    return sorted([*at_head.differs, *at_head.missing])
