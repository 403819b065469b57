"""The doorbell of a Redis store: keyspace notifications of exactly the keys that matter.

The server must send the class `h` of keyspace events (`K`). Where the doorbell may, it adds the
letters that are missing to the server's setting, and leaves the others as they are; where it may
not, it writes a key of its own and listens for it: that proves more than any setting does.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

from scatter import native
from scatter.errors import StoreRefused
from scatter.store.link import Link
from scatter.store.port import Ring

PROBE_S = 1.0
"""How long the doorbell waits for its own ring before it says that there are none."""
_SETTING = "notify-keyspace-events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What there is to know of notifications.

    Attributes:
        flags: The server's setting; None where this account may not read it.
        missing: Letters that the setting lacks.
        refusal: Why this account may not listen; empty if it may.
        heard: Whether a write of ours was heard; None where this account may not make it.
        heard_s: How long that took, in seconds.

    """

    flags: str | None = None
    missing: str = ""
    refusal: str = ""
    heard: bool | None = None
    heard_s: float = 0.0


class RedisDoorbell:
    """Waits on the connection of a store; the contract is that of `port.Doorbell`."""

    def __init__(self, link: Link, prefix: str, *, probe_s: float = PROBE_S) -> None:
        """Prepare; `listen` connects.

        Args:
            link: The store's connection.
            prefix: What the namespace's keys begin with.
            probe_s: How long to wait for a ring of our own.

        """
        self._link = link
        self._prefix = prefix
        self._probe_s = probe_s
        self._works = self._is_asked = False
        self._trouble = "nothing was listened for yet"
        self._log = True
        self._processes: frozenset[str] = frozenset()
        self._generation = 0
        self._rung = Ring()
        self._make_wake()

    def __repr__(self) -> str:
        return f"<RedisDoorbell at {self._link.address}, {'works' if self._works else 'silent'}>"

    def _make_wake(self) -> None:
        self._pid = os.getpid()
        self._wake_in, self._wake_out = native.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._close_wake = weakref.finalize(self, _close, self._wake_in, self._wake_out)

    def _renew_in_child(self) -> None:
        """Have a pair of sockets of its own in a forked child: a wake is for this process."""
        if self._pid != os.getpid():
            self._close_wake()
            self._make_wake()

    @property
    def works(self) -> bool:
        """Whether notifications arrive, as of the last `listen`."""
        return self._works

    @property
    def trouble(self) -> str:
        """Why they do not; empty if they do."""
        return self._trouble

    def listen(self, *, log: bool = True, processes: Iterable[str] = ()) -> None:
        """Connect if needed, and subscribe to exactly this."""
        self._log, self._processes = log, frozenset(processes)
        self._renew_in_child()
        self._link.open()
        self._link.take_pushes()
        self._rung = Ring()
        keys = [f"process:{process}" for process in self._processes]
        keys += ["log"] * log
        asked = self._is_asked = self._set_flags()
        try:
            self._link.subscribe([self._channel(key) for key in keys], only=True)
        except StoreRefused as error:
            self._works, self._trouble = False, f"{error} The log is polled instead."
        else:
            self._works = asked or self._probe()
            self._trouble = "" if self._works else _NO_RINGS
        self._generation = self._link.generation

    def examine(self) -> Examined:
        """Find out what there is to know of notifications; no setting is changed.

        Raises:
            StoreUnavailable: The server cannot be asked.

        """
        flags = self._flags()
        missing = "" if flags is None else _missing(flags)
        self._link.take_pushes()
        try:
            self._link.subscribe([self._channel("log")], only=True)
        except StoreRefused as error:
            return Examined(flags=flags, missing=missing, refusal=str(error))
        began = time.monotonic()
        heard = self._tried()
        return Examined(flags=flags, missing=missing, heard=heard, heard_s=time.monotonic() - began)

    def _flags(self) -> str | None:
        """Return the server's setting; None where it may not be read."""
        try:
            (found,) = self._link.run([("CONFIG", "GET", _SETTING)])
        except StoreRefused:
            return None
        return _flags_in(found)

    def _channel(self, key: str) -> str:
        return f"__keyspace@{self._link.database}__:{self._prefix}{key}"

    def _set_flags(self) -> bool:
        """Add the letters that are missing; return whether the server has them now."""
        flags = self._flags()
        if flags is None:
            return False
        missing = _missing(flags)
        if not missing:
            return True
        try:
            self._link.run([("CONFIG", "SET", _SETTING, flags + missing)])
        except StoreRefused:
            return False
        flags = self._flags()
        return flags is not None and not _missing(flags)

    def _probe(self) -> bool:
        """Return whether a key of our own is heard of when it is written."""
        return bool(self._tried())

    def _tried(self) -> bool | None:
        """Write a key of our own and listen for it; None where that may not be done."""
        key = f"process:{socket.gethostname()}-probe-{secrets.token_hex(6)}"  # as processes have
        channel = self._channel(key)
        try:
            self._link.subscribe([channel])
            self._link.run(
                [
                    ("HSET", self._prefix + key, "probe", "1"),
                    ("PEXPIRE", self._prefix + key, 1000),
                    ("DEL", self._prefix + key),
                ]
            )
        except StoreRefused:
            return None
        deadline = time.monotonic() + self._probe_s
        heard = self._sort(channel)
        while not heard and time.monotonic() < deadline:
            self._wait(deadline - time.monotonic())
            heard = self._sort(channel)
        self._link.unsubscribe(channel)
        return heard

    def _sort(self, own: str = "") -> bool:
        """Turn notifications into the next ring; return whether `own` was among them."""
        channels = {channel for channel, _ in self._link.take_pushes()}
        if channels:
            start = len(self._channel("process:"))
            processes = {c[start:] for c in channels if c.startswith(self._channel("process:"))}
            self._ring(
                Ring(
                    log=self._channel("log") in channels,
                    processes=frozenset(processes - {own[start:]}),
                )
            )
        return own in channels

    def _ring(self, ring: Ring) -> None:
        """Add to the next ring."""
        self._rung = Ring(
            log=self._rung.log or ring.log,
            processes=self._rung.processes | ring.processes,
            woken=self._rung.woken or ring.woken,
        )

    def wait(self, timeout_s: float) -> Ring:
        """Block until a ring, a wake, or the time is up."""
        self._renew_in_child()
        if self._generation != self._link.generation:
            # A command between two waits found the connection dead and made another, which
            # listens for nothing yet; what rang meanwhile rang for nobody.
            self.listen(log=self._log, processes=self._processes)
            self._ring(Ring(log=self._log, processes=self._processes))
        self._sort()
        self._wait(0 if self._rung else timeout_s)
        self._sort()
        rung, self._rung = self._rung, Ring()
        return rung

    def _wait(self, timeout_s: float) -> None:
        if self._link.wait(timeout_s, self._wake_in.fileno()):
            self._ring(Ring(woken=True))
            _drain(self._wake_in)

    def check(self, *, suspect: bool = False) -> None:
        """Look whether the server still sends notifications; have it send them again if it may.

        Where its setting cannot be read, only a ring of our own tells, which takes a moment.
        """
        if self._works and (self._is_asked or suspect):
            self._works = self._set_flags() if self._is_asked else self._probe()
            self._trouble = "" if self._works else _NO_RINGS

    def wake(self) -> None:
        """Make `wait` return. Any thread; never blocks."""
        if self._pid != os.getpid():
            return  # the sockets are those of the parent, which nobody here waits for
        try:
            self._wake_out.send(b"\0")
        except (BlockingIOError, OSError):
            pass  # it is full of wakes already, or closed


def _drain(wake: socket.socket) -> None:
    try:
        while wake.recv(4096):
            pass
    except BlockingIOError:
        pass


def _close(*ends: socket.socket) -> None:
    for end in ends:
        end.close()


_NO_RINGS = (
    "the server sends no keyspace notifications, and this user may not switch them on; the log is "
    "polled instead. Ask an administrator for `CONFIG SET notify-keyspace-events Kh`"
)


def _flags_in(reply: object) -> str:
    """Return the setting's value in a CONFIG GET reply."""
    values = list(reply.values()) if isinstance(reply, dict) else list(reply or ())[1:]  # type: ignore[call-overload]
    value = values[0] if values else b""
    return value.decode() if isinstance(value, bytes) else str(value)


def _missing(flags: str) -> str:
    """Return the letters to add; `A` stands for all classes."""
    return ("" if "K" in flags else "K") + ("" if "h" in flags or "A" in flags else "h")
