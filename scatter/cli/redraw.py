"""A screen of lines that are drawn again and again, on the terminal's other screen.

Invariants
1. A frame is one write over the frame before; nothing is cleared first, so nothing flickers.
2. However it ends, Ctrl-Z and signals too, the terminal is as it was: cursor, wrapping, what was
   there before. The last frame stays to be read.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import click

from scatter.cli.output import data, in_colour

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
"""The other screen, no cursor, no wrapping (a window may be narrowed between frames), cleared."""
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Redrawn:
    """The screen, from `with` to its end. The main thread's, as signals are."""

    def __init__(self, wake: Callable[[], object]) -> None:
        """Prepare.

        Args:
            wake: Called, in a signal handler, when there is to be another frame: the window has
                another size, or is back.

        """
        self._wake = wake
        self._frame: Sequence[str] = ()
        self._shown = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Redrawn:
        handlers: dict[int, Callable[[int, FrameType | None], object]] = {
            signal.SIGWINCH: self._resized,
            signal.SIGTSTP: self._stopped,
            signal.SIGTERM: _ended,
            signal.SIGHUP: _ended,
        }
        for number, handler in handlers.items():
            self._before[number] = signal.signal(number, handler)
        sys.stdout.flush()
        _write(_ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        _write(_LEAVE)
        for line in self._frame:
            data(line)

    @staticmethod
    def height() -> int:
        """Return how many lines a frame may have: of the window, whatever `LINES` was once."""
        try:
            return max(os.get_terminal_size(sys.stdout.fileno()).lines, 1)
        except OSError:  # it has gone away; a signal says so too
            return 24

    def draw(self, lines: Sequence[str]) -> None:
        """Show lines in place of those that are shown."""
        self._frame = lines = lines if in_colour(sys.stdout) else [*map(click.unstyle, lines)]
        whole = "\r\n".join(line + _END_OF_LINE for line in lines[: self.height()])
        if whole != self._shown:
            self._shown = whole
            _write(_HOME + whole + _BELOW)

    def _resized(self, *_: object) -> None:
        self._shown = ""
        self._wake()

    def _stopped(self, *_: object) -> None:
        """Stop as Ctrl-Z asks, with the terminal as it was, and go on when asked to."""
        _write(_LEAVE)
        os.kill(os.getpid(), signal.SIGSTOP)
        _write(_ENTER)
        self._resized()


def _ended(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _write(text: str) -> None:
    """Write at once, past the buffer: a handler writes too, while a frame waits for the terminal.

    A terminal that has gone away is noticed by its signal.
    """
    rest = text.encode(sys.stdout.encoding, "replace")
    try:
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
    except OSError:
        pass
