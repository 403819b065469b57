"""Small readings of syntax trees that several modules need."""

from __future__ import annotations

import ast

_TRIES = 20


def parse(text: str, file: str = "<source>") -> ast.Module:
    """Parse text; as `ast.parse`, also where other threads parse at the same time.

    CPython counts the depth of a tree in one place for all threads, and raises `SystemError` when
    they take turns in the middle of one (python/cpython#106905).

    Raises:
        SyntaxError: It is no Python.

    """
    for _ in range(_TRIES):
        try:
            return ast.parse(text, file)
        except SystemError:
            continue
    return ast.parse(text, file)


def parse_definition(source: str) -> ast.Module:
    """Parse a definition, which stands indented if it stood in a class or block."""
    return parse(f"if 1:\n{source}" if source[:1] in (" ", "\t") else source)


def lambda_in(node: ast.expr) -> ast.Lambda | None:
    """Return the lambda that an expression is, or hands to decorators called by name."""
    while isinstance(node, ast.Call) and len(node.args) == 1 and dotted(_called(node)):
        node = node.args[0]
    return node if isinstance(node, ast.Lambda) else None


def _called(call: ast.Call) -> ast.expr:
    """Return what a call calls; of `track(name="x")(f)` it is `track`."""
    return call.func.func if isinstance(call.func, ast.Call) else call.func


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for a dotted name, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def chains_in(tree: ast.AST) -> frozenset[str]:
    """Return every dotted name in a tree, and its beginnings: `xml.dom`, `xml.dom.x`."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return frozenset(filter(None, map(dotted, nodes)))


def globals_assigned_in(tree: ast.AST) -> frozenset[str]:
    """Return the names that a tree binds through `global`."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Global))
    return frozenset(name for node in nodes for name in node.names)
