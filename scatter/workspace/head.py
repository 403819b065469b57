"""What a commit holds of the functions that are live: it is read, the working tree is not.

Its Python files are unpacked into a temporary directory and read there as a push would read them.
Not here: what is live (`scatter.releases`), what to say about it (`scatter.cli.in_git`).

Invariants
1. Nothing of the project is run or imported, and nothing is written into its directory.
2. Only the modules of live functions are parsed, and what those reach.
3. That a function is not in it is said only of what could be read; else it is unclear.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from scatter.bundle import Bundle
from scatter.errors import ScatterError
from scatter.names import module_of_file, split
from scatter.workspace.changes import Problem
from scatter.workspace.workspace import Workspace

GIT_TIMEOUT_S = 10.0
"""How long git may take before HEAD is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A version that is live.

    Attributes:
        bundle: Its code.
        file: The file that it came from, relative to its project; empty if it is not known.

    """

    bundle: Bundle
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtHead:
    """How live functions compare with a commit.

    Attributes:
        commit: The commit.
        same: Functions that it has as they are live.
        differs: Functions that it has with other code.
        missing: Functions that it does not have.
        unclear: Function → why nothing can be said of it.
        bundles: Function → its code there, of those that are the same or differ.

    """

    commit: str
    same: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unclear: Mapping[str, str] = field(default_factory=dict)
    bundles: Mapping[str, Bundle] = field(default_factory=dict, compare=False, repr=False)


def compare_with_head(
    here: Path,
    live: Mapping[str, Live],
    *,
    paths: Iterable[str] = (".",),
    track: Sequence[str] = (),
    revision: str = "HEAD",
) -> AtHead | None:
    """Compare live functions with what a commit holds, by default the one that is checked out.

    Args:
        here: Where to look for the working tree.
        live: Function → its live version.
        paths: What is pushed by default, relative to `here`.
        track: Patterns of modules of which every function is tracked.
        revision: The commit, as git understands it.

    Returns:
        None if `here` is in no working tree, or there is no git, or no such commit.

    Raises:
        ScatterError: git fails, or takes too long.

    """
    verify = "--verify", "--end-of-options", f"{revision}^{{commit}}"
    top, found = top_of(here), _git(here, "rev-parse", *verify, quietly=True)
    if top is None or not found:
        return None
    commit = found.strip().decode("ascii")
    with tempfile.TemporaryDirectory(prefix="scatter-head-") as folder:
        copy = Path(folder).resolve()
        (copy / ".git").mkdir()  # the mark of a project's directory
        tree = _Tree(copy, top, _unpack(_git(top, "archive", commit, "--", "*.py"), copy))
        places = [top / (here / path).resolve() for path in paths]
        return _compare(tree, commit, live, [p for p in map(tree.at, places) if p], track)


def top_of(here: Path) -> Path | None:
    """Return the top of the working tree that a directory is in; None if it is in none."""
    found = _git(here, "rev-parse", "--show-toplevel", quietly=True)
    return Path(os.fsdecode(found.strip(b"\n"))) if found else None


def _git(folder: Path, *arguments: str, quietly: bool = False) -> bytes:
    """Run git and return what it prints; nothing if it fails and that may be."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise ScatterError(
            f"`git {arguments[0]}` took longer than {GIT_TIMEOUT_S:g} s; try again, or leave git "
            "out with --no-git."
        ) from None
    except OSError:  # there is no git
        return b""
    if done.returncode and not quietly and b"did not match any files" not in done.stderr:
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise ScatterError(f"`git {arguments[0]}` failed: {said or 'it did not say why'}")
    return b"" if done.returncode else done.stdout


def _unpack(archive: bytes, folder: Path) -> list[Path]:
    """Write the regular files of an archive into a folder; return their paths."""
    written: list[Path] = []
    if not archive:
        return written
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            name = PurePosixPath(member.name)
            data = members.extractfile(member) if member.isreg() else None
            if data is None or name.is_absolute() or ".." in name.parts:
                continue
            path = folder.joinpath(*name.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.read())
            written.append(path)
    return written


class _Tree:
    """The unpacked files of a commit."""

    def __init__(self, copy: Path, top: Path, files: Iterable[Path]) -> None:
        self.copy = copy
        self.top = top
        self._modules: dict[str, list[Path]] = {}
        self._named: dict[str, list[Path]] = {}
        for path in files:
            self._modules.setdefault(module_of_file(path), []).append(path)
            self._named.setdefault(path.name, []).append(path)

    def at(self, place: Path) -> Path | None:
        """Return where a place of the working tree is in the copy; None if it is not there."""
        path = self.copy / place.relative_to(self.top) if place.is_relative_to(self.top) else None
        return path if path and path.exists() else None

    def label(self, path: Path) -> str:
        """Return a file's path as problems name it."""
        return path.relative_to(self.copy).as_posix()

    def files_of(self, name: str, file: str, roots: Collection[Path]) -> list[Path]:
        """Return the files in which a function may be: those of its module, or the one named."""
        inside = [
            path
            for path in self._modules.get(split(name)[0], ())
            if any(path.is_relative_to(root) for root in roots)
        ]
        parts = PurePosixPath(file).parts
        named = self._named.get(parts[-1], ()) if parts else ()
        return inside or [p for p in named if p.parts[-len(parts) :] == parts]


def _compare(
    tree: _Tree,
    commit: str,
    live: Mapping[str, Live],
    roots: Sequence[Path],
    track: Sequence[str],
) -> AtHead:
    """Read the modules of the live functions, and sort the functions."""
    files = {name: tree.files_of(name, one.file, roots) for name, one in live.items()}
    read = _read(tree, files, roots, track)
    absent = {name: f for name, f in files.items() if f and name not in read.functions}
    again = _read(tree, absent, roots, [*track, *_modules_of(absent)])  # pushed with --track?
    kinds: dict[str, list[str]] = {"same": [], "differs": [], "missing": []}
    unclear: dict[str, str] = {}
    bundles: dict[str, Bundle] = {}
    for name, one in live.items():
        reading = again if name in absent else read
        if name in reading.functions:
            bundles[name] = reading.functions[name].bundle
        kind, why = reading.kind(name, one.bundle, [tree.label(path) for path in files[name]])
        if why:
            unclear[name] = why
        else:
            kinds[kind].append(name)
    listed = {kind: tuple(names) for kind, names in kinds.items()}
    return AtHead(commit=commit, unclear=unclear, bundles=bundles, **listed)


def _modules_of(files: Mapping[str, list[Path]]) -> Iterator[str]:
    return (module_of_file(path) for paths in files.values() for path in paths)


class _Reading:
    """What was read of some files, and what could not be."""

    def __init__(self, workspace: Workspace | None, problems: Sequence[Problem] = ()) -> None:
        self.functions = workspace.functions if workspace else {}
        self._workspace = workspace
        self._problems = problems

    def kind(self, name: str, bundle: Bundle, labels: Sequence[str]) -> tuple[str, str]:
        """Return how a live function compares with the commit, or "" and why that is unclear.

        Args:
            name, bundle: The function.
            labels: The files in which it should be.

        """
        if bundle.pickle or bundle.cells or any(i.pickle for p in bundle.parts for i in p.items):
            return "", "it was made in a running process, and no file says all of it"
        built = self.functions.get(name)
        if built is None or self._workspace is None:
            own = [p for p in self._problems if p.file in labels or f"`{name}`" in p.message]
            return "missing", "; ".join(map(str, own))
        return "same" if self._workspace.is_same(built.bundle, bundle) else "differs", ""


def _read(
    tree: _Tree, files: Mapping[str, list[Path]], roots: Sequence[Path], track: Sequence[str]
) -> _Reading:
    wanted = {path for paths in files.values() for path in paths}
    outside = [p for p in wanted if not any(p.is_relative_to(root) for root in roots)]
    if not wanted:
        return _Reading(None)
    workspace = Workspace([*roots, *outside], track=track, secrets=True, copy_of=tree.top)
    return _Reading(workspace, workspace.load(only=wanted).problems)
