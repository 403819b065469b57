"""Temporary versions in the log: what is live of them, for how long, and what comes after."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scatter_agent import plan
from scatter_agent.plan import Failure, Running, View

from scatter.bundle import Bundle, Part
from scatter.errors import Conflict, RolledBack, Untrusted
from scatter.log import Journal, Leases, Ledger
from scatter.model import Change, Fallback, FunctionState
from scatter.names import SHIPPED
from scatter.releases import Candidate, Releases
from scatter.store.memory import MemoryStore
from scatter.trust import Unsigned

from test_log import a_release, after, of, pushed, reason_of, sealed, state_as  # isort: skip

quick = settings(deadline=None, max_examples=150)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> str:
    """Return the time so many seconds after the first release."""
    then = BEGAN + timedelta(seconds=seconds)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# the ledger against a plain account -------------------------------------------------------

Step = tuple[str, str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from("push lend lend extend release rollback delete trim trim".split()),
        st.sampled_from("ab"),
        st.integers(0, 6),
        st.integers(1, 40),
    ),
    max_size=20,
)


@dataclass
class Account:
    """What a person would write down of one function."""

    live: int = SHIPPED
    for_good: int = SHIPPED
    before: int = SHIPPED
    ends: float | None = None
    last: int = 0

    def at(self, now: float) -> int:
        return self.live if self.ends is None or now < self.ends else self.for_good

    def keep(self, version: int) -> None:
        if version != self.for_good or self.ends is None:
            self.before = self.for_good if version != self.for_good else self.before
        self.live = self.for_good = version
        self.ends = None

    def lend(self, version: int, ends: float) -> None:
        self.live, self.ends = version, ends


def do(
    known: Ledger, account: Account, step: Step, now: float
) -> tuple[Change, dict[str, Any]] | None:
    """Return the change and the release's fields of one step; note what it means."""
    action, name, number, lasts_s = step
    state = known.functions.get(name)
    fields: dict[str, Any] = {"time": at(now)}
    if action in ("push", "lend") or state is None:
        account.last += 1
        change = pushed(name, account.last, bytes([number]))
        if action != "lend":
            account.keep(account.last)
            return change, fields
        account.lend(account.last, now + lasts_s)
        return change, fields | {"expires": at(now + lasts_s)}
    if action == "extend":
        if not state.expires:
            return None
        account.lend(account.live, now + lasts_s)
        live = replace(state.live, created=False, base=None)
        return live, fields | {"action": "release", "expires": at(now + lasts_s)}
    if action == "trim":
        return replace(state.live, created=False, removed_below=number), fields | {
            "action": "delete"
        }
    if action == "delete":
        account.keep(SHIPPED)
        return Change(function=name, version=None), fields | {"action": "delete"}
    target = state.previous if action == "rollback" else min(number, state.last)
    target = target if target in {*range(state.floor, state.last + 1), *state.kept} else SHIPPED
    account.keep(target)
    change = Change(function=name, version=target, bundle=of(b"x") if target else "", size=1)
    return change, fields | {"action": action}


def history(steps: list[Step]) -> Iterator[tuple[Ledger, dict[str, Account], float, bytes]]:
    """Yield the ledger, the accounts, the time and the entry, after each step."""
    known, accounts = Ledger("app", Unsigned()), dict[str, Account]()
    for now, step in enumerate(steps):
        account = accounts.setdefault(step[1], Account())
        done = do(known, account, step, now * 10.0)
        if done is None:
            continue
        change, fields = done
        entry = sealed(after(known, change, **fields))
        known.advance(entry)
        yield known, accounts, now * 10.0, entry


@quick
@given(STEPS, st.floats(0, 300))
def test_what_is_live_agrees_with_a_plain_account_at_any_time(
    steps: list[Step], later_s: float
) -> None:
    for known, accounts, now, _ in history(steps):
        for moment in (now, now + later_s):
            leases = Leases(clock=Clock(BEGAN.timestamp() + moment), monotonic=Clock())
            found = {n: s.version or SHIPPED for n, s in leases.effective(known).items()}
            expected = {n: a.at(moment) for n, a in accounts.items() if n in known.functions}
            assert found == expected


@quick
@given(STEPS)
def test_nothing_falls_back_or_goes_back_to_a_temporary_version(steps: list[Step]) -> None:
    for known, accounts, _, _ in history(steps):
        for name, state in known.functions.items():
            account = accounts[name]
            assert bool(state.expires) == (account.ends is not None) == (name in known.temporary)
            if state.fallback is not None:
                assert state.fallback.live.version == account.for_good
                assert state.previous == account.for_good or state.version == account.for_good
                assert state.after_expiry().version == account.for_good
                assert state.after_expiry().lapsed == state.sequence
                assert not state.after_expiry().expires


@quick
@given(STEPS)
def test_all_that_is_needed_is_kept_when_older_versions_go(steps: list[Step]) -> None:
    for known, _, _, _ in history(steps):
        for state in known.functions.values():
            there = {*range(state.floor, state.last + 1), *state.kept}
            wanted = {state.version, state.fallback and state.fallback.live.version}
            assert {n for n in wanted if n} <= there
            digests = {change.bundle for change in known.needed()}
            assert not state.live.bundle or state.live.bundle in digests
            if state.fallback and state.fallback.live.bundle:
                assert state.fallback.live.bundle in digests


@quick
@given(STEPS, st.data())
def test_a_snapshot_carries_what_is_temporary(steps: list[Step], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(steps)))
    restored: Ledger | None = None
    for number, (known, _, now, entry) in enumerate(history(steps)):
        if restored is not None:
            restored.advance(entry)
        elif number >= cut:
            snapshot = known.snapshot()
            release = after(known, snapshot=of(snapshot), time=at(now), action="renew")
            restored = Ledger("app", Unsigned())
            restored.restore(sealed(release), snapshot)
            restored._head = known._head
        if restored is not None:
            assert dict(restored.functions) == dict(known.functions)
            assert restored.temporary == known.temporary


# clocks -------------------------------------------------------------------------------------


def lent(lasts_s: float = 60.0, *, time: float = 0.0) -> Ledger:
    """Return a ledger with a temporary version 2 over version 1."""
    known = Ledger("app", Unsigned())
    known.advance(sealed(after(known, pushed("f", 1), time=at(0))))
    known.advance(
        sealed(after(known, pushed("f", 2, b"2"), time=at(time), expires=at(time + lasts_s)))
    )
    return known


@quick
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_whatever_the_clock_says_no_version_outstays_its_time_or_comes_back(
    looks: list[tuple[float, float]],
) -> None:
    known, clock, monotonic = lent(60), Clock(), Clock(500.0)
    leases = Leases(clock=clock, monotonic=monotonic)
    was_over = False
    for passed_s, wrong_s in looks:
        clock.now = BEGAN.timestamp() + (monotonic.now - 500.0) + wrong_s
        state = leases.effective(known)["f"]
        is_over = state.version == 1
        assert is_over or not was_over
        assert is_over or monotonic.now - 500.0 < 60
        assert is_over or clock.now < BEGAN.timestamp() + 60
        end = leases.next_end(known)
        assert (end is None) == is_over
        assert end is None or monotonic.now < end <= 560
        was_over = is_over
        monotonic.now += passed_s


def test_a_clock_that_is_right_ends_it_to_the_millisecond() -> None:
    known, clock = lent(60), Clock(BEGAN.timestamp() + 59.999)
    leases = Leases(clock=clock, monotonic=Clock())
    assert leases.effective(known)["f"].version == 2
    clock.now += 0.001
    assert leases.effective(known)["f"].version == 1


def test_the_log_itself_tells_how_late_it_is_at_least() -> None:
    known = lent(60)
    leases = Leases(clock=Clock(0.0), monotonic=Clock())
    assert leases.effective(known)["f"].version == 2
    known.advance(sealed(after(known, pushed("g", 1), time=at(60))))
    assert leases.effective(known)["f"].version == 1


def test_a_later_release_takes_the_end_away() -> None:
    known, clock = lent(60), Clock(BEGAN.timestamp())
    leases = Leases(clock=clock, monotonic=Clock())
    live = replace(known.functions["f"].live, created=False)
    known.advance(sealed(after(known, live, action="release", time=at(1))))
    clock.now += 3600
    assert leases.effective(known)["f"].version == 2
    assert leases.next_end(known) is None


# strict forms -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"expires": "2026-01-01T00:00:00.000Z"},
        {"expires": "2025-01-01T00:00:00.000Z"},
        {"expires": "soon"},
        {"expires": "2026-02-30T00:00:00.000Z"},
        {"expires": at(60), "action": "rollback"},
        {"expires": at(60), "action": "delete"},
        {"expires": at(60), "action": "renew", "changes": ()},
    ],
    ids=str,
)
def test_an_end_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    known = Ledger("app", Unsigned())
    assert reason_of(lambda: known.advance(sealed(a_release(**fields)))) == "bad-statement"
    assert known.sequence == 0


def a_row(**fields: Any) -> dict[str, Any]:
    """Return a good row of a snapshot with a temporary version, fields set or (`...`) removed."""
    known = lent(60)
    (row,) = json.loads(zlib.decompress(known.snapshot()[4:]))["functions"]
    made = row | fields
    return {name: value for name, value in made.items() if value is not ...}


def a_fallback(**fields: Any) -> dict[str, Any]:
    made = a_row()["fallback"] | fields
    return {name: value for name, value in made.items() if value is not ...}


def restored(row: dict[str, Any]) -> Ledger:
    snapshot = state_as({"began": 0, "functions": [row]})
    known = Ledger("app", Unsigned())
    known.restore(sealed(a_release(sequence=9, changes=(), snapshot=of(snapshot))), snapshot)
    return known


def test_a_row_of_a_snapshot_is_read() -> None:
    assert dict(restored(a_row()).functions) == dict(lent(60).functions)


@pytest.mark.parametrize(
    "row",
    [
        a_row(expires=...),
        a_row(fallback=...),
        a_row(expires=""),
        a_row(expires="soon"),
        a_row(expires=1),
        a_row(time="yesterday"),
        a_row(fallback=None),
        a_row(fallback=[]),
        a_row(rolled_back=False),
        a_row(rolled_back=1),
        a_row(lapsed=1),
        a_row(fallback=a_fallback(live=...)),
        a_row(fallback=a_fallback(keys=...)),
        a_row(fallback=a_fallback(keys=[1])),
        a_row(fallback=a_fallback(sequence=-1)),
        a_row(fallback=a_fallback(sequence=3)),
        a_row(fallback=a_fallback(previous=3)),
        a_row(fallback=a_fallback(extra=1)),
        a_row(fallback=a_fallback(rolled_back=0)),
        a_row(fallback=a_fallback(live={"function": "g", "version": 0})),
        a_row(fallback=a_fallback(live={"function": "f"})),
        a_row(fallback=a_fallback(live={"function": "f", "version": 3, "bundle": "ab" * 32})),
    ],
    ids=itertools.count(),
)
def test_a_row_in_any_other_form_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(Untrusted) as caught:
        restored(row)
    assert caught.value.reason == "wrong-snapshot"


# the verbs ----------------------------------------------------------------------------------


@dataclass
class Team:
    """Two people at one log, whose clocks a test sets."""

    ann: Releases
    bob: Releases
    clock: Clock

    def live(self) -> dict[str, int]:
        return {n: s.version or SHIPPED for n, s in self.bob.functions().items()}


@pytest.fixture
def team() -> Team:
    store = MemoryStore("app")
    clock = Clock()
    clock.now = datetime.now(UTC).timestamp()

    def person(name: str) -> Releases:
        journal = Journal(store)
        journal.leases = Leases(clock=clock, monotonic=clock)
        return Releases(journal, author=name)

    return Team(person("ann"), person("bob"), clock)


def code(text: str, name: str = "shop:f", seen: int | None = None) -> Candidate:
    source = f"def f():\n    return {text!r}"
    bundle = Bundle(function=name, qualname="f", source=source, parts=(Part(module="shop"),))
    return Candidate(bundle=bundle, seen=seen)


def test_a_push_for_a_while_is_live_for_a_while(team: Team) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")], lasts_s=60)
    assert team.live() == {"shop:f": 2}
    assert team.bob.find("f").expires
    team.clock.now += 61
    assert team.live() == {"shop:f": 1}
    assert team.bob.find("f").lapsed == 2
    assert [v.number for v in team.bob.history("f") if v.live] == [1]
    assert team.bob.version("f").number == 1


def test_a_first_version_for_a_while_leaves_the_deployed_code(team: Team) -> None:
    team.ann.push([code("1")], lasts_s=60)
    team.clock.now += 61
    assert team.live() == {"shop:f": 0}


def test_pushing_what_is_live_for_a_while_makes_it_stay_or_puts_its_end_off(team: Team) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")], lasts_s=60)
    first = team.ann.find("f").expires
    again = team.ann.push([code("2")], lasts_s=120)
    assert again.versions == {"shop:f": 2}
    assert team.ann.find("f").expires > first
    assert team.ann.push([code("2")]).release is not None
    assert not team.ann.find("f").expires
    assert team.ann.push([code("2")]).release is None
    assert team.ann.push([code("2")], lasts_s=60).release is None  # nothing ends what is to stay
    team.clock.now += 3600
    assert team.live() == {"shop:f": 2}
    team.bob.rollback("f")
    assert team.live() == {"shop:f": 1}


def test_releasing_what_is_live_for_a_while_makes_it_stay(team: Team) -> None:
    team.ann.push([code("1")], lasts_s=60)
    assert team.bob.release({"f": 1}) is not None
    team.clock.now += 61
    assert team.live() == {"shop:f": 1}


def test_an_old_version_is_released_for_a_while(team: Team) -> None:
    for number in "123":
        team.ann.push([code(number)])
    team.ann.release({"f": 1}, lasts_s=60)
    assert team.live() == {"shop:f": 1}
    team.clock.now += 61
    assert team.live() == {"shop:f": 3}


@pytest.mark.parametrize("wait_s", [0, 61], ids=["before its end", "after it"])
def test_a_rollback_goes_to_what_was_there_for_good(team: Team, wait_s: float) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")])
    team.ann.push([code("3")], lasts_s=60)
    team.ann.push([code("4")], lasts_s=60)
    team.clock.now += wait_s
    team.bob.rollback("f")
    assert team.live() == {"shop:f": 1 if wait_s else 2}


def test_a_rollback_of_the_newest_release_is_nothing_where_that_is_over(team: Team) -> None:
    team.ann.push([code("1"), code("1", "shop:g")])
    team.ann.push([code("2")], lasts_s=60)
    team.clock.now += 61
    assert team.bob.rollback() is None


def test_going_back_to_a_release_goes_back_to_no_temporary_version(team: Team) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")], lasts_s=60)
    team.ann.push([code("3")])
    team.bob.rollback(to=2)
    assert team.live() == {"shop:f": 1}


def test_an_undo_takes_back_a_temporary_version_however_often_its_end_was_put_off(
    team: Team,
) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")], lasts_s=60)
    team.ann.extend({"shop:f": 2}, lasts_s=120)
    team.ann.undo()
    assert team.live() == {"shop:f": 1}
    assert not team.ann.find("f").expires


def test_an_undo_takes_back_an_older_version_that_was_released_for_a_while_over_another(
    team: Team,
) -> None:
    """It put an end to a temporary version, and is more than that: it is one itself."""
    for number in "12":
        team.ann.push([code(number)])
    team.ann.push([code("3")], lasts_s=60)
    team.ann.release({"f": 1}, lasts_s=60)
    release = team.ann.undo()
    assert release is not None
    assert release.message == "undo of release 4"
    assert team.live() == {"shop:f": 2}


def test_an_undo_after_the_end_takes_back_the_release_before(team: Team) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")], lasts_s=60)
    team.clock.now += 61
    team.ann.undo()
    assert team.live() == {"shop:f": 0}


@pytest.mark.parametrize("asker", ["ann", "bob"])
def test_an_undo_after_older_versions_were_removed_takes_back_the_release_before(
    team: Team, asker: str
) -> None:
    """Removing older versions made nothing live, so there is nothing in it to take back."""
    for number in "123":
        team.ann.push([code(number)])
    (team.ann if asker == "ann" else team.bob).delete("f", older_than=2)
    release = team.ann.undo()
    assert release is not None
    assert release.message == "undo of release 3"
    assert team.live() == {"shop:f": 2}


def test_ending_it_brings_back_what_was_and_undo_does_not_take_that_back(team: Team) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")])
    team.ann.push([code("3")], lasts_s=60)
    assert team.ann.end({"shop:f": 3}) is not None
    assert team.live() == {"shop:f": 2}
    assert not team.ann.find("f").rolled_back
    assert team.ann.end({"shop:f": 3}) is None
    team.ann.undo()
    assert team.live() == {"shop:f": 1}


def test_an_end_is_no_release_to_undo_also_where_older_versions_were_removed_before_it(
    team: Team,
) -> None:
    for number in "123":
        team.ann.push([code(number)])
    team.ann.push([code("4")], lasts_s=60)
    team.ann.delete("f", older_than=2)
    assert team.ann.end({"shop:f": 4}) is not None
    release = team.ann.undo()
    assert release is not None
    assert release.message == "undo of release 3"
    assert team.live() == {"shop:f": 2}


def test_with_another_verifier_what_is_temporary_is_known_all_the_same(team: Team) -> None:
    team.ann.push([code("1")], lasts_s=60)
    known = team.ann.journal.ledger
    assert known.believed_by(Unsigned()).temporary == known.temporary == {"shop:f"}


def test_what_somebody_released_meanwhile_is_neither_put_off_nor_ended(team: Team) -> None:
    team.ann.push([code("1")], lasts_s=60)
    team.bob.push([code("2", seen=1)])
    assert team.ann.extend({"shop:f": 1}, lasts_s=60) is None
    assert team.ann.end({"shop:f": 1}) is None
    assert team.live() == {"shop:f": 2}


def test_a_push_over_a_temporary_version_must_have_seen_it_and_afterwards_what_was_before(
    team: Team,
) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")], lasts_s=60)
    with pytest.raises(Conflict) as caught:
        team.bob.push([code("3", seen=1)])
    assert caught.value.live == 2
    team.clock.now += 61
    pushed = team.bob.push([code("3", seen=1)])
    assert pushed.release is not None
    assert pushed.release.changes[0].base == 1
    assert team.live() == {"shop:f": 3}


@pytest.mark.parametrize("wait_s", [0, 61], ids=["before its end", "after it"])
def test_removing_older_versions_keeps_the_end_and_what_comes_then(
    team: Team, wait_s: float
) -> None:
    for number in "123":
        team.ann.push([code(number)])
    team.ann.push([code("4")], lasts_s=60)
    team.clock.now += wait_s
    assert team.bob.delete("f", older_than=4) == (2, 1)
    team.clock.now += 61
    assert team.live() == {"shop:f": 3}
    assert team.bob.fetch(team.bob.version("f", 3)).source.endswith("'3'")
    assert sorted(v.number for v in team.bob.history("f")) == [3, 4]


def test_a_temporary_push_brings_no_lost_code_to_an_end(team: Team) -> None:
    team.ann.push([code("1")])
    store = team.ann.journal.store
    store.remove_bundles([team.ann.find("f").live.bundle])
    team.ann.push([code("1")], lasts_s=60)
    team.clock.now += 61
    assert team.live() == {"shop:f": 1}
    assert not team.bob.find("f").lapsed


# rollbacks hold ----------------------------------------------------------------------------


@pytest.mark.parametrize("back", ["rollback", "undo"])
def test_what_was_rolled_back_is_not_pushed_unasked(team: Team, back: str) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")])
    if back == "undo":
        team.ann.undo()
    else:
        team.bob.rollback("f")
    with pytest.raises(RolledBack, match="lifts that") as caught:
        team.ann.push([code("3", seen=1)], unasked=True)
    assert caught.value.live == 1
    assert team.ann.push([code("1")], unasked=True).release is None
    assert team.live() == {"shop:f": 1}
    assert team.bob.find("f").rolled_back


@pytest.mark.parametrize("lift", ["new code", "the same code", "release"])
def test_a_push_or_release_by_hand_lifts_it(team: Team, lift: str) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")])
    team.bob.rollback("f")
    if lift == "release":
        team.bob.release({"f": 1})
    else:
        team.bob.push([code("3" if lift == "new code" else "1", seen=1)])
    assert not team.ann.find("f").rolled_back
    assert team.ann.push([code("4")], unasked=True, force=True).release is not None


def test_a_hold_is_there_again_when_what_was_pushed_over_it_for_a_while_is_over(
    team: Team,
) -> None:
    team.ann.push([code("1")])
    team.ann.push([code("2")])
    team.bob.rollback("f")
    team.ann.push([code("3", seen=1)], lasts_s=60)
    assert not team.ann.find("f").rolled_back
    team.clock.now += 61
    with pytest.raises(RolledBack):
        team.ann.push([code("4")], unasked=True, force=True)


def test_removing_older_versions_lifts_nothing(team: Team) -> None:
    for number in "123":
        team.ann.push([code(number)])
    team.bob.rollback("f")
    team.bob.delete("f", older_than=2)
    assert team.bob.find("f").rolled_back


# the planner -------------------------------------------------------------------------------


def a_state(version: int, sequence: int, **more: Any) -> FunctionState:
    live = Change(function="f", version=version, bundle=of(bytes([version])) if version else "")
    return FunctionState(
        function="f", live=live, sequence=sequence, author="", time=at(0), last=9, **more
    )


def a_view(state: FunctionState, running: int, **more: Any) -> View:
    bundle = of(bytes([running])) if running else ""
    fields: dict[str, Any] = {"failures": {}, "floor": {}, "now": 0.0}
    fields |= more
    functions = plan.where_deployed({"f": state}, fields["floor"])
    return View(
        running={"f": Running(version=running, bundle=bundle)}, functions=functions, **fields
    )


def over(version: int, sequence: int, lapsed: int) -> FunctionState:
    return replace(a_state(version, sequence), lapsed=lapsed)


def test_what_was_before_is_the_goal_once_it_is_over() -> None:
    (change,) = plan.goal(a_view(over(1, 5, 7), running=2))
    assert change.version == 1
    assert plan.goal(a_view(over(1, 5, 7), running=1)) == ()


def test_code_that_was_deployed_since_is_the_goal_in_its_place() -> None:
    (change,) = plan.goal(a_view(over(1, 5, 7), running=2, floor={"f": 6}))
    assert change.version == SHIPPED
    assert plan.goal(a_view(over(1, 5, 7), running=2, floor={"f": 7})) == ()


def test_the_refusal_of_what_is_over_keeps_nothing_from_running() -> None:
    failure = Failure(version=2, sequence=7, reason="missing-name", message="")
    view = a_view(over(1, 5, 7), running=0, failures={"f": failure})
    (change,) = plan.goal(view)
    assert change.version == 1
    assert plan.still_open(view) == {}


def test_no_way_leads_over_a_version_that_is_over_or_was_superseded() -> None:
    trial = a_release(
        sequence=7, changes=(a_state(2, 7).live,), expires=at(60), previous="", time=at(0)
    )
    for state in (over(1, 5, 7), a_state(3, 8), a_state(3, 8, expires=at(90))):
        steps = plan.stepwise(a_view(state, running=0), [trial])
        assert [c.version for _, changes in steps for c in changes] == [state.version]
    in_force = a_state(2, 7, expires=at(60))
    assert plan.stepwise(a_view(in_force, running=0), [trial]) == ((7, trial.changes),)


def test_values_are_what_they_say() -> None:
    live = Change(function="f", version=1, bundle=of(b"1"))
    fallback = Fallback(live=live, sequence=1, author="ann", time=at(0), rolled_back=True)
    state = a_state(2, 2, expires=at(9), fallback=fallback, keys=("k",))
    left = state.after_expiry()
    assert (left.live, left.sequence, left.author, left.keys) == (live, 1, "ann", ())
    assert (left.rolled_back, left.lapsed, left.last) == (True, 2, 9)
    assert left.after_expiry() == left
