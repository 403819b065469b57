"""A mirror in a process of its own, and processes that follow its directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support import ROOT, signed, start_python, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.releases import Candidate, Releases
from scatter.store import open_store
from scatter.store.layout import read_tip

MODULE = "mirrored_app"
TEXT = """\
import scatter


@scatter.track
def f():
    return "f0"


@scatter.track
def g():
    return "g0"
"""

FOLLOWER = """
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
import mirrored_app, scatter_agent
scatter_agent.start(sys.argv[2], namespace=sys.argv[3], wait=float(sys.argv[4]))
print("started", round(time.perf_counter() - began, 4), flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "calls":
        print(mirrored_app.f(), mirrored_app.g(), flush=True)
    elif word == "status":
        status = scatter_agent.status()
        print(status.state, status.code or "-", status.sequence, flush=True)
    elif word == "modules":
        print(*(m for m in ("redis", "watchfiles") if m in sys.modules), "-", flush=True)
    else:
        break
scatter_agent.stop()
"""


class Follower:
    """A process that follows a directory."""

    def __init__(self, project: Path, url: str, namespace: str, wait_s: float) -> None:
        self.process = start_python(FOLLOWER, str(project), url, namespace, str(wait_s))
        self._started_s = 0.0

    @property
    def started_s(self) -> float:
        """Wait until it has started; return how long that took it."""
        if not self._started_s:
            self._started_s = float(self._line().split()[1])
        return self._started_s

    def ask(self, word: str) -> str:
        assert self.started_s
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def until(self, calls: str) -> None:
        wait_until(lambda: self.ask("calls") == calls, f"{calls!r} in a process")

    def end(self) -> None:
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(20)
        for pipe in (self.process.stdout, self.process.stdin):
            assert pipe is not None
            pipe.close()


class Host:
    """A host with a mirror: its directory, its processes, and somebody elsewhere who pushes."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self.url, self.namespace = url, namespace
        self.project, self.folder = folder / "project", folder / "mirror"
        self.project.mkdir()
        (self.project / f"{MODULE}.py").write_text(TEXT)
        self.folder.mkdir(mode=0o755)
        self.own = self.folder / namespace
        self.log = folder / "mirror.log"
        self.store = open_store(url, namespace)
        self.releases = Releases(signed(self.store), author="ann")
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._followers: list[Follower] = []

    def start(self, *arguments: str, url: str = "", **environment: str) -> subprocess.Popen[bytes]:
        """Start the mirror."""
        command = [sys.executable, "-c", "from scatter_agent.commands import main; main()"]
        with self.log.open("ab") as log:
            daemon = subprocess.Popen(
                [
                    *(*command, "mirror", "-d", str(self.folder), "-u", url or self.url),
                    *("-n", self.namespace, *arguments),
                ],
                cwd=ROOT, env=os.environ | environment, stderr=log, stdout=log,
            )  # fmt: skip
        self._daemons.append(daemon)
        return daemon

    def follow(self, wait_s: float = 20, url: str = "") -> Follower:
        """Start a process that follows the directory, and waits so long to be on the log."""
        found = Follower(self.project, url or f"dir:{self.folder}", self.namespace, wait_s)
        self._followers.append(found)
        return found

    def begin(self) -> Follower:
        """Start the mirror, release `f`, and return a process that runs that by now."""
        self.start()
        self.push(f="f1")
        self.has(1)
        follower = self.follow()
        follower.until("f1 g0")
        return follower

    def push(self, **results: str) -> int:
        text = TEXT
        for name, result in results.items():
            text = text.replace(f'"{name}0"', f'"{result}"')
        source = ModuleSource(text, name=MODULE, file=f"{MODULE}.py")
        made = [build(source, name) for name in results]
        candidates = [Candidate(bundle=one.bundle, lines=one.lines) for one in made]
        release = self.releases.push(candidates, force=True).release
        assert release is not None
        return release.sequence

    def has(self, sequence: int) -> None:
        """Wait until the directory has a release."""
        wait_until(lambda: read_tip(self.own).sequence >= sequence, f"release {sequence} there")

    def says(self, text: str) -> None:
        """Wait until the mirror has told something."""
        wait_until(lambda: text in self.log.read_text(), f"{text!r} in the mirror's log")

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the mirror; return its exit code."""
        daemon = self._daemons.pop()
        daemon.send_signal(number)
        return daemon.wait(20)

    def close(self) -> None:
        for follower in self._followers:
            follower.end()
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait(20)
        self.store.close()
