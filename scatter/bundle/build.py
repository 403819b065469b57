"""Builds a bundle from source: the function, and what it reaches in its module.

Not here: running, importing or pickling anything. The watcher and the command line use this on
files that they never import.

Invariants
1. Another tracked function is named, never shipped: editing it is no new version of its callers.
2. An import is shipped as the one binding that is needed, so that editing the rest of the
   statement is no new version either.
3. State is shipped by name; with its source only where making a fresh one is harmless. So the
   text of a connection string never leaves the machine.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from scatter.analysis import Definition, ModuleSource
from scatter.bundle.model import Bundle, Item, Part
from scatter.errors import Refused
from scatter.names import function_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A bundle from source, with what does not belong into it.

    Attributes:
        bundle: The bundle.
        lines: First line of the function, then of each item of the first part.
        file: File of the function.

    """

    bundle: Bundle
    lines: tuple[int, ...]
    file: str


def build(
    source: ModuleSource,
    qualname: str,
    *,
    name: str = "",
    is_tracked: Callable[[str], bool] | None = None,
) -> Built:
    """Build the bundle of one function of a module.

    Args:
        source: The module.
        qualname: The function's place in it.
        name: The function's full name, if it is not `module:qualname`.
        is_tracked: Whether the function at a qualname is tracked; by default what its own
            decorators say.

    Raises:
        Refused: `no-source`, when the module has no such function.

    """
    function = source.functions.get(qualname)
    name = name or (function and function.tracked_name) or function_name(source.name, qualname)
    if function is None:
        raise Refused(
            "no-source",
            f"`{qualname}` is not defined in {source.file}.",
            function=name,
            hint="Was it renamed or removed? Save the file again, or delete the function.",
        )
    if function.twice:
        raise Refused(
            "defined-twice",
            f"`{qualname}` is defined more than once in {source.file}, and nothing tells which "
            "definition is meant.",
            function=name,
            hint="Track one of them, or give them different names.",
        )
    tracked = is_tracked or source.tracked.__contains__
    needed, unknown = _reach(source, function.uses, tracked, qualname)
    items = tuple(_item(source, d, tracked, needed.keys()) for d in needed.values())
    own = Part(module=source.name, future=source.future, items=items)
    bundle = Bundle(
        function=name,
        qualname=qualname,
        source=function.source,
        skip=function.skip,
        uses=tuple(sorted(function.uses & needed.keys())),
        class_names=function.class_names,
        members=function.members,
        unknown=unknown,
        parts=(own,),
    )
    lines = (function.line, *(d.line for d in needed.values()))
    return Built(bundle=bundle, lines=lines, file=source.file)


def _reach(
    source: ModuleSource, start: Iterable[str], tracked: Callable[[str], bool], own: str
) -> tuple[dict[str, Definition], tuple[str, ...]]:
    """Return the definitions reached from the names `start`, in file order, and unknown names."""
    found: dict[str, Definition] = {}
    unknown = set[str]()
    known = _MODULE_NAMES | source.assigned_later
    todo = set(start)
    while todo:
        name = todo.pop()
        definition = source.definitions.get(name)
        if name in found or name == own:
            continue
        if definition is None:
            if not hasattr(builtins, name) and name not in known:
                unknown.add(name)
        elif not definition.typing_only:
            found[name] = definition
            todo |= _uses(definition, tracked)
    in_order = sorted(found.values(), key=lambda d: (d.line, d.name))
    return {d.name: d for d in in_order}, tuple(sorted(unknown))


_MODULE_NAMES = frozenset(
    """
    __name__ __file__ __doc__ __package__ __spec__ __loader__ __path__ __builtins__ __class__
    __dict__ __annotations__
    """.split()
)


def _uses(definition: Definition, tracked: Callable[[str], bool]) -> frozenset[str]:
    """Return the names that come along when a definition is shipped."""
    if definition.kind == "function" and tracked(definition.name):
        return frozenset()
    if definition.kind == "state" and not definition.creatable:
        return frozenset()
    return definition.uses


def _item(
    source: ModuleSource,
    definition: Definition,
    tracked: Callable[[str], bool],
    needed: Collection[str],
) -> Item:
    """Return what of a definition goes into the bundle."""
    name = definition.name
    if definition.kind == "function" and tracked(name):
        function = source.functions.get(name)
        given = function.tracked_name if function else ""
        full = given or function_name(source.name, name)
        return Item(kind="tracked", name=name, source=full)
    if definition.kind == "state" and not definition.creatable:
        return Item(kind="state", name=name)
    return Item(
        kind=definition.kind,
        name=name,
        source=definition.source,
        uses=tuple(sorted(definition.uses & frozenset(needed))),
    )
