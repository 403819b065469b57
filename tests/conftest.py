"""Fixtures: a real server for the whole run, a namespace for each test, a home that is empty.

Tests find their server by `scatter.server.find_binary`; a missing one is an error that says what to
install, never a skip.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from linking import Lab
from mirrors import Host
from shells import Shell, Watch, Worker
from support import ROOT, Edited, free_port, signed

from scatter import bases
from scatter.errors import ScatterError
from scatter.releases import Releases
from scatter.server import EmbeddedServer, find_binary
from scatter.store.redis import RedisStore
from scatter.trust.home import ensure_key

_numbers = itertools.count(1)


_ROOT = f"{Path(__file__).parent.parent}{os.sep}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the tests of the switch come first: others leave audit hooks behind, which nobody can
    remove, and which run between the stores of a switch (docs/limits.md)."""
    items.sort(key=lambda item: item.path.name != "test_switch.py")


@pytest.fixture(scope="session", autouse=True)
def _empty_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests away from the home, settings and servers of whoever runs them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as runtime:
        for name in [n for n in os.environ if n.startswith("SCATTER_")] + ["REDIS_URL"]:
            if name != "SCATTER_SERVER_BINARY":
                patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "SSH_AUTH_SOCK"):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("XDG_RUNTIME_DIR", runtime)
        patch.setenv("SCATTER_AUTHOR", "ann@example.org")
        patch.chdir(home)
        ensure_key()  # what makes the first one says so, in each test that pushes first
        yield


@pytest.fixture(autouse=True)
def _no_project_of_tests() -> Iterator[None]:
    """Forget the files of tests that track functions of their own.

    They would make a project of all tests, whose code then may call what other tests release.
    """
    yield
    for file in [f for f in bases._bases if f.startswith(_ROOT)]:
        bases.forget(file)


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[Path]:
    """A directory whose path is short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="sc-") as folder:
        yield Path(folder)


def _binaries() -> list[str]:
    """The servers to test stores with: the embedded one, and Redis itself where it is installed."""
    try:
        found = [str(find_binary())]
    except ScatterError:
        found = ["missing"]  # the fixture fails, and says what to install
    redis = shutil.which("redis-server")
    return [*found, redis] if redis and redis not in found else found


@pytest.fixture(scope="session")
def redis_server(short_tmp: Path) -> Iterator[EmbeddedServer]:
    """The server of this test run, with a unix socket and a TCP port."""
    find_binary()
    with EmbeddedServer.start(
        short_tmp / "data", socket=short_tmp / "s.sock", port=free_port(), append_only=False
    ) as server:
        yield server


@pytest.fixture(scope="session", params=_binaries(), ids=lambda path: Path(path).name)
def any_server(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[EmbeddedServer]:
    """Each kind of server that there is."""
    find_binary()
    name = Path(request.param).name
    with EmbeddedServer.start(
        short_tmp / name,
        socket=short_tmp / f"{name}.sock",
        append_only=False,
        binary=Path(request.param),
    ) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., EmbeddedServer]]:
    """Starts servers that a test may kill; all are gone at its end."""
    started: list[EmbeddedServer] = []
    with tempfile.TemporaryDirectory(prefix="so-") as folder:

        def start(*extra: str, name: str = "s", append_only: bool = True) -> EmbeddedServer:
            server = EmbeddedServer.start(
                Path(folder, name),
                socket=Path(folder, f"{name}.sock"),
                extra=extra,
                append_only=append_only,
            )
            started.append(server)
            return server

        yield start
        for server in started:
            server.stop()


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    """Address of the run's server."""
    return redis_server.url


@pytest.fixture
def namespace(redis_server: EmbeddedServer) -> Iterator[str]:
    """A namespace of this test alone; no key outside of it may be left behind."""
    name = f"t{os.getpid()}-{next(_numbers)}"
    yield name
    store = RedisStore(redis_server.url, name)
    (keys,) = store.link.run([("KEYS", "*")])
    strangers = [key for key in keys if not key.startswith(b"scatter:{")]
    own = [key for key in keys if key.startswith(f"scatter:{{{name}}}:".encode())]
    if own:
        store.link.run([("DEL", *own)])
    store.close()
    assert not strangers, f"keys outside of any namespace: {strangers}"


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[str], Edited]:
    """Makes a module that the test edits."""
    return lambda text: Edited(tmp_path, text)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab whose directory is on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Lab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def host(tmp_path: Path, redis_url: str, namespace: str) -> Iterator[Host]:
    """A host with a mirror."""
    made = Host(tmp_path, redis_url, namespace)
    yield made
    made.close()


@pytest.fixture
def shell(
    redis_url: str,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    """Ann's terminal."""
    folder = tmp_path / "shop"
    folder.mkdir()
    environment = {
        "SCATTER_REDIS_URL": redis_url,
        "SCATTER_NAMESPACE": namespace,
        "SCATTER_AUTHOR": "ann@example.org",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'agent'}",
    }
    monkeypatch.delenv("COLUMNS", raising=False)
    return Shell(folder, environment, monkeypatch, capsys)


@pytest.fixture
def releases(redis_url: str, namespace: str) -> Iterator[Releases]:
    """The namespace's log, to see what a command really did."""
    store = RedisStore(redis_url, namespace)
    yield Releases(signed(store), author="eve@example.org")
    store.close()


@pytest.fixture
def pushed(shell: Shell) -> Shell:
    """The terminal after `score` had two versions and `rank` one."""
    assert shell("push", "-m", "first", "--wait", "0").code == 0
    shell.edit("RATE = 2", "RATE = 3")
    assert shell("push", "-m", "dearer", "--wait", "0").code == 0
    return shell


@pytest.fixture
def start_worker(shell: Shell) -> Iterator[Callable[[], Worker]]:
    """Starts workers; all are gone at the end."""
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(shell))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.fixture
def watch(shell: Shell) -> Iterator[Callable[..., Watch]]:
    """Starts watches; all are gone at the end."""
    started: list[Watch] = []

    def start(*arguments: str) -> Watch:
        started.append(Watch(shell, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()
