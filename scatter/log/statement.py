"""Release ⇄ statement: strict JSON, one line, the bytes that are signed and hashed.

Invariants
1. Bytes are written once and kept verbatim; nothing ever serialises a parsed statement again.
2. Parsing accepts exactly the fields below with exactly their types, each once. Unknown fields
   are refused: a later format has another `format` number.
3. Pure: no I/O, no clock.
"""

from __future__ import annotations

import calendar
import hashlib
import json
import re
from typing import Any, NoReturn

from scatter.errors import Untrusted, UsageError
from scatter.model import ACTIONS, EXPIRING, Change, Release

FORMAT = 1
MAX_LINE = 1_000_000
"""What tracebacks show of a version is laid out by its lines: a larger number would take memory."""
MAX_NUMBER = 2**53 - 1
"""The largest whole number that every JSON reader takes; Python writes none of 4,300 digits."""
_RELEASE_FIELDS: dict[str, type] = {
    "format": int,
    "namespace": str,
    "sequence": int,
    "previous": str,
    "time": str,
    "author": str,
    "action": str,
    "changes": list,
}
_RELEASE_EXTRAS: dict[str, type] = {
    "message": str,
    "git": str,
    "python": str,
    "snapshot": str,
    "epoch": int,
    "expires": str,
}
_CHANGE_FIELDS: dict[str, type] = {"function": str}
_CHANGE_EXTRAS: dict[str, type] = {
    "version": int,
    "bundle": str,
    "size": int,
    "base": int,
    "created": bool,
    "removed_below": int,
    "lines": list,
    "file": str,
}


_TIME = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z", re.ASCII
)
"""The one form of a time: in it, times are ordered as their texts are."""


def hash_of(statement: bytes) -> str:
    """Return what the next release's `previous` must be: SHA-256 of the statement in hex."""
    return hashlib.sha256(statement).hexdigest()


def write(release: Release) -> bytes:
    """Return the statement of a release."""
    fields: dict[str, Any] = {"format": FORMAT}
    fields |= {name: getattr(release, name) for name in _RELEASE_FIELDS if name != "format"}
    fields["changes"] = [change_fields(change) for change in release.changes]
    fields |= {n: getattr(release, n) for n in _RELEASE_EXTRAS if getattr(release, n)}
    return write_json(fields)


def write_json(value: Any) -> bytes:
    """Return a value as compact JSON.

    Raises:
        UsageError: It has text that is no Unicode (arguments of a command in another encoding).

    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"Expected text in Unicode, found {error.object[error.start : error.end]!r}. "
            "Write it in UTF-8."
        ) from error


def check_text(value: Any) -> None:
    """Return if all text in a value is Unicode: JSON can write half a character.

    Raises:
        ValueError: It is not.

    """
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def change_fields(change: Change) -> dict[str, Any]:
    """Return a change as JSON fields; empty ones are left out, a delete has no `version`."""
    fields: dict[str, Any] = {"function": change.function}
    for name in _CHANGE_EXTRAS:
        value = getattr(change, name)
        if value or (name in ("version", "base") and value is not None):
            fields[name] = list(value) if name == "lines" else value
    return fields


def read(statement: bytes) -> Release:
    """Return the release in a statement whose signatures the caller has checked.

    Raises:
        Untrusted: `bad-statement`, when it is not exactly in this format.

    """
    try:
        fields = json.loads(statement.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no)
        check_text(fields)
    except (ValueError, RecursionError) as error:
        raise _bad(str(error)) from error
    _check_fields(fields, _RELEASE_FIELDS, _RELEASE_EXTRAS)
    if fields.pop("format") != FORMAT:
        raise _bad("unknown format number")
    if fields["action"] not in ACTIONS or fields["sequence"] < 1 or fields.get("epoch", 0) < 0:
        raise _bad("unknown action, or a number below its least")
    if not is_time(fields["time"]):
        raise _bad("a time that is not in UTC, with milliseconds")
    changes = tuple(read_change(change) for change in fields.pop("changes"))
    names = [change.function for change in changes]
    if names != sorted(set(names)):
        raise _bad("changes are not ordered by function, each once")
    if fields["action"] in ("renew", "reset") and changes:
        raise _bad(f"a {fields['action']} changes no function")
    if "expires" in fields and not _may_expire(fields):
        raise _bad("it expires, and is no push or release, or not at a time after its own")
    if fields["action"] == "reset" and not (fields.get("epoch") and fields.get("snapshot")):
        raise _bad("a reset has an epoch and a snapshot")
    return Release(changes=changes, **fields)


def _may_expire(fields: dict[str, Any]) -> bool:
    """Return whether a release that says so can be over by itself, and when it says."""
    time, expires = fields["time"], fields["expires"]
    return fields["action"] in EXPIRING and is_time(expires) and expires > time


def is_time(text: str) -> bool:
    """Return whether a text is a time of a day that there is."""
    if not _TIME.fullmatch(text) or text.startswith("0000"):
        return False
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    return day <= calendar.monthrange(year, month)[1]


def read_change(fields: Any) -> Change:
    """Return the change in parsed JSON fields."""
    _check_fields(fields, _CHANGE_FIELDS, _CHANGE_EXTRAS)
    lines = fields.pop("lines", [])
    if not all(type(line) is int and 0 <= line <= MAX_LINE for line in lines):
        raise _bad("a line is no number, or larger than any file has")
    change = Change(**{"version": None, **fields, "lines": tuple(lines)})
    numbers = (change.version or 0, change.size, change.base or 0, change.removed_below)
    is_hash = len(change.bundle) == 64 and set(change.bundle) <= set("0123456789abcdef")
    if min(numbers) < 0 or bool(change.version) != is_hash:
        raise _bad("a change's numbers or bundle digest are out of range")
    return change


def _check_fields(fields: object, must: dict[str, type], may: dict[str, type]) -> None:
    if not isinstance(fields, dict) or not must.keys() <= fields.keys():
        raise _bad("fields are missing")
    for name, value in fields.items():
        if type(value) is not (must.get(name) or may.get(name)):
            raise _bad(f"field {name[:40]!r} is unknown or has the wrong type")
        if type(value) is int and value > MAX_NUMBER:
            raise _bad(f"field {name[:40]!r} is larger than {MAX_NUMBER}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def _no(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _bad(why: str) -> Untrusted:
    return Untrusted(
        "bad-statement",
        f"A release in the log is not in the format that this version of scatter reads ({why}).",
        hint="Upgrade scatter in this process, or find out who wrote it.",
    )
