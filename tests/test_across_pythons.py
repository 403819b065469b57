"""Bundles made by one Python and run by another: from source, the same bytes and the same results.

The Pythons are those of the supported versions that this machine has; the tests need two.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

import scatter

TESTS = Path(__file__).parent
PACKAGES = os.pathsep.join(
    {str(Path(str(module.__file__)).parent.parent) for module in (scatter, structlog)}
)
"""Where scatter is, and the site-packages of this run: all that linking needs is pure Python."""
VERSIONS = ("3.11", "3.12", "3.13")
WORD, NEW_WORD = "deployed", "pushed"
CHILD = r"""
import base64, contextlib, importlib, json, os, sys

def show(value):
    if isinstance(value, BaseException):
        return f"{type(value).__qualname__}: {value}"
    return repr(value)

def make(texts):
    "Build the bundles of the tracked functions of `shapes`, with what they use of other modules."
    from scatter.analysis import ModuleSource
    from scatter.bundle import encode
    from scatter.bundle.build import build

    sources = {n: ModuleSource(text, name=n, file=f"{n}.py") for n, text in texts.items()}
    source = sources["shapes"]
    built = [build(source, name, find=sources.get) for name in source.tracked]
    return [
        [b.bundle.function, base64.b64encode(encode(b.bundle)).decode(), list(b.lines), b.file]
        for b in built
    ]

def call(scope, calls):
    results = {}
    for name, expression in calls.items():
        try:
            results[name] = show(eval(expression, scope))
        except Exception as error:
            results[name] = show(error)
    return results

def wanted(function, data, lines, file):
    from scatter.apply import Wanted
    from scatter.bundle import digest_of
    from scatter.model import Change

    data = base64.b64decode(data)
    change = Change(function=function, version=1, bundle=digest_of(data), size=len(data),
                    created=True, lines=tuple(lines), file=file)
    return Wanted(change=change, data=data)

def run(folder, bundles, calls):
    "Import the deployed module, switch to bundles, and call its functions."
    from scatter import apply
    from scatter.registry import REGISTRY

    sys.path.insert(0, folder)
    module = importlib.import_module("shapes")
    codes = {name: slot.function.__code__ for name, slot in REGISTRY.slots().items()}
    names = {name: id(value) for name, value in vars(module).items()}
    audited = []
    sys.addaudithook(lambda event, args: audited.append(event))
    prepared = apply.prepare(REGISTRY, [wanted(*bundle) for bundle in bundles])
    unpickled = "pickle.find_class" in audited
    refusals = [[r.function, r.reason, r.message] for r in prepared.refusals]
    if not refusals:
        apply.switch(REGISTRY, prepared)
    changed = [n for n, s in REGISTRY.slots().items() if codes.get(n) is not s.function.__code__]
    changed += [n for n, v in vars(module).items() if names.get(n) != id(v)]
    scope = {"fetched": {n: s.function for n, s in REGISTRY.slots().items()}, **vars(module)}
    return {"refusals": refusals, "changed": changed, "unpickled": unpickled,
            "results": call(scope, calls)}

def fresh(folder, calls):
    "Import a module that scatter never touches, and call its functions."
    sys.path.insert(0, folder)
    return call(vars(importlib.import_module("shapes")), calls)

def capture(code, name):
    "Capture a function of a session: its values go as pickles."
    from scatter.bundle import encode
    from scatter.bundle.capture import capture as captured

    scope = vars(sys.modules["__main__"])
    exec(code, scope)
    built = captured(scope[name], name, tracked_name=lambda _: None)
    data = base64.b64encode(encode(built.bundle)).decode()
    return [name, data, list(built.lines), built.file]

verb, arguments = json.load(sys.stdin)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
json.dump(globals()[verb](*arguments), answers)
answers.close()
"""


@functools.cache
def pythons() -> Mapping[str, str]:
    """Return version → interpreter of each supported Python that can be found here."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = {here: sys.executable}
    for version in VERSIONS:
        pyenv = Path(os.environ.get("PYENV_ROOT", Path("~/.pyenv").expanduser())) / "versions"
        named = shutil.which(f"python{version}")
        installed = sorted(pyenv.glob(f"{version}.*/bin/python"))
        for candidate in [*filter(None, [named]), *map(str, installed)]:
            if version not in found and _version_of(candidate) == version:
                found[version] = candidate
    return dict(sorted(found.items()))


def _version_of(python: str) -> str:
    """Return the version that an interpreter says it is; pyenv has names for what it lacks."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def ask(python: str, verb: str, *arguments: object) -> Any:
    """Let a process of some Python do one thing, with scatter and what it needs as in this run."""
    child = subprocess.run(
        [pythons()[python], "-W", "error", "-c", CHILD],
        input=json.dumps([verb, arguments]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": PACKAGES},
    )
    assert child.returncode == 0, f"Python {python}: {child.stderr}"
    return json.loads(child.stdout)


def pairs(*, same: bool = True) -> list[Any]:
    """Return parameters for every (maker, runner), with the reason to skip where there is none."""
    found = [(a, b) for a, b in itertools.product(VERSIONS, VERSIONS) if same or a != b]
    return [pytest.param(a, b, id=f"{a} to {b}") for a, b in found]


@pytest.fixture(autouse=True)
def _several_pythons(request: pytest.FixtureRequest) -> None:
    if len(pythons()) < 2:
        pytest.skip(f"only Python {', '.join(pythons())} is installed here")
    asked = [request.getfixturevalue(n) for n in ("maker", "runner") if n in request.fixturenames]
    missing = [version for version in asked if version not in pythons()]
    if missing:
        pytest.skip(f"Python {' and '.join(missing)} is not installed here")


TOOLS = """
EDITION = "deployed"


def polish(text):
    return f"{text.strip()} {EDITION}"


def later(text):
    return polish(text).title(), "deployed"
"""
DEPLOYED = {"shapes": (TESTS / "shapes.py").read_text(), "shapes_tools": TOOLS}
PUSHED = {name: text.replace(WORD, NEW_WORD) for name, text in DEPLOYED.items()}


def _calls() -> dict[str, str]:
    text = DEPLOYED["shapes"]
    scope: dict[str, Any] = {}
    exec(text[text.index("CALLS = {") :], scope)
    calls: dict[str, str] = scope["CALLS"]
    return calls


CALLS = _calls()


@functools.cache
def bundles_of(python: str) -> list[list[Any]]:
    """Return the bundles of all shapes, as one Python makes them."""
    made: list[list[Any]] = ask(python, "make", PUSHED)
    return made


@functools.cache
def edited_results(python: str) -> dict[str, str]:
    """Return what the edited module does in a process that imports it."""
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, str] = ask(python, "fresh", write(Path(folder), PUSHED), CALLS)
    return results


@pytest.fixture
def deployed(tmp_path: Path) -> str:
    """A directory with the modules as they were deployed."""
    return write(tmp_path / "deployed", DEPLOYED)


def write(folder: Path, texts: Mapping[str, str]) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return str(folder)


# from source -----------------------------------------------------------------------------------


def test_every_shape_is_called_and_shows_which_edition_runs() -> None:
    python = next(iter(pythons()))
    names = {name.rpartition(":")[2] for name, *_ in bundles_of(python)}
    assert names == {"renamed" if name == "named_otherwise" else name for name in CALLS}
    silent = [name for name, result in edited_results(python).items() if NEW_WORD not in result]
    assert silent == []


def test_bundles_are_the_same_bytes_whichever_python_made_them() -> None:
    first, *others = [bundles_of(python) for python in pythons()]
    for other in others:
        assert other == first


@pytest.mark.parametrize(("maker", "runner"), pairs())
def test_shapes_made_by_one_python_do_the_same_on_another(
    maker: str, runner: str, deployed: str
) -> None:
    ran = ask(runner, "run", deployed, bundles_of(maker), CALLS)
    assert ran["refusals"] == []
    assert ran["results"] == edited_results(runner)


# syntax that only newer Pythons have -----------------------------------------------------------

NEWER = {
    "parameters": ("", "def parameters[T](x: T) -> T: return x, 'new'", "(1, 'new')"),
    "alias": ("type Pair = tuple[int, int]", "def alias(x): return str(Pair), x", "('Pair', 1)"),
    "quotes": ("", """def quotes(x): return f"{", ".join(["a", f"{x}"])}" """, "'a, 1'"),
    "generic_helper": (
        "def first[T](xs: list[T]) -> T: return xs[0]",
        "def generic_helper(x): return first([x, 2]), 'new'",
        "(1, 'new')",
    ),
    "generic_class": (
        "class Box[T]:\n    def get(self, x: T) -> T: return x",
        "def generic_class(x): return Box().get(x), 'new'",
        "(1, 'new')",
    ),
}
"""Function → what stands before it, its definition in newer syntax, and what `function(1)` is."""
FUNCTIONS = {
    "older": ("", "def older(x): return x, 'new'", "(1, 'new')"),
    **NEWER,
}
CALL_EACH = {name: f"{name}(1)" for name in FUNCTIONS}
OLD = "import scatter\n" + "".join(
    f"\n\n@scatter.track\ndef {name}(x): return x, 'old'\n" for name in FUNCTIONS
)
NEW = "import scatter\n" + "".join(
    f"\n\n{head}\n\n\n@scatter.track\n{function}\n" for head, function, _ in FUNCTIONS.values()
)


@functools.cache
def newer_bundles(python: str) -> list[list[Any]]:
    made: list[list[Any]] = ask(python, "make", {"shapes": NEW})
    return made


@pytest.fixture
def old(tmp_path: Path) -> str:
    return write(tmp_path / "old", {"shapes": OLD})


@pytest.mark.parametrize("name", NEWER)
@pytest.mark.parametrize(("maker", "runner"), [("3.12", "3.11"), ("3.13", "3.11")])
def test_syntax_that_this_python_lacks_is_refused_and_changes_nothing(
    name: str, maker: str, runner: str, old: str
) -> None:
    bundles = [bundle for bundle in newer_bundles(maker) if bundle[0] == f"shapes:{name}"]
    ran = ask(runner, "run", old, bundles, CALL_EACH)
    ((function, reason, message),) = ran["refusals"]
    assert (function, reason) == (f"shapes:{name}", "bad-source")
    assert f"This Python cannot compile `shapes:{name}`" in message
    assert "It may need a newer Python than this process has." in message
    assert ran["changed"] == []
    assert set(ran["results"].values()) == {"(1, 'old')"}


@pytest.mark.parametrize(("maker", "runner"), [("3.12", "3.11"), ("3.13", "3.11")])
def test_a_function_without_newer_syntax_runs_though_its_module_has_some(
    maker: str, runner: str, old: str
) -> None:
    bundles = [bundle for bundle in newer_bundles(maker) if bundle[0] == "shapes:older"]
    ran = ask(runner, "run", old, bundles, CALL_EACH)
    assert ran["refusals"] == []
    assert ran["results"]["older"] == "(1, 'new')"


@pytest.mark.parametrize(("maker", "runner"), [("3.12", "3.13"), ("3.13", "3.12")])
def test_newer_syntax_runs_where_it_is_known(maker: str, runner: str, old: str) -> None:
    ran = ask(runner, "run", old, newer_bundles(maker), CALL_EACH)
    assert ran["refusals"] == []
    assert ran["results"] == {name: result for name, (_, _, result) in FUNCTIONS.items()}


def test_newer_syntax_gives_the_same_bytes_on_each_python_that_knows_it() -> None:
    first, *others = [newer_bundles(python) for python in pythons() if python != "3.11"]
    for other in others:
        assert other == first


# captured values -------------------------------------------------------------------------------

TRAP = """
import os
class Trap:
    "Unpickling it leaves a trace, once."
    def __reduce__(self):
        return os.makedirs, (TRACE, 0o700, True)
"""
CAPTURED = {
    "with_values": f"""{TRAP}
trap, values = Trap(), {{1, 2, 3}}
def with_values(x):
    return sorted(values)[x], trap is None
""",
    "with_cells": f"""{TRAP}
def make(trap, values):
    def with_cells(x):
        return sorted(values)[x], trap is None
    return with_cells
with_cells = make(Trap(), {{1, 2, 3}})
""",
}
"""Function → a cell of a session that defines it."""


@functools.cache
def captured(python: str, trace: str) -> list[list[Any]]:
    """Return the bundles of functions whose values one Python pickled."""
    return [
        ask(python, "capture", code.replace("TRACE", repr(trace)), name)
        for name, code in CAPTURED.items()
    ]


@pytest.fixture
def trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that unpickling makes; one path for all tests, since it is in the pickles."""
    path = tmp_path_factory.getbasetemp() / "trace"
    yield path
    if path.exists():
        path.rmdir()


@pytest.mark.parametrize(("maker", "runner"), pairs(same=False))
def test_captured_values_of_another_python_are_refused_before_they_are_loaded(
    maker: str, runner: str, trace: Path, deployed: str
) -> None:
    calls = {name: f"fetched.get({name!r})" for name in CAPTURED}
    ran = ask(runner, "run", deployed, captured(maker, str(trace)), calls)
    made, here = (f"cpython-{version.replace('.', '')}" for version in (maker, runner))
    assert {function: reason for function, reason, _ in ran["refusals"]} == dict.fromkeys(
        CAPTURED, "wrong-python"
    )
    for name, _, message in ran["refusals"]:
        assert f"`{name}` carries captured values of {made}; this process is {here}." in message
        assert "Push it from a file, or from the same Python version." in message
    assert not ran["unpickled"]
    assert not trace.exists()
    assert ran["changed"] == []
    assert ran["results"] == dict.fromkeys(CAPTURED, "None")


@pytest.mark.parametrize("runner", VERSIONS)
def test_captured_values_are_loaded_by_the_python_that_made_them(
    runner: str, trace: Path, deployed: str
) -> None:
    calls = {name: f"fetched[{name!r}](1)" for name in CAPTURED}
    ran = ask(runner, "run", deployed, captured(runner, str(trace)), calls)
    assert ran["refusals"] == []
    assert ran["unpickled"]
    assert trace.exists()
    assert set(ran["results"].values()) == {"(2, True)"}
