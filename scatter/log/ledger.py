"""The ledger: what the log adds up to, release by release.

Not here: reading the store (`journal`), deciding what a process does (`scatter_agent.plan`).

Invariants
1. Pure: no I/O, no clock, no threads; one owner.
2. `advance` takes only the entry that follows the last one: its sequence is one more, it names the
   hash of the statement before, is not older and of the same epoch. Anything else raises and
   changes nothing.
3. What each release makes of its functions is decided in `states`, in one way for all.
4. A `reset` begins an epoch: the state is that of its snapshot, whatever it was before. It needs
   another right than a release does, and is the way back after a loss of data.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from scatter.errors import Untrusted
from scatter.log import envelope, statement
from scatter.log.snapshot import read, write
from scatter.log.states import next_states, vouched
from scatter.model import Change, FunctionState, Release
from scatter.trust import Verifier, Voucher


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
        states = next_states(self._functions, release, _keys(opened))
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
        return write(self._head.began, self._functions)

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
            began, functions = read(snapshot)  # the state before the release itself
        except (ValueError, TypeError, KeyError, RecursionError, Untrusted, zlib.error) as error:
            raise Untrusted("wrong-snapshot", f"A snapshot cannot be read: {error}.") from error
        if release.action == "reset":
            began = release.sequence
            last = release.sequence  # what was lost may have been numbered higher
            functions = {n: vouched(state, _keys(opened), last) for n, state in functions.items()}
        else:
            self.verifier.permit(release, opened.vouchers, functions.keys())
        self._functions = functions | next_states(functions, release, _keys(opened))
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


def _keys(opened: Opened) -> tuple[str, ...]:
    return tuple(voucher.fingerprint for voucher in opened.vouchers)
