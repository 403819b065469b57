"""How costs grow: 1 to 10,000 functions, versions, and releases missed.

Each curve names how its cost should grow: not at all, or with what is listed, started or missed.
What is compared with what:

- a push of one function; what a process pays to read one release; `scatter list` and `scatter
  status`, as they run inside of a Python program;
- a process that starts: from the interpreter's first moment until it runs the newest versions,
  against the same application without scatter. It was started before: what that first start noted
  is there (the row of a first start says what it costs).
- what a release of one function costs a process that tracks many, by its own account.

Of the functions that a process tracks ten at most were released; the namespace has as many in all
as the process tracks, the others of a module that it does not have. What it takes to start with
1,000 that were all released is a row.

A log of 10,000 versions of one function is also one of 10,000 releases. Not here: many processes
(`fanout`, `report`).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from click.testing import CliRunner

from benchmarks.harness import Curve, Progress, Row, Sample, Slope, alone, compare, take_turns
from benchmarks.stage import Stage, environment, stage
from benchmarks.turns import Turns
from benchmarks.worker import clock
from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.cli.app import cli
from scatter.config import Settings
from scatter.log import Journal, LazySigner, Ledger, open_journal
from scatter.releases import Candidate, Releases
from scatter.store.redis import RedisStore

SIZES = 1, 10, 100, 1_000, 10_000
TRACKED, RELEASED = 1_000, 10
"""Functions of the process whose start has goals, and how many of them have a version."""
AT_ONCE = 1_000
ROUNDS, STARTS, LONG_ROUNDS = 15, 3, 3
LONG_START = 1_000
"""Size above which there is one start besides the one that goes on."""
RELEASES = 30
MOST_TURNS, MOST_START_S = 3, 0.150

_FUNCTION = "{mark}def f{n}(item, quantity=1):\n    return item * quantity + {stamp}\n\n\n"
_PROCESS = """
import sys, time
folder, module, *agent = sys.argv[1:]
sys.path.insert(0, folder)
if agent == ["libraries"]:
    import redis
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    agent = []
__import__(module)
if agent:
    import scatter_agent
    scatter_agent.start(agent[0], namespace=agent[1], wait=300)
ready = time.perf_counter()
if agent:
    assert scatter_agent.status().state == "ready", scatter_agent.status()
print(ready, flush=True)
for order in sys.stdin:
    print(scatter_agent.status().sequence, time.process_time(), flush=True)
"""


class App:
    """An application of some tracked functions, and the namespace that it follows."""

    def __init__(self, scene: Stage, name: str, functions: int) -> None:
        """Write it, as it is with scatter and without; nothing is released yet."""
        self.scene, self.functions = scene, functions
        self.module, self.namespace = f"scale_{name}", f"{scene.namespace}-{name}"
        self._write(self.module, self.text(0))
        self._write(f"{self.module}_plain", _text(functions, "", 0))
        self.store = scene.keep(RedisStore(scene.url("tcp"), self.namespace))
        self.journal = self.reader(signer=LazySigner())
        self.releases = Releases(self.journal, author="bench")
        self._stamp = 0

    def _write(self, module: str, text: str) -> None:
        (self.scene.folder / f"{module}.py").write_text(text, "utf-8")

    def text(self, stamp: int) -> str:
        return "import scatter\n\n\n" + _text(self.functions, "@scatter.track\n", stamp)

    def reader(self, **options: Any) -> Journal:
        """Return another reader of the log, on a connection of its own."""
        store = self.scene.keep(RedisStore(self.scene.url("tcp"), self.namespace))
        return open_journal(Settings(), store, **options)

    def candidates(self, text: str, names: Sequence[str], module: str = "") -> list[Candidate]:
        """Return bundles of functions in a text, to be pushed."""
        source = ModuleSource(text, name=module or self.module, file="app.py")
        return [Candidate(bundle=build(source, name).bundle) for name in names]

    def push_all(self, *, below: int | None = None) -> None:
        """Release each function once, or the first ones, some at a time."""
        self._push(self.module, range(self.functions if below is None else below))

    def push_most_elsewhere(self) -> None:
        """Release a few of the functions, and as many others as there are more of them.

        The others are of a module that no process has: linking them is not what is measured.
        """
        self._push(self.module, range(min(RELEASED, self.functions)))
        self._push(f"{self.module}_other", range(RELEASED, self.functions))

    def _push(self, module: str, numbers: range) -> None:
        for first in range(0, len(numbers), AT_ONCE):
            chosen = numbers[first : first + AT_ONCE]
            text = "import scatter\n\n\n" + "".join(
                _FUNCTION.format(mark="@scatter.track\n", n=n, stamp=1) for n in chosen
            )
            made = self.candidates(text, [f"f{n}" for n in chosen], module)
            self.releases.push(made, force=True)

    def next_push(self) -> Callable[[], object]:
        """Return what pushes a new version of one function: its bundle is made already."""
        self._stamp += 1
        text = "import scatter\n\n\n" + _text(1, "@scatter.track\n", 1_000_000 + self._stamp)
        made = self.candidates(text, ["f0"])
        return lambda: self.releases.push(made, force=True)

    def grow(self, versions: int) -> None:
        """Release versions of the first function until there are so many."""
        self.journal.catch_up()
        while (self.journal.ledger.sequence) < versions:
            self.next_push()()


def _text(functions: int, mark: str, stamp: int) -> str:
    return "".join(_FUNCTION.format(mark=mark, n=n, stamp=stamp) for n in range(functions))


# a process of the application ---------------------------------------------------------------------


class Process:
    """A process that was started, and when."""

    def __init__(self, app: App, *agent: str, plain: bool = False) -> None:
        """Start it."""
        self.began = clock()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _PROCESS, str(app.scene.folder)),
                *(f"{app.module}_plain" if plain else app.module, *agent),
            ],
            cwd=app.scene.folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        line = self._line()
        self.ready = float(line)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the application did not start")
        return line

    @property
    def start_s(self) -> float:
        """How long it took from the interpreter's start until it ran the newest versions."""
        return self.ready - self.began

    def ask(self) -> tuple[int, float]:
        """Return at which release it is, and the processor time that it has taken."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        sequence, cpu_s = self._line().split()
        return int(sequence), float(cpu_s)

    def wait(self, sequence: int) -> float:
        """Wait until it is at a release; return the processor time that it has taken."""
        while True:
            found, cpu_s = self.ask()
            if found >= sequence:
                return cpu_s
            time.sleep(0.002)

    def end(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(30)


def _start(app: App, *, plain: bool = False, libraries: bool = False) -> float:
    """Start a process and end it; return how long the start took."""
    agent = (app.scene.url("tcp"), app.namespace)
    without = ("libraries",) * libraries
    process = Process(app, *(without if plain else agent), plain=plain)
    process.end()
    return process.start_s


# costs --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Costs:
    """What was measured at each size, by name."""

    over: str
    samples: dict[str, list[tuple[float, Sample]]] = field(default_factory=dict)

    def add(self, name: str, size: int, values: Sequence[float]) -> None:
        self.samples.setdefault(name, []).append((size, Sample.of(values)))

    def curve(self, name: str, what: str, expected: Slope, floor: str = "") -> Curve:
        return Curve(
            benchmark="scale",
            what=what,
            over=self.over,
            points=self.samples[name],
            expected=expected,
            floor=self.samples[floor] if floor else (),
            against="the same application without scatter" if floor else "",
        )


def _timed(work: Callable[[], object]) -> float:
    began = clock()
    work()
    return clock() - began


def _push(app: App) -> list[float]:
    app.releases.functions()
    return [_timed(app.next_push()) for _ in range(ROUNDS)]


def _read_one(app: App) -> list[float]:
    """Return how long it takes to read one release that a doorbell has told of."""
    reader = app.reader()
    reader.catch_up()
    taken = []
    for _ in range(ROUNDS):
        app.next_push()()
        taken.append(_timed(lambda: reader.catch_up(rung=True)))
    return taken


def _command(app: App, *words: str) -> list[float]:
    settings = Settings(redis_url=app.scene.url("tcp"), namespace=app.namespace, author="bench")
    runner = CliRunner()

    def once() -> float:
        began = clock()
        done = runner.invoke(cli, [*words], obj=settings)
        taken = clock() - began
        if done.exit_code:
            raise RuntimeError(f"scatter {' '.join(words)} failed: {done.output[-300:]}")
        return taken

    once()
    return [once() for _ in range(LONG_ROUNDS)]


def _release_in(app: App, process: Process) -> list[float]:
    """Return the processor time that a release of one function takes of a process."""
    taken = []
    for _ in range(3):
        before = process.ask()[1]
        for _ in range(RELEASES // 3):
            app.next_push()()
            after = process.wait(app.journal.ledger.sequence)
        asking = process.ask()[1] - after
        taken.append(max(1e-6, (after - before) / (RELEASES // 3) - asking))
    return taken


def _measure(app: App, costs: Costs, size: int) -> None:
    """Measure what is measured of functions and of versions alike."""
    costs.add("push", size, _push(app))
    costs.add("catch-up", size, _read_one(app))
    _start(app)  # notes what later starts need not find out
    rounds = 1 if size > LONG_START else STARTS
    pairs = [(_start(app), _start(app, plain=True)) for _ in range(rounds)]
    process = Process(app, app.scene.url("tcp"), app.namespace)
    costs.add("start", size, [process.start_s, *(one for one, _ in pairs)])
    costs.add("plain", size, [other for _, other in pairs])
    costs.add("release", size, _release_in(app, process))
    costs.add("list", size, _command(app, "list"))
    costs.add("status", size, _command(app, "status", "--no-git"))
    process.end()


def run(progress: Progress) -> list[Row | Curve]:
    """Measure it all."""
    with stage() as scene:
        functions, versions = Costs("functions"), Costs("versions")
        missed = Costs("releases missed")
        for place, size in enumerate(SIZES):
            progress(f"scale: {size:,} functions", 0.4 * place / len(SIZES))
            app = App(scene, f"functions_{size}", size)
            app.push_most_elsewhere()
            _measure(app, functions, size)
        progress(f"scale: a start with {TRACKED:,} functions", 0.4)
        rows = _starts(scene)
        _versions(scene, versions, missed, progress)
    return [*rows, *_curves(functions, versions, missed)]


def _versions(scene: Stage, versions: Costs, missed: Costs, progress: Progress) -> None:
    app = App(scene, "versions", 1)
    before: dict[int, Ledger] = {}
    for place, size in enumerate(SIZES):
        progress(f"scale: {size:,} versions", 0.5 + 0.4 * place / len(SIZES))
        app.grow(size)
        _measure(app, versions, size)
    progress("scale: releases missed", 0.95)
    end = app.journal.ledger.sequence + max(SIZES)
    for size in reversed(SIZES):
        app.grow(end - size)
        before[size] = app.journal.ledger.believed_by(app.reader().ledger.verifier)
    app.grow(end)
    for size in SIZES:
        missed.add("catch-up", size, [_behind(app, before[size]) for _ in range(LONG_ROUNDS)])


def _behind(app: App, ledger: Ledger) -> float:
    """Return how long it takes to catch up from where a ledger was."""
    reader = app.reader()
    reader.ledger = ledger.believed_by(reader.ledger.verifier)
    reader.store.read(0, 0)  # connected
    taken = _timed(reader.catch_up)
    if reader.ledger.sequence != app.journal.ledger.sequence:
        raise RuntimeError("it did not catch up")
    return taken


def _curves(functions: Costs, versions: Costs, missed: Costs) -> list[Curve]:
    known: tuple[tuple[str, str, Slope, Slope], ...] = (
        ("push", "a push of one function", "constant", "constant"),
        ("catch-up", "reading one release", "constant", "constant"),
        ("release", "processor time of one release in a process", "constant", "constant"),
        ("list", "`scatter list`", "linear", "constant"),
        ("status", "`scatter status`", "linear", "constant"),
    )
    curves = []
    for name, what, of_functions, of_versions in known:
        curves.append(functions.curve(name, what, of_functions))
        curves.append(versions.curve(name, what, of_versions))
    return [
        *curves,
        functions.curve("start", "a process starts, and tracks them all", "linear", "plain"),
        versions.curve("start", "a process starts", "constant", "plain"),
        missed.curve("catch-up", "catching up", "linear"),
    ]


# a start of an application of 1,000 functions -----------------------------------------------------


def _starts(scene: Stage) -> list[Row]:
    app, whole = App(scene, "start", TRACKED), App(scene, "start_all", TRACKED)
    app.push_all(below=RELEASED)
    whole.push_all()
    first = _start(app)
    _start(whole)
    sides = {
        "start": lambda: _start(app),
        "plain": lambda: _start(app, plain=True),
        "libraries": lambda: _start(app, plain=True, libraries=True),
        "all": lambda: _start(whole),
    }
    taken = take_turns(sides, 2 * STARTS + 1)
    what, plain = f"a start with {TRACKED:,} tracked functions", "the application without scatter"
    row = compare("scale", f"{what}, {RELEASED} released", taken["start"], plain, taken["plain"])
    more = row.sample.p50 - Sample.of(taken["plain"]).p50
    libraries = f"{plain}, redis and cryptography imported"
    return [
        replace(row, goal=f"≤ + {MOST_START_S * 1000:.0f} ms", reached=more <= MOST_START_S),
        compare("scale", f"the same, {RELEASED} released", taken["start"], libraries,
                taken["libraries"]),
        compare("scale", f"{what}, all of them released", taken["all"], plain, taken["plain"]),
        alone("scale", f"{what}, {RELEASED} released, the first time anybody does it", [first]),
        _turns(app),
    ]  # fmt: skip


def _turns(app: App) -> Row:
    """Count the round trips of a start."""
    counter = app.scene.keep(Turns(app.scene.server.socket))
    url = f"redis://127.0.0.1:{counter.port}/0"
    counts = []
    for _ in range(STARTS):
        counter.began.clear()
        process = Process(app, url, app.namespace)
        process.end()
        counts.append(float(sum(began <= process.ready for began in counter.began)))
    sample = Sample.of(counts)
    return Row(
        benchmark="scale",
        what=f"round trips of a start with {TRACKED:,} tracked functions",
        sample=sample,
        goal=f"≤ {MOST_TURNS}",
        reached=sample.p50 <= MOST_TURNS,
        unit="",
    )
