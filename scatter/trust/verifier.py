"""The verifier: believes what keys have signed that are trusted on this machine.

It reads `allowed_signers`, the revoked lists and the policy, and reads them again when they change.

Not here: reading them (`trusted`), the signature (`sshsig`), what a statement says
(`scatter.log.statement`).

Invariants
1. Nothing that is trusted comes from the store. A file that cannot be used is an error, and never
   counts as an empty one.
2. `check` looks at bytes only: the key must be known here and not revoked, and the signature good
   over exactly these bytes, for exactly this namespace. What may depend on the statement (its time,
   its functions) is left to `permit`, when it has been parsed strictly.
3. While the files cannot be used, nothing new is believed. What was said of code that runs holds
   until they can: it is not judged anew by files that say nothing.
4. What a release that was believed before was signed with may have been revoked since: that is no
   reason to lose the log, and is reported (`distrusts`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from scatter.errors import Untrusted
from scatter.locks import ForkSafeLock
from scatter.model import Release
from scatter.trust import Voucher, home, keys, revoked, sshsig, trusted
from scatter.trust.certificate import Certificate
from scatter.trust.keys import PublicKey
from scatter.trust.policy import Signatory
from scatter.trust.trusted import Trusted

MAX_SIGNATURES = 16
"""Signatures of one release that are looked at; more are refused unread."""
_MOST_MET = 1000
"""Keys that are remembered: every certificate is another one."""


class KeyVerifier:
    """Believes what trusted keys have signed. Any thread may call any method."""

    def __init__(self) -> None:
        """Begin; the files are read when something is first to be checked."""
        self._lock = ForkSafeLock()
        self._trusted: Trusted | None = None
        self._last: Trusted | None = None  # what they said when they could last be used
        self._met: dict[str, PublicKey | Certificate] = {}
        self.edition = 0

    def __repr__(self) -> str:
        return f"<KeyVerifier: {self._trusted.signers if self._trusted else 'nothing read yet'}>"

    @property
    def trusted(self) -> Trusted:
        """What the files say.

        Raises:
            Untrusted: `unsafe-trust-file`, `bad-trust-file` or `weak-key`: one cannot be used.

        """
        with self._lock:
            if self._trusted is None:
                self._trusted = self._last = trusted.load()
            return self._trusted

    def load(self) -> None:
        """Import what checking will need."""
        keys.load()

    def renew(self) -> None:
        """Take note of what was changed in the files."""
        with self._lock:
            if self._trusted is not None and not self._trusted.is_current():
                self._trusted = None
                self.edition += 1
        _ = self.trusted

    @property
    def follows_replaced(self) -> bool:
        """Whether the policy lets a log be followed that lost releases."""
        return self.trusted.policy.replaced_log == "follow"

    @property
    def drops_distrusted(self) -> bool:
        """Whether the policy drops code that a key signed which was revoked since."""
        return self._last is not None and self._last.policy.revoked_code == "drop"

    def check(
        self,
        statement: bytes,
        signatures: Sequence[bytes],
        *,
        namespace: str,
        known: bool = False,
    ) -> tuple[Voucher, ...]:
        """Return who vouches for a statement: at least one trusted key."""
        if not signatures:
            raise Untrusted(
                "unsigned",
                "Nobody has signed the release.",
                hint="It was made with SCATTER_TRUST=off, or by an older scatter. If you trust "
                "what is in the log: `scatter reset --adopt`.",
            )
        if len(signatures) > MAX_SIGNATURES:
            raise Untrusted(
                "too-big",
                f"The release has {len(signatures)} signatures; at most {MAX_SIGNATURES} are "
                "looked at.",
            )
        vouchers, refusals = list[Voucher](), list[Untrusted]()
        for data in signatures:
            try:
                vouchers.append(self._voucher(statement, data, home.purpose(namespace), known))
            except Untrusted as refusal:
                refusals.append(refusal)
        if not vouchers:
            raise refusals[0]
        return tuple(vouchers)

    def _voucher(self, statement: bytes, data: bytes, purpose: str, known: bool) -> Voucher:
        believed = self.trusted
        signature = sshsig.read(data)
        key = signature.key
        believed.signers.check_known(key)
        is_revoked = bool(believed.revoked.where(key))
        if is_revoked and not known:
            believed.revoked.check(key)
        signature.verify(statement, purpose)
        self._meet(key)
        return Voucher(key=key, fingerprint=key.fingerprint, is_revoked=is_revoked)

    def _meet(self, key: PublicKey | Certificate) -> None:
        """Remember a key that has signed, to know it again on a revoked list."""
        with self._lock:
            self._met[key.fingerprint] = key
            if len(self._met) > _MOST_MET:
                del self._met[next(iter(self._met))]

    def permit(
        self,
        release: Release,
        vouchers: Sequence[Voucher],
        functions: Collection[str] = (),
        *,
        known: bool = False,
    ) -> tuple[Voucher, ...]:
        """Return those who vouch for a release and may do what it does, at its time."""
        counting, refusals = self.signatories(release, vouchers)
        if not counting:
            raise refusals[0]
        changed = functions or [change.function for change in release.changes]
        signatories = [signatory for _, signatory in counting]
        if not known:
            policy = self.trusted.policy
            policy.check(changed, signatories, is_reset=release.action == "reset")
        return tuple(voucher for voucher, _ in counting)

    def signatories(
        self, release: Release, vouchers: Sequence[Voucher]
    ) -> tuple[list[tuple[Voucher, Signatory]], list[Untrusted]]:
        """Return those who may sign for the namespace at the time of a release, and who they are.

        Args:
            release: The release.
            vouchers: Who signed it.

        Returns:
            Them, and why the others do not count.

        """
        counting, refusals = list[tuple[Voucher, Signatory]](), list[Untrusted]()
        for voucher in vouchers:
            try:
                counting.append((voucher, self._signatory(release, voucher)))
            except Untrusted as refusal:
                refusals.append(refusal)
        return counting, refusals

    def _signatory(self, release: Release, voucher: Voucher) -> Signatory:
        believed = self.trusted
        but = revoked.NOTHING if voucher.is_revoked else believed.revoked
        at = datetime.fromisoformat(release.time).timestamp()
        purpose = home.purpose(release.namespace)
        signed = believed.signers.find(voucher.key, purpose, at, but)
        return Signatory(principals=signed.principals, fingerprint=voucher.fingerprint)

    def is_stale(self, time: str) -> str:
        """Return what is the matter with a log whose newest release is of that time; or nothing."""
        limit_s = self.trusted.policy.stale_after_s
        age_s = (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
        if not limit_s or age_s <= limit_s:
            return ""
        return (
            f"The newest release is of {time}, which is longer ago than the policy's stale_after "
            f"({limit_s:g} s): either nobody has released or renewed since (`scatter renew`), or "
            "somebody withholds what came later."
        )

    def revoked(self) -> frozenset[str]:
        """Return the fingerprints of the keys that are trusted no more, as far as they are known.

        What a KRL or an authority revokes is known of keys that this process has met.
        """
        with self._lock:
            if self._last is None:
                return frozenset()
            found = self._last.revoked
            named = {key.fingerprint for key in self._met.values() if found.where(key)}
            return frozenset({*found.fingerprints, *named})
