"""What a watcher tells, as values. `scatter.watch.text` makes lines of them.

`Problem`, `Vanished` and `Note` of the workspace are events as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scatter.bundle import Bundle
from scatter.workspace import Note, Problem, Vanished


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A function whose file differs from what is live.

    Attributes:
        name: Full name.
        version: The live version.
        author, time: Who released it, and when (ISO 8601, UTC).

    """

    name: str
    version: int
    author: str
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A function was rolled back, which holds it: the save was not pushed.

    Attributes:
        function: The function.
        live: Version that it was rolled back to.
        author, time: Who did so, and when (ISO 8601, UTC).
        kept_back: Everything that was saved together and hence waits, full names; empty where it
            was found so at the start.
        is_new: This is the first time that the watcher meets that rollback.

    """

    function: str
    live: int | None
    author: str
    time: str
    kept_back: tuple[str, ...] = ()
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How the files compare with what is live, when the watcher first reached the store.

    Attributes:
        drifted: Functions whose code differs from what is live.
        unpushed: Functions that have no live version.
        held: Functions that were rolled back.

    """

    drifted: tuple[Drift, ...] = ()
    unpushed: tuple[str, ...] = ()
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The watcher is watching.

    Attributes:
        paths: What it watches.
        namespace: Where it pushes to.
        address: Address of the store, without password.
        functions: Full names of the tracked functions it found.
        lease_s: Seconds that what it pushes is live, unless it puts that off; 0: for good.
        survey: How they compare with what is live; None when the store could not be reached
            (it comes with `Reconnected` then).

    """

    paths: tuple[str, ...]
    namespace: str
    address: str
    functions: tuple[str, ...]
    survey: Survey | None = None
    lease_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedFunction:
    """One function of a push.

    Attributes:
        name: Full name.
        version: Its new live version.
        added, removed: Lines, against `before`.
        size_bytes: Size of the stored bundle.
        before: What was live, or else what the file had; None when there was nothing.
        after: What is live now.

    """

    name: str
    version: int
    added: int
    removed: int
    size_bytes: int
    before: Bundle | None
    after: Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A save is in the log.

    Attributes:
        sequence: Sequence of the release.
        functions: What it changed.
        noticed_at: When the save was noticed, by `time.monotonic`.
        logged_s: Seconds from then until the release was in the log.

    """

    sequence: int
    functions: tuple[PushedFunction, ...]
    noticed_at: float
    logged_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """What the running processes did about a push.

    Attributes:
        pushed: The push.
        applied: How many processes run it.
        total: How many there are.
        elapsed_s: Seconds from the save being noticed until the last one answered, or until the
            watcher stopped waiting.
        behind: Processes that have not answered, as people know them.
        held: Processes that keep one of the functions where somebody moved it by hand.
        refused: (processes, why) for each reason why some would not take a function.
        error: Why nobody could be asked; empty if they could.

    """

    pushed: Pushed
    applied: int
    total: int
    elapsed_s: float
    behind: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    refused: tuple[tuple[tuple[str, ...], str], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyLive:
    """An edit made functions what is live already: (name, version) of each. Nothing was pushed."""

    functions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicted:
    """Somebody released a function that was edited here; the save was not pushed.

    Attributes:
        function: The function.
        seen: Version that the edit was made from; None if none was seen.
        live: Version that is live.
        author, time: Who released that, and when (ISO 8601, UTC).
        kept_back: Everything that was saved together and hence waits, full names.

    """

    function: str
    seen: int | None
    live: int | None
    author: str
    time: str
    kept_back: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Temporary versions of this watcher are live no more: (name, version) of each.

    Their time was over before it could be put off, or somebody released something else.
    """

    functions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The watch is over, and what was live before it is so again: (name, version) of each."""

    functions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A save could not be pushed: what is wrong and what to do, and the functions in it."""

    message: str
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnecting:
    """The store is not to be reached; told once for each time that it goes away.

    Attributes:
        message: What happened, with the address.
        waiting: Functions whose edits are kept until it is back.

    """

    message: str
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnected:
    """The store is back; with the survey that `Started` could not have."""

    address: str
    survey: Survey = field(default_factory=Survey)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A file that had a problem has none any more, and nothing in it needed a push."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """File notifications cannot be had here: files are looked at every `every_s` seconds."""

    reason: str
    every_s: float


Event = (
    Started
    | Pushed
    | Acknowledged
    | AlreadyLive
    | Conflicted
    | Held
    | Ended
    | Restored
    | Failed
    | Reconnecting
    | Reconnected
    | Mended
    | Polling
    | Problem
    | Vanished
    | Note
)
