"""What signatures cost: a release that is believed, a push, and the first one of a process.

The floor is the same without signatures, in the same run and in turns. Nothing of the home of
whoever runs this is read or written.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Progress, Row, Sample, alone, compare, take_turns
from benchmarks.push import TEXT, Pusher
from benchmarks.stage import Stage, Worker, stage
from benchmarks.units import show

RELEASES = 50
ROUNDS = 40
PUSHES, WARM = 200, 20
STARTS = 15
MOST_RELEASE_S, MOST_MORE_S = 0.0005, 0.0015
NAMESPACE = "bench"
FIRST = """
import sys, time
from pathlib import Path
import scatter.trust.verifier
from scatter.log import Ledger
from scatter.trust.verifier import KeyVerifier
entry = Path(sys.argv[1]).read_bytes()
ledger = Ledger(sys.argv[2], KeyVerifier())
for _ in range(2):
    began = time.perf_counter()
    ledger.open(entry)
    print(time.perf_counter() - began)
"""


def run(progress: Progress) -> list[Row]:
    """Measure all three."""
    with tempfile.TemporaryDirectory(prefix="sb-") as folder, _home(Path(folder)):
        progress("trust: releases")
        entries = _entries(NAMESPACE)
        rows = [_releases(entries)]
        progress("trust: pushes")
        rows += _pushes()
        progress("trust: the first one")
        return [*rows, *_first(Path(folder), entries[0])]


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Have another home, whose key is made and trusted by the first push."""
    from scatter.trust.home import ensure_key

    before = dict(os.environ)
    for name in [n for n in os.environ if n.startswith("SCATTER_") and "BINARY" not in n]:
        del os.environ[name]
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    os.environ["SCATTER_STATE"] = str(folder / "state")
    os.environ.pop("SSH_AUTH_SOCK", None)
    try:
        ensure_key()
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _entries(namespace: str) -> list[bytes]:
    """Return a log of signed releases of one function each."""
    from scatter.log import Draft, Journal, LazySigner
    from scatter.model import Change
    from scatter.store.memory import MemoryStore

    store = MemoryStore(namespace)
    journal = Journal(store, signer=LazySigner())
    for number in range(1, RELEASES + 1):
        digest = f"{number:064x}"
        change = Change(function="m:f", version=number, bundle=digest, size=900, created=True)
        draft = Draft(action="push", changes=(change,), author="bench")
        journal.append(lambda _, draft=draft: draft)  # type: ignore[misc]
    return [entry for entry in store.entries(range(1, RELEASES + 1)) if entry is not None]


def _releases(entries: list[bytes]) -> Row:
    """Compare believing a release with reading one."""
    from scatter.log import Ledger
    from scatter.trust import Unsigned, Verifier
    from scatter.trust.verifier import KeyVerifier

    def reading(verifier: Verifier) -> float:
        ledger = Ledger(NAMESPACE, verifier)
        began = time.perf_counter()
        for entry in entries:
            ledger.advance(entry)
        return (time.perf_counter() - began) / len(entries)

    signed, unsigned = KeyVerifier(), Unsigned()
    reading(signed)
    sides = {"signed": lambda: reading(signed), "unsigned": lambda: reading(unsigned)}
    taken = take_turns(sides, ROUNDS)
    row = compare(
        "trust", "a release → believed", taken["signed"], "without signature", taken["unsigned"]
    )
    reached = row.sample.p50 <= MOST_RELEASE_S
    return replace(row, goal=f"p50 ≤ {show(MOST_RELEASE_S)}", reached=reached)


def _pushes() -> list[Row]:
    """Compare pushes that are signed and checked with such as are not, each to its own worker."""
    taken: dict[str, list[float]] = {"on": [], "off": []}
    with ExitStack() as stack:
        sides = {trust: _side(stack.enter_context(stage(has_home=False)), trust) for trust in taken}
        for number in range(WARM + PUSHES):
            order = sides if number % 2 else reversed(sides)
            for trust in order:
                pusher, worker = sides[trust]
                began = pusher.push(number)
                switched_s = worker.moments()["switched"] - began
                if number >= WARM:
                    taken[trust].append(switched_s)
    row = compare("trust", "push → switched", taken["on"], "trust off", taken["off"])
    more = [max(0.0, on - off) for on, off in zip(taken["on"], taken["off"], strict=True)]
    least = row.sample.p50 - Sample.of(taken["off"]).p50
    difference = alone("trust", "push → switched, with signatures over without", more)
    goal = f"medians differ by ≤ {show(MOST_MORE_S)}"
    return [row, replace(difference, goal=goal, reached=least <= MOST_MORE_S)]


def _side(scene: Stage, trust: str) -> tuple[Pusher, Worker]:
    """Return somebody who pushes, and a worker, on one server."""
    scene.write(TEXT)
    os.environ["SCATTER_TRUST"] = trust
    try:
        return Pusher(scene, "unix"), scene.agent("unix")
    finally:
        del os.environ["SCATTER_TRUST"]


def _first(folder: Path, entry: bytes) -> list[Row]:
    """Measure the first verification of a process, which imports what it needs, and the second."""
    file = folder / "entry"
    file.write_bytes(entry)
    first, second = list[float](), list[float]()
    for _ in range(STARTS):
        command = [sys.executable, "-c", FIRST, str(file), NAMESPACE]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        one, other = map(float, done.stdout.split())
        first.append(one)
        second.append(other)
    what = "the first release of a process → believed (files of trust, `cryptography`)"
    return [compare("trust", what, first, "the second", second)]
