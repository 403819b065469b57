#!/usr/bin/env python3
"""Everything a developer needs, from a clone and a Python 3.11 or later: nothing else.

    python3 dev.py demo [--keep]     see scatter work
    python3 dev.py test [ARGS...]    run the tests (arguments go to pytest)
    python3 dev.py lint              ruff, mypy, pyright, import contracts
    python3 dev.py check             lint, then test
    python3 dev.py bench [ARGS...]   run the benchmarks
    python3 dev.py corpus [ARGS...]  replace all functions of foreign packages, run their tests
    python3 dev.py docs              build the documentation as a site, into site/
    python3 dev.py run ARGS...       run the scatter command
    python3 dev.py example [NAME]    run an example, and push what you save in it
    python3 dev.py setup             only make .venv

It makes .venv beside itself, installs what is needed, and runs. Standard library only.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("SCATTER_DEV_VENV") or ROOT / ".venv")
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "scatter-dev-stamp"


def main() -> int:
    """Set up what is missing, and run the command."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what older Pythons meet
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"scatter needs Python 3.11 or later; this is {found}.", file=sys.stderr)
        return 2
    command, arguments = (sys.argv[1:] or ["help"])[0], sys.argv[2:]
    if command not in COMMANDS:
        print(__doc__)
        return 0 if command in ("help", "-h", "--help") else 2
    with (ROOT / ".dev.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits for the first one's installation
        set_up()
    return COMMANDS[command](arguments)


def set_up() -> None:
    """Make the environment, unless it is there and nothing that it depends on has changed."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + sys.version.encode())
    stamp = f"{wanted.hexdigest()} {ROOT}"
    if STAMP.exists() and STAMP.read_text() == stamp and PYTHON.exists():
        return
    print("Setting up .venv; this takes a minute the first time.", file=sys.stderr)
    if not has_pip():
        make_venv()
    pip("install", "--quiet", "--editable", f"{ROOT}[dev]")
    STAMP.write_text(stamp)


def has_pip() -> bool:
    """Return whether .venv is there and whole."""
    if not PYTHON.exists():
        return False
    works = [str(PYTHON), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]
    return subprocess.run(works, check=False, capture_output=True).returncode == 0


def make_venv() -> None:
    """Make .venv with what this machine has: venv, else uv, else virtualenv from PyPI."""
    shutil.rmtree(VENV, ignore_errors=True)
    tried = run_quietly(sys.executable, "-m", "venv", str(VENV))
    if has_pip():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if shutil.which("uv"):
        tried = run_quietly("uv", "venv", "--seed", "--python", sys.executable, str(VENV))
    else:
        with tempfile.TemporaryDirectory() as folder:
            run_quietly(sys.executable, "-m", "pip", "install", "-q", "-t", folder, "virtualenv")
            environment = os.environ | {"PYTHONPATH": folder}
            tried = run_quietly(sys.executable, "-m", "virtualenv", str(VENV), env=environment)
    if not has_pip():
        print(tried, file=sys.stderr)
        sys.exit(
            "A virtual environment could not be made. Install your system's venv package "
            "(Debian: apt install python3-venv), or uv, and run this again."
        )


def run_quietly(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it printed; whether it worked shows by what it made."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    except OSError as error:
        return str(error)
    return done.stdout + done.stderr


def pip(*arguments: str) -> None:
    """Run pip in .venv; its messages are shown, its failure ends this program."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    if subprocess.run(command, check=False).returncode:
        sys.exit("Installing failed; pip's message is above.")


def tool(*arguments: str) -> int:
    """Run a module of .venv; return its exit status."""
    return subprocess.run([str(PYTHON), "-m", *arguments], cwd=ROOT, check=False).returncode


def become(*arguments: str) -> int:
    """Become a module of .venv, so that signals and exit status are its own."""
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", *arguments])  # noqa: S606


def demo(arguments: list[str]) -> int:
    """Show the whole thing."""
    return become("scatter", "demo", *arguments)


def test(arguments: list[str]) -> int:
    """Run the tests, on all cores unless told otherwise."""
    return become("pytest", *(arguments or ["-n", "auto", "--dist", "worksteal", "-q"]))


def lint(_: list[str]) -> int:
    """Run every check that needs no running code; say what failed at the end."""
    checks = (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("pyright", "--pythonpath", str(PYTHON)),
    )
    failed = [check[0] for check in checks if tool(*check)]
    # no module of import-linter can be run: without its script, no contract would be checked
    contracts = subprocess.run([PYTHON.parent / "lint-imports"], cwd=ROOT, check=False)
    failed += ["lint-imports"] * bool(contracts.returncode)
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def check(_: list[str]) -> int:
    """Lint, then test."""
    return lint([]) or test([])


def bench(arguments: list[str]) -> int:
    """Run benchmarks."""
    return become("benchmarks", *arguments)


def corpus(arguments: list[str]) -> int:
    """Put the functions of packages from PyPI through everything, and run the packages' tests."""
    return become("benchmarks.corpus", *arguments)


def docs(_: list[str]) -> int:
    """Build the site, with what builds it: 90 MB that nothing else needs."""
    found = [str(PYTHON), "-c", "import zensical"]
    if subprocess.run(found, check=False, capture_output=True).returncode:
        pip("install", "--quiet", "--editable", f"{ROOT}[docs]")
    return subprocess.run([str(PYTHON), ROOT / "docs" / "build_site.py"], check=False).returncode


def run(arguments: list[str]) -> int:
    """Run the scatter command."""
    return become("scatter", *arguments)


def example(arguments: list[str]) -> int:
    """Run what an example's pyproject.toml says, in its folder, with a watcher over it."""
    import tomllib  # older Pythons meet this file too, and are told so

    found = {file.parent.name: file for file in (ROOT / "examples").glob("*/pyproject.toml")}
    if len(arguments) != 1 or arguments[0] not in found:
        print(f"Expected one of: {', '.join(sorted(found))}. See examples/README.md.")
        return 2
    file = found[arguments[0]]
    command = tomllib.loads(file.read_text("utf-8"))["tool"]["example"]["run"].split()
    path = f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}"
    program = str(shutil.which(command[0], path=path))
    watcher = subprocess.Popen([PYTHON.parent / "scatter", "watch"], cwd=file.parent)
    running = subprocess.Popen([program, *command[1:]], cwd=file.parent)
    try:
        return running.wait()
    except KeyboardInterrupt:
        running.wait()  # the terminal has told it too
        return 0
    finally:
        watcher.terminate()
        watcher.wait()


def only_set_up(_: list[str]) -> int:
    """Do nothing more."""
    print(f"Ready: {PYTHON}")
    return 0


COMMANDS = {
    "demo": demo,
    "test": test,
    "lint": lint,
    "check": check,
    "bench": bench,
    "corpus": corpus,
    "docs": docs,
    "run": run,
    "example": example,
    "setup": only_set_up,
}

if __name__ == "__main__":
    sys.exit(main())
