"""What many hosts do to one server: releases, restarts and quiet days, in simulated time.

    python -m benchmarks.simulate

10,000 hosts of 20 processes, through a mirror each or every process for itself; with the agent's
own jitter and back-off, and without jitter. One follower that is simulated stands for several, and
what it asks for costs as much as what all of them ask for: a queue is as long, in seconds.

It prints the tables of `docs/scale.md`, which `python -m benchmarks.pages` writes into that page.
What things cost the server is as measured here (`python -m benchmarks costs`), else typical.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from scatter_agent.listen import LOOK_S
from scatter_agent.report import BEAT_S, TTL_S

from benchmarks import costs
from benchmarks.simulated import Follower, World, chance
from benchmarks.table import table
from benchmarks.units import show

HOSTS, PROCESSES = 10_000, 20
SEED = 7
OUTAGES_S = 0.0, 1.0, 30.0
LASTS_S = 60.0
"""How long after the server's return a herd is watched."""
QUIET_S, PROBE_S = 20.0, 0.01
BUSY = 0.7
"""Share of its core that a server may be planned to take."""
PUSH_RATES = 0.1, 1.0, 10.0
PUSHES_LAST_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Who asks the server.

    Attributes:
        hosts: How many mirrors, or processes that are none's.
        processes: Of each mirror; 0: no mirrors.
        at_once: Mirrors relay the reports of their processes in one write; none does yet.
        scale: How many of them one that is simulated stands for.

    """

    hosts: int = HOSTS
    processes: int = PROCESSES
    at_once: bool = False
    scale: int = 10

    def __str__(self) -> str:
        if self.processes:
            more = ", reports in one write" * self.at_once
            return f"{self.hosts:,} mirrors of {self.processes} processes{more}"
        return f"{self.hosts:,} processes, no mirrors"

    @property
    def simulated(self) -> int:
        """How many are simulated."""
        return self.hosts // self.scale

    def world(self, prices: Mapping[str, float]) -> World:
        """Return a server for it: what each that is simulated asks for costs as much as of all."""
        return World({n: price * self.scale for n, price in prices.items()}, self.scale)

    def settle(self, world: World) -> list[Follower]:
        """Return its followers, without connections."""
        return [
            Follower(world, speaks_for=self.processes, at_once=self.at_once)
            for _ in range(self.simulated)
        ]


# a herd: all lose their connection in the same moment ---------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Herd:
    """How a fleet came back to a server.

    Attributes:
        half_s, most_s, all_s: Seconds after the server's return until half of them, 99 %, and all
            had read the log again; None: not within `LASTS_S`.
        longest_s: Longest that a command had to wait.
        gave_up: How often one gave up waiting, for each follower.
        tries: How often one tried to connect, for each follower.

    """

    half_s: float | None
    most_s: float | None
    all_s: float | None
    longest_s: float
    gave_up: float
    tries: float


def herd(
    fleet: Fleet, outage_s: float, *, jitter: bool, prices: Mapping[str, float], seed: int = SEED
) -> Herd:
    """Have a server fail for a while, and see how the fleet comes back."""
    world = fleet.world(prices)
    world.up_at, world.has_lost_reports = outage_s, outage_s >= TTL_S
    with chance(seed, jitter=jitter):
        for follower in fleet.settle(world):
            follower.lose()
        world.run(outage_s + LASTS_S)

    def after(share: float) -> float | None:
        needed = max(1, round(fleet.simulated * share))
        return world.back_at[needed - 1] - outage_s if len(world.back_at) >= needed else None

    return Herd(
        half_s=after(0.5),
        most_s=after(0.99),
        all_s=after(1),
        longest_s=world.longest_s,
        gave_up=world.gave_up / fleet.simulated,
        tries=world.tries / fleet.simulated,
    )


# a quiet day: nobody releases anything ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What a fleet asks while nothing happens.

    Attributes:
        share: Of its core that the server takes.
        p50_s, p99_s, longest_s: How long a command waited that came at any moment.

    """

    share: float
    p50_s: float
    p99_s: float
    longest_s: float


def quiet(fleet: Fleet, *, jitter: bool, prices: Mapping[str, float], seed: int = SEED) -> Quiet:
    """Have a fleet that connected in the same moment be idle; watch it after three looks."""
    world, waits = fleet.world(prices), list[float]()
    begins = 3 * LOOK_S
    with chance(seed, jitter=jitter):
        for follower in fleet.settle(world):
            follower.rest()
        world.run(begins)
        before = world.spent_s
        for number in range(int(QUIET_S / PROBE_S)):
            world.at(begins + number * PROBE_S, lambda: waits.append(world.wait_s()))
        world.run(begins + QUIET_S)
    waits.sort()
    return Quiet(
        share=(world.spent_s - before) / QUIET_S,
        p50_s=waits[len(waits) // 2],
        p99_s=waits[int(len(waits) * 0.99)],
        longest_s=waits[-1],
    )


# releases -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """How releases reached a fleet.

    Attributes:
        half_s, last_s: Seconds from a release until half of the followers had it, the median over
            releases; until the last had it, the longest. None: not within `LASTS_S`.
        told_s: From the last release until all had reported what they run since; None: as above.
        longest_s: Longest that a command had to wait.
        gave_up: How often one gave up waiting, for each follower.

    """

    half_s: float | None
    last_s: float | None
    told_s: float | None
    longest_s: float
    gave_up: float


class _Log:
    """What was released, and who knows of it."""

    def __init__(self, world: World, followers: Sequence[Follower]) -> None:
        self.world, self.count = world, len(followers)
        self._followers = followers
        self.released_at: list[float] = []
        self.read_after: list[list[float]] = []
        self._told_at: dict[int, float] = {}
        for number, follower in enumerate(followers):
            self._watch(number, follower)

    def push(self) -> None:
        """Release something."""
        released_at = self.world.now

        def ring() -> None:
            self.released_at.append(released_at)
            self.read_after.append([])
            for follower in self._followers:
                follower.ring()

        self.world.at(self.world.serve("push"), ring)

    def _watch(self, number: int, follower: Follower) -> None:
        known = 0

        def has_read() -> None:
            nonlocal known
            for one in range(known, len(self.released_at)):
                self.read_after[one].append(self.world.now - self.released_at[one])
            known = len(self.released_at)

        def has_told() -> None:
            if known == len(self.released_at):
                self._told_at.setdefault(number, self.world.now)

        def has_read_anew() -> None:
            if known < len(self.released_at):
                self._told_at.pop(number, None)
            has_read()

        follower.on_read, follower.on_told = has_read_anew, has_told

    def told_s(self) -> float | None:
        """Return how long after the last release all had reported that they run it."""
        last = self.released_at[-1]
        told = [at - last for at in self._told_at.values() if at >= last]
        return max(told) if len(told) == self.count else None


def releases(
    fleet: Fleet, moments: Sequence[float], *, prices: Mapping[str, float], seed: int = SEED
) -> Pushed:
    """Have releases come at some moments.

    A follower that is busy reads what came meanwhile in one go, as agents do.
    """
    world = fleet.world(prices)
    with chance(seed, jitter=True):
        followers = fleet.settle(world)
        log = _Log(world, followers)
        for follower in followers:
            follower.rest()
        for moment in moments:
            world.at(2 * LOOK_S + moment, log.push)
        world.run(2 * LOOK_S + moments[-1] + LASTS_S)
    all_read = all(len(found) == log.count for found in log.read_after)
    halves = [statistics.median(found) for found in log.read_after if len(found) == log.count]
    return Pushed(
        half_s=statistics.median(halves) if all_read else None,
        last_s=max(map(max, log.read_after)) if all_read else None,
        told_s=log.told_s(),
        longest_s=world.longest_s,
        gave_up=world.gave_up / fleet.simulated,
    )


# tables -------------------------------------------------------------------------------------------

MIRRORS, ALONE = Fleet(), Fleet(hosts=HOSTS * PROCESSES, processes=0, scale=100)
BETTER = Fleet(at_once=True)
"""As `MIRRORS`, if each relayed the reports of its processes in one write."""


def _s(value: float | None) -> str:
    return f"not in {LASTS_S:g} s" if value is None else show(round(value, 4))


@cache
def herds() -> str:
    """Return the table of herds."""
    prices, rows = costs.known(), []
    for fleet in (MIRRORS, ALONE):
        for outage_s in OUTAGES_S if fleet is MIRRORS else OUTAGES_S[1:2]:
            for jitter in (True, False):
                found = herd(fleet, outage_s, jitter=jitter, prices=prices)
                rows.append(
                    [
                        str(fleet),
                        f"{outage_s:g} s" if outage_s else "cut, up at once",
                        "as it is" if jitter else "none",
                        *map(_s, (found.half_s, found.most_s, found.all_s, found.longest_s)),
                        f"{found.tries:.1f}",
                        f"{found.gave_up:.1f}",
                    ]
                )
    names = (
        *("fleet", "away for", "jitter", "half are back after", "99 %", "all"),
        *("longest wait", "tries each", "given up each"),
    )
    return table(names, rows)


@cache
def quiet_days() -> str:
    """Return the table of idle fleets."""
    prices, rows = costs.known(), []
    for fleet in (MIRRORS, ALONE):
        for jitter in (True, False):
            found = quiet(fleet, jitter=jitter, prices=prices)
            waits = map(_s, (found.p50_s, found.p99_s, found.longest_s))
            rows.append(
                [str(fleet), "as it is" if jitter else "none", f"{found.share:.0%}", *waits]
            )
    return table(("fleet", "jitter", "of a core", "wait p50", "p99", "longest"), rows)


@cache
def storms() -> str:
    """Return the table of releases."""
    prices, rows = costs.known(), []
    for fleet in (MIRRORS, BETTER, ALONE):
        for rate in (0.0, *PUSH_RATES) if fleet is not ALONE else (0.0,):
            count = max(1, int(rate * PUSHES_LAST_S))
            moments = [number / (rate or 1) for number in range(count)]
            found = releases(fleet, moments, prices=prices)
            cells = map(_s, (found.half_s, found.last_s, found.told_s, found.longest_s))
            rows.append([str(fleet), f"{rate:g} a second" if rate else "one", *cells,
                         f"{found.gave_up:.1f}"])  # fmt: skip
    names = (
        *("fleet", "releases", "half have the bytes after", "the last", "all have reported"),
        *("longest wait", "given up each"),
    )
    return table(names, rows)


# arithmetic ---------------------------------------------------------------------------------------


def idle_load(prices: Mapping[str, float], fleet: Fleet) -> float:
    """Return the share of a core that one follower takes while nothing happens."""
    others = prices["beats"] if fleet.at_once else fleet.processes * prices["beat"]
    return prices["look"] / LOOK_S + (prices["beat"] + others) / BEAT_S


def of_release(prices: Mapping[str, float], fleet: Fleet) -> float:
    """Return the seconds of a core that one follower of a release takes, with its reports."""
    others = prices["reports"] if fleet.at_once else fleet.processes * prices["report"]
    return prices["ring"] + prices["report"] + others


@cache
def prices_table() -> str:
    """Return the table of what things cost the server."""
    prices = costs.known()
    return table(
        ("what", "the server's processor time"),
        [[costs.KINDS[name], show(prices[name])] for name in costs.KINDS],
    )


@cache
def capacity() -> str:
    """Return the table of what one server carries, up to `BUSY` of its core."""
    rows, prices = [], costs.known()
    for fleet in (ALONE, MIRRORS, BETTER):
        idle, release = idle_load(prices, fleet), of_release(prices, fleet)
        each, who = fleet.processes or 1, str(fleet).partition(" ")[2]
        for share in (0.01, 0.1, 0.5, 1.0):
            count = BUSY / idle * share
            left = BUSY * (1 - share) / (count * release)
            rows.append(
                [
                    who.replace(", no mirrors", " without mirrors"),
                    f"{count:,.0f}",
                    f"{count * each:,.0f}",
                    f"{count * idle:.1%}",
                    show(count * release),
                    f"{left:.2g}",
                ]
            )
    names = "followers", "how many", "processes", "idle", "one release", "releases a second"
    return table(names, rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "prices": prices_table,
    "capacity": capacity,
    "quiet": quiet_days,
    "herds": herds,
    "storms": storms,
}
"""Name, as pages ask for it, and what makes the table."""


def main(names: Iterable[str] = TABLES) -> None:
    """Print tables."""
    for name in names:
        print(f"{name}\n\n{TABLES[name]()}\n")


if __name__ == "__main__":
    main()
