"""From a push to the new code in another process, against bare sockets that carry the same bytes.

The floor is SET → notification → GET of 1 KiB, with sockets and no library on either side. A push
reads the tip of the log, compresses, hashes and writes a release; the process is woken, reads the
release, checks hashes, links and switches. Both are timed from the first byte sent, by one clock.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from benchmarks.harness import Progress, Row, alone, compare
from benchmarks.stage import MODULE, Stage, Worker, stage
from benchmarks.worker import clock, command, dial

ROUNDS = 300
WARM = 20
SIZE_BYTES = 1024
STEPS = ("rung", "fetched", "verified", "linked", "switched")
TEXT = "import scatter\n\n@scatter.track\ndef f(x):\n    return x\n"


def run(progress: Progress) -> list[Row]:
    """Measure over TCP and over a unix socket."""
    rows: list[Row] = []
    for transport in ("tcp", "unix"):
        progress(f"push over {transport}")
        with stage() as scene:
            rows += _measure(scene, transport)
    return rows


def _measure(scene: Stage, transport: str) -> list[Row]:
    scene.write(TEXT)
    key = "bench:raw"
    floor_worker, worker = scene.raw(transport, key), scene.agent(transport)
    link = scene.keep(dial(scene.address(transport)))
    pusher = Pusher(scene, transport)
    floor: list[float] = []
    steps: dict[str, list[float]] = {name: [] for name in STEPS}
    for number in range(WARM + ROUNDS):
        raw_s = _raw(link, key, floor_worker)
        began, moments = pusher.push(number), worker.moments()
        if number >= WARM:
            floor.append(raw_s)
            for step, found in steps.items():
                found.append(moments[step] - began)
    name = f"push over {transport}"
    against = "bare sockets, 1 KiB"
    return [
        compare(name, "→ woken in another process", steps["rung"], against, floor),
        compare(name, "→ bytes at hand there", steps["fetched"], against, floor, most=3),
        compare(name, "→ verified there", steps["verified"], against, floor),
        compare(name, "→ linked there", steps["linked"], against, floor),
        alone(name, "→ switched there", steps["switched"], most_s=0.006),
    ]


def _raw(link: object, key: str, worker: Worker) -> float:
    """SET a value of 1 KiB; return how long it took until a process had it."""
    value = secrets.token_bytes(SIZE_BYTES)
    began = clock()
    link.sendall(command("SET", key, value))  # type: ignore[attr-defined]
    link.recv(64)  # type: ignore[attr-defined]
    return float(worker.line()) - began


class Pusher:
    """Pushes versions of one function, each of about 1 KiB as stored."""

    def __init__(self, scene: Stage, transport: str) -> None:
        from scatter.client import Client
        from scatter.config import resolve
        from scatter.registry import Registry

        settings = resolve(
            start=Path("/"),
            redis_url=scene.url(transport),
            namespace=scene.namespace,
            author="bench",
        )
        self._client = scene.keep(Client(settings, registry=Registry()))

    def push(self, number: int) -> float:
        """Push the next version; return when it began."""
        from scatter.analysis import ModuleSource
        from scatter.bundle.build import build
        from scatter.releases import Candidate

        noise = secrets.token_hex(SIZE_BYTES - 200)
        text = TEXT.replace("return x", f"note = '{noise}'\n    return x + {number}")
        built = build(ModuleSource(text, name=MODULE), "f")
        candidate = Candidate(bundle=built.bundle, seen=number, lines=built.lines)
        began = clock()
        self._client.releases.push([candidate])
        return began
