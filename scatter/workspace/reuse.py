"""Which bundles an edit leaves as they are, so that a save costs what it changed.

A bundle follows from the function, from what each name means that was looked up on the way
(`Built.looked_at`), and from a few facts of the modules. Where all of these are what they were,
building again would give the same: it is not done.

Not here: building (`scatter.bundle.build`), and when (`Workspace`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from scatter.analysis import Definition, FunctionSource, ModuleSource
from scatter.bundle.build import Built
from scatter.bundle.reach import Find, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What the edits of one look changed.

    Attributes:
        modules: Modules of which nothing is known to be as it was.
        places: In the others, names that mean another thing than before.
        moved: Whether anything stands on another line than before.

    """

    modules: frozenset[str] = frozenset()
    places: frozenset[Place] = frozenset()
    moved: bool = False

    @classmethod
    def of(cls, edited: Iterable[tuple[str, ModuleSource | None, ModuleSource | None]]) -> Edits:
        """Compare modules before and after: (name, before, after) of each."""
        modules, places, moved = set[str](), set[Place](), False
        for module, before, after in edited:
            if before is None or after is None or _facts(before) != _facts(after):
                modules.add(module)
            else:
                places |= {Place(module, name) for name in _changed(before, after)}
                moved = moved or _lines(before) != _lines(after)
        return cls(modules=frozenset(modules), places=frozenset(places), moved=moved)

    def reusable(
        self,
        old: Built | None,
        before: FunctionSource | None,
        function: FunctionSource,
        source: ModuleSource,
        find: Find,
    ) -> Built | None:
        """Return what a function was built to, standing where it does now; None if it may differ.

        Args:
            old: What it was built to.
            before: The function before the edits.
            function: The function now.
            source: Its module now.
            find: Returns the source of another module of the project.

        """
        if old is None or before is None or source.name in self.modules:
            return None
        if not (self.modules.isdisjoint(old.asked) and self.places.isdisjoint(old.looked_at)):
            return None
        if before is not function and _unplaced(before) != _unplaced(function):
            return None
        return _moved(old, function, source, find) if self.moved else old


def _facts(source: ModuleSource) -> tuple[object, ...]:
    """Return what of a module may concern any of its functions, and any that uses it."""
    return (
        source.name,
        source.file,
        source.package,
        source.future,
        source.stars,
        source.exported,
        source.assigned_later,
        source.track_all,
    )


def _lines(source: ModuleSource) -> tuple[object, ...]:
    """Return where everything stands that a bundle tells the line of."""
    return (
        {name: definition.line for name, definition in source.definitions.items()},
        {key: function.line for key, function in source.tracked.items()},
    )


def _changed(before: ModuleSource, after: ModuleSource) -> Iterator[str]:
    """Yield the top-level names that mean another thing to the bundles that they are in."""
    yield from (key.partition(".")[0] for key in _remarked(before, after))
    yield from before.definitions.keys() ^ after.definitions.keys()
    for name, definition in after.definitions.items():
        one = before.definitions.get(name)
        if one is None or one is definition or _meaning(one) == _meaning(definition):
            continue
        if one.kind != definition.kind or one.typing_only != definition.typing_only:
            yield name
        elif definition.kind == "class":
            if before.bare_class(name) != after.bare_class(name):
                yield name
        elif definition.kind != "function" or name not in after.tracked:
            yield name  # a tracked function is named, never shipped


def _remarked(before: ModuleSource, after: ModuleSource) -> Iterator[str]:
    """Yield the keys of functions that are tracked only now or no more, or by another name."""
    known = before.tracked
    yield from known.keys() - after.tracked.keys()
    for key, function in after.tracked.items():
        old = known.get(key)
        if old is not function and (old is None or old.tracked_name != function.tracked_name):
            yield key


def _meaning(definition: Definition) -> tuple[object, ...]:
    """Return what of a definition a bundle may have, but where it stands."""
    return (
        definition.source,
        definition.kind,
        definition.uses,
        definition.creatable,
        definition.typing_only,
        definition.targets,
    )


def _unplaced(function: FunctionSource) -> tuple[object, ...]:
    """Return what of a function a bundle may have, but where it stands."""
    return (
        function.source,
        function.qualname,
        function.uses,
        function.class_names,
        function.members,
        function.tracked_name,
        function.skip,
        function.twice,
    )


def _moved(old: Built, function: FunctionSource, source: ModuleSource, find: Find) -> Built | None:
    """Return a bundle with the lines where its items stand now; None if they changed order."""
    lines = [function.line]
    for part in old.bundle.parts:
        module = source if part.module == source.name else find(part.module)
        if module is None:
            return None
        known = module.definitions
        found = [(known[i.name].line if i.name in known else 0, i.name) for i in part.items]
        if any(one > other for one, other in itertools.pairwise(found)):
            return None
        lines += [line for line, _ in found]
    return old if list(old.lines) == lines else replace(old, lines=tuple(lines))
