"""Draws docs/images/top.svg, the picture of `scatter top`, from a made-up fleet.

python docs/generate_top.py            draws it
python docs/generate_top.py --print    prints what is on the screen; a test compares it
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

from scatter.cli.follow import View
from scatter.cli.screen.app import Top
from scatter.fleet import fleet_of
from scatter.model import Change, FunctionState, ProcessReport, Refusal

PICTURE = Path(__file__).parent / "images" / "top.svg"
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TIP = 41
LIVE = {  # function → its live version, the release that made it live, who, minutes ago
    "pricing:score": (7, 41, "ann@example.org", 1),
    "pricing:discount": (4, 40, "ann@example.org", 3),
    "checkout:Basket.total": (12, 38, "bo@example.org", 95),
    "checkout:ship": (2, 31, "bo@example.org", 60 * 26),
    "search:rank": (9, 22, "cy@example.org", 60 * 40),
}
REFUSAL = Refusal(
    function="pricing:score",
    version=7,
    reason="missing-import",
    message="No module named 'exchange_rates'. Install it there, and push again.",
)


def functions() -> dict[str, FunctionState]:
    """Return what the log says."""
    return {
        name: FunctionState(
            function=name,
            live=Change(function=name, version=version),
            sequence=sequence,
            author=author,
            time=(NOW - timedelta(minutes=minutes)).isoformat(),
            last=version,
        )
        for name, (version, sequence, author, minutes) in LIVE.items()
    }


def reports() -> Iterator[ProcessReport]:
    """Yield what the processes say: most are well."""
    running = {name: version for name, (version, *_) in LIVE.items()}
    for pid in range(4101, 4113):
        yield process("web-1", pid, running)
    for pid in (880, 881):
        yield process("batch-1", pid, running | {"pricing:score": 6}, refused=(REFUSAL,))
    late = running | {"pricing:score": 6, "pricing:discount": 3}
    yield process("web-2", 512, late, sequence=39)
    held = running | {"search:rank": 8}
    yield process("web-2", 513, held, held=("search:rank",))


def process(host: str, pid: int, running: dict[str, int], **fields: Any) -> ProcessReport:
    """Return what a process reports."""
    known = {"application": "shop", "python": "3.12.1", "state": "ready", "sequence": TIP}
    return ProcessReport(
        id=f"{host}-{pid}", host=host, pid=pid, functions=running, **known | fields
    )


@contextmanager
def follow(tell: Callable[[View], object]) -> Iterator[None]:
    """Follow the made-up fleet: it does not change."""
    tell(View(fleet=fleet_of(functions(), list(reports()), TIP), is_known=True))
    yield


async def draw() -> str:
    """Return the picture."""
    no_actions: Any = None  # no key is pressed
    top = Top("scatter top: shop on redis://redis.internal:6379/0", follow, no_actions, now=clock)
    async with top.run_test(size=(80, 24)) as pilot:
        picture = before = ""
        while picture != before or not {"Quit", "web-1:4101", "holds"} <= {*words(picture)}:
            before = picture
            await pilot.pause(0.1)  # parts find their heights one after the other
            picture = top.export_screenshot(title="scatter top")
    without_fonts = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.S)
    return re.sub(r"[ \t]+$", "", without_fonts, flags=re.M).replace("Fira Code, monospace", FONTS)


FONTS = "Fira Code, DejaVu Sans Mono, Menlo, Consolas, monospace"
"""No font is loaded from anywhere: those that a reader may have, then any."""


def clock() -> datetime:
    """Return the moment of the picture."""
    return NOW


def text_of(picture: str) -> str:
    """Return the texts in a picture, line by line: what of it does not depend on a library."""
    lines: dict[float, list[str]] = {}
    for height, text in re.findall(r'<text[^>]* y="([\d.]+)"[^>]*>([^<]*)</text>', picture):
        lines.setdefault(float(height), []).append(unescape(text).replace("\xa0", " "))
    return "\n".join("".join(parts).rstrip() for _, parts in sorted(lines.items()))


def words(picture: str) -> list[str]:
    """Return the words in a picture."""
    return text_of(picture).split()


if __name__ == "__main__":
    drawn = asyncio.run(draw())
    if "--print" in sys.argv[1:]:
        sys.stdout.write(text_of(drawn) + "\n")
    else:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(drawn, "utf-8")
