"""Every error that scatter raises on purpose, under one root.

Not here: foreign exceptions. They are translated once, at the port where they enter.

Invariants
1. Each message says what was expected, what was found and what to do.
2. The evidence is in attributes, so that nobody has to parse a message.
3. Where a standard exception is what a user would catch, the error is one of those too.
4. An error survives pickling and copying: process pools and task queues pass it on.
5. `exit_code` is what the command line returns for the error (`docs/reference/cli.md`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ScatterError(Exception):
    """Root of all errors raised by scatter.

    Attributes:
        exit_code: Exit status of the command line for this error.

    """

    exit_code = 1

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to make the error again: class, `args`, then its attributes and notes.

        Python's own way calls the class with `args`, which holds the message alone.
        """
        return _again, (type(self), self.args), self.__dict__


def _again(of: type[ScatterError], args: tuple[object, ...]) -> ScatterError:
    """Return an error with these `args`, made by the standard exception that it also is."""
    error = of.__new__(of, *args)
    super(ScatterError, error).__init__(*args)
    return error


class UsageError(ScatterError, ValueError):
    """The call itself is wrong; nothing was read or written."""

    exit_code = 2


class NotTrackable(UsageError, TypeError):
    """`track` was given something that has no code of its own to swap."""


class NameTaken(UsageError):
    """Two different functions of one process want the same name."""


class StoreUnavailable(ScatterError, ConnectionError):
    """The store cannot be reached, or does not answer in time.

    Attributes:
        url: Address of the store, password removed.

    """

    exit_code = 3

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class StoreRefused(ScatterError, PermissionError):
    """The store answered, and denied the command (rights, memory, read-only replica).

    Attributes:
        command: Name of the command, where one was denied.
        key: The key that it was for, where it has one.
        code: Word with which the server began its answer, such as `NOPERM`; may be empty.
        reason: Code of `docs/reference/reasons.md`, where a check of ours denied it; else empty.

    """

    def __init__(
        self,
        message: str,
        *,
        command: str = "",
        key: str = "",
        code: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.command = command
        self.key = key
        self.code = code
        self.reason = reason


class NotFound(ScatterError, KeyError):
    """A function or version that the namespace does not have.

    Attributes:
        name: What was asked for.
        candidates: Names that come close, or that an ambiguous short form could mean.

    """

    def __init__(self, message: str, *, name: str = "", candidates: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.candidates = tuple(candidates)

    def __str__(self) -> str:
        return self.message  # KeyError would show the repr of the message


class Ambiguous(NotFound):
    """A short name that more than one function answers to."""


class Conflict(ScatterError):
    """Somebody else released a function since this caller last saw it.

    Attributes:
        function: Name of the function.
        seen: Version that the caller's code was made from; None if it never saw one.
        live: Version that is live now.
        author: Who released `live`.
        time: When `live` was released, ISO 8601 in UTC.

    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        function: str = "",
        seen: int | None = None,
        live: int | None = None,
        author: str = "",
        time: str = "",
    ) -> None:
        super().__init__(message)
        self.function = function
        self.seen = seen
        self.live = live
        self.author = author
        self.time = time


class RolledBack(Conflict):
    """Somebody rolled a function back, which holds it against watchers until it is lifted."""


class Refused(ScatterError):
    """A version, release or source was refused; what runs stays as it was.

    Attributes:
        reason: Stable code of the refusal, e.g. `missing-name` (`docs/reference/reasons.md`).
        function: Name of the function, where one is concerned.
        version: Number of the version, where one is concerned.
        hint: What to do about it.

    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        function: str = "",
        version: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.reason = reason
        self.detail = message
        self.function = function
        self.version = version
        self.hint = hint


class Untrusted(Refused):
    """Bytes from the store that fail a check of form, chain, size or hash."""


class PartialRelease(ScatterError):
    """A release is in the log, but not every running process took it.

    Attributes:
        refusals: Process id → reason.

    """

    exit_code = 4

    def __init__(self, message: str, *, refusals: Mapping[str, str]) -> None:
        super().__init__(message)
        self.refusals = dict(refusals)
