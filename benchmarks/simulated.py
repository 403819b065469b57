"""A fleet in simulated time: a server that does one thing after the other, and who asks it.

When a follower tries again, looks and lives on is asked of the agent's own code, which draws its
own chance; so is what it calls too long. What things cost the server is given (`costs`).

Not here: what is asked of it (`simulate`). Networks take no time; a command waits for those before
it. A follower is a process, or a mirror that speaks for some.

Invariants
1. The same seed gives the same course; the clock of the machine has no part in it.
2. Without jitter each draw gives the middle of its range.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from scatter_agent.listen import LOOK_S, Listener
from scatter_agent.report import beat_after
from scatter_agent.work import FIRST_BACKOFF_S, Work

from scatter.store.link import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S
from scatter.store.port import Ring

BACKLOG = 511
"""Connections that wait to be accepted, as Redis asks for; the system drops more."""


@contextmanager
def chance(seed: int, *, jitter: bool) -> Iterator[None]:
    """Have the agent's code draw from a seed, or always the middle."""
    state, uniform = random.getstate(), random.uniform
    random.seed(seed)
    if not jitter:
        random.uniform = lambda low, high: (low + high) / 2  # type: ignore[assignment]
    try:
        yield
    finally:
        random.uniform = uniform  # type: ignore[assignment]
        random.setstate(state)


class World:
    """The server, the time, and what is to happen.

    Attributes:
        now: Seconds since the beginning.
        up_at: When the server takes connections again.
        has_lost_reports: It was away for longer than it keeps them.
        spent_s: Processor time of the server.
        longest_s: Longest that a command had to wait.
        gave_up: How often a follower did: nobody answered in time.
        tries: How often one tried to connect.
        back_at: When each follower had read the log again for the first time, in order.

    """

    def __init__(self, costs: Mapping[str, float], scale: int = 1) -> None:
        """Begin with a server that has nothing to do.

        Args:
            costs: What things cost the server, in seconds.
            scale: How many connections each of them stands for.

        """
        self.costs = costs
        self._backlog = max(1, BACKLOG // scale)
        self.now = self.up_at = self.spent_s = self.longest_s = 0.0
        self.has_lost_reports = False
        self.gave_up = self.tries = 0
        self.back_at: list[float] = []
        self._free_at = 0.0
        self._unaccepted: deque[float] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def at(self, moment: float, event: Callable[[], None]) -> None:
        """Have something happen."""
        heapq.heappush(self._events, (moment, next(self._number), event))

    def run(self, until: float) -> None:
        """Let the time go on."""
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()

    def wait_s(self) -> float:
        """Return how long a command of now would wait."""
        return max(0.0, self._free_at - self.now)

    def serve(self, what: str) -> float:
        """Have the server do something; return when that is done."""
        cost = self.costs[what]
        self.longest_s = max(self.longest_s, self._free_at - self.now)
        self._free_at = max(self._free_at, self.now) + cost
        self.spent_s += cost
        return self._free_at

    def accept(self) -> float | None:
        """Connect; return when the handshake is done, or None if nobody ever answers."""
        while self._unaccepted and self._unaccepted[0] <= self.now:
            self._unaccepted.popleft()
        if len(self._unaccepted) >= self._backlog:
            return None
        self._unaccepted.append(self.serve("connect"))
        return self._unaccepted[-1]


class _Timed:
    """A doorbell that never rings, and knows how long it was waited at."""

    works, trouble = True, ""

    def __init__(self) -> None:
        self.timeout_s = 0.0

    def wait(self, timeout_s: float) -> Ring:
        self.timeout_s = timeout_s
        return Ring()


class Follower:
    """A process, or a mirror.

    Attributes:
        on_read: Called when it has read the log, after a ring or a new connection.
        on_told: Called when it has reported what runs since.

    """

    def __init__(self, world: World, *, speaks_for: int = 0, at_once: bool = False) -> None:
        """Begin without a connection.

        Args:
            world: Where it lives.
            speaks_for: Processes whose reports it relays; 0: it is a process itself.
            at_once: It relays them in one write, as no mirror does yet.

        """
        self.world, self._others, self._at_once = world, speaks_for, at_once
        self._backoff_s = FIRST_BACKOFF_S  # what `Work._next_pause` counts with
        self._retry_at = 0.0
        self._listener, self._bell = Listener(LOOK_S), _Timed()
        self._plan = 0  # what was planned before this one is void
        self._is_busy = self._is_rung = self._was_back = False
        self._beat_at = 0.0
        self.on_read: Callable[[], None] = lambda: None
        self.on_told: Callable[[], None] = lambda: None

    # connecting --------------------------------------------------------------------------

    def lose(self) -> None:
        """Lose the connection, and try again when the agent would."""
        self._plan += 1
        self._is_busy = self._is_rung = False
        pause_s = Work._next_pause(cast(Any, self))
        self.world.at(self.world.now + pause_s, self.connect)

    def connect(self) -> None:
        """Try to connect."""
        world = self.world
        world.tries += 1
        if world.now < world.up_at:
            self.lose()  # refused, at once
            return
        self._then(world.accept(), self._listen, CONNECT_TIMEOUT_S)

    def _then(
        self, done_at: float | None, go_on: Callable[[], None], silent_s: float = REPLY_TIMEOUT_S
    ) -> None:
        """Go on when an answer is there, or give up when that takes too long."""
        world, plan = self.world, self._plan
        late_at = world.now + (silent_s if done_at is None else REPLY_TIMEOUT_S)
        is_late = done_at is None or done_at > late_at

        def event() -> None:
            if plan != self._plan:
                return
            if is_late:
                world.gave_up += 1
                self.lose()
            else:
                go_on()

        world.at(late_at if done_at is None or is_late else done_at, event)

    def _listen(self) -> None:
        self._then(self.world.serve("listen"), self._is_back)

    def _is_back(self) -> None:
        self._backoff_s = FIRST_BACKOFF_S
        if not self._was_back:
            self.world.back_at.append(self.world.now)
        self._was_back = True
        self.on_read()
        others = "report" if self.world.has_lost_reports else "beat"
        self._say(["report", *self._of_others(others)], self.on_told)

    # following ---------------------------------------------------------------------------

    def rest(self) -> None:
        """Wait at the doorbell."""
        world = self.world
        self._is_busy = False
        if self._is_rung:
            self.ring()
            return
        self._listener.wait(cast(Any, self._bell), cast(Any, None), None)
        moment = world.now + self._bell.timeout_s
        if not self._others:  # a mirror's is told with those of its processes
            self._beat_at = self._beat_at if self._beat_at > world.now else beat_after(world.now)
            moment = min(moment, self._beat_at)

        self._plan += 1
        plan = self._plan

        def event() -> None:
            if plan == self._plan:
                self._is_busy = True
                self._then(world.serve("look"), lambda: self._say(self._beats()))

        world.at(moment, event)

    def _beats(self) -> list[str]:
        if not self._others:
            return ["beat"] * (self.world.now >= self._beat_at)
        return ["beat", *self._of_others("beat")]

    def _of_others(self, what: str) -> list[str]:
        """Return what is sent for the processes that it speaks for: one each, or all in one."""
        return [f"{what}s"] if self._at_once else [what] * self._others

    def ring(self) -> None:
        """Hear of a release: read at once, or as soon as what is being done is done."""
        self._is_rung = True
        if self._is_busy:
            return
        self._is_busy, self._is_rung = True, False
        self._plan += 1
        self._then(self.world.serve("ring"), self._has_read)

    def _has_read(self) -> None:
        self.on_read()
        self._say(["report", *self._of_others("report")], self.on_told)

    def _say(self, what: list[str], done: Callable[[], None] = lambda: None) -> None:
        """Tell the server one thing after the other, and rest."""
        self._is_busy = True
        if not what:
            done()
            self.rest()
            return
        self._then(self.world.serve(what[0]), lambda: self._say(what[1:], done))
