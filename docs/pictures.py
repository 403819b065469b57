"""Draws the pictures of the pages: `python docs/pictures.py` writes docs/pictures/*.svg.

python docs/pictures.py             draws all of them; a test compares them with the files
python docs/pictures.py --record    runs `scatter demo` before, and keeps what it printed

Plain SVG, with the colours and fonts of whoever looks: no picture needs a program to be drawn.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

FOLDER = Path(__file__).with_name("pictures")
TRANSCRIPT = FOLDER / "demo.txt"
INK, PALE, ACCENT, GOOD, BAD, PAPER, FILL = (
    *("#24292f", "#6b7480", "#0b62a4", "#2a7f3f", "#b3261e", "#ffffff", "#f3f6f9"),
)
LINE, LETTER = 19, 7.7
"""Height of a line of a terminal, and width of one of its letters, in pixels."""


class Picture:
    """An SVG that is drawn on."""

    def __init__(self, width: int, height: int, title: str) -> None:
        """Begin with white paper, which is readable in the dark too."""
        self._size = (width, height)
        self._title = title
        self._parts: list[str] = []

    def box(
        self, x: int, y: int, width: int, lines: list[str], *, ink: str = INK, dashed: bool = False
    ) -> None:
        """Draw a box; its first line is what it is, the others say more."""
        height = 18 + 18 * len(lines)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{FILL}" '
            f'stroke="{ink}" stroke-width="1.4"{dash}/>'
        )
        for number, line in enumerate(lines):
            weight = ' font-weight="600"' if number == 0 else ""
            self.text(
                x + width / 2,
                y + 23 + 18 * number,
                line,
                ink=ink if number == 0 else INK,
                more=f'text-anchor="middle"{weight}',
            )

    def text(self, x: float, y: float, text: str, *, ink: str = INK, more: str = "") -> None:
        """Write a line."""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" fill="{ink}" {more}>{escape(text)}</text>')

    def arrow(self, points: list[tuple[int, int]], *, ink: str = ACCENT) -> None:
        """Draw a line with a head at its end."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="1.8" '
            f'marker-end="url(#head-{ink[1:]})"/>'
        )

    def written(self) -> str:
        """Return the file."""
        width, height = self._size
        heads = "".join(
            f'<marker id="head-{ink[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="{ink}"/></marker>'
            for ink in (ACCENT, GOOD, BAD)
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" role="img" '
                'font-family="system-ui, sans-serif" font-size="14">',
                f"<title>{escape(self._title)}</title>",
                f"<defs>{heads}</defs>",
                f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" '
                f'fill="{PAPER}" stroke="#d5dae0"/>',
                *self._parts,
                "</svg>",
                "",
            ]
        )


def architecture() -> str:
    """Draw the way from the editor to every process, through the log."""
    draw = Picture(560, 520, "From the editor to every process")
    draw.box(20, 20, 180, ["your editor", "a file is saved"])
    draw.box(290, 20, 250, ["scatter watch, scatter push", "parse, compare, build, sign"])
    draw.arrow([(200, 47), (288, 47)])
    draw.box(
        290, 150, 250, ["Redis", "the log: releases, in order", "bundles: the code"], ink=ACCENT
    )
    draw.arrow([(415, 74), (415, 148)])
    draw.text(405, 117, "one transaction", ink=PALE, more='text-anchor="end"')
    draw.box(
        20, 290, 240, ["a process", "agent: read the log, check,", "link, switch", "your functions"]
    )
    draw.arrow([(290, 186), (140, 186), (140, 288)])
    draw.text(152, 217, "doorbell, then", ink=PALE)
    draw.text(152, 235, "it reads the log", ink=PALE)
    draw.box(310, 290, 230, ["scatter-agent mirror", "a checked copy in a directory"], dashed=True)
    draw.arrow([(415, 222), (415, 288)])
    draw.text(425, 252, "one connection", ink=PALE)
    draw.box(
        310,
        420,
        230,
        ["all processes of a host", "agent: the same steps,", "from the directory"],
        dashed=True,
    )
    draw.arrow([(415, 344), (415, 418)])
    draw.text(425, 386, "no Redis needed", ink=PALE)
    draw.text(20, 420, "What each process runs comes", ink=PALE)
    draw.text(20, 438, "back as a report: the watcher", ink=PALE)
    draw.text(20, 456, "and `scatter status` show it.", ink=PALE)
    return draw.written()


STEPS = (
    ("who pushes", "saved", "parsed, compared with what is live"),
    ("who pushes", "bundle", "source of the function and of what it needs"),
    ("who pushes", "signed", "namespace, place in the log, hashes"),
    ("Redis", "written once", "entry N+1, if N is still the last"),
    ("Redis", "doorbell", "a notification, which may be lost"),
    ("each process", "read", "everything after the last known release"),
    ("each process", "checked", "signature, place, hash, size; then opened"),
    ("each process", "linked", "to the live modules, beside what runs"),
    ("each process", "switched", "one store a function, all in one step"),
    ("each process", "reported", "for `scatter status` and who pushed"),
)


def release() -> str:
    """Draw what happens to a release, step by step."""
    draw = Picture(580, 40 + 52 * len(STEPS) + 46, "The life of a release")
    before = ""
    for number, (who, what, how) in enumerate(STEPS):
        y = 24 + 52 * number
        if who != before:
            draw.text(16, y + 24, who, ink=PALE)
            before = who
        draw.box(118, y, 122, [what], ink=ACCENT)
        draw.text(254, y + 23, how)
        if number + 1 < len(STEPS):
            draw.arrow([(179, y + 36), (179, y + 51)])
    y = 24 + 52 * len(STEPS)
    draw.text(118, y + 12, "A check or a link that fails: refused, with a reason;", ink=BAD)
    draw.text(118, y + 31, "what ran goes on. Going back is a release like any other.", ink=BAD)
    return draw.written()


def terminal(transcript: str) -> str:
    """Draw what the demo printed."""
    lines = ["$ scatter demo", *transcript.rstrip("\n").splitlines()]
    width = int(max(map(len, lines)) * LETTER) + 40
    draw = Picture(width, LINE * len(lines) + 34, "scatter demo")
    for number, line in enumerate(lines):
        draw.text(
            20,
            30 + LINE * number,
            line.replace(" ", "\N{NO-BREAK SPACE}"),
            ink=ink_of(line),
            more='font-family="ui-monospace, monospace" font-size="12.8"',
        )
    return draw.written()


def ink_of(line: str) -> str:
    """Return the colour of a line of the demo."""
    if re.match(r"\d\. |\$ ", line):
        return ACCENT
    signs = {"  + ": GOOD, "  - ": BAD}
    return signs.get(line[:4], BAD if "refused by" in line else INK)


def record() -> str:
    """Return what the demo prints here, without the names of this machine."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("SCATTER_", "XDG_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "scatter", "demo"],
            env=environment | {"HOME": home},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    text = done.stdout.replace(f"{home}/", "~/")
    text = re.sub(r"\S*/scatter-demo-\w+/", "unix:///tmp/demo/", text)
    return re.sub(r"(?<=shop )[\w.-]+:(?=\d)", "host:", text)


def shape(transcript: str) -> str:
    """Return a transcript without what differs from run to run."""
    text = re.sub(r"\d[\d,]*(?= (ms|requests))|(?<=pid )\d+, \d+|(?<=host:)\d+", "N", transcript)
    return re.sub(r"\s+", " ", text)


def pictures() -> dict[str, str]:
    """Return name → text of all pictures."""
    return {
        "architecture.svg": architecture(),
        "release.svg": release(),
        "demo.svg": terminal(TRANSCRIPT.read_text("utf-8")),
    }


if __name__ == "__main__":
    if "--record" in sys.argv[1:]:
        TRANSCRIPT.write_text(record(), "utf-8")
    for file, drawn in pictures().items():
        (FOLDER / file).write_text(drawn, "utf-8")
