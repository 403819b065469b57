"""Which of a module's names a piece of code looks up, by the interpreter's own symbol tables.

The alternative, walking the tree and keeping our own scopes, would repeat the compiler's rules
for comprehensions, classes, `nonlocal` and type parameters, and differ from them somewhere.
"""

from __future__ import annotations

import ast
import symtable
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Scopes:
    """The scopes directly inside one scope, found by line. Treat as frozen."""

    def __init__(self, children: Iterable[symtable.SymbolTable]) -> None:
        """Put them in order."""
        self._children = sorted(children, key=lambda child: child.get_lineno())
        self._lines = [child.get_lineno() for child in self._children]
        self._is_block = [child.get_type() != "function" for child in self._children]
        self._inner: dict[int, Scopes] = {}

    def within(self, first: int, last: int) -> list[symtable.SymbolTable]:
        """Return the outermost scopes, at any depth, that begin on lines `first` to `last`."""
        start = bisect_left(self._lines, first)
        found = self._children[start : bisect_right(self._lines, last)]
        if found or not start:
            return found
        before = start - 1  # a class (or a block of type parameters) around those lines,
        while before and not self._is_block[before]:
            before -= 1  # but not a lambda among its bases
        if before not in self._inner:
            self._inner[before] = Scopes(self._children[before].get_children())
        return self._inner[before].within(first, last)

    def at(self, line: int, name: str) -> list[symtable.SymbolTable]:
        """Return the scopes at any depth that a definition of that name on that line opens."""
        tables = _with_inner(self._children)
        return [t for t in tables if t.get_name() == name and t.get_lineno() == line]


def used_globals(tables: Iterable[symtable.SymbolTable]) -> frozenset[str]:
    """Return the global names used in these scopes and in all scopes inside them."""
    return frozenset(name for table in _with_inner(tables) for name in _globals_of(table))


def _globals_of(table: symtable.SymbolTable) -> Iterable[str]:
    """Return the global names of one scope; functions have a faster way to tell."""
    if isinstance(table, symtable.Function):
        return table.get_globals()
    return (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global())


def _with_inner(tables: Iterable[symtable.SymbolTable]) -> Iterator[symtable.SymbolTable]:
    for table in tables:
        yield table
        yield from _with_inner(table.get_children())


def expression_names(node: ast.stmt, skip: int = 0) -> frozenset[str]:
    """Return the names in the parts of a statement that the enclosing scope evaluates.

    Those are decorators (but the first `skip`), defaults, annotations and base classes of a
    definition, and all of any other statement. Bodies have scopes of their own, and so have lambdas
    and comprehensions: what is inside of those is no part of it.
    """
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        roots: list[ast.AST | None] = [*node.decorator_list[skip:], node.args, node.returns]
    elif isinstance(node, ast.ClassDef):
        roots = [*node.decorator_list, *node.bases, *node.keywords]
    elif isinstance(node, ast.AnnAssign):
        roots = [node.value]  # what `Final[int]` is does not make a constant less of one
    else:
        roots = [node]
    own = frozenset(parameter.name for parameter in getattr(node, "type_params", ()))
    return frozenset(n for root in roots if root is not None for n in _own_names(root, own))


def _own_names(root: ast.AST, own: frozenset[str]) -> Iterator[str]:
    """Yield the names that an expression looks up in the scope that evaluates it.

    The symbol tables know comprehensions at module level up to Python 3.11 only, so what those
    bind is told apart here; lambdas they know.
    """
    todo = [(root, own)]
    while todo:
        node, bound = todo.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                if name not in bound:
                    yield name
            case ast.Lambda(args=arguments):
                todo.append((arguments, bound))
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                first = node.generators[0].iter
                inner = bound | _targets(node.generators)
                todo.append((first, bound))
                todo += [(part, inner) for part in _parts(node) if part is not first]
            case _:
                todo += [(part, bound) for part in ast.iter_child_nodes(node)]


def _targets(generators: list[ast.comprehension]) -> frozenset[str]:
    """Return the names that comprehensions bind."""
    nodes = (node for generator in generators for node in ast.walk(generator.target))
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name))


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions of a comprehension, and of its generators."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.comprehension):
            yield from ast.iter_child_nodes(part)
        else:
            yield part
