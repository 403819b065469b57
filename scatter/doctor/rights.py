"""The check of the account: who we are, and whether that may do what a role needs.

The server is asked what it would say (ACL DRYRUN) where the account may ask. Else the commands are
queued in a transaction that is never carried out: the server looks at rights when it queues.

Invariant: no command of a trial is ever carried out. They are sent only behind a MULTI, in one
write, on a connection that is then closed, and only after a MULTI alone was taken.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from scatter.config import has_secret
from scatter.doctor.tls import far_hosts
from scatter.doctor.visit import Finding, State, Visit
from scatter.errors import StoreRefused
from scatter.groups import is_group, parse_group
from scatter.store import open_store
from scatter.store.acl import RIGHTS, ROLES, Role
from scatter.store.link import Link

READS: dict[str, tuple[str, ...]] = {
    "log": ("hlen", "hmget"),
    "bundle:*": ("mget",),
    "recent": ("hgetall",),
    "snapshot": ("get",),
    "versions:*": ("zrangebyscore", "zrevrangebyscore"),
    "shipped": ("hmget",),
    "deploy:*": ("hgetall",),
    "processes": ("zrange",),
    "process:*": ("hget",),
}
"""Key → commands by which it is read."""
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("hmget", "hget", "zrem"), ("doctor",)),
    **dict.fromkeys(("setnx", "set"), ("doctor",)),
    **dict.fromkeys(("hset", "hsetnx"), ("doctor", "doctor")),
    **dict.fromkeys(("pexpire", "expire"), ("1000",)),
    **dict.fromkeys(
        ("zrange", "zrangebyscore", "zrevrangebyscore", "zremrangebyscore"), ("0", "0")
    ),
    "zadd": ("0", "doctor"),
}
_ALMIGHTY = ("hdel", "log")
"""What no role needs: it would change a release."""


class Trial(NamedTuple):
    """A command to be tried on a key."""

    command: str
    key: str

    def __str__(self) -> str:
        return f"{self.command.upper()} on {self.key}" if self.key else self.command.upper()


_MULTI = Trial("multi", "")


def trials(role: Role) -> list[Trial]:
    """Return what to try for a role: each command on each key that its work needs."""
    right = RIGHTS[role]
    found = [_MULTI] * ("multi" in right.commands)
    found += [Trial(command, key) for key in right.reads for command in READS[key]]
    return found + [Trial(command, w.key) for w in right.writes for command in w.commands]


def check_account(visit: Visit) -> Iterator[Finding]:
    """Say who we are, and for which roles that is good."""
    user = _user(visit)
    wanted = list(dict.fromkeys(t for role in ROLES for t in trials(role)))
    asked = [*wanted, Trial(*_ALMIGHTY)]
    way, answers = _tried(visit, user, asked)
    may = {trial for trial, answer in zip(asked, answers, strict=True) if answer}
    unknown = {trial for trial, answer in zip(asked, answers, strict=True) if answer is None}
    if visit.role is not None:
        yield _for_role(visit.role, user, way, may, unknown)
    else:
        yield _for_any(user, way, may)
    if asked[-1] in may:
        yield _almighty(visit, user)


def _almighty(visit: Visit, user: str) -> Finding:
    """Return the finding that an account may do what no role needs."""
    has_password = visit.settings.redis_password_file or has_secret(visit.settings.redis_url)
    if has_password or not far_hosts(visit.settings.redis_url):
        found = f"The user {user} may change and remove releases, which no role needs"
        state: State = "warning"
    else:
        found = f"Whoever reaches the server may change and remove releases: {user} has no password"
        state = "problem"
    advice = "Use an account of its own for each role: `scatter acl` prints the rules."
    return Finding(check="account", state=state, found=found, advice=advice)


def _for_role(role: Role, user: str, way: str, may: set[Trial], unknown: set[Trial]) -> Finding:
    needed = trials(role)
    missing = [trial for trial in needed if trial not in may and trial not in unknown]
    if missing:
        few = ", ".join(map(str, missing[:4])) + (" and more" if len(missing) > 4 else "")
        return Finding(
            check="account",
            state="problem",
            found=f"The user {user} may not do what the role {role} needs: {few} ({way})",
            advice="Give it the rules that `scatter acl` prints for the role, or use another.",
        )
    if unknown.intersection(needed):
        found = f"Whether the user {user} may write what the role {role} needs is not known ({way})"
        advice = "Run `scatter doctor` with an administrator's account to have it checked."
        return Finding(check="account", state="unchecked", found=found, advice=advice)
    found = f"The user {user} may do what the role {role} needs ({way})"
    return Finding(check="account", state="ok", found=found)


def _for_any(user: str, way: str, may: set[Trial]) -> Finding:
    roles = [role for role in ROLES if may.issuperset(trials(role))]
    if roles:
        found = f"The user {user} is good for: {', '.join(roles)} ({way})"
        return Finding(check="account", state="ok", found=found)
    return Finding(
        check="account",
        state="problem",
        found=f"The user {user} may not even read the namespace as a reader does ({way})",
        advice="Give it the rules of a role: `scatter acl` prints them.",
    )


def _user(visit: Visit) -> str:
    """Return who we are, by the server if it says so, else by the settings."""
    reply = visit.ask("ACL", "WHOAMI")
    if reply is not None:
        return str(reply.decode("utf-8", "replace"))
    url = visit.settings.redis_url
    given = parse_group(url).login.get("username") if is_group(url) else urlsplit(url).username
    return given or visit.settings.redis_username or "default"


# trying -----------------------------------------------------------------------------------


def _tried(visit: Visit, user: str, asked: Sequence[Trial]) -> tuple[str, list[bool | None]]:
    """Return how it was found out, and for each trial whether it may be done; None: not known."""
    commands = _commands(visit, asked)
    try:
        (pong,) = visit.link.run([("ACL", "DRYRUN", user, "PING")])
    except StoreRefused:
        pong = None
    if pong is not None:
        questions = [("ACL", "DRYRUN", user, *command) for command in commands]
        replies = visit.link.run(questions, lenient=range(len(questions)))
        return "by ACL DRYRUN", [reply == b"OK" for reply in replies]
    queued = _queued(visit, commands)
    if queued is not None:
        return "by queueing, this account may not use ACL DRYRUN", queued
    found = [_read(visit, trial, command) for trial, command in zip(asked, commands, strict=True)]
    return "by reading, this account may use neither ACL DRYRUN nor MULTI", found


def _read(visit: Visit, trial: Trial, command: tuple[Any, ...]) -> bool | None:
    """Return whether an account that may not queue may do this, found out by doing it."""
    if trial == _MULTI:
        return False
    if trial.command not in READS.get(trial.key, ()):
        return None
    try:
        visit.link.run([command])
    except StoreRefused:
        return False
    return True


def _queued(visit: Visit, commands: Sequence[tuple[Any, ...]]) -> list[bool | None] | None:
    """Return whether each command would be queued; None if there can be no transaction."""
    settings = visit.settings
    for batch in ([("MULTI",)], [("MULTI",), *commands]):
        store = open_store(settings.redis_url, settings.namespace, access=settings.access)
        link: Link = store.link  # type: ignore[attr-defined]
        try:
            multi, *replies = link.run(batch, again=False, lenient=range(1, len(batch)))
        except StoreRefused:
            return None
        finally:
            link.close()  # which drops the transaction
        assert multi == b"OK"
    return [
        command == ("multi",) or reply == b"QUEUED"
        for command, reply in zip(commands, replies, strict=True)
    ]


def _commands(visit: Visit, asked: Sequence[Trial]) -> list[tuple[Any, ...]]:
    mark = f"{socket.gethostname()}-doctor-{secrets.token_hex(4)}"
    keys = [[visit.key(trial.key.replace("*", mark))] if trial.key else [] for trial in asked]
    return [
        (trial.command, *key, *_arguments(trial.command))
        for trial, key in zip(asked, keys, strict=True)
    ]


def _arguments(command: str) -> tuple[str, ...]:
    return ("doctor",) if command == "hdel" else _ARGUMENTS.get(command, ())
