"""What a process should run: the pure planner.

It decides from what runs, what the log says, what was refused, and the time it is given; it does
no I/O, links nothing, and knows neither callables nor bytes.

The way to the tip is one switch of everything that differs (`goal`). If a version in it cannot run
here, the way is taken release by release instead (`stepwise`), each whole or not at all: every
state in between is one that the log had, and good releases around a bad one still apply.

Invariants
1. A held function stays; so does a fetched one whose function was deleted.
2. A refused version is not tried again until another release concerns the function; but what is
   merely missing here may come yet, and is asked for again, later and later. A release is tried
   again whole.
3. Releases at or below a function's floor do not apply to it: its code here is newer.
4. A temporary version runs while its release is the one in force, and is not over: what is over is
   never gone back to, also where what was released since is refused.
5. In the end it makes no difference when a process looked: it refuses what a fresh one would, and
   but for that, where it keeps what ran before, it runs what a fresh one would.
   So what was refused because of what other functions run is tried again with any release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scatter.model import Change, FunctionState, Release
from scatter.names import SHIPPED

RETRY_S = 1.0
"""First pause before what is missing is asked for again; it doubles each time."""
MAX_RETRY_S = 60.0
DEPENDENT = frozenset({"signature-changed"})
"""Reasons that lie in what other functions run, and go away when those are released."""
RETRIED = DEPENDENT | {
    "bundle-missing",
    "missing-class",
    "missing-function",
    "missing-import",
    "missing-state",
}
"""Reasons that can go away by themselves: a module that is imported or installed later, a store
that finds its bundle again, callers that are released later."""
RELEASED_TOGETHER = "released-together"
"""Reason of versions that were refused only because another one of their release was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What the process runs of one function.

    Attributes:
        version: Number; `SHIPPED` for the deployed code.
        bundle: Digest; empty for the deployed code.
        held: It was moved by hand and stays.
        fetched: It has no deployed code to go back to.

    """

    version: int
    bundle: str
    held: bool = False
    fetched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A version that the process would not take.

    Attributes:
        version: Its number.
        sequence: The release that asked for it.
        reason, message: As in the refusal.
        retry_at: When to try again, in the planner's time; None: not by itself.
        tries: How often it was tried.

    """

    version: int
    sequence: int
    reason: str
    message: str
    retry_at: float | None = None
    tries: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that the planner decides from.

    Attributes:
        running: Function → what runs.
        functions: Function → what the log says.
        failures: Function → what was refused.
        floor: Function → sequence at which its code here was first seen.
        now: The time, in seconds of any clock.

    """

    running: Mapping[str, Running]
    functions: Mapping[str, FunctionState]
    failures: Mapping[str, Failure]
    floor: Mapping[str, int]
    now: float


def goal(view: View) -> tuple[Change, ...]:
    """Return every change that takes the process to the tip of the log."""
    states = [view.functions[name] for name in view.running if name in view.functions]
    found = [state for state in states if _applies(view, state.live, state.sequence)]
    along = _dependent(view) if found else frozenset[int]()
    return tuple(s.live for s in states if s in found or (s.sequence in along and _waits(view, s)))


def _dependent(view: View) -> frozenset[int]:
    """Return the releases that wait for what other functions run."""
    waiting = (f for f in view.failures.values() if f.retry_at is not None)
    return frozenset(f.sequence for f in waiting if f.reason in DEPENDENT)


def _waits(view: View, state: FunctionState) -> bool:
    """Return whether what the log says of a function is what was refused, and is still wanted."""
    failure = view.failures.get(state.function)
    return failure is not None and _stands(view, state.function, failure)


def stepwise(view: View, releases: Sequence[Release]) -> tuple[tuple[int, tuple[Change, ...]], ...]:
    """Return (sequence, changes) of each release on the way to the goal, in order.

    Args:
        view: As for `goal`.
        releases: Those read since the last step. What the goal needs beyond them is added as the
            log has it, grouped by release.

    """
    steps = {
        r.sequence: tuple(
            c for c in r.changes if _concerns(view, c, r.sequence) and is_in_force(view, r, c)
        )
        for r in releases
    }
    for change in goal(view):
        state = view.functions[change.function]
        known = steps.get(state.sequence, ())
        if change not in known:
            steps[state.sequence] = (*known, change)
    return tuple((n, steps[n]) for n in sorted(steps) if steps[n])


def is_in_force(view: View, release: Release, change: Change) -> bool:
    """Return whether a change may run: one of a temporary release only while that is in force."""
    state = view.functions.get(change.function)
    is_last = state is not None and state.sequence == release.sequence and bool(state.expires)
    return not release.expires or is_last


def where_deployed(
    functions: Mapping[str, FunctionState], floor: Mapping[str, int]
) -> Mapping[str, FunctionState]:
    """Return what the log says, as it is for a process.

    What a temporary version falls back to may be older than what was deployed since: then that
    runs.

    Args:
        functions: What is live, what is over left out.
        floor: As in `View`.

    """
    newer = [
        replace(state, live=Change(function=name, version=SHIPPED), sequence=state.lapsed)
        for name, state in functions.items()
        if state.lapsed and state.sequence <= floor.get(name, 0)
    ]
    return {**functions, **{state.function: state for state in newer}} if newer else functions


def _applies(view: View, change: Change, sequence: int) -> bool:
    """Return whether a change differs from what runs, and may be tried."""
    return _concerns(view, change, sequence) and not _runs(view.running[change.function], change)


def _concerns(view: View, change: Change, sequence: int) -> bool:
    if not _follows(view, change.function, sequence):
        return False
    failure = view.failures.get(change.function)
    if failure is None or failure.sequence != sequence:
        return True
    return failure.retry_at is not None and view.now >= failure.retry_at


def _follows(view: View, function: str, sequence: int) -> bool:
    """Return whether a release is one that the function here follows."""
    running = view.running.get(function)
    return running is not None and not running.held and sequence > view.floor.get(function, 0)


def _runs(running: Running, change: Change) -> bool:
    """Return whether a change is what runs already."""
    if not change.version:  # the deployed code, or deleted
        return running.version == SHIPPED or running.fetched
    return running.version == change.version and running.bundle == change.bundle


def failed(
    view: View,
    change: Change,
    sequence: int,
    reason: str,
    message: str,
    reasons: Iterable[str] = (),
) -> Failure:
    """Return the failure to remember for a refused change.

    Args:
        view: As for `goal`.
        change, sequence: What was refused, and the release that asked for it.
        reason, message: Why.
        reasons: Those of all that was refused of that release; by default, this one alone. It is
            tried again by itself if each of them can go away by itself.

    """
    before = view.failures.get(change.function)
    same = before is not None and before.sequence == sequence
    tries = before.tries + 1 if before is not None and same else 1
    pause_s = min(RETRY_S * 2 ** (tries - 1), MAX_RETRY_S)
    return Failure(
        version=change.version or SHIPPED,
        sequence=sequence,
        reason=reason,
        message=message,
        retry_at=view.now + pause_s if RETRIED.issuperset(reasons or (reason,)) else None,
        tries=tries,
    )


def still_open(view: View) -> dict[str, Failure]:
    """Return the failures that still stand.

    One is over when another release has concerned its function, or the function does not follow
    that release any more, or runs it after all; and when the version whose refusal kept it from
    running is itself refused no longer.
    """
    found = {name: f for name, f in view.failures.items() if _stands(view, name, f)}
    culprits = {f.sequence for f in found.values() if f.reason != RELEASED_TOGETHER}
    return {name: f for name, f in found.items() if f.sequence in culprits}


def _stands(view: View, name: str, failure: Failure) -> bool:
    state = view.functions.get(name)
    return (
        state is not None
        and state.sequence == failure.sequence
        and _follows(view, name, failure.sequence)
        and not _runs(view.running[name], state.live)
    )


def next_retry(failures: Iterable[Failure]) -> float | None:
    """Return the earliest moment at which something is to be tried again."""
    moments = [f.retry_at for f in failures if f.retry_at is not None]
    return min(moments) if moments else None
