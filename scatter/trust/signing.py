"""Who signs what this process releases: keys in files, in an ssh-agent, or this user's own.

Looked for in this order:
1. `SCATTER_SIGNING_KEY_FILE`: one path or several, with `:` between; each key signs. A `.pub` file
   means that the ssh-agent has the private key.
2. A public key, or its fingerprint, given as a setting: the ssh-agent has the private key.
3. This user's own key (`scatter.trust.home`).

A certificate beside a key (`KEY-cert.pub`) signs in its place.

Not here: reading private keys (`scatter.trust.private`), whom to trust.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scatter.errors import Refused, Untrusted, UsageError
from scatter.trust import certificate, home, keys, private, sshsig
from scatter.trust.certificate import Certificate
from scatter.trust.home import OwnKey, purpose
from scatter.trust.keys import PublicKey
from scatter.trust.private import Ask
from scatter.trust.ssh_agent import Agent

VARIABLE = "SCATTER_SIGNING_KEY_FILE"


class _Source(Protocol):
    """Makes signatures in SSH's wire format."""

    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _InAgent:
    """A key that an ssh-agent has."""

    agent: Agent
    blob: bytes
    key: PublicKey

    def sign(self, data: bytes) -> bytes:
        signature = self.agent.sign(self.blob, data)
        try:
            self.key.verify(data, signature)
        except Untrusted as error:  # as from a token that need not be touched
            raise Refused(
                "cannot-sign",
                f"What the ssh-agent signed with {self.key.fingerprint} would be refused: "
                f"{error.detail}",
                hint="Use a key that must be touched, or one without a token.",
            ) from error
        return signature


@dataclass(frozen=True, slots=True)
class _Signer:
    """A source of signatures, and the key or certificate that they carry."""

    source: _Source
    key: PublicKey | Certificate

    def __repr__(self) -> str:
        return f"_Signer({self.key.fingerprint})"


class Keyring:
    """Signs releases with every key that it has. It is a `scatter.trust.Signer`.

    Attributes:
        own: This user's key, where it is the one that signs; `own.made` says whether it was made
            just now.

    """

    __slots__ = ("_signers", "own")

    def __init__(self, signers: Sequence[_Signer], own: OwnKey | None = None) -> None:
        by_key: dict[str, _Signer] = {}
        for signer in signers:
            by_key.setdefault(signer.key.fingerprint, signer)
        self._signers = tuple(by_key.values())
        self.own = own

    def __repr__(self) -> str:
        return f"Keyring({', '.join(key.fingerprint for key in self.keys)})"

    @property
    def keys(self) -> tuple[PublicKey | Certificate, ...]:
        """Return the keys, and certificates, that sign."""
        return tuple(signer.key for signer in self._signers)

    def sign(self, statement: bytes, *, namespace: str) -> tuple[bytes, ...]:
        """Return one SSHSIG in binary for each key.

        Raises:
            Refused: `cannot-sign`: an ssh-agent refused.

        """
        for_ = purpose(namespace)
        data = sshsig.signed_bytes(statement, for_)
        return tuple(sshsig.write(s.key, for_, s.source.sign(data)) for s in self._signers)


def open_keyring(agent_key: str = "", *, ask: Ask | None = None, make: bool = False) -> Keyring:
    """Return the keys that sign what this process releases.

    Args:
        agent_key: A public key, or its `SHA256:` fingerprint, that the ssh-agent has.
        ask: Asks for the passphrase of a file; without, a key with a passphrase is an error.
        make: Make this user's first key if there is none.

    Raises:
        Refused: `cannot-sign`: no key can be had; the message says what to do.
        UsageError: `agent_key` is neither, or the user has no home.
        Untrusted: A certificate is out of date.

    """
    named = os.environ.get(VARIABLE, "")
    if named:
        paths = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
        return Keyring([_of_file(path, ask) for path in paths])
    if agent_key:
        return Keyring([_of_setting(agent_key)])
    if make:
        own = home.ensure_key()
        return Keyring([_of_file(own.path, ask)], own)
    path = _own_path()
    signer = _of_file(path, ask)
    return Keyring([signer], OwnKey(path=path, key=signer.key.key, made=False))


def public_keys(
    agent_key: str = "", *, ask: Ask | None = None
) -> tuple[tuple[PublicKey | Certificate, str], ...]:
    """Return what `open_keyring` would sign with, and where it is; nobody is asked if avoidable.

    Args:
        agent_key: As for `open_keyring`.
        ask: Asks for the passphrase of a file that has no `.pub` beside it.

    Raises:
        Refused: As for `open_keyring`.

    """
    named = os.environ.get(VARIABLE, "")
    if agent_key and not named:
        return ((_of_setting(agent_key).key, "in the ssh-agent"),)
    paths = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    found = []
    for path in paths or [_own_path()]:
        public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
        if public.exists():
            base = public.with_suffix("")
            key = _parse_public(private.read_file(public), public)
        else:
            base, key = path, private.read(path, ask).key
        found.append((_certificate_of(base, key) or key, str(path)))
    return tuple(found)


def _own_path() -> Path:
    path = home.key_path()
    if not os.path.lexists(path):
        raise Refused(
            "cannot-sign", "There is no key to sign with.", hint="Make one: scatter keys new"
        )
    return path


def _parse_public(data: bytes, path: Path) -> PublicKey:
    try:
        return keys.parse_key(data.decode("utf-8"))
    except (ValueError, Untrusted):  # what is in it may be a secret: it is not shown
        raise private.refused(
            path,
            "it is neither a private key in OpenSSH's format or PKCS#8, nor a public key",
            "Give the path of an Ed25519 key.",
        ) from None


def _of_file(path: Path, ask: Ask | None) -> _Signer:
    data = private.read_file(path)
    if private.is_private(data):
        own = private.parse(data, path, ask)
        return _Signer(own, _certificate_of(path, own.key) or own.key)
    key = _parse_public(data, path)
    base = path.with_suffix("") if path.suffix == ".pub" else path
    held = _held_by_agent(key.fingerprint)
    return _Signer(held, _certificate_of(base, key) or key)


def _certificate_of(path: Path, key: PublicKey) -> Certificate | None:
    """Return the certificate beside a key, if there is one and it holds now."""
    file = path.with_name(f"{path.name}-cert.pub")
    if not file.exists():
        return None
    try:
        found = certificate.parse(private.read_file(file).decode("utf-8"))
    except ValueError as error:
        raise private.refused(
            file, str(error), "Have a new one signed, or move it away."
        ) from error
    if not isinstance(found, Certificate) or found.key != key:
        raise private.refused(file, f"it is no certificate of {path}", "Move it away.")
    found.check(time.time())
    return found


def _of_setting(text: str) -> _Signer:
    fingerprint = text.strip()
    if not fingerprint.startswith("SHA256:"):
        try:
            fingerprint = keys.parse_key(text).fingerprint
        except ValueError as error:
            raise UsageError(
                "Expected a public key or its SHA256: fingerprint as the key to sign with; "
                f"{error}."
            ) from error
    held = _held_by_agent(fingerprint)
    return _Signer(held, held.key)


def _held_by_agent(fingerprint: str) -> _InAgent:
    """Return a key that the ssh-agent has."""
    agent = Agent.of_environment()
    known = []
    for identity in agent.identities():
        try:
            key = keys.read_key(identity.blob, identity.comment)
        except (ValueError, Untrusted):  # a certificate, or a key that is of no use here
            continue
        if key.fingerprint == fingerprint:
            if key.kind not in keys.SIGNING_KINDS:
                raise keys.cannot_sign(key.kind)
            return _InAgent(agent, identity.blob, key)
        known.append(f"{key.fingerprint} ({key.kind})")
    raise Refused(
        "cannot-sign",
        f"The ssh-agent at {agent.path} does not have the key {fingerprint}; it has "
        f"{', '.join(known) or 'none'}.",
        hint="Add it: ssh-add PATH_OF_THE_PRIVATE_KEY",
    )
