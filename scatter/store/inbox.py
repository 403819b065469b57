"""Reads what processes left in a mirror's `reports`, where anybody may write anything.

Not here: leaving it (`outbox`); what is in it (`scatter.reports`, `scatter_agent.mirror.relay`).

Invariants
1. Only regular files of one name are opened, without following a link or waiting for a FIFO; who
   wrote one is the owner of the open file.
2. However many files there are, and however large, little is read of one user.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_FILES, MOST_OF_ONE = 8192, 2048
"""Files that are looked at, of all users and of one."""
FRESH_S = 15.0
"""How long a file counts after it was last touched."""
MAX_REPORT_BYTES = 1 << 20
MOST_BYTES_OF_ONE = 32 << 20
"""Bytes of reports of one user that are held at a time."""


class Letter(NamedTuple):
    """A file that is there.

    Attributes:
        name: Its name.
        owner: Id of the user whose it is.
        inode: Another one when the file was replaced.
        touched_at: When it was last touched, by the system's clock.
        size: In bytes.

    """

    name: str
    owner: int
    inode: int
    touched_at: float
    size: int

    @property
    def is_fresh(self) -> bool:
        """Whether it still counts; one from the future does not."""
        return abs(time.time() - self.touched_at) < FRESH_S


def letters(folder: Path, *suffixes: str) -> Iterator[Letter]:
    """Yield the files of these kinds; links, FIFOs and directories are none.

    Raises:
        OSError: The directory cannot be read.

    """
    of_owner = Counter[int]()
    with os.scandir(folder) as found:
        for number, file in enumerate(found):
            if number >= MOST_FILES:
                return
            letter = _letter(file.name, _status(file))
            if letter is None or not file.name.endswith(suffixes) or file.name.startswith("."):
                continue
            of_owner[letter.owner] += 1
            if of_owner[letter.owner] <= MOST_OF_ONE:
                yield letter


def _status(file: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return file.stat(follow_symlinks=False)
    except OSError:
        return None


def _letter(name: str, status: os.stat_result | None) -> Letter | None:
    """Return a file as a letter; a second name of a file could be that of somebody else's."""
    if status is None or not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        return None
    return Letter(name, status.st_uid, status.st_ino, status.st_mtime, status.st_size)


def read(folder: Path, letter: Letter, limit: int) -> bytes | None:
    """Return what is in a letter; None if it is another file by now, or too large.

    Args:
        folder: Where it is.
        letter: As it was found.
        limit: Bytes that are read at most.

    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(folder / letter.name, flags), "rb") as stream:
            found = _letter(letter.name, os.fstat(stream.fileno()))
            if found is None or (found.owner, found.inode) != (letter.owner, letter.inode):
                return None
            data = stream.read(limit + 1)
    except OSError:
        return None
    return data if len(data) <= limit else None


def sweep(folder: Path) -> None:
    """Remove what nobody touched for long, whatever it is; directories stay.

    Raises:
        OSError: The directory cannot be read.

    """
    now = time.time()
    with os.scandir(folder) as found:
        for file in found:
            status = _status(file)
            if status is None or stat.S_ISDIR(status.st_mode):
                continue
            if abs(now - status.st_mtime) > FRESH_S:
                with contextlib.suppress(OSError):
                    os.unlink(file.path)
