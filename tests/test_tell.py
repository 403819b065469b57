"""Log events: what repeats is told once in a while, and what matters is told always."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import scatter_agent.tell
from scatter_agent.agent import Agent
from scatter_agent.tell import MOST, WINDOW_S, Limiter, tell
from support import wait_until

from scatter.config import Settings
from scatter.registry import Registry
from scatter.server import EmbeddedServer
from scatter.store.memory import MemoryStore


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """What was logged, and a limiter whose clock the test moves."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.clock = Clock()
        self.limiter = Limiter(clock=self.clock)
        self._caplog = caplog

    def tell(self, event: str = "scatter.refused", level: str = "warning", **fields: Any) -> bool:
        return tell(level, event, limiter=self.limiter, **fields)

    @property
    def lines(self) -> list[str]:
        return [r.getMessage() for r in self._caplog.records if r.name == "scatter"]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.INFO, "scatter")
    return Log(caplog)


# one event ---------------------------------------------------------------------------------


def test_the_same_event_is_told_once_in_the_window_and_then_with_the_number_left_out(
    told: Log,
) -> None:
    assert told.tell(function="f", reason="no")
    for _ in range(7):
        told.clock.now += 1
        assert not told.tell(function="f", reason="no")
    assert told.lines == ["event='scatter.refused' function='f' reason='no'"]

    told.clock.now += WINDOW_S
    assert told.tell(function="f", reason="no")

    assert told.lines[1:] == ["event='scatter.refused' function='f' reason='no' repeated=7"]


def test_an_event_that_was_not_left_out_meanwhile_has_no_number(told: Log) -> None:
    told.tell()
    told.clock.now += WINDOW_S
    told.tell()
    told.tell()
    told.clock.now += WINDOW_S
    told.tell()

    assert [("repeated" in line) for line in told.lines] == [False, False, True]


def test_the_window_begins_with_what_was_told_not_with_what_was_left_out(told: Log) -> None:
    for _ in range(121):
        told.tell()
        told.clock.now += 1

    assert len(told.lines) == 3, "one a minute, however steadily it comes"
    assert told.lines[1].endswith("repeated=59")


def test_other_fields_are_another_event(told: Log) -> None:
    for _ in range(3):
        for version in (1, 2):
            told.tell(version=version)
        told.tell("scatter.stale", version=1)

    assert [line.split()[0:2] for line in told.lines] == [
        ["event='scatter.refused'", "version=1"],
        ["event='scatter.refused'", "version=2"],
        ["event='scatter.stale'", "version=1"],
    ]


def test_versions_refused_by_turns_do_not_flood(told: Log) -> None:
    for turn in range(600):
        told.tell(function="f", version=1 + turn % 2)
        told.clock.now += 0.1

    assert len(told.lines) == 2


def test_what_must_be_told_is_told_and_begins_the_window_anew(told: Log) -> None:
    told.tell()
    told.clock.now += WINDOW_S - 1
    told.tell()
    assert told.tell(always=True)
    assert told.lines[-1].endswith("repeated=1")
    told.clock.now += WINDOW_S - 1
    assert not told.tell()
    told.clock.now += 1
    assert told.tell()
    assert told.lines[-1].endswith("repeated=1")


def test_an_event_that_is_owed_is_not_counted_again(told: Log) -> None:
    told.tell(reason="gone")
    told.tell(reason="gone")
    for _ in range(20):
        assert not told.tell(reason="gone", owed=True)
    told.clock.now += WINDOW_S

    assert told.tell(reason="gone", owed=True)
    assert told.lines[-1] == "event='scatter.refused' reason='gone'", "it is what was left out"


# faults ------------------------------------------------------------------------------------


def fail(text: str) -> None:
    raise ValueError(text)


def fail_elsewhere(text: str) -> None:
    raise ValueError(text)


def test_the_traceback_of_a_fault_is_told_once_whatever_the_message_says(told: Log) -> None:
    for number in range(5):
        for failing in (fail, fail_elsewhere):
            try:
                failing(f"at {number}")
            except ValueError:
                told.tell("scatter.fault", "exception")

    assert len(told.lines) == 2, "one for each line that raised"
    assert "ValueError: at 0" in told.lines[0]
    assert "in fail_elsewhere" in told.lines[1]


def test_broken_logging_ends_nothing(told: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("half-way through its end")

    monkeypatch.setattr(scatter_agent.tell, "log", broken)
    told.tell()


def test_what_cannot_be_shown_ends_nothing(told: Log) -> None:
    class Silent:
        def __repr__(self) -> str:
            raise RuntimeError

    told.tell(reason=Silent())
    assert told.lines == []


# memory ------------------------------------------------------------------------------------


def test_what_is_remembered_is_bounded_and_what_was_forgotten_is_told(told: Log) -> None:
    told.tell(number=-1)
    for number in range(MOST):
        told.tell(number=number)
        assert re.fullmatch(r"<Limiter of \d{1,3} kinds of events>", repr(told.limiter))

    assert repr(told.limiter) == f"<Limiter of {MOST} kinds of events>"
    assert not told.tell(number=MOST - 1)
    assert told.tell(number=-1), "it was forgotten first"


def test_what_comes_again_is_remembered_before_what_does_not(told: Log) -> None:
    limiter = Limiter(clock=told.clock, most=2)
    assert limiter.left_out(("often",)) == 0
    for number in range(10):
        assert limiter.left_out((f"once {number}",)) == 0
        assert limiter.left_out(("often",)) is None


def test_after_forgetting_everything_is_told(told: Log) -> None:
    told.tell()
    told.tell()
    told.limiter.forget()
    assert told.tell()
    assert told.lines[0] == told.lines[1]


# the states of an agent ----------------------------------------------------------------------


class Flapping(Log):
    """An agent whose states the test sets, with the events that it makes of them."""

    def __init__(self, caplog: pytest.LogCaptureFixture, patch: pytest.MonkeyPatch) -> None:
        super().__init__(caplog)
        self.limiter = scatter_agent.tell._limiter
        patch.setattr(self.limiter, "_clock", self.clock)
        settings = Settings(redis_url="memory://", namespace="tell")
        self.agent = Agent(settings, registry=Registry(), store=MemoryStore("tell"))

    def be(self, *states: str, seconds: float = 1.0) -> None:
        for state in states:
            reason = "" if state == "ready" else "Redis is gone."
            self.agent._work.standing.be(state, reason)  # type: ignore[arg-type]
            self.clock.now += seconds

    @property
    def states(self) -> list[str]:
        return [re.sub(r".*'scatter\.(\w+)'.*?(repeated=\d+)?$", r"\1 \2", x) for x in self.lines]


@pytest.fixture
def flapping(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flapping]:
    caplog.set_level(logging.INFO, "scatter")
    yield Flapping(caplog, monkeypatch)
    scatter_agent.tell.begin()


def test_ready_after_stale_is_always_told(flapping: Flapping) -> None:
    flapping.be("ready", "stale", "ready")

    assert flapping.states == ["ready ", "stale ", "ready "]


def test_a_flapping_connection_does_not_flood(flapping: Flapping) -> None:
    flapping.be(*["stale", "ready"] * 100)

    assert flapping.states[:2] == ["stale ", "ready "]
    assert len(flapping.states) == 2 * (1 + 200 // int(WINDOW_S))
    assert flapping.states[2] == "stale repeated=29"
    assert flapping.states[3] == "ready repeated=29"


def test_the_last_that_is_told_becomes_true_when_trouble_lasts(flapping: Flapping) -> None:
    flapping.be("stale", "ready", "stale")
    assert flapping.states == ["stale ", "ready "]

    flapping.be(*["stale"] * 70)

    assert flapping.states == ["stale ", "ready ", "stale "], "once, and it is none that repeats"
    flapping.be("ready")
    assert flapping.states[-1] == "ready "


def test_a_state_that_stays_is_told_once(flapping: Flapping) -> None:
    flapping.be(*["ready"] * 10, seconds=30)

    assert flapping.states == ["ready "]


def test_a_stop_is_always_told(flapping: Flapping) -> None:
    for _ in range(3):
        flapping.be("ready")
        flapping.agent.stop()

    assert flapping.states == ["ready ", "stopped "] * 3


def test_a_new_life_has_told_nothing(flapping: Flapping) -> None:
    flapping.be("stale")
    assert flapping.states == ["stale "]

    flapping.agent.in_child()
    flapping.be("stale")

    assert flapping.states == ["stale ", "stale "]


def test_a_forked_child_waits_for_no_thread_of_its_parent(told: Log) -> None:
    told.tell()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with told.limiter._lock:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    pid = os.fork()
    if not pid:
        signal.alarm(10)  # a child that waits for ever fails here
        os._exit(0 if told.limiter.left_out(("x",)) == 0 else 1)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_server_that_comes_and_goes_fills_no_log(
    own_server: Callable[..., EmbeddedServer], told: Log
) -> None:
    server = own_server()
    settings = Settings(redis_url=server.url, namespace="flap")
    agent = Agent(settings, registry=Registry(), look_s=0.05)
    agent.start()
    assert agent.wait(20)
    for _ in range(4):
        server.stop()
        wait_until(lambda: agent.status().state == "stale", "the agent to notice")
        server = own_server()
        wait_until(lambda: agent.status().state == "ready", "the agent to be back")
    agent.stop()

    stale = [line for line in told.lines if "scatter.stale" in line]
    ready = [line for line in told.lines if "scatter.ready" in line]
    assert stale
    assert len(stale) == len(set(stale)), "the same trouble is told once"
    assert 2 <= len(ready) <= 1 + len(stale), "and its end once for each that was told"
    assert "scatter.stopped" in told.lines[-1]
