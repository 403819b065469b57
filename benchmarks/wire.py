"""A proxy in front of a server that keeps what went over it, and tells RESP values apart.

Not here: what the bytes mean.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

QUIET_S, MOST_S = 0.15, 10.0


class Wire:
    """Forwards a port of loopback to another, and keeps a copy of all that passes.

    Attributes:
        port: Where it listens.

    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._lock = threading.Lock()
        self._kept = {"up": bytearray(), "down": bytearray()}
        self._last = time.monotonic()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The server's URL, through this."""
        return f"redis://127.0.0.1:{self.port}/0"

    def clear(self) -> None:
        """Forget what passed until now, once nothing passes."""
        self._wait()
        with self._lock:
            for kept in self._kept.values():
                kept.clear()

    def passed(self) -> tuple[bytes, bytes]:
        """Return what went to the server, and what came from it, once nothing passes any more."""
        self._wait()
        with self._lock:
            return bytes(self._kept["up"]), bytes(self._kept["down"])

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()

    def _wait(self) -> None:
        deadline = time.monotonic() + MOST_S
        while time.monotonic() < min(self._last + QUIET_S, deadline):
            time.sleep(QUIET_S / 10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for way in ((near, far, "up"), (far, near, "down")):
                    threading.Thread(target=self._pump, args=way, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    self._kept[way] += data
                    self._last = time.monotonic()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def values(data: bytes) -> Iterator[bytes]:
    """Yield each RESP value of a stream, as it stands there."""
    at = 0
    while at < len(data):
        end = _end(data, at)
        yield data[at:end]
        at = end


def _end(data: bytes, at: int) -> int:
    """Return where the value that begins at `at` ends."""
    line = data.index(b"\r\n", at)
    kind, rest, after = data[at : at + 1], data[at + 1 : line], line + 2
    if kind in b"$=!" and rest != b"-1":
        return after + int(rest) + 2
    parts = int(rest) * (2 if kind == b"%" else 1) if kind in b"*>~%" else 0
    for _ in range(parts):
        after = _end(data, after)
    return after
