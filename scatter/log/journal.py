"""The journal: reads a namespace's log through a store, and appends to it.

Not here: what to append (`scatter.client`), what a process does about it (`scatter_agent`).

Invariants
1. The ledger only moves forward, over entries that were checked. A log that was replaced (a
   restored backup, a failover that lost writes) is read anew from its beginning, and taken if a
   `reset` began a later epoch in it, or if the verifier allows it; an empty one never is: what is
   known stays.
2. An append is one write if nobody else released since the last one, else one read and one write;
   a lost race reads on, asks the caller again and retries.
3. What hints point at is checked against the log before it is used; lost hints cost time only.
4. Where a position is kept, a log that does not contain it is refused whole, also by a process that
   has just begun: what was believed once is the measure of what is believed later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from scatter.bundle import MAX_BUNDLE_BYTES
from scatter.errors import ScatterError, Untrusted
from scatter.locks import ForkSafeLock
from scatter.log import envelope, statement
from scatter.log.ledger import Ledger, Opened
from scatter.log.proposal import Proposal
from scatter.log.versions import find_versions
from scatter.model import Action, Change, FunctionState, Release, Version
from scatter.names import SHIPPED
from scatter.store.port import Hints, Store
from scatter.trust import Position, PositionKeeper, Signer, Unsigned, Verifier

SNAPSHOT_EVERY = 256
"""Releases between two snapshots, or as many as there are functions, whichever is more."""
_TRIES = 100
_REPLACED = frozenset({"log-went-back", "wrong-chain", "wrong-sequence", "wrong-epoch"})
"""What is found where a log is not the one that was there before."""
_RESTORE = "Restore it from a backup, or, if it is lost, have somebody who may run `scatter reset`."
_MOST_SEARCHED = 1 << 14
"""Releases among which a snapshot is looked for: whoever fills the log with others wins no time."""
_MOST_LOOKS = 16
"""How many looks a log that cannot be followed is left alone."""
_FIRST_PAGE, _PAGE = 8, 256
"""Entries asked for at first (a look costs little when nothing is new), and when far behind."""


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


class _InVain:
    """Keeps a log that cannot be followed from being read whole at each look.

    What is known of it by then may be the same and it another one, or mended: so it is read again,
    after 1, 2, 4 looks and so on, `_MOST_LOOKS` at the most.
    """

    def __init__(self) -> None:
        self._attempt: tuple[str, int, int] | None = None
        self._reads = self._looks = 0

    def forbids(self, attempt: tuple[str, int, int]) -> bool:
        """Return whether a log is not to be read, as often as it was of late; count it if it is."""
        if attempt != self._attempt:
            self._attempt, self._reads = attempt, 0
        elif self._looks < min(2 ** (self._reads - 1), _MOST_LOOKS):
            self._looks += 1
            return True
        self._reads, self._looks = self._reads + 1, 0
        return False


class Journal:
    """One namespace's log, as this process knows it. Any thread may call any method.

    Attributes:
        store: Where the log is.
        ledger: What it adds up to, as far as it was read.
        replaced: How often the log turned out to be another one and was read anew.

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
        self.store = store
        self.ledger = Ledger(store.namespace, verifier or Unsigned())
        self._signer = signer or Unsigned()
        self._position = position
        self._known: Position | None = None  # where another process was, until this one is there
        self._is_kept = True
        self._lock = ForkSafeLock()
        self._recent: dict[str, bytes] = {}
        self._tip = 0
        self._in_vain = _InVain()  # logs that were read for nothing
        self._searched = _InVain()  # those in which no snapshot was found
        self.replaced = 0

    def __repr__(self) -> str:
        return f"<Journal of {self.store.address}, {self.ledger!r}>"

    def catch_up(self, *, rung: bool = False, to_append: bool = False) -> list[Release]:
        """Read everything after the last known release.

        Args:
            rung: Something is said to have been released: its bundles are read along.
            to_append: A release will be appended next.

        Returns:
            The releases read one by one. When far behind, the ledger may have begun at a
            snapshot; releases before it are not returned.

        Raises:
            Untrusted: An entry failed a check, or the log is empty or another one and may not be
                followed. What came before is kept.

        """
        with self._lock:
            self.ledger.verifier.renew()
            before = self.ledger.head
            try:
                releases = self._catch_up(rung, to_append)
            finally:
                if self.ledger.head != before or not self._is_kept:
                    self._keep_position()
            return releases

    def _keep_position(self) -> None:
        if self._position is not None and self._known is None:
            ledger = self.ledger
            self._is_kept = self._position.write(
                Position(epoch=ledger.epoch, sequence=ledger.sequence, head=ledger.head)
            )

    def _catch_up(self, rung: bool, to_append: bool) -> list[Release]:
        if not self.ledger.sequence:
            return self._begin(rung, to_append)
        try:
            return self._go_on(rung, to_append)
        except Untrusted as error:
            if error.reason not in _REPLACED:
                raise
            return self._begin_anew(error, to_append)

    def _begin(self, rung: bool, to_append: bool) -> list[Release]:
        """Read the log for the first time: it must contain what is known of it."""
        before = self.ledger
        follows = before.verifier.follows_replaced
        self._known = None if follows or self._position is None else self._position.read()
        self.ledger = Ledger(before.namespace, before.verifier)
        try:
            releases = self._from_the_beginning(rung, to_append)
            if self._known is not None:
                raise self._went_back(self._known.sequence, self._tip)
        except Exception:
            if self._known is not None:
                self.ledger = before
            raise
        return releases

    def _from_the_beginning(
        self, rung: bool, to_append: bool, least_epoch: int | None = None
    ) -> list[Release]:
        self._begin_at_snapshot(least_epoch)
        try:
            return self._go_on(rung, to_append)
        except Untrusted:
            if not self._begin_at_later_snapshot(least_epoch):
                raise
        return self._go_on(False, to_append)

    def _go_on(self, rung: bool, to_append: bool) -> list[Release]:
        found = self._read(_FIRST_PAGE, rung=rung, again=not rung, to_append=to_append)
        if rung and not found:
            return self._read(_FIRST_PAGE, rung=False, again=True, to_append=to_append)
        releases = found
        while found and self.ledger.sequence < self._tip:
            found = self._read(_PAGE, rung=rung, again=False, to_append=to_append)
            releases += found
        if self.ledger.sequence < self._tip:
            self._check_gap()
        return releases

    def _check_gap(self) -> None:
        """Raise if a release that others follow is missing: not if it came just now."""
        following = self.ledger.sequence + 1
        (there,) = self.store.entries([following])
        if there is None:
            raise Untrusted(
                "wrong-sequence",
                f"Release {following} is missing in {self.store.address}, and {self._tip} are "
                "there.",
                hint=_RESTORE,
            )

    def _begin_anew(self, error: Untrusted, to_append: bool) -> list[Release]:
        """Read a log that is not the known one from its beginning.

        Raises:
            Untrusted: `error`, when there is nothing to follow: the known one stays known.

        """
        before = self.ledger
        attempt = before.head, self._tip, before.verifier.edition
        if not self._tip or self._in_vain.forbids(attempt):
            raise error
        self.ledger = Ledger(before.namespace, before.verifier)
        try:
            releases = self._from_the_beginning(False, to_append, least_epoch=before.epoch)
            if not self._takes_the_place_of(before):
                raise error
        except Untrusted:
            if self.ledger.epoch <= before.epoch:
                self.ledger = before
                raise
            self.replaced += 1  # what comes after the reset is no part of it
            raise
        except Exception:
            self.ledger, self._in_vain = before, _InVain()
            raise
        self.replaced += 1
        return releases

    def _takes_the_place_of(self, before: Ledger) -> bool:
        """Return whether the log that was read anew may be followed in place of the known one."""
        if self.ledger.epoch > before.epoch:
            return True
        is_other = self.ledger.sequence > 0 and self.ledger.head != before.head
        return is_other and before.verifier.follows_replaced

    def _read(self, limit: int, *, rung: bool, again: bool, to_append: bool) -> list[Release]:
        """Advance over the next page of the log.

        With `again` the last known entry is read once more: a log that was replaced by another
        of the same length shows by nothing else. A new entry shows it by its chain.
        """
        known = self.ledger.sequence
        first = max(0, known - again)
        tail = self.store.read(first, limit, recent=rung, to_append=to_append)
        self._tip = tail.tip
        self._check_tip(tail.tip)
        self._recent = dict(tail.recent) or self._recent
        if known > first and tail.entries:
            self.ledger.recognise(tail.entries[0])
        return [self._advance(entry) for entry in tail.entries[known - first :]]

    def _advance(self, entry: bytes) -> Release:
        known = self._known
        following = self.ledger.sequence + 1
        opened = self.ledger.open(entry, known=known is not None and following <= known.sequence)
        if known is not None and opened.release.epoch > known.epoch:
            opened = self.ledger.open(entry)  # it was never known: nothing that follows pins it
        release = self.ledger.follow(opened, self._snapshot_of(opened))
        if known is not None and following == known.sequence and release.epoch <= known.epoch:
            self._check_known(known, self.ledger.head)
        if known is not None and (release.epoch, following) >= (known.epoch, known.sequence):
            self._known = None
        return release

    def _snapshot_of(self, opened: Opened) -> bytes:
        if opened.release.action != "reset":
            return b""
        digest = opened.release.snapshot
        return self.store.bundles([digest]).get(digest, b"")

    def _check_known(self, known: Position, head: str) -> None:
        if head != known.head:
            raise Untrusted(
                "wrong-chain",
                f"Release {known.sequence} in {self.store.address} is not the one that was known "
                "here.",
                hint=_RESTORE,
            )

    def _check_tip(self, tip: int) -> None:
        if tip < self.ledger.sequence:
            raise self._went_back(self.ledger.sequence, tip)

    def _went_back(self, known: int, tip: int) -> Untrusted:
        follows = self.ledger.verifier.follows_replaced
        return Untrusted(
            "log-went-back",
            f"Expected a log of at least {known} releases, found {tip}: {self.store.address} lost "
            "data.",
            hint="Restore it from a backup. A new log is followed once it has a release."
            if follows
            else _RESTORE,
        )

    def _begin_at_snapshot(self, least_epoch: int | None = None) -> None:
        """Skip to the newest snapshot, if the store points at a good one.

        Args:
            least_epoch: The one that is known, where one is.

        """
        tail = self.store.read(0, 0)
        if not tail.snapshot:
            return
        try:
            known = self._known.sequence if self._known is not None else tail.snapshot
            entry, passed = self.store.entries([tail.snapshot, known])
            if entry is not None:
                digest = self.ledger.open(entry).release.snapshot
                self.ledger.restore(entry, self.store.bundles([digest]).get(digest, b""))
                self._check_began(least_epoch)
        except Untrusted:
            self.ledger = Ledger(self.ledger.namespace, self.ledger.verifier)
            return  # a wrong hint: the whole log is read instead, and checked
        self._pass(passed)

    def _check_began(self, least_epoch: int | None) -> None:
        """Return if a reset began the epoch of a snapshot, where another epoch was known.

        Whoever may release may write any epoch beside a snapshot, and not all of them may reset.
        """
        known = self._known.epoch if self._known is not None else least_epoch
        ledger = self.ledger
        if known is None or ledger.epoch <= known:
            return
        (entry,) = self.store.entries([ledger.began])
        release = ledger.open_at(ledger.began, entry or b"").release
        if (release.action, release.epoch) != ("reset", ledger.epoch):
            raise Untrusted(
                "wrong-epoch",
                f"Release {ledger.sequence} is of epoch {ledger.epoch}, which no reset began.",
            )

    def _begin_at_later_snapshot(self, least_epoch: int | None) -> bool:
        """Skip what cannot be believed, if a snapshot that can be comes later in the log.

        So it is after a `reset` whose hint was lost. The end of the log is looked through.
        """
        attempt = self.ledger.head, self._tip, self.ledger.verifier.edition
        if self._searched.forbids(attempt):
            return False
        first = max(self.ledger.sequence, self._tip - _MOST_SEARCHED)
        for last in range(self._tip, first, -_PAGE):
            sequences = range(last, max(first, last - _PAGE), -1)
            for sequence, entry in zip(sequences, self.store.entries(sequences), strict=True):
                if entry is not None and self._restored(sequence, entry, least_epoch):
                    return True
        return False

    def _restored(self, sequence: int, entry: bytes, least_epoch: int | None) -> bool:
        """Begin at an entry, if it can be believed and has a snapshot."""
        before = self.ledger
        try:
            release = self.ledger.open(entry).release
            if release.sequence != sequence or not release.snapshot:
                return False
            snapshot = self.store.bundles([release.snapshot]).get(release.snapshot, b"")
            self.ledger = Ledger(before.namespace, before.verifier)
            self.ledger.restore(entry, snapshot)
            self._check_began(least_epoch)
        except Untrusted:
            self.ledger = before
            return False
        known = self._known.sequence if self._known is not None else sequence
        self._pass(self.store.entries([known])[0])
        return True

    def _pass(self, passed: bytes | None) -> None:
        """Check the position that was known, where reading began at a snapshot beyond it."""
        known, ledger = self._known, self.ledger
        if known is None or (ledger.epoch, ledger.sequence) < (known.epoch, known.sequence):
            return
        if ledger.epoch == known.epoch:
            head = statement.hash_of(envelope.open_(passed)[0]) if passed is not None else ""
            self._check_known(known, head)
        self._known = None

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

    def known(self) -> Position | None:
        """Return how far the log was believed on this account; None: that is not known."""
        return self._position.read() if self._position is not None else None

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
        release = Release(
            namespace=self.ledger.namespace,
            sequence=self.ledger.sequence + 1,
            previous=self.ledger.head,
            time=max(now(), self.ledger.time),
            author=draft.author,
            action=draft.action,
            changes=tuple(sorted(draft.changes, key=lambda change: change.function)),
            message=draft.message,
            git=draft.git,
            python=draft.python,
            snapshot=snapshot,
            epoch=self.ledger.epoch,
        )
        return release, bundles

    def _seal(self, release: Release) -> bytes:
        """Return the signed entry of a release."""
        text = statement.write(release)
        return envelope.seal(text, self.sign(text))

    def sign(self, text: bytes) -> tuple[bytes, ...]:
        """Return the signatures of this process over a statement."""
        return self._signer.sign(text, namespace=self.ledger.namespace)

    def functions(self) -> Mapping[str, FunctionState]:
        """Return every function as it should run here.

        The ledger's, but for code of which all keys were revoked since, where the policy drops
        such code: it counts as released to the deployed code.
        """
        known = self.ledger.functions
        if not self.ledger.verifier.drops_distrusted:
            return known
        return {**known, **{name: _without_code(known[name]) for name in self.distrusted()}}

    def distrusted(self) -> tuple[str, ...]:
        """Return the functions whose live version was signed by keys that were revoked since."""
        revoked = self.ledger.verifier.revoked()
        states = self.ledger.functions.values() if revoked else ()
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
            found = _checked(wanted, self._recent)
            rest = wanted.keys() - found.keys()
            if rest:
                found |= _checked(wanted, self.store.bundles(sorted(rest)))
        return found

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
        return find_versions(
            self.store, self.ledger, function, below=below, above=above, limit=limit
        )

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
                    hint=_RESTORE,
                )
            following = opened.release.previous
            yield opened.release


def _without_code(state: FunctionState) -> FunctionState:
    return replace(state, live=Change(function=state.function, version=SHIPPED))


def now() -> str:
    """Return the present time as releases have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _checked(sizes: Mapping[str, int], data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those bundles from the store that are what a release names."""
    return {d: data[d] for d in sizes if d in data and _is_bundle(d, sizes[d], data[d])}


def _is_bundle(digest: str, size: int, data: bytes) -> bool:
    """Return whether bytes from the store are the bundle that a release names."""
    right_size = len(data) == size and len(data) <= MAX_BUNDLE_BYTES
    return right_size and hashlib.sha256(data).hexdigest() == digest
