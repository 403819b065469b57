"""Groups of servers for tests: a master with sentinels, a cluster; and processes that follow them.

Servers are whatever `scatter.server.find_binary` finds, which can all be sentinels and nodes of a
cluster too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import free_port, signed, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.errors import StoreUnavailable
from scatter.releases import Candidate, Releases
from scatter.server import death_with_parent, find_binary
from scatter.store.link import Link
from scatter.store.redis import RedisStore

PATIENCE_S = 40.0
"""A slow machine may need several failovers until one works."""

SHOP = """\
import scatter


@scatter.track
def price():
    return 0
"""

FOLLOW = """
import sys, threading, time, scatter_agent, shop

agent = scatter_agent.start(wait=20)

def heed():
    "After a line of input, look at the log only when the doorbell rings."
    sys.stdin.readline()
    agent._work._listener._look_s = 3600.0

threading.Thread(target=heed, daemon=True).start()
seen = None
while True:
    found = shop.price(), scatter_agent.status().doorbell
    if found != seen:
        seen = found
        print(*found, flush=True)
    time.sleep(0.002)
"""


class Follower:
    """A process that runs the shop, and the prices that it came to have."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._output = folder / f"follower-{len(list(folder.iterdir()))}"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", FOLLOW],
                cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output,
            )  # fmt: skip

    def until(self, price: int, doorbell: str = "") -> None:
        """Wait until the newest price is this one, and the doorbell is in this state."""

        def has_come() -> bool:
            assert self._process.poll() is None, self._output.read_text()
            return any(
                line.startswith(f"{price} {doorbell}")
                for line in self._output.read_text().splitlines()
            )

        wait_until(has_come, f"the price {price} in {self._output}", PATIENCE_S)

    def look_no_more(self) -> None:
        """From the next release on, have it look at the log only when it hears the doorbell."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Node:
    """One server process on a port of loopback, which may be killed, frozen and started again."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        password: str = "",
        sentinel: bool = False,
        cluster: bool = False,
    ) -> None:
        self.port = free_port()
        self.bus_port = free_port() if cluster else 0  # where the other nodes talk to it
        if cluster:
            options = (*options, "cluster-enabled yes", f"cluster-port {self.bus_port}")
        self.folder = folder / f"n{self.port}"
        self.folder.mkdir()
        conf = self.folder / "s.conf"
        conf.write_text("\n".join(options) + "\n")
        flags = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        flags += ["--sentinel"] if sentinel else ["--save", "", "--appendonly", "no"]
        self._command = [str(find_binary()), str(conf), *flags]
        login = f":{password}@" if password else ""
        self.link = Link(f"redis://{login}127.0.0.1:{self.port}", reply_timeout_s=5.0)
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, preexec_fn=death_with_parent()
            )
        try:
            wait_until(self._answers, f"the server on port {self.port}")
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        try:
            return self.run("PING") == b"PONG"
        except StoreUnavailable:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            return False

    def run(self, *command: Any) -> Any:
        """Run one command on this server, past all routes."""
        (reply,) = self.link.run([command])
        return reply

    def role(self) -> str:
        return str(self.run("ROLE")[0].decode())

    def silence(self) -> None:
        """Switch its notifications off, as they are on a server that nobody has prepared."""
        self.run("CONFIG", "SET", "notify-keyspace-events", "")

    def rings(self) -> bool:
        """Return whether notifications are on, for which a doorbell must have seen to."""
        found = self.run("CONFIG", "GET", "notify-keyspace-events")
        flags = found[b"notify-keyspace-events"].decode()
        return "K" in flags and ("h" in flags or "A" in flags)

    def kill(self) -> None:
        self.thaw()
        self.link.close()
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it. It may have been ended before."""
        self.kill()

    def freeze(self) -> None:
        self.link.close()
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class Sentinels:
    """A master and a replica, watched by three sentinels."""

    NAME = "shop-master"
    DOWN_MS = 1500

    def __init__(self, folder: Path) -> None:
        self._nodes: list[Node] = []
        try:
            self._begin(folder)
        except BaseException:
            self.close()
            raise

    def _begin(self, folder: Path) -> None:
        options = ["repl-diskless-sync-delay 0", "repl-ping-replica-period 1"]
        self.master = self._node(folder, *options)
        self.replica = self._node(folder, *options, f"replicaof 127.0.0.1 {self.master.port}")
        wait_until(self._is_linked, "the replica")
        self.sentinels = [self._node(folder, *self._watch(), sentinel=True) for _ in range(3)]
        for node in self.sentinels:
            wait_until(lambda node=node: self._is_ready(node), "the sentinels to know each other")

    def _node(self, folder: Path, *options: str, sentinel: bool = False) -> Node:
        self._nodes.append(Node(folder, *options, sentinel=sentinel))
        return self._nodes[-1]

    def _watch(self) -> list[str]:
        name = self.NAME
        return [
            f"sentinel monitor {name} 127.0.0.1 {self.master.port} 2",
            f"sentinel down-after-milliseconds {name} {self.DOWN_MS}",
            f"sentinel failover-timeout {name} 3000",
        ]

    def _is_linked(self) -> bool:
        return b"master_link_status:up" in self.replica.run("INFO", "replication")

    def _is_ready(self, node: Node) -> bool:
        found = self.state(node)
        return (found[b"num-slaves"], found[b"num-other-sentinels"]) == (b"1", b"2")

    def state(self, node: Node) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = node.run("SENTINEL", "MASTER", self.NAME)
        return found

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.NAME}"

    def until_promoted(self) -> None:
        wait_until(lambda: self.replica.role() == "master", "the failover", PATIENCE_S)

    def close(self) -> None:
        for node in reversed(self._nodes):
            node.close()


class Cluster:
    """Three masters, and a replica of the one that owns the slot of a namespace."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.nodes: list[Node] = []
        try:
            self._begin(folder, namespace)
        except BaseException:
            self.close()
            raise

    def _begin(self, folder: Path, namespace: str) -> None:
        options = ["cluster-node-timeout 2000", "cluster-replica-validity-factor 0"]
        for _ in range(4):
            node = Node(folder, *options, "repl-diskless-sync-delay 0", cluster=True)
            self.nodes.append(node)
        first, second, third, self.replica = self.nodes
        bounds = [0, 5461, 10923, 16384]
        for node, begin, end in zip(self.nodes, bounds, bounds[1:], strict=False):
            node.run("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
        for number, node in enumerate(self.nodes, 1):
            node.run("CLUSTER", "SET-CONFIG-EPOCH", number)
            first.run("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        self.slot = first.run("CLUSTER", "KEYSLOT", f"{{{namespace}}}")
        masters = [first, second, third]
        self.owner = masters[sum(self.slot >= bound for bound in bounds[1:])]
        self.others = [node for node in masters if node is not self.owner]
        for node in self.nodes:
            wait_until(lambda node=node: self._is_whole(node), "the cluster", PATIENCE_S)
        self.replica.run("CLUSTER", "REPLICATE", self.id(self.owner))
        wait_until(self._is_linked, "the replica", PATIENCE_S)

    def _is_whole(self, node: Node) -> bool:
        info = node.run("CLUSTER", "INFO").decode()
        return "cluster_state:ok" in info and "cluster_known_nodes:4" in info

    def _is_linked(self) -> bool:
        """Return whether the replica is up, and every node knows of it."""
        if b"master_link_status:up" not in self.replica.run("INFO", "replication"):
            return False
        own, id_of_owner = self.id(self.replica).encode(), self.id(self.owner)
        known = [node.run("CLUSTER", "REPLICAS", id_of_owner) for node in self.others]
        return all(any(own in line for line in lines) for lines in known)

    @staticmethod
    def id(node: Node) -> str:
        return str(node.run("CLUSTER", "MYID").decode())

    @property
    def url(self) -> str:
        """An address that names one node, and not the owner: the others are found by themselves."""
        return f"redis+cluster://127.0.0.1:{self.others[0].port}"

    def begin_move(self, target: Node) -> None:
        """Have the owner begin to hand the slot over: keys that it has not are asked for there."""
        target.run("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.id(self.owner))
        self.owner.run("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.id(target))

    def move_keys(self, target: Node) -> None:
        while keys := self.owner.run("CLUSTER", "GETKEYSINSLOT", self.slot, 10):
            self.owner.run("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def end_move(self, target: Node) -> None:
        """Tell all masters who owns the slot now."""
        for node in (target, self.owner, *(n for n in self.others if n is not target)):
            node.run("CLUSTER", "SETSLOT", self.slot, "NODE", self.id(target))

    def close(self) -> None:
        for node in self.nodes:
            node.close()


class Shop:
    """A shop on disk, its releases, and the processes that run it."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self.folder, self.url, self.namespace = folder, url, namespace
        (folder / "shop.py").write_text(SHOP)
        self.store = RedisStore(url, namespace)
        self._releases: Releases | None = None
        self._followers: list[Follower] = []

    def push(self, price: int) -> None:
        """Release a price as a watcher does: until it can be."""
        wait_until(lambda: self.try_to_push(price), f"a push of {price}", PATIENCE_S)

    def try_to_push(self, price: int) -> bool:
        source = ModuleSource(SHOP.replace("0", str(price)), name="shop", file="shop.py")
        candidate = Candidate(bundle=build(source, "price").bundle)
        releases = self._releases or Releases(signed(self.store), author="ann")
        self._releases = releases
        try:
            releases.push([candidate], force=True)
        except StoreUnavailable:
            return False
        return True

    def run(self) -> Follower:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")]),
            "SCATTER_REDIS_URL": self.url,
            "SCATTER_NAMESPACE": self.namespace,
        }
        self._followers.append(Follower(self.folder, environment))
        return self._followers[-1]

    def hears(self, follower: Follower, price: int) -> None:
        """Release prices from this one on, the last of which arrives only if the doorbell rings."""
        follower.look_no_more()
        for one in (price, price + 1, price + 2):
            self.push(one)
            follower.until(one)

    def close(self) -> None:
        for follower in self._followers:
            follower.close()
        self.store.close()
