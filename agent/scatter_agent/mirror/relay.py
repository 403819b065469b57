"""Relays what processes leave in a mirror's directory to its server, and answers their questions.

A process is known to the server by its own id and the id of the user whose file its report is, so
that no user can speak for a process of another. Questions are when deployed code was first seen;
the rule is that of `scatter_agent.deployed`, applied here in the place of the process.

Invariants
1. What is no report, or no question, is passed over, and removed when nobody touches it any more.
2. A report is relayed as long as its process touches it, and not longer.
3. A sequence that a process gives is believed up to the newest release.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from scatter.errors import StoreRefused
from scatter.reports import read_report, write_report
from scatter.store.inbox import MAX_REPORT_BYTES, Letter, letters, read, sweep
from scatter.store.layout import seen_in
from scatter.store.outbox import FOLDER, REPORT, SEEN
from scatter.store.port import Store
from scatter.store.writer import Writer
from scatter_agent.tell import tell

TTL_S = 15.0
SWEEP_S = 5.0
"""Seconds between two looks for what nobody touches any more."""
MAX_SEEN_BYTES = 1 << 20
MOST_CODES = 4096
_LONGEST_CODE = 500


class _Relayed(NamedTuple):
    """A report as it was relayed last."""

    id: str
    letter: Letter


class Relay:
    """What one namespace's mirror does for processes that follow its directory."""

    def __init__(self, writer: Writer) -> None:
        """Remember where; nothing is read yet."""
        self._writer = writer
        self._folder = writer.folder / FOLDER
        self._relayed: dict[str, _Relayed] = {}
        self._sweep_at = 0.0

    def __repr__(self) -> str:
        return f"<Relay of {len(self._relayed)} reports>"

    def turn(self, store: Store, tip: int) -> None:
        """Relay what is new.

        Args:
            store: Where to.
            tip: Sequence of the newest release that is in the directory.

        Raises:
            StoreUnavailable: The store cannot be reached; it is all tried again.
            OSError: The directory cannot be read.

        """
        found = [*letters(self._folder, REPORT, SEEN)]
        try:
            self._relay_reports(store, [one for one in found if one.name.endswith(REPORT)])
        except StoreRefused as error:
            tell("warning", "scatter.unreported", reason=str(error))
        self._answer(store, [one for one in found if one.name.endswith(SEEN)], tip)
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_S
            sweep(self._folder)

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
        if before.letter.touched_at == letter.touched_at:
            return True
        self._relayed[letter.name] = before._replace(letter=letter)
        return store.keep_report(before.id, TTL_S)

    def _relay_report(self, store: Store, letter: Letter) -> None:
        before = self._relayed.pop(letter.name, None)
        data = read(self._folder, letter, MAX_REPORT_BYTES)
        report = read_report(data) if data is not None else None
        process = letter.name.removesuffix(REPORT)
        named = f"{process}@{letter.owner}"
        if before is not None and before.id != named:
            store.remove_report(before.id)
        if report is None or report.id != process:
            return
        store.write_report(named, write_report(replace(report, id=named)), TTL_S)
        self._relayed[letter.name] = _Relayed(named, letter)

    # questions ---------------------------------------------------------------------------

    def _answer(self, store: Store, found: Sequence[Letter], tip: int) -> None:
        """Note what processes were deployed with, and write down since when that is known."""
        asked: dict[str, int | None] = {}
        for letter in found:
            asked |= _codes(read(self._folder, letter, MAX_SEEN_BYTES))
        if asked:
            self._writer.note_seen(self._find(store, asked, tip))
        for letter in found:
            (self._folder / letter.name).unlink(missing_ok=True)

    def _find(self, store: Store, asked: Mapping[str, int | None], tip: int) -> dict[str, int]:
        """Return since when code is known; the store decides, else what the directory knows."""
        wanted = [*asked, *{_function(code) for code in asked}]
        try:
            seen = store.first_seen(wanted)
            new = _first_seen(asked, seen, tip)
            if new:
                store.note_seen(new)
                seen = store.first_seen(wanted)  # another host may have been first
        except StoreRefused as error:
            tell("warning", "scatter.deploy_unknown", reason=str(error))
            known = seen_in(self._writer.folder)
            seen = _first_seen(asked, known, tip) | {c: known[c] for c in wanted if c in known}
        return {code: min(first, tip) for code, first in seen.items()}


def _first_seen(
    asked: Mapping[str, int | None], seen: Mapping[str, int], tip: int
) -> dict[str, int]:
    """Return what is to be noted of code that is new; the first of a function is older than all."""
    new = dict[str, int]()
    for code, claimed in asked.items():
        if code not in seen:
            name = _function(code)
            first = (tip if name in seen else 0) if claimed is None else min(claimed, tip)
            new |= {code: first, name: first}
    return new


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
    is_code = bool(name and digest) and len(code) <= _LONGEST_CODE
    return is_code and (number is None or (type(number) is int and number >= 0))
