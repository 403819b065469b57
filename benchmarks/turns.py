"""Counts round trips: a proxy in front of a unix socket that notes when a client asks again.

A round trip begins when the client sends something after the server has said something: however
many commands it sends at once, they are one. Moments are by the clock that all processes of a
machine share.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from pathlib import Path


class Turns:
    """Forwards a port of loopback to a unix socket, and notes each round trip that begins.

    Attributes:
        port: Where it listens.
        began: When each round trip did, in order, on all connections.

    """

    def __init__(self, target: Path) -> None:
        """Listen."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.began: list[float] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        with near, far, selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            far.connect(str(self._target))
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            is_asked = False
            while True:
                for found, _ in selector.select():
                    source: socket.socket = found.fileobj  # type: ignore[assignment]
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is near and not is_asked:
                        self.began.append(time.perf_counter())
                    is_asked = source is near
                    found.data.sendall(data)
