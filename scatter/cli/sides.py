"""What code can be compared with: what is live, a version, the working tree, a git revision.

Not here: showing it (`scatter.cli.diff`). Invariant: the store is asked only for what is in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from scatter.errors import NotFound, UsageError
from scatter.names import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scatter.bundle import Bundle
    from scatter.config import Settings
    from scatter.model import FunctionState
    from scatter.releases import Releases
    from scatter.workspace import AtHead, Live, Workspace

LIVE, TREE, BEFORE = "live", "tree", "before"
_VERSION = re.compile(r"v?(\d+)")
_GIT = "git:"
LOST = "the store has lost its live version, or it cannot be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: What it is, for people.
        bundles: Function → its code there; functions that it does not have are left out.
        names: Function → which code that is, where it is more than `name` says.
        unclear: Function → why nothing can be said of it there.

    """

    name: str
    bundles: Mapping[str, Bundle]
    names: Mapping[str, str] = field(default_factory=dict)
    unclear: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, function: str) -> str:
        """Return which code of a function this is, for people."""
        return self.names.get(function, self.name)


class Sides:
    """Reads sides, each thing once."""

    def __init__(self, releases: Releases, settings: Settings) -> None:
        """Read nothing yet.

        Args:
            releases: Of the namespace.
            settings: Which files are the working tree's.

        """
        self._releases = releases
        self._settings = settings

    @cached_property
    def known(self) -> Mapping[str, FunctionState]:
        """What the log says of every function."""
        return self._releases.functions()

    @cached_property
    def tree(self) -> Workspace:
        """The working tree.

        Raises:
            UsageError: No function in it is tracked.

        """
        from scatter.cli.explain import open_workspace

        paths = tuple(Path(path) for path in self._settings.paths)
        return open_workspace(paths, self._settings.track, secrets=True)

    def find(self, asked: str, words: Iterable[str]) -> str:
        """Return the full name of a function, wherever the words look for it.

        Raises:
            NotFound: There is no such function.

        """
        words = {*words}
        names = {*self.tree.functions} if words & {TREE} else set[str]()
        if words & {LIVE, BEFORE} or any(map(_VERSION.fullmatch, words)) or not names:
            names |= self.known.keys()
        return resolve(asked, names)

    def everything(self, words: Iterable[str]) -> list[str]:
        """Return every function that the words may have, sorted."""
        words = {*words}
        in_tree = self.tree.functions.keys() if TREE in words else set[str]()
        in_log = self.known.keys() if words - {TREE} else set[str]()
        return sorted(in_tree | in_log)

    def read(self, word: str, functions: Iterable[str]) -> Side:
        """Return the side that a word names.

        Args:
            word: `live`, `tree`, `before` (the version before the live one), a version number, or
                a git revision.
            functions: Full names.

        Raises:
            UsageError: It is none of these.
            NotFound: There is no such version.

        """
        functions = [*functions]
        if word == LIVE:
            return self._live(functions)
        if word == TREE:
            built = self.tree.functions
            return Side(
                name="working tree",
                bundles={name: built[name].bundle for name in functions if name in built},
            )
        number = _VERSION.fullmatch(word)
        if word == BEFORE or number:
            return self._versions(int(number[1]) if number else None, functions)
        return self._commit(word.removeprefix(_GIT), functions)

    def _live(self, functions: list[str]) -> Side:
        states = [self.known[name] for name in functions if name in self.known]
        bundles = self._releases.live_bundles(states)
        return Side(
            name=LIVE,
            bundles=bundles,
            names={s.function: f"v{s.version} (live)" for s in states if s.version},
            unclear=dict.fromkeys(self.lost(functions, bundles), LOST),
        )

    def _versions(self, number: int | None, functions: list[str]) -> Side:
        """Return one version of each function; without a number the one before its live one."""
        found: dict[str, Bundle] = {}
        names: dict[str, str] = {}
        for name in functions:
            version = (
                self._releases.version(name, number)
                if number is not None
                else self._releases.before(self._releases.version(name))
            )
            if version is not None:
                found[name], names[name] = self._releases.fetch(version), f"v{version.number}"
        return Side(name=f"v{number}" if number else "nothing", bundles=found, names=names)

    def _commit(self, revision: str, functions: list[str]) -> Side:
        at = self.commit(revision, functions)
        if at is None:
            raise UsageError(
                f"Expected `live`, `tree`, a version such as 3, or a git revision; found "
                f"{revision!r}, which is none here."
            )
        name = f"{revision} {at.commit[:8]}" if not at.commit.startswith(revision) else revision
        return Side(name=name, bundles=at.bundles, unclear=at.unclear)

    def commit(self, revision: str, functions: Iterable[str]) -> AtHead | None:
        """Return how a commit compares with the working tree, or with what is live.

        With the working tree if that was read, for the functions that it has.

        Returns:
            None if there is no such commit.

        """
        from scatter.workspace import compare_with_head

        settings, names = self._settings, [*functions]
        code = self._known_code(names)
        at = compare_with_head(
            Path.cwd(), code, paths=settings.paths, track=settings.track, revision=revision
        )
        lost = dict.fromkeys(self.lost(names, code), LOST)
        return replace(at, unclear={**at.unclear, **lost}) if at else None

    def lost(self, names: Iterable[str], found: Mapping[str, object]) -> list[str]:
        """Return the functions that have a live version and were not found."""
        lacking = (name for name in names if name not in found)
        return [name for name in lacking if name in self.known and self.known[name].version]

    def live_code(self) -> dict[str, Live]:
        """Return function → its live version, of all that have one that can be read."""
        return live_code(self._releases, self.known.values())

    @property
    def track(self) -> tuple[str, ...]:
        """Patterns of modules of which every function is tracked."""
        return tuple(self._settings.track)

    def _known_code(self, names: Sequence[str]) -> dict[str, Live]:
        """Return code of functions, and where it is from: what a commit is searched for."""
        from scatter.workspace import Live

        built = self.tree.functions if "tree" in self.__dict__ else {}
        found = {n: Live(bundle=built[n].bundle, file=built[n].file) for n in names if n in built}
        lacking = [name for name in names if name not in found]
        if lacking:
            states = [self.known[name] for name in lacking if name in self.known]
            found |= live_code(self._releases, states)
        return found


def live_code(releases: Releases, states: Iterable[FunctionState]) -> dict[str, Live]:
    """Return function → its live version, of those that have one that can be read."""
    from scatter.workspace import Live

    known = {state.function: state for state in states}
    found = releases.live_bundles(known.values())
    return {n: Live(bundle=bundle, file=known[n].live.file) for n, bundle in found.items()}


def not_there(function: str, old: Side, new: Side) -> NotFound:
    """Return the error for a function that neither side has."""
    return NotFound(
        f"Neither {old.name_of(function)} nor {new.name_of(function)} has `{function}`.",
        name=function,
    )
