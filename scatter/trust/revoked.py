"""Keys that are trusted no more: a list of keys and fingerprints, or an OpenSSH KRL.

Not here: reading the file (`scatter.trust.files`), KRLs (`scatter.trust.krl`).

Invariant: a key that is on any list is refused, whatever else is said of it; so is a certificate
whose key, authority or number is. A list that cannot be read is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from scatter.errors import Untrusted
from scatter.trust import certificate, krl
from scatter.trust.certificate import Certificate
from scatter.trust.keys import CERTIFICATE_SUFFIX, PublicKey

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What all revoked lists say.

    Attributes:
        fingerprints: `SHA256:…` of keys → the list that has it.
        certificates: Certificates, whole, → the list that has it.
        krls: OpenSSH's lists, with the files that they are from.

    """

    fingerprints: dict[str, str] = field(default_factory=dict)
    certificates: dict[bytes, str] = field(default_factory=dict)
    krls: tuple[tuple[str, krl.RevocationList], ...] = ()

    def __repr__(self) -> str:
        count = len(self.fingerprints) + len(self.certificates)
        return f"Revoked({count} keys, {len(self.krls)} KRLs)"

    def where(self, key: PublicKey | Certificate) -> str:
        """Return the list that has a key; empty if none has it."""
        named = [key.fingerprint]
        if isinstance(key, Certificate):
            named.append(key.authority.fingerprint)
            if key.blob in self.certificates:
                return self.certificates[key.blob]
        for fingerprint in named:
            if fingerprint in self.fingerprints:
                return self.fingerprints[fingerprint]
        return next((file for file, one in self.krls if one.has(key)), "")

    def check(self, key: PublicKey | Certificate) -> None:
        """Return if a key is on no list.

        Raises:
            Untrusted: `revoked-key`.

        """
        where = self.where(key)
        if where:
            raise Untrusted(
                "revoked-key",
                f"The key {key.fingerprint} was revoked ({where}).",
                hint="Sign with another key.",
            )


NOTHING = Revoked()
"""The list that has no key."""


def parse(data: bytes, file: str) -> Revoked:
    """Return what a list says.

    Args:
        data: What is in it: an OpenSSH KRL, or a key or fingerprint a line.
        file: Its name, for messages.

    Raises:
        Untrusted: `bad-trust-file`.

    """
    try:
        if data.startswith(krl.MAGIC):
            return Revoked(krls=((file, krl.read(data)),))
        text = data.decode("utf-8")
    except ValueError as error:
        raise _bad(file, f"it cannot be read: {error}") from error
    fingerprints: dict[str, str] = {}
    certificates: dict[bytes, str] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        where, line = f"{file}:{number}", raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            _add(line, where, fingerprints, certificates)
        except (ValueError, Untrusted) as error:
            raise _bad(where, str(error)) from error
    return Revoked(fingerprints=fingerprints, certificates=certificates)


def _add(
    line: str, where: str, fingerprints: dict[str, str], certificates: dict[bytes, str]
) -> None:
    first = line.split(None, 1)[0]
    if _FINGERPRINT.fullmatch(first):
        fingerprints.setdefault(first, where)
        return
    if first.startswith("SHA256:"):
        raise ValueError(f"{first!r} is not a whole fingerprint")
    key = certificate.parse(line)
    # OpenSSH takes a certificate in a list to mean its key too
    fingerprints.setdefault(key.fingerprint, where)
    if first.endswith(CERTIFICATE_SUFFIX):
        certificates.setdefault(key.blob, where)


def _bad(where: str, why: str) -> Untrusted:
    return Untrusted(
        "bad-trust-file",
        f"{where}: expected a public key, a `SHA256:` fingerprint or an OpenSSH KRL; {why}.",
        hint="Correct it.",
    )


def merged(lists: Iterable[Revoked]) -> Revoked:
    """Return what several lists say as if they were one."""
    fingerprints: dict[str, str] = {}
    certificates: dict[bytes, str] = {}
    krls: list[tuple[str, krl.RevocationList]] = []
    for one in lists:
        fingerprints = one.fingerprints | fingerprints
        certificates = one.certificates | certificates
        krls += one.krls
    return Revoked(fingerprints=fingerprints, certificates=certificates, krls=tuple(krls))
