"""Whether two pieces of source are the same code: equal but for layout and comments."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import lru_cache

from scatter.analysis.functions import accessor_of
from scatter.analysis.reading import dotted, parse_definition
from scatter.analysis.records import FunctionNode

IsTracked = Callable[[str], bool]


def same_code(one: str, other: str) -> bool:
    """Return whether two definitions have the same syntax tree on the running Python."""
    if one == other:
        return True
    try:
        return _dump(one) == _dump(other)
    except SyntaxError:
        return False


def same_class(one: str, other: str, is_tracked: IsTracked = lambda _: False) -> bool:
    """Return whether two classes differ at most in methods that are tracked.

    Those are functions of their own, with versions of their own.

    Args:
        one, other: Two definitions of a class.
        is_tracked: Whether the method at a key is tracked, beside those with `@scatter.track` in
            its usual spellings. (Under another one the class counts as changed, which is refused.)

    """
    if one == other:
        return True
    try:
        return _dump_class(one, is_tracked) == _dump_class(other, is_tracked)
    except SyntaxError:
        return False


def tree_text(source: str) -> str:
    """Return what two pieces of the same code have in common, on the running Python."""
    return _dump(source)


@lru_cache(maxsize=512)
def _dump(source: str) -> str:
    """Return the tree of a definition as text, without positions."""
    return ast.dump(parse_definition(source))


def _dump_class(source: str, is_tracked: IsTracked) -> str:
    """Return the tree of a class as text, without tracked methods."""
    return ast.dump(_WithoutTracked(is_tracked).visit(parse_definition(source)))


class _WithoutTracked(ast.NodeTransformer):
    """Removes tracked methods from classes."""

    def __init__(self, is_tracked: IsTracked) -> None:
        self._is_tracked = is_tracked
        self._prefix = ""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outer, self._prefix = self._prefix, f"{self._prefix}{node.name}."
        node.body = [kept for inner in node.body if (kept := self.visit(inner)) is not None]
        self._prefix = outer
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        return self._without(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST | None:
        return self._without(node)

    def _without(self, node: FunctionNode) -> ast.AST | None:
        called = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
        if any(dotted(name) in ("scatter.track", "track") for name in called):
            return None
        accessor = accessor_of(node)
        key = f"{self._prefix}{node.name}" + (f".{accessor}" if accessor else "")
        return None if self._prefix and self._is_tracked(key) else node
