"""A namespace in a directory: what runs now, to be read when no server can be asked.

    NAMESPACE/
        FORMAT            which layout this is
        tip               sequence of the newest release; written last, so it says what is whole
        snapshot          sequence of the release that reading begins at; missing: at the first
        log/17            the entry of release 17, as it stands in the log
        bundles/<sha256>  a bundle, as it stands in the store
        seen.json         deployed code → sequence at which it was first seen

Invariants
1. A reader finds an older state or the new one, never half of one, whenever the writer is killed.
2. Only one process writes at a time; others leave it to that one.
3. A directory that others could write to is neither read nor written: code in it would be run.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from scatter.errors import StoreRefused, StoreUnavailable
from scatter.files import locked, write_whole
from scatter.store.memory import MemoryDoorbell
from scatter.store.port import NO_HINTS, Hints, Tail

FORMAT = "scatter directory 1\n"


class DirectoryStore:
    """A namespace in a directory, to be read; the contract is that of `scatter.store.port.Store`.

    It has no hints but the snapshot, and takes no releases and no reports.
    """

    def __init__(self, folder: Path | str, namespace: str) -> None:
        """Remember where; nothing is read yet."""
        self._namespace = namespace
        self.folder = Path(folder) / namespace

    def __repr__(self) -> str:
        return f"<DirectoryStore {self._namespace} at {self.address}>"

    @property
    def namespace(self) -> str:
        """The namespace of this store."""
        return self._namespace

    @property
    def address(self) -> str:
        """`dir:` and the path."""
        return f"dir:{self.folder.parent}"

    def read(
        self,
        after: int,
        limit: int = 64,
        *,
        recent: bool = False,  # noqa: ARG002 - bundles are at hand anyway
        to_append: bool = False,  # noqa: ARG002 - nothing can be appended
    ) -> Tail:
        """Return the entries after a sequence."""
        check(self.folder)
        tip = self._number("tip")
        numbers = range(after + 1, min(tip, after + limit) + 1)
        entries = list[bytes]()
        for data in self.entries(numbers):
            if data is None:
                break
            entries.append(data)
        return Tail(
            entries=tuple(entries), tip=tip, snapshot=0 if after else self._number("snapshot")
        )

    def entries(self, sequences: Sequence[int]) -> list[bytes | None]:
        """Return the entry at each sequence."""
        return [_read(self.folder / "log" / str(sequence)) for sequence in sequences]

    def bundles(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return the bundles that exist."""
        check(self.folder)
        found = ((digest, _read(self.folder / "bundles" / digest)) for digest in digests)
        return {digest: data for digest, data in found if data is not None}

    def versions(
        self,
        function: str,  # noqa: ARG002 - there are no hints here
        *,
        below: int | None = None,  # noqa: ARG002
        above: int | None = None,  # noqa: ARG002
        limit: int = 100,  # noqa: ARG002
    ) -> list[tuple[int, int]]:
        """Return no hint."""
        return []

    def first_seen(self, deployed: Iterable[str]) -> dict[str, int]:
        """Return when deployed code was first seen."""
        known = seen_in(self.folder)
        return {code: known[code] for code in deployed if code in known}

    def digests(self, files: Sequence[str]) -> list[dict[str, str]]:
        """Return no hint."""
        return [{} for _ in files]

    def reports(self) -> dict[str, bytes]:
        """Return no report."""
        return {}

    def append(
        self,
        sequence: int,  # noqa: ARG002 - it is not taken
        entry: bytes,  # noqa: ARG002
        bundles: Mapping[str, bytes],  # noqa: ARG002
        hints: Hints = NO_HINTS,  # noqa: ARG002
    ) -> bool:
        """Take no release."""
        self._deny("releases")

    def cut(self, after: int) -> None:  # noqa: ARG002
        """Remove nothing."""
        self._deny("resets")

    def remove_bundles(self, digests: Iterable[str]) -> None:  # noqa: ARG002
        """Remove nothing."""
        self._deny("deletes")

    def write_report(self, process: str, report: bytes, ttl_s: float) -> None:  # noqa: ARG002
        """Take no report."""
        self._deny("reports")

    def keep_report(self, process: str, ttl_s: float) -> bool:  # noqa: ARG002
        """Know no report."""
        return False

    def remove_report(self, process: str) -> None:
        """Know no report."""

    def note_seen(self, deployed: Mapping[str, int]) -> None:  # noqa: ARG002
        """Take no note."""
        self._deny("notes")

    def note_digests(self, file: str, digests: Mapping[str, str]) -> None:  # noqa: ARG002
        """Take no note."""
        self._deny("notes")

    def doorbell(self) -> MemoryDoorbell:
        """Return a doorbell that nobody rings."""
        return MemoryDoorbell()

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _number(self, name: str) -> int:
        data = _read(self.folder / name) or b"0"
        try:
            return int(data)
        except ValueError:
            return 0

    def _deny(self, what: str) -> NoReturn:
        raise StoreRefused(f"{self.address} is a copy and takes no {what}. Use the server.")


class Writer:
    """Keeps a directory on what its caller says."""

    def __init__(self, folder: Path | str, namespace: str) -> None:
        """Remember where; nothing is made yet."""
        self.folder = Path(folder) / namespace

    def __repr__(self) -> str:
        return f"<Writer of {self.folder}>"

    @contextlib.contextmanager
    def writing(self) -> Iterator[bool]:
        """Be the one that writes, if nobody else does; the folders are made.

        Yields:
            Whether this process may write now.

        Raises:
            StoreUnavailable, StoreRefused: The directory cannot be had, or others may write to it.

        """
        with _translated(self.folder):
            for folder in (self.folder / "log", self.folder / "bundles"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check(self.folder)
            with locked(self.folder / "lock", timeout_s=0) as is_ours:
                if is_ours and _read(self.folder / "FORMAT") != FORMAT.encode():
                    self._clear()
                    write_whole(self.folder / "FORMAT", FORMAT.encode())
                yield is_ours

    def has(self, digest: str) -> bool:
        """Return whether a bundle is there."""
        return (self.folder / "bundles" / digest).exists()

    def entry(self, sequence: int) -> bytes | None:
        """Return the entry of a release, if it is there."""
        return _read(self.folder / "log" / str(sequence))

    def missing(self, first: int, last: int) -> list[int]:
        """Return the sequences from `first` to `last` of which the entry is not there."""
        there = {int(f.name) for f in (self.folder / "log").iterdir() if f.name.isdecimal()}
        return [sequence for sequence in range(first, last + 1) if sequence not in there]

    def keep(
        self, entries: Mapping[int, bytes], bundles: Mapping[str, bytes], *, tip: int, snapshot: int
    ) -> None:
        """Write releases and bundles, and then that they are there.

        Args:
            entries: Sequence → entry, of those that are new.
            bundles: Digest → bundle, of those that are new.
            tip: Sequence of the newest release.
            snapshot: The release that reading begins at; 0: the first.

        """
        for digest, data in bundles.items():
            write_whole(self.folder / "bundles" / digest, data)
        for sequence, entry in sorted(entries.items()):
            write_whole(self.folder / "log" / str(sequence), entry)
        if snapshot:
            write_whole(self.folder / "snapshot", b"%d\n" % snapshot)
        write_whole(self.folder / "tip", b"%d\n" % tip)

    def begin_anew(self) -> None:
        """Forget the log: it is another one now."""
        self._clear()

    def _clear(self) -> None:
        for name in ("tip", "snapshot"):  # before anything else: what is left says nothing
            (self.folder / name).unlink(missing_ok=True)
        for file in (self.folder / "log").iterdir():
            file.unlink()

    def drop(self, bundles: Iterable[str], below: int) -> None:
        """Remove what nothing needs any more.

        Args:
            bundles: Digests of the bundles that are needed.
            below: Entries of releases before this one go.

        """
        needed = set(bundles)
        for file in (self.folder / "bundles").iterdir():
            if file.name not in needed:
                file.unlink(missing_ok=True)
        for file in (self.folder / "log").iterdir():
            if not file.name.isdecimal() or int(file.name) < below:
                file.unlink(missing_ok=True)

    def note_seen(self, deployed: Mapping[str, int]) -> None:
        """Add to what is known of deployed code."""
        known = seen_in(self.folder)
        if not deployed.items() <= known.items():
            write_whole(self.folder / "seen.json", json.dumps({**known, **deployed}).encode())


def check(folder: Path) -> None:
    """Return if a directory is there and only its owner, this user or root, can write to it.

    Raises:
        StoreUnavailable: There is none.
        StoreRefused: Others can write to it.

    """
    try:
        found = folder.stat()
    except OSError as error:
        raise StoreUnavailable(
            f"{folder} cannot be read: {error.strerror}.", url=f"dir:{folder.parent}"
        ) from error
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others or found.st_uid not in (0, os.geteuid()):
        raise StoreRefused(
            f"{folder}: expected a directory of this user or root that nobody else can write to, "
            f"found mode {stat.S_IMODE(found.st_mode):o} of user {found.st_uid}. Code in it would "
            "be run. Use another one, or `chmod go-w`."
        )


def seen_in(folder: Path) -> dict[str, int]:
    """Return what a directory knows of deployed code."""
    try:
        known = json.loads(_read(folder / "seen.json") or b"{}")
        return {code: number for code, number in known.items() if type(number) is int}
    except (ValueError, AttributeError):
        return {}


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"{folder} cannot be written: {error.strerror or error}.", url=f"dir:{folder.parent}"
        ) from error
