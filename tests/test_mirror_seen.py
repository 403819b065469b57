"""What an operator sees of a mirror's directory: `scatter status`, the doctor, messages."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mirrors import Host
from scatter_agent.systemd import notify
from support import wait_until

from scatter.config import resolve
from scatter.doctor import Finding, examine


def scatter(host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing but the directory."""
    address = {"SCATTER_STORE": f"dir:{host.folder}", "SCATTER_NAMESPACE": host.namespace}
    return subprocess.run(
        [sys.executable, "-m", "scatter", *words],
        env=os.environ | address,
        cwd=host.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def status(host: Host) -> dict[str, Any]:
    done = scatter(host, "status", "--json", "--no-git")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["status"])


def findings(host: Host) -> dict[str, Finding]:
    settings = resolve(redis_url=f"dir:{host.folder}", namespace=host.namespace)
    return {finding.check: finding for finding in examine(settings)}


# status -----------------------------------------------------------------------------------


def test_status_shows_the_processes_of_this_host_also_without_mirror(host: Host) -> None:
    follower = host.begin()
    wait_until(lambda: len(status(host)["processes"]) == 1, "the process in the directory")
    seen = status(host)
    (process,) = seen["processes"]
    assert (process["pid"], process["sequence"]) == (follower.process.pid, 1)
    assert seen["mirror"]["is_online"]
    done = scatter(host, "status")
    assert "1 process at release 1: 1 current" in done.stdout
    assert f"processes of this host that follow dir:{host.folder}" in done.stderr
    assert "could last ask" not in done.stderr
    assert "applied by 1 of 1 process" in scatter(host, "status", "--wait").stdout

    host.kill()
    os.utime(host.own / "online", (1000, 1000))  # as it will be soon
    assert len(status(host)["processes"]) == 1
    assert not status(host)["mirror"]["is_online"]
    assert "The mirror could last ask its server 1970" in scatter(host, "status").stderr

    host.start()
    by_server = host.releases.journal.store.reports
    wait_until(lambda: process["id"] in by_server(), "the same name as with the server")


# the doctor -------------------------------------------------------------------------------


def test_the_doctor_looks_at_a_directory(host: Host) -> None:
    host.begin()
    wait_until(lambda: "1 process of" in findings(host)["reports"].found, "its report")
    found = findings(host)
    assert {found[name].state for name in ("reach", "mirror", "bundles", "reports")} == {"ok"}

    host.kill()
    os.utime(host.own / "online", (1000, 1000))
    assert findings(host)["mirror"].state == "warning"
    assert "1970-01-01" in findings(host)["mirror"].found
    assert "systemctl status" in findings(host)["mirror"].advice


def test_the_doctor_finds_code_that_is_damaged_and_processes_that_are_behind(host: Host) -> None:
    follower = host.begin()
    wait_until(lambda: status(host)["processes"], "its report")
    os.kill(follower.process.pid, signal.SIGSTOP)  # it stays where it is, until its report is old
    host.push(g="g1")
    host.has(2)
    found = findings(host)["reports"]
    os.kill(follower.process.pid, signal.SIGCONT)
    assert found.state == "warning"
    assert f"{os.uname().nodename}:{follower.process.pid}" in found.found
    host.kill()
    for bundle in (host.own / "bundles").iterdir():
        bundle.write_bytes(b"rust")
        assert hashlib.sha256(b"rust").hexdigest() != bundle.name
    assert findings(host)["bundles"].state == "problem"
    assert "Restart the mirror" in findings(host)["bundles"].advice


def test_the_doctor_names_the_directory_that_others_can_write(host: Host) -> None:
    host.start()
    host.push(f="f1")
    host.has(1)
    host.folder.chmod(0o777)
    found = findings(host)
    assert found["reach"].state == "problem"
    assert "mode 777" in found["reach"].found
    assert f"chmod go-w {host.folder}" in found["reach"].advice
    assert "namespace" not in found
    host.folder.chmod(0o755)
    other = resolve(redis_url=f"dir:{host.folder}", namespace="misspelt")
    reach = next(f for f in examine(other) if f.check == "reach")
    assert (reach.state, reach.advice[:14]) == ("problem", "Check the path")


# messages ---------------------------------------------------------------------------------


def test_the_mirror_says_that_others_could_put_another_directory_there(host: Host) -> None:
    host.folder.chmod(0o777)
    host.start()
    host.says("scatter.not_mirrored")
    host.says(f"chmod go-w {host.folder}")
    host.push(f="f1")
    host.folder.chmod(0o755)
    host.has(1)


def test_what_is_in_the_way_of_writing_is_said_with_what_to_do(host: Host) -> None:
    host.own.write_text("a file is in the way")
    host.start()
    host.says("Name a directory: what is there is none.")


def test_what_others_wrote_tells_systemd_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify(STATUS="run:\n    scatter keys trust x\nMAINPID=1", READY=1)
        heard = listener.recv(4096).decode()
    assert heard == "STATUS=run: scatter keys trust x MAINPID=1\nREADY=1"
