"""The journal: a namespace's log, to be read (`reading`) and appended to through a store.

Not here: what to append (`scatter.client`), what a process does about it (`scatter_agent`).

Invariants
1. An append is one write if nobody else released since the last one, else one read and one write;
   a lost race reads on, asks the caller again and retries.
2. What nobody here would believe is not written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from scatter.bundle import MAX_BUNDLE_BYTES
from scatter.errors import Refused, ScatterError, Untrusted
from scatter.log import envelope, statement
from scatter.log.leases import Leases
from scatter.log.ledger import Ledger
from scatter.log.proposal import Proposal
from scatter.log.reading import RESTORE, Reader
from scatter.log.versions import find_versions
from scatter.model import Action, Change, FunctionState, Release, Version
from scatter.names import SHIPPED
from scatter.store.port import Hints, Store
from scatter.trust import PositionKeeper, Signer, Unsigned, Verifier

SNAPSHOT_EVERY = 64
"""Releases between two snapshots, or as many as there are functions, whichever is more."""
_TRIES = 100
_BATCH_BYTES = 64 << 20
"""Bundles that are asked for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A release to be made: everything but its place in the log.

    Attributes:
        action: What is done.
        changes: The functions concerned.
        bundles: Digest → bytes of the bundles that the store may not have yet.
        forget: Function → numbers of versions that go (all of them if empty).
        remove: Digests of bundles that no version needs any more.
        author, message, git, python: As in `Release`.
        lasts_s: Seconds after which what is made live is over; 0: not by itself.

    """

    action: Action
    changes: tuple[Change, ...]
    bundles: Mapping[str, bytes] = field(default_factory=dict)
    forget: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()
    author: str = ""
    message: str = ""
    git: str = ""
    python: str = ""
    lasts_s: float = 0.0


class Journal(Reader):
    """One namespace's log, as this process knows it. Any thread may call any method.

    Attributes:
        leases: Decides when temporary versions are over here.
        retained: Digest → bytes of bundles that are at hand without the store.

    """

    def __init__(
        self,
        store: Store,
        *,
        verifier: Verifier | None = None,
        signer: Signer | None = None,
        position: PositionKeeper | None = None,
    ) -> None:
        """Begin with an empty ledger; nothing is read yet.

        Args:
            store: Where the log is.
            verifier: Decides what is believed; default: everything.
            signer: Signs what is appended; default: nobody.
            position: Keeps how far the log was believed; default: nothing is kept.

        """
        super().__init__(store, verifier, position)
        self._signer = signer or Unsigned()
        self.leases = Leases()
        self.retained: Mapping[str, bytes] = {}

    def append(
        self, make: Callable[[Ledger], Draft | None], *, dry_run: bool = False
    ) -> Release | None:
        """Append one release.

        Args:
            make: Given the ledger at the tip, returns what to release, or None for nothing.
                Called again after a lost race; raises `Conflict` when it should not go on.
            dry_run: Do everything but sign and write.

        Returns:
            The release that is now in the log, or would be; None when `make` wanted none.

        Raises:
            ScatterError: The race was lost 100 times.

        """
        with self._lock:
            for number in range(_TRIES):
                at_tip = dry_run or number > 0 or not self.ledger.sequence
                draft = self._drafted(make, read_on=at_tip)
                if draft is None:
                    return None
                release, bundles = self._place(draft)
                if dry_run:
                    return release
                entry = self._seal(release)
                self.ledger.verifier.renew()  # signing may have made the first key
                opened = self.ledger.open(entry)  # what nobody would believe is not written
                hints = Hints(
                    versions={c.function: c.version or 0 for c in release.changes if c.created},
                    forget=draft.forget,
                    remove=draft.remove,
                    snapshot=bool(release.snapshot),
                )
                if self.store.append(release.sequence, entry, bundles, hints):
                    self.ledger.follow(opened)
                    self._keep_position()
                    return release
        raise ScatterError(
            f"Others released {_TRIES} times while this release was being written to "
            f"{self.store.address}; nothing was written. Try again."
        )

    def propose(self, make: Callable[[Ledger], Draft | None]) -> tuple[Release, Proposal] | None:
        """Make one release and sign it, for others to sign too before it is written.

        It carries no snapshot: who signs vouches for what they can look at, not for all that is
        live.

        Args:
            make: As for `append`.

        Returns:
            The release that it would be, and the proposal; None when `make` wanted none.

        """
        with self._lock:
            draft = self._drafted(make, read_on=True)
            if draft is None:
                return None
            release, _ = self._place(draft)
            release = replace(release, snapshot="")
            text = statement.write(release)
            signed = Proposal(
                statement=text, signatures=self.sign(text), bundles=dict(draft.bundles)
            )
            return release, signed

    def append_proposed(self, proposal: Proposal, hints: Hints) -> Release | None:
        """Append what was proposed, and signed. For `scatter.log.cosign`.

        Args:
            proposal: The proposal.
            hints: What goes with it.

        Returns:
            The release; None when the log ends elsewhere.

        Raises:
            Untrusted: It would not be believed; nothing was written.

        """
        with self._lock:
            entry = envelope.seal(proposal.statement, proposal.signatures)
            opened = self.ledger.open(entry)
            if opened.release.previous != self.ledger.head:
                return None
            self.ledger.believed_by(self.ledger.verifier).follow(opened)  # it does fit
            if not self.store.append(opened.release.sequence, entry, proposal.bundles, hints):
                return None
            self.ledger.follow(opened)
            self._keep_position()
            return opened.release

    def next_epoch(self, epoch: int) -> int:
        """Return the epoch that a reset begins where the log that is there is in `epoch`."""
        known = self.known()
        return max(epoch, self.ledger.epoch, known.epoch if known is not None else 0) + 1

    def append_reset(
        self, draft: Draft, snapshot: bytes, epoch: int, *, cut: bool
    ) -> Release | None:
        """Append a reset behind what is known. For `scatter.log.reset`.

        Args:
            draft: Who and why; its bundles are the snapshot, and those of its state.
            snapshot: The state.
            epoch: The one that begins.
            cut: Remove first what the store has behind what is known.

        Returns:
            The reset; None when the log ends elsewhere.

        Raises:
            Untrusted: It would not be believed; nothing was changed.

        """
        with self._lock:
            release, bundles = self._place(draft)
            release = replace(release, epoch=epoch, snapshot=statement.hash_of(snapshot))
            entry = self._seal(release)
            self.ledger.verifier.renew()
            opened = self.ledger.open(entry)
            if cut:
                self.store.cut(self.ledger.sequence)
            if not self.store.append(release.sequence, entry, bundles, Hints(snapshot=True)):
                return None
            self._known = None
            self.ledger.follow(opened, snapshot)
            self._keep_position()
            return release

    def _drafted(self, make: Callable[[Ledger], Draft | None], read_on: bool) -> Draft | None:
        """Return what `make` wants to release.

        The ledger may be behind: the store finds that out when it appends. But that there is
        nothing to release, or a conflict, counts only at the tip.
        """
        if not read_on:
            try:
                draft = make(self.ledger)
            except ScatterError:
                draft = None
            if draft is not None:
                return draft
        self.catch_up(to_append=True)
        return make(self.ledger)

    def _place(self, draft: Draft) -> tuple[Release, dict[str, bytes]]:
        """Return the release of a draft at the tip, and all bundles to be written."""
        bundles = dict(draft.bundles)
        snapshot = ""
        due = max(SNAPSHOT_EVERY, len(self.ledger.functions))
        if self.ledger.sequence + 1 - self.ledger.snapshot_sequence >= due:
            data = self.ledger.snapshot()
            snapshot = statement.hash_of(data)
            bundles[snapshot] = data
        time = max(now(), self.ledger.time)
        release = Release(
            namespace=self.ledger.namespace,
            sequence=self.ledger.sequence + 1,
            previous=self.ledger.head,
            time=time,
            author=draft.author,
            action=draft.action,
            changes=tuple(sorted(draft.changes, key=lambda change: change.function)),
            message=draft.message,
            git=draft.git,
            python=draft.python,
            snapshot=snapshot,
            epoch=self.ledger.epoch,
            expires=_later(time, draft.lasts_s) if draft.lasts_s else "",
        )
        return release, bundles

    def _seal(self, release: Release) -> bytes:
        """Return the signed entry of a release."""
        text = statement.write(release)
        return envelope.seal(text, self.sign(text))

    def sign(self, text: bytes) -> tuple[bytes, ...]:
        """Return the signatures of this process over a statement."""
        return self._signer.sign(text, namespace=self.ledger.namespace)

    def current(self) -> Mapping[str, FunctionState]:
        """Return what is live of every function now: of a temporary one that is over, what was."""
        return self.leases.effective(self.ledger)

    def functions(self) -> Mapping[str, FunctionState]:
        """Return every function as it should run here.

        What is live now, but for code of which all keys were revoked since, where the policy drops
        such code: it counts as released to the deployed code.
        """
        known = self.current()
        if not self.ledger.verifier.drops_distrusted:
            return known
        return {**known, **{name: _without_code(known[name]) for name in self.distrusted()}}

    def distrusted(self) -> tuple[str, ...]:
        """Return the functions whose live version was signed by keys that were revoked since."""
        revoked = self.ledger.verifier.revoked()
        states = self.current().values() if revoked else ()
        return tuple(
            s.function for s in states if s.version and s.keys and revoked.issuperset(s.keys)
        )

    def is_stale(self) -> str:
        """Return what is the matter with the age of the newest release; empty: nothing."""
        return self.ledger.verifier.is_stale(self.ledger.time) if self.ledger.time else ""

    def bundles(self, changes: Iterable[Change]) -> dict[str, bytes]:
        """Return digest → bytes of the bundles that these changes name, each checked.

        A bundle that is missing or wrong is left out: the caller says so for the version
        concerned, and the others go on.
        """
        with self._lock:
            wanted = {c.bundle: c.size for c in changes if c.bundle}
            found = _checked(wanted, self._recent) | _checked(wanted, self.retained)
            for batch in _batches({d: wanted[d] for d in sorted(wanted.keys() - found.keys())}):
                found |= _checked(wanted, self.store.bundles(batch))
        return found

    def retain(self, changes: Iterable[Change]) -> None:
        """Have the bundles of these changes at hand from here on, and of no others.

        One that is missing or wrong is left out, and asked for again the next time.
        """
        self.retained = self.bundles(changes)

    def bundle(self, change: Change) -> bytes:
        """Return the bundle of a version, checked against its digest.

        Raises:
            Refused: `bundle-missing`, when the store has lost it.

        """
        data = self.bundles([change]).get(change.bundle)
        if data is None:
            raise Refused(
                "bundle-missing",
                f"The bundle of `{change.function}` version {change.version} is not in "
                f"{self.store.address}, or is damaged.",
                function=change.function,
                version=change.version,
                hint="Push the function again.",
            )
        return data

    def version(self, function: str, number: int) -> Version | None:
        """Return one version of a function; None when the log has no such version."""
        found = self.versions(function, below=number + 1, limit=1)
        return found[0] if found and found[0].number == number else None

    def versions(
        self,
        function: str,
        *,
        below: int | None = None,
        above: int | None = None,
        limit: int = 100,
    ) -> list[Version]:
        """Return versions of a function: newest first, or oldest first with `above`.

        Removed versions are left out. The ledger should be caught up.
        """
        state = self.current().get(function)
        return find_versions(self.store, self.ledger, state, below=below, above=above, limit=limit)

    def releases(self, *, before: int | None = None, limit: int = 20) -> list[Release]:
        """Return releases of the log, newest first, below sequence `before` if given."""
        return list(self._releases(before, limit))

    def _releases(self, before: int | None, limit: int) -> Iterator[Release]:
        top = min(before or self.ledger.sequence + 1, self.ledger.sequence + 1)
        wanted = list(range(top - 1, max(0, top - 1 - limit), -1))
        following = self.ledger.head if top > self.ledger.sequence else ""
        for sequence, entry in zip(wanted, self.store.entries(wanted), strict=True):
            if entry is None:
                following = ""
                continue
            opened = self.ledger.open_at(sequence, entry, to_look=True)
            if following and statement.hash_of(opened.statement) != following:
                raise Untrusted(
                    "wrong-chain",
                    f"Release {sequence} in {self.store.address} is not the one that the release "
                    "after it follows.",
                    hint=RESTORE,
                )
            following = opened.release.previous
            yield opened.release


def _without_code(state: FunctionState) -> FunctionState:
    return replace(state, live=Change(function=state.function, version=SHIPPED))


def now() -> str:
    """Return the present time as releases have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _later(time: str, by_s: float) -> str:
    """Return the time that many seconds after another one, and a millisecond at the least."""
    then = datetime.fromisoformat(time) + max(timedelta(seconds=by_s), timedelta(milliseconds=1))
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _checked(sizes: Mapping[str, int], data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those bundles from the store that are what a release names."""
    return {d: data[d] for d in sizes if d in data and _is_bundle(d, sizes[d], data[d])}


def _batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield digests of bundles that may be asked for at once."""
    batch, total = list[str](), 0
    for digest, size in sizes.items():
        if batch and total + size > _BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(digest)
        total += size
    if batch:
        yield batch


def _is_bundle(digest: str, size: int, data: bytes) -> bool:
    """Return whether bytes from the store are the bundle that a release names."""
    right_size = len(data) == size and len(data) <= MAX_BUNDLE_BYTES
    return right_size and hashlib.sha256(data).hexdigest() == digest
