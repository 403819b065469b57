"""Mutants of honest releases and bundles: none is believed, and none does anything.

Each mutant begins as something honest and is changed as an attacker, a broken disk or a broken
tool would: bits, pieces, lengths, parts of others. What is signed and malformed is made by a
trusted key.
An audit hook in this process sees whether anything was compiled, run, imported, opened or connected
to meanwhile.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from trust.people import NAMESPACE, Files, Person, a_release, entry
from trust.worker import WATCHED

from scatter.bundle import Bundle, decode, digest_of, encode
from scatter.bundle.model import Item, Part
from scatter.errors import Refused, Untrusted
from scatter.log import Ledger, envelope, statement
from scatter.log.journal import _checked
from scatter.model import Change
from scatter.trust import sshsig
from scatter.trust.home import purpose
from scatter.trust.verifier import KeyVerifier

ANN, BOB, EVE = Person("ann"), Person("bob"), Person("eve")
SHORT, LONG = 2_000, 100_000
ROUNDS = [SHORT, pytest.param(LONG, marks=pytest.mark.slow)]

_events: list[str] = []
_watching = [False]


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching[0] and event in WATCHED:
        _events.append(f"{event} {arguments}"[:200])


@pytest.fixture(scope="module", autouse=True)
def _oracle() -> None:
    sys.addaudithook(_see)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect the events of a block."""
    _events.clear()
    _watching[0] = True
    try:
        yield _events
    finally:
        _watching[0] = False


def test_the_oracle_sees_code_that_is_compiled_and_run() -> None:
    with watched() as events:
        exec(compile("1 + 1", "<test>", "exec"))
    assert [event.partition(" ")[0] for event in events] == ["compile", "exec"]


# how to mutate ---------------------------------------------------------------------------

Mutate = Callable[[random.Random, bytes, bytes], bytes]


def flip(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Flip a few bits."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Go on with another one."""
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def insert(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Put a piece of another one in."""
    at, start = rng.randrange(len(data) + 1), rng.randrange(len(other))
    return data[:at] + other[start : start + rng.randrange(1, 64)] + data[at:]


def cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Take a piece out, or the end away."""
    start = rng.randrange(len(data))
    end = rng.choice([len(data), min(len(data), start + rng.randrange(1, 64))])
    return data[:start] + data[end:]


def lengths(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Write another number over four bytes or two that may be a length."""
    form, size = rng.choice([(">I", 4), (">H", 2), (">Q", 8)])
    at = rng.choice([4, rng.randrange(max(1, len(data) - size))])
    most = 256**size - 1
    number = rng.choice([0, 1, most, most >> 1, len(data), len(data) + 1, rng.randrange(most)])
    return data[:at] + struct.pack(form, number) + data[at + size :]


def swap(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Put the signatures of one under the statement of another."""
    try:
        text, own = envelope.open_(data)
        _, theirs = envelope.open_(other)
    except Untrusted:
        return splice(rng, data, other)
    return envelope.seal(text, rng.choice([theirs, own[1:], (*theirs, *own[1:]), theirs * 2]))


MUTATIONS: tuple[Mutate, ...] = (flip, flip, splice, insert, cut, lengths, swap)


# releases --------------------------------------------------------------------------------


@pytest.fixture
def honest(files: Files) -> list[bytes]:
    """Honest entries that would come next or came before, of one and of two signers."""
    files.trust(ANN, BOB)
    ledger = Ledger(NAMESPACE, KeyVerifier())
    made = []
    for number in range(1, 4):
        change = Change(
            function="shop:f", version=number, bundle=f"{number:064x}", size=9, created=True
        )
        people = (ANN,) if number % 2 else (ANN, BOB)
        made.append(entry(a_release(ledger, changes=(change,)), *people))
        ledger.advance(made[-1])
    stranger = entry(a_release(ledger), EVE)
    elsewhere = entry(a_release(ledger, namespace="other"), ANN)
    return [*made, stranger, elsewhere]


def is_honest(data: bytes, honest: list[bytes]) -> bool:
    """Return whether a mutant says what an honest one says: its signatures may be fewer."""
    try:
        text, signatures = envelope.open_(data)
    except Untrusted:
        return False
    for one in honest[:3]:
        honest_text, honest_signatures = envelope.open_(one)
        if text == honest_text and {*signatures} & {*honest_signatures}:
            return True
    return False


def is_same_signature(data: bytes, honest: list[bytes]) -> bool:
    """Return whether a mutant only has other bytes where a signature says nothing (reserved)."""
    text, signatures = envelope.open_(data)
    known = [envelope.open_(one) for one in honest[:3]]
    theirs = [sshsig.read(s).raw for t, found in known if t == text for s in found]
    return any(raw in theirs for raw in (_raw(s) for s in signatures))


def _raw(signature: bytes) -> bytes:
    try:
        return sshsig.read(signature).raw
    except Untrusted:
        return b""


@pytest.mark.parametrize("count", ROUNDS)
def test_no_mutant_of_a_release_is_believed(honest: list[bytes], count: int) -> None:
    rng = random.Random(count)
    ledger = Ledger(NAMESPACE, KeyVerifier())
    ledger.open(honest[0])  # what is imported and read at first
    reasons = Counter[str]()
    with watched() as events:
        for _ in range(count):
            data, other = rng.choice(honest), rng.choice(honest)
            for _ in range(rng.choice([1, 1, 2])):
                data = rng.choice(MUTATIONS)(rng, data or b"x", other)
            if is_honest(data, honest):
                continue
            reasons[_refusal(ledger, data, honest)] += 1
    assert events == []
    assert ledger.sequence == 0
    assert sum(reasons.values()) > count * 0.8
    assert {"bad-envelope", "bad-signature", "unknown-key", "unsigned"} <= reasons.keys()


def _refusal(ledger: Ledger, data: bytes, honest: list[bytes]) -> str:
    """Return why a mutant is refused."""
    try:
        opened = ledger.open(data)
    except Untrusted as refusal:
        return refusal.reason
    assert is_same_signature(data, honest), (opened, data.hex())
    return "honest"


# what is signed, and malformed --------------------------------------------------------------

VALUES = (None, True, 0, -1, 2**60, 10**400, 1.5, "", "x", "\0", "9" * 50, [], [1], {}, {"a": []})
FIELDS = tuple("format namespace sequence previous time author action changes epoch".split())
MORE = ("snapshot", "message", "git", "python", "scope", "extra", "function", "version", "size")


def malformed(rng: random.Random, honest: bytes) -> bytes:
    """Return a statement that is none of ours, and still JSON more often than not."""
    fields: Any = json.loads(honest)
    for _ in range(rng.choice([1, 1, 2, 3])):
        target = rng.choice([fields, fields, *[c for c in fields["changes"] if type(c) is dict]])
        name, value = rng.choice([*FIELDS, *MORE, *target]), rng.choice(VALUES)
        if rng.random() < 0.3:
            target.pop(name, None)
        else:
            target[name] = value
        if type(fields.get("changes")) is not list:
            break
    text = json.dumps(fields).encode()
    return flip(rng, text, b"") if rng.random() < 0.3 else text


@pytest.mark.parametrize("count", ROUNDS)
def test_what_a_trusted_key_signed_and_is_malformed_is_refused_or_is_a_release(
    files: Files, count: int
) -> None:
    files.trust(ANN)
    rng = random.Random(count)
    ledger = Ledger(NAMESPACE, KeyVerifier())
    change = Change(function="shop:f", version=1, bundle="a" * 64, size=9, created=True)
    honest = statement.write(a_release(changes=(change,)))
    ledger.open(envelope.seal(honest, ANN.sign(honest)))
    reasons = Counter[str]()
    with watched() as events:
        for _ in range(count // 4):  # to sign and to verify takes the most time
            text = malformed(rng, honest)
            data = envelope.seal(text, ANN.sign(text))
            try:
                release = ledger.open(data).release
            except Untrusted as refusal:
                reasons[refusal.reason] += 1
                continue
            assert statement.read(statement.write(release)) == release
            reasons["a release"] += 1
    assert events == []
    assert reasons["bad-statement"] > sum(reasons.values()) * 0.5


# bundles ---------------------------------------------------------------------------------


def bundles() -> list[bytes]:
    """Return honest bundles: of source, and of what was captured."""
    source = Item(kind="function", name="f", source="def f():\n    return 1\n", uses=("g",))
    captured = Item(kind="captured", name="x", pickle=b"cos\nsystem\n(S'true'\ntR.")
    return [
        encode(
            Bundle(
                function="shop:f",
                qualname="f",
                source=source.source,
                python="cpython-311",
                parts=(Part(module="shop", items=items),),
            )
        )
        for items in ((source,), (source, captured))
    ]


@pytest.mark.parametrize("count", ROUNDS)
def test_no_mutant_of_a_bundle_is_looked_into(count: int) -> None:
    rng, honest = random.Random(count), bundles()
    sizes = {digest_of(data): len(data) for data in honest}
    with watched() as events:
        for _ in range(count):
            data, other = rng.choice(honest), rng.choice(honest)
            mutant = rng.choice(MUTATIONS)(rng, data, other)
            if mutant not in honest:
                found = _checked(sizes, dict.fromkeys(sizes, mutant))
                assert found == {}
    assert events == []


@pytest.mark.parametrize("count", ROUNDS)
def test_a_mutant_of_a_bundle_that_a_release_names_is_read_strictly(count: int) -> None:
    """Its digest is right: whoever signs could have a broken tool. To read it runs nothing."""
    rng, honest = random.Random(count), bundles()
    texts = [zlib.decompress(data[4:]) for data in honest]
    refused = 0
    with watched() as events:
        for number in range(count):
            mutate = rng.choice(MUTATIONS)
            if number % 2:
                mutant = mutate(rng, rng.choice(honest), rng.choice(honest))
            else:
                text = mutate(rng, rng.choice(texts), rng.choice(texts))
                mutant = b"SCB1" + zlib.compress(text, 1)
            try:
                decode(mutant)
            except Refused:
                refused += 1
    assert events == []
    assert refused > count * 0.5


def test_the_purpose_of_a_signature_is_never_another_namespaces(files: Files) -> None:
    files.trust(ANN)
    ledger = Ledger(NAMESPACE, KeyVerifier())
    text = statement.write(a_release())
    for namespace in ("", NAMESPACE + "x", NAMESPACE[:-1], NAMESPACE.upper(), f"{NAMESPACE}\u200b"):
        assert purpose(namespace) != purpose(NAMESPACE)
        data = envelope.seal(text, ANN.sign(text, namespace=namespace))
        assert _refusal(ledger, data, []) == "wrong-purpose"
