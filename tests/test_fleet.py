"""The fleet as one value: order, reasons, and what is said once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scatter.fleet import (
    BEHIND,
    DISTRUSTED,
    HELD,
    OTHER,
    REFUSED,
    SUPERSEDED,
    WAITING,
    WELL,
    Fleet,
    fleet_of,
    name_of,
    names_of,
)
from scatter.model import Change, FunctionState, ProcessReport, Refusal


def state(name: str, version: int | None = 2, *, sequence: int = 5) -> FunctionState:
    live = Change(function=name, version=version)
    when = "2026-11-25T12:00:00Z"
    return FunctionState(
        function=name, live=live, sequence=sequence, author="ann", time=when, last=version or 0
    )


def process(pid: int = 1, *, sequence: int = 5, **fields: Any) -> ProcessReport:
    known = {"host": "web", "state": "ready", "application": "shop", "python": "3.12.1"}
    return ProcessReport(id=str(pid), pid=pid, sequence=sequence, **known | fields)


def refusal(function: str, version: int = 2) -> Refusal:
    return Refusal(function=function, version=version, reason="missing-import", message="No.")


def fleet(*reports: ProcessReport, names: str = "f", tip: int = 5) -> Fleet:
    return fleet_of({name: state(name) for name in names}, reports, tip)


def standing(report: ProcessReport) -> tuple[int | None, str, str]:
    """Return what `f` is in a process."""
    (share,) = fleet(report).shares("f")
    return share.version, share.mark, share.why


# functions --------------------------------------------------------------------------------


def test_a_function_counts_who_runs_the_live_version_and_who_another() -> None:
    running = [process(n, functions={"f": version}) for n, version in enumerate((2, 2, 1, 1, 0))]

    (spread,) = fleet(*running).spreads

    assert (spread.on_live, spread.total) == (2, 5)
    assert spread.running() == "2/5 (deployed, v1 ×2)"
    assert spread.said() == "3 other code"
    assert not spread.is_well


def test_functions_that_are_refused_or_behind_come_first_then_the_newest() -> None:
    names = {"well": 1, "newest": 4, "held": 2, "behind": 5, "refused": 3}
    functions = {name: state(name, sequence=number) for name, number in names.items()}
    late = process(1, sequence=4, functions=dict.fromkeys(names, 2) | {"behind": 1})
    other = process(
        2,
        functions=dict.fromkeys(names, 2) | {"refused": 1, "held": 1},
        refused=(refusal("refused"),),
        held=("held",),
    )

    found = fleet_of(functions, [late, other], 5).spreads

    assert [spread.name for spread in found] == ["refused", "behind", "held", "newest", "well"]
    assert [spread.said() for spread in found] == ["1 refused", "1 behind", "1 held", "", ""]


def test_a_deleted_function_is_run_by_nobody_that_is_behind() -> None:
    deleted = fleet_of({"f": state("f", None)}, [process(functions={"f": 1})], 5).spreads[0]

    assert (deleted.on_live, deleted.total, deleted.said()) == (0, 1, "")


def test_of_the_deployed_code_a_process_that_fetched_the_function_is_not_told_off() -> None:
    (spread,) = fleet_of({"f": state("f", 0)}, [process(functions={"f": 3})], 5).spreads

    assert spread.said() == ""
    assert spread.running() == "0/1 (v3)"


# one function in processes ----------------------------------------------------------------


def test_each_thing_that_a_function_can_be_has_a_reason() -> None:
    assert standing(process(functions={"f": 2})) == (2, WELL, "")
    found = {
        REFUSED: process(functions={"f": 1}, refused=(refusal("f"),)),
        BEHIND: process(functions={"f": 1}, sequence=4),
        WAITING: process(functions={"f": 1}, pending={"f": 2}),
        DISTRUSTED: process(functions={"f": 1}, distrusted=("f",)),
        HELD: process(functions={"f": 1}, held=("f",)),
        SUPERSEDED: process(functions={"f": 0}, superseded=("f",)),
        OTHER: process(functions={"f": 1}),
    }
    for mark, report in found.items():
        version, found_mark, why = standing(report)
        assert (version, found_mark) == (report.functions["f"], mark)
        assert why


def test_the_reason_of_a_refusal_is_what_the_process_said() -> None:
    refused = process(functions={"f": 1}, refused=(refusal("f"),))

    assert standing(refused) == (1, REFUSED, "v2 missing-import: No.")


def test_who_is_behind_because_it_is_stale_says_so() -> None:
    stale = process(functions={"f": 1}, sequence=4, state="stale", reason="Redis is gone.")

    assert standing(stale) == (1, BEHIND, "stale: Redis is gone.")


def test_of_several_things_the_worst_is_said() -> None:
    both = process(functions={"f": 1}, held=("f",), refused=(refusal("f"),))

    assert standing(both)[1] == REFUSED


def test_processes_without_the_function_are_no_part_of_it() -> None:
    assert fleet(process(functions={"g": 2})).shares("f") == []
    assert fleet(process(functions={"g": 2})).shares("unknown") == []


def test_processes_in_which_a_function_is_the_same_are_one_share_the_worst_first() -> None:
    running = [process(n, functions={"f": 2}) for n in range(1, 1000)]
    late = [process(n, functions={"f": 1}, sequence=4) for n in (1001, 1002)]

    shares = fleet(*running, *late).shares("f")

    assert [(s.version, s.mark, len(s.reports)) for s in shares] == [(1, BEHIND, 2), (2, WELL, 999)]


# processes --------------------------------------------------------------------------------


def test_processes_that_are_alike_are_one_group_and_those_in_trouble_come_first() -> None:
    well = [process(n, functions={"f": 2}) for n in range(1, 6)]
    late = process(6, sequence=3, functions={"f": 1})
    refused = process(7, functions={"f": 1}, refused=(refusal("f"),))

    groups = fleet(*well, late, refused).processes()

    assert [names_of(group.reports) for group in groups] == ["web:6", "web:7", "web:1 and 4 more"]
    assert [group.where() for group in groups] == ["2 behind", "current", "current"]
    assert [group.notes for group in groups] == [(), ("1 refused",), ()]
    assert [group.is_well for group in groups] == [False, False, True]
    assert len(fleet(*well, late, refused).processes(each=True)) == 7


def test_a_process_may_be_ahead_of_what_was_read() -> None:
    (group,) = fleet(process(sequence=7)).processes()

    assert (group.where(), group.is_well) == ("2 ahead", True)


@pytest.mark.parametrize(
    "trouble",
    [{"state": "stale"}, {"held": ("f",)}, {"distrusted": ("f",)}, {"refused": (refusal("f"),)}],
)
def test_a_process_with_any_trouble_is_not_well_though_it_is_current(
    trouble: dict[str, Any],
) -> None:
    (group,) = fleet(process(**trouble)).processes()
    assert (group.where(), group.is_well) == ("current", False)


def test_a_trouble_is_said_once_with_all_that_have_it() -> None:
    running = [process(n, functions={"f": 1}, refused=(refusal("f"),)) for n in range(1, 6)]

    (trouble,) = fleet(*running).troubles()

    assert (trouble.what, trouble.why) == ("f v2 refused: missing-import", "No.")
    assert names_of(trouble.reports, 3) == "web:1, web:2, web:3 and 2 more"


def test_the_headline_counts_and_leaves_out_what_there_is_not() -> None:
    late = process(1, sequence=4, state="stale")
    refused = process(2, refused=(refusal("f"),), held=("f",))

    assert fleet(late, refused).headline() == (
        "2 processes at release 5: 1 current, 1 behind, 1 not ready, 1 with refusals, 1 with holds"
    )
    assert fleet(process()).headline() == "1 process at release 5: 1 current"
    assert fleet().headline() == "0 processes at release 5"


# any fleet --------------------------------------------------------------------------------


NAMES = st.sampled_from("fgh")
REPORTS = st.builds(
    process,
    st.integers(1, 10**6),
    sequence=st.integers(0, 7),
    state=st.sampled_from(["ready", "stale"]),
    reason=st.sampled_from(["", "Redis is gone."]),
    functions=st.dictionaries(NAMES, st.integers(0, 3)),
    held=st.lists(NAMES, max_size=2, unique=True).map(tuple),
    superseded=st.lists(NAMES, max_size=2, unique=True).map(tuple),
    distrusted=st.lists(NAMES, max_size=2, unique=True).map(tuple),
    pending=st.dictionaries(NAMES, st.integers(0, 3), max_size=2),
    refused=st.lists(NAMES.map(refusal), max_size=2).map(tuple),
)


@given(st.lists(REPORTS, max_size=12, unique_by=lambda report: report.id))
def test_no_process_is_lost_or_counted_twice(reports: list[ProcessReport]) -> None:
    found = fleet(*reports, names="fg")

    everyone = sorted(map(name_of, reports))
    for each in (False, True):
        groups = found.processes(each=each)
        assert sorted(name_of(r) for group in groups for r in group.reports) == everyone
        wells = [group.is_well for group in groups]
        assert wells == sorted(wells), "those in trouble first"
    for spread in found.spreads:
        shares = found.shares(spread.name)
        held = [r for share in shares for r in share.reports]
        assert len({r.id for r in held}) == len(held)
        assert {r.id for r in held} >= {r.id for r in reports if spread.name in r.functions}
        for mark, count in spread.marks.items():
            assert sum(len(s.reports) for s in shares if s.mark == mark) == count
        assert all(share.why for share in shares if share.mark)
