"""A socket that gives no more than a reply may have: a hostile server can fill no memory.

redis-py reads a reply whole before anybody can look at its size. Not here: what is too big to be
believed (`scatter.log.envelope`, `scatter.bundle`): this is the limit of all that one question may
bring.
"""

from __future__ import annotations

import socket
from typing import Any

MAX_ANSWER_BYTES = 320 << 20
"""More than a page of the largest entries, or a batch of the largest bundles."""


class Meter:
    """Reads from a socket until `left` is used up; everything else is the socket's.

    Attributes:
        left: Bytes that may still come.

    """

    def __init__(self, wire: socket.socket) -> None:
        """Read from `wire`, which stays its owner's."""
        self._wire = wire
        self.left = MAX_ANSWER_BYTES

    def __repr__(self) -> str:
        return f"<Meter of {self._wire!r}, {self.left:,} bytes left>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def recv(self, size: int, *flags: int) -> bytes:
        """Return what comes next, as `socket.recv`."""
        data = self._wire.recv(size, *flags)
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any, *rest: int) -> int:
        """Read what comes next into a buffer, as `socket.recv_into`."""
        size = self._wire.recv_into(buffer, *rest)
        self._count(size)
        return size

    def _count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ConnectionAbortedError(
                f"it sent more than {MAX_ANSWER_BYTES >> 20} MiB for one question"
            )


def metered(connection: Any) -> Meter:
    """Have the parser of one of redis-py's connections read through a meter, and return that."""
    meter = Meter(connection._sock)
    parser = connection._parser
    parser._sock = meter
    buffer: Any = getattr(parser, "_buffer", None)  # of the parser in Python; hiredis has bytes
    if hasattr(buffer, "_sock"):
        buffer._sock = meter
    return meter
