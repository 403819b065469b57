"""The way back after a loss: a reset, which every process follows if its signers may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from trust.people import NAMESPACE, Files, Person, a_release, entry, journal_of, release

from scatter.bundle import digest_of
from scatter.errors import ScatterError, Untrusted
from scatter.log import Draft, Journal, Ledger, journal, reading
from scatter.log.reset import Survey, missing_bundles, reset, survey
from scatter.model import Change, Release
from scatter.store.directory import DirectoryStore
from scatter.store.memory import MemoryStore
from scatter.store.port import Store
from scatter.store.redis import RedisStore
from scatter.store.writer import Writer
from scatter.trust import Position, Unsigned
from scatter.trust.verifier import KeyVerifier

ANN, BOB = Person("ann"), Person("bob")
LOST = ("log-went-back", "wrong-chain", "wrong-sequence")


class Kept:
    """A position in memory."""

    def __init__(self) -> None:
        self.position: Position | None = None

    def read(self) -> Position | None:
        return self.position

    def write(self, position: Position) -> bool:
        self.position = position
        return True


@pytest.fixture
def store(files: Files) -> MemoryStore:
    """A store of people who trust Ann and Bob; only Ann may reset."""
    files.trust(ANN, BOB)
    files.policy('admins = ["ann@*"]')
    return MemoryStore(NAMESPACE)


def reason(read: Callable[[], object]) -> str:
    with pytest.raises(Untrusted) as caught:
        read()
    return caught.value.reason


def begin_anew(
    store: Store, by: Person, source: Survey | None = None, adopt: bool = False
) -> Release:
    own = journal_of(store, by)
    found = survey(store, Unsigned() if adopt else KeyVerifier())
    source = source or found
    bundles = missing_bundles(store, source) if source is not found else {}
    draft = Draft(action="reset", changes=(), author=by.name, bundles=bundles)
    epoch = own.next_epoch(max(found.ledger.epoch, source.ledger.epoch))
    return reset(found, draft, state=source.ledger, epoch=epoch, journal=own)


def readers(store: Store) -> dict[str, Journal]:
    """Return those who know the log: one who runs, one who starts again, and one who is new."""
    kept = Kept()
    running, before = journal_of(store), journal_of(store, position=kept)
    running.catch_up()
    before.catch_up()
    assert kept.position is not None
    return {
        "running": running,
        "again": journal_of(store, position=kept),
        "new": journal_of(store),
    }


def test_a_log_that_lost_releases_is_followed_by_nobody_who_knew_them_until_a_reset(
    store: MemoryStore,
) -> None:
    writer = journal_of(store, BOB)
    for number in range(1, 6):
        release(writer, "f", number)
    known = readers(store)
    del store._entries[3:]
    for name in ("running", "again"):
        assert reason(known[name].catch_up) == "log-went-back"
    known["new"].catch_up()

    made = begin_anew(store, ANN)

    assert (made.sequence, made.epoch) == (4, 1)
    for reader in known.values():
        reader.catch_up()
        assert (reader.ledger.sequence, reader.ledger.epoch) == (4, 1)
        assert reader.ledger.functions["f"].version == 3
    assert known["running"].replaced == 1
    again = journal_of(store, BOB)
    again.catch_up()
    release(again, "f", 4)
    for reader in known.values():
        assert len(reader.catch_up()) == 1
        assert reader.ledger.functions["f"].version == 4


def test_an_empty_store_is_begun_anew_with_what_was_kept_elsewhere(
    store: MemoryStore, tmp_path: Path
) -> None:
    data = b"a bundle"
    change = Change(function="f", version=1, bundle=digest_of(data), size=len(data), created=True)
    draft = Draft(action="push", changes=(change,), bundles={change.bundle: data}, author="bob")
    journal_of(store, BOB).append(lambda _: draft)
    known = readers(store)
    writer = Writer(tmp_path / "copy", NAMESPACE)
    with writer.writing():
        bundles = {change.bundle: data}
        writer.keep({1: store._entries[0]}, bundles, tip=1, snapshot=0)
    store._entries.clear()
    store._bundles.clear()
    source = survey(DirectoryStore(tmp_path / "copy", NAMESPACE), KeyVerifier())
    begin_anew(store, ANN, source)
    for reader in known.values():
        reader.catch_up()
        assert reader.ledger.functions["f"].version == 1
        assert reader.bundles([change]) == {change.bundle: data}


@pytest.mark.parametrize("where", ["memory", "redis"])
def test_what_nobody_can_believe_is_cut_off(
    store: MemoryStore, where: str, redis_url: str, namespace: str, files: Files
) -> None:
    real: Store = store if where == "memory" else RedisStore(redis_url, namespace)
    writer = journal_of(real, BOB)
    release(writer, "f", 1)
    assert real.append(2, b"poison", {})
    assert real.append(3, b"more", {})
    if isinstance(real, RedisStore):
        real.link.run([("HSET", real.key("log"), "junk", "x")])
    known = journal_of(real)
    assert reason(known.catch_up) == "bad-envelope"
    found = survey(real, KeyVerifier())
    assert (found.ledger.sequence, found.trouble and found.trouble.reason) == (1, "bad-envelope")
    begin_anew(real, ANN)
    known.catch_up()
    assert (known.ledger.sequence, known.ledger.epoch) == (2, 1)
    assert real.read(0).tip == 2
    real.close()


def test_a_reset_by_who_may_not_changes_nothing_and_is_followed_by_nobody(
    store: MemoryStore, files: Files
) -> None:
    release(journal_of(store, BOB), "f", 1)
    before = list(store._entries)
    assert reason(lambda: begin_anew(store, BOB)) == "not-permitted"
    assert store._entries == before
    files.policy("")
    begin_anew(store, BOB)  # where Bob is, the policy lets him
    files.policy('admins = ["ann@*"]')
    newcomer = journal_of(store)
    assert reason(newcomer.catch_up) == "not-permitted"
    assert newcomer.ledger.epoch == 0


@pytest.mark.parametrize(
    ("policy", "people", "code"),
    [
        ("", [BOB], ""),
        ('[[rule]]\nfunctions = ["pay:*"]\nsigners = ["ann@*"]', [BOB], "not-permitted"),
        ('[[rule]]\nfunctions = ["pay:*"]\nsigners = ["ann@*"]', [ANN], ""),
        ('[[rule]]\nfunctions = ["pay:*"]\nthreshold = 2', [ANN], "too-few-signatures"),
        ('[[rule]]\nfunctions = ["pay:*"]\nthreshold = 2', [ANN, BOB], ""),
        ('admins = ["bob@*"]\n[[rule]]\nsigners = ["ann@*"]', [BOB], ""),
        ('admins = ["bob@*"]\n[[rule]]\nsigners = ["ann@*"]', [ANN], "not-permitted"),
    ],
)
def test_a_reset_keeps_all_rules_unless_the_policy_names_who_may(
    store: MemoryStore, files: Files, policy: str, people: list[Person], code: str
) -> None:
    files.policy("")
    release(journal_of(store, ANN), "f", 1)
    files.policy(policy)
    own = journal_of(store, *people)
    found = survey(store, Unsigned())
    draft = Draft(action="reset", changes=(), author="somebody")

    def begin() -> Release:
        return reset(found, draft, state=found.ledger, epoch=1, journal=own)

    if code:
        assert reason(begin) == code
        assert store.read(0).tip == 1
    else:
        assert begin().epoch == 1


def test_a_newer_policy_takes_nothing_back_where_a_release_was_believed_before(
    store: MemoryStore, files: Files
) -> None:
    release(journal_of(store, BOB), "f", 1)
    known = readers(store)
    files.policy("threshold = 2")
    assert len(known["again"].catch_up()) == 1
    assert reason(known["new"].catch_up) == "too-few-signatures"
    files.policy("")
    release(journal_of(store, BOB), "f", 2)
    files.policy("threshold = 2")
    for name in ("running", "again"):
        assert reason(known[name].catch_up) == "too-few-signatures"
        assert known[name].ledger.functions["f"].version == 1


def test_an_old_log_cannot_be_served_again_after_a_reset(store: MemoryStore) -> None:
    writer = journal_of(store, BOB)
    for number in range(1, 4):
        release(writer, "f", number)
    old = list(store._entries)
    begin_anew(store, ANN)
    known = readers(store)
    new = list(store._entries)
    for entries in (old, old[:1], [*old, old[2]]):
        store._entries[:] = entries
        for name in ("running", "again"):
            assert reason(known[name].catch_up) in LOST
    store._entries[:] = new
    for name in ("running", "again"):
        known[name].catch_up()
        assert known[name].ledger.epoch == 1


def test_a_log_that_nobody_signed_can_be_adopted(store: MemoryStore) -> None:
    unsigned = Journal(store)
    for number in range(1, 4):
        release(unsigned, "f", number)
    reader = journal_of(store)
    assert reason(reader.catch_up) == "unsigned"
    assert reader.ledger.sequence == 0
    assert survey(store, KeyVerifier()).ledger.sequence == 0
    begin_anew(store, ANN, adopt=True)
    reader.catch_up()
    assert reader.ledger.functions["f"].version == 3
    assert reader.ledger.functions["f"].keys == (ANN.key.fingerprint,)
    writer = journal_of(store, BOB)
    writer.catch_up()
    release(writer, "f", 4)
    assert len(reader.catch_up()) == 1


def test_a_reset_is_found_without_its_hint(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_PAGE", 3)
    unsigned = Journal(store)
    for number in range(1, 9):
        release(unsigned, "f", number)
    begin_anew(store, ANN, adopt=True)
    writer = journal_of(store, BOB)
    writer.catch_up()
    for number in range(9, 13):
        release(writer, "f", number)
    store._snapshot = 0
    reader = journal_of(store)
    reader.catch_up()
    assert reader.ledger.functions["f"].version == 12


def test_after_a_key_was_revoked_a_reset_lets_newcomers_in_again(
    store: MemoryStore, files: Files
) -> None:
    release(journal_of(store, BOB), "f", 1)
    known = readers(store)
    files.revoke(BOB)
    assert known["running"].catch_up() == []
    assert known["again"].catch_up() != [], "it was believed here before"
    assert known["again"].distrusted() == ("f",)
    assert reason(known["new"].catch_up) == "revoked-key"
    own = journal_of(store, ANN)
    found = Survey(journal=known["running"], tip=1, trouble=None)
    draft = Draft(action="reset", changes=(), author="ann")
    reset(found, draft, state=found.ledger, epoch=1, journal=own)
    for reader in known.values():
        reader.catch_up()
        assert reader.ledger.functions["f"].version == 1
        assert reader.distrusted() == ()


def test_a_race_with_a_release_resets_nothing(store: MemoryStore) -> None:
    writer = journal_of(store, BOB)
    release(writer, "f", 1)
    found = survey(store, KeyVerifier())
    release(writer, "f", 2)
    draft = Draft(action="reset", changes=(), author="ann")
    with pytest.raises(ScatterError, match="Somebody released in memory:// meanwhile"):
        reset(found, draft, state=found.ledger, epoch=1, journal=journal_of(store, ANN))
    assert store.read(0).tip == 2


@pytest.mark.parametrize("name", ["running", "again"])
@pytest.mark.parametrize("hinted", [True, False])
def test_who_may_release_and_not_reset_cannot_begin_an_epoch_beside_a_snapshot(
    store: MemoryStore, name: str, hinted: bool
) -> None:
    for number in range(1, 6):
        release(journal_of(store, BOB), "f", number)
    reader = readers(store)[name]
    other = Ledger(NAMESPACE, Unsigned())
    other.advance(store._entries[0])
    snapshot = other.snapshot()
    fields = {"snapshot": digest_of(snapshot), "epoch": 9, "changes": ()}
    honest = list(store._entries)
    made = entry(a_release(other, sequence=9, previous="0" * 64, action="renew", **fields), BOB)
    store._entries[:] = [*honest[:4], honest[3], b"x", b"x", b"x", made]
    store._bundles[digest_of(snapshot)] = snapshot
    store._snapshot = 9 if hinted else 0
    assert reason(reader.catch_up) in ("wrong-sequence", "wrong-epoch", "wrong-chain")
    assert reader.ledger.epoch == 0
    assert reader.ledger.sequence in (0, 5)
    store._entries[:] = honest
    store._snapshot = 0
    reader.catch_up()
    assert reader.ledger.functions["f"].version == 5


@pytest.mark.parametrize("name", ["running", "again", "new"])
def test_a_later_snapshot_of_an_epoch_that_a_reset_began_is_enough(
    store: MemoryStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 3)
    for number in range(1, 6):
        release(journal_of(store, BOB), "f", number)
    reader = readers(store)[name]
    del store._entries[3:]
    begin_anew(store, ANN)
    for number in range(4, 12):
        release(journal_of(store, BOB), "f", number)
    assert store._snapshot > 5
    reader.catch_up()
    assert (reader.ledger.epoch, reader.ledger.functions["f"].version) == (1, 11)
