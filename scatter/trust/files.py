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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scatter.errors import Untrusted

MAX_BYTES = 1 << 20
_MAX_LINKS = 40
"""Links followed on the way to a file, as many as Linux follows."""


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
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unsafe(
            path,
            f"others can write to {what} (mode {stat.S_IMODE(status.st_mode):o})",
            f"Make sure that nobody did, then: chmod go-w {part}",
        )


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _check_way(path: Path) -> None:
    """Return if nobody else can change which file is at the end of a path."""
    for folder, name in _steps(str(path.absolute())):
        try:
            status, inside = os.stat(folder), os.lstat(os.path.join(folder, name))
        except OSError as error:
            raise _unsafe(path, f"{folder} cannot be looked at: {error.strerror}", "") from error
        is_shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if is_shared and status.st_mode & stat.S_ISVTX and _is_ours(status) and _is_ours(inside):
            continue
        if is_shared == stat.S_IWGRP and _is_ours(status) and _is_of_one(status.st_gid):
            continue
        _check(path, folder, status)


def _is_of_one(gid: int) -> bool:
    """Return whether a group is this user's own, with nobody else in it.

    Where every user has one, directories are writable by it (umask 002), `~/.config` among them.
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    others = {u.pw_name for u in pwd.getpwall() if u.pw_gid == gid} | {*group.gr_mem}
    return user.pw_gid == gid and user.pw_name == group.gr_name and others <= {user.pw_name}


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Yield each directory on the way to a file, free of links, and what is next in it."""
    done, todo, links = "/", path.split("/")[::-1], 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done = os.path.dirname(done)
            continue
        yield done, name
        here = os.path.join(done, name)
        if not os.path.islink(here):
            done = here
            continue
        links += 1
        if links > _MAX_LINKS:
            raise _unsafe(path, "too many links lead to it", "Give the path of the file itself.")
        target = os.readlink(here)
        done = "/" if target.startswith("/") else done
        todo += target.split("/")[::-1]
