"""Reads what processes left in a mirror's `reports`, where anybody may write anything.

Not here: leaving it (`outbox`); what is in it (`scatter.reports`, `scatter_agent.mirror.relay`).

Invariants
1. Only regular files of one name are opened, without following a link or waiting for a FIFO; who
   wrote one is the owner of the open file.
2. All files are looked at, so that nobody's are crowded out; of one user no more than `MOST_OF_ONE`
   count, and no more than `MOST_BYTES_OF_ONE` of them. The mirror removes what is more; who only
   looks removes nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from scatter.store.layout import WARILY
from scatter.ways import OTHERS

MOST_OF_ONE = 1024
"""Files of one user; those beyond do not count."""
MOST_BYTES = 1 << 20
"""Of one file; a larger one does not count."""
MOST_BYTES_OF_ONE = 32 << 20
"""Of all files of one user; those beyond do not count."""
REMOVE_S = 0.1
"""For how long files are removed at a time."""
FRESH_S = 15.0
"""How long a file counts after it was last touched."""


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


def protect(folder: Path) -> None:
    """Have nobody touch what is another's, also where the directory was made by hand."""
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & OTHERS and not mode & stat.S_ISVTX:
            folder.chmod(mode | stat.S_ISVTX)


def letters(folder: Path, *suffixes: str, tidy: bool = False) -> Iterator[Letter]:
    """Yield the files of these kinds; links, FIFOs and directories are none.

    Args:
        folder: Where they are.
        *suffixes: Ends of their names.
        tidy: Remove what nobody may leave there.

    Raises:
        OSError: The directory cannot be read.

    """
    crowd, size_bytes = _Crowd(tidy=tidy), Counter[int]()
    with os.scandir(folder) as found:
        for file in found:
            if not file.name.endswith(suffixes) or file.name.startswith("."):
                continue
            status = crowd.admit(file)
            letter = _letter(file.name, status) if status is not None else None
            if letter is not None and letter.size <= MOST_BYTES:
                size_bytes[letter.owner] += letter.size
                if size_bytes[letter.owner] <= MOST_BYTES_OF_ONE:
                    yield letter


class _Crowd:
    """What is in a directory that is gone through, by owner; removes what nobody may leave there.

    That ends after a moment: on a disk that is kept busy, each file may take long.
    """

    def __init__(self, *, tidy: bool) -> None:
        self._files = Counter[int]()
        self._until = time.monotonic() + REMOVE_S if tidy else 0.0

    def admit(self, file: os.DirEntry[str]) -> os.stat_result | None:
        """Return what is known of a file; None if it is a directory, one too many, or has gone."""
        if file.is_dir(follow_symlinks=False):
            self.remove(file, by=os.rmdir)  # one that has something in it stays
            return None
        try:
            status = file.stat(follow_symlinks=False)
        except OSError:
            return None
        self._files[status.st_uid] += 1
        if self._files[status.st_uid] > MOST_OF_ONE:
            self.remove(file)
            return None
        return status

    def remove(self, file: os.DirEntry[str], by: Callable[[str], None] = os.unlink) -> None:
        """Remove a file, if there is time."""
        if time.monotonic() < self._until:
            with contextlib.suppress(OSError):
                by(file.path)


def _letter(name: str, status: os.stat_result) -> Letter | None:
    """Return a file as a letter; a second name of a file could be that of somebody else's."""
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        return None
    return Letter(name, status.st_uid, status.st_ino, status.st_mtime, status.st_size)


def read(folder: Path, letter: Letter) -> bytes | None:
    """Return what is in a letter; None if it is another file by now, or has grown.

    Args:
        folder: Where it is.
        letter: As it was found.

    """
    try:
        with os.fdopen(os.open(folder / letter.name, WARILY), "rb") as stream:
            found = _letter(letter.name, os.fstat(stream.fileno()))
            if found is None or found._replace(touched_at=letter.touched_at) != letter:
                return None
            return stream.read(letter.size)
    except OSError:
        return None


def remove(folder: Path, letter: Letter) -> None:
    """Remove a letter, whatever is there in its place by now."""
    with contextlib.suppress(OSError):
        os.unlink(folder / letter.name)


def sweep(folder: Path) -> None:
    """Remove what nobody touched for long, and directories, if there is nothing in them.

    Raises:
        OSError: The directory cannot be read.

    """
    now, crowd = time.time(), _Crowd(tidy=True)
    with os.scandir(folder) as found:
        for file in found:
            status = crowd.admit(file)
            if status is not None and abs(now - status.st_mtime) > FRESH_S:
                crowd.remove(file)
