"""The way back when a log was lost, damaged or must not be believed any more: a reset.

A reset is a release that begins an epoch: it vouches for the state that it carries, and every
process follows it, whatever it knew before, if those who signed it may reset. It is written behind
the last entry that can be believed; what comes after that one in the store is removed.

Not here: who may reset (`scatter.trust.policy`), how processes find it (`scatter.log.journal`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from scatter.errors import ScatterError, Untrusted
from scatter.log import statement
from scatter.log.journal import Draft, Journal
from scatter.log.ledger import Ledger
from scatter.model import Release
from scatter.store.port import Store
from scatter.trust import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is of a log.

    Attributes:
        journal: Read as far as it can be believed.
        tip: Sequence of the last entry that the store has.
        trouble: Why not all of it is believed; None if it is.

    """

    journal: Journal
    tip: int
    trouble: Untrusted | None

    @property
    def ledger(self) -> Ledger:
        """What the believed part adds up to."""
        return self.journal.ledger


def survey(store: Store, verifier: Verifier) -> Survey:
    """Read a log as far as it can be believed, whatever was known of it before.

    Args:
        store: Where it is; a copy in a directory is one too.
        verifier: Decides what is believed.

    """
    journal = Journal(store, verifier=verifier)
    trouble: Untrusted | None = None
    try:
        journal.catch_up()
    except Untrusted as error:
        trouble = error
    return Survey(journal=journal, tip=store.read(0, 0).tip, trouble=trouble)


def missing_bundles(into: Store, source: Survey) -> dict[str, bytes]:
    """Return the bundles of live versions that a store lacks and another one has."""
    needed = source.ledger.needed()
    there = into.bundles({change.bundle for change in needed})
    return source.journal.bundles(change for change in needed if change.bundle not in there)


def reset(into: Survey, draft: Draft, *, state: Ledger, epoch: int, journal: Journal) -> Release:
    """Begin a log anew, with a state that its signers vouch for.

    Args:
        into: The log.
        draft: Who does it, and why; its bundles are written too.
        state: The functions as they are to be from now on.
        epoch: Greater than any that a process may know.
        journal: Of the same store, with whom to believe and who signs; it is on the new epoch then.

    Returns:
        The reset.

    Raises:
        Untrusted: Who signs may not reset; nothing was changed.
        ScatterError: Somebody released meanwhile; nothing was reset.

    """
    snapshot = state.snapshot()
    bundles = {**draft.bundles, statement.hash_of(snapshot): snapshot}
    journal.ledger = into.ledger.believed_by(journal.ledger.verifier)
    cut = into.tip > into.ledger.sequence
    release = journal.append_reset(replace(draft, bundles=bundles), snapshot, epoch, cut=cut)
    if release is None:
        raise ScatterError(
            f"Somebody released in {journal.store.address} meanwhile; nothing was reset. Try again."
        )
    return release
