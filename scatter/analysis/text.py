"""The text of one module as the parser and the symbol tables see it, whole and in pieces.

A piece is what stands from one top-level statement to the next. After an edit all but one or two
pieces of a file are those that were there before, and so is what was read from them: an edit costs
what it changed, not what the file holds.

Invariants
1. Positions in a piece are those of the text that it was parsed in; `Piece.shift` tells how far it
   has moved since.
2. What pieces give together is what reading the whole text gives.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from scatter.analysis.chunks import parse
from scatter.analysis.imports import package_of
from scatter.analysis.records import SourceError
from scatter.analysis.scopes import Scopes, expression_names, used_globals
from scatter.analysis.walks import first_line, read_before_bound

T = TypeVar("T")
_MOST_REMEMBERED = 20_000
_memory: dict[tuple[str, str], Any] = {}


class Text:
    """A module's text, or a piece of it, parsed. Treat as frozen.

    Attributes:
        text: The text.
        tree: Its statements.
        scopes: The scopes in the text that was parsed.
        first: Line of the first character, in the text that was parsed.
        package: The package that relative imports begin from.

    """

    def __init__(self, text: str, *, name: str, file: str, gently: bool = False) -> None:
        """Parse `text`.

        Raises:
            SourceError: It is no Python for the running interpreter.

        """
        self.text = text
        try:
            self.tree, scopes = parse(text, file, gently=gently)
            self.scopes = Scopes(scopes)
        except SyntaxError as error:
            raise SourceError(*error.args) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise SourceError(f"{file} cannot be parsed: {error}") from error
        is_package = file.replace("\\", "/").rpartition("/")[2] == "__init__.py"
        self.package = package_of(name, is_package=is_package)
        self.first = 1
        self._lines = text.split("\n")
        self._kept: dict[str, tuple[Hashable, Any]] = {}

    def pieces(self, skip: int = 0) -> Iterator[Piece]:
        """Yield its pieces, but the lines that `skip` leaves out at the top.

        Statements that share a line are in one piece.
        """
        body: list[ast.stmt] = []
        first = skip + 1
        for node in self.tree.body:
            begins = first_line(node)
            if begins <= skip:
                continue
            if body and begins > (body[-1].end_lineno or 0):
                yield self._piece(body, first, begins, skip)
                body, first = [], begins
            body.append(node)
        yield self._piece(body, first, len(self._lines) + 1, skip)

    def _piece(self, body: list[ast.stmt], first: int, end: int, skip: int) -> Piece:
        """Return what stands on the lines from `first` to before `end`."""
        piece = object.__new__(Text)
        piece.text = "\n".join(self._lines[first - 1 : end - 1])
        piece.text += "\n" if end <= len(self._lines) else ""
        piece.tree = ast.Module(body=body, type_ignores=[])
        piece.scopes, piece.package, piece.first = self.scopes, self.package, first
        piece._lines, piece._kept = self._lines, {}
        return Piece(piece, first - skip)

    @property
    def is_closed(self) -> bool:
        """Whether what follows begins a line of its own."""
        return self.text.endswith("\n") and not self.text.rstrip().endswith("\\")

    def kept(self, what: str, given: Hashable, read: Callable[[], T]) -> T:
        """Return what was read from this text with the same `given` before, else read it."""
        before = self._kept.get(what)
        if before is None or before[0] != given:
            before = self._kept[what] = given, read()
        found: T = before[1]
        return found

    def of(self, node: ast.stmt) -> str:
        """Return the whole lines that a statement stands on, decorators included.

        Of a line that it shares with another statement, only its own part.
        """
        if self._shares_line(node):
            return self._segment(node)
        return "\n".join(self._lines[first_line(node) - 1 : node.end_lineno])

    def _shares_line(self, node: ast.stmt) -> bool:
        if hasattr(node, "body"):
            return False
        before = self._lines[node.lineno - 1][: node.col_offset]
        return bool(before.strip()) or ";" in self._lines[(node.end_lineno or node.lineno) - 1]

    def _segment(self, node: ast.stmt) -> str:
        """Return the text of a statement alone; columns count bytes of UTF-8."""
        last = node.end_lineno or node.lineno
        lines = [line.encode() for line in self._lines[node.lineno - 1 : last]]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"\n".join(lines).decode()

    def remembered(self, node: ast.stmt, what: str, read: Callable[[], T]) -> T:
        """Return what was read from a top-level statement of this text, of whatever module.

        After an edit all but one statement of a file are those that were there before. What is
        read must follow from the text of the statement alone.
        """
        key = what, self.of(node)
        if key not in _memory:
            if len(_memory) >= _MOST_REMEMBERED:
                _memory.clear()
            _memory[key] = read()
        found: T = _memory[key]
        return found

    def uses(self, node: ast.stmt) -> frozenset[str]:
        """Return the module's names that a top-level statement looks up."""
        return self.remembered(node, "uses", lambda: self._uses(node))

    def _uses(self, node: ast.stmt) -> frozenset[str]:
        inside = self.scopes.within(first_line(node), node.end_lineno or node.lineno)
        own = read_before_bound(node) if isinstance(node, ast.ClassDef) else frozenset[str]()
        return used_globals(inside) | expression_names(node) | own


class Piece(NamedTuple):
    """A piece of a module's text, and where it stands.

    Attributes:
        text: The piece.
        line: Its first line in the module.

    """

    text: Text
    line: int

    @property
    def shift(self) -> int:
        """How many lines to add to the positions in it."""
        return self.line - self.text.first


def pieces_after(
    before: Sequence[Piece], text: str, *, name: str, file: str, future: Sequence[str]
) -> tuple[Piece, ...] | None:
    """Return the pieces of an edited text, of which most were there before.

    Whatever is not sure is left to reading the text whole: a cut is right if what stands between
    two pieces that stay is Python by itself.

    Args:
        before: The pieces before the edit.
        text: The whole text now.
        name, file: Of the module.
        future: What it imports from `__future__`.

    Returns:
        None if the text must be read whole.

    """
    if "\nglobal " in f"\n{text}" or not _has_head(before, text):
        return None  # these concern what stands before or after them
    found, at, line = list[Piece](), 0, 1
    header = f"from __future__ import {', '.join(future)}\n" if future else "\n"
    for piece, begin in (*_kept(before, text), (None, len(text))):
        gap = text[at:begin]
        if gap:
            try:
                inner = Text(header + gap, name=name, file=file).pieces(skip=1)
            except SourceError:
                return None
            found += [Piece(one, there - 1 + line) for one, there in inner]
            line += gap.count("\n")
        if piece:
            found.append(Piece(piece, line))
            line += piece.text.count("\n")
            at = begin + len(piece.text)
    return tuple(found)


def _has_head(before: Sequence[Piece], text: str) -> bool:
    """Return whether a text begins as before, up to the last import from `__future__`."""
    marked = [number for number, piece in enumerate(before) if "__future__" in piece.text.text]
    head = before[: marked[-1] + 1] if marked else ()
    begin = "".join(piece.text.text for piece in head)
    return (
        all(map(_is_head, head))
        and text.startswith(begin)
        and "__future__" not in text[len(begin) :]
    )


def _is_head(piece: Piece) -> bool:
    """Return whether a piece holds no more than a docstring and imports from `__future__`."""
    return all(
        (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        for node in piece.text.tree.body
    )


def _kept(before: Sequence[Piece], text: str) -> Iterator[tuple[Text, int]]:
    """Yield the pieces that are in an edited text, in order, and where each begins.

    Each begins a line, and whatever follows it begins one.
    """
    tail = _alike_from_end(before, text)
    at, end = 0, tail[0][1] if tail else len(text)
    for piece, _ in before[: len(before) - len(tail)]:
        begin = _find(piece.text, text, at, end) if piece.is_closed else -1
        if begin >= 0:
            yield piece, begin
            at = begin + len(piece.text)
    yield from tail


def _find(piece: str, text: str, at: int, end: int) -> int:
    """Return where a piece stands on lines of its own, from `at` on, which begins one; else -1."""
    if text.startswith(piece, at, end):
        return at
    before = text.find(f"\n{piece}", at, end)
    return before + 1 if before >= 0 else -1


def _alike_from_end(pieces: Sequence[Piece], text: str) -> list[tuple[Text, int]]:
    """Return the pieces with which an edited text ends, and where each begins."""
    at, found = len(text), list[tuple[Text, int]]()
    for piece, _ in reversed(pieces):
        if not text.endswith(piece.text, 0, at):
            break
        at -= len(piece.text)
        found.append((piece, at))
    while found and at and text[at - 1] != "\n":
        found.pop()  # that piece no longer begins a line
        at = found[-1][1] if found else 0
    return found[::-1]
