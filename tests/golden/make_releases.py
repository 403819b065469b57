"""Makes the golden corpus of signed releases: `python tests/golden/make_releases.py`.

Keys are made from names, and Ed25519 signs the same bytes in the same way each time: so the files
come out the same each time. What they mean is in `README.md` beside this file.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).parent
FOLDER = HERE / "releases"
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

from trust.people import NAMESPACE, Person, a_release, entry  # noqa: E402

from scatter.log import Ledger, envelope, statement  # noqa: E402
from scatter.log.envelope import MAX_ENTRY_BYTES  # noqa: E402
from scatter.model import Change, Release  # noqa: E402
from scatter.trust import Unsigned, keys, sshsig, wire  # noqa: E402
from scatter.trust.home import purpose  # noqa: E402
from scatter.trust.keys import PublicKey  # noqa: E402

Case = dict[str, Any]


def private(name: str) -> Ed25519PrivateKey:
    """Return the key of a name: its seed is the SHA-256 of `scatter golden NAME`."""
    return Ed25519PrivateKey.from_private_bytes(
        hashlib.sha256(f"scatter golden {name}".encode()).digest()
    )


ANN, BOB, EVE, CA = (Person(name, private(name)) for name in ("ann", "bob", "eve", "ca"))
BOTH = ANN.line() + BOB.line()
TIME = "2026-01-01T00:00:00.000Z"
CHANGES = (
    Change(function="shop:price", version=1, bundle="1" * 64, size=9, created=True, lines=(3,)),
)
GUARDED = (Change(function="payments:charge", version=0),)
RULE = '[[rule]]\nfunctions = ["payments:*"]\nsigners = ["ann@*"]\n'
PLAIN = a_release(changes=CHANGES)
TEXT = statement.write(PLAIN)


def case(about: str, data: bytes, **more: Any) -> Case:
    """Return a case; what is not given is as in most."""
    found: Case = {"about": about, "namespace": NAMESPACE, "allowed_signers": BOTH}
    found |= {"revoked_keys": "", "policy": "", "before": [], "snapshot": "", "entry": data.hex()}
    return found | more


def sealed(text: bytes, *people: Person, signed: bytes = b"", namespace: str = NAMESPACE) -> bytes:
    """Return an entry of any bytes, with signatures over them or over others."""
    made = [s for p in people for s in p.sign(signed or text, namespace=namespace)]
    return envelope.seal(text, tuple(made))


def by_hand(key: Any, raw: bytes, *, hash_: str = "sha512") -> bytes:
    """Return an entry with one signature that is put together here."""
    return envelope.seal(TEXT, (sshsig.write(key, purpose(NAMESPACE), raw, hash_),))


def raw_of(name: str, kind: str = keys.ED25519, *, hash_: str = "sha512") -> bytes:
    """Return what a key signs, in SSH's wire format."""
    signed = private(name).sign(sshsig.signed_bytes(TEXT, purpose(NAMESPACE), hash_))
    return wire.string(kind) + wire.string(signed)


def certificate(*, until: int = 2**64 - 1, names: str = "ann@example.org") -> PublicKey:
    """Return Ann's key in a certificate of the authority."""
    kind = keys.ED25519 + keys.CERTIFICATE_SUFFIX
    blob = wire.string(kind) + wire.string(bytes(32)) + wire.string(ANN.key.point)
    blob += wire.u64(7) + wire.u32(1) + wire.string("golden") + wire.string(wire.string(names))
    blob += wire.u64(0) + wire.u64(until) + wire.string("") + wire.string("") + wire.string("")
    blob += wire.string(CA.key.blob)
    signature = wire.string(keys.ED25519) + wire.string(private("ca").sign(blob))
    return PublicKey(kind=kind, blob=blob + wire.string(signature))


def token(flags: int) -> tuple[PublicKey, bytes]:
    """Return the key of a FIDO token, and what it signs."""
    blob = wire.string(keys.SK_ED25519) + wire.string(EVE.key.point) + wire.string("ssh:")
    message = sshsig.signed_bytes(TEXT, purpose(NAMESPACE))
    told = hashlib.sha256(b"ssh:").digest() + struct.pack(">BI", flags, 5)
    signed = private("eve").sign(told + hashlib.sha256(message).digest())
    raw = wire.string(keys.SK_ED25519) + wire.string(signed) + struct.pack(">BI", flags, 5)
    return keys.read_key(blob, "token"), raw


def after(*releases: Release) -> tuple[Ledger, list[str]]:
    """Return a ledger after some releases of Ann's, and their entries."""
    ledger, entries = Ledger(NAMESPACE, Unsigned()), list[str]()
    for one in releases:
        data = entry(one, ANN)
        ledger.advance(data)
        entries.append(data.hex())
    return ledger, entries


def snapshot() -> bytes:
    """Return a snapshot of a log that is empty: not compressed, so that every zlib writes it."""
    return b"SCS2" + zlib.compress(b'{"began":0,"functions":[]}', 0)


KNOWN, BEFORE = after(PLAIN)
DIGEST = statement.hash_of(snapshot())
RESET = {"action": "reset", "epoch": 1, "changes": (), "snapshot": DIGEST}


def good() -> Iterator[tuple[str, Case]]:
    """Yield what is to be believed."""
    yield "one-signer", case("Signed by a trusted key.", entry(PLAIN, ANN))
    yield "two-signers", case("Signed by two.", entry(PLAIN, ANN, BOB))
    yield "one-of-two-is-unknown", case("One good signature is enough.", entry(PLAIN, EVE, BOB))
    yield (
        "sha256",
        case(
            "SSHSIG over SHA-256.", by_hand(ANN.key, raw_of("ann", hash_="sha256"), hash_="sha256")
        ),
    )
    scoped = ANN.line('namespaces="scatter-release-v1:*"')
    yield (
        "a-pattern",
        case("Trusted for all namespaces.", entry(PLAIN, ANN), allowed_signers=scoped),
    )
    temporary = a_release(changes=CHANGES, expires="2026-01-01T00:30:00.000Z")
    yield "temporary", case("Over by itself after half an hour.", entry(temporary, ANN))
    until = ANN.line('valid-before="20260102"')
    yield (
        "still-valid",
        case("Made before the key expired.", entry(PLAIN, ANN), allowed_signers=until),
    )


def good_keys() -> Iterator[tuple[str, Case]]:
    """Yield what keys of other kinds have signed."""
    authority = CA.line("cert-authority")
    yield (
        "a-certificate",
        case(
            "Signed with a certificate of a trusted authority.",
            by_hand(certificate(), raw_of("ann")),
            allowed_signers=authority.replace("ca@example.org", "*@example.org"),
        ),
    )
    key, raw = token(flags=1)
    yield (
        "a-token",
        case(
            "Signed by a FIDO token that was touched.",
            by_hand(key, raw),
            allowed_signers=f"eve@example.org {key.line()}\n",
        ),
    )


def good_places() -> Iterator[tuple[str, Case]]:
    """Yield what is believed for its place, or for what it does."""
    yield (
        "the-second",
        case("Follows the first.", entry(a_release(KNOWN, changes=GUARDED), BOB), before=BEFORE),
    )
    yield (
        "a-rule-is-kept",
        case(
            "The policy wants Ann for this function.",
            entry(a_release(changes=GUARDED), ANN),
            policy=RULE,
        ),
    )
    yield (
        "a-renewal",
        case(
            "Changes nothing; the log is fresh.",
            entry(a_release(KNOWN, action="renew", changes=()), ANN),
            before=BEFORE,
        ),
    )
    yield (
        "a-reset",
        case(
            "Begins an epoch with the state of its snapshot.",
            entry(a_release(KNOWN, **RESET), ANN),
            before=BEFORE,
            snapshot=snapshot().hex(),
        ),
    )


def bad() -> Iterator[tuple[str, str, Case]]:
    """Yield (code, name, case) of what is to be refused."""
    yield from bad_forms()
    yield from bad_signatures()
    yield from bad_keys()
    yield from bad_certificates()
    yield from bad_people()
    yield from bad_statements()
    yield from bad_places()


def bad_forms() -> Iterator[tuple[str, str, Case]]:
    whole = entry(PLAIN, ANN)
    yield "bad-envelope", "empty", case("No bytes.", b"")
    yield "bad-envelope", "cut", case("The last byte is missing.", whole[:-1])
    yield "bad-envelope", "longer", case("A byte follows.", whole + b"\0")
    yield (
        "bad-envelope",
        "length",
        case("The length of the statement lies.", whole[:4] + b"\xff" * 4 + whole[8:]),
    )
    yield (
        "too-big",
        "entry",
        case(
            f"{MAX_ENTRY_BYTES + 1} bytes: `entry` is repeated, `times`.",
            b"\0",
            times=MAX_ENTRY_BYTES + 1,
        ),
    )
    yield "too-big", "signatures", case("17 signatures.", entry(PLAIN, *[ANN] * 17))
    yield "unsigned", "nobody", case("No signature.", entry(PLAIN))


def bad_signatures() -> Iterator[tuple[str, str, Case]]:
    whole = entry(PLAIN, ANN)
    yield "unknown-key", "eve", case("Nobody trusts Eve.", entry(PLAIN, EVE))
    yield (
        "bad-signature",
        "other-text",
        case("Over another statement.", sealed(TEXT, ANN, signed=b"x")),
    )
    yield (
        "bad-signature",
        "garbage",
        case("No signature at all.", envelope.seal(TEXT, (b"SSHSIG",))),
    )
    yield (
        "bad-signature",
        "zeros",
        case("64 zeros.", by_hand(ANN.key, wire.string(keys.ED25519) + wire.string(bytes(64)))),
    )
    yield (
        "wrong-purpose",
        "other",
        case("For another namespace.", sealed(TEXT, ANN, namespace="bar")),
    )
    yield (
        "wrong-purpose",
        "file",
        case("The key is for files.", whole, allowed_signers=ANN.line('namespaces="file"')),
    )
    yield (
        "revoked-key",
        "ann",
        case("Ann's key was revoked.", whole, revoked_keys=ANN.key.line() + "\n"),
    )
    yield (
        "expired-key",
        "ann",
        case("After valid-before.", whole, allowed_signers=ANN.line('valid-before="20251231"')),
    )
    yield (
        "key-not-yet-valid",
        "ann",
        case("Before valid-after.", whole, allowed_signers=ANN.line('valid-after="20260103"')),
    )


def bad_keys() -> Iterator[tuple[str, str, Case]]:
    neutral = (1).to_bytes(32, "little")
    weak = PublicKey(kind=keys.ED25519, blob=wire.string(keys.ED25519) + wire.string(neutral))
    forged = wire.string(keys.ED25519) + wire.string(neutral + bytes(32))
    yield (
        "weak-key",
        "small-order",
        case("A signature of everything, under a point of small order.", by_hand(weak, forged)),
    )
    dsa = PublicKey(kind="ssh-dss", blob=wire.string("ssh-dss"))
    yield "weak-key", "dsa", case("A DSA key.", by_hand(dsa, forged))


def bad_certificates() -> Iterator[tuple[str, str, Case]]:
    authority = CA.line("cert-authority").replace("ca@example.org", "*@example.org")
    old = certificate(until=1_700_000_000)
    yield (
        "expired-key",
        "certificate",
        case(
            "The certificate had expired.", by_hand(old, raw_of("ann")), allowed_signers=authority
        ),
    )
    broken = PublicKey(kind=old.kind, blob=certificate().blob[:-1] + b"\xff")
    yield (
        "bad-certificate",
        "changed",
        case(
            "Its last byte was changed.", by_hand(broken, raw_of("ann")), allowed_signers=authority
        ),
    )


def bad_people() -> Iterator[tuple[str, str, Case]]:
    key, raw = token(flags=0)
    yield (
        "bad-signature",
        "untouched",
        case(
            "Nobody touched the token.",
            by_hand(key, raw),
            allowed_signers=f"eve@example.org {key.line()}\n",
        ),
    )
    yield (
        "not-permitted",
        "rule",
        case("The policy wants Ann.", entry(a_release(changes=GUARDED), BOB), policy=RULE),
    )
    yield (
        "too-few-signatures",
        "twice",
        case("One signer, twice.", entry(PLAIN, ANN, ANN), policy="threshold = 2\n"),
    )


def bad_statements() -> Iterator[tuple[str, str, Case]]:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "not-json": lambda t: b"x",
        "an-unknown-field": lambda t: t.replace(b'{"format"', b'{"extra":1,"format"'),
        "a-field-twice": lambda t: t.replace(b'{"format":1', b'{"format":1,"format":1'),
        "another-format": lambda t: t.replace(b'"format":1', b'"format":2'),
        "a-wrong-type": lambda t: t.replace(b'"sequence":1', b'"sequence":"1"'),
        "a-float": lambda t: t.replace(b'"sequence":1', b'"sequence":1.0'),
        "a-huge-number": lambda t: t.replace(b'"size":9', b'"size":9007199254740992'),
        "an-unknown-action": lambda t: t.replace(b'"action":"push"', b'"action":"run"'),
        "no-such-day": lambda t: t.replace(b"2026-01-01", b"2026-02-30"),
        "a-time-of-a-zone": lambda t: t.replace(b".000Z", b".000+01:00"),
        "half-a-character": lambda t: t.replace(b'"ann"', b'"\\ud800"'),
        "no-utf8": lambda t: t.replace(b'"ann"', b'"\xff"'),
        "text-behind": lambda t: t + b"{}",
        "over-at-once": lambda t: t[:-1] + b',"expires":"2026-01-01T00:00:00.000Z"}',
        "over-before": lambda t: t[:-1] + b',"expires":"2025-12-31T23:59:59.999Z"}',
        "never-over": lambda t: t[:-1] + b',"expires":""}',
        "over-at-no-time": lambda t: t[:-1] + b',"expires":"2026-01-01T00:30:00Z"}',
        "a-temporary-rollback": lambda t: (
            t[:-1].replace(b'"action":"push"', b'"action":"rollback"')
            + b',"expires":"2026-01-01T00:30:00.000Z"}'
        ),
    }
    for name, change in changes.items():
        yield (
            "bad-statement",
            name,
            case("Signed, and not in the format.", sealed(change(TEXT), ANN)),
        )
    other = statement.write(a_release(namespace="bar"))
    yield (
        "wrong-namespace",
        "bar",
        case("Signed for this namespace, and says another.", sealed(other, ANN)),
    )


def bad_places() -> Iterator[tuple[str, str, Case]]:
    def at(about: str, **fields: Any) -> Case:
        return case(about, entry(a_release(KNOWN, **fields), ANN), before=BEFORE)

    yield "wrong-sequence", "again", case("The first again.", entry(PLAIN, ANN), before=BEFORE)
    yield "wrong-sequence", "ahead", at("One is left out.", sequence=3)
    yield "wrong-chain", "fork", at("Follows another first one.", previous="0" * 64)
    yield "wrong-epoch", "ahead", at("In an epoch that no reset began.", epoch=1)
    yield "wrong-time", "before", at("Older than the one before.", time="2025-12-31T23:59:59.999Z")
    twice = (Change(function="shop:price", version=1, bundle="2" * 64, size=9, created=True),)
    yield "wrong-version", "twice", at("Gives a number a second time.", changes=twice)
    unknown = (Change(function="shop:other", version=4, bundle="2" * 64, size=9),)
    yield "wrong-version", "unknown", at("A version that was never made.", changes=unknown)
    reset = entry(a_release(KNOWN, **RESET), ANN)
    yield "wrong-snapshot", "missing", case("The snapshot is missing.", reset, before=BEFORE)
    yield (
        "wrong-snapshot",
        "other",
        case("Another snapshot.", reset, before=BEFORE, snapshot=b"SCS2".hex()),
    )
    yield (
        "not-permitted",
        "reset",
        case(
            "Only Bob may reset.",
            reset,
            before=BEFORE,
            snapshot=snapshot().hex(),
            policy='admins = ["bob@*"]\n',
        ),
    )


def cases() -> Iterator[tuple[str, str]]:
    """Yield (file, text) of the whole corpus."""
    for name, found in (*good(), *good_keys(), *good_places()):
        data = bytes.fromhex(found["entry"])
        ledger = Ledger(NAMESPACE, Unsigned())
        release = ledger.open(data).release
        text, signatures = envelope.open_(data)
        signers = [sshsig.read(s).key.fingerprint for s in signatures]
        if len(signers) > 1:
            signers = [one for one in signers if one != EVE.key.fingerprint]
        found["expected"] = {
            "head": statement.hash_of(text),
            "release": fields_of(release),
            "signers": signers,
        }
        yield f"ok/{name}.json", _text(found)
    for code, name, found in bad():
        yield f"fail/{code}--{name}.json", _text(found | {"expected": {"code": code}})


def fields_of(release: Release) -> dict[str, Any]:
    """Return the fields of a release as the corpus has them: an end only where there is one."""
    found = asdict(release)
    return {name: value for name, value in found.items() if value or name != "expires"}


def _text(found: Case) -> str:
    return json.dumps(found, indent=1, ensure_ascii=True) + "\n"


def main() -> None:
    """Write the corpus."""
    for file, text in cases():
        path = FOLDER / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
