"""What an assignment at module level makes: a constant, which travels, or state, which stays.

A constant is an immutable literal or a pure expression of constants, bound once; an
`UPPER_CASE` list, dict or set display of such is a constant too if nothing in the module changes
it, and so is what a constructor of immutable values makes of them (`re.compile`, `Decimal`). All
else is state. State is *creatable* when making a fresh one elsewhere is harmless: an empty
container, a lock, a logger.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Literal

Kind = Literal["function", "class", "import", "constant", "state"]

_BUILT_IN = frozenset("frozenset tuple int float str bytes complex bool range slice".split())
_IMMUTABLE = frozenset(
    """
    compile Decimal Fraction Path PurePath PurePosixPath PureWindowsPath timedelta date time
    datetime timezone ZoneInfo UUID ip_address ip_network
    """.split()
)
"""Constructors of values that never change and whose `repr` tells them apart; called by a name that
was imported, or through an imported module."""
_FRESH = frozenset(
    """
    dict list set deque defaultdict OrderedDict Counter WeakKeyDictionary WeakValueDictionary
    WeakSet Lock RLock Event Condition Semaphore BoundedSemaphore local Queue LifoQueue
    SimpleQueue PriorityQueue ContextVar count getLogger get_logger object
    namedtuple NewType ParamSpec Struct TypeVar attrgetter itemgetter methodcaller partial
    """.split()
)
_MUTATORS = frozenset(
    """
    append extend insert remove pop clear sort reverse update setdefault popitem add discard
    difference_update intersection_update symmetric_difference_update appendleft
    """.split()
)
_MUTATING_CALLS = frozenset(
    """
    heappush heappop heapify heapreplace heappushpop insort insort_left insort_right shuffle
    setattr delattr
    """.split()
)
"""Functions of the standard library that change their first argument."""


def kind_of_assignment(node: ast.stmt, changed: frozenset[str]) -> Iterator[tuple[str, Kind, bool]]:
    """Yield (name, kind, creatable) for each name that a simple statement binds."""
    targets, value = _parts(node)
    if value is None:
        for name in _bound(node):
            yield name, "state", False
        return
    names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    for name in names:
        kind: Kind = "state"
        if isinstance(value, ast.Lambda) and len(names) == 1 and name not in changed:
            kind = "function"
        elif name not in changed and is_pure(value, tables=name.isupper()):
            kind = "constant"
        yield name, kind, kind == "state" and len(names) == 1 and is_fresh(value)


def _parts(node: ast.stmt) -> tuple[list[ast.expr], ast.expr | None]:
    """Return the targets and the value of an assignment; no value for any other statement."""
    if isinstance(node, ast.Assign):
        return node.targets, node.value
    if isinstance(node, ast.AnnAssign):
        return [node.target], node.value
    if type(node).__name__ == "TypeAlias":  # `type X = ...`, from Python 3.12 on
        alias: Any = node
        return [alias.name], alias.value
    return [], None


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that any other simple statement binds (`for`, `with`, walrus …)."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id


def is_pure(node: ast.expr, *, tables: bool) -> bool:
    """Return whether an expression is made of literals and names alone.

    Names count as pure here; whether they are constants themselves is seen when they are
    collected. With `tables`, list, dict and set displays are allowed too.
    """
    match node:
        case ast.Constant() | ast.Name():
            return True
        case ast.Attribute(value=ast.Name(), attr=attr) if attr.isupper():
            return True  # `re.IGNORECASE`; of a module that is no constructor's, it is state again
        case ast.List() | ast.Dict() | ast.Set() if not tables:
            return False
        case ast.Call() if constructor_of(node):
            values = (*node.args, *(k.value for k in node.keywords))
            return all(is_pure(value, tables=True) for value in values)
        case (
            ast.Tuple()
            | ast.List()
            | ast.Dict()
            | ast.Set()
            | ast.UnaryOp()
            | ast.BinOp()
            | ast.BoolOp()
            | ast.Compare()
            | ast.IfExp()
            | ast.JoinedStr()
            | ast.FormattedValue()
            | ast.Subscript()
            | ast.Slice()
            | ast.Starred()
        ):
            inner = (n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr))
            return all(is_pure(n, tables=tables) for n in inner)
        case _:
            return False


def constructor_of(call: ast.Call) -> str:
    """Return the module's name through which a call makes an immutable value; empty if it does not.

    Built-in constructors go by their own name.
    """
    match call.func:
        case ast.Name(id=name) if name in _BUILT_IN or name in _IMMUTABLE - {"compile"}:
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name) if name in _IMMUTABLE:
            return module
        case _:
            return ""


def constructors_in(node: ast.stmt) -> frozenset[str]:
    """Return the names that a statement uses only to make immutable values."""
    calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return frozenset(filter(None, map(constructor_of, calls)))


def is_fresh(node: ast.expr) -> bool:
    """Return whether evaluating an expression makes a new object and does nothing else."""
    match node:
        case ast.Constant():
            return True
        case ast.List(elts=[]) | ast.Dict(keys=[]):
            return True
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            values = (*node.args, *(k.value for k in node.keywords))
            return name in _FRESH and all(is_pure(value, tables=True) for value in values)
        case _:
            return False


def mutated_names(statement: ast.stmt) -> frozenset[str]:
    """Return every name that a statement rebinds through `global` or changes in place.

    Names that are local to a function in it are among them; the caller knows which are not.
    """
    changed = set[str]()
    for node in _walk(statement):
        match node:
            case ast.Global(names=names):
                changed.update(names)
            case ast.AugAssign(target=ast.Name(id=name)):
                changed.add(name)
            case (
                ast.Subscript(ctx=ast.Store() | ast.Del())
                | ast.Attribute(ctx=ast.Store() | ast.Del())
            ):
                changed.update(_base_of(node))
            case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr in _MUTATORS:
                changed.update(_base_of(owner))
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)) if (
                called in _MUTATING_CALLS
            ):
                changed.update(*map(_base_of, node.args[:1]))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                changed.update(_registries(node))
            case _:
                pass
    return frozenset(changed)


def _base_of(node: ast.expr) -> frozenset[str]:
    """Return the name at the beginning of `NAME["a"].b[0]`; none if there is another thing."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return frozenset({node.id} if isinstance(node, ast.Name) else ())


def _registries(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[str]:
    """Yield the names with which a definition registers itself: `@dispatch.register(int)`."""
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        match called:
            case ast.Attribute(value=ast.Name(id=name)):
                yield name
            case _:
                pass


def _walk(root: ast.AST) -> Iterator[ast.AST]:
    """Yield every node, in any order: `ast.walk` in less than half the time (m)."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        for name in node._fields or ():
            value = getattr(node, name, None)
            if isinstance(value, list):
                todo += [inner for inner in value if isinstance(inner, ast.AST)]
            elif isinstance(value, ast.AST):
                todo.append(value)
