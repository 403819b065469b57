"""What a push of one function does, in words: what travels, what is used live, what changed.

Static, as all of the workspace: what a process then decides depends on what it was deployed with
(`scatter status` tells what was refused there, and why).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from scatter.analysis import ModuleSource
from scatter.bundle import Bundle, Item, Part
from scatter.bundle.build import Built
from scatter.bundle.reach import Find, Place
from scatter.workspace.compare import IsTracked, same_item
from scatter.workspace.strangers import Stranger, Users

Change = Literal["", "changed", "new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One definition that a version has.

    Attributes:
        name, kind: What it is.
        file, line: Where it stands; line 0 if it is not known.
        change: Whether it differs from the version that this one is compared with.

    """

    name: str
    kind: str
    file: str
    line: int
    change: Change = ""

    @property
    def place(self) -> str:
        """File and line as editors and terminals understand them."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a version of one function consists of.

    Attributes:
        name: Full name of the function.
        own: The function itself.
        pieces: Everything else that it has.
        gone: Names that the version before had and this one has not.
        unknown: Names that are looked up and defined nowhere in the project.
        skipped: How many decorators belong to the process and are not run again, beside `@track`.
        strangers: Untracked code that goes on to use the deployed form of a changed helper.

    """

    name: str
    own: Piece
    pieces: tuple[Piece, ...]
    gone: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    skipped: int = 0
    strangers: tuple[Stranger, ...] = ()

    def of(self, *kinds: str) -> list[Piece]:
        """Return the pieces of some kinds."""
        return [piece for piece in self.pieces if piece.kind in kinds]

    @property
    def changed(self) -> list[Piece]:
        """What differs from the version before, the function first."""
        return [piece for piece in (self.own, *self.pieces) if piece.change]


def explain(built: Built, before: Bundle | None, *, is_tracked: IsTracked) -> Explanation:
    """Explain a bundle that was built.

    Args:
        built: The bundle.
        before: What it is compared with: the live version, if there is one.
        is_tracked: Whether the method at a key of a module is tracked.

    """
    bundle = built.bundle
    known = _items(before) if before else {}
    lines = iter(built.lines)
    own = Piece(
        name=bundle.qualname,
        kind="function",
        file=built.file,
        line=next(lines, 0),
        change=_own_change(bundle, before),
    )
    pieces = tuple(
        Piece(
            name=_name(part, item, bundle),
            kind=item.kind,
            file=built.files.get(part.module, built.file),
            line=next(lines, 0),
            change=_change(part, item, known, is_tracked) if before else "",
        )
        for part in bundle.parts
        for item in part.items
    )
    mine = _items(bundle)
    gone = [item.name for key, (_, item) in known.items() if key not in mine]
    return Explanation(
        name=bundle.function,
        own=own,
        pieces=pieces,
        gone=tuple(gone),
        unknown=bundle.unknown,
        skipped=max(bundle.skip - 1, 0),
    )


class Project(Protocol):
    """What an explanation asks of a workspace."""

    def is_tracked(self, module: str, key: str) -> bool:
        """Return whether the function at a key of a module is tracked."""
        ...

    def sources_naming(self, words: Collection[str]) -> Iterator[tuple[ModuleSource, Find]]:
        """Yield the source of every file in which one of some words is, with its finder."""
        ...


def explain_whole(project: Project, built: Built, before: Bundle | None) -> Explanation:
    """Explain a bundle, and say who else uses the helpers that changed."""
    explanation = explain(built, before, is_tracked=project.is_tracked)
    helpers = [Place(*helper) for helper in changed_helpers(explanation, built)]
    if not helpers:
        return explanation
    words = {word for helper in helpers for word in (helper.name, helper.module)}
    users = Users(project.sources_naming(words))
    strangers = [stranger for helper in helpers for stranger in users.strangers(helper)]
    return replace(explanation, strangers=tuple(strangers))


def changed_helpers(explanation: Explanation, built: Built) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of the helpers and constants that changed and travel."""
    pieces = iter(explanation.pieces)
    for part in built.bundle.parts:
        for item in part.items:
            if next(pieces).change == "changed" and item.kind in ("function", "constant"):
                yield part.module, item.name


def _items(bundle: Bundle) -> Mapping[tuple[str, str], tuple[Part, Item]]:
    return {(part.module, i.name): (part, i) for part in bundle.parts for i in part.items}


def _own_change(bundle: Bundle, before: Bundle | None) -> Change:
    if before is None:
        return "new"
    own = Item(kind="function", name="", source=bundle.source)
    old = Item(kind="function", name="", source=before.source)
    return "" if same_item(own, old) else "changed"


def _change(
    part: Part,
    item: Item,
    known: Mapping[tuple[str, str], tuple[Part, Item]],
    is_tracked: IsTracked,
) -> Change:
    old = known.get((part.module, item.name))
    if old is None:
        return "new"
    same = same_item(item, old[1], lambda key: is_tracked(part.module, key))
    return "" if same else "changed"


def _name(part: Part, item: Item, bundle: Bundle) -> str:
    if item.kind == "tracked":
        return item.source
    return item.name if part is bundle.parts[0] else f"{part.module}.{item.name}"
