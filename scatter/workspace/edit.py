"""Editing one Python file: definitions are replaced where they stand, new ones are put in front.

Everything else of the file stays as it is: text, line ends, encoding.
"""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeGuard

from scatter.analysis import ModuleSource
from scatter.analysis.records import Definition
from scatter.bundle import Bundle, Item, Part
from scatter.errors import ScatterError
from scatter.names import module_of_file
from scatter.workspace import files
from scatter.workspace.compare import same_item

_BROUGHT = frozenset({"function", "class", "import", "constant", "state"})


class CannotBring(ScatterError):
    """Why a definition cannot be brought into a file."""


@dataclass(frozen=True, slots=True)
class _Change:
    """Lines `first` to `last` (from 1, `last` not among them) become `text`."""

    first: int
    last: int
    text: str


@dataclass
class FileEdit:
    """What one file is to become.

    Attributes:
        path: The file.
        raw: Its bytes as they are.
        source: What is read in them.
        is_tracked: Whether the method at a key is tracked: it is no part of its class.

    """

    path: Path
    raw: bytes
    source: ModuleSource
    is_tracked: Callable[[str], bool]
    _changes: list[_Change] = field(default_factory=list)
    _fixed: dict[str, tuple[Item, str]] = field(default_factory=dict)
    """Name → what it is to be, and the function on whose account."""

    @classmethod
    def read(cls, path: Path, is_tracked: Callable[[str, str], bool]) -> FileEdit:
        """Read a file.

        Args:
            path: The file.
            is_tracked: As in the attributes, given the module too.

        Raises:
            CannotBring: It cannot be read, or is no Python.

        """
        try:
            raw = path.read_bytes()
            text = files.decode(raw)
            source = ModuleSource(text, name=module_of_file(path), file=path.name)
        except (OSError, SyntaxError) as error:
            raise CannotBring(f"{path.name} cannot be read: {error}") from error
        return cls(path, raw, source, partial(is_tracked, source.name))

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.source.text)

    @cached_property
    def _encoding(self) -> str:
        return tokenize.detect_encoding(io.BytesIO(self.raw).readline)[0]

    def copy(self) -> FileEdit:
        """Return the same, to be changed on its own."""
        return replace(self, _changes=[*self._changes], _fixed={**self._fixed})

    @property
    def is_changed(self) -> bool:
        """Whether it becomes another one."""
        return self.data() != self.raw

    # what it is to hold ------------------------------------------------------------------

    def pin(self, item: Item, function: str) -> None:
        """Keep a definition as it is: a function is live with it."""
        if item.kind in _BROUGHT and item.name not in self._fixed:
            self._fixed[item.name] = (item, function)

    def place_of(self, name: str, part: Part, bundle: Bundle) -> int | None:
        """Return the line in front of which a new name is put: its first user's; None: at the end.

        Args:
            name: The name.
            part: Of this file.
            bundle: The function on whose account it comes.

        """
        users = [i.name for i in part.items if name in i.uses and i.name in self.source.definitions]
        lines = [self.source.definitions[user].line for user in users]
        function = self.source.functions.get(_key(bundle))
        if function is not None and part is bundle.parts[0]:
            lines.append(function.line)
        return self._statement_at(min(lines)) if lines else None

    def bring(self, item: Item, function: str, place: int | None) -> None:
        """Have the file hold an item.

        Args:
            item: The item.
            function: The function that travelled with it.
            place: Line in front of which it is put if it is new; None: at the end.

        Raises:
            CannotBring: The file cannot hold it.

        """
        if item.kind not in _BROUGHT or not item.source:
            return
        before = self._fixed.get(item.name)
        if before is not None:
            if not same_item(before[0], item, self.is_tracked):
                raise CannotBring(f"`{item.name}` is live in another form with `{before[1]}`")
            return
        self._fixed[item.name] = (item, function)
        there = self.source.definitions.get(item.name)
        if there is None or there.typing_only:
            self._add(item, place)
        elif not self._is_same(item, there):
            self._replace(item, there)

    def _is_same(self, item: Item, there: Definition) -> bool:
        if "import" in (item.kind, there.kind):
            return item.source == there.source
        return same_item(replace(item, source=there.source), item, self.is_tracked)

    def _add(self, item: Item, place: int | None) -> None:
        if item.kind == "import":
            line = self._after_imports()
            self._change(line, line, f"{item.source}\n")
            return
        line = place or self.source.text.count("\n") + 1
        gap = "\n\n" if item.kind in ("function", "class") else ""
        end = gap if place else ""
        self._change(line, line, f"{'' if place else gap}{item.source}\n{end}")

    def _replace(self, item: Item, there: Definition) -> None:
        if item.kind == "state":
            return  # what runs keeps its own: the file may say something else
        if item.kind == "class" and any(
            key.startswith(f"{item.name}.") and self.is_tracked(key)
            for key in self.source.functions
        ):
            raise CannotBring(f"class `{item.name}` differs, and has tracked methods")
        if there.kind == "import":
            self._replace_import(item, there.line)
        else:
            self._put(there.line, there.line + there.source.count("\n") + 1, item.source)

    def _replace_import(self, item: Item, line: int) -> None:
        """Have something else than an import bind a name; the others of its statement stay."""
        nodes = (node for node in ast.walk(self._tree) if isinstance(node, ast.stmt))
        node, *others = (node for node in nodes if node.lineno == line)
        if others or not _is_import(node):
            raise CannotBring(f"the import of `{item.name}` depends on something, and differs")
        kept = [a for a in node.names if (a.asname or a.name.partition(".")[0]) != item.name]
        text = item.source
        if kept:
            node.names = kept
            text = f"{ast.unparse(node)}\n{text}"
        self._put(line, (node.end_lineno or line) + 1, text)

    def bring_function(self, bundle: Bundle) -> None:
        """Have the file hold the function itself.

        Raises:
            CannotBring: It has no place in the file.

        """
        found = self.source.functions.get(_key(bundle))
        if found is not None:
            if found.twice:
                raise CannotBring("the file defines it more than once")
            if found.source != bundle.source:
                self._put(found.line, found.last_line + 1, bundle.source)
        elif "." in bundle.qualname:
            raise CannotBring(f"{self.path.name} has no `{bundle.qualname}`")
        else:
            end = self.source.text.count("\n") + 1
            self._change(end, end, f"\n\n{bundle.source}\n")

    def _statement_at(self, line: int) -> int:
        """Return the first line of the top-level statement that a line belongs to."""
        for node in self._tree.body:
            decorators = getattr(node, "decorator_list", [])
            first: int = min([node.lineno, *(d.lineno for d in decorators)])
            if first <= line <= (node.end_lineno or node.lineno):
                return first
        return line

    def _after_imports(self) -> int:
        """Return the line behind the imports at the top; behind the docstring if there are none."""
        after = 1
        for number, node in enumerate(self._tree.body):
            is_docstring = not number and isinstance(node, ast.Expr)
            if not (is_docstring or _is_import(node)):
                break
            after = (node.end_lineno or node.lineno) + 1
        return after

    def _put(self, first: int, last: int, text: str) -> None:
        for one in self._changes:
            if first < one.last and one.first < last:
                raise CannotBring(f"line {first} of {self.path.name} would be changed twice")
        self._change(first, last, f"{text}\n")

    def _change(self, first: int, last: int, text: str) -> None:
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError as error:
            what = f"{self.path.name} is in {self._encoding}, which has no {text[error.start]!r}"
            raise CannotBring(what) from error
        self._changes.append(_Change(first, last, text))

    # what comes of it --------------------------------------------------------------------

    def text(self) -> str:
        """Return the new text, with newlines as Python has them."""
        text = self.source.text
        is_open = bool(text) and not text.endswith("\n")
        lines = [*io.StringIO(f"{text}\n" if is_open else text)]  # a form feed ends none of them
        last = lines[-1] if lines else ""
        ordered = sorted(enumerate(self._changes), key=lambda one: (one[1].first, one[0]))
        for _, change in reversed(ordered):
            lines[change.first - 1 : change.last - 1] = [change.text]
        made = "".join(lines)
        return made.removesuffix("\n") if is_open and lines[-1] == last else made

    def data(self) -> bytes:
        """Return the new bytes: line ends and encoding are those of the file."""
        if not self._changes:
            return self.raw
        text = self.text()
        if b"\r\n" in self.raw:
            text = text.replace("\n", "\r\n")
        return text.encode(self._encoding)

    def diff(self, name: str) -> bytes:
        """Return the change as git writes it.

        Args:
            name: The file, from the top of the working tree.

        """
        old, new = ([*io.BytesIO(data)] for data in (self.raw, self.data()))
        lines = difflib.diff_bytes(
            difflib.unified_diff, old, new, f"a/{name}".encode(), f"b/{name}".encode()
        )
        return b"".join(_ended(line) for line in lines)


def _ended(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"


def _key(bundle: Bundle) -> str:
    return bundle.function.partition(":")[2] or bundle.qualname


def _is_import(node: ast.AST) -> TypeGuard[ast.Import | ast.ImportFrom]:
    return isinstance(node, (ast.Import, ast.ImportFrom))
