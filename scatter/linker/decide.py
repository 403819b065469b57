"""Name by name: does it travel with the version, or is the live one used?

The three-way comparison of base (the source this process imported), live (the object in the
module now) and new (the bundle). Each kind of name has one rule, in `_RULES`.

Invariants
1. State is never replaced and never shipped over.
2. Nothing is decided by text: layout and comments change nothing.
3. What cannot be bound safely is refused here, before anything was compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scatter.analysis import Definition, ModuleSource, same_class, same_code
from scatter.bundle import Bundle, Item
from scatter.errors import Refused
from scatter.linker.assemble import execute
from scatter.linker.home import Home

Verdict = Literal["live", "travels", "created", "borrowed", "unpickled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided for every item of a bundle.

    Attributes:
        verdicts: Name → verdict.
        notes: What a person should know: state that stays, helpers that travel.

    """

    verdicts: Mapping[str, Verdict]
    notes: tuple[str, ...] = ()

    def names(self, *wanted: Verdict) -> tuple[str, ...]:
        """Return the names with one of these verdicts."""
        return tuple(name for name, verdict in self.verdicts.items() if verdict in wanted)


def decide(bundle: Bundle, home: Home) -> Decision:
    """Decide for each item of a bundle.

    Raises:
        Refused: With the reason and a hint; nothing was changed.

    """
    verdicts: dict[str, Verdict] = {}
    for item in bundle.items:
        try:
            verdicts[item.name] = _RULES[item.kind](item, home)
        except Refused as refusal:
            raise Refused(
                refusal.reason, refusal.detail, function=bundle.function, hint=refusal.hint
            ) from None
    _spread(bundle.items, verdicts)
    travelling = sorted(n for n, v in verdicts.items() if v == "travels")
    notes = (f"travels: {', '.join(travelling)}",) if travelling else ()
    return Decision(verdicts=verdicts, notes=notes)


def _spread(items: Iterable[Item], verdicts: dict[str, Verdict]) -> None:
    """Let a function or constant travel when it uses something that travels.

    The live one would go on using the old thing. Classes and state stay: replacing a class
    would break `isinstance` for what exists.
    """
    movable = [i for i in items if i.kind in ("function", "constant") and i.uses]
    moved = True
    while moved:
        moved = False
        for item in movable:
            uses_moved = any(verdicts.get(u) in ("travels", "borrowed") for u in item.uses)
            if verdicts[item.name] == "live" and uses_moved:
                verdicts[item.name] = "travels"
                moved = True


def _function(item: Item, home: Home) -> Verdict:
    if home.is_tracked(item.name) and item.name in home.globals:
        return "live"
    base = _base(item, home)
    if base and base.kind == "function" and same_code(item.source, base.source):
        return _live_if_there(item, home)
    return "travels"


def _class(item: Item, home: Home) -> Verdict:
    if item.name not in home.globals:
        return "travels"
    base = _base(item, home)
    if base is None:  # nothing to compare with; or a new class under the name of other state
        return "live" if home.base is None else "travels"
    if same_class(item.source, base.source):
        return "live"
    raise Refused(
        "class-changed",
        f"Class `{item.name}` differs from the one that this process runs, and instances of it "
        "may be alive.",
        hint="Track its methods to change them live, or deploy the class with a restart.",
    )


def _import(item: Item, home: Home) -> Verdict:
    base = _base(item, home)
    if base and base.kind == "import" and same_code(item.source, base.source):
        return _live_if_there(item, home)
    return "travels"


def _constant(item: Item, home: Home) -> Verdict:
    base = _base(item, home)
    if base and same_code(item.source, base.source):
        return _live_if_there(item, home)
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
        f"`{item.name}` was deployed as {_short(deployed)}, and is {_short(live)} in this process "
        f"now; the push would make it `{item.source.strip()}`.",
        hint="Do not change it at run time, or make it state: a lower-case name.",
    )


def _state(item: Item, home: Home) -> Verdict:
    if item.name in home.globals:
        return "live"
    if item.source:
        return "created"
    raise Refused(
        "missing-state",
        f"`{item.name}` is state that this process does not have, and only its own module can "
        "make it.",
        hint="Deploy the module that makes it, then push again.",
    )


def _tracked(item: Item, home: Home) -> Verdict:
    if item.name in home.globals and home.is_tracked(item.name):
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
    return "live" if item.name in home.globals and not home.fetched else "unpickled"


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
    return "live" if item.name in home.globals else "travels"


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


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
