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
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple

from scatter import apply
from scatter.apply import NOTHING, Prepared
from scatter.homes import is_importing
from scatter.locks import ForkSafeLock
from scatter.log import Journal
from scatter.model import Change, FunctionState, Refusal, Release
from scatter.names import SHIPPED
from scatter.registry import Registry
from scatter.slot import Linked, Slot
from scatter.verbs import attach
from scatter_agent import plan
from scatter_agent.deployed import Deployed
from scatter_agent.plan import Failure, Running, View
from scatter_agent.tell import tell
from scatter_agent.terms import AT_ONCE, Switch, Terms
from scatter_agent.trials import Trials

IMPORT_PATIENCE_S = 5.0
"""How long a module may take to be imported; one that takes longer is running its program."""
MOST_UNAPPLIED = 10_000
"""Releases remembered while their switch is left to `apply`; older ones are not tried singly."""


class Follower:
    """One process's way through one log.

    Attributes:
        failures: Function → what was refused and still stands.
        floor: Function → sequence at which its code was defined anew in this process.
        deployed: What the process was deployed with.
        sequence: Last release applied or refused.
        switched_at: When something was last switched, seconds since the epoch; 0: never.
        switches: How often something was.
        trials: The temporary versions that run here, or have run.
        waits_for_import: Some functions belong to modules that are still being imported.
        was_overtaken: Somebody moved a function while its version was linked: step again.

    """

    def __init__(
        self,
        registry: Registry,
        working: AbstractContextManager[Any],
        terms: Terms = AT_ONCE,
        trials: Trials | None = None,
    ) -> None:
        """Begin before the first release.

        Args:
            registry: The process's registry.
            working: Held while a version is linked.
            terms: Whether to switch at once or to leave that to `apply`; whom to tell.
            trials: The temporary versions that the life before ran.

        """
        self.deployed: Deployed | None = None
        self._terms = terms
        self._prepared: _Move | None = None
        self._applying = ForkSafeLock()
        self.failures: Mapping[str, Failure] = {}
        self.floor: dict[str, int] = {}
        self.sequence = 0
        self.switched_at = 0.0
        self.switches = 0
        self.waits_for_import = False
        self.was_overtaken = False
        self._importing: dict[str, float] = {}
        self._known: Mapping[str, FunctionState] = {}
        self._unapplied: list[Release] = []
        self._registry = registry
        self._working = working
        self.trials = trials or Trials(registry)

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
        self._known = journal.functions()
        changes = plan.goal(view)
        failures = view.failures
        self.was_overtaken = False
        self._unapplied = [*self._unapplied, *releases][-MOST_UNAPPLIED:]
        over = self.trials.note(journal)
        is_wanted = self._prepared and self._still_wanted(self._prepared, journal, changes)
        if over or not is_wanted:
            self._prepared = None
        if changes and self._prepared is None:
            with self._working:
                failures = self._move(journal, view, changes, self._unapplied)
            view = replace(self._view(journal), failures=failures)
            failures = plan.still_open(view)
        self._leave_trials(journal, view)
        self._tell_new(failures)
        self.failures = failures
        if not self._prepared:
            self._unapplied = []
        is_there = not (self.waits_for_import or self.was_overtaken or self._prepared)
        if is_there and journal.ledger.sequence:  # else it runs what was kept of the log
            self.sequence = journal.ledger.sequence
        self.trials.provide(journal)

    def _leave_trials(self, journal: Journal, view: View) -> None:
        """Go back from temporary versions that are not in force and run all the same.

        So it is where what was released over them was refused here.
        """
        left = () if self._prepared else self.trials.left(view)
        if not left:
            return
        with self._working:
            prepared = self._prepare(journal, left)
            if not prepared.refusals:
                self._take(_Move(prepared, left, journal.ledger.sequence))

    def _still_wanted(self, move: _Move, journal: Journal, changes: Sequence[Change]) -> bool:
        """Return whether what waits for `apply` is still the way to the tip."""
        if move.sequence != journal.ledger.sequence or (changes and {*changes} != {*move.changes}):
            return False
        slots = self._registry.slots()
        return not any(slots[c.function].held for c in move.changes if c.function in slots)

    def begin_anew(self, sequence: int) -> None:
        """Follow a log that took the place of the one before; what runs goes on.

        Args:
            sequence: Its newest release; code that was defined anew here is newer.

        """
        self.failures = {}
        self.floor = dict.fromkeys(self.floor, sequence)
        self._prepared, self._unapplied = None, []

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
        return tuple(_refusal(name, failure) for name, failure in sorted(self.failures.items()))

    def _view(self, journal: Journal) -> View:
        """Return what the planner decides from; functions that are being imported come later."""
        functions = journal.functions()
        running = {
            name: Running(
                version=slot.version, bundle=slot.bundle, held=slot.held, fetched=slot.fetched
            )
            for name, slot in self.whole().items()
            if name in functions
        }
        floor, is_temporary = self._floors(), bool(journal.ledger.temporary)
        return View(
            running=running,
            functions=functions if not is_temporary else plan.where_deployed(functions, floor),
            failures=self.failures,
            floor=floor,
            now=time.monotonic(),
        )

    def _floors(self) -> Mapping[str, int]:
        deployed = self.deployed.floor if self.deployed is not None else {}
        both = deployed.keys() & self.floor.keys()
        return {**deployed, **self.floor} | {n: max(deployed[n], self.floor[n]) for n in both}

    def superseded(self) -> tuple[str, ...]:
        """Return the functions whose live version is older than what was deployed."""
        if self.deployed is None:
            return ()
        deployed, known = self.deployed, self._known
        states = ((n, known[n]) for n in self._registry.slots() if n in known)
        return tuple(
            name
            for name, state in states
            if state.version
            and state.sequence <= deployed.floor.get(name, 0)
            and state.live.bundle != deployed.digests.get(name)
        )

    def whole(self) -> Mapping[str, Slot]:
        """Return the functions of this process, those of half-imported modules left out."""
        slots, half = self._registry.slots(), self._half_imported()
        if not half:
            return slots
        return {name: slot for name, slot in slots.items() if slot.function.__module__ not in half}

    def pending(self) -> Mapping[str, int]:
        """Return function → version that is prepared, and waits for `apply`."""
        move = self._prepared
        return {c.function: c.version or SHIPPED for c in move.changes} if move else {}

    def apply(self) -> Mapping[str, int]:
        """Switch to what is prepared; return function → version. Any thread, waits for nothing."""
        with self._applying:
            move, self._prepared = self._prepared, None
            if move is None or not self._switch(move):
                return {}
        return {c.function: c.version or SHIPPED for c in move.changes}

    def _half_imported(self) -> frozenset[str]:
        """Return the modules that are not whole: a version bound to half a one lacks names.

        One whose import takes long is running its program.
        """
        now = time.monotonic()
        found = filter(is_importing, self._registry.modules)
        self._importing = {module: self._importing.get(module, now) for module in found}
        half = (m for m, since in self._importing.items() if now - since < IMPORT_PATIENCE_S)
        modules = frozenset(half)
        self.waits_for_import = bool(modules)
        return modules

    def _move(
        self, journal: Journal, view: View, changes: Sequence[Change], releases: Sequence[Release]
    ) -> Mapping[str, Failure]:
        """Go to the tip in one switch.

        If something in it will not run, the way is tried release by release, each whole or not at
        all; what is the newest that runs of each function is then switched to, in one go too.
        """
        prepared = self._prepare(journal, changes)
        if not prepared.refusals:
            self._take(_Move(prepared, tuple(changes), journal.ledger.sequence))
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
            best = tuple(newest.values())
            self._take(_Move(self._prepare(journal, best), best, journal.ledger.sequence))
        return failures

    def _take(self, move: _Move) -> None:
        """Switch, or leave that to `apply`."""
        if self._terms.manual:
            self._prepared = move
        else:
            self._switch(move)

    def _prepare(
        self,
        journal: Journal,
        changes: Sequence[Change],
        after: Mapping[str, Linked] = NOTHING,
    ) -> Prepared:
        asked, lookup = apply.wanted(self._registry, journal, changes)
        return apply.prepare(self._registry, asked, lookup, after)

    def _switch(self, move: _Move) -> bool:
        """Switch, unless somebody has moved or held one of the functions meanwhile."""
        names = [change.function for change in move.changes]
        slots = self._registry.slots()
        before = {name: slots[name].version for name in names if name in slots}
        if not apply.switch(self._registry, move.prepared, careful=True):
            self.was_overtaken = True
            return False
        self.switched_at = time.time()
        self.switches += 1
        for name, function in move.prepared.fetched.items():
            attach(function, name)
        for change in move.changes:
            self._registry.saw(change.function, change.version)
        versions = {c.function: c.version or SHIPPED for c in move.changes}
        tell("info", "scatter.applied", sequence=move.sequence, functions=versions)
        switch = Switch(sequence=move.sequence, versions=versions, before=before)
        self._terms.callbacks.switched(switch)
        return True

    def _tell_new(self, failures: Mapping[str, Failure]) -> None:
        """Make an event of each refusal, once."""
        for name, failure in sorted(failures.items()):
            before = self.failures.get(name)
            if before is not None and _first_try(before) == _first_try(failure):
                continue
            refusal = _refusal(name, failure)
            self._terms.callbacks.refused(refusal)
            tell(
                "warning",
                "scatter.refused",
                function=name,
                version=refusal.version,
                reason=refusal.reason,
                detail=refusal.message,
            )


def _refusal(name: str, failure: Failure) -> Refusal:
    return Refusal(
        function=name, version=failure.version, reason=failure.reason, message=failure.message
    )


def _first_try(failure: Failure) -> Failure:
    """Return a failure without what trying again changes."""
    return replace(failure, retry_at=None, tries=1)


class _Move(NamedTuple):
    """A step that is prepared: what to switch to, for which changes, at which release."""

    prepared: Prepared
    changes: tuple[Change, ...]
    sequence: int


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
