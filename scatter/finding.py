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
    file = getattr(module, "__file__", None) or ""
    found: dict[str, dict[int, FunctionType]] = {}
    for key, function in _Search(module, file).run():
        found.setdefault(key, {})[id(function)] = function
    return {key: next(iter(same.values())) for key, same in found.items() if len(same) == 1}


class _Search:
    """One walk through what a module holds."""

    def __init__(self, module: ModuleType, file: str) -> None:
        self._module = module
        self._file = file
        self._seen = {id(vars(module))}
        self._todo: deque[tuple[Any, int]] = deque()

    def run(self) -> Iterator[tuple[str, FunctionType]]:
        yield from self._names_in(vars(self._module), "")
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
        if value.__module__ == self._module.__name__:
            yield from self._names_in(dict(vars(value)), f"{value.__qualname__}.")

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
        is_own = code.co_filename == self._file and function.__globals__ is vars(self._module)
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
