"""The nouns of scatter as frozen values: change, release, version, process report.

Not here: how they become bytes (`scatter.log.statement`), where they are kept
(`scatter.store`), and anything callable.

Invariants
1. Values only: no I/O, no clock, no threads.
2. A function's version numbers start at 1 and are never used again, not even after a delete.
   Number 0 is the code that was deployed with the process.
3. Order is the sequence of the release, never the version number.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from scatter.names import SHIPPED

Action = Literal["push", "release", "rollback", "delete", "renew", "reset"]
ACTIONS: tuple[Action, ...] = ("push", "release", "rollback", "delete", "renew", "reset")
EXPIRING: tuple[Action, ...] = ("push", "release")
"""What may be over by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One function's part in a release.

    Attributes:
        function: Full name, `module:qualname`.
        version: The version that is live from this release on; `SHIPPED` for the deployed
            code; None when the function was deleted.
        bundle: SHA-256 of the version's bundle in hex; empty for `SHIPPED` and deletes.
        size: Size of the stored (compressed) bundle in bytes.
        base: Version that the code was made from; None if there was none.
        created: True when this release brought the version into being.
        removed_below: Versions below this number went with this release, but for `version`; 0: none
            did. A delete (`version` None) removes all of them.
        lines: First line of each definition of the bundle in its file, for tracebacks.
        file: The file that the code came from, relative to the project.

    """

    function: str
    version: int | None
    bundle: str = ""
    size: int = 0
    base: int | None = None
    created: bool = False
    removed_below: int = 0
    lines: tuple[int, ...] = ()
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One entry of a namespace's log: changes that take effect together.

    Attributes:
        namespace: The namespace that the release belongs to.
        sequence: Position in the log: 1, 2, 3 …
        previous: SHA-256 in hex of the statement before; empty for sequence 1.
        time: When it was made, ISO 8601 in UTC, never before the release before it. Of what runs
            nothing is decided by it, but whether a key was valid then.
        author: Who made it.
        action: What was asked for.
        changes: The functions concerned, each at most once, ordered by name.
        message: Free text.
        git: Commit of the working tree it was made from; empty if unknown.
        python: Cache tag of the interpreter that made it, e.g. `cpython-311`.
        snapshot: SHA-256 of a snapshot of the state before this release; empty if it has none.
        epoch: How often the log was begun anew by a `reset`.
        expires: When what it made live is over, as `time`; empty: not by itself.
        scope: Room for staged rollouts: labels or a share of processes. Always None today.

    """

    namespace: str
    sequence: int
    previous: str
    time: str
    author: str
    action: Action
    changes: tuple[Change, ...]
    message: str = ""
    git: str = ""
    python: str = ""
    snapshot: str = ""
    epoch: int = 0
    expires: str = ""
    scope: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What is live of a function when a temporary version is over: what was before, for good.

    Attributes:
        live: The change that made it live; the deployed code where nothing was.
        sequence: Sequence of the release that did so; 0 where nothing was.
        author, time: Of that release; of the temporary one where nothing was.
        previous, keys, rolled_back: As in `FunctionState`.

    """

    live: Change
    sequence: int
    author: str
    time: str
    previous: int = SHIPPED
    keys: tuple[str, ...] = ()
    rolled_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionState:
    """What the log says of one function after some release.

    Attributes:
        function: Full name.
        live: The change that made the live version live; its `version` is None when deleted.
        sequence: Sequence of the release that did so.
        author: Who made that release.
        time: When, ISO 8601 in UTC.
        last: Highest version number ever given.
        previous: The version that was live before; `SHIPPED` if there was none.
        floor: Number from which on versions exist: those below were removed.
        kept: Versions below `floor` that exist all the same, ascending.
        keys: Fingerprints of the keys that signed the release which made it live.
        expires: When the live version is over, as `time`; empty: it is no temporary one.
        fallback: What is live from then on; None if the live version is no temporary one.
        rolled_back: A rollback made it live: watchers push nothing over it.
        lapsed: Sequence of the temporary release that was over when this was looked at; else 0.

    """

    function: str
    live: Change
    sequence: int
    author: str
    time: str
    last: int
    previous: int = SHIPPED
    floor: int = 1
    kept: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    expires: str = ""
    fallback: Fallback | None = None
    rolled_back: bool = False
    lapsed: int = 0

    @property
    def version(self) -> int | None:
        """Number of the live version; `SHIPPED` for the deployed code; None when deleted."""
        return self.live.version

    def after_expiry(self) -> FunctionState:
        """Return what is left of a temporary version once it is over: what was before."""
        before = self.fallback
        if before is None:
            return self
        return replace(
            self,
            live=before.live,
            sequence=before.sequence,
            author=before.author,
            time=before.time,
            previous=before.previous,
            keys=before.keys,
            rolled_back=before.rolled_back,
            expires="",
            fallback=None,
            lapsed=self.sequence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An immutable version of one function, as `history` lists it.

    Attributes:
        function: Full name.
        number: 1, 2, 3 …
        bundle: SHA-256 of the bundle in hex.
        size: Size of the stored bundle in bytes.
        author, time, message, git, python: Of the release that created it.
        base: Version it was made from; None if there was none.
        sequence: Sequence of the release that created it.
        live: Whether it is the live version now.
        lines, file: As in `Change`.

    """

    function: str
    number: int
    bundle: str
    size: int
    author: str
    time: str
    message: str
    git: str
    python: str
    base: int | None
    sequence: int
    live: bool = False
    lines: tuple[int, ...] = ()
    file: str = ""

    def as_change(self) -> Change:
        """Return the change that makes this version live again."""
        return Change(
            function=self.function,
            version=self.number,
            bundle=self.bundle,
            size=self.size,
            lines=self.lines,
            file=self.file,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A version that a process would not take, and why."""

    function: str
    version: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReport:
    """What one process runs, as its agent reports it.

    Attributes:
        id: Unique per process life.
        host, pid, application, python: Where and what it is.
        state: `starting`, `ready`, `stale` or `error`.
        reason: Why it is not `ready`, with the reason code where there is one; empty if it is.
        sequence: Last release that the process has applied or refused.
        functions: Function → running version (`SHIPPED` for the deployed code).
        held: Functions that the process keeps where they are.
        refused: Versions that it would not take.
        switched_at: When it last switched, seconds since the epoch by its own clock.
        superseded: Functions whose live version is older than the code that it was deployed with.
        distrusted: Functions whose live version was signed by keys that were revoked since.
        epoch: How often the log that it follows was begun anew by a reset.
        pending: Function → version that waits until the application takes it.
        labels: What it says that it is.
        image, commit: What was deployed, where its environment tells.

    """

    id: str
    host: str
    pid: int
    application: str
    python: str
    state: str
    sequence: int
    functions: dict[str, int] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    switched_at: float = 0.0
    reason: str = ""
    superseded: tuple[str, ...] = ()
    distrusted: tuple[str, ...] = ()
    epoch: int = 0
    pending: dict[str, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    image: str = ""
    commit: str = ""
