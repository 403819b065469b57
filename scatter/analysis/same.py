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
    """Return whether two trees are the same; most that are not differ soon.

    Without recursion: a sum of a thousand terms is a thousand levels deep.
    """
    todo = [(one, other)]
    while todo:
        a, b = todo.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, ast.AST):
            todo += [(getattr(a, name, None), getattr(b, name, None)) for name in a._fields]
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            todo += zip(a, b, strict=True)
        elif repr(a) != repr(b):  # 0.0 is not -0.0
            return False
    return True


def tree_text(source: str) -> str:
    """Return what two pieces of the same code have in common, on the running Python."""
    return ast.dump(parse_definition(source))
