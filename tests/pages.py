"""The pages of the documentation, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support import ROOT

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [
    ROOT / "README.md",
    ROOT / "examples/shop/README.md",
    *sorted(DOCS.rglob("*.md")),
]
BESIDE = [
    *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY", "VERSIONING")),
    *sorted({*(ROOT / "examples").rglob("README.md")} - {*PAGES}),
]
"""Pages that are no part of the site; what they show is run by tests of their own."""
_FENCE = re.compile(r"^(?:<!-- ([^\n]*?) -->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block; `note` is the comment on the line before it."""

    page: Path
    number: int
    language: str
    text: str
    note: str

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}, block {self.number}"


def name_of(page: Path) -> str:
    """Return how a page is called in tests."""
    return str(page.relative_to(ROOT))


def all_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in its order."""
    for number, found in enumerate(_FENCE.finditer(page.read_text("utf-8")), 1):
        note, language, text = found.groups()
        yield Block(page=page, number=number, language=language, text=text, note=note or "")


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language on a page."""
    return [block.text for block in all_blocks(page) if block.language == language]


def rows(page: Path) -> list[list[str]]:
    """Return the cells of every table row of a page, without the headers."""
    lines = re.findall(r"^\| (.*) \|$", page.read_text("utf-8"), re.M)
    return [line.split(" | ") for line in lines if line.startswith("`")]
