"""The verbs on live functions: push what runs here, pull what others pushed, step back and forth.

Not here: the log's own verbs (`scatter.releases`), following the log (`scatter_agent`).

Invariants
1. Nothing is connected before a verb needs it; `init` only remembers.
2. A verb either does what it says or raises; what runs stays what it was.
3. What this process was moved to by hand (`downgrade`, `upgrade`, `pull(version)`) is held there
   until `pull()`.
"""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

from scatter import apply, verbs
from scatter.analysis import FunctionSource, ModuleSource
from scatter.apply import Prepared
from scatter.bases import base_of, deployed_code, settle
from scatter.bundle.build import Built, build_function
from scatter.commit import head_commit
from scatter.config import Settings, resolve
from scatter.errors import NotFound, Refused, UsageError
from scatter.homes import project_source
from scatter.locks import ForkSafeLock
from scatter.log import Journal, LazySigner, open_journal
from scatter.model import Change, FunctionState, Version
from scatter.names import SHIPPED
from scatter.names import resolve as resolve_name
from scatter.registry import REGISTRY, Registry
from scatter.releases import Candidate, Releases, deployed_is_live
from scatter.slot import Linked, Slot
from scatter.store import open_store
from scatter.verbs import tracked_name

if TYPE_CHECKING:
    from scatter.display import Diff


class Client:
    """One namespace, seen from one process. Any thread may call any method."""

    def __init__(
        self,
        settings: Settings,
        *,
        registry: Registry = REGISTRY,
        signer: LazySigner | None = None,
    ) -> None:
        """Remember the settings; connect when first needed.

        Args:
            settings: Where and in whose name.
            registry: The functions of this process.
            signer: Signs releases; default: with this user's keys, without asking anybody.

        """
        self.settings = settings
        self.registry = registry
        self._lock = ForkSafeLock()
        self._releases: Releases | None = None
        self._signer = signer or LazySigner()

    def __repr__(self) -> str:
        return f"<scatter client of {self.settings!r}>"

    @property
    def releases(self) -> Releases:
        """The verbs on the log, connected to the store when they are used."""
        with self._lock:
            if self._releases is None:
                settings = self.settings
                store = open_store(settings.redis_url, settings.namespace, access=settings.access)
                author = settings.author or default_author()
                journal = open_journal(settings, store, signer=self._signer)
                self._releases = Releases(journal, author=author, git=head_commit)
            return self._releases

    @property
    def journal(self) -> Journal:
        """The namespace's log."""
        return self.releases.journal

    def close(self) -> None:
        """Let go of the connection. The next verb connects again."""
        with self._lock:
            if self._releases is not None:
                self._releases.journal.store.close()

    # push --------------------------------------------------------------------------------

    def push(
        self,
        names: Iterable[str],
        *,
        message: str = "",
        force: bool = False,
        secrets: bool = False,
    ) -> dict[str, int]:
        """Publish the code that this process runs for these functions, in one release.

        Tracked functions that they call and that the namespace does not have come along.

        Args:
            names: Full or short names of functions of this process.
            message: Why.
            force: Go over a `Conflict`.
            secrets: Ship captured values that look like credentials.

        Returns:
            Function → its live version, for the names given.

        Raises:
            NotFound: This process has no such function.
            Conflict, Refused, StoreUnavailable: Nothing was pushed.

        """
        asked = [self._slot(name).name for name in names]
        self.journal.catch_up()
        candidates = self._candidates(asked, secrets)
        made = [candidate for candidate, _ in candidates.values()]
        pushed = self.releases.push(made, message=message, force=force)
        for name, version in pushed.versions.items():
            self._note_pushed(name, version, candidates[name][1])
        return {name: pushed.versions[name] for name in asked}

    def _candidates(
        self, names: Sequence[str], secrets: bool
    ) -> dict[str, tuple[Candidate, Linked]]:
        """Return what to push of each function, and what it runs."""
        known = self.journal.current()
        candidates: dict[str, tuple[Candidate, Linked]] = {}
        todo = list(names)
        while todo:
            name = todo.pop()
            slot = self._slot(name)
            running = slot.running
            candidate = self._candidate(slot, running, secrets)
            candidates[name] = candidate, running
            for item in candidate.bundle.items:
                state = known.get(item.source) if item.kind == "tracked" else None
                is_new = item.kind == "tracked" and not (state and state.version)
                if is_new and item.source not in candidates and self.registry.get(item.source):
                    todo.append(item.source)
        return candidates

    def _candidate(self, slot: Slot, running: Linked, secrets: bool) -> Candidate:
        """Return the code that a slot runs, ready to be pushed."""
        if running.version != SHIPPED:
            version = self._running_version(running)
            bundle = self.releases.fetch(version)
            return Candidate(bundle=bundle, seen=slot.seen, lines=version.lines, file=version.file)
        built = self._build(slot, secrets)
        return Candidate(bundle=built.bundle, seen=slot.seen, lines=built.lines, file=built.file)

    def _running_version(self, running: Linked) -> Version:
        name = running.function
        version = self.journal.version(name, running.version)
        if version is None or version.bundle != running.bundle:
            raise NotFound(
                f"`{name}` runs a version {running.version} here that the namespace does not "
                "have (any more). Pull, or define the function anew, then push.",
                name=name,
            )
        return version

    def _build(self, slot: Slot, secrets: bool) -> Built:
        """Return the bundle of the deployed code of a slot: from its file, else captured."""
        try:
            return self._made(slot, secrets)
        finally:
            settle()

    def _made(self, slot: Slot, secrets: bool) -> Built:
        function = slot.shipped.target
        assert isinstance(function, FunctionType)
        base = base_of(slot.function)
        source = base.source() if base else None
        code = deployed_code(slot.function)
        if base is not None and source is not None and base.is_source_of(code):
            place = source.function_at(code.co_firstlineno, function.__qualname__)
            if place is not None:
                return build_function(
                    source, place, name=slot.name, find=_find_live, secrets=secrets
                )
            inner = source.inner_function(code.co_firstlineno, code.co_name)
            if inner is not None:
                return _build_closure(source, inner, function, slot.name, secrets)
        from scatter.bundle.capture import capture

        return capture(function, slot.name, tracked_name=tracked_name, secrets=secrets)

    def _note_pushed(self, name: str, version: int, running: Linked) -> None:
        """Remember that what ran here is the version that was pushed."""
        state = self.journal.current()[name]
        if state.version != version or running.version == version:
            self.registry.saw(name, version)  # somebody was faster, or it was live already
            return
        linked = Linked(
            function=name,
            version=version,
            bundle=state.live.bundle,
            target=running.target,
            source=running.source,
            file=running.file,
            private=running.private,
        )
        self.registry.saw(name, version, linked, instead_of=running)

    # pull and step -----------------------------------------------------------------------

    def pull(self, name: str, version: int | None = None) -> int:
        """Run the live version here, or a given one, which is then held.

        Returns:
            The version that runs; 0 for the deployed code.

        Raises:
            NotFound: The namespace has no such function or version.
            Refused: The version cannot run here; what ran goes on.

        """
        state = self.state(name)
        if version is None:
            change = state.live
        else:
            change = self.releases.version(state.function, version).as_change()
        self._run(change, state, hold=version is not None)
        return change.version or SHIPPED

    def step(self, name: str, direction: int) -> int:
        """Run the version after (+1) or before (-1) the one that runs here, and hold it.

        At the ends of the history nothing changes.

        Returns:
            The version that runs.

        """
        state, slot = self.state(name), self._slot(name)
        here = slot.version
        if slot.version == SHIPPED and slot.redefined:
            here = state.last + 1  # what was just typed is newer than all that was pushed
        elif slot.version == SHIPPED and direction < 0:
            here = state.version or 0
        if direction > 0:
            found = self.journal.versions(state.function, above=here, limit=1)
        else:
            found = self.journal.versions(state.function, below=here, limit=1)
        if found:
            self._run(found[0].as_change(), state, hold=True)
        return slot.version

    def get(self, asked: str, version: int | None = None) -> FunctionType:
        """Return a function of the namespace, loading it if this process does not have it.

        Args:
            asked: Full or short name.
            version: None: the function that follows its live version by `pull` or an agent.
                A number: a function of its own that stays at that version.

        Raises:
            NotFound: No such function or version, or its deployed code is live and this process
                does not have it. It is a `KeyError`.
            Refused: It cannot run here.

        """
        state = self.state(asked)
        if version is not None:
            return self._pinned(self.releases.version(state.function, version))
        slot = self.registry.get(state.function)
        if slot is None and not state.version:
            raise deployed_is_live(state)
        if slot is None or not slot.held:
            self._run(state.live, state)
        slot = self._slot(state.function)
        if slot.bare:  # it was tracked with its module; whoever asks for it wants the verbs
            self.registry.dress(slot.name)
            verbs.attach(slot.function, slot.name)
        return slot.function

    def diff(self, asked: str, old: int | None, new: int | None) -> Diff:
        """Return what differs between two versions; as `scatter.verbs.Verbs.diff`."""
        from scatter.bundle.text import text_of
        from scatter.display import Diff

        later = self.releases.version(asked, new)
        earlier = self.releases.before(later) if old is None else self.releases.version(asked, old)
        texts = [text_of(self.releases.fetch(v)) if v else "" for v in (earlier, later)]
        names = [f"{later.function} v{v.number}" if v else "/dev/null" for v in (earlier, later)]
        return Diff.of(texts[0], texts[1], names[0], names[1])

    def _pinned(self, version: Version) -> FunctionType:
        """Return a function outside the registry that runs one version for good."""
        apart = Registry()
        prepared = self._prepare(version.as_change(), apart)
        for name, function in prepared.fetched.items():
            target = prepared.linked[name].target
            for cell in getattr(target, "__closure__", None) or ():
                if cell.cell_contents is function:  # no collector sees a circle through code
                    cell.cell_contents = target
        apply.switch(apart, prepared)
        slot = apart.get(version.function)
        assert slot is not None
        verbs.pin(slot.function, version.function, version.number)
        return slot.function

    def _run(self, change: Change, state: FunctionState, *, hold: bool | None = None) -> None:
        """Prepare a version and switch to it, or raise what refused it.

        Whoever runs the live version has seen it: what is pushed next was made from that.
        """
        prepared = self._prepare(change, self.registry)
        apply.switch(self.registry, prepared, hold=hold)
        if hold is not None and change.function not in prepared.linked:
            self.registry.hold(change.function, hold)  # nothing to switch to: it was deleted
        for name, function in prepared.fetched.items():
            verbs.attach(function, name)
        if change.version == state.version:
            self.registry.saw(state.function, state.version)

    def _prepare(self, change: Change, registry: Registry) -> Prepared:
        asked, lookup = apply.wanted(registry, self.journal, [change])
        prepared = apply.prepare(registry, asked, lookup)
        settle()
        if prepared.refusals:
            refusal = prepared.refusals[0]
            raise Refused(
                refusal.reason,
                refusal.message,
                function=refusal.function,
                version=refusal.version,
            )
        return prepared

    # about the rest ------------------------------------------------------------------------

    def state(self, asked: str) -> FunctionState:
        """Return what the log says of a function, after catching up.

        Raises:
            NotFound: The namespace has no such function.

        """
        return self.releases.find(asked)

    def delete(self, name: str, older_than: int | None = None) -> tuple[int, ...]:
        """Remove a function, or its older versions, from the namespace; see `Releases.delete`."""
        numbers = self.releases.delete(name, older_than=older_than)
        slot = self.registry.get(name)
        if older_than is None and slot is not None:
            self.registry.hold(name, False)
            self.registry.saw(name, None)
            if not slot.fetched:
                self.registry.switch({name: slot.shipped})
        return numbers

    def _slot(self, name: str) -> Slot:
        slot = self.registry.get(name)
        if slot is None:
            full = resolve_name(name, self.registry.slots())
            slot = self.registry.get(full)
        assert slot is not None
        return slot


def _build_closure(
    source: ModuleSource, inner: FunctionSource, function: FunctionType, name: str, secrets: bool
) -> Built:
    """Return the bundle of a function inside another one: its source, and what it closes over."""
    from scatter.bundle.capture import capture_closure

    built = build_function(source, inner, name=name, find=_find_live, secrets=secrets)
    return capture_closure(built, function, tracked_name=tracked_name, secrets=secrets)


def _find_live(module: str) -> ModuleSource | None:
    """Return the source of an imported module of this process's project, if it is what runs."""
    live = sys.modules.get(module)
    return project_source(live) if live is not None else None


def default_author() -> str:
    """Return who releases: the address that git knows, else user and host."""
    try:
        found = subprocess.run(
            ["git", "config", "user.email"], capture_output=True, text=True, timeout=2, check=False
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        found = ""
    return found or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


_current: Client | None = None
_current_lock = ForkSafeLock()


def init(**arguments: Any) -> Client:
    """Set the settings of this process; see `scatter.init`."""
    global _current
    if arguments.get("prefix") and arguments.get("namespace"):
        raise UsageError("`prefix` is another name of `namespace`; give one of them.")
    client = Client(resolve(**arguments))
    with _current_lock:
        before, _current = _current, client
    if before is not None:
        before.close()
    return client


def current() -> Client:
    """Return this process's client, made with the default settings if nobody called `init`."""
    global _current
    with _current_lock:
        if _current is None:
            _current = Client(resolve())
        return _current


def current_settings() -> Settings:
    """Return the settings given to `init`, or the default ones."""
    return current().settings
