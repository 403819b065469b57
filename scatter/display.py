"""What a function's history and its changes look like, as text and in a notebook.

Everything that comes from the log is escaped: others wrote it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from html import escape

from scatter.model import Version

_COLOURS = {"+": "#1a7f37", "-": "#b3261e", "@": "#0969da"}


class Versions(list[Version]):
    """Versions of a function, newest first; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("", "version", "by", "when", "size", "why"))
        rows = "".join(map(_row, self))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(version: Version) -> str:
    cells = (
        "●" if version.live else "",
        f"v{version.number}",
        version.author,
        version.time[:16].replace("T", " "),
        f"{version.size:,} B",
        version.message,
    )
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two texts; a notebook shows it in colours.

    Attributes:
        old, new: Names of the texts.
        lines: A unified diff, without line ends; empty if nothing differs.

    """

    old: str
    new: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, before: str, after: str, old: str, new: str) -> Diff:
        """Compare two texts."""
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), old, new, lineterm="")
        return cls(old, new, tuple(lines))

    def __str__(self) -> str:
        return "\n".join(self.lines) or "No difference."

    def __bool__(self) -> bool:
        return bool(self.lines)

    def _repr_html_(self) -> str:
        shown = "\n".join(map(_coloured, self.lines)) or "No difference."
        return f'<pre style="line-height: 1.3">{shown}</pre>'


def _coloured(line: str) -> str:
    colour = _COLOURS.get(line[:1])
    text = escape(line)
    return f'<span style="color: {colour}">{text}</span>' if colour else text
