"""One module's source, read: its definitions, their kinds, and the names that each one uses.

Not here: which definitions travel with a function (`scatter.bundle.build`), and what a worker
does with them (`scatter.linker`).

Invariants
1. A name that is bound more than once, declared `global`, or changed in place is state.
2. `uses` never lacks a name that running the definition would look up in the module; it may
   have one too many (that of a decorator above `@track`).
3. Positions are those of the file: lines count from 1, indentation is kept.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from scatter.analysis.bindings import demote, kind_of_block, merge, read_import
from scatter.analysis.kinds import Kind, constructors_in, kind_of_assignment, mutated_names
from scatter.analysis.reading import dotted, globals_assigned_in
from scatter.analysis.records import Definition, FunctionNode, FunctionSource
from scatter.analysis.scopes import Scopes, expression_names, used_globals
from scatter.analysis.walks import (
    blocks,
    class_level_names,
    first_line,
    flat,
    is_type_checking,
    members_used,
    name_argument,
    read_before_bound,
    walk_classes,
    walk_functions,
)
from scatter.errors import ScatterError


class SourceError(ScatterError, SyntaxError):
    """Source that is no Python; `lineno` and `offset` say where."""


class ModuleSource:
    """The text of one module and what was read from it. Treat as frozen."""

    def __init__(
        self, text: str, *, name: str, file: str = "<source>", track: frozenset[str] = frozenset()
    ) -> None:
        """Parse `text`.

        Args:
            text: Source as Python reads it: lines end with one newline character.
            name: Module name; empty for notebooks.
            file: Where it came from, for messages.
            track: How it may write `scatter.track`, beside what its own imports say.

        Raises:
            SourceError: The text is no Python for the running interpreter.

        """
        self.text = text
        self.name = name
        self.file = file
        self._track = track
        try:
            self._tree = ast.parse(text, file)
            self._scopes = Scopes(symtable.symtable(text, file, "exec"))
        except SyntaxError as error:
            raise SourceError(*error.args) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise SourceError(f"{file} cannot be parsed: {error}") from error
        self._lines = text.split("\n")

    def __repr__(self) -> str:
        return f"<ModuleSource {self.name or '(no module)'}: {len(self.functions)} functions>"

    @cached_property
    def future(self) -> tuple[str, ...]:
        """Names imported from `__future__`, sorted: they change how the rest compiles."""
        found = {
            alias.name
            for node in self._tree.body
            if isinstance(node, ast.ImportFrom) and node.module == "__future__"
            for alias in node.names
        }
        return tuple(sorted(found))

    @cached_property
    def definitions(self) -> Mapping[str, Definition]:
        """Every top-level name that the module binds, but star imports."""
        changed = frozenset[str]().union(*map(self._mutated, self._tree.body))
        found: dict[str, list[Definition]] = {}
        for definition in self._read_block(self._tree.body, changed, typing_only=False):
            found.setdefault(definition.name, []).append(definition)
        return demote({name: merge(bindings) for name, bindings in found.items()})

    @cached_property
    def functions(self) -> Mapping[str, FunctionSource]:
        """Every function of the module and of its classes, by qualname."""
        found: dict[str, FunctionSource] = {}
        for qualname, node, scope in walk_functions(self._tree.body, "", None):
            function = self._read_function(qualname, node, scope)
            before = found.get(qualname)
            if before and (before.tracked or not function.tracked):
                function = _chosen(before, function, node)
            found[qualname] = function
        return found

    @cached_property
    def class_bodies(self) -> Mapping[str, frozenset[str]]:
        """Class → names that its body binds, by the class's qualname."""
        return {
            qualname: class_level_names(node) for qualname, node in walk_classes(self._tree.body)
        }

    @cached_property
    def looked_up(self) -> frozenset[str]:
        """Every name that some function or definition of the module looks up in it."""
        definitions = (d.uses for d in self.definitions.values())
        return frozenset().union(*definitions, *(f.uses for f in self.functions.values()))

    @cached_property
    def assigned_later(self) -> frozenset[str]:
        """Names that functions of the module bind through `global`."""
        return globals_assigned_in(self._tree)

    @cached_property
    def tracked(self) -> dict[str, FunctionSource]:
        """The functions with `@scatter.track`, by qualname."""
        return {q: f for q, f in self.functions.items() if f.tracked}

    def _text_of(self, node: ast.stmt) -> str:
        """Return the whole lines that a statement stands on, decorators included.

        Of a line that it shares with another statement, only its own part.
        """
        if self._shares_line(node):
            return ast.get_source_segment(self.text, node) or ""
        return "\n".join(self._lines[first_line(node) - 1 : node.end_lineno])

    def _shares_line(self, node: ast.stmt) -> bool:
        if hasattr(node, "body"):
            return False
        before = self._lines[node.lineno - 1][: node.col_offset]
        return bool(before.strip()) or ";" in self._lines[(node.end_lineno or node.lineno) - 1]

    def _uses(self, node: ast.stmt) -> frozenset[str]:
        """Return the module's names that a top-level statement looks up."""
        inside = self._scopes.within(first_line(node), node.end_lineno or node.lineno)
        own = read_before_bound(node) if isinstance(node, ast.ClassDef) else frozenset[str]()
        return used_globals(inside) | expression_names(node) | own

    def _mutated(self, node: ast.stmt) -> frozenset[str]:
        """Return the module's names that a top-level statement changes in place."""
        names = mutated_names(node)
        is_definition = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        return names & self._uses(node) if names and is_definition else names

    def _read_block(
        self, body: list[ast.stmt], changed: frozenset[str], *, typing_only: bool
    ) -> Iterator[Definition]:
        """Yield what the statements of one block at module level bind."""
        for node in body:
            if isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.Match)):
                yield from self._read_compound(node, changed, typing_only)
            else:
                yield from self._read_statement(node, changed, typing_only)

    def _read_compound(
        self, node: ast.stmt, changed: frozenset[str], typing_only: bool
    ) -> Iterator[Definition]:
        """Yield what an `if`, `try`, `with` or loop at module level binds.

        Under `if TYPE_CHECKING` nothing exists at run time. In any other block a name is an
        import if only imports (and constants, as fall-backs) bind it, and a function if several
        branches define one: the whole block is then its source, since only running it tells which
        branch is taken. Everything else in a block is read as if it stood alone.
        """
        if isinstance(node, ast.If) and is_type_checking(node.test):
            yield from self._read_block(node.body, changed, typing_only=True)
            yield from self._read_block(node.orelse, changed, typing_only=typing_only)
            return
        inner: dict[str, list[Definition]] = {}
        for block in blocks(node):
            for definition in self._read_block(block, changed, typing_only=typing_only):
                inner.setdefault(definition.name, []).append(definition)
        whole, uses = self._text_of(node), self._uses(node)
        for name, found in inner.items():
            kind = kind_of_block(found)
            if kind is None:
                yield from found
            else:
                yield Definition(
                    name=name, kind=kind, source=whole, line=node.lineno, uses=uses - {name}
                )

    def _read_statement(
        self, node: ast.stmt, changed: frozenset[str], typing_only: bool
    ) -> Iterator[Definition]:
        """Yield what one simple statement, function or class at module level binds."""
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from read_import(node, typing_only)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            is_class = isinstance(node, ast.ClassDef)
            kind: Kind = "class" if is_class else "function"
            if node.name in changed:
                kind = "state"
            yield self._define(node.name, kind, node, typing_only=typing_only)
        else:
            for name, kind, creatable in kind_of_assignment(node, changed):
                yield self._define(name, kind, node, creatable=creatable, typing_only=typing_only)

    def _define(
        self,
        name: str,
        kind: Kind,
        node: ast.stmt,
        *,
        creatable: bool = False,
        typing_only: bool = False,
    ) -> Definition:
        return Definition(
            name=name,
            kind=kind,
            source=self._text_of(node),
            line=first_line(node),
            uses=self._uses(node),
            creatable=creatable,
            typing_only=typing_only,
            constructors=constructors_in(node) if kind == "constant" else frozenset(),
        )

    def _read_function(
        self, qualname: str, node: FunctionNode, scope: ast.ClassDef | None
    ) -> FunctionSource:
        first, last = first_line(node), node.end_lineno or node.lineno
        skip, given = self._find_track(node)
        outside = expression_names(node, skip)
        inside = used_globals(self._scopes.within(first, last))
        class_names = class_level_names(scope) & outside if scope else frozenset()
        return FunctionSource(
            qualname=qualname,
            source=self._text_of(node),
            line=first,
            last_line=last,
            def_line=node.lineno,
            uses=inside | (outside - class_names),
            class_names=tuple(sorted(class_names)),
            members=tuple(sorted(members_used(node, scope))) if scope else (),
            tracked=skip > 0,
            tracked_name=given,
            skip=skip,
        )

    def _find_track(self, node: FunctionNode) -> tuple[int, str]:
        """Return (decorators down to `@track`, its `name=`); (0, "") when it has none."""
        for position, decorator in enumerate(node.decorator_list, start=1):
            call = decorator if isinstance(decorator, ast.Call) else None
            if dotted(call.func if call else decorator) in self._track_spellings:
                return position, name_argument(call)
        return 0, ""

    @cached_property
    def _track_spellings(self) -> frozenset[str]:
        """Every way in which this module may write `scatter.track`."""
        found = set(self._track)
        if "scatter" not in self.text:
            return self._track
        for node in flat(self._tree.body):
            if isinstance(node, ast.Import):
                found |= {
                    f"{a.asname or 'scatter'}.track" for a in node.names if a.name == "scatter"
                }
            elif isinstance(node, ast.ImportFrom) and node.module == "scatter" and not node.level:
                found |= {a.asname or "track" for a in node.names if a.name == "track"}
        return frozenset(found)


def _chosen(before: FunctionSource, after: FunctionSource, node: FunctionNode) -> FunctionSource:
    """Return which of two definitions of one name is meant: a tracked one, else the later one.

    Two tracked ones, and an accessor made from an untracked one (`@x.setter`), leave it open.
    """
    if before.tracked and not after.tracked:
        return before
    name = node.name
    accessor = any(dotted(d).startswith(f"{name}.") for d in node.decorator_list)
    return replace(after, twice=before.tracked or accessor or before.twice)


__all__ = ["Definition", "FunctionSource", "Kind", "ModuleSource", "SourceError"]
