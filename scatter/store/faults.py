"""What the errors of redis-py and of the system mean: one of ours for each, translated once.

Not here: what is done about them (`link`).

Invariant: no password is in any message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from scatter.config import redact
from scatter.errors import StoreRefused, StoreUnavailable, UsageError
from scatter.store.dial import code_of


class _LaterError(StoreUnavailable):
    """Worth asking again soon."""


class _BusyError(_LaterError):
    """The server is loading its data or running a script."""


class _KeysMovingError(_LaterError):
    """The server is the right one, and is about to hand the slot over: what it lacks is there."""


class _StrayedError(_LaterError):
    """The server is not the right one now; another one is, or will be soon."""


_MOVING = frozenset({"ASK", "TRYAGAIN"})
_STRAYED = frozenset({"READONLY", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "MOVED"})
"""What a server says first when it is not the right one (redis-py's classes: `code_of`)."""


class Faults:
    """Translates what went wrong with one server."""

    def __init__(self, address: str, *, may_move: bool) -> None:
        """Remember which server.

        Args:
            address: Its address, for people.
            may_move: Whether the right server may be another one some day.

        """
        self._address = address
        self._may_move = may_move

    def __repr__(self) -> str:
        return f"<Faults of {self._address}>"

    def __call__(self, error: BaseException, command: Sequence[Any] = ()) -> Exception:
        """Return one of our errors for one of redis-py's or the system's."""
        if isinstance(error, UsageError):  # of a log-in that is set up wrong
            return StoreUnavailable(str(error), url=self._address)
        text = redact(str(error))
        later = self._later(error, text)
        if later is not None:
            return later
        if "unknown command" in text and "HELLO" in text:
            return StoreUnavailable(
                f"{self._address} is older than Redis 6. Use Redis 6 or later, or Valkey.",
                url=self._address,
            )
        if isinstance(error, redis.AuthenticationError):
            return StoreRefused(
                f"{self._address} denied the log-in ({text.rstrip('.')}). Check the user, and the "
                "password: that of the address, else of redis_password_file."
            )
        if isinstance(error, redis.ResponseError):
            return self._refused(text, code_of(error), command)
        return self._unreachable(text or type(error).__name__)

    def _unreachable(self, text: str) -> StoreUnavailable:
        """Return the error of a server that cannot be talked to."""
        found = f"No Redis answers at {self._address} ({text.rstrip('.')}). "
        advice = (
            "Is it running? For one of your own, use the address local:// "
            "(or run `scatter server`)."
        )
        if "[SSL" in text:
            found = f"TLS with {self._address} failed ({text}). "
            advice = (
                "Check who vouches for its certificate (SCATTER_REDIS_CA_FILE), that it has the "
                "host's name, and whether the server asks for a certificate of this client "
                "(SCATTER_REDIS_CERT_FILE, SCATTER_REDIS_KEY_FILE)."
            )
        return StoreUnavailable(found + advice, url=self._address)

    def _refused(self, text: str, code: str, command: Sequence[Any]) -> StoreRefused:
        """Return the error of a command that the server denied; it says who may, if that is it."""
        name, key = [*map(_text, command[:2]), "", ""][:2]
        advice = "Check its memory, and that it is no replica."
        if code == "NOPERM":
            advice = f"Check the rights of its user (ACL){_who_may(name, key)}."
        message = f"{self._address} refused {name or 'a command'}: {text.rstrip('.')}. {advice}"
        word = code if code.isupper() else ""
        return StoreRefused(message, command=name, key=key, code=word)

    def _later(self, error: BaseException, text: str) -> _LaterError | None:
        """Return the error of something that passes by itself; None if it is no such thing."""
        if isinstance(error, redis.BusyLoadingError) or text.startswith("BUSY"):
            return _BusyError(f"{self._address} is busy: {text}. Try again when it is done.")
        code = code_of(error) if self._may_move else ""
        if code in _MOVING:
            return _KeysMovingError(
                f"Keys of {self._address} are on their way to another node "
                f"({code}: {text}). Try again; if this lasts, look at the "
                "migration of its slots.",
                url=self._address,
            )
        if code in _STRAYED:
            return _StrayedError(
                f"The server of {self._address} that was asked is not the right one now "
                f"({code}: {text}), and no other was found yet. Try again; if this "
                "lasts, look at its failover or its slots.",
                url=self._address,
            )
        return None


def _who_may(command: str, key: str) -> str:
    """Return which roles may do what this account may not."""
    from scatter.store.acl import roles_that_may

    roles = roles_that_may(command, key)
    if not roles:
        return ": no role of `scatter acl` includes this"
    *others, last = roles
    named = f"{', '.join(others)} or {last}" if others else last
    return f": an account with the role {named} may, `scatter acl` prints its rules"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
