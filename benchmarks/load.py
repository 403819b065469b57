"""Requests to the application of `serving`: a closed loop of some connections, or one at a time.

    python -m benchmarks.load PORT SECONDS CONNECTIONS

prints what came of it as JSON. Each answer is checked: its sums must be right, and its version no
older than that of an answer to a request that was sent after the older one had been answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from benchmarks.serving import ORDER

_BODY = json.dumps(ORDER).encode()
REQUEST = (
    b"POST /quote HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n" % len(_BODY)
)
NET = 450 * 12 * 95 // 100 + 1200 * 3 + 790
LONGEST_S = 5.0


class Wrong(Exception):
    """An answer is not what it must be."""


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, more: bytes = b"") -> int:
    """Send a request; return the version that answered.

    Raises:
        Wrong: It is no answer, or a wrong one.

    """
    writer.write(REQUEST + more + b"\r\n" + _BODY)
    head = await reader.readuntil(b"\r\n\r\n")
    at = head.lower().index(b"content-length:") + 15
    body = await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
    if not head.startswith(b"HTTP/1.1 200 "):
        raise Wrong(head.decode())
    found = json.loads(body)
    if found["net"] != NET or found["tax"] != NET * 19 // 100:
        raise Wrong(body.decode())
    return int(found["version"])


class Load:
    """A closed loop over some connections."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._until = time.perf_counter() + seconds
        self.took_s: list[float] = []
        self.errors: list[str] = []
        self.versions = set[int]()
        self._newest = 0

    async def run(self, connections: int) -> None:
        """Ask until the time is over."""
        await asyncio.gather(*(self._loop() for _ in range(connections)))

    async def _loop(self) -> None:
        while time.perf_counter() < self._until:
            try:
                await self._connection()
            except (OSError, EOFError, Wrong, ValueError, asyncio.IncompleteReadError) as error:
                self.errors.append(f"{type(error).__name__}: {error}"[:200])

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while (began := time.perf_counter()) < self._until:
                newest = self._newest
                version = await ask(reader, writer)
                self.took_s.append(time.perf_counter() - began)
                self.versions.add(version)
                self._newest = max(self._newest, version)
                if version < newest:
                    raise Wrong(f"version {version} after {newest}")
        finally:
            writer.close()


def main(port: str, seconds: str, connections: str) -> None:
    """Run a load, and print what came of it."""
    load = Load(int(port), float(seconds))
    began = time.perf_counter()
    asyncio.run(load.run(int(connections)))
    print(json.dumps(_summed(load, time.perf_counter() - began)), flush=True)


def _summed(load: Load, lasted_s: float) -> dict[str, Any]:
    ordered = sorted(load.took_s) or [LONGEST_S]
    return {
        "requests": len(load.took_s),
        "per_second": len(load.took_s) / lasted_s,
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
        "errors": load.errors,
        "versions": len(load.versions),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
