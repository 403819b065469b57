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
"""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import Any

import redis
import redis.connection
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.backoff import NoBackoff
from redis.retry import Retry

from scatter import native
from scatter.config import redact
from scatter.errors import ScatterError, StoreRefused, StoreUnavailable, UsageError
from scatter.locks import ForkSafeLock

Command = tuple[Any, ...]
Dial = Callable[[], Any]

CONNECT_TIMEOUT_S = 1.0
REPLY_TIMEOUT_S = 2.0
BUSY_S = 2.0
"""How long a server that is loading its data or running a script is asked again."""
_BUSY_PAUSE_S = 0.02
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
        dial: Dial | None = None,
    ) -> None:
        """Remember where to connect to.

        Args:
            url: `redis://`, `rediss://` or `unix://`.
            name: Client name, as `CLIENT LIST` shows it.
            connect_timeout_s: How long connecting may take.
            reply_timeout_s: How long a reply may take.
            dial: Returns a new redis-py connection, where the URL alone does not say which
                (Sentinel, Cluster).

        Raises:
            UsageError: The URL is malformed.

        """
        self.address = redact(url)
        self._dial = dial or _dialer(url, name, connect_timeout_s, reply_timeout_s)
        self._lock = ForkSafeLock()
        self._connection: Any = None
        self._pid = 0
        self._pushes: deque[tuple[str, str]] = deque()
        self.database = 0
        self.generation = 0  # how many connections there were: what a server keeps for one is gone

    def __repr__(self) -> str:
        return f"<Link to {self.address}, {'up' if self._connection else 'down'}>"

    @property
    def connected(self) -> bool:
        """Whether there is a connection of this process, as far as is known."""
        return self._connection is not None and self._pid == os.getpid()

    def close(self) -> None:
        """End the connection. Idempotent; the next command opens one again."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._pushes.clear()
            if connection is not None:
                _end(connection)

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
            again: Whether they may be sent twice, should the connection turn out dead.
            lenient: Positions of commands whose reply is None when they are answered with an
                error.

        Raises:
            StoreUnavailable: The server cannot be reached, or did not answer in time.
            StoreRefused: It answered one of them with an error.

        """
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                with self._lock:
                    return self._run(commands, again, lenient)
            except _BusyError as busy:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"{self.address} is busy: {busy}. Try again when it is done.",
                        url=self.address,
                    ) from busy
            native.sleep(_BUSY_PAUSE_S)

    def _run(self, commands: Sequence[Command], again: bool, lenient: Container[int]) -> list[Any]:
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
        try:
            _send(connection, commands)
            replies = _replies(connection, len(commands))
        except (redis.RedisError, OSError, AttributeError) as error:
            self.close()
            raise self._translated(error) from error
        for position, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if isinstance(reply, redis.ResponseError):
                translated = self._translated(reply, str(command[0]))
                if position not in lenient or isinstance(translated, _BusyError):
                    raise translated from reply
                replies[position] = None
        return replies

    def _connected(self) -> Any:
        """Return the connection, opened if need be."""
        if self._connection is not None and self._pid != os.getpid():
            self.close()
        if self._connection is None:
            try:
                connection = self._dial()
                connection.connect()
            except (redis.RedisError, OSError, AttributeError, TypeError, ValueError) as error:
                # whatever answers there may not be a Redis: redis-py then fails in many ways
                raise self._translated(error) from error
            connection._parser.set_pubsub_push_handler(self._take_push)
            self.database = int(getattr(connection, "db", 0) or 0)
            self._connection, self._pid = connection, os.getpid()
            self.generation += 1
        return self._connection

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
            try:
                _send(connection, [*commands, ("PING", mark)])
                replies = [_reply(connection)]
                while replies[-1] != mark:
                    replies.append(_reply(connection))
            except (redis.RedisError, OSError, AttributeError) as error:
                self.close()
                raise self._translated(error) from error
        for reply in replies:
            if isinstance(reply, redis.ResponseError):
                raise self._translated(reply, "SUBSCRIBE") from reply

    def unsubscribe(self, channel: str) -> None:
        """End one subscription."""
        with self._lock:
            connection = self._connected()
            try:
                _send(connection, [("UNSUBSCRIBE", channel)])
            except (redis.RedisError, OSError, AttributeError) as error:
                self.close()
                raise self._translated(error) from error

    def wait(self, timeout_s: float, wake_fd: int) -> bool:
        """Wait until a notification is there, `wake_fd` can be read, or the time is up.

        Returns:
            Whether `wake_fd` can be read.

        Raises:
            StoreUnavailable: The connection is lost, or there was none.

        """
        if not self.connected:
            raise StoreUnavailable(f"The connection to {self.address} is gone.", url=self.address)
        try:
            return self._wait(timeout_s, wake_fd)
        except (redis.RedisError, OSError, AttributeError) as error:
            self.close()
            raise self._translated(error) from error

    def _wait(self, timeout_s: float, wake_fd: int) -> bool:
        connection = self._connection
        deadline = time.monotonic() + timeout_s
        poll = native.poll()
        poll.register(connection._sock, _POLLIN)
        poll.register(wake_fd, _POLLIN)
        while True:
            while _has_read(connection):
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
        """Return (channel, message) of the notifications that came, and forget them."""
        taken = []
        while self._pushes:
            taken.append(self._pushes.popleft())
        return taken

    def _take_push(self, push: list[Any]) -> list[Any]:
        """Keep a notification; called by the parser, also in the middle of other replies."""
        if push and push[0] == b"message":
            self._pushes.append((_text(push[1]), _text(push[2])))
        return push

    # errors ------------------------------------------------------------------------------

    def _translated(self, error: BaseException, command: str = "") -> Exception:
        """Return one of our errors for one of redis-py's or the system's."""
        text = redact(str(error))
        if isinstance(error, redis.BusyLoadingError) or text.startswith("BUSY"):
            return _BusyError(text)
        if "unknown command" in text and "HELLO" in text:
            return StoreUnavailable(
                f"{self.address} is older than Redis 6. Use Redis 6 or later, or Valkey.",
                url=self.address,
            )
        if isinstance(error, redis.AuthenticationError):
            return StoreRefused(
                f"{self.address} denied the log-in ({text}). Check user and password."
            )
        if isinstance(error, redis.ResponseError):
            return StoreRefused(
                f"{self.address} refused {command or 'a command'}: {text}. Check the rights of its "
                "user (ACL), its memory, and that it is no replica."
            )
        return StoreUnavailable(
            f"No Redis answers at {self.address} ({text or type(error).__name__}). "
            "Is it running? For one of your own, use the address local:// "
            "(or run `scatter server`).",
            url=self.address,
        )


class _BusyError(ScatterError):
    """The server is loading its data or running a script: worth asking again soon."""


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
    """Read one reply; an error of the server is returned, since more replies may follow."""
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        return error


def _end(connection: Any) -> None:
    try:
        connection.disconnect()
    except (redis.RedisError, OSError):
        pass  # it was dead: there is nothing to end


def _dialer(url: str, name: str, connect_timeout_s: float, reply_timeout_s: float) -> Dial:
    """Return what makes connections for a URL, with redis-py's own retries switched off."""
    ours: dict[str, Any] = {
        "protocol": 3,
        "client_name": name,
        "socket_timeout": reply_timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "decode_responses": False,
        **_parser(),
        **_quiet(),
    }
    if url.startswith("unix://"):
        del ours["socket_connect_timeout"]
    try:
        pool = redis.ConnectionPool.from_url(url)
        given = {k: v for k, v in pool.connection_kwargs.items() if k not in _NOT_OURS}
        pool.connection_class(**{**given, **ours})
    except (ValueError, TypeError, redis.RedisError):
        # what they say of it may have a part of the password
        raise UsageError(
            f"{redact(url)} is no address of a Redis. "
            "It looks like redis://user:secret@host:6379/0, with `@`, `/`, `:`, `?` and `#` in "
            "user and secret written as %40, %2F, %3A, %3F and %23."
        ) from None
    return lambda: native.with_native_sockets(pool.connection_class)(**{**given, **ours})


_NOT_OURS = frozenset({"maint_notifications_config", "maint_notifications_pool_handler"})


def _parser() -> dict[str, Any]:
    """Return what keeps redis-py 5 from using hiredis, through which it cannot hand on pushes."""
    parser = redis.connection.DefaultParser
    if parser.__name__ != "_HiredisParser" or hasattr(parser, "set_pubsub_push_handler"):
        return {}
    from redis._parsers import _RESP3Parser

    return {"parser_class": _RESP3Parser}


def _quiet() -> dict[str, Any]:
    """Return what keeps redis-py 7 and later from asking for maintenance notifications."""
    try:
        from redis.maint_notifications import MaintNotificationsConfig
    except ImportError:
        return {}
    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
