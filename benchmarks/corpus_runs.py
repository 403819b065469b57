"""Environments for foreign packages, and runs of their suites in them.

Not here: what a run is compared with (`corpus_report`).

Invariants
1. Each package has an environment of its own for each Python; nothing is installed elsewhere.
2. The installed package is what is tested: the sdist's own copy of its sources is removed.
3. Every run begins alike: an empty home, empty temporary folders, the same hash seed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus_job import JOB, Job
from benchmarks.corpus_limits import REGISTERING, shared
from benchmarks.corpus_packages import PYTEST, Package

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 1200
SIGNAL_OF_TIMEOUT = 9


class Unavailable(Exception):
    """A package, its environment or its reference run cannot be had; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a package is tested: its interpreter and the folder with its tests."""

    python: Path
    tests: Path
    library: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of a suite gave.

    Attributes:
        outcomes: Test → how it ended; `crashed` for the one that took the interpreter with it.
        texts: Test → the end of what pytest says about its failure.
        report: What was replaced; see `corpus_plugin.Report`.
        status: Exit status; negative for a signal.
        seconds: Duration.
        log: What pytest printed.

    """

    outcomes: Mapping[str, str]
    texts: Mapping[str, str]
    report: Mapping[str, Any]
    status: int
    seconds: float
    log: Path | str


# environments ------------------------------------------------------------------------------


def prepare(package: Package, cache: Path, python: str) -> Place:
    """Return the place of a package, made if it is not there yet.

    Raises:
        Unavailable: The index or a build said no.

    """
    folder = cache / _version_of(python) / package.name
    place = Place(
        python=folder / "venv" / "bin" / "python",
        tests=folder / "tests",
        library=_library(cache),
    )
    wanted = json.dumps([asdict(package), PYTEST])
    done = folder / "made-from.json"
    if not done.exists() or done.read_text("utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        sdist = _download(package, cache / "sdists", python)
        _unpack(sdist, place.tests, package)
        _call(python, "-m", "venv", str(folder / "venv"))
        _call(str(place.python), *_PIP, "install", str(sdist), PYTEST, *package.needs)
        done.write_text(wanted, "utf-8")
    return place


_PIP = ("-m", "pip", "--disable-pip-version-check", "-q")


def _version_of(python: str) -> str:
    code = "import sys; print('py%d.%d' % sys.version_info[:2])"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def _library(cache: Path) -> Path:
    """Return a folder to import scatter from, and nothing else of this repository.

    The folder of the benchmarks has another name there: foreign tests have a `benchmarks` too.
    """
    folder = cache / "library"
    folder.mkdir(parents=True, exist_ok=True)
    links = {"scatter": ROOT / "scatter", "scatter_corpus": Path(__file__).parent}
    for name, target in links.items():
        link = folder / name
        if not link.exists() or link.resolve() != target.resolve():
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return folder


def _download(package: Package, folder: Path, python: str) -> Path:
    name = package.name.replace("-", "_")
    file = folder / f"{name}-{package.version}.tar.gz"
    if not file.exists():
        asked = f"{package.name}=={package.version}"
        options = ("--no-deps", "--no-binary", package.name, "-d", str(folder))
        _call(python, *_PIP, "download", *options, asked)
    if not file.exists():
        raise Unavailable(f"{asked} has no sdist named {file.name}; found {_listed(folder)}.")
    return file


def _listed(folder: Path) -> str:
    return ", ".join(sorted(file.name for file in folder.iterdir()))


def _unpack(sdist: Path, folder: Path, package: Package) -> None:
    """Put the sdist's files into a folder, but the sources of the package."""
    with tempfile.TemporaryDirectory(dir=sdist.parent) as inner, tarfile.open(sdist) as tar:
        safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # 3.11.4
        tar.extractall(inner, **safely)
        (top,) = Path(inner).iterdir()
        for name in package.drop:
            shutil.rmtree(top / name)
        shutil.copytree(top, folder)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Unavailable(f"`{' '.join(command)}` failed:\n{said}")


def reference(package: Package, place: Place, logs: Path, *, fresh: bool) -> tuple[Run, Run]:
    """Return two runs of the suite without scatter; those of last time, unless `fresh`.

    They do not depend on scatter at all, and two tell which tests vary by themselves.

    Raises:
        Unavailable: The suite does not run here.

    """
    file = place.tests.parent / "plain.json"
    if fresh or not file.exists():
        runs = [run(package, place, mode, logs) for mode in ("plain", "plain-again")]
        for one in runs:
            if one.status not in (0, 1):
                raise Unavailable(f"its suite does not run here; see {one.log}")
        file.write_text(json.dumps([{**asdict(one), "log": str(one.log)} for one in runs]))
    first, second = json.loads(file.read_text("utf-8"))
    return Run(**first), Run(**second)


# runs --------------------------------------------------------------------------------------


def run(package: Package, place: Place, mode: str, logs: Path) -> Run:
    """Run the suite of a package once."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{mode}.log"
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sc-") as scratch:
        job = Job(
            packages=package.imports,
            leave=package.leave,
            mode=mode.partition("-")[0],
            shared=shared(),
            registering=tuple(REGISTERING),
            outcomes=str(Path(scratch, "outcomes.jsonl")),
            report=str(Path(scratch, "report.json")),
        )
        Path(scratch, "job.json").write_text(json.dumps(asdict(job)), "utf-8")
        status = _run_pytest(package, place, Path(scratch), log)
        outcomes, texts = _outcomes(Path(job.outcomes), status)
        report = Path(job.report)
        return Run(
            outcomes=outcomes,
            texts=texts,
            report=json.loads(report.read_text("utf-8")) if report.exists() else {},
            status=status,
            seconds=time.monotonic() - begun,
            log=log,
        )


_OPTIONS = (
    *("-p", "scatter_corpus.corpus_plugin"),
    *("-o", "addopts=", "-q", "--tb=short", "--color=no"),
    *("-p", "no:cacheprovider", "-p", "no:randomly"),
)


def _run_pytest(package: Package, place: Place, scratch: Path, log: Path) -> int:
    command = [str(place.python), "-m", "pytest", *_OPTIONS, *package.tests]
    if "hypothesis" in package.needs:
        command.append("--hypothesis-seed=0")
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=place.tests,
            env=_environment(place, scratch),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, SIGNAL_OF_TIMEOUT)
            return process.wait()
        except BaseException:
            os.killpg(process.pid, SIGNAL_OF_TIMEOUT)
            process.wait()
            raise


def _environment(place: Place, scratch: Path) -> dict[str, str]:
    home, temporary = scratch / "home", scratch / "tmp"
    home.mkdir()
    temporary.mkdir()
    kept = {n: v for n, v in os.environ.items() if n in ("PATH", "TZ", "LD_LIBRARY_PATH")}
    return kept | {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(place.library),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch / "hypothesis"),
        JOB: str(scratch / "job.json"),
    }


def _outcomes(file: Path, status: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return how each test ended, and what is said about those that failed.

    A test with several reports (subtests, a teardown that fails) ends as the worst of them.
    """
    outcomes: dict[str, str] = {}
    texts: dict[str, str] = {}
    for line in _lines(file):
        test, outcome = line["id"], line["outcome"]
        if _WORSE.index(outcome) >= _WORSE.index(outcomes.get(test, "started")):
            outcomes[test] = outcome
        if line.get("text"):
            texts[test] = line["text"]
    for test, outcome in outcomes.items():
        if outcome == "started" and status < 0:
            outcomes[test] = "crashed"
    return outcomes, texts


_WORSE = ("started", "passed", "xfailed", "skipped", "xpassed", "failed", "error")


def _lines(file: Path) -> Iterable[dict[str, str]]:
    if file.exists():
        for line in file.read_text("utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # the last one, cut by a crash
                return


def python_of(given: str) -> str:
    """Return the interpreter that environments are made with."""
    return shutil.which(given or sys.executable) or given
