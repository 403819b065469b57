"""The temporary versions that this process runs or has run, and what it needs to leave them.

Not here: when they are over (`scatter.log.leases`), what runs then (`plan`), the switch
(`follower`). Belongs to the agent's thread.

Invariants
1. Whoever runs a temporary version has the code that comes after it at hand: to leave it, no store
   is needed.
2. A version that is not in force any more is left, also where what was released over it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from scatter.bundle import decode
from scatter.errors import Refused
from scatter.log import Journal
from scatter.model import Change, FunctionState
from scatter.names import SHIPPED
from scatter.registry import Registry
from scatter_agent.plan import View
from scatter_agent.tell import tell


class Trials:
    """Temporary versions, from when they are first seen in force until they run no more."""

    def __init__(self, registry: Registry) -> None:
        """Know of none.

        Args:
            registry: The process's registry.

        """
        self._registry = registry
        self._states: dict[str, FunctionState] = {}
        self._told: set[tuple[str, int]] = set()
        self._provided: object = None  # for what all is at hand

    def __repr__(self) -> str:
        return f"<Trials of {', '.join(sorted(self._states)) or 'nothing'}>"

    def note(self, journal: Journal) -> bool:
        """Take note of what is in force, and say what is over.

        Args:
            journal: Caught up.

        Returns:
            Whether something is over since the last time.

        """
        ledger = journal.ledger
        if not (ledger.temporary or self._states):
            return False
        current, slots = journal.current(), self._registry.slots()
        over = [s for n, s in self._states.items() if n in current and _is_over(s, current[n])]
        told = {(s.function, s.sequence) for s in over}
        new = [s for s in over if (s.function, s.sequence) not in self._told]
        self._told = told
        if new:
            functions = {s.function: s.version or SHIPPED for s in new}
            tell("info", "scatter.expired", functions=functions)
        found = (current[name] for name in ledger.temporary if name in slots)
        self._states |= {state.function: state for state in found if state.expires}
        return bool(new)

    def left(self, view: View) -> tuple[Change, ...]:
        """Return what to run in place of temporary versions that run and are not in force.

        Args:
            view: After what the log asks for was done, as far as it can be.

        """
        changes = list[Change]()
        for name, state in list(self._states.items()):
            running, now = view.running.get(name), view.functions.get(name)
            runs = running is not None and (running.version, running.bundle) == _code(state)
            if now is not None and now.expires:
                continue
            if running is None or running.held:
                continue  # a module is being imported, or somebody wants it so
            if runs and state.fallback and (now is None or _code(now) != _code(state)):
                is_newer = view.floor.get(name, 0) >= state.fallback.sequence
                shipped = Change(function=name, version=SHIPPED)
                changes.append(shipped if is_newer else state.fallback.live)
            else:  # only what runs no more is forgotten: a switch can come to nothing
                del self._states[name]
        return tuple(changes)

    def provide(self, journal: Journal) -> None:
        """Have the code at hand that comes after what is temporary here.

        Raises:
            StoreUnavailable: It cannot be had now.

        """
        functions, temporary = journal.ledger.functions, journal.ledger.temporary
        if not (temporary or journal.retained):
            return
        asked = frozenset((name, functions[name].sequence) for name in temporary)
        if self._provided != (journal, asked, len(self._registry.slots())):
            needed = dict.fromkeys(self._needed(journal))
            journal.retain(needed)
            is_whole = all(change.bundle in journal.retained for change in needed if change.bundle)
            there = journal, asked, len(self._registry.slots())
            self._provided = there if is_whole else None

    def _needed(self, journal: Journal) -> Iterator[Change]:
        """Yield what comes after temporary versions, and what it calls that is not here yet."""
        slots, known = self._registry.slots(), journal.current()
        temporary = (journal.ledger.functions[name] for name in sorted(journal.ledger.temporary))
        todo = [s.fallback.live for s in temporary if s.function in slots and s.fallback]
        seen = {change.function for change in todo}
        while todo:
            change = todo.pop()
            yield change
            for name in _called(journal, change) - seen - slots.keys():
                seen.add(name)
                todo += [known[name].live] if name in known else []


def _called(journal: Journal, change: Change) -> set[str]:
    """Return the tracked functions that a version calls; none if its code cannot be had."""
    data = journal.bundles([change]).get(change.bundle)
    try:
        items = decode(data).items if data is not None else ()
    except Refused:
        return set()
    return {item.source for item in items if item.kind == "tracked"}


def _is_over(state: FunctionState, now: FunctionState) -> bool:
    return now.lapsed == state.sequence


def _code(state: FunctionState) -> tuple[int, str]:
    return state.version or SHIPPED, state.live.bundle
