"""Keeps in a file how far a log was believed, for the processes that come later.

    ~/.local/state/scatter/positions/<hash of store and namespace>.json

Processes of one user share it. Not here: what a position is compared with (`scatter.log.journal`).

Invariants
1. A position that was kept is never replaced by an earlier one.
2. A file that cannot be written costs nobody anything but this protection; it is said once.
3. It is as good as its directory: whoever can write there can have an old log believed.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from scatter._logging import log
from scatter.files import locked, write_whole
from scatter.trust import Position
from scatter.trust.home import make_folder

PATIENCE_S = 0.02
"""How long to wait for another process that writes the same position."""
VARIABLE = "SCATTER_STATE"
"""Names the directory in place of `~/.local/state/scatter`."""


class PositionFile:
    """One log's position, in one file."""

    def __init__(self, store: str, namespace: str) -> None:
        """Remember which.

        Args:
            store: Address of the store, without its password.
            namespace: The namespace.

        """
        name = hashlib.sha256(f"{store}\0{namespace}".encode()).hexdigest()[:32]
        folder = state_home()
        self.path = folder / "positions" / f"{name}.json" if folder is not None else None
        self._about = {"store": store, "namespace": namespace}
        self._was_told = False

    def __repr__(self) -> str:
        return f"<PositionFile {self.path}>"

    def read(self) -> Position | None:
        """Return what was kept; None: nothing, or nothing that can be read."""
        try:
            fields = json.loads(self.path.read_bytes()) if self.path is not None else {}
            found = Position(
                epoch=fields["epoch"], sequence=fields["sequence"], head=fields["head"]
            )
            numbers = type(found.epoch), type(found.sequence)
            return found if numbers == (int, int) and type(found.head) is str else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def write(self, position: Position) -> bool:
        """Keep a position, unless a later one is kept already. Never raises.

        Returns:
            Whether nothing is left to do: not if somebody else was writing just now.

        """
        try:
            return self._write(position)
        except OSError as error:
            self._tell(f"{self.path} cannot be written: {error.strerror}")
            return True

    def _write(self, position: Position) -> bool:
        if self.path is None:
            self._tell("this user has no home; set SCATTER_STATE to a directory")
            return True
        make_folder(self.path.parent)
        with locked(self.path.with_suffix(".lock"), PATIENCE_S) as is_ours:
            if not is_ours:
                return False
            kept = self.read()
            if kept is None or (kept.epoch, kept.sequence) < (position.epoch, position.sequence):
                fields = {"epoch": position.epoch, "sequence": position.sequence}
                body = {**fields, "head": position.head, **self._about}
                write_whole(self.path, json.dumps(body).encode(), durably=False)
        return True

    def forget(self) -> None:
        """Keep nothing any more: another log is believed from here on."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _tell(self, reason: str) -> None:
        if not self._was_told:
            self._was_told = True
            log().warning("scatter.position_not_kept", reason=reason)


def state_home() -> Path | None:
    """Return the directory of this user's state; None if the user has no home."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "scatter"
    try:
        return Path.home() / ".local" / "state" / "scatter"
    except RuntimeError:
        return None
