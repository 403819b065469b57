"""The pages on web servers are true: files and commands run, and a push reaches the server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from integrations.web import Site, site
from support import ROOT, needs, wait_until

__all__ = ["site"]

FOLDER = ROOT / "docs" / "integrations"
OVERVIEW = FOLDER / "README.md"
WEB = ("gunicorn", "uvicorn", "hypercorn", "granian", "uwsgi", "gevent", "flask", "fastapi")
PAGES = [OVERVIEW, *(FOLDER / f"{name}.md" for name in (*WEB, "django"))]


def files(page: Path) -> dict[str, str]:
    """Return name → text of the files on a page."""
    found = re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```", page.read_text("utf-8"), re.M | re.S)
    return {name: text for text, name in found}


def commands(page: Path) -> list[str]:
    found = re.findall(r"^```console\n\$ (.*?)\n```", page.read_text("utf-8"), re.M | re.S)
    return [command for command in found if not command.startswith("scatter ")]


RUNS = [(page, command, n) for page in PAGES for n, command in enumerate(commands(page))]


def is_new(command: str) -> bool:
    """Return whether no test of a server runs the same."""
    return bool({"views", "endpoints:app", "shop_wsgi"} & set(command.split()))


def test_every_page_is_in_the_table_of_the_overview_and_runs_something() -> None:
    table = OVERVIEW.read_text("utf-8")
    for page in PAGES[1:]:
        assert f"]({page.name})" in table
    assert {page for page, *_ in RUNS} == set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_points_at_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    assert [x for x in links if "://" not in x and not (FOLDER / x).exists()] == []


@pytest.mark.parametrize(
    ("page", "command"),
    [
        pytest.param(
            page,
            command,
            id=f"{page.stem}-{number}",
            marks=[pytest.mark.slow] * (number > 0 and not is_new(command)),
        )
        for page, command, number in RUNS
    ],
)
def test_what_a_page_says_runs_and_follows(site: Site, page: Path, command: str) -> None:
    needs(*("gevent",) * ("gevent" in command), "flask", "fastapi", "django")
    texts = files(OVERVIEW) | files(page)
    for name, text in texts.items():
        Path(site.folder, name).write_text(text)
    server = site.run(command.replace("8000", "PORT").split())

    wait_until(lambda: server.ask().get("price") == 10 or ended(server.process.poll()), command)
    words = re.findall(r"[\w.]+", command)
    module = next((m for m in ("views", "endpoints") if m in words or f"{m}:app" in command), "")
    if module:  # the application tells what is tracked
        text = texts[f"{module}.py"].replace("10", "11")
        site.push_text(text, module, "index", track_all=True)
    else:
        site.push_text(texts["pricing.py"].replace("10", "11"), "pricing", "price")
    wait_until(lambda: {p["price"] for p in server.pages()} == {11}, f"`{command}` follows")


def ended(status: int | None) -> bool:
    assert status is None, f"the server ended with {status}"
    return False
