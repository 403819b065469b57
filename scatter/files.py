"""Writing files whole: a reader finds the old or the new, whenever the writer is killed."""

from __future__ import annotations

import os
from pathlib import Path


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
    part = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
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
