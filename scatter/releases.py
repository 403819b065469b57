"""What changes the fleet: push, release, rollback, delete; and reading what was released.

Not here: live functions (`scatter.client`), files (`scatter.watch`). This is the part of the
client that knows only names, bundles and the log.

Invariants
1. Each verb makes one release, or none when nothing would change.
2. Identical code is no new version.
3. Nobody overwrites unseen: a push over a version that its maker has not seen is a `Conflict`,
   unless the same author made that version, or it is forced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scatter.bundle import Bundle, decode, digest_of, encode
from scatter.errors import Conflict, NotFound, Refused, UsageError
from scatter.log import Draft, Journal, Ledger
from scatter.model import Change, FunctionState, Release, Version
from scatter.names import SHIPPED, check, resolve


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
        release: The release; None when every function was live as it is already.
        versions: Function → its live version after the push.
        sizes: Function → size of the stored bundle in bytes.

    """

    release: Release | None
    versions: Mapping[str, int]
    sizes: Mapping[str, int]


class Releases:
    """The verbs on one namespace's log."""

    def __init__(self, journal: Journal, *, author: str, git: str = "") -> None:
        """Work on `journal` in the name of `author`."""
        self.journal = journal
        self.author = author
        self.git = git

    def __repr__(self) -> str:
        return f"<Releases of {self.journal.ledger.namespace} by {self.author}>"

    # reading -----------------------------------------------------------------------------

    def functions(self) -> dict[str, FunctionState]:
        """Return name → state of every function that is not deleted, after catching up."""
        self.journal.catch_up()
        known = self.journal.ledger.functions
        return {name: s for name, s in sorted(known.items()) if s.version is not None}

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
        wanted = state.version if number is None else number
        version = self.journal.version(state.function, wanted) if wanted else None
        if version is None:
            raise _no_version(state, wanted or SHIPPED)
        return version

    def fetch(self, version: Version) -> Bundle:
        """Return the bundle of a version, checked against its digest.

        Raises:
            Refused: `bundle-missing`, when the store has lost it.

        """
        change = Change(
            function=version.function,
            version=version.number,
            bundle=version.bundle,
            size=version.size,
        )
        data = self.journal.bundles([change]).get(version.bundle)
        if data is None:
            raise Refused(
                "bundle-missing",
                f"The bundle of `{version.function}` version {version.number} is not in "
                f"{self.journal.store.address}, or is damaged.",
                function=version.function,
                version=version.number,
                hint="Push the function again.",
            )
        return decode(data)

    # changing ----------------------------------------------------------------------------

    def push(
        self,
        candidates: Sequence[Candidate],
        *,
        message: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Pushed:
        """Make the candidates live, all in one release.

        Args:
            candidates: What to push; each function at most once.
            message: Why.
            force: Go over a `Conflict`.
            dry_run: Do everything but write.

        Raises:
            Conflict: A function's live version is not the one that its code was made from.
            Refused: `too-big`.

        """
        encoded = {check(c.bundle.function): (c, encode(c.bundle)) for c in candidates}
        if len(encoded) != len(candidates):
            raise UsageError("A function occurs twice in one push. Push each once.")
        plan: dict[str, Change] = {}

        def make(ledger: Ledger) -> Draft | None:
            plan.clear()
            for name, (candidate, data) in encoded.items():
                state = ledger.functions.get(name)
                change = self._pushed(candidate, data, state, force)
                plan[name] = change
            new = tuple(c for name, c in plan.items() if c != _live(ledger, name))
            if not new or dry_run:
                return None
            bundles = {c.bundle: encoded[c.function][1] for c in new if c.created}
            return self._draft("push", new, message, bundles=bundles)

        release = self.journal.append(make)
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
        if state and state.version and not force:
            self._check_seen(candidate, state)
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

    def _check_seen(self, candidate: Candidate, state: FunctionState) -> None:
        """Raise `Conflict` unless the candidate's maker has seen the live version."""
        if candidate.seen == state.version or (
            candidate.seen is None and state.author == self.author
        ):
            return
        name, seen = state.function, candidate.seen
        made_from = f"your code was made from version {seen}" if seen else "you have not seen it"
        raise Conflict(
            f"`{name}` version {state.version} was released by {state.author} at {state.time}; "
            f"{made_from}. See `scatter diff {name}`, then pull it, or push with force.",
            function=name,
            seen=seen,
            live=state.version,
            author=state.author,
            time=state.time,
        )

    def release(
        self, versions: Mapping[str, int], *, message: str = "", dry_run: bool = False
    ) -> Release | None:
        """Make existing versions live everywhere, all in one release.

        Args:
            versions: Name (full or short) → version; 0 for the deployed code.
            message: Why.
            dry_run: Do everything but write.

        Returns:
            The release; None when all of it was live already.

        Raises:
            NotFound: A function or version does not exist; nothing was released.

        """
        return self._release("release", versions, message=message, dry_run=dry_run)

    def _release(
        self, action: str, versions: Mapping[str, int], *, message: str, dry_run: bool
    ) -> Release | None:
        known = self.functions()
        wanted = {resolve(name, known): number for name, number in versions.items()}
        changes = [self._to_version(known[n], number) for n, number in wanted.items()]

        def make(ledger: Ledger) -> Draft | None:
            new = tuple(c for c in changes if _number(ledger, c.function) != c.version)
            return self._draft(action, new, message) if new and not dry_run else None

        return self.journal.append(make)

    def _to_version(self, state: FunctionState, number: int) -> Change:
        if number == SHIPPED:
            return Change(function=state.function, version=SHIPPED)
        version = self.journal.version(state.function, number)
        if version is None:
            raise _no_version(state, number)
        return Change(
            function=state.function,
            version=number,
            bundle=version.bundle,
            size=version.size,
            lines=version.lines,
            file=version.file,
        )

    def rollback(
        self,
        *names: str,
        to: int | None = None,
        message: str = "",
        dry_run: bool = False,
    ) -> Release | None:
        """Go back, everywhere.

        Args:
            *names: Functions to take back to the version that was live before their live one.
                None: those of the newest release.
            to: Go back to how things were right after this release, instead of one step.
            message: Why.
            dry_run: Do everything but write.

        Returns:
            The release; None when nothing would change.

        Raises:
            NotFound: No such function, or an earlier version is gone; nothing was released.

        """
        known = self.functions()
        if to is not None:
            targets = self._as_of(to, [resolve(n, known) for n in names] or list(known))
        else:
            chosen = [resolve(n, known) for n in names] or self._newest(known)
            targets = {name: known[name].previous for name in chosen}
        message = message or (f"back to release {to}" if to is not None else "")
        return self._release("rollback", targets, message=message, dry_run=dry_run)

    def _newest(self, known: Mapping[str, FunctionState]) -> list[str]:
        """Return the functions of the newest release that are not deleted."""
        sequence = self.journal.ledger.sequence
        return [name for name, state in known.items() if state.sequence == sequence]

    def _as_of(self, sequence: int, names: Iterable[str]) -> dict[str, int]:
        """Return name → version that was live right after release `sequence`."""
        if not 0 <= sequence <= self.journal.ledger.sequence:
            raise NotFound(
                f"There is no release {sequence}: the newest is {self.journal.ledger.sequence}.",
                name=str(sequence),
            )
        known = self.journal.ledger.functions
        open_ = {name for name in names if known[name].sequence > sequence}
        targets: dict[str, int] = {}
        before = sequence + 1
        while open_ and before > 1:
            page = self.journal.releases(before=before, limit=256)
            for change in (c for release in page for c in release.changes):
                if change.function in open_:
                    open_.discard(change.function)
                    targets[change.function] = change.version or SHIPPED
            before -= 256
        return targets | dict.fromkeys(open_, SHIPPED)

    def delete(
        self,
        asked: str,
        *,
        older_than: int | None = None,
        message: str = "",
        dry_run: bool = False,
    ) -> tuple[int, ...]:
        """Remove a function, or its versions below a number; their bundles go for good.

        The log keeps the fact. Processes of a deleted function go back to their deployed code;
        where it was fetched, they keep what they have.

        Args:
            asked: Full or short name.
            older_than: Remove only versions with a smaller number; the live one is kept.
            message: Why.
            dry_run: Do everything but write.

        Returns:
            The numbers of the versions removed.

        Raises:
            NotFound: No such function.

        """
        state = self.find(asked)
        versions = self.journal.versions(state.function, below=older_than, limit=1 << 30)
        if older_than is not None:
            versions = [v for v in versions if not v.live]
        numbers = tuple(v.number for v in versions)
        if dry_run or (older_than is not None and not numbers):
            return numbers

        def make(ledger: Ledger) -> Draft | None:
            live = ledger.functions[state.function].live
            change = Change(function=state.function, version=None)
            if older_than is not None:
                change = _kept(live)
            note = message or (f"versions {_span(numbers)} removed" if older_than else "")
            forget = {state.function: numbers if older_than is not None else ()}
            return self._draft("delete", (change,), note, forget=forget)

        self.journal.append(make)
        kept = {state.live.bundle} if older_than is not None else set()
        self.journal.store.remove_bundles({v.bundle for v in versions} - kept)
        return numbers

    def _draft(
        self,
        action: str,
        changes: tuple[Change, ...],
        message: str,
        *,
        bundles: Mapping[str, bytes] | None = None,
        forget: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Draft:
        return Draft(
            action=action,  # type: ignore[arg-type]
            changes=changes,
            bundles=bundles or {},
            forget=forget or {},
            author=self.author,
            message=message,
            git=self.git,
            python=sys.implementation.cache_tag or "",
        )


def _live(ledger: Ledger, name: str) -> Change | None:
    state = ledger.functions.get(name)
    return state.live if state else None


def _number(ledger: Ledger, name: str) -> int | None:
    state = ledger.functions.get(name)
    return state.version if state else None


def _kept(live: Change) -> Change:
    """Return the change that leaves a function's live version as it is."""
    return Change(
        function=live.function,
        version=live.version,
        bundle=live.bundle,
        size=live.size,
        lines=live.lines,
        file=live.file,
    )


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _no_version(state: FunctionState, number: int) -> NotFound:
    if number == SHIPPED:
        what = f"`{state.function}` runs the deployed code; no version of it is live."
    else:
        what = f"`{state.function}` has no version {number} (the newest is {state.last})."
    return NotFound(f"{what} See `scatter log {state.function}`.", name=state.function)


__all__ = ["Candidate", "Pushed", "Releases"]
