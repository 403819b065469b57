"""Draws contributing/house.svg, the house of CONTRIBUTING.md, from the import contracts.

    python contributing/draw_house.py            writes it
    python contributing/draw_house.py --print    prints it; a test compares it with the file

Floors are the `layers` of pyproject.toml, what stands beside them is what they leave out, and the
rules below are the names of the other contracts. What a room is for is what its source begins with.
"""

from __future__ import annotations

import ast
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SVG = Path(__file__).with_name("house.svg")
SOURCES = {"scatter": ROOT / "scatter", "scatter_agent": ROOT / "agent" / "scatter_agent"}
TITLES = {"scatter": "scatter: the library", "scatter_agent": "scatter_agent: the worker side"}
FILLS = {"scatter": "#e3eefb", "scatter_agent": "#fbeedd"}
COLUMN, GAP, MARGIN = 480, 24, 16
LINE, LETTER = 14, 6.1
"""Height of a line and width of a letter of the small text, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A module or package on a floor."""

    name: str
    purpose: str

    def lines(self, width: float) -> list[str]:
        """Return the purpose in lines that fit a box."""
        return textwrap.wrap(self.purpose, int((width - 14) / LETTER))


def contracts() -> list[dict[str, Any]]:
    """Return the contracts as pyproject.toml has them."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return found


def floors(package: str) -> list[list[Room]]:
    """Return the floors of a package, the highest first."""
    (layers,) = [
        contract["layers"]
        for contract in contracts()
        if contract["type"] == "layers" and contract["layers"][0].startswith(f"{package}.")
    ]
    return [[room(name.strip()) for name in layer.split("|")] for layer in layers]


def beside(package: str) -> list[str]:
    """Return the modules of a package that are on no floor."""
    housed = {one.name for floor in floors(package) for one in floor}
    every = {path.stem for path in SOURCES[package].iterdir() if is_module(path)}
    return sorted(every - housed)


def is_module(path: Path) -> bool:
    """Return whether a path is a module or a package that others import."""
    is_source = path.suffix == ".py" or (path / "__init__.py").exists()
    return is_source and not path.stem.startswith("_")


def room(module: str) -> Room:
    """Return a room with what its source says of it."""
    package, _, name = module.partition(".")
    path = SOURCES[package] / name.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    return Room(name=name, purpose=purpose(text.split("\n\n")[0].replace("\n", " ")))


def purpose(text: str) -> str:
    """Return what a first line says, without the name that it begins with."""
    named, colon, rest = text.partition(": ")
    is_name = colon and len(named.split()) <= 4 and not rest.startswith("`")
    said = (rest if is_name else text).replace("`", "").partition(". ")[0].rstrip(".")
    return said[:1].upper() + said[1:]


def text(x: float, y: float, words: str, style: str) -> str:
    """Return the drawing of a line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{escape(words)}</text>'


def column(package: str, x: float, y: float) -> Iterator[str | float]:
    """Yield the drawing of a package's floors; last, where it ends."""
    yield text(x, y + 16, TITLES[package], "title")
    y += 28
    for floor in floors(package):
        width = (COLUMN - 6 * (len(floor) - 1)) / len(floor)
        height = 24 + LINE * max(len(one.lines(width)) for one in floor)
        for number, one in enumerate(floor):
            yield from box(one, x + number * (width + 6), y, width, height, FILLS[package])
        y += height + 6
    yield text(x, y + 14, "Beside the floors, for whoever needs it:", "small")
    for line in textwrap.wrap(", ".join(beside(package)), int(COLUMN / LETTER)):
        y += LINE
        yield text(x, y + 14, line, "small")
    yield y + 20


def box(one: Room, x: float, y: float, width: float, height: float, fill: str) -> Iterator[str]:
    """Yield the drawing of a room."""
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" '
        f'fill="{fill}" stroke="#8899aa"/>'
    )
    yield text(x + 7, y + 16, one.name, "name")
    for number, line in enumerate(one.lines(width), 1):
        yield text(x + 7, y + 16 + LINE * number, line, "small")


def rules(y: float) -> Iterator[str | float]:
    """Yield the contracts that are no floors; last, where they end."""
    yield text(MARGIN, y + 16, "And everywhere", "title")
    y += 22
    for contract in contracts():
        if contract["type"] != "layers":
            yield text(MARGIN, y + 12, f"· {contract['name']}", "small")
            y += LINE + 2
    yield y


def draw() -> str:
    """Return the picture."""
    shapes, ends = [], []
    for number, package in enumerate(SOURCES):
        *drawn, end = column(package, MARGIN + number * (COLUMN + GAP), MARGIN)
        shapes += drawn
        ends.append(float(end))
    *drawn, end = rules(max(ends) + 8)
    shapes += drawn
    width, height = 2 * (COLUMN + MARGIN) + GAP, float(end) + MARGIN
    style = (
        "text{font-family:system-ui,sans-serif;fill:#1c2733}"
        ".title{font-size:15px;font-weight:600}.name{font-size:13px;font-weight:600}"
        ".small{font-size:11px}"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">',
        "<title>The house: each floor imports only what is below it</title>",
        "<!-- made by contributing/draw_house.py from the import contracts -->",
        f"<style>{style}</style>",
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        *map(str, shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        sys.stdout.write(draw())
    else:
        SVG.write_text(draw(), "utf-8")
