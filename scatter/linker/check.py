"""What can be known to fail when it is called, found before the switch.

Not here: what travels (`decide`), what raises while it is bound (`link`).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from types import FunctionType
from typing import Any

from scatter import trampoline
from scatter.bundle import Bundle
from scatter.errors import Refused
from scatter.linker.assemble import mangled
from scatter.linker.callers import Subject, Verdict
from scatter.linker.home import Home
from scatter.linker.signature import broken_call


def check_names(bundle: Bundle, homes: Callable[[str], Home]) -> None:
    """Refuse code that looks up names which are nowhere.

    A name that the deployed module looks up too is no new mistake: it may be set at run time, or
    its absence be expected.

    Raises:
        Refused: `missing-name`.

    """
    missing = list[str]()
    for use in bundle.unknown:
        module, _, name = use.rpartition(":")
        home = homes(module or bundle.module)
        known = home.base.looked_up if home.base else frozenset[str]()
        if not (name in home.globals or name in known or hasattr(builtins, name)):
            missing.append(use)
    if missing and "missing-name" not in bundle.allow:
        raise Refused(
            "missing-name",
            f"`{bundle.function}` uses {_listed(missing)}, defined neither in its module nor in "
            "this process.",
            hint="Correct it, or import it by name.",
        )


def check_members(bundle: Bundle, home: Home, deployed: FunctionType | None) -> None:
    """Refuse a method that takes from its object what only the edited class has.

    Raises:
        Refused: `missing-member`.

    """
    if not bundle.members or home.base is None:
        return
    owner = bundle.qualname.rpartition(".")[0]
    bound = home.base.class_bodies.get(owner, frozenset())
    live = _find_class(owner, home, deployed)
    if live is None:
        return  # a decorator put another thing in its place: nobody can tell
    missing = [
        name
        for name in bundle.members
        if name not in bound and not hasattr(live, mangled(name, owner))
    ]
    if missing and "missing-member" not in bundle.allow:
        raise Refused(
            "missing-member",
            f"`{bundle.function}` uses {_listed(missing)} of class `{owner}`, which the class in "
            "this process does not have.",
            hint="Make it a function of the module, or deploy the class with a restart.",
        )


def live_class(bundle: Bundle, home: Home, deployed: FunctionType | None = None) -> type:
    """Return the live class that a method belongs to.

    Args:
        bundle: The method.
        home: Where it is bound.
        deployed: The method that the process was deployed with.

    Raises:
        Refused: `missing-class`.

    """
    owner = bundle.qualname.rpartition(".")[0]
    found = _find_class(owner, home, deployed)
    if found is None:
        raise Refused(
            "missing-class",
            f"`{bundle.function}` is a method of `{owner}`, and this process has no such class.",
            hint="Deploy the class first.",
        )
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _find_class(owner: str, home: Home, deployed: FunctionType | None) -> type | None:
    """Return the live class of a qualname; None if there is none."""
    first, *rest = owner.split(".")
    found: Any = home.globals.get(first)
    if not isinstance(found, type):  # a new class, or one in whose place a decorator put another
        found = home.newest.get(first) or _class_of(deployed)
    for name in rest:
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def _class_of(function: FunctionType | None) -> Any:
    """Return the class that a method's `super()` means; None if it has none."""
    if function is None or "__class__" not in function.__code__.co_freevars:
        return None
    place = function.__code__.co_freevars.index("__class__")
    assert function.__closure__ is not None
    return function.__closure__[place].cell_contents


def check_shape(function: FunctionType, deployed: FunctionType | None, bundle: Bundle) -> None:
    """Refuse code whose calls give another kind of thing than those of the deployed function.

    Raises:
        Refused: `kind-changed`.

    """
    if deployed is None:
        return
    new, old = trampoline.kind_of(function.__code__), trampoline.kind_of(deployed.__code__)
    if new != old and "kind-changed" not in bundle.allow:
        raise Refused(
            "kind-changed",
            f"`{bundle.function}` is {_KINDS.get(old, 'another kind')} here; the version is "
            f"{_KINDS.get(new, 'another kind')}. Callers would break.",
            hint="Give the new kind another name, or deploy it with a restart.",
        )


def _seen(function: FunctionType) -> FunctionType:
    """Return the function whose parameters callers are meant to see: a wrapper says which."""
    while isinstance(getattr(function, "__wrapped__", None), FunctionType):
        function = function.__wrapped__  # type: ignore[attr-defined]
    return function


def calls_broken(function: FunctionType, deployed: FunctionType | None, bundle: Bundle) -> str:
    """Return which calls of the deployed function a version does not take; empty if none counts.

    Whether that matters depends on who calls it: see `check_callers`.
    """
    if deployed is None or "signature-changed" in bundle.allow:
        return ""
    return broken_call(_seen(deployed), _seen(function))


def check_callers(subject: Subject, verdict: Verdict) -> None:
    """Refuse a version that its callers, as they will be, do not fit.

    Raises:
        Refused: `signature-changed`.

    """
    if not verdict.is_good:
        raise _signature_changed(subject.function, subject.broken, verdict.words)


def unknown_callers(function: str, broken: str) -> Refused:
    """Return the refusal of a version whose function's deployed source is not known."""
    words = "who calls it is not known: the source that it was deployed with is not"
    return _signature_changed(function, broken, words)


def _signature_changed(function: str, broken: str, words: str) -> Refused:
    return Refused(
        "signature-changed",
        f"Callers of `{function}` in this process would break: {broken}. "
        f"{words[0].upper()}{words[1:]}.",
        function=function,
        hint="Release it together with its callers, give new parameters a default and keep the "
        "old ones, or push it with `--allow signature-changed` if nobody here calls it so.",
    )


def check_caller(function: str, subject: Subject, verdict: Verdict) -> None:
    """Refuse a version that does not fit the changed signature of a function that it calls.

    Raises:
        Refused: `signature-changed`.

    """
    for place in verdict.against:
        if place.function == function:
            raise Refused(
                "signature-changed",
                f"`{subject.function}` has another signature than it was deployed with, and "
                f"`{function}` would not fit it: {place}.",
                function=function,
                hint=f"Release it together with `{subject.function}`.",
            )


_KINDS = {
    0: "a plain function",
    0x80: "a coroutine function",
    0x20: "a generator function",
    0x200: "an async generator function",
}
