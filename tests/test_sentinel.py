"""Redis Sentinel: processes follow the log to whichever server is the master, and hear it there.

Real servers, real sentinels, real failovers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fleets import PATIENCE_S, Node, Sentinels, Shop
from support import wait_until

from scatter.errors import StoreRefused, StoreUnavailable
from scatter.store.port import Doorbell
from scatter.store.redis import RedisStore


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Sentinels]:
    made = Sentinels(tmp_path)
    yield made
    made.close()


@pytest.fixture
def shop(tmp_path: Path, group: Sentinels) -> Iterator[Shop]:
    (tmp_path / "shop").mkdir()
    made = Shop(tmp_path / "shop", group.url, "shop")
    yield made
    made.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """A master and one sentinel, each with a password of its own: the address without them."""
    master = Node(tmp_path, "requirepass Qmaster", password="Qmaster")
    sentinel = Node(
        tmp_path,
        f"sentinel monitor m 127.0.0.1 {master.port} 1",
        "sentinel auth-pass m Qmaster",
        "requirepass Qsentinel",
        password="Qsentinel",
        sentinel=True,
    )
    master.run("ACL", "SETUSER", "low", "on", ">Qlow", "~scatter:*", "&*", "+@all", "-role")
    yield f"127.0.0.1:{sentinel.port}/m"
    sentinel.kill()
    master.kill()


def append(store: RedisStore, entry: bytes) -> bool:
    """Append as whoever wants it done; return whether it was."""
    try:
        return store.append(store.read(0).tip + 1, entry, {})
    except StoreUnavailable:
        return False


def listens(bell: Doorbell) -> bool:
    try:
        bell.listen()
    except StoreUnavailable:
        return False
    return bell.works


def leaves(bell: Doorbell) -> bool:
    """Wait as an agent does; return whether the doorbell says that its server is not right."""
    try:
        bell.wait(0.2)
    except StoreUnavailable:
        return True
    return False


def test_a_killed_master_is_followed_to_the_next_and_comes_back_as_its_replica(
    group: Sentinels, shop: Shop
) -> None:
    group.replica.silence()
    follower = shop.run()
    shop.push(1)
    follower.until(1, "notifications")
    wait_until(lambda: group.replica.run("HLEN", shop.store.key("log")) == 1, "replication")
    group.master.kill()
    group.until_promoted()
    shop.push(2)
    follower.until(2)
    wait_until(group.replica.rings, "the doorbell to be made to work on the new master")
    shop.hears(follower, 3)
    group.master.start()
    wait_until(lambda: group.master.role() == "slave", "the old master as replica", PATIENCE_S)
    shop.push(6)
    follower.until(6)
    assert len(group.replica.run("HKEYS", shop.store.key("log"))) == 6


def test_a_frozen_master_is_left_and_not_believed_when_it_wakes(
    group: Sentinels, shop: Shop
) -> None:
    follower = shop.run()
    shop.push(1)
    follower.until(1, "notifications")
    idle = RedisStore(group.url, "shop")
    bell = idle.doorbell()
    bell.listen()
    wait_until(lambda: group.replica.run("HLEN", shop.store.key("log")) == 1, "replication")
    group.master.freeze()
    group.until_promoted()
    shop.push(2)
    follower.until(2)
    shop.hears(follower, 3)
    group.master.thaw()  # for some seconds it goes on as if it were the master
    wait_until(lambda: leaves(bell), "the old master to be left", PATIENCE_S)
    bell.listen()
    assert idle.read(0).tip == shop.store.read(0).tip == 5
    idle.close()


def test_a_master_that_was_made_a_replica_is_left_by_who_only_reads_and_by_who_writes(
    group: Sentinels,
) -> None:
    reader, writer = RedisStore(group.url, "shop"), RedisStore(group.url, "shop")
    bell = reader.doorbell()
    bell.listen()
    assert append(writer, b"1")
    assert bell.wait(20).log
    group.master.run("REPLICAOF", "127.0.0.1", group.replica.port)
    with pytest.raises(StoreUnavailable):  # no lasting refusal, and no success
        writer.append(2, b"2", {})
    wait_until(lambda: leaves(bell), "the demoted master to be left", PATIENCE_S)
    group.master.run("REPLICAOF", "NO", "ONE")
    wait_until(lambda: append(writer, b"2"), "a write when there is a master", PATIENCE_S)
    wait_until(lambda: listens(bell), "the doorbell of the master", PATIENCE_S)
    assert append(writer, b"3")
    assert bell.wait(20).log
    reader.close()
    writer.close()


def test_writes_that_a_failover_lost_leave_a_store_that_goes_on_without_a_gap(
    group: Sentinels,
) -> None:
    store = RedisStore(group.url, "shop")
    assert append(store, b"1")
    assert append(store, b"2")
    wait_until(lambda: group.replica.run("HLEN", store.key("log")) == 2, "replication")
    group.master.kill()
    group.until_promoted()
    group.replica.run("HDEL", store.key("log"), 2)  # as if it had not been replicated
    wait_until(lambda: append(store, b"other"), "a write after the failover", PATIENCE_S)
    assert store.append(4, b"too far", {}) is False
    assert store.append(3, b"3", {})
    assert store.read(0).entries == (b"1", b"other", b"3")
    assert group.replica.run("HLEN", store.key("log")) == 3
    store.close()


def test_a_sentinel_that_is_frozen_or_gone_delays_and_stops_nothing(group: Sentinels) -> None:
    frozen, gone, _ = group.sentinels
    frozen.freeze()
    gone.kill()
    store = RedisStore(group.url, "shop")
    for number in range(1, 4):
        assert store.append(number, b"%d" % number, {})
        store.close()
    assert store.read(0).tip == 3
    store.close()
    frozen.thaw()


def test_without_any_sentinel_a_connection_lasts_and_no_new_one_is_had(group: Sentinels) -> None:
    store = RedisStore(group.url, "shop")
    bell = store.doorbell()
    bell.listen()
    for sentinel in group.sentinels:
        sentinel.kill()
    store.link._checked_at = 0.0
    bell.wait(0.01)
    assert store.append(1, b"1", {})
    store.close()
    with pytest.raises(StoreUnavailable, match="no sentinel knows the master shop-master"):
        store.read(0)


def test_sentinels_and_servers_have_passwords_of_their_own(guarded: str) -> None:
    good = RedisStore(f"redis+sentinel://:Qmaster@{guarded}?sentinel_password=Qsentinel", "shop")
    assert good.append(1, b"1", {})
    good.close()
    for url in (
        f"redis+sentinel://:Qmaster@{guarded}?sentinel_password=Qwrong",
        f"redis+sentinel://:Qwrong@{guarded}?sentinel_password=Qsentinel",
        f"redis+sentinel://:Qmaster@{guarded}",
    ):
        store = RedisStore(url, "shop")
        with pytest.raises(StoreRefused, match="denied the log-in") as caught:
            store.read(0)
        assert "Qwrong" not in str(caught.value)
        assert "Qmaster" not in str(caught.value)


def test_a_master_that_lacks_replicas_is_no_lasting_refusal(guarded: str) -> None:
    store = RedisStore(f"redis+sentinel://:Qmaster@{guarded}?sentinel_password=Qsentinel", "shop")
    store.link.run([("CONFIG", "SET", "min-replicas-to-write", 1)])
    with pytest.raises(StoreUnavailable):
        store.append(1, b"1", {})
    with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
        store.write_report("p", b"r", 5.0)
    store.link.run([("CONFIG", "SET", "min-replicas-to-write", 0)])
    assert store.append(1, b"1", {})
    store.close()


def test_a_user_who_may_not_ask_for_the_role_believes_the_sentinels(guarded: str) -> None:
    store = RedisStore(f"redis+sentinel://low:Qlow@{guarded}?sentinel_password=Qsentinel", "shop")
    bell = store.doorbell()
    bell.listen()
    assert append(store, b"1")
    store.link._checked_at = 0.0
    assert bell.wait(20).log
    store.close()


def test_a_master_that_the_sentinels_do_not_know_is_named(guarded: str) -> None:
    url = f"redis+sentinel://:Qmaster@{guarded}x?sentinel_password=Qsentinel"
    store = RedisStore(url, "shop")
    with pytest.raises(
        StoreUnavailable, match=r"no sentinel knows the master mx: .*No such master"
    ):
        store.read(0)
