"""Reading files that decide whom to trust, and what keeps others from writing them.

Not here: what is in them. Invariants

1. What is read comes from a regular file that only this user or root can have written: the file,
   and every directory and link on the way to it from `/`.
2. Who can only be told apart by their place on the way cannot swap anything: of a directory that
   others can write to, only what this user or root owns is believed, and only if it is sticky. A
   group of which only this user is a member is nobody else.
3. The file is opened first and looked at through its descriptor, so that it cannot change between.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from scatter import ways
from scatter.errors import Untrusted

MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """What changes when a file is changed or replaced, or others may write to it.

    Attributes:
        mtime_ns: When it was last written.
        size: In bytes.
        inode: Its number; a file that was moved into place has another one.
        mode, owner: Who may write to it.

    """

    mtime_ns: int
    size: int
    inode: int
    mode: int
    owner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFile:
    """What a file of trust had in it.

    Attributes:
        path: Where it is.
        data: The bytes.
        identity: By which a change is noticed.

    """

    path: Path
    data: bytes = field(repr=False)
    identity: Identity

    @property
    def text(self) -> str:
        """Return the text.

        Raises:
            Untrusted: `bad-trust-file`: it is no UTF-8.

        """
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            raise Untrusted(
                "bad-trust-file",
                f"{self.path}:{line}: expected text in UTF-8; {error.reason}.",
                hint="Write the file again.",
            ) from error


def read(path: Path, max_bytes: int = MAX_BYTES) -> TrustFile:
    """Return what a file of trust has in it.

    Args:
        path: Where it is.
        max_bytes: A larger one is refused.

    Raises:
        Untrusted: `unsafe-trust-file`: others could have written it, it is no file, too large or
            cannot be read. The message says what to do.
        FileNotFoundError: There is none.

    """
    try:
        # not blocked by a FIFO; no terminal becomes ours
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _unsafe(
            path, f"it cannot be read: {why}", f"Let user {os.geteuid()} read it."
        ) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _unsafe(path, "it is not a regular file", "Give the path of a file.")
        _check(path, path, status)
        _check_way(path)
        data = _read(handle, max_bytes + 1)
    finally:
        os.close(handle)
    if len(data) > max_bytes:
        raise _unsafe(path, f"it has more than {max_bytes:,} bytes", "Take out what is not needed.")
    return TrustFile(path=path, data=data, identity=_identity(status))


def _read(handle: int, limit: int) -> bytes:
    """Return what a file has in it, up to so many bytes."""
    data = bytearray()
    while len(data) < limit and (part := os.read(handle, limit - len(data))):
        data += part
    return bytes(data)


def identity_of(path: Path) -> Identity | None:
    """Return the identity that a file has now, or None if there is none."""
    try:
        return _identity(path.stat())
    except (OSError, ValueError):
        return None


def _identity(status: os.stat_result) -> Identity:
    return Identity(
        mtime_ns=status.st_mtime_ns,
        size=status.st_size,
        inode=status.st_ino,
        mode=status.st_mode,
        owner=status.st_uid,
    )


def _unsafe(path: Path | str, found: str, hint: str) -> Untrusted:
    return Untrusted(
        "unsafe-trust-file",
        f"{path} decides whose code runs here, and {found}.",
        hint=hint,
    )


def _check(path: Path, part: Path | str, status: os.stat_result) -> None:
    """Return if only this user or root can write to the file, or to a directory on the way."""
    what = "it" if part is path else f"its directory {part}"
    if not _is_ours(status):
        raise _unsafe(
            path,
            f"{what} belongs to user {status.st_uid}, not to this user ({os.geteuid()}) or root",
            f"If it is yours: chown {os.geteuid()} {part}",
        )
    if status.st_mode & ways.OTHERS:
        raise _unsafe(
            path,
            f"others can write to {what} (mode {stat.S_IMODE(status.st_mode):o})",
            f"Make sure that nobody did, then: chmod go-w {part}",
        )


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _check_way(path: Path) -> None:
    """Return if nobody else can change which file is at the end of a path."""
    try:
        found = ways.open_to_others(str(path.absolute()), (0, os.geteuid()), own_group=True)
    except OSError as error:
        why = f"{error.filename} cannot be looked at: {error.strerror}"
        raise _unsafe(path, why, "Give the path of the file itself.") from error
    if found is not None:
        _check(path, found.folder, found.status)
