"""New classes: made once for a module, whatever functions and versions use them.

A class that the deployed module lacks travels with every function that needs it. Were each version
to make its own, an exception raised in one function would not be caught in another, and instances
kept in state would be of no class that the next version knows. So a class is made once for its
code and all the travelling code that it reaches, and found again as long as anything uses it.

Invariant: classes that reach each other are made together; any other class that one reaches is
made before, and given to it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from scatter.analysis import tree_text
from scatter.analysis.reading import parse_definition
from scatter.analysis.walks import read_before_bound
from scatter.bundle import Bundle
from scatter.errors import Refused
from scatter.linker.assemble import FACTORY, assemble_items
from scatter.linker.decide import Decision
from scatter.linker.home import Home
from scatter.linker.state import link_failed


def make_classes(
    bundle: Bundle, decision: Decision, home: Home, given: Mapping[str, Any], file: str
) -> dict[str, Any]:
    """Return the classes that travel with a bundle, by name.

    Raises:
        Refused: `missing-import`, `link-failed` or `bad-source`.

    """
    return _Classes(bundle, decision, home, given, file).make_all()


class _Classes:
    """One run of `make_classes`."""

    def __init__(
        self,
        bundle: Bundle,
        decision: Decision,
        home: Home,
        given: Mapping[str, Any],
        file: str,
    ) -> None:
        self._bundle = bundle
        self._home = home
        self._given = given
        self._file = file
        moving = set(decision.names("travels"))
        self._items = {item.name: item for item in bundle.items if item.name in moving}
        self._names = [n for n, item in self._items.items() if item.kind == "class"]
        self._made: dict[str, Any] = {}

    def make_all(self) -> dict[str, Any]:
        reach = {name: self._reach(name) for name in self._names}
        for name in self._names:
            self._make(name, reach)
        return self._made

    def _reach(self, start: str) -> set[str]:
        """Return the travelling items that a class needs, itself among them."""
        found, todo = set[str](), [start]
        while todo:
            name = todo.pop()
            if name in self._items and name not in found:
                found.add(name)
                todo += self._items[name].uses
        return found

    def _check_body(self, name: str) -> None:
        """Refuse a class whose body binds a name that it also takes from the travelling code.

        A class body looks such a name up in itself and then in the module, never in the factory:
        it would get the deployed thing, or none.
        """
        nodes = ast.walk(parse_definition(self._items[name].source))
        node = next(found for found in nodes if isinstance(found, ast.ClassDef))
        travelling = self._items.keys() | self._given.keys()
        for shadowed in sorted(read_before_bound(node) & travelling):
            raise Refused(
                "shadowed-name",
                f"Class `{name}` binds `{shadowed}` in its body, and takes the new `{shadowed}` of "
                "its module for it.",
                hint="Give one of them another name.",
            )

    def _make(self, name: str, reach: Mapping[str, set[str]]) -> None:
        if name in self._made:
            return
        self._check_body(name)
        others = [n for n in self._names if n in reach[name]]
        unit = [n for n in others if name in reach[n]]
        for other in others:
            if other not in unit:
                self._make(other, reach)
        code = tuple(sorted((n, tree_text(self._items[n].source)) for n in reach[name]))
        known = {n: self._home.classes.get((n, code)) for n in unit}
        if None in known.values():
            fresh = self._execute(reach[name] - self._made.keys(), unit)
            known = {n: self._home.classes.setdefault((n, code), fresh[n]) for n in unit}
        self._made |= known

    def _execute(self, names: set[str], unit: list[str]) -> dict[str, Any]:
        given = {**self._given, **self._made}
        code = assemble_items(self._bundle, names, unit, tuple(given), self._file)
        scope: dict[str, Any] = {}
        try:
            exec(code, self._home.globals, scope)
            made = scope[FACTORY](**given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise link_failed(error, self._bundle) from error
        return dict(zip(unit, made, strict=True))
