"""The follower: takes this process's functions to the tip of the log, one step at a time.

Not here: waiting, connecting and reporting (`agent`), what to run (`plan`). Belongs to one thread;
others may read `failures`.

Invariants
1. A step ends with every function at the tip, or with a failure that says why not; while modules
   with tracked functions are being imported, `sequence` stays where it was.
2. However many releases were missed, functions are switched once: no version that is old by now
   runs in between.
3. Nothing that a version does while it is linked reaches anybody but its refusal.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from scatter import apply
from scatter.apply import Prepared
from scatter.homes import is_importing
from scatter.log import Journal
from scatter.model import Change, Refusal, Release
from scatter.registry import Registry
from scatter.slot import Linked, Slot
from scatter.verbs import attach
from scatter_agent import plan
from scatter_agent.plan import Failure, Running, View
from scatter_agent.tell import tell

IMPORT_PATIENCE_S = 5.0
"""How long a module may take to be imported; one that takes longer is running its program."""


class Follower:
    """One process's way through one log.

    Attributes:
        failures: Function → what was refused and still stands.
        floor: Function → sequence at which its code was defined anew in this process.
        sequence: Last release applied or refused.
        switched_at: When something was last switched, seconds since the epoch; 0: never.
        switches: How often something was.
        waits_for_import: Some functions belong to modules that are still being imported.
        was_overtaken: Somebody moved a function while its version was linked: step again.

    """

    def __init__(self, registry: Registry, working: AbstractContextManager[Any]) -> None:
        """Begin before the first release; `working` is held while a version is linked."""
        self.failures: Mapping[str, Failure] = {}
        self.floor: dict[str, int] = {}
        self.sequence = 0
        self.switched_at = 0.0
        self.switches = 0
        self.waits_for_import = False
        self.was_overtaken = False
        self._importing: dict[str, float] = {}
        self._registry = registry
        self._working = working

    def __repr__(self) -> str:
        return f"<Follower at release {self.sequence}, {len(self.failures)} refused>"

    def step(self, journal: Journal, releases: Sequence[Release]) -> None:
        """Bring the process to what the journal knows.

        Args:
            journal: Caught up.
            releases: What was read since the last step.

        """
        self._note_redefined(journal.ledger.sequence)
        view = self._view(journal)
        view = replace(view, failures=plan.still_open(view))
        changes = plan.goal(view)
        failures = view.failures
        self.was_overtaken = False
        if changes:
            with self._working:
                failures = self._move(journal, view, changes, releases)
            view = replace(self._view(journal), failures=failures)
            failures = plan.still_open(view)
        self._tell_new(failures)
        self.failures = failures
        if not (self.waits_for_import or self.was_overtaken):
            self.sequence = journal.ledger.sequence

    def redefined(self, slot: Slot, sequence: int) -> None:
        """Note that a function was defined anew here: what was released before is older."""
        self.floor[slot.name] = sequence

    def _note_redefined(self, sequence: int) -> None:
        """Give a floor to what was defined anew before the log was known."""
        for name, slot in self._registry.slots().items():
            if slot.redefined and name not in self.floor:
                self.floor[name] = sequence

    def next_retry(self) -> float | None:
        """Return when something is to be tried again, by `time.monotonic`; None: not by itself."""
        return plan.next_retry(self.failures.values())

    def refusals(self) -> tuple[Refusal, ...]:
        """Return what was refused, as reports have it."""
        return tuple(
            Refusal(function=name, version=f.version, reason=f.reason, message=f.message)
            for name, f in sorted(self.failures.items())
        )

    def _view(self, journal: Journal) -> View:
        """Return what the planner decides from; functions that are being imported come later."""
        running = {
            name: Running(
                version=slot.version, bundle=slot.bundle, held=slot.held, fetched=slot.fetched
            )
            for name, slot in self._imported()
        }
        return View(
            running=running,
            functions=journal.ledger.functions,
            failures=self.failures,
            floor=self.floor,
            now=time.monotonic(),
        )

    def _imported(self) -> Iterator[tuple[str, Slot]]:
        """Yield the slots whose modules are whole: a version bound to half a one lacks names."""
        self.waits_for_import = False
        now = time.monotonic()
        for name, slot in self._registry.slots().items():
            if not is_importing(slot.function):
                self._importing.pop(name, None)
            elif now - self._importing.setdefault(name, now) < IMPORT_PATIENCE_S:
                self.waits_for_import = True
                continue
            yield name, slot

    def _move(
        self, journal: Journal, view: View, changes: Sequence[Change], releases: Sequence[Release]
    ) -> Mapping[str, Failure]:
        """Go to the tip in one switch.

        If something in it will not run, the way is tried release by release, each whole or not at
        all; what is the newest that runs of each function is then switched to, in one go too.
        """
        prepared = self._prepare(journal, changes)
        if not prepared.refusals:
            self._switch(journal, prepared, changes)
            return view.failures
        failures, newest = dict(view.failures), dict[str, Change]()
        linked: dict[str, Linked] = {}
        for sequence, step in plan.stepwise(view, releases):
            prepared = self._prepare(journal, step, linked)
            refusals = {r.function: r for r in prepared.refusals}
            failures |= _failures(view, step, sequence, refusals)
            if not refusals:
                newest |= {change.function: change for change in step}
                linked |= prepared.linked
        if newest:
            self._switch(journal, self._prepare(journal, tuple(newest.values())), newest.values())
        return failures

    def _prepare(
        self,
        journal: Journal,
        changes: Sequence[Change],
        after: Mapping[str, Linked] = apply.NOTHING,
    ) -> Prepared:
        asked, lookup = apply.wanted(self._registry, journal, changes)
        return apply.prepare(self._registry, asked, lookup, after)

    def _switch(self, journal: Journal, prepared: Prepared, changes: Iterable[Change]) -> None:
        """Switch, unless somebody has moved or held one of the functions meanwhile."""
        if not apply.switch(self._registry, prepared, careful=True):
            self.was_overtaken = True
            return
        self.switched_at = time.time()
        self.switches += 1
        for name, function in prepared.fetched.items():
            attach(function, name)
        for change in changes:
            self._registry.saw(change.function, change.version)
        versions = {c.function: c.version for c in changes}
        tell("info", "scatter.applied", sequence=journal.ledger.sequence, functions=versions)

    def _tell_new(self, failures: Mapping[str, Failure]) -> None:
        """Make an event of each refusal, once."""
        for name, failure in sorted(failures.items()):
            before = self.failures.get(name)
            if before is None or replace(before, retry_at=None, tries=1) != replace(
                failure, retry_at=None, tries=1
            ):
                tell(
                    "warning",
                    "scatter.refused",
                    function=name,
                    version=failure.version,
                    reason=failure.reason,
                    detail=failure.message,
                )


def _failures(
    view: View, step: Sequence[Change], sequence: int, refusals: Mapping[str, Refusal]
) -> dict[str, Failure]:
    """Return what to remember of a step; a release with a refused part is refused whole."""
    if not refusals:
        return {}
    culprits = ", ".join(f"`{name}`" for name in sorted(refusals))
    together = f"It was released with {culprits}, which was refused."
    reasons = [refusal.reason for refusal in refusals.values()]
    found = {}
    for change in step:
        refusal = refusals.get(change.function)
        reason = refusal.reason if refusal else plan.RELEASED_TOGETHER
        message = refusal.message if refusal else together
        found[change.function] = plan.failed(view, change, sequence, reason, message, reasons)
    return found
