"""Where a version is bound: the live module of its function, or a module made for it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from scatter.analysis import ModuleSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The place where one function's versions are bound.

    Attributes:
        globals: The dict of the module: the new code's globals, as they were the old code's.
        base: Source that the module was imported from; None where there is none (notebooks,
            fetched functions) or it is not what runs.
        fetched: The module was made for fetched functions; nothing in it was deployed.
        classes: New classes of this module by name and code; see `scatter.linker.classes`.
        is_tracked: Whether the function at a qualname of this module has a slot here.
        resolve: Returns the function of a full name, tracked or about to be; None if unknown.

    """

    globals: dict[str, Any]
    base: ModuleSource | None
    fetched: bool
    classes: MutableMapping[tuple[str, object], Any]
    is_tracked: Callable[[str], bool]
    resolve: Callable[[str], FunctionType | None]
