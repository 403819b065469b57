"""What a look at the working tree found, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scatter.bundle import Bundle
from scatter.bundle.build import Built

ProblemKind = Literal["syntax", "unreadable", "duplicate", "refused"]
NoteKind = Literal["state", "class", "body", "held", "unused", "half"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A tracked function whose code is new or differs from what the file had before.

    Attributes:
        name: Full name of the function.
        built: Its bundle now.
        before: Its bundle before; None for a function that was not there.

    """

    name: str
    built: Built
    before: Bundle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """A tracked function that no file defines any more. It stays live: nothing is deleted."""

    name: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a file, or a function in it, cannot be pushed as it is.

    Attributes:
        kind: `syntax`, `unreadable`, `duplicate` (two places give one name) or `refused`.
        file: The file, relative to the project.
        message: What is wrong, and where it is not obvious, what to do.
        line: Line in the file, from 1; 0 if it concerns the whole file.
        column: Column in that line, from 1; 0 if unknown.
        text: The text of that line.

    """

    kind: ProblemKind
    file: str
    message: str
    line: int = 0
    column: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"

    @property
    def place(self) -> str:
        """File, line and column as editors and terminals understand it: `pricing.py:3:5`."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that changed in a file and does not travel with the functions that use it.

    Attributes:
        kind: `state`: the initial value of a global that stays as it is in running processes;
            `class`: a class, of which processes may hold instances; `body`: a class of which only
            tracked methods are pushed; `held`: a function or constant that state or a class took
            up when it was made; `unused`: something that no tracked function uses; `half`: a
            helper that was pushed with those that use it, and that untracked code uses too.
        name: The top-level name.
        file: The file, relative to the project.
        line: Its first line now.
        functions: Tracked functions of that file that use it.
        holders: For `held`: what took it up. For `half`: the untracked code, and where it is.

    """

    kind: NoteKind
    name: str
    file: str
    line: int
    functions: tuple[str, ...]
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The result of one look at the working tree.

    Attributes:
        changed: Functions that are new or different, ordered by name.
        vanished: Functions that were there before.
        problems: What cannot be pushed; each is told once, until it changes.
        notes: What changed and stays behind.
        mended: Files that had a problem and have none any more.
        ask_again_at: When to look again, by the workspace's clock, since a save is in doubt;
            None when there is nothing to wait for.
        read: How many files were read.

    """

    changed: tuple[Changed, ...] = ()
    vanished: tuple[Vanished, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Note, ...] = ()
    mended: tuple[str, ...] = ()
    ask_again_at: float | None = None
    read: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything to act on or to tell."""
        return bool(self.changed or self.vanished or self.problems or self.notes or self.mended)
