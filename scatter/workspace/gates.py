"""What is wrong with code, found before it is pushed.

Four things that processes would refuse, or that would break their callers: names that are defined
nowhere, imports of what does not exist, another kind of function, and parameters with which calls
in the project do not fit. What the live version has in the same way is no news, and passes: it
works where it runs, or was allowed.

Not here: commands that are to pass before a push (`checks`), what processes decide from what they
were deployed with (`scatter.linker`).

Invariants
1. Static, as all of the workspace: nothing of the project is imported or run.
2. What is not certain passes.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from scatter.analysis import ModuleSource, SourceError
from scatter.analysis.imports import absolute
from scatter.analysis.reading import lambda_in, parse_definition
from scatter.bundle import Bundle
from scatter.bundle.build import Built
from scatter.workspace.calls import Call, calls_in
from scatter.workspace.compare import is_text
from scatter.workspace.installed import Installed
from scatter.workspace.workspace import Workspace

GATES = ("missing-name", "missing-import", "kind-changed", "signature-changed")
"""Reasons for which nothing is pushed, in the order in which they are looked for."""
_Def = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_MOST_CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """One thing that is wrong with a function.

    Attributes:
        function: Full name.
        reason: Code of `docs/reasons.md`.
        message: What was found, and what to do.
        file, line: Where; line 0 if that is not known.

    """

    function: str
    reason: str
    message: str
    file: str
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.reason}: {self.message}"


class Gates:
    """Looks at functions of one workspace."""

    def __init__(self, workspace: Workspace, *, allow: Collection[str] = ()) -> None:
        """Look at nothing yet.

        Args:
            workspace: What the files hold.
            allow: Reasons that do not count.

        """
        self._workspace = workspace
        self._allow = frozenset(allow)
        self._installed = Installed(workspace.project)

    def __repr__(self) -> str:
        return f"<Gates of {self._workspace!r}>"

    def wrong(self, built: Built, live: Bundle | None) -> tuple[Wrong, ...]:
        """Return what is wrong with a function.

        Args:
            built: The function as it would be pushed.
            live: What is live of it; None if nothing is.

        """
        subject = _Subject(self._workspace, self._installed, built, live)
        finders = (subject.names, subject.imports, subject.kinds, subject.signatures)
        chosen = (f for reason, f in zip(GATES, finders, strict=True) if reason not in self._allow)
        return tuple(wrong for finder in chosen for wrong in finder())


class _Subject:
    """One function that is looked at."""

    def __init__(
        self, workspace: Workspace, installed: Installed, built: Built, live: Bundle | None
    ) -> None:
        self._workspace, self._installed = workspace, installed
        self._built, self._bundle, self._live = built, built.bundle, live
        self._file = workspace.file_of(built.bundle.function) or workspace.project

    def _wrong(self, reason: str, message: str, file: str = "", line: int = 0) -> Wrong:
        return Wrong(
            function=self._bundle.function,
            reason=reason,
            message=message,
            file=file or self._built.file,
            line=line,
        )

    # names -------------------------------------------------------------------------------

    def names(self) -> Iterator[Wrong]:
        """Yield the names that are looked up and that nothing defines."""
        known = set(self._live.unknown) if self._live is not None else set[str]()
        for use in self._bundle.unknown:
            if use in known:
                continue
            module, _, name = use.rpartition(":")
            file, line = self._place_of(name, module)
            yield self._wrong(
                "missing-name",
                f"`{name}` is used, and neither defined nor imported there. Correct it, or import "
                "it by name.",
                file,
                line,
            )

    def _place_of(self, name: str, module: str) -> tuple[str, int]:
        """Return the file and the line in which a name is used first."""
        for own, file, text, first in self._texts():
            if module and own != module:
                continue
            for node in ast.walk(_tree(text)):
                if isinstance(node, ast.Name) and node.id == name:
                    return file, first + node.lineno - 1 - _shift(text)
        return self._built.file, self._built.lines[0]

    def _texts(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield (module, file, text, first line) of the function and of all that travels."""
        lines = iter(self._built.lines)
        parts = self._bundle.parts
        own = parts[0].module if parts else ""
        yield own, self._built.file, self._bundle.source, next(lines, 1)
        for part in parts:
            file = self._built.files.get(part.module, self._built.file)
            for item in part.items:
                line = next(lines, 1)
                if is_text(item):
                    yield part.module, file, item.source, line

    # imports -----------------------------------------------------------------------------

    def imports(self) -> Iterator[Wrong]:
        """Yield the modules that are imported and that there are not."""
        known = _imported(self._live) if self._live is not None else frozenset[tuple[str, str]]()
        if any(self._lacks(*one) for one in known):
            return  # what runs has more than can be seen from here: this is not its environment
        seen = set[tuple[str, str]]()
        for module, file, text, first in self._texts():
            for (target, name), line in _imports(text, self._package(module)):
                if (target, name) in known or (target, name) in seen:
                    continue
                seen.add((target, name))
                lacking = self._lacks(target, name)
                if lacking:
                    yield self._wrong(
                        "missing-import", lacking, file, first + line - 1 - _shift(text)
                    )

    def _package(self, module: str) -> str:
        part = next((p for p in self._bundle.parts if p.module == module), None)
        return part.package if part is not None else module.rpartition(".")[0]

    def _lacks(self, module: str, name: str) -> str:
        """Return why a module, or a name in it, cannot be imported; empty if it may be."""
        top, workspace = module.partition(".")[0], self._workspace
        if not top:
            return ""
        if not (workspace.module_file(top, self._file) or workspace.has_path(top, self._file)):
            if self._installed.has(top):
                return ""
            return (
                f"there is no module `{top}` in the project, and none is installed here. Install "
                "it where the function runs, or correct the name."
            )
        if workspace.module_file(module, self._file) is None:
            if workspace.has_path(module, self._file) or self._installed.has(top):
                return ""
            return f"the project has no module `{module}`. Correct the name, or add the file."
        return self._lacks_name(module, name)

    def _lacks_name(self, module: str, name: str) -> str:
        source = self._workspace.source_of(module, self._file) if name else None
        inner = f"{module}.{name}"
        if source is None or _binds(source, name):
            return ""
        if self._workspace.module_file(inner, self._file) or self._workspace.has_path(
            inner, self._file
        ):
            return ""
        return f"`{module}` ({source.file}) defines no `{name}`. Correct the name, or define it."

    # kind and signature ------------------------------------------------------------------

    def _both(self) -> tuple[_Def, _Def] | None:
        """Return the live `def` and the new one; None where decorators may change what they say."""
        if self._live is None:
            return None
        old, new = (_definition(b.source, b.skip) for b in (self._live, self._bundle))
        return (old, new) if old is not None and new is not None else None

    def kinds(self) -> Iterator[Wrong]:
        """Yield that the function is another kind than the live one."""
        both = self._both()
        old, new = map(_kind, both) if both else ("", "")
        if old != new:
            yield self._wrong(
                "kind-changed",
                f"it is {new} now, and {old} is live: callers would break. Give the new kind "
                "another name, or deploy it with a restart.",
                line=self._built.lines[0],
            )

    def signatures(self) -> Iterator[Wrong]:
        """Yield that calls in the project do not fit the new parameters."""
        both = self._both()
        if both is None or ast.dump(both[0].args) == ast.dump(both[1].args):
            return
        from scatter.linker.signature import broken_between, misfit_of, parameters_in

        old, new = (parameters_in(one.args) for one in both)
        broken = broken_between(old, new)
        if not broken:
            return
        misfits = []
        for call in self._calls():
            why = misfit_of(new, call.count, call.names, more=call.more, others=call.others)
            if why:
                misfits.append((call, why))
        for call, why in misfits[:_MOST_CALLS]:
            yield self._wrong(
                "signature-changed",
                f"this call of `{self._bundle.qualname}` does not fit any more: {why}. Change it "
                f"too, or keep what was ({broken}).",
                call.file,
                call.line,
            )

    def _calls(self) -> Iterator[Call]:
        name, parts = self._bundle.qualname, self._bundle.parts
        module = parts[0].module if parts else ""
        if "." in name or not module:
            return
        for source, _ in self._workspace.sources_naming({name}):
            yield from calls_in(source, module, name)


@lru_cache(maxsize=1024)
def _tree(text: str) -> ast.Module:
    try:
        return parse_definition(text)
    except (SyntaxError, SourceError):
        return ast.Module(body=[], type_ignores=[])


def _body(text: str) -> list[ast.stmt]:
    """Return the statements of a definition, also of one that stands indented."""
    body = _tree(text).body
    if _shift(text) and body and isinstance(body[0], ast.If):
        return body[0].body
    return body


def _shift(text: str) -> int:
    """Return how many lines parsing an indented definition adds before it."""
    return int(text[:1] in (" ", "\t"))


def _imported(bundle: Bundle) -> frozenset[tuple[str, str]]:
    """Return the (module, name) of all that a version imports."""
    found = set[tuple[str, str]]()
    for part in bundle.parts:
        for item in part.items:
            if is_text(item):
                found |= {one for one, _ in _imports(item.source, part.package)}
    package = bundle.parts[0].package if bundle.parts else ""
    return frozenset(found | {one for one, _ in _imports(bundle.source, package)})


@lru_cache(maxsize=1024)
def _imports(text: str, package: str) -> tuple[tuple[tuple[str, str], int], ...]:
    """Return ((module, name), line) of what a text imports for certain: not in a `try` or `if`."""
    if "import" not in text:
        return ()
    return tuple(one for node in _body(text) for one in _certain(node, package))


def _certain(node: ast.AST, package: str) -> Iterator[tuple[tuple[str, str], int]]:
    if isinstance(node, (ast.Try, ast.TryStar, ast.If)):
        return
    if isinstance(node, ast.Import):
        yield from (((alias.name, ""), node.lineno) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = absolute(node, package)
        names = ("" if alias.name == "*" else alias.name for alias in node.names)
        yield from (((module, name), node.lineno) for name in names)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _certain(child, package)


def _binds(source: ModuleSource, name: str) -> bool:
    """Return whether a module has a name, or may have it."""
    is_open = bool(source.stars) or "__getattr__" in source.definitions
    is_there = name in source.definitions or name in source.assigned_later
    return is_open or is_there or (name.startswith("__") and name.endswith("__"))


def _definition(source: str, skip: int) -> _Def | None:
    """Return the function in a definition; None if a decorator below `@track` may change it."""
    node = next(iter(_body(source)), None)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        own = [d for d in node.decorator_list[skip:] if not _is_plain(d)]
        return None if own else node
    return lambda_in(node.value) if isinstance(node, ast.Assign) else None


def _is_plain(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id in ("staticmethod", "classmethod")


def _kind(node: _Def) -> str:
    is_generator = any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in _own(node))
    if isinstance(node, ast.AsyncFunctionDef):
        return "an async generator" if is_generator else "a coroutine function"
    return "a generator" if is_generator else "a plain function"


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is in a function and in no function inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _own(child)
