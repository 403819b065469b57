"""Live objects of a session as text: where they were defined, or how another process has them.

Invariant: text stands for a function only if compiling it gives the function's own code.
"""

from __future__ import annotations

import builtins
import cmath
import linecache
import sys
from collections.abc import Collection
from types import CodeType, FunctionType, ModuleType

from scatter.analysis import FunctionSource, ModuleSource, SourceError

_LITERALS = (int, str, bytes, bool, type(None), type(...))
_MAX_LITERAL = 10_000
_FUTURE_MASK = 0x1000000 | 0x100000 | 0x800000  # annotations, generator_stop, barry_as_FLUFL


def source_of(function: FunctionType) -> tuple[ModuleSource, FunctionSource] | None:
    """Return the cell that defines a live function, and its source there."""
    code = function.__code__
    text = "".join(linecache.getlines(code.co_filename))
    cell = _parse(text, code.co_filename, _spellings_of_track(function))
    if cell is None:
        return None
    for source in cell.functions.values():
        if source.line == code.co_firstlineno and _compiles_to(text, code):
            return cell, source
    return None


def _spellings_of_track(function: FunctionType) -> frozenset[str]:
    """Return how a function's session writes `scatter.track`: another cell has imported it."""
    scatter = sys.modules["scatter"]
    names = [(name, value) for name, value in list(function.__globals__.items())]
    modules = {f"{name}.track" for name, value in names if value is scatter}
    return frozenset(modules | {name for name, value in names if value is scatter.track})


def _compiles_to(text: str, code: CodeType) -> bool:
    """Return whether some function in `text` compiles to exactly this code."""
    flags = code.co_flags & _FUTURE_MASK
    try:
        top = compile(text, code.co_filename, "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return any(inner == code for inner in _all_codes(top))


def _all_codes(code: CodeType) -> list[CodeType]:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return inner + [deep for c in inner for deep in _all_codes(c)]


def class_source_of(value: object) -> tuple[ModuleSource, FunctionSource] | None:
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
                key=definition.name,
                qualname=definition.name,
                source=definition.source,
                line=definition.line,
                last_line=definition.line,
                def_line=definition.line,
                uses=definition.uses,
            )
    return None


def _parse(text: str, file: str, track: frozenset[str] = frozenset()) -> ModuleSource | None:
    try:
        return ModuleSource(text, name="", file=file, track=track) if text else None
    except SourceError:  # a cell with magics; IPython registers what it made of them
        return None


def closure_of(function: FunctionType) -> list[tuple[str, object]]:
    """Return (name, value) of each variable that a function closes over."""
    cells = function.__closure__ or ()
    return [(n, c.cell_contents) for n, c in zip(function.__code__.co_freevars, cells, strict=True)]


def is_local(value: object) -> bool:
    """Return whether a function or class was defined in this session, not in a module."""
    is_definition = isinstance(value, (FunctionType, type))
    return is_definition and getattr(value, "__module__", None) in ("__main__", None)


def import_of(name: str, module: ModuleType, chains: Collection[str]) -> str:
    """Return the statements that bind `name` to a module, with its submodules that are used."""
    full = module.__name__
    lines = [f"import {full}" if full == name else f"import {full} as {name}"]
    for chain in sorted(chains):
        first, _, rest = chain.partition(".")
        inner = f"{full}.{rest}"
        if first == name and rest and isinstance(sys.modules.get(inner), ModuleType):
            lines.append(f"import {inner}" if full == name else f"import {inner} as _")
    return "\n".join(lines)


def import_from(name: str, value: object) -> str:
    """Return the statement that binds `name` to an object of a module; empty if none does."""
    module = getattr(value, "__module__", None)
    own = getattr(value, "__qualname__", "")
    holder = sys.modules.get(module) if isinstance(module, str) else None
    if holder is None or module in ("__main__", "builtins") or not own.isidentifier():
        return ""
    if getattr(holder, own, None) is not value:
        return ""
    return f"from {module} import {own}" + ("" if own == name else f" as {name}")


def literal_of(value: object, *, containers: bool = False) -> str | None:
    """Return source text of a plain value, immutable unless `containers`; None for any other."""
    if not _is_literal(value, containers):
        return None
    text = repr(value)
    return text if len(text) <= _MAX_LITERAL else None


def _is_literal(value: object, containers: bool) -> bool:
    if type(value) in (float, complex):
        return cmath.isfinite(value)  # type: ignore[arg-type]
    if type(value) is tuple or (containers and type(value) in (list, set)):
        return all(_is_literal(v, containers) for v in value)  # type: ignore[attr-defined]
    if containers and type(value) is dict:
        return all(_is_literal(v, containers) for pair in value.items() for v in pair)
    return type(value) in _LITERALS


def names_in(code: CodeType) -> set[str]:
    """Return the names that code may look up in its globals, attributes among them."""
    found = set(code.co_names)
    for inner in _all_codes(code):
        found |= set(inner.co_names)
    return {name for name in found if not hasattr(builtins, name)}
