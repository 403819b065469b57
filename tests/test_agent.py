"""The agent in a running process: it follows the log, whatever happens to the server meanwhile.

Most tests run an agent of their own, with a registry of its own, over a module that the test
imported, against a real server. What concerns a whole process runs in one.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from linking import Lab, Program
from scatter_agent import report
from scatter_agent.agent import Agent
from support import signed, start_python, wait_until

from scatter.bundle.build import build
from scatter.config import Settings
from scatter.log import Draft
from scatter.log.reset import reset, survey
from scatter.model import ProcessReport
from scatter.registry import Registry
from scatter.releases import Candidate, Releases
from scatter.reports import read_reports
from scatter.server import EmbeddedServer
from scatter.slot import Linked
from scatter.store import open_store
from scatter.store.memory import MemoryStore
from scatter.store.redis import RedisStore

NEVER_S = 3600.0
"""A safety read that does not come during a test: what arrives, arrived by the doorbell."""

TEXT = """\
import scatter


@scatter.track
def f():
    return "f0"


@scatter.track
def g():
    return "g0"


@scatter.track
def h():
    return "h0"
"""


class Recorded(Registry):
    """A registry that notes what was switched together."""

    def __init__(self) -> None:
        super().__init__()
        self.switches: list[dict[str, int]] = []

    def switch(
        self,
        linked: Mapping[str, Linked],
        fetched: Mapping[str, FunctionType] | None = None,
        **options: Any,
    ) -> bool:
        self.switches.append({n.partition(":")[2]: v.version for n, v in linked.items()})
        return super().switch(linked, fetched, **options)


class World:
    """One module in this process, its agents, and somebody elsewhere who releases."""

    def __init__(self, lab: Lab, url: str, namespace: str, *, tracked: str = "fgh") -> None:
        self.lab, self.url, self.namespace = lab, url, namespace
        self.program: Program = lab.module(TEXT)
        self.registry = Recorded()
        for qualname in tracked:
            self.track(qualname)
        self.agents: list[Agent] = []
        self.store = open_store(url, namespace)
        self.releases = Releases(signed(self.store), author="ann")

    def name(self, qualname: str) -> str:
        return f"{self.program.name}:{qualname}"

    def track(self, qualname: str) -> None:
        self.registry.add(self.name(qualname), getattr(self.program, qualname))

    def start(self, url: str = "", *, settings: Settings | None = None, **options: Any) -> Agent:
        settings = settings or Settings(redis_url=url or self.url, namespace=self.namespace)
        options.setdefault("look_s", NEVER_S)
        agent = Agent(settings, registry=self.registry, **options)
        self.agents.append(agent)
        agent.start()
        return agent

    def ready(self, **options: Any) -> Agent:
        """Start an agent and wait until it is on the log."""
        agent = self.start(**options)
        assert agent.wait(20), agent.status()
        return agent

    def push(self, **results: str) -> int:
        """Release functions that return something else; `!` returns what cannot be imported."""
        text = self.program.text
        for qualname, result in results.items():
            new = f'"{result}"'
            if result.startswith("!"):
                text, new = f"import not_installed_{qualname}\n{text}", f"not_installed_{qualname}"
            assert f'"{qualname}0"' in text
            text = text.replace(f'"{qualname}0"', new)
        return self.push_text(text, *results)

    def push_text(self, text: str, *qualnames: str) -> int:
        source = self.program.source(text)
        made = [build(source, qualname) for qualname in qualnames]
        candidates = [Candidate(bundle=one.bundle, lines=one.lines) for one in made]
        release = self.releases.push(candidates, force=True).release
        assert release is not None
        return release.sequence

    def calls(self) -> str:
        return " ".join(getattr(self.program, name)() for name in "fgh")

    def until(self, result: str) -> None:
        """Wait until the three functions return these strings."""
        wait_until(lambda: self.calls() == result, f"{result!r}", 8)

    def settled(self, agent: Agent, sequence: int) -> None:
        """Wait until the agent has answered a release."""
        wait_until(lambda: agent.status().sequence >= sequence, f"an answer to release {sequence}")

    def report(self, agent: Agent) -> ProcessReport | None:
        found = [r for r in read_reports(self.store) if r.id == agent.status().process]
        return found[0] if found else None

    def run(self, *command: Any) -> Any:
        """Run one command on the server, as an administrator."""
        assert isinstance(self.store, RedisStore)
        (reply,) = self.store.link.run([command])
        return reply

    def connections(self) -> list[str]:
        """Return the client ids of this process's agents."""
        lines = [line.split() for line in self.run("CLIENT", "LIST").decode().splitlines()]
        clients = [dict(part.split("=", 1) for part in line) for line in lines]
        return [c["id"] for c in clients if c["name"] == f"scatter-agent-{os.getpid()}"]

    def kill_connections(self) -> list[str]:
        found = self.connections()
        for client in found:
            self.run("CLIENT", "KILL", "ID", client)
        return found

    def close(self) -> None:
        for agent in self.agents:
            agent.stop()
        self.store.close()


@pytest.fixture
def make(lab: Lab, redis_url: str, namespace: str) -> Iterator[Callable[..., World]]:
    """Makes worlds on the run's server, and closes them."""
    made: list[World] = []

    def one(url: str = redis_url, tracked: str = "fgh") -> World:
        made.append(World(lab, url, namespace, tracked=tracked))
        return made[-1]

    yield one
    for world in made:
        world.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    """A module, its registry and the run's server."""
    return make()


@pytest.fixture
def away(lab: Lab, own_server: Callable[..., EmbeddedServer]) -> Iterator[Away]:
    """The same with a server that the test may kill, freeze or empty."""
    made = Away(lab, own_server)
    yield made
    made.close()


class Away(World):
    """A world with a server of its own."""

    def __init__(self, lab: Lab, own_server: Callable[..., EmbeddedServer]) -> None:
        self._own_server = own_server
        self.server = own_server()
        super().__init__(lab, self.server.url, "shop")

    def restart(self) -> None:
        self.server = self._own_server()

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def user(self, *rules: str) -> str:
        """Make a user with all keys, channels and commands, less what the rules take away."""
        self.run("ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "&*", "+@all", *rules)
        return f"unix://app:pw@{self.server.socket}?db=0"

    def silence(self) -> None:
        self.run("CONFIG", "SET", "notify-keyspace-events", "")


@pytest.fixture
def _follows_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy here lets a log be followed that lost releases."""
    policy = tmp_path / "policy.toml"
    policy.write_text('replaced_log = "follow"\n')
    policy.chmod(0o600)
    monkeypatch.setenv("SCATTER_POLICY", str(policy))


def agent_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "scatter-agent"]


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    assert not agent_threads()


@contextmanager
def callers(world: World) -> Iterator[list[str]]:
    """Call the functions all the time from two threads; yield what went wrong."""
    wrong: list[str] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            try:
                results = world.calls().split()
            except BaseException as error:
                wrong.append(repr(error))
                return
            if [result[0] for result in results] != list("fgh"):
                wrong.append(str(results))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong


# releases --------------------------------------------------------------------------------


def test_a_release_reaches_a_running_process(world: World) -> None:
    agent = world.ready()
    f = world.program.f
    assert world.calls() == "f0 g0 h0"
    sequence = world.push(f="f1")
    world.until("f1 g0 h0")
    assert world.program.f is f
    world.settled(agent, sequence)
    assert agent.status().functions == {world.name("f"): 1, world.name("g"): 0, world.name("h"): 0}


def test_what_was_released_before_the_start_applies(world: World) -> None:
    world.push(f="f1")
    world.push(f="f2")
    world.ready()
    assert world.calls() == "f2 g0 h0"


def test_functions_of_one_release_switch_together(world: World) -> None:
    world.ready()
    world.push(f="f1", g="g1", h="h1")
    world.until("f1 g1 h1")
    assert world.registry.switches == [{"f": 1, "g": 1, "h": 1}]


def test_missed_releases_are_one_switch(world: World) -> None:
    for number in range(1, 4):
        world.push(f=f"f{number}", g=f"g{number}")
    world.push(h="h1")
    world.ready()
    assert world.calls() == "f3 g3 h1"
    assert world.registry.switches == [{"f": 3, "g": 3, "h": 1}]


def test_a_function_that_is_tracked_late_gets_its_version_at_once(
    make: Callable[..., World],
) -> None:
    world = make(tracked="f")
    world.push(g="g1")
    agent = world.ready()
    assert world.calls() == "f0 g0 h0"
    world.track("g")
    world.until("f0 g1 h0")
    assert agent.status().functions[world.name("g")] == 1


def test_a_rollback_a_release_of_an_old_version_and_the_deployed_code_follow_the_log(
    world: World,
) -> None:
    world.ready()
    for number in range(1, 5):
        world.push(f=f"f{number}")
    world.until("f4 g0 h0")
    world.releases.rollback(world.name("f"))
    world.until("f3 g0 h0")
    world.releases.release({world.name("f"): 1})
    world.until("f1 g0 h0")
    world.releases.release({world.name("f"): 0})
    world.until("f0 g0 h0")


def test_a_deleted_function_goes_back_to_the_code_it_was_deployed_with(world: World) -> None:
    agent = world.ready()
    code = world.program.f.__code__
    world.push(f="f1", g="g1")
    world.until("f1 g1 h0")
    world.releases.delete(world.name("f"))
    world.until("f0 g1 h0")
    assert world.program.f.__code__ is code
    assert agent.status().functions[world.name("f")] == 0
    world.push(f="f2")
    world.until("f2 g1 h0")


def test_a_held_function_stays_until_it_is_let_go(world: World) -> None:
    agent = world.ready()
    world.push(f="f1")
    world.until("f1 g0 h0")
    world.registry.hold(world.name("f"), True)
    sequence = world.push(f="f2", g="g2")
    world.until("f1 g2 h0")
    world.settled(agent, sequence)
    assert agent.status().held == (world.name("f"),)
    wait_until(lambda: (r := world.report(agent)) and r.held, "the report to say what is held")
    world.registry.hold(world.name("f"), False)
    world.push(h="h1")
    world.until("f2 g2 h1")
    assert agent.status().held == ()


def test_a_function_that_was_defined_anew_keeps_its_newer_code(world: World) -> None:
    agent = world.ready()
    world.push(f="f1")
    world.until("f1 g0 h0")
    cell: dict[str, Any] = {"__name__": world.program.name}
    exec('def f():\n    return "f-cell"\n', cell)
    world.registry.add(world.name("f"), cell["f"])
    world.settled(agent, world.push(g="g1"))
    world.until("f1 g1 h0")  # the old object is nobody's slot any more
    assert cell["f"]() == "f-cell"
    world.push(f="f2")
    wait_until(lambda: cell["f"]() == "f2", "the release after the new definition")


def test_the_memory_store_serves_an_agent_as_well(make: Callable[..., World]) -> None:
    world = make(url="memory://agents")
    agent = world.ready()
    world.push(f="f1")
    world.until("f1 g0 h0")
    wait_until(lambda: world.report(agent), "a report")
    agent.stop()
    assert world.report(agent) is None
    assert isinstance(world.store, MemoryStore)


# refusals --------------------------------------------------------------------------------


def test_a_version_that_cannot_run_is_refused_and_the_old_one_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    agent = world.ready()
    world.push(f="f1")
    world.until("f1 g0 h0")
    world.settled(agent, world.push(f="!"))
    (refusal,) = agent.status().refused
    assert (refusal.function, refusal.version) == (world.name("f"), 2)
    assert refusal.reason == "missing-import"
    assert "not_installed_f" in refusal.message
    found = wait_until(lambda: (r := world.report(agent)) and r.refused and r, "the report")
    assert found.refused == (refusal,)
    assert found.functions[world.name("f")] == 1
    assert world.calls() == "f1 g0 h0"
    assert "1 refused" in repr(agent.status())
    assert agent.status().state == "ready"
    events = [r for r in caplog.records if "scatter.refused" in r.getMessage()]
    assert len(events) == 1
    assert "missing-import" in events[0].getMessage()
    assert events[0].levelno == logging.WARNING


def test_after_a_bad_version_the_next_good_one_applies_and_clears_the_refusal(
    world: World,
) -> None:
    agent = world.ready()
    world.settled(agent, world.push(f="!"))
    assert len(agent.status().refused) == 1
    sequence = world.push(f="f2")
    world.until("f2 g0 h0")
    world.settled(agent, sequence)
    assert agent.status().refused == ()
    wait_until(lambda: (r := world.report(agent)) and r.sequence == sequence, "the report")
    found = world.report(agent)
    assert found is not None
    assert found.refused == ()


def test_a_bad_release_among_missed_ones_keeps_the_others_from_nothing(world: World) -> None:
    world.push(f="f1")
    world.push(f="!", g="g1")  # refused whole
    world.push(g="g2")
    world.push(h="h1")
    agent = world.ready()
    assert world.calls() == "f1 g2 h1"
    (refusal,) = agent.status().refused
    assert (refusal.function, refusal.version) == (world.name("f"), 2)


def test_of_missed_releases_only_refusals_that_still_stand_are_told(world: World) -> None:
    world.push(f="!")
    world.push(f="f2")
    world.push(g="!")
    agent = world.ready()
    assert world.calls() == "f2 g0 h0"
    told = [refusal.function for refusal in agent.status().refused]
    assert told == [world.name("g")], "f runs what the log says"
    found = world.report(agent)
    assert found is not None
    assert [refusal.function for refusal in found.refused] == told


def test_each_refusal_is_one_event(world: World, caplog: pytest.LogCaptureFixture) -> None:
    agent = world.ready()
    world.settled(agent, world.push(f="!"))
    world.settled(agent, world.push(g="!"))
    events = [r.getMessage() for r in caplog.records if "scatter.refused" in r.getMessage()]
    told = [name for event in events for name in "fg" if f"'{world.name(name)}'" in event]
    assert told == ["f", "g"]


def test_a_release_with_a_bad_part_is_refused_whole_and_says_so(world: World) -> None:
    agent = world.ready()
    world.settled(agent, world.push(f="f1", g="!"))
    assert world.calls() == "f0 g0 h0"
    together, culprit = agent.status().refused
    assert together.reason == "released-together"
    assert together.message == (f"It was released with `{world.name('g')}`, which was refused.")
    assert culprit.reason == "missing-import"


def test_what_was_released_with_a_bad_version_comes_along_when_that_is_mended(
    world: World,
) -> None:
    agent = world.ready()
    world.settled(agent, world.push(f="f1", g="!"))
    world.push(g="g2")
    # A process that starts now runs f1 and g2; one that was there must come to run the same.
    world.until("f1 g2 h0")


def test_code_that_ends_the_program_while_it_is_linked_is_refused(world: World) -> None:
    agent = world.ready()
    text = f"import sys\n{TEXT}".replace("def f():", "def f(x=sys.exit(3)):")
    world.settled(agent, world.push_text(text.replace("f0", "f1"), "f"))
    assert [refusal.reason for refusal in agent.status().refused] == ["link-failed"]
    world.push(g="g1")
    world.until("f0 g1 h0")


def test_a_missing_bundle_is_refused_and_taken_when_it_is_back(world: World) -> None:
    world.push(f="f1")
    (change,) = world.releases.journal.releases()[0].changes
    key = f"scatter:{{{world.namespace}}}:bundle:{change.bundle}"
    data = world.run("GET", key)
    world.run("DEL", key, f"scatter:{{{world.namespace}}}:recent")
    agent = world.ready()
    (refusal,) = agent.status().refused
    assert refusal.reason == "bundle-missing"
    assert world.calls() == "f0 g0 h0"
    world.run("SET", key, data)
    world.until("f1 g0 h0")
    wait_until(lambda: agent.status().refused == (), "the refusal to be over")


def test_an_agent_with_nothing_to_do_waits_also_after_a_missing_bundle(
    make: Callable[..., World],
) -> None:
    world = make(url="memory://counted")
    counted = Counted(world.namespace)
    world.releases = Releases(signed(counted), author="ann")
    world.push(f="f1")
    (change,) = world.releases.journal.releases()[0].changes
    data = counted.bundles([change.bundle])
    counted.remove_bundles([change.bundle])
    world.ready(store=counted)
    counted._bundles.update(data)
    world.until("f1 g0 h0")
    reads = counted.reads
    with pytest.raises(AssertionError, match="in vain for a third look"):
        wait_until(lambda: counted.reads > reads + 2, "a third look", 0.5)


class Counted(MemoryStore):
    """A store that counts how often the log is looked at."""

    reads = 0

    def read(self, after: int, limit: int = 64, **options: bool) -> Any:
        self.reads += 1
        return super().read(after, limit, **options)


# doorbells -------------------------------------------------------------------------------


def test_a_lost_doorbell_costs_time_and_no_update(away: Away) -> None:
    agent = away.ready(look_s=0.1)
    assert agent.status().doorbell == "notifications"
    away.silence()
    away.push(f="f1")
    away.until("f1 g0 h0")


def test_without_rights_to_notifications_the_log_is_polled(away: Away) -> None:
    away.silence()
    agent = away.ready(url=away.user("-config"))
    assert agent.status().doorbell.startswith("polling: the server sends no keyspace notifications")
    assert "CONFIG SET notify-keyspace-events Kh" in agent.status().doorbell
    away.push(f="f1")
    away.until("f1 g0 h0")
    assert away.run("CONFIG", "GET", "notify-keyspace-events")[b"notify-keyspace-events"] == b""


def test_without_the_right_to_configure_notifications_that_come_are_used(away: Away) -> None:
    agent = away.ready(url=away.user("-config"))
    assert agent.status().doorbell == "notifications"
    away.push(f="f1")
    away.until("f1 g0 h0")


def test_without_the_right_to_subscribe_the_log_is_polled(away: Away) -> None:
    # A user that an administrator makes has no channels unless they are given to it.
    agent = away.start(url=away.user("resetchannels"))
    away.push(f="f1")
    away.until("f1 g0 h0")
    assert agent.wait(20), agent.status()
    assert agent.status().doorbell.startswith("polling: ")


def test_a_process_that_may_not_report_follows_the_log_and_says_so(
    away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    agent = away.start(url=away.user("-hset"))
    away.push(f="f1")
    away.until("f1 g0 h0")
    assert agent.wait(2), "it is on the log"
    for number in range(2, 8):
        away.push(f=f"f{number}")
        away.until(f"f{number} g0 h0")
    events = [r.getMessage() for r in caplog.records if "scatter.unreported" in r.getMessage()]
    assert len(events) == 1, "said once, not at every step"


def test_a_killed_connection_is_made_again_and_rings_again(away: Away) -> None:
    away.ready()
    for number in range(1, 4):
        assert len(away.kill_connections()) == 1
        away.push(f=f"f{number}")
        away.until(f"f{number} g0 h0")
        wait_until(lambda: len(away.connections()) == 1, "one connection")
    away.push(f="f9")
    away.until("f9 g0 h0")


def test_a_connection_that_dies_while_a_version_is_linked_rings_again_afterwards(
    away: Away, tmp_path: Path
) -> None:
    slow = tmp_path / "slow_import.py"
    slow.write_text(
        "import gate_for_slow_import as gate\ngate.entered.set()\ngate.open.wait()\nNAME = 'f1'\n"
    )
    (tmp_path / "gate_for_slow_import.py").write_text(
        "import threading\nentered, open = threading.Event(), threading.Event()\n"
    )
    agent = away.ready()
    import gate_for_slow_import as gate  # type: ignore[import-not-found]

    text = f"import slow_import\n{TEXT}".replace('"f0"', "slow_import.NAME")
    sequence = away.push_text(text, "f")
    assert gate.entered.wait(10)
    assert len(away.kill_connections()) == 1
    gate.open.set()
    away.until("f1 g0 h0")
    wait_until(
        lambda: (r := away.report(agent)) and r.sequence == sequence, "a report of the release"
    )
    away.push(f="f2")  # nothing but the doorbell tells of this one
    away.until("f2 g0 h0")
    for name in ("slow_import", "gate_for_slow_import"):
        sys.modules.pop(name)


def test_forged_doorbells_change_nothing(world: World) -> None:
    agent = world.ready()
    world.push(f="f1")
    world.until("f1 g0 h0")
    channel = f"__keyspace@0__:scatter:{{{world.namespace}}}:log"
    with callers(world):
        for message in (b"hset", b"", b"\xff\xfe", b"x" * 100_000, b"f2"):
            for _ in range(20):
                world.run("PUBLISH", channel, message)
        world.push(g="g1")
        world.until("f1 g1 h0")
    assert agent.status().state == "ready"
    assert agent.status().refused == ()


# a server that is away -------------------------------------------------------------------


def test_a_start_without_a_server_returns_and_follows_when_one_appears(away: Away) -> None:
    away.push(f="f1")
    away.kill()
    agent = away.start()
    assert agent.status().state in ("starting", "stale")
    assert not agent.wait(0.05)
    wait_until(lambda: agent.status().state == "stale", "the agent to notice")
    assert agent.status().reason.startswith("No Redis answers at unix://")
    assert away.calls() == "f0 g0 h0"
    away.restart()
    assert agent.wait(20)
    assert away.calls() == "f1 g0 h0"
    assert (agent.status().state, agent.status().reason) == ("ready", "")


def test_a_killed_server_is_followed_again_when_it_is_back(away: Away) -> None:
    agent = away.ready()
    away.push(f="f1")
    away.until("f1 g0 h0")
    with callers(away):
        away.kill()
        wait_until(lambda: agent.status().state == "stale", "the agent to notice")
        assert away.calls() == "f1 g0 h0"
        away.restart()
        away.push(f="f2")
        away.until("f2 g0 h0")
    wait_until(lambda: away.report(agent), "the report to be written again")


def test_a_frozen_server_blocks_no_call_and_is_followed_when_it_wakes(away: Away) -> None:
    agent = away.ready(look_s=0.05)
    with callers(away):
        os.kill(away.server.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: agent.status().state == "stale", "the agent to notice")
        finally:
            os.kill(away.server.pid, signal.SIGCONT)
        away.push(f="f1")
        away.until("f1 g0 h0")
    wait_until(lambda: agent.status().state == "ready", "the agent to be ready again")


def test_an_emptied_server_unloads_nothing_and_is_an_error(
    away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    agent = away.ready(look_s=0.05)
    away.push(f="f1", g="g1")
    away.until("f1 g1 h0")
    with callers(away):
        away.run("FLUSHALL")
        wait_until(lambda: agent.status().state == "error", "the agent to notice")
    reason = agent.status().reason
    assert "Expected a log of at least 1 releases, found 0: unix://" in reason
    assert reason.endswith("have somebody who may run `scatter reset`.")
    assert away.calls() == "f1 g1 h0"
    wait_until(lambda: (r := away.report(agent)) and r.state == "error", "the report to say so")
    events = [r.getMessage() for r in caplog.records if "scatter.error" in r.getMessage()]
    assert len(events) == 1


def test_a_log_that_cannot_be_believed_is_told_with_its_reason_code(
    away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    agent = away.ready(look_s=0.05)
    away.push(f="f1")
    away.until("f1 g0 h0")
    away.run("FLUSHALL")
    wait_until(lambda: agent.status().state == "error", "the agent to notice")
    assert away.calls() == "f1 g0 h0"
    (event,) = wait_until(
        lambda: [r.getMessage() for r in caplog.records if "scatter.error" in r.getMessage()],
        "the event",
    )
    assert "log-went-back" in event
    assert "log-went-back" in repr(agent.status())


def test_a_signed_log_that_lost_releases_is_followed_by_nobody_until_it_is_reset(
    away: Away,
) -> None:
    agent = away.ready(look_s=0.05)
    for number in (1, 2, 3):
        away.push(f=f"f{number}")
    away.until("f3 g0 h0")
    away.run("HDEL", "scatter:{shop}:log", 2, 3)
    wait_until(lambda: agent.status().code == "log-went-back", "the agent to notice")
    assert "scatter reset" in agent.status().reason
    assert away.calls() == "f3 g0 h0"
    own = away.releases.journal
    found = survey(away.store, own.ledger.verifier)
    draft = Draft(action="reset", changes=(), author="ann")
    reset(found, draft, state=found.ledger, epoch=own.next_epoch(0), journal=own)
    away.until("f1 g0 h0")
    wait_until(lambda: agent.status().state == "ready", "the agent to be ready again")
    away.push(f="f4")
    away.until("f4 g0 h0")


def test_a_log_that_was_restored_is_followed_again(away: Away) -> None:
    agent = away.ready(look_s=0.05)
    away.push(f="f1")
    away.until("f1 g0 h0")
    saved = away.run("HGETALL", "scatter:{shop}:log")
    away.run("FLUSHALL")
    wait_until(lambda: agent.status().state == "error", "the agent to notice")
    away.run("HSET", "scatter:{shop}:log", *(part for item in saved.items() for part in item))
    wait_until(lambda: agent.status().state == "ready", "the agent to be ready again")
    away.push(f="f2")
    away.until("f2 g0 h0")


@pytest.mark.usefixtures("_follows_replaced")
def test_another_log_in_the_place_of_the_known_one_is_followed_and_unloads_nothing(
    away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    agent = away.ready(look_s=0.05)
    away.push(f="f1", g="g1")
    away.until("f1 g1 h0")
    with callers(away):
        away.run("FLUSHALL")
        away.releases = Releases(signed(away.store), author="eve")
        away.push(f="f8")
        away.push(f="f9")
        away.until("f9 g1 h0")
    wait_until(lambda: agent.status().sequence == 2, "the agent to be on the new log")
    assert agent.status().state == "ready"
    assert any("scatter.log_replaced" in record.getMessage() for record in caplog.records)
    away.push(h="h1")
    away.until("f9 g1 h1")


@pytest.mark.usefixtures("_follows_replaced")
def test_another_log_of_the_same_length_is_noticed(away: Away) -> None:
    away.ready()
    away.push(f="f1")
    away.until("f1 g0 h0")
    away.run("FLUSHALL")  # rings nobody
    away.releases = Releases(signed(away.store), author="eve")
    away.push(f="f9")  # rings, and release 1 is what the agent knows already
    away.until("f9 g0 h0")


@pytest.mark.usefixtures("_follows_replaced")
def test_a_log_that_lost_its_newest_releases_is_followed_from_where_it_is(away: Away) -> None:
    agent = away.ready(look_s=0.05)
    for number in (1, 2, 3):
        away.push(f=f"f{number}", g=f"g{number}")
    away.until("f3 g3 h0")
    away.run("HDEL", "scatter:{shop}:log", 2, 3)
    away.until("f1 g1 h0")
    wait_until(lambda: agent.status().sequence == 1, "the report to say so")
    away.push(f="f4")  # by somebody who knows the three releases
    away.until("f4 g1 h0")
    assert agent.status().state == "ready"


def test_doorbells_that_are_flooded_cost_little_and_lose_nothing(away: Away) -> None:
    agent = away.ready()
    done = threading.Event()

    def flood() -> None:
        store = open_store(away.url, "shop")
        forged = [("PUBLISH", "__keyspace@0__:scatter:{shop}:log", "hset")] * 500
        while not done.is_set():
            store.link.run(forged)
        store.close()

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        with callers(away):
            for number in range(1, 6):
                away.push(f=f"f{number}")
                away.until(f"f{number} g0 h0")
    finally:
        done.set()
        thread.join()
    assert agent.status().state == "ready"


def test_notifications_that_are_switched_off_while_running_are_switched_on_again(
    away: Away,
) -> None:
    agent = away.ready(look_s=0.05)
    away.silence()
    found = b"notify-keyspace-events"
    wait_until(lambda: b"K" in away.run("CONFIG", "GET", found)[found], "the agent to mend it")
    url = away.user("-config|set")
    other = away.start(url=url, look_s=0.05)
    assert other.wait(20)
    agent.stop()
    away.silence()
    wait_until(lambda: "polling" in other.status().doorbell, "the status to say so")
    away.push(f="f1")
    away.until("f1 g0 h0")


def test_notifications_that_stop_are_found_out_without_the_right_to_ask(away: Away) -> None:
    """Whoever finds what did not ring tries the bell itself."""
    agent = away.ready(url=away.user("-config"), look_s=0.05)
    assert agent.status().doorbell == "notifications"
    away.silence()
    away.push(f="f1")
    away.until("f1 g0 h0")
    wait_until(lambda: "polling" in agent.status().doorbell, "the status to say so")
    away.push(f="f2")
    away.until("f2 g0 h0")


def test_waiting_for_a_log_that_cannot_be_read_is_in_vain(away: Away) -> None:
    away.run("HSET", "scatter:{shop}:log", "1", b"no release")
    agent = away.start(look_s=0.05)
    wait_until(lambda: agent.status().state == "error", "the agent to notice")
    assert "A log entry is no release" in agent.status().reason
    wait_until(lambda: away.report(agent), "the report")
    assert not agent.wait(0.2), "it is on no log"
    away.run("DEL", "scatter:{shop}:log")
    away.push(f="f1")
    assert agent.wait(20)
    away.until("f1 g0 h0")


def test_a_wrong_password_is_an_error_until_it_is_right(away: Away) -> None:
    away.push(f="f1")
    url = away.user()
    away.run("ACL", "SETUSER", "app", "resetpass", ">other")
    agent = away.start(url=url)
    wait_until(lambda: agent.status().state == "error", "the agent to notice")
    assert "denied the log-in" in agent.status().reason
    assert ":pw@" not in agent.status().reason
    away.run("ACL", "SETUSER", "app", "resetpass", ">pw")
    assert agent.wait(20)
    assert away.calls() == "f1 g0 h0"


# one thread, one connection, one report --------------------------------------------------


def test_an_agent_is_one_thread_and_one_connection(world: World) -> None:
    world.ready()
    world.push(f="f1", g="g1")
    world.until("f1 g1 h0")
    (thread,) = agent_threads()
    assert thread.daemon
    assert len(world.connections()) == 1


def test_a_stop_leaves_no_thread_no_connection_and_no_report(world: World) -> None:
    agent = world.ready()
    world.push(f="f1")
    world.until("f1 g0 h0")
    process = agent.status().process
    wait_until(lambda: process in world.store.reports(), "the report")
    agent.stop()
    assert agent_threads() == []
    wait_until(lambda: world.connections() == [], "the connection to be gone")
    assert process not in world.store.reports()
    assert (agent.status().state, agent.status().reason) == ("stopped", "it was stopped")
    agent.stop()
    agent.stop()
    world.push(f="f2")
    world.track("g")
    assert world.calls() == "f1 g0 h0", "what ran goes on running"
    assert agent.stopped


def test_a_stop_does_not_wait_for_a_server_that_is_gone(away: Away) -> None:
    agent = away.ready()
    away.kill()
    wait_until(lambda: agent.status().state == "stale", "the agent to notice")
    agent.stop()
    assert agent_threads() == []


def test_an_agent_that_was_never_started_can_be_stopped(world: World) -> None:
    agent = Agent(Settings(redis_url=world.url, namespace=world.namespace), registry=world.registry)
    agent.stop()
    assert agent.status().state == "stopped"


def test_a_report_says_what_the_process_is_and_runs(world: World) -> None:
    agent = world.ready(application="shop-web")
    sequence = world.push(f="f1")
    wait_until(lambda: (r := world.report(agent)) and r.sequence == sequence, "the report")
    found = world.report(agent)
    assert found is not None
    assert (found.application, found.pid, found.state) == ("shop-web", os.getpid(), "ready")
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.functions == {world.name("f"): 1, world.name("g"): 0, world.name("h"): 0}
    assert found.host
    assert found.id.startswith(f"{found.host}-{found.pid}-")


def test_a_report_says_when_the_process_last_switched(world: World) -> None:
    agent = world.ready()
    moments = []
    for number in range(1, 3):
        before = time.time()
        sequence = world.push(f=f"f{number}")
        wait_until(lambda: (r := world.report(agent)) and r.sequence == sequence, "the report")
        found = world.report(agent)
        assert found is not None
        moments.append((before, found.switched_at))
    assert all(switched_at >= before for before, switched_at in moments)


def test_a_report_expires_and_is_renewed_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "BEAT_S", 0.05)
    agent = world.ready(look_s=0.05)
    key = f"scatter:{{{world.namespace}}}:process:{agent.status().process}"
    left_ms = wait_until(lambda: world.run("PTTL", key), "the report")
    assert 0 < left_ms <= report.TTL_S * 1000
    world.run("PEXPIRE", key, 5000)
    wait_until(lambda: world.run("PTTL", key) > 5000, "the report to be renewed")
    world.run("DEL", key)
    wait_until(lambda: world.report(agent), "the report to be written again")


def test_a_sign_of_life_is_given_well_before_the_report_expires() -> None:
    from scatter_agent import agent

    longest_s = 1.2 * (report.BEAT_S + agent.LOOK_S)
    assert longest_s < report.TTL_S


# `scatter_agent.start`, in processes of their own ----------------------------------------


class Child:
    """A Python process that evaluates what it is told, one line at a time."""

    SCRIPT = """
        import sys, traceback
        scope = {}
        for line in sys.stdin:
            kind, text = line[0], line[1:].strip()
            try:
                told = "=" + repr(eval(text, scope)) if kind == "?" else exec(text, scope)
                print(told, flush=True)
            except Exception as error:
                print(f"!{type(error).__name__}: {error}", flush=True)
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        self.process = start_python(
            self.SCRIPT, cwd=folder, env={**os.environ, "PYTHONPATH": path, **environment}
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=20)

    def _tell(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def do(self, statement: str) -> None:
        answer = self._tell(f"!{statement}")
        assert answer == "None", answer

    def ask(self, expression: str) -> Any:
        answer = self._tell(f"?{expression}")
        assert answer.startswith("="), answer
        return eval(answer[1:])

    def error(self, expression: str) -> str:
        """Return type and message of what an expression raises."""
        answer = self._tell(f"?{expression}")
        assert answer.startswith("!"), answer
        return answer[1:]


@pytest.fixture
def child(tmp_path: Path, redis_url: str, namespace: str) -> Iterator[Child]:
    """A process whose environment says where the log is."""
    with Child(tmp_path, SCATTER_REDIS_URL=redis_url, SCATTER_NAMESPACE=namespace) as made:
        yield made


THREADS = "[t.name for t in threading.enumerate() if t.name != 'MainThread']"


def test_importing_the_agent_starts_nothing(child: Child) -> None:
    child.do("import scatter_agent, scatter, threading, sys, os, os.path")
    child.do("readlink = lambda n: os.path.realpath(f'/proc/self/fd/{n}')")
    assert child.ask(THREADS) == []
    assert child.ask("'redis' in sys.modules") is False
    assert (
        child.ask("[f for f in map(readlink, os.listdir('/proc/self/fd')) if 'socket' in f]") == []
    )
    child.do("scatter_agent.stop()")


def test_start_follows_what_the_environment_says(child: Child, world: World) -> None:
    world.push(f="f1")
    child.do(f"import threading, scatter_agent, {world.program.name} as program")
    child.do("agent = scatter_agent.start(wait=20)")
    assert child.ask("program.f()") == "f1"
    assert child.ask("agent.status().state") == "ready"
    assert child.ask(THREADS) == ["scatter-agent"]
    child.do("scatter_agent.stop()")
    assert child.ask(THREADS) == []
    assert world.store.reports() == {}


def test_status_is_a_function_before_and_after_the_start(child: Child) -> None:
    child.do("import scatter_agent")
    assert child.ask("scatter_agent.status().state") == "stopped"
    assert child.ask("scatter_agent.status().reason") == "scatter_agent.start() was not called"
    child.do("agent = scatter_agent.start(wait=20)")
    assert child.ask("scatter_agent.status().state") == "ready"
    assert child.ask("scatter_agent.status() == agent.status()") is True
    assert child.ask("repr(scatter_agent.status())") == (
        "<scatter agent: ready, at release 0, 0 functions>"
    )


def test_a_second_start_with_the_same_settings_is_the_same_agent(child: Child) -> None:
    child.do("import threading, scatter_agent")
    child.do("one = scatter_agent.start(wait=20)")
    assert child.ask("scatter_agent.start() is one") is True
    assert child.ask(THREADS) == ["scatter-agent"]


def test_a_second_start_with_other_settings_is_refused_and_changes_nothing(
    child: Child, redis_url: str, namespace: str
) -> None:
    child.do("import threading, scatter_agent")
    child.do("one = scatter_agent.start(wait=20)")
    error = child.error("scatter_agent.start(namespace='another')")
    assert error.startswith("UsageError: An agent runs already with Settings(")
    assert f"namespace='{namespace}'" in error
    assert "namespace='another'" in error
    assert error.endswith("Call scatter_agent.stop() first.")
    assert child.ask("scatter_agent.start() is one") is True
    assert child.ask("one.status().state") == "ready"
    child.do("scatter_agent.stop()")
    child.do(f"two = scatter_agent.start({redis_url!r}, namespace='{namespace}', wait=20)")
    assert child.ask("two is not one") is True
    assert child.ask("(one.status().state, two.status().state)") == ("stopped", "ready")


def test_a_second_start_in_another_way_is_refused_and_says_in_which(child: Child) -> None:
    child.do("import scatter_agent")
    child.do("one = scatter_agent.start(apply='manual', labels={'a': '1'}, on_switch=print)")
    for same in ("", "apply='manual'", "labels={'a': '1'}", "on_switch=print"):
        assert child.ask(f"scatter_agent.start({same}) is one") is True
    for which, other in {
        "apply": "apply='at_once'",
        "labels": "labels={}",
        "on_switch": "on_switch=repr",
        "on_health": "on_health=print",
    }.items():
        error = child.error(f"scatter_agent.start({other})")
        assert error.startswith(f"UsageError: An agent runs already with another `{which}`")
    child.do("scatter_agent.stop()")


def test_start_elsewhere_keeps_what_else_init_was_given(
    child: Child, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.do("import os; os.environ['SCATTER_LABELS'] = 'a=1'; os.environ['SCATTER_CACHE'] = '/x'")
    child.do("import scatter, scatter_agent")
    child.do("scatter.init(author='ann')")
    child.do("del os.environ['SCATTER_LABELS'], os.environ['SCATTER_CACHE']")
    child.do(f"agent = scatter_agent.start({redis_url!r}, namespace='elsewhere')")
    found = child.ask("(agent.settings.author, agent.settings.labels, agent.settings.cache)")
    assert found == ("ann", ("a=1",), "/x")
    child.do("scatter_agent.stop()")


def test_namespace_and_its_alias_are_not_given_both(child: Child) -> None:
    child.do("import scatter_agent")
    error = child.error("scatter_agent.start(namespace='one', prefix='other')")
    assert error.startswith("UsageError: `prefix` is another name of `namespace`")
    assert child.ask("scatter_agent.status().state") == "stopped"


def test_starts_from_many_threads_are_one_agent(child: Child) -> None:
    child.do("import threading, scatter_agent, scatter_agent.agent, scatter.client, sys")
    child.do("sys.setswitchinterval(1e-6)")
    child.do("agents, together = [], threading.Barrier(16)")
    child.do("start = lambda: (together.wait(), agents.append(scatter_agent.start()))")
    child.do("threads = [threading.Thread(target=start) for _ in range(16)]")
    child.do("[thread.start() for thread in threads]")
    child.do("[thread.join() for thread in threads]")
    assert child.ask("len(set(map(id, agents)))") == 1
    assert child.ask(THREADS) == ["scatter-agent"]


def test_start_returns_though_nobody_is_there(child: Child, tmp_path: Path) -> None:
    child.do("import scatter_agent")
    url = f"unix://{tmp_path}/none.sock"
    child.do(f"agent = scatter_agent.start({url!r})")
    assert child.ask("agent.status().state") in ("starting", "stale")
    assert child.ask(f"scatter_agent.start({url!r}, wait=0.05) is agent") is True
    assert child.ask("agent.status().state") in ("starting", "stale")
    child.do("scatter_agent.stop()")
    assert child.ask("agent.status().state") == "stopped"
