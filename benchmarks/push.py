"""From a push to the new code in another process, against bare sockets that carry the same bytes.

The floor is SET → notification → GET of as many bytes as the process fetches of a release, with
sockets and no library on either side. A push compresses, signs and writes a release; the process is
woken, reads it, checks signature and hashes, links and switches. Both are timed from the first
call, by one clock, in turns: in a process that has nothing else to do, and in one that computes,
where whoever wants the interpreter waits for it, up to 5 ms each time.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from benchmarks.harness import Progress, Row, alone, compare
from benchmarks.stage import MODULE, Stage, Worker, stage
from benchmarks.worker import clock, command, dial

ROUNDS = {"idle": 300, "busy": 60}
WARM = 20
SIZE_BYTES = 1024
STEPS = {
    "rung": "→ woken in another process",
    "fetched": "→ bytes in hand there",
    "verified": "→ verified there",
    "linked": "→ linked there",
    "switched": "→ switched there",
}
MOST_FETCHED = 2.0
MOST_SWITCHED_S = {"idle": 0.002, "busy": 0.025}
TEXT = "import scatter\n\n@scatter.track\ndef f(x):\n    return x\n"


def run(progress: Progress) -> list[Row]:
    """Measure over TCP and over a unix socket, in idle processes and in busy ones."""
    rows: list[Row] = []
    for number, (transport, load) in enumerate(
        (transport, load) for load in ROUNDS for transport in ("tcp", "unix")
    ):
        progress(f"push over {transport}, {load} processes", number / 4)
        with stage() as scene:
            rows += _measure(scene, transport, load)
    return rows


def _measure(scene: Stage, transport: str, load: str) -> list[Row]:
    scene.write(TEXT)
    key = "bench:raw"
    floor_worker, worker = scene.raw(transport, key, load), scene.agent(transport, load)
    link = scene.keep(dial(scene.address(transport)))
    pusher = Pusher(scene, transport)
    floor: list[float] = []
    steps: dict[str, list[float]] = {name: [] for name in STEPS}
    for number in range(WARM + ROUNDS[load]):
        began, moments = pusher.push(number), worker.moments()
        raw_s = _raw(link, key, floor_worker, pusher.fetched_bytes())
        if number >= WARM:
            floor.append(raw_s)
            for step, found in steps.items():
                found.append(moments[step] - began)
    return _rows(f"push over {transport}", load, steps, floor)


def _rows(name: str, load: str, steps: dict[str, list[float]], floor: list[float]) -> list[Row]:
    where = ", which computes" * (load == "busy")
    against = f"the same bytes by bare sockets{where}"
    rows = [
        compare(
            name,
            what + where,
            steps[step],
            against,
            floor,
            most=MOST_FETCHED if (step, load) == ("fetched", "idle") else None,
        )
        for step, what in STEPS.items()
    ]
    switched = alone(
        name, f"→ switched there{where}", steps["switched"], most_s=MOST_SWITCHED_S[load]
    )
    return [*rows[:-1], replace(rows[-1], goal=switched.goal, reached=switched.reached)]


def _raw(link: object, key: str, worker: Worker, size: int) -> float:
    """SET a value; return how long it took until a process had it."""
    value = secrets.token_bytes(size)
    began = clock()
    link.sendall(command("SET", key, value))  # type: ignore[attr-defined]
    link.recv(64)  # type: ignore[attr-defined]
    return float(worker.line()) - began


class Pusher:
    """Pushes versions of one function, each of about 1 KiB as stored."""

    def __init__(self, scene: Stage, transport: str) -> None:
        self._client = scene.client(scene.url(transport))

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

    def fetched_bytes(self) -> int:
        """Return how many bytes the newest release and its bundle have in the store."""
        journal = self._client.releases.journal
        (entry,) = journal.store.entries([journal.ledger.sequence])
        size = journal.ledger.functions[f"{MODULE}:f"].live.size
        return len(entry or b"") + size
