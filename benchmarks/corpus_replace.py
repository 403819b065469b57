"""Imports a package whole, and replaces every function of it.

Not here: pytest.

Invariant: everything goes the real way: analysed, built, encoded, decoded, linked, and switched to
at once. Only the store is missing.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
import re
import time
import tokenize
import warnings
from collections.abc import Iterator
from fnmatch import fnmatchcase
from types import FunctionType, ModuleType
from typing import Any

from .corpus_edit import MARK, edited
from .corpus_job import Job, Report

TESTS = re.compile(r"(^|[._])(tests?|conftest|testing_helpers)($|[._])")


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
        except (Exception, SystemExit) as error:
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

    report.objects["before"] = _count_objects()
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
    del texts, wanted  # a worker has nothing of those
    report.objects["after"] = _count_objects()
    for refusal in prepared.refusals:
        report.refuse(refusal.reason, refusal.function, refusal.message)
    report.shipped = count_running()
    if job.mode != "same":
        report.not_edited = [n for n, linked in prepared.linked.items() if not _is_edited(linked)]


def _count_objects() -> int:
    gc.collect()
    return len(gc.get_objects())


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
        """Read the text of a module."""
        from scatter.analysis import ModuleSource

        self.module, self.name, self.file = module, module.__name__, _file_of(module)
        with tokenize.open(self.file) as stream:
            text = stream.read()
        self.deployed = ModuleSource(text, name=self.name, file=self.file, track_all=True)
        self.pushed = self.deployed
        self.tried = frozenset[str]()
        self._job = job
        self._half = job.mode == "helpers"

    def track(self, report: Report) -> None:
        """Track the functions that are to be replaced, and edit them; note those that cannot be."""
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
        self._edit(absent)

    def _edit(self, absent: set[str]) -> None:
        """Make the text that is pushed.

        Where not everything is tracked, a method that this process lacks stays as it is: an edited
        one would be a changed class.
        """
        if self._job.mode == "same":
            return
        lacking = {self.deployed.functions[key].qualname for key in absent if self._half}
        text = edited(self.deployed.text, lambda qualname: qualname not in lacking)
        self.pushed = type(self.deployed)(text, name=self.name, file=self.file, track_all=True)

    def _half_of(self, keys: list[str]) -> list[str]:
        """Return every method, every second function of the module itself, and those shared.

        A method that is edited and not replaced would be a changed class, which is refused.
        """
        functions = [k for k in keys if "." not in k]
        methods = [k for k in keys if "." in k]
        return methods + functions[::2] + [k for k in functions[1::2] if self._is_shared(k)]

    def _is_shared(self, key: str) -> bool:
        full = f"{self.name}:{key}"
        head = self.deployed.functions[key].source.partition("def ")[0]
        return any(fnmatchcase(full, pattern) for pattern in self._job.shared) or any(
            re.search(rf"@([\w.]+\.)?{name}\b", head) for name in self._job.registering
        )

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
