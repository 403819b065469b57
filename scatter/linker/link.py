"""Links one bundle: decide, assemble, run the factory, check what came out."""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import Any

from scatter import trampoline
from scatter.bundle import Bundle
from scatter.errors import Refused
from scatter.linker.assemble import CELL, FACTORY, LIVE_CLASS, assemble, items_named
from scatter.linker.check import check_members, check_names, live_class
from scatter.linker.classes import make_classes
from scatter.linker.decide import Decision, decide
from scatter.linker.faces import file_name, show
from scatter.linker.home import Home
from scatter.linker.state import create_state, link_failed
from scatter.linker.values import check_python, unpickle
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
        check_python(bundle)
        if bundle.pickle:
            return _unpickled(bundle, change, home)
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
    text = "def shell(*args, **kwargs): raise RuntimeError('not loaded yet')"
    exec(compile(text, "<scatter>", "exec", dont_inherit=True), home.globals, scope)
    function = scope["shell"]
    function.__name__ = bundle.qualname.rpartition(".")[2]
    function.__qualname__ = bundle.qualname
    function.__module__ = bundle.module or "__main__"
    return function


def _from_source(
    bundle: Bundle, change: Change, home: Home, deployed: FunctionType | None
) -> Linked:
    check_names(bundle, home)
    check_members(bundle, home)
    decision = decide(bundle, home)
    lines = _lines(bundle, change)
    file = file_name(bundle.function, change.version, change.bundle)
    created = create_state(bundle, decision, home, file)
    try:
        given = _given(bundle, decision, home)
        given |= make_classes(bundle, decision, home, given, file)
        travelling = [name for name in decision.names("travels") if name not in given]
        code = assemble(bundle, travelling, tuple(given), lines, file)
        target = _bound(code, bundle, home, given)
        if isinstance(target, FunctionType):
            _check_kind(target, deployed, bundle)
    except BaseException:
        for name in created:
            home.globals.pop(name, None)
        raise
    moved = decision.names("travels")
    pieces = [(lines[bundle.qualname], bundle.source)]
    pieces += [(lines[i.name], i.source) for i in items_named(bundle.items, moved)]
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
    """Return the first line of the function and of each item; 0 where the version does not say."""
    names = (bundle.qualname, *(item.name for item in bundle.items))
    lines = change.lines if len(change.lines) == len(names) else (1,) + (0,) * (len(names) - 1)
    return dict(zip(names, lines, strict=True))


def _given(bundle: Bundle, decision: Decision, home: Home) -> dict[str, Any]:
    """Return what the factory is given by value: borrowed functions, captured values, the class.

    Where the function's own name is nothing in its module (it was fetched), it is given too.
    """
    given: dict[str, Any] = {}
    if "." not in bundle.qualname and bundle.qualname.isidentifier():
        function = None if bundle.qualname in home.globals else home.resolve(bundle.function)
        given |= {bundle.qualname: function} if function else {}
    for item in items_named(bundle.items, decision.names("borrowed")):
        if item.name.isidentifier():  # others are named inside captured values alone
            given[item.name] = home.resolve(item.source)
    for item in items_named(bundle.items, decision.names("unpickled")):
        given[item.name] = unpickle(item.pickle, item.name, bundle, home.resolve)
    for cell in bundle.cells:
        given[cell.name] = unpickle(cell.pickle, cell.name, bundle, home.resolve)
    if bundle.class_names:
        given[LIVE_CLASS] = live_class(bundle, home)
    return given


def _bound(code: CodeType, bundle: Bundle, home: Home, given: dict[str, Any]) -> Any:
    """Return what the factory makes: the version's function, or what a decorator made of it."""
    target, in_class = _run_factory(code, home, given, bundle)
    if in_class is not None and _uses_class(code):
        _set_class(in_class, live_class(bundle, home))
    target = _plain(target)
    if not callable(target):
        raise Refused(
            "link-failed",
            f"A decorator of `{bundle.function}` returned {target!r}, which cannot be called.",
            hint="Decorators below @scatter.track must return a function.",
        )
    return target


def _run_factory(code: CodeType, home: Home, given: dict[str, Any], bundle: Bundle) -> Any:
    """Execute the factory's definition and the factory; return what it returns."""
    scope: dict[str, Any] = {}
    try:
        exec(code, home.globals, scope)
        return scope[FACTORY](**given)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise link_failed(error, bundle) from error


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


def _unpickled(bundle: Bundle, change: Change, home: Home) -> Linked:
    """Return a version that was captured whole, because its source was not to be had."""
    target = unpickle(bundle.pickle, bundle.qualname, bundle, home.resolve)
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
