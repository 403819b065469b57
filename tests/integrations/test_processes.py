"""Processes that people start, fork, freeze and replace: real ones, with an agent in them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integrations.queues import FOLLOWER, Yard

from scatter.server import EmbeddedServer


@pytest.fixture
def yard(tmp_path: Path, redis_server: EmbeddedServer, namespace: str) -> Iterator[Yard]:
    made = Yard(tmp_path, redis_server, namespace)
    made.write("tasks.py", FOLLOWER)
    yield made
    made.close()


# pools ------------------------------------------------------------------------------------

POOLS = {
    "multiprocessing-fork": "multiprocessing.get_context('fork').Pool(2)",
    "multiprocessing-forkserver": "multiprocessing.get_context('forkserver').Pool(2)",
    "multiprocessing-spawn": "multiprocessing.get_context('spawn').Pool(2)",
    "futures-fork": "futures.ProcessPoolExecutor(2, multiprocessing.get_context('fork'))",
    "futures-spawn": "futures.ProcessPoolExecutor(2, multiprocessing.get_context('spawn'))",
    "futures-threads": "futures.ThreadPoolExecutor(2)",
}


@pytest.mark.parametrize("pool", POOLS)
def test_the_workers_of_a_pool_follow_with_one_connection_each(yard: Yard, pool: str) -> None:
    program = yard.python(
        f"""
        import multiprocessing, os, time
        from concurrent import futures
        import tasks

        if __name__ == "__main__":
            with {POOLS[pool]} as pool:
                while not os.path.exists("done"):
                    list(pool.map(tasks.job, range(8)))
        """,
    )
    workers = yard.follow(1 if pool == "futures-threads" else 2)
    one_each = dict.fromkeys(workers | {program.pid}, 1)
    yard.until(lambda: yard.connections() == one_each, f"connections {one_each}")
    yard.write("done", "")
    assert (program.wait(), program.output()) == (0, "")


# forks ------------------------------------------------------------------------------------

FORKS = """
import os, random, threading, time, warnings

def count_warnings():
    found = []
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_, **__: found.append(str(message))
    return found

def fork():
    child = os.fork()
    if not child:
        time.sleep(0.02)  # long enough to connect, if that were not put off
        os._exit(0)
    os.waitpid(child, 0)

def interpreter_warns_anyway(found):
    "Python before 3.13.10 may count threads that hooks of the parent start (gh-137109)."
    event = threading.Event()
    os.register_at_fork(after_in_parent=lambda: threading.Thread(target=event.wait).start())
    fork()
    event.set()
    return bool(found)
"""


def test_python_finds_no_thread_to_warn_of_when_a_process_with_an_agent_forks(yard: Yard) -> None:
    yard.write("forks.py", FORKS)
    program = yard.python("""
        import forks, scatter_agent, tasks
        from said import say

        assert scatter_agent.start().wait(20)
        found = forks.count_warnings()
        for _ in range(20):
            forks.fork()
            assert scatter_agent.look(20)
        say("warned", len(found))
        found.clear()
        scatter_agent.stop()
        say("anyway", forks.interpreter_warns_anyway(found))
        """)
    assert (program.wait(), program.output()) == (0, "")
    assert yard.said("warned")[0]["value"] == 0 or yard.said("anyway")[0]["value"]


@pytest.mark.slow
def test_a_hundred_forks_while_releases_come_in_break_no_child(
    yard: Yard,
) -> None:
    program = yard.python("""
        import os, random, time
        import scatter_agent, tasks
        from said import say

        assert scatter_agent.start().wait(20)
        say("started")
        children = []
        for _ in range(100):
            time.sleep(random.uniform(0, 0.01))
            child = os.fork()
            if child == 0:
                os._exit(tasks.until(1000) != 1000)
            children.append(child)
        say("forked")
        say("broken", sum(os.waitpid(child, 0)[1] != 0 for child in children))
        say("parent", tasks.until(1000))
        """)
    yard.until_said("started")
    price = 0
    while not yard.said("forked"):
        yard.push(price := price + 1)
        time.sleep(0.02)
    assert price > 3, "releases came in between"
    yard.push(1000)
    yard.until(lambda: yard.said("parent"), "the end", 60)
    assert yard.said("broken")[0]["value"] == 0
    assert yard.said("parent")[0]["value"] == 1000
    assert (program.wait(), program.output()) == (0, "")


def test_a_process_that_forks_all_the_time_is_reported_and_follows(yard: Yard) -> None:
    yard.write("forks.py", FORKS)
    program = yard.python("""
        import os
        import forks, scatter_agent, tasks
        from said import say

        assert scatter_agent.start().wait(20)
        say("task", tasks.report())
        count = 0
        while tasks.report() != 1 or count < 20:
            forks.fork()
            count += 1
        say("task", 1)
        say("follows", count)
        while not os.path.exists("done"):
            forks.fork()
        """)
    yard.until_said("task")
    yard.until(lambda: program.pid in yard.reports(), "its report")
    connection, opened = yard.connections(), yard.opened()
    pushed_at = yard.push(1)
    count = yard.until_said("follows")[0]["value"]
    assert yard.opened() - opened <= count / 5, "children that end soon open no connection"
    assert yard.delay_s(pushed_at, 0) < 3
    assert yard.connections() == connection == {program.pid: 1}
    yard.write("done", "")
    assert (program.wait(), program.output()) == (0, "")
    assert yard.reports() == {}


# freezing and replacing -------------------------------------------------------------------


@pytest.mark.parametrize("cut", [False, True], ids=["connected", "cut-off"])
def test_a_process_that_was_frozen_catches_up_when_it_wakes(yard: Yard, cut: bool) -> None:
    program = yard.python("""
        import tasks
        from said import say
        assert tasks.scatter_agent.start().wait(20)
        say("task", 0)
        say("task", tasks.until(2))
        """)
    yard.until_said("task")
    os.kill(program.pid, signal.SIGSTOP)
    if cut:
        name = f"scatter-agent-{program.pid}"
        (clients,) = yard.store.link.run([("CLIENT", "LIST")])
        (own,) = [line for line in clients.decode().splitlines() if f"name={name} " in line]
        yard.store.link.run([("CLIENT", "KILL", "ID", own.split()[0].removeprefix("id="))])
    yard.push(1)
    yard.push(2)
    time.sleep(0.5)
    os.kill(program.pid, signal.SIGCONT)
    woken_at = time.time()
    (_, line) = yard.until_said("task", 2)
    assert line["value"] == 2
    assert line["at"] - woken_at < 3
    assert (program.wait(), program.output()) == (0, "")


def test_a_program_that_replaces_itself_follows_with_one_connection(yard: Yard) -> None:
    program = yard.python("""
        import os, sys
        import tasks
        from said import say
        assert tasks.scatter_agent.start().wait(20)
        say("task", 0)
        if "again" not in sys.argv:
            os.execv(sys.executable, [sys.executable, __file__, "again"])
        say("task", tasks.until(1))
        """)
    first, second = yard.until_said("task", 2)
    assert first["pid"] == second["pid"] == program.pid
    yard.until(lambda: yard.connections() == {program.pid: 1}, "one connection")
    yard.push(1)
    assert yard.until_said("task", 3)[-1]["value"] == 1
    assert (program.wait(), program.output()) == (0, "")


def test_look_waits_until_the_process_is_on_the_tip_of_the_log(
    yard: Yard, own_server: Callable[..., EmbeddedServer]
) -> None:
    yard.store.close()
    server = yard.server = own_server()
    yard.open()
    program = yard.python("""
        import os, time
        import scatter_agent, tasks
        from said import say
        assert scatter_agent.look(20)
        for number in range(1, 11):
            say("next")
            while not os.path.exists(f"pushed-{number}"):
                pass
            assert scatter_agent.look(20)
            say("task", tasks.report())
        say("away")
        while scatter_agent.status().state == "ready":
            time.sleep(0.01)
        began = time.monotonic()
        say("looked", [scatter_agent.look(20), time.monotonic() - began])
        scatter_agent.stop()
        say("stopped", scatter_agent.look(20))
        """)
    for number in range(1, 11):
        yard.until_said("next", number)
        yard.push(number)
        yard.write(f"pushed-{number}", "")
    yard.until_said("away")
    server.stop()
    assert (program.wait(), program.output()) == (0, "")
    assert [line["value"] for line in yard.said()] == list(range(1, 11))
    found, took_s = yard.said("looked")[0]["value"]
    assert (found, took_s < 10) == (False, True)
    assert yard.said("stopped")[0]["value"] is False
