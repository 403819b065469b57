"""scatter: live-reloadable functions for Python, through Redis.

    import scatter

    @scatter.track
    def score(x): ...

Edit and save under `scatter watch`, and every process that runs `scatter_agent.start()` has the
new version within milliseconds; `scatter.rollback("score")` goes back.

Importing this package connects to nothing and starts nothing.
"""

from __future__ import annotations

from scatter._version import __version__
from scatter.errors import (
    Ambiguous,
    Conflict,
    NotFound,
    Refused,
    ScatterError,
    StoreUnavailable,
    UsageError,
)
from scatter.track import track

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from typing import Any

    from scatter.api import cleanup, functions, get, init, push, release, rollback
    from scatter.ext.fastapi import integrate_app
    from scatter.ext.jupyter import load_ipython_extension
    from scatter.model import Release, Version
    from scatter.tracked import Tracked
    from scatter.whole import track_module

_LAZY = {
    "cleanup": "scatter.api",
    "functions": "scatter.api",
    "get": "scatter.api",
    "init": "scatter.api",
    "integrate_app": "scatter.ext.fastapi",
    "load_ipython_extension": "scatter.ext.jupyter",
    "push": "scatter.api",
    "release": "scatter.api",
    "rollback": "scatter.api",
    "Release": "scatter.model",
    "Tracked": "scatter.tracked",
    "Version": "scatter.model",
    "track_module": "scatter.whole",
}

__all__ = [
    "Ambiguous",
    "Conflict",
    "NotFound",
    "Refused",
    "Release",
    "ScatterError",
    "StoreUnavailable",
    "Tracked",
    "UsageError",
    "Version",
    "__version__",
    "cleanup",
    "functions",
    "get",
    "init",
    "integrate_app",
    "load_ipython_extension",
    "push",
    "release",
    "rollback",
    "track",
    "track_module",
]


def __getattr__(name: str) -> Any:
    """Import the verbs when they are first used: they bring the store with them."""
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'scatter' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
