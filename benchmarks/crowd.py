"""A process in which some followers wait for releases: agents, or bare sockets.

    python -m benchmarks.crowd FOLDER MODULE

It takes orders, one a line, and answers each with one line:

    follow URL NAMESPACE COUNT   start agents                            ready
    raw SOCKET-OR-PORT KEY COUNT connect as many pairs of bare sockets   ready
    hold SECONDS                 go no further for so long after the bytes   held
    wait                         until each had one release more         moments, as JSON
    cpu                          processor time of this process          seconds
    leave                        end them                                left

Several followers of one process share its interpreter and nothing else: each has a connection, a
log that it reads and checks, a registry and a function of its own. Moments are by the clock that
all processes of a machine share: that at which the last of them had the bytes, and had switched.
"""

from __future__ import annotations

import importlib
import json
import queue
import selectors
import socket
import sys
import time
from types import FunctionType
from typing import Any

from benchmarks.worker import command, dial, read_bulk

NEVER_S = 3600.0
"""Between two looks without a ring: what the server does is to be about releases."""

clock = time.perf_counter


class Agents:
    """Agents of one namespace."""

    def __init__(self, module: str, url: str, namespace: str, count: str) -> None:
        """Start them, and wait until each has followed what there is."""
        from scatter_agent.terms import Callbacks, Terms

        self._module = module
        self._switched: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._fetched = self.hold_s = 0.0
        tell = Callbacks(on_switch=lambda _: self._switched.put(clock()))
        self._agents = [
            self._agent(url, namespace, Terms(callbacks=tell)) for _ in range(int(count))
        ]
        for agent in self._agents:
            agent.start()
        for agent in self._agents:
            if not agent.wait(60):
                raise RuntimeError(f"an agent does not follow: {agent.status()}")
        while not self._switched.empty():
            self._switched.get()  # what was released before

    def _agent(self, url: str, namespace: str, terms: Any) -> Any:
        from scatter_agent.agent import Agent

        from scatter.config import Settings
        from scatter.registry import Registry
        from scatter.store import open_store

        registry = Registry()
        given = importlib.import_module(self._module).f
        own = FunctionType(given.__code__, given.__globals__, "f")
        own.__module__ = given.__module__
        registry.add(f"{self._module}:f", own)
        store = open_store(url, namespace, name="scatter-agent-crowd")
        read = store.read

        def timed(*arguments: Any, **options: Any) -> Any:
            tail = read(*arguments, **options)
            if options.get("recent") and tail.entries:
                self._fetched = clock()  # the last one counts
                time.sleep(self.hold_s)
            return tail

        store.read = timed  # type: ignore[method-assign]
        settings = Settings(redis_url=url, namespace=namespace)
        return Agent(
            settings,
            registry=registry,
            application="bench",
            store=store,
            terms=terms,
            look_s=NEVER_S,
        )

    def wait(self) -> dict[str, float]:
        """Wait until each has switched once more."""
        moments = [self._switched.get(timeout=60) for _ in self._agents]
        return {"fetched": self._fetched, "switched": max(moments)}

    def leave(self) -> None:
        """End them."""
        for agent in self._agents:
            agent.stop()


class Sockets:
    """Bare sockets, a pair each: one hears that a key was set, one fetches its value."""

    def __init__(self, _module: str, address: str, key: str, count: str) -> None:
        """Connect, and listen."""
        self._selector = selectors.DefaultSelector()
        self._get = command("GET", key)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        for _ in range(int(count)):
            bell, fetch = dial(address), dial(address)
            bell.sendall(command("SUBSCRIBE", f"__keyspace@0__:{key}"))
            bell.recv(4096)
            self._selector.register(bell, selectors.EVENT_READ, fetch)
            self._pairs.append((bell, fetch))

    def wait(self) -> dict[str, float]:
        """Wait until each has fetched the value once more."""
        left, at = len(self._pairs), 0.0
        while left:
            for found, _ in self._selector.select(60):
                found.fileobj.recv(4096)  # type: ignore[union-attr]
                found.data.sendall(self._get)
                read_bulk(found.data)
                at, left = clock(), left - 1
        return {"fetched": at}

    def leave(self) -> None:
        """Hang up."""
        self._selector.close()
        for pair in self._pairs:
            for link in pair:
                link.close()


KINDS: dict[str, Any] = {"follow": Agents, "raw": Sockets}


def main(folder: str, module: str) -> None:
    """Take orders until there are no more."""
    sys.path.insert(0, folder)
    importlib.import_module(module)
    here: dict[str, Any] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        order, *rest = line.split()
        if order in KINDS:
            here[order] = KINDS[order](module, *rest)
            answer = "ready"
        elif order == "wait":
            answer = json.dumps(here[rest[0]].wait())
        elif order == "hold":
            here["follow"].hold_s, answer = float(rest[0]), "held"
        elif order == "cpu":
            answer = str(time.process_time())
        else:
            for followers in here.values():
                followers.leave()
            here, answer = {}, "left"
        print(answer, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
