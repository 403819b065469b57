"""The verbs on a tracked function: `f.push()`, `f.pull()`, … and their awaitable forms.

A plain function gets them as attributes, as `functools.lru_cache` does, so it stays the very object
that everyone holds. Not here: what the verbs do (`scatter.client`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FunctionType, MethodType

from scatter.bases import deployed_code
from scatter.errors import UsageError

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from scatter.client import Client
    from scatter.display import Diff, Versions

VERBS = ("push", "pull", "upgrade", "downgrade", "delete", "history", "diff", "latest_version")


class Verbs:
    """The verbs of one function of this process."""

    __slots__ = ("name", "shipped_code")

    def __init__(self, name: str, shipped_code: CodeType) -> None:
        """Remember the name; nothing is connected."""
        self.name = name
        self.shipped_code = shipped_code

    def __repr__(self) -> str:
        return f"<scatter verbs of {self.name}>"

    def push(
        self, message: str | None = None, *, force: bool = False, secrets: bool = False
    ) -> int:
        """Publish the code that this process runs; return its version.

        Args:
            message: Why; shown in the log.
            force: Go over a `Conflict`.
            secrets: Ship captured values that look like credentials.

        Raises:
            Conflict: Someone else released the function since this process last saw it.
            Refused: The function cannot be shipped; the reason says why.
            StoreUnavailable: Nothing was pushed.

        """
        client = _client()
        pushed = client.push([self.name], message=message or "", force=force, secrets=secrets)
        return pushed[self.name]

    def pull(self, version: int | None = None) -> int:
        """Run the live version in this process; return its number.

        Args:
            version: Run this one instead, and stay there until `pull()`.

        Raises:
            NotFound: No such function or version in the namespace.
            Refused: It cannot run here; what ran goes on.

        """
        return _client().pull(self.name, version)

    def upgrade(self) -> int:
        """Step this process one version forward; stays at the newest. Returns what runs."""
        return _client().step(self.name, +1)

    def downgrade(self) -> int:
        """Step this process one version back; stays at the oldest. Returns what runs.

        From a definition that was not pushed yet it is a step to the newest version.
        """
        return _client().step(self.name, -1)

    def delete(self, older_than: int | None = None) -> tuple[int, ...]:
        """Remove the function, or its versions below a number, for everyone.

        Returns:
            The numbers of the versions that are gone.

        """
        return _client().delete(self.name, older_than)

    def history(self, limit: int = 100) -> Versions:
        """Return the newest versions, newest first; a notebook shows them as a table."""
        from scatter.display import Versions

        return Versions(_client().releases.history(self.name, limit))

    def diff(self, old: int | None = None, new: int | None = None) -> Diff:
        """Return what differs between two versions, with what travels with them.

        Args:
            old: By default the version before the live one.
            new: By default the live one.

        Raises:
            NotFound: No such function or version.

        """
        return _client().diff(self.name, old, new)

    def latest_version(self) -> int:
        """Return the highest version number that the namespace has given the function."""
        return _client().state(self.name).last


class Pinned(Verbs):
    """The verbs of a function that stays at one version: it can be asked, and not be moved."""

    __slots__ = ("version",)

    def __init__(self, name: str, shipped_code: CodeType, version: int) -> None:
        """Remember the name and the version."""
        super().__init__(name, shipped_code)
        self.version = version

    def _stays(self, *_: Any, **__: Any) -> NoReturn:
        raise UsageError(
            f"This function is version {self.version} of `{self.name}` for good, since it was "
            f"asked for by number. Use scatter.get({self.name!r}) for one that moves, or "
            f"scatter.release to make the version live."
        )

    push = pull = upgrade = downgrade = _stays


def attach(function: FunctionType, name: str) -> None:
    """Give a function its verbs. Called again it only renews the name."""
    verbs = Verbs(name, _shipped_code(function))
    function.__dict__["__scatter__"] = verbs
    _set(function, verbs)


def pin(function: FunctionType, name: str, version: int) -> None:
    """Give a function that stays at one version its verbs.

    It gets no `__scatter__`: code that calls it shall not be linked to the one that moves.
    """
    _set(function, Pinned(name, function.__code__, version))


def _set(function: FunctionType, verbs: Verbs) -> None:
    for verb in VERBS:
        function.__dict__[verb] = getattr(verbs, verb)
        function.__dict__[f"a{verb}"] = MethodType(_AWAITABLE[verb], verbs)


def _shipped_code(function: FunctionType) -> CodeType:
    return deployed_code(function)


def _awaitable(verb: str) -> Callable[..., Any]:
    """Return the awaitable form of a verb: the same work in a thread."""

    def awaitable(self: Verbs, *args: Any, **kwargs: Any) -> Any:
        import asyncio  # 25 ms, and whoever awaits has it already

        return asyncio.to_thread(getattr(self, verb), *args, **kwargs)

    awaitable.__name__ = f"a{verb}"
    awaitable.__doc__ = f"Awaitable form of `{verb}`."
    return awaitable


_AWAITABLE = {verb: _awaitable(verb) for verb in VERBS}
"""Made once, and bound for each function: made for each, they took 2 kB of every tracked one."""


def tracked_name(value: object) -> str | None:
    """Return the full name of a tracked function, None for anything else."""
    mark = getattr(value, "__dict__", {}).get("__scatter__")
    return mark.name if isinstance(mark, Verbs) else None


def _client() -> Client:
    from scatter.client import current  # late: importing scatter must stay light

    return current()
