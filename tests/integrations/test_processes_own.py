"""Signals, ends and event loops of processes with an agent: what is the program's own stays so."""

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
