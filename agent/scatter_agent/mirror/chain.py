"""Copies the log of a namespace, whole, and checks what is there already.

All entries are copied, also those before the newest snapshot: a process that was stopped for a
week, or remembers an old position, finds its way from there.

Invariants
1. What is written is a chain that ends in the release which the journal believes.
2. From the release on that reading begins at, each entry is one that is believed here.
3. A log that took the place of another is written beside it, never into it.
"""

from __future__ import annotations

from typing import NamedTuple

from scatter.errors import ScatterError, StoreUnavailable, Untrusted
from scatter.log import Journal, envelope, statement
from scatter.store.writer import Writer

_PAGE = 256


class Known(NamedTuple):
    """A release up to which a copy was checked, and the hash of its statement."""

    sequence: int = 0
    head: str = ""


class _AnotherLogError(ScatterError):
    """What is there belongs to another log."""


def copy_log(journal: Journal, writer: Writer, known: Known) -> Known:
    """Bring the copy of a log to where the journal is.

    Args:
        journal: Caught up.
        writer: May write.
        known: Up to where the copy is known to be good.

    Raises:
        StoreUnavailable: The store cannot be read, or changed meanwhile; the copy is as it was.

    """
    try:
        _copy(journal, writer, known)
    except _AnotherLogError:
        writer.begin_anew()
        try:
            _copy(journal, writer, Known())
        except _AnotherLogError:
            raise _changed(journal) from None
    return Known(journal.ledger.sequence, journal.ledger.head)


def _copy(journal: Journal, writer: Writer, known: Known) -> None:
    _fill(journal, writer, known)
    _check(journal, writer, known)


def _fill(journal: Journal, writer: Writer, known: Known) -> None:
    """Fetch the entries that are not there; what is missing of the known ones cannot be had."""
    last = journal.ledger.sequence
    absent = writer.missing(known.sequence + 1 if known.sequence <= last else 1, last)
    for first in range(0, len(absent), _PAGE):
        page = absent[first : first + _PAGE]
        found = zip(page, journal.store.entries(page), strict=True)
        writer.add({sequence: entry for sequence, entry in found if entry and _may_be(entry)}, {})


def _may_be(entry: bytes) -> bool:
    """Return whether bytes may be an entry; a server that is not believed could fill the disk."""
    return len(entry) <= envelope.MAX_ENTRY_BYTES


def _check(journal: Journal, writer: Writer, known: Known) -> None:
    """Follow the chain from its end, and fetch again what does not fit."""
    sequence, expected = journal.ledger.sequence, journal.ledger.head
    while sequence and (sequence, expected) != known:
        found = _previous(journal, sequence, writer.entry(sequence), expected)
        if found is None:
            (entry,) = journal.store.entries([sequence])
            found = _previous(journal, sequence, entry, expected)
            if found is None and sequence >= max(1, journal.ledger.snapshot_sequence):
                raise _changed(journal)
            if found is None or entry is None:
                writer.drop_entries(sequence)
                return  # older than what anybody reads, and the store has no better
            writer.add({sequence: entry}, {})
        sequence, expected = sequence - 1, found


def _previous(journal: Journal, sequence: int, entry: bytes | None, expected: str) -> str | None:
    """Return the hash of the release before the one in an entry; None if that is not the right one.

    Raises:
        _AnotherLogError: It is a release that could be believed, in another log.

    """
    try:
        text, _ = envelope.open_(entry or b"")
        if statement.hash_of(text) != expected:
            if entry is not None and journal.ledger.open(entry, known=True):
                raise _AnotherLogError
            return None
        if entry is not None and sequence >= journal.ledger.snapshot_sequence:
            return journal.ledger.open(entry, known=True).release.previous
        return statement.read(text).previous
    except Untrusted:
        return None


def _changed(journal: Journal) -> StoreUnavailable:
    return StoreUnavailable(
        f"The log in {journal.store.address} changed while it was copied; it is copied again.",
        url=journal.store.address,
    )
