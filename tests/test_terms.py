"""On the application's terms: when a version is taken, and who is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from scatter_agent.health import AgentStatus
from scatter_agent.terms import Callbacks, Switch, Terms
from support import signed, wait_until
from test_agent import World, _follows_replaced, make  # noqa: F401 - the fixtures

from scatter.errors import NotFound, UsageError
from scatter.model import Refusal
from scatter.releases import Releases

Make = Callable[..., World]


@pytest.fixture
def world(make: Make) -> World:  # noqa: F811
    """A module, its registry and the run's server."""
    return make()


# manual ----------------------------------------------------------------------------------


def test_a_manual_agent_switches_only_when_it_is_told_to(world: World) -> None:
    agent = world.ready(terms=Terms(manual=True))
    world.push(f="f1", g="g1")
    name = world.name
    wait_until(lambda: agent.status().pending == {name("f"): 1, name("g"): 1}, "it to be prepared")
    assert world.calls() == "f0 g0 h0"
    assert agent.status().sequence == 0, "it has not been applied"
    assert "2 wait for apply()" in repr(agent.status())
    assert agent.apply() == {name("f"): 1, name("g"): 1}
    assert world.calls() == "f1 g1 h0"
    assert agent.apply() == {}
    world.settled(agent, 1)
    assert agent.status().pending == {}
    wait_until(lambda: (r := world.report(agent)) and r.functions[name("f")] == 1, "the report")


def test_what_waits_is_replaced_by_what_is_released_later(world: World) -> None:
    agent = world.ready(terms=Terms(manual=True))
    world.push(f="f1")
    wait_until(lambda: agent.status().pending == {world.name("f"): 1}, "version 1")
    world.push(f="f2")
    world.push(h="h1")
    both = {world.name("f"): 2, world.name("h"): 1}
    wait_until(lambda: agent.status().pending == both, "what is newest")
    assert agent.apply() == both
    assert world.calls() == "f2 g0 h1"
    assert world.registry.switches == [{"f": 2, "h": 1}]


@pytest.mark.usefixtures("_follows_replaced")
def test_what_waits_is_dropped_when_the_log_is_another_one(world: World) -> None:
    agent = world.ready(terms=Terms(manual=True))
    world.push(f="f1")
    name = world.name
    wait_until(lambda: agent.status().pending == {name("f"): 1}, "it to be prepared")
    keys = world.run("KEYS", "*")
    world.run("DEL", *(key for key in keys if b"process" not in key))
    world.releases = Releases(signed(world.store), author="eve")
    world.push(g="g1")
    wait_until(lambda: agent.status().pending == {name("g"): 1}, "what the new log says")
    assert agent.apply() == {name("g"): 1}
    assert world.calls() == "f0 g1 h0"


def test_what_waits_is_dropped_when_it_is_taken_back(world: World) -> None:
    agent = world.ready(terms=Terms(manual=True))
    world.push(f="f1")
    wait_until(lambda: agent.status().pending, "version 1")
    world.releases.rollback()
    wait_until(lambda: not agent.status().pending, "nothing to wait")
    assert agent.apply() == {}
    assert world.calls() == "f0 g0 h0"


def test_a_version_that_cannot_run_is_refused_before_anybody_applies_it(world: World) -> None:
    agent = world.ready(terms=Terms(manual=True))
    world.push(f="f1")
    world.push(f="!", g="g1")
    wait_until(lambda: agent.status().refused, "the refusal")
    wait_until(lambda: agent.status().pending == {world.name("f"): 1}, "the good one to wait")
    assert agent.apply() == {world.name("f"): 1}
    assert world.calls() == "f1 g0 h0"


def test_a_function_that_was_held_meanwhile_is_not_switched(world: World) -> None:
    agent = world.ready(terms=Terms(manual=True))
    world.push(f="f1")
    wait_until(lambda: agent.status().pending, "version 1")
    world.registry.hold(world.name("f"), True)
    assert agent.apply() == {}
    assert world.calls() == "f0 g0 h0"
    wait_until(lambda: not agent.status().pending, "the agent to see it")


def test_apply_from_many_threads_switches_once(world: World) -> None:
    agent = world.ready(terms=Terms(manual=True))
    world.push(f="f1")
    wait_until(lambda: agent.status().pending, "version 1")
    done: list[Any] = []
    threads = [threading.Thread(target=lambda: done.append(agent.apply())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, done)) == [0] * 7 + [1]


# holding ---------------------------------------------------------------------------------


def test_a_function_is_held_and_let_go_by_its_short_name(world: World) -> None:
    agent = world.ready()
    agent.hold("f")
    world.push(f="f1", g="g1")
    world.until("f0 g1 h0")
    world.settled(agent, 1)
    assert agent.status().held == (world.name("f"),)
    agent.unhold("f")
    world.until("f1 g1 h0")
    assert agent.status().held == ()


def test_of_several_names_a_wrong_one_leaves_all_as_they_were(world: World) -> None:
    agent = world.ready()
    with pytest.raises(NotFound):
        agent.hold("f", "nothing")
    assert agent.status().held == ()


# callbacks -------------------------------------------------------------------------------


def test_callbacks_are_told_of_switches_refusals_and_health(world: World) -> None:
    switches: list[Switch] = []
    refused: list[Refusal] = []
    health: list[str] = []
    callbacks = Callbacks(
        on_switch=switches.append,
        on_refused=refused.append,
        on_health=lambda status: health.append(status.state),
    )
    agent = world.ready(terms=Terms(callbacks=callbacks))
    assert health == ["ready"]
    world.push(f="f1", g="g1")
    world.until("f1 g1 h0")
    world.settled(agent, 1)
    f, g = world.name("f"), world.name("g")
    assert switches == [Switch(sequence=1, versions={f: 1, g: 1}, before={f: 0, g: 0})]
    world.push(f="!")
    wait_until(lambda: refused, "the refusal")
    assert (refused[0].function, refused[0].version) == (f, 2)
    world.push(f="f3")
    world.until("f3 g1 h0")
    wait_until(lambda: len(switches) == 2, "the second switch")
    assert switches[-1].before == {f: 1}
    assert len(refused) == 1
    agent.stop()
    assert health == ["ready", "stopped"]


def test_a_callback_that_raises_harms_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("mine")

    callbacks = Callbacks(on_switch=fail, on_refused=fail, on_health=fail)
    agent = world.ready(terms=Terms(callbacks=callbacks))
    world.push(f="!")
    wait_until(lambda: agent.status().refused, "the refusal")
    world.push(f="f2")
    world.until("f2 g0 h0")
    assert agent.status().state == "ready"
    for callback in ("on_switch", "on_refused", "on_health"):
        wait_until(lambda: f"callback='{callback}'" in caplog.text, f"the event of {callback}")
    assert caplog.text.count("ZeroDivisionError: mine") >= 3


def test_a_callback_may_ask_the_agent(world: World) -> None:
    seen: list[AgentStatus] = []
    agents: list[Any] = []
    callbacks = Callbacks(on_switch=lambda _: seen.append(agents[0].status()))
    agents.append(world.start(terms=Terms(callbacks=callbacks)))
    assert agents[0].wait(20)
    world.push(f="f1")
    world.until("f1 g0 h0")
    wait_until(lambda: seen, "the callback")
    assert seen[0].functions[world.name("f")] == 1


# labels ----------------------------------------------------------------------------------


def test_labels_image_and_commit_are_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_IMAGE", "shop:12")
    monkeypatch.setenv("GIT_COMMIT", "abc123")
    agent = world.ready(terms=Terms(labels={"region": "eu"}))
    report = wait_until(lambda: world.report(agent), "the report")
    assert (report.labels, report.image, report.commit) == ({"region": "eu"}, "shop:12", "abc123")
    assert agent.status().labels == {"region": "eu"}


def test_a_wrong_word_for_when_to_apply_is_an_error() -> None:
    import scatter_agent

    with pytest.raises(UsageError, match="expected 'at_once' or 'manual', found 'later'"):
        scatter_agent.start("memory://terms", apply="later")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="labels: expected a table of texts"):
        scatter_agent.start("memory://terms", labels={"a": 1})  # type: ignore[dict-item]
    assert scatter_agent.status().state == "stopped"
