"""What a bundle holds.

Not here: bytes (`codec`), and where definitions stand in their files: positions belong to the
version, so that code which only moved is the same bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ItemKind = Literal["function", "class", "import", "constant", "state", "tracked", "captured"]
ITEM_KINDS: tuple[ItemKind, ...] = (
    "function",
    "class",
    "import",
    "constant",
    "state",
    "tracked",
    "captured",
)

ALLOWABLE = (
    "class-changed",
    "constant-changed-at-run-time",
    "kind-changed",
    "missing-member",
    "missing-name",
    "signature-changed",
)
"""Reasons to refuse a version over which whoever pushes it may go: it can be bound all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One top-level name that the function needs, directly or through another item.

    Attributes:
        kind: What it is at the place it was pushed from. `tracked` is another tracked function,
            named in `source` and not shipped; `captured` is a pickled value.
        name: The name that the code looks up.
        source: Its text, indentation kept. Empty for state that only its own process can make.
        pickle: For `captured`: what cloudpickle gave.
        uses: Items that it leads to: the name of one of the same part, `module:name` of another.

    """

    kind: ItemKind
    name: str
    source: str = ""
    pickle: bytes = b""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The items that belong to one module, in the order of its file.

    Attributes:
        module: Module name; empty for a notebook.
        future: Names imported from `__future__` there.
        items: What is needed from it.
        is_package: Whether it is the `__init__` of a package: relative imports begin there.

    """

    module: str
    future: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    is_package: bool = False

    def key(self, name: str) -> str:
        """Return a name of this part as another part's items have it."""
        return f"{self.module}:{name}"

    @property
    def package(self) -> str:
        """The package that relative imports of the module begin from."""
        return self.module if self.is_package else self.module.rpartition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One version of one function, and what it needs.

    Attributes:
        function: Full name of the function.
        qualname: Where its `def` stands in the module: `score`, `Model.predict`.
        source: Text of the `def` with its decorators, indentation kept.
        skip: How many of its decorators, from the top, are not re-run (`@track` and above).
        uses: Items that it leads to, as in `Item`.
        class_names: For a method: names of the class body that its defaults use.
        members: For a method: names of the class body that its code takes from its object.
        unknown: Names that the code looks up and their module does not define; `module:name` for
            other modules than the function's own.
        parts: Items by module; the first part is the function's own module.
        python: Cache tag of the only interpreter that can load it; empty: any Python.
        pickle: The whole function pickled, where its source is not to be had.
        allow: Reason codes for which processes shall not refuse it: whoever pushed it knows.
        cells: For a closure: pickled values of its free variables, in order of their names.

    """

    function: str
    qualname: str
    source: str
    skip: int = 0
    uses: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    parts: tuple[Part, ...]
    python: str = ""
    pickle: bytes = b""
    allow: tuple[str, ...] = ()
    cells: tuple[Item, ...] = ()

    @property
    def module(self) -> str:
        """Name of the function's own module; empty for a notebook."""
        return self.parts[0].module

    @property
    def items(self) -> tuple[Item, ...]:
        """What is needed from the function's own module."""
        return self.parts[0].items
