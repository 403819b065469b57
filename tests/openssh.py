"""Plain OpenSSH, driven as people drive it, and a FIDO token made of software."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scatter.trust import certificate, keys, sshsig, wire
from scatter.trust.certificate import Certificate
from scatter.trust.keys import PublicKey

PURPOSE = "scatter-release-v1:shop"
CANARY = "Zanzibar-canary-passphrase"


@dataclass(frozen=True)
class OpenSSH:
    """ssh-keygen, in a directory of its own."""

    folder: Path

    def run(self, *arguments: object, data: bytes = b"", code: int | None = 0) -> str:
        """Run a command; return what it printed on both streams."""
        done = subprocess.run(
            [str(a) for a in arguments],
            input=data,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        printed = done.stdout.decode(errors="replace")
        assert code is None or done.returncode == code, printed
        return printed

    def key(self, name: str, kind: str = "ed25519", phrase: str = "", *options: object) -> Path:
        """Make a key; return the path of the private one."""
        path = self.folder / name
        self.run("ssh-keygen", "-q", "-t", kind, "-N", phrase, "-C", name, "-f", path, *options)
        return path

    def certify(
        self, key: Path, by: Path, *options: object, names: str = "ann@example.org"
    ) -> Certificate:
        """Have an authority sign a certificate for a key."""
        who = ["-n", names] if names else []
        self.run(
            *("ssh-keygen", "-q", "-s", by, "-I", f"id of {key.name}", *who, *options),
            f"{key}.pub",
        )
        found = certificate.parse((self.folder / f"{key.name}-cert.pub").read_text())
        assert isinstance(found, Certificate)
        return found

    def sign(self, key: Path, message: bytes, purpose: str = PURPOSE, *options: object) -> str:
        """Return the armored signature that ssh-keygen makes."""
        return self.run(
            *("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", purpose, *options), data=message
        )

    def verifies(
        self,
        signature: bytes,
        message: bytes,
        signers: str,
        *options: object,
        who: str = "ann@example.org",
        purpose: str = PURPOSE,
        environment: dict[str, str] | None = None,
    ) -> bool:
        """Return whether `ssh-keygen -Y verify` accepts a signature."""
        (self.folder / "signers").write_text(signers)
        (self.folder / "message.sig").write_text(sshsig.armor(signature))
        done = subprocess.run(
            [
                *("ssh-keygen", "-Y", "verify", "-f", "signers", "-I", who, "-n", purpose),
                *("-s", "message.sig", *map(str, options)),
            ],
            input=message,
            cwd=self.folder,
            capture_output=True,
            timeout=60,
            env=os.environ | (environment or {}),
        )
        return done.returncode == 0


def public(path: Path) -> PublicKey:
    """Return the public key beside a private one."""
    return keys.parse_key(Path(f"{path}.pub").read_text())


class Token:
    """A FIDO token made of software: it signs as PROTOCOL.u2f says that one does."""

    def __init__(self, application: str = "ssh:") -> None:
        self._private = Ed25519PrivateKey.generate()
        self.application = application
        point = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        parts = (keys.SK_ED25519, point, application)
        self.key = keys.read_key(b"".join(wire.string(part) for part in parts), "token")

    def sign(self, data: bytes, flags: int = 1, counter: int = 7) -> bytes:
        """Return what ssh-agent would return for the token."""
        signed = hashlib.sha256(self.application.encode()).digest()
        signed += struct.pack(">BI", flags, counter) + hashlib.sha256(data).digest()
        raw = self._private.sign(signed)
        return wire.string(keys.SK_ED25519) + wire.string(raw) + struct.pack(">BI", flags, counter)

    def sshsig(self, message: bytes, flags: int = 1) -> bytes:
        """Return a whole signature of a message."""
        raw = self.sign(sshsig.signed_bytes(message, PURPOSE), flags)
        return sshsig.write(self.key, PURPOSE, raw)
