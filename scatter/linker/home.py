"""Where a version is bound: the live module of its function, or a module made for it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Protocol

from scatter.analysis import ModuleSource
from scatter.bundle import Bundle


class Functions(Protocol):
    """The tracked functions that this process has, or is about to have."""

    def function(self, name: str) -> FunctionType | None:
        """Return the function of a full name, fetching it along; None if nobody has it."""

    def bundle(self, name: str) -> Bundle | None:
        """Return the version that the function of a full name is about to run, None likewise."""

    def adopt(self, name: str, function: FunctionType) -> None:
        """Take a function that a version has just made for the one of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The place where what belongs to one module is bound.

    Attributes:
        module: Name of the module; empty for notebooks.
        live: The module itself; None where there is none.
        globals: The dict of the module: the new code's globals, as they were the old code's.
        base: Source that the module was imported from; None where there is none (notebooks,
            modules made for what was fetched) or it is not what runs.
        sure: Whether `base` tells the values that constants had, too.
        made: The module was made here; nothing in it was deployed.
        imported: Whether the module is imported: a function may import it when it runs.
        classes: New classes of this module by name and code; see `scatter.linker.classes`.
        is_tracked: Whether the function at a key of this module has a slot here.
        newest: New classes by name, the one that was made last.
        functions: The tracked functions of this process.
        beside: Returns the home of another module of the project, importing it if it is asked to.

    """

    module: str
    live: ModuleType | None
    globals: dict[str, Any]
    base: ModuleSource | None
    made: bool
    imported: bool = True
    sure: bool = True
    classes: MutableMapping[tuple[str, object], Any]
    is_tracked: Callable[[str], bool]
    newest: MutableMapping[str, type]
    functions: Functions
    beside: Callable[[str, bool], Home]

    def resolve(self, name: str) -> FunctionType | None:
        """Return the function of a full name, tracked or about to be; None if unknown."""
        return self.functions.function(name)

    def has(self, name: str) -> bool:
        """Return whether the module has a name, or will have it once it is imported."""
        if self.imported or self.base is None:
            return name in self.globals
        return name in self.base.definitions
