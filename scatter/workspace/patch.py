"""The way back to git: a patch that brings live code, and what travelled with it, into the files.

Not here: what is live (`scatter.releases`), changing the files: `git apply` does. Editing one file
is `scatter.workspace.edit`.

Invariants
1. Nothing is in the patch that was not tried: its files are read again, in a copy, and give what is
   live of each function that it names.
2. What is live in two forms (a helper that two functions brought) stays as the newest release has
   it; of the others it is said.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scatter.bundle import Bundle, Part
from scatter.workspace.edit import CannotBring, FileEdit
from scatter.workspace.head import Live
from scatter.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What would bring live code into the files.

    Attributes:
        text: A patch for `git apply`; empty if there is nothing to bring.
        functions: The functions that it brings.
        files: The files that it changes, relative to the project.
        left: Function → why it is not brought.

    """

    text: bytes
    functions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)


def make_patch(
    workspace: Workspace,
    live: Mapping[str, Live],
    wanted: Sequence[str],
    *,
    top: Path,
    track: Sequence[str] = (),
) -> Patch:
    """Return the patch that makes files hold what is live.

    Args:
        workspace: The files.
        live: Function → its live version, the newest release first.
        wanted: The functions to bring.
        top: The directory from which `git apply` reads names.
        track: Patterns of modules of which every function is tracked.

    """
    left: dict[str, str] = {}
    while True:
        names = [name for name in wanted if name not in left]
        edits, brought = _edited(workspace, live, names, left)
        failed = _tried(workspace, edits, {name: live[name].bundle for name in brought}, track)
        if not failed:
            break
        left |= failed
    changed = {path: edit for path, edit in sorted(edits.items()) if edit.is_changed}
    diffs = (edit.diff(path.relative_to(top).as_posix()) for path, edit in changed.items())
    return Patch(
        text=b"".join(diffs),
        functions=tuple(sorted(brought)),
        files=tuple(path.relative_to(workspace.project).as_posix() for path in changed),
        left=left,
    )


def _edited(
    workspace: Workspace, live: Mapping[str, Live], wanted: Sequence[str], left: dict[str, str]
) -> tuple[dict[Path, FileEdit], list[str]]:
    """Return what the files would be, and which functions that brings."""
    edits: dict[Path, FileEdit] = {}
    brought = []
    functions = workspace.functions
    for name, one in live.items():
        built = functions.get(name)
        is_there = built is not None and workspace.is_same(built.bundle, one.bundle)
        if is_there or name not in wanted:
            if built is not None and is_there:
                _pin(workspace, one.bundle, name, edits)
            continue
        own = _Own(edits)
        try:
            _bring(workspace, one, name, own)
        except CannotBring as reason:
            left[name] = str(reason)
        else:
            edits |= own
            brought.append(name)
    return edits, brought


class _Own(dict[Path, FileEdit]):
    """Edits that count only when all of them could be made."""

    def __init__(self, edits: Mapping[Path, FileEdit]) -> None:
        super().__init__()
        self._edits = edits

    def __contains__(self, path: object) -> bool:
        return super().__contains__(path) or path in self._edits

    def __missing__(self, path: Path) -> FileEdit:
        self[path] = self._edits[path].copy()
        return self[path]


def _pin(workspace: Workspace, bundle: Bundle, name: str, edits: dict[Path, FileEdit]) -> None:
    """Keep what the files hold of a function that is live as it is there."""
    file = workspace.file_of(name)
    for part in bundle.parts if file is not None else ():
        path = _path_of(workspace, part, bundle, file)
        if path is not None:
            edit = _edit(workspace, edits, path)
            for item in part.items:
                edit.pin(item, name)


def _bring(workspace: Workspace, one: Live, name: str, edits: dict[Path, FileEdit]) -> None:
    """Bring one function, and what travelled with it.

    Raises:
        CannotBring: Something of it cannot be.

    """
    bundle = one.bundle
    if bundle.pickle or bundle.cells or any(i.pickle for p in bundle.parts for i in p.items):
        raise CannotBring("it was made in a running process, and no file says all of it")
    file = workspace.file_of(name) or _named(workspace, one.file)
    if file is None:
        raise CannotBring(f"there is no file for it here ({one.file or 'none is known'})")
    for part in reversed(bundle.parts):  # its own comes last, and so what it adds comes first
        path = _path_of(workspace, part, bundle, file)
        if path is None:
            raise CannotBring(f"{part.module} is no module of this project")
        edit = _edit(workspace, edits, path)
        for item in part.items:
            edit.bring(item, name, edit.place_of(item.name, part, bundle))
    _edit(workspace, edits, file).bring_function(bundle)


def _edit(workspace: Workspace, edits: dict[Path, FileEdit], path: Path) -> FileEdit:
    if path not in edits:
        edits[path] = FileEdit.read(path, workspace.is_tracked)
    return edits[path]


def _path_of(workspace: Workspace, part: Part, bundle: Bundle, file: Path | None) -> Path | None:
    if file is None or part is bundle.parts[0]:
        return file
    return workspace.module_file(part.module, file)


def _named(workspace: Workspace, file: str) -> Path | None:
    """Return the file that a function was pushed from, if it is here."""
    path = workspace.project / file
    return path if file and path.is_file() and path.resolve() == path else None


def _tried(
    workspace: Workspace,
    edits: Mapping[Path, FileEdit],
    brought: Mapping[str, Bundle],
    track: Sequence[str],
) -> dict[str, str]:
    """Return the functions that the edited files do not give as they are live, and why."""
    if not brought:
        return {}
    with tempfile.TemporaryDirectory(prefix="scatter-patch-") as folder:
        copy = Path(folder).resolve()
        (copy / ".git").mkdir()  # the mark of a project's directory
        for path in {*workspace.known_files, *edits}:
            to = copy / path.relative_to(workspace.project)
            to.parent.mkdir(parents=True, exist_ok=True)
            if path in edits:
                to.write_bytes(edits[path].data())
            elif path.exists():
                shutil.copyfile(path, to)
        roots = [copy / root.relative_to(workspace.project) for root in workspace.roots]
        again = Workspace(
            [root for root in roots if root.exists()],
            track=track,
            secrets=True,
            copy_of=workspace.project,
        )
        problems = again.load().problems
        found = again.functions
        return {
            name: "; ".join(str(p) for p in problems if f"`{name}`" in p.message)
            or "its file would not give what is live"
            for name, bundle in brought.items()
            if name not in found or not again.is_same(found[name].bundle, bundle)
        }
