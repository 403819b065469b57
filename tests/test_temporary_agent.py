"""Temporary versions in running processes: they are over by themselves, whatever else happens."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleets import SHOP, Shop
from linking import Lab
from scatter_agent import work
from scatter_agent.agent import Agent
from scatter_agent.mirror.copy import Copy
from scatter_agent.plan import Running, View
from scatter_agent.terms import Terms
from scatter_agent.trials import Trials
from support import wait_until
from test_agent import Away, World

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.config import Settings
from scatter.log import Leases
from scatter.model import Change
from scatter.registry import Registry
from scatter.releases import Candidate
from scatter.server import EmbeddedServer
from scatter.store.directory import DirectoryStore

LEASE_S = 2.5


@pytest.fixture
def away(lab: Lab, own_server: Callable[..., EmbeddedServer]) -> Iterator[Away]:
    made = Away(lab, own_server)
    yield made
    made.close()


@pytest.fixture
def world(lab: Lab, redis_url: str, namespace: str) -> Iterator[World]:
    made = World(lab, redis_url, namespace)
    yield made
    made.close()


def lend(world: World, lasts_s: float = LEASE_S, **results: str) -> int:
    """Release functions that return something else for a while."""
    text = world.program.text
    for qualname, result in results.items():
        text = text.replace(f'"{qualname}0"', f'"{result}"')
    source = world.program.source(text)
    made = [Candidate(bundle=build(source, qualname).bundle) for qualname in results]
    release = world.releases.push(made, force=True, lasts_s=lasts_s).release
    assert release is not None
    assert release.expires > release.time
    return release.sequence


def leases_of(agent: Agent) -> Leases:
    return agent._work._course.leases


class Clock:
    """A clock that a test sets: so many seconds beside the real one."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def start_with(world: World, clock: Clock, **options: object) -> Agent:
    """Start an agent on a machine whose clock is another one."""
    settings = Settings(redis_url=world.url, namespace=world.namespace)
    agent = Agent(settings, registry=world.registry, **{"look_s": 3600.0, **options})  # type: ignore[arg-type]
    leases_of(agent)._clock = clock
    world.agents.append(agent)
    agent.start()
    assert agent.wait(20), agent.status()
    return agent


def test_a_temporary_version_is_over_by_itself(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "scatter")
    world.push(f="f1")
    agent = world.ready()
    lend(world, f="f2", g="g2")
    world.until("f2 g2 h0")
    world.until("f1 g0 h0")
    assert agent.status().functions == {world.name("f"): 1, world.name("g"): 0, world.name("h"): 0}
    (told,) = [r.getMessage() for r in caplog.records if "scatter.expired" in r.getMessage()]
    assert world.name("f") in told
    assert world.name("g") in told


def test_what_is_released_over_a_temporary_version_stays(world: World) -> None:
    world.ready()
    lend(world, f="f1", g="g1")
    world.until("f1 g1 h0")
    world.push(f="f2")
    world.until("f2 g1 h0")
    world.until("f2 g0 h0")


def test_a_temporary_version_over_another_falls_back_to_what_was_there_for_good(
    world: World,
) -> None:
    world.push(f="f1")
    world.ready()
    lend(world, 60, f="f2")
    world.until("f2 g0 h0")
    lend(world, f="f3")
    world.until("f3 g0 h0")
    world.until("f1 g0 h0")


def test_an_end_that_is_put_off_is_put_off(world: World) -> None:
    world.ready()
    sequence = lend(world, f="f1")
    world.until("f1 g0 h0")
    release = world.releases.extend({world.name("f"): 1}, lasts_s=60)
    assert release is not None
    assert release.sequence == sequence + 1
    lend(world, g="g1")
    world.until("f1 g1 h0")
    world.until("f1 g0 h0")  # by then the first end has passed


def test_a_process_that_starts_after_the_end_never_runs_it(world: World) -> None:
    world.push(f="f1")
    lend(world, 0.05, f="f2", h="h2")
    wait_until(
        lambda: not world.releases.functions()[world.name("f")].expires, "the end of version 2"
    )
    world.ready()
    assert world.calls() == "f1 g0 h0"
    assert world.registry.switches == [{"f": 1}]


def test_no_server_is_needed_for_the_end(away: Away) -> None:
    away.push(f="f1")
    away.push(f="f2")
    away.ready()
    lend(away, 3, f="f3")
    away.until("f3 g0 h0")
    lend(away, 2, f="f4", g="g4")  # by now nobody keeps version 2 loaded
    away.until("f4 g4 h0")
    away.kill()
    away.until("f2 g0 h0")


def test_the_end_comes_in_time_while_an_agent_waits_for_its_next_try(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "FIRST_BACKOFF_S", 300.0)
    monkeypatch.setattr(work, "LAST_BACKOFF_S", 300.0)
    away.push(f="f1")
    agent = away.ready()
    lend(away, 3, f="f2")
    away.until("f2 g0 h0")
    away.kill()
    wait_until(lambda: agent.status().state == "stale", "the agent to see it")
    away.until("f1 g0 h0")


def test_no_server_is_needed_by_a_process_that_never_ran_what_was_before(away: Away) -> None:
    away.push(f="f1")
    lend(away, 3, f="f2")
    away.ready()
    assert away.calls() == "f2 g0 h0"
    away.kill()
    away.until("f1 g0 h0")


def test_an_agent_that_was_started_from_what_it_kept_leaves_it_too(
    away: Away, tmp_path: Path
) -> None:
    away.push(f="f1")
    lend(away, 6, f="f2")
    config = Settings(redis_url=away.url, namespace=away.namespace, cache=str(tmp_path))
    first = away.ready(settings=config, look_s=0.05)
    assert away.calls() == "f2 g0 h0"
    first.stop()
    for slot in away.registry.slots().values():
        away.registry.switch({slot.name: slot.shipped})
        slot.loaded.clear()
    away.kill()
    away.start(settings=config)
    away.until("f2 g0 h0")
    away.until("f1 g0 h0")


def test_a_process_of_a_directory_leaves_it_with_everything_else_down(
    away: Away, tmp_path: Path
) -> None:
    away.push(f="f1")
    lend(away, 4, f="f2")
    away.releases.journal.catch_up()
    copy = Copy(tmp_path, away.namespace, lambda: None)
    copy.keep(away.releases.journal, frozenset(), {})
    copy.close()
    away.kill()
    away.ready(url=f"dir:{tmp_path}")
    assert away.calls() == "f2 g0 h0"
    away.until("f1 g0 h0")


def test_a_mirror_keeps_what_comes_after_however_long_that_is(
    away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scatter_agent.mirror.copy.GRACE_S", 1e-6)
    away.push(f="f1")
    lend(away, 3600, f="f2")
    mirrored = Copy(tmp_path, away.namespace, lambda: None)
    for number in range(3):
        away.push(g=f"g{number}")
        mirrored.keep(away.releases.journal, frozenset(), {})
    mirrored.close()
    bundles = DirectoryStore(tmp_path, away.namespace).bundles
    state = away.releases.find(away.name("f"))
    assert state.fallback is not None
    wanted = {state.live.bundle, state.fallback.live.bundle}
    assert bundles(wanted).keys() == wanted
    away.releases.release({away.name("f"): 2})
    away.releases.journal.catch_up()
    again = Copy(tmp_path, away.namespace, lambda: None)
    again.keep(away.releases.journal, frozenset(), {})
    away.push(g="g9")
    again.keep(away.releases.journal, frozenset(), {})
    again.close()
    assert bundles(wanted).keys() == {state.live.bundle}, "nothing goes back to it any more"


def test_code_that_calls_a_function_which_is_not_here_is_at_hand_whole(world: World) -> None:
    calling = world.program.text.replace('return "f0"', "return g()")
    world.push(g="g1")
    world.push_text(calling, "f")
    lend(world, 60, f="f2", h="h2")
    registry, journal = Registry(), world.releases.journal
    registry.add(world.name("f"), world.program.f)
    trials = Trials(registry)
    trials.provide(journal)
    f, g = (world.releases.history(name)[-1].bundle for name in "fg")
    assert journal.retained.keys() == {f, g}
    world.releases.release({world.name("f"): 1, world.name("h"): 1})
    trials.provide(journal)
    assert journal.retained == {}


def test_a_version_is_left_until_it_runs_no_more_also_where_a_switch_came_to_nothing(
    world: World,
) -> None:
    world.push(f="f1")
    lend(world, 60, f="f2")
    registry, journal = Registry(), world.releases.journal
    name = world.name("f")
    registry.add(name, world.program.f)
    trials = Trials(registry)
    trials.note(journal)
    lent = journal.current()[name]
    assert lent.fallback is not None
    world.push(f="f3")

    def seen(change: Change) -> View:
        running = Running(version=change.version or 0, bundle=change.bundle)
        known = journal.current()
        return View(running={name: running}, functions=known, failures={}, floor={}, now=0.0)

    back = (lent.fallback.live,)
    assert [trials.left(seen(lent.live)) for _ in range(2)] == [back, back]
    assert trials.left(seen(lent.fallback.live)) == ()
    assert trials.left(seen(lent.live)) == (), "it was left"


@pytest.mark.parametrize("ahead_s", [-86400.0 * 400, -3600.0])
def test_a_clock_that_is_behind_prolongs_nothing(world: World, ahead_s: float) -> None:
    start_with(world, Clock(ahead_s))
    lend(world, f="f1")
    world.until("f1 g0 h0")
    world.until("f0 g0 h0")


def test_a_clock_that_is_ahead_ends_it_at_once_and_setting_it_brings_nothing_back(
    world: World,
) -> None:
    clock = Clock(3600.0)
    agent = start_with(world, clock)
    world.settled(agent, lend(world, 60, f="f1"))
    assert world.calls() == "f0 g0 h0"
    clock.ahead_s = 0.0
    world.settled(agent, world.push(g="g1"))
    assert world.calls() == "f0 g1 h0"
    assert world.registry.switches == [{"g": 1}]


def test_a_clock_that_is_set_back_again_and_again_prolongs_nothing(world: World) -> None:
    clock = Clock()
    start_with(world, clock, look_s=0.05)
    lend(world, f="f1")
    world.until("f1 g0 h0")

    def is_over() -> bool:
        clock.ahead_s -= 10.0
        return bool(world.calls() == "f0 g0 h0")

    wait_until(is_over, "the end of version 1", 8)


def test_an_agent_that_is_stopped_and_started_gives_it_no_more_time(world: World) -> None:
    clock = Clock(-3600.0)
    agent = start_with(world, clock)
    lend(world, 3, f="f1")
    world.until("f1 g0 h0")
    began = leases_of(agent)._monotonic()
    (lease,) = leases_of(agent)._seen.values()
    agent.stop()
    agent.start()
    assert agent.wait(20)
    assert [one.by for one in leases_of(agent)._seen.values()] == [lease.by]
    assert lease.by < began + 3.5
    world.until("f0 g0 h0")


def test_an_agent_that_is_started_again_without_a_server_leaves_it_all_the_same(
    away: Away,
) -> None:
    away.push(f="f1")
    agent = away.ready()
    lend(away, 3, f="f2")
    away.until("f2 g0 h0")
    agent.stop()
    away.kill()
    agent.start()
    away.until("f1 g0 h0")


def test_a_forked_child_leaves_it_without_a_server(away: Away) -> None:
    away.push(f="f1")
    away.ready()
    lend(away, 3, f="f2")
    away.until("f2 g0 h0")
    away.kill()
    child = os.fork()
    if child == 0:
        try:
            away.until("f1 g0 h0")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    away.until("f1 g0 h0")


def test_what_was_deployed_over_what_was_before_is_what_is_left(world: World) -> None:
    before = world.push(f="f1")
    agent = world.start()
    agent._work._course.follower.floor[world.name("f")] = before  # a deploy since
    assert agent.wait(20)
    assert world.calls() == "f0 g0 h0"
    lend(world, f="f2")
    world.until("f2 g0 h0")
    world.until("f0 g0 h0")


def test_a_version_that_is_over_is_left_also_where_what_came_after_it_is_refused(
    world: World,
) -> None:
    world.push(f="f1")
    agent = world.ready()
    lend(world, 60, f="f2")
    world.until("f2 g0 h0")
    world.settled(agent, world.push(f="!"))
    world.until("f1 g0 h0")
    assert [r.version for r in agent.status().refused] == [3]


def test_what_was_refused_while_an_agent_was_stopped_keeps_no_temporary_version(
    world: World,
) -> None:
    world.push(f="f1")
    agent = world.ready()
    lend(world, 60, f="f2")
    world.until("f2 g0 h0")
    agent.stop()
    world.push(f="!")
    agent.start()
    world.until("f1 g0 h0")
    assert [r.version for r in agent.status().refused] == [3]


def test_a_temporary_version_that_is_refused_leaves_what_runs(world: World) -> None:
    world.push(f="f1")
    agent = world.ready()
    text = "import not_installed\n" + world.program.text.replace('"f0"', "not_installed")
    bundle = build(world.program.source(text), "f").bundle
    release = world.releases.push([Candidate(bundle=bundle)], force=True, lasts_s=LEASE_S).release
    assert release is not None
    world.settled(agent, release.sequence)
    assert [r.version for r in agent.status().refused] == [2]
    wait_until(lambda: not agent.status().refused, "the end of what was refused")
    assert world.calls() == "f1 g0 h0"


def test_an_application_that_takes_versions_itself_is_not_handed_one_that_is_over(
    world: World,
) -> None:
    world.push(f="f1")
    agent = world.ready(terms=Terms(manual=True))
    agent.apply()
    assert world.calls() == "f1 g0 h0"
    lend(world, f="f2")
    wait_until(lambda: agent.status().pending == {world.name("f"): 2}, "version 2 to wait")
    wait_until(lambda: not agent.status().pending, "its end")
    assert agent.apply() == {}
    assert world.calls() == "f1 g0 h0"


def test_a_held_function_stays_on_a_temporary_version_until_it_is_let_go(world: World) -> None:
    agent = world.ready()
    lend(world, f="f1", g="g1")
    world.until("f1 g1 h0")
    agent.hold(world.name("f"))
    world.until("f1 g0 h0")
    agent.unhold(world.name("f"))
    world.until("f0 g0 h0")


KILLED = """
import sys, time, scatter_agent, shop

scatter_agent.start(wait=20)
seen = None
while True:
    if shop.price() != seen:
        seen = shop.price()
        print(seen, flush=True)
    time.sleep(0.002)
"""


def test_a_process_that_is_killed_and_started_around_the_end(
    tmp_path: Path, redis_url: str, namespace: str
) -> None:
    shop = Shop(tmp_path, redis_url, namespace)
    shop.push(1)
    assert shop._releases is not None
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "SCATTER_REDIS_URL": redis_url,
        "SCATTER_NAMESPACE": namespace,
    }

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", KILLED],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def end(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    source = ModuleSource(SHOP.replace("0", "2"), name="shop", file="shop.py")
    shop._releases.push([Candidate(bundle=build(source, "price").bundle)], force=True, lasts_s=6)
    first = start()
    assert line(first) == "2"
    end(first)
    second = start()
    assert [line(second), line(second)] == ["2", "1"]
    end(second)
    third = start()
    assert line(third) == "1"
    end(third)
    shop.close()
