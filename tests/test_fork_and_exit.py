"""Forks and exits of processes that run an agent: real processes, real forks, real signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import signed, start_python, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.model import ProcessReport
from scatter.releases import Candidate, Releases
from scatter.reports import read_reports
from scatter.server import EmbeddedServer
from scatter.store.redis import RedisStore

SHOP = """\
import scatter


@scatter.track
def price():
    return 0
"""

FOLLOW = """
import os, sys, time, shop, scatter_agent

def follow(who, last):
    "Print every price that this process comes to have, up to the last one."
    seen = None
    while seen != last:
        if shop.price() != seen:
            seen = shop.price()
            print(who, os.getpid(), seen, flush=True)
        time.sleep(0.001)
"""


class Program:
    """A running script, and the lines that it and its children have printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[list[str]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.split())

    def until(self, *words: str) -> list[str]:
        """Wait for a line that begins and ends with these words."""
        first, *last = words

        def found() -> list[str]:
            fits = [
                line for line in self.lines if line[0] == first and (not last or line[-1] in last)
            ]
            return fits[0] if fits else []

        return wait_until(found, f"the line {' … '.join(words)}, after {self.lines}")

    def pid(self, who: str, price: int = 0) -> int:
        return int(self.until(who, str(price))[1])

    def go(self) -> None:
        """Send a line, for which the script waits."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, timeout_s: float = 10.0) -> tuple[int, str]:
        """Wait until it has ended by itself; return its exit status and what it complained of."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        assert self.process.stderr is not None
        return status, self.process.stderr.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Shop:
    """A shop on disk, its releases, and the processes that run it."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self.folder, self.url, self.namespace = folder, url, namespace
        (folder / "shop.py").write_text(SHOP)
        self.store = RedisStore(url, namespace)
        self.releases = Releases(signed(self.store), author="ann")
        self.programs: list[Program] = []

    def push(self, price: int) -> None:
        source = ModuleSource(SHOP.replace("0", str(price)), name="shop", file="shop.py")
        self.releases.push([Candidate(bundle=build(source, "price").bundle)], force=True)

    def run(self, script: str, url: str = "", **environment: str) -> Program:
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "SCATTER_REDIS_URL": url or self.url,
            "SCATTER_NAMESPACE": self.namespace,
            # Python 3.12 and later warn of every fork of a process that has threads, whoever's.
            "PYTHONWARNINGS": "ignore:This process:DeprecationWarning",
            # Without a buffer the words of two processes' lines would mix.
            "PYTHONUNBUFFERED": "",
            **environment,
        }
        process = start_python(
            FOLLOW + textwrap.dedent(script),
            cwd=self.folder,
            env=environment,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self.programs.append(Program(process))
        return self.programs[-1]

    def connections(self, pid: int) -> list[str]:
        """Return the ids of the connections of a process's agent."""
        (found,) = self.store.link.run([("CLIENT", "LIST")])
        clients = [
            dict(part.split("=", 1) for part in line.split())
            for line in found.decode().splitlines()
        ]
        return [c["id"] for c in clients if c["name"] == f"scatter-agent-{pid}"]

    def reports(self) -> dict[int, ProcessReport]:
        return {report.pid: report for report in read_reports(self.store)}

    def close(self) -> None:
        for program in self.programs:
            # Children that hang would keep the pipes of their parent open.
            try:
                os.killpg(program.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            program.close()
        self.store.close()


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, namespace: str) -> Iterator[Shop]:
    made = Shop(tmp_path, redis_url, namespace)
    yield made
    made.close()


# forks -----------------------------------------------------------------------------------


def test_parent_and_child_follow_the_log_each_by_itself(shop: Shop) -> None:
    program = shop.run("""
        scatter_agent.start(wait=20)
        print("started", os.getpid(), flush=True)
        sys.stdin.readline()
        child = os.fork()
        follow("parent" if child else "child", 2)
        if child:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    parent = int(program.until("started")[1])
    (before,) = shop.connections(parent)
    program.go()
    child = program.pid("child")
    assert program.pid("parent") == parent
    shop.push(1)
    assert program.pid("child", 1) == child
    assert program.pid("parent", 1) == parent
    assert shop.connections(parent) == [before], "the fork left the parent's connection alone"
    assert len(shop.connections(child)) == 1
    wait_until(lambda: set(shop.reports()) == {parent, child}, "a report of each")
    assert len({report.id for report in shop.reports().values()}) == 2
    shop.push(2)
    assert program.end() == (0, "")
    assert shop.reports() == {}, "each took its own report away"


def test_the_child_of_a_child_follows_as_well(shop: Shop) -> None:
    program = shop.run("""
        scatter_agent.start(wait=20)
        if os.fork() == 0 and os.fork() == 0:
            follow("grandchild", 1)
            os._exit(0)
        follow("other", 1)
        os._exit(0)
    """)
    program.until("grandchild", "0")
    shop.push(1)
    program.until("grandchild", "1")


def test_waiting_in_a_child_waits_for_the_child_itself(shop: Shop) -> None:
    program = shop.run("""
        agent = scatter_agent.start(wait=20)
        child = os.fork()
        if child == 0:
            print("child", agent.wait(10), agent.status().state, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert program.until("child") == ["child", "True", "ready"]
    assert program.end() == (0, "")


def test_a_child_of_a_process_whose_agent_was_stopped_can_start_one(shop: Shop) -> None:
    program = shop.run("""
        agent = scatter_agent.start(wait=20)
        scatter_agent.stop()
        child = os.fork()
        if child == 0:
            print("is", agent.status().state, flush=True)
            scatter_agent.start(wait=5)
            follow("child", 1)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    assert program.until("is") == ["is", "stopped"]
    program.until("child", "0")
    shop.push(1)
    program.until("child", "1")


def test_code_that_was_defined_anew_stays_the_newer_one_in_a_child(shop: Shop) -> None:
    shop.push(1)
    program = shop.run("""
        scatter_agent.start(wait=20)
        cell = {"__name__": "shop"}
        exec("import scatter\\n@scatter.track\\ndef price():\\n    return 'cell'\\n", cell)
        child = os.fork()
        if child == 0:
            print("child", os.getpid(), flush=True)
            sys.stdin.readline()
            print("runs", cell["price"](), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """)
    child = int(program.until("child")[1])
    wait_until(lambda: (r := shop.reports().get(child)) and r.state == "ready", "its report")
    program.go()
    assert program.until("runs") == ["runs", "cell"]


def test_a_fork_while_another_thread_works_on_the_registry_harms_no_child(shop: Shop) -> None:
    program = shop.run("""
        import threading
        from scatter.registry import REGISTRY
        scatter_agent.start(wait=20)
        done = threading.Event()
        def hammer():
            while not done.is_set():
                REGISTRY.switch({"shop:price": REGISTRY.get("shop:price").shipped})
        threading.Thread(target=hammer, daemon=True).start()
        children = []
        for _ in range(30):
            child = os.fork()
            if child == 0:
                os._exit(shop.price())
            children.append(child)
        done.set()
        deadline = time.monotonic() + 5
        alive = set(children)
        while alive and time.monotonic() < deadline:
            alive -= {c for c in alive if os.waitpid(c, os.WNOHANG)[0]}
            time.sleep(0.001)
        for child in alive:
            os.kill(child, 9)
            os.waitpid(child, 0)
        print("hang", len(alive), flush=True)
    """)
    assert program.until("hang") == ["hang", "0"]
    assert program.end() == (0, "")


def test_thirty_forks_while_releases_come_in_give_thirty_working_children(shop: Shop) -> None:
    program = shop.run("""
        import random
        scatter_agent.start(wait=20)
        print("started", flush=True)
        children = []
        for _ in range(30):
            time.sleep(random.uniform(0, 0.01))
            child = os.fork()
            if child == 0:
                deadline = time.monotonic() + 15
                while shop.price() != 1000 and time.monotonic() < deadline:
                    time.sleep(0.005)
                os._exit(shop.price() != 1000)
            children.append(child)
        print("forked", flush=True)
        print("broken", sum(os.waitpid(child, 0)[1] != 0 for child in children), flush=True)
        print("parent", shop.price(), flush=True)
    """)
    program.until("started")
    price = 0
    while not any(line == ["forked"] for line in program.lines):
        shop.push(price := price + 1)
        assert price < 10_000
    assert price > 5, "releases came in between"
    shop.push(1000)
    assert program.until("broken") == ["broken", "0"]
    assert program.until("parent") == ["parent", "1000"]
    assert program.end() == (0, "")


def test_programs_started_with_a_preexec_function_run_while_the_agent_works(shop: Shop) -> None:
    true = shutil.which("true")
    assert true
    program = shop.run(f"""
        import subprocess
        scatter_agent.start(wait=20)
        print("started", flush=True)
        codes = [
            subprocess.run([{true!r}], preexec_fn=lambda: os.setpgid(0, 0)).returncode
            for _ in range(15)
        ]
        print("codes", sum(map(bool, codes)), flush=True)
        follow("parent", 1000)
    """)
    program.until("started")
    price = 0
    while not any(line[0] == "codes" for line in program.lines):
        shop.push(price := price + 1)
    shop.push(1000)
    assert program.until("codes") == ["codes", "0"]
    program.until("parent", "1000")
    assert program.end() == (0, "")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_children_follow(shop: Shop, method: str) -> None:
    (shop.folder / "work.py").write_text(
        FOLLOW
        + textwrap.dedent("""
        def work():
            scatter_agent.start(wait=20)
            follow("child", 1)
        """)
    )
    program = shop.run(f"""
        import multiprocessing, work
        if __name__ == "__main__":
            scatter_agent.start(wait=20)
            child = multiprocessing.get_context({method!r}).Process(target=work.work)
            child.start()
            follow("parent", 1)
            child.join()
            print("status", child.exitcode, flush=True)
    """)
    child, parent = program.pid("child"), program.pid("parent")
    assert child != parent
    shop.push(1)
    assert program.pid("child", 1) == child
    assert program.pid("parent", 1) == parent
    assert program.until("status") == ["status", "0"]
    assert program.end() == (0, "")


def test_a_child_that_ends_cleanly_says_goodbye_and_warns_of_nothing(shop: Shop) -> None:
    program = shop.run(
        """
        import gc
        scatter_agent.start(wait=20)
        if os.fork() == 0:
            follow("child", 1)
            gc.collect()
            sys.exit()
        os.wait()
        gc.collect()
        """,
        PYTHONDEVMODE="1",
        PYTHONWARNINGS="default,ignore::DeprecationWarning",  # 3.12 warns of any fork with threads
    )
    program.until("child", "0")
    shop.push(1)
    assert program.end() == (0, "")
    assert shop.reports() == {}


# exits -----------------------------------------------------------------------------------

MOMENTS = {
    "at once": "scatter_agent.start()",
    "when it follows": "scatter_agent.start(wait=20)",
    "after a release": "scatter_agent.start(wait=20); assert shop.price() == 1",
    "after a stop": "scatter_agent.start(wait=20); scatter_agent.stop()",
}


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda name: name.replace(" ", "-"))
def test_an_exit_is_quick_and_silent(shop: Shop, moment: str) -> None:
    shop.push(1)
    program = shop.run(MOMENTS[moment], PYTHONDEVMODE="1")
    assert program.end() == (0, "")
    wait_until(lambda: shop.reports() == {}, "the report to be gone", 1.0)


def test_an_exit_without_a_server_is_quick_and_silent(shop: Shop, tmp_path: Path) -> None:
    program = shop.run("scatter_agent.start(wait=0.2)", url=f"unix://{tmp_path}/none.sock")
    assert program.end() == (0, "")


def test_exits_right_after_the_start_never_crash(shop: Shop) -> None:
    pauses = [number * 0.03 for number in range(5)]
    programs = [shop.run(f"scatter_agent.start(); time.sleep({p})") for p in pauses]
    assert [program.end(20) for program in programs] == [(0, "")] * len(programs)


def test_an_exit_while_the_server_is_frozen_is_not_delayed(
    tmp_path: Path, own_server: Callable[..., EmbeddedServer]
) -> None:
    server = own_server()
    shop = Shop(tmp_path, server.url, "shop")
    program = shop.run("""
        scatter_agent.start(wait=20)
        print("started", flush=True)
        sys.stdin.readline()
    """)
    program.until("started")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        program.go()
        assert program.end(10) == (0, "")
    finally:
        os.kill(server.pid, signal.SIGCONT)
        shop.close()


def test_sigterm_ends_a_process_with_an_agent_as_it_ends_any_other(shop: Shop) -> None:
    program = shop.run("""
        scatter_agent.start(wait=20)
        print("started", flush=True)
        sys.stdin.readline()
    """)
    program.until("started")
    program.process.send_signal(signal.SIGTERM)
    assert program.end() == (-signal.SIGTERM, "")


def test_ctrl_c_ends_a_process_with_an_agent_as_it_ends_any_other(shop: Shop) -> None:
    program = shop.run("""
        scatter_agent.start(wait=20)
        try:
            print("started", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(7)
    """)
    program.until("started")
    program.process.send_signal(signal.SIGINT)
    assert program.end() == (7, "")
    assert shop.reports() == {}


def test_the_report_of_a_killed_process_is_left_to_expire(shop: Shop) -> None:
    program = shop.run("""
        scatter_agent.start(wait=20)
        print("started", flush=True)
        sys.stdin.readline()
    """)
    program.until("started")
    program.process.kill()
    program.end()
    (report,) = shop.reports().values()
    key = f"scatter:{{{shop.namespace}}}:process:{report.id}"
    (left_ms,) = shop.store.link.run([("PTTL", key)])
    assert 0 < left_ms <= 15_000


def test_an_asyncio_program_is_not_held_up_and_follows(shop: Shop) -> None:
    (shop.folder / "shop.py").write_text(SHOP.replace("def price", "async def price"))
    program = shop.run(
        """
        import asyncio

        async def main():
            agent = scatter_agent.start()
            assert await asyncio.to_thread(agent.wait, 20)
            seen = None
            while seen != 1:
                if (price := await shop.price()) != seen:
                    seen = price
                    print("async", os.getpid(), seen, flush=True)
                await asyncio.sleep(0.001)

        asyncio.run(main())
        """,
        PYTHONWARNINGS="default",
    )
    program.until("async", "0")
    source = ModuleSource(
        SHOP.replace("def price", "async def price").replace("0", "1"), name="shop", file="shop.py"
    )
    shop.releases.push([Candidate(bundle=build(source, "price").bundle)])
    program.until("async", "1")
    assert program.end() == (0, "")
