"""Waits for the cue to give a process an agent: the import of what is tracked, or of scatter.

Imported by `sitecustomize`, in each Python interpreter below `scatter-agent run` that may have an
agent. Not here: what happens after the cue (`scatter_agent.launched`).

Invariants
1. Until the cue, nothing of scatter is imported, nor anything that Python has not loaded anyway.
2. Whatever goes wrong after it is one line on stderr, and the program runs.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_OURS = ("scatter_agent", "scatter")
"""The first imports the second; the cue is that whichever came first is there."""
_LOOK_S = 0.002


class _Cue:
    """Finds nothing itself; has modules that are the cue loaded in another way.

    While a finder is asked, Python holds the lock of all imports: nothing may be imported then.
    """

    def __init__(self, patterns: list[str], say: Callable[[object], None]) -> None:
        self.patterns, self._say = patterns, say
        self.begun = False
        if not all(map(_is_simple, patterns)):
            import fnmatch  # noqa: F401 - while there is one thread

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _OURS and not self.matches(name):
            return None
        spec = _ask(self, name, path, target)
        loader = spec.loader if spec is not None else None
        if hasattr(loader, "exec_module") and not isinstance(loader, type):  # built in, or frozen
            self._load_by(loader)
        return spec

    def matches(self, name: str) -> bool:
        """Return whether a module is tracked; as `scatter.names.matches`."""
        return any(_is_match(name, pattern) for pattern in self.patterns)

    def _load_by(self, loader: Any) -> None:
        """Have a loader's module tracked, and the cue taken with it.

        Most loaders have one module each; that of a zip file has all of the file's.
        """
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            name = module.__name__
            is_tracked = name not in _OURS and self.matches(name)
            if is_tracked:
                self.begin()
            execute(module)
            if is_tracked:
                self._track(module)
            elif name in _OURS and (name == _OURS[0] or _OURS[0] not in sys.modules):
                self.begin()  # what the program imports of scatter is whole now

        try:
            loader.exec_module = exec_module
        except AttributeError:
            pass  # an extension module's: nothing to track

    def begin(self) -> None:
        """Take the cue, once."""
        if self.begun:
            return
        self.begun = True
        try:
            from scatter_agent.launched import begin

            begin(self.patterns, self._say)
        except Exception as error:
            self._say(error)
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]

    def _track(self, module: ModuleType) -> None:
        try:
            from scatter.whole import track_quietly

            track_quietly(module)
        except Exception as error:
            self._say(error)

    def watch_main(self) -> None:
        """Track the program's main module, which no finder is asked for. In a thread."""
        import time

        while not hasattr(sys.modules["__main__"], "__file__"):  # nothing of the program's has run
            time.sleep(_LOOK_S)
        self.begin()
        try:
            from scatter_agent.launched import watch_main

            watch_main(self.patterns)
        except Exception as error:
            self._say(error)


def _is_simple(pattern: str) -> bool:
    return not any(c in pattern.removesuffix("*") for c in "*?[")


def _is_match(name: str, pattern: str) -> bool:
    plain = pattern.removesuffix("*")
    if name == pattern or (pattern.endswith(".*") and name == plain[:-1]):
        return True
    if _is_simple(pattern):
        return plain != pattern and name.startswith(plain)
    import fnmatch

    return fnmatch.fnmatchcase(name, pattern)


def _ask(
    cue: _Cue, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    """Return what the other finders find."""
    for finder in list(sys.meta_path):
        find = getattr(finder, "find_spec", None)
        if finder is cue or find is None:
            continue
        spec: ModuleSpec | None = find(name, path, target)
        if spec is not None:
            return spec
    return None


def _main_name() -> str:
    """Return the name that importing the main module would give it; empty: it is no file."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":
        words = sys.orig_argv
        return words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    if not program.endswith(".py"):
        return ""
    folder, name = os.path.split(os.path.abspath(program))
    parts = [name[:-3]]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    return ".".join(parts)


def wait(say: Callable[[object], None]) -> None:
    """Wait for the cue.

    Args:
        say: Called with what is in the way.

    """
    cue = _Cue(os.environ.get("SCATTER_TRACK", "").replace(",", " ").split(), say)
    sys.meta_path.insert(0, cue)
    name = _main_name()
    if name and (cue.matches(name) or cue.matches(f"{name}.__main__")):
        import _thread

        _thread.start_new_thread(cue.watch_main, ())
