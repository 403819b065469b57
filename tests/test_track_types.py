"""Type checkers keep the signature of a tracked function, and know its verbs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT

SAMPLE = '''
from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import reveal_type

import scatter


@scatter.track
def plain(x: int, *, scale: float = 1.0) -> str:
    """Say a number."""
    return str(x * scale)


@scatter.track(name="other:named")
def named(x: int) -> bytes:
    return bytes(x)


@scatter.track
async def waits(x: int) -> str:
    return str(x)


@scatter.track
def yields(n: int) -> Iterator[int]:
    yield from range(n)


@scatter.track
async def streams(n: int) -> AsyncIterator[int]:
    for x in range(n):
        yield x


class Model:
    @scatter.track
    def method(self, x: int) -> str:
        return str(x)

    @scatter.track(name="Model.renamed")
    def named_method(self, x: int) -> str:
        return str(x)

    @staticmethod
    @scatter.track
    def static(x: int) -> str:
        return str(x)

    @classmethod
    @scatter.track
    def klass(cls, x: int) -> str:
        return str(x)

    @property
    @scatter.track
    def prop(self) -> int:
        return 1


class Above:
    @scatter.track
    @staticmethod
    def static(x: int) -> str:
        return str(x)

    @scatter.track
    @classmethod
    def klass(cls, x: int) -> str:
        return str(x)


fetched = scatter.get("plain")
'''

REVEALED = [
    # Expression, what every checker must say of it. Not here: `Model.klass(1)`, which is right and
    # seems wrong to checkers (see `Tracked`).
    ("plain(1, scale=2.0)", "str"),
    ("named(1)", "bytes"),
    ("list(yields(3))", "list[int]"),
    ("Model().method(1)", "str"),
    ("Model.method(Model(), 1)", "str"),
    ("Model().named_method(1)", "str"),
    ("Model.static(1)", "str"),
    ("Model().static(1)", "str"),
    ("Model().klass(1)", "str"),
    ("list(map(Model().method, [1]))", "list[str]"),
    ("list(map(Model().static, [1]))", "list[str]"),
    ("list(map(Model.static, [1]))", "list[str]"),
    ("Model().prop", "int"),
    ("Above.static(1)", "str"),
    ("Above().static(1)", "str"),
    ("Above().klass(1)", "str"),
    ("plain.push()", "int"),
    ("plain.push('why', force=True, secrets=True)", "int"),
    ("plain.pull(3)", "int"),
    ("plain.upgrade()", "int"),
    ("plain.downgrade()", "int"),
    ("plain.delete(older_than=3)", "tuple[int, ...]"),
    ("plain.history()[0].number", "int"),
    ("plain.history(3)[0].message", "str"),
    ("plain.latest_version()", "int"),
    ("plain.loaded_version", "int"),
    ("plain.source", "str"),
    ("plain.__name__", "str"),
    ("named.push()", "int"),
    ("Model.method.push()", "int"),
    ("Model().method.push()", "int"),
    ("Model.static.push()", "int"),
    ("Model().static.pull()", "int"),
    ("Model().method.__name__", "str"),
    ("fetched(1, 2, three=3)", "Any"),
    ("fetched.pull()", "int"),
    ("scatter.get('x', version=2).loaded_version", "int"),
    ("scatter.push(plain, 'other:named', message='why')", "dict[str, int]"),
    ("scatter.functions()", "dict[str, int]"),
    ("scatter.release({'plain': 1})", "Release | None"),
    ("scatter.rollback('plain', to=1)", "Release | None"),
]

AWAITED = [
    ("await waits(1)", "str"),
    ("[x async for x in streams(3)]", "list[int]"),
    ("await plain.apush('why', force=True)", "int"),
    ("await waits.apush()", "int"),
    ("await plain.apull(2)", "int"),
    ("await plain.aupgrade()", "int"),
    ("await plain.adowngrade()", "int"),
    ("await plain.adelete()", "tuple[int, ...]"),
    ("(await plain.ahistory())[0].live", "bool"),
    ("await plain.alatest_version()", "int"),
]

WRONG = [
    "plain('text')",
    "plain()",
    "plain(1, 2)",
    "plain(1, scal=2.0)",
    "named(1, 2)",
    "named(b'')",
    "len(plain(1).nothing)",
    "len(named(1).upper().encode())",
    "waits(1).upper()",
    "Model().method()",
    "Model().method('text')",
    "Model.static()",
    "Model().klass(1, 2)",
    "Model().static('text')",
    "Model().method.pusch()",
    "list(map(Model().method, ['text']))",
    "plain.pusch()",
    "plain.push(1)",
    "plain.push('why', True)",
    "plain.pull('1')",
    "plain.delete(0, 1)",
    "plain.push().upper()",
    "scatter.track(name=3)",
    "scatter.track(3)",
    "scatter.track('name')",
    "scatter.init(3)",
    "scatter.release(['plain'])",
    "scatter.rollback(1)",
]


def program() -> str:
    """Return the sample with every expression on a line of its own."""
    lines = [f"    reveal_type({expression})" for expression, _ in REVEALED]
    awaited = [f"    reveal_type({expression})" for expression, _ in AWAITED]
    wrong = [f"    {expression}" for expression in WRONG]
    return "\n".join(
        [
            SAMPLE,
            "def revealed() -> None:",
            *lines,
            "async def awaited() -> None:",
            *awaited,
            "def wrong() -> None:",
            *wrong,
            "",
        ]
    )


class Verdict:
    """What a checker said: line → type revealed, line → errors."""

    def __init__(self) -> None:
        self.revealed: dict[int, str] = {}
        self.errors: dict[int, list[str]] = {}

    def error(self, line: int, text: str) -> None:
        self.errors.setdefault(line, []).append(text)


def mypy(folder: Path, file: Path) -> Verdict:
    config = folder / "mypy.ini"
    config.write_text("[mypy]\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty"),
            *("--config-file", str(config), "--cache-dir", str(folder / "cache"), str(file)),
        ],
        cwd=folder,
        env={**os.environ, "MYPYPATH": f"{ROOT}{os.pathsep}{ROOT / 'agent'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    verdict = Verdict()
    for row in done.stdout.splitlines():
        found = re.match(r"(.+?):(\d+): (error|note): (.*)", row)
        assert found, row
        path, line, kind, text = found.groups()
        assert path.endswith(file.name), row
        if told := re.match(r'Revealed type is "(.*)"', text):
            verdict.revealed[int(line)] = told[1]
        elif kind == "error":
            verdict.error(int(line), text)
    return verdict


def pyright(folder: Path, file: Path) -> Verdict:
    (folder / "pyrightconfig.json").write_text(
        json.dumps(
            {
                "typeCheckingMode": "strict",
                "extraPaths": [str(ROOT), str(ROOT / "agent")],
                "reportUnusedExpression": False,
                "reportUnusedCoroutine": False,
                "reportUnusedFunction": False,
            }
        )
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable),
            *("-p", str(folder)),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    verdict = Verdict()
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        assert one["file"].endswith(file.name), one
        line = one["range"]["start"]["line"] + 1
        if told := re.match(r'Type of ".*" is "(.*)"', one["message"], re.S):
            verdict.revealed[line] = told[1]
        elif one["severity"] == "error":
            verdict.error(line, one["message"])
    return verdict


CHECKERS: dict[str, Callable[[Path, Path], Verdict]] = {"mypy": mypy, "pyright": pyright}


@pytest.fixture(scope="module", params=CHECKERS)
def verdict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """One run of a checker over the whole sample; each test looks at its lines."""
    folder = tmp_path_factory.mktemp(request.param)
    file = folder / "sample.py"
    file.write_text(program())
    return CHECKERS[request.param](folder, file)


def line_of(text: str) -> int:
    return program().splitlines().index(f"    {text}") + 1


def plain_name(revealed: str) -> str:
    """Return a type as people write it, from either checker."""
    text = re.sub(r"\b(builtins|typing|scatter\.model)\.", "", revealed)
    if union := re.fullmatch(r"Union\[(\w+), None\]", text):
        return f"{union[1]} | None"
    return text


def test_defining_tracked_functions_has_no_errors(verdict: Verdict) -> None:
    first = program().splitlines().index("def revealed() -> None:") + 1
    assert {n: said for n, said in verdict.errors.items() if n < first} == {}


@pytest.mark.parametrize(("expression", "expected"), REVEALED + AWAITED)
def test_an_expression_has_its_type(verdict: Verdict, expression: str, expected: str) -> None:
    line = line_of(f"reveal_type({expression})")
    assert verdict.errors.get(line, []) == []
    assert plain_name(verdict.revealed[line]) == expected


@pytest.mark.parametrize("expression", WRONG)
def test_a_wrong_use_is_an_error(verdict: Verdict, expression: str) -> None:
    assert verdict.errors.get(line_of(expression)), "nothing was said of it"


def test_the_sample_runs_as_it_is_typed(tmp_path: Path) -> None:
    """What checkers are told of is there: the sample defines everything at run time too."""
    file = tmp_path / "sample.py"
    text = SAMPLE.replace('fetched = scatter.get("plain")', "")
    calls = [e for e, _ in REVEALED if "(1)" in e and "scatter" not in e and "fetched" not in e]
    others = ["Model.klass(1)", "Above.klass(1)", "Model().prop", "Model.static.push"]
    file.write_text("\n".join([text, *calls, *others, ""]))
    done = subprocess.run(
        [sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
