"""RSA and ECDSA keys of those who sign certificates; releases are signed with Ed25519 only.

Not here: Ed25519 (`scatter.trust.keys`). Invariant: no SHA-1, and no RSA key under 2048 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scatter.errors import Untrusted
from scatter.trust import wire

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from scatter.trust.keys import PublicKey

_MIN_RSA_BITS = 2048


def verify(key: PublicKey, message: bytes, signature: bytes) -> None:
    """Return if the signature, in SSH's wire format, is the key's over the message.

    Raises:
        ValueError: It is not.
        Untrusted: `weak-key`.

    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        public = load_ssh_public_key(key.line().encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    reader = wire.Reader(signature)
    kind, raw = reader.text(64), reader.string()
    reader.end()
    try:
        if isinstance(public, RSAPublicKey):
            _verify_rsa(public, kind, message, raw)
        else:
            _verify_ecdsa(public, key.kind, kind, message, raw)  # type: ignore[arg-type]
    except InvalidSignature:
        raise ValueError("it does not fit the message") from None


def _verify_rsa(public: RSAPublicKey, kind: str, message: bytes, raw: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256, SHA512

    if public.key_size < _MIN_RSA_BITS:
        raise Untrusted(
            "weak-key",
            f"Expected an RSA key of at least {_MIN_RSA_BITS} bits, found {public.key_size}.",
            hint="Have certificates signed with a larger one, or with Ed25519.",
        )
    hashes: dict[str, type[SHA256 | SHA512]] = {"rsa-sha2-256": SHA256, "rsa-sha2-512": SHA512}
    if kind not in hashes:
        raise ValueError(f"expected a signature of {' or '.join(hashes)}, found {kind!r}")
    public.verify(raw, message, PKCS1v15(), hashes[kind]())


def _verify_ecdsa(
    public: EllipticCurvePublicKey, expected: str, kind: str, message: bytes, raw: bytes
) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    if kind != expected:
        raise ValueError(f"expected a signature of {expected}, found {kind!r}")
    reader = wire.Reader(raw)
    r, s = (int.from_bytes(reader.string(80), "big", signed=True) for _ in range(2))
    reader.end()
    if r <= 0 or s <= 0:
        raise ValueError("its numbers are not positive")
    curves: dict[str, type[SHA256 | SHA384 | SHA512]]
    curves = {"256": SHA256, "384": SHA384, "521": SHA512}
    public.verify(encode_dss_signature(r, s), message, ECDSA(curves[kind[-3:]]()))
