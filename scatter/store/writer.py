"""Writes a namespace into a directory: a cache's copy, or a mirror's.

Invariants
1. A reader finds an older state or the new one, never half of one, whenever the writer is killed
   or the power fails: what is named is on disk before `tip` names it.
2. Only one process writes at a time; others leave it to that one.
3. A directory that others could write to is not written: code in it would be run.
4. A log that takes the place of another is written beside it.
5. What a writer could not have written is not removed, whatever directory it was given.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from scatter.errors import ScatterError, StoreUnavailable
from scatter.files import locked, sync_folder, write_whole
from scatter.store.layout import (
    FORMAT,
    LOG,
    SCHEME,
    Tip,
    check,
    check_way,
    read_file,
    read_tip,
    seen_in,
)

MOST_SEEN = 20_000
"""Pieces of deployed code that are remembered; the oldest go first."""
ONLINE_EVERY_S = 4.0
"""Seconds after which `online` is touched again."""
_NAMES = re.compile(r"FORMAT|tip|seen\.json")
_NUMBER = re.compile(r"[0-9]{1,20}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
"""What a writer calls its files, in the namespace's directory, its log and its bundles."""
_ADVICE = {
    errno.ENOSPC: "Make room on that disk (df -h, df -i).",
    errno.EDQUOT: "Make room: the quota of this user is used up.",
    errno.EROFS: "Mount it so that it can be written, or name another directory.",
    errno.EEXIST: "Name a directory: what is there is none.",
    errno.ENOTDIR: "Name a directory: what is there is none.",
}
_ONE_BY_ONE = 64
"""Files that are waited for each by itself; for more, all file systems are asked once."""


class Writer:
    """Keeps a directory on what its caller says."""

    def __init__(self, folder: Path | str, namespace: str, *, shared: bool = False) -> None:
        """Remember where; nothing is made yet.

        Args:
            folder: Holds a folder for each namespace.
            namespace: The namespace.
            shared: Other users may read what is written.

        """
        self.folder = Path(folder) / namespace
        self._is_shared = shared
        self._mode, self._folder_mode = (0o644, 0o755) if shared else (0o600, 0o700)
        self._log = "log"
        self._whole = set[str]()

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
        with translated(self.folder):
            if self._is_shared:
                check_way(self.folder)
            for folder in (self.folder.parent, self.folder):
                self.make_folder(folder)
            self.check()
            self.make_folder(self.folder / "bundles")
            with locked(self.folder / "lock", timeout_s=0) as is_ours:
                if is_ours:
                    self._settle()
                yield is_ours

    def check(self) -> None:
        """Return if the directory is there, and nobody else can write to it.

        A mirror, which may be root, looks at the whole way: links would have it write elsewhere.

        Raises:
            StoreUnavailable, StoreRefused: As for `writing`.

        """
        check(self.folder, whole_way=self._is_shared)

    def make_folder(self, folder: Path, mode: int = 0) -> None:
        """Make a directory if there is none; its mode is that of this writer unless given.

        Those on the way are made too, and its name outlasts a loss of power.
        """
        if folder.is_dir():
            return
        if not folder.parent.exists():
            self.make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(mode or self._folder_mode)
        sync_folder(folder.parent)

    def _settle(self) -> None:
        if read_file(self.folder / "FORMAT") != FORMAT.encode():
            (self.folder / "tip").unlink(missing_ok=True)  # what is left says nothing
            sync_folder(self.folder)
            self._write("FORMAT", FORMAT.encode())
        self._log = read_tip(self.folder).log
        self.make_folder(self.folder / self._log)

    def _write(self, name: str, data: bytes, *, durably: bool = True) -> None:
        write_whole(self.folder / name, data, durably=durably, mode=self._mode)

    def has(self, digest: str) -> bool:
        """Return whether a bundle is there, and what its name says; it is read once."""
        file = self.folder / "bundles" / digest
        if digest not in self._whole and _is_whole(file):
            self._whole.add(digest)
        return digest in self._whole and file.exists()

    def entry(self, sequence: int) -> bytes | None:
        """Return the entry of a release, if it is there."""
        return read_file(self.folder / self._log / str(sequence))

    def missing(self, first: int, last: int) -> list[int]:
        """Return the sequences from `first` to `last` of which the entry is not there."""
        files = _own(self.folder / self._log, _NUMBER)
        there = {int(file.name) for file in files if file.name.isdecimal()}
        return [sequence for sequence in range(first, last + 1) if sequence not in there]

    def add(self, entries: Mapping[int, bytes], bundles: Mapping[str, bytes]) -> None:
        """Write releases and bundles, of which `finish` says later that they are there."""
        few = len(entries) + len(bundles) <= _ONE_BY_ONE
        for digest, data in bundles.items():
            self._write(f"bundles/{digest}", data, durably=few)
        for sequence, entry in sorted(entries.items()):
            self._write(f"{self._log}/{sequence}", entry, durably=few)
        if not few:
            os.sync()

    def finish(self, tip: int, snapshot: int) -> None:
        """Say that everything up to a release is there.

        Args:
            tip: Sequence of the newest release.
            snapshot: The release that reading begins at; 0: the first.

        """
        for name in (self._log, "bundles", "."):
            sync_folder(self.folder / name)
        self._write("tip", Tip(tip, snapshot, self._log).text())

    def keep(
        self, entries: Mapping[int, bytes], bundles: Mapping[str, bytes], *, tip: int, snapshot: int
    ) -> None:
        """Write releases and bundles, and then that they are there; as `add` and `finish`."""
        self.add(entries, bundles)
        self.finish(tip, snapshot)

    def begin_anew(self) -> None:
        """Begin another log, beside the one that is there; the next `finish` goes over to it."""
        number = 2
        while (self.folder / f"log-{number}").exists():
            number += 1
        self._log = f"log-{number}"
        self.make_folder(self.folder / self._log)

    def drop(self, bundles: Iterable[str], below: int, above: int | None = None) -> None:
        """Remove what nothing needs any more, and what a killed writer left half-written.

        Args:
            bundles: Digests of the bundles that are needed.
            below: Entries of releases before this one go.
            above: Entries of releases after this one go too.

        """
        needed = set(bundles)
        self._whole &= needed
        gone = [*self._needless(needed, max(below, 1), above)]
        if gone:
            sync_folder(self.folder)  # the older `tip` could come back, and needs them
        for file in gone:
            _remove(file)

    def drop_entries(self, last: int) -> None:
        """Remove the entries of releases up to one: they are not what was believed."""
        for file in _own(self.folder / self._log, _NUMBER):
            if file.name.isdecimal() and int(file.name) <= last:
                _remove(file)

    def _needless(self, bundles: set[str], below: int, above: int | None) -> Iterator[Path]:
        yield from (f for f in _own(self.folder / "bundles", _DIGEST) if f.name not in bundles)
        for file in _own(self.folder / self._log, _NUMBER):
            number = int(file.name) if file.name.isdecimal() else 0
            if number < below or (above is not None and number > above):
                yield file
        yield from (f for f in _own(self.folder, LOG) if f.name != self._log)
        yield from (f for f in _own(self.folder, _NAMES) if f.name.startswith("."))

    def mend(self) -> list[str]:
        """Remove bundles that are not what their names say; return their names."""
        self._whole.clear()
        wrong = [f for f in _own(self.folder / "bundles", _DIGEST) if not self.has(f.name)]
        for file in wrong:
            _remove(file)
        return [file.name for file in wrong]

    def bundles(self) -> list[str]:
        """Return the digests of the bundles that are there."""
        return [file.name for file in (self.folder / "bundles").iterdir()]

    def note_seen(self, deployed: Mapping[str, int]) -> None:
        """Add to what is known of deployed code."""
        known = seen_in(self.folder)
        if not deployed.items() <= known.items():
            newest = [*{**known, **deployed}.items()][-MOST_SEEN:]
            self._write("seen.json", json.dumps(dict(newest)).encode())

    def be_online(self, is_online: bool) -> None:
        """Say whether the server can be asked, for who has a question."""
        file = self.folder / "online"
        if not is_online:
            file.unlink(missing_ok=True)
        elif not _is_young(file):  # all who follow wake when it is touched
            file.touch(self._mode)


def _own(folder: Path, names: re.Pattern[str]) -> Iterator[Path]:
    """Yield the files of such names, and what a killed writer left of them half-written."""
    for file in folder.iterdir():
        name = file.name
        if name.startswith("."):
            name = name[1:].rpartition(".")[0]
        if names.fullmatch(name):
            yield file


def _remove(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file, ignore_errors=True)
    else:
        file.unlink(missing_ok=True)


def _is_young(file: Path) -> bool:
    try:
        return abs(time.time() - file.stat().st_mtime) < ONLINE_EVERY_S
    except OSError:
        return False


def _is_whole(file: Path) -> bool:
    data = read_file(file)
    return data is not None and hashlib.sha256(data).hexdigest() == file.name


@contextlib.contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Have errors of the file system come as `StoreUnavailable`."""
    try:
        yield
    except ScatterError:
        raise
    except OSError as error:
        found = f"{folder} cannot be written: {error.strerror or error}. {_advice(folder, error)}"
        raise StoreUnavailable(found.rstrip(), url=f"{SCHEME}{folder.parent}") from error


def _advice(folder: Path, error: OSError) -> str:
    """Return what to do about an error of the file system; empty where nothing is known."""
    if error.errno in (errno.EACCES, errno.EPERM):
        place = next(p for p in (folder, *folder.parents) if p.exists())
        return f"Have it belong to the user of this process: chown {os.geteuid()} {place}"
    return _ADVICE.get(error.errno or 0, "")
