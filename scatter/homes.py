"""Finds the home of a function's versions: its live module, or one made for fetched functions."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from scatter.analysis import ModuleSource, Target
from scatter.bases import (
    Base,
    base_of,
    base_of_module,
    deployed_code,
    is_of_project,
    module_name,
    project_modules,
)
from scatter.errors import Refused
from scatter.linker import Deployed, Functions, Home, Span, Subject
from scatter.locks import ForkSafeLock
from scatter.names import function_name, split
from scatter.registry import Registry
from scatter.slot import Linked, Slot

_made: dict[str, ModuleType] = {}
_classes: dict[str, weakref.WeakValueDictionary[tuple[str, object], Any]] = {}
_newest: dict[str, weakref.WeakValueDictionary[str, type]] = {}
_lock = ForkSafeLock()


def home_of(registry: Registry, function: FunctionType, functions: Functions) -> Home:
    """Return the home of a function that the process was deployed with."""
    module = module_name(function)
    scope = _globals_of(function)
    return _home(registry, scope, _source_of(function, scope), module, functions)


def _source_of(function: FunctionType, scope: dict[str, Any]) -> ModuleSource | None:
    """Return the source of a function's module, if it is what runs."""
    base = base_of(function)
    return base.source() if base and _is_base(base, function, scope) else None


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


def is_importing(module: str) -> bool:
    """Return whether a module is being imported: later definitions are missing yet."""
    return _is_initializing(sys.modules.get(module))


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
        is_slot = slot is not None and not (slot.fetched and slot.function is not live)
        return is_slot or hasattr(live, "__scatter__")

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


def subject_of(slot: Slot, linked: Linked) -> Subject | None:
    """Return a function whose signature a version changes; None if its source is not known."""
    function, old, new = slot.function, slot.shipped.target, linked.target
    scope = _globals_of(function)
    source = _source_of(function, scope)
    code = deployed_code(function)
    place = source.function_at(code.co_firstlineno, code.co_qualname) if source else None
    if source is None or place is None:
        return None
    if not (isinstance(old, FunctionType) and isinstance(new, FunctionType)):
        return None
    owner, _, name = place.qualname.rpartition(".")
    bases = _bases_of(scope, owner) if owner else []
    return Subject(
        function=slot.name,
        module=source.name,
        source=place,
        runs=(old, new),
        broken=linked.breaks,
        overrides=next(_overridden(bases, name), ""),
        ancestors=frozenset(Target(b.__module__, b.__qualname__) for b in bases if _is_ours(b)),
    )


def _bases_of(scope: dict[str, Any], owner: str) -> list[type]:
    """Return the classes that a live class inherits from."""
    first, *rest = owner.split(".")
    found: Any = scope.get(first)
    for name in rest:
        found = getattr(found, name, None)
    return list(found.__mro__[1:-1]) if isinstance(found, type) else []


def _overridden(bases: Iterable[type], name: str) -> Iterator[str]:
    """Yield the methods of other people's classes that a method of this name stands in for.

    Whoever wrote those may call it. That is not so of `__init__` where Python has it.
    """
    for base in bases:
        is_python = name == "__init__" and base.__module__ in ("builtins", "typing")
        if name in vars(base) and not (is_python or _is_ours(base)):
            yield f"{base.__module__}.{base.__qualname__}.{name}"


def _is_ours(base: type) -> bool:
    module = sys.modules.get(base.__module__)
    return module is not None and is_of_project(module)


def deployed_modules(registry: Registry) -> list[Deployed]:
    """Return the modules whose code may call tracked functions, as they were deployed.

    Those are the project's, and whatever else has such a function, its class or its module under a
    name: a script beside the project, a notebook.
    """
    slots: dict[str, list[Slot]] = {}
    for slot in registry.slots().values():
        slots.setdefault(deployed_code(slot.function).co_filename, []).append(slot)
    ours = {id(module): module for module in project_modules()}
    found = list(filter(None, (_deployed(module, slots) for module in ours.values())))
    ways = {id(way): module for same in slots.values() for way, module in _ways_to(same)}
    for module in list(sys.modules.values()):
        if id(module) not in ours and isinstance(module, ModuleType):
            reached = ways.keys() & map(id, list(vars(module).values()))
            if reached:
                known = _deployed(module, slots) or _without_source(module)
                found.append(replace(known, reaches=frozenset(ways[way] for way in reached)))
    return found


def _ways_to(slots: Iterable[Slot]) -> Iterator[tuple[object, str]]:
    """Yield functions, their classes and their modules, each with the name of its module."""
    for slot in slots:
        name = module_name(slot.function)
        yield slot.function, name
        live = sys.modules.get(slot.function.__module__ or "")
        if live is not None:
            yield live, name
            owner = slot.function.__qualname__.partition(".")[0]
            yield vars(live).get(owner, slot), name


def _deployed(module: ModuleType, slots: dict[str, list[Slot]]) -> Deployed | None:
    base = base_of_module(module)
    if base is None:
        return None
    return Deployed(
        module=base.module,
        file=base.file,
        text=base.text,
        sure=base.sure,
        spans=partial(_spans, module, slots.get(base.file, ())),
    )


def _without_source(module: ModuleType) -> Deployed:
    """Return a module without a file, of which no more is known than its names."""
    return Deployed(
        module=module.__name__,
        file="",
        text="\n".join(vars(module)),
        sure=False,
        spans=lambda: None,
    )


def _spans(module: ModuleType, slots: Iterable[Slot]) -> tuple[Span, ...] | None:
    """Return where the tracked functions of a module are; None if its source is not what runs."""
    source = _base_in(module)[0]
    if source is None:
        return None
    codes = [(slot.name, deployed_code(slot.function)) for slot in slots]
    found = [(n, source.function_at(c.co_firstlineno, c.co_qualname)) for n, c in codes]
    return tuple(
        Span(first=place.line, last=place.last_line, function=name)
        for name, place in found
        if place is not None
    )
