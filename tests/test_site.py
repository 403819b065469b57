"""The documentation as a site: it is built strictly, and no link or anchor of it is dead."""

from __future__ import annotations

import importlib.util
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from pages import DOCS, PAGES
from support import ROOT

sys.path.insert(0, str(ROOT))
try:
    import benchmarks
    from benchmarks import pages as measured
finally:
    del sys.path[0]


def script(name: str):  # type: ignore[no-untyped-def]
    """Import a script of docs/."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """What a page leads to, and what in it can be led to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical is not installed: pip install -e '.[docs]', or dev.py docs")
    target = tmp_path_factory.mktemp("site") / "site"
    assert script("build_site").build(target) == 0
    return target


def test_no_link_and_no_anchor_of_the_site_is_dead(site: Path) -> None:
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html") if file.name != "404.html"}
    dead = []

    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            to = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            to = to / "index.html" if to.is_dir() else to
            if not to.is_file() or (
                parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].anchors
            ):
                dead.append(f"{file.relative_to(site.resolve())} → {link}")
    assert len(pages) > 40
    assert not dead, dead


def test_every_page_is_in_the_site(site: Path) -> None:
    built = {str(file.parent.relative_to(site)) for file in site.rglob("index.html")}

    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix("")
        where = name.parent if name.name in ("index", "README") else name
        assert str(where) in built, page


def in_navigation(part: object) -> list[str]:
    """Return the files that a part of mkdocs.yml's `nav` names."""
    if isinstance(part, str):
        return [part]
    children = part if isinstance(part, list) else list(part.values())  # type: ignore[attr-defined]
    return [name for child in children for name in in_navigation(child)]


def test_the_navigation_leads_to_every_page_once() -> None:
    named = in_navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    ours = [str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)]

    assert sorted(name for name in named if not name.startswith("project/")) == sorted(ours)


# pictures and generated pages ---------------------------------------------------------------


def test_every_picture_is_what_its_script_draws() -> None:
    drawn = script("pictures").pictures()
    folder = DOCS / "pictures"

    assert drawn == {file.name: file.read_text("utf-8") for file in folder.glob("*.svg")}, (
        "run: python docs/pictures.py"
    )


def test_the_terminal_shows_what_the_demo_prints_now() -> None:
    pictures = script("pictures")
    kept = pictures.TRANSCRIPT.read_text("utf-8")

    assert pictures.shape(pictures.record()) == pictures.shape(kept), (
        "run: python docs/pictures.py --record"
    )


def test_tables_and_plots_are_those_of_the_last_measurements() -> None:
    results = [result for name in benchmarks.NAMES if (result := measured.read(name))]

    for page in measured.PAGES:
        text = page.read_text("utf-8")
        assert measured.fill(text, results) == text, "run: python -m benchmarks.pages"


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text("utf-8"))
    }

    assert {file.resolve() for file in (DOCS / "pictures").glob("*.svg")} <= shown
    assert all(file.is_file() for file in shown)


def test_the_reference_of_python_is_what_its_generator_gives() -> None:
    page = (DOCS / "reference" / "api.md").read_text("utf-8")

    assert script("generate_api").page() == page, "run: python docs/generate_api.py"
