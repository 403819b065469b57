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
from scatter.names import function_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What the edits of one look changed.

    Attributes:
        modules: Modules of which nothing is known to be as it was.
        places: In the others, names that mean another thing than before.

    """

    modules: frozenset[str] = frozenset()
    places: frozenset[Place] = frozenset()

    @classmethod
    def of(cls, edited: Iterable[tuple[str, ModuleSource | None, ModuleSource | None]]) -> Edits:
        """Compare modules before and after: (name, before, after) of each."""
        modules, places = set[str](), set[Place]()
        for module, before, after in edited:
            if before is None or after is None or _facts(before) != _facts(after):
                modules.add(module)
            else:
                places |= {Place(module, name) for name in _changed(before, after)}
        return cls(modules=frozenset(modules), places=frozenset(places))

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
        same = before is function or _unplaced(before) == _unplaced(function)
        return _moved(old, function, source, find) if same else None


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


def _changed(before: ModuleSource, after: ModuleSource) -> Iterator[str]:
    """Yield the top-level names that mean another thing to the bundles that they are in."""
    old, new = _marks(before), _marks(after)
    if old != new:
        yield from (key.partition(".")[0] for key, _ in old.items() ^ new.items())
    definitions, known = after.definitions, before.definitions
    yield from known.keys() ^ definitions.keys()
    for name, definition in definitions.items():
        one = known.get(name)
        if one is None or one is definition or _meaning(one) == _meaning(definition):
            continue
        if one.kind != definition.kind or one.typing_only != definition.typing_only:
            yield name
        elif definition.kind == "class":
            if before.bare_class(name) != after.bare_class(name):
                yield name
        elif definition.kind != "function" or name not in new:
            yield name  # a tracked function is named, never shipped


def _marks(source: ModuleSource) -> dict[str, str]:
    """Return the full name of each tracked function of a module, by key."""
    return {k: f.tracked_name or function_name(source.name, k) for k, f in source.tracked.items()}


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


def _unplaced(function: FunctionSource) -> FunctionSource:
    return replace(function, line=0, last_line=0, def_line=0)


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
