"""Walking a module's tree by what its statements are: blocks, classes, functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from scatter.analysis.reading import dotted
from scatter.analysis.records import FunctionNode


def walk_functions(
    body: list[ast.stmt], prefix: str, scope: ast.ClassDef | None
) -> Iterator[tuple[str, FunctionNode, ast.ClassDef | None]]:
    """Yield (qualname, node, enclosing class) of functions outside other functions."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + node.name, node, scope
        elif isinstance(node, ast.ClassDef):
            yield from walk_functions(node.body, f"{prefix}{node.name}.", node)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            for block in blocks(node):
                yield from walk_functions(block, prefix, scope)


def walk_classes(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield (qualname, node) of classes outside functions."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            yield from walk_classes(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            for block in blocks(node):
                yield from walk_classes(block, prefix)


def flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a block and of the blocks inside it, but not of definitions."""
    for node in body:
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for block in blocks(node):
                yield from flat(block)


def blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the statement lists directly inside a compound statement."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if block:
            yield block
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body


def class_level_names(scope: ast.ClassDef) -> frozenset[str]:
    """Return the names that a class body binds directly."""
    names = set[str]()
    for node in scope.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return frozenset(names)


def members_used(node: FunctionNode, scope: ast.ClassDef) -> frozenset[str]:
    """Return the names of a class body that a method takes from `self`, `cls` or the class."""
    first = (*node.args.posonlyargs, *node.args.args)[:1]
    owners = {scope.name, *(argument.arg for argument in first)}
    taken = {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute)
        and isinstance(inner.value, ast.Name)
        and inner.value.id in owners
    }
    return class_level_names(scope) & taken


def first_line(node: ast.stmt) -> int:
    """Return the line on which a statement begins, that of its first decorator if it has one."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def is_type_checking(test: ast.expr) -> bool:
    """Return whether an `if` asks for type checkers."""
    return dotted(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING", "t.TYPE_CHECKING"}


def name_argument(call: ast.Call | None) -> str:
    """Return the literal value of `name=` in a call to `track`, else an empty string."""
    for keyword in call.keywords if call else ():
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""
