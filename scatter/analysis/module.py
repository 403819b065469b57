"""One module's source, read: its definitions, their kinds, and the names that each one uses.

Not here: which definitions travel with a function (`scatter.bundle.build`), and what a worker
does with them (`scatter.linker`).

Invariants
1. A name that is bound more than once, declared `global`, or changed in place is state.
2. `uses` never lacks a name that running the definition would look up in the module; it may
   have one too many (that of a decorator above `@track`).
3. Positions are those of the file: lines count from 1, indentation is kept.
4. Nothing is read twice, and nothing before it is asked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial

from scatter.analysis.classes import ClassText, without_methods
from scatter.analysis.definitions import read_definitions
from scatter.analysis.functions import read_functions, read_inner, spellings_of_track
from scatter.analysis.imports import exported_by, stars_in
from scatter.analysis.reading import globals_assigned_in
from scatter.analysis.records import Definition, FunctionSource
from scatter.analysis.text import Piece, Text, pieces_after
from scatter.analysis.walks import class_level_names, flat, walk_classes
from scatter.names import function_name


class ModuleSource:
    """The text of one module and what was read from it. Treat as frozen.

    Attributes:
        text: The whole text.
        name: Module name; empty for notebooks.
        file: Where it came from.
        package: The package that its relative imports begin from.
        track_all: Whether the module is tracked whole.

    """

    def __init__(
        self,
        text: str,
        *,
        name: str,
        file: str = "<source>",
        track: frozenset[str] = frozenset(),
        track_all: bool = False,
        gently: bool = False,
        before: ModuleSource | None = None,
    ) -> None:
        """Parse `text`.

        Args:
            text: Source as Python reads it: lines end with one newline character.
            name: Module name; empty for notebooks.
            file: Where it came from, for messages; a package's ends in `__init__.py`.
            track: How it may write `scatter.track`, beside what its own imports say.
            track_all: Whether the module is tracked whole: every function and method is then
                tracked, as if `@track` stood directly above its `def`.
            gently: Whether other threads of the process have more important things to do.
            before: The same module before an edit: what the edit left alone is not read again.

        Raises:
            SourceError: The text is no Python for the running interpreter.

        """
        self.name = name
        self.file = file
        self.track_all = track_all
        self._track = track
        self._bare: dict[str, ClassText] = {}
        self.text = text
        self._gently = gently
        self._parsed: tuple[Piece, ...] | None = self._parse(before)
        self.package = self._parsed[0].text.package

    def __repr__(self) -> str:
        return f"<ModuleSource {self.name or '(no module)'}: {len(self.functions)} functions>"

    def _parse(self, before: ModuleSource | None = None) -> tuple[Piece, ...]:
        known = before._parsed if before else None
        if before and known and (before.name, before.file) == (self.name, self.file):
            pieces = pieces_after(
                known, self.text, name=self.name, file=self.file, future=before.future
            )
            if pieces:
                return pieces
        text = Text(self.text, name=self.name, file=self.file, gently=self._gently)
        if self._gently:
            return (Piece(text, 1),)  # nobody edits it here, and pieces cost a twentieth more
        return tuple(text.pieces())

    @property
    def _pieces(self) -> tuple[Piece, ...]:
        """The text, parsed; again if the trees were let go."""
        return self._parsed or self._parse()

    def _statements(self) -> Iterator[ast.stmt]:
        """Yield the statements at the top level, and of the blocks there."""
        return flat([node for text, _ in self._pieces for node in text.tree.body])

    def settle(self) -> None:
        """Read all there is to read, and let go of the tree, which is a hundred times as large."""
        for reading in ("future", "stars", "exported", "looked_up", "assigned_later", "tracked"):
            getattr(self, reading)
        _ = self.class_bodies
        self._parsed = None

    @cached_property
    def future(self) -> tuple[str, ...]:
        """Names imported from `__future__`, sorted: they change how the rest compiles."""
        found = {
            alias.name
            for text, _ in self._pieces
            for node in text.tree.body
            if isinstance(node, ast.ImportFrom) and node.module == "__future__"
            for alias in node.names
        }
        return tuple(sorted(found))

    @cached_property
    def definitions(self) -> Mapping[str, Definition]:
        """Every top-level name that the module binds, but star imports."""
        return read_definitions(self._pieces)

    @cached_property
    def stars(self) -> tuple[str, ...]:
        """Modules of which it imports everything, the one that wins first."""
        return stars_in(self._statements(), self.package)

    @cached_property
    def exported(self) -> frozenset[str] | None:
        """What `__all__` says that it exports; None if it has none, or makes it."""
        return exported_by(self._statements())

    def exports(self, name: str) -> bool:
        """Return whether a star import of the module brings a name, if the module has it."""
        if self.exported is not None:
            return name in self.exported
        return not name.startswith("_")

    @cached_property
    def functions(self) -> Mapping[str, FunctionSource]:
        """Every function of the module and of its classes, by key."""
        spellings = spellings_of_track(self.text, self._statements(), self._track)
        return read_functions(self._pieces, spellings, track_all=self.track_all)

    def function_at(self, line: int, qualname: str) -> FunctionSource | None:
        """Return the function whose first line (of its first decorator) is `line`."""
        found = self._by_line.get(line, ())
        return next((f for f in found if f.qualname == qualname), found[0] if found else None)

    @cached_property
    def _by_line(self) -> Mapping[int, Sequence[FunctionSource]]:
        found: dict[int, list[FunctionSource]] = {}
        for function in self.functions.values():
            found.setdefault(function.line, []).append(function)
        return found

    def inner_function(self, line: int, name: str) -> FunctionSource | None:
        """Return the function inside another one whose first line is `line`.

        All of its decorators belong to the process that made it.
        """
        return read_inner(self._pieces, line, name)

    @cached_property
    def class_bodies(self) -> Mapping[str, frozenset[str]]:
        """Class → names that its body binds, by the class's qualname."""
        classes = (found for text, _ in self._pieces for found in walk_classes(text.tree.body))
        return {qualname: class_level_names(node) for qualname, node in classes}

    @cached_property
    def looked_up(self) -> frozenset[str]:
        """Every name that some function or definition of the module looks up in it."""
        definitions = (d.uses for d in self.definitions.values())
        return frozenset().union(*definitions, *(f.uses for f in self.functions.values()))

    def bare_class(self, name: str) -> ClassText:
        """Return a top-level class without its tracked methods."""
        if name not in self._bare:
            self._bare[name] = without_methods(self.definitions[name].source, self._name_of)
        return self._bare[name]

    def _name_of(self, key: str) -> str:
        """Return the full name of the function at a key if it is tracked, else empty."""
        function = self.tracked.get(key)
        return (function.tracked_name or function_name(self.name, key)) if function else ""

    @cached_property
    def assigned_later(self) -> frozenset[str]:
        """Names that functions of the module bind through `global`."""
        return frozenset[str]().union(
            *(
                t.kept("globals", None, partial(globals_assigned_in, t.tree))
                for t, _ in self._pieces
            )
        )

    @cached_property
    def tracked(self) -> Mapping[str, FunctionSource]:
        """The functions that are tracked, by key."""
        return {key: f for key, f in self.functions.items() if f.tracked}
