"""Waiting at the doorbell: how long, and how often a ring is answered at most."""

from __future__ import annotations

from typing import Any

import pytest
from scatter_agent.listen import LAST_PAUSE_S, POLL_S, Listener

from scatter import native
from scatter.store.memory import MemoryStore
from scatter.store.port import Ring

RUNG, QUIET = Ring(log=True), Ring()


class Paused(native.Flag):
    """Notes how long it was waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout_s: float) -> bool:
        self.pauses.append(timeout_s)
        return False


class Bell:
    """A doorbell that notes how long it was waited at."""

    trouble = "it is broken"

    def __init__(self, works: bool = True) -> None:
        self.works = works
        self.waits: list[float] = []

    def wait(self, timeout_s: float) -> Ring:
        self.waits.append(timeout_s)
        return RUNG


def flooded(listener: Listener, bell: Any, times: int) -> list[float]:
    """Have a listener answer rings that lead to nothing; return its pauses."""
    stop = Paused()
    for _ in range(times):
        listener.answered(listener.wait(bell, stop, None), found=False)
    return stop.pauses


def test_rings_that_lead_to_nothing_are_answered_less_and_less_often_however_many() -> None:
    listener = Listener(5.0)
    pauses = flooded(listener, Bell(), 3000)
    assert pauses == sorted(pauses)
    assert max(pauses) == LAST_PAUSE_S
    assert len(pauses) > 2900, "but for the first few"


@pytest.mark.parametrize(("ring", "found"), [(RUNG, True), (QUIET, False)])
def test_after_a_release_or_a_look_a_ring_is_answered_at_once_again(
    ring: Ring, found: bool
) -> None:
    listener = Listener(5.0)
    flooded(listener, Bell(), 50)
    listener.answered(ring, found=found)
    assert flooded(listener, Bell(), 3) == []


def test_a_look_is_due_at_the_latest_when_something_is() -> None:
    bell, stop = Bell(), Paused()
    Listener(5.0).wait(bell, stop, None)  # type: ignore[arg-type]
    Listener(5.0).wait(bell, stop, 0.0)  # type: ignore[arg-type]
    assert 4.0 <= bell.waits[0] <= 6.0
    assert bell.waits[1] == 0.0


def test_a_silent_doorbell_is_looked_at_often_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener, bell = Listener(5.0), Bell(works=False)
    for _ in range(3):
        listener.heed(bell)  # type: ignore[arg-type]
        listener.wait(bell, Paused(), None)  # type: ignore[arg-type]
    assert listener.doorbell == "polling: it is broken"
    assert max(bell.waits) <= POLL_S * 1.2
    assert caplog.text.count("scatter.polling") == 1
    listener.heed(MemoryStore("any").doorbell())
    assert listener.doorbell == "notifications"
