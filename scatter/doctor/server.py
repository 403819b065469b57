"""Checks of the server: whether it answers, what it is, how far away, and what it keeps."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator

from scatter.doctor.visit import Finding, Visit, unchecked
from scatter.groups import Node, is_group, parse_group
from scatter.store.acl import FIRST_VERSION
from scatter.store.directory import DirectoryStore

_PINGS = 20
SLOW_S = 0.05
"""Round trips that take longer are worth a warning: a push takes two, a switch one."""
CLOCK_S = 5.0
"""Seconds by which clocks may differ: releases carry the time of who makes them."""
_NODE_TIMEOUT_S = 1.0
_FULL = 0.9


def check_reach(visit: Visit) -> Iterator[Finding]:
    """Connect, log in, and have the server say what it is."""
    assert visit.store is not None
    if hasattr(visit.store, "link"):
        (reply,) = visit.link.run([("HELLO",)])
        visit.hello = {_text(key): _text(value) for key, value in reply.items()}
    if isinstance(visit.store, DirectoryStore):
        visit.store.check()
        found = f"{visit.store.folder} can be read, and nobody else can write to it"
        yield Finding(check="reach", state="ok", found=found)
        return
    yield Finding(check="reach", state="ok", found=f"{visit.store.address} answers")


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def check_version(visit: Visit) -> Iterator[Finding]:
    """Say which server it is."""
    name, version = visit.hello.get("server", "redis"), visit.hello.get("version", "0")
    numbers = tuple(int(n) for n in version.split(".")[:2] if n.isdecimal())
    if name == "redis" and numbers < FIRST_VERSION:
        yield Finding(
            check="version",
            state="warning",
            found=f"Redis {version} knows no accounts as narrow as scatter's",
            advice="Use Redis 7 or later, or Valkey, for the rules of `scatter acl`.",
        )
        return
    yield Finding(check="version", state="ok", found=f"{name.capitalize()} {version}")


def check_part(visit: Visit) -> Iterator[Finding]:
    """Say what part the server has: master, replica, node, sentinel."""
    mode, part = visit.hello.get("mode", ""), visit.hello.get("role", "")
    is_cluster_url = "+cluster" in visit.settings.redis_url.partition("://")[0]
    found, advice = f"It is a {part or 'master'}, {mode or 'standalone'}", ""
    if mode == "sentinel":
        found = "It is a Sentinel, which keeps nothing itself"
        advice = "Use the address redis+sentinel://HOST:26379/MASTER."
    elif part not in ("master", ""):
        found = "It is a replica: it takes no releases and no reports"
        advice = "Use the master's address, or redis+sentinel://HOST:26379/MASTER."
    elif mode == "cluster" and not is_cluster_url:
        found = "It is a node of a cluster, and the address is that of a single server"
        advice = "Use the address redis+cluster://HOST:6379."
    yield Finding(check="part", state="problem" if advice else "ok", found=found, advice=advice)


def check_group(visit: Visit) -> Iterator[Finding]:
    """Say which sentinels, or nodes of a cluster, take connections."""
    if not is_group(visit.settings.redis_url):
        return
    group = parse_group(visit.settings.redis_url)
    what = "nodes" if group.is_cluster else "sentinels"
    silent = [f"{host}:{port}" for host, port in group.nodes if not _listens((host, port))]
    there = len(group.nodes) - len(silent)
    found = f"{there} of {len(group.nodes)} {what} of the address take connections"
    if silent:
        advice = f"See why these do not, or take them out: {', '.join(silent)}."
        yield Finding(check="group", state="warning", found=found, advice=advice)
    elif there == 1:
        advice = f"Name more {what}: with one, nothing is found while it is down."
        yield Finding(check="group", state="warning", found=found, advice=advice)
    else:
        yield Finding(check="group", state="ok", found=found)


def _listens(node: Node) -> bool:
    try:
        socket.create_connection(node, _NODE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def check_latency(visit: Visit) -> Iterator[Finding]:
    """Measure how long a round trip takes."""
    taken: list[float] = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        visit.link.run([("PING",)])
        taken.append(time.perf_counter() - began)
    median_s = statistics.median(taken)
    found = f"A round trip takes {median_s * 1000:.2f} ms (at most {max(taken) * 1000:.2f} ms)"
    if median_s > SLOW_S:
        advice = "Use a server that is nearer, if releases should arrive at once."
        yield Finding(check="latency", state="warning", found=found, advice=advice)
    else:
        yield Finding(check="latency", state="ok", found=found)


def check_clock(visit: Visit) -> Iterator[Finding]:
    """Compare the server's clock with this machine's."""
    began = time.time()
    reply = visit.ask("TIME")
    if reply is None:
        yield unchecked("clock", "the server's time")
        return
    ahead_s = int(reply[0]) + int(reply[1]) / 1e6 - (began + time.time()) / 2
    found = f"The server's clock is {abs(ahead_s):.1f} s {'ahead' if ahead_s > 0 else 'behind'}"
    if abs(ahead_s) > CLOCK_S:
        advice = "Set both clocks by NTP: releases and keys are dated by who makes them."
        yield Finding(check="clock", state="warning", found=found, advice=advice)
    else:
        yield Finding(check="clock", state="ok", found=found)


def check_keeping(visit: Visit) -> Iterator[Finding]:
    """Say whether the log would outlive the server's process."""
    info = visit.info("persistence")
    if info is None:
        yield unchecked("keeping", "what the server keeps on disk")
        return
    failed = [
        k for k in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(k) == "err"
    ]
    if failed:
        yield Finding(
            check="keeping",
            state="problem",
            found=f"The server failed to write to its disk ({', '.join(failed)})",
            advice="See its log: it may be out of space, or lack the right to write.",
        )
    elif info.get("aof_enabled") == "1":
        yield Finding(check="keeping", state="ok", found="Every write is kept on disk (AOF)")
    else:
        yield Finding(
            check="keeping",
            state="warning",
            found="The server keeps snapshots at most: after a crash the newest releases are gone",
            advice="Switch on `appendonly yes`. Running processes keep their code in any case.",
        )


def check_memory(visit: Visit) -> Iterator[Finding]:
    """Say whether the server may throw releases away, or refuse new ones, for want of memory."""
    info = visit.info("memory")
    if info is None:
        yield unchecked("memory", "the server's memory and `maxmemory-policy`")
        return
    policy, limit = info.get("maxmemory_policy", ""), int(info.get("maxmemory", 0))
    used = int(info.get("used_memory", 0))
    found = f"maxmemory-policy is {policy}, {_limit(used, limit)}"
    state, advice = "ok", ""
    if policy.startswith("allkeys"):
        state = "problem" if limit else "warning"
        found += ": it throws away releases and bundles" if limit else ""
        advice = "Set `maxmemory-policy noeviction` or `volatile-lru`, or use a server of its own."
    elif limit and used > limit * _FULL:
        state, advice = "warning", "Raise `maxmemory`: when it is full, nothing can be released."
    yield Finding(check="memory", state=state, found=found, advice=advice)  # type: ignore[arg-type]


def _limit(used: int, limit: int) -> str:
    return f"{used >> 20} of {limit >> 20} MiB in use" if limit else "and there is no limit"
