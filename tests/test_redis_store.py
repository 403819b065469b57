"""What only the Redis store has: its keys, errors, dead and frozen servers, flags and forks."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot
from support import free_port, wait_until
from test_store_contract import heard, in_child, let_go

from scatter.errors import ScatterError, StoreRefused, StoreUnavailable
from scatter.server import EmbeddedServer
from scatter.store import link as link_module
from scatter.store import redis as redis_store
from scatter.store.doorbell import RedisDoorbell
from scatter.store.link import Link
from scatter.store.port import Hints, Ring
from scatter.store.redis import RedisStore

Starts = Callable[..., EmbeddedServer]
Opens = Callable[..., RedisStore]
DIGEST = "ab" * 32


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Opens stores, and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def opens(url: str, namespace: str = "app", **options: Any) -> RedisStore:
            store = RedisStore(url, namespace, **options)
            stack.callback(store.close)
            return store

        yield opens


@pytest.fixture
def rings() -> Iterator[Callable[[RedisStore], RedisDoorbell]]:
    """Makes doorbells, and lets go of them at the end."""
    with contextlib.ExitStack() as stack:

        def make(store: RedisStore) -> RedisDoorbell:
            bell = RedisDoorbell(store.link, store.key(""), probe_s=0.2)
            stack.callback(let_go, bell)
            return bell

        yield make


def ask(server: EmbeddedServer, command: str) -> str:
    """Send one command on a connection of its own; return the first line of the answer."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(10)
        wire.connect(str(server.socket))
        wire.sendall(command.encode() + b"\r\n")
        return wire.recv(65536).decode().split("\r\n")[0]


def as_user(server: EmbeddedServer, rules: str) -> str:
    """Make a user with these rights; return the URL for them."""
    assert ask(server, f"ACL SETUSER bob reset on >s3cret {rules}") == "+OK"
    return f"unix://bob:s3cret@{server.socket}?db=0"


def use_everything(store: RedisStore) -> list[Callable[[], object]]:
    """Return a call of each method that talks to the server."""
    return [
        lambda: store.read(0),
        lambda: store.entries([1]),
        lambda: store.append(1, b"entry", {DIGEST: b"bundle"}, Hints(versions={"f": 1})),
        lambda: store.bundles([DIGEST]),
        lambda: store.remove_bundles([DIGEST]),
        lambda: store.versions("f"),
        lambda: store.write_report("p1", b"report", 60),
        lambda: store.keep_report("p1", 60),
        lambda: store.remove_report("p1"),
        lambda: store.reports(),
    ]


# keys ----------------------------------------------------------------------------------------


def documented() -> dict[str, str]:
    """Return key pattern → type, from the table in the module's docstring."""
    rows = re.findall(
        r"^\| `scatter:\{ns\}:(\S+)` \| (\w+(?: \w+)*)", redis_store.__doc__ or "", re.M
    )
    return {re.sub(r"<\w+>", "*", key): kind for key, kind in rows}


def test_keys_types_and_contents_are_those_of_the_documentation(
    redis_url: str, namespace: str, opens: Opens
) -> None:
    store = opens(redis_url, namespace)
    store.append(1, b"one", {DIGEST: b"bundle"}, Hints(versions={"shop:score": 7}))
    store.append(2, b"two", {"cd" * 32: b"new"}, Hints(snapshot=True))
    store.write_report("host-1", b"report", 60)
    store.note_seen({"shop:score": 2})
    store.note_digests("shop:ab", {"shop:score": "[]"})

    prefix = f"scatter:{{{namespace}}}:"
    (keys,) = store.link.run([("KEYS", f"scatter:{{{namespace}}}*")])
    found = {key.decode().removeprefix(prefix) for key in keys}
    assert found == {
        "log",
        f"bundle:{DIGEST}",
        "bundle:" + "cd" * 32,
        "process:host-1",
        "versions:shop:score",
        "recent",
        "snapshot",
        "processes",
        "shipped",
        "deploy:shop:ab",
    }
    assert len({key_slot(key) for key in keys}) == 1, "a cluster keeps them in one slot"

    types = {key: store.link.run([("TYPE", prefix + key)])[0].decode() for key in found}
    names = {"zset": "sorted set"}
    seen = {
        re.sub(r"^(bundle|process|versions|deploy):.*", r"\1:*", k): t for k, t in types.items()
    }
    assert {key: names.get(kind, kind) for key, kind in seen.items()} == documented()

    log, bundle, process, versions, recent, snapshot, processes = store.link.run(
        [
            ("HGETALL", prefix + "log"),
            ("GET", f"{prefix}bundle:{DIGEST}"),
            ("HGETALL", prefix + "process:host-1"),
            ("ZRANGE", prefix + "versions:shop:score", 0, -1, "WITHSCORES"),
            ("HGETALL", prefix + "recent"),
            ("GET", prefix + "snapshot"),
            ("ZRANGE", prefix + "processes", 0, -1),
        ]
    )
    assert log == {b"1": b"one", b"2": b"two"}
    assert bundle == b"bundle"
    assert process == {b"report": b"report"}
    assert [[int(score), int(member)] for member, score in versions] == [[7, 1]]
    assert recent == {b"cd" * 32: b"new"}
    assert snapshot == b"2"
    assert processes == [b"host-1"]


def test_only_reports_expire(redis_url: str, namespace: str, opens: Opens) -> None:
    store = opens(redis_url, namespace)
    store.append(1, b"1", {DIGEST: b"b"}, Hints(versions={"f": 1}, snapshot=True))
    store.write_report("p1", b"report", 60)
    (keys,) = store.link.run([("KEYS", store.key("*"))])
    expiring = [key for key in keys if store.link.run([("PTTL", key)])[0] >= 0]
    assert expiring == [store.key("process", "p1").encode()]
    assert 50_000 < store.link.run([("PTTL", expiring[0])])[0] <= 60_000
    store.keep_report("p1", 500)
    assert 400_000 < store.link.run([("PTTL", expiring[0])])[0] <= 500_000


def test_what_was_removed_leaves_no_key(redis_url: str, namespace: str, opens: Opens) -> None:
    store = opens(redis_url, namespace)
    store.append(1, b"1", {DIGEST: b"b"}, Hints(versions={"f": 1, "g": 1}))
    store.append(2, b"2", {}, Hints(forget={"f": (), "g": (1,)}))
    store.remove_bundles([DIGEST])
    store.write_report("p1", b"report", 60)
    store.remove_report("p1")
    store.write_report("p2", b"report", 60)
    store.remove_report("p2")
    (keys,) = store.link.run([("KEYS", store.key("*"))])
    assert keys == [store.key("log").encode()]


def test_listening_and_its_probe_leave_no_key_and_no_other_channel(
    own_server: Starts, opens: Opens, rings: Callable[[RedisStore], RedisDoorbell]
) -> None:
    server = own_server()
    store = opens(as_user(server, "~* &* +@all -config"))
    bell = rings(store)
    bell.listen(processes=["p1"])
    assert bell.works
    (keys, channels) = store.link.run([("KEYS", "*"), ("PUBSUB", "CHANNELS")])
    assert keys == []
    assert sorted(channels) == [
        b"__keyspace@0__:scatter:{app}:log",
        b"__keyspace@0__:scatter:{app}:process:p1",
    ]


def test_a_large_bundle_is_fetched_and_does_not_ride_along(
    redis_url: str, namespace: str, opens: Opens
) -> None:
    store = opens(redis_url, namespace)
    small, large = b"x" * redis_store.RECENT_BYTES, b"x" * (redis_store.RECENT_BYTES + 1)
    store.append(1, b"1", {DIGEST: small})
    assert store.read(0, recent=True).recent == {DIGEST: small}
    store.append(2, b"2", {"cd" * 32: large})
    assert store.read(0, recent=True).recent == {}
    assert store.bundles(["cd" * 32]) == {"cd" * 32: large}


def test_processes_that_were_not_seen_for_a_day_are_dropped_from_the_index(
    redis_url: str, namespace: str, opens: Opens
) -> None:
    store = opens(redis_url, namespace)
    store.link.run([("ZADD", store.key("processes"), 1000, "long-gone")])
    store.write_report("p1", b"report", 60)
    assert store.link.run([("ZRANGE", store.key("processes"), 0, -1)]) == [[b"p1"]]


# connection ----------------------------------------------------------------------------------


def test_the_connection_speaks_resp3_and_tells_its_name(redis_url: str, opens: Opens) -> None:
    store = opens(redis_url, name="scatter-test")
    (line,) = store.link.run([("CLIENT", "INFO")])
    assert b" name=scatter-test " in line
    assert b" resp=3 " in line


@pytest.mark.parametrize("option", ["protocol=2", "protocol=3", "decode_responses=true"])
def test_options_of_redis_in_the_url_change_nothing_that_the_store_relies_on(
    redis_url: str, namespace: str, opens: Opens, option: str
) -> None:
    store = opens(f"{redis_url}&{option}", namespace)
    assert store.append(1, b"\xff", {DIGEST: b"\xfe"}, Hints(versions={"f": 1}))
    tail = store.read(0, recent=True)
    assert tail.entries == (b"\xff",)
    assert tail.recent == {DIGEST: b"\xfe"}
    assert store.versions("f") == [(1, 1)]


def test_one_round_trip_is_one_write_and_one_answer(
    redis_url: str, namespace: str, opens: Opens
) -> None:
    with Proxy(redis_url) as proxy:
        store = opens(proxy.url, namespace)
        store.read(0)
        for number, call in enumerate(use_everything(store)):
            before = proxy.requests
            call()
            allowed = 2 if number in (2, 9) else 1  # the first append; first who, then what
            assert proxy.requests - before <= allowed
        before = proxy.requests
        store.read(1, to_append=True)
        store.append(2, b"two", {DIGEST: b"bundle"})
        store.append(3, b"three", {})
        assert proxy.requests - before == 3


# errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "unix://:s3cret@/nowhere/redis.sock",
        "redis://bob:s3cret@127.0.0.1:{port}/2",
        "redis://bob:s3cret@no-such-host.invalid",
        "rediss://bob:s3cret@127.0.0.1:{port}",
        "redis://127.0.0.1:{port}?password=s3cret",
    ],
)
def test_nobody_there_is_unavailable_and_the_message_says_how_to_get_a_server(
    opens: Opens, where: str
) -> None:
    store = opens(where.format(port=free_port()))
    for call in use_everything(store):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        message = str(caught.value)
        assert message.startswith(f"No Redis answers at {store.address} (")
        assert "local://" in message
        assert "local://" in message
        assert caught.value.url == store.address
        assert "s3cret" not in message + repr(caught.value) + repr(store) + store.address
    with pytest.raises(StoreUnavailable):
        listen(store)


def listen(store: RedisStore) -> None:
    """Listen on a doorbell of its own that is let go of again."""
    bell = store.doorbell()
    try:
        bell.listen()
    finally:
        let_go(bell)


@pytest.mark.parametrize(
    "login", ["bob:wr0ng@", "nobody:wr0ng@", ":wr0ng@", ""], ids=lambda text: text or "none"
)
def test_a_wrong_or_missing_password_is_refused(
    own_server: Starts, opens: Opens, login: str
) -> None:
    server = own_server()
    as_user(server, "~* &* +@all")
    assert ask(server, "CONFIG SET requirepass s3cret") == "+OK"
    store = opens(f"unix://{login}{server.socket}?db=0")
    for call in use_everything(store):
        with pytest.raises(StoreRefused) as caught:
            call()
        assert str(caught.value).startswith(f"{store.address} denied the log-in (")
        assert str(caught.value).endswith("else of redis_password_file.")
        assert "wr0ng" not in str(caught.value) + repr(store)
    admin = opens(f"unix://:s3cret@{server.socket}?db=0")
    assert admin.link.run([("KEYS", "*")]) == [[]]


@pytest.mark.parametrize("password", ["pa/ss", "p@ss", "a/b@c", "a@b@c", "p#w", "p?w"])
@pytest.mark.parametrize("user", ["", "bob"])
def test_no_part_of_a_password_that_should_have_been_quoted_is_ever_shown(
    user: str, password: str
) -> None:
    url = f"redis://{user}:Q{password}Q@127.0.0.1:{free_port()}/0"
    try:
        store = RedisStore(url, "app")
        shown = repr(store) + store.address
        store.read(0)
    except ScatterError as error:
        shown = str(error)
    for part in re.split(r"[/@#?]", f"Q{password}Q"):
        assert len(part) < 2 or part not in shown, f"{part} of {password} is in: {shown}"
    assert "pass" not in shown
    assert "ss@" not in shown


def test_a_user_without_the_right_to_write_can_read_and_is_told_what_is_denied(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    owner = opens(server.url)
    owner.append(1, b"one", {DIGEST: b"b"})
    reader = opens(as_user(server, "~scatter:{app}:* &* +@read +@connection +@transaction"))
    assert reader.read(0).entries == (b"one",)
    with pytest.raises(StoreRefused) as caught:
        reader.append(2, b"two", {"cd" * 32: b"c"}, Hints(versions={"f": 1}, snapshot=True))
    message = str(caught.value)
    assert message.startswith(f"{reader.address} refused SETNX: ")
    assert "Check the rights of its user (ACL)" in message
    assert "s3cret" not in message
    with pytest.raises(StoreRefused, match="refused HSET"):
        reader.write_report("p1", b"report", 60)
    assert reader.read(0).entries == (b"one",), "the connection goes on"
    assert owner.read(0).tip == 1
    assert owner.bundles(["cd" * 32]) == {}
    assert owner.versions("f") == []
    assert owner.reports() == {}


def test_a_user_may_not_touch_another_namespace(own_server: Starts, opens: Opens) -> None:
    server = own_server()
    mine = opens(as_user(server, "~scatter:{app}:* &* +@all"))
    other = opens(f"unix://bob:s3cret@{server.socket}?db=0", "other")
    assert mine.append(1, b"1", {})
    with pytest.raises(StoreRefused, match=r"refused HMGET: .*key"):
        other.read(0)
    with pytest.raises(StoreRefused):
        other.append(1, b"1", {})
    assert opens(server.url, "other").read(0).tip == 0


def test_a_replica_refuses_writing_and_nothing_is_written(own_server: Starts, opens: Opens) -> None:
    server = own_server()
    store = opens(server.url)
    store.append(1, b"one", {})
    assert ask(server, f"REPLICAOF 127.0.0.1 {free_port()}").startswith("+OK")
    with pytest.raises(StoreRefused, match=r"refused SETNX: .*READONLY|refused SETNX: .*read only"):
        store.append(2, b"two", {DIGEST: b"b"})
    assert store.read(0).entries == (b"one",)
    assert ask(server, "REPLICAOF NO ONE") == "+OK"
    assert store.append(2, b"two", {DIGEST: b"b"})


def test_a_full_server_refuses_writing_and_nothing_is_written(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    store = opens(server.url)
    store.append(1, b"one", {})
    assert ask(server, "CONFIG SET maxmemory 1") == "+OK"
    with pytest.raises(StoreRefused, match=r"refused SETNX: .*maxmemory.*its memory"):
        store.append(2, b"two", {DIGEST: b"b"})
    assert ask(server, "CONFIG SET maxmemory 0") == "+OK"
    assert store.read(0).entries == (b"one",)
    assert store.bundles([DIGEST]) == {}


def test_a_log_that_somebody_overwrote_refuses_an_append(
    redis_url: str, namespace: str, opens: Opens
) -> None:
    store = opens(redis_url, namespace)
    store.link.run([("SET", store.key("log"), "not a log")])
    with pytest.raises(StoreRefused, match="refused HMGET: WRONGTYPE"):
        store.read(0)
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        store.append(1, b"one", {})
    assert store.link.run([("GET", store.key("log"))]) == [b"not a log"]


@pytest.mark.parametrize(
    "junk",
    [
        ("SET", "snapshot", "junk"),
        ("SET", "snapshot", "-1"),
        ("HSET", "snapshot", "a", "b"),
        ("SET", "recent", "junk"),
        ("HSET", "recent", b"\xff", "junk"),
        ("ZADD", "versions:f", "1", "junk"),
        ("ZADD", "versions:f", "inf", "1"),
        ("ZADD", "versions:f", "1.5", "7"),
        ("SET", "versions:f", "junk"),
        ("ZADD", "processes", "1", b"\xff"),
        ("SET", "processes", "junk"),
        ("SET", "process:p1", "junk"),
    ],
    ids=lambda junk: " ".join(str(part) for part in junk),
)
def test_a_wrong_hint_costs_time_and_nothing_else(
    redis_url: str, namespace: str, opens: Opens, junk: tuple[Any, ...]
) -> None:
    """Whoever may write one hint must not be able to stop the readers of a namespace."""
    store = opens(redis_url, namespace)
    store.append(1, b"one", {DIGEST: b"b"}, Hints(versions={"f": 1}))
    store.write_report("p2", b"report", 60)
    name, key, *rest = junk
    store.link.run([("DEL", store.key(key))] if name == "SET" or key == "snapshot" else [("PING",)])
    store.link.run([(name, store.key(key), *rest)])
    assert store.read(0, recent=True).entries == (b"one",)
    assert isinstance(store.versions("f"), list)
    assert store.reports().get("p2") in (b"report", None)
    assert store.append(2, b"two", {"cd" * 32: b"c"}, Hints(versions={"f": 2}, snapshot=True))
    assert store.read(1).entries == (b"two",)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "No Redis answers at"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "No Redis answers at"),
        (b"", "No Redis answers at"),
        (b"-ERR unknown command `HELLO`, with args beginning with: `3`\r\n", "older than Redis 6"),
        (b"-ERR unknown command 'HELLO'\r\n", "older than Redis 6"),
        (b"-NOPROTO unsupported protocol version\r\n", ""),
        (b"%1\r\n+server\r\n+x\r\n", "No Redis answers at"),
        (b"*-1\r\n", ""),
        (b"$5\r\nhel", "No Redis answers at"),
    ],
)
def test_whatever_answers_at_the_address_gives_an_error_of_ours(
    short_tmp: Path, opens: Opens, answer: bytes, expected: str
) -> None:
    with Impostor(short_tmp / "impostor.sock", answer) as impostor:
        store = opens(impostor.url, reply_timeout_s=0.3)
        with pytest.raises((StoreUnavailable, StoreRefused)) as caught:
            store.read(0)
        assert expected in str(caught.value)


def test_ending_a_subscription_on_a_dead_connection_is_unavailable(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    store = opens(server.url)
    store.link.subscribe(["channel"])
    kill_clients(server)
    wait_until(lambda: is_dead(store.link), "the connection to end")
    with pytest.raises(StoreUnavailable):
        for _ in range(3):
            store.link.unsubscribe("channel")


@pytest.mark.parametrize("first", ["run", "subscribe"])
def test_a_server_that_names_no_connections_is_used_all_the_same(
    own_server: Starts, opens: Opens, first: str
) -> None:
    server = own_server()
    store, other = opens(server.url), opens(server.url)
    other.link.run([("ACL", "SETUSER", "default", "-client|setname")])
    if first == "run":
        assert store.link.run([("PING",)]) == [b"PONG"]
    store.link.subscribe(["one"])
    other.link.run([("PUBLISH", "one", "x")])
    assert store.link.run([("PING",)]) == [b"PONG"]
    assert store.link.take_pushes() == [("one", "x")]


@pytest.mark.parametrize("parser", ["hiredis", "python"])
def test_a_server_that_sends_too_much_is_hung_up_on(
    own_server: Starts, opens: Opens, monkeypatch: pytest.MonkeyPatch, parser: str
) -> None:
    if parser == "python":
        monkeypatch.setattr("scatter.store.dial._parser", _parser_in_python)
    server = own_server()
    writer, reader = opens(server.url), opens(server.url)
    for sequence in range(1, 5):
        assert writer.append(sequence, b"x" * 300_000, {})
    monkeypatch.setattr("scatter.store.meter.MAX_ANSWER_BYTES", 1 << 20)
    with pytest.raises(StoreUnavailable, match="it sent more than 1 MiB for one question"):
        reader.read(0)
    assert not reader.link.connected
    assert len(reader.read(0, 3).entries) == 3, "each question counts for itself"
    assert len(reader.read(1, 3).entries) == 3
    assert len(reader.read(1, 3).entries) == 3


def _parser_in_python() -> dict[str, Any]:
    from redis._parsers import _RESP3Parser

    return {"parser_class": _RESP3Parser}


def test_of_many_notifications_each_kind_is_remembered_once(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    store, other = opens(server.url), opens(server.url)
    store.link.subscribe(["one", "two"])
    publish = [("PUBLISH", channel, "x") for channel in ("one", "two")]
    other.link.run(publish * 1000)
    store.link.run([("PING",)])  # the notifications come before its reply
    assert store.link.take_pushes() == [("one", "x"), ("two", "x")]
    assert store.link.take_pushes() == []


def kill_clients(server: EmbeddedServer) -> None:
    """End every connection but the one that says so."""
    assert ask(server, "CLIENT KILL SKIPME yes TYPE normal")[0] == ":"
    assert ask(server, "CLIENT KILL SKIPME yes TYPE pubsub")[0] == ":"


def is_dead(link: Link) -> bool:
    """Return whether the other side has closed the link's connection."""
    wire: socket.socket = link._connection._sock
    try:
        return wire.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


# servers that die or hang --------------------------------------------------------------------


def test_an_idle_connection_that_was_dropped_is_opened_again_unseen(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    store = opens(server.url)
    store.append(1, b"one", {})
    for call in [lambda: store.read(0).entries, lambda: tuple(store.entries([1]))]:
        kill_clients(server)
        assert call() == (b"one",)


def test_an_append_on_a_dropped_connection_is_carried_out_once(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    store = opens(server.url)
    store.append(1, b"one", {})
    kill_clients(server)
    wait_until(lambda: is_dead(store.link), "the connection to end")
    assert store.append(2, b"two", {DIGEST: b"b"})
    assert store.read(0).entries == (b"one", b"two")
    kill_clients(server)
    wait_until(lambda: is_dead(store.link), "the connection to end")
    assert not store.append(2, b"again", {})
    assert store.read(0).entries == (b"one", b"two")


def test_a_killed_server_is_unavailable_and_the_store_goes_on_when_it_is_back(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server(name="killed")
    store = opens(server.url)
    store.append(1, b"one", {DIGEST: b"b"})
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    for call in use_everything(store):
        with pytest.raises(StoreUnavailable, match="No Redis answers at unix://"):
            call()
    own_server(name="killed")
    assert store.read(0).entries == (b"one",)
    assert store.append(2, b"two", {})


def test_a_server_killed_while_others_write_loses_no_entry_that_was_confirmed(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server("--appendfsync", "always", name="killed")
    store = opens(server.url)
    confirmed: list[int] = []

    def write() -> None:
        with contextlib.suppress(StoreUnavailable):
            for sequence in range(1, 100_000):
                if store.append(sequence, b"%d" % sequence, {}):
                    confirmed.append(sequence)

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: len(confirmed) > 50, "some writes")
    os.kill(server.pid, signal.SIGKILL)
    writer.join()
    server.wait()
    own_server(name="killed")
    tip = store.read(0, 0).tip
    assert confirmed == list(range(1, len(confirmed) + 1))
    assert tip in (len(confirmed), len(confirmed) + 1), "the last may be written, unconfirmed"
    assert store.entries(confirmed) == [b"%d" % sequence for sequence in confirmed]


def test_a_frozen_server_is_unavailable_in_time_and_a_late_answer_is_never_taken_for_another(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    store = opens(server.url, reply_timeout_s=0.15)
    fresh = opens(server.url, reply_timeout_s=0.15)
    store.append(1, b"one", {DIGEST: b"b"})
    store.append(2, b"two", {})
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for frozen in (store, fresh):
            with pytest.raises(StoreUnavailable, match="No Redis answers at unix://"):
                frozen.entries([1])
            assert not frozen.link.connected
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert store.entries([2]) == [b"two"]
    assert store.bundles([DIGEST]) == {DIGEST: b"b"}
    assert fresh.entries([1]) == [b"one"]


def test_a_doorbell_on_a_dead_connection_says_so_and_listens_again(
    own_server: Starts, opens: Opens, rings: Callable[[RedisStore], RedisDoorbell]
) -> None:
    server = own_server()
    store, writer = opens(server.url), opens(server.url)
    bell = rings(store)
    with pytest.raises(StoreUnavailable, match="is gone"):
        bell.wait(0)
    bell.listen()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bell.wait, 30)
        kill_clients(server)
        with pytest.raises(StoreUnavailable):
            waiting.result(20)
    with pytest.raises(StoreUnavailable, match="is gone"):
        bell.wait(0)
    writer.append(1, b"one", {})
    bell.listen()
    assert not bell.wait(0), "what was written before is read, not rung for"
    writer.append(2, b"two", {})
    assert bell.wait(20) == Ring(log=True)
    store.close()
    with pytest.raises(StoreUnavailable, match="is gone"):
        bell.wait(0)


# busy, loading -------------------------------------------------------------------------------


@contextlib.contextmanager
def endless_script(server: EmbeddedServer) -> Iterator[None]:
    """Run a script that never ends; the server answers BUSY to all others meanwhile."""
    assert ask(server, "CONFIG SET busy-reply-threshold 5") == "+OK"
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(server.socket))
        wire.sendall(b'EVAL "while true do end" 0\r\n')
        wait_until(lambda: ask(server, "PING").startswith("-BUSY"), "the script to run")
        try:
            yield
        finally:
            ask(server, "SCRIPT KILL")
            wait_until(lambda: ask(server, "PING") == "+PONG", "the script to end")


def test_a_server_that_runs_a_script_is_asked_again_until_it_answers(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    with Proxy(server.url) as proxy:
        urls = [proxy.url] * 3 + [proxy.url.replace("db=0", "db=5")]
        reader, writer, fresh, fifth = (opens(url) for url in urls)
        reader.append(1, b"one", {})
        writer.read(0)
        with ThreadPoolExecutor(4) as pool:
            with endless_script(server):
                before = proxy.requests
                calls = [
                    pool.submit(lambda: reader.read(0).entries[0]),
                    pool.submit(writer.append, 2, b"two", {DIGEST: b"b"}),
                    pool.submit(fresh.entries, [1]),
                    pool.submit(fifth.entries, [1]),
                ]
                wait_until(lambda: proxy.requests - before > 30, "the stores to ask again")
                assert not any(call.done() for call in calls)
            assert [call.result() for call in calls] == [b"one", True, [b"one"], [None]]
        assert reader.entries([1, 2, 3]) == [b"one", b"two", None]


def test_a_script_that_does_not_end_makes_the_server_unavailable(
    own_server: Starts, opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "BUSY_S", 0.1)
    server = own_server()
    store = opens(server.url)
    store.read(0)
    with endless_script(server):
        with pytest.raises(StoreUnavailable) as caught:
            store.read(0)
        assert f"{store.address} is busy: BUSY" in str(caught.value)
        assert "Try again when it is done." in str(caught.value)
        assert caught.value.url == store.address
        with pytest.raises(StoreUnavailable):
            store.append(1, b"one", {})
    assert store.read(0).tip == 0


def test_an_append_that_was_put_off_by_a_script_looks_at_the_log_again(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server()
    store = opens(server.url)
    for sequence in (1, 2):
        assert store.append(sequence, b"x", {})
    assert ask(server, "CONFIG SET busy-reply-threshold 5") == "+OK"
    empty = "redis.call('DEL',KEYS[1]) local x=0 for i=1,30000000 do x=x+i end return 7"
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(server.socket))
        wire.sendall(f'EVAL "{empty}" 1 {store.key("log")}\r\n'.encode())
        wait_until(lambda: ask(server, "PING").startswith("-BUSY"), "the script to run")
        assert not store.append(3, b"three", {}), "the log was emptied meanwhile: a gap"
        assert wire.recv(100) == b":7\r\n"
    assert store.read(0).tip == 0


def test_a_server_that_loads_its_data_is_asked_again_until_it_answers(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server("--enable-debug-command", "yes", append_only=False)
    store, fresh = opens(server.url), opens(server.url)
    for sequence in range(1, 31):
        store.append(sequence, b"x", {f"{sequence:064x}": b"b" * 2000})
    for setting in ("loading-process-events-interval-bytes 1024", "key-load-delay 30000"):
        assert ask(server, f"CONFIG SET {setting}") == "+OK"
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(server.socket))
        wire.sendall(b"DEBUG RELOAD\r\n")
        wait_until(lambda: ask(server, "PING").startswith("-LOADING"), "the server to load")
        with ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(s.read, 0) for s in (store, fresh)]
            # WATCH is answered while data are loaded: LOADING is then not the first reply
            calls.append(pool.submit(opens(server.url).read, 0, to_append=True))
            wire.settimeout(20)
            assert wire.recv(100) == b"+OK\r\n"
            assert [call.result().tip for call in calls] == [30, 30, 30]


# an answer that is lost ----------------------------------------------------------------------


class Impostor:
    """Listens at a socket and gives every caller the same answer."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.url = f"unix://{path}?db=0"
        self._answer = answer
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                with caller:
                    caller.recv(65536)
                    caller.sendall(self._answer)

    def __enter__(self) -> Impostor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


class Proxy:
    """Stands between a store and its server; counts requests, and cuts when told to.

    Attributes:
        requests: How often something came from the store.
        cut: Called with each request: "before" drops the connection unsent, "after" sends it,
            waits for the answer and drops both; None passes on.

    """

    def __init__(self, url: str) -> None:
        self._target = url.removeprefix("unix://").partition("?")[0]
        self._path = f"{self._target}.proxy"
        self.url = f"unix://{self._path}?db=0"
        self.requests = 0
        self.cut: Callable[[bytes], str | None] = lambda _: None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen()
        self._callers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve)]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                thread = threading.Thread(target=self._pass_on, args=(caller,))
                self._callers.append(caller)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, caller: socket.socket) -> None:
        """Pass on what comes, both ways; requests that arrive together are one."""
        how = None
        with caller, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._target)
            while True:
                ready, _, _ = select.select([caller, server], [], [])
                if server in ready:
                    answer = server.recv(1 << 20)
                    if how == "after" or not answer:
                        return
                    caller.sendall(answer)
                if caller in ready:
                    request = caller.recv(1 << 20)
                    self.requests += bool(request)
                    how = self.cut(request) if request else "before"
                    if how == "before":
                        return
                    server.sendall(request)

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for caller in self._callers:
            with contextlib.suppress(OSError):
                caller.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        os.unlink(self._path)


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    """A proxy to the run's server."""
    with Proxy(redis_url) as proxy:
        yield proxy


def cuts_append(proxy: Proxy, how: str, times: int = 1) -> None:
    """Cut the next appends, and pass everything else on."""
    left = [how] * times
    proxy.cut = lambda request: left.pop() if b"HSETNX" in request and left else None


def test_an_append_whose_answer_is_lost_is_known_to_be_carried_out(
    proxy: Proxy, namespace: str, redis_url: str, opens: Opens
) -> None:
    store = opens(proxy.url, namespace)
    store.append(1, b"one", {})
    cuts_append(proxy, "after")
    assert store.append(2, b"two", {DIGEST: b"b"}) is True
    assert opens(redis_url, namespace).read(0).entries == (b"one", b"two")


def test_a_lost_answer_of_a_lost_race_is_a_lost_race(
    proxy: Proxy, namespace: str, redis_url: str, opens: Opens
) -> None:
    store, other = opens(proxy.url, namespace), opens(redis_url, namespace)
    store.append(1, b"one", {})
    other.append(2, b"the other's", {})
    cuts_append(proxy, "after")
    assert store.append(2, b"two", {}) is False
    assert other.read(0).entries == (b"one", b"the other's")


def test_an_append_that_never_arrived_is_unavailable(
    proxy: Proxy, namespace: str, redis_url: str, opens: Opens
) -> None:
    store = opens(proxy.url, namespace)
    store.append(1, b"one", {})
    cuts_append(proxy, "before", times=2)
    with pytest.raises(StoreUnavailable) as caught:
        store.append(2, b"two", {DIGEST: b"b"})
    assert str(caught.value) == (
        f"The connection to {store.address} was lost; nothing was written. Try again."
    )
    assert caught.value.url == store.address
    assert opens(redis_url, namespace).read(0).entries == (b"one",)
    assert store.append(2, b"two", {DIGEST: b"b"})


def test_an_append_that_is_sent_again_and_was_carried_out_is_known_to_be(
    proxy: Proxy, namespace: str, redis_url: str, opens: Opens
) -> None:
    store, other = opens(proxy.url, namespace), opens(redis_url, namespace)
    store.append(1, b"one", {})
    left = ["after", "before"]
    proxy.cut = lambda request: left.pop() if b"HSETNX" in request and left else None
    assert store.append(2, b"two", {}) is True
    assert not left
    assert other.read(0).entries == (b"one", b"two")


def test_a_server_gone_after_an_append_leaves_it_to_the_reader_to_find_out(
    own_server: Starts, opens: Opens
) -> None:
    server = own_server(name="gone")
    with Proxy(server.url) as proxy:
        store = opens(proxy.url)
        store.append(1, b"one", {})

        def cut(request: bytes) -> str | None:
            if b"HSETNX" in request:
                proxy.cut = lambda _: "before"
                return "after"
            return None

        proxy.cut = cut
        with pytest.raises(StoreUnavailable) as caught:
            store.append(2, b"two", {})
        assert "nothing was written" not in str(caught.value), "nobody knows that"
        proxy.cut = lambda _: None
        assert store.entries([2]) == [b"two"]


def test_every_call_survives_a_link_that_is_cut_at_any_request(
    proxy: Proxy, namespace: str, opens: Opens
) -> None:
    """Reads are sent again, and what is unavailable is so with an error of ours."""
    store = opens(proxy.url, namespace)
    store.append(1, b"entry", {DIGEST: b"bundle"})
    for how in ("before", "after"):
        for call in use_everything(store):
            left = [how]
            proxy.cut = lambda _, left=left: left.pop() if left else None  # type: ignore[misc]
            with contextlib.suppress(StoreUnavailable):
                call()
            assert not left
            proxy.cut = lambda _: None
            assert store.read(0).entries == (b"entry",)
    store.close()


# notification flags --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ("", "Kh"),
        ("K", "h"),
        ("h", "K"),
        ("Ex", "Kh"),
        ("Eh", "K"),
        ("Kxe", "h"),
        ("Kh", ""),
        ("KA", ""),
        ("EA", "K"),
        ("KEA", ""),
    ],
)
def test_missing_letters_are_added_and_those_of_others_stay(
    any_server: EmbeddedServer,
    opens: Opens,
    rings: Callable[[RedisStore], RedisDoorbell],
    before: str,
    added: str,
) -> None:
    store = opens(any_server.url, "flags")
    store.link.run([("CONFIG", "SET", "notify-keyspace-events", before), ("CONFIG", "RESETSTAT")])
    bell = rings(store)
    try:
        bell.listen()
        assert bell.works
        assert bell.trouble == ""
        (found,) = store.link.run([("CONFIG", "GET", "notify-keyspace-events")])
        assert sorted(*found.values()) == sorted((before + added).encode())
        (stats,) = store.link.run([("INFO", "commandstats")])
        assert (b"cmdstat_config|set" in stats) is bool(added), "it is set only when it must be"
        opens(any_server.url, "flags").append(1, b"one", {})
        assert heard(bell, bool) == Ring(log=True)
    finally:
        store.link.run([("CONFIG", "SET", "notify-keyspace-events", "Kh"), ("FLUSHDB",)])


def test_letters_that_somebody_took_away_are_put_back_at_the_next_listen(
    own_server: Starts, opens: Opens, rings: Callable[[RedisStore], RedisDoorbell]
) -> None:
    server = own_server()
    store = opens(server.url)
    bell = rings(store)
    bell.listen()
    assert ask(server, 'CONFIG SET notify-keyspace-events "Ex"') == "+OK"
    bell.listen()
    assert bell.works
    opens(server.url).append(1, b"one", {})
    assert heard(bell, bool) == Ring(log=True)


@pytest.mark.parametrize("rights", ["-config", "-config|set", "-config|get"])
def test_without_the_right_to_config_a_probe_decides(
    own_server: Starts,
    opens: Opens,
    rings: Callable[[RedisStore], RedisDoorbell],
    rights: str,
) -> None:
    server = own_server()
    store = opens(as_user(server, f"~scatter:{{app}}:* &* +@all {rights}"))
    bell = rings(store)
    bell.listen()
    assert bell.works
    assert bell.trouble == ""
    opens(server.url).append(1, b"one", {})
    assert heard(bell, bool) == Ring(log=True)

    assert ask(server, 'CONFIG SET notify-keyspace-events "Ex"') == "+OK"
    bell.listen()
    assert not bell.works
    assert "keyspace notifications" in bell.trouble
    assert "polled" in bell.trouble
    assert "CONFIG SET notify-keyspace-events" in bell.trouble
    assert "silent" in repr(bell)
    assert ask(server, "CONFIG GET notify-keyspace-events") == "*2"
    bell.wake()
    assert bell.wait(20) == Ring(woken=True), "a silent doorbell can still be woken"

    assert ask(server, "CONFIG SET notify-keyspace-events Kh") == "+OK"
    bell.listen()
    assert bell.works
    assert bell.trouble == ""


def test_a_server_without_config_is_probed(
    own_server: Starts, opens: Opens, rings: Callable[[RedisStore], RedisDoorbell]
) -> None:
    server = own_server("--rename-command", "CONFIG", "")
    bell = rings(opens(server.url))
    bell.listen()
    assert bell.works
    opens(server.url).append(1, b"one", {})
    assert heard(bell, bool) == Ring(log=True)


def test_a_user_without_the_right_to_the_channel_is_told_so_and_polls(
    own_server: Starts, opens: Opens, rings: Callable[[RedisStore], RedisDoorbell]
) -> None:
    """Redis 7 and later give a new user no channels, unless its rules name some."""
    server = own_server()
    store = opens(as_user(server, "~scatter:{app}:* +@all resetchannels"))
    bell = rings(store)
    bell.listen()
    assert not bell.works
    assert "refused SUBSCRIBE" in bell.trouble
    assert "Check the rights of its user (ACL)" in bell.trouble
    assert "polled" in bell.trouble
    assert "s3cret" not in bell.trouble
    bell.wake()
    assert bell.wait(20) == Ring(woken=True)


def test_a_reader_without_the_right_to_write_is_rung_for_where_flags_are_set(
    own_server: Starts, opens: Opens, rings: Callable[[RedisStore], RedisDoorbell]
) -> None:
    server = own_server()
    rights = "~scatter:{app}:* &* +@read +@connection +@pubsub +config|get"
    bell = rings(opens(as_user(server, rights)))
    bell.listen()
    assert bell.works
    opens(server.url).append(1, b"one", {})
    assert heard(bell, bool) == Ring(log=True)


def test_the_doorbell_listens_in_the_database_of_its_store(
    own_server: Starts, opens: Opens, rings: Callable[[RedisStore], RedisDoorbell]
) -> None:
    server = own_server()
    third = server.url.replace("db=0", "db=3")
    bell = rings(opens(third))
    bell.listen()
    opens(server.url).append(1, b"another database", {})
    opens(third).append(1, b"one", {})
    assert bell.wait(20) == Ring(log=True)
    assert not bell.wait(0)


# forks ---------------------------------------------------------------------------------------


def test_a_child_never_touches_the_connection_of_its_parent(
    redis_url: str,
    namespace: str,
    opens: Opens,
    rings: Callable[[RedisStore], RedisDoorbell],
) -> None:
    store, writer = opens(redis_url, namespace), opens(redis_url, namespace)
    bell = rings(store)
    bell.listen()
    (mine,) = store.link.run([("CLIENT", "ID")])

    def child() -> None:
        assert store.link.run([("CLIENT", "ID")]) != [mine]
        assert store.append(2, b"child", {})
        own = store.doorbell()
        own.listen()
        assert store.append(3, b"child", {})
        assert own.wait(5).log
        store.close()

    writer.append(1, b"one", {})  # a push waits in the parent's socket while it forks
    assert in_child(child) == ""
    for _ in range(10):
        assert in_child(lambda: store.read(0)) == ""
        assert in_child(store.close) == ""
        assert in_child(lambda: store.link.abandon()) == ""
        assert in_child(lambda: None) == ""
    assert store.link.run([("CLIENT", "ID")]) == [mine]
    assert heard(bell, lambda ring: ring.log) == Ring(log=True)
    assert opens(redis_url, namespace).append(4, b"four", {})
    assert heard(bell, lambda ring: ring.log) == Ring(log=True)
    assert store.link.run([("CLIENT", "ID")]) == [mine]


def test_a_doorbell_in_a_child_listens_again_and_wakes_only_itself(
    redis_url: str,
    namespace: str,
    opens: Opens,
    rings: Callable[[RedisStore], RedisDoorbell],
) -> None:
    store = opens(redis_url, namespace)
    bell = rings(store)
    bell.listen()

    def child() -> None:
        with pytest.raises(StoreUnavailable):
            bell.wait(0)
        bell.wake()
        bell.listen()
        bell.wake()
        assert bell.wait(5).woken

    assert in_child(child) == ""
    assert bell.wait(0.05) == Ring(), "the child woke its parent"


def test_a_child_forked_in_the_middle_of_a_call_is_not_blocked_after_abandon(
    redis_url: str, namespace: str, opens: Opens
) -> None:
    store = opens(redis_url, namespace)
    store.append(1, b"one", {})
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.link._lock:
            held.set()
            done.wait()

    def child() -> None:
        store.link.abandon()
        assert store.read(0).entries == (b"one",)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert in_child(child, 3) == ""
    finally:
        done.set()
        thread.join()
    assert store.read(0).entries == (b"one",)


def test_a_log_that_is_emptied_between_two_appends_gets_no_gap(
    redis_url: str, namespace: str, opens: Opens
) -> None:
    store, other = opens(redis_url, namespace), opens(redis_url, namespace)
    assert store.append(1, b"one", {})
    other.link.run([("DEL", other.key("log"))])
    assert not store.append(2, b"two", {}), "there is no entry 1 any more"
    assert other.entries([1, 2]) == [None, None]
