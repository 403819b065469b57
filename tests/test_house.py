"""Rules of the house that import contracts cannot say."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

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
