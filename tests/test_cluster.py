"""Redis Cluster: processes follow the log to whichever node owns its slot, and hear it there.

Real nodes, real failovers, real moves of a slot.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleets import PATIENCE_S, Cluster, Node, Shop
from support import wait_until

from scatter.errors import StoreUnavailable
from scatter.store.port import Doorbell
from scatter.store.redis import RedisStore


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, "shop")
    yield made
    made.close()


@pytest.fixture
def shop(tmp_path: Path, cluster: Cluster) -> Iterator[Shop]:
    (tmp_path / "shop").mkdir()
    made = Shop(tmp_path / "shop", cluster.url, "shop")
    yield made
    made.close()


def append(store: RedisStore, entry: bytes) -> bool:
    """Append as whoever wants it done; return whether it was."""
    try:
        return store.append(store.read(0).tip + 1, entry, {})
    except StoreUnavailable:
        return False


def rings(bell: Doorbell) -> bool:
    """Wait as an agent does, and listen again when told to; return whether it rang."""
    try:
        return bell.wait(0.5).log
    except StoreUnavailable:
        bell.listen()
        return False


def is_replicated(cluster: Cluster, key: str, entries: int) -> bool:
    """Return whether the owner's replica has so many entries; it reads for who asks it to."""
    cluster.replica.run("READONLY")
    return bool(cluster.replica.run("HLEN", key) == entries)


def test_the_owner_is_found_from_any_node_and_hears_its_doorbell(cluster: Cluster) -> None:
    for node in cluster.nodes:
        store = RedisStore(f"redis+cluster://127.0.0.1:{node.port}", "shop")
        bell = store.doorbell()
        bell.listen()
        assert bell.works
        assert append(store, b"%d" % node.port)
        assert bell.wait(20).log
        store.close()
    assert cluster.owner.run("HLEN", "scatter:{shop}:log") == 4


def test_a_user_who_may_not_ask_for_the_nodes_is_led_to_the_owner_all_the_same(
    cluster: Cluster,
) -> None:
    for node in cluster.nodes:
        node.run("ACL", "SETUSER", "low", "on", ">Qlow", "~scatter:*", "&*", "+@all", "-cluster")
    url = cluster.url.replace("://", "://low:Qlow@")
    store = RedisStore(url, "shop")
    bell = store.doorbell()
    bell.listen()
    assert append(store, b"1")
    assert bell.wait(20).log
    target = cluster.others[1]
    cluster.begin_move(target)
    cluster.move_keys(target)
    cluster.end_move(target)
    assert append(store, b"2")
    assert target.run("HLEN", store.key("log")) == 2
    store.close()


def test_a_killed_owner_is_followed_to_its_replica(cluster: Cluster, shop: Shop) -> None:
    cluster.replica.silence()
    follower = shop.run()
    shop.push(1)
    follower.until(1, "notifications")
    wait_until(lambda: is_replicated(cluster, shop.store.key("log"), 1), "replication")
    cluster.owner.kill()
    wait_until(lambda: cluster.replica.role() == "master", "the failover", PATIENCE_S)
    shop.push(2)
    follower.until(2)
    wait_until(cluster.replica.rings, "the doorbell to be made to work on the new owner")
    shop.hears(follower, 3)
    assert cluster.replica.run("HLEN", shop.store.key("log")) == 5


def test_a_frozen_owner_is_left_and_not_believed_when_it_wakes(
    cluster: Cluster, shop: Shop
) -> None:
    follower = shop.run()
    shop.push(1)
    follower.until(1, "notifications")
    wait_until(lambda: is_replicated(cluster, shop.store.key("log"), 1), "replication")
    cluster.owner.freeze()
    wait_until(lambda: cluster.replica.role() == "master", "the failover", PATIENCE_S)
    shop.push(2)
    follower.until(2)
    cluster.owner.thaw()
    shop.hears(follower, 3)
    assert cluster.replica.run("HLEN", shop.store.key("log")) == 5


def test_a_slot_that_moves_while_pushes_go_on_is_followed_and_loses_none(
    cluster: Cluster, shop: Shop
) -> None:
    target = cluster.others[0]
    target.silence()
    follower = shop.run()
    shop.push(1)
    follower.until(1, "notifications")
    moved = threading.Event()
    pushed = [1]

    def push() -> None:
        while not moved.is_set() or len(pushed) < 10:
            shop.push(pushed[-1] + 1)
            pushed.append(pushed[-1] + 1)

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        wait_until(lambda: len(pushed) > 3, "some pushes", PATIENCE_S)
        cluster.begin_move(target)
        cluster.move_keys(target)
        cluster.end_move(target)
        at_the_end = len(pushed)
        wait_until(lambda: len(pushed) > at_the_end + 1, "pushes to the new owner", PATIENCE_S)
    finally:
        moved.set()
        pusher.join()
    follower.until(pushed[-1])
    wait_until(target.rings, "the doorbell to be made to work on the new owner")
    shop.hears(follower, pushed[-1] + 1)
    assert target.run("HLEN", shop.store.key("log")) == pushed[-1] + 3


def test_a_move_that_lasts_makes_writes_wait_and_refuses_none(cluster: Cluster) -> None:
    store = RedisStore(cluster.url, "shop")
    assert append(store, b"1")
    target = cluster.others[1]
    cluster.begin_move(target)
    assert store.read(0).entries == (b"1",), "what has not left yet can be read"
    writer = RedisStore(cluster.url, "shop")
    with pytest.raises(StoreUnavailable, match="on their way to another node"):
        # a bundle that is not there is asked for at the other node
        writer.append(2, b"2", {"ab" * 32: b"bundle"})
    assert cluster.owner.run("HLEN", store.key("log")) == 1
    cluster.move_keys(target)
    with pytest.raises(StoreUnavailable, match="on their way to another node"):
        store.read(0)
    done: list[bool] = []
    waiting = threading.Thread(target=lambda: done.append(append(writer, b"2")))
    waiting.start()
    cluster.end_move(target)
    waiting.join()
    if done != [True]:  # the end of the move took longer than the write waited
        assert append(writer, b"2")
    assert store.read(0).entries == (b"1", b"2")
    store.close()
    writer.close()


def test_a_doorbell_is_bound_again_where_the_slot_went(cluster: Cluster) -> None:
    reader, writer = RedisStore(cluster.url, "shop"), RedisStore(cluster.url, "shop")
    bell = reader.doorbell()
    bell.listen()
    assert append(writer, b"1")
    assert bell.wait(20).log
    target = cluster.others[1]
    target.silence()
    cluster.begin_move(target)
    cluster.move_keys(target)
    cluster.end_move(target)
    # without a read in between: who waits asks other nodes, too
    wait_until(
        lambda: (rings(bell), target.rings())[1], "the doorbell at the new owner", PATIENCE_S
    )
    bell.listen()
    assert append(writer, b"2")
    assert bell.wait(20).log
    assert reader.read(0).entries == (b"1", b"2")
    reader.close()
    writer.close()


def test_a_cluster_whose_nodes_are_all_gone_is_unavailable(tmp_path: Path) -> None:
    node = Node(tmp_path, cluster=True)
    store = RedisStore(f"redis+cluster://127.0.0.1:{node.port}", "shop")
    with pytest.raises(StoreUnavailable, match="says that the cluster is down"):
        store.read(0)
    node.kill()
    with pytest.raises(StoreUnavailable, match="no node of the cluster leads to the owner"):
        store.read(0)
