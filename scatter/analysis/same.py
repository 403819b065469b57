"""Whether two pieces of source are the same code: equal but for layout and comments."""

from __future__ import annotations

import ast
from functools import lru_cache

from scatter.analysis.reading import dotted, parse_definition


def same_code(one: str, other: str) -> bool:
    """Return whether two definitions have the same syntax tree on the running Python."""
    if one == other:
        return True
    try:
        return _dump(one) == _dump(other)
    except SyntaxError:
        return False


def same_class(one: str, other: str) -> bool:
    """Return whether two classes differ at most in methods that are tracked.

    Those are functions of their own, with versions of their own.
    """
    if one == other:
        return True
    try:
        return _dump_class(one) == _dump_class(other)
    except SyntaxError:
        return False


def tree_text(source: str) -> str:
    """Return what two pieces of the same code have in common, on the running Python."""
    return _dump(source)


@lru_cache(maxsize=512)
def _dump(source: str) -> str:
    """Return the tree of a definition as text, without positions."""
    return ast.dump(parse_definition(source))


@lru_cache(maxsize=128)
def _dump_class(source: str) -> str:
    """Return the tree of a class as text, tracked methods reduced to their names."""
    return ast.dump(_WithoutTracked().visit(parse_definition(source)))


class _WithoutTracked(ast.NodeTransformer):
    """Replaces each function that has `track` among its decorators by its name.

    By its usual spellings: under another one the class counts as changed, which is refused.
    """

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._reduced(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._reduced(node)

    def _reduced(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        called = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
        tracked = any(dotted(name) in ("scatter.track", "track") for name in called)
        return ast.Expr(ast.Constant(node.name)) if tracked else node
