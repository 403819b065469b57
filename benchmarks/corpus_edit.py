"""A small edit to every function of a module: an extra assignment at the top of each body.

Not here: files, imports. Text goes in, text comes out.

Invariants
1. Nothing is removed or moved within its line: the edit only inserts, so signatures, decorators,
   comments and the layout stay what they were.
2. Functions inside functions are left alone: they belong to the outer one. So are those for type
   checkers, which are never defined.
3. A docstring stays the docstring, a generator stays a generator.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

MARK = "_scatter_corpus_edit"
"""The name that is assigned to. One underscore: two would be mangled in classes."""

_ASSIGNMENT = f"{MARK} = 1"

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Insertion(NamedTuple):
    """Text to insert at a line (from 0) and an offset in bytes, as `ast` counts columns."""

    line: int
    offset: int
    text: str


def edited(text: str, wanted: Callable[[str], bool] = lambda _: True) -> str:
    """Return a module's text with every function and method edited.

    A lambda that is bound to a name, alone or through decorators, is a function too: its body
    becomes the last item of a pair.

    Args:
        text: The module.
        wanted: Whether the function at a qualname is to be edited.

    """
    functions = functions_in(ast.parse(text).body)
    lines = text.split("\n")
    insertions = [i for name, node in functions if wanted(name) for i in _insertions(node, lines)]
    for line, offset, new in sorted(insertions, reverse=True):
        old = lines[line].encode()
        lines[line] = (old[:offset] + new.encode() + old[offset:]).decode()
    return "\n".join(lines)


def functions_in(
    body: list[ast.stmt], prefix: str = ""
) -> Iterator[tuple[str, Function | ast.Lambda]]:
    """Yield (qualname, node) of the functions outside other functions, in any block."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + node.name, node
            case ast.ClassDef():
                yield from functions_in(node.body, f"{prefix}{node.name}.")
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if function := _lambda_in(value):
                    yield prefix + name, function
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                yield from functions_in(node.orelse, prefix)
            case _:
                for block in _blocks(node):
                    yield from functions_in(block, prefix)


def _lambda_in(value: ast.expr) -> ast.Lambda | None:
    """Return the lambda that an expression is, or hands on, as `staticmethod(lambda: 1)` does."""
    match value:
        case ast.Lambda():
            return value
        case ast.Call(args=[argument], func=ast.Name() | ast.Attribute() | ast.Call()):
            return _lambda_in(argument)
    return None


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the statement lists directly inside a compound statement."""
    for field in ("body", "orelse", "finalbody"):
        if block := getattr(node, field, None):
            yield block
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body


def _insertions(function: Function | ast.Lambda, lines: list[str]) -> Iterator[Insertion]:
    """Yield what is inserted into one function."""
    if isinstance(function, ast.Lambda):
        yield from _around(function.body)
    elif ast.get_docstring(function, clean=False) is not None:
        yield _after(function.body[0])
    else:
        yield _before(function.body[0], lines)


def _around(body: ast.expr) -> Iterator[Insertion]:
    """Make a lambda's body the last item of a pair; the inner brackets are for a `yield`."""
    assert body.end_lineno is not None
    assert body.end_col_offset is not None
    yield Insertion(body.lineno - 1, body.col_offset, "(1, (")
    yield Insertion(body.end_lineno - 1, body.end_col_offset, "))[1]")


def _after(docstring: ast.stmt) -> Insertion:
    """Put the assignment behind a docstring, on its last line: more code may stand there too."""
    assert docstring.end_lineno is not None
    assert docstring.end_col_offset is not None
    return Insertion(docstring.end_lineno - 1, docstring.end_col_offset, f"; {_ASSIGNMENT}")


def _before(statement: ast.stmt, lines: list[str]) -> Insertion:
    """Put the assignment before the first statement, on a line of its own if that is a block.

    A block cannot share its line, so it begins one, with nothing but its indentation before it.
    """
    if not hasattr(statement, "body") and not isinstance(statement, ast.Match):
        return Insertion(statement.lineno - 1, statement.col_offset, f"{_ASSIGNMENT}; ")
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    line = min([statement.lineno, *(d.lineno for d in decorators)]) - 1
    indent = lines[line][: statement.col_offset]  # no more bytes than characters: it is blank
    return Insertion(line, statement.col_offset, f"{_ASSIGNMENT}\n{indent}")
