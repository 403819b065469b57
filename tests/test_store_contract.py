"""The contract of `scatter.store.port`, on every store: order, compare-and-swap, hints, doorbells.

A store class passes when its subclass of `StoreContract` does; one that is filled by others, that
of `ReadingContract`. What only one of them has is in its own file.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fleets import Node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import free_port, wait_until

from scatter.server import EmbeddedServer
from scatter.store import open_store
from scatter.store.directory import DirectoryStore
from scatter.store.memory import MemoryStore
from scatter.store.port import NO_HINTS, Doorbell, Hints, Ring, Store
from scatter.store.redis import RedisStore
from scatter.store.writer import Writer

Opens = Callable[..., Store]

_numbers = itertools.count(1)


def fill(store: Store, last: int, first: int = 1) -> None:
    """Write entries `first` to `last`, each with its sequence as its text."""
    for sequence in range(first, last + 1):
        assert store.append(sequence, b"%d" % sequence, {})


def empty_log(store: Store) -> None:
    """Lose the log, as a server without persistence does when it is started again."""
    if isinstance(store, RedisStore):
        store.link.run([("DEL", store.key("log"))])
    else:
        assert isinstance(store, MemoryStore)
        store._entries.clear()


def let_go(bell: Any) -> None:
    """Close what a doorbell holds; tests of other things make no noise about it."""
    for wire in (getattr(bell, "_wake_in", None), getattr(bell, "_wake_out", None)):
        if wire is not None:
            wire.close()


def heard(bell: Doorbell, done: Callable[[Ring], bool]) -> Ring:
    """Return all rings as one, up to the first moment at which `done` likes them."""
    total = Ring()

    def enough() -> bool:
        nonlocal total
        ring = bell.wait(0.5)
        total = Ring(
            log=total.log or ring.log,
            processes=total.processes | ring.processes,
            woken=total.woken or ring.woken,
        )
        return done(total)

    wait_until(enough, "the doorbell")
    return total


def in_child(body: Callable[[], object], limit_s: int = 10) -> str:
    """Run `body` in a forked child; return what went wrong there, empty if nothing did."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(limit_s)
        try:
            body()
        except BaseException:  # the child must never return into pytest
            os.write(writing, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return said or ("" if status == 0 else f"the child hung or died: status {status}")


class ReadingContract:
    """What every store does that can be read, however it is filled.

    Subclasses say how one is opened.
    """

    @pytest.fixture
    def opens(self) -> Iterator[Opens]:
        """Open store objects on one namespace, or on the one that is named."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, opens: Opens) -> Store:
        """One store object."""
        return opens()

    @pytest.fixture
    def bell(self, opens: Opens) -> Iterator[Doorbell]:
        """A doorbell on a store object of its own, as its contract asks for."""
        bell = opens().doorbell()
        yield bell
        let_go(bell)

    # order --------------------------------------------------------------------------------

    def test_an_empty_log_has_nothing_to_read(self, store: Store) -> None:
        tail = store.read(0)
        assert (tail.entries, tail.tip, dict(tail.recent), tail.snapshot) == ((), 0, {}, 0)
        assert store.entries([1]) == [None]
        assert store.bundles(["ab" * 32]) == {}
        assert store.versions("shop:score") == []
        assert store.reports() == {}

    def test_entries_are_read_in_order_after_a_sequence(self, store: Store) -> None:
        fill(store, 12)
        assert store.read(0).entries == tuple(b"%d" % n for n in range(1, 13))
        assert store.read(9).entries == (b"10", b"11", b"12")
        assert store.read(12).entries == ()
        assert {store.read(after).tip for after in (0, 9, 12)} == {12}

    def test_a_reader_that_is_ahead_of_the_log_sees_that_it_went_back(self, store: Store) -> None:
        fill(store, 2)
        tail = store.read(7)
        assert tail.entries == ()
        assert tail.tip == 2

    @pytest.mark.parametrize("limit", [0, 1, 3, 5, 6, 100])
    def test_a_read_is_cut_at_its_limit_and_tells_where_the_log_ends(
        self, store: Store, limit: int
    ) -> None:
        fill(store, 7)
        tail = store.read(2, limit)
        assert tail.entries == tuple(b"%d" % n for n in range(3, 8))[:limit]
        assert tail.tip == 7

    def test_without_a_limit_given_64_entries_are_read(self, store: Store) -> None:
        fill(store, 65)
        assert len(store.read(0).entries) == 64
        assert store.read(64).entries == (b"65",)

    def test_entries_come_in_the_order_asked_for_and_none_for_those_that_are_not_there(
        self, store: Store
    ) -> None:
        fill(store, 3)
        assert store.entries([3, 99, 1, 0, 3]) == [b"3", None, b"1", None, b"3"]
        assert store.entries(range(1, 4)) == [b"1", b"2", b"3"]
        assert store.entries([]) == []

    def test_all_bytes_are_kept_as_they_are(self, store: Store) -> None:
        entry, data = bytes(range(256)) * 3 + b"\r\n\0", bytes(reversed(range(256))) * 8192
        assert store.append(1, entry, {"ab" * 32: data})
        assert store.entries([1]) == [entry]
        assert store.read(0).entries == (entry,)
        assert store.bundles(["ab" * 32]) == {"ab" * 32: data}

    def test_another_namespace_has_another_log(self, opens: Opens) -> None:
        store, other = opens(), opens("other")
        fill(store, 2)
        store.append(3, b"x", {"ab" * 32: b"data"}, Hints(versions={"f": 1}, snapshot=True))
        store.write_report("p1", b"report", 60)
        assert other.namespace != store.namespace
        assert other.read(0).tip == 0
        assert other.read(0).snapshot == 0
        assert other.bundles(["ab" * 32]) == {}
        assert other.versions("f") == []
        assert other.reports() == {}

    # bundles ------------------------------------------------------------------------------

    def test_a_bundle_is_written_once(self, store: Store) -> None:
        digest = "ab" * 32
        store.append(1, b"1", {digest: b"first"})
        store.append(2, b"2", {digest: b"second"})
        assert store.bundles([digest]) == {digest: b"first"}

    def test_only_bundles_that_exist_are_returned(self, store: Store) -> None:
        store.append(1, b"1", {"ab" * 32: b"a", "cd" * 32: b"c"})
        asked = (d * 32 for d in ("ab", "ef", "cd"))
        assert store.bundles(asked) == {"ab" * 32: b"a", "cd" * 32: b"c"}
        assert store.bundles([]) == {}

    def test_removed_bundles_are_gone_also_from_the_newest_release(self, store: Store) -> None:
        store.append(1, b"1", {"ab" * 32: b"a", "cd" * 32: b"c"})
        store.remove_bundles(d * 32 for d in ("ab", "ef"))
        assert store.bundles(["ab" * 32, "cd" * 32]) == {"cd" * 32: b"c"}
        assert "ab" * 32 not in store.read(0, recent=True).recent
        store.remove_bundles([])
        store.remove_bundles(["ab" * 32])
        assert store.bundles(["cd" * 32]) == {"cd" * 32: b"c"}

    # hints --------------------------------------------------------------------------------

    def test_the_newest_snapshot_is_pointed_at(self, store: Store) -> None:
        fill(store, 2)
        assert store.read(0).snapshot == 0
        store.append(3, b"3", {}, Hints(snapshot=True))
        fill(store, 5, first=4)
        assert store.read(0).snapshot == 3
        assert store.read(0, 0).snapshot == 3
        assert store.read(5).snapshot == 0, "only who begins looks for one"
        store.append(6, b"6", {}, Hints(snapshot=True))
        assert store.read(0).snapshot == 6

    # use ----------------------------------------------------------------------------------

    def test_a_closed_store_may_be_used_again(self, store: Store) -> None:
        store.close()
        fill(store, 1)
        store.close()
        store.close()
        assert store.read(0).entries == (b"1",)
        store.close()

    def test_a_child_forked_while_other_threads_are_inside_the_store_can_use_its_copy(
        self, store: Store
    ) -> None:
        fill(store, 3)
        stop = threading.Event()

        def busy() -> None:
            while not stop.is_set():
                store.read(0)

        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            said = (in_child(lambda: store.read(0).entries[2], 3) for _ in range(10))
            assert next(filter(None, said), "") == ""
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert store.read(2).entries == (b"3",)

    # doorbell -----------------------------------------------------------------------------

    def test_the_doorbell_rings_for_the_log(self, store: Store, bell: Doorbell) -> None:
        bell.listen()
        assert bell.works
        assert bell.trouble == ""
        assert not bell.wait(0)
        fill(store, 1)
        assert bell.wait(10) == Ring(log=True)
        assert not bell.wait(0)
        fill(store, 2, first=2)
        assert bell.wait(10) == Ring(log=True)

    def test_listening_for_nothing_rings_for_nothing_but_a_wake(
        self, store: Store, bell: Doorbell
    ) -> None:
        bell.listen(log=False)
        fill(store, 1)
        store.write_report("p1", b"x", 60)
        bell.wake()
        assert heard(bell, lambda ring: bool(ring)) == Ring(woken=True)

    def test_a_wake_from_another_thread_ends_a_wait(self, bell: Doorbell) -> None:
        bell.listen()
        waker = threading.Timer(0.05, bell.wake)
        waker.start()
        assert bell.wait(20) == Ring(woken=True)
        waker.join()

    def test_wakes_before_a_wait_end_it_once_and_never_block(self, bell: Doorbell) -> None:
        bell.listen()
        for _ in range(20_000):
            bell.wake()
        assert bell.wait(20) == Ring(woken=True)
        assert not bell.wait(0.01)

    def test_a_wake_outlives_listening_again(self, bell: Doorbell) -> None:
        bell.listen()
        bell.wake()
        bell.listen()
        assert bell.wait(20).woken

    def test_a_look_without_waiting_sees_a_wake(self, bell: Doorbell) -> None:
        bell.listen()
        bell.wake()
        assert bell.wait(0) == Ring(woken=True)

    def test_a_wait_ends_with_its_time(self, bell: Doorbell) -> None:
        bell.listen()
        assert bell.wait(0.01) == Ring()

    def test_a_doorbell_that_nobody_holds_is_let_go_without_a_warning(self, store: Store) -> None:
        bell = store.doorbell()
        bell.listen()
        gone = weakref.ref(bell)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            del bell
            gc.collect()
        assert gone() is None
        assert [str(warning.message) for warning in said] == []


class StoreContract(ReadingContract):
    """What every store does that takes releases and reports."""

    # compare-and-swap ---------------------------------------------------------------------

    def test_an_entry_never_changes_once_it_is_written(self, store: Store) -> None:
        assert store.append(1, b"first", {}) is True
        assert store.append(1, b"second", {}) is False
        assert store.append(1, b"first", {}) is False
        assert store.read(0).entries == (b"first",)
        assert store.read(0).tip == 1

    def test_exactly_one_of_many_concurrent_callers_wins(self, opens: Opens) -> None:
        stores = [opens() for _ in range(3)]
        together = threading.Barrier(6)

        def race(runner: int) -> list[int]:
            store, won = stores[runner % 3], []
            for sequence in range(1, 41):
                together.wait()
                if store.append(sequence, b"%d" % runner, {f"{runner:064x}": b"x"}):
                    won.append(sequence)
            return won

        with ThreadPoolExecutor(6) as pool:
            wins = list(pool.map(race, range(6)))
        assert sorted(itertools.chain(*wins)) == list(range(1, 41))
        entries = stores[0].entries(range(1, 41))
        for runner, won in enumerate(wins):
            assert all(entries[sequence - 1] == b"%d" % runner for sequence in won)

    def test_a_lost_race_leaves_entry_and_bundles_of_the_winner(self, store: Store) -> None:
        digest = "ab" * 32
        assert store.append(1, b"winner", {digest: b"its bundle"})
        assert not store.append(1, b"loser", {digest: b"another", "cd" * 32: b"unused"})
        assert store.entries([1, 2]) == [b"winner", None]
        assert store.bundles([digest]) == {digest: b"its bundle"}

    def test_an_entry_beyond_the_next_one_is_not_written(self, store: Store) -> None:
        fill(store, 2)
        assert store.append(4, b"a gap", {}, Hints(versions={"f": 1})) is False
        assert store.append(9, b"a gap", {}) is False
        assert store.read(0).entries == (b"1", b"2")
        assert store.read(0).tip == 2
        assert store.entries([3, 4, 9]) == [None] * 3
        assert store.append(3, b"3", {})

    def test_an_append_over_a_log_that_was_emptied_leaves_no_gap(self, opens: Opens) -> None:
        writer = opens()
        fill(writer, 3)
        assert writer.read(3, to_append=True).tip == 3
        empty_log(opens())
        assert writer.append(4, b"4", {}) is False
        assert writer.read(0).tip == 0
        assert writer.append(1, b"1", {})

    @pytest.mark.parametrize("is_told", [True, False])
    def test_who_reads_to_append_loses_to_who_appends_in_between(
        self, opens: Opens, is_told: bool
    ) -> None:
        mine, other = opens(), opens()
        fill(mine, 1)
        assert mine.read(1, to_append=is_told).tip == 1
        assert other.append(2, b"other", {})
        assert mine.append(2, b"mine", {}) is False
        assert mine.append(3, b"mine", {}) is True
        assert other.append(3, b"other", {}) is False
        assert other.append(4, b"other", {}) is True
        assert mine.read(0).entries == (b"1", b"other", b"mine", b"other")

    def test_writers_that_take_turns_lose_no_race(self, opens: Opens) -> None:
        mine, other = opens(), opens()
        for sequence in range(1, 9, 2):
            assert mine.append(sequence, b"mine", {})
            assert mine.read(sequence - 1).tip == sequence
            assert other.append(sequence + 1, b"other", {})
            assert mine.read(sequence).tip == sequence + 1

    def test_the_log_goes_on_after_a_lost_race(self, store: Store) -> None:
        fill(store, 1)
        assert not store.append(1, b"loser", {})
        assert store.append(2, b"retried", {})
        assert store.read(0).entries == (b"1", b"retried")

    # bundles ------------------------------------------------------------------------------

    def test_when_code_was_first_seen_is_noted_once(self, store: Store) -> None:
        assert store.first_seen(["f", "f ab"]) == {}
        assert store.first_seen([]) == {}
        store.note_seen({"f": 0, "f ab": 0})
        store.note_seen({"f": 7, "f cd": 7})
        store.note_seen({})
        assert store.first_seen(["f", "f ab", "f cd", "g"]) == {"f": 0, "f ab": 0, "f cd": 7}

    def test_what_is_noted_of_files_is_kept_by_file(self, store: Store) -> None:
        assert store.digests(["shop:1", "shop:2"]) == [{}, {}]
        assert store.digests([]) == []
        store.note_digests("shop:1", {"f": "a", "g": "b"})
        store.note_digests("shop:1", {"g": "c"})
        assert store.digests(["shop:2", "shop:1"]) == [{}, {"f": "a", "g": "c"}]

    def test_the_bundles_of_the_newest_release_come_with_the_read(self, store: Store) -> None:
        store.append(1, b"1", {"ab" * 32: b"a"})
        assert store.read(0, recent=True).recent == {"ab" * 32: b"a"}
        store.append(2, b"2", {"cd" * 32: b"c", "ef" * 32: b"e"})
        assert store.read(0, recent=True).recent == {"cd" * 32: b"c", "ef" * 32: b"e"}
        assert store.read(2, recent=True).recent == {}, "nothing is new, so nothing is sent"
        assert store.read(0, 0, recent=True).recent == {}
        assert store.read(0).recent == {}
        assert store.read(0).entries == (b"1", b"2")
        store.append(3, b"3", {})
        assert store.read(0, recent=True).recent == {}, "the newest release has none"

    # hints --------------------------------------------------------------------------------

    def test_versions_are_listed_newest_first(self, store: Store) -> None:
        for number in range(1, 13):
            hints = Hints(versions={"shop:score": number, f"shop:f{number}": 1})
            store.append(number, b"x", {}, hints)
        assert store.versions("shop:score") == [(n, n) for n in range(12, 0, -1)]
        assert store.versions("shop:f7") == [(1, 7)]
        assert store.versions("shop") == []

    def test_versions_below_go_down_and_versions_above_go_up(self, store: Store) -> None:
        for number in range(1, 13):
            store.append(number, b"x", {}, Hints(versions={"f": number}))
        assert store.versions("f", below=4) == [(3, 3), (2, 2), (1, 1)]
        assert store.versions("f", below=1) == []
        assert store.versions("f", above=9) == [(10, 10), (11, 11), (12, 12)]
        assert store.versions("f", above=12) == []
        assert store.versions("f", above=0, limit=2) == [(1, 1), (2, 2)]
        assert store.versions("f", limit=2) == [(12, 12), (11, 11)]
        assert store.versions("f", below=11, limit=1) == [(10, 10)]

    def test_pages_of_versions_add_up_to_all_of_them(self, store: Store) -> None:
        for number in range(1, 251):
            store.append(number, b"x", {}, Hints(versions={"f": number}))
        assert len(store.versions("f")) == 100

        down, below = [], None
        while page := store.versions("f", below=below, limit=64):
            down += page
            below = page[-1][0]
        up, above = [], 0
        while page := store.versions("f", above=above, limit=64):
            up += page
            above = page[-1][0]
        assert up == [(n, n) for n in range(1, 251)]
        assert down == up[::-1]

    def test_forgotten_versions_are_not_listed(self, store: Store) -> None:
        for number in range(1, 6):
            store.append(number, b"x", {}, Hints(versions={"f": number, "g": number}))
        store.append(6, b"x", {}, Hints(forget={"f": (1, 3)}))
        assert store.versions("f") == [(5, 5), (4, 4), (2, 2)]
        store.append(7, b"x", {}, Hints(forget={"f": ()}))
        assert store.versions("f") == []
        assert len(store.versions("g")) == 5
        store.append(8, b"x", {}, Hints(versions={"f": 6}))
        assert store.versions("f") == [(6, 8)]

    def test_a_lost_race_takes_no_right_hint_away(self, store: Store) -> None:
        store.append(1, b"1", {}, Hints(versions={"f": 1}))
        store.append(2, b"2", {}, Hints(versions={"f": 2}))
        assert not store.append(2, b"loser", {}, Hints(versions={"g": 1, "f": 2}))
        store.append(3, b"3", {}, Hints(versions={"g": 1}))
        assert {(1, 1), (2, 2)} <= set(store.versions("f"))
        assert (1, 3) in store.versions("g")

    @pytest.mark.parametrize(
        "names", [("a", "a:b", "a:b:c"), (":score", "score"), ("mód:é.ü", "mod:e.u"), ("x y", "x")]
    )
    def test_functions_with_names_alike_are_not_mixed_up(
        self, store: Store, names: tuple[str, ...]
    ) -> None:
        for sequence, name in enumerate(names, 1):
            store.append(sequence, b"x", {}, Hints(versions={name: sequence * 10}))
        for sequence, name in enumerate(names, 1):
            assert store.versions(name) == [(sequence * 10, sequence)]

    # reports ------------------------------------------------------------------------------

    def test_reports_are_kept_by_process_and_the_newest_counts(self, store: Store) -> None:
        store.write_report("p1", b"old", 60)
        store.write_report("p2", b"two", 60)
        store.write_report("p1", b"new", 60)
        assert store.reports() == {"p1": b"new", "p2": b"two"}

    def test_all_bytes_of_a_report_are_kept_as_they_are(self, store: Store) -> None:
        store.write_report("p\r\n1", bytes(range(256)), 60)
        assert store.reports() == {"p\r\n1": bytes(range(256))}

    def test_a_removed_report_is_gone(self, store: Store) -> None:
        store.write_report("p1", b"one", 60)
        store.write_report("p2", b"two", 60)
        store.remove_report("p1")
        store.remove_report("p1")
        store.remove_report("never")
        assert store.reports() == {"p2": b"two"}
        assert store.keep_report("p1", 60) is False

    def test_a_report_vanishes_after_its_time_and_a_kept_one_stays(self, store: Store) -> None:
        store.write_report("gone", b"1", 0.05)
        store.write_report("kept", b"2", 0.5)
        assert store.keep_report("kept", 60) is True
        store.write_report("last", b"3", 0.5)
        wait_until(lambda: set(store.reports()) == {"kept"}, "two reports to expire")

    def test_keeping_a_report_that_is_gone_does_not_bring_it_back(self, store: Store) -> None:
        store.write_report("p1", b"1", 0.02)
        wait_until(lambda: not store.reports(), "the report to expire")
        assert store.keep_report("p1", 60) is False
        assert store.reports() == {}
        store.write_report("p1", b"2", 60)
        assert store.reports() == {"p1": b"2"}

    def test_keeping_can_also_shorten_a_life(self, store: Store) -> None:
        store.write_report("p1", b"1", 60)
        assert store.keep_report("p1", 0.05) is True
        wait_until(lambda: not store.reports(), "the report to expire")

    # use ----------------------------------------------------------------------------------

    def test_every_thread_gets_its_own_answers(self, store: Store) -> None:
        names = [f"{n:064x}" for n in range(8)]
        fill(store, 8)
        store.append(9, b"9", {name: name.encode() * 50 for name in names})

        def ask(number: int) -> None:
            name = names[number]
            for _ in range(60):
                assert store.bundles([name]) == {name: name.encode() * 50}
                assert store.entries([number + 1]) == [b"%d" % (number + 1)]
                store.write_report(name, name.encode(), 60)
                assert store.reports()[name] == name.encode()
                assert store.read(number, 1).entries == (b"%d" % (number + 1),)
                assert store.keep_report(name, 60)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(8)))
        assert store.reports() == {name: name.encode() for name in names}

    def test_a_forked_child_goes_on_using_its_copy(self, store: Store) -> None:
        fill(store, 1)

        def child() -> None:
            assert store.read(0).entries == (b"1",)
            assert store.append(2, b"child", {})
            assert store.read(1).entries == (b"child",)
            store.close()

        assert in_child(child) == ""
        assert store.read(0).entries[0] == b"1"
        store.write_report("parent", b"still here", 60)
        assert store.reports() == {"parent": b"still here"}

    # doorbell -----------------------------------------------------------------------------

    def test_the_doorbell_rings_for_the_processes_it_was_told_and_no_others(
        self, store: Store, bell: Doorbell
    ) -> None:
        bell.listen(log=False, processes=["p2", "p3"])
        store.write_report("p1", b"x", 60)
        fill(store, 1)
        store.write_report("p3", b"x", 60)
        store.write_report("p2", b"x", 60)
        ring = heard(bell, lambda ring: len(ring.processes) >= 2)
        assert ring == Ring(processes=frozenset({"p2", "p3"}))

    def test_log_and_processes_can_be_listened_for_at_once(
        self, store: Store, bell: Doorbell
    ) -> None:
        bell.listen(log=True, processes=iter(["p1"]))
        store.write_report("p1", b"x", 60)
        fill(store, 1)
        ring = heard(bell, lambda ring: ring.log and bool(ring.processes))
        assert ring == Ring(log=True, processes=frozenset({"p1"}))

    def test_listening_again_replaces_what_was_listened_for(
        self, store: Store, bell: Doorbell
    ) -> None:
        bell.listen(log=True, processes=["p1"])
        bell.listen(log=False, processes=["p2"])
        fill(store, 1)
        store.write_report("p1", b"x", 60)
        store.write_report("p2", b"x", 60)
        assert heard(bell, lambda ring: bool(ring)) == Ring(processes=frozenset({"p2"}))

    def test_a_lost_race_and_another_namespace_do_not_ring(
        self, opens: Opens, store: Store, bell: Doorbell
    ) -> None:
        fill(store, 1)
        bell.listen(processes=["p1"])
        assert not store.append(1, b"loser", {})
        other = opens("other")
        fill(other, 1)
        other.write_report("p1", b"x", 60)
        store.read(0)
        store.write_report("p1", b"x", 60)
        ring = heard(bell, lambda ring: bool(ring.processes))
        assert ring == Ring(processes=frozenset({"p1"}))

    def test_several_rings_come_as_one(self, store: Store, bell: Doorbell) -> None:
        bell.listen(processes=["last"])
        fill(store, 30)
        store.write_report("last", b"x", 60)
        rings: list[Ring] = []
        wait_until(lambda: rings.append(bell.wait(1)) or rings[-1].processes, "the last ring")
        assert any(ring.log for ring in rings)
        assert len(rings) <= 3, "thirty entries that were there are no thirty rings"


class TestMemoryStore(StoreContract):
    """The store in memory."""

    @pytest.fixture
    def opens(self) -> Iterator[Opens]:
        stores: dict[str, MemoryStore] = {}
        return lambda name="app": stores.setdefault(name, MemoryStore(name))

    def test_a_memory_store_is_found_by_its_name(self) -> None:
        name = f"memory://found-{next(_numbers)}"
        assert open_store(name, "app") is open_store(name, "app")
        assert open_store(name, "app") is not open_store(name, "other")
        assert open_store(name + "x", "app") is not open_store(name, "app")
        assert open_store(name, "app").namespace == "app"

    @settings(deadline=None, max_examples=40)
    @given(st.data())
    def test_any_history_reads_as_it_was_written(self, data: st.DataObject) -> None:
        check_against_a_list(MemoryStore("app"), data)


class Mirrored(DirectoryStore):
    """A directory that is filled as a mirror does it; what is read is the directory's own."""

    def __init__(self, folder: Path, source: MemoryStore) -> None:
        super().__init__(folder, source.namespace, is_mirror=True)
        self._source, self._writer = source, Writer(folder, source.namespace, shared=True)
        with self._writer.writing() as is_ours:
            assert is_ours
            self._writer.make_folder(self.folder / "reports", 0o1777)

    def append(
        self, sequence: int, entry: bytes, bundles: Mapping[str, bytes], hints: Hints = NO_HINTS
    ) -> bool:
        if not self._source.append(sequence, entry, bundles, hints):
            return False
        new = {digest: bundles[digest] for digest in bundles.keys() - {*self._writer.bundles()}}
        snapshot = self._source.read(0, 0).snapshot
        with self._writer.writing() as is_ours:
            assert is_ours
            self._writer.keep({sequence: entry}, new, tip=sequence, snapshot=snapshot)
        return True

    def remove_bundles(self, digests: Iterable[str]) -> None:
        with self._writer.writing():
            self._writer.drop({*self._writer.bundles()} - {*digests}, below=0)


class TestDirectoryStore(ReadingContract):
    """The store in a directory: what it takes from processes is in `test_mirror_copy`."""

    @pytest.fixture
    def opens(self, tmp_path: Path) -> Iterator[Opens]:
        sources: dict[str, MemoryStore] = {}
        return lambda name="app": Mirrored(tmp_path, sources.setdefault(name, MemoryStore(name)))

    @settings(
        deadline=None,
        max_examples=10,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_any_history_reads_as_it_was_written(self, opens: Opens, data: st.DataObject) -> None:
        check_against_a_list(opens(f"h{next(_numbers)}"), data)


class RedisContract(StoreContract):
    """How Redis stores are opened at a URL; subclasses say at which."""

    @pytest.fixture
    def url(self) -> str:
        """Where."""
        raise NotImplementedError

    @pytest.fixture
    def opens(self, url: str) -> Iterator[Opens]:
        mine = f"c{os.getpid()}-{next(_numbers)}"
        opened: list[RedisStore] = []

        def opens(name: str = "app") -> RedisStore:
            opened.append(RedisStore(url, f"{mine}-{name}"))
            return opened[-1]

        yield opens
        cleaner = opens()
        (keys,) = cleaner.link.run([("KEYS", "*")])
        strangers = [key for key in keys if not key.startswith(b"scatter:{" + mine.encode())]
        cleaner.link.run([("FLUSHDB",)])
        for store in opened:
            store.close()
        assert not strangers, f"keys outside of the namespace: {strangers}"


class TestRedisStoreOnASocket(RedisContract):
    """The store in each server that there is, over its unix socket."""

    @pytest.fixture
    def url(self, any_server: EmbeddedServer) -> str:
        return any_server.url

    @settings(
        deadline=None,
        max_examples=30,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_any_history_reads_as_it_was_written(self, opens: Opens, data: st.DataObject) -> None:
        store = opens(f"h{next(_numbers)}")
        check_against_a_list(store, data)
        store.close()


@pytest.fixture(scope="module")
def strict_url(tmp_path_factory: pytest.TempPathFactory, short_tmp: Path) -> Iterator[str]:
    """A server that lets nobody in without a password: its URL for database 5."""
    port = free_port()
    with EmbeddedServer.start(
        tmp_path_factory.mktemp("strict"),
        socket=short_tmp / "strict.sock",
        port=port,
        append_only=False,
        extra="--user ann on >p@ss:w/rd ~* &* +@all --user default on nopass -@all +ping".split(),
    ):
        yield f"redis://ann:p%40ss%3Aw%2Frd@127.0.0.1:{port}/5"


class TestRedisStoreOverTcp(RedisContract):
    """The store over TCP, with a user, a password full of signs, and a database number."""

    @pytest.fixture
    def url(self, strict_url: str) -> str:
        return strict_url

    def test_it_works_in_the_database_of_the_url(self, url: str, opens: Opens) -> None:
        store = opens()
        fill(store, 1)
        other = RedisStore(url.removesuffix("/5") + "/6", store.namespace)
        assert other.read(0).tip == 0
        assert store.read(0).tip == 1
        other.close()


@pytest.fixture(scope="module")
def sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A master that one sentinel knows."""
    folder = tmp_path_factory.mktemp("sentinel")
    with contextlib.closing(Node(folder)) as master:
        known = f"sentinel monitor m 127.0.0.1 {master.port} 1"
        with contextlib.closing(Node(folder, known, sentinel=True)) as sentinel:
            yield f"redis+sentinel://127.0.0.1:{sentinel.port}/m/3"


class TestRedisStoreOfASentinel(RedisContract):
    """The store at the master that a sentinel names."""

    @pytest.fixture
    def url(self, sentinel_url: str) -> str:
        return sentinel_url


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node, whose rules are those of every cluster."""
    with contextlib.closing(Node(tmp_path_factory.mktemp("c"), cluster=True)) as node:
        node.run("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in node.run("CLUSTER", "INFO"), "the cluster")
        yield f"redis+cluster://127.0.0.1:{node.port}"


class TestRedisStoreInACluster(RedisContract):
    """The store in a cluster: what is sent together must be in one slot."""

    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return cluster_url


def check_against_a_list(store: Store, data: st.DataObject) -> None:
    """Append at any sequence that is, was or will be due, and compare with plain values."""
    log: list[bytes] = []
    bundles: dict[str, bytes] = {}
    known = {letter * 64: letter.encode() for letter in "abcd"}
    moves = st.tuples(
        st.binary(max_size=20),
        st.sets(st.sampled_from(sorted(known)), max_size=3),
        st.sampled_from([1, 1, 1, 0, 2, -1]),
    )
    for entry, digests, ahead in data.draw(st.lists(moves, max_size=12)):
        sequence = max(1, len(log) + ahead)
        parts = {digest: known[digest] for digest in digests}
        is_next = sequence == len(log) + 1
        assert store.append(sequence, entry, parts) is is_next
        if is_next:
            log.append(entry)
            bundles |= parts
    after, limit = data.draw(st.integers(0, 14)), data.draw(st.integers(0, 6))
    tail = store.read(after, limit)
    assert tail.tip == len(log)
    assert list(tail.entries) == log[after : after + limit]
    assert store.entries(range(1, 15)) == (log + [None] * 14)[:14]
    found = store.bundles([*known, "e" * 64])
    assert bundles.items() <= found.items() <= known.items(), "who lost may have written bundles"
