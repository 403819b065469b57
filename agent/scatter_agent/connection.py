"""An agent's way to its log: one store, one journal that reads it, one doorbell, one connection.

Not here: when it is used (`work`), and how it is made again after a loss (`scatter.store`).

Invariants
1. Nothing is opened before it is needed; a life opens it once.
2. What was opened is used by one thread; `wake` is for any.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from scatter.config import Settings
from scatter.errors import ScatterError
from scatter.log import Journal, open_journal
from scatter.log.opening import open_verifier
from scatter.store import open_store
from scatter.store.port import Doorbell, Store
from scatter.trust import Verifier


class Opened(NamedTuple):
    """A journal on its store, and the doorbell that shares its connection."""

    journal: Journal
    bell: Doorbell


class Connection:
    """What one life of an agent has of a store."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        """Open nothing yet.

        Args:
            settings: Where the log is.
            store: Used in place of the settings' address.

        """
        self._settings = settings
        self._given = store
        self._opened: Opened | None = None

    def __repr__(self) -> str:
        return f"<Connection to {self._settings!r}, {'opened' if self._opened else 'not opened'}>"

    def open(self) -> Opened:
        """Return the journal and the doorbell, made when they are first needed."""
        if self._opened is None:
            store = self._given or self._make()
            self._opened = Opened(open_journal(self._settings, store), store.doorbell())
        return self._opened

    def verifier(self) -> Verifier:
        """Return who decides what is believed, also where there is no store to be had."""
        if self._opened is not None:
            return self._opened.journal.ledger.verifier
        return open_verifier(self._settings, self._given)

    def _make(self) -> Store:
        settings = self._settings
        # what has no connections has none to be named
        nameless = settings.redis_url.startswith(("memory:", "dir:"))
        named = {} if nameless else {"name": f"scatter-agent-{os.getpid()}"}
        return open_store(settings.redis_url, settings.namespace, access=settings.access, **named)

    @property
    def sequence(self) -> int | None:
        """The newest release that was read; None before anything is opened."""
        return None if self._opened is None else self._opened.journal.ledger.sequence

    @property
    def epoch(self) -> int:
        """How often the log was begun anew, as far as it was read."""
        return 0 if self._opened is None else self._opened.journal.ledger.epoch

    def wake(self) -> None:
        """Have who waits at the doorbell look at once, if anybody does. Any thread."""
        if self._opened is not None:
            self._opened.bell.wake()

    def abandon(self) -> None:
        """Let go of what a forked child has inherited, without a word to the server."""
        link = getattr(self._opened and self._opened.journal.store, "link", None)
        if link is not None:
            link.abandon()

    def leave(self, process: str, *, is_there: bool) -> None:
        """Take a process's report away and close the connection.

        Args:
            process: Id of the process.
            is_there: Whether the store can be reached, as far as is known; else nothing is tried.

        """
        if self._opened is None:
            return
        store = self._opened.journal.store
        try:
            if is_there:
                store.remove_report(process)
        except ScatterError:
            pass  # the report expires by itself
        finally:
            store.close()
