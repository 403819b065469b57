"""The text of one module as the parser and the symbol tables see it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, TypeVar

from scatter.analysis.chunks import parse
from scatter.analysis.imports import package_of
from scatter.analysis.records import SourceError
from scatter.analysis.scopes import Scopes, expression_names, used_globals
from scatter.analysis.walks import first_line, read_before_bound

T = TypeVar("T")
_MOST_REMEMBERED = 20_000
_memory: dict[tuple[str, str], Any] = {}


class Text:
    """A module's text, parsed. Treat as frozen."""

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
        self._lines = text.split("\n")

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
