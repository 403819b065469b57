"""Attacks on a running worker, by somebody with all rights on Redis and no trusted key.

After each: what runs is what ran, nothing was parsed as code, compiled, imported, opened or
connected to, no caller saw anything, the status has the reason, and the worker goes on when the
honest state is back. Some entries are signed by a trusted key, and malformed all the same.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable

import pytest
from support import ROOT
from trust.hostile import ANN, BOB, CAROL, DAVE, EVE, FRANK, MALLORY, Scene, Worker, goes_on
from trust.people import entry

from scatter.errors import Untrusted
from scatter.log import Ledger, envelope, statement
from scatter.log.envelope import MAX_ENTRY_BYTES
from scatter.model import Change
from scatter.trust import Unsigned, keys, sshsig, wire
from scatter.trust.home import purpose
from scatter.trust.keys import PublicKey

Attack = Callable[[Scene], object]


# the oracle ------------------------------------------------------------------------------


def test_the_oracle_sees_an_honest_release(scene: Scene, worker: Worker) -> None:
    before = worker.tell()["calls"]
    worker.ask("mark")
    goes_on(scene, worker)
    seen = {event.partition(" ")[0] for event in worker.tell()["events"]}
    assert {"compile", "exec", "open"} <= seen
    assert worker.tell()["calls"] > before


# entries ---------------------------------------------------------------------------------


def _signature(scene: Scene, text: bytes, *, by: PublicKey, raw: bytes, kind: str = "") -> bytes:
    """Return an entry with a signature that is made by hand."""
    wrapped = wire.string(kind or by.kind) + wire.string(raw)
    return envelope.seal(text, (sshsig.write(by, purpose(scene.namespace), wrapped),))


def _small_order(scene: Scene) -> bytes:
    """Forge: under the neutral point, R = 0 and S = 0 are a signature of everything."""
    neutral = (1).to_bytes(32, "little")
    blob = wire.string(keys.ED25519) + wire.string(neutral)
    weak = PublicKey(kind=keys.ED25519, blob=blob, point=neutral)
    return _signature(scene, _text(scene), by=weak, raw=neutral + bytes(32))


def _dsa(scene: Scene) -> bytes:
    key = PublicKey(kind="ssh-dss", blob=wire.string("ssh-dss"))
    return _signature(scene, _text(scene), by=key, raw=bytes(40))


def _certificate(scene: Scene) -> bytes:
    kind = "ssh-ed25519-cert-v01@openssh.com"
    key = PublicKey(kind=kind, blob=wire.string(kind) + bytes(100))
    return _signature(scene, _text(scene), by=key, raw=bytes(64))


def _text(scene: Scene, **fields: object) -> bytes:
    return statement.write(scene.release(**fields))


def _other_signature(scene: Scene) -> bytes:
    """Put an honest signature under another statement."""
    _, signatures = envelope.open_(scene.entries()[-1])
    return envelope.seal(_text(scene), signatures)


def _with_json(scene: Scene, old: bytes, new: bytes) -> bytes:
    text = _text(scene)
    assert old in text
    return scene.sealed(text.replace(old, new, 1), ANN)


def _reset(scene: Scene, snapshot: bytes, *, stored: bytes | None = None) -> None:
    """Have an admin sign a reset, and the attacker give another snapshot."""
    digest = statement.hash_of(snapshot)
    made = scene.forge(ANN, action="reset", epoch=1, snapshot=digest, changes=())
    if stored is not None:
        scene.run(("SET", scene.key("bundle", digest), stored))
    scene.put(made)


def _other_state(scene: Scene) -> bytes:
    other = Ledger(scene.namespace, Unsigned())
    other.advance(scene.entries()[0])
    return other.snapshot()


def _bomb(magic: bytes) -> bytes:
    return magic + zlib.compress(b" " * (300 << 20), 9)


GUARDED = (Change(function="shop:guarded", version=0),)
DOUBLE = (Change(function="shop:double", version=0),)
AHEAD = (Change(function="shop:f", version=999, bundle="0" * 64, size=1, created=True),)
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
LATER, EARLIER = "2099-01-01T00:00:00.000Z", "2001-01-01T00:00:00.000Z"

ENTRIES: dict[str, tuple[str, Callable[[Scene], bytes]]] = {
    "nothing": ("bad-envelope", lambda s: b""),
    "garbage": ("bad-envelope", lambda s: b"\x80\x04cos\nsystem\n"),
    "cut short": ("bad-envelope", lambda s: s.forge(ANN)[:-1]),
    "a length that lies": ("bad-envelope", lambda s: b"SCE1\xff\xff\xff\xff" + s.forge(ANN)[8:]),
    "bytes behind it": ("bad-envelope", lambda s: s.forge(ANN) + b"\0"),
    "oversize": ("too-big", lambda s: b"SCE1" + bytes(MAX_ENTRY_BYTES)),
    "very many signatures": ("too-big", lambda s: s.forge(*[EVE] * 200)),
    "no signature": ("unsigned", lambda s: s.forge()),
    "a stripped signature": (
        "unsigned",
        lambda s: envelope.seal(envelope.open_(s.forge(ANN))[0], ()),
    ),
    "an unsigned JSON bomb": ("unsigned", lambda s: s.sealed(DEEP)),
    "an unknown key": ("unknown-key", lambda s: s.forge(EVE)),
    "an unknown key, often": ("unknown-key", lambda s: s.forge(*[EVE] * 16)),
    "an expired key": ("expired-key", lambda s: s.forge(CAROL)),
    "a key of the future": ("key-not-yet-valid", lambda s: s.forge(DAVE)),
    "a revoked key": ("revoked-key", lambda s: s.forge(MALLORY)),
    "a key for something else": ("wrong-purpose", lambda s: s.forge(FRANK)),
    "a forged signature": (
        "bad-signature",
        lambda s: _signature(s, _text(s), by=ANN.key, raw=bytes(64)),
    ),
    "a signature of another statement": ("bad-signature", _other_signature),
    "no signature at all": ("bad-signature", lambda s: envelope.seal(_text(s), (b"SSHSIG",))),
    "a changed statement": (
        "bad-signature",
        lambda s: s.forge(ANN).replace(b'"shop:f"', b'"shop:g"'),
    ),
    "a small-order key": ("weak-key", _small_order),
    "a DSA key": ("weak-key", _dsa),
    "a certificate that is none": ("bad-certificate", _certificate),
    "for another namespace": (
        "wrong-purpose",
        lambda s: entry(s.release(namespace="other"), ANN),
    ),
    "of another namespace": (
        "wrong-namespace",
        lambda s: s.sealed(_text(s, namespace="other"), ANN),
    ),
    "not one's function": ("not-permitted", lambda s: s.forge(ANN, changes=GUARDED)),
    "signed by too few": ("too-few-signatures", lambda s: s.forge(ANN, changes=DOUBLE)),
    "signed by one twice": ("too-few-signatures", lambda s: s.forge(ANN, ANN, changes=DOUBLE)),
    "a reset by who may not": (
        "not-permitted",
        lambda s: s.forge(BOB, action="reset", epoch=1, snapshot="0" * 64, changes=()),
    ),
    "a fast-forward": ("wrong-sequence", lambda s: s.forge(ANN, sequence=s.tip + 9)),
    "the last entry again": ("wrong-sequence", lambda s: s.entries()[-1]),
    "the first entry again": ("wrong-sequence", lambda s: s.entries()[0]),
    "a fork": ("wrong-chain", lambda s: s.forge(ANN, previous="0" * 64)),
    "a version number ahead": ("wrong-version", lambda s: s.forge(ANN, changes=AHEAD)),
    "an epoch ahead": ("wrong-epoch", lambda s: s.forge(ANN, epoch=7)),
    "a time before": ("wrong-time", lambda s: s.forge(ANN, time=EARLIER)),
    "signed nonsense": ("bad-statement", lambda s: s.sealed(b"{}", ANN)),
    "a signed pickle": ("bad-statement", lambda s: s.sealed(b"cos\nsystem\n(S'id'\ntR.", ANN)),
    "a signed JSON bomb": ("bad-statement", lambda s: s.sealed(DEEP, ANN)),
    "a huge number": (
        "bad-statement",
        lambda s: _with_json(s, b'"format":1', b'"format":' + b"9" * 100_000),
    ),
    "a huge sequence": ("bad-statement", lambda s: s.forge(ANN, sequence=10**4000)),
    "a field twice": ("bad-statement", lambda s: _with_json(s, b"{", b'{"format":1,')),
    "a day that is none": ("bad-statement", lambda s: s.forge(ANN, time="2099-02-30" + LATER[10:])),
    "half a character": (
        "bad-statement",
        lambda s: _with_json(s, b'"author":"ann"', b'"author":"\\ud800"'),
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_behind_the_log_is_refused(scene: Scene, worker: Worker, name: str) -> None:
    code, make = ENTRIES[name]
    saved, before = scene.save(), worker.tell()
    data = make(scene)
    worker.ask("mark")
    scene.put(data)
    told = worker.until(f"the refusal of {name}", state="error", code=code)
    assert told["events"] == []
    assert told["values"] == before["values"]
    assert told["sequence"] == before["sequence"]
    scene.restore(saved)
    worker.until("the honest log", state="ready", code="")
    assert worker.tell()["events"] == []
    goes_on(scene, worker)


# what is there already -------------------------------------------------------------------


def _swap(scene: Scene) -> None:
    *rest, one, other = scene.entries()
    scene.put_log([*rest, other, one])


LOGS: dict[str, tuple[str, Attack]] = {
    "deleted": ("log-went-back", lambda s: s.run(("DEL", s.key("log")))),
    "cut short": ("log-went-back", lambda s: s.put_log(s.entries()[:-1])),
    "an entry deleted": ("log-went-back", lambda s: s.run(("HDEL", s.key("log"), 2))),
    "replayed": ("log-went-back", lambda s: s.put_log(s.entries()[:2])),
    "two entries swapped": ("wrong-chain", _swap),
    "the last entry rewritten by who may sign": (
        "wrong-chain",
        lambda s: s.put(s.forge(ANN, sequence=s.tip), at=s.tip),
    ),
    "the last entry rewritten": ("bad-envelope", lambda s: s.put(b"x", at=s.tip)),
    "a gap": ("wrong-sequence", lambda s: s.put(s.forge(ANN), at=s.tip + 2)),
    "a field that is no number": (
        "wrong-sequence",
        lambda s: s.run(("HSET", s.key("log"), "junk", b"junk")),
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_that_was_changed_is_refused(scene: Scene, worker: Worker, name: str) -> None:
    code, attack = LOGS[name]
    saved, before = scene.save(), worker.tell()
    worker.ask("mark")
    attack(scene)
    told = worker.until(f"the refusal of a log that is {name}", state="error", code=code)
    assert told["events"] == []
    assert told["values"] == before["values"]
    scene.restore(saved)
    worker.until("the honest log", state="ready", code="")
    assert worker.tell()["events"] == []
    goes_on(scene, worker)


@pytest.mark.parametrize("how", ["missing", "another", "of another log", "a bomb"])
def test_a_reset_with_a_snapshot_that_is_not_its_own_is_refused(
    scene: Scene, worker: Worker, how: str
) -> None:
    saved, before = scene.save(), worker.tell()
    honest = scene.ledger.snapshot()
    bomb = _bomb(b"SCS2")
    worker.ask("mark")
    if how == "a bomb":
        _reset(scene, bomb, stored=bomb)
    else:
        stored = {"another": b"SCS2", "of another log": _other_state(scene)}.get(how)
        _reset(scene, honest, stored=stored)
    told = worker.until("the refusal", state="error", code="wrong-snapshot")
    assert (told["values"], told["events"]) == (before["values"], [])
    scene.restore(saved)
    worker.until("the honest log", state="ready")
    goes_on(scene, worker)


# bundles ---------------------------------------------------------------------------------

NESTED = b"SCB1" + zlib.compress(b"[" * 200_000)
HUGE = b"SCB1" + zlib.compress(b'{"skip":' + b"9" * 100_000 + b"}")
BUNDLES: dict[str, tuple[str, Callable[[Scene], bytes]]] = {
    "no bundle": ("bad-bundle", lambda s: b"what is this"),
    "a pickle": ("bad-bundle", lambda s: b"cos\nsystem\n(S'id'\ntR."),
    "a bomb": ("bad-bundle", lambda s: _bomb(b"SCB1")),
    "deep nesting": ("bad-bundle", lambda s: NESTED),
    "a huge number": ("bad-bundle", lambda s: HUGE),
    "too big": ("bundle-missing", lambda s: bytes((4 << 20) + 1)),
}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_that_a_trusted_release_names_and_is_none_is_refused(
    scene: Scene, worker: Worker, name: str
) -> None:
    code, make = BUNDLES[name]
    data = make(scene)
    before = worker.tell()
    worker.ask("mark")
    scene.commit(scene.next_version(data), data)
    told = worker.until("the refusal", state="ready", refused={"f": code})
    assert (told["values"], worker.uninvited()) == (before["values"], [])
    goes_on(scene, worker)


def test_a_bundle_of_another_function_is_refused(scene: Scene, worker: Worker) -> None:
    other = scene.ledger.functions["shop:g"].live.bundle
    data = scene.store.bundles([other])[other]
    before = worker.tell()
    worker.ask("mark")
    scene.commit(scene.next_version(data), data)
    told = worker.until("the refusal", state="ready", refused={"f": "wrong-function"})
    assert (told["values"], worker.uninvited()) == (before["values"], [])
    goes_on(scene, worker)


@pytest.mark.parametrize("how", ["missing", "garbage", "of another version"])
def test_a_bundle_that_was_exchanged_is_not_looked_into(
    scene: Scene, worker: Worker, how: str
) -> None:
    old = scene.ledger.functions["shop:f"].live.bundle
    honest = scene.store.bundles([old])[old]
    data = honest + b" "  # another honest bundle, as far as anybody can tell
    change = scene.next_version(data)
    there = {"missing": None, "garbage": b"x" * len(data), "of another version": honest}[how]
    before = worker.tell()
    worker.ask("mark")
    scene.commit(change, there or b"", at=change.bundle)
    if there is None:
        scene.run(("DEL", scene.key("bundle", change.bundle)))
    told = worker.until("the refusal", state="ready", refused={"f": "bundle-missing"})
    assert (told["values"], worker.uninvited()) == (before["values"], [])
    goes_on(scene, worker)


# files of trust --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "code"),
    [("writable", "unsafe-trust-file"), ("broken", "bad-trust-file"), ("weak", "weak-key")],
)
def test_a_trust_file_that_somebody_else_could_change_is_not_used(
    scene: Scene, worker: Worker, harm: str, code: str
) -> None:
    file = scene.folder / "config" / "scatter" / "allowed_signers"
    text, before = file.read_text(), worker.tell()
    neutral = wire.to_base64(wire.string(keys.ED25519) + wire.string((1).to_bytes(32, "little")))
    weak = f"{text}eve@example.org ssh-ed25519 {neutral}\n"
    scene.files.trust({"writable": text, "broken": "what is this", "weak": weak}[harm])
    file.chmod(0o666 if harm == "writable" else 0o600)
    worker.ask("mark")
    scene.ring()
    told = worker.until("the refusal", state="error", code=code)
    assert (told["values"], worker.uninvited()) == (before["values"], [])
    scene.files.trust(text)
    scene.ring()
    worker.until("the honest files", state="ready")
    goes_on(scene, worker)


def test_a_log_whose_newest_releases_are_withheld_is_reported(scene: Scene, worker: Worker) -> None:
    values = worker.tell()["values"]
    scene.files.policy('stale_after = "1s"')
    scene.ring()
    told = worker.until("the report", state="stale", code="frozen")
    assert told["values"] == values
    scene.files.policy("")
    scene.ring()
    worker.until("a policy that minds no age", state="ready")
    goes_on(scene, worker)


# completeness ----------------------------------------------------------------------------


def codes_of(*chosen: str) -> set[str]:
    """Return the codes of sections of the page of reasons."""
    page = (ROOT / "docs" / "reference" / "reasons.md").read_text()
    sections = [s for s in re.split(r"^## ", page, flags=re.MULTILINE) if s.startswith(chosen)]
    assert len(sections) == len(chosen)
    rows = [line for s in sections for line in s.splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`([a-z-]+)`", row.split("|")[1])}


def test_every_reason_of_reading_and_of_trust_is_given_in_a_test() -> None:
    codes = codes_of("While reading", "While deciding")
    assert len(codes) >= 20
    files = [f for f in (ROOT / "tests").rglob("test_*.py") if f.name != "test_docs.py"]
    texts = [file.read_text() for file in files]
    assert {code for code in codes if not any(f'"{code}"' in text for text in texts)} == set()


def test_a_refusal_says_what_was_found_and_survives_json(scene: Scene) -> None:
    ledger = Ledger(scene.namespace, Unsigned())
    with pytest.raises(Untrusted) as caught:
        ledger.advance(b"\x00\xff\xfe")
    assert json.loads(json.dumps(str(caught.value))).startswith("A log entry is no release")
