"""Reads the top-level definitions of a module: their kinds, their text, what they use."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from scatter.analysis.bindings import demote, kind_of_block, merge, targets_of
from scatter.analysis.imports import read_import
from scatter.analysis.kinds import Kind, constructors_in, kind_of_assignment, mutated_names
from scatter.analysis.records import Definition
from scatter.analysis.text import Piece, Text
from scatter.analysis.walks import blocks, bound_by, first_line, is_type_checking


def read_definitions(pieces: Sequence[Piece]) -> Mapping[str, Definition]:
    """Return every top-level name that a module binds, but star imports."""
    changed = frozenset[str]().union(*(_changed_in(piece.text) for piece in pieces))
    found: dict[str, list[Definition]] = {}
    for text, line in pieces:
        shift = line - text.first
        for definition in text.kept("definitions", changed, _Definitions(text, changed).read):
            here = replace(definition, line=definition.line + shift) if shift else definition
            found.setdefault(definition.name, []).append(here)
    return demote({name: merge(bindings) for name, bindings in found.items()})


def _changed_in(text: Text) -> frozenset[str]:
    """Return the module's names that a piece of it changes in place."""
    return text.kept(
        "changed",
        None,
        lambda: frozenset[str]().union(*(_mutated(text, n) for n in text.tree.body)),
    )


def _mutated(text: Text, node: ast.stmt) -> frozenset[str]:
    """Return the module's names that a top-level statement changes in place."""
    names = text.remembered(node, "mutated", lambda: mutated_names(node))
    is_definition = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    return names & text.uses(node) if names and is_definition else names


class _Definitions:
    """One run of `read_definitions` over a piece."""

    def __init__(self, text: Text, changed: frozenset[str]) -> None:
        self._text = text
        self._changed = changed

    def read(self) -> tuple[Definition, ...]:
        return tuple(self._block(self._text.tree.body, typing_only=False))

    def _block(self, body: list[ast.stmt], *, typing_only: bool) -> Iterator[Definition]:
        """Yield what the statements of one block at module level bind."""
        for node in body:
            if isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.Match)):
                yield from self._compound(node, typing_only)
            else:
                yield from self._statement(node, typing_only)

    def _compound(self, node: ast.stmt, typing_only: bool) -> Iterator[Definition]:
        """Yield what an `if`, `try`, `with` or loop at module level binds.

        Under `if TYPE_CHECKING` nothing exists at run time. In any other block a name is an
        import if only imports (and constants, as fall-backs) bind it, and a function if several
        branches define one: the whole block is then its source, since only running it tells which
        branch is taken. Everything else in a block is read as if it stood alone.
        """
        if isinstance(node, ast.If) and is_type_checking(node.test):
            yield from self._block(node.body, typing_only=True)
            yield from self._block(node.orelse, typing_only=typing_only)
            return
        for name in bound_by(node):
            yield self._define(name, "state", node, typing_only=typing_only)
        inner: dict[str, list[Definition]] = {}
        for block in blocks(node):
            for definition in self._block(block, typing_only=typing_only):
                inner.setdefault(definition.name, []).append(definition)
        whole, uses = self._text.of(node), self._text.uses(node)
        for name, found in inner.items():
            kind = kind_of_block(found)
            if kind is None:
                yield from found
            else:
                yield Definition(
                    name=name,
                    kind=kind,
                    source=whole,
                    line=node.lineno,
                    uses=uses - inner.keys(),
                    typing_only=typing_only,
                    targets=targets_of(found),
                )

    def _statement(self, node: ast.stmt, typing_only: bool) -> Iterator[Definition]:
        """Yield what one simple statement, function or class at module level binds."""
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from read_import(node, self._text.package, typing_only=typing_only)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            is_class = isinstance(node, ast.ClassDef)
            kind: Kind = "class" if is_class else "function"
            if node.name in self._changed:
                kind = "state"
            yield self._define(node.name, kind, node, typing_only=typing_only)
        else:
            for name, kind, creatable in kind_of_assignment(node, self._changed):
                yield self._define(name, kind, node, creatable=creatable, typing_only=typing_only)

    def _define(
        self,
        name: str,
        kind: Kind,
        node: ast.stmt,
        *,
        creatable: bool = False,
        typing_only: bool = False,
    ) -> Definition:
        return Definition(
            name=name,
            kind=kind,
            source=self._text.of(node),
            line=first_line(node),
            uses=self._text.uses(node),
            creatable=creatable,
            typing_only=typing_only,
            constructors=constructors_in(node) if kind == "constant" else frozenset(),
        )
