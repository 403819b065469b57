"""The faults: each is done to the fleet, undone, and the moment returned at which it was over.

Not here: that all is well afterwards (`faults`, `faults_judge`).
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults_app import NAMES
from benchmarks.faults_fleet import USERS, Fleet
from benchmarks.faults_log import Record
from benchmarks.faults_push import Pusher
from benchmarks.worker import command, dial

_FLAGS = "notify-keyspace-events"


@dataclass
class Scene:
    """What a fault may touch.

    Attributes:
        random: Of this fault.
        is_long: Whether it may take a minute.

    """

    fleet: Fleet
    pusher: Pusher
    record: Record
    random: random.Random
    is_long: bool = False

    def lasts(self, short_s: float, long_s: float) -> None:
        """Wait for the time of a fault."""
        time.sleep((long_s if self.is_long else short_s) * self.random.uniform(0.6, 1.0))


def nothing(_scene: Scene) -> None:
    """What the others are to be compared with."""


# connections -----------------------------------------------------------------------------


def connections_killed(scene: Scene) -> None:
    for _ in range(scene.random.randint(1, 6)):
        for client in scene.fleet.agents():
            if scene.random.random() < 0.7:
                scene.fleet.run("CLIENT", "KILL", "ID", client)
        time.sleep(scene.random.uniform(0, 0.2))


def blackhole(scene: Scene) -> None:
    scene.fleet.proxy.blackhole()
    scene.lasts(4, 20)
    scene.fleet.proxy.heal()


def buffers_overflowed(scene: Scene) -> None:
    setting = "client-output-buffer-limit"
    scene.fleet.run("CONFIG", "SET", setting, "pubsub 65536 0 0")
    for _ in range(30):
        scene.fleet.run("PUBLISH", _channel(scene), b"x" * 200_000)
        time.sleep(0.01)
    scene.fleet.run("CONFIG", "SET", setting, "pubsub 33554432 8388608 60")


def rights_revoked(scene: Scene) -> None:
    fleet = scene.fleet
    if scene.random.random() < 0.5:
        _log_out(fleet)
    else:  # they stay connected, and everything that they ask for is refused
        for user in USERS:
            fleet.run("ACL", "SETUSER", user, "-@all")
    scene.lasts(2, 10)
    _let_in(fleet)


def _log_out(fleet: Fleet) -> None:
    for user in USERS:
        fleet.run("ACL", "SETUSER", user, "off")
        fleet.run("CLIENT", "KILL", "USER", user)


def _let_in(fleet: Fleet) -> None:
    for user, less in USERS.items():
        fleet.run("ACL", "SETUSER", user, "on", "+@all", *less.split())


def many_missed(scene: Scene) -> None:
    _log_out(scene.fleet)
    scene.fleet.proxy.blackhole()
    for _ in range(1000 if scene.is_long else 150):
        with scene.pusher.paused():
            scene.pusher.attempt()
    _let_in(scene.fleet)
    scene.fleet.proxy.heal()


# the server ------------------------------------------------------------------------------


def server_killed(scene: Scene) -> None:
    scene.fleet.kill()
    time.sleep(0.5)
    scene.fleet.restart()


def server_away(scene: Scene) -> None:
    scene.fleet.kill()
    scene.lasts(5, 60)
    scene.fleet.restart()


def server_frozen(scene: Scene) -> None:
    server = scene.fleet.server
    os.kill(server.pid, signal.SIGSTOP)
    scene.lasts(3, 20)
    os.kill(server.pid, signal.SIGCONT)


def server_busy(scene: Scene) -> None:
    setting, socket_path = "busy-reply-threshold", str(scene.fleet.server.socket)
    scene.fleet.run("CONFIG", "SET", setting, 50)
    with dial(socket_path) as spinning, dial(socket_path) as killer:
        spinning.sendall(command("EVAL", "while true do end", "0"))
        scene.lasts(1.5, 6)
        killer.sendall(command("SCRIPT", "KILL"))
        killer.recv(4096)
        spinning.recv(4096)
    scene.fleet.run("CONFIG", "SET", setting, 5000)


def server_loading(scene: Scene) -> None:
    """Restart on data that take a while to load."""
    fleet = scene.fleet
    fill = "for i=1,3000 do redis.call('SET', 'filler:'..i, string.rep('x', 1000)) end"
    fleet.run("EVAL", fill, 0)
    fleet.run("BGREWRITEAOF")
    fleet.await_rewrite()
    fleet.kill()
    fleet.restart("--key-load-delay", "500", "--loading-process-events-interval-bytes", "4096")
    fleet.run("EVAL", "for i=1,3000 do redis.call('DEL', 'filler:'..i) end", 0)


# the doorbell ----------------------------------------------------------------------------


def _channel(scene: Scene) -> str:
    return f"__keyspace@0__:{scene.fleet.key('log')}"


def flags_cleared(scene: Scene) -> None:
    for _ in range(scene.random.randint(1, 3)):
        scene.fleet.run("CONFIG", "SET", _FLAGS, "")
        time.sleep(scene.random.uniform(0, 0.3))


def doorbell_flooded(scene: Scene) -> None:
    """Ring 10,000 times a second."""
    batch = command("PUBLISH", _channel(scene), "hset") * 200
    until = time.monotonic() + (5 if scene.is_long else 2)
    with dial(str(scene.fleet.server.socket)) as link:
        while time.monotonic() < until:
            began = time.monotonic()
            link.sendall(batch)
            _read_lines(link, 200)
            time.sleep(max(0.0, began + 0.02 - time.monotonic()))


def _read_lines(link: socket.socket, count: int) -> None:
    while count > 0:
        count -= link.recv(65536).count(b"\n")


# the data --------------------------------------------------------------------------------


def log_emptied(scene: Scene) -> None:
    """FLUSHALL; the releases of another log follow."""
    with scene.pusher.paused():
        scene.record.read()
        scene.fleet.run("FLUSHALL")
        scene.record.read()
        scene.pusher.begin_anew()
        time.sleep(scene.random.choice((0.0, 0.3)))
        scene.pusher.push(NAMES)


def log_cut(scene: Scene) -> None:
    """The newest entries vanish."""
    with scene.pusher.paused():
        scene.record.read()
        tip = len(scene.record.eras[-1])
        gone = range(max(2, tip - scene.random.randint(1, 20)), tip + 1)
        scene.fleet.run("HDEL", scene.fleet.key("log"), *gone)
        scene.record.read()
        scene.pusher.begin_anew()
        time.sleep(scene.random.choice((0.0, 0.3)))


def older_copy(scene: Scene) -> None:
    """The server comes back with the data of a while ago."""
    with scene.pusher.paused():
        copy = scene.fleet.save()
    time.sleep(0.5)
    with scene.pusher.paused():
        scene.record.read()
        scene.fleet.kill()
        scene.fleet.restore(copy)
        scene.record.read()
        scene.pusher.begin_anew()
    Path(copy).unlink()


def bundles_evicted(scene: Scene) -> None:
    """All bundles vanish, and a version is released that nobody has any more."""
    fleet, record, pusher = scene.fleet, scene.record, scene.pusher
    with pusher.paused():
        record.read()
        name = scene.random.choice(sorted(NAMES))
        version = pusher.older(name)
        keys = fleet.run("KEYS", fleet.key("bundle:*"))
        for at in range(0, len(keys), 500):
            fleet.run("DEL", *keys[at : at + 500])
        pusher.evicted |= set(record.stamps.values())
        pusher.forget_versions()
        if version is not None:
            pusher.release(name, version)
        time.sleep(0.2)


# the workers -----------------------------------------------------------------------------


def worker_spinning(scene: Scene) -> None:
    time_s = 5.0 if scene.is_long else 1.5
    scene.random.choice(scene.fleet.workers).tell(f"spin {time_s + 1}")
    time.sleep(time_s)


def worker_frozen(scene: Scene) -> None:
    worker = scene.random.choice(scene.fleet.workers)
    worker.signal(signal.SIGSTOP)
    scene.lasts(2, 20)
    worker.signal(signal.SIGCONT)


def worker_forked(scene: Scene) -> None:
    scene.fleet.fork(scene.random.choice(scene.fleet.workers))


KINDS: dict[str, Callable[[Scene], None]] = {
    function.__name__.replace("_", " "): function
    for function in (
        nothing, connections_killed, blackhole, buffers_overflowed, rights_revoked, many_missed,
        server_killed, server_away, server_frozen, server_busy, server_loading,
        flags_cleared, doorbell_flooded, log_emptied, log_cut, older_copy, bundles_evicted,
        worker_spinning, worker_frozen, worker_forked,
    )
}  # fmt: skip
"""Kind of fault, in words → what does it."""
SLOW = frozenset({"blackhole", "server away", "rights revoked"})
"""Left out of the quick run: each takes ten seconds or so."""
