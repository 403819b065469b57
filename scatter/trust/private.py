"""Private keys in files: OpenSSH's format, or PKCS#8 in PEM; Ed25519 only.

Not here: keys that an ssh-agent keeps (`scatter.trust.ssh_agent`), which key is used
(`scatter.trust.signing`).

Invariants
1. Nothing of a private key, and no passphrase, is in a `repr`, a message or the cause of an error.
2. A file that this user owns and others can read is refused, as ssh does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scatter.errors import Refused
from scatter.trust import keys, wire
from scatter.trust.keys import ED25519, PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Ask = Callable[[Path], str | None]
"""Asks the person for the passphrase of a file; None: nobody is there to ask."""

_MAX_BYTES = 1 << 16
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_PKCS8 = (b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


class PrivateKey:
    """A private key in memory.

    Attributes:
        key: Its public key.

    """

    __slots__ = ("_private", "key")

    def __init__(self, private: Ed25519PrivateKey, comment: str = "") -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        point = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._private = private
        self.key: PublicKey = keys.read_key(wire.string(ED25519) + wire.string(point), comment)

    def __repr__(self) -> str:
        return f"PrivateKey({self.key.fingerprint})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("A private key is not pickled or copied.")

    def sign(self, data: bytes) -> bytes:
        """Return the signature over some bytes, in SSH's wire format."""
        return wire.string(ED25519) + wire.string(self._private.sign(data))


def is_private(data: bytes) -> bool:
    """Return whether a file looks like one that this module reads."""
    return data.lstrip().startswith((_OPENSSH, *_PKCS8))


def read_file(path: Path) -> bytes:
    """Return what is in a key's file.

    Raises:
        Refused: `cannot-sign`: it cannot be read, is too large, or others can read it.

    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise refused(path, "it is not a regular file", "Give the path of a file.")
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise refused(path, error.strerror or str(error), "Give the path of a key.") from error
    if len(data) > _MAX_BYTES:
        raise refused(path, f"it has more than {_MAX_BYTES:,} bytes", "Give the path of a key.")
    if is_private(data) and status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise refused(
            path,
            f"others can read this private key (mode {stat.S_IMODE(status.st_mode):o})",
            f"Run: chmod 600 {path}",
        )
    return data


def parse(data: bytes, path: Path, ask: Ask | None = None) -> PrivateKey:
    """Return the private key that was in a file.

    Args:
        data: What was in it.
        path: The file, for messages.
        ask: Asks for its passphrase, if it has one.

    Raises:
        Refused: `cannot-sign`.

    """
    if not is_private(data):
        raise refused(
            path,
            "it is no private key in OpenSSH's format, or PKCS#8 in PEM",
            "Make one with `ssh-keygen -t ed25519`, or convert it with `ssh-keygen -p`.",
        )
    private = _load(data, path, None)
    if private is None:
        phrase = ask(path) if ask else None
        if phrase is None:
            raise refused(
                path,
                "it has a passphrase, and there is nobody here to ask for it",
                f"Have {_keep(path)}.",
            )
        private = _load(data, path, phrase.encode())
        if private is None:
            raise refused(path, "it has a passphrase, found an empty one", "Try again.")
    return PrivateKey(private)


def read(path: Path, ask: Ask | None = None) -> PrivateKey:
    """Return the private key in a file; see `read_file` and `parse`."""
    return parse(read_file(path), path, ask)


def _load(data: bytes, path: Path, phrase: bytes | None) -> Ed25519PrivateKey | None:
    """Return a key; None if it has a passphrase and none was given."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    is_openssh = data.lstrip().startswith(_OPENSSH)
    load = serialization.load_ssh_private_key if is_openssh else serialization.load_pem_private_key
    try:
        private = load(data.lstrip(), phrase or None)
    except TypeError:  # an encrypted key without a passphrase, or the other way round
        if phrase:
            raise refused(path, "it cannot be read", "Try again.") from None
        return None
    except UnsupportedAlgorithm:
        raise refused(
            path,
            "it is of a kind, or encrypted in a way, that cannot be read here",
            f"If it has a passphrase, `pip install bcrypt`, or have {_keep(path)}.",
        ) from None
    except ValueError:  # its text could show a piece of the file
        why = "the passphrase is wrong, or it is damaged" if phrase else "it is damaged"
        raise refused(path, why, "Try again, or give the path of another key.") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise refused(
            path,
            "it is no Ed25519 key",
            "Make one with `ssh-keygen -t ed25519`, or `scatter keys new`.",
        )
    return private


def _keep(path: Path) -> str:
    return f"ssh-agent keep it: `ssh-add {path}`, and give {path}.pub in place of it"


def refused(path: Path, why: str, hint: str) -> Refused:
    """Return the refusal of a key's file."""
    return Refused("cannot-sign", f"{path} cannot sign: {why}.", hint=hint)
