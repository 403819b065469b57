"""SSH's wire format (RFC 4251, section 5): whole numbers and strings, one after another.

Not here: what they mean. Invariants

1. Nothing is read past the end, and no length is believed that the data do not hold.
2. Whoever reads to the end says so (`end`): trailing bytes are an error.
3. What is wrong is a `ValueError`; each reader of a format says of which thing it is.
"""

from __future__ import annotations

import base64
import binascii
import struct

MAX_STRING_BYTES = 1 << 18
"""As OpenSSH has for messages of its agent; keys and signatures are far smaller."""


class Reader:
    """Reads values from the front of some bytes.

    Attributes:
        position: Bytes read so far.

    """

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def __repr__(self) -> str:
        return f"Reader({self.position} of {len(self._data)} bytes)"

    @property
    def left(self) -> int:
        """Return the number of bytes not yet read."""
        return len(self._data) - self.position

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            ValueError: There are fewer.

        """
        if count > self.left:
            raise ValueError(f"expected {count} bytes more, found {self.left}")
        self.position += count
        return self._data[self.position - count : self.position]

    def u8(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Return the next whole number of 4 bytes."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """Return the next whole number of 8 bytes."""
        return int.from_bytes(self.take(8), "big")

    def string(self, limit: int = MAX_STRING_BYTES) -> bytes:
        """Return the next string of bytes.

        Raises:
            ValueError: It is longer than `limit`, or than what is left.

        """
        size = self.u32()
        if size > limit:
            raise ValueError(f"expected at most {limit} bytes in a string, found {size}")
        return self.take(size)

    def text(self, limit: int = MAX_STRING_BYTES) -> str:
        """Return the next string as text.

        Raises:
            ValueError: It is no UTF-8, or has a NUL in it, at which C programs would stop reading.

        """
        text = self.string(limit).decode("utf-8")  # a UnicodeDecodeError is a ValueError
        if "\0" in text:
            raise ValueError("a text has a NUL in it")
        return text

    def end(self) -> None:
        """Return if everything was read.

        Raises:
            ValueError: Bytes are left.

        """
        if self.left:
            raise ValueError(f"{self.left} trailing bytes")


def string(data: bytes | str) -> bytes:
    """Return a string as it is written."""
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(data)) + data


def u32(number: int) -> bytes:
    """Return a whole number of 4 bytes."""
    return struct.pack(">I", number)


def u64(number: int) -> bytes:
    """Return a whole number of 8 bytes."""
    return struct.pack(">Q", number)


def from_base64(text: str) -> bytes:
    """Return what canonical base64 stands for.

    Raises:
        ValueError: It is not the one text that `to_base64` gives for its bytes.

    """
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"no base64: {error}") from error
    if to_base64(data) != text:
        raise ValueError("no base64: bits are set that stand for nothing")
    return data


def to_base64(data: bytes) -> str:
    """Return bytes as base64, in one line."""
    return base64.b64encode(data).decode("ascii")
