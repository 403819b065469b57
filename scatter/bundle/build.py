"""Builds a bundle from source: the function, and what it reaches in its project.

Not here: running, importing or pickling anything. The watcher and the command line use this on
files that they never import.

Invariants
1. Another tracked function is named, never shipped: editing it is no new version of its callers.
   So is a tracked method of a class.
2. An import is shipped as the one binding that is needed, so that editing the rest of the
   statement is no new version either.
3. State is shipped by name; with its source only where making a fresh one is harmless. So the
   text of a connection string never leaves the machine.
4. The same source gives the same bundle, whatever order things were found in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scatter.analysis import Definition, FunctionSource, ModuleSource
from scatter.bundle.model import Bundle, Item, Part
from scatter.bundle.reach import Find, IsTracked, Place, Reach
from scatter.errors import Refused
from scatter.names import function_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A bundle from source, with what does not belong into it.

    Attributes:
        bundle: The bundle.
        lines: First line of the function, then of each item, part by part.
        file: File of the function.
        files: Module of each part → its file.
        asked: Modules that were looked for; if one of them changes, the bundle may.
        looked_at: Names that were looked up in those and in its own; if what one of them means
            changes, the bundle may.

    """

    bundle: Bundle
    lines: tuple[int, ...]
    file: str
    files: Mapping[str, str]
    asked: frozenset[str] = frozenset()
    looked_at: frozenset[Place] = frozenset()


def is_tracked_in(module: ModuleSource, key: str) -> bool:
    """Return whether the source of a module says that the function at a key is tracked."""
    return key in module.tracked


def build(
    source: ModuleSource,
    key: str,
    *,
    name: str = "",
    find: Find = lambda _: None,
    is_tracked: IsTracked = is_tracked_in,
    secrets: bool = False,
) -> Built:
    """Build the bundle of one function of a module.

    Args:
        source: The module.
        key: The function's place in it; see `FunctionSource.key`.
        name: The function's full name, if it is not `module:key`.
        find: Returns the source of another module if it belongs to the project.
        is_tracked: Whether the function at a key of a module is tracked; by default what the
            sources say.
        secrets: Ship texts that look like credentials.

    Raises:
        Refused: `no-source`, when the module has no such function; `defined-twice`; `secret`.

    """
    function = source.functions.get(key)
    name = name or (function and function.tracked_name) or function_name(source.name, key)
    if function is None:
        raise Refused(
            "no-source",
            f"`{key}` is not defined in {source.file}.",
            function=name,
            hint="Was it renamed or removed? Save the file again, or delete the function.",
        )
    if function.twice:
        raise Refused(
            "defined-twice",
            f"`{key}` is defined more than once in {source.file}, and nothing tells which "
            "definition is meant.",
            function=name,
            hint="Track one of them, or give them different names.",
        )
    return build_function(
        source, function, name=name, find=find, is_tracked=is_tracked, secrets=secrets
    )


def build_function(
    source: ModuleSource,
    function: FunctionSource,
    *,
    name: str,
    find: Find,
    is_tracked: IsTracked = is_tracked_in,
    secrets: bool = False,
) -> Built:
    """Build the bundle of a function that was found; see `build`."""
    reach = Reach(source, find, is_tracked)
    uses = reach.run(function.uses, function.source, function.qualname)
    parts = [_part(module, reach, is_tracked) for module in _modules(source, reach)]
    bundle = Bundle(
        function=name,
        qualname=function.qualname,
        source=function.source,
        skip=function.skip,
        uses=_keys(uses, source.name),
        class_names=function.class_names,
        members=function.members,
        unknown=_keys(reach.unknown, source.name),
        parts=tuple(part for part, _ in parts),
    )
    lines = (function.line, *(line for _, lines in parts for line in lines))
    built = Built(
        bundle=bundle,
        lines=lines,
        file=source.file,
        files={module: reach.sources[module].file for module in _modules(source, reach)},
        asked=frozenset(reach.asked),
        looked_at=frozenset(reach.looked_at),
    )
    if not secrets:
        _check_secrets(built)
    return built


def _check_secrets(built: Built) -> None:
    """Refuse to ship a text that looks like a credential."""
    from scatter.bundle.secrets import secrets_in  # 3 ms, and only a push needs it

    bundle, lines = built.bundle, iter(built.lines)
    texts = [(built.file, next(lines), bundle.source)]
    for part in bundle.parts:
        texts += [(built.files[part.module], next(lines), item.source) for item in part.items]
    for file, first, text in texts:
        for what, line in secrets_in(text):
            raise Refused(
                "secret",
                f"{what} at {file}:{first + line - 1}, which `{bundle.function}` uses, looks like "
                "a credential and would be shipped.",
                function=bundle.function,
                hint="Read it from the environment, or push with `--secrets` (secrets=True) if it "
                "is meant.",
            )


def _modules(source: ModuleSource, reach: Reach) -> list[str]:
    """Return the modules that something was reached in, the function's own first."""
    return [source.name, *sorted({place.module for place in reach.found} - {source.name})]


def _part(module: str, reach: Reach, is_tracked: IsTracked) -> tuple[Part, list[int]]:
    """Return what is needed of one module, in the order of its file, and where it stands."""
    source = reach.sources[module]
    found = [d for place, d in reach.found.items() if place.module == module]
    found.sort(key=lambda d: (d.line, d.name))
    items = tuple(_item(source, d, reach, is_tracked) for d in found)
    part = Part(
        module=module,
        future=source.future,
        items=items,
        is_package=bool(module) and source.package == module,
    )
    return part, [d.line for d in found]


def _item(
    source: ModuleSource, definition: Definition, reach: Reach, is_tracked: IsTracked
) -> Item:
    """Return what of a definition goes into the bundle."""
    name = definition.name
    if definition.kind == "function" and is_tracked(source, name):
        function = source.functions.get(name)
        given = function.tracked_name if function else ""
        full = given or function_name(source.name, name)
        return Item(kind="tracked", name=name, source=full)
    if definition.kind == "state" and not definition.creatable:
        return Item(kind="state", name=name)
    uses = (use for use in reach.uses[Place(source.name, name)] if use in reach.found)
    return Item(
        kind=definition.kind,
        name=name,
        source=source.bare_class(name).source if definition.kind == "class" else definition.source,
        uses=_keys(uses, source.name),
    )


def _keys(places: Iterable[Place], own: str) -> tuple[str, ...]:
    """Return places as a part of `own` names them: those of other modules with their module."""
    return tuple(sorted(p.name if p.module == own else f"{p.module}:{p.name}" for p in places))
