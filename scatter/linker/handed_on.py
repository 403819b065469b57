"""Whether somebody may call a function who got it where it is defined.

A decorator may have put it into a table, one of its class may have done so with the class, and
Python itself calls methods such as `__len__` and the functions of a property.

Not here: code that names the function (`mentions`).
"""

from __future__ import annotations

import ast

from scatter.analysis import FunctionSource, Target
from scatter.analysis.reading import dotted, parse_definition
from scatter.linker.mentions import Role
from scatter.linker.scoping import Names
from scatter.linker.world import Module, World

_HARMLESS = frozenset(
    """
    track staticmethod classmethod abstractmethod override final deprecated no_type_check
    cache lru_cache wraps contextmanager asynccontextmanager
    """.split()
)
"""Decorators whose result calls the function with the very arguments that it is called with."""
_HARMLESS_TO_CLASSES = frozenset(
    "dataclass total_ordering final runtime_checkable define frozen mutable unique".split()
)


def role_of(source: FunctionSource) -> Role:
    """Return what a function is by its place and its decorators."""
    if "." not in source.qualname:
        return "function"
    if source.qualname.endswith(".__init__"):
        return "init"
    names = _names_of(source)
    if "staticmethod" in names:
        return "staticmethod"
    return "classmethod" if "classmethod" in names else "method"


def handed_on(source: FunctionSource, module: str, world: World) -> str:
    """Return how callers that cannot be seen may have got a function; empty if they cannot have.

    Args:
        source: Its deployed definition.
        module: The module that it is defined in.
        world: All code.

    """
    name = source.qualname.rpartition(".")[2]
    if source.key != source.qualname or _names_of(source) & {"property", "cached_property"}:
        return "it belongs to a property"
    if _is_dunder(name) and name != "__init__":
        return f"Python itself calls `{name}`"
    home = world.modules.get(module)
    if home is None:
        return f"the source of `{module}` is not known"
    for decorator in _decorators_of(source):
        if not _keeps_arguments(decorator, home, world):
            return f"`@{ast.unparse(decorator)}` may have handed it on"
    owner = home.classes.get(source.qualname.rpartition(".")[0])
    return _handed_on_with(owner, name) if owner else ""


def _handed_on_with(owner: ast.ClassDef, name: str) -> str:
    for decorator in owner.decorator_list:
        if _last_name(decorator) not in _HARMLESS_TO_CLASSES:
            return f"`@{ast.unparse(decorator)}` may have handed its class on"
    for keyword in owner.keywords if name == "__init__" else ():
        if keyword.arg == "metaclass" and _last_name(keyword.value) != "ABCMeta":
            return f"`{ast.unparse(keyword.value)}` makes the instances of its class"
    return ""


def _keeps_arguments(decorator: ast.expr, home: Module, world: World) -> bool:
    """Return whether what a decorator makes is called as the function is."""
    if _last_name(decorator) in _HARMLESS:
        return True
    found = _meanings_of(_called(decorator), home, world.names)
    return any(_passes_on(target, world) for target in found)


def _passes_on(target: Target, world: World) -> bool:
    """Return whether a decorator of the project only wraps functions, and keeps their arguments."""
    module = world.modules.get(target.module)
    return any(
        isinstance(node, ast.FunctionDef) and node.name == target.name and _is_wrapper(node)
        for node in (module.tree.body if module else ())
    )


def _meanings_of(node: ast.expr, module: Module, names: Names) -> frozenset[Target]:
    """Return what a dotted name at the top of a module may mean."""
    first, *rest = dotted(node).split(".")
    found = names.meanings(Target(module.module, first))
    for attribute in rest:
        modules = [target.module for target in found if not target.name]
        found = frozenset[Target]().union(*(names.meanings(Target(m, attribute)) for m in modules))
    return found


def _is_wrapper(decorator: ast.FunctionDef) -> bool:
    """Return whether a decorator does nothing with a function but wrap it, arguments unchanged.

    That is: `wraps` stands above a function of `*args, **kwargs` that hands them on.
    """
    for node in ast.walk(decorator):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for above in node.decorator_list:
            given = _wrapped(above)
            if given is not None and _hands_on(decorator, node, given.id):
                return True
    return False


def _wrapped(node: ast.AST) -> ast.Name | None:
    """Return the name that `wraps` is given; None if a node is another thing."""
    match node:
        case ast.Call(args=[ast.Name() as given]) if _last_name(node) == "wraps":
            return given
        case _:
            return None


def _hands_on(
    decorator: ast.FunctionDef, wrapper: ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> bool:
    """Return whether a wrapper calls a function with its own arguments, and nobody else gets it."""
    spec = wrapper.args
    if spec.vararg is None or spec.kwarg is None:
        return False
    if spec.posonlyargs or spec.args or spec.kwonlyargs:
        return False
    if not all(_last_name(above) in _HARMLESS for above in wrapper.decorator_list):
        return False
    passed = f"{name}(*{spec.vararg.arg}, **{spec.kwarg.arg})"
    harmless = set[ast.expr]()
    for node in ast.walk(decorator):
        match node:
            case ast.Call(func=function) if ast.unparse(node) == passed:
                harmless.add(function)
            case ast.Call() if (given := _wrapped(node)) is not None:
                harmless.add(given)
            case ast.Attribute(value=value) | ast.Return(value=ast.Name() as value):
                harmless.add(value)
    return all(
        node in harmless
        for node in ast.walk(decorator)
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
        and node.id in (name, wrapper.name)
    )


def _names_of(source: FunctionSource) -> set[str]:
    return {_last_name(decorator) for decorator in _decorators_of(source)}


def _decorators_of(source: FunctionSource) -> list[ast.expr]:
    for node in ast.walk(parse_definition(source.source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return node.decorator_list
    return []


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _last_name(node: ast.expr) -> str:
    return dotted(_called(node)).rpartition(".")[2]


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
