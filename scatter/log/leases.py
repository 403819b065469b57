"""How long temporary versions go on here: each process decides it for itself.

A temporary version is over when this machine's clock has reached the end that its release names,
or when as much time has passed since this process first saw it as was meant from the release to
that end, whichever comes first.

Not here: what is live then (`ledger`), who wakes up for it.

Invariants
1. A clock that is wrong, or that is set, can make a version go early, and never late: what is over
   once stays so, and the newest release of the log tells how late it is at least.
2. What is only looked at is decided in the same way as what runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from scatter.locks import ForkSafeLock
from scatter.log.ledger import Ledger
from scatter.model import FunctionState

Clock = Callable[[], float]
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    """The end of one temporary version: by this machine's clock, and by the monotonic one."""

    at: float
    by: float


class Leases:
    """Knows since when this process has seen each temporary version. Any thread may call."""

    def __init__(self, *, clock: Clock | None = None, monotonic: Clock | None = None) -> None:
        """Begin without having seen any.

        Args:
            clock: Seconds since the epoch; default: `time.time`.
            monotonic: Seconds of a clock that nobody sets; default: `time.monotonic`.

        """
        self._clock = clock or time.time
        self._monotonic = monotonic or time.monotonic
        self._seen: dict[_Key, _Lease] = {}
        self._over: set[_Key] = set()
        self._lock = ForkSafeLock()

    def __repr__(self) -> str:
        return f"<Leases: {len(self._seen)} seen, {len(self._over)} over>"

    def effective(self, ledger: Ledger) -> Mapping[str, FunctionState]:
        """Return what a ledger says of each function, where it is over what was before."""
        over = {state.function: state.after_expiry() for state in self._over_in(ledger)}
        return {**ledger.functions, **over} if over else ledger.functions

    def over(self, ledger: Ledger) -> frozenset[str]:
        """Return the functions whose temporary version is over."""
        return frozenset(state.function for state in self._over_in(ledger))

    def next_end(self, ledger: Ledger) -> float | None:
        """Return when the next version is over, by the monotonic clock; None: none ever is."""
        leases = [lease for _, lease, is_over in self._look(ledger) if not is_over]
        now, since = self._clock(), self._monotonic()
        return min((min(one.by, since + one.at - now) for one in leases), default=None)

    def _over_in(self, ledger: Ledger) -> list[FunctionState]:
        return [state for state, _, is_over in self._look(ledger) if is_over]

    def _look(self, ledger: Ledger) -> list[tuple[FunctionState, _Lease, bool]]:
        """Note what is seen for the first time; return each temporary one, and if it is over."""
        if not ledger.temporary and not self._seen:
            return []
        now, since = max(self._clock(), _seconds(ledger.time)), self._monotonic()
        states = filter(None, map(ledger.functions.get, ledger.temporary))
        keys = {self._key(state): state for state in states}
        with self._lock:
            for key, state in keys.items():
                if key not in self._seen:
                    at = _seconds(state.expires)
                    self._seen[key] = _Lease(at=at, by=since + at - _seconds(state.time))
                lease = self._seen[key]
                if now >= lease.at or since >= lease.by:
                    self._over.add(key)
            for key in self._seen.keys() - keys.keys():  # superseded
                del self._seen[key]
                self._over.discard(key)
            return [(state, self._seen[key], key in self._over) for key, state in keys.items()]

    @staticmethod
    def _key(state: FunctionState) -> _Key:
        return state.function, state.live.bundle, state.expires


def _seconds(text: str) -> float:
    """Return the time of a release in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0
