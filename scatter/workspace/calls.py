"""Calls of a function of the project, as its files have them.

Only calls that certainly mean the function: by its name in its own module, or by what another
module has imported it as. Methods are called through objects, whose class files do not tell.

Not here: which calls a function takes (`scatter.linker.signature`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scatter.analysis import ModuleSource
from scatter.analysis.imports import imports_in
from scatter.analysis.reading import dotted, parse
from scatter.analysis.records import Target

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call.

    Attributes:
        file, line: Where it is.
        count: How many arguments it gives by position.
        names: Those that it gives by name.
        more, others: Whether it spreads a sequence, or a mapping.

    """

    file: str
    line: int
    count: int
    names: tuple[str, ...]
    more: bool
    others: bool


def calls_in(source: ModuleSource, module: str, name: str) -> Iterator[Call]:
    """Yield the calls of the function `name` of a module that the text of a module has."""
    tree = parse(source.text)
    meant = dict[str, Target]()
    for binding in imports_in(tree, source.package):
        meant[binding.name] = binding.target
    if source.name == module:
        meant.setdefault(name, Target(module, name))
    for node in _shown(tree, frozenset()):
        if _target(dotted(node.func), meant) == (module, name):
            yield _call(node, source.file)


def _shown(node: ast.AST, hidden: frozenset[str]) -> Iterator[ast.Call]:
    """Yield the calls below a node but those by a name that a function around them binds."""
    for child in ast.iter_child_nodes(node):
        inner = hidden | _bound(child) if isinstance(child, _SCOPES) else hidden
        if isinstance(child, ast.Call) and dotted(child.func).partition(".")[0] not in inner:
            yield child
        yield from _shown(child, inner)


def _bound(scope: ast.AST) -> frozenset[str]:
    """Return the names that a function binds, its imports left out: those say what they mean."""
    names = {node.arg for node in ast.walk(scope) if isinstance(node, ast.arg)}
    names |= {
        node.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    inner = (node for node in ast.walk(scope) if node is not scope)
    names |= {n.name for n in inner if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return frozenset(names)


def _target(chain: str, meant: Mapping[str, Target]) -> tuple[str, str]:
    """Return the module and the name that a dotted name means; empty if that is not certain."""
    first, *rest = chain.split(".")
    target = meant.get(first)
    if target is None:
        return "", ""
    if target.name:
        return (target.module, target.name) if not rest else (_join(target), ".".join(rest))
    if not rest:
        return "", ""
    # `import a.b` binds `a`: the chain itself says how far the modules go
    module = ".".join([target.module, *rest[:-1]])
    return module, rest[-1]


def _join(target: Target) -> str:
    return f"{target.module}.{target.name}"


def _call(node: ast.Call, file: str) -> Call:
    plain = [arg for arg in node.args if not isinstance(arg, ast.Starred)]
    return Call(
        file=file,
        line=node.lineno,
        count=len(plain),
        names=tuple(k.arg for k in node.keywords if k.arg is not None),
        more=len(plain) < len(node.args),
        others=any(k.arg is None for k in node.keywords),
    )
