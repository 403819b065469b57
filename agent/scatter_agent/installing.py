"""Puts the units of systemd where systemd looks for them, with the paths of this installation.

Each file ends with the digest of the rest, so that one that nobody has changed is brought up to
date, and one that somebody has is left alone.

Not here: starting anything, or making the user; systemd's own commands do that.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scatter.errors import UsageError
from scatter.files import write_whole

State = Literal["new", "same", "older", "changed"]
SYSTEM = {
    "scatter-agent.service": "etc/systemd/system",
    "scatter-agent@.service": "etc/systemd/system",
    "scatter-worker@.service": "etc/systemd/system",
    "scatter.sysusers": "etc/sysusers.d/scatter.conf",
    "scatter.tmpfiles": "etc/tmpfiles.d/scatter.conf",
}
"""Files for a whole machine → directory, or path, below its root."""
USER = ("scatter-watch.service",)
_MARK = "# Written by `scatter-agent install`; sha256 of what is above: "
_IN_HOMES = ("/home/", "/root/", "/run/user/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A file to be written.

    Attributes:
        path: Where.
        text: What it is to have in it.
        state: How it is now: `new` (not there), `same`, `older` (of ours, unchanged), `changed`.

    """

    path: Path
    text: str
    state: State


def source() -> Path:
    """Return where the units of this installation are.

    Raises:
        UsageError: They are missing.

    """
    here = Path(__file__).parent
    for folder in (here / "units", here.parent.parent / "systemd"):
        if (folder / "scatter-agent.service").is_file():
            return folder
    raise UsageError(f"The units are missing: expected them in {here / 'units'}. Install again.")


def pieces(*, user: bool, root: Path, programs: Path) -> list[Piece]:
    """Return what there is to write.

    Args:
        user: For this user's systemd, not the machine's.
        root: Directory that stands for `/`.
        programs: Directory in which `scatter` and `scatter-agent` are.

    """
    found = []
    for name, path in _places(user, root):
        text = _marked(_placed((source() / name).read_text("utf-8"), programs))
        found.append(Piece(path=path, text=text, state=_state(path, text)))
    return found


def write(found: list[Piece], *, force: bool) -> None:
    """Write what is not there yet or not up to date.

    Raises:
        UsageError: Somebody has changed a file, or it cannot be written; nothing was written
            before the first of these was found.

    """
    changed = [piece.path for piece in found if piece.state == "changed"]
    if changed and not force:
        raise UsageError(
            f"Somebody has changed {', '.join(map(str, changed))}; nothing was written. Keep the "
            "changes in drop-ins (`systemctl edit`) and move the files away, or use --force."
        )
    for piece in found:
        if piece.state == "same":
            continue
        try:
            piece.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(piece.path, piece.text.encode())
            piece.path.chmod(0o644)
        except OSError as error:
            raise UsageError(f"{piece.path} cannot be written: {error.strerror}.") from error


def doubts(programs: Path, *, user: bool, is_image: bool) -> Iterator[str]:
    """Yield why units could not run the programs that they name.

    Args:
        programs: Directory in which they are.
        user: The units are this user's, which see home directories.
        is_image: They are for another machine.

    """
    if not user and f"{programs}/".startswith(_IN_HOMES):
        yield (
            f"{programs} is in a home directory, which the units hide (ProtectHome=). Install "
            "scatter elsewhere, such as in /opt/scatter, or name it with --programs."
        )
    program = programs / ("scatter" if user else "scatter-agent")
    if not is_image and not os.access(program, os.X_OK):
        yield f"There is no program {program}. Name the directory that has it with --programs."


def _places(user: bool, root: Path) -> Iterator[tuple[str, Path]]:
    if user:
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        folder = Path(f"{root}/{base}") if root != Path("/") else Path(base)
        yield from ((name, folder / "systemd" / "user" / name) for name in USER)
        return
    for name, place in SYSTEM.items():
        path = root / place
        yield name, path if path.suffix == ".conf" else path / name


def _placed(text: str, programs: Path) -> str:
    """Return a unit with the paths of this installation."""
    return re.sub(r"(?m)^ExecStart=\S+/(scatter(?:-agent)?)\b", rf"ExecStart={programs}/\1", text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _marked(text: str) -> str:
    return f"{text}\n{_MARK}{_digest(text)}\n"


def _state(path: Path, text: str) -> State:
    try:
        there = path.read_text("utf-8")
    except FileNotFoundError:
        return "new"
    except (OSError, ValueError):
        return "changed"
    if there == text:
        return "same"
    body, _, digest = there.rpartition(f"\n{_MARK}")
    return "older" if digest.strip() == _digest(body) else "changed"
