"""The last known good: a directory that says what to run when no server can be asked."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linking import Lab
from scatter_agent.agent import Agent
from scatter_agent.cache import Cache
from support import wait_until
from test_agent import Away

from scatter.config import Settings
from scatter.errors import StoreRefused, StoreUnavailable
from scatter.log import Journal, journal
from scatter.releases import Releases
from scatter.server import EmbeddedServer
from scatter.store import writer
from scatter.store.directory import DirectoryStore
from scatter.store.memory import MemoryStore
from scatter.store.writer import Writer

from test_log import push  # isort: skip


@pytest.fixture
def away(lab: Lab, own_server: Callable[..., EmbeddedServer]) -> Iterator[Away]:
    made = Away(lab, own_server)
    yield made
    made.close()


def start(world: Away, folder: Path, **options: Any) -> Agent:
    """Start an agent that keeps what it runs in a directory."""
    config = Settings(redis_url=world.url, namespace=world.namespace, cache=str(folder))
    agent = Agent(config, registry=world.registry, look_s=0.05, **options)
    world.agents.append(agent)
    agent.start()
    return agent


def restart(world: Away) -> None:
    """Have the functions as a new process has them: deployed."""
    for agent in world.agents:
        agent.stop()
    slots = world.registry.slots()
    world.registry.switch({name: slot.shipped for name, slot in slots.items()})
    for slot in slots.values():
        slot.loaded.clear()
    assert world.calls() == "f0 g0 h0"


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


# agents ----------------------------------------------------------------------------------


def test_with_the_server_down_a_process_starts_on_what_was_good_last(
    away: Away, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "cache"
    agent = start(away, folder)
    assert agent.wait(20)
    away.push(f="f1", g="g1")
    away.push(f="f2")
    away.until("f2 g1 h0")
    store = DirectoryStore(folder, "shop")
    wait_until(
        lambda: (folder / "shop" / "tip").exists() and store.read(0).tip == 2, "it to be kept"
    )
    away.kill()
    restart(away)
    again = start(away, folder)
    away.until("f2 g1 h0")
    wait_until(lambda: again.status().sequence == 2, "the status to say so")
    assert again.status().state == "stale"
    kept = "Until then it runs release 2 as it was kept here."
    wait_until(lambda: kept in again.status().reason, "the reason to say so")
    assert any("scatter.from_cache" in record.getMessage() for record in caplog.records)
    away.restart()
    away.push(f="f3")
    away.until("f3 g1 h0")
    wait_until(lambda: again.status().state == "ready", "it to be on the log")
    wait_until(lambda: store.read(0).tip == 3, "it to be kept")
    away.kill()
    wait_until(lambda: again.status().state == "stale", "it to miss the server")
    assert "as it was kept here" not in again.status().reason, "that is over"


def test_a_server_that_refuses_at_the_start_is_no_server(away: Away, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    agent = start(away, folder)
    assert agent.wait(20)
    away.push(f="f1")
    away.until("f1 g0 h0")
    wait_until(lambda: (folder / "shop" / "tip").exists(), "it to be kept")
    restart(away)
    away.run("CONFIG", "SET", "requirepass", "pw")
    again = start(away, folder)
    away.until("f1 g0 h0")
    kept = "Until then it runs release 1 as it was kept here."
    wait_until(lambda: kept in again.status().reason, "the reason to say so")
    assert again.status().state == "error"
    away.run("CONFIG", "SET", "requirepass", "")
    wait_until(lambda: again.status().state == "ready", "it to be on the log")


def test_a_log_that_cannot_be_believed_at_the_start_is_no_log(away: Away, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    agent = start(away, folder)
    assert agent.wait(20)
    away.push(f="f1")
    away.until("f1 g0 h0")
    wait_until(lambda: (folder / "shop" / "tip").exists(), "it to be kept")
    restart(away)
    good = away.run("HGET", "scatter:{shop}:log", 1)
    away.run("HSET", "scatter:{shop}:log", 1, "garbage")
    again = start(away, folder)
    away.until("f1 g0 h0")
    kept = "Until then it runs release 1 as it was kept here."
    wait_until(lambda: kept in again.status().reason, "the reason to say so")
    assert (again.status().state, again.status().code) == ("error", "bad-envelope")
    wait_until(lambda: again.status().sequence == 1, "the release that runs")
    away.run("HSET", "scatter:{shop}:log", 1, good)
    wait_until(lambda: again.status().state == "ready", "it to be on the log")
    assert again.status().reason == ""


def test_a_fault_of_reading_the_directory_ends_no_agent(
    away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Cache, __: object) -> Journal:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(Cache, "journal", fail)
    away.push(f="f1")
    away.kill()
    agent = start(away, tmp_path / "cache")
    wait_until(lambda: "ZeroDivisionError: a fault" in caplog.text, "the event")
    away.restart()
    wait_until(lambda: agent.status().state == "ready", "it to go on")


def test_with_the_server_there_nothing_is_taken_from_the_directory(
    away: Away, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    assert start(away, folder).wait(20)
    away.push(f="f1")
    store = DirectoryStore(folder, "shop")
    wait_until(
        lambda: (folder / "shop" / "tip").exists() and store.read(0).tip == 1, "it to be kept"
    )
    restart(away)
    away.push(f="f2")
    away.registry.switches.clear()
    assert start(away, folder).wait(20)
    assert away.registry.switches == [{"f": 2}]


def test_a_deploy_is_newer_than_what_was_kept_before_it(away: Away, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    agent = start(away, folder)
    assert agent.wait(20)
    away.push(f="f1", g="g1")
    away.until("f1 g1 h0")
    seen = folder / "shop" / "seen.json"
    wait_until(seen.exists, "it to be kept")
    wait_until(lambda: len(json.loads(seen.read_text())) == 6, "all three functions")
    known = json.loads(seen.read_text())
    newer = {k: v for k, v in known.items() if not k.startswith(f"{away.name('f')} ")}
    away.kill()
    restart(away)
    seen.write_text(json.dumps(newer))  # as if `f` were deployed with other code now
    again = start(away, folder)
    away.until("f0 g1 h0")
    assert again.status().state == "stale"


@pytest.mark.parametrize("harm", ["none", "empty", "half", "foreign", "wrong"])
def test_a_directory_that_holds_nothing_good_leaves_what_is_deployed(
    away: Away, tmp_path: Path, harm: str
) -> None:
    folder = tmp_path / "cache"
    if harm == "foreign":
        folder.mkdir()
        (folder / "shop").mkdir(mode=0o777)
        (folder / "shop").chmod(0o777)
    elif harm != "none":
        assert start(away, folder).wait(20)
        away.push(f="f1")
        wait_until(lambda: (folder / "shop" / "tip").exists(), "it to be kept")
    away.kill()
    restart(away)
    own = folder / "shop"
    if harm == "empty":
        (own / "tip").unlink()
    elif harm == "half":
        (own / "log" / "1").write_bytes((own / "log" / "1").read_bytes()[:-9])
    elif harm == "wrong":
        for bundle in (own / "bundles").iterdir():
            bundle.write_bytes(b"other code")
    agent = start(away, folder)
    wait_until(lambda: agent.status().state == "stale", "the agent to have tried")
    assert away.calls() == "f0 g0 h0"
    away.restart()
    away.push(g="g5")
    away.until("f0 g5 h0" if harm in ("none", "foreign") else "f1 g5 h0")


def test_a_directory_that_cannot_be_written_is_told_once(
    away: Away, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    agent = start(away, tmp_path / "cache")
    assert agent.wait(20)
    for number in (1, 2, 3):
        away.push(f=f"f{number}")
        away.until(f"f{number} g0 h0")
    assert agent.status().state == "ready"
    wait_until(lambda: "scatter.not_cached" in caplog.text, "the event")
    assert caplog.text.count("scatter.not_cached") == 1


# what is kept ----------------------------------------------------------------------------


def kept(folder: Path, store: MemoryStore, names: frozenset[str]) -> Cache:
    """Keep a store's log as an agent with these functions does."""
    cache = Cache(str(folder), store.namespace)
    log = Journal(store)
    log.catch_up()
    cache.keep(log, names, {})
    return cache


def test_only_the_bundles_of_own_functions_are_kept_and_old_ones_go(tmp_path: Path) -> None:
    store = MemoryStore("app")
    releases = Journal(store)
    for name in ("f", "g", "f"):
        push(releases, name)
    cache = Cache(str(tmp_path), "app")
    log = Journal(store)
    log.catch_up()
    cache.keep(log, frozenset("f"), {})
    live = log.ledger.functions["f"].live.bundle
    assert [f.name for f in (tmp_path / "app" / "bundles").iterdir()] == [live]
    push(releases, "f")
    log.catch_up()
    cache.keep(log, frozenset("f"), {})
    live = log.ledger.functions["f"].live.bundle
    assert [f.name for f in (tmp_path / "app" / "bundles").iterdir()] == [live]
    assert DirectoryStore(tmp_path, "app").bundles([live]) == store.bundles([live])


def test_a_log_with_snapshots_is_kept_from_the_newest_one_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 4)
    store = MemoryStore("app")
    releases = Journal(store)
    for number in range(11):
        push(releases, f"f{number % 3}")
    cache = kept(tmp_path, store, frozenset({"f0"}))
    assert cache
    copy = Journal(DirectoryStore(tmp_path, "app"))
    copy.catch_up()
    assert dict(copy.ledger.functions) == dict(releases.ledger.functions)
    numbers = sorted(int(f.name) for f in (tmp_path / "app" / "log").iterdir())
    assert numbers == [*range(releases.ledger.snapshot_sequence, 12)]


def test_another_log_takes_the_place_of_the_kept_one(tmp_path: Path) -> None:
    store, other = MemoryStore("app"), MemoryStore("app")
    releases = Journal(store)
    for _ in range(5):
        push(releases, "f")
    cache = Cache(str(tmp_path), "app")
    log = Journal(store)
    log.catch_up()
    cache.keep(log, frozenset("f"), {})
    push(Journal(other), "g", author="somebody else")
    store._entries[:] = other._entries
    log.catch_up()
    cache.keep(log, frozenset("f"), {})
    copy = Journal(DirectoryStore(tmp_path, "app"))
    copy.catch_up()
    assert set(copy.ledger.functions) == {"g"}


class KilledError(BaseException):
    """The writer was killed."""


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.sampled_from("fgh"), min_size=1, max_size=9),
    at=st.integers(0, 40),
    pause=st.integers(1, 4),
)
def test_a_writer_that_is_killed_at_any_moment_leaves_an_older_state(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], at: int, pause: int
) -> None:
    """Every file operation is a moment; what is read afterwards is a state that the log had."""
    folder = tmp_path_factory.mktemp("killed")
    store = MemoryStore("app")
    releases, states = Journal(store), [dict[str, Any]()]
    cache = Cache(str(folder), "app")
    log = Journal(store)
    left = at

    def step(*_: object, **__: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError

    real = writer.write_whole, Path.unlink

    def write(file: Path, data: bytes, **options: Any) -> None:
        step()
        real[0](file, data, **options)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        step()
        real[1](self, missing_ok=missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "write_whole", write)
        patch.setattr(Path, "unlink", unlink)
        try:
            for number, name in enumerate(names, start=1):
                push(releases, name)
                states.append(dict(releases.ledger.functions))
                if number % pause == 0:
                    log.catch_up()
                    cache.keep(log, frozenset("fgh"), {name: number})
        except KilledError:
            pass
    copy = Journal(DirectoryStore(folder, "app"))
    try:
        copy.catch_up()
    except StoreUnavailable:
        return  # nothing was made yet
    assert dict(copy.ledger.functions) in states
    live = [s.live for s in copy.ledger.functions.values()]
    assert set(copy.bundles(live)) == {change.bundle for change in live}


def test_two_processes_keep_what_both_need(tmp_path: Path) -> None:
    store = MemoryStore("app")
    releases = Journal(store)
    push(releases, "f")
    push(releases, "g")
    kept(tmp_path, store, frozenset("f"))
    kept(tmp_path, store, frozenset("g"))
    live = {s.live.bundle for s in releases.ledger.functions.values()}
    assert {f.name for f in (tmp_path / "app" / "bundles").iterdir()} == live


def test_while_one_writes_the_others_leave_it(tmp_path: Path) -> None:
    with Writer(tmp_path, "app").writing() as mine:
        assert mine
        with Writer(tmp_path, "app").writing() as theirs:
            assert not theirs
    with Writer(tmp_path, "app").writing() as theirs:
        assert theirs


def test_many_writers_at_once_leave_a_whole_directory(tmp_path: Path) -> None:
    store = MemoryStore("app")
    releases = Journal(store)
    done = threading.Event()
    caches = [Cache(str(tmp_path), "app") for _ in range(4)]

    def keep(cache: Cache) -> None:
        log = Journal(store)
        while not done.is_set():
            log.catch_up()
            cache.keep(log, frozenset("fg"), {})
        log.catch_up()

    threads = [threading.Thread(target=keep, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for number in range(40):
        push(releases, "fg"[number % 2])
    done.set()
    for thread in threads:
        thread.join()
    kept(tmp_path, store, frozenset("fg"))
    copy = Journal(DirectoryStore(tmp_path, "app"))
    copy.catch_up()
    assert dict(copy.ledger.functions) == dict(releases.ledger.functions)


# whose it is -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_to_is_neither_read_nor_written(
    tmp_path: Path, mode: int
) -> None:
    store = MemoryStore("app")
    push(Journal(store), "f")
    kept(tmp_path, store, frozenset("f"))
    (tmp_path / "app").chmod(mode)
    before = files(tmp_path)
    with pytest.raises(StoreRefused, match="nobody else can write to"):
        DirectoryStore(tmp_path, "app").read(0)
    push(Journal(store), "f")
    kept(tmp_path, store, frozenset("f"))
    assert files(tmp_path) == before


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = MemoryStore("app")
    push(Journal(store), "f")
    kept(tmp_path, store, frozenset("f"))
    for file in (tmp_path / "app").rglob("*"):
        if file.name != "lock":
            assert not stat.S_IMODE(os.stat(file).st_mode) & 0o077, file


def test_a_copy_takes_nothing(tmp_path: Path) -> None:
    store = MemoryStore("app")
    push(Journal(store), "f")
    kept(tmp_path, store, frozenset("f"))
    copy = DirectoryStore(tmp_path, "app")
    with pytest.raises(StoreRefused, match="is a copy and takes no releases"):
        copy.append(2, b"", {})
    assert Releases(Journal(copy), author="ann").functions().keys() == {"f"}
