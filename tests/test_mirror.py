"""The mirror, in a process of its own, and processes that follow its directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mirrors import MODULE, Host
from scatter_agent import systemd
from scatter_agent.mirror import daemon
from scatter_agent.mirror.copy import Copy
from support import start_python, wait_until
from trust.people import Person, Together

from scatter.config import Settings
from scatter.log import Draft, Journal
from scatter.log.reset import reset, survey
from scatter.releases import Releases
from scatter.reports import read_reports
from scatter.server import EmbeddedServer
from scatter.store import open_store
from scatter.store.layout import read_tip, seen_in
from scatter.store.redis import RedisStore
from scatter.trust.verifier import KeyVerifier


@pytest.fixture
def away(tmp_path: Path, own_server: Callable[..., EmbeddedServer]) -> Iterator[Away]:
    made = Away(tmp_path, own_server)
    yield made
    made.close()


class Away(Host):
    """A host whose server may be killed."""

    def __init__(self, folder: Path, own_server: Callable[..., EmbeddedServer]) -> None:
        self._own_server = own_server
        self.server = own_server()
        super().__init__(folder, self.server.url, "shop")

    def kill_server(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.wait()


# following -------------------------------------------------------------------------------


def test_a_release_reaches_a_process_through_the_mirror(host: Host) -> None:
    host.start()
    wait_until((host.own / "tip").exists, "the directory")
    follower = host.follow()
    assert follower.ask("calls") == "f0 g0"
    host.push(f="f1", g="g1")
    follower.until("f1 g1")
    host.push(f="f2")
    follower.until("f2 g1")
    assert follower.ask("status") == "ready - 2"
    assert follower.ask("modules") == "-", "neither a Redis client nor watchfiles is loaded"


def test_a_process_starts_and_runs_with_server_and_mirror_down(away: Away) -> None:
    away.start()
    away.push(f="f1")
    away.has(1)
    away.kill()
    away.kill_server()
    follower = away.follow()
    assert follower.ask("calls") == "f1 g0"
    assert follower.ask("status") == "ready - 1"


def test_a_process_that_ends_without_a_word_leaves_none(host: Host) -> None:
    host.start()
    host.push(f="f1")
    host.has(1)
    code = (
        f"import sys; sys.path.insert(0, {str(host.project)!r}); import {MODULE}, scatter_agent\n"
    )
    code += f"scatter_agent.start('dir:{host.folder}', namespace={host.namespace!r}, wait=20)\n"
    code += f"print({MODULE}.f())"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("f1\n", "")
    wait_until(lambda: len(read_reports(host.store)) == 1, "its report to be taken away")


FORKS = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import mirrored_app, scatter_agent
scatter_agent.start(sys.argv[2], namespace=sys.argv[3], wait=20)
child = os.fork()
os.write(1, b"child\\n" if child == 0 else b"parent\\n")  # whole, where both write to one pipe
deadline = time.monotonic() + 20
while mirrored_app.f() != "f2" and time.monotonic() < deadline:
    time.sleep(0.005)
if child == 0:
    os._exit(mirrored_app.f() != "f2")
print(mirrored_app.f(), os.waitpid(child, 0)[1], flush=True)
"""


def test_parent_and_child_of_a_fork_both_follow(host: Host) -> None:
    host.start()
    host.push(f="f1")
    host.has(1)
    program = start_python(
        *(FORKS, str(host.project), f"dir:{host.folder}", host.namespace),
        # Python 3.12 and later warn of a fork of a process that has threads
        env=os.environ | {"PYTHONWARNINGS": "ignore:This process:DeprecationWarning"},
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert {program.stdout.readline(), program.stdout.readline()} == {"child\n", "parent\n"}
    host.push(f="f2")
    said, complained = program.communicate(timeout=60)
    assert (said, complained) == ("f2 0\n", "")


def test_a_process_that_started_before_the_mirror_follows_once_it_is_there(host: Host) -> None:
    host.push(f="f1")
    follower = host.follow(wait_s=0)
    wait_until(lambda: follower.ask("status") == "stale - 0", "it to have looked")
    host.start()
    follower.until("f1 g0")


def test_a_directory_that_is_only_readable_will_do(host: Host) -> None:
    host.start()
    host.push(f="f1")
    host.has(1)
    host.kill()
    shutil.rmtree(host.own / "reports")
    before = {f: f.stat().st_mtime_ns for f in host.own.rglob("*")}
    follower = host.follow()
    assert follower.ask("calls") == "f1 g0"
    follower.end()
    assert {f: f.stat().st_mtime_ns for f in host.own.rglob("*")} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("with_reports", [False, True])
def test_a_read_only_mount_will_do(host: Host, tmp_path: Path, with_reports: bool) -> None:
    host.start()
    host.push(f="f1")
    host.has(1)
    wait_until((host.own / "reports").exists, "the reports")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    with mount(host.folder, mounted, "ro"), contextlib.ExitStack() as stack:
        inside = mounted / host.namespace / "reports"
        if with_reports:
            stack.enter_context(mount(host.own / "reports", inside))
        with pytest.raises(OSError, match="Read-only"):
            (mounted / "x").touch()
        follower = host.follow(url=f"dir:{mounted}")
        assert follower.ask("calls") == "f1 g0"
        host.push(f="f2")
        follower.until("f2 g0")
        if with_reports:
            wait_until(lambda: len(read_reports(host.store)) == 2, "its report")
        follower.end()
    if not with_reports:
        assert len(read_reports(host.store)) == 1, "that of the mirror"


@contextlib.contextmanager
def mount(source: Path, target: Path, *options: str) -> Iterator[None]:
    """Have a directory at another place too, as containers do."""
    commands = [["mount", "--bind", str(source), str(target)]]
    commands += [["mount", "-o", f"remount,bind,{o}", str(target)] for o in options]
    for command in commands:
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(target)], check=True)


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_many_processes_follow_one_mirror_over_one_connection(away: Away, count: int) -> None:
    away.start()
    away.push(f="f1")
    away.has(1)
    followers = [away.follow() for _ in range(count)]
    for follower in followers:
        assert follower.started_s
    store = away.store
    assert isinstance(store, RedisStore)
    away.push(f="f2")
    for follower in followers:
        follower.until("f2 g0")
    (clients,) = store.link.run([("CLIENT", "LIST")])
    assert clients.decode().count("name=scatter-agent-") == 1


def test_each_bundle_is_fetched_once(away: Away) -> None:
    away.start()
    away.push(f="f1")
    away.has(1)
    store = away.store
    assert isinstance(store, RedisStore)
    followers = [away.follow() for _ in range(3)]
    for number in range(2, 6):
        away.push(f=f"f{number}")
        for follower in followers:
            follower.until(f"f{number} g0")
    away.kill()
    (reply,) = store.link.run([("INFO", "commandstats")])
    lines = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
    calls = lines.get("cmdstat_mget", "calls=0,").partition("calls=")[2].partition(",")[0]
    assert int(calls) <= 5, "what comes along with a release is not fetched again"


# the directory ---------------------------------------------------------------------------


def test_bundles_that_nothing_needs_go_and_wrong_ones_are_mended(host: Host) -> None:
    host.start()
    host.push(f="f1", g="g1")
    host.has(1)
    host.kill()
    good = {f.name: f.read_bytes() for f in (host.own / "bundles").iterdir()}
    assert len(good) == 2
    first, second = good
    (host.own / "bundles" / first).write_bytes(b"other code")
    (host.own / "bundles" / second).unlink()
    (host.own / "bundles" / ("0" * 64)).write_bytes(b"nobody's")
    (host.own / "log" / "1").write_bytes((host.own / "log" / "1").read_bytes()[:-7])
    (host.own / ".tip.123").write_bytes(b"half")
    host.start()

    def mended() -> bool:
        now = {f.name: f.read_bytes() for f in (host.own / "bundles").iterdir()}
        return now == good and not (host.own / ".tip.123").exists()

    wait_until(mended, "the directory to be mended")
    assert host.follow().ask("calls") == "f1 g1"
    host.says("scatter.mended")


def test_a_log_that_was_begun_anew_takes_the_place_of_the_other(host: Host) -> None:
    host.start()
    host.push(f="f1")
    host.push(f="f2")
    follower = host.follow()
    follower.until("f2 g0")
    assert isinstance(host.store, RedisStore)
    journal = host.releases.journal
    found = survey(host.store, journal.ledger.verifier)
    draft = Draft(action="reset", changes=(), author="ann")
    reset(found, draft, state=journal.ledger, epoch=1, journal=journal)
    host.has(3)
    wait_until(lambda: follower.ask("status") == "ready - 3", "the process to follow the reset")
    assert follower.ask("calls") == "f2 g0"
    host.push(f="f3")
    follower.until("f3 g0")


def test_what_a_stranger_signed_is_not_mirrored_until_the_stranger_is_trusted(
    host: Host, tmp_path: Path
) -> None:
    trusted, eve = tmp_path / "allowed_signers", Person("eve")
    trusted.write_bytes((Path.home() / ".config/scatter/allowed_signers").read_bytes())
    trusted.chmod(0o600)
    process = host.start(SCATTER_ALLOWED_SIGNERS=str(trusted))
    host.push(f="f1")
    host.has(1)
    host.releases = Releases(Journal(host.store, signer=Together(eve)), author="eve")
    host.push(f="f2")
    host.says("unknown-key")
    assert read_tip(host.own).sequence == 1
    follower = host.follow()
    assert follower.ask("calls") == "f1 g0"
    trusted.write_text(trusted.read_text() + eve.line())
    process.send_signal(signal.SIGHUP)
    host.says("scatter.reloaded")
    host.has(2)
    wait_until(lambda: follower.ask("status") == "error unknown-key 1", "it to judge by itself")
    assert follower.ask("calls") == "f1 g0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
@pytest.mark.parametrize("harm", ["writable", "foreign"])
def test_a_hostile_directory_is_refused_with_a_reason_and_nothing_of_it_runs(
    host: Host, harm: str
) -> None:
    host.start()
    host.push(f="f1")
    host.has(1)
    host.kill()
    if harm == "writable":
        host.own.chmod(0o777)
    else:
        os.chown(host.own, 4321, 4321)
    follower = host.follow(wait_s=0.5)
    wait_until(lambda: follower.ask("status") == "error unsafe-trust-file 0", "it to say so")
    assert follower.ask("calls") == "f0 g0"
    if harm == "foreign":
        named = host.follow(url=f"dir:{host.folder}?owner=4321")
        assert named.ask("calls") == "f1 g0"


def test_a_mirror_that_is_killed_again_and_again_leaves_a_whole_directory(host: Host) -> None:
    host.start()
    wait_until((host.own / "tip").exists, "the directory")
    follower = host.follow()
    for number in range(1, 25, 4):
        for result in range(number, number + 4):
            host.push(f=f"f{result}")
        host.has(number)
        host.kill()
        found = Journal(open_store(f"dir:{host.folder}", host.namespace), verifier=KeyVerifier())
        found.catch_up()
        live = [state.live for state in found.ledger.functions.values()]
        assert set(found.bundles(live)) == {change.bundle for change in live}
        assert found.ledger.sequence >= number
        host.start()
    host.has(24)
    follower.until("f24 g0")
    assert follower.ask("status") == "ready - 24"


def test_two_mirrors_do_not_write_one_directory(host: Host) -> None:
    host.start()
    host.push(f="f1")
    host.has(1)
    host.start()
    host.says("is being written by another process")
    host.kill()
    host.push(f="f2")
    host.has(2)


def test_a_directory_that_cannot_be_written_is_told_and_tried_again(host: Host) -> None:
    host.own.write_text("a file is in the way")
    process = host.start()
    host.says("scatter.not_mirrored")
    assert process.poll() is None
    host.own.unlink()
    host.push(f="f1")
    host.has(1)


def test_a_directory_that_was_removed_is_made_again(host: Host) -> None:
    follower = host.begin()
    shutil.rmtree(host.own)
    host.push(f="f2")
    follower.until("f2 g0")
    wait_until(lambda: follower.ask("status") == "ready - 2", "it to be well again")
    host.push(f="f3")
    follower.until("f3 g0")


def test_a_full_disk_leaves_the_last_good_state(host: Host, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "none", str(host.folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    try:
        process = host.start()
        host.push(f="f1")
        host.has(1)
        try:
            (host.folder / "ballast").write_bytes(b"x" * (1 << 20))
        except OSError:
            pass
        host.push(f="f2")
        host.says("No space left on device")
        assert process.poll() is None
        assert host.follow().ask("calls") == "f1 g0"
        (host.folder / "ballast").unlink()
        host.has(2)
    finally:
        host.close()
        subprocess.run(["umount", "-l", str(host.folder)], check=False)


# its life --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(host: Host, number: int) -> None:
    host.start()
    host.push(f="f1")
    host.has(1)
    assert host.kill(number) == 0
    assert not (host.own / "online").exists()
    wait_until(lambda: read_reports(host.store) == [], "its report to be taken away")


def test_with_the_server_down_it_starts_and_waits(away: Away) -> None:
    away.kill_server()
    process = away.start()
    away.says("scatter.stale")
    assert process.poll() is None
    away.server = away._own_server()
    away.push(f="f1")
    away.has(1)


def test_it_tells_systemd_how_it_stands(host: Host, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        heard: list[str] = []

        def hears(text: str) -> None:
            while text not in heard:
                heard.extend(listening.recv(4096).decode().splitlines())

        host.push(f="f1", g="g1")
        process = host.start(**environment)
        hears("READY=1")
        hears("STATUS=2 functions, at release 1")
        hears("WATCHDOG=1")
        host.push(f="f2")
        hears("STATUS=2 functions, at release 2")
        heard.clear()
        process.send_signal(signal.SIGHUP)
        hears("RELOADING=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in heard)
        hears("READY=1")
        process.send_signal(signal.SIGTERM)
        hears("STOPPING=1")
        assert process.wait(20) == 0


@pytest.mark.parametrize("place", ["/in@one/notify", "@abstract"])
def test_what_systemd_is_told_is_one_line_a_field(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    address = f"{place}-{os.getpid()}" if place.startswith("@") else f"{short_tmp}{place}"
    (short_tmp / "in@one").mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert systemd.notify(STATUS="a name\nWATCHDOG=trigger\r\n \ud800")
        assert listening.recv(4096) == b"STATUS=a name WATCHDOG=trigger ?"


def test_a_thread_that_hangs_is_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, namespace: str
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()
    real = Copy.keep

    def keep(self: Copy, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        if hangs.is_set():
            goes_on.wait(60)

    monkeypatch.setattr(Copy, "keep", keep)
    monkeypatch.setattr(daemon, "SILENT_S", 1.0)
    made = daemon.Daemon(Settings(redis_url=redis_url), [namespace], tmp_path, look_s=0.05)
    made.members[0].start()
    try:
        wait_until(lambda: made.members[0].copy.sequence == 0 and made.is_healthy(), "a start")
        wait_until((tmp_path / namespace / "tip").exists, "the directory")
        hangs.set()
        wait_until(lambda: not made.is_healthy(), "it to be found out")
        hangs.clear()
        goes_on.set()
        wait_until(made.is_healthy, "it to go on")
    finally:
        goes_on.set()
        made.members[0].stop()


@pytest.mark.parametrize("url", ["dir:/somewhere", "memory://x"])
def test_what_cannot_be_mirrored_is_a_usage_error(host: Host, url: str) -> None:
    assert host.start(url=url).wait(20) == 2
    host.says("A mirror copies from a server")


# reports and notes -----------------------------------------------------------------------


def test_reports_of_processes_are_relayed_while_they_live(host: Host) -> None:
    follower = host.begin()
    pid = follower.process.pid

    def report() -> object:
        return next((r for r in read_reports(host.store) if r.pid == pid), None)

    found = wait_until(report, "its report on the server")
    assert found.id.endswith(f"@{os.geteuid()}")  # type: ignore[attr-defined]
    host.push(f="f2")
    wait_until(lambda: getattr(report(), "sequence", 0) == 2, "the new release in it")
    follower.end()
    wait_until(lambda: report() is None, "its report to be taken away")


def test_the_report_of_a_process_that_was_killed_goes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = host.begin()
    (file,) = wait_until(lambda: [*(host.own / "reports").glob("*.report")], "its report")
    wait_until(lambda: len(read_reports(host.store)) == 2, "its report on the server")
    follower.process.kill()
    follower.process.wait(20)
    os.utime(file, (0, 0))  # as if it had not been touched for long
    wait_until(lambda: len(read_reports(host.store)) == 1, "the report to go")
    wait_until(lambda: not file.exists(), "the file to go")


def test_a_deploy_is_newer_than_the_pushes_before_it_and_a_restart_is_none(host: Host) -> None:
    host.start()
    follower = host.follow()
    assert follower.ask("calls") == "f0 g0"
    host.push(f="f1")
    follower.until("f1 g0")
    wait_until(lambda: any(" " in code for code in seen_in(host.own)), "the first code noted")
    follower.end()
    assert host.follow().ask("calls") == "f1 g0", "a restart keeps its patches"
    file = host.project / f"{MODULE}.py"
    file.write_text(file.read_text().replace('"f0"', '"deployed"'))
    newer = host.follow()
    assert newer.ask("calls") == "deployed g0", "a deploy wins over the push before it"
    newer.end()
    assert host.follow().ask("calls") == "deployed g0"
    host.push(f="f2")
    host.follow().until("f2 g0")


def test_code_that_was_first_seen_on_another_host_is_as_old_as_there(host: Host) -> None:
    host.start()
    first = host.follow()
    assert first.ask("calls") == "f0 g0"
    host.push(f="f1")
    first.until("f1 g0")
    wait_until(lambda: any(" " in code for code in seen_in(host.own)), "the code noted")
    first.end()
    host.kill(signal.SIGTERM)
    shutil.rmtree(host.own)  # another host: it knows nothing yet
    host.start()
    host.has(1)
    assert host.follow().ask("calls") == "f1 g0"
    assert json.loads((host.own / "seen.json").read_text())
