"""Asks the running processes about a push, over a connection of its own."""

from __future__ import annotations

from scatter.acks import Acks, wait_for
from scatter.config import Settings
from scatter.store import open_store
from scatter.watch.acknowledger import Ask
from scatter.watch.events import Pushed


def asker(settings: Settings) -> Ask:
    """Return what waits for acknowledgements in a namespace.

    It keeps one connection, which only the thread that calls it uses; the pusher's own is not
    held up by processes that do not answer.
    """
    store = open_store(settings.redis_url, settings.namespace, access=settings.access)
    bell = store.doorbell()

    def ask(pushed: Pushed, patience_s: float) -> Acks:
        names = [one.name for one in pushed.functions]
        return wait_for(store, bell, pushed.sequence, timeout_s=patience_s, functions=names)

    return ask
