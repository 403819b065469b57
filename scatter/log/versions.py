"""Finds the versions of a function in the log.

Which numbers there are, the ledger knows. Where each was created, the store's hints say; they are
checked against the log, and what they do not say is found by reading the log backwards. So hints
that are lost or wrong cost time, and never a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from scatter.errors import Untrusted
from scatter.log.ledger import Ledger
from scatter.log.states import spared_with
from scatter.model import Change, FunctionState, Release, Version
from scatter.store.port import Store

_PAGE = 256


def find_versions(
    store: Store,
    ledger: Ledger,
    state: FunctionState | None,
    *,
    below: int | None,
    above: int | None,
    limit: int,
) -> list[Version]:
    """Return versions of a function: newest first, or oldest first with `above`; see `Journal`."""
    if state is None or state.version is None:
        return []
    wanted = list(islice(_numbers(state, below, above), limit))
    found = {v.number: v for v in _hinted(store, ledger, state, wanted)}
    missing = set(wanted) - found.keys()
    if missing:
        found |= {v.number: v for v in _scanned(store, ledger, state, missing)}
    return [found[number] for number in wanted if number in found]


def removals(
    change: Change, versions: Sequence[Version], before: FunctionState | None
) -> tuple[tuple[Version, ...], set[str]]:
    """Return what a change removes: versions, and the bundles that no kept one shares.

    Args:
        change: A delete, or one that removes versions below a number.
        versions: All of its function, before it.
        before: What the log says of that, before it.

    """
    if change.version is None:
        gone = tuple(versions)
    else:
        below, stay = change.removed_below, {change.version, spared_with(before, change)}
        gone = tuple(v for v in versions if v.number < below and v.number not in stay)
    numbers = {v.number for v in gone}
    kept = {v.bundle for v in versions if v.number not in numbers}
    return gone, {v.bundle for v in gone} - kept - {change.bundle}


def _numbers(state: FunctionState, below: int | None, above: int | None) -> Iterator[int]:
    """Yield the numbers of the versions that were not removed, in the order asked for."""
    if above is not None:
        yield from (n for n in sorted(state.kept) if n > above)
        yield from range(max(state.floor, above + 1), state.last + 1)
        return
    top = state.last if below is None else min(state.last, below - 1)
    yield from range(top, state.floor - 1, -1)
    yield from (n for n in sorted(state.kept, reverse=True) if n <= top)


def _hinted(
    store: Store, ledger: Ledger, state: FunctionState, wanted: Sequence[int]
) -> Iterator[Version]:
    """Yield the wanted versions that the hints find."""
    if not wanted:
        return
    hints = store.versions(state.function, below=max(wanted) + 1, limit=len(wanted))
    chosen = [(number, sequence) for number, sequence in hints if number in wanted]
    entries = store.entries([sequence for _, sequence in chosen])
    for (number, sequence), entry in zip(chosen, entries, strict=True):
        version = _version_in(sequence, entry, ledger, state) if entry else None
        if version and version.number == number:
            yield version


def _scanned(
    store: Store, ledger: Ledger, state: FunctionState, missing: set[int]
) -> Iterator[Version]:
    """Yield the missing versions, from the log itself."""
    for last in range(ledger.sequence, 0, -_PAGE):
        sequences = range(last, max(0, last - _PAGE), -1)
        for sequence, entry in zip(sequences, store.entries(sequences), strict=True):
            version = _version_in(sequence, entry, ledger, state) if entry else None
            if version and version.number in missing:
                missing.discard(version.number)
                yield version
        if not missing:
            return


def _version_in(
    sequence: int, entry: bytes, ledger: Ledger, state: FunctionState
) -> Version | None:
    """Return the version of a function that an entry created, if it did."""
    try:
        release = ledger.open_at(sequence, entry).release
    except Untrusted:
        return None
    for change in _created(release.changes):
        if change.function == state.function:
            return _version(release, change, state.version)
    return None


def _created(changes: Iterable[Change]) -> Iterator[Change]:
    return (change for change in changes if change.created and change.version)


def _version(release: Release, change: Change, live: int | None) -> Version:
    return Version(
        function=change.function,
        number=change.version or 0,
        bundle=change.bundle,
        size=change.size,
        author=release.author,
        time=release.time,
        message=release.message,
        git=release.git,
        python=release.python,
        base=change.base,
        sequence=release.sequence,
        live=change.version == live,
        lines=change.lines,
        file=change.file,
    )
