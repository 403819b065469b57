"""OpenSSH's binary lists of revoked keys (PROTOCOL.krl), as `ssh-keygen -k` makes them.

Not here: signatures of such lists. Who may write the file is checked instead, as for every file of
trust; so they are read over.

Invariant: what is not understood makes the list an error. A list of which a part is passed over
would let revoked keys through.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from scatter.trust import wire
from scatter.trust.certificate import Certificate
from scatter.trust.keys import PublicKey

MAGIC = b"SSHKRL\n\0"
_VERSION = 1
_CERTIFICATES, _KEY, _SHA1, _SIGNATURE, _SHA256, _EXTENSION = 1, 2, 3, 4, 5, 255
_SERIALS, _RANGE, _BITMAP, _KEY_ID, _CERT_EXTENSION = 0x20, 0x21, 0x22, 0x23, 0x39
_DIGEST_BYTES = {_SHA1: 20, _SHA256: 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Certificates:
    """What is revoked of the certificates of one authority.

    Attributes:
        authority: The authority's key; empty: of all.
        ranges: First and last serial of each range.
        bitmaps: A serial, and the bits of those from it on.
        key_ids: What authorities call certificates.

    """

    authority: bytes
    ranges: tuple[tuple[int, int], ...]
    bitmaps: tuple[tuple[int, int], ...]
    key_ids: frozenset[str]

    def has(self, found: Certificate) -> bool:
        if self.authority not in (b"", found.authority.blob):
            return False
        if found.key_id in self.key_ids:
            return True
        if any(first <= found.serial <= last for first, last in self.ranges):
            return True
        return any(
            found.serial >= first and bits >> (found.serial - first) & 1
            for first, bits in self.bitmaps
            if found.serial - first <= bits.bit_length()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """What a list revokes.

    Attributes:
        keys: Keys in SSH's wire format.
        digests: SHA-1 and SHA-256 of keys.
        certificates: Certificates, by authority.

    """

    keys: frozenset[bytes]
    digests: frozenset[bytes]
    certificates: tuple[_Certificates, ...]

    def has(self, key: PublicKey | Certificate) -> bool:
        """Return whether a key is revoked, or a certificate, the key within or its authority."""
        if not isinstance(key, Certificate):
            return self._has_key(key)
        if any(one.has(key) for one in self.certificates):
            return True
        return self._has_key(key.key) or self._has_key(key.authority)

    def _has_key(self, key: PublicKey) -> bool:
        sha1 = hashlib.sha1(key.blob, usedforsecurity=False).digest()
        digests = {sha1, hashlib.sha256(key.blob).digest()}
        return key.blob in self.keys or bool(digests & self.digests)


def read(data: bytes) -> RevocationList:
    """Return what a list revokes.

    Raises:
        ValueError: It is none, or has a part that is not understood.

    """
    reader = wire.Reader(data)
    if reader.take(len(MAGIC)) != MAGIC or reader.u32() != _VERSION:
        raise ValueError(f"expected an OpenSSH KRL of version {_VERSION}")
    for _ in range(3):
        reader.u64()  # its number, its date, its flags, of which there are none
    reader.string()  # reserved
    reader.text()  # a comment
    keys, digests = set[bytes](), set[bytes]()
    certificates: list[_Certificates] = []
    while reader.left:
        kind, section = reader.u8(), wire.Reader(reader.string(len(data)))
        if kind == _CERTIFICATES:
            certificates.append(_read_certificates(section))
        elif kind == _SIGNATURE:
            reader.string()  # over what came before; `section` was the key
        elif kind == _EXTENSION:
            _read_extension(section)
        else:
            into = keys if kind == _KEY else digests
            into.update(_read_strings(section, kind))
    return RevocationList(
        keys=frozenset(keys), digests=frozenset(digests), certificates=tuple(certificates)
    )


def _read_strings(section: wire.Reader, kind: int) -> list[bytes]:
    if kind not in (_KEY, _SHA1, _SHA256):
        raise ValueError(f"a section of the unknown kind {kind}")
    found = []
    while section.left:
        found.append(section.string())
        if kind != _KEY and len(found[-1]) != _DIGEST_BYTES[kind]:
            raise ValueError(f"a digest of {len(found[-1])} bytes in a section of kind {kind}")
    return found


def _read_extension(section: wire.Reader) -> None:
    """Read over an extension (OpenSSH 9.4 and later), if it may be left out."""
    name, is_critical = section.text(), section.u8()
    section.string()
    section.end()
    if is_critical:
        raise ValueError(f"the unknown critical extension {name!r}")


def _read_certificates(reader: wire.Reader) -> _Certificates:
    authority = reader.string()
    reader.string()  # reserved
    ranges: list[tuple[int, int]] = []
    bitmaps: list[tuple[int, int]] = []
    key_ids: set[str] = set()
    while reader.left:
        kind, section = reader.u8(), wire.Reader(reader.string(reader.left))
        if kind == _SERIALS:
            while section.left:
                ranges.append(_checked(*[section.u64()] * 2))
        elif kind == _RANGE:
            ranges.append(_checked(section.u64(), section.u64()))
        elif kind == _BITMAP:
            bitmaps.append(_read_bitmap(section))
        elif kind == _CERT_EXTENSION:
            _read_extension(section)
        else:
            key_ids.update(_read_key_ids(section, kind))
        section.end()
    return _Certificates(
        authority=authority,
        ranges=tuple(ranges),
        bitmaps=tuple(bitmaps),
        key_ids=frozenset(key_ids),
    )


def _checked(first: int, last: int) -> tuple[int, int]:
    """Return a range of serials; 0 is that of authorities that number none, as OpenSSH has it."""
    if not 0 < first <= last < 2**64:
        raise ValueError(f"serials from {first} to {last}")
    return first, last


def _read_bitmap(section: wire.Reader) -> tuple[int, int]:
    first, bits = section.u64(), int.from_bytes(section.string(), "big")
    if bits:
        lowest = (bits & -bits).bit_length() - 1
        _checked(first + lowest, first + bits.bit_length() - 1)
    return first, bits


def _read_key_ids(section: wire.Reader, kind: int) -> list[str]:
    if kind != _KEY_ID:
        raise ValueError(f"certificates revoked in the unknown way {kind}")
    found = []
    while section.left:
        found.append(section.text())
    return found
