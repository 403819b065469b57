"""What a function reaches in its project: definitions of its own module and of others.

Not here: what of a definition is shipped (`build`), files (`find` knows those).

A name leads to a definition of the same module. An import of a project module leads on to the
definition it names, or, where it binds the module itself, to those that are taken from it:
`util.clean(x)`, `a.b.clean(x)`. What is taken otherwise (`getattr(util, name)`, a module that is
handed on) is used live.

Invariant: an edge is an upper bound: what is reached here may be unchanged there, and then stays.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from scatter.analysis import Definition, ModuleSource, Target
from scatter.analysis.imports import Binding, imports_in
from scatter.analysis.reading import chains_in, parse_definition

Find = Callable[[str], "ModuleSource | None"]
IsTracked = Callable[[ModuleSource, str], bool]

MODULE_NAMES = frozenset(
    """
    __name__ __file__ __doc__ __package__ __spec__ __loader__ __path__ __builtins__ __class__
    __dict__ __annotations__
    """.split()
)


class Place(NamedTuple):
    """A top-level name of a project module."""

    module: str
    name: str


class Reach:
    """Collects what is reached from one function.

    Attributes:
        sources: Module → its source, of every module that something was reached in.
        found: Place → definition.
        uses: Place → the places that it leads to directly.
        unknown: Names that are looked up and defined nowhere.
        asked: Every module name that was looked for, whether or not the project has it.
        looked_at: Every name that was looked up in a module, whether or not it has it.

    """

    def __init__(self, own: ModuleSource, find: Find, is_tracked: IsTracked) -> None:
        """Begin at a module.

        Args:
            own: The function's module.
            find: Returns the source of a module if it belongs to the project.
            is_tracked: Whether the function at a key of a module is tracked.

        """
        self.sources = {own.name: own}
        self.found: dict[Place, Definition] = {}
        self.uses: dict[Place, frozenset[Place]] = {}
        self.unknown = set[Place]()
        self.asked = set[str]()
        self.looked_at = set[Place]()
        self._own = own
        self._find_module = find
        self._is_tracked = is_tracked
        self._todo: list[Place] = []

    def run(self, names: Iterable[str], text: str, itself: str) -> frozenset[Place]:
        """Follow the function; return the places that it leads to directly.

        Args:
            names: Names of its module that the function looks up.
            text: Its source.
            itself: Its own name, which leads nowhere.

        """
        start = self.places(self._own, names, text) - {Place(self._own.name, itself)}
        done = set[Place]()
        self._todo = sorted(start)
        while self._todo:
            place = self._todo.pop()
            if place not in done and place != (self._own.name, itself):
                done.add(place)
                self._follow(place)
        return frozenset(place for place in start if place in self.found)

    def _follow(self, place: Place) -> None:
        """Take up a place and what it leads to."""
        source = self.sources[place.module]
        definition = source.definitions.get(place.name) or self._from_star(source, place.name)
        if definition is None:
            if not _is_known(source, place.name):
                self.unknown.add(place)
        elif not definition.typing_only:
            self.found[place] = definition
            self.uses[place] = self._leads_to(source, definition) - {place}
            self._todo += self.uses[place]

    def _leads_to(self, source: ModuleSource, definition: Definition) -> frozenset[Place]:
        if definition.kind == "function" and self._is_tracked(source, definition.name):
            return frozenset()
        if definition.kind == "state" and not definition.creatable:
            return frozenset()
        if definition.kind == "class":
            bare = source.bare_class(definition.name)
            return self.places(source, bare.uses, bare.source)
        own = self.places(source, definition.uses, definition.source)
        if definition.kind != "import":
            return own
        return own | {place for t in definition.targets if (place := self._at(t))}

    def places(self, source: ModuleSource, names: Iterable[str], text: str) -> frozenset[Place]:
        """Return the places that code leads to: its names, and what it takes from modules."""
        places = {Place(source.name, name) for name in names}
        self.looked_at |= places
        bindings = [b for b in _local_imports(text, source.package) if self._concerns(b.target)]
        taken = {place for b in bindings if (place := self._at(b.target))}
        roots = dict[str, list[Target]]()
        for binding in bindings:
            roots.setdefault(binding.name, []).append(binding.target)
        for name in names:
            definition = source.definitions.get(name)
            if definition is not None and definition.kind == "import":
                targets = [t for t in definition.targets if self._concerns(t)]
                taken |= {place for t in targets if (place := self._at(t))}
                roots.setdefault(name, []).extend(targets)
        return frozenset(places | taken | set(self._through(roots, text)))

    def _concerns(self, target: Target) -> bool:
        """Return whether a target is of the project, or above a module that is."""
        top = target.module.partition(".")[0]
        return self._find(target.module) is not None or self._find(top) is not None or not top

    def _through(self, roots: dict[str, list[Target]], text: str) -> Iterator[Place]:
        """Yield what code takes from modules that it has under the names `roots`."""
        modules = {name: {m for t in ts if (m := self._module(t))} for name, ts in roots.items()}
        if not any(modules.values()):
            return
        for chain in _chains(text):
            first, *rest = chain.split(".")
            for module in modules.get(first, ()):
                place = self._walk(module, rest)
                if place:
                    yield place

    def _walk(self, module: str, attributes: list[str]) -> Place | None:
        """Return the definition that `module.a.b` means, None if it is a module or unknown."""
        for attribute in attributes:
            target = Target(module, attribute)
            module = self._module(target)
            if not module:
                return self._at(target)
        return None

    def _at(self, target: Target) -> Place | None:
        """Return the definition of a project module that a target means."""
        self.looked_at.add(Place(*target))
        source = self._find(target.module) if target.name else None
        if source is None:
            return None
        if target.name in source.definitions or self._from_star(source, target.name):
            self.sources[source.name] = source
            return Place(source.name, target.name)
        return None

    def _module(self, target: Target, seen: tuple[Target, ...] = ()) -> str:
        """Return the name of the module that a target means; empty if it means another thing."""
        if not target.name:
            return target.module
        self.looked_at.add(Place(*target))
        inner = f"{target.module}.{target.name}"
        source = self._find(target.module)
        definition = source.definitions.get(target.name) if source else None
        if definition is None:
            is_bound = source is not None and self._from_star(source, target.name) is not None
            return inner if self._find(inner) and not is_bound else ""
        for further in definition.targets:
            if further == target:  # `from . import name` in the package's own `__init__`
                return inner if self._find(inner) else ""
            found = "" if further in seen else self._module(further, (*seen, target))
            if found:
                return found
        return ""

    def _from_star(
        self, source: ModuleSource, name: str, seen: tuple[str, ...] = ()
    ) -> Definition | None:
        """Return the import of one name that the star imports of a module stand for."""
        if not source.stars or _is_known(source, name):
            return None
        others = list[str]()
        for module in source.stars:
            star = self._find(module)
            self.looked_at.add(Place(module, name))
            if star is None:
                others.append(module)
            elif (
                star.name not in (*seen, source.name)
                and star.exports(name)
                and (name in star.definitions or self._from_star(star, name, (*seen, source.name)))
            ):
                return _import_of(name, (module,), (Target(module, name),))
        is_public = not name.startswith("_")
        return _import_of(name, others, ()) if others and is_public and not seen else None

    def _find(self, module: str) -> ModuleSource | None:
        if module == self._own.name:
            return self._own
        self.asked.add(module)
        return self._find_module(module)


def _import_of(name: str, modules: Sequence[str], targets: tuple[Target, ...]) -> Definition:
    """Return the import of one name from the first of some modules that has it."""
    *first, last = [f"from {module} import {name}" for module in modules]
    source = last
    for statement in reversed(first):
        inner = "".join(f"    {line}\n" for line in source.split("\n"))
        source = f"try:\n    {statement}\nexcept ImportError:\n{inner}".rstrip()
    return Definition(
        name=name, kind="import", source=source, line=0, uses=frozenset(), targets=targets
    )


def _is_known(source: ModuleSource, name: str) -> bool:
    """Return whether a name that no statement of a module binds may be there all the same."""
    return hasattr(builtins, name) or name in MODULE_NAMES or name in source.assigned_later


@lru_cache(maxsize=4096)
def _local_imports(text: str, package: str) -> tuple[Binding, ...]:
    """Return what import statements inside a definition bind."""
    if "import" not in text or text.lstrip().startswith(("import ", "from ")):
        return ()
    return tuple(imports_in(parse_definition(text), package))


@lru_cache(maxsize=4096)
def _chains(text: str) -> frozenset[str]:
    """Return the dotted names in a definition."""
    return chains_in(parse_definition(text))
