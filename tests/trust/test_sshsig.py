"""Signatures: the same bytes as OpenSSH's, and what either makes the other takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openssh import PURPOSE, OpenSSH, Token, public

from scatter.errors import Untrusted
from scatter.trust import certificate, keys, private, sshsig, wire

MESSAGES = [b"", b"one release", bytes(range(256)) * 40]


def sign(path: Path, message: bytes, hash_: str = "sha512") -> bytes:
    own = private.read(path)
    raw = own.sign(sshsig.signed_bytes(message, PURPOSE, hash_))
    return sshsig.write(own.key, PURPOSE, raw, hash_)


def refusal(data: bytes, message: bytes = b"m", purpose: str = PURPOSE) -> str:
    with pytest.raises(Untrusted) as caught:
        sshsig.read(data).verify(message, purpose)
    return caught.value.reason


@pytest.mark.parametrize("message", MESSAGES, ids=len)
@pytest.mark.parametrize("hash_", ["sha512", "sha256"])
def test_signatures_are_byte_for_byte_those_of_ssh_keygen(
    ssh: OpenSSH, message: bytes, hash_: str
) -> None:
    key = ssh.key("ann")
    theirs = ssh.sign(key, message, PURPOSE, "-O", f"hashalg={hash_}")

    assert sshsig.armor(sign(key, message, hash_)) == theirs
    assert sshsig.dearmor(theirs) == sign(key, message, hash_)
    sshsig.read(sshsig.dearmor(theirs)).verify(message, PURPOSE)


@pytest.mark.parametrize("message", MESSAGES, ids=len)
def test_ssh_keygen_verifies_what_is_signed_here(ssh: OpenSSH, message: bytes) -> None:
    key = ssh.key("ann")
    signers = f"ann@example.org {public(key).line()}\n"

    assert ssh.verifies(sign(key, message), message, signers)
    assert not ssh.verifies(sign(key, message + b"."), message, signers)


def test_a_signature_of_a_fido_token_is_taken_by_both(ssh: OpenSSH) -> None:
    token = Token()
    signers = f"ann@example.org {token.key.line()}\n"
    signature = token.sshsig(b"m", flags=5)

    sshsig.read(signature).verify(b"m", PURPOSE)
    assert ssh.verifies(signature, b"m", signers)
    assert refusal(signature, b"n") == "bad-signature"


def test_a_token_that_nobody_touched_is_refused() -> None:
    data = sshsig.signed_bytes(b"m", PURPOSE)
    token = Token()

    assert refusal(token.sshsig(b"m", flags=0)) == "bad-signature"
    with pytest.raises(Untrusted, match="nobody touched it"):
        token.key.verify(data, token.sign(data, flags=4))
    with pytest.raises(Untrusted, match="did not ask for a PIN"):
        token.key.verify(data, token.sign(data, flags=1), needs_pin=True)
    token.key.verify(data, token.sign(data, flags=5), needs_pin=True)


@pytest.mark.parametrize("at", range(5))
def test_flags_and_counter_of_a_token_are_signed(at: int) -> None:
    signature = bytearray(Token().sshsig(b"m", flags=5))
    signature[len(signature) - 1 - at] ^= 1 << (at == 4)  # the touched bit stays set

    assert refusal(bytes(signature)) == "bad-signature"


def test_a_token_made_for_another_application_does_not_pass() -> None:
    token, other = Token("ssh:"), Token("ssh:")
    other._private = token._private
    other.application = "https://example.org"

    assert refusal(sshsig.write(token.key, PURPOSE, other.sign(b"m"))) == "bad-signature"


def test_a_signature_for_another_purpose_is_refused(ssh: OpenSSH) -> None:
    signature = sign(ssh.key("ann"), b"m")

    assert refusal(signature, purpose="scatter-release-v1:shops") == "wrong-purpose"
    assert refusal(signature, purpose="scatter-release-v1:sho") == "wrong-purpose"
    assert refusal(signature.replace(b":shop", b":shoq"), purpose=f"{PURPOSE[:-1]}q") == (
        "bad-signature"
    )


def parts(version: int = 1, **changes: bytes) -> bytes:
    """Return a signature with some of its parts replaced."""
    token = Token()
    found = {
        "key": token.key.blob,
        "namespace": PURPOSE.encode(),
        "reserved": b"",
        "hash": b"sha512",
        "raw": token.sign(sshsig.signed_bytes(b"m", PURPOSE)),
    }
    found |= changes
    return b"SSHSIG" + wire.u32(version) + b"".join(wire.string(v) for v in found.values())


def malformed() -> Iterator[tuple[str, bytes]]:
    whole = parts()
    yield "empty", b""
    yield "magic", b"SSHSIg" + whole[6:]
    yield "version 0", parts(version=0)
    yield "version 2", parts(version=2)
    yield "trailing", whole + b"\0"
    yield "hash", parts(hash=b"sha1")
    yield "hash with a NUL", parts(hash=b"sha512\0")
    yield "namespace with a NUL", parts(namespace=PURPOSE.encode() + b"\0")
    yield "namespace no UTF-8", parts(namespace=b"\xff")
    yield "no key", parts(key=b"")
    yield "key of another kind", parts(key=wire.string("ssh-ed448") + wire.string(bytes(57)))
    yield "key too short", parts(key=wire.string("ssh-ed25519") + wire.string(bytes(31)))
    yield "key and more", parts(key=Token().key.blob + b"\0")
    yield "no signature", parts(raw=b"")
    yield "signature and more", parts(raw=Token().sign(b"") + b"\0")
    yield "large", parts(reserved=bytes(1 << 17))
    for length in range(len(whole)):
        yield f"cut at {length}", whole[:length]


@pytest.mark.parametrize("data", [pytest.param(d, id=n) for n, d in malformed()])
def test_what_is_malformed_is_refused_with_its_code(data: bytes) -> None:
    assert refusal(data) == "bad-signature"


def test_the_reserved_field_is_read_over_as_openssh_does(ssh: OpenSSH) -> None:
    key = ssh.key("ann")
    own = private.read(key)
    raw = own.sign(sshsig.signed_bytes(b"m", PURPOSE))
    data = parts(key=own.key.blob, reserved=b"something", raw=raw)

    sshsig.read(data).verify(b"m", PURPOSE)
    assert ssh.verifies(data, b"m", f"ann@example.org {own.key.line()}\n")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_only_ed25519_signs(ssh: OpenSSH, kind: str) -> None:
    armored = ssh.sign(ssh.key("ann", kind), b"m")

    assert refusal(sshsig.dearmor(armored)) == "weak-key"


def test_a_signature_of_a_plain_key_does_not_pass_for_that_of_a_token(ssh: OpenSSH) -> None:
    key = ssh.key("ann")
    own = private.read(key)
    sk = wire.string(keys.SK_ED25519) + wire.string(own.key.point) + wire.string("ssh:")
    raw = own.sign(sshsig.signed_bytes(b"m", PURPOSE))

    assert refusal(sshsig.write(certificate.read(sk), PURPOSE, raw)) == "bad-signature"


@pytest.mark.parametrize("is_token", [False, True])
def test_a_signature_that_calls_itself_of_another_kind_is_refused(
    ssh: OpenSSH, is_token: bool
) -> None:
    data = sshsig.signed_bytes(b"m", PURPOSE)
    signer = Token() if is_token else private.read(ssh.key("ann"))
    raw = signer.sign(data)

    signer.key.verify(data, raw)
    for old, new in ((b"ssh-ed25519", b"ssh-ed25518"), (b"ssh-", b"SSH-")):
        with pytest.raises(Untrusted, match="expected one of"):
            signer.key.verify(data, raw.replace(old, new))


@given(st.binary(min_size=1, max_size=400))
def test_armor_is_undone_by_dearmor(data: bytes) -> None:
    assert sshsig.dearmor(sshsig.armor(data)) == data
    assert sshsig.dearmor(sshsig.armor(data).replace("\n", "\r\n")) == data


@pytest.mark.parametrize("text", ["", "AAAA", "-----BEGIN SSH SIGNATURE-----\nAAAA\n"])
def test_what_is_not_armored_is_refused(text: str) -> None:
    with pytest.raises(Untrusted, match="A signature cannot be read"):
        sshsig.dearmor(text)


@given(st.binary(max_size=300))
def test_no_bytes_but_a_signature_are_read(data: bytes) -> None:
    for candidate in (data, b"SSHSIG" + wire.u32(1) + data):
        with pytest.raises(Untrusted):
            sshsig.read(candidate).verify(b"m", PURPOSE)


namespaces = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@given(namespaces, st.binary(max_size=100), st.binary(max_size=200))
def test_what_is_written_is_read(namespace: str, raw: bytes, message: bytes) -> None:
    key = Token().key
    found = sshsig.read(sshsig.write(key, namespace, raw, "sha256"))

    assert (found.key, found.namespace, found.hash, found.raw) == (key, namespace, "sha256", raw)
    assert sshsig.signed_bytes(message, namespace).startswith(b"SSHSIG")
