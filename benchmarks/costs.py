"""What the server pays for each thing that a fleet does: its own account of its processor time.

Many connections take turns with one thing, one after the other, so that each of them is a turn of
the server's loop by itself: under load the server does several at once, and pays less for each.
`docs/scale.md` and `simulate` reckon with these figures.

Not here: what the same things cost a process (`idle`, `fanout`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from scatter_agent.health import AgentStatus
from scatter_agent.report import TTL_S, Reporter

from benchmarks.harness import Progress, Row, Sample, take_turns
from benchmarks.push import TEXT, Pusher
from benchmarks.results import read
from benchmarks.stage import Stage, stage
from scatter.config import Settings
from scatter.log import Journal, open_journal
from scatter.store.link import Command
from scatter.store.redis import RedisStore

CONNECTIONS, ROUNDS, PUSHES = 200, 5, 20
AT_ONCE = 20
FUNCTIONS = {f"shop.pricing:function_{number}": 1 for number in range(50)}
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "push": "a push that nobody follows",
        "ring": "one more follower of a push: it is told, and reads the release",
        "look": "a look at the log without a ring, and at the doorbell",
        "report": "a report of what a process runs, 50 functions",
        "beat": "a sign of life",
        "reports": "20 reports in one write, as nobody does yet",
        "beats": "20 signs of life in one write, as nobody does yet",
        "connect": "a connection, with its handshake",
        "listen": "the doorbell of a new connection, and a first look at the log",
    }
)
TYPICAL: Mapping[str, float] = MappingProxyType(
    {
        "push": 115e-6,
        "ring": 60e-6,
        "look": 44e-6,
        "report": 30e-6,
        "beat": 16e-6,
        "reports": 250e-6,
        "beats": 69e-6,
        "connect": 98e-6,
        "listen": 61e-6,
    }
)
"""Seconds of one core, from two shared cores: what is reckoned with where nothing was measured."""


def known() -> Mapping[str, float]:
    """Return what each thing costs the server, in seconds: as measured here, else `TYPICAL`."""
    result = read("costs")
    if result is None:
        return TYPICAL
    by_what = {row.what: row.sample.p50 for row in result.rows}
    return {name: by_what.get(KINDS[name], typical) for name, typical in TYPICAL.items()}


REPORT = b"{" + b'"shop.pricing:function_00":1,' * len(FUNCTIONS) + b"}"
"""As large as a report of those; the server does not read it."""


class _Member:
    """One connection of the fleet: a log that is read, a doorbell, a report."""

    def __init__(self, url: str, namespace: str, number: int) -> None:
        self.store = RedisStore(url, namespace, name=f"scatter-agent-{number}")
        self.bell = self.store.doorbell()
        self.journal: Journal = open_journal(Settings(), self.store)
        self.reporter = Reporter("shop", f"{number:08x}")

    def report(self) -> None:
        self.reporter.forget()
        self.reporter.tell(self.store, AgentStatus(state="ready", since=0.0, functions=FUNCTIONS))

    def beat(self) -> None:
        if not self.store.keep_report(self.reporter.process, TTL_S):
            raise RuntimeError("a report has expired")

    def reports(self) -> None:
        """Write reports as `RedisStore.write_report` does, many at once."""
        self._at_once(lambda name: self.store.write_report(name, REPORT, TTL_S))

    def beats(self) -> None:
        self._at_once(lambda name: self.store.keep_report(name, TTL_S))

    def _at_once(self, tell: Callable[[str], object]) -> None:
        """Collect the commands of several calls, and send them in one write."""
        link, commands = self.store.link, list[Command]()
        run = link.run

        def collect(more: Sequence[Command], **_: object) -> list[object]:
            commands.extend(more)
            return [1] * len(more)

        link.run = collect  # type: ignore[method-assign, assignment]
        for number in range(AT_ONCE):
            tell(f"{self.reporter.process}-{number}")
        link.run = run  # type: ignore[method-assign]
        link.run(commands)

    def look(self) -> None:
        self.journal.catch_up()
        self.bell.check()

    def connect(self) -> None:
        self.store.close()
        self.store.link.open()

    def listen(self) -> None:
        self.bell.listen()
        self.journal.catch_up()

    def follow(self) -> None:
        while not self.bell.wait(5).log:
            pass
        if not self.journal.catch_up(rung=True):
            raise RuntimeError("there was a ring, and nothing new")


class _Fleet:
    """All connections, and the server's account of its processor time."""

    def __init__(self, scene: Stage) -> None:
        self._server = scene.keep(RedisStore(scene.url("unix"), scene.namespace))
        self._pusher, self._numbers = Pusher(scene, "tcp"), itertools.count()
        self._push()
        self._members = [_Member(scene.url("tcp"), scene.namespace, n) for n in range(CONNECTIONS)]
        self._all(_Member.listen)
        self._all(_Member.report)

    def _push(self) -> None:
        self._pusher.push(next(self._numbers))

    def _all(self, work: Callable[[_Member], None]) -> None:
        for one in self._members:
            work(one)

    def _cpu_s(self) -> float:
        (reply,) = self._server.link.run([("INFO", "cpu")])
        rows = dict(line.split(":", 1) for line in reply.decode().split() if ":" in line)
        return float(rows["used_cpu_sys"]) + float(rows["used_cpu_user"])

    def each(self, work: Callable[[_Member], None]) -> float:
        """Return what something costs the server that each connection does once."""
        before = self._cpu_s()
        self._all(work)
        return (self._cpu_s() - before) / CONNECTIONS

    def push(self) -> float:
        """Return what a push costs that nobody hears of."""
        self._all(lambda one: one.store.link.subscribe([], only=True))
        before = self._cpu_s()
        for _ in range(PUSHES):
            self._push()
        spent = (self._cpu_s() - before) / PUSHES
        self._all(_Member.listen)
        return spent

    def ring(self) -> float:
        """Return what each follower of a push costs; the push itself is one part in many."""
        before = self._cpu_s()
        self._push()
        self._all(_Member.follow)
        return (self._cpu_s() - before) / CONNECTIONS

    def connect(self) -> float:
        """Return what a new connection costs."""
        spent = self.each(_Member.connect)
        self._all(_Member.listen)
        return spent

    def listen(self) -> float:
        """Return what a new connection asks for first."""
        self._all(_Member.connect)
        return self.each(_Member.listen)

    def close(self) -> None:
        self._all(lambda one: one.store.close())


def run(progress: Progress) -> list[Row]:
    """Measure each thing."""
    with stage() as scene:
        scene.write(TEXT)
        progress(f"costs: {CONNECTIONS} connections", 0.0)
        fleet = _Fleet(scene)
        sides = {
            "push": fleet.push,
            "ring": fleet.ring,
            "look": lambda: fleet.each(_Member.look),
            "report": lambda: fleet.each(_Member.report),
            "beat": lambda: fleet.each(_Member.beat),
            "reports": lambda: fleet.each(_Member.reports),
            "beats": lambda: fleet.each(_Member.beats),
            "connect": fleet.connect,
            "listen": fleet.listen,
        }
        progress("costs: what a fleet does", 0.2)
        taken = take_turns(sides, ROUNDS)
        fleet.close()
    return [_row(name, taken[name]) for name in KINDS]


def _row(name: str, values: list[float]) -> Row:
    return Row(benchmark="costs", what=KINDS[name], sample=Sample.of(values))
