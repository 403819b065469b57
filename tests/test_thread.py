"""The thread of an agent: how it begins, whom it waits for, and how it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from scatter_agent.thread import AgentThread
from support import wait_until

from scatter.native import Flag

LONG_S = 20.0


def wait(stop: Flag) -> None:
    """Work until it is time to end."""
    assert stop.wait(LONG_S)


def test_a_thread_works_until_it_is_told_to_stop() -> None:
    thread = AgentThread()
    assert not thread.is_alive
    thread.start(wait)
    assert thread.is_alive

    thread.stop.set()
    thread.join(LONG_S)

    assert not thread.is_alive


def test_one_that_was_stopped_before_it_began_sees_that() -> None:
    thread, seen = AgentThread(), list[bool]()
    thread.stop.set()
    thread.start(lambda stop: seen.append(stop.is_set()))
    thread.join(LONG_S)

    assert seen == [True]


def test_the_next_thread_begins_when_the_one_before_has_ended() -> None:
    one, other, order = AgentThread(), AgentThread(), list[str]()

    def work(stop: Flag) -> None:
        wait(stop)
        order.append("one")

    one.start(work)
    other.start(lambda _: order.append("other"), after=one)
    other.join(0.05)
    assert order == [], "it waits"
    one.stop.set()
    other.join(LONG_S)

    assert order == ["one", "other"]


def test_a_thread_that_does_not_end_is_not_waited_for_any_longer() -> None:
    thread = AgentThread()
    thread.start(wait)
    thread.join(0.01)
    assert thread.is_alive
    thread.stop.set()
    thread.join(LONG_S)


def test_one_that_was_joined_is_gone_for_the_system_too() -> None:
    tasks = set(os.listdir("/proc/self/task"))
    thread = AgentThread()
    thread.start(wait)
    (task,) = set(os.listdir("/proc/self/task")) - tasks
    thread.stop.set()
    thread.join(LONG_S)

    assert not Path("/proc/self/task", task).exists()


def test_nobody_waits_for_a_thread_that_was_never_started_nor_for_itself() -> None:
    thread, joined = AgentThread(), Flag()
    thread.join(LONG_S)

    def work(_: Flag) -> None:
        assert thread.is_current
        thread.join(LONG_S)
        joined.set()

    thread.start(work)
    assert joined.wait(LONG_S)
    assert not thread.is_current
    thread.join(LONG_S)


def test_it_takes_no_signal_but_those_of_its_own_faults() -> None:
    thread, masks = AgentThread(), list[set[int]]()

    def work(_: Flag) -> None:
        masks.append({*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))})

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    thread.start(work)
    wait_until(lambda: masks, "the mask")
    thread.join(LONG_S)

    assert {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD} <= masks[0]
    assert not {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL} & masks[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before, "the starter's is its own"
