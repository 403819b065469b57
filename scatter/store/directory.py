"""A namespace in a directory, to be read: a mirror's, or what an agent kept.

Not here: the layout (`layout`), writing it (`writer`), noticing that it was (`directory_bell`),
what processes leave for the mirror (`outbox`), and reading that (`inbox`).

Invariant: nothing is written but what `outbox` writes; a directory that is mounted read-only will
do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from scatter.errors import StoreRefused
from scatter.store import inbox
from scatter.store.directory_bell import DirectoryDoorbell
from scatter.store.inbox import Letter
from scatter.store.layout import (
    MOST_OF_ENTRY,
    SCHEME,
    check,
    place_of,
    read_file,
    read_tip,
    seen_in,
)
from scatter.store.outbox import FOLDER, REPORT, Contact, Outbox, contact
from scatter.store.port import NO_HINTS, Hints, Tail


def open_directory(url: str, namespace: str) -> DirectoryStore:
    """Return the store at a `dir:` address.

    Raises:
        UsageError: It has no path, or names a user that there is not.

    """
    place = place_of(url)
    return DirectoryStore(place.folder, namespace, owner=place.owner, is_mirror=True)


class DirectoryStore:
    """A namespace in a directory, to be read; the contract is that of `scatter.store.port.Store`.

    It has no hints but the snapshot, and takes no releases. Where there is a mirror's `reports`
    that this user may write to, it takes reports and notes for the mirror.
    """

    def __init__(
        self,
        folder: Path | str,
        namespace: str,
        *,
        owner: int | None = None,
        is_mirror: bool = False,
    ) -> None:
        """Remember where; nothing is read yet.

        Args:
            folder: Holds a folder for each namespace.
            namespace: The namespace.
            owner: As in `layout.check`.
            is_mirror: It is followed, and not just a copy for when the server is away.

        """
        self._namespace = namespace
        self._owner, self._is_mirror = owner, is_mirror
        self.folder = Path(folder) / namespace
        self._outbox = Outbox(self.folder)
        self._reports = self.folder / FOLDER

    def __repr__(self) -> str:
        return f"<DirectoryStore {self._namespace} at {self.address}>"

    @property
    def namespace(self) -> str:
        """The namespace of this store."""
        return self._namespace

    @property
    def address(self) -> str:
        """`dir:` and the path."""
        return f"{SCHEME}{self.folder.parent}"

    @property
    def takes_reports(self) -> bool:
        """Whether this user may leave reports here."""
        return self._outbox.is_open

    def check(self) -> None:
        """Return if the directory is there and may be believed.

        Raises:
            StoreUnavailable, StoreRefused: As `layout.check`.

        """
        check(self.folder, owner=self._owner, whole_way=self._is_mirror)

    def read(
        self,
        after: int,
        limit: int = 64,
        *,
        recent: bool = False,  # noqa: ARG002 - bundles are at hand anyway
        to_append: bool = False,  # noqa: ARG002 - nothing can be appended
    ) -> Tail:
        """Return the entries after a sequence."""
        self.check()
        tip = read_tip(self.folder)
        entries = list[bytes]()
        for sequence in range(after + 1, min(tip.sequence, after + limit) + 1):
            data = read_file(self.folder / tip.log / str(sequence), MOST_OF_ENTRY)
            if data is None:
                break
            entries.append(data)
        return Tail(entries=tuple(entries), tip=tip.sequence, snapshot=0 if after else tip.snapshot)

    def entries(self, sequences: Sequence[int]) -> list[bytes | None]:
        """Return the entry at each sequence."""
        log = self.folder / read_tip(self.folder).log
        return [read_file(log / str(sequence), MOST_OF_ENTRY) for sequence in sequences]

    def bundles(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return the bundles that exist."""
        self.check()
        found = ((digest, read_file(self.folder / "bundles" / digest)) for digest in digests)
        return {digest: data for digest, data in found if data is not None}

    def contact(self) -> Contact:
        """Return when the mirror was last heard of."""
        return contact(self.folder)

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
        asked = list(deployed)
        known: Mapping[str, int] = seen_in(self.folder)
        codes = [code for code in asked if " " in code]
        if not known.keys() >= {*codes}:
            known = self._outbox.ask(codes, known)
        if self._is_mirror and not self._outbox.is_open:  # it could not be noted: all pushes apply
            names = {code.partition(" ")[0] for code in codes if code in known}
            asked = [code for code in asked if " " in code or code in names]
        return {code: known[code] for code in asked if code in known}

    def digests(self, files: Sequence[str]) -> list[dict[str, str]]:
        """Return no hint."""
        return [{} for _ in files]

    def reports(self) -> dict[str, bytes]:
        """Return what processes of this host say, each as `<process>@<user id>`.

        Those of other hosts are with the server alone. Nothing, where there is no mirror's
        `reports`.
        """
        found = dict[str, bytes]()
        for letter in self._letters():
            data = inbox.read(self._reports, letter)
            if data is not None:
                found[f"{letter.name.removesuffix(REPORT)}@{letter.owner}"] = data
        return found

    def _letters(self) -> list[Letter]:
        """Return the reports that still hold."""
        try:
            return [one for one in inbox.letters(self._reports, REPORT) if one.is_fresh]
        except OSError:
            return []

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
        """Leave a report for the mirror, which knows how long it counts.

        Raises:
            StoreRefused: There is no mirror's `reports`, or this user may not write there.

        """
        self._outbox.write(process, report)

    def keep_report(self, process: str, ttl_s: float) -> bool:  # noqa: ARG002
        """Say that a report still holds."""
        return self._outbox.touch(process)

    def remove_report(self, process: str) -> None:
        """Take a report back."""
        self._outbox.remove(process)

    def note_seen(self, deployed: Mapping[str, int]) -> None:
        """Leave a note for the mirror.

        Raises:
            StoreRefused: As for `write_report`.

        """
        self._outbox.note({code: n for code, n in deployed.items() if " " in code})

    def note_digests(self, file: str, digests: Mapping[str, str]) -> None:
        """Take no note: every process reads its own files.

        Such a note says which deployed code a text is, and nobody can check it for less than it
        saves. Who may write to a server may be believed; who may write here is any user of the
        host, and could have a deploy taken for code that old pushes go over.
        """

    def doorbell(self) -> DirectoryDoorbell:
        """Return a new doorbell."""
        return DirectoryDoorbell(self.folder, self.check)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _deny(self, what: str) -> NoReturn:
        raise StoreRefused(
            f"{self.address} is a copy and takes no {what}. Give the server's "
            "address: -u redis://… (or SCATTER_STORE, which goes over SCATTER_REDIS_URL)."
        )
