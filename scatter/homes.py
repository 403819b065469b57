"""Finds the home of a function's versions: its live module, or one made for fetched functions."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from scatter.analysis import ModuleSource
from scatter.bases import Base, base_of, deployed_code, module_name
from scatter.linker import Home
from scatter.locks import ForkSafeLock
from scatter.names import function_name, split
from scatter.registry import Registry

Resolve = Callable[[str], FunctionType | None]

_made: dict[str, ModuleType] = {}
_classes: dict[str, weakref.WeakValueDictionary[tuple[str, object], Any]] = {}
_lock = ForkSafeLock()


def home_of(registry: Registry, function: FunctionType, resolve: Resolve) -> Home:
    """Return the home of a function that the process was deployed with."""
    module = module_name(function)
    scope = _globals_of(function)
    base = base_of(function)
    source = base.source() if base and _is_base(base, function, scope) else None
    return _home(registry, scope, source, module, resolve, fetched=False)


def _globals_of(function: FunctionType) -> dict[str, Any]:
    """Return the dict of a function's module; that of a decorator around it may be another."""
    scope = function.__globals__
    live = sys.modules.get(function.__module__ or "")
    return scope if live is None or scope.get("__name__") == live.__name__ else vars(live)


def _is_base(base: Base, function: FunctionType, scope: dict[str, Any]) -> bool:
    """Return whether a text is what was imported: all functions at hand are compiled from it."""
    if base.believed is None:
        live = [v for v in list(scope.values()) if isinstance(v, FunctionType)]
        codes = [deployed_code(v) for v in (function, *live)]
        own = [code for code in codes if code.co_filename == base.file]
        base.believed = all(map(base.is_source_of, own))
    return base.believed and base.is_source_of(deployed_code(function))


def is_importing(function: FunctionType) -> bool:
    """Return whether a function's module is being imported: later definitions are missing yet."""
    spec = getattr(sys.modules.get(function.__module__ or ""), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))  # what the import system itself asks


def home_for_fetched(registry: Registry, function: str, resolve: Resolve) -> Home:
    """Return the home of a function that was fetched: its module if it is imported here.

    A module is never imported for it; where there is none, one is made that nobody else sees.
    """
    module = split(function)[0]
    live = sys.modules.get(module) if module else None
    if live is None:
        with _lock:
            live = _made.setdefault(module, ModuleType(module or "__scatter__"))
        return _home(registry, vars(live), None, module, resolve, fetched=True)
    return _home(registry, vars(live), _source_of(live), module, resolve, fetched=False)


def _home(
    registry: Registry,
    module_globals: dict[str, Any],
    base: ModuleSource | None,
    module: str,
    resolve: Resolve,
    *,
    fetched: bool,
) -> Home:
    def is_tracked(qualname: str) -> bool:
        slot = registry.get(function_name(module, qualname))
        live = module_globals.get(qualname)
        return slot is not None or hasattr(live, "__scatter__")

    return Home(
        globals=module_globals,
        base=base,
        fetched=fetched,
        classes=_classes.setdefault(module, weakref.WeakValueDictionary()),
        is_tracked=is_tracked,
        resolve=resolve,
    )


def _source_of(module: ModuleType) -> ModuleSource | None:
    """Return the source of an imported module, judged by one of its functions."""
    for value in list(vars(module).values()):
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            base = base_of(value)
            return base.source() if base and _is_base(base, value, vars(module)) else None
    return None
