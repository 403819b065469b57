"""A password is in no log event, error, repr, status, doctor's finding or process list.

Whatever happens to it: wrong, refused a right, nobody there, malformed, no TLS where there should
be. The password has a word in it that nothing else has; it is looked for in everything that comes
out.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import scatter_agent
from support import free_port, start_python, wait_until

from scatter.client import Client
from scatter.config import resolve
from scatter.errors import ScatterError
from scatter.log import Journal
from scatter.registry import Registry
from scatter.server import EmbeddedServer
from scatter.store import open_store
from scatter.store.link import Link

CANARY = "Qkanarienvogel7Q"
USER = "canary"
AGENT = """
    import logging, sys, time
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
    import scatter_agent
    agent = scatter_agent.start()
    while not (scatter_agent.status().reason or scatter_agent.status().state == "ready"):
        time.sleep(0.01)
    print(agent, scatter_agent.status(), agent.settings, vars(agent), flush=True)
    print("settled", flush=True)
    sys.stdin.read()
    scatter_agent.stop()
"""


@dataclass(frozen=True)
class Place:
    """Where the password is, and what is wrong."""

    environment: Mapping[str, str]
    exit_code: int

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        for name, value in self.environment.items():
            patch.setenv(name, value)


def at(where: str, server: str, folder: Path) -> dict[str, str]:
    """Return the environment in which the password is in the address, or in a file."""
    scheme, _, rest = server.partition("://")
    if where == "url":
        return {"SCATTER_REDIS_URL": f"{scheme}://{USER}:{CANARY}@{rest}"}
    file = folder / "password"
    file.write_text(f"{CANARY}\n")
    return {
        "SCATTER_REDIS_URL": server,
        "SCATTER_REDIS_USERNAME": USER,
        "SCATTER_REDIS_PASSWORD_FILE": str(file),
    }


FAILURES = {"wrong": 1, "refused": 1, "down": 3, "no-tls": 3, "malformed": 2, "none": 0}
"""What happens, and what `scatter status` then exits with."""


@pytest.fixture(params=["url", "file"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FAILURES)
def place(
    request: pytest.FixtureRequest, where: str, redis_server: EmbeddedServer, tmp_path: Path
) -> Iterator[Place]:
    """A password somewhere, and something that is wrong."""
    failure = request.param
    admin = Link(redis_server.url)
    password = "another" if failure == "wrong" else CANARY
    rights = ["+hello"] if failure == "refused" else ["~*", "&*", "+@all"]
    admin.run([("ACL", "SETUSER", USER, "reset", "on", f">{password}", *rights)])
    tcp = f"127.0.0.1:{redis_server.port}/0"
    server = {
        "down": f"redis://127.0.0.1:{free_port()}/0",
        "no-tls": f"rediss://{tcp}",
        "malformed": "redis://127.0.0.1:port/0",
    }.get(failure, f"redis://{tcp}")
    yield Place(at(where, server, tmp_path), FAILURES[failure])
    admin.run([("ACL", "DELUSER", USER)])
    admin.close()


def clean(*texts: object) -> None:
    """Fail if the password is in any of these, whole or in part."""
    for text in texts:
        shown = str(text)
        for piece in (CANARY, CANARY[:8], CANARY[-8:], CANARY.lower()):
            assert piece not in shown, f"the password is in: {shown}"


def test_it_is_in_no_output_of_a_command(place: Place, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shop.py").write_text(
        "import scatter\n\n\n@scatter.track\ndef price(x):\n    return x\n"
    )
    commands = (
        ["config"],
        ["status", "--no-git"],
        ["push", str(tmp_path / "code"), "--dry-run"],
        ["doctor", "--role", "janitor"],
    )
    codes = {}
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "scatter", *command],
            env=os.environ | place.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        clean(done.stdout, done.stderr)
        assert done.stdout or done.stderr or not done.returncode
        codes[command[0]] = done.returncode
    assert codes["status"] == place.exit_code


def test_it_is_in_no_log_event_or_status_of_an_agent_and_in_no_process_list(
    place: Place, tmp_path: Path
) -> None:
    if place.exit_code == 2:
        pytest.skip("no agent starts with a malformed address; the error is tried below")
    environment = os.environ | place.environment
    agent = start_python(AGENT, env=environment, stderr=subprocess.STDOUT)
    watch = subprocess.Popen(
        [sys.executable, "-m", "scatter", "watch", str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    try:
        assert agent.stdout is not None
        for line in agent.stdout:
            said.append(line)
            if line == "settled\n":
                break
        clean(*said)
        listed = process_list()
        assert sum("scatter" in line for line in listed) >= 1
        clean(*listed)
    finally:
        watch.terminate()
        clean(watch.communicate(timeout=20)[0])
        said.append(agent.communicate(timeout=20)[0])
    clean(*said)
    assert "scatter." in "".join(said), "it logs what it does"


def process_list() -> list[str]:
    """Return the command lines of all processes, as everybody can read them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue  # it has ended meanwhile
    return found


def test_the_process_list_is_really_looked_at() -> None:
    word = "Qkontrolle9Q"
    process = start_python("import sys; sys.stdin.read()", word)
    try:
        wait_until(lambda: any(word in line for line in process_list()), "the argument")
    finally:
        process.communicate(timeout=20)


def test_it_is_in_no_error_and_no_repr(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    place.apply(monkeypatch)
    made: list[object] = []
    errors: list[BaseException] = []
    try:
        settings = resolve(start=tmp_path)
        store = open_store(settings.redis_url, settings.namespace, access=settings.access)
        client = Client(settings, registry=Registry())
        link = store.link  # type: ignore[attr-defined]
        made += [settings, settings.access, store, link, store.doorbell(), Journal(store), client]
        made += [list(settings.shown()), vars(link)["_route"], store.address]
        for act in (lambda: store.read(0), client.releases.functions, store.doorbell().listen):
            try:
                act()
            except ScatterError as error:
                errors.append(error)
        store.close()
        client.close()
    except ScatterError as error:
        errors.append(error)
    assert bool(errors) == (place.exit_code != 0)
    clean(*map(repr, made), *map(str, made))
    for error in errors:
        clean(repr(error), *traceback.format_exception(error), vars(error))
    clean(caplog.text)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"\n{CANARY}\n".encode(), id="in the second line"),
        pytest.param(CANARY.encode() + b"\xff", id="not UTF-8"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_password_file_that_has_none_is_an_error_that_shows_nothing_of_it(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Place(at("file", "redis://127.0.0.1:1", tmp_path), 2).apply(monkeypatch)
    (tmp_path / "password").write_bytes(content)
    settings = resolve(start=tmp_path)
    with pytest.raises(ScatterError, match="has no password") as caught:
        open_store(settings.redis_url, "app", access=settings.access)
    clean(*traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        f"redis//{CANARY}@h",
        f"redis:/{CANARY}@h:1",
        f"redis://u:{CANARY}@h:99999999",
        f"redis://u:{CANARY}@h/x",
        f"redis://h?password={CANARY}&db=x",
        f"redis+sentinel://u:{CANARY}@h",
        f"redis+sentinel://h?sentinel_password={CANARY}",
        f"http://u:{CANARY}@h",
        CANARY,
    ],
)
def test_an_address_that_is_none_is_not_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCATTER_REDIS_URL", url)
    with pytest.raises(ScatterError) as caught:
        resolve()
    clean(*traceback.format_exception(caught.value))
    with pytest.raises(ScatterError) as caught:
        scatter_agent.start(redis_url=url)
    clean(*traceback.format_exception(caught.value))


# where the password comes from ------------------------------------------------------------


def test_a_new_password_in_the_file_is_used_for_the_next_connection(
    redis_server: EmbeddedServer, tmp_path: Path
) -> None:
    admin = Link(redis_server.url)
    rules = ["reset", "on", "~*", "&*", "+@all"]
    admin.run([("ACL", "SETUSER", USER, *rules, ">first")])
    file = tmp_path / "password"
    file.write_text("first")
    url = f"unix://{redis_server.socket}?db=0"
    settings = resolve(redis_url=url, redis_username=USER, redis_password_file=str(file))
    store = open_store(url, "app", access=settings.access)
    assert store.read(0).tip == 0
    admin.run([("ACL", "SETUSER", USER, "resetpass", ">second")])
    admin.run([("CLIENT", "KILL", "USER", USER)])
    file.write_text("second\r\nand a second line\n")
    assert store.read(0).tip == 0
    store.close()
    file.unlink()
    with pytest.raises(ScatterError, match=r"password file .* cannot be read"):
        store.read(0)
    admin.run([("ACL", "DELUSER", USER)])
    admin.close()


def test_what_the_address_says_of_a_log_in_goes_before_settings(
    redis_server: EmbeddedServer, tmp_path: Path
) -> None:
    admin = Link(redis_server.url)
    admin.run([("ACL", "SETUSER", USER, "reset", "on", "~*", "&*", "+@all", ">right")])
    file = tmp_path / "password"
    file.write_text("wrong")
    more = {"redis_username": "nobody", "redis_password_file": str(file)}
    url = f"unix://{USER}:right@{redis_server.socket}?db=0"
    store = open_store(url, "app", access=resolve(redis_url=url, **more).access)
    assert store.read(0).tip == 0
    store.close()
    file.write_text("right")
    url = f"unix://{USER}@{redis_server.socket}?db=0"
    store = open_store(url, "app", access=resolve(redis_url=url, **more).access)
    assert store.read(0).tip == 0, "the address has the user, the file the password"
    store.close()
    admin.run([("ACL", "DELUSER", USER)])
    admin.close()


def test_a_user_without_a_password_is_an_error_that_says_where_to_put_it(tmp_path: Path) -> None:
    settings = resolve(start=tmp_path, redis_url="redis://h", redis_username="ann")
    with pytest.raises(ScatterError, match="SCATTER_REDIS_PASSWORD_FILE"):
        open_store(settings.redis_url, "app", access=settings.access)
