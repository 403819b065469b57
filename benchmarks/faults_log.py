"""What the log had, in truth: read from the server by the run itself, entry by entry.

Where a log was replaced (emptied, cut, restored), another era begins, and the logs are laid end to
end. Not here: what the workers made of them (`faults_judge`).
"""

from __future__ import annotations

import bisect
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.faults_app import SHORTS
from scatter.log import Ledger
from scatter.store.link import Link
from scatter.trust import Unsigned


@dataclass(frozen=True)
class Entry:
    """One release.

    Attributes:
        sequence: Its number in its log.
        data: As the server has it.
        changes: Function, short → (version, stamp).
        poison: Those of them that cannot link.

    """

    sequence: int
    data: bytes
    changes: dict[str, tuple[int, int]]
    poison: frozenset[str]


@dataclass
class Record:
    """All logs of the run.

    Attributes:
        stamps: Digest of a bundle → its stamp.
        poison: Digests of bundles that cannot link.
        eras: The logs, oldest first.
        tips: (moment, era, sequence) of each tip that was known to be reached, in order.

    """

    admin: Link
    namespace: str
    stamps: dict[str, int] = field(default_factory=dict)
    poison: set[str] = field(default_factory=set)
    eras: list[list[Entry]] = field(default_factory=lambda: [[]])
    tips: list[tuple[float, int, int]] = field(default_factory=list)

    def read(self) -> None:
        """Read what is new; begin another era where the log is another one."""
        key = f"scatter:{{{self.namespace}}}:log"
        (count,) = self.admin.run([("HLEN", key)])
        era = self.eras[-1]
        if era:
            (last,) = self.admin.run([("HGET", key, era[-1].sequence)])
            if last != era[-1].data:
                era = []
                self.eras.append(era)
                self.reached(time.time(), 0)
        while len(era) < count:
            wanted = range(len(era) + 1, min(count, len(era) + 500) + 1)
            (found,) = self.admin.run([("HMGET", key, *wanted)])
            era += [self._entry(data, n) for n, data in zip(wanted, found, strict=True)]

    def _entry(self, data: bytes, sequence: int) -> Entry:
        release = Ledger(self.namespace, Unsigned()).open(data)[0]
        assert release.sequence == sequence, (release, sequence)
        changes = {
            SHORTS[c.function]: (c.version or 0, self.stamps[c.bundle] if c.bundle else 0)
            for c in release.changes
        }
        poison = {SHORTS[c.function] for c in release.changes if c.bundle in self.poison}
        return Entry(sequence, data, changes, frozenset(poison))

    def reached(self, moment: float, sequence: int) -> None:
        """Note that a release was in the log by then."""
        self.tips.append((moment, len(self.eras) - 1, sequence))

    def tip_at(self, moment: float) -> tuple[int, int]:
        """Return (era, sequence) of the newest release that was there by then."""
        at = bisect.bisect(self.tips, (moment, 1 << 60, 0)) - 1
        return self.tips[at][1:] if at >= 0 else (0, 0)

    def live(self, era: int = -1, sequence: int | None = None) -> dict[str, tuple[int, int, int]]:
        """Return function → (version, stamp, release) as of a release of an era."""
        found: dict[str, tuple[int, int, int]] = {}
        for entry in self.eras[era][:sequence]:
            found |= {n: (*change, entry.sequence) for n, change in entry.changes.items()}
        return found

    @property
    def releases(self) -> int:
        """How many releases there were, those that came again in a cut log counted once."""
        return len({entry.data for era in self.eras for entry in era})

    def counts(self) -> dict[str, Any]:
        poisoned = {e.data for era in self.eras for e in era if e.poison}
        return {"releases": self.releases, "logs": len(self.eras), "poisoned": len(poisoned)}
