"""What `docs/scale.md` claims of large fleets holds in the simulation, the same each time."""

from __future__ import annotations

import random

import pytest
from scatter_agent.listen import LOOK_S
from scatter_agent.report import BEAT_S, beat_after
from support import ROOT

from benchmarks import pages, simulate
from benchmarks.costs import KINDS, TYPICAL
from benchmarks.simulate import ALONE, MIRRORS, Fleet, capacity, herd, quiet, releases
from benchmarks.simulated import World, chance

SMALL = Fleet(hosts=2_000)


def test_the_same_seed_gives_the_same_course_and_another_one_another() -> None:
    first, again = (herd(SMALL, 1.0, jitter=True, prices=TYPICAL) for _ in range(2))
    assert first == again
    assert herd(SMALL, 1.0, jitter=True, prices=TYPICAL, seed=8) != first
    storm = [releases(SMALL, [0.0, 1.0], prices=TYPICAL) for _ in range(2)]
    assert storm[0] == storm[1]


def test_chance_is_the_agents_own_and_ends_with_the_simulation() -> None:
    with chance(1, jitter=True):
        beats = {beat_after(0) for _ in range(50)}
    assert len(beats) == 50
    assert min(beats) >= 0.8 * BEAT_S
    assert max(beats) <= 1.2 * BEAT_S
    state = random.getstate()
    with chance(1, jitter=False):
        assert {beat_after(0) for _ in range(50)} == {BEAT_S}
    assert random.getstate() == state
    assert random.uniform(0, 1) != random.uniform(0, 1)


def test_a_server_does_one_thing_after_the_other() -> None:
    world = World({"look": 0.25})
    assert [world.serve("look") for _ in range(3)] == [0.25, 0.5, 0.75]
    assert (world.longest_s, world.spent_s) == (0.5, 0.75)


def test_jitter_brings_a_herd_back_that_would_not_come_back_without() -> None:
    with_it = herd(MIRRORS, 1.0, jitter=True, prices=TYPICAL)
    without = herd(MIRRORS, 1.0, jitter=False, prices=TYPICAL)
    assert with_it.all_s is not None
    assert with_it.all_s < 15
    assert without.all_s is None or without.all_s > 3 * with_it.all_s
    assert with_it.gave_up < without.gave_up


def test_jitter_takes_the_looks_of_a_quiet_fleet_apart() -> None:
    with_it = quiet(MIRRORS, jitter=True, prices=TYPICAL)
    without = quiet(MIRRORS, jitter=False, prices=TYPICAL)
    assert with_it.share == pytest.approx(
        MIRRORS.hosts * simulate.idle_load(TYPICAL, MIRRORS), rel=0.1
    )
    assert without.longest_s > 5 * with_it.longest_s


def test_a_release_reaches_all_mirrors_within_a_second_and_nobody_gives_up() -> None:
    found = releases(MIRRORS, [0.0], prices=TYPICAL)
    assert found.last_s is not None
    assert found.last_s < 1
    assert found.gave_up == 0
    assert found.told_s is not None
    assert found.told_s > 5 * found.last_s  # reports are what takes long


def test_releases_that_come_too_fast_are_read_together() -> None:
    found = releases(MIRRORS, [n / 10 for n in range(100)], prices=TYPICAL)
    assert found.last_s is not None
    assert found.last_s < 15  # 100 of them one by one would take minutes
    assert 100 * MIRRORS.hosts * simulate.of_release(TYPICAL, MIRRORS) > 600


def test_one_server_does_not_carry_that_many_processes_without_mirrors() -> None:
    assert releases(ALONE, [0.0], prices=TYPICAL).gave_up > 1
    assert ALONE.hosts * simulate.idle_load(TYPICAL, ALONE) > 1


def test_a_follower_looks_as_often_as_the_agent_says() -> None:
    world = World(dict.fromkeys(TYPICAL, 1e-6))
    with chance(1, jitter=True):
        fleet = Fleet(hosts=10, processes=0, scale=1)
        for follower in fleet.settle(world):
            follower.rest()
        world.run(100 * LOOK_S)
    looks_and_beats = world.spent_s * 1e6 / 10
    assert 150 < looks_and_beats < 300  # a look at least each beat and each look


def test_the_page_has_the_tables_that_the_simulation_makes() -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    for name, table in simulate.TABLES.items():
        assert f"<!-- simulated: {name} -->\n{table()}\n<!-- end of measured -->" in page, (
            f"docs/scale.md has another table {name}. Run: python -m benchmarks.pages"
        )
    assert pages.fill(page, []) == page


def test_each_thing_has_a_price() -> None:
    assert KINDS.keys() == TYPICAL.keys()
    assert "mirrors of 20 processes" in capacity()
