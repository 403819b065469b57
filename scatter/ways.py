"""Who could put another file at the end of a path: whoever can write to a directory on the way.

Links are followed one by one: a way leads through the directory that each of them is in.

Not here: what is at the end, and what is said of it (`scatter.trust`, `scatter.store.layout`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from typing import NamedTuple

OTHERS = stat.S_IWGRP | stat.S_IWOTH
"""Bits of a mode by which others can write."""
_MAX_LINKS = 40
"""Links followed on the way to a file, as many as Linux follows."""


class Open(NamedTuple):
    """A directory on the way that others could change.

    Attributes:
        folder: Its path, free of links.
        status: Whose it is, and its mode.
        inside: The next on the way, where it is somebody else's in a sticky directory.

    """

    folder: str
    status: os.stat_result
    inside: Open | None = None


def open_to_others(path: str, ours: Collection[int], *, own_group: bool = False) -> Open | None:
    """Return the first directory on the way to a path in which others can put another; None: none.

    Of a directory that others can write to, only what is ours is believed, and only if it is
    sticky.

    Args:
        path: An absolute path. What is at its end is not looked at, but for whose it is.
        ours: Ids of the users who may own what is on the way.
        own_group: A group of which only this user is a member is nobody else.

    Raises:
        OSError: A directory on the way cannot be looked at, or too many links lead there.

    """
    for folder, name in _steps(path):
        status = os.stat(folder)
        shared = status.st_mode & OTHERS
        is_ours = status.st_uid in ours
        if is_ours and own_group and shared == stat.S_IWGRP and is_of_one(status.st_gid):
            continue
        if is_ours and shared and status.st_mode & stat.S_ISVTX:
            inside = os.path.join(folder, name)
            found = os.lstat(inside)
            if found.st_uid not in ours:
                return Open(folder, status, Open(inside, found))
        elif shared or not is_ours:
            return Open(folder, status)
    return None


def is_of_one(gid: int) -> bool:
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
            raise OSError(errno.ELOOP, "too many links lead to it", path)
        target = os.readlink(here)
        done = "/" if target.startswith("/") else done
        todo += target.split("/")[::-1]
