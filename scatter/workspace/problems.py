"""The problems of a workspace, as people read them."""

from __future__ import annotations

from scatter.errors import Refused, UsageError
from scatter.workspace.changes import Problem


def syntax(error: SyntaxError, file: str) -> Problem:
    """Return the problem of text that is no Python."""
    return Problem(
        kind="syntax",
        file=file,
        message=error.msg or str(error),
        line=error.lineno or 0,
        column=error.offset or 0,
        text=(error.text or "").rstrip("\n"),
    )


def refused(error: Refused | UsageError, file: str, line: int) -> Problem:
    """Return the problem of a function that cannot be pushed."""
    return Problem(kind="refused", file=file, message=str(error), line=line)


def twice_in_file(name: str, file: str, lines: tuple[int, int]) -> Problem:
    """Return the problem of two functions of one file with one name."""
    message = f"`{name}` is defined here and in line {lines[0]}. Give one of them another name."
    return Problem(kind="duplicate", file=file, message=message, line=lines[1])


def duplicate(name: str, labels: list[str]) -> Problem:
    """Return the problem of two files that define functions of one name."""
    message = (
        f"`{name}` is defined in {' and '.join(labels)}, so neither is pushed. "
        "Rename one, or give it a name with @scatter.track(name=...)."
    )
    return Problem(kind="duplicate", file=labels[0], message=message)
