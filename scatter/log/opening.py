"""Opens the journal of a store on the terms of this process's settings: whom to believe, who signs.

Nothing is read and no key is opened before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable

from scatter._logging import log
from scatter.config import Settings
from scatter.locks import ForkSafeLock
from scatter.log.journal import Journal
from scatter.store.port import Store
from scatter.trust import Unsigned, Verifier

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, which linters know too
if TYPE_CHECKING:
    from scatter.trust.home import OwnKey
    from scatter.trust.private import Ask
    from scatter.trust.signing import Keyring

_told_off = set[str]()


class LazySigner:
    """Signs with the keys of this user, which are opened when something is first to be signed."""

    def __init__(
        self, *, ask: Ask | None = None, on_made: Callable[[OwnKey], object] | None = None
    ) -> None:
        """Remember how.

        Args:
            ask: Asks for the passphrase of a key; without, such a key is an error.
            on_made: Told of a key that had to be made, and is trusted on this account since.

        """
        self._ask = ask
        self._on_made = on_made
        self._lock = ForkSafeLock()
        self._keyring: Keyring | None = None

    def __repr__(self) -> str:
        return f"<LazySigner with {self._keyring or 'no key yet'}>"

    @property
    def keyring(self) -> Keyring:
        """The keys.

        Raises:
            Refused: `cannot-sign`: there is none, or it cannot be used.

        """
        with self._lock:
            if self._keyring is None:
                from scatter.trust.signing import open_keyring

                self._keyring = open_keyring(ask=self._ask, make=True)
                own = self._keyring.own
                if own is not None and own.made:
                    fields = {"file": str(own.path), "fingerprint": own.key.fingerprint}
                    log().info("scatter.key_made", **fields)
                    if self._on_made is not None:
                        self._on_made(own)
            return self._keyring

    def sign(self, statement: bytes, *, namespace: str) -> tuple[bytes, ...]:
        """Return the signatures over exactly these bytes."""
        return self.keyring.sign(statement, namespace=namespace)


def is_unsigned(settings: Settings, store: Store | None) -> bool:
    """Return whether releases of a store are neither signed nor checked.

    So it is for a store in this process's own memory, and where the settings say so, which is
    logged.
    """
    address = settings.redis_url if store is None else store.address
    if address.startswith("memory:"):
        return True
    if settings.trust == "on":
        return False
    if settings.namespace not in _told_off:
        _told_off.add(settings.namespace)
        log().warning("scatter.trust_off", namespace=settings.namespace)
    return True


def open_verifier(settings: Settings, store: Store | None = None) -> Verifier:
    """Return who decides what is believed of a store; default: that of the settings."""
    if is_unsigned(settings, store):
        return Unsigned()
    from scatter.trust.verifier import KeyVerifier

    return KeyVerifier()


def open_journal(settings: Settings, store: Store, *, signer: LazySigner | None = None) -> Journal:
    """Return the journal of a store. Nothing is read yet.

    Args:
        settings: Those of this process.
        store: The store.
        signer: Signs what is appended; None: this process appends nothing.

    """
    verifier = open_verifier(settings, store)
    if isinstance(verifier, Unsigned):
        return Journal(store, verifier=verifier)
    from scatter.trust.position import PositionFile

    position = PositionFile(store.address, store.namespace)
    return Journal(store, verifier=verifier, signer=signer, position=position)
