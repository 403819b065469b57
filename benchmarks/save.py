"""From a saved file to the switch in two worker processes, with the watcher as people run it.

Three programs take part: `scatter watch` and two workers. The clock starts when the editor's last
system call returns. Each round edits one function of a file of 20 in one of four ways.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Progress, Row, alone
from benchmarks.stage import ROOT, Stage, stage
from benchmarks.worker import clock

ROUNDS = 60
WARM = 3
WORKERS = 2
FUNCTIONS = 20
MOST_S = 0.060


def run(progress: Progress) -> list[Row]:
    """Measure each way of saving."""
    rows = []
    for name, save in WAYS.items():
        progress(f"save {name}")
        with stage() as scene:
            rows.append(alone("save", f"{name} → both processes", _measure(scene, save)))
    return [_with_goal(row) for row in rows]


def _with_goal(row: Row) -> Row:
    from dataclasses import replace

    return replace(row, goal="p50 ≤ 60 ms", reached=row.sample.p50 <= MOST_S)


def _text(number: int) -> str:
    functions = (
        f"@scatter.track\ndef f{n}(x):\n    return helper(x) + {number if n == 7 else 0}\n"
        for n in range(FUNCTIONS)
    )
    return "import scatter\n\n\ndef helper(x):\n    return x\n\n\n" + "\n\n".join(functions)


def _measure(scene: Stage, save: Callable[[Path, str], None]) -> list[float]:
    file = scene.write(_text(0))
    workers = [scene.agent("unix") for _ in range(WORKERS)]
    watcher = subprocess.Popen(
        [sys.executable, "-m", "scatter", "watch", str(file)],
        cwd=scene.folder,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "agent")]),
            "SCATTER_REDIS_URL": scene.server.url,
            "SCATTER_NAMESPACE": scene.namespace,
            "SCATTER_AUTHOR": "bench",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watcher.stdout is not None
        while "never pushed" not in watcher.stdout.readline():
            pass  # the watcher has looked at the file and the log
        values = []
        for number in range(1, WARM + ROUNDS + 1):
            save(file, _text(number))
            saved = clock()
            last = max(worker.moments()["switched"] for worker in workers)
            watcher.stdout.readline()
            values.append(last - saved)
        return values[WARM:]
    finally:
        watcher.terminate()
        watcher.wait()
        watcher.stdout.close()


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


WAYS: dict[str, Callable[[Path, str], None]] = {
    "in place": _in_place,
    "temp file, renamed": _rename,
    "renamed away, created": _away_and_create,
    "written in two pieces": _in_pieces,
}
