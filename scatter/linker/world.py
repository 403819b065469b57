"""All code of a process as it will be: the deployed text of modules, and what versions replace.

Not here: reading it (`mentions`), judging by it (`callers`).

Invariant: nothing is parsed before it is needed, and nothing twice.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from scatter.analysis import Target
from scatter.analysis.imports import imports_in, package_of
from scatter.analysis.reading import parse, parse_definition
from scatter.analysis.walks import first_line, walk_classes
from scatter.bundle import Bundle, Part
from scatter.linker.scoping import Imports, Names, Scope, scope_of_module


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The lines of one tracked function in its module, the decorators included."""

    first: int
    last: int
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One module of this process, as it was deployed.

    Attributes:
        module, file, text: What it is, and its source.
        sure: Whether the text was read while it was what runs.
        spans: Returns where its tracked functions are; None when the text is not what runs.
        reaches: For a module of others: the modules of the project of which it has something;
            None for one of the project.

    """

    module: str
    file: str
    text: str
    sure: bool
    spans: Callable[[], tuple[Span, ...] | None]
    reaches: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The code of one version that runs, or will.

    Attributes:
        bundle: What it was made from.
        lines: Function and items → their first lines; 0 or nothing where that is not known.
        file: File that it was pushed from.

    """

    bundle: Bundle
    lines: Mapping[str, int] = field(default_factory=dict)
    file: str = ""


class Text:
    """One piece of code that runs, parsed when it is needed."""

    def __init__(
        self, text: str, *, module: str, package: str, file: str, line: int = 1, within: str = ""
    ) -> None:
        self.text = text
        self.module = module
        self.package = package
        self.file = file
        self.line = line
        self.within = within

    @cached_property
    def tree(self) -> ast.Module:
        return parse_definition(self.text)

    def statements(self, pattern: re.Pattern[str], names: Collection[str]) -> list[ast.stmt]:
        """Return the statements to look through.

        Args:
            pattern: What they must contain.
            names: Functions and classes that are looked through in any case.

        """
        del pattern, names
        return self.tree.body

    def is_doubtful(self, is_used: bool) -> bool:
        """Return whether other code runs than the text says.

        Args:
            is_used: Whether something was found in the text.

        """
        del is_used
        return False

    def where(self, line: int) -> str:
        """Return file and line of a line of the tree."""
        first = 2 if self.text[:1] in (" ", "\t") else 1  # as `parse_definition` has it
        return f"{self.file}:{self.line + line - first}" if self.line else self.file


class Module(Text):
    """The deployed text of a module."""

    def __init__(self, deployed: Deployed) -> None:
        is_package = deployed.file.replace("\\", "/").endswith("/__init__.py")
        super().__init__(
            deployed.text,
            module=deployed.module,
            package=package_of(deployed.module, is_package=is_package),
            file=_short_file(deployed, is_package),
        )
        self._deployed = deployed

    @cached_property
    def tree(self) -> ast.Module:
        """The code; none where a text is no Python: then it is not what runs (`spans`)."""
        try:
            return parse(self.text)
        except (SyntaxError, ValueError):
            return ast.Module(body=[], type_ignores=[])

    @cached_property
    def scope(self) -> Scope:
        return scope_of_module(self.tree, self.package, self.text)

    @cached_property
    def classes(self) -> Mapping[str, ast.ClassDef]:
        return dict(walk_classes(self.tree.body))

    def statements(self, pattern: re.Pattern[str], names: Collection[str]) -> list[ast.stmt]:
        """Return the top-level statements that contain a pattern, or define one of some names."""
        starts = [match.start() for match in pattern.finditer(self.text)]
        lines = [bisect_right(self._line_starts, start) for start in starts]
        return [
            node
            for node in self.tree.body
            if _has_one(lines, first_line(node), node.end_lineno or node.lineno)
            or getattr(node, "name", "") in names
        ]

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def is_doubtful(self, is_used: bool) -> bool:
        """Return whether other code runs than the text says."""
        return (is_used or not self._deployed.sure) and self.spans is None

    @cached_property
    def spans(self) -> tuple[Span, ...] | None:
        return self._deployed.spans()

    def can_reach(self, module: str) -> bool:
        """Return whether its code may have something of a module."""
        return self._deployed.reaches is None or module in self._deployed.reaches

    def function_at(self, line: int) -> str:
        """Return the tracked function that a line belongs to; empty if to none."""
        found = (span for span in self.spans or () if span.first <= line <= span.last)
        return next((span.function for span in found), "")


class Piece(Text):
    """A definition of a version: the function itself, or what travels with it."""

    def __init__(
        self, text: str, *, function: str, part: Part, version: Version, name: str, within: str
    ) -> None:
        super().__init__(
            text,
            module=part.module,
            package=part.package,
            file=version.file or part.module or function,
            line=version.lines.get(name, 0),
            within=within,
        )
        self.function = function
        self._part = part

    @cached_property
    def overlay(self) -> Imports:
        """What the version's own imports bind."""
        return self.imports_that(lambda _: True)

    def imports_that(self, concern: Callable[[str], object]) -> Imports:
        """Return what those of the version's imports bind whose text is of concern."""
        found: dict[str, tuple[Target, ...]] = {}
        for item in self._part.items:
            if item.kind == "import" and item.source and concern(item.source):
                tree = parse_definition(item.source)
                for binding in imports_in(tree, self.package):
                    found[binding.name] = (*found.get(binding.name, ()), binding.target)
        return found

    @cached_property
    def tracked(self) -> dict[str, str]:
        """The version's names of tracked functions → their full names."""
        return {item.name: item.source for item in self._part.items if item.kind == "tracked"}


class World:
    """All code of a process, as it will be."""

    def __init__(self, modules: Iterable[Deployed], versions: Mapping[str, Version]) -> None:
        """Parse nothing yet.

        Args:
            modules: The project's modules that are imported.
            versions: Full name → version, of each function that will not run its deployed code.

        """
        self.versions = versions
        self.modules = {deployed.module: Module(deployed) for deployed in modules}
        self.names = Names(self.scope, self.modules)
        self._pieces = {name: tuple(self._read(name, v)) for name, v in versions.items()}

    def scope(self, module: str) -> Scope | None:
        """Return the scope of a module of the project."""
        found = self.modules.get(module)
        return found.scope if found else None

    def is_class(self, target: Target) -> bool:
        """Return whether the project defines a class at a place."""
        found = self.modules.get(target.module)
        return found is not None and target.name in found.classes

    def pieces(self, functions: Collection[str] | None = None) -> Iterator[Piece]:
        """Yield the definitions of versions; of some functions' alone if they are given."""
        for name, pieces in self._pieces.items():
            if functions is None or name in functions:
                yield from pieces

    def _read(self, function: str, version: Version) -> Iterator[Piece]:
        bundle = version.bundle
        own = bundle.parts[0]
        owner = bundle.qualname.rpartition(".")[0]
        if bundle.source:
            yield Piece(
                bundle.source,
                function=function,
                part=own,
                version=version,
                name=bundle.qualname,
                within=owner,
            )
        for part in bundle.parts:
            for item in part.items:
                if item.kind in ("import", "tracked", "captured") or not item.source:
                    continue
                if not self._is_deployed(part.module, item.kind, item.name, item.source):
                    key = item.name if part is own else part.key(item.name)
                    yield Piece(
                        item.source,
                        function=function,
                        part=part,
                        version=version,
                        name=key,
                        within="",
                    )

    def _is_deployed(self, module: str, kind: str, name: str, source: str) -> bool:
        """Return whether an item is used live: what is deployed counts already."""
        deployed = self.modules.get(module)
        if deployed is None:
            return False
        is_there = re.search(rf"^\s*class {re.escape(name)}\b", deployed.text, re.MULTILINE)
        return source in deployed.text or (kind == "class" and is_there is not None)


def _has_one(numbers: list[int], first: int, last: int) -> bool:
    """Return whether one of some numbers, in order, lies between two."""
    place = bisect_left(numbers, first)
    return place < len(numbers) and numbers[place] <= last


def _short_file(deployed: Deployed, is_package: bool) -> str:
    """Return the end of a file's path that its module's name gives."""
    parts = deployed.file.replace("\\", "/").split("/")
    return "/".join(parts[-(deployed.module.count(".") + 1 + is_package) :])
