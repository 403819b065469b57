"""Whom to believe: the port through which releases are signed and checked.

Today there is one implementation, `Unsigned`: it signs nothing and accepts everything, so whoever
can write to the store can run code in its workers (the README says so under Limits). The place of
the checks is final: a statement is verified before it is parsed, a bundle before it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Signer(Protocol):
    """Signs the statements that this process releases."""

    def sign(self, statement: bytes, *, namespace: str) -> tuple[bytes, ...]:
        """Return the signatures over exactly these bytes."""
        ...


class Verifier(Protocol):
    """Decides whether a statement may be believed.

    Attributes:
        follows_replaced: Whether a log that was replaced by another may be followed. Where
            statements are signed, an old log is a means of attack.

    """

    @property
    def follows_replaced(self) -> bool:
        """See above."""
        ...

    def check(self, statement: bytes, signatures: Sequence[bytes], *, namespace: str) -> None:
        """Return if the statement is trusted.

        Raises:
            Untrusted: With the reason code of the first check that failed.

        """
        ...


class Unsigned:
    """Signs nothing and believes everything that is well-formed."""

    follows_replaced = True

    def sign(self, statement: bytes, *, namespace: str) -> tuple[bytes, ...]:  # noqa: ARG002
        """Return no signature."""
        return ()

    def check(self, statement: bytes, signatures: Sequence[bytes], *, namespace: str) -> None:
        """Accept the statement."""
