"""Attacks on workers that begin: with a position that was kept, or new; and hints that lie.

A restarted worker knows how far the log was believed, and nothing else: the log that it is given
must contain that. A new one knows nothing; whatever it is given, it takes nothing but the beginning
of the honest log.
"""

from __future__ import annotations

import json
import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import wait_until
from trust.hostile import ANN, MALLORY, SHOP, Scene, Worker, goes_on
from trust.people import a_release, entry

from scatter.log import Journal, Ledger, statement
from scatter.model import Change
from scatter.reports import read_reports
from scatter.server import EmbeddedServer
from scatter.trust import Unsigned
from scatter.trust.verifier import KeyVerifier

Attack = Callable[[Scene], object]


def _swapped(scene: Scene) -> None:
    first, second, *rest = scene.entries()
    scene.put_log([second, first, *rest])


def _other_log(scene: Scene, *people: Any, length: int) -> list[bytes]:
    """Return a whole log of somebody else's making."""
    ledger, made = Ledger(scene.namespace, Unsigned()), list[bytes]()
    for _ in range(length):
        change = Change(function="shop:f", version=0)
        made.append(entry(a_release(ledger, namespace=scene.namespace, changes=(change,)), *people))
        ledger.advance(made[-1])
    return made


def _reset_by_a_thief(scene: Scene) -> None:
    """A log that a stolen, revoked key has signed: it begins an epoch before the known release."""
    ledger = Ledger(scene.namespace, Unsigned())
    (first,) = _other_log(scene, MALLORY, length=1)
    ledger.advance(first)
    snapshot = ledger.snapshot()
    digest = statement.hash_of(snapshot)
    made = a_release(ledger, namespace=scene.namespace, action="reset", changes=(), epoch=9)
    scene.run(("SET", scene.key("bundle", digest), snapshot))
    scene.put_log([first, entry(replace(made, snapshot=digest), MALLORY)])


def _ends_with(scene: Scene, last: bytes) -> None:
    scene.put(last, at=scene.tip)


RESTARTS: dict[str, tuple[str, Attack]] = {
    "deleted": ("log-went-back", lambda s: s.run(("DEL", s.key("log")))),
    "replayed": ("log-went-back", lambda s: s.put_log(s.entries()[:-1])),
    "replayed from its beginning": ("log-went-back", lambda s: s.put_log(s.entries()[:1])),
    "swapped": ("wrong-sequence", _swapped),
    "with a gap": ("wrong-sequence", lambda s: s.run(("HDEL", s.key("log"), 2))),
    "without its first entry": ("wrong-sequence", lambda s: s.run(("HDEL", s.key("log"), 1))),
    "with garbage in it": ("bad-envelope", lambda s: s.put(b"SCE1", at=2)),
    "with an entry of nobody": ("unsigned", lambda s: s.put(s.forge(sequence=2), at=2)),
    "another one by the same people": (
        "wrong-chain",
        lambda s: s.put_log(_other_log(s, ANN, length=s.tip + 1)),
    ),
    "with another end": (
        "wrong-chain",
        lambda s: _ends_with(s, entry(_last(s, author="bob"), ANN)),
    ),
    "of a thief, as long": (
        "wrong-chain",
        lambda s: s.put_log(_other_log(s, MALLORY, length=s.tip)),
    ),
    "of a thief, with a reset": ("revoked-key", _reset_by_a_thief),
}


def _last(scene: Scene, **fields: Any) -> Any:
    """Return the last release with other fields."""
    opened = Ledger(scene.namespace, Unsigned()).open(scene.entries()[-1])
    return replace(opened.release, **fields)


@pytest.mark.parametrize("name", RESTARTS)
def test_a_log_without_the_known_position_is_refused_by_who_starts_again(
    scene: Scene, worker: Worker, name: str
) -> None:
    code, attack = RESTARTS[name]
    saved, values = scene.save(), scene.values
    worker.until("the honest log", values=values)
    attack(scene)
    worker.ask("mark")
    worker.ask("restart")
    told = worker.until(f"the refusal of a log {name}", state="error", code=code)
    assert told["values"] == values
    assert worker.uninvited() == []
    scene.restore(saved)
    worker.until("the honest log", state="ready", sequence=scene.tip)
    goes_on(scene, worker)


def test_a_log_that_is_withheld_is_known_to_be_old(scene: Scene, monkeypatch: Any) -> None:
    """A freeze: all that is shown is honest, and nothing new comes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(scene.folder / "config"))
    reader = Journal(scene.store, verifier=KeyVerifier())
    reader.catch_up()
    assert reader.is_stale() == ""
    policy = (scene.folder / "config" / "scatter" / "policy.toml").read_text()
    scene.files.policy(f'stale_after = "1s"\n{policy}')
    reader.catch_up()
    said = wait_until(reader.is_stale, "the log to be old")
    assert "somebody withholds what came later" in said
    assert reader.ledger.sequence == scene.tip
    scene.push("f")
    assert len(reader.catch_up()) == 1
    assert reader.is_stale() == ""
    scene.files.policy(policy)
    scene.push("g")


# new ones --------------------------------------------------------------------------------


@contextmanager
def a_new_worker(scene: Scene, folder: Path, text: str = SHOP) -> Iterator[Worker]:
    """Start a worker that knows nothing; `text` is its code."""
    shutil.copytree(scene.folder / "config", folder / "config")
    worker = Worker(folder, scene.url, scene.namespace, text=text)
    try:
        yield worker
    finally:
        worker.end()


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_new_worker_takes_the_beginning_that_it_is_given_and_then_the_rest(
    scene: Scene, worker: Worker, tmp_path: Path, length: int
) -> None:
    beginnings = [["f0", "g0"], ["f1", "g0"], ["f1", "g2"]]
    saved = scene.save()
    scene.put_log(scene.entries()[:length] or [b"poison"])
    with a_new_worker(scene, tmp_path) as new:
        state = {"state": "ready"} if length else {"code": "bad-envelope"}
        told = new.until("what it was given", sequence=length, **state)
        assert told["values"] == beginnings[length]
        scene.restore(saved)
        told = new.until("the honest log", state="ready", sequence=scene.tip)
        assert (told["values"], told["errors"]) == (scene.values, [])
    worker.until("the honest log", state="ready")


def test_a_new_worker_does_not_take_what_a_thief_has_signed(
    scene: Scene, worker: Worker, tmp_path: Path
) -> None:
    saved = scene.save()
    _reset_by_a_thief(scene)
    with a_new_worker(scene, tmp_path) as new:
        told = new.until("the refusal", state="error", code="revoked-key")
        assert (told["values"], told["sequence"]) == (["f0", "g0"], 0)
        scene.restore(saved)
        new.until("the honest log", state="ready", values=scene.values)
    worker.until("the honest log", state="ready")


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_damaged_log_brings_no_old_version_over_newly_deployed_code(
    scene: Scene, worker: Worker, tmp_path: Path, at: int
) -> None:
    deployed = f"f-deployed-{at}"
    newer = SHOP.replace("f0", deployed)
    saved = scene.save()
    scene.put(b"poison", at=at)
    with a_new_worker(scene, tmp_path, newer) as new:
        told = new.until("the refusal", code="bad-envelope", sequence=at - 1)
        assert told["values"][0] == deployed
        scene.restore(saved)
        told = new.until("the honest log", state="ready", sequence=scene.tip)
        assert told["values"] == [deployed, scene.values[1]]
        assert told["superseded"] == ["shop:f"]
        goes_on(scene, worker)
        new.until("a later release", values=scene.values)


# hints -----------------------------------------------------------------------------------

DEEP = "[" * 100_000
NOTES = {
    "nothing": "",
    "deep nesting": DEEP,
    "a huge number": "9" * 100_000,
    "half a character": json.dumps(["\ud800", {}]),
    "half a character in a file": json.dumps(["5" * 64, {"\ud800": "5"}]),
    "strange files": json.dumps(["5" * 64, {"os": "1", "../../etc/passwd": "", "\0": "1"}]),
    "another digest": json.dumps(["5" * 64, {}]),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_is_noted_of_deployed_files_may_lie(scene: Scene, worker: Worker, name: str) -> None:
    found = scene.ask("KEYS", scene.key("deploy", "*"))
    noted = [key for key in found if b"deploy:shop:" in key]
    assert noted
    saved = scene.save()
    commands = [("HSET", key, f"shop:{f}", NOTES[name]) for key in noted for f in "fg"]
    scene.run(*commands)
    worker.ask("mark")
    worker.ask("restart")
    told = worker.until("the log", state="ready", sequence=scene.tip)
    assert (told["values"], told["errors"]) == (scene.values, [])
    assert not [e for e in worker.uninvited() if "passwd" in e]
    scene.restore(saved)
    worker.ask("restart")
    worker.until("the log", state="ready")
    goes_on(scene, worker)


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"999999", b"2", b"9" * 100_000, b"\xff", b"nan", b"\xd9\xa1"]
)
def test_where_the_snapshot_is_may_be_a_lie(scene: Scene, worker: Worker, value: bytes) -> None:
    scene.run(("SET", scene.key("snapshot"), value))
    worker.ask("mark")
    worker.ask("restart")
    told = worker.until("the log", state="ready", sequence=scene.tip)
    assert (told["values"], worker.uninvited()) == (scene.values, [])
    scene.run(("DEL", scene.key("snapshot")))
    goes_on(scene, worker)


@pytest.mark.parametrize("lie", ["garbage", "another bundle", "much", "no hash"])
def test_the_bundles_that_are_sent_along_may_be_others(
    scene: Scene, worker: Worker, lie: str
) -> None:
    scene.push("f", "g")
    known = scene.ledger.functions
    old = known["shop:g"].live.bundle
    (data,) = scene.store.bundles([old]).values()
    worker.until("the honest log", values=scene.values)
    change, good = scene.made("f")
    value = {"garbage": b"garbage", "another bundle": data, "much": b"x" * (8 << 20)}.get(lie, b"")
    recent = ("RPUSH", scene.key("recent"), "x")
    if lie != "no hash":
        recent = ("HSET", scene.key("recent"), change.bundle, value, "\xff", "y")  # type: ignore[assignment]
    made = scene.forge(ANN, changes=(change,))
    scene.run(
        ("DEL", scene.key("recent")),
        recent,
        ("SET", scene.key("bundle", change.bundle), good),
        ("HSET", scene.key("log"), scene.tip + 1, made),
    )
    worker.until("the release", state="ready", values=scene.values, sequence=scene.tip + 1)
    scene.journal.catch_up()
    goes_on(scene, worker)


@pytest.mark.parametrize("lie", ["many", "garbage", "no set", "none"])
def test_where_versions_are_may_be_a_lie(scene: Scene, worker: Worker, lie: str) -> None:
    before = scene.releases.history("shop:f")
    key = scene.key("versions", "shop:f")
    rows: list[Any] = [part for n in range(1, 2000) for part in (1 + n % 5, n)]
    commands: dict[str, list[tuple[Any, ...]]] = {
        "many": [("ZADD", key, *rows)],
        "garbage": [("ZADD", key, 1, b"\xff", "inf", "x", 2, "-9", 3, "9" * 5000)],
        "no set": [("SET", key, "x")],
    }
    scene.run(("DEL", key), *commands.get(lie, []))
    assert scene.releases.history("shop:f") == before
    assert worker.ask("look")["looked"]
    scene.run(("DEL", key))
    goes_on(scene, worker)


@pytest.mark.parametrize(
    "report",
    [b"", b"{}", DEEP.encode(), b'{"format":1}', b"9" * 100_000, b"\x1b[2J", b"\x80\x04."],
    ids=["nothing", "no fields", "deep", "few fields", "huge", "escapes", "pickle"],
)
def test_reports_of_processes_may_lie(scene: Scene, worker: Worker, report: bytes) -> None:
    honest = wait_until(lambda: read_reports(scene.store), "the worker's report")
    scene.run(
        ("ZADD", scene.key("processes"), 9e9, "liar", 9e9, b"\xff", 1, ""),
        ("HSET", scene.key("process", "liar"), "report", report),
        ("HSET", scene.key("process", "\ufffd"), "report", report),
    )
    assert [r.id for r in read_reports(scene.store)] == [r.id for r in honest]
    assert worker.ask("look")["looked"]
    goes_on(scene, worker)


@pytest.mark.parametrize("seen", [b"999999", b"9" * 5000, b"-5", b"x", b"\xff"])
def test_what_is_said_of_deploys_at_most_keeps_the_deployed_code(
    scene: Scene, worker: Worker, tmp_path: Path, seen: bytes
) -> None:
    saved = scene.save()
    codes = scene.ask("HKEYS", scene.key("shipped"))
    scene.run(*[("HSET", scene.key("shipped"), code, seen) for code in codes])
    with a_new_worker(scene, tmp_path) as new:
        told = new.until("the log", state="ready", sequence=scene.tip)
        assert told["values"] in (scene.values, ["f0", "g0"])
        assert (told["values"] == ["f0", "g0"]) == (told["superseded"] == ["shop:f", "shop:g"])
        scene.push("f", "g")
        new.until("a later release", values=scene.values)
    del saved
    scene.run(("DEL", scene.key("shipped")))
    goes_on(scene, worker)


# types, rings, garbage -------------------------------------------------------------------

KEYS = ("log", "recent", "snapshot", "shipped", "processes", "versions:shop:f", "deploy", "bundle")


@pytest.mark.parametrize("value", ["list", "string", "hash", "set"])
@pytest.mark.parametrize("which", KEYS)
def test_a_key_of_another_type_is_an_error_at_most(
    scene: Scene, worker: Worker, which: str, value: str
) -> None:
    saved, values = scene.save(), scene.values
    found = scene.ask("KEYS", scene.key(which) + "*")
    keys = [key for key in found if key.startswith(scene.key(which).encode())]
    make = {"list": ("RPUSH", "x"), "string": ("SET", "x"), "hash": ("HSET", "x", "x")}
    command, *words = make.get(value, ("SADD", "x"))
    for key in keys or [scene.key(which)]:
        scene.run(("DEL", key), (command, key, *words))
    worker.ask("mark")
    scene.ring()
    worker.ask("look")
    worker.ask("restart")
    told = wait_until(lambda: _settled(worker), "an answer")
    assert (told["values"], told["errors"]) == (values, [])
    assert (told["state"], which) in (("ready", which), ("error", "log"))
    assert told["code"] in ("", "log-went-back", "wrong-sequence")
    assert worker.uninvited() == []
    scene.restore(saved)
    worker.ask("restart")
    worker.until("the honest log", state="ready", sequence=scene.tip)
    goes_on(scene, worker)


def _settled(worker: Worker) -> dict[str, Any]:
    told = worker.tell()
    return told if told["state"] != "starting" else {}


def test_forged_rings_are_answered_and_do_no_harm(scene: Scene, worker: Worker) -> None:
    channel = f"__keyspace@0__:{scene.key('log')}"
    words = ["hset", "", "\0", "x" * 100_000, "del", "message"]
    before = worker.tell()
    worker.ask("mark")
    for _ in range(20):
        scene.run(*[("PUBLISH", channel, words[n % len(words)]) for n in range(100)])
    worker.ask("look")
    told = worker.until("the log", state="ready")
    assert (told["values"], told["events"]) == (before["values"], [])
    goes_on(scene, worker)


GARBAGE = {
    "not Redis": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a huge length": b"$99999999999999999999\r\n",
    "a negative length": b"$-9\r\n",
    "a huge array": b"*4294967295\r\n" * 4,
    "deep arrays": b"*1\r\n" * 50_000,
    "binary": bytes(range(256)) * 64,
    "nothing": b"",
}


@contextmanager
def a_liar(port: int, answer: bytes) -> Iterator[int]:
    """Listen, and answer everybody with the same bytes, over and over."""
    with socket.create_server(("127.0.0.1", port)) as server:
        used: int = server.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    try:
                        peer.settimeout(2)
                        while peer.recv(65536) and answer:
                            peer.sendall(answer)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield used
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


_OFTEN = ("a huge array", "not Redis")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in _OFTEN else pytest.mark.slow) for n in GARBAGE]
)
def test_a_store_that_answers_garbage_is_stale_and_followed_when_it_is_one(
    scene: Scene, redis_server: EmbeddedServer, tmp_path: Path, name: str
) -> None:
    shutil.copytree(scene.folder / "config", tmp_path / "config")
    scene.push("f")
    with a_liar(0, GARBAGE[name]) as port:
        worker = Worker(tmp_path, f"redis://127.0.0.1:{port}", scene.namespace)
        try:
            told = worker.until("an answer", state="stale")
            assert (told["values"], told["errors"]) == (["f0", "g0"], [])
        except BaseException:
            worker.end()
            raise
    try:
        with a_relay(port, redis_server):
            told = worker.until("the honest log", state="ready", sequence=scene.tip)
            assert (told["values"], told["errors"]) == (scene.values, [])
    finally:
        worker.end()


@contextmanager
def a_relay(port: int, server: EmbeddedServer) -> Iterator[None]:
    """Listen, and pass all on to the real server."""

    def pipe(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            real = socket.create_connection(("127.0.0.1", server.port or 0))
            for ends in ((peer, real), (real, peer)):
                threads.append(threading.Thread(target=pipe, args=ends))
                threads[-1].start()
            sockets.extend((peer, real))

    threads, sockets = list[threading.Thread](), list[socket.socket]()
    with socket.create_server(("127.0.0.1", port)) as listener:
        accepting = threading.Thread(target=serve)
        accepting.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for one in sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)  # to close it would wake nobody who reads
            for thread in (accepting, *threads):
                thread.join(10)
            for one in sockets:
                one.close()
