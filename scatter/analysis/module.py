"""One module's source, read: its definitions, their kinds, and the names that each one uses.

Not here: which definitions travel with a function (`scatter.bundle.build`), and what a worker
does with them (`scatter.linker`).

Invariants
1. A name that is bound more than once, declared `global`, or changed in place is state.
2. `uses` never lacks a name that running the definition would look up in the module; it may
   have one too many (a lambda's parameter in a default).
3. Positions are those of the file: lines count from 1, indentation is kept.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from scatter.analysis.kinds import Kind, kind_of_assignment, mutated_names
from scatter.analysis.scopes import Scopes, expression_names, used_globals
from scatter.errors import ScatterError

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class SourceError(ScatterError, SyntaxError):
    """Source that is no Python; `lineno` and `offset` say where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One top-level name of a module.

    Attributes:
        name: The name that it binds.
        kind: What it is; decides what a worker does with it.
        source: Its text, indentation kept. For an import: the one binding, normalised.
        line: First line in the file (of the first decorator), from 1.
        uses: Top-level names that it looks up when it runs or is evaluated.
        creatable: For state: evaluating `source` in another process gives a fresh, empty one.
        typing_only: Bound under `if TYPE_CHECKING`: not there at run time.

    """

    name: str
    kind: Kind
    source: str
    line: int
    uses: frozenset[str]
    creatable: bool = False
    typing_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSource:
    """One function or method, wherever classes nest it.

    Attributes:
        qualname: `score` or `Model.predict`.
        source: Its text from the first decorator on, indentation kept.
        line: First line in the file (of the first decorator).
        last_line: Last line in the file.
        def_line: Line of the `def` itself.
        uses: Top-level names that it looks up.
        class_names: For a method: names of the class body that its defaults or decorators use.
        tracked: Whether `@scatter.track` is among its decorators.
        tracked_name: The name that `@track(name=...)` gives it, else empty.
        skip: How many decorators stand above `@track`, itself included.
        twice: Whether the scope defines the name more than once, and nothing tells which is meant.

    """

    qualname: str
    source: str
    line: int
    last_line: int
    def_line: int
    uses: frozenset[str]
    class_names: tuple[str, ...] = ()
    tracked: bool = False
    tracked_name: str = ""
    skip: int = 0
    twice: bool = False


class ModuleSource:
    """The text of one module and what was read from it. Treat as frozen."""

    def __init__(self, text: str, *, name: str, file: str = "<source>") -> None:
        """Parse `text`.

        Args:
            text: Source as Python reads it: lines end with one newline character.
            name: Module name; empty for notebooks.
            file: Where it came from, for messages.

        Raises:
            SourceError: The text is no Python for the running interpreter.

        """
        self.text = text
        self.name = name
        self.file = file
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
        return _demote({name: _merge(bindings) for name, bindings in found.items()})

    @cached_property
    def functions(self) -> Mapping[str, FunctionSource]:
        """Every function of the module and of its classes, by qualname."""
        found: dict[str, FunctionSource] = {}
        for qualname, node, scope in _walk_functions(self._tree.body, "", None):
            function = self._read_function(qualname, node, scope)
            before = found.get(qualname)
            if before and (before.tracked or not function.tracked):
                function = _chosen(before, function, node)
            found[qualname] = function
        return found

    @cached_property
    def star_imports(self) -> tuple[str, ...]:
        """The `from x import *` statements, as written."""
        return tuple(
            self._text_of(node)
            for node in _flat(self._tree.body)
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
        )

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
        return "\n".join(self._lines[_first_line(node) - 1 : node.end_lineno])

    def _shares_line(self, node: ast.stmt) -> bool:
        if hasattr(node, "body"):
            return False
        before = self._lines[node.lineno - 1][: node.col_offset]
        return bool(before.strip()) or ";" in self._lines[(node.end_lineno or node.lineno) - 1]

    def _uses(self, node: ast.stmt) -> frozenset[str]:
        """Return the module's names that a top-level statement looks up."""
        inside = self._scopes.within(_first_line(node), node.end_lineno or node.lineno)
        return used_globals(inside) | expression_names(node)

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
        import if only imports (and constants, as fall-backs) bind it: the whole block is then its
        source. Everything else in a block is read as if it stood alone.
        """
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from self._read_block(node.body, changed, typing_only=True)
            yield from self._read_block(node.orelse, changed, typing_only=typing_only)
            return
        inner: dict[str, list[Definition]] = {}
        for block in _blocks(node):
            for definition in self._read_block(block, changed, typing_only=typing_only):
                inner.setdefault(definition.name, []).append(definition)
        whole, uses = self._text_of(node), self._uses(node)
        for name, found in inner.items():
            kinds = {d.kind for d in found}
            if "import" in kinds and kinds <= {"import", "constant", "state"}:
                yield Definition(
                    name=name, kind="import", source=whole, line=node.lineno, uses=uses - {name}
                )
            else:
                yield from found

    def _read_statement(
        self, node: ast.stmt, changed: frozenset[str], typing_only: bool
    ) -> Iterator[Definition]:
        """Yield what one simple statement, function or class at module level binds."""
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from _read_import(node, typing_only)
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
            line=_first_line(node),
            uses=self._uses(node),
            creatable=creatable,
            typing_only=typing_only,
        )

    def _read_function(
        self, qualname: str, node: FunctionNode, scope: ast.ClassDef | None
    ) -> FunctionSource:
        first, last = _first_line(node), node.end_lineno or node.lineno
        skip, given = self._find_track(node)
        outside = expression_names(node, skip)
        inside = used_globals(self._scopes.within(first, last))
        class_names = _class_level_names(scope) & outside if scope else frozenset()
        return FunctionSource(
            qualname=qualname,
            source=self._text_of(node),
            line=first,
            last_line=last,
            def_line=node.lineno,
            uses=inside | (outside - class_names),
            class_names=tuple(sorted(class_names)),
            tracked=skip > 0,
            tracked_name=given,
            skip=skip,
        )

    def _find_track(self, node: FunctionNode) -> tuple[int, str]:
        """Return (decorators down to `@track`, its `name=`); (0, "") when it has none."""
        for position, decorator in enumerate(node.decorator_list, start=1):
            call = decorator if isinstance(decorator, ast.Call) else None
            if _dotted(call.func if call else decorator) in self._track_spellings:
                return position, _name_argument(call)
        return 0, ""

    @cached_property
    def _track_spellings(self) -> frozenset[str]:
        """Every way in which this module may write `scatter.track`."""
        found = set[str]()
        if "scatter" not in self.text:
            return frozenset()
        for node in _flat(self._tree.body):
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
    accessor = any(_dotted(d).startswith(f"{name}.") for d in node.decorator_list)
    return replace(after, twice=before.tracked or accessor or before.twice)


def _merge(bindings: list[Definition]) -> Definition:
    """Return the one definition of a name that is bound one or more times."""
    last = bindings[-1]
    real = [b for b in bindings if not b.typing_only]
    if len(real) == 1:
        return real[0]
    if len(bindings) == 1 or all(b.kind == "function" for b in bindings):
        return last  # overloads, or a later `def` that simply wins
    if all(b.kind == "import" for b in bindings):
        return last
    uses = frozenset[str]().union(*(b.uses for b in bindings))
    return Definition(name=last.name, kind="state", source=last.source, line=last.line, uses=uses)


def _demote(definitions: dict[str, Definition]) -> dict[str, Definition]:
    """Make state of every constant whose expression uses something that is no constant."""
    demoted = True
    while demoted:
        demoted = False
        for name, found in definitions.items():
            used = (definitions.get(use) for use in found.uses)
            if found.kind == "constant" and any(u and u.kind != "constant" for u in used):
                definitions[name] = replace(found, kind="state")
                demoted = True
    return definitions


def _read_import(node: ast.Import | ast.ImportFrom, typing_only: bool) -> Iterator[Definition]:
    """Yield one definition for each name that an import statement binds."""
    for alias in node.names:
        if alias.name == "*" or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            continue
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            name = alias.asname or alias.name.partition(".")[0]
            source = f"import {alias.name}{renamed}"
        else:
            name = alias.asname or alias.name
            source = f"from {'.' * node.level}{node.module or ''} import {alias.name}{renamed}"
        yield Definition(
            name=name,
            kind="import",
            source=source,
            line=node.lineno,
            uses=frozenset(),
            typing_only=typing_only,
        )


def _walk_functions(
    body: list[ast.stmt], prefix: str, scope: ast.ClassDef | None
) -> Iterator[tuple[str, FunctionNode, ast.ClassDef | None]]:
    """Yield (qualname, node, enclosing class) of functions outside other functions."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + node.name, node, scope
        elif isinstance(node, ast.ClassDef):
            yield from _walk_functions(node.body, f"{prefix}{node.name}.", node)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            for block in _blocks(node):
                yield from _walk_functions(block, prefix, scope)


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a block and of the blocks inside it, but not of definitions."""
    for node in body:
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for block in _blocks(node):
                yield from _flat(block)


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the statement lists directly inside a compound statement."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if block:
            yield block
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body


def _class_level_names(scope: ast.ClassDef) -> frozenset[str]:
    """Return the names that a class body binds directly."""
    names = set[str]()
    for node in scope.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return frozenset(names)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _is_type_checking(test: ast.expr) -> bool:
    return _dotted(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING", "t.TYPE_CHECKING"}


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` for a dotted name, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = _dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def _name_argument(call: ast.Call | None) -> str:
    """Return the literal value of `name=` in a call to `track`, else an empty string."""
    for keyword in call.keywords if call else ():
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return ""


__all__ = ["Definition", "FunctionSource", "Kind", "ModuleSource", "SourceError"]
