"""Who else uses a helper that travels: callers that go on to have the deployed one.

A changed helper is seen by the versions that bring it, and by nobody else. Whoever is not tracked
and reaches it otherwise keeps the deployed one, so that half of the callers have the new code and
half the old: that must be said.

Not here: which helpers changed, and reading files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scatter.analysis import ModuleSource
from scatter.bundle.reach import Find, Place, Reach
from scatter.workspace.changes import Note

if TYPE_CHECKING:
    from scatter.workspace.explain import Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Untracked code that reaches a helper.

    Attributes:
        helper: The helper's name.
        user: The function, class or other definition that reaches it.
        file, line: Where that is.

    """

    helper: str
    user: str
    file: str
    line: int


class Users:
    """The definitions of some modules, and what each one leads to."""

    def __init__(self, sources: Iterable[tuple[ModuleSource, Find]]) -> None:
        """Read the modules.

        Args:
            sources: All modules of the project in which users may be, each with what returns the
                source of a module that it imports if it belongs to the project.

        """
        self._lines: dict[Place, tuple[str, int]] = {}
        self._tracked: set[Place] = set()
        self._users: defaultdict[Place, set[Place]] = defaultdict(set)
        for source, find in sources:
            for user, places in _definitions(source, find):
                self._lines[user] = source.file, _line_of(source, user.name)
                if user.name in source.tracked:
                    self._tracked.add(user)
                for place in places:
                    self._users[place].add(user)

    def strangers(self, helper: Place) -> Iterator[Stranger]:
        """Yield the untracked code that nobody tracked stands between a helper and."""
        seen, todo = {helper}, [helper]
        while todo:
            for user in sorted(self._users[todo.pop()] - seen):
                seen.add(user)
                if user in self._tracked:
                    continue
                if self._users[user]:
                    todo.append(user)
                else:
                    file, line = self._lines[user]
                    yield Stranger(helper=helper.name, user=user.name, file=file, line=line)


def half_reached(explained: Mapping[str, Explanation]) -> tuple[Note, ...]:
    """Return a note for each changed helper that untracked code uses too.

    Args:
        explained: Function → what a push of it does.

    """
    users = defaultdict[tuple[str, str, int], dict[str, None]](dict)
    functions = defaultdict[tuple[str, str, int], dict[str, None]](dict)
    for name, explanation in explained.items():
        for one in explanation.strangers:
            piece = next(p for p in explanation.changed if p.name.endswith(one.helper))
            key = one.helper, piece.file, piece.line
            users[key][f"{one.user} ({one.file}:{one.line})"] = None
            functions[key][name] = None
    return tuple(
        Note(
            kind="half",
            name=name,
            file=file,
            line=line,
            functions=tuple(functions[name, file, line]),
            holders=tuple(found),
        )
        for (name, file, line), found in users.items()
    )


def _definitions(source: ModuleSource, find: Find) -> Iterator[tuple[Place, frozenset[Place]]]:
    """Yield each function, method and other definition of a module with what it leads to."""
    reach = Reach(source, find, lambda _source, _key: False)
    methods = set[str]()
    for key, function in source.functions.items():
        methods.add(key.partition(".")[0])
        yield Place(source.name, key), reach.places(source, function.uses, function.source)
    for name, definition in source.definitions.items():
        if name not in methods and definition.kind != "import":
            found = reach.places(source, definition.uses, definition.source)
            yield Place(source.name, name), found - {Place(source.name, name)}


def _line_of(source: ModuleSource, name: str) -> int:
    function = source.functions.get(name)
    return function.line if function else source.definitions[name].line
