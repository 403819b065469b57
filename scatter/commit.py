"""The commit that the working tree around this process is at, for the log's readers.

Read from git's own files, and again only when one of them has changed: it is asked at every push,
and running `git` would take longer than the push does. Not here: whether files differ from the
commit; what was pushed is in the bundle.
"""

from __future__ import annotations

import os
import re

Stamps = tuple[tuple[str, int], ...]

_known: dict[str, tuple[Stamps, str]] = {}
"""Working directory → the files that its commit was read from, when they changed, the commit."""


def head_commit() -> str:
    """Return the commit that is checked out where this process works; empty if it is unknown."""
    try:
        here = os.getcwd()
        stamps, commit = _known.get(here, ((), ""))
        if not stamps or any(os.stat(file).st_mtime_ns != at for file, at in stamps):
            commit = _read(here)
    except (OSError, ValueError):  # unreadable, or gone meanwhile: the push goes on without it
        return ""
    return commit


def _read(here: str) -> str:
    """Read the commit, and remember from what."""
    git, files = _find(here), list[str]()
    commit = _head(git, files) if git else ""
    commit = commit if re.fullmatch(r"[0-9a-f]{40,64}", commit) else ""
    _known[here] = tuple((file, os.stat(file).st_mtime_ns) for file in files), commit
    return commit


def _find(here: str) -> str:
    """Return git's directory of a working tree; empty if `here` is in none."""
    folder = here
    while not os.path.exists(git := os.path.join(folder, ".git")):
        folder, before = os.path.dirname(folder), folder
        if folder == before:
            return ""
    if os.path.isfile(git):  # a linked working tree, or a submodule: the file names the directory
        git = os.path.join(folder, _text(git, []).removeprefix("gitdir:").strip())
    return git


def _head(git: str, files: list[str]) -> str:
    """Return the commit that `HEAD` names, by itself or through a branch; note what was read."""
    head = _text(os.path.join(git, "HEAD"), files)
    if not head.startswith("ref:"):
        return head
    branch = head.removeprefix("ref:").strip()
    link = os.path.join(git, "commondir")  # a linked working tree keeps branches in the main one
    common = os.path.join(git, _text(link, files)) if os.path.exists(link) else git
    loose = os.path.join(common, branch)
    if os.path.exists(loose):
        return _text(loose, files)
    packed = _text(os.path.join(common, "packed-refs"), files)
    files.clear()  # the next commit writes another file: read again each time
    rows = (row.partition(" ") for row in packed.splitlines())
    return next((commit for commit, _, name in rows if name == branch), "")


def _text(file: str, files: list[str]) -> str:
    files.append(file)
    with open(file, encoding="utf-8") as stream:
        return stream.read().strip()
