"""How an agent stands: the state that it is in, why and since when; a change of it is an event.

Not here: what it does about it (`work`), and what people are shown of it (`health`).

Invariants
1. A log does not end with a state that is over: that trouble is over is told at once, and trouble
   that lasts is told when it may be (`tell`), however often it came and went before.
2. Who is called on a change is called once for each, after the event.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from scatter_agent.health import State
from scatter_agent.tell import tell


class Standing:
    """The state of one agent in one life. Any thread may take it on; each store is one.

    Attributes:
        state: As in `AgentStatus`.
        reason: Why it is not `ready`; empty if it is.
        code: Reason code of `error`, where there is one.
        since: Seconds since the epoch at which it came into this state.

    """

    def __init__(self, namespace: str, on_change: Callable[[], None]) -> None:
        """Begin as `starting`, of which nothing is told.

        Args:
            namespace: What the events name.
            on_change: Called after each change; must not raise.

        """
        self.state: State = "starting"
        self.reason = self.code = ""
        self.since = time.time()
        self._told: tuple[State, str] = (self.state, "")
        self._namespace = namespace
        self._on_change = on_change

    def __repr__(self) -> str:
        return f"<Standing: {self.state}{f', {self.reason}' * bool(self.reason)}>"

    @property
    def is_resting(self) -> bool:
        """Whether nothing is followed here: it was stopped, or others serve."""
        return self.state == "stopped"

    def be(self, state: State, reason: str = "", code: str = "") -> None:
        """Take on a state, and tell of it if it is another one, or is yet to be told."""
        is_new = (state, reason) != (self.state, self.reason)
        if is_new:
            self.state, self.reason, self.code, self.since = state, reason, code, time.time()
        elif self._told == (state, reason):
            return
        self._tell(state, reason, code, owed=not is_new)
        if is_new:
            self._on_change()

    def inherit(self, state: State, reason: str) -> None:
        """Be in a state of the process that this one was forked from, without a word."""
        self.state, self.reason = state, reason

    def _tell(self, state: State, reason: str, code: str, *, owed: bool) -> None:
        is_good = state in ("ready", "stopped")
        fields: dict[str, Any] = {"code": code} if code else {}
        if tell(
            "info" if is_good else "warning",
            f"scatter.{state}",
            always=is_good and state != self._told[0],
            owed=owed,
            reason=reason,
            namespace=self._namespace,
            **fields,
        ):
            self._told = state, reason
