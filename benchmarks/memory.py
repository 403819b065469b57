"""Memory: of the imports, of an agent, of a tracked function, of a version that is kept.

What is read is the resident memory of whole processes, from outside, so every figure is a
difference between processes, or between two moments of one. Modules are compiled beforehand, as in
a container image: compiling leaves memory behind that nobody needs any more.

A slot keeps `scatter.slot.KEPT` versions and the deployed code. So memory may grow with the first
versions of a function that a process switches to, and not with those that follow: the curve over
versions begins where all that is kept is there.

Not here: how long imports take (`imports`); an agent that has been idle for a while, beside a
process that has redis-py and cryptography imported (`idle`).
"""

from __future__ import annotations

import os
import py_compile
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import peers
from benchmarks.harness import Curve, Progress, Row, Sample, Side, compare, take_turns
from benchmarks.stage import MODULE, Stage, environment, stage
from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.releases import Candidate
from scatter.slot import KEPT

ROUNDS, SLOPE_ROUNDS = 7, 3
FUNCTIONS = (0, 500, 1_500, 5_000)
SWITCHED, TURNS = 150, 28
"""How many functions are switched at once, and how often."""
MOST_LEFT = 0.05
"""Largest share of a kept version that may be left of one that is kept no more."""

_FUNCTION = '''
{mark}def function_{n}(items, rate={stamp}):
    """Return what the items cost, with the rate added to each that is taxed."""
    total = 0
    for item in items:
        if item.taxed and not item.returned:
            total += item.price * (100 + rate + {stamp}) // 100
        elif not item.returned:
            total += item.price
    return total
'''
_THEIRS = "import scatter 0.1.4"
_SITS = "\nimport gc, sys\ngc.collect()\nprint('ready', flush=True)\nsys.stdin.read()"
_AGENT = """
import scatter_agent
scatter_agent.start({url!r}, namespace={namespace!r}, application="bench", wait=60)
assert scatter_agent.status().state == "ready", scatter_agent.status()
"""
_FOLLOWS = """
import gc
import scatter_agent
import {module}
def switched(_):
    gc.collect()
    print("switched", flush=True)
where = dict(namespace={namespace!r}, application="bench")
scatter_agent.start({url!r}, **where, wait=60, on_switch=switched)
"""


def run(progress: Progress) -> list[Row | Curve]:
    """Measure imports, then functions, then versions."""
    progress("memory of imports", 0)
    found: list[Row | Curve] = [*_imports()]
    progress("memory of tracked functions", 0.2)
    found += _functions()
    progress(f"memory of {SWITCHED * TURNS:,} versions", 0.7)
    return [*found, *_versions()]


class _Process:
    """A process that sits there once it has done its work."""

    def __init__(self, code: str, folder: Path, python: str = sys.executable) -> None:
        is_own = python == sys.executable
        self._process = subprocess.Popen(
            [python, "-P", "-c", code],
            env=environment(folder) if is_own else peers.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """Return its next line.

        Raises:
            RuntimeError: It ended.

        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("a process ended; its message is above")
        return line

    def resident(self) -> float:
        """Return its resident memory in bytes."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)


def _resident(code: str, folder: Path, python: str = sys.executable) -> float:
    process = _Process(code + _SITS, folder, python)
    process.line()
    try:
        return process.resident()
    finally:
        process.close()


def _imports() -> list[Row]:
    with stage() as scene:
        agent = _AGENT.format(url=scene.url("tcp"), namespace=scene.namespace)
        programs = {
            "pass": "pass",
            "import scatter": "import scatter",
            "import scatter_agent": "import scatter_agent",
            "an agent that runs, with no function": agent,
        }
        pythons, missing = {}, ""
        try:
            needs = peers.SCATTER, peers.CLOUDPICKLE, peers.REDIS
            pythons[_THEIRS] = str(peers.python_with(*needs))
            programs[_THEIRS] = "import scatter"
        except peers.NoPeer as found:
            missing = f"{_THEIRS}: not here, {found}"
        sides = {
            name: lambda name=name, code=code: _resident(
                code, scene.folder, pythons.get(name, sys.executable)
            )
            for name, code in programs.items()
        }
        measured = take_turns(sides, ROUNDS)
    plain = measured.pop("pass")
    added = {
        name: [v - p for v, p in zip(values, plain, strict=True)]
        for name, values in measured.items()
    }
    theirs = added.pop(_THEIRS, None)
    rows = [_over_plain(name, values, plain) for name, values in added.items()]
    own = rows[0]
    if theirs:
        rows.append(_row(own.what, added["import scatter"], _THEIRS, theirs, most=1))
    else:
        rows.append(replace(own, against=missing, floor=None, ratio=None, spread=None))
    return rows


def _over_plain(name: str, values: Sequence[float], plain: Sequence[float]) -> Row:
    return _row(f"{name}, over `python -c pass`", values, "python -c pass", plain)


def _row(
    what: str,
    values: Sequence[float],
    against: str,
    floor: Sequence[float],
    most: float | None = None,
) -> Row:
    row = compare("memory", what, values, against, floor, most=most)
    return replace(row, unit="B")


def _functions() -> list[Row | Curve]:
    """Return what functions cost: plain, tracked, and tracked under an agent."""
    found: dict[str, dict[int, list[float]]] = {}
    with stage() as scene:
        for count in FUNCTIONS:
            for name, values in take_turns(_sides(scene, count), SLOPE_ROUNDS).items():
                found.setdefault(name, {})[count] = values
    plain = found.pop("plain")
    rows: list[Row | Curve] = []
    for name, sizes in found.items():
        rows.append(_row(f"a function, {name}", _slopes(sizes), "plain", _slopes(plain)))
        rows.append(
            Curve(
                benchmark="memory",
                what=f"memory of functions, {name}",
                over="functions",
                points=_points(sizes),
                expected="linear",
                floor=_points(plain),
                against="plain",
                unit="B",
            )
        )
    return rows


def _sides(scene: Stage, count: int) -> dict[str, Side]:
    agent = _AGENT.format(url=scene.url("tcp"), namespace=f"{scene.namespace}-{count}")
    codes = {}
    for name, mark in (("plain", ""), ("tracked", "@scatter.track\n")):
        text = "import scatter\n" + _text(mark, count)
        file = scene.folder / f"{name}_{count}.py"
        file.write_text(text, "utf-8")
        py_compile.compile(str(file), doraise=True)
        codes[name] = f"import {file.stem}"
    codes["tracked, under an agent"] = codes["tracked"] + agent
    _resident(codes["tracked, under an agent"], scene.folder)  # a first start analyses the source
    return {name: lambda code=code: _resident(code, scene.folder) for name, code in codes.items()}


def _text(mark: str, count: int, stamp: int = 0) -> str:
    return "".join(_FUNCTION.format(mark=mark, n=n, stamp=stamp) for n in range(count))


def _points(sizes: Mapping[int, Sequence[float]]) -> list[tuple[float, Sample]]:
    """Return what functions take over a process without any."""
    least = statistics.median(sizes[0])
    return [(n, Sample.of([value - least for value in sizes[n]])) for n in FUNCTIONS if n]


def _slopes(sizes: Mapping[int, Sequence[float]]) -> list[float]:
    """Return the bytes that one function more takes, in each round."""
    rounds = zip(*(sizes[n] for n in FUNCTIONS), strict=True)
    return [statistics.linear_regression(FUNCTIONS, values).slope for values in rounds]


def _versions() -> list[Row | Curve]:
    """Return what versions cost: those that are kept, and those that were."""
    with stage() as scene:
        text = "import scatter\n" + _text("@scatter.track\n", SWITCHED)
        py_compile.compile(str(scene.write(text)), doraise=True)
        releases = scene.client(scene.url("tcp")).releases
        code = _FOLLOWS.format(module=MODULE, url=scene.url("tcp"), namespace=scene.namespace)
        process = scene.keep(_Process(code + _SITS, scene.folder))
        process.line()
        sizes = [process.resident()]
        for turn in range(1, TURNS + 1):
            releases.push(_edits(turn))
            process.line()
            sizes.append(process.resident())
    kept = [(sizes[n + 1] - sizes[n]) / SWITCHED for n in range(1, KEPT)]
    gone = [(sizes[n + 8] - sizes[n]) / (8 * SWITCHED) for n in range(KEPT + 1, TURNS - 7, 8)]
    row = _row("a version that is kept no more", gone, "one that is kept", kept, most=MOST_LEFT)
    least = sizes[0]
    first = [(n * SWITCHED, Sample.of([sizes[n] - least])) for n in range(KEPT + 1, TURNS + 1)]
    return [
        replace(
            row,
            what="a version that is kept",
            sample=Sample.of(kept),
            against="",
            floor=None,
            ratio=None,
            spread=None,
            goal="",
            reached=None,
        ),
        row,
        Curve(
            benchmark="memory",
            what=f"memory of versions, {KEPT} of each function kept",
            over="versions",
            points=first,
            expected="constant",
            unit="B",
        ),
    ]


def _edits(stamp: int) -> list[Candidate]:
    source = ModuleSource(
        "import scatter\n" + _text("@scatter.track\n", SWITCHED, stamp), name=MODULE
    )
    made = [build(source, f"function_{n}") for n in range(SWITCHED)]
    return [Candidate(bundle=one.bundle, seen=stamp - 1, lines=one.lines) for one in made]
