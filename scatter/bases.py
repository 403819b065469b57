"""The deployed source of this process's modules: what versions are compared with.

A module's text is read when its first function is tracked, so that a later edit of the file does
not pass for what runs; it is parsed when it is first needed. Before it is believed it is compiled
and compared with the code that was really imported.

Not here: analysis (`scatter.analysis`), notebooks (they have no module source).
"""

from __future__ import annotations

import os.path
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType

from scatter.locks import ForkSafeLock
from scatter.names import module_of_file

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from scatter.analysis import ModuleSource


class Base:
    """The text that one file had when its first function was tracked.

    Attributes:
        text, file, module: What was read, where, for which module.
        believed: Whether the functions of the live module are compiled from it; None: not tried.

    """

    def __init__(self, text: str, file: str, module: str) -> None:
        """Keep the text; nothing is parsed."""
        self.text = text
        self.file = file
        self.module = module
        self.believed: bool | None = None
        self._lock = ForkSafeLock()
        self._source: ModuleSource | None = None
        self._codes: dict[tuple[str, int], CodeType] | None = None

    def __repr__(self) -> str:
        return f"<Base of {self.module}: {len(self.text)} characters of {self.file}>"

    def source(self) -> ModuleSource | None:
        """Return the analysed source; None when it is no Python (then it is not what runs)."""
        from scatter.analysis import ModuleSource, SourceError  # 10 ms, not needed to track

        with self._lock:
            if self._source is None:
                try:
                    self._source = ModuleSource(self.text, name=self.module, file=self.file)
                except SourceError:
                    return None
            return self._source

    def is_source_of(self, code: CodeType) -> bool:
        """Return whether compiling the text gives this very code."""
        with self._lock:
            if self._codes is None:
                self._codes = _codes_of(self.text, self.file)
            return self._codes.get((code.co_qualname, code.co_firstlineno)) == code


def _codes_of(text: str, file: str) -> dict[tuple[str, int], CodeType]:
    try:
        top = compile(text, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return {}
    return {(code.co_qualname, code.co_firstlineno): code for code in _nested(top)}


def _nested(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _nested(const)


_bases: dict[str, Base | None] = {}


def base_of(function: FunctionType) -> Base | None:
    """Return the source of the file that a function was defined in; None if there is no file."""
    file = deployed_code(function).co_filename
    if file not in _bases:
        text = _read(file, function.__globals__)
        module = module_name(function)
        _bases[file] = None if text is None or not module else Base(text, file, module)
    base = _bases[file]
    if base is not None and base.module != module_name(function):
        return None  # one file imported under two names: only the first is known
    return base


def deployed_code(function: FunctionType) -> CodeType:
    """Return the code that a function was deployed with, whatever it runs now."""
    mark = function.__dict__.get("__scatter__")
    code: CodeType = undecorated(function).__code__ if mark is None else mark.shipped_code
    return code


def undecorated(function: FunctionType) -> FunctionType:
    """Return the function that stands in the file, inside decorators that use `wraps`."""
    inner = function
    while isinstance(getattr(inner, "__wrapped__", None), FunctionType):
        inner = inner.__wrapped__  # type: ignore[attr-defined]
    return inner


def forget(file: str) -> None:
    """Let the next `base_of` read a file anew: its module was imported again."""
    _bases.pop(file, None)


def _read(file: str, module_globals: dict[str, object]) -> str | None:
    """Return a file's text as Python reads it; also from a zip, through its loader."""
    import linecache
    import tokenize

    try:
        with tokenize.open(file) as stream:
            return stream.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return "".join(linecache.getlines(file, module_globals)) or None


def module_name(function: FunctionType) -> str:
    """Return the module part of a function's name; empty for notebooks and the REPL."""
    module = function.__module__ or ""
    if module == "__main__":
        spec = getattr(sys.modules.get("__main__"), "__spec__", None)
        module = spec.name if spec is not None else ""  # what `python -m` was given
    if module not in ("", "__main__", "<run_path>"):
        return module
    file = deployed_code(function).co_filename
    return module_of_file(file) if os.path.isfile(file) else module


def definition_text(function: FunctionType) -> str:
    """Return the text of a function's definition, as it was imported; empty if unknown.

    Cheap enough to do for every function at import: the last line of code is known from the
    code object, and what belongs to the definition after it is indented deeper than its `def`.
    """
    import linecache

    code = undecorated(function).__code__
    base = base_of(function)
    text = base.text if base else "".join(linecache.getlines(code.co_filename))
    lines = text.split("\n")
    first, last = code.co_firstlineno - 1, _last_line(code)
    if not 0 <= first < len(lines):
        return ""
    indent = _indent(lines[first])
    while last < len(lines) and (not lines[last].strip() or _indent(lines[last]) > indent):
        last += 1
    return "\n".join(lines[first:last]).rstrip()


def _last_line(code: CodeType) -> int:
    """Return the last line on which code of a function, or of one inside it, ends."""
    own = (position[1] or 0 for position in code.co_positions())
    inner = (_last_line(const) for const in code.co_consts if isinstance(const, CodeType))
    return max([code.co_firstlineno, *own, *inner])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
