"""Acknowledgements and reports: who runs a release, who would not, and who has not answered."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scatter.acks import Acks, label, wait_for
from scatter.model import ProcessReport, Refusal
from scatter.reports import MAX_BYTES, read_report, read_reports, write_report
from scatter.store.memory import MemoryStore
from scatter.store.port import Store
from scatter.store.redis import RedisStore

TTL_S = 60.0
REFUSAL = Refusal(
    function="pricing:score", version=7, reason="missing-import", message="There is no `rates`."
)


def process(number: int, sequence: int, **more: Any) -> ProcessReport:
    return ProcessReport(
        id=f"host-{number}",
        host="host",
        pid=number,
        application="shop",
        python="3.11.9",
        state="ready",
        sequence=sequence,
        **more,
    )


def tell(store: Store, *reports: ProcessReport, ttl_s: float = TTL_S) -> None:
    for report in reports:
        store.write_report(report.id, write_report(report), ttl_s)


@pytest.fixture(params=["memory", "redis"])
def stores(
    request: pytest.FixtureRequest, redis_url: str, namespace: str
) -> Iterator[Callable[[], Store]]:
    """Gives store objects of one namespace: one each for who asks and for who answers."""
    memory = MemoryStore(namespace)
    opened: list[RedisStore] = []

    def one() -> Store:
        if request.param == "memory":
            return memory
        opened.append(RedisStore(redis_url, namespace))
        return opened[-1]

    yield one
    for store in opened:
        store.close()


class Question:
    """Asks in a thread, so that the test can answer meanwhile."""

    def __init__(self, store: Store, sequence: int, **options: Any) -> None:
        self.answer: Acks | None = None
        options.setdefault("timeout_s", 20.0)

        def ask() -> None:
            self.answer = wait_for(store, store.doorbell(), sequence, **options)

        self._thread = threading.Thread(target=ask)
        self._thread.start()

    def result(self) -> Acks:
        self._thread.join(25)
        assert self.answer is not None
        return self.answer


def ids(reports: tuple[ProcessReport, ...]) -> list[int]:
    return [report.pid for report in reports]


# waiting ---------------------------------------------------------------------------------


def test_the_time_until_the_answers_begins_with_the_release_where_that_is_known() -> None:
    store = MemoryStore("shop")
    tell(store, process(1, 7))
    now = iter([100.0, 100.5, 101.0, 200.0, 200.5, 201.0])

    asked = wait_for(store, store.doorbell(), 7, timeout_s=9, clock=lambda: next(now))
    assert 0 < asked.elapsed_s <= 1.0
    now = iter([100.0, 100.5, 101.0])
    told = wait_for(
        store, store.doorbell(), 7, timeout_s=9, released_at=90.0, clock=lambda: next(now)
    )
    assert 10.0 < told.elapsed_s <= 11.0, "also what passed before anybody was asked"


def test_nobody_to_wait_for_is_answered_at_once(stores: Callable[[], Store]) -> None:
    store = stores()
    acks = wait_for(store, store.doorbell(), 1, timeout_s=20)
    assert (acks.total, acks.applied, acks.refused, acks.behind) == (0, (), (), ())
    assert str(acks) == "No process runs under an agent."


def test_it_returns_when_every_process_has_answered(stores: Callable[[], Store]) -> None:
    asker, workers = stores(), stores()
    tell(workers, process(1, 4), process(2, 4))
    question = Question(asker, 5)
    tell(workers, process(1, 5))
    assert question.answer is None
    tell(workers, process(2, 6))
    acks = question.result()
    assert ids(acks.applied) == [1, 2]
    assert (acks.refused, acks.behind, acks.total) == ((), (), 2)
    assert acks.elapsed_s > 0


def test_an_answer_that_came_before_the_question_counts(stores: Callable[[], Store]) -> None:
    store = stores()
    tell(store, process(1, 5), process(2, 9))
    acks = wait_for(store, store.doorbell(), 5, timeout_s=0)
    assert ids(acks.applied) == [1, 2]


def test_a_refusal_is_an_answer_and_is_told_with_its_reason(stores: Callable[[], Store]) -> None:
    store = stores()
    has = {"pricing:score": 1}
    tell(store, process(1, 5, functions=has), process(2, 5, functions=has, refused=(REFUSAL,)))
    acks = wait_for(store, store.doorbell(), 5, timeout_s=20, functions=["pricing:score"])
    assert ids(acks.applied) == [1]
    ((report, refusals),) = acks.refused
    assert report.pid == 2
    assert refusals == (REFUSAL,)
    assert acks.total == 2


def test_old_refusals_of_other_functions_do_not_count(stores: Callable[[], Store]) -> None:
    store = stores()
    has = {"pricing:score": 1, "pricing:rank": 1}
    tell(store, process(1, 5, functions=has, refused=(REFUSAL,)))
    acks = wait_for(store, store.doorbell(), 5, timeout_s=20, functions=["pricing:rank"])
    assert ids(acks.applied) == [1]
    acks = wait_for(store, store.doorbell(), 5, timeout_s=20)
    assert [report.pid for report, _ in acks.refused] == [1]


def test_processes_that_do_not_have_the_function_are_not_counted(
    stores: Callable[[], Store],
) -> None:
    store = stores()
    others = process(2, 9, functions={"mail:send": 1}), process(3, 1)
    tell(store, process(1, 5, functions={"pricing:score": 2}), *others)
    acks = wait_for(store, store.doorbell(), 5, timeout_s=20, functions=["pricing:score"])
    assert (ids(acks.applied), acks.total) == ([1], 1)


def test_who_has_not_answered_in_time_is_named(stores: Callable[[], Store]) -> None:
    store = stores()
    tell(store, process(1, 5), process(2, 4), process(3, 0))
    acks = wait_for(store, store.doorbell(), 5, timeout_s=0.05)
    assert ids(acks.applied) == [1]
    assert ids(acks.behind) == [2, 3]
    assert acks.elapsed_s >= 0.05


def test_a_process_that_vanishes_is_not_waited_for(stores: Callable[[], Store]) -> None:
    asker, workers = stores(), stores()
    tell(workers, process(1, 5))
    tell(workers, process(2, 4), ttl_s=0.2)
    acks = wait_for(asker, asker.doorbell(), 5, timeout_s=20)
    assert ids(acks.applied) == [1]
    assert (acks.behind, acks.total) == ((), 1)


def test_a_process_that_leaves_is_not_waited_for(stores: Callable[[], Store]) -> None:
    asker, workers = stores(), stores()
    tell(workers, process(1, 5), process(2, 4))
    question = Question(asker, 5)
    workers.remove_report("host-2")
    assert ids(question.result().applied) == [1]


def test_a_process_that_appears_meanwhile_is_waited_for(namespace: str) -> None:
    store = MemoryStore(namespace)
    tell(store, process(1, 4))
    question = Question(store, 5)
    tell(store, process(2, 3))
    tell(store, process(1, 5))
    tell(store, process(2, 5))
    assert ids(question.result().applied) == [1, 2]


def test_a_silent_doorbell_costs_time_only(namespace: str) -> None:
    class Silent(MemoryStore):
        def _ring(self, ring: object) -> None:
            """Nobody hears of it."""

    store = Silent(namespace)
    tell(store, process(1, 4))
    question = Question(store, 5)
    tell(store, process(1, 5))
    assert ids(question.result().applied) == [1]


def test_a_process_that_holds_the_function_is_not_said_to_run_it(
    stores: Callable[[], Store],
) -> None:
    store = stores()
    held = process(2, 5, functions={"pricing:score": 1}, held=("pricing:score",))
    tell(store, process(1, 5, functions={"pricing:score": 7}), held)
    acks = wait_for(store, store.doorbell(), 5, timeout_s=20, functions=["pricing:score"])
    assert ids(acks.applied) == [1], "the other one answered, and stays at version 1"
    assert acks.total == 2
    assert "held" in str(acks)


# the text --------------------------------------------------------------------------------


def test_the_text_says_how_many_and_how_fast() -> None:
    one = Acks(applied=(process(1, 5),), elapsed_s=0.0314)
    two = Acks(applied=(process(1, 5), process(2, 5)), elapsed_s=0.5)
    assert str(one) == "1/1 process in 31 ms"
    assert str(two) == "2/2 processes in 500 ms"


def test_the_text_names_who_refused_why_and_who_is_behind() -> None:
    acks = Acks(
        applied=(process(1, 5),),
        refused=((process(2, 5, refused=(REFUSAL,)), (REFUSAL,)),),
        behind=(process(3, 4),),
        elapsed_s=2.0,
    )
    assert str(acks).splitlines() == [
        "1/3 processes in 2000 ms",
        "  refused by shop host:2: There is no `rates`.",
        "  no answer yet from shop host:3",
    ]


def test_processes_that_refuse_for_the_same_reason_share_a_line() -> None:
    acks = Acks(refused=tuple((process(n, 5), (REFUSAL,)) for n in (1, 2)), elapsed_s=1.0)
    assert str(acks).splitlines()[1:] == [
        "  refused by shop host:1, shop host:2: There is no `rates`."
    ]


def test_a_process_without_an_application_is_known_by_its_host_and_pid() -> None:
    assert label(dataclasses.replace(process(1, 5), application="")) == "host:1"


# reports ---------------------------------------------------------------------------------

texts = st.text(max_size=20)
numbers = st.integers(0, 2**53)
refusals = st.builds(Refusal, function=texts, version=numbers, reason=texts, message=texts)
reports = st.builds(
    ProcessReport,
    id=texts,
    host=texts,
    pid=numbers,
    application=texts,
    python=texts,
    state=st.sampled_from(["starting", "ready", "stale", "error"]),
    sequence=numbers,
    functions=st.dictionaries(texts, numbers, max_size=3),
    held=st.lists(texts, max_size=3).map(tuple),
    refused=st.lists(refusals, max_size=2).map(tuple),
    switched_at=st.floats(0, 1e12),
)
quick = settings(deadline=None, max_examples=100)


@quick
@given(reports)
def test_a_report_is_read_as_it_was_written(report: ProcessReport) -> None:
    assert read_report(write_report(report)) == report


@quick
@given(st.binary(max_size=200))
def test_bytes_that_are_no_report_are_passed_over(data: bytes) -> None:
    assert read_report(data) is None


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@quick
@given(reports, st.data())
def test_a_report_with_a_field_of_the_wrong_type_is_none(
    report: ProcessReport, data: st.DataObject
) -> None:
    fields = json.loads(write_report(report))
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(anything)
    fields[name] = value
    found = read_report(json.dumps(fields).encode())
    if found is not None:
        types = {"sequence": int, "pid": int, "switched_at": (int, float)}
        read = getattr(found, name, None)
        if name in ("id", "host", "application", "python", "state"):
            assert isinstance(read, str), (name, value)
        elif name in types:
            assert isinstance(read, types[name]), (name, value)  # type: ignore[arg-type]
        read_report(write_report(found))


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"format":1,"refused":' + b"[" * 100_000,
        b"9" * 5000,
        b" " * (MAX_BYTES + 1),
        b'{"format":1}',
        b"null",
        json.dumps(json.loads(write_report(process(1, 1))) | {"application": "\ud800"}).encode(),
    ],
    ids=["deep", "deep field", "long number", "big", "empty", "null", "half a character"],
)
def test_bytes_made_to_break_the_reader_are_passed_over(data: bytes) -> None:
    assert read_report(data) is None


@pytest.mark.parametrize("field", ["sequence", "pid"])
@pytest.mark.parametrize("value", ["Infinity", "NaN", "1e999", '"many"', "[]", "null"])
def test_a_number_that_is_none_is_passed_over(field: str, value: str) -> None:
    text = write_report(process(1, 1)).decode()
    assert f'"{field}":1,' in text
    assert read_report(text.replace(f'"{field}":1,', f'"{field}":{value},').encode()) is None


@pytest.mark.parametrize(
    "change",
    [{"application": 5}, {"host": None}, {"pid": "1"}, {"application": ["a"]}, {"refused": [{}]}],
    ids=str,
)
def test_a_strange_report_hides_no_other(
    stores: Callable[[], Store], change: dict[str, Any]
) -> None:
    strange = json.loads(write_report(process(9, 5))) | change
    _assert_others_are_seen(stores(), json.dumps(strange).encode())


def test_a_report_too_deep_to_read_hides_no_other(stores: Callable[[], Store]) -> None:
    _assert_others_are_seen(stores(), b"[" * 100_000)


def _assert_others_are_seen(store: Store, strange: bytes) -> None:
    tell(store, process(1, 5), process(2, 5))
    store.write_report("host-9", strange, TTL_S)
    assert {report.pid for report in read_reports(store)} >= {1, 2}
    acks = wait_for(store, store.doorbell(), 5, timeout_s=0)
    assert {1, 2} <= set(ids(acks.applied))


def test_reports_come_by_application_host_and_pid(stores: Callable[[], Store]) -> None:
    store = stores()
    other = dataclasses.replace(process(1, 5), id="x", application="api")
    tell(store, process(10, 5), process(9, 5), other)
    assert [(r.application, r.pid) for r in read_reports(store)] == [
        ("api", 1),
        ("shop", 9),
        ("shop", 10),
    ]
