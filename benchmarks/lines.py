"""A program whose lines are waited for only so long."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


class Program:
    """A program that is read line by line, and ends with its standard input."""

    def __init__(self, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            list(map(str, command)),
            env=env,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())

    def line(self, timeout_s: float) -> str | None:
        """Return its next line; None if none comes in time."""
        try:
            return self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def until(self, part: str, timeout_s: float = 20) -> None:
        """Wait for a line that has a text in it."""
        while (line := self.line(timeout_s)) is not None:
            if part in line:
                return
        raise RuntimeError(f"{self.process.args!r} did not say {part!r}; its messages are above")

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait(10)
        self._reader.join(5)
        self.process.stdout.close()
