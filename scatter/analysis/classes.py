"""Classes without their tracked methods.

A tracked method is a function of its own, with versions of its own: editing it is no change of its
class. So a class is shipped and compared without them; a mark stands where each one was.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from scatter.analysis.functions import accessor_of
from scatter.analysis.reading import dotted, parse_definition
from scatter.analysis.records import FunctionNode
from scatter.analysis.scopes import expression_names
from scatter.analysis.text import Text
from scatter.analysis.walks import blocks, first_line

_MARK = "scatter method "

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

NameOf = Callable[[str], str]
"""Returns the full name of the method at a key (`Model.predict`) if it is tracked, else empty."""


class ClassText(NamedTuple):
    """A class without its tracked methods.

    Attributes:
        source: Its text.
        uses: Top-level names that what is left looks up.
        methods: Full names of the methods that were taken out, in order.

    """

    source: str
    uses: frozenset[str]
    methods: tuple[str, ...]


def without_methods(source: str, name_of: NameOf) -> ClassText:
    """Return a class with marks in place of its tracked methods.

    Args:
        source: The class, indentation kept.
        name_of: Tells which methods are tracked.

    """
    nodes = dict(_tracked(source, name_of))
    if not nodes:
        return ClassText(source, uses_of(source), ())
    lines = source.split("\n")
    shift = 2 if source[:1] in (" ", "\t") else 1
    for name, node in reversed(nodes.items()):
        first, last = first_line(node) - shift, (node.end_lineno or node.lineno) - shift
        indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
        lines[first : last + 1] = [f"{indent}{_MARK + name!r}"]
    stripped = "\n".join(lines)
    heads = (expression_names(node) - {"scatter", "track"} for node in nodes.values())
    uses = uses_of(stripped).union(*heads)  # the methods are made with the class, if it is new
    uses &= uses_of(source)  # a body may use the methods that were taken out
    return ClassText(stripped, uses, tuple(nodes))


def _tracked(source: str, name_of: NameOf) -> Iterator[tuple[str, FunctionNode]]:
    """Yield the tracked methods of a class, in order; of one defined twice, both."""
    for key, node in _methods(parse_definition(source).body, ""):
        name = name_of(key)
        if name:
            yield name, node


def _methods(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, FunctionNode]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _methods(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            accessor = accessor_of(node)
            if prefix:
                yield f"{prefix}{node.name}" + (f".{accessor}" if accessor else ""), node
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            for block in blocks(node):
                yield from _methods(block, prefix)


def with_methods(source: str, source_of: Callable[[str], str]) -> str:
    """Return a class with its methods in place of the marks.

    Args:
        source: The class, as `without_methods` gave it.
        source_of: Returns the text of the method of a full name.

    """
    lines = source.split("\n")
    names = dict(_marks(parse_definition(source), 2 if source[:1] in (" ", "\t") else 1))
    return "\n".join(source_of(names[n]) if n in names else line for n, line in enumerate(lines))


def without_track(source: str, skip: int) -> str:
    """Return a method without its `@track`, which would track it a second time.

    Args:
        source: The method with its decorators.
        skip: How many of them, from the top, belong to the process.

    """
    indented = source[:1] in (" ", "\t")
    tree = parse_definition(source)
    first = tree.body[0].body[0] if indented and isinstance(tree.body[0], ast.If) else tree.body[0]
    decorators = first.decorator_list[:skip] if isinstance(first, _FUNCTIONS) else []
    lines = source.split("\n")
    for node in decorators[-1:]:
        called = node.func if isinstance(node, ast.Call) else node
        if dotted(called).rpartition(".")[2] == "track":
            shift = 2 if indented else 1
            del lines[node.lineno - shift : (node.end_lineno or node.lineno) - shift + 1]
    return "\n".join(lines)


def marked(source: str) -> tuple[str, ...]:
    """Return the full names of the methods that were taken out of a class."""
    return tuple(name for _, name in _marks(parse_definition(source))) if _MARK in source else ()


def _marks(tree: ast.AST, first: int = 1) -> Iterator[tuple[int, str]]:
    """Yield (line, counted from 0; full name) of each mark, in order."""
    found = [
        (node.lineno - first, node.value.value.removeprefix(_MARK))
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and _is_mark(node)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    yield from sorted(found)


def _is_mark(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    text = value.value if isinstance(value, ast.Constant) else None
    return isinstance(text, str) and text.startswith(_MARK)


@lru_cache(maxsize=2048)
def uses_of(source: str) -> frozenset[str]:
    """Return the top-level names that a class looks up."""
    text = f"if 1:\n{source}" if source[:1] in (" ", "\t") else source
    parsed = Text(text, name="", file="<class>")
    (node,) = parsed.tree.body
    return parsed.uses(node)


def same_class(one: str, other: str, is_tracked: Callable[[str], bool] = lambda _: False) -> bool:
    """Return whether two classes differ at most in methods that are tracked.

    Args:
        one, other: Two definitions of a class, with or without their tracked methods.
        is_tracked: Whether the method at a key is tracked, beside those with `@scatter.track` in
            its usual spellings, and those that either of the two has a mark for.

    """
    if one == other:
        return True
    try:
        names = {name.rpartition(":")[2] for source in (one, other) for name in marked(source)}
        bare = _WithoutTracked(lambda key: key in names or is_tracked(key))
        return bare.dump(one) == bare.dump(other)
    except SyntaxError:
        return False


class _WithoutTracked(ast.NodeTransformer):
    """Removes tracked methods, and marks, from classes."""

    def __init__(self, is_tracked: Callable[[str], bool]) -> None:
        self._is_tracked = is_tracked
        self._prefix = ""

    def dump(self, source: str) -> str:
        """Return the tree of a class as text, without tracked methods."""
        return ast.dump(self.visit(parse_definition(source)))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outer, self._prefix = self._prefix, f"{self._prefix}{node.name}."
        self.generic_visit(node)
        self._prefix = outer
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _is_mark(node) else node

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
