"""Processes that people start, freeze, replace and end: real ones, with an agent in them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integrations.queues import Yard

from scatter.server import EmbeddedServer


@pytest.fixture
def yard(tmp_path: Path, redis_server: EmbeddedServer, namespace: str) -> Iterator[Yard]:
    made = Yard(tmp_path, redis_server, namespace)
    made.write("tasks.py", TASKS)
    yield made
    made.close()


TASKS = """
import time
import scatter, scatter_agent
from said import say


@scatter.track
def report():
    price = 0
    return price


def job(_=None):
    time.sleep(0.01)
    say("task", report())


def until(price, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while report() != price and time.monotonic() < deadline:
        time.sleep(0.01)
    return report()


scatter_agent.start()
"""

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
        while tasks.report() != 1:
            forks.fork()
        say("task", 1)
        say("follows")
        while not os.path.exists("done"):
            forks.fork()
        """)
    yard.until_said("task")
    yard.until(lambda: program.pid in yard.reports(), "its report")
    connection = yard.connections()
    pushed_at = yard.push(1)
    yard.until_said("follows")
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


# signals ----------------------------------------------------------------------------------


def test_a_signal_that_the_program_has_blocked_is_not_taken_by_the_agent(yard: Yard) -> None:
    program = yard.python("""
        import os, signal, time
        import tasks
        from said import say
        assert tasks.scatter_agent.start().wait(20)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        say("ready")
        while not os.path.exists("go"):
            time.sleep(0.002)
        say("got", signal.sigwait({signal.SIGTERM}).name)
        """)
    yard.until_said("ready")
    program.process.send_signal(signal.SIGTERM)
    yard.write("go", "")
    assert (program.wait(), program.output()) == (0, "")
    assert yard.said("got")[0]["value"] == "SIGTERM"


def test_handlers_and_the_wakeup_descriptor_stay_the_programs_own(yard: Yard) -> None:
    program = yard.python("""
        import os, signal, socket, time
        from said import say
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno())
        signal.signal(signal.SIGUSR1, lambda *_: say("handled", time.time()))
        before = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        import tasks
        assert tasks.scatter_agent.start().wait(20)
        if os.fork() == 0:
            os._exit(tasks.until(1) != 1)
        say("ready")
        time.sleep(30) if not tasks.until(1) else None
        try:
            for _ in range(20):
                time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            assert [signal.getsignal(n) for n in sorted(signal.valid_signals())] == before
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
        assert len(ours.recv(100)) >= 20 and signal.set_wakeup_fd(-1) == theirs.fileno()
        assert os.wait()[1] == 0
        """)
    yard.until_said("ready")
    yard.push(1)
    assert (program.wait(), program.output()) == (0, "")
    assert len(yard.said("handled")) == 20


def test_a_handler_runs_at_once_while_the_main_thread_sleeps(yard: Yard) -> None:
    program = yard.python("""
        import signal, sys, time
        import tasks
        from said import say
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        assert tasks.scatter_agent.start().wait(20)
        say("ready")
        time.sleep(30)
        """)
    yard.until_said("ready")
    assert program.stop(signal.SIGTERM, 10) == 7
    assert program.output() == ""


# the end ----------------------------------------------------------------------------------

SLOW = "import time\nfrom said import say\nsay('linking')\ntime.sleep(20)\nPRICE = 1\n"
ENDINGS = {
    "main-ends": ("", 0),
    "sys-exit": ("sys.exit(3)", 3),
    "exception": ("raise SystemExit(4)", 4),
    "sys-exit-in-a-thread": (
        "t = threading.Thread(target=sys.exit, args=(5,)); t.start(); t.join()",
        0,
    ),
    "daemon-threads-that-call": (
        "[threading.Thread(target=call, daemon=True).start() for _ in range(4)]; time.sleep(0.05)",
        0,
    ),
    "os-exit": ("os._exit(6)", 6),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("moment", ["idle", "linking"])
def test_the_end_of_a_program_is_quick_and_clean(yard: Yard, ending: str, moment: str) -> None:
    how, status = ENDINGS[ending]
    if moment == "linking":
        yard.write("slow.py", SLOW)
    program = yard.python(f"""
        import os, sys, threading, time
        import tasks
        from said import say

        def call():
            while True:
                tasks.report()

        assert tasks.scatter_agent.start().wait(20)
        say("ready")
        while not os.path.exists("go"):
            time.sleep(0.002)
        say("end")
        {how}
        """)
    yard.until_said("ready")
    if moment == "linking":
        tasks = (yard.folder / "tasks.py").read_text()
        yard.write("tasks.py", "import slow\n" + tasks.replace("return price", "return slow.PRICE"))
        yard.push(1)
        yard.until_said("linking")
    yard.write("go", "")
    assert (program.wait(10), program.output()) == (status, "")


# asyncio ----------------------------------------------------------------------------------


def test_an_event_loop_goes_on_while_the_server_does_not_answer(
    yard: Yard, own_server: Callable[..., EmbeddedServer]
) -> None:
    server = own_server()
    program = yard.python(
        """
        import asyncio, os, time
        import tasks
        from said import say

        async def main():
            loop, longest = asyncio.get_running_loop(), 0.0
            loop.call_later(0.1, say, "ready")
            while not os.path.exists("done"):
                began = loop.time()
                await asyncio.sleep(0.005)
                tasks.report()
                longest = max(longest, loop.time() - began)
            say("longest", longest)

        asyncio.run(main())
        """,
        SCATTER_REDIS_URL=server.url,
    )
    yard.until_said("ready")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        time.sleep(2.5)  # longer than the agent waits for a reply
    finally:
        os.kill(server.pid, signal.SIGCONT)
    yard.write("done", "")
    assert (program.wait(), program.output()) == (0, "")
    assert yard.said("longest")[0]["value"] < 1.0


def test_a_pool_of_subprocesses_started_with_a_preexec_function_opens_no_connection(
    yard: Yard,
) -> None:
    program = yard.python("""
        import os, subprocess, sys, time
        import tasks
        from said import say
        assert tasks.scatter_agent.start().wait(20)
        sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(30)"]
        kept = [subprocess.Popen(sleeper, preexec_fn=lambda: None) for _ in range(3)]
        time.sleep(0.3)  # longer than the agent of a child waits
        say("ready")
        while not os.path.exists("done"):
            time.sleep(0.01)
        [child.kill() or child.wait() for child in kept]
        """)
    yard.until_said("ready")
    assert len(program.family()) == 4
    assert yard.connections() == {program.pid: 1}
    yard.write("done", "")
    assert (program.wait(), program.output()) == (0, "")


def test_python_finds_nothing_to_say_of_the_agent_in_development_mode(yard: Yard) -> None:
    program = yard.python(
        """
        import subprocess, sys
        import tasks
        assert tasks.scatter_agent.start().wait(20)
        subprocess.run([sys.executable, "-S", "-c", ""], check=True)
        """,
        PYTHONDEVMODE="1",
    )
    assert (program.wait(), program.output()) == (0, "")
