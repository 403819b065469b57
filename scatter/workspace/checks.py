"""Commands that must pass before something is pushed, such as a selection of the tests.

They run on the working tree, one after the other, in the project's directory and without a shell.

Not here: what is found without running anything (`gates`).

Invariant: a command of a file runs only if the file is this user's: whoever may write a project's
file may have its commands run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from scatter.errors import Refused, UsageError

_FORM = re.compile(r"(?:\[(?P<pattern>[^\]]+)\]\s+)?(?P<command>[^\[\s].*)", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One command.

    Attributes:
        command: As it was written.
        words: The program and its arguments.
        pattern: Paths, relative to the project, of which it concerns code; `*` is all of them.

    """

    command: str
    words: tuple[str, ...]
    pattern: str = "*"

    def concerns(self, files: Iterable[str]) -> bool:
        """Return whether it is to run when code of these files is pushed."""
        return any(fnmatchcase(file, self.pattern) for file in files)


def read_checks(texts: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks that settings or options name: `COMMAND`, or `[PATTERN] COMMAND`.

    Raises:
        UsageError: One is empty, or its quotes do not end.

    """
    found = []
    for text in texts:
        match = _FORM.fullmatch(text.strip())
        try:
            words = tuple(shlex.split(match["command"])) if match else ()
        except ValueError as error:
            raise UsageError(f"checks: {text!r} cannot be read as a command: {error}.") from error
        if match is None or not words:
            raise UsageError(f"checks: expected a command such as 'pytest -q', found {text!r}.")
        pattern = match["pattern"] or "*"
        found.append(Check(command=match["command"], words=words, pattern=pattern))
    return tuple(found)


def check_owner(file: Path) -> None:
    """Return if the commands in a file may be run: it is this user's or root's, and only theirs.

    Raises:
        UsageError: Somebody else could have written them.

    """
    if not hasattr(os, "getuid"):
        return
    found = file.stat()
    is_ours = found.st_uid in (os.getuid(), 0)
    if not is_ours or found.st_mode & 0o002:
        who = "others can write it" if is_ours else "it belongs to another user"
        raise UsageError(
            f"{file} names checks, which are not run: {who}. Make it yours alone, or push with "
            "--no-check."
        )


def run(check: Check, folder: Path, say: Callable[[str], None]) -> None:
    """Run a check to its end.

    Args:
        check: The check.
        folder: Where it runs.
        say: Called with each line that it prints.

    Raises:
        Refused: `check-failed`: it did not end with 0, or could not be started.

    """
    try:
        process = subprocess.Popen(
            check.words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        why = error.strerror or str(error)
        raise _failed(check, f"cannot be started in {folder}: {why}") from error
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                say(line.rstrip("\n"))
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    if code:
        how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}"
        raise _failed(check, how)


def _failed(check: Check, how: str) -> Refused:
    return Refused(
        "check-failed",
        f"The check `{check.command}` {how}; nothing was pushed.",
        hint="Mend what it found, or push with --no-check.",
    )
