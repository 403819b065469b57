"""The course of one process along one log: what it runs, was deployed with, and keeps for later.

Not here: reading the log and reporting (`work`), the step to the tip (`follower`), since when
deployed code is known (`deployed`), the directory (`cache`).

Invariants
1. Functions that the log knows get their floor before the step that may switch them: no version
   older than what was deployed runs in between.
2. What is only for later comes after what somebody waits for (`finish`).
3. A log that took the place of another, a cache among them, leaves no floor of deployed code.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from scatter import bases
from scatter.errors import ScatterError
from scatter.log import Journal, Leases
from scatter.model import Release
from scatter.registry import Registry
from scatter.slot import Slot
from scatter.trust import Verifier
from scatter_agent import lifecycle
from scatter_agent.cache import Keeper
from scatter_agent.deployed import Deployed
from scatter_agent.follower import Follower
from scatter_agent.listen import IMPORT_S
from scatter_agent.tell import tell
from scatter_agent.terms import Terms


class Course:
    """One process's way, in one life of its agent.

    Attributes:
        follower: Takes the process's functions to the tip.
        deployed: What the process was deployed with.
        leases: When temporary versions are over here.
        distrusted: Functions whose live version was signed by keys that were revoked since.

    """

    def __init__(
        self,
        registry: Registry,
        terms: Terms,
        cache: Keeper,
        *,
        floor: Mapping[str, int],
        deployed: Deployed | None = None,
        before: Course | None = None,
    ) -> None:
        """Begin before the first release.

        Args:
            registry: The process's registry.
            terms: How the application wants to take versions.
            cache: Where the last known good is kept.
            floor: Function → sequence at which its code was defined anew in this process.
            deployed: What the process was deployed with, as far as that is known.
            before: That of the life before: what is temporary is left without a store, too, gets
                no more time, and is left also where what came meanwhile is refused.

        """
        self.deployed = deployed or Deployed(lifecycle.WORKING)
        trials = before.follower.trials if before else None
        self.follower: Follower = Follower(registry, lifecycle.WORKING, terms, trials)
        self.follower.deployed = self.deployed
        self.follower.floor = {**floor}
        self._registry = registry
        self._cache = cache
        self.distrusted: tuple[str, ...] = ()
        self._replaced = 0
        self.leases: Leases = before.leases if before else Leases()
        self._journal: Journal | None = before._journal if before else None  # followed last
        self._over: frozenset[str] = before._over if before else frozenset()  # was over then
        self._whole: Mapping[str, Slot] = {}  # functions as they were at the last step

    def __repr__(self) -> str:
        return f"<Course at release {self.follower.sequence}>"

    @property
    def is_at_tip(self) -> bool:
        """Whether nothing of the last step is left: no import, nobody who came in between."""
        return not (self.follower.waits_for_import or self.follower.was_overtaken)

    def due(self) -> float | None:
        """Return when there is something to do here, by `time.monotonic`; None: nothing is."""
        if self.follower.was_overtaken or self.deployed.is_behind or self._must_leave():
            return 0.0
        if self.follower.waits_for_import:
            return time.monotonic() + IMPORT_S
        moments = self.follower.next_retry(), self.next_end()
        return min((moment for moment in moments if moment is not None), default=None)

    def next_end(self) -> float | None:
        """Return when a temporary version is over, by `time.monotonic`; None: none ever is."""
        return None if self._journal is None else self.leases.next_end(self._journal.ledger)

    def leave_what_is_over(self) -> None:
        """Go back from temporary versions that are over. No store is needed.

        Raises:
            StoreUnavailable: It was needed all the same; what runs goes on.

        """
        if self._journal is not None and self._must_leave():
            self._follow(self._journal, [])

    def _must_leave(self) -> bool:
        """Return whether something is over since the last step."""
        return self._journal is not None and not (
            self._over >= self.leases.over(self._journal.ledger)
        )

    def _follow(self, journal: Journal, releases: Sequence[Release]) -> None:
        over = self.leases.over(journal.ledger)
        self.follower.step(journal, releases)
        self._over = over

    def advance(self, journal: Journal, releases: Sequence[Release], *, settled: bool) -> None:
        """Bring the process to what the journal knows.

        Args:
            journal: Caught up, as far as that went.
            releases: What was read since the last time.
            settled: It is believed to its end.

        Raises:
            StoreUnavailable: What it needs cannot be had now; what runs goes on.

        """
        if journal.replaced != self._replaced:
            self._begin_anew(journal)
        self._step(journal, releases, settled)

    def _step(self, journal: Journal, releases: Sequence[Release], settled: bool) -> None:
        self._journal, journal.leases = journal, self.leases
        ledger, self._whole = journal.ledger, self.follower.whole()
        known = ledger.functions
        self.deployed.look_up(journal.store, ledger.sequence, self._whole, known, settled=settled)
        self._follow(journal, releases)
        self._note_distrusted(journal)

    def _note_distrusted(self, journal: Journal) -> None:
        """Say of which functions here the live version was signed by keys that were revoked since.

        Whether that still runs, the policy says (`Journal.functions`).
        """
        before, own = self.distrusted, self._registry.slots()
        self.distrusted = tuple(name for name in journal.distrusted() if name in own)
        if self.distrusted and self.distrusted != before:
            dropped = journal.ledger.verifier.drops_distrusted
            tell("warning", "scatter.signer_revoked", functions=self.distrusted, dropped=dropped)

    def finish(self, journal: Journal, *, is_good: bool) -> None:
        """Do what nobody waits for: the rest of what was deployed, and keeping what is good."""
        with lifecycle.WORKING:
            bases.settle()
        self.deployed.look_up(journal.store, journal.ledger.sequence, self._whole, settled=is_good)
        if self._cache:
            names = frozenset(self._registry.slots())
            self._cache.keep(journal, names, self.deployed.seen(), is_good=is_good)

    def _begin_anew(self, journal: Journal) -> None:
        """Begin on a log that took the place of the one that was followed."""
        self._replaced = journal.replaced
        self.deployed.forget()
        self.follower.begin_anew(journal.ledger.sequence)
        tell("warning", "scatter.log_replaced", sequence=journal.ledger.sequence)

    def start_from_cache(self, verifier: Verifier) -> int | None:
        """Run what was good last, in a process that has not reached the store yet.

        Args:
            verifier: Decides what is believed of it.

        Returns:
            The release that it is at since; None: nothing is kept, it was tried before, or failed.

        """
        if not self._cache or self.follower.sequence or self._cache.was_read:
            return None
        try:
            with lifecycle.WORKING:
                lifecycle.load()
                journal = self._cache.journal(verifier)
                journal.catch_up()
                self._step(journal, [], settled=True)
        except ScatterError as error:
            tell("warning", "scatter.not_cached", reason=str(error))
            return None
        except Exception:
            tell("exception", "scatter.fault")
            return None
        finally:
            self.deployed.forget()
        tell("info", "scatter.from_cache", sequence=journal.ledger.sequence)
        return journal.ledger.sequence
