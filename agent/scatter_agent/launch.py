"""Starts a program so that its interpreters bring an agent, without a change to its source.

The program replaces this process (`exec`): signals, exit status and whoever supervises it see the
program itself. Its environment has the settings, and a directory in front of PYTHONPATH in which
Python finds a `sitecustomize` (`site/`); by that each interpreter below waits for its cue.

Not here: what happens in the program (`launched`).

Invariant: whatever is wrong with scatter, the program runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from scatter.errors import ScatterError

SITE = Path(__file__).parent / "site"


class NotStarted(ScatterError):
    """The program itself cannot be executed.

    Attributes:
        exit_code: As shells have it: 127 if there is none of that name, else 126.

    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def is_disabled(environment: Mapping[str, str]) -> bool:
    """Return whether SCATTER_DISABLED says that nothing is to be done."""
    return environment.get("SCATTER_DISABLED", "0") not in ("", "0")


def with_agent(environment: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose interpreters bring an agent.

    Args:
        environment: The one that the program would have.
        settings: Variables of the agent's settings.

    """
    before = environment.get("PYTHONPATH", "")
    parts = before.split(os.pathsep) if before else []  # an empty part of more is the directory
    path = [str(SITE), *(part for part in parts if part != str(SITE))]
    return {**environment, **settings, "PYTHONPATH": os.pathsep.join(path)}


def execute(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become a program.

    Raises:
        NotStarted: It cannot be executed.

    """
    for name in ("SIGPIPE", "SIGXFSZ"):  # which Python ignores; a program finds them as usual
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - it is asked for
    except FileNotFoundError as error:
        raise NotStarted(
            f"{command[0]} is not found: expected a program in PATH, or its path.",
            exit_code=127,
        ) from error
    except OSError as error:
        raise NotStarted(
            f"{command[0]} cannot be executed: {error.strerror}. Correct its path or its rights.",
            exit_code=126,
        ) from error
