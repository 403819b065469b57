"""What processes that follow a mirror's directory leave there for the mirror.

    reports/                mode 1777: anybody may write, nobody can touch what is another's
        <process>.report    what a process runs; touched while that holds
        <token>.seen        deployed code → sequence at which it was first seen, or null: a question

The mirror relays reports to its server, and answers questions in `seen.json`
(`scatter_agent.mirror`).

Invariants
1. Files come whole: by another name first, which nobody can guess.
2. What cannot be written is `StoreRefused`, and costs nothing but that others do not see it.
3. No link is followed: neither who owns the directory nor who else writes there has a file written,
   touched or removed elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from scatter import native
from scatter.errors import StoreRefused
from scatter.store.layout import seen_in

FOLDER = "reports"
REPORT, SEEN = ".report", ".seen"
ANSWER_S = 1.0
"""How long an answer is waited for, where there is somebody who can give it."""
ONLINE_S = 15.0
"""How long a mirror counts as being there after it was last heard of."""
_LOOK_S = 0.005
_AT = getattr(os, "O_PATH", os.O_RDONLY)  # not everybody need be able to list it


class Contact(NamedTuple):
    """How a mirror stands with its server, as far as its directory shows.

    Attributes:
        is_online: It is there, and its server can be asked.
        at: When that was last so, seconds since the epoch; 0: there is no directory.

    """

    is_online: bool
    at: float


def contact(folder: Path) -> Contact:
    """Return when a mirror was last heard of; `folder` is that of the namespace.

    One that takes leave removes `online`, which changes the directory; one that was killed leaves
    it.
    """
    try:
        at = (folder / "online").stat().st_mtime
    except OSError:
        try:
            return Contact(is_online=False, at=folder.stat().st_mtime)
        except OSError:
            return Contact(is_online=False, at=0.0)
    return Contact(is_online=abs(time.time() - at) < ONLINE_S, at=at)


class Outbox:
    """What one process leaves in a mirror's directory."""

    def __init__(self, folder: Path) -> None:
        """Remember which; `folder` is that of the namespace."""
        self._folder = folder
        self._reports = folder / FOLDER

    def __repr__(self) -> str:
        return f"<Outbox {self._reports}>"

    @property
    def is_open(self) -> bool:
        """Whether something can be left here."""
        return os.access(self._reports, os.W_OK)

    def write(self, process: str, report: bytes) -> None:
        """Leave a report.

        Raises:
            StoreRefused: It cannot be written.

        """
        with self._refused():
            self._write(f"{process}{REPORT}", report)

    def touch(self, process: str) -> bool:
        """Say that a report still holds; False: there is none."""
        try:
            with self._opened() as folder:
                os.utime(f"{process}{REPORT}", dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        return True

    def remove(self, process: str) -> None:
        """Take a report back."""
        with contextlib.suppress(OSError), self._opened() as folder:
            os.unlink(f"{process}{REPORT}", dir_fd=folder)

    def note(self, seen: Mapping[str, int]) -> None:
        """Leave a note since when deployed code is known.

        Raises:
            StoreRefused: It cannot be written.

        """
        if seen:
            with self._refused():
                self._write(f"{secrets.token_hex(8)}{SEEN}", json.dumps(dict(seen)).encode())

    def ask(self, codes: Iterable[str], known: Mapping[str, int]) -> Mapping[str, int]:
        """Return since when deployed code is known, and ask the mirror if it can ask its server.

        Args:
            codes: Names of functions, each with the digest of its code.
            known: What the directory knows already.

        """
        wanted = {code: None for code in codes if code not in known}
        if not wanted or not contact(self._folder).is_online:
            return known
        try:
            self._write(f"{secrets.token_hex(8)}{SEEN}", json.dumps(wanted).encode())
        except OSError:
            return known
        deadline, before = time.monotonic() + ANSWER_S, None
        while not known.keys() >= wanted.keys() and time.monotonic() < deadline:
            native.sleep(_LOOK_S)
            found = self._edition()
            if found != before:
                before, known = found, seen_in(self._folder)
        return known

    def _edition(self) -> tuple[int, int] | None:
        """Return what is another one when answers were written."""
        try:
            found = os.stat(self._folder / "seen.json")
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _write(self, name: str, data: bytes) -> None:
        part = f".{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with self._opened() as folder:
            try:
                with os.fdopen(os.open(part, flags, 0o644, dir_fd=folder), "wb") as stream:
                    os.fchmod(stream.fileno(), 0o644)  # the mirror may be another user
                    stream.write(data)
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        flags = _AT | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = os.open(self._reports, flags)
        try:
            yield folder
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreRefused(
                f"{self._reports} cannot be written: {error.strerror}. Have the mirror run, or "
                "mount that directory so that it can be written."
            ) from error
