"""Parses a module in pieces, statement by statement, so that nobody is held up for long.

The parser and the compiler keep the interpreter to themselves while they work: 1,800 lines take
16 ms to parse and three times that to compile (m), and every thread of the application waits. So in
a worker the text is cut between top-level statements, and each piece is read by itself. Where the
cut is not sure, which only shows when a piece is no Python, the text is read whole.

Invariant: what comes out is what parsing, or compiling, the whole text gives, positions and all.
"""

from __future__ import annotations
import __future__

import ast
import itertools
import re
import symtable
import sys
from collections.abc import Iterable, Iterator
from types import CodeType

from scatter.analysis.reading import parse as parse_text
from scatter.analysis.walks import flat

_SMALL = 20_000
"""Texts up to this length are read whole: it takes less than 5 ms."""
_TOKEN = re.compile(
    r'''
    \#[^\n]*                                # a comment
    | """(?:[^\\]|\\.)*?""" | \'\'\'(?:[^\\]|\\.)*?\'\'\'
    | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*'
    | [([{] | [)\]}]
    | \\\n                                  # a line goes on
    | \n(?=[^\s\#)\]}])                     # a line that begins at the left
    ''',
    re.VERBOSE | re.DOTALL,
)
_GOES_ON = re.compile(r"(?:else|elif|except|finally)\b")


def parse(text: str, file: str, *, gently: bool) -> tuple[ast.Module, list[symtable.SymbolTable]]:
    """Return the tree of a module, and the symbol tables of the scopes in it.

    Args:
        text: The module.
        file: Name for messages.
        gently: In pieces; takes half as long again.

    Raises:
        SyntaxError: It is no Python.

    """
    if gently and len(text) > _SMALL:
        try:
            pieces = list(_pieces(text))
            trees = [parse_text(piece, file) for piece in pieces]
            tables = [symtable.symtable(piece, file, "exec") for piece in pieces]
        except (SyntaxError, ValueError):
            pass  # a cut in a wrong place, or no Python: the whole text tells
        else:
            body = [node for tree in trees for node in tree.body]
            inner = [child for table in tables for child in table.get_children()]
            return ast.Module(body=body, type_ignores=[]), inner
    return parse_text(text, file), symtable.symtable(text, file, "exec").get_children()


def compiled(text: str, file: str) -> list[CodeType]:
    """Return code that together holds all functions and classes of a module.

    Raises:
        SyntaxError: It is no Python.

    """
    if len(text) > _SMALL // 3:
        try:
            pieces = list(_pieces(text))
            nodes = [node for piece in pieces for node in flat(parse_text(piece, file).body)]
            end, flags = _as_imported(nodes), _future_flags(nodes)
            return [compile(p + end, file, "exec", flags, dont_inherit=True) for p in pieces]
        except (SyntaxError, ValueError):
            pass
    return [compile(text, file, "exec", dont_inherit=True)]


def _as_imported(nodes: Iterable[ast.stmt]) -> str:
    """Return a statement that tells the compiler, in each piece, what the module imports.

    A call of `module.function()` is other code than that of a method.
    """
    imports = (node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)))
    names = {
        alias.asname or alias.name.partition(".")[0]
        for node in imports
        for alias in node.names
        if alias.name != "*"
    }
    return f"\nif 0: import {', '.join(f'_ as {name}' for name in sorted(names))}" if names else ""


def _future_flags(nodes: Iterable[ast.stmt]) -> int:
    imports = (n for n in nodes if isinstance(n, ast.ImportFrom) and n.module == "__future__")
    return future_flags(alias.name for node in imports for alias in node.names)


def future_flags(names: Iterable[str]) -> int:
    """Return the compiler flags that importing features from `__future__` gives code.

    Features that have become the rule give none.
    """
    flags = 0
    for name in names:
        feature = getattr(__future__, name, None)
        since = feature.getMandatoryRelease() if feature else None
        if feature and (since is None or since[:2] > sys.version_info[:2]):
            flags |= feature.compiler_flag
    return flags


def _pieces(text: str) -> Iterator[str]:
    """Yield groups of top-level statements, each on the lines where it stands in the text."""
    begins = [0, *_cuts(text), len(text)]
    line = 0
    for first, last in itertools.pairwise(begins):
        if first < last:
            yield "\n" * line + text[first:last]
        line += text.count("\n", first, last)


def _cuts(text: str) -> Iterator[int]:
    """Yield where statements may be cut from those before, with a good deal of text in between."""
    depth = last = 0
    for token in _TOKEN.finditer(text):
        found = token[0]
        if found in "([{":
            depth += 1
        elif found in ")]}":
            depth -= 1
        elif found == "\n" and depth <= 0 and token.end() - last > _PIECE:
            at = token.end()
            if not _GOES_ON.match(text, at) and not _is_decorated(text, last, at):
                yield at
                last = at


_PIECE = 4_000
"""Characters that a piece has at least."""


def _is_decorated(text: str, first: int, at: int) -> bool:
    """Return whether the line before `at` is a decorator's, which belongs to what follows."""
    begin = text.rfind("\n", first, at - 1) + 1
    return text.startswith("@", begin)
