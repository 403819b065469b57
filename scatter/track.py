"""`@scatter.track`: makes a function a slot of this process and returns that same function.

Invariants
1. A plain function comes back as the same object; nothing is added to a call of it.
2. Tracking connects to nothing and imports nothing heavy: it happens at import time.
"""

from __future__ import annotations

from types import FunctionType

from scatter import bases
from scatter.errors import NotTrackable
from scatter.names import check, function_name, is_name
from scatter.registry import REGISTRY
from scatter.verbs import attach

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar, overload

    from scatter.tracked import Tracked

    P = ParamSpec("P")
    R = TypeVar("R")
    F = TypeVar("F", bound=Callable[..., Any])
else:

    def overload(function):
        """Do nothing: `typing.overload` is for type checkers."""
        return function


@overload
def track(function: Callable[P, R], /) -> Tracked[P, R]: ...  # noqa: D103
@overload
def track(  # noqa: D103, F811
    *, name: str | None = None
) -> Callable[[Callable[P, R]], Tracked[P, R]]: ...
def track(function: Any = None, /, *, name: str | None = None) -> Any:  # noqa: F811
    """Track a function: make it live-reloadable, pushable, and able to go back.

    Use it bare (`@scatter.track`) or with arguments (`@scatter.track(name="score")`). On a method
    it stands below `@staticmethod`, `@classmethod` and `@property` or above; both work.

    It belongs below decorators that register the function somewhere (routes, commands, tasks): what
    stands above it is left as it is, and what stands below it is run again with each version.

    Args:
        function: A function (sync, async, generator or async generator) or method.
        name: Full name, if it shall not be `module:qualname`.

    Returns:
        The very same object, with the verbs as attributes.

    Raises:
        NotTrackable: It is no Python function, or has no name of its own (a closure).
        NameTaken: Another function of this process has that name.

    """
    if function is None:
        return lambda inner: track_function(inner, name)
    return track_function(function, name)


def track_function(given: F, name: str | None = None) -> F:
    """Track `given`, which may wrap a plain function as a static or class method or property."""
    function = _plain(given)
    if function.__code__.co_filename.startswith("<scatter "):
        return given  # a version is being linked: its code is not what anybody holds
    source = bases.definition_text(function)
    full = check(name) if name else _name_of(function, source)
    if REGISTRY.get(full) is not None:
        _renew_base(full, function)
    attach(function, full)
    REGISTRY.add(full, function, source=source)
    return given


def _renew_base(full: str, function: FunctionType) -> None:
    """Read a module's text again when its functions are defined anew: it was reloaded."""
    slot = REGISTRY.get(full)
    if slot is not None and slot.function is not function:
        bases.forget(bases.undecorated(function).__code__.co_filename)


def _plain(given: Any) -> FunctionType:
    """Return the plain function in what `track` was given."""
    function = _accessor(given) if isinstance(given, property) else given
    if isinstance(function, (staticmethod, classmethod)):
        function = function.__func__
    if isinstance(function, FunctionType):
        return function
    raise NotTrackable(
        f"@scatter.track expects a Python function; found {type(given).__name__} {given!r}. "
        "Put @scatter.track directly above the `def`, below decorators that return other objects."
    )


def _accessor(given: property) -> Any:
    """Return the function that was made part of a property last: that on the lowest line."""
    own = [f for f in (given.fget, given.fset, given.fdel) if isinstance(f, FunctionType)]
    return max(own, key=lambda function: function.__code__.co_firstlineno, default=given.fget)


def _name_of(function: FunctionType, source: str) -> str:
    qualname = function.__qualname__ + _kind_of_accessor(function, source)
    if "<" in qualname:
        raise NotTrackable(
            f"`{qualname}` is defined inside another function, so its place is no name. "
            "Give it one: @scatter.track(name=...)."
        )
    full = function_name(bases.module_name(function), qualname)
    if is_name(full):
        return full
    raise NotTrackable(
        f"Its file would make the name of `{qualname}` {full!r}, which is none: expected "
        "identifiers joined by dots. Rename the file, or use @scatter.track(name=...)."
    )


def _kind_of_accessor(function: FunctionType, source: str) -> str:
    """Return `.setter` or `.deleter` if the decorators above a function say that it is one."""
    for line in source.split("\n"):
        text = line.strip()
        if text.startswith(("def ", "async def ")):
            break
        for kind in (".setter", ".deleter"):
            if text.startswith("@") and text.endswith(f"{function.__name__}{kind}"):
                return kind
    return ""
