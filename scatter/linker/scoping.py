"""Which names each scope of a tree binds, and what a name of a module leads to through imports.

The interpreter's symbol tables tell the same (`scatter.analysis.scopes`), but not for one node of
a tree: they know where a scope begins, not what stands in it.

Not here: what a name is used for (`mentions`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from scatter.analysis import Target
from scatter.analysis.imports import bindings_of, stars_in
from scatter.analysis.reading import globals_assigned_in

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Imports = Mapping[str, tuple[Target, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What one module, class or function binds.

    Attributes:
        kind: Names of a class are seen in its body alone, not in its methods.
        names: Names that are bound here.
        imports: Those that import statements bind → what to.
        outer: Names that are declared `global` here.
        stars: Modules of which everything is imported.

    """

    kind: Literal["module", "class", "function"]
    names: frozenset[str] = frozenset()
    imports: Imports = field(default_factory=dict)
    outer: frozenset[str] = frozenset()
    stars: tuple[str, ...] = ()


def scope_of(
    kind: Literal["module", "class", "function"],
    body: Iterable[ast.AST],
    package: str,
    given: Iterable[str] = (),
) -> Scope:
    """Return the scope that some nodes make.

    Args:
        kind: What it is the scope of.
        body: Its statements, or its expression.
        package: The package that relative imports begin from.
        given: Names that it is given: parameters.

    """
    nodes = list(_own(body))
    imports = _imports(nodes, package)
    outer = _declared(nodes, ast.Global)
    bound = {*given, *imports, *(name for node in nodes for name in _bound_by(node))}
    stars = stars_in((n for n in nodes if isinstance(n, ast.stmt)), package)
    return Scope(
        kind=kind,
        names=frozenset(bound - outer - _declared(nodes, ast.Nonlocal)),
        imports=imports,
        outer=outer,
        stars=stars,
    )


def scope_of_module(tree: ast.Module, package: str, text: str) -> Scope:
    """Return the scope of a module; what its functions import by `global` names is among it."""
    own = scope_of("module", tree.body, package)
    by_global = globals_assigned_in(tree) if "global " in text else frozenset[str]()
    if not by_global:
        return own
    everywhere = _imports(ast.walk(tree), package)
    late = {name: found for name, found in everywhere.items() if name in by_global}
    return Scope(
        kind="module",
        names=own.names | by_global,
        imports={**own.imports, **late},
        stars=own.stars,
    )


def scope_of_function(node: Function, package: str) -> Scope:
    """Return the scope of a function's body."""
    spec = node.args
    parameters = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
    parameters += [one for one in (spec.vararg, spec.kwarg) if one is not None]
    names = [parameter.arg for parameter in parameters]
    names += [parameter.name for parameter in getattr(node, "type_params", ())]
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    return scope_of("function", body, package, names)


def scope_of_comprehension(node: Comprehension) -> Scope:
    """Return the scope of a comprehension: what its `for` clauses bind."""
    targets = [generator.target for generator in node.generators]
    return scope_of("function", targets, "")


def _imports(nodes: Iterable[ast.AST], package: str) -> Imports:
    found: dict[str, tuple[Target, ...]] = {}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for binding in bindings_of(node, package):
                found[binding.name] = (*found.get(binding.name, ()), binding.target)
    return found


def _declared(nodes: Iterable[ast.AST], how: type[ast.Global | ast.Nonlocal]) -> frozenset[str]:
    return frozenset(name for node in nodes if isinstance(node, how) for name in node.names)


def _own(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of a scope, and those at the edge of the scopes inside it."""
    todo = list(body)
    while todo:
        node = todo.pop()
        yield node
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                todo += [*node.decorator_list, *_evaluated(node.args)]
            case ast.Lambda():
                todo += _evaluated(node.args)
            case ast.ClassDef():
                todo += [*node.decorator_list, *node.bases, *node.keywords]
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                todo.append(node.generators[0].iter)
                walrus = (n for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
                todo += [found.target for found in walrus]  # it binds outside the comprehension
            case _:
                todo += ast.iter_child_nodes(node)


def _evaluated(spec: ast.arguments) -> list[ast.expr]:
    """Return the defaults of parameters: they belong to the scope around a function."""
    return [*spec.defaults, *(default for default in spec.kw_defaults if default is not None)]


def _bound_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that one node binds, imports left out."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
        case _:
            return


class Names:
    """What a name of a module means, through imports from one module of the project to another."""

    def __init__(self, scopes: Callable[[str], Scope | None], modules: Iterable[str]) -> None:
        """Know nothing yet.

        Args:
            scopes: Returns the scope of a module; None if it is not of the project.
            modules: The modules of the project.

        """
        self._scopes = scopes
        self._packages = {
            ".".join(parts[:end])
            for parts in (module.split(".") for module in modules)
            for end in range(1, len(parts) + 1)
        }

    def meanings(self, target: Target, seen: frozenset[Target] = frozenset()) -> frozenset[Target]:
        """Return what a target may come to: a module, or a name where it is defined."""
        if not target.name or target in seen:
            return frozenset() if target.name else frozenset((target,))
        seen |= {target}
        scope = self._scopes(target.module)
        found = set[Target]()
        for further in scope.imports.get(target.name, ()) if scope else ():
            inner = Target(f"{target.module}.{target.name}")
            is_own = further == target  # `from . import name` in the package's own `__init__`
            found |= {inner} if is_own else self.meanings(further, seen)
        if scope is None or target.name in scope.names:
            is_bound = scope is None or target.name not in scope.imports
            found |= {target} if is_bound and not self._is_module(target) else set()
        elif scope.stars and not target.name.startswith("_"):
            for star in scope.stars:
                found |= self.meanings(Target(star, target.name), seen)
        if self._is_module(target) and not found:
            found.add(Target(f"{target.module}.{target.name}"))
        return frozenset(found)

    def _is_module(self, target: Target) -> bool:
        return f"{target.module}.{target.name}" in self._packages
