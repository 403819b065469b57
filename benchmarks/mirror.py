"""The mirror: how long after it the last of 100 processes has a release, and what a start costs.

A release counts as the mirror's own when `tip` names it, which is when it can be read: somebody
waits for that as the processes do, by inotify. Processes print the moment of each switch by the
clock that all processes of a machine share.

The floor is as many bare watchers, which by inotify hear of a file of the same size that takes a
place in another directory, and read it. A user may have 128 inotify instances: so they have their
turns before the processes start and after they ended, half of them each.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.harness import Progress, Row, Sample, compare
from benchmarks.stage import MODULE, ROOT, Stage, Worker, environment, stage
from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.config import Settings
from scatter.log import LazySigner, open_journal
from scatter.releases import Candidate, Releases
from scatter.store.inotify import InotifyNotices
from scatter.store.layout import read_tip
from scatter.store.redis import RedisStore

PROCESSES, RELEASES, STARTS = 100, 20, 5
MOST_S, MOST_START_S = 0.3, 0.2
_TEXT = "import scatter\n\n\n@scatter.track\ndef price(item):\n    return item * {number}\n"
_START = """
import sys, time
began = time.perf_counter()
sys.path.insert(0, sys.argv[1])
import {module}, scatter_agent
scatter_agent.start(sys.argv[2], namespace=sys.argv[3], wait=20)
took = time.perf_counter() - began
assert scatter_agent.status().sequence == int(sys.argv[4]), scatter_agent.status()
print(took)
"""

clock = time.perf_counter


def run(progress: Progress) -> list[Row]:
    """Measure it."""
    with stage() as scene:
        scene.write(_TEXT.format(number=0))
        folder = scene.folder / "mirror"
        folder.mkdir(mode=0o755)
        store = scene.keep(RedisStore(scene.url("unix"), scene.namespace))
        releases = Releases(open_journal(Settings(), store, signer=LazySigner()), author="bench")
        with _mirror(scene, folder) as daemon:
            _push(releases, 1)
            _wait(folder / scene.namespace, 1)
            size_bytes = _size(store)
            progress("mirror: bare watchers", 0.1)
            floor = _raw(scene, size_bytes)
            progress(f"mirror: {PROCESSES} processes start", 0.2)
            workers = _workers(scene, folder)
            last = _measure(releases, folder / scene.namespace, workers, progress)
            connections = _connections(store)
            for worker in workers:
                worker.end()
            progress("mirror: bare watchers", 0.8)
            floor += _raw(scene, size_bytes)
            progress("mirror: starts", 0.9)
            usual = [_start(scene, scene.url("unix")) for _ in range(STARTS)]
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(20)
        scene.server.stop()
        away = [_start(scene, f"dir:{folder}") for _ in range(STARTS)]
    return _rows(last, floor, connections, away, usual)


@contextmanager
def _mirror(scene: Stage, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    code = "from scatter_agent.commands import main; main()"
    daemon = subprocess.Popen(
        [
            *(sys.executable, "-c", code, "mirror", "-d", str(folder)),
            *("-u", scene.url("unix"), "-n", scene.namespace),
        ],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield daemon
    finally:
        daemon.kill()
        daemon.wait(20)


def _push(releases: Releases, number: int) -> None:
    source = ModuleSource(_TEXT.format(number=number), name=MODULE, file=f"{MODULE}.py")
    releases.push([Candidate(bundle=build(source, "price").bundle)], force=True)


def _wait(folder: Path, sequence: int) -> float:
    """Return the moment at which a directory has a release."""
    notices = InotifyNotices(folder)
    notices.watch()
    deadline = clock() + 30
    while read_tip(folder).sequence < sequence:
        if clock() > deadline:
            raise RuntimeError(f"release {sequence} did not reach {folder}")
        notices.wait(0.5)
    at = clock()
    notices.close()
    return at


def _size(store: Any) -> int:
    """Return how large the newest release is, with its bundle."""
    tail = store.read(0, 1, recent=True)
    return len(tail.entries[0]) + sum(map(len, tail.recent.values()))


def _raw(scene: Stage, size_bytes: int) -> list[float]:
    """Return how long it takes until the last bare watcher has a file."""
    folder = scene.folder / "raw"
    folder.mkdir(exist_ok=True)
    file, fresh = folder / "value", scene.folder / "fresh"
    watchers = [Worker("watch", "idle", str(file), waits=False) for _ in range(PROCESSES)]
    for watcher in watchers:
        watcher.expect_ready()
    taken = []
    for _ in range(RELEASES // 2):
        fresh.write_bytes(os.urandom(size_bytes))
        began = clock()
        fresh.replace(file)
        taken.append(max(float(watcher.line()) for watcher in watchers) - began)
        time.sleep(0.2)
    for watcher in watchers:
        watcher.end()
    return taken


def _workers(scene: Stage, folder: Path) -> list[Worker]:
    """Start the processes, a few at a time."""
    arguments = "follow", "idle", f"dir:{folder}", scene.namespace, str(scene.folder), MODULE
    workers = [Worker(*arguments) for _ in range(PROCESSES)]
    for worker in workers:
        worker.line()  # the release that was there already
    return workers


def _measure(
    releases: Releases, folder: Path, workers: list[Worker], progress: Progress
) -> list[float]:
    """Return how long each release took from the directory to the last process."""
    last = []
    for number in range(2, RELEASES + 2):
        progress(f"mirror: release {number - 1} of {RELEASES}", 0.5 + 0.3 * number / RELEASES)
        _push(releases, number)
        at = _wait(folder, number)
        last.append(max(float(worker.line()) for worker in workers) - at)
        time.sleep(0.5)  # reports are relayed meanwhile
    return last


def _connections(store: Any) -> float:
    (reply,) = store.link.run([("CLIENT", "LIST")])
    return float(reply.decode().count("name=scatter-agent-"))


def _start(scene: Stage, url: str) -> float:
    """Return how long a process takes until it runs the newest release."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", _START.format(module=MODULE), str(scene.folder)),
            *(url, scene.namespace, str(RELEASES + 1)),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    return float(done.stdout)


def _rows(
    last: list[float],
    floor: list[float],
    connections: float,
    away: list[float],
    usual: list[float],
) -> list[Row]:
    more = statistics.median(away) - statistics.median(usual)
    return [
        replace(
            compare(
                "mirror",
                f"release in the directory → the last of {PROCESSES} processes switched",
                last,
                f"the last of {PROCESSES} bare watchers has the bytes",
                floor,
            ),
            goal=f"p99 ≤ {MOST_S * 1000:.0f} ms",
            reached=max(last) <= MOST_S,
        ),
        Row(
            benchmark="mirror",
            what=f"connections of {PROCESSES} processes and their mirror",
            sample=Sample.of([connections]),
            goal="1",
            reached=connections == 1,
            unit="",
        ),
        Row(
            benchmark="mirror",
            what="start on the directory, server and mirror down",
            sample=Sample.of(away),
            against="start on the server",
            floor=Sample.of(usual),
            goal=f"p50 ≤ + {MOST_START_S * 1000:.0f} ms",
            reached=more <= MOST_START_S,
        ),
    ]
