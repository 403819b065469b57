"""Whom this account trusts: all its files together, and changing its own.

Not here: where the files are (`scatter.trust.home`), what a line means
(`scatter.trust.allowed_signers`, `scatter.trust.policy`).

Invariants
1. A file is read before it is changed; one that is unsafe or cannot be read is left as it is.
2. A change writes the file whole: whoever reads it meanwhile has the old one or the new one.
3. Two changes at once are made one after the other.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scatter.errors import Untrusted, UsageError
from scatter.trust import allowed_signers, files, home, keys, krl, policy, revoked
from scatter.trust.allowed_signers import AllowedSigners, Line
from scatter.trust.files import TrustFile
from scatter.trust.keys import PublicKey
from scatter.trust.policy import Policy
from scatter.trust.revoked import Revoked

_PRINCIPAL = re.compile(r'[^\s",!#\x00-\x1f\x7f][^\s",!\x00-\x1f\x7f]*')
_NAMESPACE = re.compile(r"[A-Za-z0-9._*?-]{1,100}")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """What all files of trust say.

    Attributes:
        signers: Whose signatures are trusted.
        revoked: Keys that are trusted no more.
        policy: What signers may do.
        files: The files that were read.

    """

    signers: AllowedSigners
    revoked: Revoked
    policy: Policy
    files: tuple[TrustFile, ...] = field(repr=False)

    def is_current(self) -> bool:
        """Return whether `load` would read the same: no file was changed, added or removed."""
        paths = (*home.signers_files(), *home.revoked_files(), *home.policy_files())
        now = [(path, files.identity_of(path)) for path in paths]
        return now == [(one.path, one.identity) for one in self.files]


def load() -> Trusted:
    """Return what the files of trust of this machine and this user say.

    Raises:
        Untrusted: A file is unsafe, cannot be read, or was named and is not there.

    """
    signing = [_read(path) for path in home.signers_files()]
    revoking = [_read(path) for path in home.revoked_files()]
    ruling = [_read(path) for path in home.policy_files()]
    policies = [policy.parse(one.text, str(one.path)) for one in ruling]
    return Trusted(
        signers=allowed_signers.merged(
            allowed_signers.parse(one.text, str(one.path)) for one in signing
        ),
        revoked=revoked.merged(revoked.parse(one.data, str(one.path)) for one in revoking),
        policy=policies[0] if policies else policy.EVERYBODY,
        files=(*signing, *revoking, *ruling),
    )


def _read(path: Path) -> TrustFile:
    try:
        return files.read(path)
    except FileNotFoundError as error:
        raise Untrusted(
            "unsafe-trust-file",
            f"{path} decides whose code runs here, and it is not there.",
            hint=f"Make it, or unset {home.SIGNERS_VARIABLE}, {home.REVOKED_VARIABLE} or "
            f"{home.POLICY_VARIABLE}.",
        ) from error


def trust(
    key: PublicKey,
    *,
    principal: str,
    namespaces: Sequence[str] = (),
    valid_before: str = "",
    is_authority: bool = False,
) -> tuple[Line, bool]:
    """Trust a key on this account.

    Args:
        key: The key, or that of an authority that signs certificates.
        principal: Whose it is; for an authority, a pattern of whom it may sign for.
        namespaces: Patterns of the namespaces that it may release to; none: all.
        valid_before: Until when, as `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, `Z` after it for UTC.
        is_authority: Whether it is an authority's.

    Returns:
        The line that trusts it, and whether it was added; one that was there is left as it is.

    Raises:
        UsageError: What was given cannot be a line, or the key is trusted already for another
            principal, other namespaces or another time.
        Untrusted: The file is unsafe or cannot be read; the key cannot sign.

    """
    if key.kind not in keys.SIGNING_KINDS + (keys.AUTHORITY_KINDS if is_authority else ()):
        raise keys.cannot_sign(key.kind)
    text = _line(key, principal, namespaces, valid_before, is_authority)
    line = allowed_signers.parse(text, "").lines[0]
    path = _own(home.SIGNERS_VARIABLE, "allowed_signers")
    with _changing(path):
        known = load_signers(path)
        for one in known.lines:
            if (one.key, one.is_authority) == (line.key, line.is_authority):
                return _as_it_is(one, line), False
        home.append(path, f"{text}\n")
    return load_signers(path).lines[-1], True


def load_signers(path: Path) -> AllowedSigners:
    """Return the lines of all trusted files, those of `path` last.

    Raises:
        Untrusted: A file is unsafe or cannot be read.

    """
    others = [one for one in home.signers_files() if one != path]
    here = [path] if os.path.lexists(path) else []
    read = [_read(one) for one in (*others, *here)]
    return allowed_signers.merged(allowed_signers.parse(one.text, str(one.path)) for one in read)


def _line(
    key: PublicKey, principal: str, namespaces: Sequence[str], valid_before: str, is_authority: bool
) -> str:
    """Return a line of the file."""
    if not _PRINCIPAL.fullmatch(principal):
        raise UsageError(
            "Expected a principal such as ann@example.org, without blanks, commas and quotation "
            f"marks; found {principal!r}."
        )
    for namespace in namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            raise UsageError(
                "Expected a namespace, which may have * and ? in it; found " + repr(namespace) + "."
            )
    if valid_before:
        try:
            allowed_signers.parse_time(valid_before)
        except ValueError as error:
            raise UsageError(f"valid-before: {error}.") from error
    allowed = ",".join(home.purpose(one) for one in namespaces) or home.EVERY_PURPOSE
    options = [
        *(["cert-authority"] if is_authority else []),
        f'namespaces="{allowed}"',
        *([f'valid-before="{valid_before}"'] if valid_before else []),
    ]
    return f"{principal} {','.join(options)} {key.line()}"


def _as_it_is(found: Line, wanted: Line) -> Line:
    """Return the line that trusts a key already, if it says the same."""
    for one in ("principals", "namespaces", "valid_before"):
        if getattr(found, one) != getattr(wanted, one):
            raise UsageError(
                f"{found} trusts {found.key.fingerprint} already, as {found.principals!r}, for "
                f"{found.namespaces or 'everything'}. Change or remove that line by hand."
            )
    return found


def _own(variable: str, name: str) -> Path:
    """Return the file that changes of this account go to."""
    named = [part for part in os.environ.get(variable, "").split(os.pathsep) if part]
    return Path(named[0]).expanduser() if named else home.own_home() / name


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Have a file to oneself while it is changed."""
    try:
        home.make_folder(path.absolute().parent)
        with home.locked(path.parent):
            yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}. Let this user write it, or do it as one "
            "who may."
        ) from error


# revoking --------------------------------------------------------------------------------


def revoke(what: str, note: str = "") -> tuple[Path, tuple[str, ...]]:
    """Trust a key no more, on this account.

    Args:
        what: A fingerprint, a principal whose keys are all revoked, or a public key.
        note: Written above the keys, for people.

    Returns:
        The list, and the fingerprints that were added to it; none if all were there.

    Raises:
        UsageError: It is none of these, or a principal without keys, or the list is a KRL.
        Untrusted: The list is unsafe or cannot be read.

    """
    path = _own(home.REVOKED_VARIABLE, "revoked_keys")
    found = _meant(what.strip())
    with _changing(path):
        old = files.read(path).data if os.path.lexists(path) else b""
        if old.startswith(krl.MAGIC):
            raise UsageError(
                f"{path} is a binary list (KRL), which only ssh-keygen changes: "
                f"ssh-keygen -k -u -f {path} FILE_WITH_THE_KEY"
            )
        known = revoked.parse(old, str(path)).fingerprints
        new = {name: line for name, line in found.items() if name not in known}
        if new:
            comment = f"# {note}\n" if note else ""
            home.append(path, comment + "".join(f"{line}\n" for line in new.values()))
    return path, tuple(new)


def _meant(what: str) -> dict[str, str]:
    """Return fingerprint → line of the list, for each key that is meant."""
    lines = load().signers.lines
    if _FINGERPRINT.fullmatch(what):
        known = [line.key.line() for line in lines if line.key.fingerprint == what]
        return {what: known[0] if known else what}  # the whole key is of use to ssh-keygen too
    if " " in what:
        try:
            key = keys.parse_key(what)
        except ValueError as error:
            raise UsageError(f"Expected a public key; {error}.") from error
        return {key.fingerprint: key.line()}
    theirs = [line.key for line in lines if what in line.principals.split(",")]
    if not theirs:
        names = ", ".join(sorted({line.principals for line in lines})) or "nobody"
        raise UsageError(
            f"Expected a fingerprint (SHA256:…), a public key, or a principal who is trusted here "
            f"({names}); found {what!r}."
        )
    return {key.fingerprint: key.line() for key in theirs}
