"""The deployed source of this process's modules: what versions are compared with.

A module's text is read when its first function is tracked, so that a later edit of the file does
not pass for what runs; it is parsed when it is first needed. Before it is believed it is compiled
and compared with the code that was really imported. Other modules of a project are read when an
agent starts (`remember`), or when a version needs them; a text that was read late, from a file that
has changed since this process began, is not *sure*: functions can be compared with it, values not.

Not here: analysis (`scatter.analysis`), notebooks (they have no module source).
"""

from __future__ import annotations

import contextlib
import os.path
import sys
import time
from array import array
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType

from scatter.locks import ForkSafeLock
from scatter.names import import_root, module_of_file
from scatter.registry import REGISTRY

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from scatter.analysis import ModuleSource


class Base:
    """The text that one file had when its first function was tracked.

    Attributes:
        text, file, module: What was read, where, for which module.
        sure: Whether it is what was imported, also where no code tells.
        tracked: Whether something in it is tracked.
        track_all: Whether the module is tracked whole.
        believed: Whether the functions of the live module are compiled from it; None: not tried.

    """

    def __init__(self, text: str, file: str, module: str, *, sure: bool) -> None:
        """Keep the text; nothing is parsed."""
        self.text = text
        self.file = file
        self.module = module
        self.sure = sure
        self.tracked = False
        self.track_all = False
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
            if self._source is None or self._source.track_all != self.track_all:
                try:
                    self._source = ModuleSource(
                        self.text,
                        name=self.module,
                        file=self.file,
                        track_all=self.track_all,
                        gently=True,
                    )
                except SourceError:
                    return None
                _unsettled.append(self)
            return self._source

    def settle(self) -> None:
        """Let go of what linking the first functions did not need; see `ModuleSource.settle`."""
        with self._lock:
            if self._source is not None:
                self._source.settle()

    def is_source_of(self, code: CodeType) -> bool:
        """Return whether compiling the text gives this very code."""
        with self._lock:
            if self._codes is None:
                self._codes = _codes_of(self.text, self.file)
            return self._codes.get((code.co_qualname, code.co_firstlineno)) == code


def _codes_of(text: str, file: str) -> dict[tuple[str, int], CodeType]:
    from scatter.analysis.chunks import compiled

    try:
        pieces = compiled(text, file)
    except (SyntaxError, ValueError):
        return {}
    codes = (code for piece in pieces for code in _nested(piece))
    return {(code.co_qualname, code.co_firstlineno): code for code in codes}


def _nested(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _nested(const)


_MAINS = ("__main__", "__mp_main__")
"""What the main module is called, and what in processes that multiprocessing spawns."""
_bases: dict[str, Base | None] = {}
_unsettled: list[Base] = []
_began = time.time()


def settle() -> None:
    """Read what is left of the modules that were read lately, and let go of their trees.

    It takes as long as linking a hundred functions, so whoever links does it afterwards.
    """
    while _unsettled:
        with contextlib.suppress(IndexError):  # another thread took the last one
            _unsettled.pop().settle()


def base_of(function: FunctionType) -> Base | None:
    """Return the source of the file that a function was defined in; None if there is no file."""
    file = deployed_code(function).co_filename
    if file not in _bases:
        text = _read(file, function.__globals__)
        module = module_name(function)
        known = text is not None and module
        _bases[file] = Base(text, file, module, sure=True) if known else None  # type: ignore[arg-type]
    base = _bases[file]
    if base is not None:
        base.tracked = True
    if base is not None and base.module != module_name(function):
        return None  # one file imported under two names: only the first is known
    return base


def base_of_module(module: ModuleType) -> Base | None:
    """Return the source of a module that need not be tracked; None if there is no file."""
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        return None
    name = module.__name__
    if name in _MAINS:
        name = (name == _MAINS[0] and _name_of_main()) or module_of_file(file)
    if file not in _bases:
        sure = not _changed_since_start(file)
        text = _read(file, vars(module))
        _bases[file] = None if text is None else Base(text, file, name, sure=sure)
    base = _bases[file]
    return base if base is not None and base.module == name else None


def _changed_since_start(file: str) -> bool:
    try:
        return os.stat(file).st_ctime >= _began
    except OSError:
        return True


def remember_project() -> None:
    """Read the project's modules, which may be edited later, while they are what was imported."""
    for module in project_modules():
        base = base_of_module(module)
        if base is not None:
            base.sure = True


def project_modules() -> list[ModuleType]:
    """Return the imported modules of the projects that something tracked belongs to."""
    roots = _project_roots()
    return [module for module in list(sys.modules.values()) if _is_below(module, roots)]


def is_of_project(module: ModuleType) -> bool:
    """Return whether a module's file lies where something that is tracked is imported from."""
    return _is_below(module, _project_roots())


def _is_below(module: ModuleType, roots: set[str]) -> bool:
    file = _file_of(module)
    if not file.endswith(".py") or "site-packages" in file or "dist-packages" in file:
        return False
    return any(file.startswith(root + os.sep) for root in roots)


def _project_roots() -> set[str]:
    return {import_root(b.file, b.module) for b in list(_bases.values()) if b and b.tracked}


def deployed_base(module: str) -> Base | None:
    """Return the source of a module of the project, imported or not; None if it has none.

    Nothing is imported: the file is looked for where what is tracked is imported from.
    """
    live = sys.modules.get(module)
    roots = _project_roots()
    if live is not None and _is_below(live, roots):
        return base_of_module(live)
    for root in sorted(roots) if live is None else ():
        stem = os.path.join(root, *module.split("."))
        for file in (os.path.join(stem, "__init__.py"), f"{stem}.py"):
            text = _read(file, {}) if os.path.isfile(file) else None
            if text is not None:
                return Base(text, file, module, sure=False)
    return None


def _file_of(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else ""


def deployed_code(function: FunctionType) -> CodeType:
    """Return the code that a function was deployed with, whatever it runs now."""
    mark = function.__dict__.get("__scatter__")
    if mark is not None:
        code: CodeType = mark.shipped_code
        return code
    slot = REGISTRY.slot_of(function)
    if slot is not None and isinstance(slot.shipped.target, FunctionType):
        return slot.shipped.target.__code__
    return undecorated(function).__code__


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
        module = _name_of_main()
    if module not in ("", *_MAINS, "<run_path>"):
        return module
    file = deployed_code(function).co_filename
    return module_of_file(file) if os.path.isfile(file) else module


def _name_of_main() -> str:
    """Return what `python -m` was given; empty if it was not used."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name: str = spec.name if spec is not None else ""
    return name


def definition_text(function: FunctionType) -> str:
    """Return the text of a function's definition, as it was imported; empty if unknown.

    Cheap enough to do for every function at import: the last line of code is known from the
    code object, and what belongs to the definition after it is indented deeper than its `def`.
    """
    import linecache

    code = undecorated(function).__code__
    base = base_of(function)
    text = base.text if base else "".join(linecache.getlines(code.co_filename))
    starts = _line_starts(text)
    first, last = code.co_firstlineno - 1, _last_line(code)
    count = len(starts) - 1
    if not 0 <= first < count:
        return ""

    def line(number: int) -> str:
        return text[starts[number] : starts[number + 1] - 1]

    indent = _indent(line(first))
    while last < count and (not line(last).strip() or _indent(line(last)) > indent):
        last += 1
    return text[starts[first] : starts[min(last, count)] - 1].rstrip()


@lru_cache(maxsize=1)  # the functions of a module are tracked one after the other
def _line_starts(text: str) -> array[int]:
    """Return where each line begins, and one place more: where one behind the text would.

    Splitting the text for every function instead makes a module's import grow with the square of
    its length: 10 s for 5,000 functions.
    """
    starts, at = array("L", [0]), text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    starts.append(len(text) + 1)
    return starts


def _last_line(code: CodeType) -> int:
    """Return the last line on which code of a function, or of one inside it, ends."""
    own = (position[1] or 0 for position in code.co_positions())
    inner = (_last_line(const) for const in code.co_consts if isinstance(const, CodeType))
    return max([code.co_firstlineno, *own, *inner])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
