"""Metrics: a real scrape, a real reader, and what processes and their children show."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import scatter_agent
import scatter_agent.metrics as ours
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from scatter_agent.health import AgentStatus
from support import ROOT, signed, start_python, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.errors import UsageError
from scatter.model import Refusal
from scatter.releases import Candidate, Releases
from scatter.store.redis import RedisStore

REFUSAL = Refusal(function="shop:tax", version=3, reason="missing-import", message="No `rates`.")
READY = AgentStatus(
    state="ready",
    since=1.0,
    sequence=12,
    switched_at=1_700_000_000.5,
    switches=4,
    contact_at=1_700_000_100.0,
    functions={"shop:price": 7, "shop:tax": 2, "shop:name": 0},
    held=("shop:tax",),
    refused=(REFUSAL,),
)
SAMPLES = {
    'scatter_agent_state{state="starting"}': 0,
    'scatter_agent_state{state="ready"}': 1,
    'scatter_agent_state{state="stale"}': 0,
    'scatter_agent_state{state="error"}': 0,
    'scatter_agent_state{state="stopped"}': 0,
    "scatter_applied_sequence": 12,
    'scatter_functions{version="deployed"}': 1,
    'scatter_functions{version="released"}': 2,
    "scatter_held": 1,
    "scatter_refused": 1,
    "scatter_switches_total": 4,
    "scatter_last_switch_timestamp_seconds": 1_700_000_000.5,
    "scatter_seconds_since_contact": 5.0,
}
FIRST = AgentStatus(state="starting", since=1.0)
ABSENT = {"scatter_last_switch_timestamp_seconds", "scatter_seconds_since_contact"}
"""What there is nothing to say of before the first switch and the first answer."""

Say = Callable[[AgentStatus], None]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Sets what the agent says of itself, five seconds after it spoke with the store."""
    monkeypatch.setattr(ours.time, "time", lambda: 1_700_000_105.0)

    def set_status(status: AgentStatus) -> None:
        monkeypatch.setattr(scatter_agent, "status", lambda: status)

    set_status(READY)
    return set_status


def scraped(registry: CollectorRegistry) -> dict[str, float]:
    """Return series → value of a scrape."""
    lines = generate_latest(registry).decode().splitlines()
    rows = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def read(reader: InMemoryMetricReader) -> dict[str, float]:
    """Return series → value of a reading, named as a scrape names them."""
    found: dict[str, float] = {}
    data: Any = reader.get_metrics_data()
    for metric in (m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics):
        for point in metric.data.data_points:
            labels = ",".join(f'{k}="{v}"' for k, v in point.attributes.items())
            name = metric.name + (f"{{{labels}}}" if labels else "")
            assert name not in found, f"{name} twice"
            found[name] = point.value
    return found


# Prometheus --------------------------------------------------------------------------------


def test_a_scrape_shows_what_the_agent_says(say: Say) -> None:
    registry = CollectorRegistry()
    ours.prometheus(registry)

    assert scraped(registry) == SAMPLES
    say(FIRST)
    later = scraped(registry)
    assert later['scatter_agent_state{state="starting"}'] == 1
    assert SAMPLES.keys() - later.keys() == ABSENT


def test_a_scrape_has_types_and_descriptions(say: Say) -> None:
    registry = CollectorRegistry()
    ours.prometheus(registry)
    text = generate_latest(registry).decode()

    assert "# TYPE scatter_switches_total counter" in text
    assert text.count("# TYPE scatter_") == len(ours.FIGURES)
    for figure in ours.FIGURES:
        assert f"# HELP {figure.name} {figure.text}" in text


def test_registering_with_prometheus_twice_is_registering_once(say: Say) -> None:
    one, other = CollectorRegistry(), CollectorRegistry()

    assert ours.prometheus(one) is ours.prometheus(one)
    ours.prometheus(other)

    assert scraped(one) == scraped(other) == SAMPLES


def test_the_default_registry_is_that_of_prometheus_client(say: Say) -> None:
    collector = ours.prometheus()
    try:
        assert ours.prometheus() is collector
        assert ours.prometheus(prometheus_client.REGISTRY) is collector
        assert SAMPLES.items() <= scraped(prometheus_client.REGISTRY).items()
    finally:
        prometheus_client.REGISTRY.unregister(collector)
        ours._registered.clear()


def test_a_name_that_is_taken_is_found_when_registering(say: Say) -> None:
    registry = CollectorRegistry()
    prometheus_client.Gauge("scatter_refused", "Somebody else's.", registry=registry)

    with pytest.raises(ValueError, match="scatter_refused"):
        ours.prometheus(registry)


def test_the_clock_going_backwards_makes_no_negative_age(say: Say) -> None:
    registry = CollectorRegistry()
    ours.prometheus(registry)
    say(AgentStatus(state="ready", since=1.0, contact_at=1_700_000_999.0))

    assert scraped(registry)["scatter_seconds_since_contact"] == 0


def test_the_number_of_series_does_not_grow_with_functions_versions_or_refusals(say: Say) -> None:
    registry = CollectorRegistry()
    ours.prometheus(registry)
    say(
        AgentStatus(
            state="ready",
            since=1.0,
            functions={f"shop:f{n}": n for n in range(1000)},
            refused=(REFUSAL,) * 100,
        )
    )

    found = scraped(registry)
    assert found.keys() == SAMPLES.keys() - ABSENT
    assert found['scatter_functions{version="released"}'] == 999
    assert found["scatter_refused"] == 100


# OpenTelemetry -------------------------------------------------------------------------------


def test_a_reader_of_opentelemetry_sees_the_same(say: Say) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    ours.opentelemetry(provider)

    assert read(reader) == SAMPLES
    say(FIRST)
    assert SAMPLES.keys() - read(reader).keys() == ABSENT
    provider.shutdown()


def test_registering_with_opentelemetry_twice_is_registering_once(say: Say) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])

    assert ours.opentelemetry(provider) is ours.opentelemetry(provider)
    assert read(reader) == SAMPLES, "no series twice"
    provider.shutdown()


def test_units_and_kinds_are_those_of_the_table(say: Say) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    meter = ours.opentelemetry(provider)
    data: Any = reader.get_metrics_data()
    metrics = data.resource_metrics[0].scope_metrics[0].metrics

    found = {m.name: (m.unit, getattr(m.data, "is_monotonic", False)) for m in metrics}
    assert found == {f.name: (f.unit, f.kind == "counter") for f in ours.FIGURES}
    assert meter.name == "scatter_agent"
    provider.shutdown()


# whole processes -----------------------------------------------------------------------------


def run(code: str, **environment: str) -> str:
    """Run a program to its end, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'agent'}", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_global_provider_that_is_set_later_is_used_once() -> None:
    out = run("""
        import scatter_agent.metrics
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        scatter_agent.metrics.opentelemetry()
        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader]))
        scatter_agent.metrics.opentelemetry()
        scatter_agent.metrics.opentelemetry(metrics.get_meter_provider())
        for resource in reader.get_metrics_data().resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        print(metric.name, *point.attributes.values(), point.value)
        """)

    lines = out.splitlines()
    assert "scatter_agent_state stopped 1.0" in lines, "there is no agent, and it says so"
    assert len(lines) == len(set(lines)) == len(SAMPLES) - len(ABSENT)


def test_importing_loads_neither_library() -> None:
    out = run("""
        import sys, scatter_agent
        assert "scatter_agent.metrics" not in sys.modules
        import scatter_agent.metrics
        print([m for m in sys.modules if m.startswith(("prometheus_client", "opentelemetry"))])
        """)
    assert out == "[]\n"


@pytest.mark.parametrize(
    ("call", "package", "extra"),
    [
        ("prometheus", "prometheus_client", "prometheus"),
        ("opentelemetry", "opentelemetry-api", "otel"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, call: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(UsageError) as raised:
        getattr(ours, call)()
    assert f"`pip install {package}`" in str(raised.value)
    assert f"extra `{extra}`" in str(raised.value)


SHOP = "import scatter\n\n\n@scatter.track\ndef price():\n    return 0\n"
PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
import scatter, shop, scatter_agent, scatter_agent.metrics
from prometheus_client import generate_latest

scatter.init(sys.argv[2], namespace=sys.argv[3])
scatter_agent.start(wait=20)
scatter_agent.metrics.prometheus()

def answer(line):
    if line == "fork\\n":
        pid = os.fork()
        if not pid:
            scatter_agent.metrics.prometheus()
            assert scatter_agent._agent.wait(20)
            scrape()
            os._exit(0)
        os.waitpid(pid, 0)
    else:
        scrape()

def scrape():
    text = generate_latest().decode()
    print([x for x in text.splitlines() if x.startswith("scatter_")], flush=True)

for line in sys.stdin:
    answer(line)
"""


def test_a_process_shows_what_its_agent_does_and_a_child_shows_its_own(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    store = RedisStore(redis_url, namespace)
    process = start_python(PROGRAM, str(tmp_path), redis_url, namespace)

    def ask(what: str) -> dict[str, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(what + "\n")
        process.stdin.flush()
        rows = re.findall(r"'(\S+) (\S+)'", process.stdout.readline())
        return {name: float(value) for name, value in rows}

    first = ask("scrape")
    assert first['scatter_agent_state{state="ready"}'] == 1
    assert first['scatter_functions{version="deployed"}'] == 1
    assert first["scatter_switches_total"] == 0
    assert 0 <= first["scatter_seconds_since_contact"] < 60
    assert "scatter_last_switch_timestamp_seconds" not in first

    built = build(ModuleSource(SHOP.replace("return 0", "return 1"), name="shop"), "price")
    before = time.time()
    Releases(signed(store), author="ann").push([Candidate(bundle=built.bundle)])
    later = wait_until(lambda: (s := ask("scrape"))["scatter_switches_total"] and s, "the switch")
    assert later["scatter_applied_sequence"] == 1
    assert later['scatter_functions{version="released"}'] == 1
    assert math.isclose(later["scatter_last_switch_timestamp_seconds"], before, abs_tol=30)

    child = ask("fork")
    assert child['scatter_agent_state{state="ready"}'] == 1
    assert child["scatter_switches_total"] == 0, "its agent is another, and has switched nothing"
    assert child['scatter_functions{version="released"}'] == 1, "its functions are as they were"
    process.communicate(timeout=20)
    store.close()


def test_beside_the_multiprocess_mode_a_registry_shows_the_process_that_answers(
    tmp_path: Path,
) -> None:
    out = run(
        """
        import scatter_agent.metrics
        from prometheus_client import CollectorRegistry, Counter, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        Counter("requests", "Those of all processes.").inc()
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        scatter_agent.metrics.prometheus(registry)
        print(generate_latest(registry).decode())
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )
    assert "requests_total 1.0" in out
    assert 'scatter_agent_state{state="stopped"} 1.0' in out


def test_the_page_lists_every_metric_with_its_kind_and_labels() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(scatter_\w+)` \| (\w+) \| (.*?) \|", page, re.M)

    assert [(n, k, tuple(re.findall(r"`(\w+)`", labels))) for n, k, labels in rows] == [
        (figure.name, figure.kind, figure.labels) for figure in ours.FIGURES
    ]
