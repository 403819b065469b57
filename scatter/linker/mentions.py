"""Finds where code mentions a function: the calls of it, and what else is done with it.

A function of a module is told by its name, followed through scopes and imports. A method is told
by its name alone, whatever it is taken from: `x.predict(1)` may call any `predict`. `__init__` is
called through its class, and through the classes that inherit it.

Not here: what follows from a mention (`callers`).

Invariant: what is not understood is a use, never nothing: then callers count as unknown.
"""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scatter.analysis import Target
from scatter.linker.assemble import mangled
from scatter.linker.walk import Code, Walk, last_name, unsubscripted

Role = Literal["function", "method", "classmethod", "staticmethod", "init"]

_FLEETING = frozenset("map filter sorted min max reduce".split())
"""What calls a function while it is called itself, and does not keep it."""
_BY_NAME = frozenset("getattr methodcaller attrgetter".split())
_OF_CLASSES = frozenset("isinstance issubclass cast".split())
_LABELS = frozenset("__name__ __qualname__ __doc__ __module__".split())


class Shape(NamedTuple):
    """What a call gives.

    Attributes:
        given: Arguments by position.
        names: Arguments by name.
        more: Whether it spreads a sequence.
        others: Whether it spreads a mapping.

    """

    given: int
    names: tuple[str, ...] = ()
    more: bool = False
    others: bool = False


class Mention(NamedTuple):
    """One place where a function is mentioned.

    Attributes:
        line: Its line in the text.
        text: The code, on one line.
        shape: What the call gives, `self` included; None if it is no call.
        fleeting: Of what is no call: whether what it is handed to does not keep it.

    """

    line: int
    text: str
    shape: Shape | None = None
    fleeting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The function that is looked for.

    Attributes:
        module, qualname: Where it is defined.
        role: What it is, and so how it is called.
        heirs: For `__init__`: classes whose call runs it.
        below: For `__init__`: classes whose `super().__init__` is it.
        related: For `__init__`: classes in whose methods `cls` may be an heir.

    """

    module: str
    qualname: str
    role: Role
    heirs: frozenset[Target] = frozenset()
    below: frozenset[Target] = frozenset()
    related: frozenset[Target] = frozenset()

    @property
    def target(self) -> Target:
        """Where it is defined."""
        return Target(self.module, self.qualname)

    @property
    def owner(self) -> str:
        """Qualname of its class; empty for a function of a module."""
        return self.qualname.rpartition(".")[0]

    @property
    def attributes(self) -> frozenset[str]:
        """The names by which it is taken from an object."""
        name = self.qualname.rpartition(".")[2]
        if self.role == "function":
            return frozenset()
        if self.role == "init":  # a class inside another one
            outer, _, name = self.owner.rpartition(".")
            return frozenset((name,) if outer else ())
        return frozenset((name, mangled(name, self.owner)))


def mentions_in(code: Code, wanted: Wanted) -> list[Mention]:
    """Return every mention of a function, in no order."""
    walk = _Walk(code, wanted)
    walk.run()
    return walk.found


class _Walk(Walk, ast.NodeVisitor):  # by this base, ruff knows why methods are called `visit_X`
    """One walk through some code."""

    def __init__(self, code: Code, wanted: Wanted) -> None:
        super().__init__(code)
        self.found: list[Mention] = []
        self._wanted = wanted
        self._typing = False
        self._outer: list[ast.AST] = []
        self._left: list[list[ast.AST]] = []

    def enter(self) -> None:
        """Forget the calls around: what is in a function is in none of them."""
        self._left.append(self._outer)
        self._outer = []

    def leave(self) -> None:
        """Remember them again."""
        self._outer = self._left.pop()

    # what is a mention -----------------------------------------------------------------------

    def _before(self, node: ast.expr) -> int | None:
        """Return how many arguments a call through a node gives by itself; None: no mention."""
        if self._wanted.role == "init":
            return self._before_init(node)
        if self._wanted.role == "function":
            return 0 if self._wanted.target in self.meanings(node) else None
        if isinstance(node, ast.Name):
            in_body = self.is_in_body and self.around == self._owner()
            return 0 if in_body and node.id in self._wanted.attributes else None
        if not isinstance(node, ast.Attribute) or not self._takes(node):
            return None
        if self._wanted.role == "method":
            return int(not self._is_class(node.value))
        return int(self._wanted.role == "classmethod")

    def _owner(self) -> Target:
        return Target(self._wanted.module, self._wanted.owner)

    def _takes(self, node: ast.Attribute) -> bool:
        """Return whether an attribute may be what is wanted: that of a module is not."""
        if node.attr not in self._wanted.attributes:
            return False
        return not any(not target.name for target in self.meanings(node.value))

    def _is_class(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            if node.id == "cls":
                return True
            if self.is_global(node.id) and hasattr(builtins, node.id):
                return isinstance(getattr(builtins, node.id), type)
        return any(map(self._code.is_class, self.meanings(node)))

    def _before_init(self, node: ast.expr) -> int | None:
        if self._is_heir(unsubscripted(node)) or self._is_class_of_self(node):
            return 1
        if not isinstance(node, ast.Attribute) or node.attr != "__init__":
            return None
        match node.value:
            case ast.Call(func=ast.Name(id="super")):
                return 1 if self.around in self._wanted.below else None
            case ast.Name(id="self"):
                return 1 if self.around in self._wanted.related else None
        return 0 if self._is_heir(node.value) else None

    def _is_heir(self, node: ast.expr) -> bool:
        """Return whether a node is a class whose call runs the wanted `__init__`."""
        if isinstance(node, ast.Attribute) and self._takes(node):
            return True
        if isinstance(node, ast.Name) and node.id in self._wanted.attributes:
            outer = self._owner().name.rpartition(".")[0]
            return self.around == Target(self._wanted.module, outer)
        return bool(self.meanings(node) & self._wanted.heirs)

    def _is_class_of_self(self, node: ast.expr) -> bool:
        """Return whether a node is `cls`, `type(self)` or `self.__class__` where that matters."""
        if self.around not in self._wanted.related:
            return False
        match node:
            case ast.Name(id="cls"):
                return True
            case ast.Attribute(value=ast.Name(id="self"), attr="__class__"):
                return True
            case ast.Call(func=ast.Name(id="type"), args=[ast.Name(id="self")]):
                return True
        return False

    # mentions --------------------------------------------------------------------------------

    def _called(self, node: ast.expr, shape: Shape, around: ast.AST) -> bool:
        """Note a call if a node is a mention; return whether it is."""
        before = self._before(node)
        if before is None:
            return False
        shape = shape._replace(given=shape.given + before)
        self.found.append(Mention(node.lineno, _short(around), shape))
        return True

    def _used(self, node: ast.expr, *, fleeting: bool = False) -> None:
        around = self._outer[-1] if self._outer else node
        self.found.append(Mention(node.lineno, _short(around), None, fleeting))

    def _is_named(self, node: ast.expr) -> bool:
        """Return whether a node, by itself, stands for what is wanted."""
        if self._wanted.role == "init" and self._is_class_of_self(node):
            return False
        return self._before(node) is not None

    def visit_Name(self, node: ast.Name) -> None:
        is_bound_anew = isinstance(node.ctx, ast.Store) and self._is_own(node)
        if is_bound_anew or (isinstance(node.ctx, ast.Load) and self._is_named(node)):
            self._used(node)

    def _is_own(self, node: ast.Name) -> bool:
        """Return whether a name that is bound is that by which the function is known."""
        wanted = self._wanted
        if wanted.role not in ("function", "init"):
            return self._before(node) is not None
        top = wanted.owner if wanted.role == "init" else wanted.qualname
        at_top = self.is_global(node.id)
        return at_top and (self._code.module, node.id) == (wanted.module, top)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Visit an assignment; that of a lambda to a name is what defines a function."""
        if isinstance(node.value, ast.Lambda) and isinstance(node.targets[0], ast.Name):
            self.visit(node.value)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load) and self._is_named(node):
            self._used(node)
            self._within(node)
        elif self._is_named(node.value) and (not _is_dunder(node.attr) or node.attr in _LABELS):
            self._within(node.value)  # `f.push()`, `Model.rate`: that is no use of it
        else:
            self._expression(node.value)

    def _within(self, node: ast.expr) -> None:
        """Visit what an attribute is taken from; in `Model.__init__`, the class is no use."""
        if isinstance(node, ast.Attribute) and not self._is_named(node.value):
            self._expression(node.value)

    def _expression(self, node: ast.AST) -> None:
        """Visit a part of an expression; in it, types are values."""
        typing, self._typing = self._typing, False
        self.visit(node)
        self._typing = typing

    def visit_Call(self, node: ast.Call) -> None:
        typing, self._typing = self._typing, False
        if self._called(node.func, _shape_of(node), node):
            self._within(node.func)
        else:
            self.visit(node.func)
        name = last_name(node.func)
        self._outer.append(node)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if name in _FLEETING and self._is_named(argument):
                self._used(argument, fleeting=True)
            elif name in _OF_CLASSES:
                self.types(argument)
            else:
                self.visit(argument)
        if name in _BY_NAME and any(map(self._spells, node.args)):
            self._used(node)
        self._outer.pop()
        self._typing = typing

    def _spells(self, node: ast.expr) -> bool:
        """Return whether a node is the function's name as text."""
        value = node.value if isinstance(node, ast.Constant) else None
        simple = self._wanted.qualname.rpartition(".")[2]
        return isinstance(value, str) and value in (simple, *self._wanted.attributes)

    def decorator(self, node: ast.expr) -> None:
        """Visit a decorator: `@f` calls `f` with what stands below it."""
        if not self._called(node, Shape(1), node):
            self.visit(node)

    # where a name is no use of what it means -------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> None:
        by_identity = (ast.Is, ast.IsNot, ast.Eq, ast.NotEq)
        for operand in (node.left, *node.comparators):
            harmless = all(isinstance(op, by_identity) for op in node.ops)
            if not (harmless and self._is_named(operand)):
                self.visit(operand)

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None and not self._called(node.exc, Shape(0), node):
            self.visit(node.exc)
        if node.cause is not None:
            self.visit(node.cause)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.types(node.type)
        for statement in node.body:
            self.visit(statement)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        self.types(node.cls)
        for pattern in (*node.patterns, *node.kwd_patterns):
            self.visit(pattern)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.types(node.annotation)
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._typing:
            self.types(node.value)
        else:
            self.visit(node.value)
        self.types(node.slice)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.BitOr):
            self.types(node.left, node.right)
        else:
            self.generic_visit(node)

    def types(self, *nodes: ast.AST | None) -> None:
        """Visit where a class stands for its instances, and is not called."""
        typing, self._typing = self._typing, self._wanted.role == "init"
        for node in nodes:
            self._type(node)
        self._typing = typing

    def _type(self, node: ast.AST | None) -> None:
        if isinstance(node, ast.Tuple):
            for part in node.elts:
                self._type(part)
        elif isinstance(node, (ast.Name, ast.Attribute)) and self._typing and self._is_named(node):
            self._within(node)
        elif node is not None:
            self.visit(node)


def _shape_of(call: ast.Call) -> Shape:
    spread = [argument for argument in call.args if isinstance(argument, ast.Starred)]
    names = tuple(keyword.arg for keyword in call.keywords if keyword.arg is not None)
    return Shape(
        given=len(call.args) - len(spread),
        names=names,
        more=bool(spread),
        others=len(names) < len(call.keywords),
    )


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
