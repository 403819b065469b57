"""What an agent says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scatter.model import Refusal

State = Literal["starting", "ready", "stale", "error", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """The agent of this process, at one moment.

    Attributes:
        state: `starting`: has not read the log yet. `ready`: on the log as of the last look.
            `stale`: the store cannot be reached, or may be withholding what is new. `error`: the
            log cannot be believed, or a fault of ours. `stopped`: there is no agent, or this
            process only starts those that serve.
            Code goes on running in every state.
        since: Seconds since the epoch at which it came into this state.
        code: Reason code of `error` or `stale`, where there is one (`docs/reference/reasons.md`).
        reason: Why it is not `ready`; empty if it is.
        process: Id of this process in reports.
        sequence: Last release applied or refused.
        switched_at: When something was last switched, seconds since the epoch; 0: never.
        switches: How often the agent has switched functions, several in one step counting once.
        contact_at: When the store last answered, seconds since the epoch; 0: never.
        functions: Function → running version; 0: the deployed code.
        held: Functions that stay where they were moved to by hand.
        refused: Versions that would not run here.
        pending: Function → version that is prepared and waits for `Agent.apply`.
        superseded: Functions whose live version is older than the code they were deployed with,
            so that this code runs.
        distrusted: Functions whose live version was signed by keys that were revoked since; the
            policy says whether it runs.
        epoch: How often the log was begun anew by a reset.
        labels: What the process is, as `start(labels=...)` was told.
        doorbell: What wakes the agent: `notifications`, or `polling` and why.
        unreported: Why others cannot see this process; empty if they can.

    """

    state: State
    since: float
    code: str = ""
    reason: str = ""
    process: str = ""
    sequence: int = 0
    switched_at: float = 0.0
    switches: int = 0
    contact_at: float = 0.0
    functions: Mapping[str, int] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    pending: Mapping[str, int] = field(default_factory=dict)
    superseded: tuple[str, ...] = ()
    distrusted: tuple[str, ...] = ()
    epoch: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    doorbell: str = ""
    unreported: str = ""

    def __repr__(self) -> str:
        parts = [self.state, f"at release {self.sequence}", f"{len(self.functions)} functions"]
        parts += [f"{len(self.refused)} refused"] * bool(self.refused)
        parts += [f"{len(self.pending)} wait for apply()"] * bool(self.pending)
        parts += [f"{self.code}: {self.reason}" if self.code else self.reason] * bool(self.reason)
        parts += [f"unseen: {self.unreported}"] * bool(self.unreported)
        return f"<scatter agent: {', '.join(parts)}>"


STOPPED = AgentStatus(state="stopped", since=0.0, reason="scatter_agent.start() was not called")
