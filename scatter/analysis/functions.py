"""Reads the functions of a module and of its classes, tracked or not.

Invariant: a function's key is its place: what the watcher finds in the text is what the process
finds by the same place in its code objects (`scatter.finding`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from scatter.analysis.reading import dotted
from scatter.analysis.records import FunctionNode, FunctionSource
from scatter.analysis.scopes import expression_names, used_globals
from scatter.analysis.text import Piece, Text
from scatter.analysis.walks import (
    class_level_names,
    first_line,
    members_used,
    name_argument,
    walk_functions,
)

ACCESSORS = ("setter", "deleter")


def read_functions(
    pieces: Sequence[Piece], spellings: frozenset[str], *, track_all: bool
) -> Mapping[str, FunctionSource]:
    """Return every function outside other functions, by key.

    Args:
        pieces: The module.
        spellings: How it may write `scatter.track`.
        track_all: Whether the module is tracked whole.

    """
    found: dict[str, FunctionSource] = {}
    for text, line in pieces:
        reader = _Functions(text, spellings, track_all)
        shift = line - text.first
        for read in text.kept("functions", (spellings, track_all), reader.all):
            function = _moved(read, shift) if shift else read
            before = found.get(function.key)
            found[function.key] = _chosen(before, function) if before else function
    return found


def _moved(function: FunctionSource, shift: int) -> FunctionSource:
    return replace(
        function,
        line=function.line + shift,
        last_line=function.last_line + shift,
        def_line=function.def_line + shift,
    )


def _is_overload(node: FunctionNode) -> bool:
    return any(dotted(d).rpartition(".")[2] == "overload" for d in node.decorator_list)


def _chosen(before: FunctionSource, after: FunctionSource) -> FunctionSource:
    """Return which of two definitions of one place is meant: a tracked one, else the later one.

    Two tracked ones leave it open.
    """
    if before.tracked and not after.tracked:
        return before
    return replace(after, twice=before.twice or before.tracked)


class _Functions:
    """One run of `read_functions` over a piece."""

    def __init__(self, text: Text, spellings: frozenset[str], track_all: bool) -> None:
        self._text = text
        self._spellings = spellings
        self._track_all = track_all
        self._class_names: dict[ast.ClassDef, frozenset[str]] = {}

    def all(self) -> tuple[FunctionSource, ...]:
        """Return what each function of the piece is."""
        return tuple(
            self.read(*found)
            for found in walk_functions(self._text.tree.body, "", None)
            if isinstance(found[1], ast.Assign) or not _is_overload(found[1])
        )

    def read(
        self, qualname: str, node: FunctionNode | ast.Assign, scope: ast.ClassDef | None
    ) -> FunctionSource:
        """Return what one function is: a `def`, or a lambda that a name is bound to."""
        first, last = first_line(node), node.end_lineno or node.lineno
        skip, given = 0, ""
        accessor, members = "", frozenset[str]()
        decorators = decorators_of(node)
        skip, given = self._find_track(decorators)
        tracked = self._track_all or skip > 0
        skip = skip or (len(decorators) if self._track_all else 0)
        if not isinstance(node, ast.Assign):
            accessor = accessor_of(node)
            members = (
                members_used(node, scope, self._names_of(scope)) if scope and tracked else members
            )
        outside = expression_names(node, skip)
        inside = used_globals(self._text.scopes.within(first, last))
        class_names = self._names_of(scope) & outside if scope and outside else frozenset()
        return FunctionSource(
            key=f"{qualname}.{accessor}" if accessor else qualname,
            qualname=qualname,
            source=self._text.of(node),
            line=first,
            last_line=last,
            def_line=node.lineno,
            uses=inside | (outside - class_names),
            class_names=tuple(sorted(class_names)),
            members=tuple(sorted(members)),
            tracked=tracked,
            tracked_name=given,
            skip=skip,
        )

    def _names_of(self, scope: ast.ClassDef) -> frozenset[str]:
        """Return the names that a class body binds."""
        if scope not in self._class_names:
            self._class_names[scope] = class_level_names(scope)
        return self._class_names[scope]

    def _find_track(self, decorators: list[ast.expr]) -> tuple[int, str]:
        """Return (decorators down to `@track`, its `name=`); (0, "") when it has none."""
        for position, decorator in enumerate(decorators, start=1):
            call = decorator if isinstance(decorator, ast.Call) else None
            if dotted(call.func if call else decorator) in self._spellings:
                return position, name_argument(call)
        return 0, ""


def decorators_of(node: FunctionNode | ast.Assign) -> list[ast.expr]:
    """Return the decorators of a function, from the top; of a lambda what is called with it."""
    if not isinstance(node, ast.Assign):
        return node.decorator_list
    found, value = list[ast.expr](), node.value
    while isinstance(value, ast.Call):
        found.append(value.func)
        value = value.args[0]
    return found


def accessor_of(node: FunctionNode) -> str:
    """Return `setter` or `deleter` if a decorator makes a function that of a property."""
    for decorator in node.decorator_list:
        owner, _, word = dotted(decorator).rpartition(".")
        if word in ACCESSORS and owner.rpartition(".")[2] == node.name:
            return word
    return ""


def read_inner(pieces: Iterable[Piece], line: int, name: str) -> FunctionSource | None:
    """Return the function of that name, at any depth, whose first line is `line`."""
    for piece in pieces:
        text, there = piece.text, line - piece.shift
        for node in ast.walk(text.tree):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if node.name == name and first_line(node) == there:
                return _inner(text, node, piece.shift)
    return None


def _inner(text: Text, node: FunctionNode, shift: int) -> FunctionSource:
    line = first_line(node)
    function = FunctionSource(
        key=node.name,
        qualname=node.name,
        source=text.of(node),
        line=line,
        last_line=node.end_lineno or line,
        def_line=node.lineno,
        uses=used_globals(text.scopes.at(node.lineno, node.name)),
        tracked=True,
        skip=len(node.decorator_list),
    )
    return _moved(function, shift)


def spellings_of_track(
    text: str, statements: Iterable[ast.stmt], known: frozenset[str]
) -> frozenset[str]:
    """Return every way in which a module may write `scatter.track`."""
    if "scatter" not in text:
        return known
    found = set(known)
    for node in statements:
        if isinstance(node, ast.Import):
            found |= {f"{a.asname or 'scatter'}.track" for a in node.names if a.name == "scatter"}
        elif isinstance(node, ast.ImportFrom) and node.module == "scatter" and not node.level:
            found |= {a.asname or "track" for a in node.names if a.name == "track"}
    return frozenset(found)
