"""The pusher: changed functions → one release, whatever stands in the way.

Not here: files, waiting, acknowledgements. No thread and no clock of its own: the watcher calls it,
and says what time it is.

Invariants
1. `seen` of a function moves only when this watcher read its live version at the start, or made
   or met it with a push of its own, or its author went back to a version it knows: never because
   a colleague's release was read in passing.
2. What could not be pushed is kept. While the store is away, newer edits take the place of older
   ones, and all go out in one release when it is back. After a conflict or a refusal they wait
   for the next edit of one of them, and then go out together with it.
3. What a rollback holds is not pushed until somebody lifts that.
4. Where it pushes for a while, it puts the end off while it lives, and brings back what was live
   before when it is told to; never over what somebody released meanwhile.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from scatter.bundle import Bundle, decode, digest_of, encode
from scatter.bundle.build import Built
from scatter.errors import Conflict, Refused, RolledBack, ScatterError, StoreUnavailable
from scatter.model import FunctionState
from scatter.names import SHIPPED
from scatter.releases import Candidate, Releases
from scatter.releases import Pushed as Outcome
from scatter.watch.events import (
    AlreadyLive,
    Conflicted,
    Drift,
    Event,
    Failed,
    Held,
    Pushed,
    PushedFunction,
    Reconnected,
    Reconnecting,
    Survey,
)
from scatter.watch.lease import Lease
from scatter.workspace import Changed, count_lines, same_bundle
from scatter.workspace.gate import Found, Gate

_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 3.0
_SHOWN = 20
"""Lines of a check that failed that are shown: what went wrong comes last."""


class Pusher:
    """Pushes what the watcher found, in the name of one person."""

    def __init__(
        self,
        releases: Releases,
        *,
        tell: Callable[[Event], None],
        clock: Callable[[], float],
        lease_s: float = 0.0,
        gate: Gate | None = None,
    ) -> None:
        """Remember where to push to; nothing is connected yet.

        Args:
            releases: Where to push, and in whose name.
            tell: Called with everything that happens.
            clock: Tells the time, in seconds.
            lease_s: Seconds that what is pushed is live, unless `renew` puts that off; 0: for good.
            gate: Says what must be well before; None: nothing.

        """
        self.releases = releases
        self.retry_at: float | None = None
        self.lease = Lease(releases, lasts_s=lease_s, tell=tell)
        self._gate = gate
        self._held: dict[str, tuple[str, str]] = {}
        self._tell = tell
        self._clock = clock
        self._unsurveyed: Mapping[str, Built] = {}
        self._seen: dict[str, int] = {}
        self._known: defaultdict[str, set[int]] = defaultdict(set)
        self._live: dict[str, Bundle] = {}
        self._pending: dict[str, Changed] = {}
        self._kept_back: dict[str, Changed] = {}
        self._noticed_at = 0.0
        self._away = False
        self._retry_s = _FIRST_RETRY_S

    def __repr__(self) -> str:
        return f"<Pusher to {self.releases!r}: {len(self._pending)} functions waiting>"

    # at the start ------------------------------------------------------------------------

    def survey(self, functions: Mapping[str, Built]) -> Survey | None:
        """Read what is live of the functions in the files.

        Returns:
            What differs; None when the store cannot be reached. It is read later then, and
            comes with `Reconnected`.

        """
        self._unsurveyed = functions
        try:
            return self._survey()
        except StoreUnavailable as error:
            self._back_off(error)
            return None

    def _survey(self) -> Survey:
        files = self._unsurveyed
        known = self.releases.functions()
        for name in files.keys() & known.keys():
            self._saw(name, known[name].version or SHIPPED)
        live = {name: known[name] for name in files if name in known and known[name].version}
        self._live |= {name: files[name].bundle for name in live}
        other = {n: s for n, s in live.items() if s.live.bundle != _digest(files[n].bundle)}
        bundles = self.releases.journal.bundles(state.live for state in other.values())
        self._live |= {
            n: decode(bundles[s.live.bundle]) for n, s in other.items() if s.live.bundle in bundles
        }
        self._unsurveyed = {}
        return Survey(
            drifted=tuple(
                Drift(name=n, version=s.version or 0, author=s.author, time=s.time)
                for n, s in other.items()
                if s.live.bundle not in bundles or not same_bundle(self._live[n], files[n].bundle)
            ),
            unpushed=tuple(name for name in files if name not in live),
            held=tuple(self._hold(known[n]) for n in files if n in known and known[n].rolled_back),
        )

    def _hold(self, state: FunctionState) -> Held:
        """Note that a rollback holds a function, and return the event."""
        self._held[state.function] = state.author, state.time
        return Held(
            function=state.function, live=state.version, author=state.author, time=state.time
        )

    # pushing -----------------------------------------------------------------------------

    def push(self, changed: Sequence[Changed], *, noticed_at: float) -> None:
        """Push the functions of one save; or keep them, until they can be pushed."""
        new = {one.name: one for one in changed}
        if not self._pending:
            self._noticed_at = noticed_at
        if new.keys() & self._kept_back.keys():
            self._pending |= self._kept_back
        self._pending |= new
        for name in self._pending:
            self._kept_back.pop(name, None)
        if self._may_pass() and self.retry_at is None:
            self.flush()

    def _may_pass(self) -> bool:
        """Return whether all is well with what waits; else say what is not, and keep it back."""
        if self._gate is None or not self._pending:
            return True
        output: list[str] = []
        try:
            self._read(self._gate)
            self._gate.run(self._found(), output.append)
        except ScatterError as error:
            names, shown = tuple(self._pending), "".join(f"\n  {one}" for one in output[-_SHOWN:])
            self._kept_back |= self._pending
            self._pending = {}
            self._tell(Failed(message=f"{error}{shown}", functions=names))
            return False
        return True

    def _found(self) -> Found:
        return {n: (c.built, self._live.get(n)) for n, c in self._pending.items()}

    def _read(self, gate: Gate) -> None:
        """Look at what waits against what was live when this was last known, and if need be now."""
        try:
            gate.read(self._found())
        except Refused:
            try:
                known = self.releases.functions()
                states = [known[name] for name in self._pending if name in known]
                live = self.releases.live_bundles(states)
            except ScatterError:
                live = {}
            if not live:
                raise
            gate.read({n: (c.built, live.get(n)) for n, c in self._pending.items()})

    def flush(self) -> None:
        """Push everything that is waiting."""
        survey = Survey()
        try:
            if self._unsurveyed:
                survey = self._survey()
            outcome = self._release() if self._pending else None
        except StoreUnavailable as error:
            self._back_off(error)
        except ScatterError as error:
            self._reached(survey)
            self._keep_back(error)
        else:
            was_away = self._reached(survey)
            if outcome is not None:
                self._landed(outcome, was_away=was_away)

    def _release(self) -> Outcome:
        """Push what is waiting.

        A version that was released meanwhile is no conflict where the file held the same code
        before this edit: it was pushed from here by hand, or came by `git pull`. Neither is one
        to which the author of this watch went back: they know what they edit; nor one that came
        back because a temporary version of this watch was over, or a hold was lifted.
        """
        while True:
            candidates = [self._candidate(c) for c in self._pending.values()]
            try:
                return self.releases.push(candidates, lasts_s=self.lease.lasts_s, unasked=True)
            except RolledBack:
                raise
            except Conflict as error:
                if error.live is None or not self._is_known(error):
                    raise
                self._saw(error.function, error.live)

    def _is_known(self, conflict: Conflict) -> bool:
        return self._went_back(conflict) or self._came_back(conflict) or self._had_live(conflict)

    def _came_back(self, conflict: Conflict) -> bool:
        """Return whether a version that is known here came back without anybody's new code."""
        name = conflict.function
        is_over = name in self.lease.ever and bool(self.releases.known()[name].lapsed)
        return (is_over or name in self._held) and conflict.live in {SHIPPED, *self._known[name]}

    def _went_back(self, conflict: Conflict) -> bool:
        """Return whether the live version is a known one that this author released again."""
        is_mine = conflict.author == self.releases.author
        return is_mine and conflict.live in {SHIPPED, *self._known[conflict.function]}

    def _saw(self, name: str, version: int) -> None:
        """Note that this watcher knows a version, which is live."""
        self._seen[name] = version
        self._known[name].add(version)

    def _had_live(self, conflict: Conflict) -> bool:
        """Return whether the file held, before the edit that waits, what is live now."""
        before = self._pending[conflict.function].before
        live = self.releases.journal.current()[conflict.function].live
        data = self.releases.journal.bundles([live]).get(live.bundle)
        return before is not None and data is not None and same_bundle(decode(data), before)

    def _candidate(self, changed: Changed) -> Candidate:
        built = changed.built
        return Candidate(
            bundle=built.bundle,
            seen=self._seen.get(changed.name),
            lines=built.lines,
            file=built.file,
        )

    # and then ----------------------------------------------------------------------------

    def _back_off(self, error: StoreUnavailable) -> None:
        """Try again later, and say so once."""
        self.retry_at = self._clock() + self._retry_s * random.uniform(0.7, 1.3)
        self._retry_s = min(self._retry_s * 1.6, _LONGEST_RETRY_S)
        if not self._away:
            self._tell(Reconnecting(message=str(error), waiting=tuple(self._pending)))
        self._away = True

    def _reached(self, survey: Survey) -> bool:
        """Note that the store answers; return whether it had been away."""
        was_away, self._away = self._away, False
        self.retry_at, self._retry_s = None, _FIRST_RETRY_S
        if was_away:
            address = self.releases.journal.store.address
            self._tell(Reconnected(address=address, survey=survey))
        return was_away

    def _keep_back(self, error: ScatterError) -> None:
        """Say why a save was not pushed; it waits for the next edit of one of its functions."""
        names = tuple(self._pending)
        self._kept_back |= self._pending
        self._pending = {}
        if isinstance(error, RolledBack):
            self._tell(self._held_back(error, names))
            return
        if not isinstance(error, Conflict):
            self._tell(Failed(message=str(error), functions=names))
            return
        self._tell(
            Conflicted(
                function=error.function,
                seen=error.seen,
                live=error.live,
                author=error.author,
                time=error.time,
                kept_back=names,
            )
        )

    def _held_back(self, error: RolledBack, names: tuple[str, ...]) -> Held:
        """Return what to tell of a save that a rollback holds."""
        hold = error.author, error.time
        is_new = self._held.get(error.function) != hold
        self._held[error.function] = hold
        self._known[error.function].add(error.live or SHIPPED)  # by being told
        return Held(
            function=error.function,
            live=error.live,
            author=error.author,
            time=error.time,
            kept_back=names,
            is_new=is_new,
        )

    # for a while -------------------------------------------------------------------------

    @property
    def renew_at(self) -> float | None:
        """When the end of what was pushed for a while is to be put off; None: nothing is."""
        return self.lease.renew_at

    def renew(self) -> None:
        """Put off the end of what was pushed for a while."""
        try:
            self.lease.renew(self._clock())
        except StoreUnavailable as error:
            self._back_off(error)
        except ScatterError as error:
            self.lease.renew_at = self._clock() + self.lease.lasts_s / 2
            self._tell(Failed(message=str(error), functions=()))

    def _landed(self, outcome: Outcome, *, was_away: bool) -> None:
        """Tell what a push did, and remember it as seen."""
        now = self._clock()
        self.lease.lend(outcome, now)
        sequences = self._sequences(outcome, was_away=was_away)
        pushed: list[PushedFunction] = []
        already: list[tuple[str, int]] = []
        for name, changed in sorted(self._pending.items()):
            version = outcome.versions[name]
            if name in sequences:
                before = self._live.get(name) or changed.before
                pushed.append(_pushed(changed, version, outcome.sizes[name], before))
            else:
                already.append((name, version))
            self._saw(name, version)
            self._held.pop(name, None)
            self._live[name] = changed.built.bundle
        self._pending = {}
        if already:
            self._tell(AlreadyLive(functions=tuple(already)))
        if pushed:
            self._tell(
                Pushed(
                    sequence=max(sequences.values()),
                    functions=tuple(pushed),
                    noticed_at=self._noticed_at,
                    logged_s=now - self._noticed_at,
                )
            )

    def _sequences(self, outcome: Outcome, *, was_away: bool) -> dict[str, int]:
        """Return function → sequence of the release by which this push made it live.

        When the connection breaks during a push, it may have landed: the retry then finds its own
        work, and has nothing to release.
        """
        if outcome.release is not None:
            return {c.function: outcome.release.sequence for c in outcome.release.changes}
        if not was_away:
            return {}
        states = self.releases.journal.current()
        return {
            name: states[name].sequence
            for name, version in outcome.versions.items()
            if version != self._seen.get(name) and states[name].author == self.releases.author
        }


def _pushed(
    changed: Changed, version: int, size_bytes: int, before: Bundle | None
) -> PushedFunction:
    added, removed = count_lines(before, changed.built.bundle)
    return PushedFunction(
        name=changed.name,
        version=version,
        added=added,
        removed=removed,
        size_bytes=size_bytes,
        before=before,
        after=changed.built.bundle,
    )


def _digest(bundle: Bundle) -> str:
    """Return the digest of a bundle; empty for one that is too big to be live anywhere."""
    try:
        return digest_of(encode(bundle))
    except Refused:
        return ""
