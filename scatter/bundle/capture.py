"""Captures a function of a notebook or REPL: source where there is some, values through pickle.

Such a function has no module file to read. What it needs is looked up in its live globals: helpers
and classes by the text of their cells, modules by an import, plain values as literals, and the
rest as pickles, which only the same Python version can load.

Not here: functions of files (`build`), and loading anything (`scatter.linker`).

Invariants
1. Source is used only if compiling it gives the function's own code.
2. A bundle with a pickle names the Python that can load it.
3. Values that look like credentials are refused unless the caller says they are meant.
4. Another tracked function is named, never copied, also inside a pickle.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from types import FunctionType, ModuleType
from typing import Any

from scatter.analysis import FunctionSource
from scatter.analysis.reading import chains_in, globals_assigned_in, parse_definition
from scatter.bundle.build import Built
from scatter.bundle.live import (
    class_source_of,
    closure_of,
    import_from,
    import_of,
    is_local,
    literal_of,
    names_in,
    source_of,
)
from scatter.bundle.model import Bundle, Item, Part
from scatter.bundle.pickling import dump
from scatter.bundle.secrets import looks_secret
from scatter.errors import Refused

TrackedName = Callable[[object], str | None]


def capture(
    function: FunctionType, name: str, *, tracked_name: TrackedName, secrets: bool = False
) -> Built:
    """Capture a live function.

    Args:
        function: The function, as its process was given it.
        name: Its full name.
        tracked_name: Returns the full name of an object that is a tracked function, else None.
        secrets: Ship values that look like credentials.

    Raises:
        Refused: `secret`, `cannot-capture`, `too-big`.

    """
    return _Capture(function, name, tracked_name, secrets).run()


def capture_closure(
    built: Built,
    function: FunctionType,
    *,
    tracked_name: TrackedName,
    secrets: bool = False,
) -> Built:
    """Add to the bundle of a function that stands inside another one what it closes over.

    Args:
        built: Its bundle from source.
        function: The live function.
        tracked_name, secrets: As for `capture`.

    Raises:
        Refused: `secret`, `cannot-capture`.

    """
    run = _Capture(function, built.bundle.function, tracked_name, secrets)
    cells = run.cells()
    own, *others = built.bundle.parts
    known = {item.name for item in own.items}
    named = [item for item in run.items.values() if item.name not in known]
    bundle = replace(
        built.bundle,
        parts=(replace(own, items=(*own.items, *named)), *others),
        python=_here() if any(cell.pickle for cell in cells) else "",
        cells=cells,
    )
    at = 1 + len(own.items)
    lines = (*built.lines[:at], *(0 for _ in named), *built.lines[at:])
    return replace(built, bundle=bundle, lines=lines)


class _Capture:
    """One run of `capture`: items in the order in which they were met."""

    def __init__(
        self, function: FunctionType, name: str, tracked_name: TrackedName, secrets: bool
    ) -> None:
        self._function = function
        self._name = name
        self._tracked_name = tracked_name
        self._secrets = secrets
        self.items: dict[str, Item] = {}
        self._lines: dict[str, int] = {}
        self._future = set[str]()

    def run(self) -> Built:
        function = self._function
        found = source_of(function)
        if found is None:
            return self._whole()
        cell, source = found
        self._future |= set(cell.future)
        self._reach(source, function.__globals__, own=source.qualname)
        cells = self.cells()
        items = tuple(self.items.values())
        pickled = any(item.pickle for item in (*items, *cells))
        own = Part(module="", future=tuple(sorted(self._future)), items=items)
        bundle = Bundle(
            function=self._name,
            qualname=source.qualname,
            source=source.source,
            skip=source.skip,
            uses=tuple(sorted(source.uses & self.items.keys())),
            class_names=source.class_names,
            parts=(own,),
            python=_here() if pickled else "",
            cells=cells,
        )
        lines = (source.line, *(self._lines.get(item.name, 0) for item in items))
        return Built(bundle=bundle, lines=lines, file=function.__code__.co_filename, files={})

    def _whole(self) -> Built:
        """Capture a function without source: its code and the values it uses, pickled."""
        function = self._function
        self._check_whole(function, set())
        data = self._pickle(self._name, function, whole=True)
        bundle = Bundle(
            function=self._name,
            qualname=function.__qualname__.rpartition(".")[2],
            source="",
            parts=(Part(module="", items=tuple(self.items.values())),),
            python=_here(),
            pickle=data,
        )
        return Built(bundle=bundle, lines=(1,), file=function.__code__.co_filename, files={})

    def _check_whole(self, function: FunctionType, seen: set[int]) -> None:
        """Look for credentials in all that a pickle of a function of this session would hold."""
        seen.add(id(function))
        used = {n: function.__globals__.get(n) for n in names_in(function.__code__)}
        for name, value in sorted(
            [*used.items(), *closure_of(function)], key=lambda found: found[0]
        ):
            self._check_secret(name, value)
            is_copied = isinstance(value, FunctionType) and is_local(value)
            if is_copied and not self._tracked_name(value) and id(value) not in seen:
                self._check_whole(value, seen)  # type: ignore[arg-type]

    def _reach(self, source: FunctionSource, scope: dict[str, Any], own: str) -> None:
        """Add an item for each name that is there, and for what those need in turn."""
        tree = parse_definition(source.source)
        chains, assigned = chains_in(tree), globals_assigned_in(tree)
        for name in sorted(source.uses):
            if name in scope and name != own and name not in self.items:
                self._add(name, scope, own, chains, assigned)

    def _add(
        self,
        name: str,
        scope: dict[str, Any],
        own: str,
        chains: Collection[str],
        assigned: Collection[str],
    ) -> None:
        value = scope[name]
        tracked = self._tracked_name(value)
        if tracked:
            self.items[name] = Item(kind="tracked", name=name, source=tracked)
        elif name in assigned:
            self._add_state(name, value)
        elif isinstance(value, ModuleType):
            text = import_of(name, value, chains)
            self.items[name] = Item(kind="import", name=name, source=text)
        elif is_local(value):
            self._add_definition(name, value, scope, own)
        elif import_from(name, value):
            source = import_from(name, value)
            self.items[name] = Item(kind="import", name=name, source=source)
        else:
            self._add_value(name, value)

    def _add_definition(self, name: str, value: object, scope: dict[str, Any], own: str) -> None:
        """Add a helper or class that another cell defines, by its source."""
        found = source_of(value) if isinstance(value, FunctionType) else class_source_of(value)
        if found is None or found[1].qualname != name:
            self._add_value(name, value)
            return
        cell, source = found
        kind = "function" if isinstance(value, FunctionType) else "class"
        self._future |= set(cell.future)
        self.items[name] = Item(kind="state", name=name)  # a placeholder: it may need itself
        self._reach(source, scope, own)
        del self.items[name]
        uses = tuple(sorted(source.uses & self.items.keys()))
        self.items[name] = Item(
            kind=kind,  # type: ignore[arg-type]
            name=name,
            source=source.source,
            uses=uses,
        )
        self._lines[name] = source.line

    def _add_state(self, name: str, value: object) -> None:
        """Add a value that the function assigns through `global`: made once where it runs."""
        self._check_secret(name, value)
        text = literal_of(value, containers=True)
        if text is None:
            raise Refused(
                "cannot-capture",
                f"`{self._name}` assigns `{name}` through `global`, and only plain values can be "
                f"made anew where it runs; found {type(value).__name__}.",
                function=self._name,
                hint="Create it inside the function, or keep it in an object that is changed in "
                "place.",
            )
        self.items[name] = Item(kind="state", name=name, source=f"{name} = {text}")

    def _add_value(self, name: str, value: object) -> None:
        self._check_secret(name, value)
        literal = literal_of(value)
        if literal is not None:
            self.items[name] = Item(kind="constant", name=name, source=f"{name} = {literal}")
        else:
            self.items[name] = Item(
                kind="captured", name=name, pickle=self._pickle(name, value, whole=False)
            )

    def cells(self) -> tuple[Item, ...]:
        """Return the values that the function closes over; plain ones as literals."""
        found = closure_of(self._function)
        return tuple(self._cell(n, value) for n, value in found if n != "__class__")

    def _cell(self, name: str, value: object) -> Item:
        self._check_secret(name, value)
        literal = literal_of(value)
        if literal is not None:
            return Item(kind="constant", name=name, source=f"{name} = {literal}")
        return Item(kind="captured", name=name, pickle=self._pickle(name, value, whole=False))

    def _pickle(self, name: str, value: object, *, whole: bool) -> bytes:
        try:
            data, tracked = dump(value, self._tracked_name)
        except Exception as error:
            what = "It has no source, and its code" if whole else f"The value of `{name}`"
            raise Refused(
                "cannot-capture",
                f"{what} cannot be captured: {type(error).__name__}: {error}.",
                function=self._name,
                hint="Create it inside the function, or where the function runs.",
            ) from error
        for full in tracked:
            self.items.setdefault(full, Item(kind="tracked", name=full, source=full))
        return data

    def _check_secret(self, name: str, value: object) -> None:
        if not self._secrets and looks_secret(name, value):
            raise Refused(
                "secret",
                f"`{name}`, which `{self._name}` uses, looks like a credential and would be "
                "shipped.",
                function=self._name,
                hint="Read it from the environment inside the function, or push with "
                "secrets=True if it is meant.",
            )


def _here() -> str:
    return sys.implementation.cache_tag or ""
