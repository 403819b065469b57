"""Deploys and pushes: which releases are older than the code that this process was deployed with.

A pushed version must not come back over a newer deploy. What a function was deployed with has a
digest, that of the bundle which pushing it would make. The store notes at which release each digest
was first seen; releases up to there do not apply to processes with that code. So a push after a
deploy wins, a deploy after a push wins, and an old image that is started again keeps its patches.
No clock is involved. The first code that is ever seen of a function is older than all releases.

To make a digest the project must be read, which takes time. So the digest is noted as well, with
the texts that it was made from, and a process that finds the same texts reads nothing.

Not here: what applies (`plan`).

Invariants
1. A digest depends on files alone, never on what happens to be imported.
2. What the store says of digests is a hint; what cannot be had leaves the floor at 0.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from scatter import whole
from scatter.analysis import ModuleSource
from scatter.apply import Rest
from scatter.bases import Base, base_of, deployed_base, deployed_code
from scatter.errors import ScatterError, StoreRefused
from scatter.slot import Slot
from scatter.store.port import Store
from scatter_agent.tell import tell

_AT_A_TIME = 16
NEVER = 2**62
"""A floor that no release is above."""
_DIGEST = re.compile(r"[0-9a-f]{0,64}")
"""As this module writes them. What the store has may be anybody's: a name becomes a path."""


class Code(NamedTuple):
    """Deployed code of one function.

    Attributes:
        digest: Of the bundle that pushing it would make.
        files: Module → digest of the text, of all that it was made from.

    """

    digest: str
    files: Mapping[str, str]


class Deployed:
    """The code that this process was deployed with, and since which release it is known.

    Attributes:
        digests: Function → digest of its deployed code.
        floor: Function → sequence at which that code was first seen.
        is_behind: More functions are to be looked up.

    """

    def __init__(self, working: AbstractContextManager[Any]) -> None:
        """Begin with nothing known; `working` is held while modules of ours may be imported."""
        self._working = working
        self.is_behind = False
        self.digests: dict[str, str] = {}
        self.floor: dict[str, int] = {}
        self._done: dict[str, Slot] = {}
        self._is_told = False
        self._texts: dict[str, str] = {}
        self._noted: dict[str, dict[str, str]] = {}
        self._rest = Rest()

    def __repr__(self) -> str:
        return f"<Deployed code of {len(self.digests)} functions>"

    def forget(self) -> None:
        """Ask the store again: its log is another one."""
        self.floor.clear()
        self._done.clear()

    def seen(self) -> dict[str, int]:
        """Return since which release the code of this process is known, as the store has it."""
        known = self.floor.copy()
        return {f"{n} {self.digests[n]}": first for n, first in known.items()} | known

    def look_up(
        self,
        store: Store,
        tip: int,
        slots: Mapping[str, Slot],
        first: Container[str] | None = None,
        *,
        settled: bool = True,
    ) -> None:
        """Find the floor of functions that were tracked since the last time.

        Args:
            store: Where it is noted; what is not yet is noted now.
            tip: Sequence of the newest release.
            slots: The functions of this process, those that are being imported left out.
            first: Functions to look up at once, the others later; None: a few of those left.
            settled: The log is believed up to `tip`, which is its end. Else what is found counts
                for now: nothing is noted, and code that is new applies until the end is known.

        Raises:
            StoreUnavailable: It is asked again next time.

        """
        if not settled and (first is None or not tip):
            self.is_behind = False
            return
        if self._done == slots:  # as a rule, and thousands are compared in no time
            self.is_behind = False
            return
        left = {name: slot for name, slot in slots.items() if self._done.get(name) is not slot}
        names = [name for name in left if first is None or name in first]
        new = {name: left[name] for name in (names[:_AT_A_TIME] if first is None else names)}
        self.is_behind = first is None and len(new) < len(left)
        if not new:
            return
        try:
            with self._working:
                deployed = {n: s for n, s in new.items() if not (s.fetched or s.redefined)}
                self._find_digests(store, deployed)
                known = [name for name in new if name in self.digests]
                self._find_floors(store, tip if settled else None, known)
        except StoreRefused as error:
            self._tell(str(error))
        if settled:
            self._done |= new

    def _tell(self, reason: str) -> None:
        """Say once that deploys cannot be told from pushes here."""
        if not self._is_told:
            self._is_told = True
            tell("warning", "scatter.deploy_unknown", reason=reason)

    # digests -----------------------------------------------------------------------------

    def _find_digests(self, store: Store, slots: Mapping[str, Slot]) -> None:
        groups = dict[str, tuple[Base, dict[str, Slot]]]()
        for name, slot in slots.items():
            base = base_of(slot.function)
            if base is not None:
                groups.setdefault(base.file, (base, {}))[1][name] = slot
        keys = [f"{base.module}:{_hash(base.text)}" for base, _ in groups.values()]
        new = [key for key in keys if key not in self._noted]
        self._noted |= zip(new, store.digests(new), strict=True)
        for key, (base, of_file) in zip(keys, groups.values(), strict=True):
            self._of_file(store, key, self._noted[key], base, of_file)
        if not self.is_behind:
            self._noted.clear()
            self._texts.clear()

    def _of_file(
        self,
        store: Store,
        key: str,
        known: Mapping[str, str],
        base: Base,
        slots: Mapping[str, Slot],
    ) -> None:
        """Find the digests of one file's functions: those that were noted, else by reading."""
        found = dict[str, str]()
        for name, slot in slots.items():
            code = _read(known.get(name, ""))
            if code is None or any(self._text(m) != text for m, text in code.files.items()):
                code = self._build(base, slot)
                self._rest.take()
                if code is None:
                    continue
                found[name] = json.dumps([code.digest, dict(code.files)], separators=(",", ":"))
            self.digests[name] = code.digest
        if found:
            self._note(lambda: store.note_digests(key, found))

    def _text(self, module: str) -> str:
        """Return the digest of a module's deployed text; empty if there is none."""
        if module not in self._texts:
            base = deployed_base(module)
            self._texts[module] = "" if base is None else _hash(base.text)
        return self._texts[module]

    def _build(self, base: Base, slot: Slot) -> Code | None:
        """Make the bundle of a function as it was deployed; None if its source is not known."""
        from scatter.bundle import encode
        from scatter.bundle.build import build_function

        source = base.source()
        code = deployed_code(slot.function)
        if source is None or not base.is_source_of(code):
            return None
        place = source.function_at(code.co_firstlineno, code.co_qualname)
        if place is None:
            return None
        try:
            built = build_function(source, place, name=slot.name, find=_find, secrets=True)
            digest = hashlib.sha256(encode(built.bundle)).hexdigest()
        except ScatterError:
            return None
        files = {m: self._text(m) for m in built.files if m != base.module}
        return Code(digest, files)

    # floors ------------------------------------------------------------------------------

    def _find_floors(self, store: Store, tip: int | None, names: Iterable[str]) -> None:
        """Ask since when the code is known; note what is new, if the end of the log is known."""
        codes = {name: f"{name} {self.digests[name]}" for name in names}
        seen = store.first_seen([*codes, *codes.values()])
        if tip is None:
            self.floor |= {n: seen.get(c, NEVER if n in seen else 0) for n, c in codes.items()}
            return
        new = dict[str, int]()
        for name, code in codes.items():
            first = seen.get(code)
            if first is None:
                first = tip if name in seen else 0
                new |= {code: first, name: first}
            self.floor[name] = min(first, tip)
        self._note(lambda: store.note_seen(new))

    def _note(self, note: Callable[[], None]) -> None:
        """Note something if the store takes it: an agent may have no right to write it."""
        try:
            note()
        except StoreRefused as error:
            self._tell(str(error))


def _find(module: str) -> ModuleSource | None:
    """Return the source of a module of the project, whether or not it is imported yet."""
    base = deployed_base(module)
    if base is not None and not base.track_all:
        base.track_all = whole.will_track(module)
    return base.source() if base is not None else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read(noted: str) -> Code | None:
    """Return what was noted of a function; None if it is nothing that this module writes."""
    try:
        digest, files = json.loads(noted)
        is_good = (
            _DIGEST.fullmatch(digest)
            and all(map(_DIGEST.fullmatch, files.values()))
            and all(part.isidentifier() for module in files for part in module.split("."))
        )
        return Code(digest, files) if is_good else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
