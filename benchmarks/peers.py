"""Environments of their own for what scatter is compared with, and other Pythons to measure in.

Packages that are compared with are none of the project's dependencies, and scatter 0.1.4 of PyPI
has this package's import name. So each has a virtual environment under `.peers/`, made when first
asked for and kept; its name tells what is in it, and a stamp that it was made to the end.

Not here: what is measured there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".peers"
MAKING_S = 300

SCATTER = "scatter==0.1.4"
JURIGGED = "jurigged==0.6.1"
WRAPT = "wrapt==2.5.2"
LAUNCHDARKLY = "launchdarkly-server-sdk==9.18.4"
UNLEASH = "unleashclient==6.9.1"
GROWTHBOOK = "growthbook==4.0.0"
REDIS = "redis==8.1.0"
CLOUDPICKLE = "cloudpickle==3.1.3"


class NoPeer(Exception):
    """A peer cannot be had here; the message says why, in a few words."""


def python_with(*requirements: str, python: str = sys.executable) -> Path:
    """Return the interpreter of an environment with these packages, made if there is none.

    Args:
        requirements: What pip shall install, each pinned.
        python: The interpreter that the environment is of.

    Raises:
        NoPeer: It could not be made.

    """
    version = _version(python)
    name = hashlib.sha256("\n".join((version, *sorted(requirements))).encode()).hexdigest()[:12]
    first = requirements[0].partition("==")[0] if requirements else "nothing"
    folder = PEERS / f"{first}-{version}-{name}"
    found = folder / "bin" / "python"
    with _lock(folder):
        if not (folder / "made").exists():
            _make(folder, found, python, requirements)
    return found


def python_of(version: str) -> str | None:
    """Return an interpreter of a version, such as `3.12`: this one, or one of PATH or pyenv."""
    if version == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    return next((str(python) for python in found if python and _works(python, version)), None)


def _works(python: str | Path, version: str) -> bool:
    """Return whether it runs: a launcher of a version manager may have nothing to launch."""
    try:
        return _version(str(python)).startswith(f"{version}.")
    except NoPeer:
        return False


@lru_cache
def _version(python: str) -> str:
    code = "import sys; print(*sys.version_info[:3], sep='.')"
    return _run([python, "-c", code]).strip()


def _make(folder: Path, found: Path, python: str, requirements: tuple[str, ...]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run([python, "-m", "venv", "--without-pip", str(folder)])
    if requirements:
        pip = sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(found)
        _run([*pip, "install", "--quiet", *requirements])
    (folder / "made").touch()


def environment() -> dict[str, str]:
    """Return the environment of a process that is to import what is installed there alone."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(command: list[str]) -> str:
    """Run a program; return what it said."""
    try:
        done = subprocess.run(
            command,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=MAKING_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPeer(f"{Path(command[0]).name}: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        line = next((line for line in said if line.startswith("ERROR")), said[-1])
        raise NoPeer(line.removeprefix("ERROR: ").partition(" (from versions")[0])
    return done.stdout


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time make an environment."""
    PEERS.mkdir(exist_ok=True)
    with (PEERS / f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
