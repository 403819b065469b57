"""What several benchmarks need: a server, worker processes, and the module that they run."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.home import own_home
from scatter.server import EmbeddedServer

if TYPE_CHECKING:
    from scatter.client import Client

ROOT = Path(__file__).parent.parent
MODULE = "bench_app"


def environment(*folders: Path) -> dict[str, str]:
    """Return the environment of a process that imports scatter, and what is in some folders."""
    path = os.pathsep.join(map(str, (*folders, ROOT, ROOT / "agent")))
    return os.environ | {"PYTHONPATH": path}


class Worker:
    """A worker process, read line by line."""

    def __init__(
        self, *arguments: str, program: str = "benchmarks.worker", waits: bool = True
    ) -> None:
        """Start it and, unless many are started at once, wait until it is ready."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if waits:
            self.expect_ready()

    def expect_ready(self) -> None:
        """Wait until it is ready."""
        if self.line() != "ready":
            raise RuntimeError("a worker did not start; its message is above")

    def line(self) -> str:
        """Return its next line, as soon as it comes."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def moments(self) -> dict[str, float]:
        """Return when its next release reached it."""
        found: dict[str, float] = json.loads(self.line())
        return found

    def end(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Stage:
    """A server and a folder, gone at the end; workers that are started on it end with it."""

    def __init__(self, stack: ExitStack, folder: Path, server: EmbeddedServer) -> None:
        self._stack = stack
        self.folder = folder
        self.server = server
        self.namespace = f"bench-{secrets.token_hex(3)}"

    def address(self, transport: str) -> str:
        """Return the server's address for bare sockets."""
        return str(self.server.port if transport == "tcp" else self.server.socket)

    def url(self, transport: str) -> str:
        """Return the server's URL."""
        return self.server.tcp_url if transport == "tcp" else self.server.url

    def write(self, text: str) -> Path:
        """Write the module that workers run."""
        file = self.folder / f"{MODULE}.py"
        file.write_text(text, "utf-8")
        return file

    def agent(self, transport: str = "tcp", load: str = "idle", *, url: str = "") -> Worker:
        """Start a worker under an agent.

        Args:
            transport: How it connects.
            load: `busy`, it computes all the time.
            url: What it connects to in place of the server's.

        """
        arguments = url or self.url(transport), self.namespace, str(self.folder), MODULE
        return self._keep(Worker("agent", load, *arguments))

    def client(self, url: str, namespace: str = "") -> Client:
        """Return a client that has no functions of its own.

        Args:
            url: What it connects to.
            namespace: Another one than that of the stage.

        """
        from scatter.client import Client
        from scatter.config import resolve
        from scatter.registry import Registry

        settings = resolve(
            start=Path("/"),
            redis_url=url,
            namespace=namespace or self.namespace,
            author="bench",
        )
        client: Client = self.keep(Client(settings, registry=Registry()))
        return client

    def raw(self, transport: str, key: str, load: str = "idle") -> Worker:
        """Start a worker of bare sockets."""
        return self._keep(Worker("raw", load, self.address(transport), key))

    def _keep(self, worker: Worker) -> Worker:
        self._stack.callback(worker.end)
        return worker

    def callback(self, end: Callable[[], object]) -> None:
        """Have something done at the end."""
        self._stack.callback(end)

    def keep(self, thing: Any) -> Any:
        """Have something closed at the end."""
        self._stack.callback(thing.close)
        return thing


@contextmanager
def stage(*, has_home: bool = True) -> Iterator[Stage]:
    """Set a stage up, and take it down.

    Args:
        has_home: It keeps keys and positions of its own; else whoever asks for it has seen to that.

    """
    import socket

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sb-")))
        if has_home:
            stack.enter_context(own_home(folder))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        server = EmbeddedServer.start(
            folder / "data",
            socket=folder / "s.sock",
            port=port,
            append_only=False,
            extra=("--notify-keyspace-events", "K$h"),  # $: SET, which only the floor uses
        )
        stack.callback(server.stop)
        yield Stage(stack, folder, server)
