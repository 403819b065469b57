"""New classes: made once for a module, whatever functions and versions use them.

A class that the deployed module lacks travels with every function that needs it. Were each version
to make its own, an exception raised in one function would not be caught in another, and instances
kept in state would be of no class that the next version knows. So a class is made once for its
code and all the travelling code that it reaches, and found again as long as anything uses it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from scatter.analysis import tree_text
from scatter.analysis.classes import marked, with_methods, without_track
from scatter.analysis.reading import parse_definition
from scatter.analysis.walks import read_before_bound
from scatter.bundle import Bundle, Item
from scatter.errors import Refused
from scatter.finding import functions_in
from scatter.linker.decide import Decision, Need
from scatter.linker.home import Home

Code = tuple[tuple[str, str], ...]


class NewClasses:
    """The classes that travel with a version."""

    def __init__(self, bundle: Bundle, decision: Decision) -> None:
        """Find out which there are, and what makes each of them the same class again."""
        self._moving = {k: n for k, n in decision.needs.items() if n.verdict == "travels"}
        self._own = bundle.module
        classes = {k: n for k, n in self._moving.items() if n.item.kind == "class"}
        self._codes = {key: self._code(key) for key in classes}

    def known(self) -> dict[str, Any]:
        """Return those that were made before, by key."""
        found = {key: self._need(key).home.classes.get(self._place(key)) for key in self._codes}
        return {key: made for key, made in found.items() if made is not None}

    def keep(self, made: Mapping[str, Any]) -> bool:
        """Remember classes that were made, by key, for other versions.

        Returns:
            Whether all are the first of their code; another thread may have been faster.

        """
        first = [
            self._need(key).home.classes.setdefault(self._place(key), made[key]) is made[key]
            for key in self._codes
        ]
        return all(first)

    def adopt(self, made: Mapping[str, Any]) -> None:
        """Give the tracked methods of new classes their slots: they have versions of their own."""
        for key in self._codes:
            need, live = self._need(key), made[key]
            names = marked(need.item.source)
            if not names or need.home.newest.get(need.item.name) is live:
                continue
            need.home.newest[need.item.name] = live
            functions = functions_in(live, need.home.globals)
            for name in names:
                function = functions.get(name.rpartition(":")[2])
                if function is not None:
                    need.home.functions.adopt(name, function)

    def _need(self, key: str) -> Need:
        return self._moving[key]

    def _place(self, key: str) -> tuple[str, object]:
        return self._moving[key].item.name, self._codes[key]

    def _code(self, start: str) -> Code:
        """Return the travelling code that a class reaches, its own among it."""
        found, todo = set[str](), [start]
        while todo:
            key = todo.pop()
            if key in self._moving and key not in found:
                found.add(key)
                todo += self._uses(self._moving[key])
        return tuple(sorted((key, tree_text(self._moving[key].item.source)) for key in found))

    def _uses(self, need: Need) -> list[str]:
        """Return the keys that an item leads to, as the function's own part has them."""
        keys = list[str]()
        for use in need.item.uses:
            module, colon, name = use.rpartition(":")
            other = module if colon else need.part.module
            keys.append(name if other == self._own else f"{other}:{name}")
        return keys


def whole(item: Item, home: Home) -> Item:
    """Return a class with the methods that have versions of their own, as those are now.

    Raises:
        Refused: `missing-function`, when one of them was not pushed.

    """

    def source_of(name: str) -> str:
        bundle = home.functions.bundle(name)
        if bundle is None:
            raise Refused(
                "missing-function",
                f"Class `{item.name}` is new here, and its tracked method `{name}` has no version "
                "in the namespace.",
                hint=f"Push `{name}` too.",
            )
        return without_track(bundle.source, bundle.skip)

    return replace(item, source=with_methods(item.source, source_of))


def check_bodies(items: Collection[Item], travelling: Collection[str]) -> None:
    """Refuse a class whose body binds a name that it also takes from the travelling code.

    A class body looks such a name up in itself and then in the module, never in the factory: it
    would get the deployed thing, or none.

    Raises:
        Refused: `shadowed-name`.

    """
    for item in items:
        if item.kind != "class":
            continue
        nodes = ast.walk(parse_definition(item.source))
        node = next(found for found in nodes if isinstance(found, ast.ClassDef))
        for shadowed in sorted(read_before_bound(node) & frozenset(travelling)):
            raise Refused(
                "shadowed-name",
                f"Class `{item.name}` binds `{shadowed}` in its body, and takes the new "
                f"`{shadowed}` of its module for it.",
                hint="Give one of them another name.",
            )
