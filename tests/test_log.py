"""The log: the bytes of a release, what releases add up to, and reading and appending them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scatter.bundle import Bundle, Item, Part
from scatter.errors import Conflict, ScatterError, StoreUnavailable, Untrusted
from scatter.log import Draft, Journal, Ledger, envelope, journal, statement
from scatter.log import snapshot as snapshot_module
from scatter.model import ACTIONS, Change, FunctionState, Release, Version
from scatter.names import SHIPPED
from scatter.releases import Candidate, Releases
from scatter.store.memory import MemoryStore
from scatter.store.port import NO_HINTS, Hints, Store, Tail
from scatter.store.redis import RedisStore
from scatter.trust import Position, Unsigned, Voucher

quick = settings(deadline=None, max_examples=120)

# values and their strategies -------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DIGESTS = st.binary(min_size=1, max_size=3).map(lambda data: hashlib.sha256(data).hexdigest())
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(
    lambda time: time.isoformat(timespec="milliseconds") + "Z"
)
COUNTS = st.integers(0, 10**9)


@st.composite
def changes(draw: st.DrawFn, function: str) -> Change:
    """Return any change that a release may have."""
    version = draw(st.none() | st.integers(0, statement.MAX_NUMBER))
    return Change(
        function=function,
        version=version,
        bundle=draw(DIGESTS) if version else "",
        size=draw(COUNTS),
        base=draw(st.none() | COUNTS),
        created=draw(st.booleans()),
        lines=tuple(draw(st.lists(st.integers(0, statement.MAX_LINE), max_size=3))),
        file=draw(TEXT),
    )


@st.composite
def releases(draw: st.DrawFn) -> Release:
    """Return any release."""
    functions = sorted(draw(st.sets(TEXT, max_size=3)))
    action = draw(st.sampled_from(ACTIONS))
    if action in ("renew", "reset"):
        functions = []
    return Release(
        namespace=draw(TEXT),
        sequence=draw(st.integers(1, statement.MAX_NUMBER)),
        previous=draw(TEXT),
        time=draw(TIMES),
        author=draw(TEXT),
        action=action,
        changes=tuple(draw(changes(function)) for function in functions),
        message=draw(TEXT),
        git=draw(TEXT),
        python=draw(TEXT),
        snapshot="5" * 64 if action == "reset" else draw(TEXT),
        epoch=draw(st.integers(1 if action == "reset" else 0, statement.MAX_NUMBER)),
    )


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes with a few places cut out, written over or written into."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 4)))
        piece = st.binary(max_size=4) | st.sampled_from(
            [b'"', b"{", b"}", b"[", b"]", b",", b":", b"-", b"0", b"1e9", b"null", b"\\ud800"]
        )
        data = data[:start] + draw(piece) + data[end:]
    return data


def of(data: bytes) -> str:
    """Return the digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def pushed(function: str, version: int, data: bytes = b"bundle", **more: Any) -> Change:
    """Return the change of a push."""
    return Change(
        function=function, version=version, bundle=of(data), size=len(data), created=True, **more
    )


def a_release(**fields: Any) -> Release:
    """Return a release, the first of `app` unless told otherwise."""
    default: dict[str, Any] = {
        "namespace": "app",
        "sequence": 1,
        "previous": "",
        "time": "2026-01-01T00:00:00.000Z",
        "author": "ann",
        "action": "push",
        "changes": (pushed("shop:score", 1),),
    }
    return Release(**(default | fields))


def sealed(release: Release) -> bytes:
    """Return the log entry of a release."""
    return envelope.seal(statement.write(release), ())


def after(known: Ledger, *changed: Change, **fields: Any) -> Release:
    """Return a release that follows what a ledger knows."""
    place = {"sequence": known.sequence + 1, "previous": known.head}
    return a_release(**(place | {"changes": changed} | fields))


def reason_of(call: Callable[[], object]) -> str:
    """Return the reason code of a refusal."""
    with pytest.raises(Untrusted) as caught:
        call()
    return caught.value.reason


# statement ---------------------------------------------------------------------------------------


@quick
@given(releases())
def test_a_release_is_read_as_it_was_written(release: Release) -> None:
    text = statement.write(release)
    assert statement.read(text) == release
    assert statement.write(statement.read(text)) == text
    assert b"\n" not in text, "a statement is one line"


def test_a_statement_is_exactly_these_bytes() -> None:
    """Signatures and hashes depend on them: a change here needs another format number."""
    change = pushed("shop:score", 2, base=1, lines=(3, 9), file="shop.py")
    release = a_release(
        sequence=7, previous="ab" * 32, changes=(change,), message="for «Ann»", git="c0ffee"
    )
    assert statement.write(release).decode() == (
        '{"format":1,"namespace":"app","sequence":7,"previous":"' + "ab" * 32 + '",'
        '"time":"2026-01-01T00:00:00.000Z","author":"ann","action":"push","changes":['
        '{"function":"shop:score","version":2,"bundle":"' + of(b"bundle") + '","size":6,'
        '"base":1,"created":true,"lines":[3,9],"file":"shop.py"}],'
        '"message":"for «Ann»","git":"c0ffee"}'
    )


def test_a_delete_has_no_version_and_the_deployed_code_has_version_zero() -> None:
    gone, shipped = Change(function="a", version=None), Change(function="b", version=SHIPPED)
    text = statement.write(a_release(action="delete", changes=(gone, shipped)))
    assert b'[{"function":"a"},{"function":"b","version":0}]' in text
    assert statement.read(text).changes == (gone, shipped)


def edited(**fields: Any) -> bytes:
    """Return a statement of which fields were set, or with `...` removed."""
    parsed = json.loads(statement.write(a_release())) | fields
    return json.dumps({k: v for k, v in parsed.items() if v is not ...}).encode()


def with_change(**fields: Any) -> bytes:
    """Return a statement of which fields of its one change were set, or with `...` removed."""
    parsed = json.loads(statement.write(a_release()))
    parsed["changes"][0] |= fields
    parsed["changes"][0] = {k: v for k, v in parsed["changes"][0].items() if v is not ...}
    return json.dumps(parsed).encode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *[(edited(**{name: ...}), "fields are missing") for name in statement._RELEASE_FIELDS],
        (with_change(function=...), "fields are missing"),
        (b"[]", "fields are missing"),
        (b"null", "fields are missing"),
        (edited(extra=1), "'extra' is unknown"),
        (edited(scope=None), "'scope' is unknown"),
        (edited(**{"x" * 99: 1}), "'" + "x" * 40 + "' is unknown"),
        (with_change(extra=1), "'extra' is unknown"),
        (edited(sequence="1"), "'sequence' is unknown or has the wrong type"),
        (edited(sequence=1.0), "wrong type"),
        (edited(sequence=True), "wrong type"),
        (edited(message=None), "wrong type"),
        (edited(changes={}), "wrong type"),
        (edited(changes=[1]), "fields are missing"),
        (with_change(version=None), "wrong type"),
        (with_change(version=True), "wrong type"),
        (with_change(created=1), "wrong type"),
        (with_change(lines="1"), "wrong type"),
        (with_change(lines=[1.5]), "a line is no number"),
        (with_change(lines=[True]), "a line is no number"),
        (with_change(lines=[50_000_000]), "larger than any file has"),
        (with_change(lines=[-1]), "a line is no number"),
        (edited(sequence=0), "a number below its least"),
        (edited(sequence=-1), "a number below its least"),
        (edited(epoch=-1), "a number below its least"),
        (edited(epoch=True), "wrong type"),
        (edited(action="renew"), "a renew changes no function"),
        (edited(action="reset", epoch=1, snapshot="5"), "a reset changes no function"),
        (edited(action="reset", changes=[], epoch=1), "has an epoch and a snapshot"),
        (edited(action="reset", changes=[], snapshot="5"), "has an epoch and a snapshot"),
        (edited(time="2026-01-01T00:00:00Z"), "a time that is not in UTC"),
        (edited(time="2026-01-01T00:00:00.000+01:00"), "a time that is not in UTC"),
        (edited(time="2026-13-01T00:00:00.000Z"), "a time that is not in UTC"),
        (edited(time="2026-02-30T00:00:00.000Z"), "a time that is not in UTC"),
        (edited(time="0000-02-01T00:00:00.000Z"), "a time that is not in UTC"),
        (edited(sequence=2**53), "field 'sequence' is larger than"),
        (edited(time="2026-01-01T24:00:00.000Z"), "a time that is not in UTC"),
        (edited(time="٢٠٢٦-01-01T00:00:00.000Z"), "a time that is not in UTC"),
        (edited(action="explode"), "unknown action"),
        (edited(format=2), "unknown format number"),
        (edited(format=True), "wrong type"),
        (with_change(version=-1), "out of range"),
        (with_change(size=-1), "out of range"),
        (with_change(base=-1), "out of range"),
        (with_change(bundle="AB" * 32), "out of range"),
        (with_change(bundle="ab" * 31), "out of range"),
        (with_change(bundle=...), "out of range"),
        (with_change(version=0), "out of range"),
        (with_change(version=...), "out of range"),
        (edited(changes=[{"function": "b"}, {"function": "a"}]), "not ordered by function"),
        (edited(changes=[{"function": "a"}, {"function": "a"}]), "each once"),
        (edited()[:-1] + b',"author":"eve"}', "a field occurs twice"),
        (edited().replace(b'"size"', b'"size":1,"size"'), "a field occurs twice"),
        (with_change(size=float("nan")), "NaN is no JSON"),
        (with_change(size=float("inf")), "Infinity is no JSON"),
        (with_change(size=float("-inf")), "-Infinity is no JSON"),
        (edited() + b"x", "Extra data"),
        (edited() + edited(), "Extra data"),
        (edited()[:-1], "Expecting"),
        (b"", "Expecting value"),
        (b"\xff" + edited(), "can't decode"),
        (b"\xef\xbb\xbf" + edited(), "BOM"),
        (edited().decode().encode("utf-16"), "can't decode"),
        (b"[" * 100_000, "recursion"),
        (b'{"a":' * 100_000, "recursion"),
        (edited(sequence="X").replace(b'"X"', b"9" * 5000), "digits"),
    ],
)
def test_a_statement_in_any_other_form_is_refused_with_the_reason(text: bytes, why: str) -> None:
    with pytest.raises(Untrusted) as caught:
        statement.read(text)
    assert caught.value.reason == "bad-statement"
    assert why in str(caught.value)
    assert "Upgrade scatter" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        edited(author="\ud800"),
        edited(message="\udcff"),
        with_change(function="shop:\ud800"),
        with_change(file="\udcff"),
    ],
)
def test_text_that_no_snapshot_could_carry_is_refused(text: bytes) -> None:
    """One half of a surrogate pair is valid JSON, and cannot be written as UTF-8 any more."""
    assert b"\\ud" in text
    assert reason_of(lambda: statement.read(text)) == "bad-statement"


@quick
@given(st.data())
def test_a_mutated_statement_is_read_or_untrusted_and_nothing_else(data: st.DataObject) -> None:
    text = statement.write(data.draw(releases()))
    check_reads_or_refuses(statement.read, data.draw(mutations(text)), "bad-statement")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@quick
@given(st.data())
def test_any_value_in_any_field_is_read_or_untrusted_and_nothing_else(data: st.DataObject) -> None:
    names = [*statement._RELEASE_FIELDS, *statement._RELEASE_EXTRAS]
    inner = [*statement._CHANGE_FIELDS, *statement._CHANGE_EXTRAS]
    text = edited(**{data.draw(st.sampled_from(names)): data.draw(JSON)})
    check_reads_or_refuses(statement.read, text, "bad-statement")
    text = with_change(**{data.draw(st.sampled_from(inner)): data.draw(JSON)})
    check_reads_or_refuses(statement.read, text, "bad-statement")


def check_reads_or_refuses(read: Callable[[bytes], Any], data: bytes, *reasons: str) -> None:
    """Read bytes: what is read can be written again, and a refusal has one of the reasons."""
    refusal = None
    try:
        found = read(data)
    except Untrusted as error:
        refusal = error.reason
    assert refusal is None or refusal in reasons
    if refusal is None and isinstance(found, Release):
        assert statement.read(statement.write(found)) == found


# envelope ----------------------------------------------------------------------------------------


@quick
@given(st.binary(max_size=50), st.lists(st.binary(max_size=20), max_size=4))
def test_an_envelope_opens_to_what_was_sealed(text: bytes, signatures: list[bytes]) -> None:
    entry = envelope.seal(text, tuple(signatures))
    assert envelope.open_(entry) == (text, tuple(signatures))


@quick
@given(st.data())
def test_a_mutated_envelope_opens_or_is_untrusted_and_nothing_else(data: st.DataObject) -> None:
    entry = envelope.seal(data.draw(st.binary(max_size=30)), (data.draw(st.binary(max_size=9)),))
    check_reads_or_refuses(envelope.open_, data.draw(mutations(entry)), "bad-envelope")


@quick
@given(st.data())
def test_a_mutated_entry_is_a_release_or_untrusted_and_nothing_else(data: st.DataObject) -> None:
    entry = data.draw(mutations(sealed(data.draw(releases()))))
    known = Ledger("app", Unsigned())
    reasons = ("bad-envelope", "bad-statement", "wrong-namespace")
    check_reads_or_refuses(lambda e: known.open(e)[0], entry, *reasons)


def test_every_cut_and_every_byte_more_is_refused() -> None:
    entry = envelope.seal(b"a statement", (b"one", b"two"))
    for end in range(len(entry)):
        assert reason_of(lambda end=end: envelope.open_(entry[:end])) == "bad-envelope"  # type: ignore[misc]
    assert reason_of(lambda: envelope.open_(entry + b"\0")) == "bad-envelope"
    assert reason_of(lambda: envelope.open_(b"SCE2" + entry[4:])) == "bad-envelope"
    long = b"SCE1" + struct.pack(">I", 2**32 - 1) + b"x" * 100
    assert reason_of(lambda: envelope.open_(long)) == "bad-envelope"


def test_an_entry_larger_than_a_megabyte_is_neither_written_nor_read() -> None:
    room = envelope.MAX_ENTRY_BYTES - len(envelope.seal(b"", ()))
    assert len(envelope.open_(envelope.seal(b"x" * room, ()))[0]) == room
    with pytest.raises(Untrusted) as caught:
        envelope.seal(b"x" * (room + 1), ())
    assert caught.value.reason == "too-big"
    assert "1,048,577 bytes" in str(caught.value)
    assert "Release fewer functions at a time." in str(caught.value)
    assert reason_of(lambda: envelope.open_(b"SCE1" + b"x" * (1 << 20))) == "too-big"


# ledger ------------------------------------------------------------------------------------------


def state_of(known: Ledger) -> tuple[object, ...]:
    """Return all that a ledger says."""
    return known.sequence, known.head, known.snapshot_sequence, dict(known.functions)


@pytest.fixture
def known() -> Ledger:
    """A ledger with two versions of one function and one of another."""
    known = Ledger("app", Unsigned())
    known.advance(sealed(after(known, pushed("shop:score", 1))))
    known.advance(sealed(after(known, pushed("shop:rank", 1), pushed("shop:score", 2, b"two"))))
    return known


def test_a_ledger_follows_the_chain(known: Ledger) -> None:
    release = after(known, pushed("shop:rank", 2))
    assert known.advance(sealed(release)) == release
    assert known.sequence == 3
    assert known.head == of(statement.write(release))
    assert {name: state.version for name, state in known.functions.items()} == {
        "shop:score": 2,
        "shop:rank": 2,
    }
    state = known.functions["shop:rank"]
    assert (state.sequence, state.last, state.previous, state.author) == (3, 2, 1, "ann")


@pytest.mark.parametrize(
    ("reason", "fields", "message"),
    [
        ("wrong-sequence", {"sequence": 2}, "Expected release 3, found 2."),
        ("wrong-sequence", {"sequence": 4}, "Expected release 3, found 4."),
        ("wrong-chain", {"previous": "ab" * 32}, "Release 3 does not follow the release 2"),
        ("wrong-chain", {"previous": ""}, "restart to begin anew"),
        ("wrong-namespace", {"namespace": "evil"}, "namespace 'app', found one of 'evil'."),
    ],
)
def test_an_entry_out_of_place_is_refused_and_changes_nothing(
    known: Ledger, reason: str, fields: dict[str, Any], message: str
) -> None:
    before = state_of(known)
    release = after(known, pushed("shop:score", 3), **fields)
    with pytest.raises(Untrusted) as caught:
        known.advance(sealed(release))
    assert caught.value.reason == reason
    assert message in str(caught.value)
    assert state_of(known) == before


@pytest.mark.parametrize(
    "change",
    [
        pushed("shop:score", 1),
        pushed("shop:score", 2),
        pushed("shop:score", 4),
        pushed("new", 2),
        dataclasses.replace(pushed("shop:score", 3), created=False),
        dataclasses.replace(pushed("new", 1), created=False),
        Change(function="shop:score", version=None, created=True),
        Change(function="shop:score", version=0, created=True),
        Change(function="new", version=0, created=True),
    ],
    ids=str,
)
def test_a_version_number_out_of_order_is_refused_and_changes_nothing(
    known: Ledger, change: Change
) -> None:
    before = state_of(known)
    with pytest.raises(Untrusted) as caught:
        known.advance(sealed(after(known, pushed("shop:aaa", 1), change)))
    assert caught.value.reason in ("wrong-version", "bad-statement")
    assert state_of(known) == before


def test_a_release_is_no_older_than_the_one_before_it(known: Ledger) -> None:
    earlier = sealed(after(known, pushed("shop:rank", 2), time="2025-12-31T23:59:59.999Z"))
    assert reason_of(lambda: known.advance(earlier)) == "wrong-time"
    known.advance(sealed(after(known, pushed("shop:rank", 2), time=known.time)))


def test_a_release_is_of_the_epoch_of_the_log(known: Ledger) -> None:
    for epoch in (1, 2):
        entry = sealed(after(known, pushed("shop:rank", 2), epoch=epoch))
        assert reason_of(lambda entry=entry: known.advance(entry)) == "wrong-epoch"  # type: ignore[misc]
    snapshot = known.snapshot()
    for epoch in (1, 7):
        reset_ = a_reset(known, snapshot, epoch=known.epoch + epoch)
        known.follow(known.open(sealed(reset_)), snapshot)
        old = sealed(after(known, pushed("shop:rank", 2)))
        assert reason_of(lambda old=old: known.advance(old)) == "wrong-epoch"  # type: ignore[misc]
        again = a_reset(known, snapshot, epoch=known.epoch)
        assert reason_of(lambda: known.follow(known.open(sealed(again)), snapshot)) == "wrong-epoch"
    known.advance(sealed(after(known, pushed("shop:rank", 2), epoch=8)))
    assert (known.epoch, known.sequence) == (8, 5)


def a_reset(known: Ledger, snapshot: bytes, *, epoch: int) -> Release:
    """Return a reset that follows what a ledger knows."""
    return after(known, action="reset", epoch=epoch, snapshot=of(snapshot))


def test_a_reset_brings_the_state_of_its_snapshot_and_nothing_later_than_itself() -> None:
    rich, poor = Ledger("app", Unsigned()), Ledger("app", Unsigned())
    for number in range(1, 6):
        rich.advance(sealed(after(rich, pushed("f", number))))
    poor.advance(sealed(after(poor, pushed("g", 1))))
    snapshot = rich.snapshot()
    opened = poor.open(sealed(a_reset(poor, snapshot, epoch=1)))
    for wrong in (b"", rich.snapshot()[:-1]):
        assert reason_of(lambda wrong=wrong: poor.follow(opened, wrong)) == "wrong-snapshot"  # type: ignore[misc]
        assert (poor.sequence, poor.epoch, [*poor.functions]) == (1, 0, ["g"])
    poor.follow(opened, snapshot)
    assert (poor.sequence, poor.epoch, [*poor.functions]) == (2, 1, ["f"])
    state = poor.functions["f"]
    assert (state.version, state.sequence) == (5, 2)


def test_an_entry_of_a_passed_place_is_of_that_place_and_of_a_time_before_the_reset() -> None:
    known, lost = Ledger("app", Unsigned()), Ledger("app", Unsigned())
    first = sealed(after(known, pushed("f", 1)))
    known.advance(first)
    lost.advance(first)
    second = sealed(after(lost, pushed("f", 2)))
    lost.advance(second)  # is lost
    snapshot = known.snapshot()
    reset_ = sealed(a_reset(known, snapshot, epoch=1))
    known.follow(known.open(reset_), snapshot)
    third = sealed(after(known, pushed("f", 2, b"other"), epoch=1))
    known.advance(third)
    assert known.open_at(1, first).release.changes[0].version == 1
    assert known.open_at(3, third).release.epoch == 1
    assert reason_of(lambda: known.open_at(2, first)) == "wrong-sequence"
    assert reason_of(lambda: known.open_at(2, second)) == "wrong-sequence"


def test_a_number_is_never_given_twice_also_not_after_a_delete(known: Ledger) -> None:
    known.advance(sealed(after(known, Change(function="shop:score", version=None))))
    assert known.functions["shop:score"].version is None
    entry = sealed(after(known, pushed("shop:score", 1)))
    assert reason_of(lambda: known.advance(entry)) == "wrong-version"
    known.advance(sealed(after(known, pushed("shop:score", 3))))
    assert known.functions["shop:score"].last == 3


def test_a_statement_is_verified_before_it_is_parsed() -> None:
    seen: list[tuple[bytes, tuple[bytes, ...], str]] = []

    class Suspicious(Unsigned):
        def check(
            self, text: bytes, signatures: Sequence[bytes], *, namespace: str, known: bool = False
        ) -> tuple[Voucher, ...]:
            seen.append((text, tuple(signatures), namespace))
            raise Untrusted("unknown-signer", "Nobody here knows the signer.")

    known = Ledger("app", Suspicious())
    entry = envelope.seal(b"no statement at all", (b"signature",))
    for read in (known.open, known.advance, lambda entry: known.restore(entry, b"")):
        assert reason_of(lambda read=read: read(entry)) == "unknown-signer"  # type: ignore[misc]
    assert seen == [(b"no statement at all", (b"signature",), "app")] * 3
    assert known.sequence == 0


Step = tuple[str, str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "release", "rollback", "delete", "keep", "trim"]),
        st.sampled_from("abc"),
        st.integers(0, 9),
    ),
    max_size=25,
)


def do(known: Ledger, step: Step) -> Change:
    """Return the change of one step of a random history."""
    action, name, number = step
    state = known.functions.get(name)
    if action == "push" or state is None:
        last = state.last if state else 0
        return pushed(name, last + 1, bytes([number]), base=number, lines=(number,))
    if action == "delete":
        return Change(function=name, version=None)
    if action == "keep":
        return state.live if not state.live.created else Change(function=name, version=SHIPPED)
    if action == "trim":
        return dataclasses.replace(state.live, created=False, removed_below=number)
    target = state.previous if action == "rollback" else min(number, state.last)
    return Change(function=name, version=target, bundle=of(b"x") if target else "", size=1)


@quick
@given(STEPS, st.data())
def test_restoring_a_snapshot_gives_what_replaying_the_log_gives(
    steps: list[Step], data: st.DataObject
) -> None:
    replayed, restored = Ledger("app", Unsigned()), Ledger("app", Unsigned())
    at = data.draw(st.integers(0, max(0, len(steps) - 1)))
    for number, step in enumerate(steps):
        snapshot = replayed.snapshot() if number == at else b""
        release = after(replayed, do(replayed, step), snapshot=of(snapshot) if snapshot else "")
        entry = sealed(release)
        replayed.advance(entry)
        if number == at:
            assert restored.restore(entry, snapshot) == release
        elif number > at:
            restored.advance(entry)
        if number >= at:
            assert state_of(restored) == state_of(replayed)
            assert restored.snapshot() == replayed.snapshot()


@quick
@given(STEPS)
def test_the_ledger_agrees_with_a_plain_account_of_the_history(steps: list[Step]) -> None:
    known = Ledger("app", Unsigned())
    live: dict[str, int | None] = {}
    last: dict[str, int] = {}
    back: dict[str, int] = {}
    exist: dict[str, set[int]] = {}
    for number, step in enumerate(steps, 1):
        change = do(known, step)
        name = change.function
        if name not in live or live[name] != change.version:
            back[name] = live.get(name) or SHIPPED
        live[name] = change.version
        last[name] = max(last.get(name, 0), change.version or 0)
        known.advance(sealed(after(known, change)))
        state = known.functions[name]
        there = exist.setdefault(name, set())
        there |= {change.version} if change.created and change.version else set()
        if change.version is None:
            there.clear()
        there -= {n for n in there if n < change.removed_below and n != change.version}
        left = {*range(state.floor, state.last + 1), *state.kept}
        assert (left, list(state.kept)) == (there, sorted(n for n in there if n < state.floor))
        assert dataclasses.replace(state, floor=1, kept=()) == FunctionState(
            function=name,
            live=change,
            sequence=number,
            author="ann",
            time="2026-01-01T00:00:00.000Z",
            last=last[name],
            previous=back[name],
        )
    assert {name: state.version for name, state in known.functions.items()} == live


def snapshot_of(rows: object) -> bytes:
    """Return a snapshot whose functions are any JSON."""
    return state_as({"began": 0, "functions": rows})


def state_as(state: object) -> bytes:
    """Return a snapshot that holds any JSON."""
    return b"SCS2" + zlib.compress(json.dumps(state).encode())


def row(**fields: Any) -> dict[str, Any]:
    """Return one row of a snapshot, with fields set or (`...`) removed."""
    good = {"live": {"function": "f"}, "sequence": 1, "author": "a", "time": "t", "last": 1}
    made = good | {"previous": 0, "keys": [], "floor": 1, "kept": []} | fields
    return {name: value for name, value in made.items() if value is not ...}


BAD_SNAPSHOTS = {
    "nothing": b"",
    "another magic": b"SCS2" + zlib.compress(b"[]"),
    "not compressed": b"SCS2[]",
    "cut short": snapshot_of([row()])[:-4],
    "not JSON": b"SCS2" + zlib.compress(b"{"),
    "not UTF-8": b"SCS2" + zlib.compress(b'["\xff"]'),
    "a number": snapshot_of(1),
    "an old one": b"SCS1" + zlib.compress(b"[]"),
    "a list": state_as([]),
    "no beginning": state_as({"functions": []}),
    "a beginning that is text": state_as({"began": "1", "functions": []}),
    "a beginning before the first": state_as({"began": -1, "functions": []}),
    "more than a state": state_as({"began": 0, "functions": [], "more": 1}),
    "keys that are text": snapshot_of([row(keys="SHA256:")]),
    "keys that are numbers": snapshot_of([row(keys=[1])]),
    "null": snapshot_of(None),
    "a table": snapshot_of({"a": 1}),
    "rows that are numbers": snapshot_of([1]),
    "rows that are texts": snapshot_of(["live"]),
    "rows that are lists": snapshot_of([["live"]]),
    "nested deeply": b"SCS2" + zlib.compress(b"[" * 100_000),
    "no change": snapshot_of([row(live=...)]),
    "a bad change": snapshot_of([row(live={"function": "f", "version": -1})]),
    "a change that is text": snapshot_of([row(live="f")]),
    "a field missing": snapshot_of([row(last=...)]),
    "a field too many": snapshot_of([row(extra=1)]),
    "a function besides": snapshot_of([row(function="g")]),
    "infinite": snapshot_of([row(sequence=float("inf"))]),
    "not a number": snapshot_of([row(last=float("nan"))]),
    "a number as text": snapshot_of([row(last="7")]),
    "half a number": snapshot_of([row(last=1.5)]),
    "a previous that is text": snapshot_of([row(previous="x")]),
    "an author that is a list": snapshot_of([row(author=[])]),
    "a negative number": snapshot_of([row(last=-1)]),
    "a live version above the last": snapshot_of(
        [row(live={"function": "f", "version": 5, "bundle": "ab" * 32}, last=1)]
    ),
    "a function twice": snapshot_of([row(), row(last=2)]),
    "followed by more": snapshot_of([row()]) + b"more",
}


@pytest.mark.parametrize("snapshot", BAD_SNAPSHOTS.values(), ids=BAD_SNAPSHOTS)
def test_a_snapshot_in_any_other_form_is_untrusted_and_changes_nothing(
    known: Ledger, snapshot: bytes
) -> None:
    before = state_of(known)
    release = a_release(sequence=9, changes=(pushed("g", 1),), snapshot=of(snapshot))
    reason = reason_of(lambda: known.restore(sealed(release), snapshot))
    assert reason in ("wrong-snapshot", "bad-statement")
    assert state_of(known) == before


def test_a_snapshot_must_be_the_one_that_its_release_names(known: Ledger) -> None:
    snapshot, before = known.snapshot(), state_of(known)
    for named in (of(b"another"), ""):
        entry = sealed(after(known, pushed("g", 1), snapshot=named))
        with pytest.raises(Untrusted, match="not the one that its release names") as caught:
            Ledger("app", Unsigned()).restore(entry, snapshot)
        assert caught.value.reason == "wrong-snapshot"
    other = sealed(after(known, pushed("g", 1), snapshot=of(snapshot), namespace="evil"))
    assert reason_of(lambda: known.restore(other, snapshot)) == "wrong-namespace"
    assert state_of(known) == before


def test_a_snapshot_that_would_inflate_without_end_is_refused(
    known: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "MAX_SNAPSHOT_BYTES", 1000)
    bomb = b"SCS2" + zlib.compress(b"[" + b" " * 100_000 + b"]")
    release = a_release(sequence=9, snapshot=of(bomb))
    with pytest.raises(Untrusted, match="cut short or too long") as caught:
        known.restore(sealed(release), bomb)
    assert caught.value.reason == "wrong-snapshot"


@quick
@given(st.data())
def test_a_mutated_snapshot_is_restored_or_untrusted_and_nothing_else(data: st.DataObject) -> None:
    known = Ledger("app", Unsigned())
    known.advance(sealed(after(known, pushed("a", 1), pushed("b", 1))))
    rows = data.draw(mutations(zlib.decompress(known.snapshot()[4:])))
    snapshot = b"SCS2" + zlib.compress(rows)
    entry = sealed(a_release(sequence=9, changes=(), snapshot=of(snapshot)))
    other = Ledger("app", Unsigned())
    refusal = ""
    try:
        other.restore(entry, snapshot)
    except Untrusted as error:
        refusal = error.reason
    assert refusal in ("", "wrong-snapshot", "bad-statement")
    assert other.sequence == (0 if refusal else 9)
    assert other.snapshot(), "what was restored can be written again"


# journal -----------------------------------------------------------------------------------------


class Counted:
    """A store that notes which of its methods were called, and how many entries it gave."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self.calls: list[str] = []
        self.entries_read = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            answer = found(*arguments, **options)
            if isinstance(answer, Tail):
                self.entries_read += len(answer.entries)
            return answer

        return call

    def during(self, call: Callable[[], object]) -> list[str]:
        """Return the names of the methods that `call` used."""
        self.calls.clear()
        call()
        return list(self.calls)


class Hinting:
    """A store whose hints can be made wrong."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self.snapshot: int | None = None
        self.recent: Mapping[str, bytes] | None = None
        self.wrong: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read(self, after: int, limit: int = 64, **options: bool) -> Tail:
        tail = self.inner.read(after, limit, **options)
        if self.snapshot is not None:
            tail = dataclasses.replace(tail, snapshot=self.snapshot)
        return tail if self.recent is None else dataclasses.replace(tail, recent=self.recent)

    def versions(
        self, function: str, *, below: int | None = None, above: int | None = None, limit: int = 100
    ) -> list[tuple[int, int]]:
        right = self.inner.versions(function, below=below, above=above, limit=limit)
        wrong = [v for v in self.wrong if above is None and (below is None or v[0] < below)]
        return sorted([*right, *wrong], key=lambda v: (-v[0], v[1]))[:limit] if wrong else right


class Crossed:
    """A store in which somebody else releases just before an append."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self.before: list[Callable[[], object]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def append(
        self, sequence: int, entry: bytes, bundles: Mapping[str, bytes], hints: Hints = NO_HINTS
    ) -> bool:
        if self.before:
            self.before.pop()()
        return self.inner.append(sequence, entry, bundles, hints)


def push(on: Journal, function: str, data: bytes = b"", **fields: Any) -> Release:
    """Append a release with a new version of one function."""

    def make(known: Ledger) -> Draft:
        state = known.functions.get(function)
        number = (state.last if state else 0) + 1
        code = data or b"%s %d" % (function.encode(), number)
        change = pushed(function, number, code)
        return Draft(action="push", changes=(change,), bundles={of(code): code}, **fields)

    release = on.append(make)
    assert release is not None
    return release


def delete(on: Journal, function: str, *numbers: int) -> None:
    """Append a release that removes versions of a function, or all of it."""

    def make(known: Ledger) -> Draft:
        live = known.functions[function].live
        below = max(numbers, default=0) + 1
        kept = dataclasses.replace(live, created=False, removed_below=below)
        change = kept if numbers else Change(function=function, version=None)
        return Draft(action="delete", changes=(change,), forget={function: numbers})

    on.append(make)


def numbers(versions: Sequence[Version]) -> list[int]:
    """Return the numbers of versions."""
    return [version.number for version in versions]


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore("app")


@pytest.fixture(scope="module")
def long_store() -> MemoryStore:
    """A store with 3,000 releases: 2,900 versions of `shop:score`, 100 of other functions."""
    store = MemoryStore("app")
    writer = Journal(store)
    for number in range(3000):
        push(writer, f"shop:other{number}" if number < 100 else "shop:score")
    return store


def copy_of(store: MemoryStore) -> MemoryStore:
    """Return another store with the same content."""
    other = MemoryStore(store.namespace)
    other._entries = list(store._entries)
    other._bundles = dict(store._bundles)
    other._versions = {name: list(rows) for name, rows in store._versions.items()}
    other._snapshot, other._recent = store._snapshot, dict(store._recent)
    return other


def test_a_release_says_who_did_what_and_when(store: MemoryStore) -> None:
    release = push(Journal(store), "f", author="ann", message="why", git="c0", python="cpython-311")
    assert (release.namespace, release.sequence, release.previous) == ("app", 1, "")
    assert (release.author, release.message, release.git) == ("ann", "why", "c0")
    assert len(release.time) == len("2026-01-01T00:00:00.000Z")
    assert release.time.endswith("Z")
    reader = Journal(store)
    assert reader.catch_up() == [release]
    assert reader.releases() == [release]


def test_an_append_is_one_write_and_one_read_where_others_released(store: MemoryStore) -> None:
    counted = Counted(store)
    on = Journal(counted)
    assert counted.during(lambda: push(on, "f")) == ["read", "read", "append"]
    assert counted.during(lambda: push(on, "f")) == ["append"]
    push(Journal(store), "g")
    assert counted.during(lambda: push(on, "f")) == ["append", "read", "append"]
    assert counted.during(lambda: on.append(lambda _: None)) == ["read"]
    assert counted.during(on.catch_up) == ["read"]


def test_a_version_costs_the_same_number_of_store_calls_at_3000_releases_as_at_1(
    long_store: MemoryStore,
) -> None:
    young, old = MemoryStore("app"), copy_of(long_store)
    push(Journal(young), "shop:score")
    costs = []
    for store in (young, old):
        counted = Counted(store)
        on = Journal(counted)
        on.catch_up()
        top = on.ledger.functions["shop:score"].last
        change = on.ledger.functions["shop:score"].live
        costs.append(
            [
                counted.during(on.catch_up),
                counted.during(lambda on=on: on.versions("shop:score", limit=20)),
                counted.during(lambda on=on, top=top: on.version("shop:score", top)),
                counted.during(lambda on=on: on.version("shop:score", 1)),
                counted.during(lambda on=on, top=top: on.versions("shop:score", below=top + 1)),
                counted.during(lambda on=on: on.versions("shop:score", above=0, limit=1)),
                counted.during(lambda on=on: on.releases(limit=20)),
                counted.during(lambda on=on, change=change: on.bundles([change])),
                counted.during(lambda on=on: push(on, "shop:score")),
            ]
        )
    assert costs[0] == costs[1]
    assert max(len(calls) for calls in costs[1]) == 2


def test_a_newcomer_reads_a_snapshot_and_a_bounded_tail(long_store: MemoryStore) -> None:
    counted = Counted(copy_of(long_store))
    newcomer, replayed = Journal(counted), Ledger("app", Unsigned())
    newcomer.catch_up()
    for entry in long_store.read(0, 5000).entries:
        replayed.advance(entry)
    assert state_of(newcomer.ledger) == state_of(replayed)
    assert counted.entries_read <= journal.SNAPSHOT_EVERY
    assert len(counted.calls) <= 5
    push(newcomer, "shop:score")


def test_snapshots_become_rarer_when_there_are_many_functions(store: MemoryStore) -> None:
    on = Journal(store)
    names = [f"f{number:03}" for number in range(300)]
    changed = tuple(pushed(name, 1) for name in names)
    on.append(lambda _: Draft(action="push", changes=changed))
    for _ in range(700):
        push(on, "f000")
    carrying = [r.sequence for r in on.releases(limit=1000) if r.snapshot]
    assert carrying == [600, 300], "one for every 300 releases, since there are 300 functions"


@pytest.mark.parametrize("wrong", [1, 255, 511, 513, 600, 601, 10**9, -1])
def test_a_wrong_snapshot_hint_costs_time_only(store: MemoryStore, wrong: int) -> None:
    writer = Journal(store)
    for _ in range(600):
        push(writer, "f")
    hinting = Hinting(store)
    hinting.snapshot = wrong
    reader = Journal(hinting)
    reader.catch_up()
    assert reader.ledger.head == writer.ledger.head
    assert dict(reader.ledger.functions) == dict(writer.ledger.functions)


@pytest.mark.parametrize(
    "damage", [lambda _: None, lambda _: b"", lambda data: data[:-1], lambda data: data + b"x"]
)
def test_a_damaged_or_lost_snapshot_costs_time_only(
    store: MemoryStore,
    damage: Callable[[bytes], bytes | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 200)
    writer = Journal(store)
    for _ in range(300):
        push(writer, "f")
    (digest,) = [r.snapshot for r in writer.releases(limit=300) if r.snapshot]
    damaged = damage(store._bundles.pop(digest))
    if damaged is not None:
        store._bundles[digest] = damaged
    reader = Journal(store)
    assert len(reader.catch_up()) == 300
    assert reader.ledger.head == writer.ledger.head


@pytest.mark.parametrize("kind", ["rows that are numbers", "nested deeply", "infinite", "null"])
def test_a_snapshot_that_makes_no_sense_does_not_stop_a_newcomer(
    store: MemoryStore, kind: str
) -> None:
    writer, snapshot = Journal(store), BAD_SNAPSHOTS[kind]
    for _ in range(300):
        push(writer, "f")
    time = writer.ledger.time
    release = after(writer.ledger, pushed("g", 1), snapshot=of(snapshot), time=time)
    store.append(301, sealed(release), {of(snapshot): snapshot}, Hints(snapshot=True))
    reader = Journal(store)
    assert len(reader.catch_up()) == 301
    assert reader.ledger.sequence == 301


# races -------------------------------------------------------------------------------------------


def test_a_race_lost_to_another_function_is_run_again(store: MemoryStore) -> None:
    crossed = Crossed(store)
    mine, other = Journal(crossed), Journal(store)
    push(mine, "mine")
    crossed.before = [lambda: push(other, "other"), lambda: push(other, "other")]
    seen: list[int] = []

    def make(known: Ledger) -> Draft:
        seen.append(known.sequence)
        return Draft(action="push", changes=(pushed("mine", 2),), bundles={})

    release = mine.append(make)
    assert release is not None
    assert release.sequence == 4
    assert seen == [1, 2, 3], "the caller is asked again, with the others' releases known"
    reader = Journal(store)
    assert [c.function for r in reader.catch_up() for c in r.changes] == [
        "mine",
        "other",
        "other",
        "mine",
    ]


def test_a_lost_race_over_the_same_function_is_the_callers_to_refuse(store: MemoryStore) -> None:
    crossed = Crossed(store)
    mine, other = Journal(crossed), Journal(store)
    push(mine, "f")
    crossed.before = [lambda: push(other, "f", b"theirs")]

    def make(known: Ledger) -> Draft:
        if known.functions["f"].version != 1:
            raise Conflict("too late", function="f", live=known.functions["f"].version)
        return Draft(action="push", changes=(pushed("f", 2, b"mine"),), bundles={of(b"mine"): b""})

    with pytest.raises(Conflict, match="too late"):
        mine.append(make)
    assert store.read(0).tip == 2
    reader = Journal(store)
    reader.catch_up()
    assert reader.ledger.functions["f"].live.bundle == of(b"theirs")


def test_a_race_lost_a_hundred_times_is_given_up_and_nothing_is_written(
    store: MemoryStore,
) -> None:
    crossed = Crossed(store)
    mine, other = Journal(crossed), Journal(store)
    crossed.before = [lambda: push(other, "other")] * 150
    with pytest.raises(ScatterError) as caught:
        push(mine, "mine")
    assert "100 times" in str(caught.value)
    assert "memory://" in str(caught.value)
    assert "nothing was written. Try again." in str(caught.value)
    other.catch_up()
    assert "mine" not in other.ledger.functions
    assert other.ledger.sequence == 100


@pytest.mark.parametrize("shared", [True, False], ids=["one journal", "a journal each"])
def test_releases_of_many_threads_all_land_in_one_chain(
    store: MemoryStore, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 100)
    one = Journal(store)

    def work(number: int) -> None:
        on = one if shared else Journal(store)
        for _ in range(15):
            push(on, f"f{number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    reader = Journal(store)
    assert len(reader.catch_up()) == 90
    assert {name: state.version for name, state in reader.ledger.functions.items()} == {
        f"f{number}": 15 for number in range(6)
    }


def test_an_entry_that_fails_a_check_stops_the_journal_before_it(store: MemoryStore) -> None:
    writer = Journal(store)
    push(writer, "f")
    push(writer, "f")
    assert store.append(3, b"poison", {})
    assert store.append(4, b"more poison", {})
    reader = Journal(store)
    for _ in range(2):
        assert reason_of(reader.catch_up) == "bad-envelope"
        assert reader.ledger.sequence == 2
        assert reader.ledger.functions["f"].version == 2
    assert reason_of(lambda: push(reader, "f")) == "bad-envelope"
    assert store.read(0).tip == 4


class Strict(Unsigned):
    """Believes everything but another log, as a verifier of signatures does."""

    follows_replaced = False


def test_another_log_that_fails_a_check_is_read_once(store: MemoryStore) -> None:
    on = Journal(store)
    push(on, "f")
    push(on, "f")
    other = MemoryStore("app")
    writer = Journal(other)
    push(writer, "g")
    push(writer, "g")
    store._entries[:] = [*other._entries, b"poison"]
    reads: list[int] = []
    read = store.read

    def counted(after: int, *rest: Any, **options: Any) -> Any:
        reads.append(after)
        return read(after, *rest, **options)

    store.read = counted  # type: ignore[method-assign]
    assert reason_of(on.catch_up) == "bad-envelope"
    assert 0 in reads
    reads.clear()
    assert reason_of(on.catch_up) == "wrong-chain"
    assert reads == [1], "only where it went on"
    assert on.ledger.functions.keys() == {"f"}


class Kept:
    """A position that is kept in memory."""

    def __init__(self, position: Position | None = None) -> None:
        self.position = position

    def read(self) -> Position | None:
        return self.position

    def write(self, position: Position) -> bool:
        self.position = position
        return True


def test_the_position_is_kept_after_each_look_and_each_append(store: MemoryStore) -> None:
    kept, other = Kept(), Kept()
    writer, reader = (
        Journal(store, verifier=Strict(), position=kept),
        Journal(store, verifier=Strict(), position=other),
    )
    push(writer, "f")
    assert kept.position == Position(epoch=0, sequence=1, head=writer.ledger.head)
    reader.catch_up()
    assert other.position == kept.position
    push(writer, "f")
    reader.catch_up()
    assert other.position == kept.position == Position(epoch=0, sequence=2, head=writer.ledger.head)


def test_a_newcomer_refuses_a_log_that_is_behind_the_position_or_another(
    store: MemoryStore,
) -> None:
    kept = Kept()
    writer = Journal(store, verifier=Strict(), position=kept)
    for _ in range(3):
        push(writer, "f")
    good = list(store._entries)
    for entries, reason in {
        (): "log-went-back",
        (good[0],): "log-went-back",
        (good[0], good[1]): "log-went-back",
        (good[0], b"poison", good[2]): "bad-envelope",
    }.items():
        store._entries[:] = entries
        newcomer = Journal(store, verifier=Strict(), position=Kept(kept.position))
        for _ in range(2):
            assert reason_of(newcomer.catch_up) == reason
            assert newcomer.ledger.sequence == 0
            assert not newcomer.ledger.functions
        assert reason_of(lambda newcomer=newcomer: push(newcomer, "g")) == reason  # type: ignore[misc]
    store._entries[:] = good
    assert len(newcomer.catch_up()) == 3


def test_a_newcomer_refuses_another_log_of_the_same_length_or_longer(store: MemoryStore) -> None:
    kept = Kept()
    push(Journal(store, verifier=Strict(), position=kept), "f")
    other = MemoryStore("app")
    writer = Journal(other)
    for _ in range(3):
        push(writer, "g")
        newcomer = Journal(other, verifier=Strict(), position=Kept(kept.position))
        assert reason_of(newcomer.catch_up) == "wrong-chain"
        assert newcomer.ledger.sequence == 0


def test_what_follows_a_known_position_and_fails_takes_back_nothing(store: MemoryStore) -> None:
    kept = Kept()
    push(Journal(store, verifier=Strict(), position=kept), "f")
    store.append(2, b"poison", {})
    newcomer = Journal(store, verifier=Strict(), position=Kept(kept.position))
    for _ in range(2):
        assert reason_of(newcomer.catch_up) == "bad-envelope"
        assert newcomer.ledger.functions.keys() == {"f"}


def test_a_position_before_a_snapshot_is_looked_up(long_store: MemoryStore) -> None:
    head = statement.hash_of(envelope.open_(long_store._entries[99])[0])
    good = Journal(
        long_store, verifier=Strict(), position=Kept(Position(epoch=0, sequence=100, head=head))
    )
    assert len(good.catch_up()) < 3000
    wrong = Journal(
        long_store, verifier=Strict(), position=Kept(Position(epoch=0, sequence=100, head="0" * 64))
    )
    assert reason_of(wrong.catch_up) == "wrong-chain"
    assert wrong.ledger.sequence == 0


def test_a_connection_that_is_lost_on_the_way_to_the_position_begins_again(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    writer = Journal(store, verifier=Strict(), position=kept)
    for _ in range(20):
        push(writer, "f")
    newcomer = Journal(store, verifier=Strict(), position=Kept(kept.position))
    read = store.read

    def dies(after: int, *rest: Any, **options: Any) -> Tail:
        if after > 5:
            raise StoreUnavailable("gone")
        return read(after, *rest, **options)

    monkeypatch.setattr(store, "read", dies)
    with pytest.raises(StoreUnavailable):
        newcomer.catch_up()
    assert newcomer.ledger.sequence == 0
    monkeypatch.undo()
    assert len(newcomer.catch_up()) == 20


def test_a_release_that_is_missing_in_the_middle_is_said_to_be(
    redis_url: str, namespace: str
) -> None:
    store = RedisStore(redis_url, namespace)
    writer = Journal(store)
    for _ in range(4):
        push(writer, "f")
    store.link.run([("HDEL", store.key("log"), 3)])
    for known in (None, 2):
        reader = Journal(store)
        if known:
            reader.ledger = writer_at(store, known)
        with pytest.raises(Untrusted, match=r"Release 3 is missing in .*, and 3 are") as caught:
            reader.catch_up()
        assert caught.value.reason == "wrong-sequence"
        assert reader.ledger.sequence == 2
    store.close()


def writer_at(store: Store, sequence: int) -> Ledger:
    """Return the ledger of who knows the log up to some release."""
    known = Ledger(store.namespace, Unsigned())
    for entry in store.entries(range(1, sequence + 1)):
        assert entry is not None
        known.advance(entry)
    return known


def test_a_log_that_went_back_is_refused_and_what_was_known_stays(store: MemoryStore) -> None:
    on = Journal(store, verifier=Strict())
    for _ in range(5):
        push(on, "f")
    known = state_of(on.ledger)
    del store._entries[3:]
    with pytest.raises(Untrusted) as caught:
        on.catch_up()
    assert caught.value.reason == "log-went-back"
    assert str(caught.value).startswith(
        "Expected a log of at least 5 releases, found 3: memory:// lost data."
    )
    assert "backup" in caught.value.hint
    assert reason_of(lambda: push(on, "f")) == "log-went-back"
    assert state_of(on.ledger) == known
    assert store.read(0).tip == 3, "nothing is written over the gap"


def test_an_empty_log_in_the_place_of_a_known_one_is_never_followed(store: MemoryStore) -> None:
    on = Journal(store)
    push(on, "f")
    known = state_of(on.ledger)
    store._entries.clear()
    assert reason_of(on.catch_up) == "log-went-back"
    assert reason_of(lambda: push(on, "f")) == "log-went-back"
    assert state_of(on.ledger) == known
    assert on.replaced == 0


@pytest.mark.parametrize("kept", [1, 3])
def test_a_log_that_lost_releases_is_followed_where_that_is_allowed(
    store: MemoryStore, kept: int
) -> None:
    on, late = Journal(store), Journal(store)
    for _ in range(5):
        push(on, "f")
    del store._entries[kept:]
    releases = on.catch_up()
    assert [release.sequence for release in releases] == [*range(1, kept + 1)]
    late.catch_up()
    assert state_of(on.ledger) == state_of(late.ledger)
    assert on.replaced == 1
    push(on, "g")
    assert store.read(0).tip == kept + 1
    assert on.catch_up() == []
    assert on.replaced == 1


def test_who_pushes_first_after_releases_were_lost_appends_to_what_is_left(
    store: MemoryStore,
) -> None:
    on = Journal(store)
    for _ in range(5):
        push(on, "f")
    del store._entries[2:]
    push(on, "f")
    assert (store.read(0).tip, on.ledger.sequence, on.replaced) == (3, 3, 1)


def test_another_log_is_followed_where_that_is_allowed(store: MemoryStore) -> None:
    on, another = Journal(store), MemoryStore("app")
    for _ in range(3):
        push(on, "f")
    stranger = Journal(another)
    for _ in range(5):
        push(stranger, "g", author="somebody else")
    store._entries[:] = another._entries
    assert len(on.catch_up()) == 5
    assert state_of(on.ledger) == state_of(stranger.ledger)
    assert "f" not in on.ledger.functions


def test_a_damaged_entry_in_another_log_keeps_what_is_known(store: MemoryStore) -> None:
    on, another = Journal(store), MemoryStore("app")
    for _ in range(3):
        push(on, "f")
    stranger = Journal(another)
    for _ in range(2):
        push(stranger, "g")
    known = state_of(on.ledger)
    store._entries[:] = [another._entries[0], b"poison"]
    for _ in range(2):
        assert reason_of(on.catch_up) in ("bad-envelope", "log-went-back")
        assert state_of(on.ledger) == known
    assert on.replaced == 0


def test_a_log_with_a_broken_chain_is_read_anew_once_and_stays_where_it_broke(
    store: MemoryStore,
) -> None:
    on, another = Journal(store), MemoryStore("app")
    push(on, "f")
    stranger = Journal(another)
    for _ in range(2):
        push(stranger, "g")
    store._entries.append(another._entries[1])
    for _ in range(2):
        assert reason_of(on.catch_up) == "wrong-chain"
        assert on.ledger.sequence == 1
    assert on.replaced == 0


def test_a_log_that_was_replaced_by_a_longer_one_is_refused(store: MemoryStore) -> None:
    on, another = Journal(store, verifier=Strict()), MemoryStore("app")
    for _ in range(3):
        push(on, "f")
    stranger = Journal(another)
    for _ in range(5):
        push(stranger, "f", author="somebody else")
    known = state_of(on.ledger)
    store._entries[:] = another._entries
    assert reason_of(on.catch_up) == "wrong-chain"
    assert reason_of(lambda: push(on, "f")) == "wrong-chain"
    assert state_of(on.ledger) == known
    assert store.read(0).tip == 5


def test_a_release_too_big_for_one_entry_is_refused_and_nothing_is_written(
    store: MemoryStore,
) -> None:
    changed = tuple(pushed(f"f{number:05}", 1) for number in range(9000))
    on = Journal(store)
    reason = reason_of(lambda: on.append(lambda _: Draft(action="push", changes=changed)))
    assert reason == "too-big"
    assert store.read(0).tip == 0
    assert on.ledger.sequence == 0


# bundles -----------------------------------------------------------------------------------------


def test_a_damaged_bundle_is_left_out_and_the_others_are_given(store: MemoryStore) -> None:
    on = Journal(store)
    for name in ("good", "lost", "cut", "changed", "longer"):
        push(on, name, name.encode())
    push(on, "last")
    store._bundles.pop(of(b"lost"))
    store._bundles[of(b"cut")] = b"cu"
    store._bundles[of(b"changed")] = b"CHANGED"
    store._bundles[of(b"longer")] = b"longer and longer"
    live = [state.live for state in on.ledger.functions.values()]
    assert on.bundles(live) == {of(b"good"): b"good", of(b"last 1"): b"last 1"}


def test_a_bundle_whose_size_is_not_the_one_released_is_left_out(store: MemoryStore) -> None:
    on = Journal(store)
    push(on, "f", b"bundle")
    change = on.ledger.functions["f"].live
    assert on.bundles([change]) == {of(b"bundle"): b"bundle"}
    assert on.bundles([dataclasses.replace(change, size=7)]) == {}
    assert on.bundles([Change(function="f", version=SHIPPED)]) == {}


def test_bundles_of_the_newest_release_need_no_second_look(store: MemoryStore) -> None:
    push(Journal(store), "f", b"bundle")
    counted = Counted(store)
    reader = Journal(counted)
    (release,) = reader.catch_up(rung=True)
    assert counted.during(lambda: reader.bundles(release.changes)) == []
    assert reader.bundles(release.changes) == {of(b"bundle"): b"bundle"}


def test_a_wrong_hint_of_a_bundle_does_not_hide_the_right_one(store: MemoryStore) -> None:
    push(Journal(store), "f", b"bundle")
    hinting = Hinting(store)
    hinting.recent = {of(b"bundle"): b"poison"}
    reader = Journal(hinting)
    (release,) = reader.catch_up(rung=True)
    assert reader.bundles(release.changes) == {of(b"bundle"): b"bundle"}


def test_pushing_the_same_code_again_brings_back_a_bundle_that_the_store_lost(
    store: MemoryStore,
) -> None:
    """This is what the message of `bundle-missing` tells people to do."""
    bundle = Bundle(
        function="shop:score",
        qualname="score",
        source="def score(x):\n    return x\n",
        parts=(Part(module="shop", items=(Item(kind="import", name="re", source="import re"),)),),
    )
    candidate = Candidate(bundle=bundle)
    verbs = Releases(Journal(store), author="ann")
    verbs.push([candidate])
    version = verbs.version("shop:score")
    store._bundles.clear()
    verbs.push([candidate])
    assert verbs.fetch(version) == bundle


# versions ----------------------------------------------------------------------------------------


def test_versions_are_found_by_page_and_by_number(long_store: MemoryStore) -> None:
    on = Journal(long_store)
    on.catch_up()
    assert numbers(on.versions("shop:score", limit=3)) == [2900, 2899, 2898]
    assert numbers(on.versions("shop:score", below=3)) == [2, 1]
    assert numbers(on.versions("shop:score", above=2898)) == [2899, 2900]
    assert on.versions("shop:never") == []
    first = on.version("shop:score", 1)
    assert first is not None
    assert (first.number, first.sequence, first.live) == (1, 101, False)
    assert first.bundle == of(b"shop:score 1")
    last = on.version("shop:score", 2900)
    assert last is not None
    assert last.live
    assert on.version("shop:score", 2901) is None
    assert on.version("shop:score", 0) is None
    assert on.version("shop:never", 1) is None


def test_a_version_that_is_live_again_is_marked_so(store: MemoryStore) -> None:
    on = Journal(store)
    for _ in range(3):
        push(on, "f")
    second = on.version("f", 2)
    assert second is not None
    change = Change(function="f", version=2, bundle=second.bundle, size=second.size)
    on.append(lambda _: Draft(action="release", changes=(change,)))
    assert [(v.number, v.live) for v in on.versions("f")] == [(3, False), (2, True), (1, False)]


def test_lost_hints_cost_time_only(long_store: MemoryStore) -> None:
    store = copy_of(long_store)
    on = Journal(store)
    on.catch_up()
    pages: list[dict[str, Any]] = [{}, {"below": 40}, {"above": 2000}, {"above": 7, "limit": 2}]
    before = [on.versions("shop:score", **page) for page in pages]
    store._versions.clear()
    assert [on.versions("shop:score", **page) for page in pages] == before
    assert on.version("shop:score", 1000) is not None
    assert numbers(on.versions("shop:other7")) == [1]


def test_hints_that_were_lost_before_the_newest_version_cost_time_only(store: MemoryStore) -> None:
    on = Journal(store)
    for _ in range(3):
        push(on, "f")
    store._versions.clear()
    push(on, "f")
    assert numbers(on.versions("f")) == [4, 3, 2, 1]
    assert numbers(on.versions("f", above=0)) == [1, 2, 3, 4]
    assert on.version("f", 2) is not None


def test_deleted_versions_are_not_listed(store: MemoryStore) -> None:
    on = Journal(store)
    for _ in range(4):
        push(on, "f")
    delete(on, "f", 1, 2)
    assert numbers(on.versions("f")) == [4, 3]
    assert on.version("f", 2) is None
    delete(on, "f")
    assert on.versions("f") == []
    push(on, "f")
    assert numbers(on.versions("f")) == [5]


@pytest.mark.parametrize("forgotten", [(), (1, 2)], ids=["all of them", "the oldest two"])
def test_deleted_versions_stay_away_also_when_hints_are_lost(
    store: MemoryStore, forgotten: tuple[int, ...]
) -> None:
    on = Journal(store)
    for _ in range(4):
        push(on, "f")
    delete(on, "f", *forgotten)
    push(on, "f")
    before = numbers(on.versions("f"))
    store._versions.clear()
    assert numbers(on.versions("f")) == before


@pytest.mark.parametrize(
    "wrong",
    [
        [(4, 99)],
        [(3, 1)],
        [(9, 2)],
        [(3, 1), (3, 2), (2, 1)],
        [(n, 1) for n in range(4, 120)],
    ],
    ids=["no such entry", "another's entry", "no such version", "several", "a whole page"],
)
def test_wrong_hints_hide_no_version(store: MemoryStore, wrong: list[tuple[int, int]]) -> None:
    hinting = Hinting(store)
    on = Journal(hinting)
    for _ in range(3):
        push(on, "f")
    hinting.wrong = wrong
    assert numbers(on.versions("f")) == [3, 2, 1]
    assert numbers(on.versions("f", limit=2)) == [3, 2]
    for number in (1, 2, 3):
        found = on.version("f", number)
        assert found is not None
        assert (found.number, found.sequence) == (number, number)
    assert on.version("f", 4) is None


def test_a_version_whose_first_append_lost_its_race_in_redis_is_found(
    redis_url: str, namespace: str
) -> None:
    """A lost append leaves hints behind that point at the entry which won."""
    store, other = RedisStore(redis_url, namespace), RedisStore(redis_url, namespace)
    try:
        crossed = Crossed(store)
        mine, theirs = Journal(crossed), Journal(other)
        for _ in range(8):
            push(mine, "mine")
        crossed.before = [lambda: push(theirs, "theirs")]
        assert push(mine, "mine").sequence == 10
        assert numbers(mine.versions("mine", limit=1)) == [9]
        found = mine.version("mine", 9)
        assert found is not None
        assert found.sequence == 10
        assert numbers(mine.versions("mine")) == list(range(9, 0, -1))
    finally:
        store.close()
        other.close()


# releases ----------------------------------------------------------------------------------------


def test_releases_are_listed_newest_first_by_page(store: MemoryStore) -> None:
    on = Journal(store)
    assert on.releases() == []
    for _ in range(30):
        push(on, "f")
    assert [r.sequence for r in on.releases()] == list(range(30, 10, -1))
    assert [r.sequence for r in on.releases(before=4)] == [3, 2, 1]
    assert [r.sequence for r in on.releases(before=99, limit=2)] == [30, 29]
    assert on.releases(before=1) == []
    assert on.releases(limit=0) == []


def test_a_journal_may_be_read_while_others_append(store: MemoryStore) -> None:
    on, stop = Journal(store), threading.Event()
    push(on, "f")

    def write() -> None:
        writer = Journal(store)
        for _ in range(200):
            push(writer, "f")
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    while not stop.is_set():
        on.catch_up()
        state = on.ledger.functions["f"]
        assert on.bundles([state.live]), "the bundle is there when its release is"
        assert state.last >= seen
        seen = state.last
    thread.join()
    on.catch_up()
    assert on.ledger.functions["f"].version == 201
