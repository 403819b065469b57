"""What people see of a version: its source under a name of its own in tracebacks and debuggers.

`linecache` is what `traceback`, `inspect`, `pdb` and `logging` read. An entry's name is in angle
brackets, so that nobody looks for a file. It goes when its version goes.
"""

from __future__ import annotations

import linecache
import weakref
from collections.abc import Iterable


def file_name(function: str, version: int | None, digest: str) -> str:
    """Return the name under which a version's source is known, e.g. `<scatter score v8>`."""
    return f"<scatter {function} v{version or digest[:8]}>"


def file_beside(file: str, module: str) -> str:
    """Return the name for what travels with a version in another module than its own."""
    return f"{file[:-1]} in {module}>"


class _Mark:
    """A constant of all code of one file: it goes when the last of that code goes."""

    __slots__ = ("__weakref__",)


_marks: weakref.WeakValueDictionary[str, _Mark] = weakref.WeakValueDictionary()


def mark_of(file: str) -> _Mark:
    """Return the mark of a file; each link of it has one of its own."""
    mark = _marks.get(file)
    if mark is None:
        mark = _marks[file] = _Mark()
    return mark


def show(file: str, pieces: Iterable[tuple[int, str]]) -> None:
    """Make source known under `file` for as long as code of it lives.

    Args:
        file: From `file_name`.
        pieces: (first line, text) of each definition; lines in between are empty. Those on line
            0 stood nowhere, and are left out.

    """
    lines: list[str] = []
    for first, text in sorted(piece for piece in pieces if piece[0]):
        lines += ["\n"] * (first - 1 - len(lines))
        own = [f"{line}\n" for line in text.split("\n")]
        lines[first - 1 : first - 1 + len(own)] = own
    entry = (sum(map(len, lines)), None, lines, file)
    linecache.cache[file] = entry
    weakref.finalize(mark_of(file), _hide, file, entry).atexit = False
    _marks.pop(file, None)  # linked again, it gets one of its own


def _hide(file: str, entry: object) -> None:
    """Remove an entry unless a newer link of the same version has replaced it."""
    if linecache.cache.get(file) is entry:
        del linecache.cache[file]
