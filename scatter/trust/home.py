"""Where this machine and this user keep their keys, and the first key of all.

    /etc/scatter/allowed_signers         whom everybody on this machine trusts
    ~/.config/scatter/allowed_signers    whom this user trusts besides
    ~/.config/scatter/signing_key        the key of this user, with `signing_key.pub`
    …/revoked_keys                       keys that are trusted no more, in both directories
    …/policy.toml                        what signers may do; the machine's goes before the user's

`SCATTER_ALLOWED_SIGNERS`, `SCATTER_REVOKED_KEYS` and `SCATTER_POLICY` name files that replace both
of theirs.

Not here: what the files say. Invariants

1. Nothing of this comes from the store.
2. However many processes make the first key at once, there is one in the end, and each of them
   returns it.
3. A key that exists is never replaced, and nothing is trusted on its behalf a second time.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from scatter import files
from scatter.errors import UsageError
from scatter.trust import keys
from scatter.trust.keys import PublicKey

SIGNERS_VARIABLE = "SCATTER_ALLOWED_SIGNERS"
REVOKED_VARIABLE = "SCATTER_REVOKED_KEYS"
POLICY_VARIABLE = "SCATTER_POLICY"
MACHINE = Path("/etc/scatter")
PATIENCE_S = 10.0
"""How long a change of these files waits for another one."""
EVERY_PURPOSE = "scatter-release-v1:*"
"""What a first key may sign: releases, of every namespace."""


def purpose(namespace: str) -> str:
    """Return what the signatures of a namespace's releases are for, as SSHSIG names it."""
    return f"scatter-release-v1:{namespace}"


def config_home() -> Path | None:
    """Return this user's directory for scatter; None if the user has no home."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if base.startswith("/"):  # others are to be ignored, says the XDG specification
        return _in(base, "scatter")
    user_home = os.path.expanduser("~")
    return None if user_home == "~" else _in(user_home, ".config/scatter")


def own_home() -> Path:
    """Return this user's directory for scatter.

    Raises:
        UsageError: The user has no home.

    """
    found = config_home()
    if found is None:
        raise UsageError("This user has no home directory. Set HOME or XDG_CONFIG_HOME.")
    return found


def signers_files() -> tuple[Path, ...]:
    """Return the files of trusted keys that there are, or those that the environment names."""
    return _files(SIGNERS_VARIABLE, "allowed_signers")


def revoked_files() -> tuple[Path, ...]:
    """Return the revoked lists that there are, or those that the environment names."""
    return _files(REVOKED_VARIABLE, "revoked_keys")


def policy_files() -> tuple[Path, ...]:
    """Return the policy file, if there is one; the user's cannot go over the machine's."""
    return _files(POLICY_VARIABLE, "policy.toml")[:1]


def _files(variable: str, name: str) -> tuple[Path, ...]:
    given = os.environ.get(variable)
    if given:  # a file that is named and missing is an error for whoever reads it
        return tuple(Path(part).expanduser() for part in given.split(os.pathsep) if part)
    return tuple(path for path in places(name) if _is_there(path))


def _is_there(path: Path) -> bool:
    """Return whether something is at a path, or could be: a list must not vanish with a `chmod`.

    What this user may not look at, and a link that leads nowhere, are errors for whoever reads it.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def places(name: str) -> tuple[Path, ...]:
    """Return where a file of trust is looked for, the machine's place first."""
    folders = (MACHINE, config_home())
    return tuple(_in(folder, name) for folder in folders if folder is not None)


@lru_cache(32)
def _in(folder: Path | str, name: str) -> Path:
    return Path(folder) / name


# the first key ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKey:
    """The key of this user.

    Attributes:
        path: The file of the private key.
        key: The public key.
        made: Whether it was made just now, and trusted on this account.

    """

    path: Path
    key: PublicKey
    made: bool


def key_path() -> Path:
    """Return where this user's key is, or will be.

    Raises:
        UsageError: The user has no home.

    """
    return own_home() / "signing_key"


def ensure_key() -> OwnKey:
    """Return this user's key; if there is none, make it and trust it on this account.

    Raises:
        UsageError: The user has no home, or the directory cannot be written.

    """
    path = key_path()
    try:
        make_folder(path.parent)
        with locked(path.parent):
            if os.path.lexists(path):
                return OwnKey(path=path, key=_read_public(path), made=False)
            return OwnKey(path=path, key=_make(path), made=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be made: {error.strerror}. Name a key that there is in "
            "SCATTER_SIGNING_KEY_FILE, or let this user write to the directory."
        ) from error


def make_folder(folder: Path) -> None:
    """Make a directory that only this user can enter, and what is missing above it."""
    for parent in (*reversed(folder.parents), folder):  # `parents=True` would not pass the mode on
        parent.mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same from a directory meanwhile.

    Raises:
        UsageError: One of them is stopped in the middle of it.

    """
    with files.locked(folder / ".lock", PATIENCE_S) as is_ours:
        if not is_ours:
            raise UsageError(
                f"Another process has been changing {folder} for {PATIENCE_S:g} s. End it: "
                f"`fuser {folder / '.lock'}` names it."
            )
        yield


def _read_public(path: Path) -> PublicKey:
    """Return the public key of a private key's file; from the `.pub` beside it if there is one."""
    public = path.with_name(f"{path.name}.pub")
    try:
        return keys.parse_key(public.read_text("utf-8"))
    except FileNotFoundError:
        from scatter.trust import private

        return private.read(path).key
    except ValueError as error:
        raise UsageError(
            f"{public} has no public key: {error}. Write it with ssh-keygen -y."
        ) from (error)


def _make(path: Path) -> PublicKey:
    """Make a key; the file of the private one comes last, since it is what makes it exist."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    key = keys.parse_key(f"{public.decode()} {user_at_host()}")
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    write(path.with_name(f"{path.name}.pub"), f"{key.line()}\n".encode())
    trust = f'{user_at_host()} namespaces="{EVERY_PURPOSE}" {key.line()}\n'
    append(path.with_name("allowed_signers"), trust)
    write(path, secret)
    return key


def user_at_host() -> str:
    """Return who this is, as a principal: without what would end one in a file."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = str(os.getuid())
    name = f"{user}@{socket.gethostname()}"
    return "".join(c if c.isalnum() or c in "@._-" else "_" for c in name)


def append(path: Path, line: str) -> None:
    """Add a line to a file; the file is the old one or the new one, whatever happens."""
    try:
        old = path.read_bytes()
    except FileNotFoundError:
        old = b""
    if old and not old.endswith(b"\n"):
        old += b"\n"
    write(path, old + line.encode())


def write(path: Path, data: bytes) -> None:
    """Write a file whole, for this user alone; one that exists keeps its owner and readers."""
    real = Path(os.path.realpath(path))  # a link stays one, as to where dotfiles are kept
    files.write_whole(real, data, keep_owner=True)
