"""Links one bundle: decide, assemble, run the factory, check what came out."""

from __future__ import annotations

import pickle
import sys
from types import CodeType, FunctionType
from typing import Any

from scatter import trampoline
from scatter.bundle import Bundle, Item
from scatter.errors import Refused
from scatter.linker.assemble import CELL, FACTORY, LIVE_CLASS, assemble, execute, items_named
from scatter.linker.decide import Decision, decide
from scatter.linker.faces import file_name, show
from scatter.linker.home import Home
from scatter.model import Change
from scatter.slot import Linked


def link(bundle: Bundle, change: Change, home: Home, deployed: FunctionType | None) -> Linked:
    """Bind a version to its home, beside whatever runs.

    Args:
        bundle: What the version contains; its bytes were checked.
        change: Which version it is, and where its lines stand in their file.
        home: Where to bind it.
        deployed: The function that the process was deployed with; None if it was fetched.

    Raises:
        Refused: The version cannot run here; the reason says why. Nothing was changed.

    """
    version = change.version or 0
    try:
        _check_python(bundle)
        if bundle.pickle:
            return _unpickled(bundle, change)
        return _from_source(bundle, change, home, deployed)
    except Refused as error:
        raise Refused(
            error.reason,
            error.detail,
            function=bundle.function,
            version=version,
            hint=error.hint,
        ) from error


def shell(bundle: Bundle, home: Home) -> FunctionType:
    """Return the function object of a function that this process fetches, not loaded yet.

    It is made by a `def`, not by `FunctionType`: CPython 3.13 specialises calls only of those.
    """
    scope: dict[str, FunctionType] = {}
    name = bundle.qualname.rpartition(".")[2]
    text = f"def {name}(*args, **kwargs): raise RuntimeError('not loaded yet')"
    exec(compile(text, "<scatter>", "exec", dont_inherit=True), home.globals, scope)
    function = scope[name]
    function.__qualname__ = bundle.qualname
    function.__module__ = bundle.module or "__main__"
    return function


def _check_python(bundle: Bundle) -> None:
    """Refuse pickles of another Python: they load, and crash the interpreter when called."""
    here = sys.implementation.cache_tag
    if bundle.python and bundle.python != here:
        raise Refused(
            "wrong-python",
            f"`{bundle.function}` carries captured values of {bundle.python}; "
            f"this process is {here}.",
            hint="Push it from a file, or from the same Python version.",
        )


def _from_source(
    bundle: Bundle, change: Change, home: Home, deployed: FunctionType | None
) -> Linked:
    decision = decide(bundle, home)
    travelling = decision.names("travels")
    given = _given(bundle, decision, home)
    lines = _lines(bundle, change)
    file = file_name(bundle.function, change.version, change.bundle)
    code = assemble(bundle, travelling, tuple(given), lines, file)
    created = _create_state(bundle, decision, home, file)
    try:
        target, in_class = _run_factory(code, home, given, bundle)
        if in_class is not None and _uses_class(code):
            _set_class(in_class, _live_class(bundle, home))
        target = _plain(target)
        if isinstance(target, FunctionType):
            _check_kind(target, deployed, bundle)
    except BaseException:
        for name in created:
            home.globals.pop(name, None)
        raise
    pieces = [(lines.get(bundle.qualname, 1), bundle.source)]
    pieces += [(lines.get(i.name, 1), i.source) for i in items_named(bundle.items, travelling)]
    show(file, pieces, target)
    return Linked(
        function=bundle.function,
        version=change.version or 0,
        bundle=change.bundle,
        target=target,
        source=bundle.source,
        file=file,
        private=(*travelling, *(n for n in given if n != LIVE_CLASS)),
        notes=decision.notes,
    )


def _lines(bundle: Bundle, change: Change) -> dict[str, int]:
    """Return the first line of the function and of each item; 1 where the version does not say."""
    names = (bundle.qualname, *(item.name for item in bundle.items))
    lines = change.lines if len(change.lines) == len(names) else (1,) * len(names)
    return {name: line or 1 for name, line in zip(names, lines, strict=True)}


def _given(bundle: Bundle, decision: Decision, home: Home) -> dict[str, Any]:
    """Return what the factory is given by value: borrowed functions, captured values, the class."""
    given: dict[str, Any] = {}
    for item in items_named(bundle.items, decision.names("borrowed")):
        given[item.name] = home.resolve(item.source)
    for item in items_named(bundle.items, decision.names("unpickled")):
        given[item.name] = _unpickle(item.pickle, item.name, bundle)
    for cell in bundle.cells:
        given[cell.name] = _unpickle(cell.pickle, cell.name, bundle)
    if bundle.class_names:
        given[LIVE_CLASS] = _live_class(bundle, home)
    return given


def _create_state(bundle: Bundle, decision: Decision, home: Home, file: str) -> list[str]:
    """Make state that this process lacks: an empty container, a lock. Once, and never again.

    Returns:
        The names that were added to the module.

    """
    items = items_named(bundle.items, decision.names("created"))
    if not items:
        return []
    scope = dict(home.globals)
    needed = _reach(items, bundle.items)
    travelling = [i for i in bundle.items if i.name in needed and _travels(i, decision)]
    try:
        for item in [*travelling, *items]:
            execute(item.source, file, scope)
    except Exception as error:
        raise _link_failed(error, bundle) from error
    made = {item.name: scope[item.name] for item in items}
    return [name for name, new in made.items() if home.globals.setdefault(name, new) is new]


def _travels(item: Item, decision: Decision) -> bool:
    return decision.verdicts[item.name] == "travels"


def _reach(items: list[Item], known: tuple[Item, ...]) -> set[str]:
    """Return the names that items use, directly or through others."""
    uses = {item.name: item.uses for item in known}
    reached, todo = set[str](), [use for item in items for use in item.uses]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += uses.get(name, ())
    return reached


def _run_factory(code: Any, home: Home, given: dict[str, Any], bundle: Bundle) -> Any:
    """Execute the factory's definition and the factory; return what it returns."""
    scope: dict[str, Any] = {}
    try:
        exec(code, home.globals, scope)
        return scope[FACTORY](**given)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _link_failed(error, bundle) from error


def _link_failed(error: BaseException, bundle: Bundle) -> Refused:
    missing = isinstance(error, ImportError)
    return Refused(
        "missing-import" if missing else "link-failed",
        f"Binding `{bundle.function}` raised {type(error).__name__}: {error}.",
        hint="Install what it imports where it runs, then push again."
        if missing
        else "A default, a decorator or an import of the new code fails in this process.",
    )


def _set_class(in_class: FunctionType, live: type) -> None:
    """Let `super()` and `__class__` mean the live class: all of a class body share one cell."""
    assert in_class.__closure__ is not None
    in_class.__closure__[0].cell_contents = live


def _uses_class(code: CodeType) -> bool:
    """Return whether any function in the code looks at its class; `super()` does."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    own = "__class__" in code.co_freevars and code.co_name != CELL
    return own or any(map(_uses_class, inner))


def _plain(target: Any) -> Any:
    """Return the function in a static or class method or property."""
    target = target.fget if isinstance(target, property) else target
    return getattr(target, "__func__", target)


def _live_class(bundle: Bundle, home: Home) -> type:
    """Return the live class that a method belongs to."""
    found: Any = home.globals
    owner = bundle.qualname.rpartition(".")[0]
    for name in owner.split("."):
        found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
    if not isinstance(found, type):
        raise Refused(
            "missing-class",
            f"`{bundle.function}` is a method of `{owner}`, and this process has no such class.",
            hint="Deploy the class first.",
        )
    return found


def _check_kind(function: FunctionType, deployed: FunctionType | None, bundle: Bundle) -> None:
    """Refuse code whose calls would return another kind of thing than callers expect."""
    if deployed is None:
        return
    new, old = trampoline.kind_of(function.__code__), trampoline.kind_of(deployed.__code__)
    if new != old:
        raise Refused(
            "kind-changed",
            f"`{bundle.function}` is {_KINDS.get(old, 'another kind')} here; the version is "
            f"{_KINDS.get(new, 'another kind')}. Callers would break.",
            hint="Give the new kind another name, or deploy it with a restart.",
        )


_KINDS = {
    0: "a plain function",
    0x80: "a coroutine function",
    0x20: "a generator function",
    0x200: "an async generator function",
}


def _unpickled(bundle: Bundle, change: Change) -> Linked:
    """Return a version that was captured whole, because its source was not to be had."""
    target = _unpickle(bundle.pickle, bundle.qualname, bundle)
    if not callable(target):
        raise Refused("bad-bundle", f"`{bundle.function}` holds no function.")
    return Linked(
        function=bundle.function,
        version=change.version or 0,
        bundle=change.bundle,
        target=target,
        source=bundle.source,
        notes=("captured whole: it runs on its own copy of the values that it uses",),
    )


def _unpickle(data: bytes, name: str, bundle: Bundle) -> Any:
    try:
        return pickle.loads(data)
    except Exception as error:
        missing = isinstance(error, ImportError)
        raise Refused(
            "missing-import" if missing else "link-failed",
            f"The captured value of `{name}` in `{bundle.function}` cannot be loaded here: "
            f"{type(error).__name__}: {error}.",
            hint="Install what it needs where it runs, or create the value at run time.",
        ) from error
