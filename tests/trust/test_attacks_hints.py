"""Hints that lie, keys of other types, forged rings, and a store that answers garbage.

Nothing of this is trusted, so none of it may change what runs, but for what is said of deploys, and
none of it may keep a worker from the log for longer than it lasts.
"""

from __future__ import annotations

import json
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support import wait_until
from trust.hostile import ANN, Scene, Worker, a_new_worker, goes_on

from scatter.reports import read_reports
from scatter.server import EmbeddedServer

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
