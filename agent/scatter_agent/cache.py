"""The last known good: what a process ran last, kept in a directory for a start without a server.

Written after each step that brought something new, read only when the store cannot be reached at
the start. Several processes share a directory: one of them writes, the others come along later.

Not here: the layout (`scatter.store.directory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from scatter.errors import ScatterError
from scatter.log import Journal
from scatter.store.directory import DirectoryStore
from scatter.store.writer import Writer
from scatter.trust import Verifier
from scatter_agent.tell import tell


class Keeper(Protocol):
    """Keeps what an agent knows: its own cache, or a whole mirror."""

    was_read: bool

    def __bool__(self) -> bool:
        """Whether anything is kept."""
        ...

    def journal(self, verifier: Verifier) -> Journal:
        """Return the log as it was when it was last kept."""
        ...

    def keep(
        self,
        journal: Journal,
        names: frozenset[str],
        seen: Mapping[str, int],
        *,
        is_good: bool = True,
    ) -> None:
        """Keep what is new; called at the end of each turn, and must not raise."""
        ...


class Cache:
    """One agent's copy of what it runs.

    Attributes:
        was_read: Whether `journal` was asked for.

    """

    def __init__(self, folder: str, namespace: str) -> None:
        """Remember where; an empty folder: nowhere, and nothing is done."""
        self._folder = folder
        self._namespace = namespace
        self._writer = Writer(folder, namespace)
        self._done: object = None
        self._replaced = 0
        self._trouble = ""
        self.was_read = False

    def __repr__(self) -> str:
        return f"<Cache in {self._folder or 'no directory'}>"

    def __bool__(self) -> bool:
        return bool(self._folder)

    def journal(self, verifier: Verifier) -> Journal:
        """Return the log as it was when it was last kept; nothing is read yet.

        Args:
            verifier: Decides what is believed of it: no more than of the store itself.

        """
        self.was_read = True
        return Journal(DirectoryStore(self._folder, self._namespace), verifier=verifier)

    def keep(
        self,
        journal: Journal,
        names: frozenset[str],
        seen: Mapping[str, int],
        *,
        is_good: bool = True,
    ) -> None:
        """Write what is new. What goes wrong is told once, and tried again next time.

        Args:
            journal: Caught up.
            names: Functions of this process, whose bundles are kept.
            seen: Deployed code → sequence at which it was first seen.
            is_good: The log could be believed; else nothing is kept.

        """
        state = (journal.ledger.head, names, dict(seen))
        if not (is_good and self._folder and journal.ledger.sequence) or state == self._done:
            return
        try:
            with self._writer.writing() as may_write:
                if may_write:
                    self._keep(journal, names, seen)
                    self._done, self._trouble = state, ""
        except ScatterError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                tell("warning", "scatter.not_cached", reason=self._trouble)

    def _keep(self, journal: Journal, names: frozenset[str], seen: Mapping[str, int]) -> None:
        ledger, writer = journal.ledger, self._writer
        if journal.replaced != self._replaced:
            self._replaced = journal.replaced
            writer.begin_anew()
        begin = ledger.snapshot_sequence
        absent = writer.missing(max(begin, 1), ledger.sequence)
        found = zip(absent, journal.store.entries(absent), strict=True)
        entries = {sequence: entry for sequence, entry in found if entry is not None}
        live = ledger.needed()
        needed = [c for c in live if c.function in names and not writer.has(c.bundle)]
        bundles = journal.bundles(needed)
        snapshot = self._snapshot(journal, begin, entries)
        if snapshot and not writer.has(snapshot):
            bundles |= journal.store.bundles([snapshot])
        writer.keep(entries, bundles, tip=ledger.sequence, snapshot=begin)
        writer.note_seen(seen)
        writer.drop({*(change.bundle for change in live), snapshot}, below=begin)

    def _snapshot(self, journal: Journal, sequence: int, entries: Mapping[int, bytes]) -> str:
        """Return the digest of the snapshot that reading begins at; empty if there is none."""
        if not sequence:
            return ""
        entry = entries.get(sequence) or self._writer.entry(sequence)
        return journal.ledger.open(entry, known=True).release.snapshot if entry else ""
