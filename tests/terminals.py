"""A terminal that a command runs on, as people see it: its screen, its keys and its size."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyte
from shells import Shell
from support import wait_until


class Terminal:
    """The terminal of one command; a thread reads what the command writes."""

    def __init__(self, shell: Shell, *arguments: str, size: tuple[int, int], **environment: str):
        self.written = b""
        self._ours, theirs = pty.openpty()
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._set_size(*size)
        self.process = shell.start(
            *arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**shell.environment, "TERM": "xterm-256color", **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # Linux says so when the last process has closed its side
                return
            with self._lock:
                self.written += piece
                self._stream.feed(piece)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Have the window another size."""
        with self._lock:
            self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the spaces at the ends of lines."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(self.lines)

    def until(self, text: str) -> str:
        """Wait until a text is on the screen, and return all that is there."""
        try:
            return wait_until(lambda: self.text if text in self.text else "", repr(text))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text}") from None

    def until_not(self, text: str) -> None:
        """Wait until a text has gone."""
        wait_until(lambda: text not in self.text, f"{text!r} to go")

    def end(self) -> int:
        """Return the exit status of the command, which was asked to end."""
        code = self.process.wait(20)
        self._reader.join(20)
        return code

    def close(self) -> None:
        """Kill what is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        self._reader.join(20)
        os.close(self._ours)


@contextmanager
def on_terminal(
    shell: Shell, *arguments: str, size: tuple[int, int] = (80, 24), **environment: Any
) -> Iterator[Terminal]:
    """Run a command on a terminal of some columns and lines; it is gone at the end."""
    terminal = Terminal(shell, *arguments, size=size, **environment)
    try:
        yield terminal
    finally:
        terminal.close()
