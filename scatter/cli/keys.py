"""Commands about keys: whose code runs here, and what signs what is released from here."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scatter.cli.app import as_json, ask_passphrase
from scatter.cli.output import data, data_json, say, table
from scatter.errors import UsageError

if TYPE_CHECKING:
    from scatter.trust.allowed_signers import Line
    from scatter.trust.certificate import Certificate
    from scatter.trust.keys import PublicKey
    from scatter.trust.revoked import Revoked

_PURPOSE = "scatter-release-v1:"


class InOrder(click.Group):
    """A group that lists its commands in the order in which they are mostly needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands as they are defined."""
        return list(self.commands)


@click.group(cls=InOrder)
def keys_() -> None:
    """Say whose code may run here. Keys that sign, keys that are trusted.

    What is released is signed with an SSH key, and runs only where that key is trusted: by
    /etc/scatter/allowed_signers, or by ~/.config/scatter/allowed_signers of whoever runs it. Both
    are in OpenSSH's format.

    \b
    scatter keys new                 make the key that signs here
    scatter keys show                print it, for others to trust
    scatter keys trust ann.pub       have code that ann signs run here
    scatter keys list                who is trusted, and for what
    scatter keys revoke ann@example.org
    """


@keys_.command("new")
@as_json
def new(as_json: bool) -> None:
    """Make the key that signs here, and trust it here. A push does it by itself.

    A key that there is already is left as it is.

    \b
    scatter keys new
    """
    from scatter.trust.home import ensure_key

    own = ensure_key()
    if as_json:
        body = _key_fields(own.key) | {"path": str(own.path), "made": own.made}
        data_json("key", body)
        return
    if own.made:
        say(f"Made {own.path}, trusted on this account. Elsewhere, have it trusted with:")
    else:
        say(f"There is a key already: {own.path}. Elsewhere, it is trusted with:")
    data(f"scatter keys trust '{own.key.line()}'")


@keys_.command("show")
@as_json
def show(as_json: bool) -> None:
    """Print the public keys that sign what is released from here.

    \b
    scatter keys show
    scatter keys show > ann.pub      for `scatter keys trust` elsewhere
    """
    from scatter.trust.signing import public_keys

    found = public_keys(ask=ask_passphrase)
    if as_json:
        data_json("keys", [_key_fields(key) | {"path": path} for key, path in found])
        return
    for key, path in found:
        say(f"{key.fingerprint} {path}")
        data(key.line())


@keys_.command("trust")
@click.argument("source", metavar="FILE_OR_KEY")
@click.option("--principal", metavar="NAME", help="Whose it is; default: the key's comment.")
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="PATTERN",
    help="Namespaces that it may release to, such as `shop` or `test-*`; may be repeated. "
    "Default: all.",
)
@click.option(
    "--valid-before",
    default="",
    metavar="TIME",
    help="Until when it may sign: YYYYMMDD or YYYYMMDDHHMMSS, with a Z at the end for UTC.",
)
@click.option(
    "--cert-authority",
    "is_authority",
    is_flag=True,
    help="It signs certificates of others, whose principals must fit --principal (default: any).",
)
@as_json
def trust(
    source: str,
    principal: str | None,
    namespaces: tuple[str, ...],
    valid_before: str,
    is_authority: bool,
    as_json: bool,
) -> None:
    """Have code run here that is signed with a key. FILE_OR_KEY: a .pub file, its line, or `-`.

    The running processes of this account see it by themselves. Compare the fingerprint with the
    one that the owner has from `scatter keys show`, by another way than the one the key came.

    \b
    scatter keys trust ann.pub --namespace shop
    scatter keys trust 'ssh-ed25519 AAAA... ann@example.org'
    scatter keys trust ca.pub --cert-authority --principal '*@example.org'
    """
    from scatter.trust.trusted import trust as add

    done = [
        add(
            key,
            principal=_whose(key, is_authority) if principal is None else principal,
            namespaces=namespaces,
            valid_before=valid_before,
            is_authority=is_authority,
        )
        for key in _keys_in(source)
    ]
    if as_json:
        body = [_line_fields(line, None) | {"added": added} for line, added in done]
        data_json("trusted", body)
        return
    for line, added in done:
        said = "Trusts" if added else "Trusted already:"
        say(f"{said} {line.key.fingerprint} ({line.principals}), {_spaces(line)}: {line}")


@keys_.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the keys that are trusted here.

    WHERE says which file has a key, and its line: `own` is ~/.config/scatter/allowed_signers,
    `machine` is /etc/scatter/allowed_signers.

    \b
    scatter keys list
    scatter keys list --json
    """
    from scatter.trust.trusted import load

    found = load()
    if as_json:
        data_json("trusted", [_line_fields(line, found.revoked) for line in found.signers.lines])
    elif not found.signers.lines:
        say("Nobody is trusted here. Make a key with `scatter keys new`, or trust somebody's.")
    else:
        headers = ("KEY", "WHO", "NAMESPACES", "VALID", "WHERE", "REVOKED")
        table(headers, [_row(line, found.revoked) for line in found.signers.lines])


@keys_.command("revoke")
@click.argument("key")
@as_json
def revoke(key: str, as_json: bool) -> None:
    """Trust a key no more. KEY: its fingerprint, whose it is, or the key itself or its file.

    It goes into the revoked list of this account, which outweighs every trusted file.

    \b
    scatter keys revoke ann@example.org
    scatter keys revoke SHA256:47DEQpj8HBSa-...
    """
    from scatter.trust.home import user_at_host
    from scatter.trust.trusted import revoke as revoke_

    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    note = f"revoked {moment} by {user_at_host()}"
    given = [one.line() for one in _keys_in(key)] if _is_file(key) else [key]
    done = [revoke_(one, note) for one in given]
    path, added = done[0][0], [name for _, names in done for name in names]
    if as_json:
        data_json("revoked", {"path": str(path), "fingerprints": added})
        return
    for name in added:
        say(f"Revoked {name} in {path}. Removing the line there takes it back.")
    if not added:
        say(f"Revoked already, in {path}.")


# what was given --------------------------------------------------------------------------


def _is_file(text: str) -> bool:
    return text == "-" or os.path.isfile(text)  # it takes what is too long for a name


def _keys_in(source: str) -> list[PublicKey]:
    """Return the public keys in a file, on standard input, or in the argument itself."""
    from scatter.trust.keys import parse_key

    where = source if _is_file(source) else "the key"
    found = []
    for number, line in enumerate(_text_of(source).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found.append(parse_key(line))
        except ValueError as error:
            hint = " A certificate is trusted by its authority's key." * ("certif" in str(error))
            raise UsageError(f"{where}:{number}: {error}. Nothing was changed.{hint}") from error
    if not found:
        raise UsageError(f"{where} has no public key. Nothing was changed.")
    return found


def _text_of(source: str) -> str:
    if source == "-":
        return sys.stdin.read(1 << 20)
    if not _is_file(source):
        if " " not in source.strip():
            raise UsageError(f"There is no file {source}, and it is no public key.")
        return source
    from scatter.trust.private import is_private

    content = Path(source).read_bytes()[: 1 << 20]
    if is_private(content):
        raise UsageError(f"{source} is a private key. Give its public one: {source}.pub")
    return content.decode("utf-8", "replace")


def _whose(key: PublicKey, is_authority: bool) -> str:
    """Return whose a key is, by its comment; that of an authority is everybody's whom it signs."""
    if is_authority:
        return "*"
    if any(c in key.comment for c in ' \t",*?!#'):
        raise UsageError(
            f"Whose key is it? Its comment is {key.comment!r}; say it with "
            "--principal ann@example.org."
        )
    return key.comment or key.fingerprint


# what is shown ---------------------------------------------------------------------------


def _key_fields(key: PublicKey | Certificate) -> dict[str, Any]:
    return {"fingerprint": key.fingerprint, "kind": key.kind, "key": key.line()}


def _line_fields(line: Line, revoked: Revoked | None) -> dict[str, Any]:
    fields = {
        **_key_fields(line.key),
        "principals": line.principals.split(","),
        "namespaces": None if line.namespaces is None else line.namespaces.split(","),
        "cert_authority": line.is_authority,
        "valid_after": _time(line.valid_after),
        "valid_before": _time(line.valid_before),
        "file": line.file,
        "line": line.number,
    }
    return fields if revoked is None else fields | {"revoked": revoked.where(line.key) or None}


def _time(second: int | None) -> str | None:
    from scatter.trust.certificate import when

    return None if second is None else when(second)


def _row(line: Line, revoked: Revoked) -> tuple[str, ...]:
    from scatter.trust.home import places

    who = f"{line.principals} (authority)" if line.is_authority else line.principals
    names = dict(zip(map(str, places("allowed_signers")), ("machine", "own"), strict=False))
    where = f"{names.get(line.file, line.file)}:{line.number}"
    gone = "yes" if revoked.where(line.key) else "no"
    return line.key.fingerprint, who, _spaces(line), _validity(line), where, gone


def _spaces(line: Line) -> str:
    """Return the namespaces that a key may release to, for people."""
    if line.namespaces is None:
        return "all"
    parts = [part.removeprefix(_PURPOSE) for part in line.namespaces.split(",")]
    return "all" if "*" in parts else ", ".join(parts)


def _validity(line: Line) -> str:
    now, after, before = time.time(), line.valid_after, line.valid_before
    if before is not None and now > before:
        return f"expired {_short_time(before)}"
    said = [
        *([f"from {_short_time(after)}"] if after is not None else []),
        *([f"until {_short_time(before)}"] if before is not None else []),
    ]
    return " ".join(said) or "always"


def _short_time(second: int) -> str:
    """Return a time for people: its date, where it is midnight."""
    return (_time(second) or "").removesuffix("T00:00:00Z")
