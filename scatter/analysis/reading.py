"""Small readings of syntax trees that several modules need."""

from __future__ import annotations

import ast


def parse_definition(source: str) -> ast.Module:
    """Parse a definition, which stands indented if it stood in a class or block."""
    return ast.parse(f"if 1:\n{source}" if source[:1] in (" ", "\t") else source)


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
