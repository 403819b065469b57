"""Name by name: does it travel with the version, or is the live one used?

The three-way comparison of base (the source this process imported), live (the object in the
module now) and new (the bundle). Each kind of name has one rule, in `_RULES`.

Invariants
1. State is never replaced and never shipped over.
2. Nothing is decided by text: layout and comments change nothing.
3. What cannot be bound safely is refused here, before anything was compiled; but only where it is
   needed: what a live helper uses is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from scatter.analysis import Definition, ModuleSource, same_class, same_code
from scatter.analysis.imports import Binding, imports_in, is_statement
from scatter.analysis.reading import parse_definition
from scatter.bundle import Bundle, Item, Part
from scatter.bundle.secrets import looks_secret, secrets_in
from scatter.errors import Refused
from scatter.linker.assemble import execute
from scatter.linker.home import Home

Verdict = Literal["live", "travels", "created", "borrowed", "unpickled"]
_MOVED = ("travels", "borrowed")
_IF_ALLOWED: dict[str, Verdict] = {
    "class-changed": "live",
    "constant-changed-at-run-time": "travels",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One item that a version needs here.

    Attributes:
        item, part: The item and the part that it belongs to.
        home: Where that part is bound.
        verdict: What becomes of it.

    """

    item: Item
    part: Part
    home: Home
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided for every item that is needed.

    Attributes:
        needs: Key of an item → what becomes of it; keys as the function's own part has them.
        notes: What a person should know: helpers that travel.
        rewired: Whether an import travels since what it binds does.

    """

    needs: Mapping[str, Need]
    notes: tuple[str, ...] = ()
    rewired: bool = False

    def items(self, part: Part, *verdicts: Verdict) -> list[Item]:
        """Return the items of a part with one of these verdicts, in their order."""
        chosen = {
            need.item.name: need.item
            for need in self.needs.values()
            if need.part is part and need.verdict in verdicts
        }
        return [chosen[item.name] for item in part.items if item.name in chosen]

    def unimported(self) -> set[str]:
        """Return the modules in which something travels and that are not imported yet."""
        return {
            need.part.module
            for need in self.needs.values()
            if need.verdict != "live" and not need.home.imported
        }


def decide(bundle: Bundle, homes: Callable[[str], Home]) -> Decision:
    """Decide for each item of a bundle that is needed.

    Args:
        bundle: What to bind.
        homes: Returns the home of a module of the bundle.

    Raises:
        Refused: With the reason and a hint; nothing was changed.

    """
    return _Deciding(bundle, homes).run()


class _Deciding:
    """One run of `decide`. Keys are those of the function's own part."""

    def __init__(self, bundle: Bundle, homes: Callable[[str], Home]) -> None:
        self._bundle = bundle
        self._homes = homes
        self._items = {
            _key(bundle, part, item.name): (part, item)
            for part in bundle.parts
            for item in part.items
        }
        self._verdicts: dict[str, Verdict | Refused] = {}
        self._wired = set[str]()  # imports that travel since what they bind does

    def run(self) -> Decision:
        start = [key for key in self._bundle.uses if key in self._items]
        if not self._bundle.module:  # captured values lead to further items
            start = list(self._items)
        self._judge(start)
        self._spread()
        self._rewire()
        needs = {key: self._need(key) for key in self._needed(start)}
        moved = sorted(key for key, need in needs.items() if need.verdict == "travels")
        notes = (f"travels: {', '.join(moved)}",) if moved else ()
        return Decision(needs=needs, notes=notes, rewired=bool(self._wired))

    def _uses(self, key: str, *, bound: bool = False) -> Iterator[str]:
        """Yield the keys of the items that an item leads to.

        With `bound`, of an import in a block only what it binds, and not what the block asks.
        """
        part, item = self._items[key]
        in_block = bound and item.kind == "import" and not is_statement(item.source)
        for use in item.uses:
            module, colon, name = use.rpartition(":")
            if in_block and not colon:
                continue
            other = module if colon else part.module
            found = name if other == self._bundle.module else f"{other}:{name}"
            if found in self._items:
                yield found

    def _judge(self, start: list[str]) -> None:
        """Find the verdict of each item that may matter, by its own rule.

        Classes and state that are live do not change, whatever becomes of what they use.
        """
        todo = list(start)
        while todo:
            key = todo.pop()
            if key in self._verdicts:
                continue
            part, item = self._items[key]
            try:
                self._verdicts[key] = _RULES[item.kind](item, self._homes(part.module))
            except Refused as refused:
                self._verdicts[key] = self._allowed(refused)
            stays = item.kind in ("class", "state") and self._verdicts[key] == "live"
            todo += () if stays else self._uses(key)

    def _allowed(self, refused: Refused) -> Verdict | Refused:
        """Return what becomes of an item that whoever pushed the version allows all the same."""
        if refused.reason not in self._bundle.allow:
            return refused
        return _IF_ALLOWED.get(refused.reason, refused)

    def _spread(self) -> None:
        """Let a function, constant or import travel when it leads to something that travels.

        The live one would go on using the old thing. Classes and state stay: replacing a class
        would break `isinstance` for what exists.
        """
        movable = [
            key
            for key, verdict in self._verdicts.items()
            if verdict == "live" and self._items[key][1].kind in ("function", "constant", "import")
        ]
        moved = True
        while moved:
            moved = False
            for key in movable:
                leads = any(
                    self._verdicts.get(use) in _MOVED for use in self._uses(key, bound=True)
                )
                if leads and self._verdicts[key] == "live":
                    self._verdicts[key] = "travels"
                    if self._items[key][1].kind == "import":
                        self._wired.add(key)
                    moved = True

    def _rewire(self) -> None:
        """Let an import of a module travel when something of that module does: see `wiring`."""
        moved = {self._items[key][0].module for key, v in self._verdicts.items() if v in _MOVED}
        for key, verdict in self._verdicts.items():
            part, item = self._items[key]
            if verdict == "live" and item.kind == "import" and _opens(item, part, moved):
                self._verdicts[key] = "travels"
                self._wired.add(key)

    def _needed(self, start: list[str]) -> list[str]:
        """Return what the function needs, directly or through what travels or is created."""
        found: dict[str, None] = {}
        todo = list(start)
        while todo:
            key = todo.pop()
            if key not in found:
                found[key] = None
                if self._verdicts[key] in ("travels", "created"):
                    todo += self._uses(key)
        return list(found)

    def _need(self, key: str) -> Need:
        part, item = self._items[key]
        verdict = self._verdicts[key]
        if isinstance(verdict, Refused):
            raise Refused(
                verdict.reason, verdict.detail, function=self._bundle.function, hint=verdict.hint
            ) from None
        home = self._homes(part.module)
        if verdict == "travels" and key in self._wired:
            item = _alone(item, part)
        return Need(item=item, part=part, home=home, verdict=verdict)


def _alone(item: Item, part: Part) -> Item:
    """Return an import without the block it stands in, which was run when its module was."""
    bound = set(_bindings(item, part))
    if is_statement(item.source) or len(bound) != 1:
        return item
    binding = bound.pop()
    used = f"{binding.target.module}:{binding.target.name}"
    return replace(item, source=binding.source, uses=tuple(u for u in item.uses if u == used))


def _bindings(item: Item, part: Part) -> Iterator[Binding]:
    """Yield what the source of an import binds the item's own name to."""
    found = imports_in(parse_definition(item.source), part.package)
    return (binding for binding in found if binding.name == item.name)


def _key(bundle: Bundle, part: Part, name: str) -> str:
    return name if part is bundle.parts[0] else part.key(name)


def _opens(item: Item, part: Part, modules: set[str]) -> bool:
    """Return whether an import binds one of some modules, or a package around one."""
    bound = (b.target for b in _bindings(item, part))
    names = {f"{t.module}.{t.name}" if t.name else t.module for t in bound}
    return any(m == name or m.startswith(f"{name}.") for name in names for m in modules)


def _function(item: Item, home: Home) -> Verdict:
    if home.is_tracked(item.name) and home.has(item.name):
        return "live"
    base = _base(item, home)
    if base and base.kind == "function" and same_code(item.source, base.source):
        return _live_if_there(item, home)
    return "travels"


def _class(item: Item, home: Home) -> Verdict:
    if not home.has(item.name):
        return "travels"
    base = _base(item, home)
    if base is None:  # nothing to compare with; or a new class under the name of other state
        return "live" if home.base is None else "travels"
    if same_class(item.source, base.source, lambda key: _is_own_function(key, home)):
        return "live"
    raise Refused(
        "class-changed",
        f"Class `{item.name}` differs from the one that this process runs, and instances of it "
        "may be alive.",
        hint="Track its methods to change them live, or deploy the class with a restart.",
    )


def _is_own_function(key: str, home: Home) -> bool:
    """Return whether a method has versions of its own, or would have if a branch defined it."""
    return home.is_tracked(key) or (home.base is not None and home.base.track_all)


def _import(item: Item, home: Home) -> Verdict:
    base = _base(item, home)
    if base and base.kind == "import" and same_code(item.source, base.source):
        # What stands in a block may not have been imported; running the block may do other things.
        was_run = home.imported and not home.made and not is_statement(item.source)
        return "live" if was_run else _live_if_there(item, home)
    if base is None and home.base and home.base.stars:
        return _live_if_there(item, home)  # it may have come with `from module import *`
    return "travels"


def _constant(item: Item, home: Home) -> Verdict:
    base = _base(item, home)
    if base and same_code(item.source, base.source):
        return _live_if_there(item, home) if _is_true(item.name, home) else "travels"
    if item.name not in home.globals or home.base is None:
        return "travels"
    live = home.globals[item.name]
    if base is None or base.kind != "constant":
        return "travels"
    deployed = _value_of(item.name, home.base, home)
    if _same_value(live, deployed):
        return "travels"
    raise Refused(
        "constant-changed-at-run-time",
        f"`{item.name}` was deployed as {_short(item.name, deployed)}, and is "
        f"{_short(item.name, live)} in this process now; the push would make it "
        f"`{_without_secrets(item.source.strip())}`.",
        hint="Do not change it at run time, or make it state: a lower-case name.",
    )


def _is_true(name: str, home: Home) -> bool:
    """Return whether a constant has the value that the deployed source gives it.

    Only asked where that source may have been edited since it was imported.
    """
    if home.sure or home.base is None or name not in home.globals:
        return True
    return _same_value(home.globals[name], _value_of(name, home.base, home))


def _state(item: Item, home: Home) -> Verdict:
    base = _base(item, home)
    is_code = base is not None and base.kind in ("function", "import")
    if home.has(item.name) and not is_code:
        return "live"
    if is_code:
        raise Refused(
            "missing-state",
            f"`{item.name}` is state now; in this process it is what was deployed under that name.",
            hint="Give the state another name, or deploy the module that makes it.",
        )
    if item.source:
        return "created"
    raise Refused(
        "missing-state",
        f"`{item.name}` is state that this process does not have, and only its own module can "
        "make it.",
        hint="Deploy the module that makes it, then push again.",
    )


def _tracked(item: Item, home: Home) -> Verdict:
    if home.has(item.name) and (home.is_tracked(item.name) or not home.imported):
        return "live"
    if home.resolve(item.source) is not None:
        return "borrowed"
    raise Refused(
        "missing-function",
        f"`{item.source}` is a tracked function that this process does not have or does not "
        "track, and the namespace has no version of it.",
        hint=f"Push `{item.source}` too.",
    )


def _captured(item: Item, home: Home) -> Verdict:
    return "live" if item.name in home.globals and not home.made else "unpickled"


_RULES: dict[str, Callable[[Item, Home], Verdict]] = {
    "function": _function,
    "class": _class,
    "import": _import,
    "constant": _constant,
    "state": _state,
    "tracked": _tracked,
    "captured": _captured,
}


def _base(item: Item, home: Home) -> Definition | None:
    return home.base.definitions.get(item.name) if home.base else None


def _live_if_there(item: Item, home: Home) -> Verdict:
    return "live" if home.has(item.name) else "travels"


def _value_of(name: str, base: ModuleSource, home: Home) -> Any:
    """Return the value that a constant of the deployed source has: it is literals and constants."""
    scope = dict(home.globals)  # names from `import *` are in no definition
    todo, order = [name], list[Definition]()
    while todo:
        definition = base.definitions.get(todo.pop())
        if definition and definition.kind == "constant" and definition not in order:
            order.append(definition)
            todo += definition.uses
    for definition in sorted(order, key=lambda d: d.line):
        execute(definition.source, base.file, scope)
    return scope[name]


def _same_value(one: object, other: object) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


def _without_secrets(source: str) -> str:
    return "…" if secrets_in(source) else source


def _short(name: str, value: object) -> str:
    """Return a value for people; others read what this process is refused, and why."""
    if looks_secret(name, value):
        return "a value that looks like a credential"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
