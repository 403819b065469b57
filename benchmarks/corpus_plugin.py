"""A pytest plugin: replaces every function of a package by a pushed copy, and records outcomes.

It runs inside the environment of a foreign package, where nothing but pytest and scatter's own
sources is there. What to do is in the file that `CORPUS_JOB` names (see `Job`).

Invariants
1. The reference run imports the same modules in the same order: the only difference between two
   runs is the replacement.
2. Everything goes the real way: analysed, built, encoded, decoded, linked, and switched to at
   once. Only the store is missing.
3. What is known is on disk at once, so that a crash of the interpreter hides nothing.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import re
import time
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TextIO

import pytest

from .corpus_edit import MARK, edited  # the folder is not `benchmarks` in foreign environments

JOB = "CORPUS_JOB"
TESTS = re.compile(r"(^|[._])(tests?|conftest|testing_helpers)($|[._])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one run does.

    Attributes:
        packages: Names of the packages to import whole, and to replace.
        leave: Modules that are not imported, by name.
        mode: `plain`, `same`, `edited` or `helpers`.
        shared: Functions that `helpers` replaces in any case.
        outcomes: File for the outcome of each test, one JSON object a line.
        report: File for what was replaced, as JSON.

    """

    packages: tuple[str, ...]
    leave: tuple[str, ...]
    mode: str
    shared: tuple[str, ...]
    outcomes: str
    report: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of the functions of a package.

    Attributes:
        found: How many functions and methods the static reading finds.
        absent: Of those, what this process never defined, or dropped: the branch for another
            platform, a definition that a later one replaces.
        tried: How many were to be replaced.
        shipped: How many were replaced.
        running: How many of those still ran the pushed version at the end.
        not_edited: Those that were to run an edited copy and do not.
        refused: Reason → (function, message).
        left_out: Modules that do not import here → why.
        seconds: What took how long.

    """

    found: int = 0
    absent: list[str] = field(default_factory=list)
    tried: int = 0
    shipped: int = 0
    running: int = 0
    not_edited: list[str] = field(default_factory=list)
    refused: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def refuse(self, reason: str, name: str, message: str) -> None:
        """Note that a function was not replaced."""
        self.refused.setdefault(reason, []).append((name, message))

    def write(self, file: str) -> None:
        """Write it, so that a reader never sees half of it."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        Path(file + ".part").write_text(json.dumps(fields, indent=1), "utf-8")
        Path(file + ".part").replace(file)


# what pytest calls -------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder, if a job was given."""
    if file := os.environ.pop(JOB, ""):
        fields = json.loads(Path(file).read_text("utf-8"))
        config.pluginmanager.register(Recorder(Job(**fields)), "scatter-corpus")


class Recorder:
    """Replaces at the start of the session, and writes down how each test ends."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._report = Report()
        self._file: TextIO = Path(job.outcomes).open("w", encoding="utf-8")  # noqa: SIM115

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        modules = import_all(self._job, self._report)
        if self._job.mode != "plain":
            replace_all(modules, self._job, self._report)
        self._report.write(self._job.report)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(id=nodeid, outcome="started")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = outcome_of(report)
        if outcome:
            text = "" if outcome in ("passed", "skipped", "xfailed") else report.longreprtext
            self._write(id=report.nodeid, outcome=outcome, text=text[-4000:])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(id=report.nodeid, outcome="error", text=report.longreprtext[-4000:])

    def pytest_sessionfinish(self) -> None:
        if self._job.mode != "plain":
            self._report.running = count_running()
            self._report.write(self._job.report)
        self._file.close()

    def _write(self, **fields: str) -> None:
        self._file.write(json.dumps(fields) + "\n")
        self._file.flush()


def outcome_of(report: pytest.TestReport) -> str:
    """Return how a phase of a test ended; empty where it says nothing about the test."""
    if hasattr(report, "wasxfail"):
        return "xpassed" if report.passed else "xfailed"
    if report.when == "call" or report.skipped:
        return report.outcome
    return "error" if report.failed else ""


# importing ---------------------------------------------------------------------------------


def import_all(job: Job, report: Report) -> list[ModuleType]:
    """Import every module of the packages, but their tests and what does not import here."""
    modules = []
    for name in _names(job.packages):
        if TESTS.search(name) or name in job.leave or name.endswith("__main__"):
            report.left_out[name] = "not asked for"
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is deprecated is no reason to leave it
                module = importlib.import_module(name)
        except (Exception, SystemExit, pytest.skip.Exception) as error:
            report.left_out[name] = f"{type(error).__name__}: {error}"
        else:
            if _file_of(module):
                modules.append(module)
    return modules


def _names(packages: tuple[str, ...]) -> Iterator[str]:
    """Yield the modules of packages, a package before what is in it."""
    for package in packages:
        yield package
        module = importlib.import_module(package)
        paths = getattr(module, "__path__", ())
        found = pkgutil.walk_packages(paths, f"{package}.", onerror=lambda _: None)
        yield from sorted(info.name for info in found)


def _file_of(module: ModuleType) -> str:
    """Return the file that a module was read from; empty if it was made in another way."""
    file = getattr(module, "__file__", None) or ""
    spec = getattr(module, "__spec__", None)
    return file if file.endswith(".py") and spec and spec.origin == file else ""


# replacing ---------------------------------------------------------------------------------


def replace_all(modules: list[ModuleType], job: Job, report: Report) -> None:
    """Replace every function of the modules, in one switch."""
    from scatter import apply
    from scatter.registry import REGISTRY

    texts = [ModuleText(module, job) for module in modules]
    for text in texts:
        text.track(report)
    begun = time.perf_counter()
    wanted = list(_wanted_of(texts, report))
    built = time.perf_counter()
    prepared = apply.prepare(REGISTRY, wanted)
    linked = time.perf_counter()
    apply.switch(REGISTRY, prepared)
    report.seconds["switch"] = time.perf_counter() - linked
    report.seconds["link"] = linked - built
    report.seconds["build"] = built - begun
    for refusal in prepared.refusals:
        report.refuse(refusal.reason, refusal.function, refusal.message)
    report.shipped = count_running()
    if job.mode != "same":
        report.not_edited = [n for n, linked in prepared.linked.items() if not _is_edited(linked)]


def _is_edited(linked: Any) -> bool:
    """Return whether a version is the edited code: a lambda's edit has no name to know it by."""
    code = getattr(linked.target, "__code__", None)
    return code is not None and (MARK in code.co_varnames or code.co_name == "<lambda>")


def count_running() -> int:
    """Return how many functions run a pushed version."""
    from scatter.registry import REGISTRY

    return sum(slot.version == 1 for slot in REGISTRY.slots().values())


class ModuleText:
    """One imported module: its text as deployed and as pushed, and which functions are tried."""

    def __init__(self, module: ModuleType, job: Job) -> None:
        """Read and edit the text of a module."""
        from scatter.analysis import ModuleSource

        self.module, self.name, self.file = module, module.__name__, _file_of(module)
        with tokenize.open(self.file) as stream:
            text = stream.read()
        self.deployed = ModuleSource(text, name=self.name, file=self.file, track_all=True)
        new = text if job.mode == "same" else edited(text)
        self.pushed = ModuleSource(new, name=self.name, file=self.file, track_all=True)
        self._half = job.mode == "helpers"
        self._shared = frozenset(job.shared)
        self.tried = frozenset[str]()

    def track(self, report: Report) -> None:
        """Track the functions that are to be replaced; note those that cannot be."""
        from scatter.finding import functions_of

        functions = functions_of(self.module) if self._half else {}
        tracked = functions.keys() if self._half else self._track_all()
        report.found += len(self.deployed.functions)
        here = self._live_functions()
        present = [k for k in self.deployed.functions if k in tracked or self._is_live(k, here)]
        absent = self.deployed.functions.keys() - set(present)
        report.absent += sorted(f"{self.name}:{key}" for key in absent)
        chosen = self._half_of(present) if self._half else present
        report.tried += len(chosen)
        for key in chosen:
            if key not in tracked:
                report.refuse("untracked", f"{self.name}:{key}", "`track_module` did not find it")
        self.tried = frozenset(chosen) & tracked
        self._track_some({key: functions[key] for key in self.tried if self._half})

    def _half_of(self, keys: list[str]) -> list[str]:
        """Return every method, every second function of the module itself, and those shared.

        A method that is edited and not replaced would be a changed class, which is refused.
        """
        functions = [k for k in keys if "." not in k]
        methods = [k for k in keys if "." in k]
        shared = [k for k in functions[1::2] if f"{self.name}:{k}" in self._shared]
        return methods + functions[::2] + shared

    def _track_all(self) -> set[str]:
        """Track the module whole; return the keys of what is tracked."""
        from scatter import track_module

        return {name.partition(":")[2] for name in track_module(self.module)}

    def _track_some(self, functions: dict[str, FunctionType]) -> None:
        """Track some functions as `track_module` does all: an untracked one is not known at all."""
        from scatter.registry import REGISTRY

        for key, function in functions.items():
            REGISTRY.add(f"{self.name}:{key}", function, bare=True)

    def _is_live(self, key: str, here: set[tuple[str, int]]) -> bool:
        function = self.deployed.functions[key]
        names = (function.qualname.rpartition(".")[2], "<lambda>")
        lines = range(function.line, function.last_line + 1)
        return any(name in names and line in lines for name, line in here)

    def _live_functions(self) -> set[tuple[str, int]]:
        """Return (name, first line) of every function of the file that something refers to.

        A function that no object refers to cannot be called by anyone, and not be replaced.
        """
        if not _functions:
            gc.collect()
            for found in gc.get_objects():
                if isinstance(found, FunctionType):
                    code = found.__code__
                    place = code.co_name, code.co_firstlineno
                    _functions.setdefault(code.co_filename, set()).add(place)
        return _functions.get(self.file, set())


_functions: dict[str, set[tuple[str, int]]] = {}


def _wanted_of(texts: list[ModuleText], report: Report) -> Iterator[Any]:
    """Yield the versions that functions are to be replaced by."""
    from scatter.errors import ScatterError

    texts_of = {text.name: text for text in texts}

    def find(module: str) -> Any:
        return texts_of[module].pushed if module in texts_of else None

    def is_tracked(source: Any, key: str) -> bool:
        return key in texts_of[source.name].tried

    for text in texts:
        for key in (k for k in text.pushed.functions if k in text.tried):
            try:
                yield _wanted(text.pushed, key, find, is_tracked)
            except ScatterError as error:
                reason = getattr(error, "reason", type(error).__name__)
                report.refuse(reason, f"{text.name}:{key}", str(error))


def _wanted(source: Any, key: str, find: Any, is_tracked: Any) -> Any:
    """Return one version as the store would hand it over."""
    from scatter.apply import Wanted
    from scatter.bundle import digest_of, encode
    from scatter.bundle.build import build
    from scatter.model import Change

    built = build(source, key, find=find, is_tracked=is_tracked)
    data = encode(built.bundle)
    change = Change(
        function=built.bundle.function,
        version=1,
        bundle=digest_of(data),
        size=len(data),
        created=True,
        lines=built.lines,
        file=built.file,
    )
    return Wanted(change=change, data=data)
