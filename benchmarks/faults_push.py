"""The pusher of the fault run: releases all the time, of every kind, also of what cannot link."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from benchmarks.faults_app import NAMES, candidate
from benchmarks.faults_fleet import NAMESPACE, Fleet, wait_for
from benchmarks.faults_log import Record
from scatter.config import Settings
from scatter.errors import ScatterError
from scatter.log import LazySigner, open_journal
from scatter.model import Release
from scatter.releases import Candidate, Releases
from scatter.store.redis import RedisStore

EVERY_S = 0.012


class Pusher:
    """Releases from a thread of its own until it is closed.

    Attributes:
        evicted: Stamps whose bundles were deleted from the server.
        failed: Releases that could not be made, since the server was away.
        broken: Promises that pushing did not keep.

    """

    def __init__(self, fleet: Fleet, record: Record, seed: int) -> None:
        self._record = record
        self._random = random.Random(f"{seed} pusher")
        self._store = RedisStore(fleet.server.url, NAMESPACE)
        self._lock = threading.Lock()
        self._stamp = 0
        self._done = threading.Event()
        self.evicted: set[int] = set()
        self.failed = 0
        self.broken: list[str] = []
        self.begin_anew()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.push(NAMES)
        self._thread.start()

    def begin_anew(self) -> None:
        """Know nothing of the log: it is another one."""
        self._releases = Releases(
            open_journal(Settings(), self._store, signer=LazySigner()), author="faults"
        )
        self._known: dict[str, list[int]] = {name: [] for name in NAMES}

    def forget_versions(self) -> None:
        for versions in self._known.values():
            versions.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Have no release made meanwhile."""
        with self._lock:
            yield

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while not self._done.wait(EVERY_S * self._random.random() * 2):
            with self._lock:
                try:
                    self.attempt()
                except Exception:  # none but a ScatterError may leave the library
                    self.broken.append(f"a push failed: {traceback.format_exc()}")

    def attempt(self) -> None:
        """Make one release of any kind, or two; the server may be away."""
        what = self._random.choices(("push", "rollback", "older", "poison"), (75, 9, 12, 4))[0]
        names = self._random.sample(sorted(NAMES), self._random.randint(1, 3))
        try:
            if what == "rollback":
                self._reached(self._releases.rollback(NAMES[names[0]]))
            elif what == "older" and self._known[names[0]]:
                version = self._random.choice(self._known[names[0]][-40:])
                self._reached(self._releases.release({NAMES[names[0]]: version}))
            elif what == "poison":
                self.push(names, poison=names[0])
                self.push(names[:1])
            else:
                self.push(names)
        except ScatterError:
            self.failed += 1

    def push(self, names: Iterable[str], poison: str = "") -> None:
        """Release new versions of functions together.

        Raises:
            ScatterError: It could not be done, as far as is known.

        """
        made = [self._candidate(name, name == poison) for name in names]
        pushed = self._releases.push(made, force=True)
        self._reached(pushed.release)
        for full, version in pushed.versions.items():
            if full != NAMES.get(poison):
                self._known[full.partition(":")[2]].append(version)

    def _candidate(self, name: str, is_poison: bool) -> Candidate:
        self._stamp += 1
        digest, made = candidate(name, self._stamp, is_poison=is_poison)
        self._record.stamps[digest] = self._stamp
        if is_poison:
            self._record.poison.add(digest)
        return made

    def _reached(self, release: Release | None) -> None:
        if release is not None:
            self._record.reached(time.time(), release.sequence)

    def older(self, name: str) -> int | None:
        """Return a version of a function that is not live, if there is one; lock held."""
        return self._known[name][-3] if len(self._known[name]) > 3 else None

    def release(self, name: str, version: int) -> None:
        """Make a version live; lock held."""
        self._reached(self._releases.release({NAMES[name]: version}))

    def settle(self) -> float:
        """Make a last release, of which every part links; lock held. Return when it was there."""
        names = set(self._random.sample(sorted(NAMES), self._random.randint(1, 3)))

        def done() -> bool:
            try:
                self._record.read()
                self.push(sorted(names | self._bad()))
            except ScatterError:
                time.sleep(0.05)
                return False
            return True

        wait_for(done, "a release after the fault", 30)
        moment = time.time()
        self._record.read()
        return moment

    def _bad(self) -> set[str]:
        """Return the functions whose live version cannot be had, and those not named at all."""
        live, era = self._record.live(), self._record.eras[-1]
        bad = {n for n, (_, stamp, _) in live.items() if stamp in self.evicted}
        bad |= {n for n, (_, _, s) in live.items() if n in era[s - 1].poison}
        return bad | (NAMES.keys() - live.keys())
