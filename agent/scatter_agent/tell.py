"""Log events of the agent.

A background thread must not end because the application's logging is broken, or because the
process is half-way through its end: an event that cannot be told is dropped, and the status has
what it said. Nor may it fill a log: what is told again and again is told once in a while.

Invariants
1. The same event with the same fields is told at most once in `WINDOW_S`, but for what its caller
   says must always be told; the next one has the number of those left out.
2. What is remembered is bounded: the `MOST` kinds of events that came last. Which event is the
   same as one that was forgotten is not known, so it is told.
3. Every life of an agent, in a forked child too, begins with nothing remembered (`begin`).
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from scatter._logging import is_heard, log
from scatter.locks import ForkSafeLock
from scatter_agent import lifecycle

WINDOW_S = 60.0
"""How long an event is not told again."""
MOST = 256
"""How many different events are remembered."""

Kind = tuple[str, ...]


class Limiter:
    """Decides whether an event is told, and counts those that are not. Any thread may ask."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        window_s: float = WINDOW_S,
        most: int = MOST,
    ) -> None:
        """Begin with nothing remembered.

        Args:
            clock: Seconds that only grow.
            window_s: How long the same is not told again.
            most: How many kinds of events are remembered.

        """
        self._clock = clock
        self._window_s = window_s
        self._most = most
        self._lock = ForkSafeLock()
        self._known: OrderedDict[Kind, tuple[float, int]] = OrderedDict()
        """Kind → when it was last told, and how often it was left out since; newest last."""

    def __repr__(self) -> str:
        return f"<Limiter of {len(self._known)} kinds of events>"

    def forget(self) -> None:
        """Begin anew: whatever comes next is told."""
        with self._lock:
            self._known = OrderedDict()

    def left_out(self, kind: Kind, *, always: bool = False, owed: bool = False) -> int | None:
        """Return how often an event was left out before this one; None: leave this one out too.

        Args:
            kind: What makes two events the same.
            always: Tell it in any case.
            owed: It is no new event, but one that was left out and still holds.

        """
        with self._lock:
            now = self._clock()
            told_at, count = self._known.pop(kind, (-self._window_s + now, 0))
            if always or now - told_at >= self._window_s:
                self._known[kind] = now, 0
                found: int | None = max(0, count - owed)
            else:
                self._known[kind] = told_at, count + (not owed)
                found = None
            while len(self._known) > self._most:
                self._known.popitem(last=False)
            return found


_limiter = Limiter()


def begin() -> None:
    """Forget what was told: an agent begins a life."""
    _limiter.forget()


def tell(
    level: str,
    event: str,
    *,
    always: bool = False,
    owed: bool = False,
    limiter: Limiter = _limiter,
    **fields: Any,
) -> bool:
    """Log an event, unless the same was logged just before; never raises.

    Args:
        level: Name of the logger's method.
        event: Its name, as in `docs/reference/events.md`.
        always: Log it in any case.
        owed: It was left out before and still holds.
        limiter: Decides; for tests.
        **fields: What it says. `repeated` is added where some were left out.

    Returns:
        Whether it was told, as far as this is known.

    """
    try:
        kind = _kind(level, event, fields)
        left_out = limiter.left_out(kind, always=always, owed=owed)
        if left_out is None:
            return False
        if left_out:
            fields["repeated"] = left_out
        if is_heard(level):
            getattr(_logger(), level)(event, **fields)
    except Exception:
        return True  # it was dropped, and will not come better
    return True


def _logger() -> Any:
    """Return the logger; structlog is imported when something is first told.

    No fork may come in between; a thread that only tells something waits for no agent, though.
    """
    if log.cache_info().currsize:
        return log()
    with lifecycle.WORKING:
        return log()


def _kind(level: str, event: str, fields: Mapping[str, Any]) -> Kind:
    """Return what makes two events the same: all that they say, and where a fault happened."""
    said = (event, *(f"{name}={value!r}" for name, value in sorted(fields.items())))
    return (*said, _place_of_fault()) if level == "exception" else said


def _place_of_fault() -> str:
    """Return the type of the exception that is being handled, and the line that raised it.

    Not its text: addresses and moments in it would make each one another.
    """
    kind, _, trace = sys.exc_info()
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{kind.__name__ if kind else ''} {where}"
