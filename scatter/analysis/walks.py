"""Walking a module's tree by what its statements are: blocks, classes, functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from scatter.analysis.reading import dotted, lambda_in
from scatter.analysis.records import FunctionNode
from scatter.analysis.scopes import expression_names


def walk_functions(
    body: list[ast.stmt], prefix: str, scope: ast.ClassDef | None
) -> Iterator[tuple[str, FunctionNode | ast.Assign, ast.ClassDef | None]]:
    """Yield (qualname, node, enclosing class) of functions outside other functions.

    A lambda is one if a statement does nothing but bind it, or what decorators make of it, to one
    name.
    """
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + node.name, node, scope
        elif isinstance(node, ast.Assign) and lambda_in(node.value):
            match node.targets:
                case [ast.Name(id=name)]:
                    yield prefix + name, node, scope
        elif isinstance(node, ast.ClassDef):
            yield from walk_functions(node.body, f"{prefix}{node.name}.", node)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            if isinstance(node, ast.If) and is_type_checking(node.test):
                yield from walk_functions(node.orelse, prefix, scope)
                continue
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
    """Return the names that a class body binds, whatever blocks they stand in."""
    return frozenset(name for node in flat(scope.body) for name in bound_by(node))


def read_before_bound(scope: ast.ClassDef) -> frozenset[str]:
    """Return the names that a class body looks up before it binds them itself: `LIMIT = LIMIT`.

    It finds them in the module, though the symbol table says that they are its own.
    """
    found, bound = set[str](), set[str]()
    for node in scope.body:
        found |= expression_names(node) - bound
        bound |= {name for inner in flat([node]) for name in bound_by(inner)}
    return frozenset(found & bound)


def bound_by(node: ast.stmt) -> Iterator[str]:
    """Yield the names that one statement binds; of a block, what its own line binds."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import() | ast.ImportFrom():
            yield from (a.asname or a.name.partition(".")[0] for a in node.names)
        case ast.Assign(targets=[ast.Name(id=name)]):
            yield name
        case ast.Assign(targets=targets):
            yield from (n for target in targets for n in _stored(target))
        case ast.AnnAssign(target=target) | ast.For(target=target) | ast.AsyncFor(target=target):
            yield from _stored(target)
        case ast.With(items=items) | ast.AsyncWith(items=items):
            yield from (n for i in items if i.optional_vars for n in _stored(i.optional_vars))
        case _:
            return


def _stored(target: ast.expr) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def members_used(node: FunctionNode, scope: ast.ClassDef, names: frozenset[str]) -> frozenset[str]:
    """Return which names of a class body a method takes from `self`, `cls` or the class."""
    first = (*node.args.posonlyargs, *node.args.args)[:1]
    owners = {scope.name, *(argument.arg for argument in first)}
    taken = {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute)
        and isinstance(inner.value, ast.Name)
        and inner.value.id in owners
    }
    return names & taken


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
