"""One release to many followers: how long until the last has the bytes, and has switched.

The floor is as many raw subscribers: bare sockets that hear of a key and fetch its value, which
has as many bytes as the release and its bundle. Both sides are spread alike over the same
processes, and take turns.

Up to 100 followers are 100 processes. More do not fit into the memory of one machine: then each of
the 100 has several, on both sides (`crowd` says what they share).

On one machine all followers share its cores: who has the bytes goes on to check, link and switch,
and others come later to theirs. In a fleet they do not wait for each other. So the bytes are also
followed while everybody holds still for a moment after it has them.

What the server is charged for one push is its own account (`INFO cpu`); the followers do not look
at the log without a ring meanwhile, and their signs of life are few. What a release costs a
process is that process's own account over many releases, in processes that have one agent and are
otherwise idle.

Not here: through a mirror (`mirror`), and what reports cost while nothing happens (`report`).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from scatter_agent.work import YOUNG_S

from benchmarks.harness import Curve, Progress, Row, Sample, alone, compare
from benchmarks.push import TEXT as TRACKED
from benchmarks.push import Pusher
from benchmarks.stage import MODULE, Stage, Worker, stage
from benchmarks.worker import clock, command, dial
from scatter.store.redis import RedisStore

SIZES = 1, 10, 100, 500, 1000
PROCESSES = 100
ROUNDS, WARM = 9, 1
SETTLES_S, HOLD_S = 0.15, 1.0
CPU_PROCESSES, CPU_RELEASES, CPU_PAUSE_S = 4, 200, 0.02
MOST_RATIO, MOST_CPU_S = 2.0, 0.0015
RAW = "bench:raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was measured with one number of followers, in seconds."""

    raw: list[float]
    held: list[float]
    fetched: list[float]
    switched: list[float]
    raw_cpu: list[float]
    cpu: list[float]


class Crowd:
    """Processes that take orders."""

    def __init__(self, scene: Stage, count: int) -> None:
        """Start them."""
        begun = [_Process(scene) for _ in range(count)]
        self.processes = [process.ready() for process in begun]

    def order(self, text: str, count: int | None = None) -> list[str]:
        """Have the first `count` processes do something at the same time; return their answers."""
        chosen = self.processes[:count]
        for process in chosen:
            process.say(text)
        return [process.line() for process in chosen]


class _Process(Worker):
    """One of them; it is started without waiting for it."""

    def __init__(self, scene: Stage) -> None:
        super().__init__(str(scene.folder), MODULE, program="benchmarks.crowd", waits=False)
        scene.callback(self.end)

    def ready(self) -> _Process:
        self.expect_ready()
        return self

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()


def run(progress: Progress) -> list[Row | Curve]:
    """Measure each number of followers."""
    with stage() as scene:
        scene.write(TRACKED)
        progress(f"fanout: {PROCESSES} processes start", 0.0)
        crowd = Crowd(scene, PROCESSES)
        found = {}
        for place, size in enumerate(SIZES):
            progress(f"fanout: {size:,} followers", 0.2 + 0.7 * place / len(SIZES))
            found[size] = _measure(scene, crowd, size)
        progress("fanout: what a release costs a process", 0.9)
        cost = _cpu_of_release(scene, crowd)
    return [row for size in SIZES for row in _rows(size, found[size])] + [cost, *_curves(found)]


class _Pushes:
    """Releases of one namespace of its own, and the raw value that goes with them."""

    def __init__(self, scene: Stage, name: str) -> None:
        self.scene = scene
        scene.namespace = f"{name}-{secrets.token_hex(3)}"
        self._pusher = Pusher(scene, "tcp")
        self._number = 0
        self.store = scene.keep(RedisStore(scene.url("tcp"), scene.namespace))
        self._link = scene.keep(dial(scene.address("tcp")))

    def push(self) -> float:
        self._number += 1
        return self._pusher.push(self._number - 1)

    def size_bytes(self) -> int:
        """Return how large the newest release is, with its bundle."""
        tail = self.store.read(self._number - 1, 1, recent=True)
        return len(tail.entries[0]) + sum(map(len, tail.recent.values()))

    def raw(self, size_bytes: int) -> float:
        value = secrets.token_bytes(size_bytes)
        began = clock()
        self._link.sendall(command("SET", RAW, value))
        self._link.recv(64)
        return began

    def cpu_s(self) -> float:
        """Return the processor time that the server has taken."""
        (reply,) = self.store.link.run([("INFO", "cpu")])
        rows = dict(line.split(":", 1) for line in reply.decode().split() if ":" in line)
        return float(rows["used_cpu_sys"]) + float(rows["used_cpu_user"])


def _measure(scene: Stage, crowd: Crowd, size: int) -> Found:
    pushes = _Pushes(scene, f"fanout-{size}")
    pushes.push()
    used = min(size, PROCESSES)
    each = size // used
    crowd.order(f"raw {scene.address('tcp')} {RAW} {each}", used)
    crowd.order(f"follow {scene.url('tcp')} {scene.namespace} {each}", used)
    try:
        return _in_turns(pushes, crowd, used)
    finally:
        crowd.order("leave", used)


def _in_turns(pushes: _Pushes, crowd: Crowd, used: int) -> Found:
    time.sleep(YOUNG_S + 1)  # young agents look more often
    size_bytes = pushes.size_bytes()
    found = Found(raw=[], held=[], fetched=[], switched=[], raw_cpu=[], cpu=[])
    for number in range(WARM + ROUNDS):
        raw, raw_cpu = _one(pushes, crowd, used, lambda: pushes.raw(size_bytes), "raw")
        crowd.order(f"hold {HOLD_S}", used)
        held, _ = _one(pushes, crowd, used, pushes.push, "follow")
        crowd.order("hold 0", used)
        free, cpu = _one(pushes, crowd, used, pushes.push, "follow")
        if number >= WARM:
            found.raw.append(raw["fetched"])
            found.held.append(held["fetched"])
            found.fetched.append(free["fetched"])
            found.switched.append(free["switched"])
            found.raw_cpu.append(raw_cpu)
            found.cpu.append(cpu)
    return found


def _one(
    pushes: _Pushes, crowd: Crowd, used: int, release: Callable[[], float], kind: str
) -> tuple[dict[str, float], float]:
    """Release once; return seconds until the last follower was where it should be, and the cost."""
    for process in crowd.processes[:used]:
        process.say(f"wait {kind}")
    time.sleep(SETTLES_S)  # until each of them waits
    before = pushes.cpu_s()
    began = release()
    moments = [json.loads(process.line()) for process in crowd.processes[:used]]
    time.sleep(SETTLES_S)  # reports are written after the switch
    spent = pushes.cpu_s() - before
    return {name: max(one[name] for one in moments) - began for name in moments[0]}, spent


def _cpu_of_release(scene: Stage, crowd: Crowd) -> Row:
    """Return what one release costs a process that takes it."""
    pushes = _Pushes(scene, "fanout-cpu")
    pushes.push()
    crowd.order(f"follow {scene.url('tcp')} {scene.namespace} 1", CPU_PROCESSES)
    values: list[float] = []
    for _ in range(5):
        before = [float(found) for found in crowd.order("cpu", CPU_PROCESSES)]
        for _ in range(CPU_RELEASES // 5):
            for process in crowd.processes[:CPU_PROCESSES]:
                process.say("wait follow")
            pushes.push()
            for process in crowd.processes[:CPU_PROCESSES]:
                process.line()
            time.sleep(CPU_PAUSE_S)
        after = [float(found) for found in crowd.order("cpu", CPU_PROCESSES)]
        values += [(b - a) / (CPU_RELEASES // 5) for a, b in zip(before, after, strict=True)]
    crowd.order("leave", CPU_PROCESSES)
    return alone(
        "fanout", "processor time that one release costs one process", values, most_s=MOST_CPU_S
    )


def _rows(size: int, found: Found) -> list[Row]:
    each = size // min(size, PROCESSES)
    who = f"{size:,} followers" if size > 1 else "one follower"
    where = f" ({each} in each of {PROCESSES} processes)" if each > 1 else ""
    last = f"the last of {who}{where}"
    sides: dict[str, tuple[list[float], list[float], float | None]] = {
        f"push → bytes at hand, {last}, who hold still then": (
            found.held,
            found.raw,
            MOST_RATIO if size == max(SIZES) else None,
        ),
        f"push → bytes at hand, {last}, who go on to link": (found.fetched, found.raw, None),
        f"push → switched, {last}": (found.switched, found.raw, None),
        f"the server's processor time, one push to {who}": (found.cpu, found.raw_cpu, None),
    }
    against = f"raw subscribers, {size:,}"
    return [
        compare("fanout", what, values, against, floor, most=most)
        for what, (values, floor, most) in sides.items()
    ]


def _curves(found: dict[int, Found]) -> list[Curve]:
    def points(name: str) -> list[tuple[float, Sample]]:
        return [(size, Sample.of(getattr(one, name))) for size, one in found.items()]

    curve = Curve(
        benchmark="fanout",
        what="push → bytes at hand, the last follower",
        over="followers",
        points=points("held"),
        expected="linear",
        floor=points("raw"),
        against="raw subscribers",
    )
    cpu = replace(
        curve,
        what="the server's processor time for one push",
        points=points("cpu"),
        floor=points("raw_cpu"),
    )
    return [curve, replace(curve, what="push → switched", points=points("switched")), cpu]
