"""Whether two pieces of source are the same code: equal but for layout and comments."""

from __future__ import annotations

import ast

from scatter.analysis.reading import parse_definition


def same_code(one: str, other: str) -> bool:
    """Return whether two definitions have the same syntax tree on the running Python."""
    if one == other:
        return True
    try:
        return _same(parse_definition(one), parse_definition(other))
    except SyntaxError:
        return False


def _same(one: object, other: object) -> bool:
    """Return whether two trees are the same, however deep; most that are not differ soon."""
    todo = [(one, other)]
    while todo:
        one, other = todo.pop()
        if type(one) is not type(other):
            return False
        if isinstance(one, ast.AST):
            names = one._fields
            todo += [(getattr(one, name, None), getattr(other, name, None)) for name in names]
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            todo += zip(one, other, strict=True)
        elif repr(one) != repr(other):  # 0.0 is not -0.0
            return False
    return True


def tree_text(source: str) -> str:
    """Return what two pieces of the same code have in common, on the running Python."""
    return ast.dump(parse_definition(source))
