"""The store port: where releases and bundles are kept. Bytes and records, nothing callable.

Implementations: `MemoryStore` (here in the process), `RedisStore`. One contract suite
(`tests/test_store_contract.py`) runs on each. `DirectoryStore` keeps what concerns reading, which
is a suite of its own that all three pass, and refuses the rest.

Contract
1. **Ordering.** Entries are numbered 1, 2, 3 … without gaps and never change once written.
2. **Compare-and-swap.** `append` writes entry N only if there are N-1; of any number of
   concurrent callers exactly one gets True. A caller that loses has changed no entry; it may
   have written bundles (harmless: they are addressed by content) and hints.
3. **Hints** (`versions`, `snapshot`, `recent`, `processes`) may be missing, late or wrong. Callers
   check what they find against the log.
4. **Nothing is checked here.** Whoever reads verifies form, chain, sizes and hashes.
5. **Failure.** `StoreUnavailable` when it cannot be reached in time, `StoreRefused` when it
   denies the command; no exception of a client library ever leaves a store. After a failed
   `append` the entry is either written or not; the caller reads to find out.
6. **Concurrency.** Any thread may call any method. After a fork a child may go on using its copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What `Store.read` found.

    Attributes:
        entries: Envelopes of the releases after the asked sequence, in order, without a gap.
        tip: Highest sequence in the log at that moment (0: empty). More than
            `after + len(entries)` when the read was cut at its limit; less than `after` when the
            log went backwards. A read that brings `recent` along may leave both open.
        recent: Digest → bundle bytes of the newest release, where they were asked for and the
            store had them at hand.
        snapshot: Sequence of the newest release known to carry a snapshot (0: none). A hint, and
            looked up only by who begins, after sequence 0.

    """

    entries: tuple[bytes, ...]
    tip: int
    recent: Mapping[str, bytes] = field(default_factory=dict)
    snapshot: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What `append` may leave behind for faster look-ups.

    Attributes:
        versions: Function → number of the version that this release created.
        forget: Function → version numbers that this release removed (all of them if empty).
        remove: Digests of bundles that no version needs after this release. No hint but an order:
            they are gone when the entry is there, and stay when it is not.
        snapshot: True when this release carries a snapshot.

    """

    versions: Mapping[str, int] = field(default_factory=dict)
    forget: Mapping[str, Sequence[int]] = field(default_factory=dict)
    remove: Iterable[str] = ()
    snapshot: bool = False


NO_HINTS = Hints()


class Store(Protocol):
    """A namespace's log, bundles and process reports. See the module for the contract."""

    @property
    def namespace(self) -> str:
        """The one namespace that this store object reads and writes."""
        ...

    @property
    def address(self) -> str:
        """Where the store is, for people: no password in it."""
        ...

    def read(
        self, after: int, limit: int = 64, *, recent: bool = False, to_append: bool = False
    ) -> Tail:
        """Return up to `limit` entries after sequence `after`: one round trip.

        Args:
            after: Sequence of the last entry that the caller knows.
            limit: How many entries at most.
            recent: Bring the newest release's bundles along, for who expects to need them.
            to_append: The caller is about to append: lets `append` do without a look of its own.

        """
        ...

    def entries(self, sequences: Sequence[int]) -> list[bytes | None]:
        """Return the entry at each sequence, None where there is none: one round trip."""
        ...

    def append(
        self, sequence: int, entry: bytes, bundles: Mapping[str, bytes], hints: Hints = NO_HINTS
    ) -> bool:
        """Write bundles, hints and entry `sequence` in one transaction: one round trip.

        It is one round trip after a `read` to append, or after an append, and two otherwise.

        Returns:
            False when `sequence` is not the next one: the race is lost (or the log was).

        """
        ...

    def cut(self, after: int) -> None:
        """Remove all entries of the log but those from 1 to `after`: nobody can believe them.

        Bundles and hints stay.
        """
        ...

    def bundles(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return the bundles that exist among `digests`: one round trip."""
        ...

    def remove_bundles(self, digests: Iterable[str]) -> None:
        """Remove bundles (after a release said so). Missing ones are no error."""
        ...

    def versions(
        self, function: str, *, below: int | None = None, above: int | None = None, limit: int = 100
    ) -> list[tuple[int, int]]:
        """Return hints (version, sequence of the release that created it): one round trip.

        With `above`, versions greater than it, ascending; else versions less than `below`
        (all, if None), descending. At most `limit`. A version may be listed with several
        sequences, of which at most one is right.
        """
        ...

    def write_report(self, process: str, report: bytes, ttl_s: float) -> None:
        """Write what process `process` runs; it vanishes after `ttl_s` seconds."""
        ...

    def keep_report(self, process: str, ttl_s: float) -> bool:
        """Make a report live `ttl_s` seconds from now; False when it is gone."""
        ...

    def remove_report(self, process: str) -> None:
        """Remove a process's report. Missing is no error."""
        ...

    def reports(self) -> dict[str, bytes]:
        """Return process id → report of every live process: at most two round trips."""
        ...

    def first_seen(self, deployed: Iterable[str]) -> dict[str, int]:
        """Return the sequence at which each piece of deployed code was first seen: one round trip.

        Those that were never seen are left out.
        """
        ...

    def note_seen(self, deployed: Mapping[str, int]) -> None:
        """Note when deployed code was first seen. What was noted before stays: one round trip."""
        ...

    def digests(self, files: Sequence[str]) -> list[dict[str, str]]:
        """Return, for each text of a file, what was noted of its functions: one round trip.

        Hints, like `versions`.
        """
        ...

    def note_digests(self, file: str, digests: Mapping[str, str]) -> None:
        """Note something of functions of a text of a file, for who starts with it next."""
        ...

    def doorbell(self) -> Doorbell:
        """Return a new doorbell, which shares this store's connection."""
        ...

    def close(self) -> None:
        """Let go of connections. Idempotent; the store may be used again and reconnects."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Why `Doorbell.wait` returned. All false: the time was up.

    Attributes:
        log: Something was written to the log (or may have been: spurious rings are allowed).
        processes: Processes whose report changed.
        woken: `wake` was called.

    """

    log: bool = False
    processes: frozenset[str] = frozenset()
    woken: bool = False

    def __bool__(self) -> bool:
        return self.log or self.woken or bool(self.processes)


class Doorbell(Protocol):
    """Waits for something to happen in a store. A hint only: rings may be lost or repeated.

    One thread listens and waits; any thread may `wake` it. A doorbell shares its store's
    connection, so that thread must be the only one to use that store object.
    """

    @property
    def works(self) -> bool:
        """False when notifications cannot be had: the caller must look often by itself."""
        ...

    @property
    def trouble(self) -> str:
        """Why `works` is False, and what to do; empty otherwise."""
        ...

    def listen(self, *, log: bool = True, processes: Iterable[str] = ()) -> None:
        """Connect if needed, and ring for exactly this from now on.

        Called again after every `StoreUnavailable`; whatever was written before it returned
        must be read, since nothing will ring for it.
        """
        ...

    def wait(self, timeout_s: float) -> Ring:
        """Block until a ring, a `wake`, or the time is up; several rings come as one.

        Raises:
            StoreUnavailable: The connection is lost; call `listen` again.

        """
        ...

    def check(self, *, suspect: bool = False) -> None:
        """Find out anew whether notifications can be had, where that is one round trip at most.

        Args:
            suspect: Something was found that did not ring: take the time to find out.

        Raises:
            StoreUnavailable: The connection is lost.

        """
        ...

    def wake(self) -> None:
        """Make the current or next `wait` return at once. Any thread, never blocks."""
        ...
