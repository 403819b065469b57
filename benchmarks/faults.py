"""The fault run: a fleet follows thousands of releases while everything around it fails.

    python -m benchmarks.faults [--minutes N] [--workers N] [--seed N] [--quick]

Four processes of a small application call its functions all the time and check every result. A
pusher releases all the time: several functions together, rollbacks, old versions, versions that
cannot link. One fault after the other is done to the server, the links, the data and the processes
(`faults_kinds`), in an order that the seed decides. After each one, releases pause, and the time is
taken until every process runs the tip of the log, by what its functions return.

At the end it is asserted that every process got to the tip after every fault; that what each one
switched to is what the log had, in its order; that no call was torn, none saw one release in part,
and none raised; and that none called itself ready for long while it was not at the tip.

Writes `benchmarks/results/faults.json` and `.md`, unless `--quick`.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import faults_report
from benchmarks.faults_fleet import NAMESPACE, Fleet, Process, wait_for
from benchmarks.faults_judge import Judge
from benchmarks.faults_kinds import KINDS, SLOW, Scene
from benchmarks.faults_log import Record
from benchmarks.faults_push import Pusher
from benchmarks.home import own_home
from scatter.errors import ScatterError

POLICY = 'replaced_log = "follow"\n'
"""Signatures are checked; logs that are emptied, cut or set back must be followed all the same."""
CONVERGED_S = 45.0
"""After that it is a failure. Back-off of 5 s, a look of 6 s, and a busy machine: it takes less."""


class Run:
    """One fault run.

    Attributes:
        faults: What was done, and how long each process then took to the tip.
        broken: Promises that were not kept.

    """

    def __init__(self, folder: Path, seed: int, workers: int, *, is_long: bool) -> None:
        self.seed = seed
        self._is_long = is_long
        self._random = random.Random(seed)
        self.faults: list[dict[str, Any]] = []
        self.broken: list[str] = []
        self._left: list[Process] = []
        self.fleet = Fleet(folder, workers)
        self.record = Record(self.fleet.admin, NAMESPACE)
        self.pusher = Pusher(self.fleet, self.record, seed)

    def go(self, plan: Iterator[str], until: float, progress: Callable[[str], None]) -> None:
        """Do one fault after the other until it is time."""
        try:
            self.pusher.start()
            for kind in plan:
                if time.monotonic() > until:
                    break
                progress(f"fault {len(self.faults) + 1}: {kind}")
                time.sleep(self._random.uniform(0.1, 1.0))
                self._fault(kind)
            self._fault("nothing")  # all are at the tip at the end
        except Exception:
            self.broken.append(traceback.format_exc())
        self._end()

    def _fault(self, kind: str) -> None:
        seed = self._random.random()
        scene = Scene(
            self.fleet, self.pusher, self.record, random.Random(seed), is_long=self._is_long
        )
        began = time.time()
        fault: dict[str, Any] = {"kind": kind, "releases": len(self.record.tips)}
        self.faults.append(fault)
        KINDS[kind](scene)
        healed = time.time()
        with self.pusher.paused():
            settled = self.pusher.settle()
            fault |= {"lasted_s": healed - began, "took_s": {}}
            self._converge(fault, max(healed, settled))
        self._left += self.fleet.guests
        self.fleet.release_guests()

    def _converge(self, fault: dict[str, Any], since: float) -> None:
        """Wait until all run the tip, and say so."""
        tip = {name: stamp for name, (_, stamp, _) in self.record.live().items()}
        sequence = len(self.record.eras[-1])
        took: dict[str, float] = fault["took_s"]

        def are_there() -> bool:
            for process in self.fleet.processes:
                at = process.ran_at(tip, since)
                if at is not None:
                    took.setdefault(process.name, at - since)
            return len(took) == len(self.fleet.processes)

        def is_said() -> bool:
            said = [process.newest for process in self.fleet.processes]
            return all(s["state"] == "ready" and s["sequence"] == sequence for s in said)

        wait_for(are_there, f"release {sequence} with {tip} after {fault['kind']}", CONVERGED_S)
        wait_for(is_said, f"`ready` at release {sequence} after {fault['kind']}", CONVERGED_S)

    def _end(self) -> None:
        self.pusher.close()
        with contextlib.suppress(ScatterError):
            self.record.read()
        for worker in self.fleet.workers:
            if worker.process.poll() is not None:
                self.broken.append(f"{worker.name} ended by itself: {worker.errors()}")
        last = [{"name": p.name, **p.newest} for p in self.fleet.processes]
        self.fleet.close()
        self.broken += self.pusher.broken
        judge = Judge(self.record, self.pusher.evicted | self._poison())
        for process in [*self.fleet.workers, *self._left]:
            self.broken += judge.faults_of(process)
        if self.broken:
            self.broken.append(f"seed {self.seed}\nfaults: {self.faults}\nlast: {last}")

    def _poison(self) -> set[int]:
        return {self.record.stamps[digest] for digest in self.record.poison}

    def summary(self) -> dict[str, Any]:
        """Return the figures of the run."""
        workers = self.fleet.workers
        return {
            "seed": self.seed,
            **self.record.counts(),
            "refused by the server": self.pusher.failed,
            "calls": sum(w.newest["calls"] for w in workers),
            "switches": sum(len(w.switches) for w in workers),
            "wrong results and errors": sum(w.newest["wrong_count"] for w in workers),
            "faults": self.faults,
        }


def plan_of(seed: int, *, quick: bool, only: str = "") -> Iterator[str]:
    """Yield kinds of fault without end: all of them, in an order of their own each time."""
    order = random.Random(f"{seed} plan")
    kinds = [only] if only else [kind for kind in KINDS if not (quick and kind in SLOW)]
    while True:
        yield from order.sample(kinds, len(kinds))


def run(
    seed: int,
    minutes: float,
    *,
    workers: int = 4,
    quick: bool = False,
    is_long: bool = False,
    only: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Run:
    """Run it; see `Run.broken`."""
    with tempfile.TemporaryDirectory(prefix="sf-") as folder, own_home(Path(folder), POLICY):
        made = Run(Path(folder), seed, workers, is_long=is_long)
        plan = plan_of(seed, quick=quick, only=only)
        made.go(plan, time.monotonic() + minutes * 60, progress)
    return made


def main() -> int:
    """Run it, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0, help="how long; default 3")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--long", action="store_true", help="faults of up to a minute")
    parser.add_argument("--quick", action="store_true", help="about 40 s, and keep no results")
    parser.add_argument("--only", default="", choices=["", *KINDS], help="one kind of fault")
    arguments = parser.parse_args()
    minutes = arguments.minutes or (0.6 if arguments.quick else 3.0)
    done = run(
        arguments.seed,
        minutes,
        workers=arguments.workers,
        quick=arguments.quick,
        is_long=arguments.long,
        only=arguments.only,
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )
    summary = done.summary()
    print(faults_report.markdown(summary))
    print("\n".join(done.broken))
    if not (arguments.quick or arguments.only or done.broken):
        faults_report.keep(summary)
    return int(bool(done.broken))


if __name__ == "__main__":
    sys.exit(main())
