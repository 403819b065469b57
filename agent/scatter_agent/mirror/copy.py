"""A mirror's copy of one namespace, kept by an agent at the end of each turn.

Not here: the log (`chain`), reports (`relay`), writing (`scatter.store.writer`).

Invariants
1. Only what the agent's journal believes is written.
2. Whatever goes wrong with the directory is told, and tried again; the last good state stays, and
   the agent goes on.
3. What was needed a moment ago is not removed yet: somebody may be reading it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from scatter.errors import ScatterError, StoreUnavailable
from scatter.log import Journal
from scatter.store.directory import DirectoryStore
from scatter.store.layout import SCHEME, read_tip
from scatter.store.outbox import FOLDER
from scatter.store.writer import Writer, translated
from scatter.trust import Verifier
from scatter_agent.mirror.chain import Known, copy_log
from scatter_agent.mirror.relay import Relay
from scatter_agent.tell import tell

GRACE_S = 60.0
"""How long a bundle stays after it was last needed."""


class Copy:
    """One namespace in a mirror's directory; an agent's `Keeper`.

    Attributes:
        was_read: True: an agent of a mirror never starts from its copy.
        functions: How many functions have a live version.
        sequence: Newest release that is there.
        trouble: Why the directory is not up to date; empty if it is.

    """

    was_read = True

    def __init__(self, folder: Path, namespace: str, on_change: Callable[[], object]) -> None:
        """Remember where; nothing is made yet.

        Args:
            folder: Holds a folder for each namespace.
            namespace: The namespace.
            on_change: Called when one of the attributes changed, on the agent's thread.

        """
        self._namespace = namespace
        self._writer = Writer(folder, namespace, shared=True)
        self.reports = self._writer.folder / FOLDER
        self._relay = Relay(self._writer)
        self._on_change = on_change
        self._held = ExitStack()
        self._is_held = False
        self._known = Known()
        self._done: object = None
        self._needed_at: dict[str, float] = {}
        self.functions = self.sequence = 0
        self.trouble = ""

    def __repr__(self) -> str:
        return f"<Copy in {self._writer.folder} at release {self.sequence}>"

    def __bool__(self) -> bool:
        return True

    def journal(self, verifier: Verifier) -> Journal:
        """Return the log as it is in the directory; nothing is read yet."""
        store = DirectoryStore(self._writer.folder.parent, self._namespace)
        return Journal(store, verifier=verifier)

    def keep(
        self,
        journal: Journal,
        names: frozenset[str],  # noqa: ARG002 - all functions are mirrored
        seen: Mapping[str, int],  # noqa: ARG002 - questions are answered, one by one
        *,
        is_good: bool = True,
    ) -> None:
        """Bring the directory to where the journal is; relay what processes left there."""
        try:
            with translated(self._writer.folder):
                self._hold()
                if is_good:
                    self._keep(journal)
                self._relay.turn(journal.store, journal.ledger.sequence)
                self._writer.be_online(True)
        except ScatterError as error:
            self._say(str(error))
            self._let_go()
        else:
            self._say("")

    def be_offline(self) -> None:
        """Have nobody ask a server that cannot be asked."""
        try:
            self._writer.be_online(False)
        except OSError:
            pass  # it counts for a few seconds only

    def close(self) -> None:
        """Let others write. Idempotent."""
        self.be_offline()
        self._let_go()

    def _let_go(self) -> None:
        """Begin anew next time: nobody knows what the directory has now."""
        self._is_held, self._known, self._done = False, Known(), None
        self._held.close()

    def _hold(self) -> None:
        if self._is_held:
            self._writer.check()
            return
        if not self._held.enter_context(self._writer.writing()):
            self._held.close()
            raise StoreUnavailable(
                f"{self._writer.folder} is being written by another process. Stop that one, or "
                "give this one another directory.",
                url=f"{SCHEME}{self._writer.folder.parent}",
            )
        self._is_held = True
        self._writer.make_folder(self.reports, 0o1777)
        self._relay.begin()
        wrong = self._writer.mend()
        if wrong:
            tell("warning", "scatter.mended", namespace=self._namespace, bundles=len(wrong))
        self._needed_at = dict.fromkeys(self._writer.bundles(), time.monotonic())

    def _keep(self, journal: Journal) -> None:
        ledger, writer = journal.ledger, self._writer
        state = ledger.epoch, ledger.sequence, ledger.head
        tip = read_tip(writer.folder)
        if state == self._done and tip.sequence == ledger.sequence:
            return
        self._known = copy_log(journal, writer, self._known)
        needed = self._copy_bundles(journal)
        writer.finish(ledger.sequence, ledger.snapshot_sequence)
        self._drop(needed, ledger.sequence)
        self._done, self.sequence = state, ledger.sequence
        self.functions = sum(bool(s.live.bundle) for s in ledger.functions.values())
        tell("info", "scatter.mirrored", namespace=self._namespace, sequence=ledger.sequence)
        self._on_change()

    def _copy_bundles(self, journal: Journal) -> set[str]:
        """Fetch the bundles that are not there; return all that are needed."""
        ledger, writer = journal.ledger, self._writer
        live = ledger.needed()
        bundles = journal.bundles([change for change in live if not writer.has(change.bundle)])
        snapshot = self._snapshot(journal)
        if snapshot and not writer.has(snapshot):
            found = journal.store.bundles([snapshot])
            bundles |= {d: data for d, data in found.items() if _digest(data) == d}
        writer.add({}, bundles)
        return {*(change.bundle for change in live), snapshot}

    def _snapshot(self, journal: Journal) -> str:
        """Return the digest of the snapshot that reading begins at; empty if there is none."""
        sequence = journal.ledger.snapshot_sequence
        entry = self._writer.entry(sequence) if sequence else None
        return journal.ledger.open(entry, known=True).release.snapshot if entry else ""

    def _drop(self, needed: set[str], tip: int) -> None:
        now = time.monotonic()
        self._needed_at |= dict.fromkeys(needed, now)
        self._needed_at = {d: at for d, at in self._needed_at.items() if now - at < GRACE_S}
        self._writer.drop(self._needed_at, below=0, above=tip)

    def _say(self, trouble: str) -> None:
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if trouble:
            tell("warning", "scatter.not_mirrored", namespace=self._namespace, reason=trouble)
        self._on_change()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
