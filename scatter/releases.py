"""What changes the fleet: push, release, rollback, delete; and reading what was released.

Not here: live functions (`scatter.client`), files (`scatter.watch`). This is the part of the
client that knows only names, bundles and the log.

Invariants
1. Each verb makes one release, or none when nothing would change.
2. Identical code is no new version; where the store has lost it, it is written again.
3. Nobody overwrites unseen: a push over a version that its maker has not seen is a `Conflict`,
   unless the same author made that version, or it is forced.
4. What a release does is decided at the tip of the log, again after every lost race.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scatter import undo
from scatter.bundle import Bundle, decode, digest_of, encode
from scatter.errors import NotFound, Refused, UsageError
from scatter.log import Draft, Journal, Ledger
from scatter.log.proposal import Proposal
from scatter.log.versions import removals
from scatter.model import Action, Change, FunctionState, Release, Version
from scatter.names import SHIPPED, check, resolve
from scatter.steps import (
    check_held,
    check_seen,
    deployed_is_live,
    kept,
    may_stay,
    moves,
    newest_first,
    news,
    no_version,
    span,
)

Targets = Callable[[Mapping[str, FunctionState]], Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A bundle that somebody wants to push.

    Attributes:
        bundle: The bundle.
        seen: Version that the code was made from, as far as its maker knows; None: never saw one.
        lines, file: As in `Change`.

    """

    bundle: Bundle
    seen: int | None = None
    lines: tuple[int, ...] = ()
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push did.

    Attributes:
        release: The release, or what it would be; None when every function was live as it is
            already.
        versions: Function → its live version after the push.
        sizes: Function → size of the stored bundle in bytes.

    """

    release: Release | None
    versions: Mapping[str, int]
    sizes: Mapping[str, int]


class Releases:
    """The verbs on one namespace's log."""

    def __init__(
        self, journal: Journal, *, author: str, git: Callable[[], str] = lambda: ""
    ) -> None:
        """Work on `journal` in the name of `author`; `git` tells the commit of a push."""
        self.journal = journal
        self.author = author
        self.git = git
        self._into: Callable[[Release, Proposal], object] | None = None

    def __repr__(self) -> str:
        return f"<Releases of {self.journal.ledger.namespace} by {self.author}>"

    def proposing(self, into: Callable[[Release, Proposal], object]) -> Releases:
        """Return the same verbs, which propose in place of writing.

        Args:
            into: Given what each verb would release: the release, and the proposal for others to
                sign (`scatter.log.cosign`).

        """
        other = Releases(self.journal, author=self.author, git=self.git)
        other._into = into
        return other

    def _append(
        self, make: Callable[[Ledger], Draft | None], *, dry_run: bool = False
    ) -> Release | None:
        if self._into is None or dry_run:
            return self.journal.append(make, dry_run=dry_run)
        made = self.journal.propose(make)
        if made is None:
            return None
        self._into(*made)
        return made[0]

    # reading -----------------------------------------------------------------------------

    def functions(self) -> dict[str, FunctionState]:
        """Return name → state of every function that is not deleted, after catching up."""
        self.journal.catch_up()
        return self.known()

    def known(self) -> dict[str, FunctionState]:
        """Return what `functions` does, as of the last look."""
        return _alive(self.journal)

    def find(self, asked: str) -> FunctionState:
        """Return the state of a function by its full or short name, after catching up.

        Raises:
            NotFound: No such function, or (`Ambiguous`) several.

        """
        known = self.functions()
        return known[resolve(asked, known)]

    def history(self, asked: str, limit: int = 100) -> list[Version]:
        """Return the newest versions of a function, newest first."""
        return self.journal.versions(self.find(asked).function, limit=limit)

    def version(self, asked: str, number: int | None = None) -> Version:
        """Return one version of a function; the live one by default.

        Raises:
            NotFound: No such function or version, or the deployed code is live.

        """
        state = self.find(asked)
        if number is None and not state.version:
            raise deployed_is_live(state)
        wanted = state.version if number is None else number
        version = self.journal.version(state.function, wanted) if wanted else None
        if version is None:
            raise no_version(state, wanted or SHIPPED)
        return version

    def fetch(self, version: Version) -> Bundle:
        """Return the bundle of a version, checked against its digest.

        Raises:
            Refused: `bundle-missing`, when the store has lost it.

        """
        return decode(self.journal.bundle(version.as_change()))

    def before(self, version: Version) -> Version | None:
        """Return the version before another one, by their numbers; None if that is the first."""
        found = self.journal.versions(version.function, below=version.number, limit=1)
        return found[0] if found else None

    def live_bundles(self, states: Iterable[FunctionState]) -> dict[str, Bundle]:
        """Return function → live bundle; those that are lost or cannot be read are left out."""
        states = [state for state in states if state.version]
        found = self.journal.bundles(state.live for state in states)
        bundles = {}
        for state in states:
            try:
                bundles[state.function] = decode(found[state.live.bundle])
            except (KeyError, Refused):
                continue
        return bundles

    # changing ----------------------------------------------------------------------------

    def push(
        self,
        candidates: Sequence[Candidate],
        *,
        message: str = "",
        force: bool = False,
        dry_run: bool = False,
        lasts_s: float = 0.0,
        unasked: bool = False,
    ) -> Pushed:
        """Make the candidates live, all in one release.

        What is live as it is stays, but that its end is put off, or taken away, where it is
        temporary; and a push that somebody asked for lifts what a rollback holds.

        Args:
            candidates: What to push; each function at most once.
            message: Why.
            force: Go over a `Conflict`.
            dry_run: Do everything but write.
            lasts_s: Seconds after which what was live before is so again; 0: not by itself.
            unasked: Nobody asked for this push: a file was saved.

        Raises:
            Conflict: A function's live version is not the one that its code was made from; or
                (`RolledBack`) it was rolled back, and nobody asked for this push.
            Refused: `too-big`.

        """
        encoded = {check(c.bundle.function): (c, encode(c.bundle)) for c in candidates}
        if len(encoded) != len(candidates):
            raise UsageError("A function occurs twice in one push. Push each once.")
        plan: dict[str, Change] = {}

        def make(_: Ledger) -> Draft | None:
            plan.clear()
            known = self.journal.current()
            for name, (candidate, data) in encoded.items():
                state = known.get(name)
                if unasked and state and state.live.bundle != digest_of(data):
                    check_held(candidate.seen, state)
                plan[name] = self._pushed(candidate, data, state, force)
            new = tuple(news(plan, known, lasts_s, unasked))
            lasting = lasts_s if new else 0.0
            new = new or self._lost(plan.values())
            if not new:
                return None
            bundles = {c.bundle: encoded[c.function][1] for c in new}
            git = self.git()
            return self._draft("push", new, message, bundles=bundles, git=git, lasts_s=lasting)

        release = self._append(make, dry_run=dry_run)
        return Pushed(
            release=release,
            versions={name: change.version or SHIPPED for name, change in plan.items()},
            sizes={name: change.size for name, change in plan.items()},
        )

    def _pushed(
        self, candidate: Candidate, data: bytes, state: FunctionState | None, force: bool
    ) -> Change:
        """Return the change that a push of one function makes: its live one if it is the same."""
        name, digest = candidate.bundle.function, digest_of(data)
        if state and state.live.bundle == digest:
            return state.live
        if state and state.version is not None and not force:
            check_seen(candidate.seen, state, self.author)
        return Change(
            function=name,
            version=(state.last if state else 0) + 1,
            bundle=digest,
            size=len(data),
            base=state.version or None if state else None,
            created=True,
            lines=candidate.lines,
            file=candidate.file,
        )

    def _lost(self, live: Collection[Change]) -> tuple[Change, ...]:
        """Return those live versions whose bundle the store has lost: a release brings it back."""
        there = self.journal.store.bundles([change.bundle for change in live])
        return tuple(kept(change, 0) for change in live if change.bundle not in there)

    def release(
        self,
        versions: Mapping[str, int],
        *,
        message: str = "",
        dry_run: bool = False,
        lasts_s: float = 0.0,
    ) -> Release | None:
        """Make existing versions live everywhere, all in one release.

        One that is live already is released again where it is temporary or was rolled back to:
        it stays for good then, and nothing holds it against watchers.

        Args:
            versions: Name (full or short) → version; 0 for the deployed code.
            message: Why.
            dry_run: Do everything but write.
            lasts_s: Seconds after which what was live before is so again; 0: not by itself.

        Returns:
            The release, or what it would be; None when all of it was live already.

        Raises:
            NotFound: A function or version does not exist; nothing was released.

        """

        def targets(known: Mapping[str, FunctionState]) -> dict[str, int]:
            found = {resolve(name, known): number for name, number in versions.items()}
            if len(found) != len(versions):
                raise UsageError("Two of the names mean the same function. Name each once.")
            return found

        def make(_: Ledger) -> Draft | None:
            known = _alive(self.journal)
            return self._to(targets, "release", known, message, lasts_s)

        return self._append(make, dry_run=dry_run)

    def extend(self, versions: Mapping[str, int], *, lasts_s: float) -> Release | None:
        """Put off the end of temporary versions, where they are still live.

        Args:
            versions: Full name → its temporary version.
            lasts_s: Seconds from now until they are over.

        Returns:
            The release; None where none of them is live any more.

        """

        def make(_: Ledger) -> Draft | None:
            changes = tuple(kept(state.live, 0) for state in self._temporary(versions))
            draft = self._draft("release", changes, "goes on", lasts_s=lasts_s)
            return draft if changes else None

        return self._append(make)

    def end(self, versions: Mapping[str, int], *, message: str = "") -> Release | None:
        """Make live what temporary versions fall back to, where they are still live.

        It is no rollback: nothing holds the functions against watchers.

        Args:
            versions: Full name → its temporary version.
            message: Why.

        Returns:
            The release; None where none of them is live any more.

        """

        def make(_: Ledger) -> Draft | None:
            before = (state.fallback for state in self._temporary(versions))
            changes = tuple(kept(one.live, 0) for one in before if one is not None)
            return self._draft("release", changes, message) if changes else None

        self.journal.catch_up()
        return self._append(make)

    def _temporary(self, versions: Mapping[str, int]) -> list[FunctionState]:
        """Return the functions of which these temporary versions are live."""
        known = self.journal.current()
        states = (known[name] for name in versions if name in known)
        return [s for s in states if s.expires and s.version == versions[s.function]]

    def _to(
        self,
        targets: Targets,
        action: Action,
        known: Mapping[str, FunctionState],
        message: str,
        lasts_s: float = 0.0,
    ) -> Draft | None:
        """Return a draft that makes other versions live; None where nothing would change."""

        def is_news(state: FunctionState, number: int) -> bool:
            again = action == "release" and may_stay(state, lasts_s, unasked=False)
            return again or state.version != number

        chosen = {n: v for n, v in targets(known).items() if is_news(known[n], v)}
        changes = tuple(self._to_version(known[n], number) for n, number in chosen.items())
        return self._draft(action, changes, message, lasts_s=lasts_s) if changes else None

    def _to_version(self, state: FunctionState, number: int) -> Change:
        if number == SHIPPED:
            return Change(function=state.function, version=SHIPPED)
        version = self.journal.version(state.function, number)
        if version is None:
            raise no_version(state, number)
        return version.as_change()

    def rollback(
        self,
        *names: str,
        to: int | None = None,
        message: str = "",
        dry_run: bool = False,
    ) -> Release | None:
        """Go back, everywhere. It holds the functions against watchers, until somebody lifts that.

        The log says what was live, not what ran: a step back may lead to a version that every
        process had refused, and is then refused again. Use `to`, or `release`, to go further.

        Args:
            *names: Functions to take back to the version that was live before their live one.
                None: those of the newest release.
            to: Go back to how things were right after this release, instead of one step.
            message: Why.
            dry_run: Do everything but write.

        Returns:
            The release, or what it would be; None when nothing would change.

        Raises:
            NotFound: No such function, or an earlier version is gone; nothing was released.

        """

        def targets(known: Mapping[str, FunctionState]) -> dict[str, int]:
            chosen = [resolve(name, known) for name in names]
            if to is not None:
                return self._as_of(to, chosen or list(known))
            return {name: known[name].previous for name in chosen or self._newest(known)}

        def make(_: Ledger) -> Draft | None:
            return self._to(targets, "rollback", _alive(self.journal), message)

        message = message or (f"back to release {to}" if to is not None else "")
        return self._append(make, dry_run=dry_run)

    def undo(
        self, *, message: str = "", force: bool = False, dry_run: bool = False
    ) -> Release | None:
        """Take back the newest release of this author that is still live.

        What was live before it is live again. Rollbacks are not taken back: an undo after an undo
        takes back the release before.

        Args:
            message: Why.
            force: Take it back also where somebody else has released over a part of it.
            dry_run: Do everything but write.

        Returns:
            The release, or what it would be.

        Raises:
            NotFound: There is no such release.
            Conflict: Somebody else has released over a part of it since.

        """

        def make(_: Ledger) -> Draft | None:
            known = _alive(self.journal)
            mine = undo.last_of(self.author, self.journal, known)
            left = undo.left_of(mine, known, force=force)
            targets = self._as_of(mine.sequence - 1, left)
            note = message or f"undo of release {mine.sequence}"
            return self._to(lambda _: targets, "rollback", known, note)

        self.journal.catch_up()
        return self._append(make, dry_run=dry_run)

    def _newest(self, known: Mapping[str, FunctionState]) -> list[str]:
        """Return the functions of the newest release that are not deleted."""
        everything = self.journal.ledger.functions.values()  # the newest may have deleted one
        newest = max((state.sequence for state in everything), default=0)
        return [name for name, state in known.items() if state.sequence == newest]

    def _as_of(self, sequence: int, names: Iterable[str]) -> dict[str, int]:
        """Return name → version that was live right after release `sequence`.

        Nothing goes back to a temporary version: what was live for good counts.
        """
        if not 0 <= sequence <= self.journal.ledger.sequence:
            raise NotFound(
                f"There is no release {sequence}: the newest is {self.journal.ledger.sequence}.",
                name=str(sequence),
            )
        known = self.journal.current()
        open_ = {name for name in names if known[name].sequence > sequence}
        targets: dict[str, int] = {}
        releases = newest_first(self.journal, sequence + 1)
        while open_ and (release := next(releases, None)):
            for change in () if release.expires else moves(release):
                if change.function in open_:
                    open_.discard(change.function)
                    targets[change.function] = change.version or SHIPPED
        return targets | dict.fromkeys(open_, SHIPPED)

    def renew(self, *, message: str = "") -> Release:
        """Release nothing, to say that the log is as new as it can be.

        Where the policy of those who follow has a `stale_after`, somebody has to, from time to
        time: else nobody can tell a quiet log from one whose newest releases are withheld.

        Args:
            message: Why.

        """
        release = self._append(lambda _: self._draft("renew", (), message))
        assert release is not None
        return release

    def delete(
        self,
        asked: str,
        *,
        older_than: int | None = None,
        message: str = "",
        dry_run: bool = False,
    ) -> tuple[int, ...]:
        """Remove a function, or its versions below a number; their bundles go for good.

        Bundles go in the same step as the versions; one that a remaining version shares stays.
        The log keeps the fact. Processes of a deleted function go back to their deployed code;
        where it was fetched, they keep what they have.

        Args:
            asked: Full or short name.
            older_than: Remove only versions with a smaller number; the live one is kept.
            message: Why.
            dry_run: Do everything but write.

        Returns:
            The numbers of the versions removed, newest first.

        Raises:
            NotFound: No such function.

        """
        numbers = tuple[int, ...]()

        def make(ledger: Ledger) -> Draft | None:
            nonlocal numbers
            known = _alive(self.journal)
            state = known[resolve(asked, known)]
            versions = self.journal.versions(state.function, limit=1 << 30)
            change = Change(function=state.function, version=None)
            if older_than is not None:
                change = kept(state.live, removed_below=older_than)
            gone, bundles = removals(change, versions, ledger.functions.get(state.function))
            numbers = tuple(v.number for v in gone)
            if older_than is not None and not gone:
                return None
            note = message if older_than is None else message or f"versions {span(numbers)} removed"
            forget = {state.function: () if older_than is None else numbers}
            return self._draft("delete", (change,), note, forget=forget, remove=frozenset(bundles))

        self._append(make, dry_run=dry_run)
        return numbers

    def _draft(
        self, action: Action, changes: tuple[Change, ...], message: str, **rest: Any
    ) -> Draft:
        """Return a draft in the name of this author; `rest` as in `Draft`."""
        return Draft(
            action=action,
            changes=changes,
            author=self.author,
            message=message,
            python=sys.implementation.cache_tag or "",
            **rest,
        )


def _alive(journal: Journal) -> dict[str, FunctionState]:
    """Return name → state of every function that is not deleted."""
    return {n: s for n, s in sorted(journal.current().items()) if s.version is not None}


__all__ = ["Candidate", "Pushed", "Releases", "deployed_is_live"]
