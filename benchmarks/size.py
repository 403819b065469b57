"""Bytes on the wire: what a push sends, and what it brings to each worker.

Real functions, of a copy of a module of the standard library as the application's own: each is
tracked, edited and pushed several times. Every byte between the server and a worker, and between
the server and who pushes, goes through a proxy that counts it (`wire`). A version carries the
helpers of its project that it may need, and so does a pickle by value: `source` is the text of
all that was pushed, compressed by zlib at its best.

Against it: that compressed text alone, a pickle by value of the same function, and scatter 0.1.4 of
PyPI, whose own push and update go through the same proxies (`size_peer`).
"""

from __future__ import annotations

import ast
import importlib.util
import re
import statistics
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from benchmarks import peers
from benchmarks.harness import Curve, Progress, Row, Sample, compare
from benchmarks.stage import MODULE, Stage, stage
from benchmarks.units import show
from benchmarks.wire import Wire, values
from scatter.analysis import ModuleSource
from scatter.bundle import Bundle, encode
from scatter.bundle.build import build
from scatter.log.envelope import open_
from scatter.releases import Candidate

FUNCTIONS = (
    "colorsys:rgb_to_hls",
    "textwrap:indent",
    "base64:b85decode",
    "shutil:which",
    "pickletools:dis",
    "timeit:main",
    "shutil:move",
)
"""With their helpers 0.5 to 22 kB of source."""
BROKEN_DOWN = "shutil:which"
PUSHES = 7
MOST_RATIO, MOST_MORE = 1.3, 700
GOAL = f"≤ {MOST_RATIO:g}× + {MOST_MORE} B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What went over the wires for one push, in bytes.

    Attributes:
        pushed: Between the server and who pushed, both ways.
        received: From the server to the worker.
        sent: From the worker to the server: what it asks, and what it reports.
        parts: What was received, by what it is.

    """

    pushed: int
    received: int
    sent: int
    parts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One function.

    Attributes:
        name: Which.
        source: Bytes of source in each push; `compressed`: the same, compressed.
        ours: What scatter's pushes took.
        theirs: What those of the old one took; or why there are none.
        pickled: Bytes of each version pickled by value; or why it cannot be.

    """

    name: str
    source: list[int]
    compressed: list[int]
    ours: list[Passed]
    theirs: list[Passed] | str
    pickled: list[int] | str


def run(progress: Progress) -> list[Row | Curve]:
    """Measure all functions."""
    found = []
    for number, name in enumerate(FUNCTIONS):
        progress(f"bytes of {name}", number / len(FUNCTIONS))
        found.append(_measure(name))
    rows = [row for one in found for row in _rows(one)]
    broken = next(one for one in found if one.name == BROKEN_DOWN)
    return [*rows, *_parts(broken), _curve(found)]


def _measure(name: str) -> Measured:
    module, _, function = name.partition(":")
    text = Path(importlib.util.find_spec(module).origin or "").read_text("utf-8")  # type: ignore[union-attr]
    texts = [_edited(text, function, number) for number in range(PUSHES + 1)]
    with stage() as scene:
        bundles, ours = _ours(scene, texts, function)
    sources = ["\n".join(_sources(bundle)).encode() for bundle in bundles]
    return Measured(
        name=name,
        source=[len(source) for source in sources],
        compressed=[len(zlib.compress(source, 9)) for source in sources],
        ours=ours,
        theirs=_theirs(texts, function),
        pickled=_pickled(texts[1:], function),
    )


def _edited(text: str, function: str, number: int) -> str:
    """Return a module with a statement more in a function, behind its docstring."""
    node = next(
        n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function
    )
    first = node.body[bool(ast.get_docstring(node))]
    lines = text.splitlines(keepends=True)
    lines.insert(first.lineno - 1, f"{' ' * first.col_offset}edited = {number}\n")
    return "".join(lines)


def _sources(bundle: Bundle) -> list[str]:
    return [
        bundle.source,
        *(i.source for p in bundle.parts for i in p.items if i.kind != "tracked"),
    ]


def _ours(scene: Stage, texts: Sequence[str], function: str) -> tuple[list[Bundle], list[Passed]]:
    """Push each text; the first only warms the connections up."""
    scene.write(_tracked(texts[0], function))
    near, far = (scene.keep(Wire(scene.server.port)) for _ in range(2))
    worker = scene.agent(url=far.url)
    releases = scene.client(near.url).releases
    bundles, passed = [], []
    for number, text in enumerate(texts):
        built = build(ModuleSource(_tracked(text, function), name=MODULE), function)
        candidate = Candidate(bundle=built.bundle, seen=number, lines=built.lines, file=built.file)
        near.clear()
        far.clear()
        releases.push([candidate])
        worker.moments()
        passed.append(_passed(near, far, len(encode(built.bundle))))
        bundles.append(built.bundle)
    return bundles[1:], passed[1:]


def _tracked(text: str, function: str) -> str:
    head = f"\ndef {function}("
    assert text.count(head) == 1, function
    return text.replace(head, f"\nimport scatter\n@scatter.track{head}")


def _passed(near: Wire, far: Wire, bundle: int = 0) -> Passed:
    sent, received = far.passed()
    bells = sum(len(value) for value in values(received) if value[:1] == b">")
    entries = [
        received[e.end() :][: int(e[1])] for e in re.finditer(rb"\$(\d+)\r\n(?=SCE1)", received)
    ]
    opened = [open_(entry) for entry in entries]
    parts = {
        "the bundle": bundle,
        "the statement of the release": sum(len(statement) for statement, _ in opened),
        "its signature": sum(len(one) for _, signatures in opened for one in signatures),
        "the doorbell": bells,
    }
    rest = len(received) - sum(parts.values())
    return Passed(
        pushed=sum(map(len, near.passed())),
        received=len(received),
        sent=len(sent),
        parts=parts | {"keys, lengths, answers to its report": rest},
    )


def _theirs(texts: Sequence[str], function: str) -> list[Passed] | str:
    """Push each text with scatter 0.1.4, to a process that follows."""
    try:
        python = peers.python_with(peers.SCATTER, peers.CLOUDPICKLE, peers.REDIS)
    except peers.NoPeer as missing:
        return f"not here, {missing}"
    with stage() as scene:
        near, far = (scene.keep(Wire(scene.server.port)) for _ in range(2))
        pusher = scene.keep(_Talker(python, "push", near.url, function))
        passed = []
        for number, text in enumerate(texts):
            file = scene.folder / f"theirs_{number}.py"
            file.write_text(text, "utf-8")
            near.clear()
            if (said := pusher.ask(str(file))) != "pushed":
                return said
            if not number:
                worker = scene.keep(_Talker(python, "follow", far.url, function))
                worker.line()
                far.clear()
                continue
            worker.line()
            passed.append(_passed(near, far))
            far.clear()
    return passed


class _Talker:
    """A process with scatter 0.1.4; `size_peer` says what it does."""

    def __init__(self, python: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [str(python), "-P", str(Path(__file__).with_name("size_peer.py")), *arguments],
            env=peers.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, text: str) -> str:
        """Send a line; return the line that comes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        return self.line()

    def line(self) -> str:
        """Return its next line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def _pickled(texts: Sequence[str], function: str) -> list[int] | str:
    """Return the size of each version as cloudpickle makes it by value."""
    import cloudpickle

    sizes = []
    for text in texts:
        module = ModuleType("bench_pickled")
        exec(compile(text, "<bench_pickled>", "exec"), module.__dict__)
        sys.modules[module.__name__] = module
        cloudpickle.register_pickle_by_value(module)
        try:
            sizes.append(len(cloudpickle.dumps(getattr(module, function))))
        except Exception as error:  # whatever a global of the module's raises
            return f"cannot be pickled: {type(error).__name__}: {error}"
        finally:
            cloudpickle.unregister_pickle_by_value(module)
            del sys.modules[module.__name__]
    return sizes


def _rows(one: Measured) -> list[Row]:
    def row(
        what: str, values: Sequence[int], against: str, floor: Sequence[int] | str, most: float = 1
    ) -> Row:
        if isinstance(floor, str):
            sample = Sample.of(values)
            return Row(
                benchmark="size", what=what, sample=sample, against=f"{against}: {floor}", unit="B"
            )
        return replace(compare("size", what, values, against, floor, most=most), unit="B")

    received, pushed = [p.received for p in one.ours], [p.pushed for p in one.ours]
    name = f"{one.name}, {show(statistics.median(one.source), 'B')} of source"
    to_worker, to_server = f"{name}: to a worker", f"{name}: a push"
    theirs = one.theirs
    ends = [
        t if isinstance(t, str) else [getattr(p, k) for p in t]
        for k, t in (("received", theirs), ("pushed", theirs))
    ]
    least = row(to_worker, received, "that source, zlib", one.compressed)
    most = MOST_RATIO * statistics.median(one.compressed) + MOST_MORE
    return [
        replace(least, goal=GOAL, reached=least.sample.p50 <= most),
        row(to_worker, received, "cloudpickle by value", one.pickled),
        row(to_worker, received, "scatter 0.1.4", ends[0]),
        row(to_server, pushed, "scatter 0.1.4", ends[1]),
    ]


def _parts(one: Measured) -> list[Row]:
    """Return what a worker receives, part by part, and what it sends."""
    received = [passed.received for passed in one.ours]
    parts = {name: [passed.parts[name] for passed in one.ours] for name in one.ours[0].parts}
    rows = [
        compare(
            "size", f"{one.name}, to a worker: {name}", values, "all that it receives", received
        )
        for name, values in parts.items()
    ]
    sent = compare(
        "size",
        f"{one.name}, from a worker: questions and its report",
        [p.sent for p in one.ours],
        "all that it receives",
        received,
    )
    return [replace(row, unit="B") for row in (*rows, sent)]


def _curve(found: Sequence[Measured]) -> Curve:
    """Return bytes to a worker over bytes of source."""
    ordered = sorted(found, key=lambda one: statistics.median(one.source))
    at = [statistics.median(one.source) for one in ordered]
    return Curve(
        benchmark="size",
        what="bytes to a worker",
        over="bytes of source",
        points=[
            (x, Sample.of([p.received for p in one.ours]))
            for x, one in zip(at, ordered, strict=True)
        ],
        expected="linear",
        floor=[(x, Sample.of(one.compressed)) for x, one in zip(at, ordered, strict=True)],
        against="that source, zlib",
        unit="B",
    )
