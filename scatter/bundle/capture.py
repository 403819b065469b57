"""Captures a function of a notebook or REPL: source where there is some, values through pickle.

Such a function has no module file to read. What it needs is looked up in its live globals: helpers
and classes by the text of their cells, modules by an import, plain values as literals, and the
rest as pickles, which only the same Python version can load.

Not here: functions of files (`build`), and loading anything (`scatter.linker`).

Invariants
1. Source is used only if compiling it gives the function's own code.
2. A bundle with a pickle names the Python that can load it.
3. Values that look like credentials are refused unless the caller says they are meant.
"""

from __future__ import annotations

import builtins
import linecache
import math
import re
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from scatter.analysis import FunctionSource, ModuleSource, SourceError
from scatter.bundle.build import Built
from scatter.bundle.model import Bundle, Item, Part
from scatter.errors import Refused

_LITERALS = (int, float, complex, str, bytes, bool, type(None), type(...))
_MAX_LITERAL = 10_000
_SECRET_NAME = re.compile(r"pass(word|wd)?|secret|token|api_?key|credential|private_?key", re.I)

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


class _Capture:
    """One run of `capture`: items in the order in which they were met."""

    def __init__(
        self, function: FunctionType, name: str, tracked_name: TrackedName, secrets: bool
    ) -> None:
        self._function = function
        self._name = name
        self._tracked_name = tracked_name
        self._secrets = secrets
        self._items: dict[str, Item] = {}
        self._lines: dict[str, int] = {}
        self._future = set[str]()

    def run(self) -> Built:
        function = self._function
        found = _source_of(function)
        if found is None:
            return self._whole()
        cell, source = found
        self._future |= set(cell.future)
        self._reach(source.uses, function.__globals__, own=source.qualname)
        cells = tuple(self._cell(n, c) for n, c in _closure(function) if n != "__class__")
        items = tuple(self._items.values())
        pickled = any(item.pickle for item in (*items, *cells))
        own = Part(module="", future=tuple(sorted(self._future)), items=items)
        bundle = Bundle(
            function=self._name,
            qualname=source.qualname,
            source=source.source,
            skip=source.skip,
            uses=tuple(sorted(source.uses & self._items.keys())),
            class_names=source.class_names,
            parts=(own,),
            python=_here() if pickled else "",
            cells=cells,
        )
        lines = (source.line, *(self._lines.get(item.name, 1) for item in items))
        return Built(bundle=bundle, lines=lines, file=function.__code__.co_filename)

    def _whole(self) -> Built:
        """Capture a function without source: its code and the values it uses, pickled."""
        function = self._function
        for used in sorted(_names_in(function.__code__)):
            if used in function.__globals__:
                self._check_secret(used, function.__globals__[used])
        qualname = function.__qualname__.rpartition(".")[2]
        bundle = Bundle(
            function=self._name,
            qualname=qualname,
            source="",
            parts=(Part(module=""),),
            python=_here(),
            pickle=self._pickle(self._name, function, whole=True),
        )
        return Built(bundle=bundle, lines=(1,), file=function.__code__.co_filename)

    def _reach(self, uses: frozenset[str], scope: dict[str, Any], own: str) -> None:
        """Add an item for each name that is there, and for what those need in turn."""
        for name in sorted(uses):
            if name in scope and name != own and name not in self._items:
                self._add(name, scope[name], scope, own)

    def _add(self, name: str, value: object, scope: dict[str, Any], own: str) -> None:
        tracked = self._tracked_name(value)
        if tracked:
            self._items[name] = Item(kind="tracked", name=name, source=tracked)
        elif isinstance(value, ModuleType):
            self._items[name] = Item(kind="import", name=name, source=_import_of(name, value))
        elif _is_local(value):
            self._add_definition(name, value, scope, own)
        elif _import_from(name, value):
            source = _import_from(name, value)
            self._items[name] = Item(kind="import", name=name, source=source)
        else:
            self._add_value(name, value)

    def _add_definition(self, name: str, value: object, scope: dict[str, Any], own: str) -> None:
        """Add a helper or class that another cell defines, by its source."""
        found = _source_of(value) if isinstance(value, FunctionType) else _class_source(value)
        if found is None or found[1].qualname != name:
            self._add_value(name, value)
            return
        cell, source = found
        kind = "function" if isinstance(value, FunctionType) else "class"
        self._future |= set(cell.future)
        self._items[name] = Item(kind="state", name=name)  # a placeholder: it may need itself
        self._reach(source.uses, scope, own)
        del self._items[name]
        uses = tuple(sorted(source.uses & self._items.keys()))
        self._items[name] = Item(
            kind=kind,  # type: ignore[arg-type]
            name=name,
            source=source.source,
            uses=uses,
        )
        self._lines[name] = source.line

    def _add_value(self, name: str, value: object) -> None:
        self._check_secret(name, value)
        literal = _literal(value)
        if literal is not None:
            self._items[name] = Item(kind="constant", name=name, source=f"{name} = {literal}")
        else:
            self._items[name] = Item(
                kind="captured", name=name, pickle=self._pickle(name, value, whole=False)
            )

    def _cell(self, name: str, value: object) -> Item:
        self._check_secret(name, value)
        return Item(kind="captured", name=name, pickle=self._pickle(name, value, whole=False))

    def _pickle(self, name: str, value: object, *, whole: bool) -> bytes:
        import cloudpickle  # heavy, and only notebooks need it

        try:
            data = cloudpickle.dumps(value, protocol=5)
        except Exception as error:
            what = "It has no source, and its code" if whole else f"The value of `{name}`"
            raise Refused(
                "cannot-capture",
                f"{what} cannot be captured: {type(error).__name__}: {error}.",
                function=self._name,
                hint="Create it inside the function, or where the function runs.",
            ) from error
        return bytes(data)

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


def looks_secret(name: str, value: object) -> bool:
    """Return whether a value looks like a credential, by its name and its randomness."""
    if not isinstance(value, (str, bytes)) or len(value) < 6:
        return False
    named = _SECRET_NAME.search(name) is not None
    text = value if isinstance(value, str) else value.decode("latin-1")
    return named or (len(text) >= 20 and " " not in text and _bits_per_character(text) > 4.3)


def _bits_per_character(text: str) -> float:
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)


def _source_of(function: FunctionType) -> tuple[ModuleSource, FunctionSource] | None:
    """Return the cell that defines a live function, and its source there."""
    code = function.__code__
    text = "".join(linecache.getlines(code.co_filename))
    cell = _parse(text, code.co_filename)
    if cell is None:
        return None
    for source in cell.functions.values():
        if source.line == code.co_firstlineno and _compiles_to(text, code):
            return cell, source
    return None


def _compiles_to(text: str, code: CodeType) -> bool:
    """Return whether some function in `text` compiles to exactly this code."""
    flags = code.co_flags & _FUTURE_MASK
    try:
        top = compile(text, code.co_filename, "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return any(inner == code for inner in _all_codes(top))


_FUTURE_MASK = 0x1000000 | 0x100000 | 0x800000  # annotations, generator_stop, barry_as_FLUFL


def _all_codes(code: CodeType) -> list[CodeType]:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return inner + [deep for c in inner for deep in _all_codes(c)]


def _class_source(value: object) -> tuple[ModuleSource, FunctionSource] | None:
    """Return the cell that defines a live class, and its source there.

    A class has no code object; the cell is that of one of its functions.
    """
    members = [getattr(member, "__func__", member) for member in vars(value).values()]
    for member in members:
        if not isinstance(member, FunctionType):
            continue
        file = member.__code__.co_filename
        cell = _parse("".join(linecache.getlines(file)), file)
        definition = cell.definitions.get(value.__name__) if cell else None  # type: ignore[attr-defined]
        if cell and definition and definition.kind == "class":
            return cell, FunctionSource(
                qualname=definition.name,
                source=definition.source,
                line=definition.line,
                last_line=definition.line,
                def_line=definition.line,
                uses=definition.uses,
            )
    return None


def _parse(text: str, file: str) -> ModuleSource | None:
    try:
        return ModuleSource(text, name="", file=file) if text else None
    except SourceError:  # a cell with magics; IPython registers what it made of them
        return None


def _closure(function: FunctionType) -> list[tuple[str, object]]:
    cells = function.__closure__ or ()
    return [(n, c.cell_contents) for n, c in zip(function.__code__.co_freevars, cells, strict=True)]


def _is_local(value: object) -> bool:
    """Return whether a function or class was defined in this session, not in a module."""
    is_definition = isinstance(value, (FunctionType, type))
    return is_definition and getattr(value, "__module__", None) in ("__main__", None)


def _import_of(name: str, module: ModuleType) -> str:
    """Return the statement that binds `name` to a module."""
    full = module.__name__
    return f"import {full}" if full == name else f"import {full} as {name}"


def _import_from(name: str, value: object) -> str:
    """Return the statement that binds `name` to an object of a module; empty if none does."""
    module = getattr(value, "__module__", None)
    own = getattr(value, "__qualname__", "")
    holder = sys.modules.get(module) if isinstance(module, str) else None
    if holder is None or module in ("__main__", "builtins") or not own.isidentifier():
        return ""
    if getattr(holder, own, None) is not value:
        return ""
    return f"from {module} import {own}" + ("" if own == name else f" as {name}")


def _literal(value: object) -> str | None:
    """Return source text of a plain immutable value; None for any other."""
    if not _is_literal(value):
        return None
    text = repr(value)
    return text if len(text) <= _MAX_LITERAL and "nan" not in text and "inf" not in text else None


def _is_literal(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_is_literal, value))
    return type(value) in _LITERALS


def _names_in(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for inner in _all_codes(code):
        found |= set(inner.co_names)
    return {name for name in found if not hasattr(builtins, name)}


def _here() -> str:
    return sys.implementation.cache_tag or ""
