"""The stage of the fault run: a server that may be hurt, and the workers that follow it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import faults_app
from benchmarks.faults_proxy import Proxy
from scatter.server import EmbeddedServer
from scatter.store.link import Link

ROOT = Path(__file__).parent.parent
NAMESPACE = "faults"
_WORKER = "benchmarks.faults_worker"
USERS = {"plain": "", "app": "", "meek": "-config"}
"""User of the server → what it may not do. The fourth worker, `far`, comes over TCP."""
T = TypeVar("T")


class Failed(Exception):
    """A promise was not kept."""


def wait_for(done: Callable[[], T], what: str, timeout_s: float) -> T:
    """Return what `done` returns as soon as it is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := done()):
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.003)
    return found


class Process:
    """What one process told so far: a worker, or the forked child of one.

    Attributes:
        states, switches: Its lines of either kind.
        is_child: It began with what its parent ran.

    """

    def __init__(self, name: str, lines: Iterable[str], *, is_child: bool = False) -> None:
        self.name = name
        self.is_child = is_child
        self.states: list[dict[str, Any]] = []
        self.switches: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def _read(self, lines: Iterable[str]) -> None:
        for text in lines:
            line = json.loads(text)
            (self.states if line["kind"] == "state" else self.switches).append(line)

    @property
    def newest(self) -> dict[str, Any]:
        return self.states[-1] if self.states else {}

    def ran_at(self, vector: dict[str, int], after: float) -> float | None:
        """Return when its functions came to return this for good; None: they do not yet."""
        found = None
        for state in reversed(self.states):
            if state["vector"] != vector:
                break
            found = max(after, state["t"])
            if state["t"] <= after:
                break
        return found


class Worker(Process):
    """A worker process."""

    def __init__(self, name: str, url: str, folder: Path) -> None:
        self._log = folder / f"{name}.log"
        path = os.pathsep.join([str(ROOT), str(ROOT / "agent")])
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SCATTER_")}
        home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PYTHONPATH": path}
        with self._log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", _WORKER, url, NAMESPACE, str(folder), name],
                cwd=ROOT, env=clean | home, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        assert self.process.stdout is not None
        super().__init__(name, self.process.stdout)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def errors(self) -> str:
        """Return the end of what it wrote to stderr."""
        return self._log.read_text("utf-8", "replace")[-2000:]

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        if self.process.poll() is None:
            self.tell("end")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Fleet:
    """The server, the proxy and the workers.

    Attributes:
        admin: A connection that may do everything.
        guests: Forked children that shall be at the tip, too.

    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self._data, self._socket = folder / "data", folder / "s.sock"
        self._acl = folder / "users.acl"
        users = [f"user {u} on >pw ~* &* +@all {less}" for u, less in USERS.items()]
        self._acl.write_text("\n".join(["user default on nopass ~* &* +@all", *users]) + "\n")
        self.server = self._started()
        self.admin = Link(self.server.url, name="faults-admin")
        self.proxy = Proxy(self._socket)
        faults_app.write(folder)
        urls = {user: f"unix://{user}:pw@{self._socket}?db=0" for user in USERS}
        urls["far"] = f"redis://127.0.0.1:{self.proxy.port}/0"
        ways = itertools.islice(itertools.cycle(urls.items()), workers)
        self.workers = [Worker(f"{way} {n}", url, folder) for n, (way, url) in enumerate(ways, 1)]
        self.guests: list[Process] = []
        self._files: list[Path] = []
        for worker in self.workers:
            wait_for(
                lambda w=worker: w.newest.get("state") == "ready", f"a start of {worker.name}", 30
            )

    @property
    def processes(self) -> list[Process]:
        return [*self.workers, *self.guests]

    def run(self, *command: Any) -> Any:
        (reply,) = self.admin.run([command])
        return reply

    def key(self, rest: str) -> str:
        return f"scatter:{{{NAMESPACE}}}:{rest}"

    # the server --------------------------------------------------------------------------

    def _started(self, *extra: str, append_only: bool = True) -> EmbeddedServer:
        return EmbeddedServer.start(
            self._data,
            socket=self._socket,
            append_only=append_only,
            extra=("--aclfile", str(self._acl), *extra),
        )

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def restart(self, *extra: str) -> None:
        self.server = self._started(*extra)

    def save(self) -> Path:
        """Return a copy of the data as they are now."""
        self.run("SAVE")
        return Path(shutil.copy(self._data / "dump.rdb", self.folder / "older.rdb"))

    def restore(self, copy: Path) -> None:
        """Start the server again on a copy."""
        self._data = self.folder / f"data-{time.monotonic_ns()}"
        self._data.mkdir()
        shutil.copy(copy, self._data / "dump.rdb")
        self.server = self._started(append_only=False)
        self.run("CONFIG", "SET", "appendonly", "yes")
        self.await_rewrite()

    def await_rewrite(self) -> None:
        def is_done() -> bool:
            info = self.run("INFO", "persistence")
            return b"aof_rewrite_in_progress:0" in info and b"aof_rewrite_scheduled:0" in info

        wait_for(is_done, "the rewritten AOF", 30)

    def agents(self) -> list[str]:
        """Return the client ids of all agents."""
        lines = [line.split() for line in self.run("CLIENT", "LIST").decode().splitlines()]
        clients = [dict(part.split("=", 1) for part in line) for line in lines]
        return [c["id"] for c in clients if c["name"].startswith("scatter-agent")]

    # children ----------------------------------------------------------------------------

    def fork(self, worker: Worker) -> None:
        """Have a worker fork; the child is a guest from then on."""
        file = self.folder / f"child-{time.monotonic_ns()}"
        file.touch()
        worker.tell(f"fork {file}")
        self.guests.append(Process(f"child of {worker.name}", _tail(file), is_child=True))
        self._files.append(file)
        wait_for(lambda: self.guests[-1].states, "the forked child", 20)

    def release_guests(self) -> None:
        """End the children."""
        for file in self._files:
            _stop_of(file).touch()
        self.guests.clear()
        self._files.clear()

    def close(self) -> None:
        self.release_guests()
        for worker in self.workers:
            worker.end()
        self.proxy.close()
        self.admin.close()
        self.server.stop()


def _stop_of(file: Path) -> Path:
    return file.with_name(file.name + ".stop")


def _tail(file: Path) -> Iterable[str]:
    stop = _stop_of(file)
    with file.open() as lines:
        rest = ""
        while not stop.exists():
            rest += lines.readline()
            if rest.endswith("\n"):
                yield rest
                rest = ""
            else:
                time.sleep(0.005)
