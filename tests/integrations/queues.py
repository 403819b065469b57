"""A yard for tests of other people's processes: a project on disk, its log, and who works in it.

What runs in the yard tells the test by lines in one file, each appended whole; so a task that
reports opens no connection of its own. Not here: frameworks, which the test modules bring.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import signed, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.model import ProcessReport
from scatter.releases import Candidate, Releases
from scatter.reports import read_reports
from scatter.server import EmbeddedServer
from scatter.store.redis import RedisStore

LATE_S = 3.0
"""After so long no task begins on an old version any more, however busy the machine is."""

SAID = """\
import json, os, time

FILE = os.environ["YARD_FILE"]


def say(who, value=None):
    line = {"who": who, "pid": os.getpid(), "value": value, "at": time.time()}
    file = os.open(FILE, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(file, (json.dumps(line) + "\\n").encode())
    os.close(file)


def keep_sending(send):
    "Send tasks, never many more than were done."
    sent, done = 0, lambda: sum('"task"' in line for line in open(FILE))
    say("sender")
    while True:
        if sent < done() + 6:
            send()
            sent += 1
        time.sleep(0.005)
"""


PRICES = """
import time
from said import say


def report():
    price = 0
    return price


def job(_=None):
    time.sleep(0.01)
    say("task", report())


def until(price, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while report() != price and time.monotonic() < deadline:
        time.sleep(0.01)
    return report()
"""
"""A module of tasks that knows nothing of scatter."""

TRACKED = "import scatter\n" + PRICES.replace("def report", "@scatter.track\ndef report")
FOLLOWER = f"import scatter_agent\n{TRACKED}\nscatter_agent.start()\n"
"""The same for processes that follow by themselves."""


def install_arq(config: pytest.Config, temporary: pytest.TempPathFactory) -> Path:
    """Return a folder with arq and the redis-py that it asks for, older than everybody else's.

    It is kept between test runs.
    """
    cache = getattr(config, "cache", None)  # -p no:cacheprovider
    kept = cache.mkdir("arq") if cache else temporary.mktemp("arq")
    folder = Path(kept, f"python-{sys.version_info[0]}.{sys.version_info[1]}")
    if not folder.exists():
        fresh = temporary.mktemp("pip") / "arq"
        install = (sys.executable, "-m", "pip", "install", "-q", "--target", str(fresh), "arq")
        done = subprocess.run(install, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"arq could not be installed: {done.stderr}")
        shutil.move(fresh, folder)
    return folder


class Program:
    """A running command with its own process group; its output is kept in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.pid, self.log = process, process.pid, log

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 15.0) -> int:
        """Ask the first process of the group to end; return its exit status."""
        self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 20.0) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.pid} did not end in {timeout_s} s\n{self.output()}"
            ) from None

    def family(self) -> set[int]:
        """Return the pids of all processes of the group that live."""
        return {
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_in(pid)
        }

    def state(self, pid: int = 0) -> str:
        """Return the letter that the system gives to what a process does; `T`: it is frozen."""
        return self._stat(pid or self.pid)[0]

    def _is_in(self, pid: int) -> bool:
        state, _, group = self._stat(pid)
        return group == str(self.pid) and state != "Z"

    @staticmethod
    def _stat(pid: int) -> list[str]:
        """Return state, parent and group of a process; nothing of one that is gone."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            return ["", "", ""]

    def close(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Yard:
    """A project folder, its namespace, and the programs that run in it."""

    def __init__(self, folder: Path, server: EmbeddedServer, namespace: str) -> None:
        self.folder, self.server, self.namespace = folder, server, namespace
        self.file = folder / "said.jsonl"
        self.file.touch()
        self.open()
        self.programs: list[Program] = []
        self._own_broker = self.broker = f"{server.tcp_url.rpartition('/')[0]}/5"
        self.write("said.py", SAID)

    def open(self) -> None:
        """Connect to the log, which is where the server is."""
        self.store = RedisStore(self.server.url, self.namespace)
        self.releases = Releases(signed(self.store), author="ann")

    def write(self, name: str, text: str) -> str:
        """Write a file of the project; return its text."""
        text = textwrap.dedent(text)
        (self.folder / name).write_text(text)
        return text

    def push(self, price: int, function: str = "report", module: str = "tasks") -> float:
        """Release a function with `price = 0` made another; return when that was done."""
        text = (self.folder / f"{module}.py").read_text()
        assert "price = 0" in text
        edited = text.replace("price = 0", f"price = {price}")
        source = ModuleSource(edited, name=module, file=f"{module}.py")
        self.releases.push([Candidate(bundle=build(source, function).bundle)], force=True)
        return time.time()

    def run(self, *command: str, **environment: str) -> Program:
        """Start a command; `python` and what the test's environment has installed are found."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        program = shutil.which(command[0], path=path)
        assert program, f"no command {command[0]}"
        log = self.folder / f"program-{len(self.programs)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, *command[1:]],
                cwd=self.folder,
                env={**os.environ, **self.environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self.programs.append(Program(process, log))
        return self.programs[-1]

    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")]),
            "SCATTER_REDIS_URL": self.server.url,
            "SCATTER_NAMESPACE": self.namespace,
            "BROKER": self.broker,
            "YARD_FILE": str(self.file),
            "PYTHONWARNINGS": "ignore:This process:DeprecationWarning",  # see forks.py
        }

    def python(self, script: str, *options: str, **environment: str) -> Program:
        """Start a script of the project."""
        name = f"script_{len(self.programs)}.py"
        self.write(name, script)
        return self.run("python", *options, name, **environment)

    def send(self, expression: str) -> Program:
        """Start somebody who keeps sending tasks."""
        return self.python(f"import tasks, said\nsaid.keep_sending(lambda: {expression})\n")

    # what was said -------------------------------------------------------------------------

    def said(self, who: str = "task") -> list[dict[str, Any]]:
        lines = self.file.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [line for line in found if line["who"] == who or not who]

    def until(self, done: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
        """Wait; a failure shows what the programs wrote."""
        try:
            return wait_until(done, what, timeout_s)
        except AssertionError as error:
            for program in self.programs:
                error.add_note(f"--- {program.process.args}\n{program.output()[-3000:]}")
            raise

    def until_said(self, who: str, count: int = 1) -> list[dict[str, Any]]:
        self.until(lambda: len(self.said(who)) >= count, f"{count} of {who!r}")
        return self.said(who)

    def pids(self, price: int) -> set[int]:
        """Return who has run a task on a version."""
        return {line["pid"] for line in self.said() if line["value"] == price}

    def connections(self) -> Counter[int]:
        """Return how many connections agents have, by pid, of all processes of the yard."""
        (found,) = self.store.link.run([("CLIENT", "LIST")])
        names = [
            dict(part.split("=", 1) for part in line.split()).get("name", "")
            for line in found.decode().splitlines()
        ]
        pids = [int(n.rpartition("-")[2]) for n in names if n.startswith("scatter-agent-")]
        own = {line["pid"] for line in self.said("")}.union(*(p.family() for p in self.programs))
        return Counter(pid for pid in pids if pid in own)

    def opened(self) -> int:
        """Return how many connections the server of the log has ever had."""
        (info,) = self.store.link.run([("INFO", "stats")])
        text = info.decode() if isinstance(info, bytes) else str(info)
        return int(text.partition("total_connections_received:")[2].split()[0])

    def reports(self) -> dict[int, ProcessReport]:
        return {report.pid: report for report in read_reports(self.store)}

    def follow(self, workers: int) -> set[int]:
        """Check that workers on the deployed version come to the next one, the same processes."""
        self.until(lambda: len(self.pids(0)) >= workers, f"{workers} workers")
        before = self.pids(0)
        pushed_at = self.push(1)
        self.until(lambda: before <= self.pids(1), f"{before} to run version 1")
        assert self.delay_s(pushed_at, 1) < LATE_S
        return before

    def delay_s(self, pushed_at: float, price: int) -> float:
        """Return how long after a release the last task ran an old version, seconds."""
        old = [line["at"] for line in self.said() if line["value"] != price]
        return max(old, default=pushed_at) - pushed_at

    def close(self) -> None:
        for program in self.programs:
            program.close()
        broker = RedisStore(self._own_broker, self.namespace)
        broker.link.run([("FLUSHDB",)])
        broker.close()
        self.store.close()
