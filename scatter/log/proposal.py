"""Proposal ⇄ bytes: a release that is signed and not yet written, as a file to hand on.

    {
     "scatter-proposal": 1,
     "statement": "…",          the text that is signed, as the log will have it
     "signatures": ["…"],       over it, as `ssh-keygen -Y sign` prints them
     "bundles": ["…"]           in base64, those that the store may not have, by their digests
    }

What goes with the release when it is written (versions and bundles that a delete removes) is not
in the file: it follows from the statement, which is signed, and from the log.

Not here: who signed it and what it does (`scatter.log.cosign`).

Invariants
1. There is one file for a proposal: what `write` would not have written is refused. So nothing can
   be hidden in it, and no reader can take it for something else.
2. The statement and the bundles are not looked into: no signature was checked yet.
3. Pure: no I/O, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scatter.errors import Untrusted

FORMAT = 1
MAX_PROPOSAL_BYTES = 32 << 20
"""Largest proposal, 32 MiB: several of the largest bundles in base64."""
MAX_SIGNATURES = 16
"""As many as are looked at in the log."""
_MAX_BUNDLES = 10_000
"""More do not fit one entry of the log."""
_FIELDS = {"scatter-proposal": int, "statement": str, "signatures": list, "bundles": list}
_BEGINNING = b'{\n "scatter-proposal": '


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A release that is not yet in the log.

    Attributes:
        statement: The bytes that are signed.
        signatures: Over them, in binary.
        bundles: Digest → bytes of what the store may not have.

    """

    statement: bytes
    signatures: tuple[bytes, ...]
    bundles: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def is_proposal(data: bytes) -> bool:
    """Return whether bytes begin as a proposal does."""
    return data.startswith(_BEGINNING)


def write(proposal: Proposal) -> bytes:
    """Return a proposal as a file has it.

    Raises:
        Untrusted: `too-big`, when it would exceed `MAX_PROPOSAL_BYTES`.

    """
    from scatter.trust import sshsig, wire

    fields = {
        "scatter-proposal": FORMAT,
        "statement": proposal.statement.decode("utf-8"),
        "signatures": [sshsig.armor(one) for one in proposal.signatures],
        "bundles": [wire.to_base64(data) for _, data in sorted(proposal.bundles.items())],
    }
    data = json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8") + b"\n"
    if len(data) > MAX_PROPOSAL_BYTES or len(proposal.signatures) > MAX_SIGNATURES:
        raise Untrusted(
            "too-big",
            f"The proposal has {len(data):,} bytes and {len(proposal.signatures)} signatures; at "
            f"most {MAX_PROPOSAL_BYTES:,} and {MAX_SIGNATURES} are read.",
            hint="Release fewer functions at a time.",
        )
    return data


def read(data: bytes) -> Proposal:
    """Return what is in a file; nothing of it is believed yet.

    Raises:
        Untrusted: `bad-proposal` or `too-big`: it is not exactly what `write` gives.

    """
    if len(data) > MAX_PROPOSAL_BYTES:
        raise Untrusted(
            "too-big",
            f"A proposal has at most {MAX_PROPOSAL_BYTES:,} bytes; this file has more, and is "
            "refused unread.",
        )
    if not is_proposal(data):
        raise _bad("it does not begin like one")
    try:
        found = _proposal(json.loads(data.decode("utf-8")))
        same = write(found) == data
    except (ValueError, RecursionError) as error:
        raise _bad(str(error)) from error
    if not same:
        raise _bad("it was written by something else than scatter, or changed since")
    return found


def _proposal(fields: dict[str, Any]) -> Proposal:
    from scatter.bundle import digest_of
    from scatter.trust import sshsig, wire

    if fields.keys() != _FIELDS.keys():
        raise ValueError(f"expected the fields {', '.join(_FIELDS)}")
    for name, value in fields.items():
        if type(value) is not _FIELDS[name]:
            raise ValueError(f"{name} has the wrong type")
    if fields["scatter-proposal"] != FORMAT:
        raise ValueError(f"expected format {FORMAT}, found {fields['scatter-proposal']}")
    signatures = tuple(
        sshsig.dearmor(text) for text in _texts(fields, "signatures", MAX_SIGNATURES)
    )
    if len(set(signatures)) < len(signatures):
        raise ValueError("a signature occurs twice")
    found = [wire.from_base64(text) for text in _texts(fields, "bundles", _MAX_BUNDLES)]
    return Proposal(
        statement=fields["statement"].encode("utf-8"),
        signatures=signatures,
        bundles={digest_of(bundle): bundle for bundle in found},
    )


def _texts(fields: dict[str, Any], name: str, limit: int) -> list[str]:
    found: list[str] = fields[name]
    if len(found) > limit or not all(type(one) is str for one in found):
        raise ValueError(f"{name}: expected at most {limit} texts")
    return found


def _bad(why: str) -> Untrusted:
    return Untrusted(
        "bad-proposal",
        f"The file is no proposal that this version of scatter reads: {why}.",
        hint="Have it sent again unchanged, or proposed again.",
    )
