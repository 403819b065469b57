"""Accounts for Redis: what each role may do, as a table; least right each.

Not here: printing the rules (`scatter.cli.acl`), trying them (`scatter.doctor`).

Invariants
1. Nobody but a janitor may change or take away what the log or a bundle holds: the others write
   once, by commands that leave alone what is there (HSETNX, SETNX).
2. What may be written is said key by key, each with the commands that this key needs alone: a
   selector of Redis 7, so that no command meant for one key works on another.
3. No role may ask for settings, scripts, scans or other people's keys.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from scatter.errors import UsageError

Role = Literal["reader", "agent", "pusher", "janitor"]
ROLES: tuple[Role, ...] = get_args(Role)
"""All roles, those that may do less first."""
FIRST_VERSION = (7, 0)
"""Of Redis: the first that knows selectors. All versions of Valkey do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Commands that write, and the keys on which they may be used.

    Attributes:
        key: What comes after `scatter:{ns}:`; may end with `*`.
        commands: In lower case.

    """

    key: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a role may do.

    Attributes:
        purpose: What it is for, in a few words.
        reads: Keys that may be read, as in `Write`.
        commands: Commands that read, or touch no key; in lower case.
        writes: What may be written.
        rings: Keys whose notifications may be listened for.

    """

    purpose: str
    reads: tuple[str, ...]
    commands: tuple[str, ...]
    writes: tuple[Write, ...] = ()
    rings: tuple[str, ...] = ("log", "process:*")


_TALK = ("ping", "client|setname", "subscribe", "unsubscribe")
_READ = ("get", "hgetall", "hlen", "hmget", "mget", "zrangebyscore", "zrevrangebyscore")
_FLEET = ("hget", "zrange")
_APPEND = ("exec", "hexists", "multi", "unwatch", "watch")
_OF_RELEASES = ("log", "bundle:*", "recent", "snapshot", "versions:*")
_OF_PROCESSES = ("processes", "process:*")
_ADDS = (
    Write(key="log", commands=("hsetnx",)),
    Write(key="bundle:*", commands=("setnx",)),
    Write(key="versions:*", commands=("zadd",)),
    Write(key="snapshot", commands=("set",)),
    Write(key="recent", commands=("del", "hset")),
)

RIGHTS: dict[Role, Rights] = {
    "reader": Rights(
        purpose="lists, compares and watches",
        reads=(*_OF_RELEASES, *_OF_PROCESSES),
        commands=(*_TALK, *_READ, *_FLEET),
    ),
    "agent": Rights(
        purpose="follows the log, and reports what its process runs",
        reads=(*_OF_RELEASES, "shipped", "deploy:*"),
        commands=(*_TALK, *_READ, "exec", "multi"),
        writes=(
            Write(key="process:*", commands=("del", "hset", "pexpire")),
            Write(key="processes", commands=("zadd", "zrem", "zremrangebyscore")),
            Write(key="shipped", commands=("hsetnx",)),
            Write(key="deploy:*", commands=("expire", "hset")),
        ),
    ),
    "pusher": Rights(
        purpose="releases; adds, and never changes or removes",
        reads=(*_OF_RELEASES, *_OF_PROCESSES),
        commands=(*_TALK, *_READ, *_FLEET, *_APPEND),
        writes=_ADDS,
    ),
    "janitor": Rights(
        purpose="releases, and removes functions and old versions for good",
        reads=(*_OF_RELEASES, *_OF_PROCESSES),
        commands=(*_TALK, *_READ, *_FLEET, *_APPEND),
        writes=(
            *_ADDS,
            Write(key="bundle:*", commands=("del",)),
            Write(key="versions:*", commands=("del", "zremrangebyscore")),
        ),
    ),
}


def rules(
    roles: Collection[Role],
    namespace: str,
    *,
    database: int = 0,
    process: str = "",
    scheme: str = "redis",
) -> list[str]:
    """Return the rules of an account that has all of some roles, as ACL SETUSER takes them.

    Args:
        roles: The roles.
        namespace: The namespace; nothing of another one may be touched.
        database: Number of the database: notifications and SELECT depend on it.
        process: What the ids of the account's processes begin with; empty: any.
        scheme: Of the address; sentinels and clusters need a command more.

    Raises:
        UsageError: `process` has characters that mean something in a pattern.

    """
    if set(process) & set("*?[]\\^ \t\n()"):
        raise UsageError(f"process: expected what a process id begins with, found {process!r}.")
    chosen = [RIGHTS[role] for role in ROLES if role in roles]
    prefix = f"scatter:{{{namespace}}}:"
    reads = _merged([right.reads for right in chosen])
    rings = _merged([right.rings for right in chosen])
    if [*roles] == ["agent"]:
        rings = [_narrowed(ring, process) for ring in rings]
    commands = _merged([right.commands for right in chosen])
    commands += ["select"] * bool(database)
    commands += ["role"] * scheme.endswith("sentinel")
    commands += ["cluster|slots"] * scheme.endswith("cluster")
    return [
        "resetchannels",
        *(f"%R~{prefix}{key}" for key in reads),
        *(f"&__keyspace@{database}__:{prefix}{ring}" for ring in rings),
        *(f"+{command}" for command in sorted(commands)),
        *_selectors(chosen, prefix, process),
    ]


def _selectors(chosen: Sequence[Rights], prefix: str, process: str) -> list[str]:
    """Return a selector for each key that may be written."""
    by_key: dict[str, set[str]] = {}
    for write in (write for right in chosen for write in right.writes):
        by_key.setdefault(write.key, set()).update(write.commands)
    return [
        f"(%W~{prefix}{_narrowed(key, process)} {' '.join(f'+{c}' for c in sorted(commands))})"
        for key, commands in by_key.items()
    ]


def _narrowed(key: str, process: str) -> str:
    return f"process:{process}*" if key == "process:*" else key


def _merged(lists: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(item for items in lists for item in items))


def roles_that_may(command: str, key: str) -> list[Role]:
    """Return the roles that may use a command on a key, those that may do less first.

    Args:
        command: Name of the command, in any case.
        key: The whole key, or a text that is none where the command has no key.

    """
    name, kind = command.lower(), key.partition("}:")[2]
    return [role for role in ROLES if _may(RIGHTS[role], name, kind)]


def _may(right: Rights, command: str, kind: str) -> bool:
    if command in right.commands:
        return not kind or any(_fits(kind, key) for key in right.reads)
    return any(command in w.commands and _fits(kind, w.key) for w in right.writes)


def _fits(kind: str, key: str) -> bool:
    return kind.startswith(key[:-1]) if key.endswith("*") else kind == key


__all__ = ["FIRST_VERSION", "RIGHTS", "ROLES", "Rights", "Role", "Write", "roles_that_may", "rules"]
