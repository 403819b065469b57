"""Links one bundle: decide, make, check what came out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import CodeType, FunctionType
from typing import Any

from scatter.analysis import same_code
from scatter.bundle import Bundle, Part
from scatter.errors import Refused
from scatter.linker.assemble import CELL, LIVE_CLASS, is_whole, not_compiled
from scatter.linker.check import (
    calls_broken,
    check_members,
    check_names,
    check_shape,
    live_class,
)
from scatter.linker.classes import NewClasses
from scatter.linker.decide import Decision, decide
from scatter.linker.faces import file_beside, file_name, show
from scatter.linker.home import Home
from scatter.linker.parts import Assembly, Made, make
from scatter.linker.state import create_state
from scatter.linker.values import cell_value, check_python, unpickle
from scatter.linker.world import Version
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
        return _Linking(bundle, change, home, deployed).run()
    except SyntaxError as error:
        raise not_compiled(bundle, error) from error
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


class _Linking:
    """One run of `link` for a bundle with source."""

    def __init__(
        self, bundle: Bundle, change: Change, home: Home, deployed: FunctionType | None
    ) -> None:
        if deployed is None and "." not in bundle.qualname and is_whole(bundle):
            bundle = replace(bundle, skip=0)  # it is new: nobody has run its decorators
        self._bundle = bundle
        self._change = change
        self._home = home
        self._deployed = deployed
        self._homes = {home.module: home, bundle.module: home}
        self._lines = _lines(bundle, change)
        self._file = file_name(bundle.function, change.version, change.bundle)

    def run(self) -> Linked:
        bundle, home = self._bundle, self._home
        check_names(bundle, self._home_of)
        check_members(bundle, home, self._deployed)
        decision = self._decide()
        if self._deployed is not None and self._is_deployed(decision):
            return self._as_deployed(self._deployed, decision)
        created = list[tuple[Home, str]]()
        try:
            for part in bundle.parts:
                where = self._home_of(part.module)
                created += [
                    (where, n) for n in create_state(bundle, part, decision, where, self._file)
                ]
            target = self._target(decision)
        except BaseException:
            for where, name in created:
                where.globals.pop(name, None)
            raise
        self._show(decision)
        return Linked(
            function=bundle.function,
            version=self._change.version or 0,
            bundle=self._change.bundle,
            target=target,
            source=bundle.source,
            file=self._file,
            private=tuple(k for k, need in decision.needs.items() if need.verdict != "live"),
            notes=decision.notes,
            fixed=self._is_fixed(target),
            code=Version(bundle=bundle, lines=self._lines, file=self._change.file),
            breaks=self._breaks(target),
        )

    def _breaks(self, target: Any) -> str:
        if not isinstance(target, FunctionType):
            return ""
        return calls_broken(target, self._deployed, self._bundle)

    def _is_fixed(self, target: Any) -> bool:
        """Return whether a target is the function itself, whose closure is that of the factory.

        A decorator's wrapper, and a closure that was captured, may share variables that change.
        """
        if not isinstance(target, FunctionType) or self._bundle.cells:
            return False
        code, name = target.__code__, self._bundle.qualname
        return code.co_filename == self._file and code.co_qualname in (name, f"{name}.<lambda>")

    def _is_deployed(self, decision: Decision) -> bool:
        """Return whether the version is what the process was deployed with, whole."""
        base, deployed = self._home.base, self._deployed
        if base is None or deployed is None or self._bundle.cells:
            return False
        place = base.function_at(deployed.__code__.co_firstlineno, self._bundle.qualname)
        own = self._bundle.parts[0]
        if place is None or place.skip != self._bundle.skip or base.future != own.future:
            return False
        all_live = all(need.verdict == "live" for need in decision.needs.values())
        return all_live and same_code(place.source, self._bundle.source)

    def _as_deployed(self, deployed: FunctionType, decision: Decision) -> Linked:
        """Return the version as the deployed code itself: it keeps whatever was made of it."""
        return Linked(
            function=self._bundle.function,
            version=self._change.version or 0,
            bundle=self._change.bundle,
            target=deployed,
            source=self._bundle.source,
            file=deployed.__code__.co_filename,
            notes=decision.notes,
        )

    def _home_of(self, module: str) -> Home:
        if module not in self._homes:
            self._homes[module] = self._home.beside(module, False)
        return self._homes[module]

    def _decide(self) -> Decision:
        """Decide, importing modules in which something travels: it needs their globals."""
        while True:
            decision = decide(self._bundle, self._home_of)
            unimported = decision.unimported()
            if not unimported:
                return decision
            for module in unimported:
                self._homes[module] = self._home.beside(module, True)

    def _target(self, decision: Decision) -> Any:
        """Return what a call of the version runs."""
        made = self._make(decision)
        bundle = self._bundle
        if made.in_class is not None and _uses_class(made.code):
            _set_class(made.in_class, live_class(bundle, self._home, self._deployed))
        target = _plain(made.target, self._file)
        if not callable(target):
            raise Refused(
                "link-failed",
                f"A decorator of `{bundle.function}` returned {target!r}, which cannot be called.",
                hint="Decorators below @scatter.track must return a function.",
            )
        if isinstance(target, FunctionType):
            check_shape(target, self._deployed, bundle)
        return target

    def _make(self, decision: Decision) -> Made:
        """Make what travels; again if another thread has made one of the classes meanwhile."""
        classes = NewClasses(self._bundle, decision)
        given = self._given(decision)
        while True:
            assembly = Assembly(
                bundle=self._bundle,
                decision=decision,
                homes=self._home_of,
                lines=self._lines,
                file=self._file,
                given=given,
                known=classes.known(),
            )
            made = make(assembly)
            if classes.keep(made.classes):
                classes.adopt(made.classes)
                return made

    def _given(self, decision: Decision) -> dict[str, Any]:
        """Return what the function's own factory is given by value: captured values, the class.

        Where the function's own name is nothing in its module (it was fetched), it is given too.
        """
        bundle, home = self._bundle, self._home
        given: dict[str, Any] = {}
        if "." not in bundle.qualname and bundle.qualname.isidentifier():
            function = None if bundle.qualname in home.globals else home.resolve(bundle.function)
            given |= {bundle.qualname: function} if function else {}
        for item in decision.items(bundle.parts[0], "unpickled"):
            given[item.name] = unpickle(item.pickle, item.name, bundle, home.resolve)
        for cell in bundle.cells:
            given[cell.name] = cell_value(cell, bundle, home.resolve)
        if bundle.class_names:
            given[LIVE_CLASS] = live_class(bundle, home, self._deployed)
        return given

    def _show(self, decision: Decision) -> None:
        """Let people see the source of what travels, in tracebacks and debuggers."""
        for part in self._bundle.parts:
            pieces = list(self._pieces(part, decision))
            is_own = part is self._bundle.parts[0]
            if is_own:
                pieces.append((self._lines[self._bundle.qualname], self._bundle.source))
            if pieces:
                file = self._file if is_own else file_beside(self._file, part.module)
                show(file, pieces)

    def _pieces(self, part: Part, decision: Decision) -> Iterator[tuple[int, str]]:
        for item in decision.items(part, "travels"):
            key = item.name if part is self._bundle.parts[0] else part.key(item.name)
            yield self._lines.get(key, 0), item.source


def _lines(bundle: Bundle, change: Change) -> dict[str, int]:
    """Return the first line of the function and of each item; 0 where the version does not say."""
    own, *others = bundle.parts
    names = [bundle.qualname, *(item.name for item in own.items)]
    names += [part.key(item.name) for part in others for item in part.items]
    lines = change.lines if len(change.lines) == len(names) else (1,) + (0,) * (len(names) - 1)
    return dict(zip(names, lines, strict=True))


def _set_class(in_class: Any, live: type) -> None:
    """Let `super()` and `__class__` mean the live class: all of a class body share one cell."""
    in_class.__closure__[0].cell_contents = live


def _uses_class(code: CodeType) -> bool:
    """Return whether any function in the code looks at its class; `super()` does."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    own = "__class__" in code.co_freevars and code.co_name != CELL
    return own or any(map(_uses_class, inner))


def _plain(target: Any, file: str) -> Any:
    """Return the function in a static or class method or property: that which `file` defines."""
    if isinstance(target, property):
        own = (target.fget, target.fset, target.fdel)
        codes = [(getattr(function, "__code__", None), function) for function in own]
        here = (f for code, f in codes if code is not None and code.co_filename == file)
        target = next(here, target.fget)
    return getattr(target, "__func__", target)


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
        code=Version(bundle=bundle, lines={bundle.qualname: 1}, file=change.file),
    )
