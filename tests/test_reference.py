"""Pages of the reference that nothing generates are complete: formats, variables, sizes."""

from __future__ import annotations

import ast
import re

import pytest
from pages import DOCS, REFERENCE, name_of, rows
from scatter_agent.report import COMMIT_VARIABLES, IMAGE_VARIABLES
from support import ROOT

from scatter.bundle import codec
from scatter.bundle.model import ITEM_KINDS
from scatter.log import envelope, proposal, snapshot, statement
from scatter.model import ACTIONS
from scatter.reports import FORMAT as REPORT_FORMAT
from scatter.store import layout
from scatter.store import redis as redis_store

WIRE = REFERENCE / "wire-format.md"
SOURCES = [*(ROOT / "scatter").rglob("*.py"), *(ROOT / "agent").rglob("*.py")]
INTERNAL = {"SCATTER_LAUNCH_SAID"}
"""Variables by which processes of one launch tell each other that something was said."""


def section(page: str, title: str) -> str:
    """Return the text below a heading, up to the next one."""
    text = (REFERENCE / page).read_text("utf-8")
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def in_code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def fields(text: str) -> dict[str, str]:
    """Return field → type of the tables in a text."""
    return dict(re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", text, re.M))


TYPES = {int: "number", str: "text", list: "list", bool: "truth"}


def test_the_fields_of_a_statement_are_on_the_page_with_their_types() -> None:
    release, _, change = section("wire-format.md", "An entry of the log").partition("A change, ")

    for text, must, may in (
        (release, statement._RELEASE_FIELDS, statement._RELEASE_EXTRAS),
        (change, statement._CHANGE_FIELDS, statement._CHANGE_EXTRAS),
    ):
        shown = {name: kind.removesuffix(" of numbers") for name, kind in fields(text).items()}
        assert shown == {name: TYPES[kind] for name, kind in {**must, **may}.items()}
    assert tuple(in_code(re.findall(r"^\| `action` .*$", release, re.M)[0])[1:]) == ACTIONS


def test_the_fields_of_a_bundle_and_its_kinds_of_items_are_on_the_page() -> None:
    text = section("wire-format.md", "A bundle")
    named = {name for cell in re.findall(r"^\| (`.*?) \|", text, re.M) for name in in_code(cell)}

    assert named == codec._FIELDS
    assert dict(re.findall(r"(\d) (\w+)[,.]", text.replace("\n", " "))) == {
        str(number): kind for number, kind in enumerate(ITEM_KINDS)
    }


def test_the_keys_of_redis_are_those_of_the_store() -> None:
    keys = dict(re.findall(r"^\| `(scatter:\S+)` \| (.*?) \|", WIRE.read_text("utf-8"), re.M))
    ours = dict(re.findall(r"^\| `(scatter:\S+)` \| (.*?) \|", redis_store.__doc__ or "", re.M))

    assert keys == ours


def test_the_page_says_how_each_kind_of_thing_begins() -> None:
    text = WIRE.read_text("utf-8")

    for magic in (envelope.MAGIC, codec.MAGIC, snapshot.MAGIC):
        assert f"`{magic.decode()}`" in text
    assert f'`"format":{statement.FORMAT}`' in text
    assert statement.FORMAT == REPORT_FORMAT
    assert f'`"scatter-proposal": {proposal.FORMAT}`' in text
    assert f"`FORMAT`: `{layout.FORMAT.strip()}`" in text


@pytest.mark.parametrize(
    ("title", "size", "unit"),
    [
        ("An entry of the log", envelope.MAX_ENTRY_BYTES, "At most {} MiB"),
        ("A bundle", codec.MAX_BUNDLE_BYTES, "At most {} MiB"),
        ("A bundle", codec.MAX_SOURCE_BYTES, "{} MiB inflated"),
        ("Others", snapshot.MAX_SNAPSHOT_BYTES, "at most {} MiB inflated"),
    ],
)
def test_the_sizes_on_the_page_are_those_of_the_code(title: str, size: int, unit: str) -> None:
    assert unit.format(size >> 20) in section("wire-format.md", title)


def test_every_variable_that_is_read_is_on_the_page_of_variables() -> None:
    read = set()
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read |= set(re.findall(r"^SCATTER_[A-Z_]+$", node.value))
    listed = {name for row in rows(REFERENCE / "environment.md") for name in in_code(row[0])}

    assert {name for name in listed if name.startswith("SCATTER_")} == read - INTERNAL


def test_the_variables_that_say_what_was_deployed_are_in_their_order() -> None:
    text = (REFERENCE / "environment.md").read_text("utf-8").partition("What was deployed is")[2]
    image, _, commit = text.partition("Commit:")

    assert tuple(in_code(image)) == IMAGE_VARIABLES
    assert tuple(in_code(commit)) == COMMIT_VARIABLES


def test_every_page_begins_with_one_title_and_is_no_heap() -> None:
    for page in DOCS.rglob("*.md"):
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        titles = re.findall(r"^# .+$", text, re.M)
        assert len(titles) == 1, name_of(page)
        assert text.startswith(titles[0]), name_of(page)
