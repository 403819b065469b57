"""A web application under steady load whose functions are swapped 20 times a second.

The same FastAPI application is served three times by one process of uvicorn each: as it is, under
an agent with nothing to do, and under an agent whose two functions get a new version in each
release. They are under load in turns, a few seconds each, from another process that keeps some
connections busy and checks every answer.

What is fair here: releases are pushed at the same rate in all turns, to a namespace that nobody
follows in the first two, so the pusher, the server and the signing cost the machine the same
throughout. Where there are two cores, the applications have one for themselves, and whoever loads
and pushes has the other: what is missing in a throughput is what the application itself spent. The
processor time per request, as the application's process accounts for it, tells the same without
regard to what else the machine does; and from it follows what one release costs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import serving
from benchmarks.harness import Progress, Row, Sample, compare, take_turns
from benchmarks.lines import Program
from benchmarks.stage import ROOT, Stage, stage
from benchmarks.units import show

ROUNDS = 12
WARM = 2
LASTS_S = 3.0
CONNECTIONS = 8
PER_SECOND = 20
LEAST = 0.97
MOST_S = (1 - LEAST) / PER_SECOND
PLAIN, IDLE, SWAPPED = "without scatter", "agent with nothing to do", "swapped 20 times a second"

Found = dict[str, Any]


def run(progress: Progress) -> list[Row]:
    """Measure the three in turns."""
    if missing := serving.missing():
        nothing = Sample(least=0.0, p50=0.0, p99=0.0, count=0)
        return [Row(benchmark="web", what=f"not measured: {missing} missing", sample=nothing)]
    with stage() as scene, _cores() as (theirs, _):
        file = serving.write(scene.folder / "app")
        apps = _serve(scene, file.parent, theirs)
        pusher = scene.keep(Pusher(scene))
        found: dict[str, list[Found]] = {name: [] for name in apps}
        done = iter(range(10**6))

        def turn(name: str) -> float:
            progress(f"web {name}", next(done) / (ROUNDS + WARM) / len(apps))
            found[name].append(_load(apps[name], pusher, swap=name == SWAPPED))
            return 0.0

        take_turns({name: partial(turn, name) for name in apps}, ROUNDS + WARM)
    return _rows({name: ones[WARM:] for name, ones in found.items()})


@contextmanager
def _cores() -> Iterator[tuple[frozenset[int], frozenset[int]]]:
    """Yield the cores of the applications, and of everybody else, to whom this process belongs."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    if len(before) < 2:
        yield frozenset(before), frozenset(before)
        return
    first, *others = sorted(before)
    os.sched_setaffinity(0, others)
    try:
        yield frozenset({first}), frozenset(others)
    finally:
        os.sched_setaffinity(0, before)


def _serve(scene: Stage, folder: Path, cores: frozenset[int]) -> Mapping[str, serving.Served]:
    """Serve the application three times, each on the cores that it may have."""
    settings = {"SCATTER_REDIS_URL": scene.url("tcp"), "SCATTER_TRACK": "shop"}
    swapped = settings | {"SCATTER_NAMESPACE": scene.namespace}
    idle = settings | {"SCATTER_NAMESPACE": f"{scene.namespace}-idle"}
    apps = {
        PLAIN: scene.keep(serving.Served(folder, "app")),
        IDLE: scene.keep(serving.Served(folder, "followed", env=idle)),
        SWAPPED: scene.keep(serving.Served(folder, "followed", env=swapped)),
    }
    for app in apps.values() if cores else ():
        pid = app.program.process.pid
        for thread in os.listdir(f"/proc/{pid}/task"):  # uvicorn's and the agent's
            os.sched_setaffinity(int(thread), cores)
    return apps


def _load(app: serving.Served, pusher: Pusher, *, swap: bool) -> Found:
    """Load one application while releases are pushed, to it or past it."""
    pusher.aim(swap=swap)
    spent, pushed = app.spent_s(), pusher.pushed
    arguments = [str(app.port), str(LASTS_S), str(CONNECTIONS)]
    program = Program(
        [sys.executable, "-m", "benchmarks.load", *arguments], env=os.environ, cwd=ROOT
    )
    try:
        line = program.line(LASTS_S + 30)
        found: Found = json.loads(line or "{}")
    finally:
        program.close()
    found["spent"], found["releases"] = app.spent_s() - spent, pusher.pushed - pushed
    found["cpu"] = found["spent"] / found["requests"]
    return found


class Pusher:
    """Pushes new versions of both functions, at a steady rate, to either of two namespaces."""

    def __init__(self, scene: Stage) -> None:
        """Begin, past the application."""
        self._clients = {
            swap: scene.client(scene.url("unix"), f"{scene.namespace}{suffix}")
            for swap, suffix in ((True, ""), (False, "-elsewhere"))
        }
        self._swap = False
        self.pushed = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bench-pusher", daemon=True)
        self._thread.start()

    def aim(self, *, swap: bool) -> None:
        """Push to the application from now on, or past it."""
        self._swap = swap

    def close(self) -> None:
        """End."""
        self._end.set()
        self._thread.join(10)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / PER_SECOND, time.monotonic() - 1)
            self.pushed += 1
            self._push(self._clients[self._swap])

    def _push(self, client: Any) -> None:
        from scatter.analysis import ModuleSource
        from scatter.bundle.build import build
        from scatter.releases import Candidate

        text = serving.shop(self.pushed)
        source = ModuleSource(text, name="shop", file="shop.py", track_all=True)
        made = [build(source, name) for name in ("discount", "quote")]
        client.releases.push([Candidate(bundle=one.bundle, lines=one.lines) for one in made])


def _rows(found: Mapping[str, list[Found]]) -> list[Row]:
    rows: list[Row] = []
    for name in (SWAPPED, IDLE):
        rows += [
            _per_second(found, name),
            _row(found, name, "p50", "median request"),
            _row(found, name, "p99", "slowest request but one in a hundred"),
            _row(found, name, "cpu", "processor time per request"),
        ]
    errors = [float(len(one["errors"])) for one in found[SWAPPED]]
    requests = sum(one["requests"] for one in found[SWAPPED])
    versions = [one["versions"] / LASTS_S for one in found[SWAPPED]]
    return [
        *rows,
        Row(
            benchmark="web",
            what="processor time that a release of two functions costs the app's process",
            sample=Sample.of(_per_release(found)),
            goal=f"p50 ≤ {show(MOST_S)}: so much leaves {LEAST:g}× at {PER_SECOND} a second",
            reached=Sample.of(_per_release(found)).p50 <= MOST_S,
        ),
        Row(
            benchmark="web",
            what=f"{SWAPPED}: errors of {requests:,} requests",
            sample=Sample.of(errors),
            unit="",
            goal="0",
            reached=sum(errors) == 0,
        ),
        Row(
            benchmark="web",
            what=f"{SWAPPED}: versions a second that requests saw",
            sample=Sample.of(versions),
            unit="",
        ),
    ]


def _per_release(found: Mapping[str, list[Found]]) -> list[float]:
    """Return, for each turn, what a release cost beyond the requests, as those cost without."""
    request_s = Sample.of([turn["cpu"] for turn in found[PLAIN]]).p50
    return [
        (turn["spent"] - turn["requests"] * request_s) / turn["releases"] for turn in found[SWAPPED]
    ]


def _per_second(found: Mapping[str, list[Found]], name: str) -> Row:
    row = _row(found, name, "per_second", "requests a second")
    if name != SWAPPED or row.ratio is None:
        return replace(row, unit="")
    return replace(row, unit="", goal=f"≥ {LEAST:g}×", reached=row.ratio >= LEAST)


def _row(found: Mapping[str, list[Found]], name: str, key: str, what: str) -> Row:
    one, other = ([turn[key] for turn in found[side]] for side in (name, PLAIN))
    return compare("web", f"{name}: {what}", one, f"the same app {PLAIN}", other)
