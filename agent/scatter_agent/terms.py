"""On whose terms: when versions are taken, and callbacks that are told and can do no harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from scatter.model import Refusal
from scatter_agent.health import AgentStatus
from scatter_agent.tell import tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Functions that were switched together.

    Attributes:
        sequence: The newest release at that moment.
        versions: Function → version that runs now; 0: the deployed code.
        before: Function → version that ran until then.

    """

    sequence: int
    versions: Mapping[str, int]
    before: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """Whom to tell. They are called from the agent's thread, or from that which calls `apply`.

    What one raises is logged (`scatter.callback_failed`) and harms nothing.

    Attributes:
        on_switch: Called after a switch.
        on_refused: Called for each version that cannot run here, once.
        on_health: Called when the state of the agent changes.

    """

    on_switch: Callable[[Switch], object] | None = None
    on_refused: Callable[[Refusal], object] | None = None
    on_health: Callable[[AgentStatus], object] | None = None

    def switched(self, switch: Switch) -> None:
        """Tell of a switch."""
        _call("on_switch", self.on_switch, switch)

    def refused(self, refusal: Refusal) -> None:
        """Tell of a refusal."""
        _call("on_refused", self.on_refused, refusal)

    def health(self, status: AgentStatus) -> None:
        """Tell of a change of state."""
        _call("on_health", self.on_health, status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How an application wants to take versions.

    Attributes:
        manual: Switch only when `Agent.apply` is called.
        labels: What the process is, for rollouts and for people.
        callbacks: Whom to tell of switches, refusals and health.

    """

    manual: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    callbacks: Callbacks = Callbacks()

    def other_than(
        self, *, apply: str | None, labels: Mapping[str, str] | None, callbacks: Callbacks
    ) -> str:
        """Return the first argument of `scatter_agent.start` that asks for something else.

        Args:
            apply, labels, callbacks: What is asked for; None: anything.

        Returns:
            Its name; empty if all is as asked for.

        """
        if apply is not None and self.manual != (apply == "manual"):
            return "apply"
        if labels is not None and {**self.labels} != {**labels}:
            return "labels"
        asked = ((f.name, getattr(callbacks, f.name)) for f in fields(callbacks))
        return next((n for n, c in asked if c not in (None, getattr(self.callbacks, n))), "")


AT_ONCE = Terms()


def _call(which: str, callback: Callable[..., object] | None, value: object) -> None:
    if callback is None:
        return
    try:
        callback(value)
    except Exception as error:
        tell(
            "warning",
            "scatter.callback_failed",
            callback=which,
            reason=f"{type(error).__name__}: {error}",
        )
