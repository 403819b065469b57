"""Public keys of people: Ed25519, in software or on a FIDO token, as OpenSSH writes them.

Not here: certificates (`scatter.trust.certificate`), which keys are trusted
(`scatter.trust.allowed_signers`), private keys (`scatter.trust.signing`).

Invariants
1. Only Ed25519 keys sign. Others are read, since files that are shared with git have them, and RSA
   and ECDSA keys may sign certificates; nothing else can be done with them.
2. A key whose point has small order is never made: signatures under it can be forged
   (cryptography 50 accepts them). Nor is one written in a way that is not the canonical one.
3. A signature of a FIDO token says that somebody touched it.
4. `cryptography` is imported by the functions that need it (m: 20 to 30 ms).
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from scatter.errors import Untrusted
from scatter.trust import wire

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519 = "ssh-ed25519"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SIGNING_KINDS = (ED25519, SK_ED25519)
AUTHORITY_KINDS = ("ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
"""Keys of other kinds that may sign certificates."""
USELESS_KINDS = ("ssh-dss", "sk-ecdsa-sha2-nistp256@openssh.com")
KINDS = SIGNING_KINDS + AUTHORITY_KINDS + USELESS_KINDS
CERTIFICATE_SUFFIX = "-cert-v01@openssh.com"

_P = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""The y of the points of order 8, up to its sign (RFC 7748's curve, Edwards form)."""
_SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})
_MAX_KEY_BYTES = 1 << 14
_TOUCHED, _VERIFIED = 0x01, 0x04
"""Flags of a FIDO token: somebody touched it; it asked for a PIN or a finger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key.

    Attributes:
        kind: Its type as OpenSSH names it, e.g. `ssh-ed25519`.
        blob: The key in SSH's wire format.
        comment: What its line says after it; no part of the key.
        point: The 32 bytes of an Ed25519 key; empty for other kinds.
        application: What a FIDO token made the key for, such as `ssh:`.

    """

    kind: str
    blob: bytes = field(repr=False)
    comment: str = field(default="", compare=False, repr=False)
    point: bytes = field(default=b"", compare=False, repr=False)
    application: str = field(default="", compare=False, repr=False)

    def __repr__(self) -> str:
        return f"PublicKey({self.kind} {self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """Return `SHA256:…`, as `ssh-keygen -l` prints it."""
        return _fingerprint(self.blob)

    @property
    def key(self) -> PublicKey:
        """Return this key; a certificate has one within."""
        return self

    def line(self) -> str:
        """Return the key as a line of a `.pub` file, without its end."""
        return f"{self.kind} {wire.to_base64(self.blob)} {self.comment}".rstrip()

    def verify(self, message: bytes, signature: bytes, *, needs_pin: bool = False) -> None:
        """Return if the signature is this key's over the message.

        Args:
            message: The bytes that were signed.
            signature: In SSH's wire format, as ssh-agent returns it.
            needs_pin: The FIDO token must have asked for a PIN or a finger.

        Raises:
            Untrusted: `bad-signature`, or `weak-key` for a key that may not sign.

        """
        try:
            self._verify(message, wire.Reader(signature), needs_pin)
        except ValueError as error:
            raise Untrusted(
                "bad-signature", f"A signature by {self.fingerprint} is not valid: {error}."
            ) from error

    def _verify(self, message: bytes, reader: wire.Reader, needs_pin: bool) -> None:
        if self.kind not in SIGNING_KINDS:
            raise cannot_sign(self.kind)
        kind = reader.text(64)
        if kind != self.kind:
            raise ValueError(f"expected one of {self.kind}, found {kind!r}")
        raw = reader.string(64)
        if self.kind == SK_ED25519:
            message = _told_by_token(self.application, message, reader, needs_pin)
        reader.end()
        _verify_ed25519(self.point, message, raw)


@lru_cache(256)  # a key of every certificate that was met lately
def _fingerprint(blob: bytes) -> str:
    return f"SHA256:{wire.to_base64(hashlib.sha256(blob).digest()).rstrip('=')}"


def cannot_sign(kind: str) -> Untrusted:
    """Return the refusal of a signature by a key of another kind."""
    return Untrusted(
        "weak-key",
        f"Expected an Ed25519 key ({', '.join(SIGNING_KINDS)}), found {kind!r}.",
        hint="Sign with an Ed25519 key: `scatter keys new`.",
    )


def _told_by_token(application: str, message: bytes, reader: wire.Reader, needs_pin: bool) -> bytes:
    """Return what a FIDO token signed (OpenSSH's PROTOCOL.u2f); flags and counter are read."""
    flags, counter = reader.u8(), reader.u32()
    if not flags & _TOUCHED:
        raise ValueError("the token says that nobody touched it")
    if needs_pin and not flags & _VERIFIED:
        raise ValueError("the token did not ask for a PIN or a finger")
    hashed = hashlib.sha256(application.encode()).digest()
    return hashed + struct.pack(">BI", flags, counter) + hashlib.sha256(message).digest()


def load() -> None:
    """Import what verifying takes, which else comes with the first signature."""
    import cryptography.exceptions
    import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401


def _verify_ed25519(point: bytes, message: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature

    if len(signature) != 64:
        raise ValueError(f"expected 64 bytes, found {len(signature)}")
    try:
        _ed25519(point).verify(signature, message)
    except InvalidSignature:
        raise ValueError("it does not fit the message") from None


@lru_cache(64)
def _ed25519(point: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(point)


def check_point(point: bytes) -> None:
    """Return if 32 bytes can be a public key that nobody can forge signatures for.

    Raises:
        ValueError: They are too few or too many.
        Untrusted: `weak-key`.

    """
    if len(point) != 32:
        raise ValueError(f"expected a key of 32 bytes, found {len(point)}")
    y = int.from_bytes(point, "little") & (2**255 - 1)
    if y >= _P or y in _SMALL_ORDER:
        raise Untrusted(
            "weak-key",
            f"The Ed25519 key {point.hex()} is none that ssh-keygen makes: anybody could forge "
            "signatures under it.",
            hint="Find out who gave it to you.",
        )


def read_key(blob: bytes, comment: str = "") -> PublicKey:
    """Return the public key in some bytes. Certificates are not read here.

    Raises:
        ValueError: They are no key in SSH's wire format, or of a kind that is not known.
        Untrusted: `weak-key`.

    """
    if len(blob) > _MAX_KEY_BYTES:
        raise ValueError(f"expected a key of at most {_MAX_KEY_BYTES} bytes, found {len(blob)}")
    reader = wire.Reader(blob)
    kind = reader.text(64)
    if kind not in KINDS:
        raise ValueError(f"unknown kind of key {kind!r}")
    point, application = b"", ""
    if kind in SIGNING_KINDS:
        point, application = read_point(reader, kind)
        reader.end()
    return PublicKey(kind=kind, blob=blob, comment=comment, point=point, application=application)


def read_point(reader: wire.Reader, kind: str) -> tuple[bytes, str]:
    """Return the point of an Ed25519 key, and the application of one on a token.

    Raises:
        ValueError: It is malformed.
        Untrusted: `weak-key`.

    """
    point = reader.string(32)
    check_point(point)
    return point, reader.text(1024) if kind == SK_ED25519 else ""


def split_line(text: str) -> tuple[str, bytes, str]:
    """Return kind, blob and comment of a line such as a `.pub` file has.

    Raises:
        ValueError: It is none.

    """
    parts = re.split(r"[ \t]+", text.strip(" \t\r\n"), maxsplit=2)  # no other blanks, as OpenSSH
    if len(parts) < 2:
        raise ValueError("expected `ssh-ed25519 AAAA… comment`")
    kind, encoded, comment = parts[0], parts[1], "".join(parts[2:])
    blob = wire.from_base64(encoded)
    found = wire.Reader(blob).text(64)
    if found != kind:
        raise ValueError(f"its first word says {kind!r}, the key itself {found!r}")
    return kind, blob, comment


def parse_key(line: str) -> PublicKey:
    """Return the public key of a line such as a `.pub` file has.

    Raises:
        ValueError: It is none, or a certificate.
        Untrusted: `weak-key`.

    """
    kind, blob, comment = split_line(line)
    if kind.endswith(CERTIFICATE_SUFFIX):
        raise ValueError(f"expected a key, found a certificate ({kind})")
    return read_key(blob, comment)
