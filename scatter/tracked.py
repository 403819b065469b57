"""What type checkers see of a tracked function: its own signature, and the verbs.

At run time a tracked function is the plain function itself; nothing is an instance of this.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from scatter.display import Diff, Versions

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)


class Tracked(Protocol, Generic[P, R_co]):
    """A tracked function, as type checkers see it: its own signature, and the verbs.

    At run time it is the plain function itself. What checkers cannot know: whether a function of a
    class takes `self`. They say that `Model.klass(1)` lacks an argument where `@scatter.track`
    stands with `@classmethod`; `Model().klass(1)` is understood.
    """

    __name__: str
    __qualname__: str
    loaded_version: int
    """Version that this process runs; 0 for the deployed code."""
    source: str
    """Text of the definition that this process runs; empty if it is not known."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    @overload
    def __get__(self, instance: None, owner: type, /) -> Tracked[P, R_co]: ...
    @overload
    def __get__(
        self: Tracked[Concatenate[Any, Q], R_co], instance: object, owner: type | None = None, /
    ) -> Member[P, Q, R_co]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Tracked[P, R_co]: ...

    def push(
        self, message: str | None = None, *, force: bool = False, secrets: bool = False
    ) -> int: ...
    def pull(self, version: int | None = None) -> int: ...
    def upgrade(self) -> int: ...
    def downgrade(self) -> int: ...
    def delete(self, older_than: int | None = None) -> tuple[int, ...]: ...
    def history(self, limit: int = 100) -> Versions: ...
    def diff(self, old: int | None = None, new: int | None = None) -> Diff: ...
    def latest_version(self) -> int: ...

    def apush(
        self, message: str | None = None, *, force: bool = False, secrets: bool = False
    ) -> Awaitable[int]: ...
    def apull(self, version: int | None = None) -> Awaitable[int]: ...
    def aupgrade(self) -> Awaitable[int]: ...
    def adowngrade(self) -> Awaitable[int]: ...
    def adelete(self, older_than: int | None = None) -> Awaitable[tuple[int, ...]]: ...
    def ahistory(self, limit: int = 100) -> Awaitable[Versions]: ...
    def adiff(self, old: int | None = None, new: int | None = None) -> Awaitable[Diff]: ...
    def alatest_version(self) -> Awaitable[int]: ...


class Member(Tracked[P, R_co], Protocol[P, Q, R_co]):
    """A tracked function of a class, got through an instance: a method, or a static method.

    Both have this type, since a checker sees no difference: `Q` is `P` without its first argument.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R_co: ...
