"""What a watcher has pushed for a while: its end is put off while the watcher lives.

Not here: pushing (`pusher`), whose clock it is (the watcher says what time it is).

Invariant: what somebody released meanwhile is neither put off nor taken back.
"""

from __future__ import annotations

from collections.abc import Callable

from scatter.errors import ScatterError
from scatter.names import SHIPPED
from scatter.releases import Pushed, Releases
from scatter.watch.events import Ended, Event, Failed, Restored

_LONGEST_RETRY_S = 3.0


class Lease:
    """The temporary versions of one watcher.

    Attributes:
        lasts_s: Seconds that what is pushed is live; 0: for good, and nothing is to be done.
        renew_at: When to put the end off, by the watcher's clock; None: there is nothing to.
        ever: Every function that was ever pushed for a while.

    """

    def __init__(
        self, releases: Releases, *, lasts_s: float, tell: Callable[[Event], None]
    ) -> None:
        """Have pushed nothing yet."""
        self.lasts_s = lasts_s
        self.renew_at: float | None = None
        self.ever: set[str] = set()
        self._releases = releases
        self._tell = tell
        self._lent: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Lease of {self.lasts_s} s: {len(self._lent)} functions>"

    def lend(self, outcome: Pushed, now: float) -> None:
        """Note what was pushed: its end is put off when half of its time has passed."""
        release = outcome.release
        if release is None or not release.expires:
            return
        self._lent |= {c.function: c.version or SHIPPED for c in release.changes}
        self.ever |= self._lent.keys()
        if self.renew_at is None:
            self.renew_at = now + self.lasts_s / 2

    def renew(self, now: float) -> None:
        """Put off the end of what is still live, and say what is not any more.

        Raises:
            StoreUnavailable: Not now; it is tried again.

        """
        self.renew_at = now + min(self.lasts_s / 8, _LONGEST_RETRY_S)
        release = self._releases.extend(self._lent, lasts_s=self.lasts_s)
        there = {c.function for c in release.changes} if release is not None else set[str]()
        ended = {name: v for name, v in self._lent.items() if name not in there}
        self._lent = {name: v for name, v in self._lent.items() if name in there}
        self.renew_at = now + self.lasts_s / 2 if self._lent else None
        if ended:
            self._tell(Ended(functions=tuple(sorted(ended.items()))))

    def restore(self) -> None:
        """Bring back what was live before what is still live, and say so."""
        lent, self._lent, self.renew_at = self._lent, {}, None
        if not lent:
            return
        try:
            release = self._releases.end(lent, message="end of a temporary watch")
        except ScatterError as error:
            message = f"{error} What was live before is so again in {self.lasts_s:.0f} s at most."
            self._tell(Failed(message=message, functions=()))
            return
        if release is not None:
            back = tuple((c.function, c.version or SHIPPED) for c in release.changes)
            self._tell(Restored(functions=back))
