"""What a call of a tracked function costs, against the same function untracked.

Each measured function is made by executing its own `def`, so that both sides start equal; every
side has a loop of its own, since CPython specialises call sites. Other Pythons found on PATH are
measured too: tracking and linking need nothing but the standard library.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.harness import Progress, Row, Side, compare, row_of, take_turns

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
ROUNDS, CALLS = 60, 20_000

PLAIN = """
{track}
def trivial(x): return x
{track}
def defaults(x, y=1): return x
{track}
def helped(x): return x or helper(x)
{track}
async def waits(x): return x
{track}
def gives(x): yield x
class Model:
    {track}
    def method(self, x): return x
def helper(x): return x
"""
EDITS = {
    "trivial": ("def trivial(x): return x", "def trivial(x): return +x"),
    "defaults": ("y=1): return x", "y=2): return +x"),
    "helped": ("def helper(x): return x", "def helper(x): return x + 1"),
    "waits": ("async def waits(x): return x", "async def waits(x): return +x"),
    "gives": ("yield x", "yield +x"),
    "method": ("def method(self, x): return x", "def method(self, x): return +x"),
}
LOOPS = {
    "trivial": "f(1)",
    "defaults": "f(1)",
    "helped": "f(1)",
    "method": "f(1)",
    "waits": "next(f(1).__await__(), None)",
    "gives": "next(f(1))",
}
TITLES = {
    "trivial": "same defaults",
    "defaults": "changed defaults",
    "helped": "private helper",
    "method": "method",
    "waits": "async, awaited",
    "gives": "generator, first item",
}


def run(progress: Progress) -> list[Row]:
    """Measure in this Python, and in the others that there are."""
    rows: list[Row] = []
    for version in PYTHONS:
        python = _python(version)
        if python is None:
            continue
        progress(f"call on {version}")
        done = subprocess.run(
            [python, "-m", "benchmarks.call"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
        rows += [row_of(fields) for fields in json.loads(done.stdout)]
    return rows


def _python(version: str) -> str | None:
    if version == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    found = shutil.which(f"python{version}")
    works = (
        found and subprocess.run([found, "-V"], check=False, capture_output=True).returncode == 0
    )
    return found if works else None  # a launcher of a version manager may have nothing to launch


def measure() -> list[Row]:
    """Measure every sort of function before and after a switch."""
    is_313 = sys.version_info >= (3, 13)
    direct = 1.6 if is_313 else 1.05
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plain = _module(Path(folder), "bench_plain", PLAIN.format(track=""))
        edited = PLAIN.format(track="")
        for old, new in EDITS.values():
            edited = edited.replace(old, new)
        plain_new = _module(Path(folder), "bench_plain_new", edited)
        text = "import scatter\n" + PLAIN.format(track="@scatter.track")
        for name in LOOPS:
            tracked = _module(Path(folder), f"bench_{name}", text)
            before = take_turns(_sides(name, plain, tracked), ROUNDS)
            rows.append(_row(f"{TITLES[name]}: tracked, before a switch", before, 1.02))
            _switch(tracked, text, name)
            after = take_turns(_sides(name, plain_new, tracked), ROUNDS)
            most = 2.7 if name == "helped" else direct
            rows.append(_row(f"{TITLES[name]}: after a switch", after, most))
    return rows


def _row(what: str, measured: dict[str, list[float]], most: float) -> Row:
    return compare(
        "call", what, measured["tracked"], "plain", measured["plain"], most=most, by_least=True
    )


def _sides(name: str, plain: ModuleType, tracked: ModuleType) -> dict[str, Side]:
    return {
        "plain": _loop(LOOPS[name], _pick(plain, name)),
        "tracked": _loop(LOOPS[name], _pick(tracked, name)),
    }


def _pick(module: ModuleType, name: str) -> Any:
    return getattr(module.Model(), name) if name == "method" else getattr(module, name)


def _loop(statement: str, function: Any) -> Side:
    """Return a loop of its own over one function; its time is that of one turn."""
    text = f"def loop(f, turns, clock):\n began = clock()\n for _ in turns: {statement}\n"
    scope: dict[str, Any] = {}
    exec(text + " return clock() - began\n", scope)
    loop = scope["loop"]
    turns = [None] * CALLS
    return lambda: float(loop(function, turns, time.perf_counter)) / CALLS


def _module(folder: Path, name: str, text: str) -> ModuleType:
    file = folder / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _switch(module: ModuleType, text: str, name: str) -> None:
    """Push an edit of one function the whole way, but for the store."""
    from scatter import apply
    from scatter.analysis import ModuleSource
    from scatter.apply import Wanted
    from scatter.bundle import digest_of, encode
    from scatter.bundle.build import build
    from scatter.model import Change
    from scatter.registry import REGISTRY

    old, new = EDITS[name]
    assert old in text
    source = ModuleSource(text.replace(old, new), name=module.__name__)
    qualname = "Model.method" if name == "method" else name
    bundle = build(source, qualname).bundle
    data = encode(bundle)
    change = Change(function=bundle.function, version=1, bundle=digest_of(data), size=len(data))
    prepared = apply.prepare(REGISTRY, [Wanted(change=change, data=data)])
    assert not prepared.refusals, prepared.refusals
    apply.switch(REGISTRY, prepared)


if __name__ == "__main__":
    print(json.dumps([row.fields() for row in measure()]))
