"""Whether git is rewriting the working tree right now.

While `git checkout`, `merge`, `rebase` or `stash` write files, `.git/index.lock` exists. A save
seen meanwhile is one of several: waiting for the lock to go makes one release of all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

_STALE_S = 10.0
"""A lock older than this was left behind by a git that died."""


def index_locks(roots: Iterable[Path]) -> tuple[Path, ...]:
    """Return where git would put the lock of each working tree that the roots are in."""
    locks: dict[Path, None] = {}
    for root in roots:
        for folder in (root, *root.parents):
            git = folder / ".git"
            if git.exists():
                locks[_directory(git) / "index.lock"] = None
                break
    return tuple(locks)


def _directory(git: Path) -> Path:
    """Return git's directory; in a linked working tree `.git` is a file that names it."""
    if git.is_dir():
        return git
    try:
        return git.parent / git.read_text("utf-8").removeprefix("gitdir:").strip()
    except (OSError, UnicodeDecodeError):
        return git


def is_busy(locks: Iterable[Path]) -> bool:
    """Return whether any of the locks is held by a living git."""
    for lock in locks:
        try:
            if time.time() - lock.stat().st_mtime < _STALE_S:
                return True
        except OSError:
            continue
    return False
