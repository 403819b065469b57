"""OpenSSH user certificates: a key, and what an authority says of it (PROTOCOL.certkeys).

Not here: which authorities are trusted (`scatter.trust.allowed_signers`).

Invariants
1. Only user certificates of Ed25519 keys are read; the key is checked as every key is.
2. A critical option that is not understood, or that cannot be kept here, refuses the certificate.
3. What a certificate says is believed only after `check_authority`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scatter.errors import Untrusted
from scatter.trust import rsa_ecdsa, wire
from scatter.trust.keys import (
    AUTHORITY_KINDS,
    CERTIFICATE_SUFFIX,
    ED25519,
    SIGNING_KINDS,
    SK_ED25519,
    PublicKey,
    read_key,
    read_point,
    split_line,
)

KINDS = {
    f"ssh-ed25519{CERTIFICATE_SUFFIX}": ED25519,
    f"sk-ssh-ed25519{CERTIFICATE_SUFFIX}": SK_ED25519,
}
"""Kind of certificate → kind of the key within."""
MAX_PRINCIPALS = 256  # as OpenSSH has it
FOREVER = 2**64 - 1
"""`valid_before` of a certificate without an end."""
_USER = 1
_NEEDS_PIN = "verify-required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What an authority says of a key.

    Attributes:
        kind: Its type as OpenSSH names it.
        blob: The certificate in SSH's wire format.
        comment: What its line says after it.
        key: The key that it is for.
        serial: Its number, given by the authority; 0 if it numbers none.
        key_id: What the authority calls it.
        principals: The names that the key may use. None means none, not any.
        valid_after: Second since 1970, in UTC, from which on it is valid.
        valid_before: The first second at which it is not valid any more.
        critical_options: What must be kept, or the certificate refused.
        authority: The key that signed it.
        signed: The bytes that it signed.
        signature: Its signature, in SSH's wire format.

    """

    kind: str
    blob: bytes = field(repr=False)
    comment: str = field(default="", compare=False, repr=False)
    key: PublicKey = field(compare=False)
    serial: int = field(compare=False)
    key_id: str = field(compare=False)
    principals: tuple[str, ...] = field(compare=False)
    valid_after: int = field(compare=False)
    valid_before: int = field(compare=False)
    critical_options: tuple[tuple[str, bytes], ...] = field(compare=False, repr=False)
    authority: PublicKey = field(compare=False, repr=False)
    signed: bytes = field(compare=False, repr=False)
    signature: bytes = field(compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """Return that of the key within, as `ssh-keygen -l` does."""
        return self.key.fingerprint

    def line(self) -> str:
        """Return the certificate as a line of a `-cert.pub` file, without its end."""
        return f"{self.kind} {wire.to_base64(self.blob)} {self.comment}".rstrip()

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return if the signature is that of the key within. The certificate is not checked.

        Raises:
            Untrusted: `bad-signature`.

        """
        needs_pin = _NEEDS_PIN in dict(self.critical_options)
        self.key.verify(message, signature, needs_pin=needs_pin)

    def check(self, at: float) -> None:
        """Return if the certificate is signed by its authority and holds at a time.

        Args:
            at: Seconds since 1970, in UTC.

        Raises:
            Untrusted: `bad-certificate`, `expired-key` or `key-not-yet-valid`.

        """
        self.check_authority()
        for name, value in self.critical_options:
            if name != _NEEDS_PIN or value:
                raise self._bad(f"it has the critical option {name!r}, which cannot be kept here")
        if not self.principals:
            raise self._bad("it names no principals")
        if at < self.valid_after:
            raise Untrusted(
                "key-not-yet-valid", f"{self._name()} is valid from {when(self.valid_after)} on."
            )
        if at >= self.valid_before:
            raise Untrusted(
                "expired-key",
                f"{self._name()} was valid until {when(self.valid_before)}.",
                hint="Have a new one signed.",
            )

    def check_authority(self) -> None:
        """Return if the authority that the certificate names has signed it.

        Raises:
            Untrusted: `bad-certificate`, or `weak-key` for an authority whose key is too small.

        """
        try:
            if self.authority.kind in SIGNING_KINDS:
                self.authority.verify(self.signed, self.signature)
            else:
                rsa_ecdsa.verify(self.authority, self.signed, self.signature)
        except ValueError as error:
            raise self._bad(f"its authority's signature is not valid: {error}") from error
        except Untrusted as error:
            if error.reason != "bad-signature":
                raise
            raise self._bad(error.detail) from error

    def _name(self) -> str:
        return f"The certificate {self.key_id!r} (serial {self.serial}) of {self.fingerprint}"

    def _bad(self, why: str) -> Untrusted:
        return Untrusted(
            "bad-certificate", f"{self._name()} is refused: {why}.", hint="Have a new one signed."
        )


def when(second: int) -> str:
    """Return a second since 1970 as ISO 8601 in UTC."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return f"second {second}"


def read_certificate(blob: bytes, comment: str = "") -> Certificate:
    """Return the certificate in some bytes; neither its authority nor its dates are checked.

    Raises:
        ValueError: They are no user certificate of an Ed25519 key.
        Untrusted: `weak-key`, for the key within or for that of the authority.

    """
    reader = wire.Reader(blob)
    kind = reader.text(64)
    if kind not in KINDS:
        raise ValueError(f"unknown kind of certificate {kind!r}")
    reader.string()  # a nonce
    key = _read_inner_key(reader, KINDS[kind])
    serial, key_id = _read_serial(reader), reader.text()
    principals = _read_principals(reader.string())
    valid_after, valid_before = reader.u64(), reader.u64()
    options, _ = _read_options(reader.string()), _read_options(reader.string())
    reader.string()  # reserved
    authority = _read_authority(reader.string())
    signed = blob[: reader.position]
    signature = reader.string()
    reader.end()
    return Certificate(
        kind=kind,
        blob=blob,
        comment=comment,
        key=key,
        serial=serial,
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical_options=options,
        authority=authority,
        signed=signed,
        signature=signature,
    )


def _read_serial(reader: wire.Reader) -> int:
    """Return the serial of a certificate, if it is a user's."""
    serial, type_ = reader.u64(), reader.u32()
    if type_ != _USER:
        raise ValueError(f"expected a user certificate (type {_USER}), found type {type_}")
    return serial


def _read_inner_key(reader: wire.Reader, kind: str) -> PublicKey:
    point, application = read_point(reader, kind)
    blob = wire.string(kind) + wire.string(point)
    if kind == SK_ED25519:
        blob += wire.string(application)
    return PublicKey(kind=kind, blob=blob, point=point, application=application)


def _read_authority(blob: bytes) -> PublicKey:
    key = read_key(blob)
    if key.kind not in (*SIGNING_KINDS, *AUTHORITY_KINDS):
        raise ValueError(f"an authority cannot have a key of the kind {key.kind!r}")
    return key


def _read_principals(data: bytes) -> tuple[str, ...]:
    reader, found = wire.Reader(data), []
    while reader.left:
        found.append(reader.text())
        if len(found) > MAX_PRINCIPALS:
            raise ValueError(f"expected at most {MAX_PRINCIPALS} principals")
    return tuple(found)


def _read_options(data: bytes) -> tuple[tuple[str, bytes], ...]:
    reader, found = wire.Reader(data), dict[str, bytes]()
    while reader.left:
        name, value = reader.text(), reader.string()
        if name in found:
            raise ValueError(f"the option {name!r} is there twice")
        found[name] = value
    return tuple(found.items())


def read(blob: bytes, comment: str = "") -> PublicKey | Certificate:
    """Return the key or the certificate in some bytes.

    Raises:
        ValueError: They are neither.
        Untrusted: `weak-key`.

    """
    kind = wire.Reader(blob).string(64)
    if kind.endswith(CERTIFICATE_SUFFIX.encode()):
        return read_certificate(blob, comment)
    return read_key(blob, comment)


def parse(line: str) -> PublicKey | Certificate:
    """Return the key or the certificate of a line such as a `.pub` file has.

    Raises:
        ValueError: It is neither.
        Untrusted: `weak-key`.

    """
    _, blob, comment = split_line(line)
    return read(blob, comment)
