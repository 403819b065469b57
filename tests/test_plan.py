"""The planner: what a process should run, decided from what runs, the log, refusals and the time.

The first half is examples, to be read as documentation; the second half says the same of any
history. Nothing here is linked: versions are numbers, and a set says which of them would not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scatter_agent import plan
from scatter_agent.plan import Failure, Running, View

from scatter.model import Change, FunctionState, Release

SHIPPED = 0
Versions = Mapping[str, int | None]
"""Function → version; 0 is the deployed code, None a delete."""


def digest(function: str, version: int | None) -> str:
    return f"{function}{version}" if version else ""


def change(function: str, version: int | None) -> Change:
    return Change(function=function, version=version, bundle=digest(function, version))


def log(*releases: Versions) -> list[Release]:
    """Return a log; each release is given as function → version."""
    return [
        Release(
            namespace="shop",
            sequence=sequence,
            previous="",
            time="2026-01-01T00:00:00Z",
            author="ann",
            action="push",
            changes=tuple(change(name, version) for name, version in sorted(one.items())),
        )
        for sequence, one in enumerate(releases, 1)
    ]


def states(releases: Iterable[Release]) -> dict[str, FunctionState]:
    """Return what a log says of each function at its end."""
    return {
        one.function: FunctionState(
            function=one.function,
            live=one,
            sequence=release.sequence,
            author=release.author,
            time=release.time,
            last=one.version or 0,
        )
        for release in releases
        for one in release.changes
    }


@dataclass
class Process:
    """A process that follows the planner as an agent does, with versions that it cannot run."""

    running: dict[str, Running]
    bad: frozenset[tuple[str, int]] = frozenset()
    lost: set[tuple[str, int]] = field(default_factory=set)
    needs: Mapping[tuple[str, int], tuple[str, frozenset[int]]] = field(default_factory=dict)
    """Version → a function, and the versions of it beside which that version can run."""
    failures: dict[str, Failure] = field(default_factory=dict)
    floor: dict[str, int] = field(default_factory=dict)
    now: float = 1000.0
    known: int = 0
    tried: list[tuple[str, int | None, int]] = field(default_factory=list)
    passed: list[tuple[int, dict[str, int]]] = field(default_factory=list)

    def view(self, releases: Sequence[Release]) -> View:
        return View(
            running=self.running,
            functions=states(releases),
            failures=self.failures,
            floor=self.floor,
            now=self.now,
        )

    def look(self, releases: Sequence[Release]) -> None:
        """Take one step, the whole log being `releases`."""
        new, self.known = releases[self.known :], len(releases)
        view = self.view(releases)
        self.failures = plan.still_open(view)
        changes = plan.goal(view)
        if not changes or not self._go(changes, len(releases)):
            return
        for sequence, step in plan.stepwise(view, new):
            culprits = self._go(step, sequence)
            for one in step if culprits else ():
                self.tried.append((one.function, one.version, sequence))
                reason = culprits.get(one.function, "released-together")
                self.failures[one.function] = plan.failed(
                    view, one, sequence, reason, "", culprits.values()
                )

    def _go(self, changes: Sequence[Change], sequence: int) -> dict[str, str]:
        """Run all of these versions or none; return the reasons of those that would not run."""
        culprits = {}
        for one in changes:
            if (one.function, one.version) in self.bad:
                culprits[one.function] = "link-failed"
            elif (one.function, one.version) in self.lost:
                culprits[one.function] = "bundle-missing"
        culprits |= self._misfits(changes)
        for one in () if culprits else changes:
            self.running[one.function] = replace(
                self.running[one.function], version=one.version or 0, bundle=one.bundle
            )
        if not culprits:
            self.passed.append((sequence, self.versions()))
        return culprits

    def _misfits(self, changes: Sequence[Change]) -> dict[str, str]:
        """Return who does not fit what will run: the one that needs it, else the one that is it."""
        moved = {one.function: one.version or 0 for one in changes}
        will = self.versions() | moved
        found = dict[str, str]()
        for name, version in will.items():
            other, fitting = self.needs.get((name, version), (name, frozenset((version,))))
            if will[other] not in fitting and {name, other} & moved.keys():
                found[name if name in moved else other] = "signature-changed"
        return found

    def settle(self, releases: Sequence[Release]) -> None:
        """Look until looking changes nothing."""
        before: object = None
        while before != (before := (self.versions(), dict(self.failures))):
            self.look(releases)

    def versions(self) -> dict[str, int]:
        return {name: one.version for name, one in self.running.items()}


def deployed(*functions: str, held: Sequence[str] = ()) -> dict[str, Running]:
    return {name: Running(version=SHIPPED, bundle="", held=name in held) for name in functions}


def a_view(releases: Sequence[Release], **running: Running) -> View:
    return View(running=running, functions=states(releases), failures={}, floor={}, now=0.0)


def at(function: str, version: int, **more: bool) -> Running:
    return Running(version=version, bundle=digest(function, version), **more)


# examples: the goal ----------------------------------------------------------------------


def test_the_goal_is_the_tip_in_one_switch_however_much_was_missed() -> None:
    releases = log({"f": 1}, {"f": 2, "g": 1}, {"f": 3})
    view = a_view(releases, f=at("f", 0), g=at("g", 0))
    assert plan.goal(view) == (change("f", 3), change("g", 1))


def test_nothing_is_to_be_done_at_the_tip() -> None:
    assert plan.goal(a_view(log({"f": 1}), f=at("f", 1))) == ()


def test_functions_that_the_process_does_not_have_are_no_matter_of_its() -> None:
    assert plan.goal(a_view(log({"f": 1, "g": 1}), g=at("g", 0))) == (change("g", 1),)


def test_functions_that_the_log_does_not_name_stay() -> None:
    assert plan.goal(a_view(log({"f": 1}), f=at("f", 1), own=at("own", 0))) == ()


def test_a_smaller_version_that_was_released_later_wins() -> None:
    assert plan.goal(a_view(log({"f": 1}, {"f": 2}, {"f": 1}), f=at("f", 2))) == (change("f", 1),)


def test_the_same_number_with_another_bundle_is_another_version() -> None:
    running = Running(version=1, bundle="of another log")
    assert plan.goal(a_view(log({"f": 1}), f=running)) == (change("f", 1),)


def test_a_release_of_the_deployed_code_and_a_delete_both_go_back_to_it() -> None:
    for version in (SHIPPED, None):
        view = a_view(log({"f": 1}, {"f": version}), f=at("f", 1))
        assert plan.goal(view) == (change("f", version),)
        assert plan.goal(a_view(log({"f": 1}, {"f": version}), f=at("f", 0))) == ()


def test_a_fetched_function_that_was_deleted_keeps_what_it_has() -> None:
    for version in (SHIPPED, None):
        releases = log({"f": 1}, {"f": version})
        assert plan.goal(a_view(releases, f=at("f", 1, fetched=True))) == ()


def test_a_held_function_stays_and_the_others_go_on() -> None:
    releases = log({"f": 2, "g": 1})
    view = a_view(releases, f=at("f", 1, held=True), g=at("g", 0))
    assert plan.goal(view) == (change("g", 1),)
    assert plan.stepwise(view, releases) == ((1, (change("g", 1),)),)


def test_releases_up_to_the_floor_of_a_function_do_not_apply_to_it() -> None:
    releases = log({"f": 1, "g": 1}, {"f": 2})
    view = a_view(releases, f=at("f", 0), g=at("g", 0))
    assert plan.goal(replace(view, floor={"f": 2})) == (change("g", 1),)
    assert plan.goal(replace(view, floor={"f": 1})) == (change("f", 2), change("g", 1))


# examples: step by step ------------------------------------------------------------------


def test_stepwise_takes_every_release_in_order() -> None:
    releases = log({"f": 1}, {"g": 1}, {"f": 2, "g": 2})
    view = a_view(releases, f=at("f", 0), g=at("g", 0))
    assert plan.stepwise(view, releases) == (
        (1, (change("f", 1),)),
        (2, (change("g", 1),)),
        (3, (change("f", 2), change("g", 2))),
    )


def test_stepwise_adds_what_the_goal_needs_from_before_what_was_read() -> None:
    releases = log({"late": 1, "later": 1}, {"f": 1})
    view = a_view(releases, f=at("f", 0), late=at("late", 0), later=at("later", 0))
    assert plan.stepwise(view, releases[1:]) == (
        (1, (change("late", 1), change("later", 1))),
        (2, (change("f", 1),)),
    )


def test_a_poisoned_release_among_missed_ones_keeps_the_others_from_nothing() -> None:
    releases = log({"f": 1}, {"f": 2, "g": 1}, {"g": 2}, {"h": 1})
    process = Process(deployed("f", "g", "h"), bad=frozenset({("f", 2)}))
    process.look(releases)
    assert process.versions() == {"f": 1, "g": 2, "h": 1}
    assert process.failures["f"] == Failure(version=2, sequence=2, reason="link-failed", message="")


def test_a_bad_version_that_was_replaced_meanwhile_is_not_even_tried() -> None:
    process = Process(deployed("f"), bad=frozenset({("f", 1)}))
    process.look(log({"f": 1}, {"f": 2}))
    assert process.versions() == {"f": 2}
    assert process.passed == [(2, {"f": 2})]
    assert process.tried == []


# examples: what was refused --------------------------------------------------------------


def test_a_refused_version_is_not_tried_again_by_itself() -> None:
    releases = log({"f": 1})
    process = Process(deployed("f"), bad=frozenset({("f", 1)}))
    for _ in range(3):
        process.look(releases)
        process.now += 3600
    assert process.tried == [("f", 1, 1)]
    assert plan.next_retry(process.failures.values()) is None


def test_the_next_release_of_a_refused_function_is_tried() -> None:
    process = Process(deployed("f"), bad=frozenset({("f", 1)}))
    process.look(log({"f": 1}))
    process.look(log({"f": 1}, {"f": 2}))
    assert process.versions() == {"f": 2}
    assert plan.still_open(process.view(log({"f": 1}, {"f": 2}))) == {}


def test_a_refused_version_that_is_released_again_is_tried_again() -> None:
    process = Process(deployed("f"), bad=frozenset({("f", 1)}))
    process.look(log({"f": 1}))
    process.bad = frozenset()
    process.look(log({"f": 1}, {"f": SHIPPED}, {"f": 1}))
    assert process.versions() == {"f": 1}


def test_a_release_with_a_refused_part_is_refused_whole() -> None:
    releases = log({"f": 1, "g": 1})
    process = Process(deployed("f", "g"), bad=frozenset({("g", 1)}))
    process.look(releases)
    assert process.versions() == {"f": 0, "g": 0}
    reasons = {name: failure.reason for name, failure in process.failures.items()}
    assert reasons == {"f": "released-together", "g": "link-failed"}


def test_what_was_refused_with_another_comes_along_when_that_one_is_mended() -> None:
    releases = log({"f": 1, "g": 1}, {"g": 2})
    live = Process(deployed("f", "g"), bad=frozenset({("g", 1)}))
    live.look(releases[:1])
    live.settle(releases)
    fresh = Process(deployed("f", "g"), bad=frozenset({("g", 1)}))
    fresh.settle(releases)
    assert fresh.versions() == {"f": 1, "g": 2}
    assert live.versions() == fresh.versions(), "a process runs what a fresh one would run"


def test_a_missing_bundle_is_asked_for_again_later_and_later() -> None:
    releases = log({"f": 1})
    process = Process(deployed("f"), lost={("f", 1)})
    pauses = []
    for _ in range(9):
        process.look(releases)
        retry_at = plan.next_retry(process.failures.values())
        assert retry_at is not None
        process.now += 0.999 * (retry_at - process.now)
        before = len(process.tried)
        process.look(releases)
        assert len(process.tried) == before, "it was asked for before its time"
        pauses.append(round((retry_at - process.now) / 0.001))
        process.now = retry_at
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    process.lost.clear()
    process.look(releases)
    assert process.versions() == {"f": 1}


def test_a_version_that_came_to_run_after_all_is_refused_no_more() -> None:
    releases = log({"f": 1})
    process = Process(deployed("f"), lost={("f", 1)})
    process.look(releases)
    process.lost.clear()
    process.now += plan.RETRY_S
    process.look(releases)
    assert process.versions() == {"f": 1}
    process.look(releases)
    assert process.failures == {}
    assert plan.next_retry(process.failures.values()) is None


def test_a_missing_bundle_holds_up_no_other_function() -> None:
    process = Process(deployed("f", "g"), lost={("f", 1)})
    process.look(log({"f": 1}))
    process.look(log({"f": 1}, {"g": 1}))
    assert process.versions() == {"f": 0, "g": 1}
    process.now = 1e6
    process.look(log({"f": 1}, {"g": 1}, {"g": 2}))
    assert process.versions() == {"f": 0, "g": 2}
    assert process.failures["f"].tries == 2


def test_a_new_version_begins_with_the_shortest_pause_again() -> None:
    process = Process(deployed("f"), lost={("f", 1), ("f", 2)})
    for _ in range(4):
        process.look(log({"f": 1}))
        process.now += 1e6
    assert process.failures["f"].tries == 4
    process.look(log({"f": 1}, {"f": 2}))
    assert process.failures["f"].tries == 1
    assert process.failures["f"].retry_at == process.now + plan.RETRY_S


def test_failures_of_functions_that_are_gone_are_forgotten() -> None:
    process = Process(deployed("f"), bad=frozenset({("f", 1)}))
    process.look(log({"f": 1}))
    view = process.view(log({"f": 1}))
    assert plan.still_open(replace(view, running={})) == {}
    assert plan.still_open(replace(view, functions={})) == {}


@pytest.mark.parametrize("how", ["held", "floor"])
def test_a_missing_bundle_that_nobody_waits_for_any_more_is_no_reason_to_look(how: str) -> None:
    releases = log({"f": 1})
    process = Process(deployed("f"), lost={("f", 1)})
    process.look(releases)
    assert plan.next_retry(process.failures.values()) is not None
    if how == "held":
        process.running["f"] = replace(process.running["f"], held=True)
    else:
        process.floor["f"] = 1
    process.now += 1e6
    process.look(releases)
    assert process.tried == [("f", 1, 1)]
    # A moment that stays in the past makes an agent look again without any pause.
    assert plan.next_retry(process.failures.values()) is None


# examples: what fits only beside other versions --------------------------------------------

NEEDS_G2 = {("f", 2): ("g", frozenset({2}))}


def test_what_did_not_fit_is_tried_with_the_next_release_whatever_that_is_about() -> None:
    releases = log({"f": 1}, {"f": 2}, {"g": 2})
    process = Process(deployed("f", "g"), needs=NEEDS_G2)
    process.look(releases[:2])
    assert process.failures["f"].reason == "signature-changed"
    assert process.versions() == {"f": 1, "g": 0}
    process.look(releases)
    assert process.passed[-1] == (3, {"f": 2, "g": 2}), "both came in one switch"
    process.look(releases)
    assert process.failures == {}


def test_what_did_not_fit_is_tried_again_with_all_that_was_released_with_it() -> None:
    releases = log({"f": 2, "h": 1}, {"g": 2})
    process = Process(deployed("f", "g", "h"), needs={**NEEDS_G2, ("h", 1): ("f", frozenset({2}))})
    process.look(releases[:1])
    assert process.versions() == {"f": 0, "g": 0, "h": 0}
    process.look(releases)
    assert process.versions() == {"f": 2, "g": 2, "h": 1}


def test_what_does_not_fit_yet_holds_up_no_other_function() -> None:
    releases = log({"f": 2}, {"h": 1}, {"h": 2})
    process = Process(deployed("f", "g", "h"), needs=NEEDS_G2)
    for end in (1, 2, 3):
        process.look(releases[:end])
    assert process.versions() == {"f": 0, "g": 0, "h": 2}
    assert process.failures["f"].tries == 3


def test_what_does_not_fit_is_tried_again_by_itself_since_a_module_may_be_imported() -> None:
    process = Process(deployed("f", "g"), needs=NEEDS_G2)
    process.look(log({"f": 2}))
    assert plan.next_retry(process.failures.values()) == process.now + plan.RETRY_S
    process.needs = {}
    process.now += plan.RETRY_S
    process.look(log({"f": 2}))
    assert process.versions() == {"f": 2, "g": 0}


def test_a_version_that_another_one_needs_stays_until_both_go() -> None:
    releases = log({"f": 2, "g": 2}, {"g": 3}, {"f": 1})
    process = Process(deployed("f", "g"), needs=NEEDS_G2)
    process.look(releases[:1])
    process.look(releases[:2])
    assert process.versions() == {"f": 2, "g": 2}
    assert process.failures["g"].reason == "signature-changed"
    process.look(releases)
    assert process.versions() == {"f": 1, "g": 3}


def test_a_release_of_which_a_part_is_hopeless_is_not_tried_again() -> None:
    process = Process(deployed("f", "g"), lost={("f", 1)}, bad=frozenset({("g", 1)}))
    process.look(log({"f": 1, "g": 1}))
    assert plan.next_retry(process.failures.values()) is None
    process.lost.clear()
    process.now = 1e9
    process.look(log({"f": 1, "g": 1}))
    assert process.versions() == {"f": 0, "g": 0}, "each release is taken whole or not at all"


def test_a_release_of_which_a_part_was_missing_comes_whole() -> None:
    process = Process(deployed("f", "g"), lost={("f", 1)})
    process.look(log({"f": 1, "g": 1}))
    process.lost.clear()
    process.now += plan.RETRY_S
    process.look(log({"f": 1, "g": 1}))
    assert process.passed == [(1, {"f": 1, "g": 1})], "both came in one switch"


# properties ------------------------------------------------------------------------------

FUNCTIONS = ("f", "g", "h")
quick = settings(deadline=None, max_examples=100)


@st.composite
def histories(draw: st.DrawFn) -> list[Release]:
    """Return a log of pushes, releases of older versions, and deletes."""
    last = dict.fromkeys(FUNCTIONS, 0)
    releases: list[Versions] = []
    for _ in range(draw(st.integers(1, 8))):
        names = draw(st.sets(st.sampled_from(FUNCTIONS), min_size=1))
        one: dict[str, int | None] = {}
        for name in sorted(names):
            kind = draw(st.sampled_from(["push", "push", "release", "delete"]))
            if kind == "push" or not last[name]:
                one[name] = last[name] = last[name] + 1
            else:
                one[name] = draw(st.integers(0, last[name])) if kind == "release" else None
        releases.append(one)
    return log(*releases)


looks = st.lists(st.integers(0, 8), max_size=4)
"""How long the log was when a process looked at it."""
bad_versions = st.frozensets(
    st.tuples(st.sampled_from(FUNCTIONS), st.integers(1, 3)), min_size=1, max_size=4
)


def follow(process: Process, releases: Sequence[Release], moments: Iterable[int]) -> Process:
    """Have a process look at several moments, and then until nothing changes."""
    for moment in sorted(moments):
        process.look(releases[: max(moment, process.known)])
    process.settle(releases)
    return process


def said(releases: Sequence[Release], sequence: int) -> dict[str, int]:
    """Return what the log had each function run right after a release."""
    live = {name: one.version or 0 for name, one in states(releases[:sequence]).items()}
    return dict.fromkeys(FUNCTIONS, SHIPPED) | live


@quick
@given(histories(), looks)
def test_whatever_it_missed_a_process_ends_at_the_tip(
    releases: list[Release], moments: list[int]
) -> None:
    process = follow(Process(deployed(*FUNCTIONS)), releases, moments)
    assert process.versions() == said(releases, len(releases))
    assert plan.goal(process.view(releases)) == ()
    assert process.failures == {}


@quick
@given(
    histories(),
    looks,
    bad_versions,
    st.sets(st.sampled_from(FUNCTIONS)),
    st.dictionaries(st.sampled_from(FUNCTIONS), st.integers(0, 8)),
)
def test_only_what_is_held_refused_or_below_its_floor_is_not_at_the_tip(
    releases: list[Release],
    moments: list[int],
    bad: frozenset[tuple[str, int]],
    held: set[str],
    floor: dict[str, int],
) -> None:
    process = Process(deployed(*FUNCTIONS, held=tuple(held)), bad=bad, floor=floor)
    follow(process, releases, moments)
    tip = said(releases, len(releases))
    for name, state in states(releases).items():
        version = process.versions()[name]
        if name in held:
            assert version == SHIPPED
            assert name not in process.failures
        elif state.sequence <= floor.get(name, 0):
            assert version == SHIPPED
        elif version != tip[name]:
            assert process.failures[name].sequence == state.sequence
        else:
            assert (name, version) not in bad
    assert not {(n, v) for n, v in process.versions().items()} & bad, "a bad version runs"


@quick
@given(histories(), looks, bad_versions)
def test_every_state_on_the_way_is_one_that_the_log_had(
    releases: list[Release], moments: list[int], bad: frozenset[tuple[str, int]]
) -> None:
    process = follow(Process(deployed(*FUNCTIONS), bad=bad), releases, moments)
    refused = {name for name, _, _ in process.tried}
    for sequence, versions in process.passed:
        had = said(releases, sequence)
        assert {n: v for n, v in versions.items() if n not in refused} == {
            n: v for n, v in had.items() if n not in refused
        }


@quick
@given(histories(), looks)
def test_taken_step_by_step_the_way_passes_each_release(
    releases: list[Release], moments: list[int]
) -> None:
    start = min([*moments, len(releases)])
    process = Process(deployed(*FUNCTIONS))
    process.look(releases[:start])
    steps = plan.stepwise(process.view(releases), releases[start:])
    assert [sequence for sequence, _ in steps] == sorted({sequence for sequence, _ in steps})
    for sequence, step in steps:
        assert process._go(step, sequence) == {}
        assert process.versions() == said(releases, sequence)
    assert process.versions() == said(releases, len(releases))


@quick
@given(histories(), looks, bad_versions)
def test_a_refused_release_of_a_function_is_tried_once(
    releases: list[Release], moments: list[int], bad: frozenset[tuple[str, int]]
) -> None:
    process = follow(Process(deployed(*FUNCTIONS), bad=bad), releases, moments)
    # What was merely released together with a bad one may be tried again without it.
    culprits = [one for one in process.tried if (one[0], one[1]) in bad]
    assert len(culprits) == len(set(culprits))
    process.now += 1e9
    process.tried.clear()
    process.look(releases)
    assert process.tried == []


@quick
@given(histories(), looks, bad_versions)
def test_when_a_process_looked_makes_no_difference_in_the_end(
    releases: list[Release], moments: list[int], bad: frozenset[tuple[str, int]]
) -> None:
    moments = moments or list(range(len(releases)))
    live = follow(Process(deployed(*FUNCTIONS), bad=bad), releases, moments)
    fresh = follow(Process(deployed(*FUNCTIONS), bad=bad), releases, [])
    assert live.failures.keys() == fresh.failures.keys()
    for name in set(FUNCTIONS) - live.failures.keys():  # what is refused keeps what ran before
        assert live.versions()[name] == fresh.versions()[name]


@quick
@given(histories(), looks, st.sets(st.sampled_from(FUNCTIONS)))
def test_a_moment_to_look_again_is_one_at_which_something_is_tried(
    releases: list[Release], moments: list[int], held: set[str]
) -> None:
    lost = {(name, version) for name in FUNCTIONS for version in range(1, 9)}
    process = Process(deployed(*FUNCTIONS), lost=lost)
    for moment in sorted(moments):
        process.look(releases[: max(moment, process.known)])
    process.look(releases)
    for name in held:
        process.running[name] = replace(process.running[name], held=True)
    process.look(releases)
    retry_at = plan.next_retry(process.failures.values())
    if retry_at is not None:
        process.now = retry_at
        assert plan.goal(process.view(releases))


needs = st.dictionaries(
    st.tuples(st.sampled_from(FUNCTIONS), st.integers(1, 3)),
    st.tuples(st.sampled_from(FUNCTIONS), st.frozensets(st.integers(0, 3), min_size=1)),
    max_size=4,
)


@quick
@given(histories(), looks, needs)
def test_where_all_fits_in_the_end_it_makes_no_difference_what_did_not_on_the_way(
    releases: list[Release],
    moments: list[int],
    needs: dict[tuple[str, int], tuple[str, frozenset[int]]],
) -> None:
    needs = {one: need for one, need in needs.items() if one[0] != need[0]}
    tip = said(releases, len(releases))
    needs = {
        one: need for one, need in needs.items() if tip[one[0]] != one[1] or tip[need[0]] in need[1]
    }
    process = follow(
        Process(deployed(*FUNCTIONS), needs=needs), releases, [*moments, len(releases)]
    )
    assert process.versions() == tip
    assert process.failures == {}


@quick
@given(histories(), looks, needs)
def test_no_function_ever_runs_beside_what_it_does_not_fit(
    releases: list[Release],
    moments: list[int],
    needs: dict[tuple[str, int], tuple[str, frozenset[int]]],
) -> None:
    needs = {one: need for one, need in needs.items() if one[0] != need[0]}
    process = follow(Process(deployed(*FUNCTIONS), needs=needs), releases, moments)
    for _, versions in process.passed:
        for name, version in versions.items():
            other, fitting = needs.get((name, version), (name, frozenset((version,))))
            assert versions[other] in fitting
