"""Bundle ⇄ bytes: `SCB1`, then JSON compressed with zlib.

Invariants
1. Deterministic: the same bundle is the same bytes on every Python and machine.
2. `decode` opens nothing before the caller has checked the digest, never inflates beyond
   `MAX_SOURCE_BYTES`, and gives `Untrusted` for anything but exactly this format.
3. Decoding runs no code: pickles stay bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import Any

from scatter.bundle.model import ITEM_KINDS, Bundle, Item, Part
from scatter.errors import Refused, Untrusted

MAGIC = b"SCB1"
MAX_BUNDLE_BYTES = 4 << 20
"""Largest bundle as stored, 4 MiB: a function and its helpers, never a data set."""
MAX_SOURCE_BYTES = 16 << 20
"""Largest bundle after inflating, 16 MiB."""


_FIELDS = frozenset(
    """
    function qualname source skip uses class_names members unknown python pickle allow cells parts
    """.split()
)


def digest_of(data: bytes) -> str:
    """Return the address of bundle bytes: their SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def encode(bundle: Bundle) -> bytes:
    """Return the bytes of a bundle.

    Raises:
        Refused: `too-big`, when it would exceed `MAX_BUNDLE_BYTES` or `MAX_SOURCE_BYTES`.

    """
    fields = _without_empty(
        {
            "function": bundle.function,
            "qualname": bundle.qualname,
            "source": bundle.source,
            "skip": bundle.skip,
            "uses": list(bundle.uses),
            "class_names": list(bundle.class_names),
            "members": list(bundle.members),
            "unknown": list(bundle.unknown),
            "python": bundle.python,
            "pickle": base64.b64encode(bundle.pickle).decode(),
            "allow": list(bundle.allow),
            "cells": [_item_fields(item) for item in bundle.cells],
        }
    )
    fields["parts"] = [_part_fields(part) for part in bundle.parts]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    data = MAGIC + zlib.compress(text, 9)
    if len(data) > MAX_BUNDLE_BYTES or len(text) > MAX_SOURCE_BYTES:
        raise Refused(
            "too-big",
            f"The bundle of `{bundle.function}` has {len(data):,} bytes "
            f"({len(text):,} before compression); at most {MAX_BUNDLE_BYTES:,} "
            f"({MAX_SOURCE_BYTES:,}) are allowed.",
            function=bundle.function,
            hint="Load large data at run time instead of capturing it.",
        )
    return data


def decode(data: bytes) -> Bundle:
    """Return the bundle in bytes whose digest the caller has checked.

    Raises:
        Untrusted: `bad-bundle`, when the bytes are not exactly this format.

    """
    if len(data) > MAX_BUNDLE_BYTES or data[: len(MAGIC)] != MAGIC:
        raise _bad("it does not begin with SCB1, or is larger than allowed")
    try:
        text = _inflate(data[len(MAGIC) :]).decode("utf-8")
        return _bundle(json.loads(text, object_pairs_hook=_once))
    except (KeyError, TypeError, ValueError, RecursionError, zlib.error) as error:
        raise _bad(f"{type(error).__name__}: {error}") from error


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(data, MAX_SOURCE_BYTES)
    if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
        raise ValueError("the compressed text is cut short, too long, or followed by more")
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def _bundle(fields: dict[str, Any]) -> Bundle:
    if not isinstance(fields, dict) or not fields.keys() <= _FIELDS:
        raise TypeError("expected the fields of a bundle and no others")
    bundle = Bundle(
        function=_text(fields["function"]),
        qualname=_text(fields["qualname"]),
        source=_text(fields.get("source", "")),
        skip=_number(fields.get("skip", 0)),
        uses=_texts(fields.get("uses", [])),
        class_names=_texts(fields.get("class_names", [])),
        members=_texts(fields.get("members", [])),
        unknown=_texts(fields.get("unknown", [])),
        python=_text(fields.get("python", "")),
        pickle=base64.b64decode(_text(fields.get("pickle", "")), validate=True),
        allow=_texts(fields.get("allow", [])),
        cells=tuple(_item(item) for item in fields.get("cells", [])),
        parts=tuple(_part(part) for part in fields["parts"]),
    )
    if not bundle.parts:
        raise ValueError("a bundle has at least one part")
    return bundle


def _part_fields(part: Part) -> list[Any]:
    """Return a part as [module, future, items], and 1 if it is a package."""
    fields: list[Any] = [part.module, list(part.future), [_item_fields(i) for i in part.items]]
    return [*fields, 1] if part.is_package else fields


def _part(fields: list[Any]) -> Part:
    module, future, items, *rest = fields
    if rest not in ([], [1]):
        raise ValueError(f"expected nothing or 1 after the items of a part, found {rest!r}")
    return Part(
        module=_text(module),
        future=_texts(future),
        items=tuple(_item(item) for item in items),
        is_package=bool(rest),
    )


def _item_fields(item: Item) -> list[Any]:
    """Return an item as [kind number, name, source or pickle, uses]."""
    body = base64.b64encode(item.pickle).decode() if item.kind == "captured" else item.source
    fields: list[Any] = [ITEM_KINDS.index(item.kind), item.name, body]
    return [*fields, list(item.uses)] if item.uses else fields


def _item(fields: list[Any]) -> Item:
    number, name, body, *rest = fields
    (uses,) = rest or ([],)
    if _number(number) >= len(ITEM_KINDS):
        raise ValueError(f"there is no item kind {number}")
    kind = ITEM_KINDS[number]
    captured = kind == "captured"
    return Item(
        kind=kind,
        name=_text(name),
        source="" if captured else _text(body),
        pickle=base64.b64decode(_text(body), validate=True) if captured else b"",
        uses=_texts(uses),
    )


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    value.encode("utf-8")  # JSON can write half a character, which nothing else can
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, found {type(value).__name__}")
    return tuple(_text(v) for v in value)


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a number, found {value!r}")
    return value


def _bad(why: str) -> Untrusted:
    return Untrusted(
        "bad-bundle",
        f"A bundle is not in the format that this version of scatter reads ({why}).",
        hint="Push the function again, or upgrade scatter in this process.",
    )
