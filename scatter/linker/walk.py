"""A walk through code that knows, wherever it stands, what a name may mean.

Not here: what is looked for (`mentions`), what scopes bind (`scoping`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from scatter.analysis import Target
from scatter.linker.scoping import (
    Comprehension,
    Imports,
    Names,
    Scope,
    scope_of,
    scope_of_comprehension,
    scope_of_function,
)


class Code(NamedTuple):
    """A tree to walk through.

    Attributes:
        module, package: The module that its globals are of.
        body: The statements.
        scope: Its outermost scope.
        overlay: What its own import statements, which stand elsewhere, bind.
        tracked: Names of tracked functions in it → where those are.
        within: Qualname of the class around it.
        names: What names of modules mean.
        is_class: Whether there is a class at a place.

    """

    module: str
    package: str
    body: list[ast.stmt]
    scope: Scope
    overlay: Imports
    tracked: dict[str, Target]
    within: str
    names: Names
    is_class: Callable[[Target], bool]


class Class(NamedTuple):
    """A class that code defines.

    Attributes:
        place: Where it is; None inside a function.
        bases: What each of its bases may be, but those that have no `__init__`.
        makes_init: Whether it has an `__init__` of its own.

    """

    place: Target | None
    bases: tuple[frozenset[Target], ...]
    makes_init: bool


class Walk(ast.NodeVisitor):
    """One walk.

    Attributes:
        classes: Those that were passed.

    """

    def __init__(self, code: Code) -> None:
        """Begin at the top of the code."""
        self.classes: list[Class] = []
        self._code = code
        self._scopes = [code.scope]
        self._around: list[Target | None] = []
        if code.within:
            self._scopes.append(Scope(kind="class"))
            self._around.append(Target(code.module, code.within))

    def run(self) -> None:
        """Visit everything."""
        for node in self._code.body:
            self.visit(node)

    # what subclasses look at -----------------------------------------------------------------

    def enter(self) -> None:
        """Be told that a scope begins."""

    def leave(self) -> None:
        """Be told that it ends."""

    def decorator(self, node: ast.expr) -> None:
        """Visit a decorator."""
        self.visit(node)

    def types(self, *nodes: ast.AST | None) -> None:
        """Visit where a class stands for its instances: annotations, bases."""
        for node in nodes:
            if node is not None:
                self.visit(node)

    # what names mean -------------------------------------------------------------------------

    @property
    def around(self) -> Target | None:
        """The innermost class around the code; None if there is none, or it is in a function."""
        return self._around[-1] if self._around else None

    @property
    def is_in_body(self) -> bool:
        """Whether the code stands directly in a class."""
        return self._scopes[-1].kind == "class"

    def is_global(self, name: str) -> bool:
        """Return whether a name is looked up in the module."""
        return self._scope_with(name) is self._scopes[0]

    def _scope_with(self, name: str) -> Scope:
        """Return the scope that a name is looked up in."""
        innermost = self._scopes[-1]
        for scope in reversed(self._scopes[1:]):
            if name in scope.outer:
                break
            if name in scope.names and (scope.kind != "class" or scope is innermost):
                return scope
        return self._scopes[0]

    def meanings(self, node: ast.expr) -> frozenset[Target]:
        """Return what a dotted name may mean: modules, and names of modules."""
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if not isinstance(node, ast.Attribute):
            return frozenset()
        modules = [target.module for target in self.meanings(node.value) if not target.name]
        found = (self._code.names.meanings(Target(module, node.attr)) for module in modules)
        return frozenset[Target]().union(*found)

    def _name(self, name: str) -> frozenset[Target]:
        code, scope = self._code, self._scope_with(name)
        targets = scope.imports.get(name, ())
        if scope is self._scopes[0]:
            if name in code.tracked:
                return frozenset((code.tracked[name],))
            targets = code.overlay.get(name) or (Target(code.module, name),)
        return frozenset[Target]().union(*map(code.names.meanings, targets))

    # scopes on the way -----------------------------------------------------------------------

    @contextmanager
    def _inside(self, scope: Scope, *around: Target | None) -> Iterator[None]:
        self.enter()
        self._scopes.append(scope)
        self._around.extend(around)
        yield
        del self._around[len(self._around) - len(around) :]
        self._scopes.pop()
        self.leave()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Visit what is evaluated outside, then the body."""
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """Visit what is evaluated outside, then the body."""
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Visit what is evaluated outside, then the body."""
        self._parameters(node.args)
        with self._inside(scope_of_function(node, self._code.package)):
            self.visit(node.body)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for above in node.decorator_list:
            self.decorator(above)
        self.types(node.returns)
        self._parameters(node.args)
        with self._inside(scope_of_function(node, self._code.package)):
            for statement in node.body:
                self.visit(statement)

    def _parameters(self, spec: ast.arguments) -> None:
        parameters = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
        parameters += [one for one in (spec.vararg, spec.kwarg) if one is not None]
        self.types(*(parameter.annotation for parameter in parameters))
        for default in (*spec.defaults, *spec.kw_defaults):
            if default is not None:
                self.visit(default)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Note the class, and visit it."""
        for above in node.decorator_list:
            self.decorator(above)
        self.types(*node.bases)
        for keyword in node.keywords:
            self.visit(keyword.value)
        place = self._place(node.name)
        bases = tuple(self.meanings(unsubscripted(base)) for base in node.bases if _counts(base))
        self.classes.append(Class(place, bases, _makes_init(node)))
        with self._inside(scope_of("class", node.body, self._code.package), place):
            for statement in node.body:
                self.visit(statement)

    def _place(self, name: str) -> Target | None:
        """Return where a class is that is defined here; None inside a function."""
        if any(scope.kind == "function" for scope in self._scopes):
            return None
        outer = self.around
        return Target(self._code.module, f"{outer.name}.{name}" if outer else name)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        """Visit a comprehension; only its first iterable is evaluated outside."""
        self._comprehension(node, node.elt)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        """Visit a comprehension; only its first iterable is evaluated outside."""
        self._comprehension(node, node.elt)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        """Visit a comprehension; only its first iterable is evaluated outside."""
        self._comprehension(node, node.elt)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        """Visit a comprehension; only its first iterable is evaluated outside."""
        self._comprehension(node, node.key, node.value)

    def _comprehension(self, node: Comprehension, *results: ast.expr) -> None:
        first, *rest = node.generators
        self.visit(first.iter)
        with self._inside(scope_of_comprehension(node)):
            for generator in node.generators:
                for part in (generator.target, *generator.ifs):
                    self.visit(part)
            for part in (*(generator.iter for generator in rest), *results):
                self.visit(part)


def classes_in(code: Code) -> list[Class]:
    """Return every class that some code defines."""
    walk = Walk(code)
    walk.run()
    return walk.classes


def last_name(node: ast.expr) -> str:
    """Return the last part of a dotted name; empty if a node is no name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def unsubscripted(node: ast.expr) -> ast.expr:
    """Return `Model` for `Model[int]`."""
    return node.value if isinstance(node, ast.Subscript) else node


def _counts(base: ast.expr) -> bool:
    """Return whether a base class can have an `__init__` of its own."""
    return last_name(unsubscripted(base)) not in ("object", "ABC", "Generic", "Protocol")


def _makes_init(node: ast.ClassDef) -> bool:
    """Return whether a class has an `__init__` of its own, or is given one by a decorator."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    defined = any(isinstance(n, functions) and n.name == "__init__" for n in node.body)
    return defined or bool(node.decorator_list)
