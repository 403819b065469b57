"""People who sign releases, and the files in which others say that they trust them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scatter.log import Draft, Journal, Ledger, envelope, statement
from scatter.model import Change, Release
from scatter.store.port import Store
from scatter.trust import keys, sshsig, wire
from scatter.trust.home import purpose
from scatter.trust.keys import PublicKey
from scatter.trust.verifier import KeyVerifier

NAMESPACE = "shop"


class Person:
    """Somebody with a key."""

    def __init__(self, name: str, private: Ed25519PrivateKey | None = None) -> None:
        self.name = f"{name}@example.org"
        self._private = private or Ed25519PrivateKey.generate()
        point = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        blob = wire.string(keys.ED25519) + wire.string(point)
        self.key: PublicKey = keys.read_key(blob, name)

    def __repr__(self) -> str:
        return self.name

    def line(self, options: str = "") -> str:
        """Return a line of `allowed_signers`."""
        return f"{self.name} {options}{' ' if options else ''}{self.key.line()}\n"

    def sign(self, text: bytes, *, namespace: str = NAMESPACE) -> tuple[bytes, ...]:
        """Sign as a `scatter.trust.Signer` does."""
        for_ = purpose(namespace)
        raw = self._private.sign(sshsig.signed_bytes(text, for_))
        wrapped = wire.string(keys.ED25519) + wire.string(raw)
        return (sshsig.write(self.key, for_, wrapped),)


class Together:
    """Several people who sign the same release."""

    def __init__(self, *people: Person) -> None:
        self._people = people

    def sign(self, text: bytes, *, namespace: str) -> tuple[bytes, ...]:
        return tuple(s for p in self._people for s in p.sign(text, namespace=namespace))


class Files:
    """What the files of this user say; each setting of one writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def trust(self, *lines: str | Person) -> None:
        """Say whom to trust."""
        texts = [line.line() if isinstance(line, Person) else line for line in lines]
        self._write("allowed_signers", "".join(texts))

    def revoke(self, *people: Person) -> None:
        """Say whom to trust no more."""
        self._write("revoked_keys", "".join(f"{p.key.line()}\n" for p in people))

    def policy(self, text: str) -> None:
        """Say what they may do."""
        self._write("policy.toml", text)

    def _write(self, name: str, text: str) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(text)
        part.chmod(0o600)
        part.replace(self.folder / name)  # another inode: a change is seen within a clock tick


def entry(
    release: Release, *people: Person, change: Callable[[bytes], bytes] = lambda text: text
) -> bytes:
    """Return the log entry of a release that people signed; `change` comes after signing."""
    text = statement.write(release)
    signatures = tuple(s for p in people for s in p.sign(text, namespace=release.namespace))
    return envelope.seal(change(text), signatures)


def a_release(after: Ledger | None = None, **fields: Any) -> Release:
    """Return a release that follows what a ledger knows."""
    changes = (Change(function="pricing:score", version=0),)
    place: dict[str, Any] = {"sequence": 1, "previous": "", "time": "2026-01-01T00:00:00.000Z"}
    if after is not None and after.sequence:
        place = {"sequence": after.sequence + 1, "previous": after.head, "time": after.time}
    default: dict[str, Any] = {"namespace": NAMESPACE, "author": "ann", "action": "push"}
    return Release(**(default | place | {"changes": changes} | fields))


def journal_of(store: Store, *people: Person, **options: Any) -> Journal:
    """Return a journal that believes the files, and in which these people sign."""
    return Journal(store, verifier=KeyVerifier(), signer=Together(*people), **options)


def release(journal: Journal, function: str, version: int = 0) -> Release:
    """Release something: the deployed code, unless there is a version."""
    digest = f"{version:064x}" if version else ""
    change = Change(
        function=function, version=version, bundle=digest, size=0, created=bool(version)
    )
    made = journal.append(lambda _: Draft(action="push", changes=(change,), author="ann"))
    assert made is not None
    return made
