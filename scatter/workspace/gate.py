"""All that must be well before functions are pushed: what files tell, then what commands say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from scatter.bundle import Bundle
from scatter.bundle.build import Built
from scatter.errors import Refused
from scatter.workspace.checks import Check, run
from scatter.workspace.gates import Gates
from scatter.workspace.workspace import Workspace

Found = Mapping[str, tuple[Built, Bundle | None]]
"""Function → as it would be pushed, and what is live of it."""


class Gate:
    """Lets functions of one workspace pass, or says why not."""

    def __init__(
        self, workspace: Workspace, checks: Sequence[Check], *, allow: Collection[str] = ()
    ) -> None:
        """Look at nothing yet.

        Args:
            workspace: What the files hold.
            checks: Commands that must pass.
            allow: Reasons that do not count.

        """
        self._workspace = workspace
        self._checks = tuple(checks)
        self._gates = Gates(workspace, allow=allow)

    def __repr__(self) -> str:
        return f"<Gate of {self._workspace!r} with {len(self._checks)} checks>"

    def read(self, found: Found) -> None:
        """Return if nothing is wrong with functions, as far as the files tell.

        Args:
            found: The functions.

        Raises:
            Refused: Something is.

        """
        wrong = [w for built, live in found.values() for w in self._gates.wrong(built, live)]
        if not wrong:
            return
        lines = "\n".join(f"  {one}" for one in dict.fromkeys(map(str, wrong)))
        codes = " ".join(f"--allow {code}" for code in dict.fromkeys(w.reason for w in wrong))
        raise Refused(
            wrong[0].reason,
            f"Mend this first:\n{lines}\nIf it is meant, push with {codes}.",
            function=wrong[0].function,
        )

    def run(self, found: Found, say: Callable[[str], None]) -> None:
        """Return if the checks that concern functions pass; the first that fails is the last.

        Args:
            found: The functions.
            say: Called with each line that a check prints.

        Raises:
            Refused: `check-failed`.

        """
        files = _files(built for built, _ in found.values())
        for check in self._checks:
            if check.concerns(files):
                run(check, self._workspace.project, say)


def _files(found: Iterable[Built]) -> frozenset[str]:
    """Return the files that code comes from."""
    return frozenset(file for built in found for file in (built.file, *built.files.values()))
