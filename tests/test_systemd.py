"""The units in `systemd/` are what systemd understands, hardened, and written where they belong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT

UNITS = sorted((ROOT / "systemd").glob("*.service"))
EXAMPLES = sorted((ROOT / "systemd" / "examples").glob("*.conf"))
OF_EXAMPLE = {
    "unix-socket.conf": "scatter-agent.service",
    "credentials.conf": "scatter-agent.service",
    "follow-mirror.conf": "scatter-worker@.service",
}
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd is not installed"
)


@pytest.fixture
def analyze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a verb of systemd-analyze on a unit, with its program in place and more text after it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for program in ("scatter", "scatter-agent"):
        file = tmp_path / ".local" / "bin" / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)

    def run(*verb: str, unit: Path, more: str = "") -> subprocess.CompletedProcess[str]:
        text = unit.read_text("utf-8").replace("%h", str(tmp_path))  # it takes root's home for root
        text = text.replace("/usr/bin/", f"{tmp_path}/.local/bin/")
        for other in UNITS:  # units name each other
            (tmp_path / other.name).write_text("[Service]\nExecStart=/bin/true\n", "utf-8")
        copy = tmp_path / unit.name
        copy.write_text(f"{text}\n{more}", "utf-8")
        return subprocess.run(
            ["systemd-analyze", *verb, str(copy)], check=False, capture_output=True, text=True
        )

    return run


def kind(unit: Path) -> tuple[str, ...]:
    return ("--user",) if unit.name == "scatter-watch.service" else ()


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_to_complain_about(
    unit: Path, analyze: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = analyze("verify", *kind(unit), "--man=no", unit=unit)
    assert (done.returncode, done.stderr) == (0, ""), "it exits with 0 on keys it does not know"


@needs_systemd
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.name)
def test_systemd_finds_nothing_to_complain_about_in_an_example(
    example: Path, analyze: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    unit = ROOT / "systemd" / OF_EXAMPLE[example.name]
    done = analyze("verify", "--man=no", unit=unit, more=example.read_text("utf-8"))
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", ["scatter-agent.service", "scatter-agent@.service"])
def test_the_mirror_is_hardly_exposed(
    name: str, analyze: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    unit = ROOT / "systemd" / name
    socket = (ROOT / "systemd" / "examples" / "unix-socket.conf").read_text("utf-8")
    verb = ("security", "--offline=true")
    tcp = analyze(*verb, "--threshold=12", unit=unit)
    assert tcp.returncode == 0, tcp.stdout
    local = analyze(*verb, "--threshold=4", unit=unit, more=socket)
    assert local.returncode == 0, local.stdout
    assert analyze(*verb, "--threshold=4", unit=unit).returncode != 0, "the threshold is looked at"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_listed_in_their_readme(unit: Path) -> None:
    assert f"`{unit.name}`" in (ROOT / "systemd" / "README.md").read_text("utf-8")


def test_secrets_and_trust_come_as_credentials_by_the_names_that_the_agent_knows() -> None:
    from scatter_agent.settings import CREDENTIALS

    for unit in UNITS:
        found = set(re.findall(r"^LoadCredential=(\S+)$", unit.read_text("utf-8"), re.M))
        assert found == (set() if unit.name == "scatter-watch.service" else {*CREDENTIALS.values()})


def test_the_drop_in_on_the_page_is_the_example() -> None:
    page = (ROOT / "docs" / "how-to" / "systemd.md").read_text("utf-8")
    (shown,) = re.findall(r"^# /etc\S+/follow-mirror\.conf\n(.*?)^```", page, re.M | re.S)
    example = (ROOT / "systemd" / "examples" / "follow-mirror.conf").read_text("utf-8")
    assert shown == re.sub(r"(?m)^#.*\n", "", example)


# install ----------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "scatter_agent", "install", "--root", str(tmp_path)]
        return subprocess.run(
            [*command, "--programs", "/opt/scatter/bin", *words],
            env=os.environ | {"HOME": "/home/ann"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


Install = Callable[..., "subprocess.CompletedProcess[str]"]
WRITTEN = [
    "etc/systemd/system/scatter-agent.service",
    "etc/systemd/system/scatter-agent@.service",
    "etc/systemd/system/scatter-worker@.service",
    "etc/sysusers.d/scatter.conf",
    "etc/tmpfiles.d/scatter.conf",
]


def test_install_writes_the_units_with_the_right_paths_and_says_so(
    install: Install, tmp_path: Path
) -> None:
    done = install("--systemd")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [f"wrote  {tmp_path / path}" for path in WRITTEN],
    )
    assert f"systemctl --root {tmp_path} enable scatter-agent" in done.stderr
    assert "Warning" not in done.stderr
    for path in WRITTEN[:3]:
        lines = (tmp_path / path).read_text().splitlines()
        (start,) = [line for line in lines if line.startswith("ExecStart=")]
        assert start.startswith("ExecStart=/opt/scatter/bin/scatter-agent ")
        assert (tmp_path / path).stat().st_mode & 0o777 == 0o644


def test_install_again_changes_nothing(install: Install, tmp_path: Path) -> None:
    install("--systemd")
    before = {path: (tmp_path / path).stat().st_ino for path in WRITTEN}
    done = install("--systemd")
    assert done.stdout.splitlines() == [f"unchanged  {tmp_path / path}" for path in WRITTEN]
    assert before == {path: (tmp_path / path).stat().st_ino for path in WRITTEN}


def test_a_file_of_an_older_installation_is_brought_up_to_date(
    install: Install, tmp_path: Path
) -> None:
    install("--systemd", "--programs", "/opt/old/bin")
    done = install("--systemd")
    assert f"updated  {tmp_path / WRITTEN[0]}" in done.stdout
    assert "/opt/old" not in (tmp_path / WRITTEN[0]).read_text()


def test_a_changed_file_is_left_alone_and_so_is_everything_else(
    install: Install, tmp_path: Path
) -> None:
    install("--systemd", "--programs", "/opt/old/bin")
    unit = tmp_path / WRITTEN[1]
    text = unit.read_text().replace("RestartSec=1", "RestartSec=2")
    unit.write_text(text)
    done = install("--systemd")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Somebody has changed {unit}; nothing was written." in done.stderr
    assert unit.read_text() == text
    assert "/opt/old" in (tmp_path / WRITTEN[0]).read_text()
    assert f"replaced  {unit}" in install("--systemd", "--force").stdout
    assert "RestartSec=1" in unit.read_text()


def test_a_dry_run_writes_nothing(install: Install, tmp_path: Path) -> None:
    done = install("--systemd", "--dry-run")
    assert done.stdout.splitlines() == [f"would write  {tmp_path / path}" for path in WRITTEN]
    assert list(tmp_path.iterdir()) == []


def test_a_users_unit_is_the_watcher(install: Install, tmp_path: Path) -> None:
    done = install("--systemd", "--user")
    unit = tmp_path / "home/ann/.config/systemd/user/scatter-watch.service"
    assert done.stdout == f"wrote  {unit}\n"
    assert "ExecStart=/opt/scatter/bin/scatter watch\n" in unit.read_text()


def test_programs_in_a_home_are_warned_of_since_the_units_hide_it(install: Install) -> None:
    done = install("--systemd", "--programs", "/home/ann/venv/bin", "--dry-run")
    assert "/home/ann/venv/bin is in a home directory, which the units hide" in done.stderr


def test_programs_that_are_not_there_are_warned_of_on_this_machine(
    install: Install, tmp_path: Path
) -> None:
    words = ("--systemd", "--dry-run", "--programs")
    missing = "There is no program /opt/scatter/bin/scatter-agent"
    assert missing not in install(*words, "/opt/scatter/bin").stderr, "it is for another machine"
    assert missing in install(*words, "/opt/scatter/bin", "--root", "/").stderr
    (tmp_path / "scatter-agent").write_text("#!/bin/sh\n")
    (tmp_path / "scatter-agent").chmod(0o755)
    assert "Warning" not in install(*words, str(tmp_path), "--root", "/").stderr


def test_what_kind_of_unit_must_be_said(install: Install) -> None:
    done = install()
    assert done.returncode == 2
    assert "Expected --systemd" in done.stderr
