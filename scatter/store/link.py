"""One connection to Redis, driven directly.

redis-py's `Connection` brings sockets, TLS, authentication and both parsers; its pools, `PubSub`
and retries are left aside, because they hide what matters here: a lost link (they reconnect
silently), a frozen server (they wait), a fork (a child steals its parent's messages). With RESP3
notifications and replies share this one connection.

Invariants
1. Never waits longer than it was told; a reply that is late ends the connection.
2. A forked child never touches its parent's connection: it closes its copy of the socket, which
   sends nothing, and opens its own.
3. No exception of redis-py leaves this module, and no password is in any message.
4. Commands go out again after a lost connection only if the caller says that they may.
5. Of a group of servers (Sentinel, Cluster), one that says, or of which others say, that it is not
   the right one any more is left, and the right one is looked for: that is no refusal.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Container, Sequence
from typing import Any

import redis
from redis._parsers.hiredis import NOT_ENOUGH_DATA

from scatter import native
from scatter.access import NO_ACCESS, Access
from scatter.config import redact
from scatter.errors import StoreUnavailable
from scatter.locks import ForkSafeLock
from scatter.store import meter
from scatter.store.dial import hang_up
from scatter.store.faults import Faults, _BusyError, _LaterError, _StrayedError
from scatter.store.topology import Route, route_to

Command = tuple[Any, ...]

CONNECT_TIMEOUT_S = 1.0
REPLY_TIMEOUT_S = 2.0
BUSY_S = 2.0
"""How long a server that loads its data, runs a script or hands over a slot is asked again."""
BUSY_PAUSE_S = 0.02
WAIT_CHECK_S = 2.0
"""How often at most who waits at a doorbell makes sure that this is still the right server."""
RUN_CHECK_S = 8.0
"""The same for who only sends commands: rarer, so that rings are answered without delay."""
MOST_AT_ONCE = 10_000
"""Notifications read before they are looked at."""
_BROKEN = (
    *(redis.RedisError, OSError, AttributeError, TypeError, ValueError, LookupError),
    *(MemoryError, RecursionError),
)
"""How redis-py and hiredis end where what answers is no Redis: a length that lies, deep nesting."""
_POLLIN = 1  # `select.POLLIN`, also where gevent has the module


class Link:
    """A connection that is opened when it is first used, and again after it was lost."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "scatter",
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        key: str = "scatter",
        access: Access = NO_ACCESS,
        route: Route | None = None,
    ) -> None:
        """Remember where to connect to.

        Args:
            url: `redis://`, `rediss://` or `unix://`, or of a group of servers (`scatter.groups`).
            name: Client name, as `CLIENT LIST` shows it.
            connect_timeout_s: How long connecting may take.
            reply_timeout_s: How long a reply may take.
            key: A hash of the namespace, by which a cluster knows the slot.
            access: Log-in and certificates beside the URL.
            route: Finds the server, in place of what the URL says.

        Raises:
            UsageError: The URL is malformed.

        """
        self.address = redact(url)
        self._route = route or route_to(
            url,
            key,
            access=access,
            connect_timeout_s=connect_timeout_s,
            reply_timeout_s=reply_timeout_s,
        )
        self._faults = Faults(self.address, may_move=self._route.may_move)
        self._checked_at = 0.0
        self._lock = ForkSafeLock()
        self._connection: Any = None
        self._name = name
        self._greeting: tuple[Command, ...] = ()  # what goes before the first commands
        self._meter: meter.Meter
        self._pid = 0
        self._pushes: dict[tuple[str, str], None] = {}
        self.database = 0
        self.generation = 0  # how many connections there were: what a server keeps for one is gone

    def __repr__(self) -> str:
        return f"<Link to {self.address}, {'up' if self._connection else 'down'}>"

    @property
    def connected(self) -> bool:
        """Whether there is a connection of this process, as far as is known."""
        return self._connection is not None and self._pid == os.getpid()

    @property
    def socket(self) -> Any:
        """The socket of the connection, opened if need be: to look at, not to use."""
        with self._lock:
            return self._connected()._sock

    def close(self) -> None:
        """End the connection. Idempotent; the next command opens one again."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._pushes.clear()
            if connection is not None:
                hang_up(connection)

    def abandon(self) -> None:
        """Forget the connection of the parent in a forked child; nothing is sent."""
        self.close()

    def open(self) -> None:
        """Connect, if there is no connection.

        Raises:
            StoreUnavailable, StoreRefused: It cannot be had.

        """
        with self._lock:
            self._connected()

    # commands ----------------------------------------------------------------------------

    def run(
        self, commands: Sequence[Command], *, again: bool = True, lenient: Container[int] = ()
    ) -> list[Any]:
        """Send commands in one write and return their replies, as bytes.

        Args:
            commands: Each a tuple of name and arguments.
            again: Whether they may be sent twice, should the connection turn out dead or the server
                busy.
            lenient: Positions of commands whose reply is None when they are answered with an
                error.

        Raises:
            StoreUnavailable: The server cannot be reached, or did not answer in time.
            _KeysMovingError: One of them needs a key that moves; not for long, if `again` is false.
            StoreRefused: It answered one of them with an error.

        """
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                with self._lock:
                    return self._run(commands, again, lenient)
            except _LaterError as later:
                if not again:  # what was sent may hang on more than itself, such as a WATCH
                    raise
                if time.monotonic() > deadline:
                    raise StoreUnavailable(str(later), url=self.address) from later
            native.sleep(BUSY_PAUSE_S)

    def _run(self, commands: Sequence[Command], again: bool, lenient: Container[int]) -> list[Any]:
        self._has_strayed(RUN_CHECK_S)
        was_connected = self.connected
        try:
            return self._exchange(commands, lenient)
        except StoreUnavailable:
            if not (was_connected and again):
                raise
        return self._exchange(
            commands, lenient
        )  # an idle connection was dead; a new one may not be

    def _exchange(self, commands: Sequence[Command], lenient: Container[int]) -> list[Any]:
        connection = self._connected()
        self._meter.left = meter.MAX_ANSWER_BYTES
        greeting = self._greeted()
        try:
            _send(connection, [*greeting, *commands])
            replies = _replies(connection, len(greeting) + len(commands))[len(greeting) :]
        except _BROKEN as error:
            self.close()
            raise self._faults(error) from error
        for position, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if isinstance(reply, redis.RedisError):  # LOADING is no ResponseError to redis-py
                translated = self._faults(reply, command)
                if isinstance(translated, _StrayedError):
                    self.close()
                if position not in lenient or isinstance(translated, (_BusyError, _StrayedError)):
                    raise translated from reply
                replies[position] = None
        return replies

    def _connected(self) -> Any:
        """Return the connection, opened if need be."""
        if self._connection is not None and self._pid != os.getpid():
            self.close()
        if self._connection is None:
            try:
                connection = self._route.connect()
            except _BROKEN as error:
                # whatever answers there may not be a Redis: redis-py then fails in many ways
                raise self._faults(error) from error
            connection._parser.set_pubsub_push_handler(self._take_push)
            self._meter = meter.metered(connection)
            self.database = int(getattr(connection, "db", 0) or 0)
            self._connection, self._pid = connection, os.getpid()
            self.generation += 1
            self._greeting = (("CLIENT", "SETNAME", self._name),)
            self._checked_at = time.monotonic()
        return self._connection

    def _greeted(self) -> tuple[Command, ...]:
        """Return what is to be sent before the first commands.

        How it is answered matters to nobody: some providers refuse `CLIENT`.
        """
        greeting, self._greeting = self._greeting, ()
        return greeting

    def _has_strayed(self, every_s: float) -> bool:
        """Leave a server that is not the right one any more; return whether it was left.

        Somebody is asked only if that was `every_s` ago.
        """
        now = time.monotonic()
        if not (self._route.may_move and self.connected and now - self._checked_at > every_s):
            return False
        with self._lock:
            self._checked_at = now
            try:
                if self._route.is_right(self._connection):
                    return False
            except _BROKEN:
                pass  # it is dead
            self.close()
            return True

    # notifications -----------------------------------------------------------------------

    def subscribe(self, channels: Sequence[str], *, only: bool = False) -> None:
        """Have notifications of these channels pushed; with `only`, of no others any more.

        Under RESP3 a subscription is confirmed by pushes, not by a reply; a PING with a mark of
        ours behind it tells when everything before was taken, or refused.

        Raises:
            StoreUnavailable, StoreRefused: As for `run`.

        """
        mark = secrets.token_hex(8).encode()
        commands: list[Command] = [("UNSUBSCRIBE",)] if only else []
        commands += [("SUBSCRIBE", *channels)] if channels else []
        with self._lock:
            connection = self._connected()
            self._meter.left = meter.MAX_ANSWER_BYTES
            greeting = self._greeted()
            try:
                _send(connection, [*greeting, *commands, ("PING", mark)])
                for _ in greeting:
                    _reply(connection)
                replies = [_reply(connection)]
                while replies[-1] != mark:
                    replies.append(_reply(connection))
            except _BROKEN as error:
                self.close()
                raise self._faults(error) from error
        for reply in replies:
            if isinstance(reply, redis.ResponseError):
                raise self._faults(reply, ("SUBSCRIBE", *channels)) from reply

    def unsubscribe(self, channel: str) -> None:
        """End one subscription."""
        with self._lock:
            connection = self._connected()
            try:
                _send(connection, [("UNSUBSCRIBE", channel)])
            except _BROKEN as error:
                self.close()
                raise self._faults(error) from error

    def wait(self, timeout_s: float, wake_fd: int) -> bool:
        """Wait until a notification is there, `wake_fd` can be read, or the time is up.

        Returns:
            Whether `wake_fd` can be read.

        Raises:
            StoreUnavailable: The connection is lost, or there was none.

        """
        if not self.connected:
            raise StoreUnavailable(f"The connection to {self.address} is gone.", url=self.address)
        if timeout_s and self._has_strayed(WAIT_CHECK_S):
            raise StoreUnavailable(
                f"The right server of {self.address} is another one now.", url=self.address
            )
        try:
            return self._wait(timeout_s, wake_fd)
        except _BROKEN as error:
            self.close()
            raise self._faults(error) from error

    def _wait(self, timeout_s: float, wake_fd: int) -> bool:
        connection = self._connection
        self._meter.left = meter.MAX_ANSWER_BYTES
        deadline = time.monotonic() + timeout_s
        poll = native.poll()
        poll.register(connection._sock, _POLLIN)
        poll.register(wake_fd, _POLLIN)
        while True:
            for _ in range(MOST_AT_ONCE):  # in a flood there is always one more
                if not _has_read(connection):
                    break
                _read_push(connection)
            if self._pushes:
                return False
            left_s = max(0.0, deadline - time.monotonic())
            found = poll.poll(left_s * 1000)
            if any(fd == wake_fd for fd, _ in found):
                return True
            if found:
                _read_push(connection)
            elif not left_s:
                return False

    def take_pushes(self) -> list[tuple[str, str]]:
        """Return (channel, message) of the notifications that came, each once, and forget them."""
        taken, self._pushes = self._pushes, {}
        return [*taken]

    def _take_push(self, push: list[Any]) -> object:
        """Keep a notification; called by the parser, also in front of replies.

        The same one is kept once: however many come, no more is remembered than there are kinds.
        """
        if push and push[0] == b"message":
            self._pushes[_text(push[1]), _text(push[2])] = None
        return _PUSH


def _send(connection: Any, commands: Sequence[Command]) -> None:
    """Send commands in one write, packed here: in a third of redis-py's time (m, 8.1)."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    connection.send_packed_command([b"".join(parts)], check_health=False)


def _read_push(connection: Any) -> None:
    """Read one notification. Not through the connection: in redis-py 5 it does not say what for."""
    connection._parser.read_response(disable_decoding=True, push_request=True)


def _has_read(connection: Any) -> bool:
    """Return whether a message may be at hand without the socket being readable."""
    reader = getattr(connection._parser, "_reader", None)
    pending = getattr(connection._sock, "pending", None)  # what TLS holds
    if pending is not None and pending():
        return True
    if reader is None:  # redis-py's own parser, which cannot be asked without the socket
        return bool(connection.can_read(0))
    return bool(reader.has_data())


def _replies(connection: Any, count: int) -> list[Any]:
    """Read replies. Those that came together are taken from hiredis at once, where it is used:
    redis-py takes 7 µs for each (m, 8.1).
    """
    replies: list[Any] = []
    reader = getattr(connection._parser, "_reader", None)
    while len(replies) < count:
        found = reader.gets(False) if reader is not None else NOT_ENOUGH_DATA
        if found is NOT_ENOUGH_DATA:
            replies.append(_reply(connection))
        elif type(found).__name__ == "PushNotification":
            connection._parser.pubsub_push_handler_func(found)
        else:
            replies.append(found)
    return replies


def _reply(connection: Any) -> Any:
    """Read one reply; an error of the server is returned, since more replies may follow.

    Notifications that come first are passed over in a loop of ours: redis-py's recurses, and ends
    in a RecursionError where there are a thousand of them.
    """
    read = connection._parser.read_response
    try:
        while (found := read(disable_decoding=True, push_request=True)) is _PUSH:
            pass
    except redis.ResponseError as error:
        return error
    return found


_PUSH = object()
"""What reading gives where a notification came and no reply."""


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
