"""Pickling of values of a notebook or REPL, with tracked functions as references by name.

The only module that imports cloudpickle, and only when something is captured. What it writes is
read by `scatter.linker.values`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from types import FunctionType
from typing import Any


def dump(value: object, tracked_name: Callable[[object], str | None]) -> tuple[bytes, set[str]]:
    """Return a value as a pickle, and the names of the tracked functions in it.

    Raises:
        Exception: Whatever cloudpickle raises for what it cannot pickle.

    """
    import cloudpickle  # heavy, and only notebooks need it

    named = set[str]()

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> str | None:
            name = tracked_name(obj) if type(obj) is FunctionType else None
            if name is not None:
                named.add(name)
            return name

    stream = io.BytesIO()
    Pickler(stream, protocol=5).dump(value)
    return stream.getvalue(), named
