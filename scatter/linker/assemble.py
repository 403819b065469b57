"""From items and a decision to code: one factory function whose closure holds what is private.

There is one factory for each module of which something travels. It is never part of a call: it
runs once, while linking. Its body are the travelling definitions as they stand in their file, and
in the function's own module the function itself inside a class body: names of a class body are
invisible to the functions in it, so the function's own name still means the live, tracked one. The
class is called by many underscores for a function (the compiler mangles no private name for a class
of underscores alone), followed by `Model` for a method of `Model` (which mangles as `Model` does,
and hides no global).

Invariants
1. Lines and columns are those of the file that was pushed.
2. Names that are read as globals stay globals of the live module.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType
from typing import Any

from scatter.analysis.chunks import future_flags
from scatter.analysis.imports import is_statement
from scatter.analysis.reading import dotted, lambda_in, parse
from scatter.bundle import Bundle, Item, Part
from scatter.errors import Refused
from scatter.linker.faces import mark_of

FACTORY = "__scatter_link__"
LIVE_CLASS = "__scatter_class__"
CELL = "__scatter_cell__"
CELLS = "__scatter_cells__"
_WRAPPER = "_" * 16
_PREFIX = f"{FACTORY}.<locals>."

Rewrite = Callable[[ast.stmt], "ast.AST | list[ast.AST]"]


def definitions(
    items: Iterable[Item], lines: Mapping[str, int], rewrite: Rewrite | None = None
) -> list[ast.stmt]:
    """Return the statements of some items, in the order of their file; each text once.

    Names that one statement binds (a `try` with two imports) share its text. A name that a branch
    imports only on Pythons that lack it is a builtin on others, such as `ExceptionGroup`.

    Args:
        items: What to define.
        lines: Item → its first line.
        rewrite: Changes the imports in a statement.

    """
    items = [item for item in items if item.source]
    sources = {item.source: lines.get(item.name, 1) for item in items}
    nodes = [node for text, line in sources.items() for node in _statements(text, line)]
    standing_in = {item.name for item in items if item.kind == "import" and _is_builtin(item)}
    return [*_builtins(standing_in), *_rewritten(nodes, rewrite)]


def _is_builtin(item: Item) -> bool:
    return hasattr(builtins, item.name) and not is_statement(item.source)


def _builtins(names: set[str]) -> list[ast.stmt]:
    return _made_up(f"from builtins import {', '.join(sorted(names))}") if names else []


def _rewritten(nodes: Iterable[ast.stmt], rewrite: Rewrite | None) -> list[ast.stmt]:
    if rewrite is None:
        return list(nodes)
    made: list[Any] = []
    for node in nodes:
        new = rewrite(node)
        made += new if isinstance(new, list) else [new]
    return [ast.fix_missing_locations(node) for node in made]


def target(bundle: Bundle, line: int, rewrite: Rewrite | None = None) -> list[ast.stmt]:
    """Return the class around the function, and the statement that returns what was made."""
    (node,) = _statements(bundle.source, line)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        own = node.decorator_list[bundle.skip :]
        node.decorator_list = [*_place_of_skipped(node, bundle), *own]
    elif isinstance(node, ast.Assign) and lambda_in(node.value):
        node.value = _with_own_decorators(node, bundle.skip)
    else:
        raise ValueError(f"expected a function, found {type(node).__name__}")
    owner, _, name = bundle.qualname.rpartition(".")
    wrapper = _wrapper_name(owner)
    text = [f"class {wrapper}:"]
    text += [f"    {n} = {LIVE_CLASS}.{n}" for n in bundle.class_names]
    text += [f"    def {CELL}(): return __class__"] if owner else ["    pass"]
    own_name = mangled(name, owner)
    made = f"{wrapper}.__dict__[{own_name!r}], {wrapper}.__dict__.get({CELL!r})"
    text += [f"return locals(), {made}"]
    class_node, return_node = parse("\n".join(text)).body
    for made_up in (class_node, return_node):
        _place_at(made_up, line)
    assert isinstance(class_node, ast.ClassDef)
    class_node.body += _rewritten([node], rewrite)
    return [class_node, return_node]


def results() -> list[ast.stmt]:
    """Return the statement that returns what a factory without a function made."""
    return _made_up("return locals(), None, None")


def cells_of(names: Sequence[str]) -> list[ast.stmt]:
    """Return a function that closes over these names of its factory, in this order."""
    return _made_up(f"def {CELLS}(): {'; '.join(names)}")


def _made_up(text: str) -> list[ast.stmt]:
    made = parse(text).body
    for node in made:
        _place_at(node, 1)
    return made


def compiled(
    bundle: Bundle,
    part: Part,
    body: Callable[[], tuple[Sequence[str], list[ast.stmt]]],
    file: str,
) -> CodeType:
    """Return code that defines a factory.

    Args:
        bundle: What to bind.
        part: The part of it whose factory this is.
        body: Returns the names of its arguments, in order, and its statements.
        file: Name of the source for tracebacks.

    Raises:
        Refused: `bad-source`, when this Python cannot compile it.

    """
    try:
        module = _factory(*body())
        code: CodeType = compile(module, file, "exec", future_flags(part.future), dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise not_compiled(bundle, error) from error
    return _rename(code, _owner(bundle))


def is_whole(bundle: Bundle) -> bool:
    """Return whether a function is tracked with its module: no decorator says so."""
    (node,) = _statements(bundle.source, 1)
    decorators = getattr(node, "decorator_list", [])[: bundle.skip]
    called = (d.func if isinstance(d, ast.Call) else d for d in decorators)
    return bool(decorators) and not any(dotted(c).rpartition(".")[2] == "track" for c in called)


def not_compiled(bundle: Bundle, error: Exception) -> Refused:
    """Return the refusal of source that is no Python here."""
    return Refused(
        "bad-source",
        f"This Python cannot compile `{bundle.function}`: {error}.",
        function=bundle.function,
        hint="It may need a newer Python than this process has.",
    )


def _statements(source: str, line: int) -> list[ast.stmt]:
    """Return the statements of a definition, at the lines and columns they had."""
    indented = source[:1] in (" ", "\t")
    tree = parse(f"if 1:\n{source}" if indented else source)
    ast.increment_lineno(tree, line - 1 - indented)
    first = tree.body[0]
    return first.body if indented and isinstance(first, ast.If) else tree.body


def execute(source: str, file: str, scope: dict[str, Any]) -> None:
    """Execute a definition of a module, wherever it stood, with `scope` as its globals."""
    module = ast.Module(body=_statements(source, 1), type_ignores=[])
    exec(compile(module, file, "exec", dont_inherit=True), scope)


def _with_own_decorators(node: ast.Assign, skip: int) -> ast.expr:
    """Return what a statement makes of its lambda, without what belongs to the process."""
    value = node.value
    for _ in range(skip):
        assert isinstance(value, ast.Call)
        value = value.args[0]
    return value


def _place_of_skipped(
    node: ast.FunctionDef | ast.AsyncFunctionDef, bundle: Bundle
) -> list[ast.expr]:
    """Return a decorator that does nothing, where the first skipped one stood.

    A function begins at its first decorator for `inspect.getsource` and tracebacks.
    """
    if not bundle.skip or not node.decorator_list:
        return []
    same = parse("lambda function: function").body[0].value  # type: ignore[attr-defined]
    _place_at(same, node.decorator_list[0].lineno)
    return [same]


def _place_at(node: ast.AST, line: int) -> None:
    """Give a made-up node one line of the pushed file."""
    for inner in ast.walk(node):
        if hasattr(inner, "lineno"):
            inner.lineno = inner.end_lineno = line  # type: ignore[attr-defined]


def mangled(name: str, owner: str) -> str:
    """Return a member's name as a class body has it: `__x` of `Model` is `_Model__x`."""
    is_private = owner and name.startswith("__") and not name.endswith("__")
    return f"_{owner.rpartition('.')[2].lstrip('_')}{name}" if is_private else name


def _wrapper_name(owner: str) -> str:
    return _WRAPPER + owner.rpartition(".")[2]


def _owner(bundle: Bundle) -> tuple[str, str]:
    """Return the wrapper's prefix in qualnames, and what it stands for."""
    owner = bundle.qualname.rpartition(".")[0]
    return f"{_PREFIX}{_wrapper_name(owner)}.", f"{owner}." if owner else ""


def _factory(given: Iterable[str], body: list[ast.stmt]) -> ast.Module:
    module = parse(f"def {FACTORY}({', '.join(given)}): pass")
    factory = module.body[0]
    assert isinstance(factory, ast.FunctionDef)
    factory.body = body
    return module


def _rename(code: CodeType, owner: tuple[str, str]) -> CodeType:
    """Return code whose qualnames, at every depth, are those of the pushed file."""
    consts = [_rename_const(const, owner) for const in code.co_consts]
    consts.append(mark_of(code.co_filename))
    return code.replace(co_qualname=_renamed(code.co_qualname, owner), co_consts=tuple(consts))


def _renamed(qualname: str, owner: tuple[str, str]) -> str:
    wrapper, stands_for = owner
    if qualname.startswith(wrapper):
        qualname = stands_for + qualname.removeprefix(wrapper)
    return qualname.removeprefix(_PREFIX)


def _rename_const(const: object, owner: tuple[str, str]) -> object:
    """Return a constant of renamed code; a class body has its `__qualname__` among them."""
    if isinstance(const, CodeType):
        return _rename(const, owner)
    return _renamed(const, owner) if isinstance(const, str) else const


def items_named(items: Iterable[Item], names: Sequence[str]) -> list[Item]:
    """Return the items with these names, in their order."""
    return [item for item in items if item.name in names]
