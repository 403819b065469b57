"""Reading a namespace's log: from a snapshot, from where one was, or anew, while it is believed.

Not here: what an entry must be (`ledger`, `scatter.trust`), appending (`journal`).

Invariants
1. The ledger only moves forward, over entries that were checked. A log that was replaced (a
   restored backup, a failover that lost writes) is read anew from its beginning, and taken if a
   `reset` began a later epoch in it, or if the verifier allows it; an empty one never is: what is
   known stays.
2. What hints point at is checked against the log before it is used; lost hints cost time only.
3. Where a position is kept, a log that does not contain it is refused whole, also by a process that
   has just begun: what was believed once is the measure of what is believed later.
"""

from __future__ import annotations

from scatter.errors import Untrusted
from scatter.locks import ForkSafeLock
from scatter.log import envelope, statement
from scatter.log.ledger import Ledger, Opened
from scatter.model import Release
from scatter.store.port import Store
from scatter.trust import Position, PositionKeeper, Unsigned, Verifier

_REPLACED = frozenset({"log-went-back", "wrong-chain", "wrong-sequence", "wrong-epoch"})
"""What is found where a log is not the one that was there before."""
RESTORE = "Restore it from a backup, or, if it is lost, have somebody who may run `scatter reset`."
_MOST_SEARCHED = 1 << 14
"""Releases among which a snapshot is looked for: whoever fills the log with others wins no time."""
_MOST_LOOKS = 16
"""How many looks a log that cannot be followed is left alone."""
_FIRST_PAGE, _PAGE = 8, 256
"""Entries asked for at first (a look costs little when nothing is new), and when far behind."""


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


class Reader:
    """Reads one namespace's log. Any thread may call any method.

    Attributes:
        store: Where the log is.
        ledger: What it adds up to, as far as it was read.
        replaced: How often the log turned out to be another one and was read anew.

    """

    def __init__(
        self, store: Store, verifier: Verifier | None = None, position: PositionKeeper | None = None
    ) -> None:
        """Begin with an empty ledger; nothing is read yet.

        Args:
            store: Where the log is.
            verifier: Decides what is believed; default: everything.
            position: Keeps how far the log was believed; default: nothing is kept.

        """
        self.store = store
        self.ledger = Ledger(store.namespace, verifier or Unsigned())
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
        return f"<{type(self).__name__} of {self.store.address}, {self.ledger!r}>"

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
                hint=RESTORE,
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
                hint=RESTORE,
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
            else RESTORE,
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

    def known(self) -> Position | None:
        """Return how far the log was believed on this account; None: that is not known."""
        return self._position.read() if self._position is not None else None
