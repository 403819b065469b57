"""What is live, by import: `from scatter.live import score`, or `live.score`.

A function of this process is itself; another one is fetched. Either is kept current where an agent
runs, else by its `pull`. A short name will do where it is unique; `live.pricing.score` names the
module too.

Only the namespace is asked (as `scatter.get` does), and only for names that begin with a letter:
what asks modules for attributes of its own, such as a debugger, connects to nothing.
"""

from __future__ import annotations

from scatter.errors import NotFound, ScatterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any


class Names:
    """The functions below a part of a name."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __repr__(self) -> str:
        return f"<live functions of {self._prefix}>"

    def __getattr__(self, name: str) -> Any:
        return _look_up(name, self._prefix)

    def __dir__(self) -> Iterable[str]:
        return sorted({*super().__dir__(), *_below(self._prefix)})


def __getattr__(name: str) -> Any:
    return _look_up(name, "")


def __dir__() -> list[str]:
    return sorted({*globals(), *_below("")})


def _look_up(name: str, prefix: str) -> Any:
    """Return the function of that name, or what is below it.

    Raises:
        AttributeError: There is none, or several.
        ScatterError: The store cannot be asked, or the function cannot run here.

    """
    from scatter import api

    if name.startswith("_"):
        raise AttributeError(f"there is no function {name!r}")
    full = f"{prefix}{name}"
    known = _names() if prefix else None
    missing = NotFound(f"The namespace has no function below `{full}`.", name=full)
    try:
        if known is None or full in known:
            return api.get(full)
    except NotFound as error:
        missing = error
    known = _names() if known is None else known
    for mark in ".:":
        if any(one.startswith(full + mark) for one in known):
            return Names(full + mark)
    raise AttributeError(str(missing)) from missing


def _names() -> Collection[str]:
    from scatter import api

    return api.functions()


def _below(prefix: str) -> set[str]:
    """Return the names that can follow a part of a name; none while the store is away."""
    from scatter.names import split

    try:
        known = [name for name in _names() if name.startswith(prefix)]
    except ScatterError:
        return set()
    parts = {name.removeprefix(prefix).replace(":", ".").partition(".")[0] for name in known}
    short = [split(name)[1] for name in known] if not prefix else []
    unique = {name for name in short if short.count(name) == 1}
    return {name for name in parts | unique if name.isidentifier()}
