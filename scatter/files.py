"""Writing files whole, and one after the other.

Invariants
1. A reader finds the old or the new, whenever the writer is killed.
2. A lock is of the process that took it. A child that is forked meanwhile does not hold it: with
   `flock` it would, for all of its life, and everybody would wait for it.
3. Nobody waits longer than told for a process that is stopped in the middle of its writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from scatter import native
from scatter.locks import ForkSafeLock

_PAUSE_S = 0.002
_guard = ForkSafeLock()
_held: dict[tuple[int, int, str], int] = {}
"""Files that are locked by a thread of this process (record locks are between processes), and its
pid: a forked child has what its parent had."""


def write_whole(
    path: Path,
    data: bytes,
    *,
    durably: bool = True,
    keep_owner: bool = False,
    mode: int = 0o600,
) -> None:
    """Write a file in one step, for this user's eyes only unless told otherwise.

    Args:
        path: The file; it need not exist, its directory must.
        data: What is to be in it.
        durably: Wait until it would outlast a loss of power.
        keep_owner: A file that is there keeps its owner and readers, as in `/etc`.
        mode: Who may read it.

    Raises:
        OSError: It cannot be written; it is what it was.

    """
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}")  # nobody can put a link there
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(handle, mode)
            stream.write(data)
            stream.flush()
            if keep_owner:
                _take_after(path, handle)
            if durably:
                os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a directory would outlast a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_after(path: Path, handle: int) -> None:
    """Give an open file the owner and readers of the one that it replaces."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    if os.geteuid() == 0:
        os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, old.st_mode & 0o644 | 0o600)


@contextlib.contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[bool]:
    """Keep others, threads of this process among them, from what a file stands for.

    Args:
        path: A file for this alone; it is made, and stays. Its directory must be there.
        timeout_s: How long to wait for those who have it.

    Yields:
        Whether it is ours: if not, somebody else still has it.

    Raises:
        OSError: The file cannot be opened, or there is no such directory.

    """
    deadline = time.monotonic() + timeout_s
    folder = os.stat(path.parent)  # known by that, whatever links lead to it
    name = folder.st_dev, folder.st_ino, path.name
    while not _take(name):
        if time.monotonic() > deadline:
            yield False
            return
        native.sleep(_PAUSE_S)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield _lock(handle, deadline)
        finally:
            os.close(handle)
    finally:
        with _guard:
            _held.pop(name, None)


def _take(name: tuple[int, int, str]) -> bool:
    """Take a file for this thread; return whether no other one of this process has it."""
    with _guard:
        if _held.get(name) == os.getpid():
            return False
        _held[name] = os.getpid()
        return True


def _lock(handle: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                return False
            native.sleep(_PAUSE_S)
        else:
            return True
