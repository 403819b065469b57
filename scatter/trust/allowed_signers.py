"""Whose signatures are trusted, and for what: OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)).

Not here: reading the file (`scatter.trust.files`), the signature itself (`scatter.trust.sshsig`).

Invariants
1. Nothing is allowed here that `ssh-keygen -Y verify` would refuse with the same file.
2. A line that cannot be read is an error that names it; OpenSSH passes over it.
3. A key is found by its bytes, a certificate by those of its authority; names are never looked up.
4. The time that counts is the caller's, not the clock's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from scatter.errors import Untrusted
from scatter.trust import keys
from scatter.trust.certificate import Certificate, when
from scatter.trust.keys import PublicKey
from scatter.trust.patterns import fits_list
from scatter.trust.revoked import NOTHING, Revoked

_SPACE = " \t"
_OPTION = re.compile(r'([A-Za-z-]+)(?:="((?:[^"\\]|\\.)*)")?', re.S)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z|UTC)?", re.I | re.A)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the file: a key, who has it, and what for.

    Attributes:
        file: The file.
        number: The line's number, from 1.
        principals: Patterns of who has the key, with commas.
        key: The key, or that of an authority.
        is_authority: Whether it is an authority's, who signs certificates.
        namespaces: Patterns of what it may sign, with commas; None: everything.
        valid_after: Second since 1970 from which on it may be used; None: since ever.
        valid_before: The last second at which it may; None: for ever.

    """

    file: str
    number: int
    principals: str
    key: PublicKey
    is_authority: bool = False
    namespaces: str | None = None
    valid_after: int | None = None
    valid_before: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"

    def why_not(self, namespace: str, at: float) -> Untrusted | None:
        """Return why the line does not allow a signature; None if it does."""
        if self.namespaces is not None and not fits_list(namespace, self.namespaces):
            return Untrusted(
                "wrong-purpose",
                f"{self} allows {self.key.fingerprint} to sign for {self.namespaces}, "
                f"not for {namespace}.",
                hint="Add it to `namespaces=` there, if it should.",
            )
        if self.valid_after is not None and at < self.valid_after:
            return Untrusted(
                "key-not-yet-valid",
                f"{self} allows {self.key.fingerprint} from {when(self.valid_after)} on.",
            )
        if self.valid_before is not None and at > self.valid_before:
            return Untrusted(
                "expired-key",
                f"{self} allowed {self.key.fingerprint} until {when(self.valid_before)}.",
                hint="Sign with another key, or put off its `valid-before=`.",
            )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Who signed, as the trusted files have it.

    Attributes:
        principals: Of a certificate, its names that the lines allow; of a key, the lines'
            patterns, which are mostly names.
        key: The key that signed; of a certificate, the key within.
        line: The first line that allows it.
        lines: All lines that allow it.
        certificate: The certificate, if it signed with one.

    """

    principals: tuple[str, ...]
    key: PublicKey
    line: Line
    lines: tuple[Line, ...] = field(repr=False)
    certificate: Certificate | None = None

    def speaks_for(self, principal: str) -> bool:
        """Return whether `ssh-keygen -Y verify -I principal` would find the key to be theirs."""
        if self.certificate and principal not in self.certificate.principals:
            return False
        return any(fits_list(principal, line.principals) for line in self.lines)


@dataclass(frozen=True, slots=True)
class AllowedSigners:
    """The lines of all trusted files.

    Attributes:
        lines: In the order of the files.

    """

    lines: tuple[Line, ...] = ()

    def __repr__(self) -> str:
        return f"AllowedSigners({len(self.lines)} lines)"

    def find(
        self,
        key: PublicKey | Certificate,
        namespace: str,
        at: float,
        revoked: Revoked = NOTHING,
    ) -> Signed:
        """Return who has a key, if it may sign for a namespace.

        The signature is not verified here; an authority's under a certificate is.

        Args:
            key: Of a signature that was read.
            namespace: What it was signed for.
            at: When, by what was signed: seconds since 1970, in UTC.
            revoked: Keys that are trusted no more.

        Raises:
            Untrusted: `unknown-key`, `revoked-key`, `wrong-purpose`, `expired-key`,
                `key-not-yet-valid`, or `bad-certificate`.

        """
        certificate = key if isinstance(key, Certificate) else None
        lines = tuple(self._lines_of(key))
        if not lines:
            raise _unknown(key)
        if certificate:
            certificate.check(at)
        revoked.check(key)
        reasons = [line.why_not(namespace, at) for line in lines]
        allowing = tuple(n for n, why in zip(lines, reasons, strict=True) if not why)
        for why in reasons if not allowing else ():
            if why:
                raise why
        principals = tuple(_principals(certificate, allowing))
        if not principals:
            raise _wrong_names(key, allowing[0])
        return Signed(
            principals=principals,
            key=key.key,
            line=allowing[0],
            lines=allowing,
            certificate=certificate,
        )

    def check_known(self, key: PublicKey | Certificate) -> None:
        """Return if some line names a key, whatever it is trusted for.

        Raises:
            Untrusted: `unknown-key`.

        """
        if not any(self._lines_of(key)):
            raise _unknown(key)

    def _lines_of(self, key: PublicKey | Certificate) -> Iterator[Line]:
        is_certificate = isinstance(key, Certificate)
        blob = key.authority.blob if isinstance(key, Certificate) else key.blob
        for line in self.lines:
            if line.is_authority == is_certificate and line.key.blob == blob:
                yield line


def _principals(certificate: Certificate | None, lines: Iterable[Line]) -> Iterator[str]:
    seen = set()
    for line in lines:
        named = [p for p in line.principals.split(",") if p and not p.startswith("!")]
        if certificate:
            named = [p for p in certificate.principals if fits_list(p, line.principals)]
        yield from (p for p in named if p not in seen)
        seen.update(named)


def _unknown(key: PublicKey | Certificate) -> Untrusted:
    if isinstance(key, Certificate):
        return Untrusted(
            "unknown-key",
            f"Nobody here trusts the authority {key.authority.fingerprint} of a certificate for "
            f"{key.fingerprint}.",
            hint="If you know it to be yours, run:\n"
            f"    scatter keys trust --cert-authority '{key.authority.line()}'",
        )
    return Untrusted(
        "unknown-key",
        f"Nobody here trusts the key {key.fingerprint}.",
        hint="If its owner sees the same fingerprint in `scatter keys show`, run:\n"
        f"    scatter keys trust '{key.line()}'",
    )


def _wrong_names(key: PublicKey | Certificate, line: Line) -> Untrusted:
    names = ", ".join(key.principals) if isinstance(key, Certificate) else ""
    return Untrusted(
        "bad-certificate",
        f"{line} allows {line.principals!r}; the certificate of {key.fingerprint} is for "
        f"{names!r}.",
        hint="Have one signed for a principal that is allowed.",
    )


# reading ---------------------------------------------------------------------------------


def parse(text: str, file: str) -> AllowedSigners:
    """Return the lines of a file.

    Args:
        text: What is in it.
        file: Its name, for messages.

    Raises:
        Untrusted: `bad-trust-file` or `weak-key`, with the number of the line.

    """
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            parsed = _parse_line(line.rstrip("\r").strip(" \t"), file, number)
        except ValueError as error:
            raise Untrusted(
                "bad-trust-file",
                f"{file}:{number}: {error}.",
                hint="Correct the line; ssh-keygen(1) has the format under ALLOWED SIGNERS.",
            ) from error
        except Untrusted as error:
            raise Untrusted(
                error.reason, f"{file}:{number}: {error.detail}", hint="Remove the line."
            ) from error
        lines += [parsed] if parsed else []
    return AllowedSigners(tuple(lines))


def merged(files: Iterable[AllowedSigners]) -> AllowedSigners:
    """Return the lines of several files as if they were one."""
    return AllowedSigners(tuple(line for file in files for line in file.lines))


def _parse_line(text: str, file: str, number: int) -> Line | None:
    if not text or text.startswith("#"):
        return None
    if "\0" in text or "\r" in text:  # versions of OpenSSH differ in where they end a word
        raise ValueError("a NUL or a carriage return is in the middle of the line")
    principals, rest = _split_principals(text)
    options, rest = ("", rest) if _begins_with_key(rest) else _split_options(rest)
    if not rest:
        raise ValueError("expected a key after the principals and options")
    found = _parse_options(options)
    return Line(
        file=file,
        number=number,
        principals=principals,
        key=keys.parse_key(rest),
        is_authority="cert-authority" in found,
        namespaces=found.get("namespaces"),
        valid_after=_time_of("valid-after", found),
        valid_before=_time_of("valid-before", found),
    )


def _begins_with_key(text: str) -> bool:
    kind = re.split(r"[ \t]", text, maxsplit=1)[0]
    return kind in keys.KINDS or kind.endswith(keys.CERTIFICATE_SUFFIX)


def _split_principals(text: str) -> tuple[str, str]:
    """Return the principals, which may be quoted from anywhere on, and what follows."""
    at = next((n for n, c in enumerate(text) if c in f'{_SPACE}"'), len(text))
    name, rest = text[:at], text[at:]
    if rest.startswith('"'):
        quoted, quote, rest = rest[1:].partition('"')
        if not quote:
            raise ValueError("a quotation mark of the principals has no end")
        name += quoted
    if not name.strip(","):
        raise ValueError("expected principals, such as a name or `*`")
    return name, rest.lstrip(_SPACE)


def _split_options(text: str) -> tuple[str, str]:
    """Return the options, in which blanks may be quoted, and what follows."""
    is_quoted, at = False, 0
    while at < len(text) and (is_quoted or text[at] not in " \t"):
        if text[at] == "\\" and text[at + 1 : at + 2] == '"':
            at += 1
        elif text[at] == '"':
            is_quoted = not is_quoted
        at += 1
    if is_quoted:
        raise ValueError("a quotation mark of the options has no end")
    return text[:at], text[at:].lstrip(" \t")


def _parse_options(text: str) -> dict[str, str]:
    """Return the options by name, those without a value with an empty one."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _OPTION.match(text, at)
        name = match[1].lower() if match else ""
        if not match or (name == "cert-authority") != (match[2] is None) or name not in _OPTIONS:
            raise ValueError(f"unknown option at {text[at:]!r}; known are {', '.join(_OPTIONS)}")
        if name in found and name != "cert-authority":
            raise ValueError(f"the option {name} is there twice")
        found[name] = (match[2] or "").replace('\\"', '"')
        at = match.end()
        if at < len(text) and (text[at] != "," or at + 1 == len(text)):
            raise ValueError(f"expected a comma and another option at {text[at:]!r}")
        at += 1
    return found


_OPTIONS = ("cert-authority", "namespaces", "valid-after", "valid-before")


def _time_of(name: str, options: dict[str, str]) -> int | None:
    if name not in options:
        return None
    found = parse_time(options[name])
    after = parse_time(options["valid-after"]) if "valid-after" in options else 0
    if name == "valid-before" and found <= after:
        raise ValueError("valid-before is not after valid-after")
    return found


def parse_time(text: str) -> int:
    """Return a time as options have it, in seconds since 1970.

    It is `YYYYMMDD[HHMM[SS]]` of the local time, or of UTC with a `Z` after it. A local time counts
    as one without daylight saving time, as it does for ssh-keygen (9.2).

    Raises:
        ValueError: It is none, or before 1970.

    """
    from datetime import UTC, datetime

    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"expected a time such as 20270101 or 20270101120000Z, found {text!r}")
    moment = datetime(*(int(n or 0) for n in match.groups()[:6]), tzinfo=UTC)  # type: ignore[arg-type,misc]
    if match[7]:
        second = int(moment.timestamp())
    else:
        second = int(time.mktime((*moment.timetuple()[:6], 0, 0, 0)))
    if second <= 0:
        raise ValueError(f"expected a time after 1970, found {text!r}")
    return second
