"""Revoked keys: plain lists and OpenSSH's binary ones, each put to `ssh-keygen -Y verify -r`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openssh import PURPOSE, OpenSSH, Token, public

from scatter.errors import Untrusted
from scatter.trust import krl, private, revoked, sshsig, wire
from scatter.trust.allowed_signers import parse
from scatter.trust.certificate import Certificate

SERIAL = 42


class Signing:
    """A key, an authority, a numbered certificate; and what each list makes of it."""

    def __init__(self, ssh: OpenSSH, serial: int = SERIAL) -> None:
        self.ssh = ssh
        self.key, self.ca, self.other = ssh.key("ann"), ssh.key("ca"), ssh.key("other")
        self.certificate: Certificate = ssh.certify(self.key, self.ca, "-z", serial)
        raw = private.read(self.key).sign(sshsig.signed_bytes(b"m", PURPOSE))
        self.plain = sshsig.write(public(self.key), PURPOSE, raw)
        self.certified = sshsig.write(self.certificate, PURPOSE, raw)
        self.signers = (
            f"ann@example.org {public(self.key).line()}\n"
            f"ann@example.org cert-authority {public(self.ca).line()}\n"
        )

    def revoked(self, list_: Path) -> tuple[bool, bool]:
        """Return whether the key is revoked, and whether the certificate is, as both see it."""
        read = revoked.parse(list_.read_bytes(), list_.name)
        found = []
        for data in (self.plain, self.certified):
            signature = sshsig.read(data)
            try:
                parse(self.signers, "s").find(signature.key, PURPOSE, time.time(), read)
                reason = ""
            except Untrusted as error:
                reason = f"{error.reason}: {error}"
            is_revoked = "revoked-key" in reason
            assert is_revoked == (list_.name in reason) == bool(reason)
            theirs = self.ssh.verifies(data, b"m", self.signers, "-r", list_)
            assert is_revoked != theirs
            found.append(is_revoked)
        return found[0], found[1]


@pytest.fixture
def signing(ssh: OpenSSH) -> Signing:
    return Signing(ssh)


def specified(ssh: OpenSSH, text: str, *options: object) -> Path:
    """Return a KRL of a specification."""
    (ssh.folder / "spec").write_text(text)
    ssh.run("ssh-keygen", "-q", "-k", "-f", "list.krl", *options, "spec")
    return ssh.folder / "list.krl"


SPECIFICATIONS = [
    # what is revoked, whether there is an authority, whether key and certificate are
    ("key: KEY", True, (True, True)),
    ("sha1: KEY", False, (True, True)),
    ("sha256: KEY", False, (True, True)),
    ("hash: FINGERPRINT", False, (True, True)),
    ("key: OTHER", False, (False, False)),
    ("sha1: OTHER", False, (False, False)),
    ("key: CA", False, (False, True)),
    ("sha256: CA", False, (False, True)),
    ("serial: 42", True, (False, True)),
    ("serial: 43", True, (False, False)),
    ("serial: 40-44", True, (False, True)),
    ("serial: 43-99", True, (False, False)),
    ("serial: 1\nserial: 42\nserial: 1000000", True, (False, True)),
    ("serial: 1-3\nserial: 7\nserial: 9\nserial: 11\nserial: 42\nserial: 44", True, (False, True)),
    (
        "serial: 30\nserial: 32\nserial: 35\nserial: 41\nserial: 43\nserial: 50",
        True,
        (False, False),
    ),
    ("serial: 18446744073709551615\nserial: 42", True, (False, True)),
    ("id: id of ann", True, (False, True)),
    ("id: id of bob", True, (False, False)),
    ("id: id of an", True, (False, False)),
    ("", False, (False, False)),
]


def filled(signing: Signing, text: str) -> str:
    """Return a text with its words replaced, all at once: keys have such words in them."""
    words = {
        "KEY": public(signing.key).line(),
        "CA": public(signing.ca).line(),
        "OTHER": public(signing.other).line(),
        "CERT": signing.certificate.line(),
        "FINGERPRINT": public(signing.key).fingerprint,
    }
    return re.sub(r"KEY|CA|OTHER|CERT|FINGERPRINT", lambda match: words[match[0]], text)


@pytest.mark.parametrize(("text", "with_ca", "expected"), SPECIFICATIONS, ids=range(20))
def test_a_krl_revokes_what_it_revokes_for_ssh_keygen(
    signing: Signing, text: str, with_ca: bool, expected: tuple[bool, bool]
) -> None:
    text = filled(signing, text)
    options = ("-s", f"{signing.ca}.pub") if with_ca else ()

    assert signing.revoked(specified(signing.ssh, text + "\n", *options)) == expected


@pytest.mark.parametrize("text", ["serial: 42", "id: id of ann", "serial: 1-100"])
def test_certificates_of_another_authority_are_not_meant(signing: Signing, text: str) -> None:
    list_ = specified(signing.ssh, f"{text}\n", "-s", f"{signing.other}.pub")
    assert signing.revoked(list_) == (False, False)


def test_a_certificate_without_a_number_is_in_no_range(ssh: OpenSSH) -> None:
    list_ = ssh.folder / "list.krl"
    list_.write_bytes(header() + certificates(section(0x21, wire.u64(1), wire.u64(2**64 - 1))))

    assert Signing(ssh, serial=0).revoked(list_) == (False, False)
    for name in ("ann", "ca", "other"):
        (ssh.folder / name).unlink()
    assert Signing(ssh, serial=2**64 - 1).revoked(list_) == (False, True)


LISTS = [
    ("KEY", (True, True)),
    ("KEY with a comment", (True, True)),
    ("# revoked\n\n  KEY\r\n", (True, True)),
    ("OTHER", (False, False)),
    ("OTHER\nCA", (False, True)),
    ("CERT", (True, True)),
    ("", (False, False)),
    ("# KEY", (False, False)),
]


@pytest.mark.parametrize(("text", "expected"), LISTS, ids=range(len(LISTS)))
def test_a_plain_list_revokes_what_it_revokes_for_ssh_keygen(
    signing: Signing, text: str, expected: tuple[bool, bool]
) -> None:
    text = filled(signing, text)
    list_ = signing.ssh.folder / "revoked_keys"
    list_.write_text(f"{text}\n")

    assert signing.revoked(list_) == expected


def test_a_fingerprint_revokes_a_key_and_its_certificates(signing: Signing) -> None:
    key = public(signing.key)
    read = revoked.parse(f"{key.fingerprint} ann\n".encode(), "list")

    assert read.where(key) == read.where(signing.certificate) == "list:1"
    assert read.where(public(signing.other)) == ""
    authority = revoked.parse(f"{public(signing.ca).fingerprint}\n".encode(), "list")
    assert (authority.where(key), authority.where(signing.certificate)) == ("", "list:1")


@pytest.mark.parametrize(
    "text",
    [
        "SHA256:abc",
        "SHA256:" + "A" * 44,
        "MD5:00:11",
        "ann",
        "ssh-ed25519 AAAA",
        Token().key.line() + "\nSHA256:",
        "SSHKRL",
        "\udcff",
    ],
)
def test_a_list_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(Untrusted, match=r"^/etc/r") as caught:
        revoked.parse(text.encode("utf-8", "surrogateescape"), "/etc/r")
    assert caught.value.reason == "bad-trust-file"


def test_lists_are_read_as_if_they_were_one(signing: Signing) -> None:
    ssh = signing.ssh
    binary = specified(ssh, f"key: {public(signing.key).line()}\n").read_bytes()
    both = revoked.merged(
        [
            revoked.parse(f"{public(signing.other).fingerprint}\n".encode(), "first"),
            revoked.parse(f"{public(signing.other).line()}\n".encode(), "second"),
            revoked.parse(binary, "third"),
        ]
    )
    assert both.where(public(signing.other)) == "first:1"
    assert both.where(public(signing.key)) == "third"
    assert both.where(public(signing.ca)) == ""
    assert repr(both) == "Revoked(1 keys, 1 KRLs)"


# binary lists by hand --------------------------------------------------------------------


def header(version: int = 1) -> bytes:
    numbers = wire.u64(1) + wire.u64(2) + wire.u64(0)
    return krl.MAGIC + wire.u32(version) + numbers + wire.string(b"") + wire.string("a comment")


def section(kind: int, *parts: bytes) -> bytes:
    return bytes([kind]) + wire.string(b"".join(parts))


def certificates(*sections: bytes) -> bytes:
    return section(1, wire.string(b""), wire.string(b""), *sections)


def wrong() -> Iterator[tuple[str, bytes]]:
    yield "another version", header(2)
    yield "an unknown section", header() + section(9)
    yield "a short SHA-1", header() + section(3, wire.string(bytes(19)))
    yield "a short SHA-256", header() + section(5, wire.string(bytes(20)))
    yield "certificates in an unknown way", header() + certificates(section(0x40))
    yield "half a serial", header() + certificates(section(0x20, bytes(7)))
    yield "a range and more", header() + certificates(section(0x21, bytes(17)))
    yield (
        "a bitmap and more",
        header() + certificates(section(0x22, bytes(8), wire.string(b"\1"), b"\0")),
    )
    for name, numbers in (("from 0", (0, 9)), ("backwards", (9, 8))):
        pair = b"".join(map(wire.u64, numbers))
        yield f"a range {name}", header() + certificates(section(0x21, pair))
    yield "the serial 0", header() + certificates(section(0x20, wire.u64(0)))
    for name, first, bits in (("from 0", 0, b"\1"), ("beyond the end", 2**64 - 1, b"\2")):
        bitmap = section(0x22, wire.u64(first), wire.string(bits))
        yield f"a bitmap {name}", header() + certificates(bitmap)
    critical = wire.string("new@example.org") + b"\1" + wire.string(b"")
    yield "a critical extension", header() + section(255, critical)
    yield "a critical extension of certificates", header() + certificates(section(0x39, critical))
    yield "a signature cut off", header() + section(4)
    yield "trailing bytes", header() + b"\2"
    whole = header() + certificates(section(0x20, wire.u64(7))) + section(2, wire.string(b"key"))
    starts = {len(header()), len(whole), len(header() + certificates(section(0x20, wire.u64(7))))}
    for length in range(8, len(whole)):
        if length not in starts:
            yield f"cut at {length}", whole[:length]


@pytest.mark.parametrize("data", [pytest.param(d, id=n) for n, d in wrong()])
def test_a_krl_of_which_a_part_is_not_understood_is_an_error(data: bytes) -> None:
    with pytest.raises(Untrusted, match=r"^list: ") as caught:
        revoked.parse(data, "list")
    assert caught.value.reason == "bad-trust-file"


def test_extensions_that_may_be_left_out_and_signatures_are_read_over() -> None:
    key = Token().key
    harmless = wire.string("new@example.org") + b"\0" + wire.string(b"x")
    signature = section(4, key.blob) + wire.string(b"signature")
    data = header() + section(255, harmless) + certificates(section(0x39, harmless))
    data += section(2, wire.string(key.blob)) + signature

    found = krl.read(data)
    assert found.has(key)
    assert not found.has(Token().key)


def test_a_bitmap_is_read_from_its_first_serial_on(ssh: OpenSSH) -> None:
    key, ca = ssh.key("ann"), ssh.key("ca")
    bits = 0b1000_0000_0101
    data = header() + certificates(
        section(0x22, wire.u64(1000), wire.string(bits.to_bytes(2, "big")))
    )
    found = krl.read(data)
    for serial, expected in ((999, 0), (1000, 1), (1001, 0), (1002, 1), (1011, 1), (1012, 0)):
        signed = ssh.certify(key, ca, "-z", serial)
        assert found.has(signed) is bool(expected), serial
    assert not found.has(ssh.certify(key, ca, "-z", 2**64 - 1))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_no_bytes_make_a_krl_fail_in_another_way(data: bytes) -> None:
    for candidate in (krl.MAGIC + data, header() + data):
        try:
            found = repr(revoked.parse(candidate, "list"))
        except Untrusted as error:
            found = error.reason
        assert found in ("bad-trust-file", "Revoked(0 keys, 1 KRLs)")
