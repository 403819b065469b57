"""The units run under systemd itself: an application with live functions, its secrets, its end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integrations.queues import Yard
from machine import Machine, needs_machine
from scatter_agent.commands.app import _COMMANDS
from support import ROOT, free_port, needs, wait_until

from scatter.server import EmbeddedServer

PRICING = """
def report():
    price = 0
    return price
"""
APP = """
import json, os
import pricing


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    seen = {"pid": os.getpid(), "uid": os.getuid(), "price": pricing.report()}
    return [json.dumps(seen).encode()]
"""
PASSWORD = "hush-hush"
WORKER = "scatter-worker@shop.service"
BIN = Path(sys.prefix) / "bin"
SEEN = f"ProtectHome=no\nBindReadOnlyPaths={ROOT}\n"


class Host:
    """A machine with scatter's units installed, its Redis account, and an application."""

    def __init__(self, work: Path, yard: Yard) -> None:
        self.yard, self.port = yard, free_port()
        self.account = f"agent-{yard.namespace}"
        rules = ("on", f">{PASSWORD}", "~*", "&*", "+@all")
        yard.store.link.run([("ACL", "SETUSER", self.account, *rules)])
        files = work / "files"
        (work / "app").mkdir()
        yard.write("pricing.py", PRICING)
        (work / "app" / "pricing.py").write_text(PRICING)
        (work / "app" / "app.py").write_text(APP)
        install = [sys.executable, "-m", "scatter_agent", "install", "--systemd"]
        subprocess.run(
            [*install, "--root", str(files), "--programs", str(BIN)],
            check=True,
            capture_output=True,
        )
        signers = Path.home() / ".config" / "scatter" / "allowed_signers"
        command = f"{BIN}/gunicorn -w 2 -b 127.0.0.1:{self.port} app:app"
        address = yard.server.tcp_url.replace("://", f"://{self.account}@")
        # Python may be in the home of who runs the tests, and these files in /tmp.
        output = "append:/run/%n.out"
        seen = f"[Service]\n{SEEN}StandardOutput={output}\nStandardError={output}\n"
        self.machine = Machine(
            work,
            {
                "etc/scatter/agent.toml": f'redis_url = "{address}"\nlabels = ["host=test"]\n',
                "etc/scatter/shop.env": f"COMMAND={command}\nSCATTER_NAMESPACE={yard.namespace}\n"
                "SCATTER_TRACK=pricing\n",
                "etc/credstore/scatter.redis-password": f"{PASSWORD}\n",
                "etc/credstore/scatter.allowed-signers": signers.read_text(),
                "etc/systemd/system/scatter-worker@.service.d/test.conf": seen,
                "etc/systemd/system/scatter-agent.service.d/test.conf": seen,
            },
            {work / "app": "srv/shop"},
        )

    def page(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def until_price(self, price: int) -> dict[str, Any]:
        try:
            wait_until(lambda: self.page().get("price") == price, f"price {price}", 30)
        except AssertionError as error:
            error.add_note(self.machine.said())
            raise
        return self.page()

    def connections(self) -> int:
        """Return how many connections the account of the machine has."""
        (found,) = self.yard.store.link.run([("CLIENT", "LIST")])
        return str(found).count(f"user={self.account} ")

    def close(self) -> None:
        self.machine.close()
        self.yard.store.link.run([("ACL", "DELUSER", self.account)])


@pytest.fixture
def host(
    tmp_path: Path, short_tmp: Path, redis_server: EmbeddedServer, namespace: str
) -> Iterator[Host]:
    needs_machine()
    needs("gunicorn")
    yard = Yard(tmp_path, redis_server, namespace)
    work = short_tmp / f"machine-{namespace}"
    (work / "files").mkdir(parents=True)
    made = Host(work, yard)
    yield made
    made.close()
    yard.close()


def test_an_application_under_its_unit_is_updated_live_reloaded_and_stopped(host: Host) -> None:
    machine = host.machine
    machine.start(WORKER)
    page = host.until_price(0)
    pid = machine.ask(WORKER, "MainPID")
    assert machine.ask(WORKER, "ActiveState") == "active"
    (line,) = machine.run("cat", f"/proc/{pid}/cmdline").stdout.splitlines()
    assert "/gunicorn\0-w\0002" in line, "systemd sees the application itself"
    assert page["uid"] > 60000, "a dynamic user"

    host.yard.push(1, module="pricing")
    host.until_price(1)
    assert machine.ask(WORKER, "MainPID") == pid

    before = workers(host, pid)
    assert machine.run("systemctl", "reload", WORKER).returncode == 0
    wait_until(lambda: before.isdisjoint(workers(host, pid)), "gunicorn's other workers")
    host.until_price(1)
    assert machine.ask(WORKER, "MainPID") == pid

    assert machine.run("systemctl", "stop", WORKER).returncode == 0
    assert machine.ask(WORKER, "Result") == "success"
    assert machine.ask(WORKER, "ActiveState") == "inactive"
    assert host.page() == {}


def workers(host: Host, pid: str) -> set[str]:
    """Return the processes that the application has started."""
    return set(host.machine.run("cat", f"/proc/{pid}/task/{pid}/children").stdout.split())


def test_credentials_are_for_the_unit_alone(host: Host) -> None:
    machine = host.machine
    machine.start(WORKER)
    host.until_price(0)
    folder = f"/run/credentials/{WORKER}"
    assert machine.run("cat", f"{folder}/scatter.redis-password").stdout == f"{PASSWORD}\n"
    for user in ("65534", "12345"):
        other = ("setpriv", "--reuid", user, "--clear-groups", "cat")
        denied = machine.run(*other, f"{folder}/scatter.redis-password")
        assert denied.returncode != 0
        assert "Permission denied" in denied.stderr
        assert PASSWORD not in denied.stdout
    shown = machine.run("systemctl", "show", WORKER).stdout
    assert PASSWORD not in shown
    pid = machine.ask(WORKER, "MainPID")
    seen = machine.run("cat", f"/proc/{pid}/environ").stdout
    assert PASSWORD not in seen
    assert f"SCATTER_REDIS_PASSWORD_FILE={folder}/scatter.redis-password" in seen.split("\0")


def test_an_application_that_ends_badly_is_started_again(host: Host) -> None:
    machine = host.machine
    machine.start(WORKER)
    host.until_price(0)
    pid = machine.ask(WORKER, "MainPID")
    machine.run("kill", "-KILL", pid)
    wait_until(lambda: machine.ask(WORKER, "MainPID") not in (pid, "0"), "another process")
    assert re.fullmatch(r"[1-9]\d*", machine.ask(WORKER, "NRestarts"))
    host.until_price(0)


def test_an_application_runs_without_an_agent_where_the_settings_are_bad(host: Host) -> None:
    machine = host.machine
    machine.run("sh", "-c", "echo track = 3 >> /etc/scatter/agent.toml; chmod go+w /etc/scatter")
    machine.start(WORKER)
    host.until_price(0)
    pid = machine.ask(WORKER, "MainPID")
    seen = machine.run("cat", f"/proc/{pid}/environ").stdout
    assert f"SCATTER_NAMESPACE={host.yard.namespace}" in seen.split("\0")
    assert "PYTHONPATH" not in seen
    host.yard.push(1, module="pricing")
    assert host.page()["price"] == 0


# the mirror -------------------------------------------------------------------------------

MIRROR = "scatter-agent.service"


mirrors = pytest.mark.skipif("mirror" not in _COMMANDS, reason="there is no such command yet")


def begin_mirror(host: Host) -> str:
    """Make the mirror's user, mirror the namespace of the test, and return the main process."""
    machine = host.machine
    assert machine.run("systemd-sysusers", "scatter.conf").returncode == 0
    machine.run(
        "sh", "-c", f"sed -i '1i namespace = \"{host.yard.namespace}\"' /etc/scatter/agent.toml"
    )
    machine.start(MIRROR)  # returns when it has said that it is ready
    pid = machine.ask(MIRROR, "MainPID")
    assert machine.ask(MIRROR, "ActiveState") == "active"
    return pid


@mirrors
def test_a_worker_is_updated_live_through_the_mirror_and_has_no_way_to_redis(host: Host) -> None:
    machine = host.machine
    drop_in = (ROOT / "systemd" / "examples" / "follow-mirror.conf").read_text("utf-8")
    folder = "/etc/systemd/system/scatter-worker@.service.d"
    machine.write(f"{folder}/mirror.conf", f"{drop_in}LoadCredential=\n")
    signers = (Path.home() / ".config" / "scatter" / "allowed_signers").read_text()
    machine.write("/etc/scatter/allowed_signers", signers)
    pid = begin_mirror(host)
    machine.start(WORKER)
    host.until_price(0)
    worker = machine.ask(WORKER, "MainPID")
    host.yard.push(1, module="pricing")
    host.until_price(1)
    wait_until(lambda: machine.ask(MIRROR, "StatusText") == "1 function, at release 1", "status")
    assert (machine.ask(MIRROR, "MainPID"), machine.ask(WORKER, "MainPID")) == (pid, worker)
    assert host.connections() == 1, "that of the mirror"

    assert machine.run("systemctl", "stop", MIRROR).returncode == 0
    machine.run("rm", f"/etc/systemd/system/{MIRROR}")  # the worker wants it, and would start it
    machine.run("systemctl", "daemon-reload")
    assert machine.run("systemctl", "restart", WORKER).returncode == 0
    host.until_price(1)
    assert host.connections() == 0


@mirrors
def test_the_mirror_is_restarted_by_the_watchdog_when_it_hangs(host: Host) -> None:
    machine = host.machine
    machine.write(
        "/etc/systemd/system/scatter-agent.service.d/dog.conf", "[Service]\nWatchdogSec=2\n"
    )
    pid = begin_mirror(host)
    machine.run("kill", "-STOP", pid)
    wait_until(lambda: machine.ask(MIRROR, "MainPID") not in (pid, "0"), "another process", 30)
    wait_until(lambda: machine.ask(MIRROR, "ActiveState") == "active", "the mirror", 30)
    assert int(machine.ask(MIRROR, "NRestarts")) >= 1


@mirrors
def test_the_mirror_reloads_and_stops(host: Host) -> None:
    machine = host.machine
    pid = begin_mirror(host)
    assert machine.run("systemctl", "reload", MIRROR).returncode == 0
    wait_until(lambda: machine.ask(MIRROR, "ActiveState") == "active", "the mirror")
    assert machine.ask(MIRROR, "MainPID") == pid
    assert machine.run("systemctl", "stop", MIRROR).returncode == 0
    assert machine.ask(MIRROR, "Result") == "success"
    assert machine.run("cat", f"/proc/{pid}/comm").returncode != 0


@mirrors
def test_the_mirror_of_one_namespace_keeps_it_from_others(host: Host) -> None:
    machine, namespace = host.machine, host.yard.namespace
    unit, folder = f"scatter-agent@{namespace}.service", f"/var/lib/private/scatter-{namespace}"
    settings = "/etc/systemd/system/scatter-agent@.service.d/test.conf"
    machine.write(settings, f"[Service]\n{SEEN}")
    host.yard.push(1, module="pricing")
    machine.start(unit)
    wait_until(lambda: machine.ask(unit, "StatusText") == "1 function, at release 1", "status")
    assert machine.ask(unit, "User") == f"scatter-{namespace}"
    assert machine.run("ls", f"{folder}/{namespace}").stdout.split() != []
    other = machine.run("setpriv", "--reuid", "12345", "--clear-groups", "ls", folder)
    assert "Permission denied" in other.stderr
    assert machine.run("systemctl", "stop", unit).returncode == 0
    assert machine.ask(unit, "Result") == "success"


@mirrors
def test_a_mirror_with_wrong_settings_fails_and_says_why_once(host: Host) -> None:
    machine = host.machine
    assert machine.run("systemd-sysusers", "scatter.conf").returncode == 0
    machine.write("/etc/scatter/agent.toml", 'redis_ulr = "redis://h"\n')
    assert machine.run("systemctl", "start", MIRROR).returncode != 0
    assert machine.ask(MIRROR, "ActiveState") == "failed"
    assert machine.ask(MIRROR, "NRestarts") == "0"
    said = machine.run("cat", f"/run/{MIRROR}.out").stdout
    assert said.count("redis_ulr (/etc/scatter/agent.toml:1): there is no such key.") == 1
