"""An application whose functions are edited: under scatter, and restarted by `uvicorn --reload`.

The same small FastAPI application is served twice, and the same edit of a function is saved for one
and then for the other, while requests come every few milliseconds, each over a connection of its
own. What is told: how long after the save the first answer of the new code came, how many requests
failed from the save to then, and how long the slowest of them waited.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import load, serving
from benchmarks.harness import Row, Sample, compare
from benchmarks.stage import Stage, stage
from benchmarks.worker import clock

ROUNDS = 8
EVERY_S = 0.005
LONGEST_S = 10.0
AGAINST = "uvicorn --reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What a save did to those who asked.

    Attributes:
        took_s: From the save to the first answer of the new code.
        failed: How many requests failed.
        slowest_s: How long the slowest one took.

    """

    took_s: float
    failed: int
    slowest_s: float


def rows() -> list[Row]:
    """Measure both, in turns."""
    if missing := serving.missing():
        nothing = Sample(least=0.0, p50=0.0, p99=0.0, count=0)
        return [Row(benchmark="save", what=f"not measured: {missing} missing", sample=nothing)]
    with stage() as scene, served(scene) as sides:
        outages: tuple[list[Outage], list[Outage]] = [], []
        for number in range(1, ROUNDS + 1):
            for (file, port), found in zip(sides, outages, strict=True):
                found.append(asyncio.run(_save(file, port, number)))
    return _rows(*outages)


@contextmanager
def served(scene: Stage) -> Iterator[tuple[tuple[Path, int], tuple[Path, int]]]:
    """Serve the application under scatter, with a watcher, and under uvicorn's own reloader."""
    from benchmarks.save import watcher

    files = [serving.write(scene.folder / name) for name in ("followed", "reloaded")]
    settings = {
        "SCATTER_REDIS_URL": scene.server.url,
        "SCATTER_NAMESPACE": scene.namespace,
        "SCATTER_TRACK": "shop",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        ours = scene.keep(serving.Served(files[0].parent, "followed"))
        theirs = scene.keep(serving.Served(files[1].parent, "app", "--reload"))
        scene.keep(watcher(scene, files[0]))
        yield (files[0], ours.port), (files[1], theirs.port)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


async def _save(file: Path, port: int, version: int) -> Outage:
    """Save the next version while requests come; return what it did to them."""
    crowd = Crowd(port, version)
    coming = asyncio.create_task(crowd.come())
    await asyncio.sleep(0.1)
    file.write_text(serving.shop(version), "utf-8")
    crowd.saved = clock()
    await coming
    return Outage(
        took_s=crowd.answered - crowd.saved,
        failed=crowd.failed,
        slowest_s=max(crowd.took_s, default=LONGEST_S),
    )


class Crowd:
    """Requests that come one after the other, whether those before were answered or not."""

    def __init__(self, port: int, version: int) -> None:
        self._port = port
        self._version = version
        self.saved = float("inf")
        self.answered = float("inf")
        self.failed = 0
        self.took_s: list[float] = []

    async def come(self) -> None:
        """Ask until the new version answers, and wait for all that were asked."""
        asked = set[asyncio.Task[None]]()
        began = clock()
        while self.answered == float("inf"):
            if clock() - began > LONGEST_S:
                raise RuntimeError(f"version {self._version} never answered")
            asked.add(asyncio.create_task(self._ask()))
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*asked)

    async def _ask(self) -> None:
        began = clock()
        try:
            version = await asyncio.wait_for(self._answer(), load.LONGEST_S)
        except (OSError, EOFError, load.Wrong, ValueError, TimeoutError):
            self.failed += clock() > self.saved
            return
        now = clock()
        if now > self.saved:
            self.took_s.append(now - began)
        if version == self._version:
            self.answered = min(self.answered, now)

    async def _answer(self) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            return await load.ask(reader, writer, b"Connection: close\r\n")
        finally:
            writer.close()


def _rows(ours: list[Outage], theirs: list[Outage]) -> list[Row]:
    def row(what: str, one: list[float], other: list[float], *, goal: str, reached: bool) -> Row:
        found = compare("save", what, one, AGAINST, other) if all(other) else Row(
            benchmark="save", what=what, sample=Sample.of(one), against=AGAINST,
            floor=Sample.of(other),
        )  # fmt: skip
        return replace(found, goal=goal, reached=reached)

    took, slowest, failed = (
        [[float(getattr(o, name)) for o in side] for side in (ours, theirs)]
        for name in ("took_s", "slowest_s", "failed")
    )
    faster = Sample.of(took[0]).p50 < Sample.of(took[1]).p50
    return [
        row("a web app answers with the new code", *took, goal="ahead of it", reached=faster),
        row(
            "its slowest request meanwhile",
            *slowest,
            goal="ahead of it",
            reached=Sample.of(slowest[0]).p50 < Sample.of(slowest[1]).p50,
        ),
        replace(
            row(
                "its requests that failed, each save", *failed, goal="0", reached=not sum(failed[0])
            ),
            unit="",
        ),
    ]
