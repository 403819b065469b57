"""What is believed: signatures of keys that the files of this machine trust, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import start_python
from trust.people import NAMESPACE, Files, Person, Together, a_release, entry, journal_of, release

from scatter.errors import Untrusted
from scatter.log import Ledger, envelope, statement
from scatter.model import Change
from scatter.store.memory import MemoryStore
from scatter.trust import Unsigned
from scatter.trust.verifier import KeyVerifier

ANN, BOB, EVE = Person("ann"), Person("bob"), Person("eve")


def reason(read: Callable[[], object]) -> str:
    with pytest.raises(Untrusted) as caught:
        read()
    return caught.value.reason


@pytest.fixture
def ledger(files: Files) -> Ledger:
    """The ledger of somebody who trusts Ann and Bob."""
    files.trust(ANN, BOB)
    return Ledger(NAMESPACE, KeyVerifier())


def test_a_release_that_a_trusted_key_signed_is_believed(ledger: Ledger) -> None:
    opened = ledger.open(entry(a_release(), ANN))
    assert opened.release == a_release()
    assert [voucher.fingerprint for voucher in opened.vouchers] == [ANN.key.fingerprint]


def test_one_good_signature_of_several_is_enough_and_only_that_one_counts(ledger: Ledger) -> None:
    opened = ledger.open(entry(a_release(), EVE, BOB))
    assert [voucher.fingerprint for voucher in opened.vouchers] == [BOB.key.fingerprint]


def test_whoever_signed_a_change_is_remembered_with_it(ledger: Ledger) -> None:
    ledger.advance(entry(a_release(), ANN, BOB))
    state = ledger.functions["pricing:score"]
    assert state.keys == (ANN.key.fingerprint, BOB.key.fingerprint)


@pytest.mark.parametrize(
    ("code", "data"),
    {
        "unsigned": entry(a_release()),
        "unknown-key": entry(a_release(), EVE),
        "bad-signature": entry(a_release(), ANN, change=lambda text: text + b" "),
        "too-big": entry(a_release(), *[EVE] * 17),
        "wrong-purpose": envelope.seal(
            statement.write(a_release()), ANN.sign(statement.write(a_release()), namespace="bar")
        ),
        "wrong-namespace": envelope.seal(
            statement.write(a_release(namespace="bar")),
            ANN.sign(statement.write(a_release(namespace="bar")), namespace=NAMESPACE),
        ),
        "bad-statement": envelope.seal(b"{}", ANN.sign(b"{}")),
        "bad-envelope": b"SCE1",
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_refused_with_its_reason(code: str, data: bytes, files: Files) -> None:
    files.trust(ANN, BOB)
    assert reason(lambda: Ledger(NAMESPACE, KeyVerifier()).open(data)) == code


def test_the_refusal_of_an_unknown_key_names_the_command_that_trusts_it(ledger: Ledger) -> None:
    with pytest.raises(Untrusted) as caught:
        ledger.open(entry(a_release(), EVE))
    assert f"scatter keys trust '{EVE.key.kind} " in caught.value.hint
    assert EVE.key.fingerprint in str(caught.value)


def test_nothing_is_parsed_before_the_signature_is_good(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr("scatter.log.statement.read", parsed.append)
    for data in (
        entry(a_release()),
        entry(a_release(), EVE),
        entry(a_release(), ANN)[:-1] + b"\xff",
    ):
        assert reason(lambda data=data: ledger.open(data))  # type: ignore[misc]
    assert parsed == []


@pytest.mark.parametrize(
    ("options", "time", "code"),
    [
        ('valid-before="20260101"', "2025-12-31T12:00:00.000Z", ""),
        ('valid-before="20260101"', "2026-01-02T12:00:00.000Z", "expired-key"),
        ('valid-after="20260101"', "2025-12-30T12:00:00.000Z", "key-not-yet-valid"),
        ('valid-after="20260101"', "2026-01-02T12:00:00.000Z", ""),
        ('namespaces="scatter-release-v1:shop"', "2026-01-02T12:00:00.000Z", ""),
        ('namespaces="scatter-release-v1:*"', "2026-01-02T12:00:00.000Z", ""),
        ('namespaces="scatter-release-v1:bar"', "2026-01-02T12:00:00.000Z", "wrong-purpose"),
        ('namespaces="file"', "2026-01-02T12:00:00.000Z", "wrong-purpose"),
    ],
)
def test_a_key_counts_at_the_time_of_the_release_and_for_what_it_is_trusted(
    files: Files, options: str, time: str, code: str
) -> None:
    files.trust(ANN.line(options))
    ledger = Ledger(NAMESPACE, KeyVerifier())
    data = entry(a_release(time=time), ANN)
    if code:
        assert reason(lambda: ledger.advance(data)) == code
        assert ledger.sequence == 0
    else:
        ledger.advance(data)


def test_a_change_of_the_files_is_noticed_at_the_next_look(files: Files) -> None:
    store = MemoryStore(NAMESPACE)
    files.trust(ANN)
    writer, reader = journal_of(store, ANN), journal_of(store)
    release(writer, "f")
    files.trust(BOB)
    assert reason(reader.catch_up) == "unknown-key"
    files.trust(BOB, ANN)
    assert len(reader.catch_up()) == 1
    release(writer, "f")
    files.revoke(ANN)
    assert reason(reader.catch_up) == "revoked-key"
    assert reader.ledger.sequence == 1
    files.revoke()
    assert len(reader.catch_up()) == 1


@pytest.mark.parametrize("name", ["allowed_signers", "revoked_keys", "policy.toml"])
@pytest.mark.parametrize("harm", ["writable", "broken", "a link to nowhere"])
def test_a_file_that_cannot_be_used_is_an_error_and_never_an_empty_one(
    files: Files, name: str, harm: str
) -> None:
    files.trust(ANN)
    ledger = Ledger(NAMESPACE, KeyVerifier())
    path = files.folder / name
    if harm == "writable":
        path.touch()
        path.chmod(0o666)
    elif harm == "broken":
        path.write_text("what is this")
    else:
        path.unlink(missing_ok=True)
        path.symlink_to("nowhere")
    code = "bad-trust-file" if harm == "broken" else "unsafe-trust-file"
    with pytest.raises(Untrusted, match=str(path)) as caught:
        ledger.open(entry(a_release(), ANN))
    assert caught.value.reason == code


def test_the_environment_replaces_the_files(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.trust(ANN)
    other = Files(tmp_path / "other")
    other.trust(BOB)
    monkeypatch.setenv("SCATTER_ALLOWED_SIGNERS", str(other.folder / "allowed_signers"))
    ledger = Ledger(NAMESPACE, KeyVerifier())
    assert reason(lambda: ledger.open(entry(a_release(), ANN))) == "unknown-key"
    ledger.open(entry(a_release(), BOB))


# what signers may do ---------------------------------------------------------------------

PAY = (Change(function="payments:charge", version=0),)
BOTH = (*PAY, Change(function="pricing:score", version=0))


@pytest.mark.parametrize(
    ("policy", "changes", "people", "code"),
    [
        ("", BOTH, [EVE], ""),
        ("threshold = 2", BOTH, [ANN], "too-few-signatures"),
        ("threshold = 2", BOTH, [ANN, ANN], "too-few-signatures"),
        ("threshold = 2", BOTH, [ANN, EVE], ""),
        ('[[rule]]\nsigners = ["ann@*"]', BOTH, [EVE], "not-permitted"),
        ('[[rule]]\nsigners = ["ann@*"]', BOTH, [ANN], ""),
        ('[[rule]]\nfunctions = ["payments:*"]\nsigners = ["ann@*"]', BOTH, [EVE], "not-permitted"),
        ('[[rule]]\nfunctions = ["payments:*"]\nsigners = ["ann@*"]', BOTH[1:], [EVE], ""),
        ('[[rule]]\nfunctions = ["payments:*"]\nsigners = ["ann@*"]', PAY, [ANN], ""),
        ('[[rule]]\nsigners = ["ann@*", "bob@*"]\nthreshold = 2', PAY, [ANN, EVE], "too-few"),
        ('[[rule]]\nsigners = ["ann@*", "bob@*"]\nthreshold = 2', PAY, [ANN, BOB], ""),
        ('[[rule]]\nsigners = ["ann@*"]\n[[rule]]\nsigners = ["bob@*"]', PAY, [ANN], "not-perm"),
        ('[[rule]]\nsigners = ["ann@*"]\n[[rule]]\nsigners = ["bob@*"]', PAY, [ANN, BOB], ""),
    ],
)
def test_the_policy_says_who_may_release_what(
    files: Files, policy: str, changes: tuple[Change, ...], people: list[Person], code: str
) -> None:
    files.trust(ANN, BOB, EVE)
    files.policy(policy)
    ledger = Ledger(NAMESPACE, KeyVerifier())
    data = entry(a_release(changes=changes), *people)
    if code:
        assert reason(lambda: ledger.advance(data)).startswith(code)
        assert not ledger.functions
    else:
        ledger.advance(data)


def test_two_keys_of_one_person_are_one_signer(files: Files) -> None:
    other = Person("ann")
    files.trust(ANN, other)
    files.policy("threshold = 2")
    ledger = Ledger(NAMESPACE, KeyVerifier())
    data = entry(a_release(), ANN, other)
    assert reason(lambda: ledger.advance(data)) == "too-few-signatures"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("admin = []", "a policy has no 'admin'"),
        ("admins = []", "admins: expected a list of patterns"),
        ("admins = 'ann'", "admins: expected a list of patterns"),
        ("threshold = 0", "threshold: expected a number from 1"),
        ("threshold = true", "threshold: expected a number from 1"),
        ("revoked_code = 'burn'", "revoked_code: expected 'keep' or 'drop'"),
        ("replaced_log = true", "replaced_log: expected 'refuse' or 'follow'"),
        ("stale_after = 30", "stale_after: expected a time such as '12h'"),
        ("stale_after = '1 d'", "stale_after: expected a time such as '12h'"),
        ("[rule]", "rule: expected [[rule]] tables"),
        ("[[rule]]\nfunction = []", "a rule has no 'function'"),
        ("threshold = 1\nthreshold = 1", "Cannot overwrite a value"),
    ],
)
def test_a_policy_that_says_something_else_is_refused_and_says_where(
    files: Files, text: str, why: str
) -> None:
    files.trust(ANN)
    files.policy(text)
    with pytest.raises(Untrusted) as caught:
        Ledger(NAMESPACE, KeyVerifier()).open(entry(a_release(), ANN))
    assert caught.value.reason == "bad-trust-file"
    assert f"{files.folder / 'policy.toml'} is no policy: {why}" in str(caught.value)


def test_a_snapshot_counts_only_if_its_signers_may_release_all_that_is_in_it(files: Files) -> None:
    files.trust(ANN, BOB)
    known = Ledger(NAMESPACE, Unsigned())
    known.advance(entry(a_release(changes=PAY)))
    snapshot = known.snapshot()
    carrying = a_release(known, snapshot=statement.hash_of(snapshot), changes=BOTH[1:])
    files.policy('[[rule]]\nfunctions = ["payments:*"]\nsigners = ["ann@*"]')
    newcomer = Ledger(NAMESPACE, KeyVerifier())
    data = entry(carrying, BOB)
    assert reason(lambda: newcomer.restore(data, snapshot)) == "not-permitted"
    assert newcomer.sequence == 0
    newcomer.restore(entry(carrying, ANN), snapshot)
    assert newcomer.functions.keys() == {"payments:charge", "pricing:score"}


# keys that were revoked since ------------------------------------------------------------


@pytest.mark.parametrize(("policy", "runs"), [("", True), ("revoked_code = 'drop'", False)])
def test_code_of_a_key_that_was_revoked_since_is_kept_or_dropped_as_the_policy_says(
    files: Files, policy: str, runs: bool
) -> None:
    store = MemoryStore(NAMESPACE)
    files.trust(ANN, BOB)
    files.policy(policy)
    release(journal_of(store, ANN), "f", 1)
    release(journal_of(store, BOB), "g", 1)
    release(journal_of(store, ANN, BOB), "h", 1)
    reader = journal_of(store)
    reader.catch_up()
    assert reader.distrusted() == ()
    files.revoke(ANN)
    assert reader.catch_up() == []
    assert reader.distrusted() == ("f",)
    versions = {name: state.version for name, state in reader.functions().items()}
    assert versions == {"f": 1 if runs else 0, "g": 1, "h": 1}
    files.revoke()
    reader.catch_up()
    assert reader.distrusted() == ()
    assert reader.functions()["f"].version == 1


# what is light -----------------------------------------------------------------------------


def test_cryptography_is_imported_when_a_signature_is_first_looked_at(tmp_path: Path) -> None:
    script = """
        import sys
        import scatter, scatter_agent, scatter.client, scatter_agent.agent
        import scatter.trust.verifier, scatter.trust.signing
        from scatter.log.opening import open_journal, LazySigner
        from scatter.config import Settings
        from scatter.store.redis import RedisStore
        open_journal(Settings(), RedisStore("redis://localhost:1", "a"), signer=LazySigner())
        print([name for name in sys.modules if name.startswith("cryptography.hazmat")])
    """
    process = start_python(script)
    output, _ = process.communicate(timeout=60)
    assert output.strip() == "[]"


def test_signatures_together_are_those_of_all(files: Files) -> None:
    files.trust(ANN, BOB)
    text = statement.write(a_release())
    signatures = Together(ANN, BOB).sign(text, namespace=NAMESPACE)
    found = KeyVerifier().check(text, signatures, namespace=NAMESPACE)
    assert {voucher.fingerprint for voucher in found} == {
        ANN.key.fingerprint,
        BOB.key.fingerprint,
    }
    assert "cryptography" in sys.modules


@pytest.mark.parametrize("place", [1, 2, 3])
def test_what_people_look_at_is_the_log_that_was_believed(files: Files, place: int) -> None:
    store = MemoryStore(NAMESPACE)
    files.trust(ANN, BOB)
    for _ in range(3):
        release(journal_of(store, ANN), "f")
    reader = journal_of(store)
    reader.catch_up()
    files.revoke(BOB)
    reader.catch_up()
    assert [r.author for r in reader.releases()] == ["ann"] * 3
    forged = a_release(sequence=place, author="ann, who never did")
    store._entries[place - 1] = entry(forged, BOB)  # whose key was stolen
    assert reason(reader.releases) == "wrong-chain"
