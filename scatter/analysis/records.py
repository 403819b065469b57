"""What is read from a module's source, as values."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import NamedTuple

from scatter.analysis.kinds import Kind
from scatter.errors import ScatterError

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class SourceError(ScatterError, SyntaxError):
    """Source that is no Python; `lineno` and `offset` say where."""


class Target(NamedTuple):
    """What an import binds.

    Attributes:
        module: Absolute name of a module.
        name: The name in it; empty for the module itself.

    """

    module: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One top-level name of a module.

    Attributes:
        name: The name that it binds.
        kind: What it is; decides what a worker does with it.
        source: Its text, indentation kept. For an import: the one binding, normalised.
        line: First line in the file (of the first decorator), from 1.
        uses: Top-level names that it looks up when it runs or is evaluated.
        creatable: For state: evaluating `source` in another process gives a fresh, empty one.
        typing_only: Bound under `if TYPE_CHECKING`: not there at run time.
        constructors: Names among `uses` that it only calls to make immutable values.
        targets: For an import: what it binds; several where branches differ.

    """

    name: str
    kind: Kind
    source: str
    line: int
    uses: frozenset[str]
    creatable: bool = False
    typing_only: bool = False
    constructors: frozenset[str] = frozenset()
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSource:
    """One function or method, wherever classes nest it.

    Attributes:
        key: Its place in the module: the qualname, and `.setter` or `.deleter` for an accessor.
        qualname: `score` or `Model.predict`.
        source: Its text from the first decorator on, indentation kept.
        line: First line in the file (of the first decorator).
        last_line: Last line in the file.
        def_line: Line of the `def` itself.
        uses: Top-level names that it looks up.
        class_names: For a method: names of the class body that its defaults or decorators use.
        members: For a method: names that the class body binds and its code takes from `self`,
            `cls` or the class.
        tracked: Whether it is tracked: by `@scatter.track`, or with its module.
        tracked_name: The name that `@track(name=...)` gives it, else empty.
        skip: How many decorators, from the top, belong to the process: those above `@track` and
            itself; all of them in a module that is tracked whole.
        twice: Whether the scope defines the name more than once, and nothing tells which is meant.

    """

    key: str
    qualname: str
    source: str
    line: int
    last_line: int
    def_line: int
    uses: frozenset[str]
    class_names: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    tracked: bool = False
    tracked_name: str = ""
    skip: int = 0
    twice: bool = False
