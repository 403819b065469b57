"""Tracks whole modules: every function and method that one defines, with its source left alone.

`track_module(module)` does it for a module that is imported, `track_matching(patterns)` for all
those whose names match, the ones that are imported later included.

Not here: how functions are found (`scatter.finding`).

Invariants
1. A module is tracked after it was executed, whole, by the thread that imported it: nothing can run
   a version before.
2. What goes wrong here never reaches an import: it is logged.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from scatter import bases
from scatter._logging import log
from scatter.errors import NameTaken, UsageError
from scatter.finding import functions_of
from scatter.names import function_name, is_name, matches
from scatter.registry import REGISTRY

_OURS = ("scatter", "scatter_agent")


def track_module(module: ModuleType | str) -> tuple[str, ...]:
    """Track every function and method that a module defines, as if `@track` stood above each `def`.

    The source stays as it is, and so do the functions: they get no attributes. Decorators belong to
    the process and are not run again; what they hold is the function, which is switched. Property
    setters are `module:Class.x.setter`. A function that is tracked already keeps its name.

    Args:
        module: An imported module, or its name.

    Returns:
        The full names of the module's functions that are tracked now.

    Raises:
        UsageError: It is not imported, or has no source file.

    """
    found = sys.modules.get(module) if isinstance(module, str) else module
    if not isinstance(found, ModuleType):
        raise UsageError(f"track_module expects an imported module; found {module!r}. Import it.")
    base = bases.base_of_module(found)
    if base is None:
        raise UsageError(
            f"Module `{found.__name__}` has no source file that can be read, so its functions "
            "cannot be tracked as a whole. Use @scatter.track on them."
        )
    base = _renewed(base, found)
    base.sure = base.tracked = base.track_all = True
    return tuple(sorted(_track_all(found, base.module)))


def _renewed(base: bases.Base, module: ModuleType) -> bases.Base:
    """Return the source of a module; read again if the module was executed again."""
    prefix = function_name(base.module, "")
    stale = any(
        (slot := REGISTRY.get(f"{prefix}{key}")) is not None and slot.function is not function
        for key, function in functions_of(module).items()
    )
    if stale:
        bases.forget(base.file)
    return bases.base_of_module(module) or base


def _track_all(module: ModuleType, name: str) -> Iterable[str]:
    for key, function in functions_of(module).items():
        full = function_name(name, key)
        slot = REGISTRY.slot_of(function)
        if slot is not None:
            yield slot.name
        elif is_name(full):
            try:
                yield REGISTRY.add(full, function, bare=True).name
            except NameTaken as error:
                log().warning("scatter.not_tracked", function=full, message=str(error))


def track_matching(patterns: Sequence[str]) -> tuple[str, ...]:
    """Track all modules whose names match, now and when they are imported later.

    Args:
        patterns: As for `scatter.names.matches`.

    Returns:
        The full names of the functions that are tracked now.

    """
    finder = _installed() or _install()
    finder.patterns = tuple(dict.fromkeys((*finder.patterns, *patterns)))
    tracked: list[str] = []
    for name, module in list(sys.modules.items()):
        if finder.wants(_name_of(name, module)) and not _is_initializing(module):
            tracked += track_quietly(module)
    return tuple(tracked)


def _name_of(name: str, module: ModuleType) -> str:
    """Return the name by which a module's functions go: that of its file for `__main__`."""
    if name != "__main__":
        return name
    base = bases.base_of_module(module)
    return base.module if base else ""


def _is_initializing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def track_quietly(module: ModuleType) -> tuple[str, ...]:
    """Track a module as `track_module` does; what goes wrong is logged, and nothing is raised."""
    try:
        return track_module(module)
    except UsageError:
        return ()  # no source: an extension module, a namespace package
    except Exception as error:
        name = getattr(module, "__name__", "")
        log().warning("scatter.not_tracked", function=name, message=f"{error!r}")
        return ()


class _Finder(importlib.abc.MetaPathFinder):
    """Asks the other finders, and has what matches tracked once it was executed."""

    def __init__(self) -> None:
        self.patterns: tuple[str, ...] = ()
        self._asking = set[str]()

    def wants(self, module: str) -> bool:
        return module.partition(".")[0] not in _OURS and matches(module, self.patterns)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not self.wants(fullname):
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: importlib.machinery.ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                _track_after(spec.loader, self.wants)
                return spec
        return None


def _track_after(loader: Any, wants: Callable[[str], bool]) -> None:
    """Have a loader track the modules that it has executed and that are wanted.

    Most loaders belong to one module each; that of a zip file has all of the file's.
    """
    execute = getattr(loader, "exec_module", None)
    if execute is None or isinstance(loader, type):  # a class: of what is built in, or frozen
        return

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if wants(module.__name__):
            track_quietly(module)

    try:
        loader.exec_module = exec_module
    except AttributeError:
        return  # an extension module's loader: nothing to track


def will_track(module: str) -> bool:
    """Return whether a module is tracked as a whole when it is imported."""
    finder = _installed()
    return finder is not None and finder.wants(module)


def _installed() -> _Finder | None:
    return next((f for f in sys.meta_path if isinstance(f, _Finder)), None)


def _install() -> _Finder:
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    return finder
