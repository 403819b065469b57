"""Captured values: the only place that unpickles, after the caller has checked the bytes.

A tracked function inside a captured value is a reference by name, never a copy: what is loaded is
the function of this process, which goes on to follow its own versions.
"""

from __future__ import annotations

import ast
import io
import pickle
import sys
from collections.abc import Callable
from typing import Any

from scatter.bundle import Bundle, Item
from scatter.bundle.secrets import without_secrets
from scatter.errors import Refused

Resolve = Callable[[str], Any]


def check_python(bundle: Bundle) -> None:
    """Refuse pickles of another Python: they load, and crash the interpreter when called.

    Raises:
        Refused: `wrong-python`.

    """
    here = sys.implementation.cache_tag
    if bundle.python and bundle.python != here:
        raise Refused(
            "wrong-python",
            f"`{bundle.function}` carries captured values of {bundle.python}; "
            f"this process is {here}.",
            hint="Push it from a file, or from the same Python version.",
        )


def unpickle(data: bytes, name: str, bundle: Bundle, resolve: Resolve) -> Any:
    """Return a captured value.

    Raises:
        Refused: `missing-import`, `missing-function` or `link-failed`.

    """
    try:
        return _Unpickler(data, resolve).load()
    except Refused:
        raise
    except Exception as error:
        missing = isinstance(error, ImportError)
        raise Refused(
            "missing-import" if missing else "link-failed",
            f"The captured value of `{name}` in `{bundle.function}` cannot be loaded here: "
            f"{type(error).__name__}: {without_secrets(str(error))}.",
            hint="Install what it needs where it runs, or create the value at run time.",
        ) from error


def cell_value(cell: Item, bundle: Bundle, resolve: Resolve) -> Any:
    """Return the value that a closure has for one of its variables.

    Raises:
        Refused: As `unpickle`; `bad-bundle`, when a plain value is none.

    """
    if cell.kind == "captured":
        return unpickle(cell.pickle, cell.name, bundle, resolve)
    try:
        return ast.literal_eval(cell.source.partition("=")[2].strip())
    except (SyntaxError, ValueError) as error:
        raise Refused("bad-bundle", f"`{cell.name}` is no plain value: {error}.") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, resolve: Resolve) -> None:
        super().__init__(io.BytesIO(data))
        self._resolve = resolve

    def persistent_load(self, pid: Any) -> Any:
        function = self._resolve(str(pid))
        if function is None:
            raise Refused(
                "missing-function",
                f"`{pid}` is a tracked function that this process does not have, and the "
                "namespace has no version of it.",
                hint=f"Push `{pid}` too.",
            )
        return function
