"""A terminal in a project's directory, and what runs beside it, for tests of the command line."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import start_python

from scatter.cli import main
from scatter.cli.output import SCHEMA
from scatter.releases import Releases

PRICING = """\
import scatter

RATE = 2


def helper(x):
    return x * RATE


@scatter.track
def score(x):
    return helper(x)


@scatter.track
def rank(xs):
    return sorted(xs, key=score)
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self, kind: str) -> Any:
        """Return the document that was printed, of the kind expected."""
        assert self.code == 0, self.err
        found = json.loads(self.out)
        assert set(found) == {"schema", "kind", kind}
        assert (found["schema"], found["kind"]) == (SCHEMA, kind)
        return found[kind]


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end of a process, and return what it printed; one that hangs is killed."""
    try:
        return process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Return what a process prints up to a line that matches."""
    assert process.stdout is not None
    shown = ""
    patience = threading.Timer(30, process.kill)
    patience.start()
    try:
        while line := process.stdout.readline():
            shown += line
            if re.search(pattern, line):
                return shown
    finally:
        patience.cancel()
        patience.join()
    raise AssertionError(f"no line like {pattern} in:\n{shown}")


class Shell:
    """A terminal in a project's directory, with the environment of one developer."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        patch: pytest.MonkeyPatch,
        capture: pytest.CaptureFixture[str],
    ) -> None:
        self.folder = folder
        self.file = folder / "pricing.py"
        self.file.write_text(PRICING)
        self.environment = {**os.environ, **environment}
        self._patch = patch
        self._capture = capture

    def __call__(self, *arguments: str, answer: str = "", **environment: str) -> Done:
        """Run a command in this process."""
        with self._patch.context() as patch:
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr("sys.stdin", io.StringIO(answer))
            self._capture.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        out, err = self._capture.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out, err)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
        return subprocess.Popen(
            [sys.executable, "-m", "scatter", *arguments],
            cwd=self.folder,
            env=options.pop("env", self.environment),
            stderr=options.pop("stderr", subprocess.PIPE),
            text=True,
            **options,
        )

    def process(self, *arguments: str, **environment: str) -> Done:
        """Run a command in a process of its own, to its end."""
        with self.start(*arguments, env={**self.environment, **environment}) as process:
            out, err = finish(process)
        return Done(process.returncode, out, err)

    def terminal(self, *arguments: str, columns: int = 80, **environment: str) -> Done:
        """Run a command on a terminal; all that it shows is in `out`."""
        ours, theirs = pty.openpty()
        import fcntl
        import termios

        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        shown = b""
        process = self.start(
            *arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**self.environment, "TERM": "xterm-256color", **environment},
        )
        os.close(theirs)
        while select.select([ours], [], [], 20)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says so when the last process has closed its side
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        return Done(process.wait(20), shown.decode().replace("\r\n", "\n"), "")

    def edit(self, old: str, new: str) -> None:
        """Save the file with one thing changed."""
        text = self.file.read_text()
        assert old in text
        fresh = self.file.with_suffix(".tmp")
        fresh.write_text(text.replace(old, new))
        fresh.replace(self.file)


_WORKER = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import pricing, scatter_agent
    agent = scatter_agent.start(application="shop", wait=20)
    print("ready", flush=True)
    for line in sys.stdin:
        print(eval(line), flush=True)
    scatter_agent.stop()
"""


class Worker:
    """A running process of the shop, under its agent."""

    def __init__(self, shell: Shell) -> None:
        self.process = start_python(_WORKER, str(shell.folder), env=shell.environment)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, expression: str) -> str:
        """Evaluate something in the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        finish(self.process)


class Watch:
    """`scatter watch` in a process of its own."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self.process = shell.start("watch", *arguments)
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def until(self, pattern: str) -> str:
        """Return the next line that matches."""
        return read_until(self.process, pattern).splitlines(keepends=True)[-1]

    def stop(self, number: signal.Signals = signal.SIGINT) -> Done:
        """End it as Ctrl-C does."""
        self.process.send_signal(number)
        out, err = finish(self.process)
        return Done(self.process.returncode, out, err)


def live(releases: Releases) -> dict[str, int | None]:
    """Return function → live version."""
    return {name: state.version for name, state in releases.functions().items()}


def tip(releases: Releases) -> int:
    """Return the number of the newest release."""
    releases.journal.catch_up()
    return releases.journal.ledger.sequence
