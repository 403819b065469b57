"""The workspace: remembers what each file held, and says which functions a save changed.

Not here: when to look (`scatter.watch`), the rules of doubt (`scatter.workspace.doubt`).

A look has two steps. First every file that may have changed is read, and believed or doubted. Then
the functions are built again of files that changed, and those that use modules that did: a helper
may stand in any module of the project, also in files that nobody asked to watch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from scatter.analysis import ModuleSource, SourceError
from scatter.bundle import Bundle
from scatter.bundle.build import Built, build
from scatter.bundle.reach import Find
from scatter.errors import Refused, UsageError
from scatter.names import check, function_name, matches, module_of_file
from scatter.workspace import files, problems
from scatter.workspace.changes import Changed, Changes, Note, Problem, Vanished
from scatter.workspace.compare import same_bundle
from scatter.workspace.doubt import doubts
from scatter.workspace.explain import Explanation, explain_whole
from scatter.workspace.modules import Modules
from scatter.workspace.notes import notes_between
from scatter.workspace.reuse import Edits
from scatter.workspace.strangers import half_reached

SETTLE_S = 0.15
"""How long a save that may be half-written must stay the same to be believed."""
_OPEN_SETTLE_S = 1.5
"""The same for a file that somebody still has open for writing, or that keeps changing."""
_OPEN_AGAIN_S = 0.005
"""When to look again at such a file: most writers are done within a few milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """One state that a file was seen in.

    Attributes:
        exists: Whether there is a file.
        text: Its text; None when it does not exist, cannot be read, or does not concern us: no
            function in it is tracked, and none that is uses the module.
        source: What was read from it, when it concerns us and is Python.
        problem: Why not, when it does and is not.

    """

    exists: bool
    text: str | None = None
    source: ModuleSource | None = None
    problem: Problem | None = None


_GONE = _State(exists=False)


@dataclass(slots=True)
class _File:
    """What is known of one file.

    Attributes:
        path, label: Where it is; its path for people.
        believed: The state that was last believed.
        source: The last believed text that was Python, for comparing with the next.
        built: Functions in it by full name, as of `source`.
        wanted: Whether a tracked function uses the module.
        doubted: A state in doubt, and since when.
        signature: Of what was last read; None when it must be read again.

    """

    path: Path
    label: str
    believed: _State = _GONE
    source: ModuleSource | None = None
    built: dict[str, Built] = field(default_factory=dict)
    wanted: bool = False
    doubted: tuple[_State, float] | None = None
    signature: files.Signature | None = None


@dataclass(slots=True)
class _Found:
    """What one look, begun at `now`, has found so far."""

    now: float
    edited: dict[Path, ModuleSource | None] = field(default_factory=dict)
    """File that changed → what it held before."""
    touched: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    ask_again: list[float] = field(default_factory=list)
    read: int = 0


class Workspace:
    """The tracked functions of some files and directories. One thread at a time."""

    def __init__(
        self,
        paths: Iterable[Path | str],
        *,
        track: Sequence[str] = (),
        secrets: bool = False,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
        copy_of: Path | None = None,
    ) -> None:
        """Name what belongs to the workspace; nothing is read yet.

        Args:
            paths: Files and directories.
            track: Patterns of modules of which every function is tracked.
            secrets: Take texts that look like credentials as meant.
            settle_s: How long a save in doubt must stay the same to be believed.
            clock: Seconds that only grow.
            copy_of: The project that the files are a copy of: what is installed from there is
                theirs, too.

        Raises:
            UsageError: A path does not exist.

        """
        self.roots = tuple(Path(path).resolve() for path in paths)
        for root in self.roots:
            if not root.exists():
                raise UsageError(f"{root} does not exist. Name files or directories to read.")
        self.directories: frozenset[Path] = frozenset()
        self._track = tuple(track)
        self._secrets = secrets
        self._project = _project_of(self.roots)
        self._modules = Modules(self._project, copy_of)
        self._asked: set[str] = set()
        self._settle_s = settle_s
        self._clock = clock
        self._files: dict[Path, _File] = {}
        self._owners: dict[str, set[Path]] = defaultdict(set)
        self._last: dict[str, Built] = {}
        self._loading = False

    def __repr__(self) -> str:
        roots = ", ".join(map(str, self.roots))
        return f"<Workspace of {roots}: {len(self.functions)} functions>"

    @property
    def functions(self) -> Mapping[str, Built]:
        """Every tracked function that exactly one place defines, by full name."""
        return {
            name: self._last[name]
            for name, owners in sorted(self._owners.items())
            if len(owners) == 1 and name in self._last
        }

    @property
    def project(self) -> Path:
        """The directory to which the names of files are relative."""
        return self._project

    @property
    def known_files(self) -> Iterator[Path]:
        """Every file of the project that was looked at."""
        return (path for path in self._files if path.is_relative_to(self._project))

    def file_of(self, function: str) -> Path | None:
        """Return the file of one of `functions`; None if it is none of them."""
        owners = self._owners.get(function, set())
        return next(iter(owners)) if len(owners) == 1 else None

    def module_file(self, module: str, beside: Path) -> Path | None:
        """Return the file of a module of the project, as the file `beside` would import it."""
        return self._modules.path_of(module, self._modules.root_of(beside))

    def source_of(self, module: str, beside: Path) -> ModuleSource | None:
        """Return the source of a module of the project, as the file `beside` would import it."""
        return self._find(module, _Found(now=self._clock()), self._modules.root_of(beside))

    def has_path(self, module: str, beside: Path) -> bool:
        """Return whether there is a directory or file for a module, also of a namespace package."""
        path = self._modules.root_of(beside) / module.replace(".", "/")
        return path.is_dir() or path.with_name(f"{path.name}.py").is_file()

    def is_same(self, one: Bundle, other: Bundle) -> bool:
        """Return whether two bundles are the same code; what is tracked is no part of its class."""
        return same_bundle(one, other, self.is_tracked)

    def explain(self, name: str, before: Bundle | None = None) -> Explanation:
        """Say what a push of a function does; see `scatter.workspace.explain`.

        Args:
            name: Full name of one of `functions`.
            before: The version that it is compared with.

        """
        return explain_whole(self, self.functions[name], before)

    def half_reached(self, changed: Iterable[Changed]) -> tuple[Note, ...]:
        """Return a note for each changed helper that untracked code uses too."""
        functions = self.functions
        before = {c.name: c.before for c in changed if c.before and c.name in functions}
        return half_reached({name: self.explain(name, old) for name, old in before.items()})

    def load(self, only: Iterable[Path] | None = None) -> Changes:
        """Read everything for the first time; every function found is reported as new.

        Args:
            only: Read these alone, and what their functions use; of the others it is known that
                they are there.

        """
        for path in self._targets(None) if only is not None else ():
            self._file(path)
        self._loading = True
        try:
            return self.refresh(only)
        finally:
            self._loading = False

    def refresh(self, paths: Iterable[Path | str] | None = None) -> Changes:
        """Look at the working tree, and say what changed since the last look.

        Args:
            paths: Files that may have changed; None: all of them, also for new ones. Files in
                doubt are always looked at.

        """
        found = _Found(now=self._clock())
        for path in sorted(self._targets(paths)):
            self._look(path, found)
        if found.edited:
            self._rebuild(found)
        changed, vanished = self._compare(found)
        return Changes(
            changed=changed,
            vanished=vanished,
            problems=tuple(found.problems),
            notes=tuple(found.notes),
            mended=tuple(found.mended),
            ask_again_at=min(found.ask_again, default=None),
            read=found.read,
        )

    def _targets(self, paths: Iterable[Path | str] | None) -> set[Path]:
        """Return the files to look at."""
        if paths is None:
            present, folders = files.find(self.roots)
            outside = (path.parent for path in self._files if not self._is_inside(path))
            self.directories = folders.union(outside)
            return {*present, *self._files}
        named = {Path(path).absolute() for path in paths}
        named = {path for path in named if self._is_ours(path) and not path.is_dir()}
        return named | {path for path, file in self._files.items() if file.doubted}

    def _is_ours(self, path: Path) -> bool:
        """Return whether a path is inside, or that of a module that a function uses."""
        return path in self._files or self._is_inside(path)

    def _is_inside(self, path: Path) -> bool:
        """Return whether a path is a root, or that of a module in a directory that is one."""
        if path in self.roots or not files.is_source(path.name):
            return path in self.roots
        return any(path.is_relative_to(root) for root in self.roots)

    # one file ----------------------------------------------------------------------------

    def _look(self, path: Path, found: _Found) -> None:
        """Read one file, and believe what it holds or doubt it."""
        file = self._file(path)
        if file.signature and not file.doubted and files.signature_of(path) == file.signature:
            return
        reading = files.read(path)
        file.signature = reading.signature
        found.read += reading.data is not None
        state = self._understand(file, reading)
        if state is None:
            found.ask_again.append(found.now + _OPEN_AGAIN_S)
        elif state is file.believed:
            file.doubted = None
        else:
            self._judge(file, state, self._wait_s(file, state, reading), found)

    def _file(self, path: Path) -> _File:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = _File(path=path, label=self._label(path))
            self._modules.add(path)
        return file

    def _judge(self, file: _File, state: _State, wait_s: float, found: _Found) -> None:
        """Believe a state if it has stayed for `wait_s`; else remember it as doubted."""
        now = found.now
        since = file.doubted[1] if file.doubted and file.doubted[0] is state else now
        if now >= since + wait_s:
            file.doubted = None
            self._believe(file, state, found)
            return
        file.doubted = (state, since)
        is_open = wait_s == _OPEN_SETTLE_S
        found.ask_again.append(now + _OPEN_AGAIN_S if is_open else since + wait_s)

    def _understand(self, file: _File, reading: files.Reading) -> _State | None:
        """Return the state of a file, the known one if it is known; None if it keeps changing."""
        if reading.data is None:
            if reading.unsure:
                return None
            return _known(file, _unread(file, reading.error) if reading.error else _GONE)
        try:
            text = files.decode(reading.data)
        except SyntaxError as error:
            return _known(file, _State(exists=True, problem=problems.syntax(error, file.label)))
        for known in (file.believed, file.doubted[0] if file.doubted else _GONE):
            if known.text == text:
                return known
        return self._parse(file, text)

    def _parse(self, file: _File, text: str) -> _State:
        """Return the state of a file with a text that was not seen just before."""
        name = module_of_file(file.path)
        if file.source is None and not self._concerns(file, name, text):
            return _known(file, _State(exists=True))
        try:
            source = ModuleSource(
                text,
                name=name,
                file=file.label,
                track_all=matches(name, self._track),
                before=file.source,
            )
        except SourceError as error:
            problem = problems.syntax(error, file.label)
            return _State(exists=True, text=text, problem=problem)
        return _State(exists=True, text=text, source=source)

    def _wait_s(self, file: _File, state: _State, reading: files.Reading) -> float:
        """Return how long a state must stay before it is believed."""
        if self._loading:
            return 0.0
        if reading.unsure:
            return _OPEN_SETTLE_S
        if file.source is None and state.source is None and state.problem is None:
            return 0.0  # none of our business, and never was
        if file.source and state.source and not doubts(file.source, state.source):
            return 0.0
        return self._settle_s

    def _believe(self, file: _File, state: _State, found: _Found) -> None:
        """Take a state as what somebody meant, and note which functions it touches."""
        if file.believed.problem and not state.problem:
            found.mended.append(file.label)
        file.believed = state
        if state.problem:
            found.problems.append(state.problem)
            return  # its functions stay known as they were
        found.edited[file.path] = file.source
        file.source = state.source or file.source

    def _concerns(self, file: _File, module: str, text: str) -> bool:
        """Return whether a text can have tracked functions, or helpers of them."""
        is_used = file.wanted or module in self._asked
        return is_used or "scatter" in text or matches(module, self._track)

    # functions ---------------------------------------------------------------------------

    def _rebuild(self, found: _Found) -> None:
        """Build the functions of the files that changed, and those that use their modules."""
        modules = {module_of_file(path) for path in found.edited}
        edits = Edits.of(self._edited(found))
        for file in list(self._files.values()):
            uses = any(modules & built.asked for built in file.built.values())
            if file.path in found.edited or uses:
                self._rebuild_file(file, found, edits)
        everything = {name: b for file in self._files.values() for name, b in file.built.items()}
        for path, before in found.edited.items():
            file = self._files[path]
            if before is not None and file.source is not None and file.believed.source is not None:
                found.notes += notes_between(before, file.source, everything, file.label)

    def _edited(
        self, found: _Found
    ) -> Iterator[tuple[str, ModuleSource | None, ModuleSource | None]]:
        """Yield (module, before, after) of each file that changed."""
        for path, before in found.edited.items():
            file = self._files[path]
            yield module_of_file(path), before, file.source if file.believed.source else None

    def _rebuild_file(self, file: _File, found: _Found, edits: Edits) -> None:
        is_there = file.believed.source is not None or file.believed.problem is not None
        source = file.source if is_there and self._is_inside(file.path) else None
        built = self._functions_in(file, source, found, edits) if source else {}
        for name in file.built.keys() | built.keys():
            if file.built.get(name) is not built.get(name):
                found.touched.add(name)
            self._owners[name].discard(file.path)
        for name in built:
            self._owners[name].add(file.path)
        file.built = built

    def _functions_in(
        self, file: _File, source: ModuleSource, found: _Found, edits: Edits
    ) -> dict[str, Built]:
        """Return the tracked functions of a module by full name."""
        built: dict[str, Built] = {}
        find = partial(self._find, found=found, root=self._modules.root_of(file.path))
        before = found.edited.get(file.path, source)
        known = before.tracked if before else {}
        for key, function in source.tracked.items():
            try:
                name = function.tracked_name or function_name(source.name, key)
                old = file.built.get(name)
                one = edits.reusable(old, known.get(key), function, source, find)
                if one is None:
                    one = build(source, key, find=find, secrets=self._secrets)
                    name = check(one.bundle.function)
            except (Refused, UsageError) as error:
                found.problems.append(problems.refused(error, source.file, function.line))
                continue
            self._asked |= one.asked
            if name in built:
                lines = (built.pop(name).lines[0], function.line)
                found.problems.append(problems.twice_in_file(name, source.file, lines))
            else:
                built[name] = one
        return built

    def _find(self, module: str, found: _Found, root: Path) -> ModuleSource | None:
        """Return the source of a module of the project, reading its file if that was not done."""
        path = self._modules.path_of(module, root)
        if path is None:
            return None
        file = self._file(path)
        if file.source is None and not file.wanted:
            file.wanted = True
            reading = files.read(path)
            file.signature = reading.signature
            found.read += reading.data is not None
            state = self._understand(file, reading)
            if state is not None:
                file.believed, file.source = state, state.source
                found.problems += [state.problem] if state.problem else []
        return file.source

    # all files ---------------------------------------------------------------------------

    def _compare(self, found: _Found) -> tuple[tuple[Changed, ...], tuple[Vanished, ...]]:
        """Return which touched functions changed, and which no file defines any more."""
        changed: list[Changed] = []
        vanished: list[Vanished] = []
        for name in sorted(found.touched):
            owners = sorted(self._owners[name])
            last = self._last.get(name)
            if len(owners) > 1:
                found.problems.append(
                    problems.duplicate(name, [self._files[p].label for p in owners])
                )
            elif owners:
                built = self._last[name] = self._files[owners[0]].built[name]
                if last is None or not self.is_same(last.bundle, built.bundle):
                    before = last.bundle if last else None
                    changed.append(Changed(name=name, built=built, before=before))
            elif last is not None:
                vanished.append(Vanished(name=name, file=last.file))
        return tuple(changed), tuple(vanished)

    def sources_naming(self, words: Collection[str]) -> Iterator[tuple[ModuleSource, Find]]:
        """Yield the source of every file in which one of some words is, but tests.

        With it what finds the modules that it imports.
        """
        for path in sorted(self._targets(None)):
            source = None if files.is_test(path) else self._source_naming(path, words)
            if source is not None:
                root = self._modules.root_of(path)
                yield source, partial(self._find, found=_Found(now=self._clock()), root=root)

    def _source_naming(self, path: Path, words: Collection[str]) -> ModuleSource | None:
        file = self._file(path)
        if file.source is not None:
            return file.source
        data = files.read(path).data
        if data is None or not any(word.encode() in data for word in words):
            return None
        try:
            text = files.decode(data)
            return ModuleSource(text, name=module_of_file(path), file=file.label)
        except (SyntaxError, SourceError):
            return None

    def is_tracked(self, module: str, key: str) -> bool:
        """Return whether the function at a key of a module is tracked, as far as files tell."""
        sources = (file.source for file in self._files.values())
        return any(s is not None and s.name == module and key in s.tracked for s in sources)

    def _label(self, path: Path) -> str:
        """Return a file's path relative to the project."""
        inside = path.is_relative_to(self._project)
        return (path.relative_to(self._project) if inside else path).as_posix()


def _unread(file: _File, error: str) -> _State:
    """Return the state of a file that cannot be read: a problem only if it ever concerned us."""
    if file.source is None:
        return _State(exists=True)
    problem = Problem(kind="unreadable", file=file.label, message=error)
    return _State(exists=True, problem=problem)


def _known(file: _File, state: _State) -> _State:
    """Return the believed or doubted state that equals `state`, or itself."""
    known = (file.believed, file.doubted[0] if file.doubted else file.believed)
    return next((k for k in known if k == state), state)


def _project_of(roots: Sequence[Path]) -> Path:
    """Return the directory to which paths are shown relative: that of the project, if any."""
    start = roots[0] if roots and roots[0].is_dir() else roots[0].parent if roots else Path.cwd()
    for folder in (start, *start.parents):
        if (folder / "pyproject.toml").exists() or (folder / ".git").exists():
            return folder
    return start
