"""Code whose closure became constants: the version of a function that brings helpers of its own.

The private names of a version are free variables of its code, and a function's free variables are
fixed when it is made. So in a copy of the code each load of such a variable is replaced by the load
of a constant. All these instructions have the same size, so nothing moves: lines, columns, jumps
and exception tables stay as they are.

Only instructions that are known are replaced, on Pythons that are known; for any other code the
answer is None, and a trampoline does it.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from opcode import opmap
from types import CellType, CodeType, FunctionType
from typing import Any

_KNOWN = {(3, 11), (3, 12), (3, 13)}
_MOST_CONSTANTS = 256
"""More would need wider instructions."""

IsSameCell = Callable[[str, CellType, CellType], bool]


def with_constants(
    function: FunctionType, target: FunctionType, is_same: IsSameCell
) -> CodeType | None:
    """Return the target's code for `function` to run; None where that cannot be made.

    Args:
        function: Whose free variables the code shall have.
        target: What it shall do.
        is_same: Whether two cells of a name are interchangeable.

    """
    code, names = target.__code__, function.__code__.co_freevars
    new_class = "__class__" in code.co_freevars and "__class__" not in names
    if sys.version_info[:2] not in _KNOWN or new_class:  # `super()` looks for it by its place
        return None
    return _Rewriting(function, target, is_same).run()


class _Rewriting:
    """One run of `with_constants`."""

    def __init__(self, function: FunctionType, target: FunctionType, is_same: IsSameCell) -> None:
        code = target.__code__
        self._code = code
        self._names = function.__code__.co_freevars
        self._own = dict(zip(self._names, function.__closure__ or (), strict=True))
        self._cells = target.__closure__ or ()
        self._is_same = is_same
        cells = sum(name not in code.co_varnames for name in code.co_cellvars)
        self._first = code.co_nlocals + cells  # where free variables begin among the locals
        self._constants = list(code.co_consts)
        self._raw = bytearray(code.co_code)

    def run(self) -> CodeType | None:
        copies = 0
        for at, operation, argument, wide in _instructions(self._code.co_code):
            if operation == _COPY:
                copies += 1
                self._raw[at : at + 2] = (_COPY, len(self._names)) if self._names else (_NOP, 0)
            elif operation in _PAIRS and max(argument >> 4, argument & 15) >= self._first:
                return None
            elif operation not in _LOOKS or argument < self._first:
                continue
            elif wide or not self._replace(at, operation, argument - self._first):
                return None
        if (self._names and not copies) or len(self._constants) > _MOST_CONSTANTS:
            return None
        return self._code.replace(
            co_code=bytes(self._raw),
            co_consts=tuple(self._constants),
            co_freevars=self._names,
        )

    def _replace(self, at: int, operation: int, number: int) -> bool:
        """Replace the instruction that looks at a free variable; return whether it could be."""
        name, cell = self._code.co_freevars[number], self._cells[number]
        mine = self._own.get(name)
        if mine is not None and (mine is cell or self._is_same(name, mine, cell)):
            self._raw[at + 1] = self._first + self._names.index(name)
            return True
        if operation == _CLOSURE:
            return self._load(at, cell)
        if operation != _DEREF:
            return False
        try:
            return self._load(at, cell.cell_contents)
        except ValueError:  # an empty cell
            return False

    def _load(self, at: int, value: Any) -> bool:
        try:
            hash(value)  # the constants of code are compared, and hashed
        except TypeError:
            return False
        self._constants.append(value)
        self._raw[at : at + 2] = _CONST, min(len(self._constants) - 1, 255)
        return True


def _instructions(code: bytes) -> Iterator[tuple[int, int, int, bool]]:
    """Yield (place, operation, argument, whether it is wide) of each instruction."""
    at = argument = 0
    wide = False
    while at < len(code):
        operation = code[at]
        argument = argument << 8 | code[at + 1]
        if operation == dis.EXTENDED_ARG:
            wide = True
        else:
            yield at, operation, argument, wide
            argument, wide = 0, False
        at += 2 + 2 * _caches(operation)


def _caches(operation: int) -> int:
    """Return how many cache entries follow an instruction."""
    entries: Any = dis._inline_cache_entries  # type: ignore[attr-defined]
    known = entries[operation] if isinstance(entries, list) else entries.get(dis.opname[operation])
    return int(known or 0)


_COPY, _NOP = opmap.get("COPY_FREE_VARS", -1), opmap["NOP"]
_CONST, _DEREF = opmap["LOAD_CONST"], opmap.get("LOAD_DEREF", -1)
_CLOSURE = opmap.get("LOAD_CLOSURE", -1) if sys.version_info < (3, 13) else opmap["LOAD_FAST"]
_PAIRS = {number for name, number in opmap.items() if name.count("_FAST") > 1}
_LOOKS = {number for name, number in opmap.items() if name.endswith("DEREF")} | {_CLOSURE}
