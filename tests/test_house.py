"""Rules of the house that import contracts cannot say."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support import ROOT

SOURCES = sorted([*(ROOT / "scatter").rglob("*.py"), *(ROOT / "agent").rglob("*.py")])


def calls(name: str) -> Iterator[str]:
    """Yield the files in which a built-in function is called."""
    for file in SOURCES:
        tree = ast.parse(file.read_text("utf-8"))
        found = (n.func for n in ast.walk(tree) if isinstance(n, ast.Call))
        if any(isinstance(called, ast.Name) and called.id == name for called in found):
            yield file.relative_to(ROOT).as_posix()


def test_only_the_linker_executes_code() -> None:
    assert list(calls("eval")) == []
    assert {str(Path(file).parent) for file in calls("exec")} == {"scatter/linker"}


def test_what_compiles_is_the_linker_the_switch_and_who_compares_code() -> None:
    others = {file for file in calls("compile") if not file.startswith("scatter/linker/")}
    assert others == {
        "scatter/analysis/chunks.py",
        "scatter/bundle/live.py",
        "scatter/trampoline.py",
    }


def test_the_library_prints_nothing() -> None:
    assert list(calls("print")) == [], "a library has no terminal; the command line has click"


# the picture of CONTRIBUTING.md -----------------------------------------------------------


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "draw_house", ROOT / "contributing" / "draw_house.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_house_is_what_the_contracts_say(drawing: ModuleType) -> None:
    picture = drawing.SVG.read_text("utf-8")

    assert picture == drawing.draw(), "run: python contributing/draw_house.py"
    assert "(contributing/house.svg)" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_the_picture_has_every_module_once_and_every_rule(drawing: ModuleType) -> None:
    picture = drawing.SVG.read_text("utf-8")
    for package, source in drawing.SOURCES.items():
        floors = {room.name for floor in drawing.floors(package) for room in floor}
        beside = set(drawing.beside(package))
        every = {path.stem for path in source.glob("[a-z]*.py")}
        every |= {path.parent.name for path in source.glob("[a-z]*/__init__.py")}
        assert floors | beside == every
        assert not floors & beside
    assert {c["name"] for c in drawing.contracts() if c["type"] != "layers"} <= {
        re.sub("&#x27;", "'", line) for line in re.findall(r"· ([^<]+)", picture)
    }


def test_the_picture_follows_a_changed_contract(
    drawing: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = drawing.contracts()
    for contract in changed:
        if contract["type"] == "layers":
            contract["layers"] = contract["layers"][1:]
    monkeypatch.setattr(drawing, "contracts", lambda: changed)

    assert drawing.draw() != drawing.SVG.read_text("utf-8")
