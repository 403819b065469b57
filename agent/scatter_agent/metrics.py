"""Metrics of this process's agent, for Prometheus and OpenTelemetry.

    import scatter_agent.metrics
    scatter_agent.metrics.prometheus()

Nothing is counted while functions run: whoever scrapes reads `scatter_agent.status()`. Not here:
serving or exporting, which is the application's.

Invariants
1. Importing this module, and `scatter_agent`, imports neither library.
2. Registering twice in one place is registering once. Nothing is started, so a forked child goes
   on with what its parent registered, and shows its own agent.
3. How many series there are does not grow with functions, versions or releases.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import scatter_agent
from scatter._version import __version__
from scatter.errors import UsageError
from scatter.locks import ForkSafeLock
from scatter.names import SHIPPED
from scatter_agent.health import AgentStatus, State

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

__all__ = ["FIGURES", "Figure", "opentelemetry", "prometheus"]

Sample = tuple[Mapping[str, str], float]
"""Labels and a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric.

    Attributes:
        name: The same in Prometheus and in OpenTelemetry.
        text: What it says.
        read: Yields its samples at one moment; none where there is nothing to say yet.
        kind: `counter`: it only grows, until the process ends. `gauge`: it does not.
        unit: `s`, or empty for numbers of things.
        labels: Names of the labels of each sample.

    """

    name: str
    text: str
    read: Callable[[AgentStatus], Iterator[Sample]]
    kind: Literal["gauge", "counter"] = "gauge"
    unit: str = ""
    labels: tuple[str, ...] = ()


def _states(status: AgentStatus) -> Iterator[Sample]:
    for state in get_args(State):
        yield {"state": state}, float(status.state == state)


def _functions(status: AgentStatus) -> Iterator[Sample]:
    """Yield how many run what; a label of version numbers would be a new series each release."""
    deployed = sum(version == SHIPPED for version in status.functions.values())
    yield {"version": "deployed"}, float(deployed)
    yield {"version": "released"}, float(len(status.functions) - deployed)


def _last_switch(status: AgentStatus) -> Iterator[Sample]:
    if status.switched_at:
        yield {}, status.switched_at


def _contact(status: AgentStatus) -> Iterator[Sample]:
    if status.contact_at:
        yield {}, max(0.0, time.time() - status.contact_at)


FIGURES = (
    Figure(
        name="scatter_agent_state",
        text="1 for the state that the agent is in, 0 for the others.",
        read=_states,
        labels=("state",),
    ),
    Figure(
        name="scatter_applied_sequence",
        text="The last release that the process has applied or refused.",
        read=lambda status: iter([({}, float(status.sequence))]),
    ),
    Figure(
        name="scatter_functions",
        text="Tracked functions that run the deployed code, and those that run a released version.",
        read=_functions,
        labels=("version",),
    ),
    Figure(
        name="scatter_held",
        text="Functions that stay where they were moved to by hand.",
        read=lambda status: iter([({}, float(len(status.held)))]),
    ),
    Figure(
        name="scatter_refused",
        text="Functions whose live version does not run here.",
        read=lambda status: iter([({}, float(len(status.refused)))]),
    ),
    Figure(
        name="scatter_switches_total",
        text="How often the agent has switched functions; several in one step count once.",
        read=lambda status: iter([({}, float(status.switches))]),
        kind="counter",
    ),
    Figure(
        name="scatter_last_switch_timestamp_seconds",
        text="When that was last, since the epoch; absent before the first time.",
        read=_last_switch,
        unit="s",
    ),
    Figure(
        name="scatter_seconds_since_contact",
        text="Since the store last answered; absent before the first time.",
        read=_contact,
        unit="s",
    ),
)


_lock = ForkSafeLock()
_registered: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""Registry or meter provider → what was registered there."""


class AgentCollector:
    """Gives Prometheus the figures of this process's agent; a collector of prometheus_client."""

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without samples, so that names used twice are found at once."""
        return map(_family, FIGURES)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        status = scatter_agent.status()
        for figure in FIGURES:
            family = _family(figure)
            for labels, value in figure.read(status):
                family.add_metric([labels[name] for name in figure.labels], value)
            yield family


def _family(figure: Figure) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    made = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    return made(figure.name, figure.text, labels=figure.labels)


def prometheus(registry: CollectorRegistry | None = None) -> AgentCollector:
    """Register the agent's metrics with Prometheus. Idempotent.

    Args:
        registry: Where; default: the registry of prometheus_client that everybody uses.

    Returns:
        The collector, for `registry.unregister`.

    Raises:
        UsageError: prometheus_client is not installed.

    """
    try:
        from prometheus_client import REGISTRY
    except ImportError as error:
        raise _missing("prometheus_client", "prometheus") from error
    where = REGISTRY if registry is None else registry
    with _lock:
        collector: AgentCollector | None = _registered.get(where)
        if collector is None:
            collector = AgentCollector()
            where.register(collector)
            _registered[where] = collector
    return collector


def opentelemetry(provider: MeterProvider | None = None) -> Meter:
    """Register the agent's metrics with OpenTelemetry, as observable instruments. Idempotent.

    Args:
        provider: Where; default: the global provider, also one that is set later.

    Returns:
        The meter that has them.

    Raises:
        UsageError: opentelemetry-api is not installed.

    """
    try:
        from opentelemetry import metrics
    except ImportError as error:
        raise _missing("opentelemetry-api", "otel") from error
    # What stands for the global provider changes when one is set; this function does not.
    is_global = provider is None or provider is metrics.get_meter_provider()
    where: Any = opentelemetry if is_global else provider
    with _lock:
        meter: Meter | None = _registered.get(where)
        if meter is None:
            source = provider or metrics.get_meter_provider()
            meter = source.get_meter("scatter_agent", __version__)
            for figure in FIGURES:
                _observe(meter, figure)
            _registered[where] = meter
    return meter


def _observe(meter: Meter, figure: Figure) -> None:
    from opentelemetry.metrics import Observation

    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for labels, value in figure.read(scatter_agent.status()):
            yield Observation(value, dict(labels))

    is_counter = figure.kind == "counter"
    make = meter.create_observable_counter if is_counter else meter.create_observable_gauge
    make(figure.name, callbacks=[observe], unit=figure.unit, description=figure.text)


def _missing(package: str, extra: str) -> UsageError:
    return UsageError(
        f"Expected the package {package}; it is not installed here. Install it: "
        f"`pip install {package}`, or scatter with its extra `{extra}`."
    )
