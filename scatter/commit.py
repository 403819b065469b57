"""The commit that the working tree around this process is at, for the log's readers.

Read from git's own files: it is asked at every push, and running `git` would take longer than the
push does. Not here: whether files differ from the commit; what was pushed is in the bundle.
"""

from __future__ import annotations

import re
from pathlib import Path


def head_commit() -> str:
    """Return the commit that is checked out where this process works; empty if it is unknown."""
    try:
        here = Path.cwd()
        found = (folder / ".git" for folder in (here, *here.parents))
        git = next((git for git in found if git.exists()), None)
        commit = _head(git) if git else ""
    except (OSError, ValueError):  # unreadable, or gone meanwhile: the push goes on without it
        return ""
    return commit if re.fullmatch(r"[0-9a-f]{40,64}", commit) else ""


def _head(git: Path) -> str:
    """Return the commit that `HEAD` names, by itself or through a branch."""
    if git.is_file():  # a linked working tree, or a submodule: the file names the directory
        git = git.parent / _text(git).removeprefix("gitdir:").strip()
    head = _text(git / "HEAD")
    if not head.startswith("ref:"):
        return head
    branch = head.removeprefix("ref:").strip()
    link = git / "commondir"
    common = git / _text(link) if link.exists() else git
    if (common / branch).exists():
        return _text(common / branch)
    rows = (row.partition(" ") for row in _text(common / "packed-refs").splitlines())
    return next((commit for commit, _, name in rows if name == branch), "")


def _text(file: Path) -> str:
    return file.read_text("utf-8").strip()
