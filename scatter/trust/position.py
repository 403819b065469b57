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
"""How long to wait for another process that writes the same position.

A release waits for this where many processes of a user get it at once. It is short, and not 0: so
nine of ten of a hundred keep it at once, else half of them (m), for a tenth of a millisecond in
the middle; and a `scatter push` that ends right away has no later look at which to try again.
"""
VARIABLE = "SCATTER_STATE"
"""Names the directory in place of `~/.local/state/scatter`."""
_SIZE_BYTES = 512
"""Of the file, padded with blanks: one sector of a disk, which is written whole or not at all."""


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
        self._lock = self.path.with_suffix(".lock") if self.path is not None else Path()
        self._about = {"store": store, "namespace": namespace}
        self._was_told = False

    def __repr__(self) -> str:
        return f"<PositionFile {self.path}>"

    def read(self) -> Position | None:
        """Return what was kept; None: nothing, or nothing that can be read."""
        if self.path is None:
            return None
        try:
            with locked(self._lock, PATIENCE_S):
                return self._read()
        except OSError:
            return self._read()  # no lock can be had where nothing can be written either

    def _read(self) -> Position | None:
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
        if self.path is None:
            self._tell("this user has no home; set SCATTER_STATE to a directory")
            return True
        try:
            try:
                return self._write(position)
            except FileNotFoundError:  # the first one of all
                make_folder(self.path.parent)
                return self._write(position)
        except OSError as error:
            self._tell(f"{self.path} cannot be written: {error.strerror}")
            return True

    def _write(self, position: Position) -> bool:
        with locked(self._lock, PATIENCE_S) as is_ours:
            if not is_ours:
                return False
            kept = self._read()
            if kept is None or (kept.epoch, kept.sequence) < (position.epoch, position.sequence):
                fields = {"epoch": position.epoch, "sequence": position.sequence}
                body = {**fields, "head": position.head, **self._about}
                self._put(json.dumps(body).encode())
        return True

    def _put(self, data: bytes) -> None:
        """Write in place if there is room: what runs waits for this.

        To rename a file over another takes a millisecond on ext4, which writes the new one to the
        disk first (m). One small write is whole for whoever kills this process.
        """
        assert self.path is not None
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size != _SIZE_BYTES or len(data) > _SIZE_BYTES:
            write_whole(self.path, data.ljust(_SIZE_BYTES), durably=False)
            return
        handle = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(handle, data.ljust(_SIZE_BYTES), 0)
        finally:
            os.close(handle)

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
