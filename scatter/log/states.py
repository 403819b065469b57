"""What a release makes of the state of each function that it changes: pure.

Not here: whether the release may follow (`ledger`).

Invariants
1. A version number is given once per function and epoch, also across deletes.
2. What a temporary release falls back to was live for good: never another temporary version. Any
   later release of the function takes its end away, but for one that only removes old versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scatter.errors import Untrusted
from scatter.model import Change, Fallback, FunctionState, Release
from scatter.names import SHIPPED


def next_states(
    functions: Mapping[str, FunctionState], release: Release, keys: tuple[str, ...]
) -> dict[str, FunctionState]:
    """Return the states of the functions that a release changes, refusing numbers out of order."""
    states = {}
    for change in release.changes:
        before = functions.get(change.function)
        last = before.last if before else 0
        expected = last + 1 if change.created else (change.version or 0)
        if (change.version or 0) != expected or expected > last + change.created:
            raise Untrusted(
                "wrong-version",
                f"Release {release.sequence} gives `{change.function}` number {change.version} "
                f"after {last}.",
            )
        states[change.function] = FunctionState(
            function=change.function,
            live=change,
            sequence=release.sequence,
            author=release.author,
            time=release.time,
            last=max(last, expected),
            previous=_previous(before, change),
            keys=keys,
            **_left(before, change, last),
            **_ending(before, change, release),
        )
    return states


def _ending(before: FunctionState | None, change: Change, release: Release) -> dict[str, Any]:
    """Return until when a change is live, what is live then, and whether it was a way back."""
    if before and release.action == "delete":  # of older versions: what is live stays as it is
        if _is_same(before.live, change):
            names = ("expires", "fallback", "rolled_back")
            return {name: getattr(before, name) for name in names}
        was = before.fallback
        return {"rolled_back": was is not None and was.rolled_back and _is_same(was.live, change)}
    if not release.expires:
        return {"rolled_back": release.action == "rollback"}
    return {"expires": release.expires, "fallback": _fallback(before, change, release)}


def _is_same(live: Change, change: Change) -> bool:
    return (live.version, live.bundle) == (change.version, change.bundle)


def _fallback(before: FunctionState | None, change: Change, release: Release) -> Fallback:
    """Return what is live once a temporary release is over."""
    if before is not None and before.fallback is not None:
        return before.fallback
    if before is None or before.version is None:
        live = Change(function=change.function, version=SHIPPED)
        return Fallback(live=live, sequence=0, author=release.author, time=release.time)
    return Fallback(
        live=before.live,
        sequence=before.sequence,
        author=before.author,
        time=before.time,
        previous=before.previous,
        keys=before.keys,
        rolled_back=before.rolled_back,
    )


def vouched(state: FunctionState, keys: tuple[str, ...], last: int) -> FunctionState:
    """Return a state for which those who reset vouch, no later than their reset."""
    fallback = state.fallback
    if fallback is not None:
        fallback = replace(fallback, keys=keys, sequence=min(fallback.sequence, last))
    return replace(state, keys=keys, sequence=min(state.sequence, last), fallback=fallback)


def _left(before: FunctionState | None, change: Change, last: int) -> dict[str, Any]:
    """Return which versions exist after a change, as `floor` and `kept`."""
    if change.version is None:
        return {"floor": last + 1, "kept": ()}
    floor, kept = (before.floor, before.kept) if before else (1, ())
    below = min(change.removed_below, last + 1)
    if not below:
        return {"floor": floor, "kept": kept}
    live = change.version
    stays = {n for n in kept if n >= below}
    spared = {live, spared_with(before, change)}
    stays |= {n for n in spared if 0 < n < max(floor, below) and (n >= floor or n in kept)}
    return {"floor": max(floor, below), "kept": tuple(sorted(stays))}


def spared_with(before: FunctionState | None, change: Change) -> int:
    """Return what stays beside the live version where older ones go: what that falls back to."""
    fallback = before.fallback if before is not None and _is_same(before.live, change) else None
    return SHIPPED if fallback is None else fallback.live.version or SHIPPED


def _previous(before: FunctionState | None, change: Change) -> int:
    """Return the version to which a rollback would go after a change: never a temporary one."""
    if before is None:
        return SHIPPED
    if before.fallback is not None:
        was = before.fallback
        return was.previous if was.live.version == change.version else was.live.version or SHIPPED
    return before.previous if before.version == change.version else before.version or SHIPPED
