"""Whether a save may be half-written.

Editors write a file in one piece or in several, in place or beside it. Whoever looks in between
sees a beginning of the new text, and most beginnings are good Python that merely lacks functions,
or ends in the middle of one (m: 50 of 60). So a save is *in doubt* when

1. somebody still has the file open for writing, or it changed while it was read,
2. it is gone, empty, new, or no Python,
3. a top-level function or class that was there is missing,
4. it lost its trailing newline, or
5. its end is not recognisable: the last top-level name is another one than before, or the last
   line changed and is no edit of the old one (as many lines from that name on, the same indentation
   and first word: `return x + 1` for `return x`).

Such a save is believed once it has stayed the same for a settle time. All other saves end as the
file did, or with an edit of the line that it ended with; hence they are whole, and are believed at
once. An ordinary edit waits for nothing.

Rule 1 is exact on Linux and alone catches every editor that opens the file once. The others are
for the rest: files written in two goes (`cat a > f; cat b >> f`), moved away and created again,
and systems that do not tell who writes. What remains: such a writer that stops, for longer than
the settle time, or at a place where the text so far ends just as the file did.
"""

from __future__ import annotations

import re

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
    """Return whether the file ends as it did, or with an edit of the line that it ended with."""
    old_name, old = _end(before)
    new_name, new = _end(after)
    if old_name != new_name:
        return False
    return old[-1] == new[-1] or (len(old) == len(new) and _head(old[-1]) == _head(new[-1]))


def _head(line: str) -> str:
    """Return the indentation and first word of a line."""
    match = re.match(r"\s*(\w*)", line)
    return match[0] if match else ""


def _end(source: ModuleSource) -> tuple[str, list[str]]:
    """Return the last top-level name, and the lines from there to the end of the file."""
    last = max(source.definitions.values(), key=lambda d: d.line, default=None)
    lines = source.text.rstrip().split("\n")
    return (last.name, lines[last.line - 1 :]) if last else ("", lines)
