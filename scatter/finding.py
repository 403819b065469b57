"""Finds the functions that a module defines, also behind decorators, without its source.

A module is tracked whole after it was imported: then a decorated function is no name of the module
any more, but something that a wrapper, a property or a registry holds. It is found from what the
module holds, and known by its code: the file, and the qualname that the compiler gave it.

Not here: the reading of text, which gives the same functions the same keys
(`scatter.analysis.functions`).

Invariant: a key that two functions could have is neither's.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from typing import Any

_DEEPEST = 8
_MOST_OBJECTS = 200_000
_LARGEST_CONTAINER = 5_000
_LEAVES = (int, float, complex, str, bytes, bool, type(None), CodeType, ModuleType, bytearray)


def functions_of(module: ModuleType) -> dict[str, FunctionType]:
    """Return key → function of every function and method that a module's file defines.

    Those inside other functions are left out, and those that nothing of the module leads to.
    """
    scope = vars(module)
    found = _Search(scope, getattr(module, "__file__", None) or "").run(scope, "")
    return _unique(found, scope, "")


def functions_in(owner: type, scope: dict[str, Any]) -> dict[str, FunctionType]:
    """Return key → method of every method that a class of a module's globals `scope` has."""
    names, prefix = dict(vars(owner)), f"{owner.__qualname__}."
    return _unique(_Search(scope, "").run(names, prefix), names, prefix)


def _unique(
    found: Iterator[tuple[str, FunctionType]], names: dict[str, Any], prefix: str
) -> dict[str, FunctionType]:
    """Return key → function; of several that share their code the one that is held under the key.

    Of several definitions nobody knows which one is meant: the next edit may add another.
    """
    by_key: dict[str, dict[int, FunctionType]] = {}
    for key, function in found:
        by_key.setdefault(key, {})[id(function)] = function
    chosen: dict[str, FunctionType] = {}
    for key, same in by_key.items():
        held = same.get(id(_held(key.removeprefix(prefix), names)))
        if len(same) == 1:
            chosen[key] = next(iter(same.values()))
        elif held is not None and len({function.__code__ for function in same.values()}) == 1:
            chosen[key] = held
    return chosen


def _held(key: str, names: dict[str, Any]) -> Any:
    """Return what is held under a key, without calling anything."""
    value: Any = None
    for name in key.split("."):
        value = names.get(name)
        names = dict(vars(value)) if isinstance(value, type) else {}
    return value


class _Search:
    """One walk through what a module or a class holds."""

    def __init__(self, scope: dict[str, Any], file: str) -> None:
        """Look for functions of these globals that this file defines; empty: any file."""
        self._scope = scope
        self._file = file
        self._seen = {id(scope)}
        self._todo: deque[tuple[Any, int]] = deque()

    def run(self, names: dict[str, Any], prefix: str) -> Iterator[tuple[str, FunctionType]]:
        yield from self._names_in(names, prefix)
        while self._todo and len(self._seen) < _MOST_OBJECTS:
            value, depth = self._todo.popleft()
            if isinstance(value, FunctionType):
                yield from self._function(value, "")
            elif isinstance(value, property):
                yield from self._accessors(value)
            elif isinstance(value, type):
                yield from self._class(value)
                continue
            if depth < _DEEPEST:
                self._look(value, depth)

    def _names_in(self, scope: dict[str, Any], prefix: str) -> Iterator[tuple[str, FunctionType]]:
        """Yield the lambdas that a module or class binds to a name; look at all it binds."""
        for name, value in list(scope.items()):
            if isinstance(value, FunctionType) and value.__code__.co_name == "<lambda>":
                yield from self._function(value, f"{prefix}{name}")
            self._add(value, 0)

    def _class(self, value: type) -> Iterator[tuple[str, FunctionType]]:
        if self._is_own_class(value):
            yield from self._names_in(dict(vars(value)), f"{value.__qualname__}.")

    def _is_own_class(self, value: type) -> bool:
        """Return whether a class is the module's; some say that they are of another one."""
        if value.__module__ == self._scope.get("__name__"):
            return True
        members = (getattr(m, "__func__", m) for m in list(vars(value).values()))
        return any(getattr(m, "__globals__", None) is self._scope for m in members)

    def _accessors(self, value: property) -> Iterator[tuple[str, FunctionType]]:
        for kind, function in (("setter", value.fset), ("deleter", value.fdel)):
            inner = _innermost(function)
            if isinstance(inner, FunctionType):
                self._seen.add(id(inner))
                yield from self._function(inner, f"{inner.__code__.co_qualname}.{kind}")
        self._add(value.fget, 0)

    def _function(self, function: FunctionType, key: str) -> Iterator[tuple[str, FunctionType]]:
        """Yield a function if this module's file defines it at its top level or in a class."""
        code = function.__code__
        place = key or code.co_qualname
        is_own = function.__globals__ is self._scope
        is_own = is_own and self._file in ("", code.co_filename)
        if is_own and "<" not in place and "<locals>" not in code.co_qualname:
            yield place, function

    def _look(self, value: Any, depth: int) -> None:
        """Look at what an object refers to."""
        for inner in gc.get_referents(value):
            self._add(inner, depth + 1)

    def _add(self, value: Any, depth: int) -> None:
        if isinstance(value, _LEAVES) or id(value) in self._seen:
            return
        if isinstance(value, (dict, list, set, tuple, frozenset, deque)):
            is_scope = isinstance(value, dict) and "__builtins__" in value
            if is_scope or len(value) > _LARGEST_CONTAINER:
                return
        self._seen.add(id(value))
        self._todo.append((value, depth))


def _innermost(function: Any) -> Any:
    """Return the function inside decorators that use `wraps`."""
    seen = set[int]()
    while hasattr(function, "__wrapped__") and id(function) not in seen:
        seen.add(id(function))
        function = function.__wrapped__
    return function
