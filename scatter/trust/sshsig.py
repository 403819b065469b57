"""OpenSSH's signatures of files (PROTOCOL.sshsig), in binary and as `ssh-keygen` prints them.

Not here: whose signatures are trusted (`scatter.trust.allowed_signers`). We keep them in binary;
`armor` makes of one what `ssh-keygen -Y verify` reads.

Invariants
1. Only version 1 is read, and nothing may follow it.
2. The reserved field is read over and is never among the signed bytes, as OpenSSH does it.
3. What a signature says of itself (key, namespace) is compared, never believed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from scatter.errors import Untrusted
from scatter.trust import certificate, wire
from scatter.trust.certificate import Certificate
from scatter.trust.keys import SIGNING_KINDS, PublicKey, cannot_sign

MAX_BYTES = 1 << 16
"""A signature with a certificate of very many principals stays below this."""
_MAGIC = b"SSHSIG"
_VERSION = 1
_HASHES = ("sha512", "sha256")
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LINE_CHARACTERS = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature, read and not yet verified.

    Attributes:
        key: Who is said to have signed.
        namespace: What for; `ssh-keygen -n` gives it.
        hash: `sha512` or `sha256`.
        raw: The signature itself, in SSH's wire format.

    """

    key: PublicKey | Certificate
    namespace: str
    hash: str
    raw: bytes = field(repr=False)

    def verify(self, message: bytes, namespace: str) -> None:
        """Return if the signature is that of `key` over the message, for this namespace.

        Raises:
            Untrusted: `wrong-purpose` or `bad-signature`.

        """
        if self.namespace != namespace:
            raise Untrusted(
                "wrong-purpose",
                f"Expected a signature for {namespace!r}, found one for {self.namespace!r}.",
            )
        self.key.verify(signed_bytes(message, namespace, self.hash), self.raw)


def signed_bytes(message: bytes, namespace: str, hash: str = "sha512") -> bytes:  # noqa: A002
    """Return the bytes that a key signs in place of a message."""
    digest = hashlib.new(hash, message).digest()
    return _MAGIC + b"".join([wire.string(s) for s in (namespace, b"", hash, digest)])


def write(key: PublicKey | Certificate, namespace: str, raw: bytes, hash: str = "sha512") -> bytes:  # noqa: A002
    """Return a signature in binary, of the raw signature over `signed_bytes`."""
    strings = [wire.string(s) for s in (key.blob, namespace, b"", hash, raw)]
    return _MAGIC + wire.u32(_VERSION) + b"".join(strings)


def read(data: bytes) -> Signature:
    """Return a signature from binary; nothing is verified.

    Raises:
        Untrusted: `bad-signature`, `bad-certificate`, or `weak-key`.

    """
    try:
        blob, namespace, hash_, raw = _split(data)
    except ValueError as error:
        raise Untrusted("bad-signature", f"A signature cannot be read: {error}.") from error
    return Signature(key=_read_key(blob), namespace=namespace, hash=hash_, raw=raw)


def _split(data: bytes) -> tuple[bytes, str, str, bytes]:
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes, found {len(data)}")
    reader = wire.Reader(data)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise ValueError(f"expected it to begin with {_MAGIC.decode()}")
    version = reader.u32()
    if version != _VERSION:
        raise ValueError(f"expected version {_VERSION}, found {version}")
    blob, namespace = reader.string(), reader.text()
    reader.string()  # reserved
    hash_, raw = reader.text(16), reader.string()
    reader.end()
    if hash_ not in _HASHES:
        raise ValueError(f"expected the hash {' or '.join(_HASHES)}, found {hash_!r}")
    return blob, namespace, hash_, raw


def _read_key(blob: bytes) -> PublicKey | Certificate:
    is_certificate = b"-cert-" in blob[:64]
    try:
        key = certificate.read(blob)
    except ValueError as error:
        what = "certificate" if is_certificate else "key"
        raise Untrusted(
            "bad-certificate" if is_certificate else "bad-signature",
            f"The {what} of a signature cannot be read: {error}.",
        ) from error
    if key.key.kind not in SIGNING_KINDS:
        raise cannot_sign(key.key.kind)
    return key


def armor(data: bytes) -> str:
    """Return a signature as `ssh-keygen -Y sign` prints it."""
    text = wire.to_base64(data)
    lines = [text[at : at + _LINE_CHARACTERS] for at in range(0, len(text), _LINE_CHARACTERS)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def dearmor(text: str) -> bytes:
    """Return the binary of a signature that `ssh-keygen -Y sign` printed.

    Raises:
        Untrusted: `bad-signature`.

    """
    head, _, rest = text.partition("\n")
    body, end, _ = rest.partition(f"\n{_END}")
    try:
        if head.rstrip("\r") != _BEGIN or not end:
            raise ValueError(f"expected `{_BEGIN}`, base64 and `{_END}`")
        return wire.from_base64("".join(body.split()))
    except ValueError as error:
        raise Untrusted("bad-signature", f"A signature cannot be read: {error}.") from error
