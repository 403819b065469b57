"""A process under an agent that tells when each release reached it; or one of bare sockets.

    python -m benchmarks.worker agent idle|busy URL NAMESPACE FOLDER MODULE
    python -m benchmarks.worker follow idle|busy URL NAMESPACE FOLDER MODULE
    python -m benchmarks.worker raw idle|busy SOCKET-OR-PORT KEY
    python -m benchmarks.worker watch idle|busy FILE

A busy one computes in its main thread, in Python, and so holds the interpreter all the time.
`agent` prints a line of JSON for every release that it switched to: its sequence, and the moments,
by the clock that all processes of a machine share (`time.perf_counter`), at which the doorbell had
rung, the bundle was at hand, it was checked, it was linked, and the switch was done. `follow`
prints the moment of each switch alone, whatever the store is. `raw` prints the moment at which the
value of KEY was at hand after each notification; `watch` that at which FILE was read after another
took its place.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

clock = time.perf_counter


def agent(url: str, namespace: str, folder: str, module: str) -> None:
    """Follow the log until stdin ends."""
    sys.path.insert(0, folder)
    importlib.import_module(module)
    import scatter_agent

    from scatter import apply
    from scatter.log import Journal
    from scatter.store.doorbell import RedisDoorbell
    from scatter.store.redis import RedisStore

    moments: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            moments[name] = clock()
            return result

        return measured

    def switched(registry: Any, prepared: Any, **options: Any) -> bool:
        done = real_switch(registry, prepared, **options)
        moments["switched"] = clock()
        print(json.dumps(moments), flush=True)
        return done

    real_switch = apply.switch
    RedisDoorbell.wait = timed("rung", RedisDoorbell.wait)  # type: ignore[method-assign]
    RedisStore.read = timed("fetched", RedisStore.read)  # type: ignore[method-assign]
    Journal.bundles = timed("verified", Journal.bundles)  # type: ignore[method-assign]
    apply.prepare = timed("linked", apply.prepare)
    apply.switch = switched
    scatter_agent.start(url, namespace=namespace, application="bench", wait=10)
    print("ready", flush=True)


def follow(url: str, namespace: str, folder: str, module: str) -> None:
    """Follow the log until stdin ends, and tell no more than when it switched."""
    sys.path.insert(0, folder)
    importlib.import_module(module)
    import scatter_agent

    print("ready", flush=True)
    scatter_agent.start(
        url,
        namespace=namespace,
        application="bench",
        on_switch=lambda _: print(clock(), flush=True),
    )


def raw(address: str, key: str) -> None:
    """Fetch the value of a key after each notification of it, with bare sockets."""
    bell, fetch = dial(address), dial(address)
    bell.sendall(command("SUBSCRIBE", f"__keyspace@0__:{key}"))
    bell.recv(4096)
    print("ready", flush=True)
    threading.Thread(target=_fetch, args=(bell, fetch, key), daemon=True).start()


def _fetch(bell: socket.socket, fetch: socket.socket, key: str) -> None:
    while bell.recv(4096):
        fetch.sendall(command("GET", key))
        read_bulk(fetch)
        print(clock(), flush=True)


def watch(name: str) -> None:
    """Read a file each time that another took its place."""
    from pathlib import Path

    from scatter.store.inotify import InotifyNotices

    file = Path(name)
    notices = InotifyNotices(file.parent)
    notices.watch()
    print("ready", flush=True)
    threading.Thread(target=_read_again, args=(file, notices), daemon=True).start()


def _read_again(file: Any, notices: Any) -> None:
    while True:
        if notices.wait(60) == "written":
            file.read_bytes()
            print(clock(), flush=True)


def work(load: str) -> None:
    """Do what the application does, until stdin ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    if load == "idle":
        ended.wait()
    while not ended.is_set():
        sum(number * number for number in range(1000))


def dial(address: str) -> socket.socket:
    """Connect to a port on loopback, or a unix socket."""
    if address.isdigit():
        link = socket.create_connection(("127.0.0.1", int(address)))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link
    link = socket.socket(socket.AF_UNIX)
    link.connect(address)
    return link


def command(*words: str | bytes) -> bytes:
    """Return a command as it goes over the wire."""
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    head = b"*%d\r\n" % len(parts)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def read_bulk(link: socket.socket) -> bytes:
    """Read one bulk reply."""
    data = link.recv(65536)
    head, _, body = data.partition(b"\r\n")
    missing = int(head[1:]) + 2 - len(body)
    while missing > 0:
        more = link.recv(65536)
        body += more
        missing -= len(more)
    return body[:-2]


if __name__ == "__main__":
    kind, load, *arguments = sys.argv[1:]
    {"agent": agent, "follow": follow, "raw": raw, "watch": watch}[kind](*arguments)
    work(load)
    os._exit(0)  # threads that wait for sockets end with it
