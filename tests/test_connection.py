"""An agent's way to its log: opened when it is needed, left when the agent is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scatter_agent.connection import Connection

from scatter.config import Settings
from scatter.errors import StoreRefused, StoreUnavailable
from scatter.store.memory import MemoryStore
from scatter.store.redis import RedisStore

NOWHERE = Settings(redis_url="redis://127.0.0.1:1/0", namespace="shop")


class Noted(MemoryStore):
    """A store that notes whether it was closed, and may take no report away."""

    def __init__(self, trouble: Exception | None = None) -> None:
        super().__init__("shop")
        self.trouble = trouble
        self.calls: list[str] = []

    def remove_report(self, process: str) -> None:
        self.calls.append(f"remove {process}")
        if self.trouble is not None:
            raise self.trouble
        super().remove_report(process)

    def close(self) -> None:
        self.calls.append("close")
        super().close()


def test_nothing_is_opened_before_it_is_needed() -> None:
    connection = Connection(NOWHERE)
    connection.wake()
    connection.abandon()
    connection.leave("me", is_there=True)

    assert connection.sequence is None
    assert "not opened" in repr(connection)


def test_it_is_opened_once() -> None:
    connection = Connection(NOWHERE, Noted())
    journal, bell = connection.open()

    assert connection.open() == (journal, bell)
    assert connection.sequence == 0


def test_to_wake_it_ends_the_wait_at_its_doorbell() -> None:
    connection = Connection(NOWHERE, Noted())
    _, bell = connection.open()
    bell.listen()
    connection.wake()

    assert bell.wait(20).woken


def test_a_connection_has_the_name_of_an_agent(redis_url: str, namespace: str) -> None:
    connection = Connection(Settings(redis_url=redis_url, namespace=namespace))
    journal, bell = connection.open()
    bell.listen()
    store = journal.store
    assert isinstance(store, RedisStore)
    (name,) = store.link.run([("CLIENT", "GETNAME")])
    connection.leave("me", is_there=True)

    assert name.startswith(b"scatter-agent-")


def test_who_leaves_takes_the_report_away_and_closes() -> None:
    store = Noted()
    connection = Connection(NOWHERE, store)
    connection.open()
    store.write_report("me", b"{}", 20)
    connection.leave("me", is_there=True)

    assert store.calls == ["remove me", "close"]
    assert store.reports() == {}


def test_who_knows_that_the_store_is_away_only_closes() -> None:
    store = Noted()
    connection = Connection(NOWHERE, store)
    connection.open()
    connection.leave("me", is_there=False)

    assert store.calls == ["close"]


@pytest.mark.parametrize("kind", [StoreUnavailable, StoreRefused])
def test_a_report_that_cannot_be_taken_away_is_left_to_expire(kind: Callable[..., Any]) -> None:
    store = Noted(kind("no"))
    connection = Connection(NOWHERE, store)
    connection.open()
    connection.leave("me", is_there=True)

    assert store.calls == ["remove me", "close"]
