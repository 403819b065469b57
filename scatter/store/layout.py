"""The layout of a namespace in a directory, and whose directory may be believed.

    NAMESPACE/
        FORMAT            which layout this is
        tip               three lines: sequence of the newest release, that of the release that
                          reading begins at (0: the first), and the folder of the log; written
                          last, so it says what is whole
        log/17            the entry of release 17, as it stands in the log; a log that took the
                          place of another is in `log-2`, and so on
        bundles/<sha256>  a bundle, as it stands in the store
        seen.json         deployed code → sequence at which it was first seen
        online            of a mirror: touched while its server can be asked
        reports/          of a mirror: what processes say (`outbox`); anybody may write there
        lock              held by the one that writes

Not here: reading (`directory`), writing (`writer`).
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import stat
from pathlib import Path
from typing import NamedTuple

from scatter.errors import StoreRefused, StoreUnavailable, UsageError

FORMAT = "scatter directory 2\n"
SCHEME = "dir:"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_ADVICE = {
    errno.ENOENT: "Check the path and the namespace, and that the mirror keeps that one.",
    errno.EACCES: "Let this user go through every directory on the way to it (chmod o+x).",
}


class Tip(NamedTuple):
    """What is whole in a directory.

    Attributes:
        sequence: Of the newest release; 0: there is none.
        snapshot: Sequence of the release that reading begins at; 0: the first.
        log: Folder of the entries.

    """

    sequence: int = 0
    snapshot: int = 0
    log: str = "log"

    def text(self) -> bytes:
        """Return it as it is written."""
        return f"{self.sequence}\n{self.snapshot}\n{self.log}\n".encode()


class Place(NamedTuple):
    """Where a directory is, and who else than this user and root may have written it.

    Attributes:
        folder: Holds a folder for each namespace.
        owner: Id of a user; None: nobody else.

    """

    folder: Path
    owner: int | None = None


def place_of(url: str) -> Place:
    """Return what a `dir:` address says.

    Args:
        url: `dir:PATH`, or `dir:PATH?owner=USER` where another user runs the mirror.

    Raises:
        UsageError: There is no path, no such user, or something else behind the path.

    """
    path, _, query = url.removeprefix(SCHEME).partition("?")
    key, _, owner = query.partition("=")
    if not path or (query and (key != "owner" or not owner)):
        raise UsageError(f"Expected dir:PATH or dir:PATH?owner=USER, found {url!r}.")
    return Place(Path(path).expanduser().absolute(), _user(owner) if owner else None)


def _user(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(
            f"dir: there is no user {name!r} here. Give a user's name or number as `owner`."
        ) from None


def read_tip(folder: Path) -> Tip:
    """Return what is whole in a namespace's directory; nothing where there is no tip yet.

    Raises:
        StoreUnavailable: It has a layout that is not known here.

    """
    found = read_file(folder / "FORMAT")
    if found is not None and found != FORMAT.encode():
        raise StoreUnavailable(
            f"{folder} has the layout {found[:40]!r}, and {FORMAT.strip()!r} was expected. Use the "
            "same version of scatter for what writes it and what reads it.",
            url=f"{SCHEME}{folder.parent}",
        )
    try:
        sequence, snapshot, log = (read_file(folder / "tip") or b"").decode().splitlines()
        return Tip(int(sequence), int(snapshot), log) if "/" not in log else Tip()
    except ValueError:
        return Tip()


def read_file(file: Path) -> bytes | None:
    """Return what is in a file; None if it cannot be had."""
    try:
        return file.read_bytes()
    except OSError:
        return None


def seen_in(folder: Path) -> dict[str, int]:
    """Return what a directory knows of deployed code."""
    try:
        known = json.loads(read_file(folder / "seen.json") or b"{}")
        return {code: number for code, number in known.items() if type(number) is int}
    except (ValueError, AttributeError):
        return {}


def check(folder: Path, *, owner: int | None = None, whole_way: bool = False) -> None:
    """Return if a directory is there and nobody else than its owner can write to it.

    Args:
        folder: The namespace's.
        owner: A user who may own it, beside this one and root.
        whole_way: Look at every directory on the way to it too: who can write to one of them can
            put another in its place.

    Raises:
        StoreUnavailable: There is none.
        StoreRefused: `unsafe-trust-file`: others can write to it.

    """
    try:
        real = folder.resolve(strict=True) if whole_way else folder
        _check(folder, real.stat(), owner)
        for parent in real.parents if whole_way else ():
            _check_on_the_way(parent, owner)
    except OSError as error:
        if isinstance(error, StoreRefused):
            raise
        found = f"{folder} cannot be read: {error.strerror}. {_ADVICE.get(error.errno or 0, '')}"
        raise StoreUnavailable(found.rstrip(), url=f"{SCHEME}{folder.parent}") from error


def _check_on_the_way(folder: Path, owner: int | None) -> None:
    found = folder.stat()
    if found.st_mode & stat.S_ISVTX and found.st_uid == 0:
        return  # as /tmp: nobody can rename what is another's
    _check(folder, found, owner)


def _check(folder: Path, found: os.stat_result, owner: int | None) -> None:
    ours = {0, os.geteuid()} | ({owner} if owner is not None else set())
    if found.st_uid in ours and not found.st_mode & _OTHERS:
        return
    advice = f"Make sure that nobody did, then: chmod go-w {folder}"
    if found.st_uid not in ours:
        advice = (
            f"If that user runs the mirror, who follows it says so: dir:PATH?owner={found.st_uid}; "
            f"else: chown {os.geteuid()} {folder}"
        )
    raise StoreRefused(
        f"{folder}: expected a directory of this user ({os.geteuid()}) or root that nobody else "
        f"can write to, found mode {stat.S_IMODE(found.st_mode):o} of user {found.st_uid}. Code in "
        f"it would be run. {advice}",
        reason="unsafe-trust-file",
    )
