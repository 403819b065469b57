"""Analysis, linking and the switch: the work between a saved text and the running code, no store.

Each row names what it is compared with: the parser, or the compiler, on the same text in turns.
"""

from __future__ import annotations

import ast
import importlib
import pickle
import symtable
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from benchmarks.harness import Progress, Row, alone, compare, take_turns
from scatter import apply, track_module
from scatter.analysis import ModuleSource
from scatter.apply import Wanted
from scatter.bundle import digest_of, encode
from scatter.bundle.build import build
from scatter.model import Change
from scatter.registry import REGISTRY
from scatter.workspace import Workspace

ROUNDS = 25
FUNCTIONS = 1_000
FILES = 300
LONGEST_STOP_S = 0.005
MARK = "def encode_long(x):"


def run(progress: Progress) -> list[Row]:
    """Measure each step."""
    rows = []
    for name, step in STEPS.items():
        progress(f"link {name}")
        with tempfile.TemporaryDirectory(prefix="scatter-bench-") as folder, _on_path(folder):
            rows += step(Path(folder))
    return rows


@contextmanager
def _on_path(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# the developer's side -----------------------------------------------------------------------------


def analysis(folder: Path) -> list[Row]:
    """One edited function in a module of 1,800 lines that somebody else wrote, and 300 files."""
    text = Path(pickle.__file__).read_text("utf-8")
    text = "import scatter\n" + text.replace(MARK, f"@scatter.track\n{MARK}")
    file = folder / "edited.py"
    file.write_text(text)
    for number in range(FILES):
        (folder / f"other_{number}.py").write_text(f"import scatter\nX = {number}\n")
    workspace = Workspace([folder])
    workspace.load()
    count = iter(range(10**6))

    def edited() -> float:
        file.write_text(text.replace("    if x == 0:\n", f"    if x == {next(count)} + 0:\n", 1))

        def look() -> None:
            found = workspace.refresh([file])
            assert (len(found.changed), found.read) == (1, 1), found

        return _timed(look)

    def floor() -> float:
        return _timed(lambda: (ast.parse(text), symtable.symtable(text, "", "exec")))

    taken = take_turns({"edit": edited, "floor": floor}, ROUNDS)
    row = compare(
        "link",
        f"a saved edit in {text.count(chr(10)):,} lines → what changed, of {FILES} files",
        taken["edit"],
        "ast.parse and symtable of the text",
        taken["floor"],
        by_least=True,
    )
    return [_goal(row, "≤ 40 ms", row.sample.least <= 0.040)]


# the process's side -------------------------------------------------------------------------------


def _module(folder: Path, name: str, text: str) -> ModuleType:
    (folder / f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _wanted(text: str, name: str, *keys: str, whole: bool = False) -> list[Wanted]:
    source = ModuleSource(text, name=name, file=f"{name}.py", track_all=whole)
    wanted = []
    for key in keys or tuple(source.tracked):
        built = build(source, key)
        data = encode(built.bundle)
        change = Change(
            function=built.bundle.function,
            version=1,
            bundle=digest_of(data),
            size=len(data),
            lines=built.lines,
        )
        wanted.append(Wanted(change=change, data=data))
    return wanted


def _number(wanted: list[Wanted], number: int) -> list[Wanted]:
    from dataclasses import replace

    return [replace(one, change=replace(one.change, version=number)) for one in wanted]


ONE = """import scatter

LIMIT = 10

def helper(x):
    return x + LIMIT

@scatter.track
def f(x, y=2):
    total = 0
    for n in range(3):
        total += helper(x) * n
    if total > 5:
        total -= y
    return total

"""
FILLER = "def filler_{0}(x):\n    y = x + {0}\n    return y * 2\n\n"


def one_function(folder: Path) -> list[Row]:
    """One function of a module of 500 lines, linked and switched to, again and again."""
    text = ONE + "".join(FILLER.format(n) for n in range(122))
    _module(folder, "bench_one", text)
    numbers = iter(range(2, 10**6))
    texts = [text.replace("total > 5", f"total > {n}") for n in range(ROUNDS * 8)]
    made = [_wanted(one, "bench_one", "f")[0] for one in texts]
    source = text[text.index("@scatter") : text.index("def filler_0")]

    def link() -> float:
        wanted = _number([made[next(numbers) % len(made)]], next(numbers))

        def work() -> None:
            prepared = apply.prepare(REGISTRY, wanted)
            assert not prepared.refusals, prepared.refusals
            apply.switch(REGISTRY, prepared)

        return _timed(work)

    def switch() -> float:
        prepared = [
            apply.prepare(REGISTRY, _number([made[n]], next(numbers))).linked for n in (0, 1)
        ]
        began = time.perf_counter()
        for _ in range(100):
            REGISTRY.switch(prepared[0])
            REGISTRY.switch(prepared[1])
        return (time.perf_counter() - began) / 200

    link()
    taken = take_turns(
        {
            "link": link,
            "switch": switch,
            "floor": lambda: _timed(lambda: compile(source, "", "exec")),
        },
        ROUNDS,
    )
    lines = text.count("\n")
    row = compare(
        "link",
        f"link and switch one function of a module of {lines} lines",
        taken["link"],
        "compile() of the function",
        taken["floor"],
        by_least=True,
    )
    rows = [_goal(row, "≤ 3 ms", row.sample.p50 <= 0.003)]
    return [*rows, alone("link", "the switch itself, one function", taken["switch"], most_s=5e-6)]


def thousand(folder: Path) -> list[Row]:
    """A release of 1,000 functions, while another thread calls."""
    one = "def f{0}(x):\n    return g(x) + {0} - {1}\n\n\n"
    texts = [
        "def g(x):\n    return x\n\n\n" + "".join(one.format(n, m) for n in range(FUNCTIONS))
        for m in range(6)
    ]
    module = _module(folder, "bench_many", texts[0])
    track_module(module)
    made = [_wanted(text, "bench_many", whole=True) for text in texts]
    work, stops, idle = list[float](), list[float](), list[float]()
    for number, wanted in enumerate(made[1:], start=1):
        with _caller(module.g) as quiet:
            time.sleep(0.3)
        idle.append(quiet())
        with _caller(module.g) as busy:
            began = time.thread_time()
            prepared = apply.prepare(REGISTRY, _number(wanted, number))
            assert not prepared.refusals, prepared.refusals[:1]
            apply.switch(REGISTRY, prepared)
            work.append(time.thread_time() - began)
        stops.append(busy())
    module.f7(1)
    rows = [alone("link", f"a release of {FUNCTIONS:,} functions: work in the background", work)]
    row = compare(
        "link",
        "longest stop of a calling thread meanwhile",
        stops,
        "the same thread beside a sleeping one",
        idle,
    )
    return [
        _goal(rows[0], "≤ 1.5 s", rows[0].sample.p50 <= 1.5),
        _goal(
            row,
            "≤ 5 ms over the interpreter's own 5 ms of a turn",
            row.sample.p50 <= sys.getswitchinterval() + LONGEST_STOP_S,
        ),
    ]


@contextmanager
def _caller(function: Callable[[int], object]) -> Iterator[Callable[[], float]]:
    """Call a function all the time in a thread; yield what tells the longest pause."""
    longest = 0.0
    ended = threading.Event()

    def work() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not ended.is_set():
            function(1)
            now = time.perf_counter()
            longest = max(longest, now - last)
            last = now

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: longest
    finally:
        ended.set()
        thread.join()


def _goal(row: Row, goal: str, reached: bool) -> Row:
    from dataclasses import replace

    return replace(row, goal=goal, reached=reached)


STEPS = {"analysis": analysis, "one function": one_function, "1,000 functions": thousand}
