"""Public keys: read as ssh-keygen writes them, and none under which anybody can forge."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from openssh import PURPOSE, OpenSSH, Token, public

from scatter.errors import Untrusted
from scatter.trust import allowed_signers, certificate, keys, sshsig, wire

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P


def x_of(y: int) -> int | None:
    """Return an x of the curve's points with this y, if there are any."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    for root in (1, pow(2, (P - 1) // 4, P)):
        x = pow(square, (P + 3) // 8, P) * root % P
        if (x * x - square) % P == 0:
            return x
    return None


def times_8_is_nothing(y: int) -> bool:
    """Return whether a point of the curve vanishes when it is doubled three times."""
    x = x_of(y)
    if x is None:
        return False
    for _ in range(3):
        k = D * x * x * y * y
        x, y = (
            2 * x * y * pow(1 + k, P - 2, P) % P,
            (y * y + x * x) * pow(1 - k, P - 2, P) % P,
        )
    return (x, y) == (0, 1)


ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL = [0, 1, P - 1, ORDER_8, P - ORDER_8]
ENCODINGS = [y | sign << 255 for y in SMALL for sign in (0, 1)]
"""All ten ways in which a point of small order can be written within 255 bits and a sign."""
NOT_CANONICAL = [y | sign << 255 for y in range(P, 2**255) for sign in (0, 1)]


def blob(number: int) -> bytes:
    return wire.string("ssh-ed25519") + wire.string(number.to_bytes(32, "little"))


def test_the_points_of_small_order_are_these_and_no_others() -> None:
    assert all(times_8_is_nothing(y) for y in SMALL)
    assert len(set(ENCODINGS)) == 10
    # the torsion group has 8 points: 1 + 1 + 2 + 4, by their y: one, minus one, nought, two more
    assert [x_of(y) == 0 for y in SMALL] == [False, True, True, False, False]
    assert not times_8_is_nothing(int.from_bytes(Token().key.point, "little") & (2**255 - 1))


@pytest.mark.parametrize("number", ENCODINGS + NOT_CANONICAL, ids=hex)
def test_a_key_that_anybody_can_forge_under_is_refused_everywhere(number: int) -> None:
    plain, data = blob(number), wire.to_base64(blob(number))
    sk = wire.string(keys.SK_ED25519) + plain[15:] + wire.string("ssh:")

    for weak in (plain, sk):
        with pytest.raises(Untrusted) as caught:
            certificate.read(weak)
        assert caught.value.reason == "weak-key"
        forged = keys.PublicKey(kind="ssh-ed25519", blob=weak)
        with pytest.raises(Untrusted, match="could forge") as caught:
            sshsig.read(sshsig.write(forged, PURPOSE, bytes(64)))
        assert caught.value.reason == "weak-key"
    with pytest.raises(Untrusted, match=r"^signers:2: ") as caught:
        allowed_signers.parse(f"# keys\nann ssh-ed25519 {data}\n", "signers")
    assert caught.value.reason == "weak-key"


def test_cryptography_does_take_a_forgery_under_such_a_key() -> None:
    """Why they are refused here: nobody else does it. R and the key are the neutral point."""
    neutral = (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything at all")


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_key_is_read_and_named_as_ssh_keygen_does(ssh: OpenSSH, kind: str) -> None:
    path = ssh.key("ann", kind)
    key = public(path)

    assert key.fingerprint == ssh.run("ssh-keygen", "-lf", path).split()[1]
    assert f"{key.line()}\n" == path.with_suffix(".pub").read_text()
    assert repr(key) == f"PublicKey({key.kind} {key.fingerprint})"
    assert certificate.parse(key.line()) == key


def test_a_comment_is_no_part_of_a_key(ssh: OpenSSH) -> None:
    key = public(ssh.key("ann"))
    bare = keys.read_key(key.blob)

    assert (bare.comment, key.comment, bare) == ("", "ann", key)
    assert bare.line() == f"ssh-ed25519 {wire.to_base64(key.blob)}"


def test_a_token_is_read_with_its_application() -> None:
    token = Token("ssh:shop")
    read = keys.parse_key(token.key.line())

    assert (read, read.application, read.point) == (token.key, "ssh:shop", token.key.point)
    assert read.key is read


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 not-base64",
        "ssh-ed25519 AAAA",
        f"ssh-rsa {wire.to_base64(Token().key.blob)}",
        f"ssh-ed25519 {wire.to_base64(blob(9) + b'-')}",
        f"ssh-ed25519 {wire.to_base64(blob(9)[:-1])}",
        f"ssh-ed25519 {wire.to_base64(blob(9)).rstrip('=')}!",
        f"ssh-ed448 {wire.to_base64(wire.string('ssh-ed448') + wire.string(bytes(57)))}",
        f"ssh-ed25519 {wire.to_base64(wire.string('ssh-ed25519') + wire.string(bytes(1 << 15)))}",
    ],
    ids=range(10),
)
def test_what_is_no_key_is_an_error(line: str) -> None:
    with pytest.raises(ValueError):
        keys.parse_key(line)


def test_base64_has_one_way_to_be_written() -> None:
    assert wire.from_base64("AA==") == b"\0"
    for other in ("AB==", "AA=", "AA", "A A=", "AA==\n", "AA==AA=="):
        with pytest.raises(ValueError):
            wire.from_base64(other)


values = st.lists(st.one_of(st.binary(max_size=80), st.integers(0, 2**32 - 1)), max_size=8)


@given(values)
def test_what_the_wire_format_writes_it_reads(found: list[bytes | int]) -> None:
    data = b"".join(wire.u32(v) if isinstance(v, int) else wire.string(v) for v in found)
    reader = wire.Reader(data)

    assert [reader.u32() if isinstance(v, int) else reader.string() for v in found] == found
    reader.end()
    assert (reader.left, repr(reader)) == (0, f"Reader({len(data)} of {len(data)} bytes)")


@given(values, st.integers(0, 400))
def test_nothing_is_read_past_the_end(found: list[bytes | int], cut: int) -> None:
    data = b"".join(wire.string(v) for v in found if isinstance(v, bytes))
    reader = wire.Reader(data[:cut])
    try:
        while reader.left:
            reader.string()
    except ValueError:
        assert cut < len(data)
    assert reader.position <= cut


def test_importing_the_modules_of_trust_loads_no_cryptography_and_does_nothing() -> None:
    code = (
        "import sys, threading, pkgutil, importlib, scatter.trust as t\n"
        "for m in pkgutil.iter_modules(t.__path__, 'scatter.trust.'):\n"
        "    importlib.import_module(m.name)\n"
        "print([m for m in ('cryptography', 'redis', 'structlog', 'click') if m in sys.modules],"
        " threading.active_count())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[] 1\n"
