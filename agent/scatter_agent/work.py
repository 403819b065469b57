"""The work of one life of an agent: what its thread does with one store, from start to goodbye.

Each wake-up, whatever woke it, leads to the same turn: read the log after the last sequence, plan,
prepare, switch, report. Between turns the thread waits at the doorbell, and looks every few seconds
anyway: a lost ring costs time, never an update.

A life begins when an agent is made, when one that was stopped is started again, and in a forked
child. Several threads may do its work, one after the other: a fork ends one, and the next goes on
with the same connection.

Not here: the step to the tip (`follower`), waiting (`listen`), deploys (`deployed`), the state that
this leads to (`standing`), the thread, forks and the exit (`thread`, `agent`, `lifecycle`).

Invariants
1. `run` is for one thread at a time, and the connection is used by that thread alone; what others
   may call says so.
2. Whatever fails, the running code goes on running, the status says what is the matter, and `run`
   goes on trying.
3. A life ends once; what is left of it when the next one begins shares nothing with that.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scatter import bases, native
from scatter.config import Settings
from scatter.errors import ScatterError, StoreRefused, StoreUnavailable, Untrusted
from scatter.log import Journal
from scatter.model import Release
from scatter.registry import Registry
from scatter.slot import Slot
from scatter.store.port import Ring, Store
from scatter_agent import hosts, lifecycle
from scatter_agent.cache import Cache, Keeper
from scatter_agent.connection import Connection, Opened
from scatter_agent.course import Course
from scatter_agent.deployed import Deployed
from scatter_agent.health import AgentStatus, State
from scatter_agent.listen import Listener
from scatter_agent.report import Reporter
from scatter_agent.standing import Standing
from scatter_agent.tell import begin, tell
from scatter_agent.terms import Terms

FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.05, 5.0
BOOT_S = 0.002
"""Seconds between two looks whether a server has made this process a worker."""
YOUNG_S, YOUNG_LOOK_S = 3.0, 0.5
"""So long a process is young: it may turn out to be a server's master, so it looks more often."""


FROZEN = "frozen"
"""The code of a log that is older than the policy lets one be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What an agent was asked to do, in all of its lives; as in `Agent`."""

    settings: Settings
    registry: Registry
    application: str
    store: Store | None
    look_s: float
    terms: Terms
    keeper: Keeper | None = None


class Work:
    """What is done in one life, and all that is known in it.

    Attributes:
        standing: The state that this has come to.
        is_over: Its agent was stopped: who works ends, and says goodbye.
        is_idle: Who works only waits.
        active_at: When who works last began anything, by `time.monotonic`.
        has_booted: Tells whether a server has made this process what it is to be.

    """

    def __init__(
        self,
        assignment: Assignment,
        *,
        floor: Mapping[str, int] | None = None,
        deployed: Deployed | None = None,
        before: Course | None = None,
        has_booted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Begin a life; `run` begins to work.

        Args:
            assignment: What to do.
            floor: Function → sequence at which its code was defined anew in this process.
            deployed: What the process was deployed with, as far as it is known.
            before: The course of the life before.
            has_booted: As in the attributes.

        """
        settings, terms = assignment.settings, assignment.terms
        cache = assignment.keeper or Cache(settings.cache, settings.namespace)
        begin()
        self.is_over = self.is_idle = self._is_on = False
        self.standing = Standing(settings.namespace, self._changed)
        self._assignment = assignment
        self.has_booted = has_booted
        self._connection = Connection(settings, assignment.store)
        self._course = Course(
            assignment.registry,
            terms,
            cache,
            floor=floor or {},
            deployed=deployed,
            before=before,
        )
        self._listener = Listener(assignment.look_s)
        self._reporter = Reporter(assignment.application, secrets.token_hex(4), terms.labels)
        self._kept = ""
        self._contact_at = self._retry_at = 0.0
        self.active_at = time.monotonic()
        self._backoff_s = FIRST_BACKOFF_S
        self._grown_at = time.monotonic() + YOUNG_S
        self._ready = native.Flag()
        self._asked: list[native.Flag] = []  # of those who wait in `look`

    def __repr__(self) -> str:
        return f"<Work of {self._assignment.settings!r}, {self.standing.state}>"

    # for any thread ----------------------------------------------------------------------

    def again(self) -> Work:
        """Return the next life, after a stop.

        What was defined anew in this process, and when, stays known: it is no part of a life.
        """
        course = self._course
        return Work(self._assignment, floor=course.follower.floor, before=course)

    def in_child(self) -> Work:
        """Return the next life, in a forked child: the code is the same, the connection is not."""
        self._connection.abandon()
        work = Work(
            self._assignment,
            floor=self._course.follower.floor,
            deployed=self._course.deployed,
            before=self._course,
            has_booted=hosts.has_booted(),
        )
        if self.is_over:
            work.end()
            work.standing.inherit("stopped", "it was stopped")
        return work

    def must_rest(self) -> bool:
        """Return whether this process needs no agent or can have none, and say so."""
        trouble, master = hosts.trouble(), hosts.master()
        if trouble:
            self.standing.be("error", trouble)
        elif master:
            reason = f"{master} calls no function; each process that it starts follows"
            self.standing.be("stopped", reason)
            if hosts.forks_from(master):
                lifecycle.load_all()
        return bool(trouble or master)

    def end(self) -> None:
        """Have who works say goodbye when it ends."""
        self.is_over = True

    def wake(self) -> None:
        """Have the log read now, if anybody is at work."""
        self._connection.wake()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the log was followed for the first time; return whether it was."""
        return self._ready.wait(timeout_s)

    def look(self, timeout_s: float) -> bool:
        """Have the log read, and wait until it was followed; return whether it was."""
        if self.standing.state not in ("starting", "ready"):
            return False
        looked = native.Flag()
        self._asked.append(looked)
        self.wake()
        return looked.wait(timeout_s) and self.standing.state == "ready"

    def apply(self) -> Mapping[str, int]:
        """Switch to what is prepared; return function → version that runs since."""
        switched = self._course.follower.apply()
        if switched or self._course.follower.was_overtaken:
            self.wake()
        return switched

    def tracked(self, slot: Slot) -> None:
        """Note that a function was tracked or defined anew; give it its version at once."""
        sequence = self._connection.sequence
        if slot.redefined and sequence is not None:
            self._course.follower.redefined(slot, sequence)
        self.wake()

    def status(self) -> AgentStatus:
        """Return what an agent says of itself."""
        slots, follower = self._assignment.registry.slots(), self._course.follower
        return AgentStatus(
            state=self.standing.state,
            since=self.standing.since,
            code=self.standing.code,
            reason=self.standing.reason,
            process=self._reporter.process,
            sequence=follower.sequence,
            switched_at=follower.switched_at,
            switches=follower.switches,
            contact_at=self._contact_at,
            functions={name: slot.version for name, slot in slots.items()},
            held=tuple(name for name, slot in slots.items() if slot.held),
            refused=follower.refusals(),
            pending=follower.pending(),
            superseded=follower.superseded(),
            distrusted=self._course.distrusted,
            epoch=self._connection.epoch,
            labels=self._assignment.terms.labels,
            doorbell=self._listener.doorbell,
            unreported=self._reporter.unreported,
        )

    def _changed(self) -> None:
        """Tell the application of a change of state."""
        self._assignment.terms.callbacks.health(self.status())

    # for the thread ----------------------------------------------------------------------

    def run(self, stop: native.Flag, delay_s: float = 0.0) -> None:
        """Follow the log until `stop` is set, or this process turns out to need no agent.

        Args:
            stop: Of this thread; the next one goes on, unless the life is over.
            delay_s: Wait first; longer where the next try is not due yet.

        """
        delay_s = max(delay_s, self._retry_at - time.monotonic())
        if delay_s > 0 and self._sleep(stop, delay_s) and not self.is_over:
            return
        while not self.has_booted() and not stop.wait(BOOT_S):
            pass
        bases.remember_project()
        while not stop.is_set() and not self.must_rest():
            self.active_at = time.monotonic()
            self._try_to_follow(stop)
            self._answer([*self._asked])
            if not self._is_on and not hosts.master():
                self._pause(stop)
        if self.is_over or self.standing.is_resting:
            is_there = self.standing.state != "stale"
            self._connection.leave(self._reporter.process, is_there=is_there)

    def _try_to_follow(self, stop: native.Flag) -> None:
        """Follow until something is in the way, and say what."""
        try:
            self._follow(stop)
        except StoreUnavailable as error:
            self.standing.be("stale", str(error) + self._kept)
            self._start_from_cache()
        except ScatterError as error:
            self.standing.be("error", str(error) + self._kept, getattr(error, "reason", ""))
            self._start_from_cache()
        except Exception as error:
            self.standing.be("error", f"{type(error).__name__}: {error}", "internal")
            tell("exception", "scatter.fault")

    def _start_from_cache(self) -> None:
        """Run what was good last, if there is nothing better, and say so beside the trouble."""
        tip = self._course.start_from_cache(self._connection.verifier())
        if tip is not None:
            self._kept = f" Until then it runs release {tip} as it was kept here."
            standing = self.standing
            standing.be(standing.state, standing.reason + self._kept, standing.code)

    def _pause(self, stop: native.Flag) -> None:
        """Wait before the next try."""
        self._retry_at = until = time.monotonic() + self._next_pause()
        while not stop.is_set() and (now := time.monotonic()) < until:
            self._leave_what_is_over()
            end = self._course.next_end()
            self._sleep(stop, max(0.0, min(until, end if end is not None else until) - now))
        self._leave_what_is_over()

    def _next_pause(self) -> float:
        """Return how long to wait: longer each time, and not as long as the others do."""
        pause_s = self._backoff_s * random.uniform(0.5, 1.0)
        self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)
        return pause_s

    def _leave_what_is_over(self) -> None:
        """Go back from temporary versions that are over, whatever became of the store."""
        try:
            self._course.leave_what_is_over()
        except ScatterError:
            pass  # the store was needed: the next turn tries again, and says what is in the way
        except Exception as error:
            self.standing.be("error", f"{type(error).__name__}: {error}", "internal")
            tell("exception", "scatter.fault")

    def _sleep(self, stop: native.Flag, time_s: float) -> bool:
        """Wait for the end of the thread; return whether it has come."""
        self.is_idle = True
        stop.wait(time_s)
        self.is_idle = False
        return stop.is_set()

    def _follow(self, stop: native.Flag) -> None:
        """Connect, catch up, and follow until the thread is to end, or this turns out a master."""
        was_on, self._is_on = self._is_on, False
        journal, bell = self._connection.open() if was_on else self._set_out()
        if was_on:
            self._turn(journal, Ring())
        while not stop.is_set():
            self._backoff_s = FIRST_BACKOFF_S
            due = self._due()
            self.active_at = time.monotonic()
            self.is_idle = True
            ring = self._listener.wait(bell, stop, due)
            self.is_idle = False
            if not ring and hosts.master():
                return
            if not stop.is_set():  # else the next thread looks without a ring
                before = journal.ledger.sequence
                self._turn(journal, ring)
                if not ring:
                    bell.check(suspect=journal.ledger.sequence > before)
                self._listener.heed(bell)
        self._is_on = True

    def _set_out(self) -> Opened:
        """Connect, and catch up for the first time."""
        with lifecycle.WORKING:  # with all that is imported on the way
            with lifecycle.LOADING:
                lifecycle.load()
                journal, bell = opened = self._connection.open()
                journal.ledger.verifier.load()
            self._reporter.forget()
            bell.listen()
            self._listener.heed(bell)
            self._turn(journal, Ring())
        return opened

    def _due(self) -> float | None:
        """Return when there is something to do without a ring, by `time.monotonic`."""
        now = time.monotonic()
        moments = [self._course.due(), self._reporter.next_beat or None]
        moments += [now + YOUNG_LOOK_S] * (now < self._grown_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def _turn(self, journal: Journal, ring: Ring) -> None:
        """Read the log, bring the process to its tip, and report."""
        asked = [*self._asked]
        releases: list[Release] = []
        state: tuple[State, str, str] = ("ready", "", "")
        self._leave_what_is_over()
        try:
            releases = journal.catch_up(rung=ring.log)
            behind = journal.is_stale()
            if behind:
                state = "stale", behind, FROZEN
        except (Untrusted, StoreRefused) as error:
            state = "error", str(error), getattr(error, "reason", "")
        self._contact_at = time.time()
        self._listener.answered(ring, found=bool(releases))
        is_good = state[0] != "error"
        if is_good:
            self._kept = ""
        self._course.advance(journal, releases, settled=is_good)
        self.standing.be(state[0], state[1] + self._kept * (not is_good), state[2])
        if not (is_good or journal.ledger.sequence):
            self._start_from_cache()
        self._reporter.tell(journal.store, self.status())
        if is_good:
            self._ready.set()
        if self._course.is_at_tip:
            self._answer(asked)
        self._course.finish(journal, is_good=is_good)

    def _answer(self, asked: list[native.Flag]) -> None:
        """Let those go on who wait in `look`."""
        for looked in asked:
            self._asked.remove(looked)
            looked.set()
