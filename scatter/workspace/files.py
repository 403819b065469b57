"""Finding Python files and reading them in one piece.

Not here: what the text means. Invariant: `read` gives bytes that the file held at one moment, or
says that it could not.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import stat
import sys
import time
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

if sys.platform == "linux":
    import fcntl

MAX_FILE_BYTES = 2 << 20
"""Larger files are generated data, not source that people edit."""
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "venv"})
_BUILT = frozenset({"build", "dist"})
_TRIES = 3
_RACY_NS = 50_000_000
"""File times tick every 1 to 10 ms, so a file read this soon after its last change may change
again without showing it."""


class Signature(NamedTuple):
    """What changes when a file does. `ctime` sees edits that restore the mtime."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one attempt to read a file gave.

    Attributes:
        data: The bytes; None when there is no such file.
        signature: Of the file that they are from; None if the same signature could hide a
            later change.
        unsure: The file was changing while it was read, or somebody has it open for writing.
        error: Why it cannot be read; empty if it could.

    """

    data: bytes | None = None
    signature: Signature | None = None
    unsure: bool = False
    error: str = ""


def find(roots: tuple[Path, ...]) -> tuple[frozenset[Path], frozenset[Path]]:
    """Return the Python files below the roots, and the directories in which they could be."""
    files = {root for root in roots if root.is_file()}
    folders = {root for root in roots if root.is_dir()}
    todo = list(folders)
    while todo:
        folder = todo.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not _is_skipped(entry):
                        todo.append(Path(entry.path))
                elif is_source(entry.name):
                    files.add(Path(entry.path))
        folders.add(folder)
    return frozenset(files), frozenset(folders)


def is_source(name: str) -> bool:
    """Return whether a file name is that of a module; backup and temporary names are not."""
    return name.endswith(".py") and name[:-3].isidentifier()


def is_test(path: Path) -> bool:
    """Return whether a file is a test: it is no caller that runs anywhere."""
    is_named_so = path.name.startswith("test_") or path.name in ("conftest.py",)
    return is_named_so or bool({"tests", "test"} & set(path.parts[-3:-1]))


def _is_skipped(folder: os.DirEntry[str]) -> bool:
    """Return whether a directory holds other people's code, or copies of ours."""
    name, path = folder.name, Path(folder.path)
    if name.startswith(".") or name in _SKIPPED or name.endswith((".egg-info", ".dist-info")):
        return True
    if name in _BUILT:
        return any((path.parent / f).exists() for f in ("pyproject.toml", "setup.py", "setup.cfg"))
    return (path / "pyvenv.cfg").exists()


def signature_of(path: Path) -> Signature | None:
    """Return the signature of a regular file; None when there is no such file."""
    try:
        return _signature(path.stat())
    except (OSError, ValueError):
        return None


def _signature(status: os.stat_result) -> Signature | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return Signature(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def read(path: Path) -> Reading:
    """Read a file; again if it changed meanwhile, at most three times."""
    for _ in range(_TRIES):
        before = signature_of(path)
        if before is None:
            return Reading()
        if before.size > MAX_FILE_BYTES:
            return Reading(signature=before, error=f"it is larger than {MAX_FILE_BYTES >> 20} MB")
        try:
            with path.open("rb") as file:
                data = file.read()
                being_written = _is_being_written(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            return Reading(error=error.strerror or str(error))
        if signature_of(path) == before and len(data) == before.size:
            fresh = time.time_ns() - max(before.mtime_ns, before.ctime_ns) < _RACY_NS
            return Reading(data=data, signature=None if fresh else before, unsure=being_written)
    return Reading(unsure=True)


def _is_being_written(file: io.BufferedReader) -> bool:
    """Return whether some process has the file open for writing, as far as Linux tells.

    The kernel grants a read lease only on a file that nobody has open for writing, which is the
    one exact sign that an editor is done. The lease is given back at once (m: 7 µs for both). A
    process that opens the file in between is held up that long, and we are sent a signal: SIGURG,
    which is ignored by default, in place of SIGIO, which would end us. Where leases cannot be had
    (not Linux, not our file, NFS) the answer is False, and the shape of the text must do.
    """
    if sys.platform != "linux":
        return False
    try:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def decode(data: bytes) -> str:
    r"""Return source text with `\n` line ends, decoded as Python would.

    Raises:
        SyntaxError: The encoding is unknown, or the bytes are not in it.

    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte {data[error.start]:#x} is not {encoding}"
        raise SyntaxError(message, ("", line, 0, "")) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
