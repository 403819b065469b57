"""A small client of ssh-agent (draft-ietf-sshm-ssh-agent): which keys it has, and signing.

Not here: which key is wanted (`scatter.trust.signing`). Invariants

1. No call waits for ever; signing waits long enough for somebody to touch a token.
2. Each question has a connection of its own: nothing is shared between threads or with a child.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field

from scatter.errors import Refused
from scatter.trust import wire

_FAILURE = 5
_LIST, _LISTED = 11, 12
_SIGN, _SIGNED = 13, 14
_LIST_S, _SIGN_S = 5.0, 60.0
_MAX_KEYS = 2048
_MAX_ANSWER_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Identity:
    """A key that the agent has.

    Attributes:
        blob: The key or certificate in SSH's wire format.
        comment: What the agent says of it.

    """

    blob: bytes = field(repr=False)
    comment: str


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent that listens on a socket.

    Attributes:
        path: Path of the socket.

    """

    path: str

    @classmethod
    def of_environment(cls) -> Agent:
        """Return the agent that `SSH_AUTH_SOCK` names.

        Raises:
            Refused: `cannot-sign`: it names none.

        """
        path = os.environ.get("SSH_AUTH_SOCK", "")
        if not path:
            raise Refused(
                "cannot-sign",
                "Expected an ssh-agent, found SSH_AUTH_SOCK unset.",
                hint="Start one with `eval $(ssh-agent)`, then `ssh-add` the key.",
            )
        return cls(path)

    def identities(self) -> tuple[Identity, ...]:
        """Return the keys that the agent has.

        Raises:
            Refused: `cannot-sign`: it cannot be asked.

        """
        reader = self._ask(bytes([_LIST]), _LISTED, _LIST_S)
        try:
            count = reader.u32()
            if count > _MAX_KEYS:
                raise ValueError(f"it says that it has {count} keys")
            found = tuple(
                Identity(reader.string(), reader.string().decode("utf-8", "replace"))
                for _ in range(count)
            )
            reader.end()
        except ValueError as error:
            raise self._failed(f"its answer cannot be read: {error}") from error
        return found

    def sign(self, blob: bytes, data: bytes) -> bytes:
        """Return the signature of a key over some bytes, in SSH's wire format.

        Raises:
            Refused: `cannot-sign`: the agent refused, or did not answer in time.

        """
        request = bytes([_SIGN]) + wire.string(blob) + wire.string(data) + wire.u32(0)
        reader = self._ask(request, _SIGNED, _SIGN_S)
        try:
            signature = reader.string()
            reader.end()
        except ValueError as error:
            raise self._failed(f"its answer cannot be read: {error}") from error
        return signature

    def _ask(self, request: bytes, expected: int, timeout_s: float) -> wire.Reader:
        """Return the answer to a request, read up to what it answers."""
        deadline = time.monotonic() + timeout_s
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout_s)
                connection.connect(self.path)
                connection.sendall(wire.string(request))
                size = int.from_bytes(_receive(connection, 4, deadline), "big")
                if not 0 < size <= _MAX_ANSWER_BYTES:
                    raise self._failed(f"its answer would have {size} bytes")
                answer = wire.Reader(_receive(connection, size, deadline))
        except TimeoutError as error:
            raise self._failed(f"it did not answer within {timeout_s:.0f} s") from error
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from error
        found = answer.u8()
        if found == _FAILURE:
            raise self._failed("it refused")
        if found != expected:
            raise self._failed(f"it answered with a message of type {found}, not {expected}")
        return answer

    def _failed(self, why: str) -> Refused:
        return Refused(
            "cannot-sign",
            f"The ssh-agent at {self.path} did not sign: {why}.",
            hint="`ssh-add -l` shows whether it is there, and which keys it has.",
        )


def _receive(connection: socket.socket, size: int, deadline: float) -> bytes:
    """Return so many bytes, by a moment of the monotonic clock."""
    data = bytearray()
    while len(data) < size:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionResetError(0, "it hung up")
        data += part
    return bytes(data)
