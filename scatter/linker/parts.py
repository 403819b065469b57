"""Makes what travels, module by module: each part of a version has a factory in its own module.

Not here: what travels (`decide`), the code of a factory (`assemble`).

A part is made after those that it leads to. Where parts lead to each other in a circle, as modules
may, one gets what it imports from another afterwards, before anything is called.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

from scatter.bundle import Bundle, Item, Part
from scatter.linker.assemble import (
    CELLS,
    FACTORY,
    cells_of,
    compiled,
    definitions,
    results,
    target,
)
from scatter.linker.classes import check_bodies, whole
from scatter.linker.decide import Decision, Need
from scatter.linker.faces import file_beside
from scatter.linker.home import Home
from scatter.linker.state import link_failed
from scatter.linker.wiring import Ref, Rewire, Wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What making a version gave.

    Attributes:
        target: What stands for the function: it, or what a decorator made of it.
        in_class: A function whose `__class__` cell all functions of the class body share.
        code: Code of the factory of the function's own module.
        classes: New classes, by key.

    """

    target: Any
    in_class: FunctionType | None
    code: CodeType
    classes: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Assembly:
    """What is made from: a bundle and what was decided for it.

    Attributes:
        bundle, decision: What to make.
        homes: Returns the home of a module.
        lines: Key of an item → its first line; the function's own under its qualname.
        file: Name of the function's source for tracebacks.
        given: Values that the factory of the function's own module takes, by name.
        known: Classes that were made before, by key.

    """

    bundle: Bundle
    decision: Decision
    homes: Callable[[str], Home]
    lines: Mapping[str, int]
    file: str
    given: Mapping[str, Any]
    known: Mapping[str, Any] = field(default_factory=dict)


def make(assembly: Assembly) -> Made:
    """Make everything that travels, and the function.

    Raises:
        Refused: `bad-source`, `missing-import`, `shadowed-name` or `link-failed`.

    """
    return _Making(assembly).run()


class _Making:
    """One run of `make`."""

    def __init__(self, assembly: Assembly) -> None:
        self._of = assembly
        self._bundle = assembly.bundle
        moved = [
            n for n in assembly.decision.needs.values() if n.verdict in ("travels", "borrowed")
        ]
        refs = [Ref(need.part.module, need.item.name) for need in moved]
        imports = [n for n in moved if n.verdict == "travels" and n.item.kind == "import"]
        leads = dict(_leads(imports, set(refs)))
        self._passed = leads.keys() - self._named(moved)
        self._wiring = Wiring(refs, leads, assembly.homes)
        self._parts = self._in_order({need.part.module for need in moved})
        self._is_wired = len(self._parts) > 1 or assembly.decision.rewired or self._imports()
        self._late: list[tuple[Any, Ref]] = []
        self._classes: dict[str, Any] = {}

    def _imports(self) -> bool:
        """Return whether travelling code has import statements of its own."""
        sources = [i.source for i in self._items(self._parts[-1]) if i.kind != "import"]
        return any("import" in source for source in (self._bundle.source, *sources))

    def _in_order(self, modules: set[str]) -> list[Part]:
        """Return the parts to make, each after those that it leads to, the function's own last."""
        own, *others = self._bundle.parts
        by_module = {part.module: part for part in others if part.module in modules}
        ordered: dict[str, Part] = {}
        entered = set[str]()

        def enter(module: str) -> None:
            if module in by_module and module not in entered:
                entered.add(module)
                for other in sorted(self._before(by_module[module])):
                    enter(other)
                ordered[module] = by_module[module]

        for module in by_module:
            enter(module)
        return [*ordered.values(), own]

    def _before(self, part: Part) -> set[str]:
        """Return the modules that define what a part leads to."""
        uses = (use.rpartition(":") for item in self._items(part) for use in item.uses)
        return {self._wiring.origin(Ref(module, name)).module for module, _, name in uses if module}

    def _named(self, moved: Iterable[Need]) -> set[Ref]:
        """Return what is read as a global of its own module, and not only taken from there."""
        own = self._bundle.parts[0].module
        found = {Ref(own, use) for use in self._bundle.uses}
        return found | {Ref(n.part.module, use) for n in moved for use in n.item.uses}

    def _items(self, part: Part) -> list[Item]:
        """Return what is made in a part: all that travels but imports that only hand on a name."""
        items = self._of.decision.items(part, "travels")
        return [item for item in items if Ref(part.module, item.name) not in self._passed]

    def run(self) -> Made:
        for part in self._parts[:-1]:
            self._make(part)
        code, (target, in_class) = self._make(self._parts[-1])
        for cell, ref in self._late:
            cell.cell_contents = self._wiring.final(ref)
        return Made(target=target, in_class=in_class, code=code, classes=self._classes)

    def _make(self, part: Part) -> tuple[CodeType, tuple[Any, Any]]:
        """Run the factory of one part; return its code, and what it made of the function."""
        given = self._given(part)
        home = self._of.homes(part.module)
        items = [item for item in self._items(part) if item.name not in given]
        items = [whole(item, home) if item.kind == "class" else item for item in items]
        check_bodies(items, {*(item.name for item in items), *given})
        rewire = Rewire(self._wiring, part)
        code = compiled(
            self._bundle, part, lambda: self._body(part, items, given, rewire), self._file(part)
        )
        values = {name: self._wiring.value(ref) for name, ref in rewire.arguments.items()}
        made, *function = self._run(code, home, given | values)
        late = self._late_names(rewire)
        cells = dict(zip(sorted(late), made[CELLS].__closure__, strict=True)) if late else {}
        self._late += [(cells[name], ref) for name, ref in late.items()]
        self._wiring.made(part.module, made)
        for item in self._of.decision.items(part, "travels"):
            if item.kind == "class":
                self._classes[self._key(part, item.name)] = made[item.name]
        return code, (function[0], function[1])

    def _body(
        self, part: Part, items: list[Item], given: Mapping[str, Any], rewire: Rewire
    ) -> tuple[list[str], list[ast.stmt]]:
        """Return the arguments and the statements of a factory."""
        is_own = part is self._bundle.parts[0]
        visit = rewire.visit if self._is_wired else None
        lines = {item.name: self._of.lines.get(self._key(part, item.name), 1) for item in items}
        body = definitions(items, lines, visit)
        made = (
            target(self._bundle, self._of.lines.get(self._bundle.qualname, 1), visit)
            if is_own
            else []
        )
        late = self._late_names(rewire)
        end = made[-1:] if made else results()
        body += made[:-1] + (cells_of(sorted(late)) if late else []) + end
        return [*given, *rewire.arguments], body

    def _late_names(self, rewire: Rewire) -> dict[str, Ref]:
        """Return the names of a factory that get their values when another part is made."""
        late = {ref for ref in rewire.arguments.values() if self._wiring.value(ref) is None}
        names = rewire.arguments | rewire.bound
        return {name: ref for name, ref in names.items() if ref in late}

    def _given(self, part: Part) -> dict[str, Any]:
        """Return what the factory of a part is given by value."""
        is_own = part is self._bundle.parts[0]
        given = dict(self._of.given) if is_own else {}
        home = self._of.homes(part.module)
        for item in self._of.decision.items(part, "borrowed"):
            if item.name.isidentifier():  # others are named inside captured values alone
                given[item.name] = home.resolve(item.source)
        for item in self._items(part):
            if self._key(part, item.name) in self._of.known:
                given[item.name] = self._of.known[self._key(part, item.name)]
        return given

    def _key(self, part: Part, name: str) -> str:
        return name if part is self._bundle.parts[0] else part.key(name)

    def _file(self, part: Part) -> str:
        is_own = part is self._bundle.parts[0]
        return self._of.file if is_own else file_beside(self._of.file, part.module)

    def _run(self, code: CodeType, home: Home, given: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Execute the factory's definition and the factory; return what it returns."""
        scope: dict[str, Any] = {}
        try:
            exec(code, home.globals, scope)
            made: tuple[Any, Any, Any] = scope[FACTORY](**given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise link_failed(error, self._bundle) from error
        return made


def _leads(imports: Iterable[Need], refs: Set[Ref]) -> Iterator[tuple[Ref, Ref]]:
    """Yield the imports that hand on one name that travels, and what that is."""
    for need in imports:
        uses = [use.rpartition(":") for use in need.item.uses if ":" in use]
        if len(uses) == 1 and (to := Ref(uses[0][0], uses[0][2])) in refs:
            yield Ref(need.part.module, need.item.name), to
