"""Finds the modules whose functions a web application calls: endpoints, dependencies, handlers.

The framework's own objects are walked, whatever their names are in its next version. Not here: what
a function calls; that is found when a version is built.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import sysconfig
from collections import deque
from types import CellType, FunctionType, GenericAlias, MethodType, ModuleType, UnionType
from typing import Annotated, Any

from scatter._logging import log
from scatter.whole import track_quietly

_FRAMEWORKS = frozenset({"fastapi", "starlette", "flask", "werkzeug"})
_ANNOTATED: Any = type(Annotated[int, 1])
_ENTERED = (
    *(list, dict, tuple, set, frozenset, deque, CellType, MethodType, FunctionType),
    *(functools.partial, staticmethod, classmethod, GenericAlias, UnionType, _ANNOTATED),
)
_NOT_OWN = _FRAMEWORKS | {"scatter", "scatter_agent"}
_LIBRARY = os.path.realpath(sysconfig.get_paths()["stdlib"]) + os.sep


def track_app(app: Any) -> tuple[str, ...]:
    """Track the modules of the functions that an application has registered so far, each whole.

    Never raises: this runs in the first request. A module that cannot be tracked is logged.
    """
    try:
        found = [module for module in map(_module, _functions(app)) if module]
    except Exception as error:
        log().warning("scatter.not_tracked", function="", message=f"{error!r}")
        return ()
    modules = {module.__name__: module for module in found}
    return tuple(sorted({name for module in modules.values() for name in track_quietly(module)}))


def _functions(app: Any) -> list[FunctionType]:
    found, seen, todo = [], {id(app)}, deque([app])
    while todo:
        value = todo.popleft()
        if isinstance(value, FunctionType):
            found.append(value)
        for inner in gc.get_referents(value):
            if id(inner) not in seen and _leads_on(inner):
                seen.add(id(inner))
                todo.append(inner)
    return found


def _leads_on(value: Any) -> bool:
    """Return whether functions that the framework calls may lie behind a value."""
    if isinstance(value, dict) and "__builtins__" in value:
        return False  # the globals of a function: whatever its module knows
    framework = type(value).__module__.partition(".")[0]
    return isinstance(value, _ENTERED) or framework in _FRAMEWORKS


def _module(function: FunctionType) -> ModuleType | None:
    """Return the module of a function of the project's own; None of any other."""
    name = function.__globals__.get("__name__", "")
    module = sys.modules.get(name) if name.partition(".")[0] not in _NOT_OWN else None
    file = os.path.realpath(getattr(module, "__file__", None) or "")
    is_own = file.endswith(".py") and "site-packages" not in file and "dist-packages" not in file
    return module if is_own and not file.startswith(_LIBRARY) else None
