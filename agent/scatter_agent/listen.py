"""Waits at the doorbell: how long, and how often a ring is answered at most.

A doorbell may be silent, forged, or rung ten thousand times a second. Without a ring the log is
looked at every few seconds, and the doorbell itself as well; rings that lead to nothing are
answered less and less often, down to every `LAST_PAUSE_S`.
"""

from __future__ import annotations

import random
import time

from scatter import native
from scatter.store.port import Doorbell, Ring
from scatter_agent.tell import tell

LOOK_S = 5.0
"""Seconds between two looks at the log without a ring; ±20 %, so that a fleet spreads out."""
POLL_S = 0.5
"""The same where the server sends no notifications."""
IMPORT_S = 0.02
"""The same while modules with tracked functions are being imported."""
LAST_PAUSE_S = 0.05
_PATIENCE, _FIRST_PAUSE_S, _DOUBLINGS = 4, 0.001, 6


class Listener:
    """One agent at its doorbell.

    Attributes:
        doorbell: What wakes the agent: `notifications`, or `polling` and why.

    """

    def __init__(self, look_s: float) -> None:
        """Begin without having heard anything."""
        self.doorbell = ""
        self._look_s = look_s
        self._in_vain = 0

    def heed(self, bell: Doorbell) -> None:
        """Note whether the doorbell works, and say so when it does not."""
        before = self.doorbell
        self.doorbell = "notifications" if bell.works else f"polling: {bell.trouble}"
        if not bell.works and self.doorbell != before:
            tell("warning", "scatter.polling", reason=bell.trouble, every_s=POLL_S)

    def wait(self, bell: Doorbell, stop: native.Flag, until: float | None) -> Ring:
        """Wait for a ring, or until it is time to look.

        Args:
            bell: Listening.
            stop: Ends a pause.
            until: Look by then at the latest, by `time.monotonic`; None: nothing is due.

        Raises:
            StoreUnavailable: The connection is lost.

        """
        if self._in_vain > _PATIENCE:
            stop.wait(min(LAST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (self._in_vain - _PATIENCE)))
        return bell.wait(self._next_look_s(bell, until))

    def answered(self, ring: Ring, *, found: bool) -> None:
        """Take note whether a ring led to anything."""
        was_in_vain = ring.log and not found
        self._in_vain = min(self._in_vain + 1, _PATIENCE + _DOUBLINGS) if was_in_vain else 0

    def _next_look_s(self, bell: Doorbell, until: float | None) -> float:
        every_s = self._look_s if bell.works else min(POLL_S, self._look_s)
        look_s = every_s * random.uniform(0.8, 1.2)
        return look_s if until is None else max(0.0, min(look_s, until - time.monotonic()))
