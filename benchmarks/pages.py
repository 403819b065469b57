"""Writes tables of what was measured into the pages that show them.

    python -m benchmarks.pages

A page marks the place: `<!-- measured: NAME NAME -->` and, after it, `<!-- end of measured -->`.
Without names it is all. `<!-- simulated: NAME -->`, with the same end, is for tables that
`simulate` reckons from what was measured. Between `<!-- drawn -->` and `<!-- end of drawn -->` come
the pictures that there are, and between `<!-- in short -->` and `<!-- end of in short -->` the few
rows of `SHORT`. `benchmarks/results/latest.md` is made whole.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import NAMES
from benchmarks.harness import Row
from benchmarks.results import RESULTS, Result, read
from benchmarks.table import against_of, curves_table, ratio_of, rows_table, table

ROOT = Path(__file__).parent.parent
_NAMES = "README.md", "docs/performance.md", "docs/comparison.md", "docs/scale.md"
PAGES = [ROOT / name for name in _NAMES]
_SIMULATED = re.compile(r"(<!-- simulated: (\w+) -->\n).*?(<!-- end of measured -->)", re.DOTALL)
_SHORT = re.compile(r"(<!-- in short -->\n).*?(<!-- end of in short -->)", re.DOTALL)
_PICTURES = re.compile(r"(<!-- drawn -->\n).*?(<!-- end of drawn -->)", re.DOTALL)
_PLACE = re.compile(r"(<!-- measured:([^>]*)-->\n).*?(<!-- end of measured -->)", re.DOTALL)


def write() -> list[Path]:
    """Write all pages anew; return those that changed."""
    results = [result for name in NAMES if (result := read(name))]
    fresh = {RESULTS / "latest.md": latest(results)}
    fresh |= {page: fill(page.read_text("utf-8"), results) for page in PAGES}
    changed = []
    for page, text in fresh.items():
        if not page.exists() or page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")
            changed.append(page)
    return changed


def latest(results: list[Result]) -> str:
    """Return the page of everything that is kept."""
    head = "# Results\n\nRatios travel from machine to machine, figures do not.\n\n"
    parts = []
    for result in results:
        part = f"## {result.name}\n\n{result.date}, {result.machine}; {result.noise}.\n"
        part += f"\n{rows_table(result.rows)}\n" * bool(result.rows)
        part += f"\n{curves_table(result.curves)}\n" * bool(result.curves)
        picture = RESULTS / f"{result.name}.svg"
        parts.append(part + f"\n![{result.name}]({picture.name})\n" * picture.exists())
    return head + "\n".join(parts)


def fill(text: str, results: list[Result]) -> str:
    """Return a page with the tables that it asks for."""
    from benchmarks.simulate import TABLES

    text = _SIMULATED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)
    drawn = [f for name in NAMES if (f := RESULTS / f"{name}.svg").exists()]
    pictures = "\n".join(f"![{f.stem}](../{f.relative_to(ROOT)})\n" for f in drawn)
    text = _PICTURES.sub(lambda found: f"{found[1]}{pictures}{found[2]}", text)
    text = _SHORT.sub(lambda found: f"{found[1]}{short(results)}\n{found[2]}", text)
    return _PLACE.sub(
        lambda found: f"{found[1]}{_tables(found[2].split(), results)}{found[3]}", text
    )


SHORT: tuple[tuple[str, str, str], ...] = (
    ("call", "same defaults: tracked, before a switch", "a call of a tracked function"),
    ("call", "same defaults: after a switch", "the same, after a switch"),
    ("push", "→ bytes in hand there", "push → the new bytes in another process"),
    ("push", "→ switched there", "push → signed, checked, linked and switched there"),
    (
        "save",
        "300 functions, in place → switched",
        "a save of a file of 300 functions → two processes switched",
    ),
    ("save", "a web app answers with the new code", "a save → a web app answers with the new code"),
    (
        "web",
        "swapped 20 times a second: requests a second",
        "requests a second of a web app whose functions are swapped 20 times a second",
    ),
    ("trust", "a release → believed", "a signed release → believed"),
    (
        "mirror",
        "release in the directory → the last of 100 processes switched",
        "a release in a mirror's directory → the last of 100 processes switched",
    ),
    ("idle", "processor time under an agent", "an agent with nothing to do, of one core"),
    ("idle", "resident memory under an agent", "its process"),
)
"""Rows for those in a hurry: benchmark, what it measured there, and how to say that."""


def short(results: list[Result]) -> str:
    """Return the table of `SHORT`, of the rows that there are."""
    rows: dict[tuple[str, str], Row] = {}
    for result in results:
        for row in result.rows:
            rows.setdefault((result.name, row.what), row)  # the first of several peers or Pythons
    lines = []
    for name, what, said in SHORT:
        found = rows.get((name, what))
        if found is not None:
            lines.append((said, found.show(found.sample.p50), against_of(found), ratio_of(found)))
    return table(("", "p50", "against", "ratio"), lines)


def _tables(names: list[str], results: list[Result]) -> str:
    wanted = [result for result in results if not names or result.name in names]
    rows = [row for result in wanted for row in result.rows]
    curves = [curve for result in wanted for curve in result.curves]
    parts = [rows_table(rows)] * bool(rows) + [curves_table(curves)] * bool(curves)
    return "".join(f"{part}\n\n" for part in parts).rstrip("\n") + "\n"


if __name__ == "__main__":
    for changed in write():
        print(f"wrote {changed.relative_to(ROOT)}")
