"""The watcher itself: notices → workspace → pusher → acknowledgements, in one loop.

Not here: rules about files (`scatter.workspace`), about pushing (`pusher`), about words (`text`).

Why nothing gets lost: every 5 s, and each time that directories are watched anew, the whole
workspace is compared by size, times and inode, so a missing notice costs time and no edit. (The
interval grows with what it costs, to stay below 1 % of a core.) Where files can only be polled,
that comparison is all there is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scatter.releases import Releases
from scatter.watch import git
from scatter.watch.acknowledger import Acknowledger, Ask
from scatter.watch.events import Event, Mended, Pushed, Started
from scatter.watch.loop import Notice, Notices
from scatter.watch.pusher import Pusher
from scatter.workspace import Changed, Changes, Workspace
from scatter.workspace.checks import Check
from scatter.workspace.gate import Gate

_SWEEP_S = 5.0
_POLLED_SWEEP_S = 0.2
_SWEEP_SHARE = 100
"""A sweep is made at most every so many times what it takes."""
_HOLD_S = 2.0
"""How long changes wait at most for others of the same save that are in doubt, or for git."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a watcher pushes.

    Attributes:
        lease_s: Seconds that what is pushed is live, put off while the watch goes on; what was live
            before is so again when it ends. 0: what is pushed stays.
        secrets: Push texts that look like credentials.
        checks: Commands that must pass before a push, after what files tell was looked at; None:
            neither is.

    """

    lease_s: float = 0.0
    secrets: bool = False
    checks: Sequence[Check] | None = None


def watch(
    paths: Iterable[Path | str],
    *,
    releases: Releases,
    on_event: Callable[[Event], None],
    stop_event: threading.Event | None = None,
    ask: Ask | None = None,
    track: Sequence[str] = (),
    manner: Manner | None = None,
) -> None:
    """Push every saved change of a tracked function, until `stop_event` is set.

    Blocks; may run in any thread. Nothing of the project is imported or run.

    Args:
        paths: Files and directories to watch.
        releases: Where to push, and in whose name.
        on_event: Called with everything that happens, by one thread at a time; must not block.
        stop_event: Ends the watch within about 25 ms. None: only an exception does.
        ask: How to wait for processes to acknowledge a push (`scatter.watch.ask`); None: nobody
            is asked.
        track: Patterns of modules of which every function is tracked.
        manner: What is pushed, and for how long; default: what is no secret, for good.

    Raises:
        UsageError: A path does not exist.
        KeyboardInterrupt: In the main thread, on Ctrl-C.

    """
    manner = manner or Manner()
    watcher = Watcher(
        Workspace(paths, track=track, secrets=manner.secrets),
        releases,
        on_event=on_event,
        ask=ask,
        manner=manner,
    )
    watcher.run(stop_event or threading.Event())


class Watcher:
    """One watch over a workspace. Belongs to the thread that calls `run`."""

    def __init__(
        self,
        workspace: Workspace,
        releases: Releases,
        *,
        on_event: Callable[[Event], None],
        ask: Ask | None = None,
        manner: Manner | None = None,
    ) -> None:
        """Begin; nothing is read yet.

        Args:
            workspace: What to watch.
            releases: Where to push.
            on_event: Called with everything that happens, by one thread at a time.
            ask: How to wait for processes to acknowledge a release; None: nobody is asked.
            manner: As for `watch`.

        """
        self._workspace = workspace
        self._on_event = on_event
        self._telling = threading.Lock()
        self._clock = time.monotonic
        self._manner = manner or Manner()
        checks = self._manner.checks
        self._pusher = Pusher(
            releases,
            tell=self._tell,
            clock=self._clock,
            lease_s=self._manner.lease_s,
            gate=Gate(workspace, checks) if checks is not None else None,
        )
        self._acks = Acknowledger(ask, tell=self._tell, clock=self._clock) if ask else None
        self._locks = git.index_locks(workspace.roots)
        self._sweep_at = 0.0
        self._sweep_every_s = _SWEEP_S
        self._ask_again_at: float | None = None
        self._noticed: set[Path] = set()
        self._noticed_at: float | None = None
        self._held: dict[str, Changed] = {}

    def __repr__(self) -> str:
        return f"<Watcher of {self._workspace!r}>"

    def run(self, stop_event: threading.Event) -> None:
        """Watch until the event is set. Once only."""
        try:
            self._load()
            self._watch(stop_event)
        finally:
            self._pusher.lease.restore()
            if self._acks:
                self._acks.stop()

    def _watch(self, stop_event: threading.Event) -> None:
        notices = Notices(stop_event, self._tell)
        while not stop_event.is_set():
            armed = self._directories()
            self._sweep_at = 0.0  # for what happened before the directories were watched
            for notice in notices.of(armed):
                self._sweep_every_s = _POLLED_SWEEP_S if notices.polling else _SWEEP_S
                self._tick(notice)
                if self._directories() != armed:
                    break

    def _load(self) -> None:
        """Read all files, compare them with what is live, and say what is being watched."""
        changes = self._workspace.load()
        functions = self._workspace.functions
        store = self._pusher.releases.journal.store
        survey = self._pusher.survey(functions)
        self._tell(
            Started(
                paths=tuple(map(str, self._workspace.roots)),
                namespace=store.namespace,
                address=store.address,
                functions=tuple(functions),
                survey=survey,
                lease_s=self._manner.lease_s,
            )
        )
        for problem in changes.problems:
            self._tell(problem)

    def _directories(self) -> frozenset[Path]:
        """Return every directory to watch; a file is watched through its directory."""
        files = (root.parent for root in self._workspace.roots if not root.is_dir())
        return self._workspace.directories.union(files)

    # one turn of the loop ----------------------------------------------------------------

    def _tick(self, notice: Notice) -> None:
        """Act on a notice, and on whatever has become due."""
        now = self._clock()
        self._noticed |= notice
        if self._noticed and self._noticed_at is None:
            self._noticed_at = now
        if self._must_look(now) and not self._waits_for_git(now):
            self._take(self._look(now), now)
        if self._pusher.retry_at is not None and now >= self._pusher.retry_at:
            self._pusher.flush()
        if self._pusher.renew_at is not None and now >= self._pusher.renew_at:
            self._pusher.renew()

    def _must_look(self, now: float) -> bool:
        asked = self._ask_again_at is not None and now >= self._ask_again_at
        return asked or bool(self._noticed) or now >= self._sweep_at

    def _waits_for_git(self, now: float) -> bool:
        """Return whether git is writing files, of which only some may have been noticed.

        When it is done, everything is looked at: some notices may still be on their way.
        """
        since = self._noticed_at
        waits = since is not None and now < since + _HOLD_S and git.is_busy(self._locks)
        if waits:
            self._sweep_at = 0.0
        return waits

    def _look(self, now: float) -> Changes:
        """Look at what was noticed; at everything when that is due, or directories changed."""
        noticed, self._noticed = self._noticed, set()
        if now < self._sweep_at and not any(map(self._is_directory, noticed)):
            return self._workspace.refresh(noticed)
        changes = self._workspace.refresh()
        took_s = self._clock() - now
        self._sweep_at = now + max(self._sweep_every_s, took_s * _SWEEP_SHARE)
        return changes

    def _is_directory(self, path: Path) -> bool:
        return path in self._workspace.directories or (path.suffix != ".py" and path.is_dir())

    def _take(self, changes: Changes, now: float) -> None:
        """Tell what was found, and push it unless the rest of the same save is in doubt."""
        self._ask_again_at = changes.ask_again_at
        self._held |= {one.name: one for one in changes.changed}
        events: tuple[Event, ...] = (*changes.problems, *changes.notes, *changes.vanished)
        for event in events:
            self._tell(event)
        since = self._noticed_at if self._noticed_at is not None else now
        if changes.ask_again_at is not None and now < since + _HOLD_S:
            return
        mended = () if self._held else changes.mended
        for file in mended:
            self._tell(Mended(file=file))
        held, self._held, self._noticed_at = tuple(self._held.values()), {}, None
        if held:
            self._pusher.push(held, noticed_at=since)
            for note in self._workspace.half_reached(held):
                self._tell(note)

    def _tell(self, event: Event) -> None:
        """Hand an event on; two threads have some to tell."""
        with self._telling:
            self._on_event(event)
        if self._acks and isinstance(event, Pushed):
            self._acks.add(event)
