"""Which release somebody would take back, and what is left of it. For `scatter.releases`."""

from __future__ import annotations

from collections.abc import Mapping

from scatter.errors import Conflict, NotFound
from scatter.log import Journal
from scatter.model import FunctionState, Release
from scatter.steps import moves, newest_first


def last_of(author: str, journal: Journal, known: Mapping[str, FunctionState]) -> Release:
    """Return the newest release of an author of which something is live.

    No rollback, and none that only ended a temporary version: these took back something themselves.

    Raises:
        NotFound: There is none.

    """
    for release in newest_first(journal):
        is_theirs = release.author == author and release.action != "rollback"
        if is_theirs and _live_of(release, known) and not _has_ended(release, journal):
            return release
    raise NotFound(
        f"Nothing that {author} has released is live. See `scatter log`; `scatter rollback` takes "
        "back what others have released.",
        name=author,
    )


def left_of(release: Release, known: Mapping[str, FunctionState], *, force: bool) -> list[str]:
    """Return the functions of a release whose version is live.

    Args:
        release: The release.
        known: What the log says of every function.
        force: Also where somebody else has released over others of them since.

    Raises:
        Conflict: Somebody else has.

    """
    left = _live_of(release, known)
    gone = [known[c.function] for c in release.changes if c.function in known.keys() - {*left}]
    others = [state for state in gone if state.author != release.author]
    if others and not force:
        state = others[0]
        raise Conflict(
            f"Release {release.sequence} changed `{state.function}` too, which {state.author} has "
            f"released since, at {state.time}. `scatter rollback NAME` takes back one function, "
            "--force all that is left of the release.",
            function=state.function,
            live=state.version,
            author=state.author,
            time=state.time,
        )
    return left


def _live_of(release: Release, known: Mapping[str, FunctionState]) -> list[str]:
    """Return the functions that run what a release made live, also if another one did again."""
    changes = (change for change in moves(release) if change.function in known)
    return [c.function for c in changes if known[c.function].version == c.version]


def _has_ended(release: Release, journal: Journal) -> bool:
    """Return whether a release only put an end to a temporary version: something was before it."""
    if release.action != "release" or release.expires:
        return False
    changed = {change.function: change.version for change in release.changes}
    for earlier in newest_first(journal, release.sequence):
        same = {c.function: c.version for c in moves(earlier) if c.function in changed}
        if same:
            return bool(earlier.expires) and all(changed[n] != v for n, v in same.items())
    return False
