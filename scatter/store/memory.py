"""A store in memory: for tests, for trying things out, and for one process alone."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence

from scatter.locks import ForkSafeLock
from scatter.store.port import NO_HINTS, Hints, Ring, Tail


class MemoryStore:
    """A namespace in this process; the contract is that of `scatter.store.port.Store`."""

    def __init__(self, namespace: str) -> None:
        """Begin empty."""
        self._namespace = namespace
        self._lock = ForkSafeLock()
        self._entries: list[bytes] = []
        self._bundles: dict[str, bytes] = {}
        self._versions: dict[str, list[tuple[int, int]]] = {}
        self._snapshot = 0
        self._recent: dict[str, bytes] = {}
        self._reports: dict[str, tuple[bytes, float]] = {}
        self._seen: dict[str, int] = {}
        self._digests: dict[str, dict[str, str]] = {}
        self._bells: weakref.WeakSet[MemoryDoorbell] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<MemoryStore {self._namespace}: {len(self._entries)} releases>"

    @property
    def namespace(self) -> str:
        """The namespace of this store."""
        return self._namespace

    @property
    def address(self) -> str:
        """`memory://`: it is in this process."""
        return "memory://"

    def read(
        self,
        after: int,
        limit: int = 64,
        *,
        recent: bool = False,
        to_append: bool = False,  # noqa: ARG002 - it costs nothing here
    ) -> Tail:
        """Return the entries after a sequence."""
        with self._lock:
            entries = tuple(self._entries[after : after + limit])
            return Tail(
                entries=entries,
                tip=len(self._entries),
                recent=dict(self._recent) if entries and recent else {},
                snapshot=0 if after else self._snapshot,
            )

    def entries(self, sequences: Sequence[int]) -> list[bytes | None]:
        """Return the entry at each sequence."""
        with self._lock:
            known = range(1, len(self._entries) + 1)
            return [self._entries[n - 1] if n in known else None for n in sequences]

    def append(
        self, sequence: int, entry: bytes, bundles: Mapping[str, bytes], hints: Hints = NO_HINTS
    ) -> bool:
        """Write an entry with its bundles and hints."""
        with self._lock:
            for digest, data in bundles.items():
                self._bundles.setdefault(digest, data)
            if sequence != len(self._entries) + 1:
                return False
            self._entries.append(entry)
            self._take_hints(sequence, hints)
            self._recent = dict(bundles)
        self._ring(Ring(log=True))
        return True

    def cut(self, after: int) -> None:
        """Remove the entries after a sequence."""
        with self._lock:
            del self._entries[after:]

    def _take_hints(self, sequence: int, hints: Hints) -> None:
        for function, number in hints.versions.items():
            self._versions.setdefault(function, []).append((number, sequence))
        for function, numbers in hints.forget.items():
            kept = [v for v in self._versions.get(function, []) if numbers and v[0] not in numbers]
            self._versions[function] = kept
        for digest in hints.remove:
            self._bundles.pop(digest, None)
        if hints.snapshot:
            self._snapshot = sequence

    def bundles(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return the bundles that exist."""
        with self._lock:
            return {d: self._bundles[d] for d in digests if d in self._bundles}

    def remove_bundles(self, digests: Iterable[str]) -> None:
        """Remove bundles, also from the hint."""
        with self._lock:
            self._recent = {}
            for digest in digests:
                self._bundles.pop(digest, None)

    def versions(
        self, function: str, *, below: int | None = None, above: int | None = None, limit: int = 100
    ) -> list[tuple[int, int]]:
        """Return hints of a function's versions."""
        with self._lock:
            known = sorted(self._versions.get(function, []))
        if above is not None:
            return [v for v in known if v[0] > above][:limit]
        return [v for v in reversed(known) if below is None or v[0] < below][:limit]

    def write_report(self, process: str, report: bytes, ttl_s: float) -> None:
        """Write a process's report."""
        with self._lock:
            self._reports[process] = (report, time.monotonic() + ttl_s)
        self._ring(Ring(processes=frozenset({process})))

    def keep_report(self, process: str, ttl_s: float) -> bool:
        """Make a report live longer."""
        with self._lock:
            report, until = self._reports.get(process, (b"", 0.0))
            if until <= time.monotonic():
                return False
            self._reports[process] = (report, time.monotonic() + ttl_s)
            return True

    def remove_report(self, process: str) -> None:
        """Remove a report."""
        with self._lock:
            self._reports.pop(process, None)

    def reports(self) -> dict[str, bytes]:
        """Return the reports of all live processes."""
        now = time.monotonic()
        with self._lock:
            return {name: report for name, (report, until) in self._reports.items() if until > now}

    def first_seen(self, deployed: Iterable[str]) -> dict[str, int]:
        """Return when deployed code was first seen."""
        with self._lock:
            return {code: self._seen[code] for code in deployed if code in self._seen}

    def note_seen(self, deployed: Mapping[str, int]) -> None:
        """Note when deployed code was first seen."""
        with self._lock:
            self._seen = {**deployed, **self._seen}

    def digests(self, files: Sequence[str]) -> list[dict[str, str]]:
        """Return what was noted of the functions of files."""
        with self._lock:
            return [dict(self._digests.get(file, {})) for file in files]

    def note_digests(self, file: str, digests: Mapping[str, str]) -> None:
        """Note something of functions of a file."""
        with self._lock:
            self._digests.setdefault(file, {}).update(digests)

    def doorbell(self) -> MemoryDoorbell:
        """Return a doorbell on this store."""
        bell = MemoryDoorbell()
        with self._lock:
            self._bells.add(bell)
        return bell

    def _ring(self, ring: Ring) -> None:
        for bell in list(self._bells):
            bell.ring(ring)

    def close(self) -> None:
        """Do nothing: there is no connection."""


class MemoryDoorbell:
    """Rings for what happens in a `MemoryStore`."""

    works = True
    trouble = ""

    def __init__(self) -> None:
        """Begin without listening for anything."""
        self._changed = threading.Condition()
        self._log = False
        self._processes: frozenset[str] = frozenset()
        self._rung = Ring()

    def listen(self, *, log: bool = True, processes: Iterable[str] = ()) -> None:
        """Ring for exactly this from now on."""
        with self._changed:
            self._log, self._processes = log, frozenset(processes)
            self._rung = Ring(woken=self._rung.woken)

    def ring(self, ring: Ring) -> None:
        """Take a ring of the store, if it is listened for."""
        with self._changed:
            self._rung = Ring(
                log=self._rung.log or (ring.log and self._log),
                processes=self._rung.processes | (ring.processes & self._processes),
                woken=self._rung.woken or ring.woken,
            )
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> Ring:
        """Block until a ring, a wake, or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._rung), timeout_s)
            rung, self._rung = self._rung, Ring()
            return rung

    def check(self, *, suspect: bool = False) -> None:
        """Do nothing: it always works."""

    def wake(self) -> None:
        """Make `wait` return."""
        self.ring(Ring(woken=True))
