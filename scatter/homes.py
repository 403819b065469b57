"""Finds the home of a function's versions: its live module, or one made for fetched functions."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import weakref
from types import FunctionType, ModuleType
from typing import Any

from scatter.analysis import ModuleSource
from scatter.bases import (
    Base,
    base_of,
    base_of_module,
    deployed_code,
    is_of_project,
    module_name,
)
from scatter.errors import Refused
from scatter.linker import Functions, Home
from scatter.locks import ForkSafeLock
from scatter.names import function_name, split
from scatter.registry import Registry

_made: dict[str, ModuleType] = {}
_classes: dict[str, weakref.WeakValueDictionary[tuple[str, object], Any]] = {}
_newest: dict[str, weakref.WeakValueDictionary[str, type]] = {}
_lock = ForkSafeLock()


def home_of(registry: Registry, function: FunctionType, functions: Functions) -> Home:
    """Return the home of a function that the process was deployed with."""
    module = module_name(function)
    scope = _globals_of(function)
    base = base_of(function)
    source = base.source() if base and _is_base(base, function, scope) else None
    return _home(registry, scope, source, module, functions)


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
    return _is_initializing(sys.modules.get(function.__module__ or ""))


def _is_initializing(module: ModuleType | None) -> bool:
    spec = getattr(module, "__spec__", None)
    return bool(getattr(spec, "_initializing", False))  # what the import system itself asks


def home_for_fetched(registry: Registry, function: str, functions: Functions) -> Home:
    """Return the home of a function that was fetched: its module if it is imported here.

    A module is never imported for it; where there is none, one is made that nobody else sees.
    """
    module = split(function)[0]
    live = sys.modules.get(module) if module else None
    if live is None:
        return _made_home(registry, module, functions)
    return _live_home(registry, live, module, functions)


def _live_home(registry: Registry, live: ModuleType, module: str, functions: Functions) -> Home:
    source, sure = _base_in(live)
    return _home(registry, vars(live), source, module, functions, sure=sure)


def _made_home(registry: Registry, module: str, functions: Functions) -> Home:
    """Return a module of our own for code whose module this process does not have."""
    with _lock:
        live = _made.setdefault(module, ModuleType(module or "__scatter__"))
    return _home(registry, vars(live), None, module, functions, made=live)


def _home_beside(registry: Registry, module: str, functions: Functions, load: bool) -> Home:
    """Return the home of another module of the project.

    One that this process could import and has not is read only, until `load` asks for it: a
    function may import it when it runs.

    Raises:
        Refused: `missing-import`, when the module raises while it is imported.

    """
    live = sys.modules.get(module)
    if live is not None and not _is_initializing(live):
        return _live_home(registry, live, module, functions)
    if live is None and not load:
        source = _unimported_source(module)
        if source is None:
            return _made_home(registry, module, functions)
        return _home(registry, {}, source, module, functions, imported=False)
    return _live_home(registry, _imported(module), module, functions)


def _unimported_source(module: str) -> ModuleSource | None:
    """Return the source of a module that could be imported; None if there is no such module."""
    from scatter.analysis import ModuleSource, SourceError

    try:
        spec = importlib.util.find_spec(module)
        text = spec.loader.get_source(module) if spec and spec.loader else None  # type: ignore[attr-defined]
        file = spec.origin if spec and spec.origin else module
        return ModuleSource(text, name=module, file=file) if text is not None else None
    except (ImportError, AttributeError, ValueError, SourceError):
        return None


def _imported(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise Refused(
            "missing-import",
            f"Importing `{module}`, which the version needs, raised {type(error).__name__}: "
            f"{error}.",
            hint="Deploy that module, then push again.",
        ) from error


def _home(  # noqa: PLR0913 - a record
    registry: Registry,
    module_globals: dict[str, Any],
    base: ModuleSource | None,
    module: str,
    functions: Functions,
    *,
    made: ModuleType | None = None,
    imported: bool = True,
    sure: bool = True,
) -> Home:
    def is_tracked(key: str) -> bool:
        slot = registry.get(function_name(module, key))
        live = module_globals.get(key)
        return slot is not None or hasattr(live, "__scatter__")

    def beside(other: str, load: bool) -> Home:
        return _home_beside(registry, other, functions, load)

    return Home(
        module=module,
        live=made or sys.modules.get(module),
        globals=module_globals,
        base=base,
        made=made is not None,
        imported=imported,
        sure=sure,
        classes=_classes.setdefault(module, weakref.WeakValueDictionary()),
        is_tracked=is_tracked,
        newest=_newest.setdefault(module, weakref.WeakValueDictionary()),
        functions=functions,
        beside=beside,
    )


def project_source(module: ModuleType) -> ModuleSource | None:
    """Return the source of a module of the same project as what is tracked, if it is what runs."""
    return _base_in(module)[0] if is_of_project(module) else None


def _base_in(module: ModuleType) -> tuple[ModuleSource | None, bool]:
    """Return the source of an imported module, if it is what runs, and whether that is sure.

    It is judged by the module's functions; where it has none, by when its file changed.
    """
    base = base_of_module(module)
    if base is None:
        return None, False
    if base.believed is not None:
        return (base.source() if base.believed else None), base.sure
    for value in list(vars(module).values()):
        if isinstance(value, FunctionType) and deployed_code(value).co_filename == base.file:
            return (base.source() if _is_base(base, value, vars(module)) else None), base.sure
    return (base.source() if base.sure else None), base.sure
