"""Whatever a hostile store shows, and in whatever order, workers apply the honest log.

A machine of states: honest people release, lose data and reset; a store shows the workers what it
likes; workers run, start again with the position that they kept, or are new. At each moment what a
worker has applied is exactly what the honest log was at some sequence of some epoch; it never goes
back; and when the store is honest again, all converge.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trust.people import NAMESPACE, Person, Together, a_release, entry

from scatter.errors import Untrusted
from scatter.log import Draft, Journal, Ledger, envelope, journal, reading
from scatter.log.reset import reset, survey
from scatter.model import Change, FunctionState
from scatter.store.memory import MemoryStore
from scatter.store.port import Tail
from scatter.trust import Position, allowed_signers, revoked
from scatter.trust.policy import parse
from scatter.trust.verifier import KeyVerifier, Trusted

ANN, BOB, EVE, MALLORY = (Person(name) for name in ("ann", "bob", "eve", "mallory"))
"""Ann may reset. Bob may not. Eve is unknown. Mallory might once do all, and was revoked."""
POLICY = parse('admins = ["ann@*", "mallory@*"]', "policy")
SIGNERS = allowed_signers.parse("".join(p.line() for p in (ANN, BOB, MALLORY)), "signers")
REVOKED = revoked.parse(f"{MALLORY.key.line()}\n".encode(), "revoked")
FUNCTIONS = ("f", "g", "h")
SHORT = 4
"""Releases between two snapshots here."""


class Fixed(KeyVerifier):
    """A verifier whose files do not change."""

    def renew(self) -> None:
        pass

    @property
    def trusted(self) -> Trusted:
        return Trusted(signers=SIGNERS, revoked=REVOKED, policy=POLICY, files=())


class Kept:
    """A position in memory, which is never replaced by an earlier one."""

    def __init__(self) -> None:
        self.position: Position | None = None

    def read(self) -> Position | None:
        return self.position

    def write(self, position: Position) -> bool:
        known = self.position
        if known is None or (known.epoch, known.sequence) < (position.epoch, position.sequence):
            self.position = position
        return True


class Shown(MemoryStore):
    """What the hostile store shows: any entry at any place, any bundle, any hint."""

    def __init__(self) -> None:
        super().__init__(NAMESPACE)
        self.log: dict[int, bytes] = {}
        self.hint = 0

    def show(self, log: Mapping[int, bytes], store: MemoryStore) -> None:
        """Show a log with the bundles of a store."""
        self.log, self._bundles = dict(log), dict(store._bundles)

    def read(
        self, after: int, limit: int = 64, *, recent: bool = False, to_append: bool = False
    ) -> Tail:
        found: list[bytes] = []
        while len(found) < limit and after + len(found) + 1 in self.log:
            found.append(self.log[after + len(found) + 1])
        return Tail(
            entries=tuple(found), tip=len(self.log), recent={}, snapshot=0 if after else self.hint
        )

    def entries(self, sequences: Sequence[int]) -> list[bytes | None]:
        return [self.log.get(sequence) for sequence in sequences]


@dataclass
class Worker:
    """One process, and what it had applied at the most."""

    journal: Journal
    kept: Kept | None
    most: tuple[int, int] = (0, 0)
    refused: list[str] = field(default_factory=list)


class Fight(RuleBasedStateMachine):
    """Honest people, a hostile store, and workers."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(journal, "SNAPSHOT_EVERY", SHORT)
        seconds = itertools.count()
        self.patch.setattr(journal, "now", lambda: _time(next(seconds)))
        self.verifier = Fixed()
        self.honest = MemoryStore(NAMESPACE)
        self.epoch = 0
        self.history: dict[tuple[int, int, str], dict[str, FunctionState]] = {(0, 0, ""): {}}
        self.shown = Shown()
        self.saved: list[tuple[dict[int, bytes], int]] = []
        self.workers: list[Worker] = []
        self._write_on()

    def teardown(self) -> None:
        self.patch.undo()

    def _write_on(self) -> None:
        self.writer = Journal(self.honest, verifier=self.verifier, signer=Together(ANN, BOB))
        self.writer.catch_up()

    def _remember(self) -> None:
        ledger = self.writer.ledger
        self.history[ledger.epoch, ledger.sequence, ledger.head] = dict(ledger.functions)

    @property
    def log(self) -> dict[int, bytes]:
        return dict(enumerate(self.honest._entries, 1))

    # honest people -----------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.workers.append(self._started(Kept()))
        for function in FUNCTIONS:
            self.release(function, "push")

    @rule(function=st.sampled_from(FUNCTIONS), what=st.sampled_from(["push", "back", "delete"]))
    def release(self, function: str, what: str) -> None:
        known = self.writer.ledger.functions.get(function)
        number = (known.last if known else 0) + 1
        change = {
            "push": Change(
                function=function, version=number, bundle=f"{number:064x}", size=1, created=True
            ),
            "back": Change(function=function, version=0),
            "delete": Change(function=function, version=None),
        }[what]
        draft = Draft(action="push", changes=(change,), author="ann")
        assert self.writer.append(lambda _: draft) is not None
        self._remember()

    @rule(lost=st.integers(0, 6))
    def lose_and_reset(self, lost: int) -> None:
        """The newest releases are lost, and an admin resets."""
        if lost:
            del self.honest._entries[-lost:]
        found = survey(self.honest, self.verifier)
        found = survey(self.honest, self.verifier) if found.trouble is None else found
        self.epoch += 1
        own = Journal(self.honest, verifier=self.verifier, signer=Together(ANN))
        draft = Draft(action="reset", changes=(), author="ann")
        reset(found, draft, state=found.ledger, epoch=self.epoch, journal=own)
        self._write_on()
        self._remember()

    # the store ---------------------------------------------------------------------------

    @rule(behind=st.integers(0, 3), hint=st.booleans())
    def show_the_honest_log(self, behind: int, hint: bool) -> None:
        """Show an honest log that was so, some releases ago."""
        log = self.log
        self.shown.show({n: log[n] for n in range(1, len(log) + 1 - behind)}, self.honest)
        self.shown.hint = self.honest._snapshot if hint else 0

    @rule()
    def save(self) -> None:
        self.saved.append((dict(self.shown.log), self.shown.hint))

    @precondition(lambda self: self.saved)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        log, self.shown.hint = data.draw(st.sampled_from(self.saved))
        self.shown.log = dict(log)

    @precondition(lambda self: self.shown.log)
    @rule(
        data=st.data(), what=st.sampled_from(["delete", "cut", "swap", "strip", "garbage", "copy"])
    )
    def damage(self, data: st.DataObject, what: str) -> None:
        log = self.shown.log
        one, other = (data.draw(st.sampled_from(sorted(log))) for _ in range(2))
        if what == "delete":
            del log[one]
        elif what == "cut":
            self.shown.log = {n: e for n, e in log.items() if n < one}
        elif what == "swap":
            log[one], log[other] = log[other], log[one]
        elif what == "strip":
            log[one] = envelope.seal(_opened(log[one])[0], ())
        else:
            log[one] = log[other] if what == "copy" else b"SCE1 garbage"

    @rule(
        who=st.sampled_from([(), (EVE,), (MALLORY,), (BOB,), (EVE, BOB)]),
        action=st.sampled_from(["push", "reset"]),
        where=st.integers(0, 4),
        epoch=st.integers(0, 3),
        snapshot=st.booleans(),
    )
    def forge(
        self, who: tuple[Person, ...], action: str, where: int, epoch: int, snapshot: bool
    ) -> None:
        """Write what would follow, with a signature that does not count for it."""
        if action == "push" and BOB in who:
            who = (MALLORY,)  # Bob may push: that would be honest
        known = Ledger(NAMESPACE, self.verifier)
        for number in range(1, max(0, len(self.shown.log) - where) + 1):
            try:
                known.follow(known.open(self.shown.log.get(number, b"")), self._state(number))
            except Untrusted:
                break
        state = known.snapshot()
        change = Change(function="f", version=0)
        fields: dict[str, Any] = {"action": action, "epoch": known.epoch + epoch}
        fields["changes"] = (change,) if action == "push" else ()
        if snapshot or action == "reset":
            fields |= {"snapshot": _digest(state), "epoch": known.epoch + max(epoch, 1)}
            self.shown._bundles[fields["snapshot"]] = state
        made = entry(a_release(known, **fields), *who)
        self.shown.log[known.sequence + 1] = made
        self.shown.hint = known.sequence + 1 if snapshot else self.shown.hint

    def _state(self, number: int) -> bytes:
        """Return the snapshot of an entry that is shown."""
        release = Ledger(NAMESPACE, self.verifier).open(self.shown.log[number]).release
        return self.shown._bundles.get(release.snapshot, b"")

    @rule(hint=st.integers(-1, 30))
    def lie(self, hint: int) -> None:
        self.shown.hint = hint

    @precondition(lambda self: self.shown._bundles)
    @rule(data=st.data(), gone=st.booleans())
    def spoil(self, data: st.DataObject, gone: bool) -> None:
        """Lose a bundle, or exchange it."""
        digests = sorted(self.shown._bundles)
        one, other = (data.draw(st.sampled_from(digests)) for _ in range(2))
        self.shown._bundles[one] = b"" if gone else self.shown._bundles[other]

    # workers -----------------------------------------------------------------------------

    def _started(self, kept: Kept | None) -> Worker:
        made = Journal(self.shown, verifier=self.verifier, position=kept)
        return Worker(journal=made, kept=kept)

    @precondition(lambda self: len(self.workers) < 4)
    @rule(keeps=st.booleans())
    def start(self, keeps: bool) -> None:
        self.workers.append(self._started(Kept() if keeps else None))

    @rule(data=st.data())
    def start_again(self, data: st.DataObject) -> None:
        """A worker ends, and another begins with what it kept."""
        number = data.draw(st.integers(0, len(self.workers) - 1))
        before = self.workers[number]
        self.workers[number] = after = self._started(before.kept)
        after.most = before.most if before.kept is not None else (0, 0)

    @rule(data=st.data(), rung=st.booleans())
    def look(self, data: st.DataObject, rung: bool) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        try:
            worker.journal.catch_up(rung=rung)
        except Untrusted as refusal:
            worker.refused.append(refusal.reason)

    @rule(rung=st.booleans(), hint=st.booleans())
    def be_honest(self, rung: bool, hint: bool) -> None:
        """The store shows all that there is: everybody comes to it."""
        self.shown.show(self.log, self.honest)
        self.shown.hint = self.honest._snapshot if hint else 0
        tip = self.writer.ledger
        for worker in self.workers:
            comes_to_it(worker.journal, rung)
            ledger = worker.journal.ledger
            assert (ledger.epoch, ledger.sequence, ledger.head) == (
                tip.epoch,
                tip.sequence,
                tip.head,
            )

    # what always holds -------------------------------------------------------------------

    @invariant()
    def everybody_has_applied_the_honest_log(self) -> None:
        for worker in self.workers:
            ledger = worker.journal.ledger
            place = ledger.epoch, ledger.sequence, ledger.head
            assert place in self.history, (place, worker)
            assert dict(ledger.functions) == self.history[place]

    @invariant()
    def nobody_goes_back(self) -> None:
        for worker in self.workers:
            ledger = worker.journal.ledger
            place = ledger.epoch, ledger.sequence
            is_new = not ledger.sequence  # it began, and was shown nothing that it could take
            assert is_new or place >= worker.most, (place, worker)
            worker.most = max(worker.most, place)


def comes_to_it(reader: Journal, rung: bool) -> None:
    """Catch up; where a log could not be followed, it is left alone for some looks."""
    for _ in range(reading._MOST_LOOKS):
        try:
            reader.catch_up(rung=rung)
        except Untrusted:
            continue
        return
    reader.catch_up()


def _time(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"


def _opened(data: bytes) -> tuple[bytes, Collection[bytes]]:
    try:
        return envelope.open_(data)
    except Untrusted:
        return data, ()


def _digest(data: bytes) -> str:
    from scatter.bundle import digest_of

    return digest_of(data)


TestFight = Fight.TestCase
TestFight.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
