"""Envelope: a statement and the signatures over it, as one log entry.

Layout: `SCE1`, statement length (4 bytes, big-endian), statement, number of signatures (1 byte),
then each signature with its length (2 bytes). Nothing is parsed here but lengths.
"""

from __future__ import annotations

import struct

from scatter.errors import Untrusted

MAGIC = b"SCE1"
MAX_ENTRY_BYTES = 1 << 20
"""Largest entry of the log, 1 MiB: room for about 5,000 changes."""


def seal(statement: bytes, signatures: tuple[bytes, ...]) -> bytes:
    """Return the log entry of a statement.

    Raises:
        Untrusted: `too-big`, when the entry would exceed `MAX_ENTRY_BYTES`.

    """
    parts = [MAGIC, struct.pack(">I", len(statement)), statement, bytes([len(signatures)])]
    for signature in signatures:
        parts += [struct.pack(">H", len(signature)), signature]
    entry = b"".join(parts)
    if len(entry) > MAX_ENTRY_BYTES:
        raise Untrusted(
            "too-big",
            f"The release has {len(entry):,} bytes; at most {MAX_ENTRY_BYTES:,} fit one entry.",
            hint="Release fewer functions at a time.",
        )
    return entry


def open_(entry: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Return (statement, signatures) of a log entry.

    Raises:
        Untrusted: `too-big` or `bad-envelope`.

    """
    if len(entry) > MAX_ENTRY_BYTES:
        raise Untrusted("too-big", f"A log entry has {len(entry):,} bytes; refused unread.")
    try:
        if entry[:4] != MAGIC:
            raise ValueError("it does not begin with SCE1")
        (size,) = struct.unpack_from(">I", entry, 4)
        statement, position = entry[8 : 8 + size], 8 + size
        count, position = entry[position], position + 1
        signatures = []
        for _ in range(count):
            (size,) = struct.unpack_from(">H", entry, position)
            signatures.append(entry[position + 2 : position + 2 + size])
            position += 2 + size
        if position != len(entry):
            raise ValueError("its length is wrong")
    except (ValueError, IndexError, struct.error) as error:
        raise Untrusted("bad-envelope", f"A log entry is no release: {error}.") from error
    return statement, tuple(signatures)
