"""Releases that several people sign before they are written: looking at a proposal, signing it,
publishing it.

Not here: making one (`Journal.propose`), the file (`scatter.log.proposal`), what people see
(`scatter.cli.cosign`).

Invariants
1. Nothing is parsed, but the frame of the file, before a key that is trusted here is found to have
   signed it; nothing is unpickled or compiled at all.
2. A signature that does not count on this machine is left out, and that is said.
3. What is published is the statement that everybody signed, in the place of the log that it was
   made for. If somebody released meanwhile, it is a `Conflict`.
4. Whoever holds the file alone can change nothing: bundles must be those that the statement names,
   versions those of the log, and what is removed follows from the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from scatter.bundle import Bundle, decode
from scatter.errors import Conflict, ScatterError, Untrusted, UsageError
from scatter.log import envelope
from scatter.log.journal import Journal
from scatter.log.ledger import Opened
from scatter.log.proposal import Proposal
from scatter.log.versions import removals
from scatter.model import Change, Release
from scatter.names import printable
from scatter.store.port import Hints
from scatter.trust import Voucher
from scatter.trust.policy import Signatory
from scatter.trust.verifier import KeyVerifier

_MOST_NAMED = 5
"""Releases that came between which a conflict names."""
_CLOCKS_DIFFER = timedelta(minutes=5)
"""By how much the clocks of two people may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """A proposal that fits the log as it is, and who signed it.

    Attributes:
        proposal: With the signatures that count here, one of each key.
        release: What it says.
        signatories: Who signed, in the order of the signatures.
        left_out: Why other signatures do not count here.
        missing: What the policy of this machine has against it still; nothing: enough have signed.
        removed: Function → numbers of the versions that go with it, newest first.
        hints: What goes with it when it is written.

    """

    proposal: Proposal
    release: Release
    signatories: tuple[Signatory, ...]
    left_out: tuple[Untrusted, ...]
    missing: tuple[Untrusted, ...]
    removed: Mapping[str, tuple[int, ...]]
    hints: Hints


@dataclass(frozen=True, slots=True, kw_only=True)
class _Good:
    """A signature that counts."""

    signature: bytes
    voucher: Voucher
    signatory: Signatory


def consider(journal: Journal, proposal: Proposal) -> Considered:
    """Check a proposal against whom this machine trusts, and against the log as it is now.

    Args:
        journal: Of the namespace; it is caught up.
        proposal: From a file, or just made.

    Raises:
        Untrusted: Nobody whom this machine trusts signed it; or it does not fit itself or the log.
        Conflict: Somebody released since it was made, or it is published already.
        Refused: `bundle-missing`: code that it makes live again is lost.
        UsageError: Nothing is signed here (`SCATTER_TRUST=off`).

    """
    verifier = _verifier_of(journal)
    journal.catch_up()
    release, good, left_out = _weighed(journal, verifier, proposal)
    if release.action == "reset" or release.snapshot:
        raise _unfit("it is a reset, or vouches for more than its changes")
    if not _is_next(journal, release):
        raise _conflict(journal, release, proposal.statement)
    _check_time(journal, release)
    vouchers = tuple(one.voucher for one in good)
    journal.ledger.believed_by(verifier).follow(Opened(release, proposal.statement, vouchers))
    _check_bundles(proposal, release)
    for change in release.changes:
        _check_version(journal, change)
        code_of(journal, proposal, change)
    signatories = tuple(one.signatory for one in good)
    changed = [change.function for change in release.changes]
    refusals = verifier.trusted.policy.refusals(changed, signatories, is_reset=False)
    hints, removed = _what_goes(journal, release)
    return Considered(
        proposal=replace(proposal, signatures=tuple(one.signature for one in good)),
        release=release,
        signatories=signatories,
        left_out=tuple(left_out),
        missing=tuple(refusals),
        removed=removed,
        hints=hints,
    )


def merged(proposals: Sequence[Proposal]) -> Proposal:
    """Return one proposal with the signatures of all: each person may have signed a copy.

    Raises:
        UsageError: They are of different releases.

    """
    first, *others = proposals
    if any((one.statement, one.bundles) != (first.statement, first.bundles) for one in others):
        raise UsageError("Expected files of one proposal, found several. Publish each by itself.")
    signatures = dict.fromkeys(signature for one in proposals for signature in one.signatures)
    return replace(first, signatures=tuple(signatures))


def sign(journal: Journal, considered: Considered) -> Considered:
    """Return a proposal with the signatures of this process added.

    Raises:
        UsageError: They are there already.
        Untrusted: They would not count here.
        Refused: `cannot-sign`.

    """
    proposal, verifier = considered.proposal, _verifier_of(journal)
    own = replace(proposal, signatures=journal.sign(proposal.statement))
    verifier.renew()  # signing may have made the first key
    _, good, _ = _weighed(journal, verifier, own)
    there = {signatory.fingerprint for signatory in considered.signatories}
    new = tuple(one.signature for one in good if one.signatory.fingerprint not in there)
    if not new:
        named = ", ".join(one.signatory.fingerprint for one in good)
        raise UsageError(f"You have signed it already, with {named}. Somebody else is to sign it.")
    return consider(journal, replace(proposal, signatures=(*proposal.signatures, *new)))


def publish(journal: Journal, considered: Considered) -> Release:
    """Append what was proposed.

    Returns:
        The release that is now in the log.

    Raises:
        Untrusted: `too-few-signatures` or `not-permitted`; nothing was written.
        Conflict: Somebody released meanwhile; nothing was written.

    """
    if considered.missing:
        first, *others = considered.missing
        for other in others:
            first.add_note(other.detail)
        raise first
    release = journal.append_proposed(considered.proposal, considered.hints)
    if release is None:
        journal.catch_up()
        raise _conflict(journal, considered.release, considered.proposal.statement)
    return release


def code_of(journal: Journal, proposal: Proposal, change: Change) -> Bundle | None:
    """Return the code that a change makes live; None: there is none, or it is the deployed one.

    Raises:
        Refused: `bundle-missing`: neither the proposal nor the store has it.
        Untrusted: `bad-bundle`, or `wrong-function`: it is that of another function.

    """
    if not change.bundle:
        return None
    carried = proposal.bundles.get(change.bundle)
    bundle = decode(journal.bundle(change) if carried is None else carried)
    if bundle.function != change.function:
        raise Untrusted(
            "wrong-function",
            f"Expected the code of `{change.function}`, found that of `{bundle.function}`.",
            function=change.function,
            version=change.version,
            hint="Find out who wrote it.",
        )
    return bundle


# who signed ------------------------------------------------------------------------------


def _verifier_of(journal: Journal) -> KeyVerifier:
    verifier = journal.ledger.verifier
    if not isinstance(verifier, KeyVerifier):
        raise UsageError(
            "Proposals are for releases that several people sign, and nothing is signed here. "
            "Release it at once, or unset SCATTER_TRUST."
        )
    return verifier


def _weighed(
    journal: Journal, verifier: KeyVerifier, proposal: Proposal
) -> tuple[Release, list[_Good], list[Untrusted]]:
    """Return what is proposed, the signatures that count, and why the others do not."""
    text, namespace = proposal.statement, journal.ledger.namespace
    vouched, refusals = list[tuple[bytes, Voucher]](), list[Untrusted]()
    if not proposal.signatures:
        raise _unfit("nobody has signed it")
    for signature in proposal.signatures:
        try:
            (voucher,) = verifier.check(text, [signature], namespace=namespace)
            vouched.append((signature, voucher))
        except Untrusted as refusal:
            refusals.append(refusal)
    if not vouched:
        raise refusals[0]
    release = journal.ledger.read(text)
    counting, others = verifier.signatories(release, [voucher for _, voucher in vouched])
    refusals += others
    if not counting:
        raise refusals[0]
    return release, list(_once(vouched, counting)), refusals


def _once(
    vouched: Sequence[tuple[bytes, Voucher]], counting: Sequence[tuple[Voucher, Signatory]]
) -> Iterator[_Good]:
    """Yield the signatures that count, one of each key."""
    signatures = {id(voucher): signature for signature, voucher in vouched}
    seen = set[str]()
    for voucher, signatory in counting:
        if signatory.fingerprint not in seen:
            seen.add(signatory.fingerprint)
            yield _Good(signature=signatures[id(voucher)], voucher=voucher, signatory=signatory)


# whether it fits -------------------------------------------------------------------------


def _check_time(journal: Journal, release: Release) -> None:
    """Return if a release is not of a time to come: every one after it would have to be later."""
    latest = (datetime.now(UTC) + _CLOCKS_DIFFER).isoformat()
    if release.time > max(latest, journal.ledger.time):
        raise Untrusted(
            "wrong-time",
            f"The proposal is of {release.time}, which is not yet.",
            hint="Compare the clocks of the two machines, and have it proposed again.",
        )


def _check_bundles(proposal: Proposal, release: Release) -> None:
    sizes = {change.bundle: change.size for change in release.changes if change.bundle}
    for digest, data in proposal.bundles.items():
        if sizes.get(digest) != len(data):
            raise _unfit(f"it has a bundle {digest[:12]}… that its release does not name so")
    for change in release.changes:
        if change.created and change.bundle not in proposal.bundles:
            raise _unfit(f"the bundle of `{change.function}` version {change.version} is not in it")


def _check_version(journal: Journal, change: Change) -> None:
    """Return if a version that is to be live again is the one that has the number."""
    if change.created or not change.version:
        return
    state = journal.current().get(change.function)
    if state and (state.version, state.live.bundle) == (change.version, change.bundle):
        return
    version = journal.version(change.function, change.version)
    if version is None or version.bundle != change.bundle:
        raise Untrusted(
            "wrong-version",
            f"The proposal names code as version {change.version} of `{change.function}` that the "
            "log does not have under that number.",
            function=change.function,
            version=change.version,
            hint="Do not sign it; find out who made it.",
        )


def _what_goes(journal: Journal, release: Release) -> tuple[Hints, dict[str, tuple[int, ...]]]:
    """Return what goes with a release, and which versions of which functions it removes."""
    forget, removed = dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]]()
    remove = set[str]()
    for change in release.changes:
        if change.version is not None and not change.removed_below:
            continue
        versions = journal.versions(change.function, limit=1 << 30)
        gone, bundles = removals(change, versions, journal.ledger.functions.get(change.function))
        numbers = tuple(version.number for version in gone)
        removed[change.function] = numbers
        remove |= bundles
        if change.version is None or numbers:
            forget[change.function] = () if change.version is None else numbers
    hints = Hints(
        versions={c.function: c.version or 0 for c in release.changes if c.created},
        forget=forget,
        remove=frozenset(remove - {change.bundle for change in release.changes}),
    )
    return hints, removed


def _unfit(why: str) -> Untrusted:
    return Untrusted(
        "bad-proposal",
        f"The proposal does not fit: {why}.",
        hint="Do not sign it; find out who made it, or have it proposed again.",
    )


# where it goes ---------------------------------------------------------------------------


def _is_next(journal: Journal, release: Release) -> bool:
    ledger = journal.ledger
    place = release.sequence, release.previous, release.epoch
    return place == (ledger.sequence + 1, ledger.head, ledger.epoch)


def _conflict(journal: Journal, release: Release, text: bytes) -> Conflict:
    """Return the error for a proposal whose place in the log is taken."""
    number, address = release.sequence, journal.store.address
    (entry,) = journal.store.entries([number])
    if entry is not None and envelope.open_(entry)[0] == text:
        return Conflict(f"It is published already: it is release {number} in {address}.")
    between = _between(journal, number)
    if not between:
        return Conflict(
            f"It was made to be release {number} of another log than the one in {address}, which "
            f"has {journal.ledger.sequence}. Nothing was changed: propose it again."
        )
    newest = between[-1]
    listed = "; ".join(
        f"release {r.sequence} ({r.action}) by {printable(r.author)} at {r.time}" for r in between
    )
    return Conflict(
        f"It was made to be release {number}, and others released meanwhile: {listed}. Nothing was "
        "changed. See `scatter log`, then propose it again.",
        function=", ".join(c.function for c in release.changes),
        author=newest.author,
        time=newest.time,
    )


def _between(journal: Journal, first: int) -> list[Release]:
    """Return the releases from a sequence on, or the newest of them; the oldest comes first."""
    count = min(journal.ledger.sequence - first + 1, _MOST_NAMED)
    try:
        return journal.releases(limit=count)[::-1] if count > 0 else []
    except ScatterError:
        return []
