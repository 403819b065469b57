"""What an agent takes on as its state, and whom it tells. How often: `test_tell`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from scatter_agent.standing import Standing
from scatter_agent.tell import begin


class Told:
    """A standing, the states that were called out, and the events."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.changes: list[str] = []
        self.standing = Standing("shop", lambda: self.changes.append(self.standing.state))

    @property
    def events(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Told]:
    caplog.set_level(logging.INFO, "scatter")
    begin()
    yield Told(caplog)
    begin()


def test_an_agent_begins_as_starting_and_says_nothing(told: Told) -> None:
    assert (told.standing.state, told.standing.reason, told.standing.code) == ("starting", "", "")
    assert told.events == told.changes == []


def test_a_state_has_a_reason_a_code_and_a_moment(told: Told) -> None:
    began = told.standing.since
    told.standing.be("error", "It is not signed.", "unsigned")

    standing = told.standing
    assert (standing.state, standing.reason, standing.code) == (
        "error",
        "It is not signed.",
        "unsigned",
    )
    assert standing.since >= began
    (event,) = told.events
    for part in ("scatter.error", "It is not signed.", "unsigned", "shop"):
        assert part in event


def test_the_next_state_leaves_nothing_of_the_one_before(told: Told) -> None:
    told.standing.be("error", "It is not signed.", "unsigned")
    told.standing.be("ready")

    assert (told.standing.state, told.standing.reason, told.standing.code) == ("ready", "", "")
    assert "unsigned" not in told.events[-1]


def test_a_state_that_stays_keeps_its_moment_and_calls_nobody(told: Told) -> None:
    told.standing.be("stale", "Redis is gone.")
    since = told.standing.since
    told.standing.be("stale", "Redis is gone.")

    assert told.standing.since == since
    assert told.changes == ["stale"]
    assert len(told.events) == 1


def test_another_reason_is_another_state(told: Told) -> None:
    told.standing.be("stale", "Redis is gone.")
    told.standing.be("stale", "Redis is slow.")

    assert told.changes == ["stale", "stale"]
    assert ["gone" in event for event in told.events] == [True, False]


def test_who_is_called_finds_the_event_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "scatter")
    begin()
    found: list[int] = []
    standing = Standing("shop", lambda: found.append(len(caplog.records)))
    standing.be("ready")

    assert found == [1]


def test_a_change_that_is_left_out_of_the_log_is_called_out_all_the_same(told: Told) -> None:
    for _ in range(3):
        told.standing.be("stale", "Redis is gone.")
        told.standing.be("ready")

    assert told.changes == ["stale", "ready"] * 3
    assert len(told.events) == 2, "and the log ends with what is true"
    assert "scatter.ready" in told.events[-1]


def test_what_a_fork_inherits_is_no_event(told: Told) -> None:
    told.standing.inherit("stopped", "it was stopped")

    assert told.standing.is_resting
    assert told.standing.reason == "it was stopped"
    assert told.events == told.changes == []


@pytest.mark.parametrize("state", ["starting", "ready", "stale", "error"])
def test_only_who_is_stopped_rests(told: Told, state: str) -> None:
    told.standing.be(state)  # type: ignore[arg-type]

    assert not told.standing.is_resting
