"""Relays what processes leave in a mirror's directory to its server, and answers their questions.

A process is known to the server by its own id and the id of the user whose file its report is, so
that no user can speak for a process of another. Questions are when deployed code was first seen;
the rule is that of `scatter_agent.deployed`, applied here in the place of the process.

Invariants
1. What is no report, or no question, is passed over, and removed when nobody touches it any more.
2. A report is relayed as long as its process touches it, and not longer.
3. A sequence that a process gives is believed as far as the process can have come to it: not older
   than the directory was when its note was left, and not newer than the newest release.
4. What one user leaves costs little time at a time and little of the server's memory, however much
   it is: what others leave does not wait for it.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from scatter.errors import StoreRefused
from scatter.reports import read_report, write_report
from scatter.store.inbox import Letter, letters, protect, read, remove, sweep
from scatter.store.layout import read_tip, seen_in
from scatter.store.outbox import FOLDER, REPORT, SEEN
from scatter.store.port import Store
from scatter.store.writer import Writer
from scatter_agent.tell import tell

TTL_S = 15.0
SWEEP_S = 5.0
"""Seconds between two looks for what nobody touches any more."""
KEEP_EVERY_S = 3.0
"""A report that is touched more often is not kept alive more often."""
MOST_BYTES = 8 << 20
"""What is read of one user between two sweeps."""
_COST_BYTES, _COST_OF_SEEN = 4096, 4
"""What a file costs beside its size, and how many times the size where the server is asked."""
_LONG_S, _RESTS, _LONGEST_REST_S = 0.05, 4, 5.0
"""After a turn that took more of the processor's time than this, so many times that is paused."""
MOST_NEW, NEW_EVERY_S = 8192, 3600.0
"""Pieces of code that are new to the server, of one user in that time: it keeps them for good."""
MOST_CODES = 4096
_LONGEST_CODE = 500
_DIGEST = re.compile(r"[0-9a-f]{1,64}")


class _Relayed(NamedTuple):
    """A report as it was relayed last, and when it was kept alive, by `time.monotonic`."""

    id: str
    letter: Letter
    kept_at: float


class _Asked(NamedTuple):
    """Deployed code that somebody asked about, or said since when it is known.

    Attributes:
        owner: Id of the user who did.
        claimed: Sequence that was given; None: it was a question.

    """

    owner: int
    claimed: int | None


class Relay:
    """What one namespace's mirror does for processes that follow its directory."""

    def __init__(self, writer: Writer) -> None:
        """Remember where; nothing is read yet."""
        self._writer = writer
        self._folder = writer.folder / FOLDER
        self._relayed: dict[str, _Relayed] = {}
        self._sweep_at = self._new_until = self._rest_until = 0.0
        self._read_bytes, self._new = Counter[int](), Counter[int]()
        self._since = 0

    def __repr__(self) -> str:
        return f"<Relay of {len(self._relayed)} reports>"

    def begin(self) -> None:
        """Take note how far the directory is: what processes say of it may be as old as this."""
        protect(self._folder)
        self._since = read_tip(self._writer.folder).sequence

    def turn(self, store: Store, tip: int) -> None:
        """Relay what is new.

        Args:
            store: Where to.
            tip: Sequence of the newest release that is in the directory.

        Raises:
            StoreUnavailable: The store cannot be reached; it is all tried again.
            OSError: The directory cannot be read.

        """
        if time.monotonic() < self._rest_until:
            return
        began = time.thread_time()
        try:
            self._turn(store, tip)
        finally:
            took_s = time.thread_time() - began
            if took_s > _LONG_S:  # the log is copied by the same thread
                rest_s = min(took_s * _RESTS, _LONGEST_REST_S)
                self._rest_until = time.monotonic() + rest_s

    def _turn(self, store: Store, tip: int) -> None:
        found = [*letters(self._folder, REPORT, SEEN, tidy=True)]
        self._answer(store, [one for one in found if one.name.endswith(SEEN)], tip)
        try:
            self._relay_reports(store, [one for one in found if one.name.endswith(REPORT)])
        except StoreRefused as error:
            tell("warning", "scatter.unreported", reason=str(error))
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_S
            self._read_bytes.clear()
            sweep(self._folder)

    def _may_read(self, letter: Letter) -> bool:
        """Return whether a file may be read now: not if much of its owner's was of late."""
        cost = letter.size * (_COST_OF_SEEN if letter.name.endswith(SEEN) else 1) + _COST_BYTES
        if self._read_bytes[letter.owner] + cost > MOST_BYTES:
            return False
        self._read_bytes[letter.owner] += cost
        return True

    # reports -----------------------------------------------------------------------------

    def _relay_reports(self, store: Store, found: Iterable[Letter]) -> None:
        there = {letter.name: letter for letter in found if letter.is_fresh}
        for name in self._relayed.keys() - there.keys():
            store.remove_report(self._relayed.pop(name).id)
        for name, letter in there.items():
            before = self._relayed.get(name)
            if before is None or not self._still_holds(store, before, letter):
                self._relay_report(store, letter)

    def _still_holds(self, store: Store, before: _Relayed, letter: Letter) -> bool:
        """Return whether a report is the one that was relayed; keep it alive if touched."""
        if (before.letter.inode, before.letter.owner) != (letter.inode, letter.owner):
            return False
        now = time.monotonic()
        if before.letter.touched_at == letter.touched_at or now - before.kept_at < KEEP_EVERY_S:
            return True
        self._relayed[letter.name] = before._replace(letter=letter, kept_at=now)
        return store.keep_report(before.id, TTL_S)

    def _relay_report(self, store: Store, letter: Letter) -> None:
        if not self._may_read(letter):
            return
        before = self._relayed.pop(letter.name, None)
        data = read(self._folder, letter)
        report = read_report(data) if data is not None else None
        process = letter.name.removesuffix(REPORT)
        named = f"{process}@{letter.owner}"
        if before is not None and before.id != named:
            store.remove_report(before.id)
        if report is None or report.id != process:
            return
        store.write_report(named, write_report(replace(report, id=named)), TTL_S)
        self._relayed[letter.name] = _Relayed(named, letter, time.monotonic())

    # questions ---------------------------------------------------------------------------

    def _answer(self, store: Store, found: Sequence[Letter], tip: int) -> None:
        """Note what processes were deployed with, and write down since when that is known."""
        asked: dict[str, _Asked] = {}
        due = [letter for letter in found if self._may_read(letter)]
        for letter in due:
            for code, claimed in _codes(read(self._folder, letter)).items():
                asked[code] = _newer(asked.get(code), _Asked(letter.owner, claimed))
        if asked:
            self._writer.note_seen(self._find(store, asked, tip))
        for letter in due:
            remove(self._folder, letter)
        if len(due) == len(found):
            self._since = tip

    def _find(self, store: Store, asked: Mapping[str, _Asked], tip: int) -> dict[str, int]:
        """Return since when code is known; the store decides, else what the directory knows."""
        wanted = [*asked, *{_function(code) for code in asked}]
        try:
            seen = store.first_seen(wanted)
            new = self._first_seen(self._few(asked, seen), seen, tip)
            if new:
                store.note_seen(new)
                seen = store.first_seen(wanted)  # another host may have been first
        except StoreRefused as error:
            tell("warning", "scatter.deploy_unknown", reason=str(error))
            known = seen_in(self._writer.folder)
            unknown = {code: one for code, one in asked.items() if code not in known}
            new = self._first_seen(unknown, known, tip)
            seen = new | {code: known[code] for code in wanted if code in known}
        return {code: min(first, tip) for code, first in seen.items()}

    def _few(self, asked: Mapping[str, _Asked], seen: Mapping[str, int]) -> dict[str, _Asked]:
        """Return what is new, without that of users who had much of it of late."""
        if time.monotonic() >= self._new_until:
            self._new_until = time.monotonic() + NEW_EVERY_S
            self._new.clear()
        few = {}
        for code, one in asked.items():
            self._new[one.owner] += code not in seen
            if code not in seen and self._new[one.owner] <= MOST_NEW:
                few[code] = one
        for owner in {one.owner for one in asked.values() if self._new[one.owner] > MOST_NEW}:
            reason = f"user {owner} has asked about more than {MOST_NEW} pieces of new code"
            tell("warning", "scatter.deploy_unknown", reason=reason)
        return few

    def _first_seen(
        self, new: Mapping[str, _Asked], seen: Mapping[str, int], tip: int
    ) -> dict[str, int]:
        """Return what is to be noted of new code; the first of a function is older than all."""
        found = dict[str, int]()
        for code, (_, claimed) in new.items():
            name = _function(code)
            if name in seen:
                first = tip if claimed is None else min(max(claimed, self._since), tip)
            else:
                first = 0 if claimed is None else min(claimed, tip)
            found |= {code: first, name: first}
        return found


def _newer(one: _Asked | None, other: _Asked) -> _Asked:
    """Return what counts of what two said of one code: who would have it older does not."""
    if one is None or (one.claimed is not None and other.claimed is None):
        return other
    if one.claimed is None or other.claimed is None:
        return one
    return max(one, other, key=lambda asked: asked.claimed or 0)


def _function(code: str) -> str:
    return code.partition(" ")[0]


def _codes(data: bytes | None) -> dict[str, int | None]:
    """Return what is asked and noted; nothing if it is not what processes write."""
    try:
        found = json.loads(data or b"{}")
        json.dumps(found, ensure_ascii=False).encode()  # JSON can write half a character
        good = (
            type(found) is dict and len(found) <= MOST_CODES and all(map(_is_good, found.items()))
        )
    except (ValueError, RecursionError):
        return {}
    return found if good else {}


def _is_good(item: tuple[str, object]) -> bool:
    code, number = item
    name, _, digest = code.partition(" ")
    is_code = bool(name and _DIGEST.fullmatch(digest)) and len(code) <= _LONGEST_CODE
    return is_code and (number is None or (type(number) is int and number >= 0))
