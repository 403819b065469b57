"""What people see of a version: its source under a name of its own in tracebacks and debuggers.

`linecache` is what `traceback`, `inspect`, `pdb` and `logging` read. An entry's name is in angle
brackets, so that nobody looks for a file. It goes when its version goes.
"""

from __future__ import annotations

import linecache
import weakref
from collections.abc import Iterable
from typing import Any


def file_name(function: str, version: int | None, digest: str) -> str:
    """Return the name under which a version's source is known, e.g. `<scatter score v8>`."""
    return f"<scatter {function} v{version or digest[:8]}>"


def file_beside(file: str, module: str) -> str:
    """Return the name for what travels with a version in another module than its own."""
    return f"{file[:-1]} in {module}>"


def show(file: str, pieces: Iterable[tuple[int, str]], owner: Any) -> None:
    """Make source known under `file` for as long as `owner` lives.

    Args:
        file: From `file_name`.
        pieces: (first line, text) of each definition; lines in between are empty. Those on line
            0 stood nowhere, and are left out.
        owner: The function object of the version.

    """
    lines: list[str] = []
    for first, text in sorted(piece for piece in pieces if piece[0]):
        lines += ["\n"] * (first - 1 - len(lines))
        own = [f"{line}\n" for line in text.split("\n")]
        lines[first - 1 : first - 1 + len(own)] = own
    entry = (sum(map(len, lines)), None, lines, file)
    linecache.cache[file] = entry
    weakref.finalize(owner, _hide, file, entry).atexit = False


def _hide(file: str, entry: object) -> None:
    """Remove an entry unless a newer link of the same version has replaced it."""
    if linecache.cache.get(file) is entry:
        del linecache.cache[file]
