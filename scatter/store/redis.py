"""The store in Redis or Valkey.

Keys of namespace `ns`; the braces keep them in one slot of a cluster:

| key | type | content |
|---|---|---|
| `scatter:{ns}:log` | hash | sequence → entry, written once with HSETNX |
| `scatter:{ns}:bundle:<sha256>` | string | bundle, written once with SETNX |
| `scatter:{ns}:process:<id>` | hash, expires | `report`: what a process runs |
| `scatter:{ns}:shipped` | hash | deployed code → sequence at which it was seen first |
| `scatter:{ns}:deploy:<file>` | hash, expires | hint: digests of the functions of a deployed file |
| `scatter:{ns}:versions:<function>` | sorted set | hint: sequence scored by version |
| `scatter:{ns}:recent` | hash | hint: the bundles of the newest release |
| `scatter:{ns}:snapshot` | string | hint: sequence of the newest snapshot |
| `scatter:{ns}:processes` | sorted set | hint: process ids scored by time of last report |

A report is a hash so that writing it raises the same class of notification as the log does: a
process that hears its own report knows that it would hear the log. `recent` spares followers a
second round trip; a bundle inside the entry would too, but entries can never be removed, and a
deleted function's code must be.

Who may write which of them, and by which commands: `scatter.store.acl`. What an account may not
write of the hints is left out; that costs time and is no error.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scatter.errors import StoreRefused, StoreUnavailable
from scatter.store.doorbell import RedisDoorbell
from scatter.store.faults import _KeysMovingError
from scatter.store.link import BUSY_PAUSE_S, BUSY_S, Command, Link
from scatter.store.port import NO_HINTS, Hints, Tail

RECENT_BYTES = 64 << 10
"""Bundles of a release that are larger in total are fetched by those who need them."""
_FORGET_PROCESS_S = 86400
_FORGET_DEPLOY_S = 90 * 86400
_HINTS = {("ZADD", "versions"), ("SET", "snapshot"), ("DEL", "recent"), ("HSET", "recent")}
"""Hints of an append, which is made without those that the account may not write."""
_UNGUARDED = (0, -1)
"""Generation of the connection, and sequence of the last entry, in which nothing is watched."""


class RedisStore:
    """A namespace in Redis; the contract is that of `scatter.store.port.Store`."""

    def __init__(self, url: str, namespace: str, *, name: str = "scatter", **options: Any) -> None:
        """Remember where; the first call connects.

        Args:
            url: `redis://`, `rediss://` or `unix://`, or of a group of servers (`scatter.groups`).
            namespace: The namespace.
            name: Client name, as `CLIENT LIST` shows it.
            **options: Of `Link`.

        """
        self._namespace = namespace
        self._prefix = f"scatter:{{{namespace}}}:"
        self.link = Link(url, name=name, key=self.key("log"), **options)
        self._guard = _UNGUARDED
        self._withheld = set[str]()

    def __repr__(self) -> str:
        return f"<RedisStore {self._namespace} at {self.link!r}>"

    @property
    def namespace(self) -> str:
        """The namespace of this store."""
        return self._namespace

    @property
    def address(self) -> str:
        """The URL, without its password."""
        return self.link.address

    def key(self, *parts: str) -> str:
        """Return a key of the namespace."""
        return self._prefix + ":".join(parts)

    def read(
        self, after: int, limit: int = 64, *, recent: bool = False, to_append: bool = False
    ) -> Tail:
        """Return the entries after a sequence."""
        log = self.key("log")
        asked: dict[str, Command] = {}
        if to_append:  # a connection that watched before may be past it: its EXEC would fail
            asked |= {"unwatch": ("UNWATCH",), "watch": ("WATCH", log)}
        if limit:
            asked["entries"] = ("HMGET", log, *range(after + 1, after + 1 + limit))
        if limit and recent:
            asked["recent"] = ("HGETALL", self.key("recent"))
        else:
            asked["tip"] = ("HLEN", log)
        if not after:
            asked["snapshot"] = ("GET", self.key("snapshot"))
        hints = [number for number, name in enumerate(asked) if name in ("snapshot", "recent")]
        replies = self.link.run(list(asked.values()), lenient=hints)
        found = dict(zip(asked, replies, strict=True))
        entries = _until_none(found.get("entries", ()))
        end = after + len(entries)
        tip = found.get("tip", end + (len(entries) == limit))
        if to_append:
            known = len(entries) < limit and tip >= end
            self._guard = (self.link.generation, end) if known else _UNGUARDED
        bundles: dict[bytes, bytes] = (found.get("recent") or {}) if entries else {}
        return Tail(
            entries=tuple(entries),
            tip=tip,
            recent={digest.decode("ascii", "replace"): data for digest, data in bundles.items()},
            snapshot=_number(found.get("snapshot")),
        )

    def entries(self, sequences: Sequence[int]) -> list[bytes | None]:
        """Return the entry at each sequence."""
        if not sequences:
            return []
        (found,) = self.link.run([("HMGET", self.key("log"), *sequences)])
        return list(found)

    def append(
        self, sequence: int, entry: bytes, bundles: Mapping[str, bytes], hints: Hints = NO_HINTS
    ) -> bool:
        """Write an entry with its bundles and hints in one transaction.

        HSETNX alone would write into a log that was emptied meanwhile, and leave a gap that no
        reader gets over. So the log is watched from the moment at which its end was read; each
        append looks at it again for the next one, which then costs one round trip.
        """
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                return self._append(sequence, entry, bundles, hints)
            except StoreRefused as refusal:  # the server has dropped the transaction as a whole
                if not self._withhold(refusal):
                    raise
                continue
            except _KeysMovingError:  # in a cluster, and nothing was written
                if time.monotonic() > deadline:
                    raise
            time.sleep(BUSY_PAUSE_S)

    def _append(
        self, sequence: int, entry: bytes, bundles: Mapping[str, bytes], hints: Hints
    ) -> bool:
        was_guarded = self._is_guarded(sequence)
        if not was_guarded:
            self.read(sequence - 1, 1, to_append=True)
            if not self._is_guarded(sequence):
                return False
        log = self.key("log")
        commands: list[Command] = [("MULTI",)]
        commands += [("SETNX", self.key("bundle", d), data) for d, data in bundles.items()]
        commands += self._hint_commands(sequence, bundles, hints)
        commands += [("HSETNX", log, sequence, entry), ("EXEC",)]
        commands += [("WATCH", log), ("HEXISTS", log, sequence)]
        self._guard = _UNGUARDED  # whatever comes of EXEC, it ends the watch
        try:
            *_, done, _, is_there = self.link.run(commands, again=False)
        except StoreUnavailable as error:
            (found,) = self.entries([sequence])
            if found is None and isinstance(error, _KeysMovingError):
                raise
            if found is None and was_guarded:  # the connection had died since the last append
                return self._append(sequence, entry, bundles, hints)
            return self._was_written(found, entry)
        written = done is not None and done[-1] == 1
        self._guard = (self.link.generation, sequence) if written and is_there else _UNGUARDED
        return written

    def _withhold(self, refusal: StoreRefused) -> bool:
        """Leave a hint out from now on, if it was one that may not be written here.

        What `delete` forgets is not among them: who may not forget may not delete either.
        """
        kind = refusal.key.removeprefix(self._prefix).partition(":")[0]
        is_hint = (refusal.command, kind) in _HINTS and kind not in self._withheld
        if refusal.code != "NOPERM" or not is_hint:
            return False
        self._withheld.add(kind)
        return True

    def _is_guarded(self, sequence: int) -> bool:
        """Return whether `sequence` was seen to be the next one, and the log is watched since."""
        return self._guard == (self.link.generation, sequence - 1)

    def _hint_commands(
        self, sequence: int, bundles: Mapping[str, bytes], hints: Hints
    ) -> list[Command]:
        commands: list[Command] = []
        versions = {} if "versions" in self._withheld else hints.versions
        for function, number in versions.items():
            commands.append(("ZADD", self.key("versions", function), number, sequence))
        for function, numbers in hints.forget.items():
            key = self.key("versions", function)
            commands += [("ZREMRANGEBYSCORE", key, n, n) for n in numbers] or [("DEL", key)]
        commands += [("DEL", self.key("bundle", digest)) for digest in hints.remove]
        if hints.snapshot and "snapshot" not in self._withheld:
            commands.append(("SET", self.key("snapshot"), sequence))
        if "recent" in self._withheld:
            return commands
        recent = [part for item in bundles.items() for part in item]
        commands.append(("DEL", self.key("recent")))
        if recent and sum(map(len, bundles.values())) <= RECENT_BYTES:
            commands.append(("HSET", self.key("recent"), *recent))
        return commands

    def _was_written(self, found: bytes | None, entry: bytes) -> bool:
        """Return whether an append whose answer was lost was carried out.

        Raises:
            StoreUnavailable: It was not; the caller reads on later.

        """
        if found is None:
            raise StoreUnavailable(
                f"The connection to {self.address} was lost; nothing was written. Try again.",
                url=self.address,
            )
        return found == entry

    def cut(self, after: int) -> None:
        """Remove the entries after a sequence, and what is no entry at all."""
        log = self.key("log")
        (fields,) = self.link.run([("HKEYS", log)])
        stay = {b"%d" % sequence for sequence in range(1, after + 1)}
        gone = [field for field in fields if field not in stay]
        if gone:
            self.link.run([("HDEL", log, *gone)])

    def bundles(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return the bundles that exist."""
        wanted = list(digests)
        if not wanted:
            return {}
        (found,) = self.link.run([("MGET", *(self.key("bundle", d) for d in wanted))])
        return {d: data for d, data in zip(wanted, found, strict=True) if data is not None}

    def remove_bundles(self, digests: Iterable[str]) -> None:
        """Remove bundles, also from the hint."""
        keys = [self.key("bundle", digest) for digest in digests]
        commands: list[Command] = [("DEL", *keys)] if keys else []
        self.link.run([*commands, ("DEL", self.key("recent"))])  # an account may do each for itself

    def versions(
        self, function: str, *, below: int | None = None, above: int | None = None, limit: int = 100
    ) -> list[tuple[int, int]]:
        """Return hints of a function's versions."""
        key = self.key("versions", function)
        if above is not None:
            command: Command = ("ZRANGEBYSCORE", key, f"({above}", "+inf")
        else:
            command = ("ZREVRANGEBYSCORE", key, "+inf" if below is None else f"({below}", "-inf")
        (found,) = self.link.run([(*command, "WITHSCORES", "LIMIT", 0, limit)], lenient=[0])
        rows = [(_number(score), _number(member)) for member, score in _pairs(found or ())]
        return [row for row in rows if min(row) > 0]

    def write_report(self, process: str, report: bytes, ttl_s: float) -> None:
        """Write a process's report."""
        key, index, now = self.key("process", process), self.key("processes"), time.time()
        self.link.run(
            [
                ("ZADD", index, now, process),
                ("ZREMRANGEBYSCORE", index, "-inf", now - _FORGET_PROCESS_S),
                ("HSET", key, "report", report),
                ("PEXPIRE", key, int(ttl_s * 1000)),
            ],
            lenient=[0, 1],
        )

    def keep_report(self, process: str, ttl_s: float) -> bool:
        """Make a report live longer."""
        key, index = self.key("process", process), self.key("processes")
        commands = [("PEXPIRE", key, int(ttl_s * 1000)), ("ZADD", index, time.time(), process)]
        return bool(self.link.run(commands, lenient=[1])[0])

    def remove_report(self, process: str) -> None:
        """Remove a report."""
        commands = [("DEL", self.key("process", process)), ("ZREM", self.key("processes"), process)]
        self.link.run(commands, lenient=[1])

    def reports(self) -> dict[str, bytes]:
        """Return the reports of all live processes; who may not see them is told so."""
        try:
            (ids,) = self.link.run([("ZRANGE", self.key("processes"), 0, -1)])
        except StoreRefused as refusal:
            if refusal.code == "NOPERM":  # "nobody reports" would be a lie
                raise
            ids = ()
        names = [name.decode("utf-8", "replace") for name in ids]
        asked = [("HGET", self.key("process", name), "report") for name in names]
        found = self.link.run(asked, lenient=range(len(asked)))
        return {n: report for n, report in zip(names, found, strict=True) if report is not None}

    def first_seen(self, deployed: Iterable[str]) -> dict[str, int]:
        """Return when deployed code was first seen."""
        wanted = list(deployed)
        if not wanted:
            return {}
        (found,) = self.link.run([("HMGET", self.key("shipped"), *wanted)])
        pairs = zip(wanted, found, strict=True)
        return {code: _number(sequence) for code, sequence in pairs if sequence is not None}

    def note_seen(self, deployed: Mapping[str, int]) -> None:
        """Note when deployed code was first seen."""
        key = self.key("shipped")
        commands: list[Command] = [("HSETNX", key, *item) for item in deployed.items()]
        if commands:
            self.link.run([("MULTI",), *commands, ("EXEC",)])

    def digests(self, files: Sequence[str]) -> list[dict[str, str]]:
        """Return what was noted of the functions of files."""
        asked: list[Command] = [("HGETALL", self.key("deploy", file)) for file in files]
        found = self.link.run(asked, lenient=range(len(asked))) if asked else []
        return [_texts(reply or {}) for reply in found]

    def note_digests(self, file: str, digests: Mapping[str, str]) -> None:
        """Note something of functions of a file."""
        key = self.key("deploy", file)
        fields = [part for item in digests.items() for part in item]
        commands: list[Command] = [("HSET", key, *fields), ("EXPIRE", key, _FORGET_DEPLOY_S)]
        self.link.run(commands, lenient=[0, 1])

    def doorbell(self) -> RedisDoorbell:
        """Return a doorbell on this store's connection."""
        return RedisDoorbell(self.link, self._prefix)

    def close(self) -> None:
        """End the connection."""
        self.link.close()


def _number(value: Any) -> int:
    """Return a number that Redis gave as text or number; 0 for what is none: hints may be wrong."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _texts(reply: Mapping[bytes, bytes]) -> dict[str, str]:
    return {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in reply.items()}


def _until_none(values: Sequence[bytes | None]) -> list[bytes]:
    found: list[bytes] = []
    for value in values:
        if value is None:
            break
        found.append(value)
    return found


def _pairs(reply: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return (member, score) from a reply with scores: RESP3 nests them, RESP2 does not."""
    if reply and isinstance(reply[0], (list, tuple)):
        return [(member, score) for member, score in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))
