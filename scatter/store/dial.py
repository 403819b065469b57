"""How connections of redis-py are made, with its own habits switched off.

Not here: which server to connect to (`topology`), and what is done with the connection (`link`).
"""

from __future__ import annotations

import inspect
from typing import Any

import redis
import redis.connection
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry

from scatter import native
from scatter.access import NO_ACCESS, Access
from scatter.config import redact
from scatter.errors import UsageError


class Dialer:
    """Makes connections for one URL; they are not connected yet."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float,
        reply_timeout_s: float,
        access: Access = NO_ACCESS,
        login: dict[str, str] | None = None,
        shown: str = "",
    ) -> None:
        """Read the URL.

        Args:
            url: `redis://`, `rediss://` or `unix://`.
            connect_timeout_s: How long connecting may take.
            reply_timeout_s: How long a reply may take.
            access: Log-in and certificates beside the URL.
            login: `username` and `password`, where the URL does not have them.
            shown: What errors show in place of the URL.

        Raises:
            UsageError: The URL is malformed, or a file of `access` cannot be used.

        """
        ours: dict[str, Any] = {"socket_timeout": reply_timeout_s, **_plain()}
        ours["socket_connect_timeout"] = connect_timeout_s
        if url.startswith("unix://"):
            del ours["socket_connect_timeout"]
        try:
            pool = redis.ConnectionPool.from_url(url)
            given = {k: v for k, v in pool.connection_kwargs.items() if k not in _NOT_OURS}
            self._kind: Any = pool.connection_class
            given |= login or {}
            is_tls = issubclass(self._kind, redis.SSLConnection)
            tls = {} if url.startswith("unix://") else access.tls(given, is_tls=is_tls)
            self._options = {**given, **tls, **ours}
            self._access = access
            self()
        except UsageError:
            raise
        except (ValueError, TypeError, redis.RedisError):
            # what they say of it may have a part of the password
            raise UsageError(
                f"{redact(shown or url)} is no address of a Redis. "
                "It looks like redis://user:secret@host:6379/0, with `@`, `/`, `:`, `?` and `#` in "
                "user and secret written as %40, %2F, %3A, %3F and %23."
            ) from None

    def __call__(self, **instead: Any) -> Any:
        """Return a new connection, with these options in place of the URL's.

        Raises:
            UsageError: The password cannot be read.

        """
        kind = native.with_native_sockets(self._kind)
        login = {} if "password" in instead else self._access.login(self._options)
        return kind(**{**self._options, **login, **instead})


_NOT_OURS = frozenset({"maint_notifications_config", "maint_notifications_pool_handler"})


def _plain() -> dict[str, Any]:
    """Return what switches redis-py's own habits off."""
    return {
        "protocol": 3,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "decode_responses": False,
        **_parser(),
        **_quiet(),
    }


def _parser() -> dict[str, Any]:
    """Return what keeps redis-py 5 from using hiredis, through which it cannot hand on pushes."""
    parser = redis.connection.DefaultParser
    if parser.__name__ != "_HiredisParser" or hasattr(parser, "set_pubsub_push_handler"):
        return {}
    from redis._parsers import _RESP3Parser

    return {"parser_class": _RESP3Parser}


def _quiet() -> dict[str, Any]:
    """Return what keeps redis-py from saying what it is, and from asking for maintenance
    notifications (7 and later). Accounts may do neither, and servers log what they deny.
    """
    known = inspect.signature(redis.connection.AbstractConnection).parameters
    names = ["driver_info"] if "driver_info" in known else ["lib_name", "lib_version"]
    quiet: dict[str, Any] = dict.fromkeys(names)
    try:
        from redis.maint_notifications import MaintNotificationsConfig
    except ImportError:
        return quiet
    return {**quiet, "maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def ask(connection: Any, *command: Any) -> Any:
    """Send one command and return its reply; the server's errors are raised."""
    connection.send_command(*command, check_health=False)
    return connection.read_response(disable_decoding=True)


def hang_up(connection: Any) -> None:
    """End a connection."""
    try:
        connection.disconnect()
    except (redis.RedisError, OSError):
        pass  # it was dead: there is nothing to end


_CODES: dict[type[BaseException], str] = {
    ReadOnlyError: "READONLY",
    MovedError: "MOVED",
    AskError: "ASK",
    TryAgainError: "TRYAGAIN",
    ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN",
    NoPermissionError: "NOPERM",
}


def code_of(error: BaseException) -> str:
    """Return the word with which a server begins an error, empty for what is none of a server.

    redis-py takes it off the text where it has a class for it, which differs between its versions
    (5.3 has none for MOVED); EXEC quotes the error of the command that was to blame.
    """
    if not isinstance(error, redis.ResponseError):
        return ""
    text = str(error)
    return _CODES.get(type(error)) or (text.partition("because of: ")[2] or text).split(" ")[0]
