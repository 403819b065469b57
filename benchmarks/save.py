"""From a saved file to the switch, with the watcher as people run it, against jurigged.

Three programs of scatter's take part: `scatter watch` and two workers that track the module whole,
of which the later one counts. jurigged runs inside one process, reads the file there and needs no
server. Both have a copy of the same plain file, and the same edit is saved for one and then for the
other; the clock starts when the editor's last system call returns. jurigged waits 50 ms for a file
to settle unless told otherwise; it is measured as it comes and, for saves in place, without that.

Not here: the app that is restarted (`reload`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import peers, reload, rules
from benchmarks.harness import Progress, Row, alone, compare
from benchmarks.lines import Program
from benchmarks.stage import MODULE, Stage, environment, stage
from benchmarks.worker import clock

SIZES = (1, 100, 300)
ROUNDS, FEW = 20, 8
WARM = 3
WORKERS = 2
MOST_S = 0.025
MISSED_S = 1.5
"""A save that is not noticed for so long is counted as missed."""
GIVES_UP = 3
"""After so many misses on end nothing more is expected."""
WAIT_S, NO_WAIT_S = 0.05, 0.0
RESTS_S = 2.0

Save = Callable[[Path, str], None]


def run(progress: Progress) -> list[Row]:
    """Measure each size and each way of saving, and then the app that is restarted."""
    rows: list[Row] = []
    cases = [(size, way, WAIT_S) for size in SIZES for way in WAYS]
    cases += [(size, "in place", NO_WAIT_S) for size in SIZES]
    for number, (size, way, wait_s) in enumerate(cases):
        progress(f"save {way}, {size} functions", number / len(cases) * 0.8)
        with stage() as scene:
            rows.append(_row(scene, size, way, wait_s))
    progress("save: an app that is restarted", 0.8)
    return rows + reload.rows()


def _row(scene: Stage, size: int, way: str, wait_s: float) -> Row:
    """Measure one way of saving a file of a size, for scatter and jurigged in turns."""
    what = f"{size} function{'s' if size > 1 else ''}, {way} → switched"
    reached: bool | None
    ours, theirs, why = _measure(scene, size, WAYS[way], wait_s)
    peer = "jurigged" if wait_s else "jurigged that does not wait"
    if not theirs:
        row = replace(alone("save", what, ours), against=f"{peer}: {why}")
        reached, goal = True, "ahead of jurigged"
    else:
        row = compare("save", what, ours, peer + (f" ({why})" if why else ""), theirs)
        assert row.floor is not None
        reached, goal = row.sample.p50 < row.floor.p50, "ahead of jurigged"
    if not wait_s:
        return replace(row, reached=None)  # of a save that is lost half of the time, no goal
    if size == max(SIZES):
        reached, goal = reached and row.sample.p50 <= MOST_S, f"p50 ≤ 25 ms, {goal}"
    if why.startswith("not to be had"):
        reached = row.sample.p50 <= MOST_S if size == max(SIZES) else None
    return replace(row, goal=goal, reached=reached)


def _measure(
    scene: Stage, size: int, save: Save, wait_s: float
) -> tuple[list[float], list[float], str]:
    """Return seconds for scatter, seconds for jurigged, and what is to be said of the latter."""
    with _tracked_whole():
        ours = Ours(scene, size)
        try:
            theirs: Jurigged | None = Jurigged(scene, size, wait_s)
        except peers.NoPeer as missing:
            theirs, why = None, f"not to be had: {missing}"
        values: tuple[list[float], list[float]] = [], []
        missed, misses_on_end = 0, 0
        for number in range(1, WARM + (ROUNDS if wait_s else FEW) + 1):
            values[0].append(ours.save(save, number))
            if theirs is None or misses_on_end >= GIVES_UP:
                continue
            took_s = theirs.save(save, number)
            theirs.rest()
            missed, misses_on_end = missed + (took_s is None), misses_on_end + 1
            if took_s is not None:
                values[1].append(took_s)
                misses_on_end = 0
    if theirs is not None:
        tried = missed + len(values[1])
        why = f"{missed} of {tried} saves never noticed" if missed else ""
    warm = WARM if len(values[1]) > WARM else 0
    return values[0][WARM:], values[1][warm:], why


@contextmanager
def _tracked_whole() -> Iterator[None]:
    """Have watcher and workers track the module whole: the file is a plain one."""
    os.environ["SCATTER_TRACK"] = MODULE
    try:
        yield
    finally:
        del os.environ["SCATTER_TRACK"]


class Ours:
    """`scatter watch` and the workers."""

    def __init__(self, scene: Stage, size: int) -> None:
        """Start them, and wait until they look at the file."""
        self._size = size
        self._file = scene.write(rules.text(size, 0))
        self._workers = [scene.agent("unix") for _ in range(WORKERS)]
        self._watcher: Program = scene.keep(watcher(scene, self._file))

    def save(self, save: Save, number: int) -> float:
        """Save the next edit; return how long it took until the last worker had it."""
        text = rules.text(self._size, number)
        save(self._file, text)
        saved = clock()
        last = max(worker.moments()["switched"] for worker in self._workers)
        self._watcher.until(" v")  # it has told of the push: the next save finds it at rest
        return last - saved


def watcher(scene: Stage, *paths: Path) -> Program:
    """Start `scatter watch` on a stage, and wait until it has looked at the files and the log."""
    program = Program(
        [sys.executable, "-m", "scatter", "watch", *paths],
        cwd=scene.folder,
        env=environment()
        | {
            "PYTHONUNBUFFERED": "1",
            "SCATTER_REDIS_URL": scene.server.url,
            "SCATTER_NAMESPACE": scene.namespace,
            "SCATTER_AUTHOR": "bench",
        },
    )
    program.until("never pushed")
    return program


class Jurigged:
    """A process with jurigged in it."""

    def __init__(self, scene: Stage, size: int, wait_s: float) -> None:
        """Start it on a copy of the file of its own.

        Raises:
            NoPeer: jurigged cannot be had here.

        """
        python = peers.python_with(peers.JURIGGED)
        self._size = size
        folder = scene.folder / "jurigged"
        folder.mkdir()
        self._file = folder / f"{MODULE}.py"
        self._file.write_text(rules.text(size, 0), "utf-8")
        name = f"rule_{rules.edited(size)}"
        script = Path(__file__).with_name("save_jurigged.py")
        command: list[str | Path] = [python, "-P", script, folder, MODULE, name, str(wait_s)]
        self._program: Program = scene.keep(Program(command, env=os.environ, cwd=folder))
        self._program.until("ready")

    def save(self, save: Save, number: int) -> float | None:
        """Save the next edit; return how long it took until it ran, None if it never did."""
        save(self._file, rules.text(self._size, number))
        saved = clock()
        while (line := self._program.line(max(0.0, saved + MISSED_S - clock()))) is not None:
            found = json.loads(line)
            if abs(found["value"] - number - 0.19) < 1e-6:
                return float(found["switched"]) - saved
        return None

    def rest(self) -> None:
        """Wait until it does nothing: it may read a file several times for one save."""
        before, until = -1.0, clock() + RESTS_S
        while before != (now := cpu_s(self._program.process.pid)) and clock() < until:
            before = now
            time.sleep(WAIT_S + 0.03)


def cpu_s(process: int) -> float:
    """Return the processor time of a process so far, in hundredths of a second."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _in_place(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")


def _rename(file: Path, text: str) -> None:
    fresh = file.with_suffix(".tmp")
    fresh.write_text(text, "utf-8")
    fresh.replace(file)


def _away_and_create(file: Path, text: str) -> None:
    file.rename(file.with_suffix(".py~"))
    file.write_text(text, "utf-8")


def _in_pieces(file: Path, text: str) -> None:
    half = len(text) // 2
    with file.open("w", encoding="utf-8") as stream:
        stream.write(text[:half])
        stream.flush()
        stream.write(text[half:])


WAYS: dict[str, Save] = {
    "in place": _in_place,
    "temp file, renamed": _rename,
    "renamed away, created": _away_and_create,
    "written in two pieces": _in_pieces,
}
