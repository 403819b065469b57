"""Whether a save may be half-written.

Editors write a file in one piece or in several, in place or beside it. Whoever looks in between
sees a beginning of the new text, and most beginnings are good Python that merely lacks functions,
or ends in the middle of one (m: 50 of 60). So a save is *in doubt* when

1. somebody still has the file open for writing, or it changed while it was read,
2. it is gone, empty, new, or no Python,
3. a top-level function or class that was there is missing,
4. it lost its trailing newline, or
5. its end is not recognisable: the last top-level name is another one than before, or from there
   on the last line and the number of lines both changed.

Such a save is believed once it has stayed the same for a settle time. All other saves end as the
file ended before, hence are whole, and are believed at once; an ordinary edit waits for nothing.

Rule 1 is exact on Linux and alone catches every editor that opens the file once. The others are
for the rest: files written in two goes (`cat a > f; cat b >> f`), moved away and created again,
and systems that do not tell who writes. What remains: such a writer that stops, for longer than
the settle time, or at a place where the text so far ends exactly as the file did.
"""

from __future__ import annotations

from scatter.analysis import ModuleSource


def doubts(before: ModuleSource, after: ModuleSource) -> bool:
    """Return whether the text `after`, saved over `before`, looks half-written."""
    if before.text.endswith("\n") and not after.text.endswith("\n"):
        return True
    if _lacks_definitions(before, after):
        return True
    return not _ends_alike(before, after)


def _lacks_definitions(before: ModuleSource, after: ModuleSource) -> bool:
    """Return whether a function or class is missing. Imports and constants come and go."""
    return any(
        definition.kind in ("function", "class") and name not in after.definitions
        for name, definition in before.definitions.items()
    )


def _ends_alike(before: ModuleSource, after: ModuleSource) -> bool:
    """Return whether the end of the file is whole, by its last line or its number of lines."""
    old_name, old = _end(before)
    new_name, new = _end(after)
    return old_name == new_name and (old[-1:] == new[-1:] or len(old) == len(new))


def _end(source: ModuleSource) -> tuple[str, list[str]]:
    """Return the last top-level name, and the lines from there to the end of the file."""
    last = max(source.definitions.values(), key=lambda d: d.line, default=None)
    lines = source.text.rstrip().split("\n")
    return (last.name, lines[last.line - 1 :]) if last else ("", lines)
