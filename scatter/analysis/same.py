"""Whether two pieces of source are the same code: equal but for layout and comments."""

from __future__ import annotations

import ast
from functools import lru_cache

from scatter.analysis.reading import parse_definition


def same_code(one: str, other: str) -> bool:
    """Return whether two definitions have the same syntax tree on the running Python."""
    if one == other:
        return True
    try:
        return _dump(one) == _dump(other)
    except SyntaxError:
        return False


def tree_text(source: str) -> str:
    """Return what two pieces of the same code have in common, on the running Python."""
    return _dump(source)


@lru_cache(maxsize=512)
def _dump(source: str) -> str:
    """Return the tree of a definition as text, without positions."""
    return ast.dump(parse_definition(source))
