"""What import statements bind: a module, or a name of one, by absolute names.

Not here: whether there is such a module, and where its file is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from scatter.analysis.records import Definition, Target


class Binding(NamedTuple):
    """One name that an import statement binds.

    Attributes:
        name: The name.
        target: What it is bound to.
        source: A statement that binds this name alone.

    """

    name: str
    target: Target
    source: str


def package_of(module: str, *, is_package: bool) -> str:
    """Return the package that relative imports of a module begin from."""
    return module if is_package else module.rpartition(".")[0]


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the module that a `from` import names; as it is written if that cannot be told."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - node.level + 1]
    if not kept:
        return "." * node.level + (node.module or "")
    return ".".join([*kept, node.module] if node.module else kept)


def bindings_of(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[Binding]:
    """Yield what an import statement binds, but star imports and `__future__`."""
    for alias in node.names:
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            module = alias.name if alias.asname else alias.name.partition(".")[0]
            name = alias.asname or module
            yield Binding(name, Target(module), f"import {alias.name}{renamed}")
        elif alias.name != "*" and node.module != "__future__":
            module = absolute(node, package)
            source = f"from {module} import {alias.name}{renamed}"
            yield Binding(alias.asname or alias.name, Target(module, alias.name), source)


def read_import(
    node: ast.Import | ast.ImportFrom, package: str, *, typing_only: bool
) -> Iterator[Definition]:
    """Yield one definition for each name that an import statement binds."""
    for binding in bindings_of(node, package):
        yield Definition(
            name=binding.name,
            kind="import",
            source=binding.source,
            line=node.lineno,
            uses=frozenset(),
            typing_only=typing_only,
            targets=(binding.target,),
        )


def imports_in(tree: ast.AST, package: str) -> Iterator[Binding]:
    """Yield what every import statement in a tree binds, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from bindings_of(node, package)


def stars_in(statements: Iterator[ast.stmt], package: str) -> tuple[str, ...]:
    """Return the modules of star imports among statements, the one that wins first."""
    found = [
        absolute(node, package)
        for node in statements
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    ]
    return tuple(reversed(dict.fromkeys(found)))


def exported_by(statements: Iterable[ast.stmt]) -> frozenset[str] | None:
    """Return what `__all__` says that a module exports; None if it has none, or makes it."""
    names: frozenset[str] | None = None
    for node in statements:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                names = _texts(value)
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                names = _texts(value)
            case ast.AugAssign(target=ast.Name(id="__all__"), value=value):
                more = _texts(value)
                if names is None or more is None:
                    return None
                names |= more
            case _:
                pass
    return names


def _texts(node: ast.expr) -> frozenset[str] | None:
    elements = node.elts if isinstance(node, (ast.List, ast.Tuple, ast.Set)) else None
    if elements is None or not all(isinstance(e, ast.Constant) for e in elements):
        return None
    return frozenset(str(e.value) for e in elements if isinstance(e, ast.Constant))


def is_statement(source: str) -> bool:
    """Return whether the source of an import is the statement itself, and no block around it."""
    return source.lstrip().startswith(("import ", "from "))
