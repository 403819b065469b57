"""What a process pays for an agent that has nothing to do: processor time, memory, threads.

Several processes under an agent, over TCP, with 50 tracked functions of which ten were pushed once,
beside as many of the same application without scatter, with redis and cryptography's Ed25519
imported: the bar for memory is what importing redis-py and cryptography costs, plus at most 4 MB.
A process under an agent imports only what the agent does. Half a minute in which nobody releases
anything: what the agents do is look at the log and say that they live.

Processor time is the process's own account of it (`time.process_time`): that of `/proc/self/stat`
counts in hundredths of a second, of which an agent takes one or two.

structlog imports rich where that is installed (the extra `cli` brings it): 5 MB more. So
memory is measured with and without.

Not here: what imports cost (`imports`), nor what reports cost the server (`report`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Progress, Row, Sample
from benchmarks.stage import MODULE, Stage, environment, stage
from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.config import Settings
from scatter.log import LazySigner, open_journal
from scatter.releases import Candidate, Releases
from scatter.store.redis import RedisStore

PROCESSES = 3
SETTLES_S, LASTS_S = 6.0, 30.0
"""A young process looks more often (`scatter_agent.work.YOUNG_S`): that is over by then."""
MOST_SHARE, MOST_MB = 0.001, 4.0

_TRACKED = "import scatter\n\n\n"
_FUNCTION = "{mark}def function_{n}(item, quantity=1):\n    return item * quantity + {stamp}\n\n\n"

_PROCESS = """
import json, os, sys, threading, time
settles_s, lasts_s, folder, rich, module, *agent = sys.argv[1:]
sys.path.insert(0, folder)
if rich == "without":
    sys.modules["rich"] = None  # as if it was not installed
__import__(module)
if not agent:
    import redis
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
else:
    import scatter_agent
    scatter_agent.start(agent[0], namespace=agent[1], wait=20)
    assert scatter_agent.status().state == "ready", scatter_agent.status()
time.sleep(float(settles_s))
began, before = time.monotonic(), time.process_time()
time.sleep(float(lasts_s))
share = (time.process_time() - before) / (time.monotonic() - began)
pages = int(open("/proc/self/statm").read().split()[1])
versions = sum(map(bool, scatter_agent.status().functions.values())) if agent else 0
print(json.dumps({
    "share": share,
    "memory": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    "threads": len(os.listdir("/proc/self/task")),
    "versions": versions,
}))
"""


def run(progress: Progress) -> list[Row]:
    """Measure idle processes, all at the same time."""
    with stage() as scene:
        (scene.folder / "plain.py").write_text(_text(""), "utf-8")
        scene.write(_TRACKED + _text("@scatter.track\n"))
        _push_ten(scene)
        url = scene.url("tcp")
        progress(f"idle: {3 * PROCESSES} processes that do nothing for {LASTS_S:g} s")
        agent = MODULE, url, scene.namespace
        agents = [_start(scene.folder, "without", *agent) for _ in range(PROCESSES)]
        rich = [_start(scene.folder, "with", *agent) for _ in range(PROCESSES)]
        plain = [_start(scene.folder, "without", "plain") for _ in range(PROCESSES)]
        connections = _connections(scene, [*agents, *rich])
        results = [[_result(process) for process in group] for group in (agents, rich, plain)]
    if any(one["versions"] != 10 for group in results[:2] for one in group):
        raise RuntimeError(f"the agents did not follow: {results}")
    return _rows(*results, connections)


def _text(mark: str, stamp: int = 0) -> str:
    return "".join(_FUNCTION.format(mark=mark, n=n, stamp=stamp) for n in range(50))


def _push_ten(scene: Stage) -> None:
    store = scene.keep(RedisStore(scene.url("tcp"), scene.namespace))
    text = _TRACKED + _text("@scatter.track\n", stamp=1)
    source = ModuleSource(text, name=MODULE, file=f"{MODULE}.py")
    made = [Candidate(bundle=build(source, f"function_{n}").bundle) for n in range(10)]
    Releases(open_journal(Settings(), store, signer=LazySigner()), author="bench").push(made)


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(SETTLES_S), str(LASTS_S), str(folder), *arguments],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _connections(scene: Stage, agents: list[subprocess.Popen[str]]) -> list[float]:
    """Return how many connections the server has of each agent."""
    store = scene.keep(RedisStore(scene.url("tcp"), scene.namespace))
    time.sleep(SETTLES_S + LASTS_S / 2)
    (reply,) = store.link.run([("CLIENT", "LIST")])
    names = [part for part in reply.decode().split() if part.startswith("name=")]
    return [float(names.count(f"name=scatter-agent-{agent.pid}")) for agent in agents]


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=SETTLES_S + LASTS_S + 30)
    found: dict[str, Any] = json.loads(output)
    return found


def _rows(
    agents: list[dict[str, Any]],
    rich: list[dict[str, Any]],
    plain: list[dict[str, Any]],
    connections: list[float],
) -> list[Row]:
    def row(key: str, what: str, unit: str, goal: str, *, more: float, group: Any = agents) -> Row:
        one, other = (Sample.of([process[key] for process in side]) for side in (group, plain))
        return Row(
            benchmark="idle",
            what=what,
            sample=one,
            against="the same without scatter, redis and cryptography imported",
            floor=other,
            unit=unit,
            goal=goal,
            reached=one.p50 <= other.p50 + more,
        )

    share, memory = f"p50 ≤ {MOST_SHARE:.1%} of a core", f"p50 ≤ + {MOST_MB:g} MB"
    return [
        row("share", "processor time under an agent", "share", share, more=MOST_SHARE),
        row("memory", "resident memory under an agent", "MB", memory, more=MOST_MB),
        row("memory", "the same, rich installed", "MB", memory, more=MOST_MB, group=rich),
        row("threads", "threads under an agent", "", "+ 1", more=1),
        Row(
            benchmark="idle",
            what="connections of an agent",
            sample=Sample.of(connections),
            goal="1",
            reached=set(connections) == {1.0},
            unit="",
        ),
    ]
