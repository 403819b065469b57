"""Whom to believe: the ports through which releases are signed and checked, and what is known.

`Unsigned` signs nothing and believes everything that is well-formed: it is what `SCATTER_TRUST=off`
means. `scatter.trust.verifier` is the one that asks for signatures of keys that are trusted here.

The order of the checks: size and framing of the entry (`scatter.log.envelope`), key, purpose and
signature (`Verifier.check`), the strict statement (`scatter.log.statement`), what the signers may
do (`Verifier.permit`), place in the log (`scatter.log.ledger`), and what this process has seen
before (`Position`). Nothing is parsed before its signature was checked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, which linters know too
if TYPE_CHECKING:
    from scatter.model import Release
    from scatter.trust.certificate import Certificate
    from scatter.trust.keys import PublicKey

TRUST = ("on", "off")
"""What the setting `trust` may be."""


class Signer(Protocol):
    """Signs the statements that this process releases."""

    def sign(self, statement: bytes, *, namespace: str) -> tuple[bytes, ...]:
        """Return the signatures over exactly these bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """One good signature over a statement, of a key that is trusted for something.

    Attributes:
        key: The key, or the certificate.
        fingerprint: Of the key, as `ssh-keygen -l` prints it.
        is_revoked: The key was revoked since; the release was known before.

    """

    key: PublicKey | Certificate
    fingerprint: str
    is_revoked: bool = False


class Verifier(Protocol):
    """Decides whether a statement may be believed.

    Attributes:
        follows_replaced: Whether a log that was replaced by another may be followed. Where
            statements are signed, an old log is a means of attack.
        edition: A number that changes when what is trusted does.

    """

    @property
    def follows_replaced(self) -> bool:
        """See above."""
        ...

    @property
    def edition(self) -> int:
        """See above."""
        ...

    def load(self) -> None:
        """Import what checking will need, where that must not happen in the middle of it."""
        ...

    def renew(self) -> None:
        """Take note of what was changed in the files that say whom to trust.

        Raises:
            Untrusted: They cannot be used.

        """
        ...

    def check(
        self,
        statement: bytes,
        signatures: Sequence[bytes],
        *,
        namespace: str,
        known: bool = False,
    ) -> tuple[Voucher, ...]:
        """Return who vouches for a statement, which is not looked into.

        Args:
            statement, signatures: Of an entry of the log.
            namespace: Its namespace.
            known: This process has believed the entry before.

        Raises:
            Untrusted: With the reason code of the first check that failed.

        """
        ...

    def permit(
        self,
        release: Release,
        vouchers: Sequence[Voucher],
        functions: Collection[str] = (),
        *,
        known: bool = False,
    ) -> tuple[Voucher, ...]:
        """Return those who vouch for a release and may do what it does, at its time.

        Args:
            release: The release.
            vouchers: Who signed it.
            functions: Those of its snapshot, where that is to be believed too.
            known: This process has believed it before: a policy that is newer does not matter.

        Raises:
            Untrusted: They may not.

        """
        ...

    def is_stale(self, time: str) -> str:
        """Return what is the matter with a log whose newest release is of that time; or nothing."""
        ...

    def revoked(self) -> frozenset[str]:
        """Return the fingerprints of the keys that are trusted no more, as far as they are known.

        Code counts as distrusted if all keys that signed it are among them.
        """
        ...

    @property
    def drops_distrusted(self) -> bool:
        """Whether code that is distrusted is to be dropped."""
        ...


class Unsigned:
    """Signs nothing and believes everything that is well-formed."""

    follows_replaced = True
    edition = 0
    drops_distrusted = False

    def sign(self, statement: bytes, *, namespace: str) -> tuple[bytes, ...]:  # noqa: ARG002
        """Return no signature."""
        return ()

    def load(self) -> None:
        """Do nothing."""

    def renew(self) -> None:
        """Do nothing."""

    def check(
        self,
        statement: bytes,  # noqa: ARG002
        signatures: Sequence[bytes],  # noqa: ARG002
        *,
        namespace: str,  # noqa: ARG002
        known: bool = False,  # noqa: ARG002
    ) -> tuple[Voucher, ...]:
        """Accept the statement."""
        return ()

    def permit(
        self,
        release: Release,  # noqa: ARG002
        vouchers: Sequence[Voucher],
        functions: Collection[str] = (),  # noqa: ARG002
        *,
        known: bool = False,  # noqa: ARG002
    ) -> tuple[Voucher, ...]:
        """Permit all."""
        return tuple(vouchers)

    def is_stale(self, time: str) -> str:  # noqa: ARG002
        """Find nothing the matter."""
        return ""

    def revoked(self) -> frozenset[str]:
        """Distrust nobody."""
        return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a log was believed: what comes later must go on from there.

    Attributes:
        epoch, sequence: Of the newest release.
        head: SHA-256 of its statement in hex.

    """

    epoch: int
    sequence: int
    head: str


class PositionKeeper(Protocol):
    """Keeps the position in a log from one process to the next."""

    def read(self) -> Position | None:
        """Return what was kept; None: nothing, or nothing that can be read."""
        ...

    def write(self, position: Position) -> bool:
        """Keep a position, unless a later one is kept already. Never raises.

        Returns:
            Whether nothing is left to do; else it is to be called again later.

        """
        ...
