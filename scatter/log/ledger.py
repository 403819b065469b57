"""The ledger: what the log adds up to, release by release.

Not here: reading the store (`journal`), deciding what a process does (`scatter_agent.plan`).

Invariants
1. Pure: no I/O, no clock, no threads; one owner.
2. `advance` takes only the entry that follows the last one: its sequence is one more, it names the
   hash of the statement before, is not older and of the same epoch. Anything else raises and
   changes nothing.
3. A version number is given once per function and epoch, also across deletes.
4. What a temporary release falls back to was live for good: never another temporary version. Any
   later release of the function takes its end away, but for one that only removes old versions.
5. A `reset` begins an epoch: the state is that of its snapshot, whatever it was before. It needs
   another right than a release does, and is the way back after a loss of data.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from scatter.errors import Untrusted
from scatter.log import envelope, statement
from scatter.model import Change, Fallback, FunctionState, Release
from scatter.names import SHIPPED
from scatter.trust import Verifier, Voucher

_SNAPSHOT_MAGIC = b"SCS2"
_MAX_SNAPSHOT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _Head:
    sequence: int = 0
    hash: str = ""
    snapshot: int = 0
    epoch: int = 0
    began: int = 0
    time: str = ""


class Opened(NamedTuple):
    """An entry that may be believed.

    Attributes:
        release: What it says.
        statement: The bytes of that.
        vouchers: Who signed it.

    """

    release: Release
    statement: bytes
    vouchers: tuple[Voucher, ...] = ()


class Ledger:
    """The state of one namespace after the last release that was advanced over."""

    def __init__(self, namespace: str, verifier: Verifier) -> None:
        """Begin before the first release."""
        self.namespace = namespace
        self.verifier = verifier
        self._head = _Head()
        self._functions: dict[str, FunctionState] = {}
        self._temporary: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Ledger {self.namespace}: {len(self._functions)} functions at {self.sequence}>"

    def believed_by(self, verifier: Verifier) -> Ledger:
        """Return a ledger that knows the same, and asks another verifier from here on."""
        other = Ledger(self.namespace, verifier)
        other._head, other._functions = self._head, dict(self._functions)
        other._temporary = self._temporary
        return other

    @property
    def sequence(self) -> int:
        """Sequence of the last release; 0 before the first."""
        return self._head.sequence

    @property
    def head(self) -> str:
        """Hash of the last statement; empty before the first."""
        return self._head.hash

    @property
    def epoch(self) -> int:
        """How often the log was begun anew by a `reset`."""
        return self._head.epoch

    @property
    def began(self) -> int:
        """Sequence of the `reset` that began the epoch; 0 in the first one."""
        return self._head.began

    @property
    def time(self) -> str:
        """When the last release was made; empty before the first."""
        return self._head.time

    @property
    def snapshot_sequence(self) -> int:
        """Sequence of the last release that carried a snapshot; 0 if none did."""
        return self._head.snapshot

    @property
    def functions(self) -> Mapping[str, FunctionState]:
        """Every function that the log ever named, deleted ones (`version` None) too."""
        return MappingProxyType(self._functions)

    @property
    def temporary(self) -> frozenset[str]:
        """The functions whose live version is a temporary one, whether or not it is over."""
        return self._temporary

    def needed(self) -> list[Change]:
        """Return the changes whose bundles are needed: what is live, and what it falls back to."""
        fallbacks = (self._functions[name].fallback for name in sorted(self._temporary))
        found = [state.live for state in self._functions.values()]
        found += [fallback.live for fallback in fallbacks if fallback is not None]
        return [change for change in found if change.bundle]

    def open(self, entry: bytes, *, known: bool = False) -> Opened:
        """Return what is in any entry of this namespace, once trusted.

        Args:
            entry: From the log.
            known: This process has believed it before.

        Raises:
            Untrusted: The entry is malformed, not trusted, or of another namespace.

        """
        text, signatures = envelope.open_(entry)
        vouchers = self.verifier.check(text, signatures, namespace=self.namespace, known=known)
        release = self.read(text)
        return Opened(release, text, self.verifier.permit(release, vouchers, known=known))

    def read(self, text: bytes) -> Release:
        """Return what a statement says whose signatures the caller has checked.

        Raises:
            Untrusted: It is malformed, or of another namespace.

        """
        release = statement.read(text)
        if release.namespace != self.namespace:
            raise Untrusted(
                "wrong-namespace",
                f"Expected a release of namespace {self.namespace!r}, "
                f"found one of {release.namespace!r}.",
            )
        return release

    def open_at(self, sequence: int, entry: bytes, *, to_look: bool = False) -> Opened:
        """Return what is in the entry at a place of the log that was passed already.

        Args:
            sequence: The place.
            entry: What the store has there.
            to_look: People will look at it, and no code of it will run: a key that signed it may
                have been revoked since.

        Raises:
            Untrusted: `wrong-sequence`, when it is no entry of that place; or as for `open`.

        """
        opened = self.open(entry, known=to_look)
        release = opened.release
        old = release.epoch < self.epoch and sequence < self._head.began
        if release.sequence != sequence or not (release.epoch == self.epoch or old):
            raise Untrusted(
                "wrong-sequence",
                f"Expected release {sequence} of epoch {self.epoch}, found release "
                f"{release.sequence} of epoch {release.epoch}.",
            )
        return opened

    def advance(self, entry: bytes, *, known: bool = False) -> Release:
        """Take the next entry of the log.

        Args:
            entry: The entry.
            known: This process has believed it before.

        Raises:
            Untrusted: `wrong-sequence`, `wrong-chain`, or as for `open`; nothing has changed.

        """
        return self.follow(self.open(entry, known=known))

    def follow(self, opened: Opened, snapshot: bytes = b"") -> Release:
        """Take the next entry of the log, once opened.

        Args:
            opened: The entry.
            snapshot: What it names, where it is a `reset`.

        Raises:
            Untrusted: As for `advance`, and `wrong-snapshot`; nothing has changed.

        """
        self._check_place(opened.release)
        if opened.release.action == "reset":
            return self._restore(opened, snapshot)
        release = opened.release
        states = _next_states(self._functions, opened)
        self._functions |= states
        if self._temporary or release.expires:
            still = {name for name, state in states.items() if state.expires}
            self._temporary = (self._temporary - states.keys()) | still
        self._head = _Head(
            sequence=release.sequence,
            hash=statement.hash_of(opened.statement),
            snapshot=release.sequence if release.snapshot else self._head.snapshot,
            epoch=self._head.epoch,
            began=self._head.began,
            time=release.time,
        )
        return release

    def _check_place(self, release: Release) -> None:
        if release.sequence != self.sequence + 1:
            raise Untrusted(
                "wrong-sequence",
                f"Expected release {self.sequence + 1}, found {release.sequence}.",
            )
        if release.previous != self.head:
            raise self._wrong_chain(f"Release {release.sequence} does not follow")
        least = self.epoch + (release.action == "reset")
        if release.epoch < least or (release.action != "reset" and release.epoch > least):
            raise Untrusted(
                "wrong-epoch",
                f"Expected release {release.sequence} in epoch {least}, found {release.epoch}.",
            )
        if release.time < self.time:
            raise Untrusted(
                "wrong-time",
                f"Release {release.sequence} is of {release.time}, and the one before it of "
                f"{self.time}.",
            )

    def recognise(self, entry: bytes) -> None:
        """Return if an entry is the last one that was advanced over, whoever signed it.

        Raises:
            Untrusted: `wrong-chain`, when it is another; or as for `open`.

        """
        if statement.hash_of(envelope.open_(entry)[0]) != self.head:
            raise self._wrong_chain(f"Release {self.sequence} in the log is not")

    def _wrong_chain(self, what: str) -> Untrusted:
        return Untrusted(
            "wrong-chain",
            f"{what} the release {self.sequence} that this process knows.",
            hint="The log was replaced or damaged. Restore it, or restart to begin anew.",
        )

    def snapshot(self) -> bytes:
        """Return the state as bytes, to be carried by the next release."""
        rows = [
            {
                "live": statement.change_fields(state.live),
                **{name: getattr(state, name) for name in _STATE_FIELDS},
                "kept": list(state.kept),
                "keys": list(state.keys),
                **_extras(state),
            }
            for _, state in sorted(self._functions.items())
        ]
        state = {"began": self._head.began, "functions": rows}
        return _SNAPSHOT_MAGIC + zlib.compress(statement.write_json(state), 6)

    def restore(self, entry: bytes, snapshot: bytes) -> Release:
        """Begin after the release in `entry`, which carries `snapshot` (its digest is checked).

        Raises:
            Untrusted: The entry or the snapshot is not what it should be; nothing has changed.

        """
        return self._restore(self.open(entry), snapshot)

    def _restore(self, opened: Opened, snapshot: bytes) -> Release:
        release = opened.release
        if not release.snapshot or statement.hash_of(snapshot) != release.snapshot:
            raise Untrusted("wrong-snapshot", "A snapshot is not the one that its release names.")
        try:
            began, functions = _read_snapshot(snapshot)  # the state before the release itself
        except (ValueError, TypeError, KeyError, RecursionError, Untrusted, zlib.error) as error:
            raise Untrusted("wrong-snapshot", f"A snapshot cannot be read: {error}.") from error
        if release.action == "reset":
            began = release.sequence
            keys = tuple(voucher.fingerprint for voucher in opened.vouchers)
            last = release.sequence  # what was lost may have been numbered higher
            functions = {n: _vouched(state, keys, last) for n, state in functions.items()}
        else:
            self.verifier.permit(release, opened.vouchers, functions.keys())
        self._functions = functions | _next_states(functions, opened)
        self._temporary = frozenset(n for n, state in self._functions.items() if state.expires)
        self._head = _Head(
            sequence=release.sequence,
            hash=statement.hash_of(opened.statement),
            snapshot=release.sequence,
            epoch=release.epoch,
            began=began,
            time=release.time,
        )
        return release


def _next_states(
    functions: Mapping[str, FunctionState], opened: Opened
) -> dict[str, FunctionState]:
    """Return the states of the functions that a release changes, refusing numbers out of order."""
    release, states = opened.release, {}
    keys = tuple(voucher.fingerprint for voucher in opened.vouchers)
    for change in release.changes:
        before = functions.get(change.function)
        last = before.last if before else 0
        expected = last + 1 if change.created else (change.version or 0)
        if (change.version or 0) != expected or expected > last + change.created:
            raise Untrusted(
                "wrong-version",
                f"Release {release.sequence} gives `{change.function}` number {change.version} "
                f"after {last}.",
            )
        states[change.function] = FunctionState(
            function=change.function,
            live=change,
            sequence=release.sequence,
            author=release.author,
            time=release.time,
            last=max(last, expected),
            previous=_previous(before, change),
            keys=keys,
            **_left(before, change, last),
            **_ending(before, change, release),
        )
    return states


def _ending(before: FunctionState | None, change: Change, release: Release) -> dict[str, Any]:
    """Return until when a change is live, what is live then, and whether it was a way back."""
    if before and release.action == "delete":  # of older versions: what is live stays as it is
        if _is_same(before.live, change):
            names = ("expires", "fallback", "rolled_back")
            return {name: getattr(before, name) for name in names}
        was = before.fallback
        return {"rolled_back": was is not None and was.rolled_back and _is_same(was.live, change)}
    if not release.expires:
        return {"rolled_back": release.action == "rollback"}
    return {"expires": release.expires, "fallback": _fallback(before, change, release)}


def _is_same(live: Change, change: Change) -> bool:
    return (live.version, live.bundle) == (change.version, change.bundle)


def _fallback(before: FunctionState | None, change: Change, release: Release) -> Fallback:
    """Return what is live once a temporary release is over."""
    if before is not None and before.fallback is not None:
        return before.fallback
    if before is None or before.version is None:
        live = Change(function=change.function, version=SHIPPED)
        return Fallback(live=live, sequence=0, author=release.author, time=release.time)
    return Fallback(
        live=before.live,
        sequence=before.sequence,
        author=before.author,
        time=before.time,
        previous=before.previous,
        keys=before.keys,
        rolled_back=before.rolled_back,
    )


def _vouched(state: FunctionState, keys: tuple[str, ...], last: int) -> FunctionState:
    """Return a state for which those who reset vouch, no later than their reset."""
    fallback = state.fallback
    if fallback is not None:
        fallback = replace(fallback, keys=keys, sequence=min(fallback.sequence, last))
    return replace(state, keys=keys, sequence=min(state.sequence, last), fallback=fallback)


def _left(before: FunctionState | None, change: Change, last: int) -> dict[str, Any]:
    """Return which versions exist after a change, as `floor` and `kept`."""
    if change.version is None:
        return {"floor": last + 1, "kept": ()}
    floor, kept = (before.floor, before.kept) if before else (1, ())
    below = min(change.removed_below, last + 1)
    if not below:
        return {"floor": floor, "kept": kept}
    live = change.version
    stays = {n for n in kept if n >= below}
    spared = {live, spared_with(before, change)}
    stays |= {n for n in spared if 0 < n < max(floor, below) and (n >= floor or n in kept)}
    return {"floor": max(floor, below), "kept": tuple(sorted(stays))}


def spared_with(before: FunctionState | None, change: Change) -> int:
    """Return what stays beside the live version where older ones go: what that falls back to."""
    fallback = before.fallback if before is not None and _is_same(before.live, change) else None
    return SHIPPED if fallback is None else fallback.live.version or SHIPPED


def _previous(before: FunctionState | None, change: Change) -> int:
    """Return the version to which a rollback would go after a change: never a temporary one."""
    if before is None:
        return SHIPPED
    if before.fallback is not None:
        was = before.fallback
        return was.previous if was.live.version == change.version else was.live.version or SHIPPED
    return before.previous if before.version == change.version else before.version or SHIPPED


def _extras(state: FunctionState) -> dict[str, Any]:
    """Return the fields that most functions do not have in a snapshot."""
    found: dict[str, Any] = {"rolled_back": True} if state.rolled_back else {}
    if state.fallback is not None:
        found |= {"expires": state.expires, "fallback": _fallback_fields(state.fallback)}
    return found


def _fallback_fields(fallback: Fallback) -> dict[str, Any]:
    return {
        "live": statement.change_fields(fallback.live),
        **{name: getattr(fallback, name) for name in _FALLBACK_FIELDS},
        "keys": list(fallback.keys),
    }


_FALLBACK_FIELDS = {
    "sequence": int,
    "author": str,
    "time": str,
    "previous": int,
    "rolled_back": bool,
}
_STATE_FIELDS = {
    "sequence": int,
    "author": str,
    "time": str,
    "last": int,
    "previous": int,
    "floor": int,
}


def _read_snapshot(snapshot: bytes) -> tuple[int, dict[str, FunctionState]]:
    """Return the sequence at which the epoch began, and the functions."""
    if snapshot[:4] != _SNAPSHOT_MAGIC:
        raise ValueError("it does not begin with SCS2")
    inflater = zlib.decompressobj()
    text = inflater.decompress(snapshot[4:], _MAX_SNAPSHOT_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("it is cut short or too long, or followed by more")
    state = json.loads(text.decode("utf-8"))
    statement.check_text(state)
    if type(state) is not dict or state.keys() != {"began", "functions"}:
        raise TypeError("it has other fields than expected")
    began, rows = state["began"], state["functions"]
    if type(began) is not int or type(rows) is not list:
        raise TypeError("a number and a list were expected")
    if not 0 <= began <= statement.MAX_NUMBER:
        raise ValueError("a number is out of range")
    states = [_read_state(row) for row in rows]
    found = {state.function: state for state in states}
    if len(found) != len(states):
        raise ValueError("a function occurs twice")
    return began, found


def _read_state(row: Any) -> FunctionState:
    must = {"live", "kept", "keys", *_STATE_FIELDS}
    extras = {} if type(row) is not dict else {n: row.pop(n) for n in _EXTRAS & row.keys()}
    if (
        type(row) is not dict
        or row.keys() != must
        or ("expires" in extras) != ("fallback" in extras)
    ):
        raise TypeError("a row has other fields than expected")
    live, kept = statement.read_change(row.pop("live")), row.pop("kept")
    keys = _read_keys(row.pop("keys"))
    if type(kept) is not list or not all(type(n) is int and n > 0 for n in kept):
        raise TypeError("kept versions are numbers")
    _check_types(row, _STATE_FIELDS)
    state = FunctionState(
        function=live.function,
        live=live,
        kept=tuple(kept),
        keys=keys,
        **row,
        **_read_extras(extras),
    )
    least = (state.sequence - 1, state.previous, state.floor - 1, state.last - (live.version or 0))
    most = max(state.sequence, state.last, state.previous, state.floor - 1, *kept)
    if min(least) < 0 or most > statement.MAX_NUMBER:
        raise ValueError("a number is out of range")
    _check_fallback(state)
    return state


_EXTRAS = {"expires", "fallback", "rolled_back"}


def _read_extras(extras: dict[str, Any]) -> dict[str, Any]:
    if extras.get("rolled_back", True) is not True:
        raise TypeError("what was not rolled back does not say so")
    if "fallback" not in extras:
        return extras
    if type(extras["expires"]) is not str or not statement.is_time(extras["expires"]):
        raise TypeError("a temporary version has no time at which it is over")
    return extras | {"fallback": _read_fallback(extras["fallback"])}


def _read_fallback(row: Any) -> Fallback:
    if type(row) is not dict or row.keys() != {"live", "keys", *_FALLBACK_FIELDS}:
        raise TypeError("a fallback has other fields than expected")
    live, keys = statement.read_change(row.pop("live")), _read_keys(row.pop("keys"))
    _check_types(row, _FALLBACK_FIELDS)
    return Fallback(live=live, keys=keys, **row)


def _check_fallback(state: FunctionState) -> None:
    """Return if what a state falls back to is of the same function, and was there before."""
    fallback = state.fallback
    if fallback is None:
        return
    numbers = (fallback.sequence, fallback.previous, fallback.live.version or 0)
    if fallback.live.function != state.function or fallback.live.version is None:
        raise ValueError("a fallback is of another function, or of none")
    if min(numbers) < 0 or numbers[0] > state.sequence or max(numbers[1:]) > state.last:
        raise ValueError("a number of a fallback is out of range")


def _read_keys(keys: Any) -> tuple[str, ...]:
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise TypeError("keys are texts")
    return tuple(keys)


def _check_types(row: dict[str, Any], types: Mapping[str, type]) -> None:
    for name, value in row.items():
        if type(value) is not types[name]:
            raise TypeError(f"{name} has the wrong type")
