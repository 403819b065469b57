"""A developer's terminal in a project's directory, for tests of the command line."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scatter.cli import main
from scatter.cli.output import SCHEMA

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
