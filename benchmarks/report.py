"""What it costs the server that a fleet reports: 1,000 processes, one sign of life each 5 s or so.

Each is a connection of its own, over TCP, and the very `Reporter` of the agent, asked whenever a
sign of life is due: an agent asks when it wakes next, which is later. 50 functions a process, as in
a service. Against the same connections saying nothing.
What is measured is the server's own account of its processor time (`INFO cpu`).

Not here: the looks at the log that an agent makes besides, and what a release costs.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable

from scatter_agent.health import AgentStatus
from scatter_agent.report import BEAT_S, Reporter

from benchmarks.harness import Progress, Row, Sample
from benchmarks.stage import stage
from scatter.store.redis import RedisStore

PROCESSES = 1000
LASTS_S = 15.0
SLICE_S = 5.0
"""Length of one measurement: a beat, so that each has about the same number of reports."""
MOST = 0.02
"""Share of one core that reports may take."""
FUNCTIONS = {f"shop.pricing:function_{number}": number for number in range(50)}


class _Process:
    """One process of the fleet."""

    def __init__(self, url: str, namespace: str, number: int) -> None:
        self.store = RedisStore(url, namespace, name=f"scatter-agent-{number}")
        self.reporter = Reporter("shop", f"{number:08x}")
        self._status = AgentStatus(state="ready", since=0.0, functions=FUNCTIONS)

    def tell(self) -> None:
        self.reporter.tell(self.store, self._status)


def run(progress: Progress) -> list[Row]:
    """Measure the server's processor time without and with reports."""
    with stage() as scene:
        progress(f"report: connecting {PROCESSES} processes")
        fleet = [_Process(scene.url("tcp"), scene.namespace, n) for n in range(PROCESSES)]
        for process in fleet:
            scene.keep(process.store).link.open()
        asker = scene.keep(RedisStore(scene.url("tcp"), scene.namespace))
        progress("report: an idle fleet")
        idle = [_share(asker, _silence()) for _ in range(int(LASTS_S / SLICE_S))]
        progress("report: a fleet that reports")
        for process in fleet:
            process.tell()
            time.sleep(BEAT_S / PROCESSES)  # they began at different times
        turns = _turns(fleet)
        busy = [_share(asker, turns) for _ in range(int(LASTS_S / SLICE_S))]
        if len(asker.reports()) != PROCESSES:
            raise RuntimeError("a report has expired: the fleet was not told at its pace")
    return [_row(idle, busy)]


def _silence() -> Iterable[float]:
    while True:
        yield time.monotonic() + 0.1


def _turns(fleet: list[_Process]) -> Iterable[float]:
    """Have each process report when that is due; yield when the next one is."""
    due = [(process.reporter.next_beat, n) for n, process in enumerate(fleet)]
    heapq.heapify(due)
    while True:
        at, number = due[0]
        if time.monotonic() < at:
            yield at
            continue
        fleet[number].tell()
        heapq.heapreplace(due, (fleet[number].reporter.next_beat, number))


def _share(asker: RedisStore, turns: Iterable[float]) -> float:
    """Return the share of one core that the server took for a while."""
    began, before = time.monotonic(), _cpu_s(asker)
    for at in turns:
        now = time.monotonic()
        if now - began >= SLICE_S:
            break
        time.sleep(max(0.0, min(at, began + SLICE_S) - now))
    return (_cpu_s(asker) - before) / (time.monotonic() - began)


def _cpu_s(asker: RedisStore) -> float:
    """Return the processor time that the server has taken."""
    (reply,) = asker.link.run([("INFO", "cpu")])
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    rows = dict(line.split(":", 1) for line in text.split() if ":" in line)
    return float(rows["used_cpu_sys"]) + float(rows["used_cpu_user"])


def _row(idle: list[float], busy: list[float]) -> Row:
    one, other = Sample.of(busy), Sample.of(idle)
    return Row(
        benchmark="report",
        what=f"the server's share of one core, {PROCESSES} processes reporting",
        sample=one,
        against="the same, silent",
        floor=other,
        goal=f"p50 ≤ {MOST:.0%} of a core",
        reached=one.p50 <= MOST,
        unit="share",
    )
