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
import re
import stat
from pathlib import Path
from typing import NamedTuple

from scatter.errors import StoreRefused, StoreUnavailable, UsageError
from scatter.ways import OTHERS, Open, open_to_others

FORMAT = "scatter directory 2\n"
SCHEME = "dir:"
MOST_BYTES = 64 << 20
"""What is read of one file: the snapshots of the largest logs fit in."""
MOST_OF_ENTRY = 2 << 20
"""The same of an entry; one that is believed is half as long."""
WARILY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""How a file is opened that another user may have put there: no link, and no FIFO is waited for."""
LOG = re.compile(r"log(-[1-9][0-9]{0,8})?")
"""What a folder of entries is called."""
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
        return Tip(int(sequence), int(snapshot), log) if LOG.fullmatch(log) else Tip()
    except ValueError:
        return Tip()


def read_file(file: Path, most_bytes: int = MOST_BYTES) -> bytes | None:
    """Return what is in a file; None if it cannot be had.

    Who owns the directory may be another user, and must not hold up or fill whoever reads it: a
    link, a FIFO, a device or a file that is too large cannot be had.
    """
    try:
        with os.fdopen(os.open(file, WARILY), "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
                return None
            return stream.read(found.st_size)
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
    ours = {0, os.geteuid()} | ({owner} if owner is not None else set())
    try:
        found = folder.stat()
        on_the_way = open_to_others(str(folder.absolute()), ours) if whole_way else None
    except OSError as error:
        found_out = f"{folder} cannot be read: {error.strerror}."
        advice = _ADVICE.get(error.errno or 0, "")
        raise StoreUnavailable(
            f"{found_out} {advice}".rstrip(), url=f"{SCHEME}{folder.parent}"
        ) from error
    if on_the_way is not None:
        raise _unsafe(on_the_way)
    if found.st_mode & OTHERS or found.st_uid not in ours:
        raise _unsafe(Open(str(folder), found))


def check_way(folder: Path) -> None:
    """Return if nobody else can put another in the place of a directory that may not be there yet.

    Raises:
        StoreRefused: `unsafe-trust-file`: others can.
        OSError: A directory on the way cannot be looked at.

    """
    try:
        found = open_to_others(str(folder.absolute()), (0, os.geteuid()))
    except FileNotFoundError:
        return  # what is there is good, and the rest is yet to be made
    if found is not None:
        raise _unsafe(found)


def _unsafe(found: Open) -> StoreRefused:
    path, status, _ = found.inside or found
    advice = f"Make sure that nobody did, then: chmod go-w {path}"
    if status.st_uid not in (0, os.geteuid()):
        advice = (
            "If that user runs the mirror, who follows it says so: "
            f"dir:PATH?owner={status.st_uid}; else: chown {os.geteuid()} {path}"
        )
    return StoreRefused(
        f"{path}: expected a directory of this user ({os.geteuid()}) or root that nobody else can "
        f"write to, found mode {stat.S_IMODE(status.st_mode):o} of user {status.st_uid}. Code in "
        f"it would be run. {advice}",
        reason="unsafe-trust-file",
    )
