"""What releases do to single functions, and what speaks against it. For `scatter.releases`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from scatter.errors import Conflict, NotFound, RolledBack
from scatter.log import Journal
from scatter.model import Change, FunctionState, Release
from scatter.names import SHIPPED

_PAGE = 256


def newest_first(journal: Journal, before: int | None = None) -> Iterator[Release]:
    """Yield the releases of the log, below sequence `before` if given; read page by page."""
    before = journal.ledger.sequence + 1 if before is None else before
    while before > 1:
        yield from journal.releases(before=before, limit=_PAGE)
        before -= _PAGE


def moves(release: Release) -> Iterable[Change]:
    """Return the changes that made something live; removing older versions did not."""
    is_delete = release.action == "delete"
    return (c for c in release.changes if not is_delete or c.version is None)


def news(
    plan: Mapping[str, Change], known: Mapping[str, FunctionState], lasts_s: float, unasked: bool
) -> Iterator[Change]:
    """Yield what a push has to release: new code, and what is live and is to end otherwise."""
    for name, change in plan.items():
        state = known.get(name)
        if state is None or change != state.live:
            yield change
        elif may_stay(state, lasts_s, unasked=unasked):
            yield kept(change, 0)


def may_stay(state: FunctionState, lasts_s: float, *, unasked: bool) -> bool:
    """Return whether releasing the live version again changes something."""
    return bool(state.expires) or (state.rolled_back and not lasts_s and not unasked)


def check_held(seen: int | None, state: FunctionState) -> None:
    """Raise `RolledBack` if somebody rolled a function back, and has not lifted that."""
    if not state.rolled_back:
        return
    live = f"version {state.version}" if state.version else "the deployed code"
    raise RolledBack(
        f"`{state.function}` was rolled back to {live} by {state.author} at {state.time}, which "
        f"holds it: what is saved is not pushed. `scatter push -f {state.function}` lifts that.",
        function=state.function,
        seen=seen,
        live=state.version,
        author=state.author,
        time=state.time,
    )


def check_seen(seen: int | None, state: FunctionState, author: str) -> None:
    """Raise `Conflict` unless whoever made code, from version `seen`, has seen what is live."""
    if seen == state.version or (seen is None and state.author == author):
        return
    name = state.function
    live = f"version {state.version}" if state.version else "(the deployed code)"
    made_from = f"your code was made from version {seen}" if seen else "you have not seen it"
    raise Conflict(
        f"`{name}` {live} was released by {state.author} at {state.time}; "
        f"{made_from}. See `scatter diff {name}`, then pull it, or push with force.",
        function=name,
        seen=seen,
        live=state.version,
        author=state.author,
        time=state.time,
    )


def kept(live: Change, removed_below: int) -> Change:
    """Return the change that leaves a function's live version as it is, and removes others."""
    return replace(live, created=False, base=None, removed_below=removed_below)


def span(numbers: Sequence[int]) -> str:
    """Return the lowest and the highest of some numbers, as text."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def deployed_is_live(state: FunctionState) -> NotFound:
    """Return the error for who wants the live version where none is: it was released to 0."""
    return NotFound(
        f"`{state.function}` runs the deployed code; no version of it is live. That code is only "
        f"in the processes that were deployed with it. See `scatter log {state.function}` for "
        "versions to ask for by number, or to release.",
        name=state.function,
    )


def no_version(state: FunctionState, number: int) -> NotFound:
    """Return the error for a version that a function does not have."""
    if number == SHIPPED:
        what = (
            f"Version 0 of `{state.function}` is the deployed code, which is not in the namespace."
        )
    else:
        what = f"`{state.function}` has no version {number} (the newest is {state.last})."
    return NotFound(f"{what} See `scatter log {state.function}`.", name=state.function)
