"""The mirror's process: an agent for each namespace, signals, and what systemd is told.

    SIGTERM, SIGINT   it ends: everything that was written is whole
    SIGHUP            files of trust are read again, and the log is looked at, at once

Invariants
1. Signals are taken by the main thread, which does nothing else that could wait.
2. The watchdog is told that all is well only while every agent's thread goes on; a server that is
   away is no reason to be started again.
"""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from scatter import native
from scatter.config import Settings
from scatter.errors import UsageError
from scatter.registry import Registry
from scatter.store.notices import open_notices
from scatter_agent import systemd
from scatter_agent.agent import Agent
from scatter_agent.health import AgentStatus
from scatter_agent.listen import LOOK_S
from scatter_agent.mirror.copy import Copy
from scatter_agent.tell import tell
from scatter_agent.terms import Callbacks, Terms

APPLICATION = "scatter-agent mirror"
SILENT_S = 30.0
"""How long an agent's thread may be busy with one thing; a server that hangs is given 10 s."""
_TICK_S, _FIRST_TICK_S = 5.0, 0.05
_PAUSE_S, _LAST_PAUSE_S = 0.02, 0.32


class Member:
    """One namespace of a mirror: its agent, and who notices that something was left there."""

    def __init__(
        self, settings: Settings, folder: Path, look_s: float, on_change: Callable[[], None]
    ) -> None:
        """Prepare; `start` starts it.

        Args:
            settings: Where the log is, and which namespace.
            folder: The mirror's directory.
            look_s: Seconds between two looks without a ring.
            on_change: Called when it stands otherwise; any thread.

        """
        self.namespace = settings.namespace
        self._on_change = on_change
        self.copy = Copy(folder, settings.namespace, on_change)
        callbacks = Callbacks(on_switch=None, on_refused=None, on_health=self._stands)
        self.agent = Agent(
            settings,
            registry=Registry(),
            application=APPLICATION,
            look_s=look_s,
            terms=Terms(manual=False, labels={}, callbacks=callbacks),
            keeper=self.copy,
        )
        self._notices = open_notices(self.copy.reports)
        self._stop = native.Flag()

    def __repr__(self) -> str:
        return f"<Member {self.namespace}: {self.line()}>"

    def start(self) -> None:
        """Begin to follow."""
        self.agent.start()
        native.start_thread(self._notice, name="scatter-mirror")

    def stop(self) -> None:
        """End, with everything whole."""
        self._stop.set()
        self._notices.wake()
        self.agent.stop()
        self.copy.close()

    def line(self) -> str:
        """Return how it stands, in one line for people."""
        status = self.agent.status()
        if status.state == "starting":
            return "starting"
        plural = "s" * (self.copy.functions != 1)
        said = f"{self.copy.functions} function{plural}, at release {self.copy.sequence}"
        return "; ".join(filter(None, [said, status.reason, self.copy.trouble]))

    def _stands(self, status: AgentStatus) -> None:
        if status.state in ("stale", "stopped"):
            self.copy.be_offline()
        self._on_change()

    def _notice(self) -> None:
        """Wake the agent when processes leave something for it; less often if they never stop."""
        pause_s = _PAUSE_S
        while not self._stop.is_set():
            self._notices.watch()
            began = time.monotonic()
            if self._notices.wait(LOOK_S) == "written":
                was_quiet = time.monotonic() - began > _PAUSE_S
                pause_s = _PAUSE_S if was_quiet else min(pause_s * 2, _LAST_PAUSE_S)
                self.agent.wake()
                self._stop.wait(pause_s)


class Daemon:
    """A mirror of some namespaces."""

    def __init__(
        self,
        settings: Settings,
        namespaces: Sequence[str],
        folder: Path,
        *,
        look_s: float = LOOK_S,
    ) -> None:
        """Prepare; `run` runs it.

        Args:
            settings: Where the logs are.
            namespaces: Which ones are mirrored; none: that of the settings.
            folder: Where they are kept.
            look_s: Seconds between two looks without a ring.

        Raises:
            UsageError: The address has nothing to be mirrored, or a namespace is malformed.

        """
        if settings.redis_url.startswith(("dir:", "memory:")):
            raise UsageError(
                f"A mirror copies from a server, and found {settings.redis_url!r}. Give the "
                "server's address: -u redis://… or SCATTER_REDIS_URL."
            )
        chosen = dict.fromkeys(namespaces or [settings.namespace])
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._is_ready = False
        self.members = [
            Member(settings.but(namespace=name), folder, look_s, self._tell_status)
            for name in chosen
        ]

    def __repr__(self) -> str:
        return f"<Daemon of {', '.join(member.namespace for member in self.members)}>"

    def run(self) -> None:
        """Mirror until a signal ends it. To be called on the main thread."""
        taken = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._take) for number in taken}
        try:
            for member in self.members:
                member.start()
            while self._went_on():
                pass
        finally:
            systemd.notify(STOPPING=1)
            for member in self.members:
                member.stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, _: FrameType | None) -> None:
        self._signals.put(number)

    def _went_on(self) -> bool:
        """Wait for a signal, or until it is time to tell systemd; return whether to go on."""
        within_s = systemd.watchdog_s()
        tick_s = min(_TICK_S, (within_s or _TICK_S) / 3) if self._is_ready else _FIRST_TICK_S
        try:
            number = self._signals.get(timeout=tick_s)
        except queue.Empty:
            number = 0
        if number == signal.SIGHUP:
            self._reload()
        self._tell_ready()
        if within_s is not None and self.is_healthy():
            systemd.notify(WATCHDOG=1)
        return number in (0, signal.SIGHUP)

    def is_healthy(self) -> bool:
        """Return whether every agent's thread goes on."""
        return all(member.agent.silent_s() < SILENT_S for member in self.members)

    def _reload(self) -> None:
        systemd.reloading()
        tell("info", "scatter.reloaded", always=True)
        for member in self.members:
            member.agent.wake()  # files of trust are looked at with each look at the log
        systemd.notify(READY=1)

    def _tell_ready(self) -> None:
        """Tell, once, that every namespace was looked at: the server may be away."""
        states = {member.agent.status().state for member in self.members}
        if not self._is_ready and "starting" not in states:
            self._is_ready = True
            systemd.notify(READY=1)
            self._tell_status()

    def _tell_status(self) -> None:
        if self._is_ready:
            systemd.notify(STATUS=self.status())

    def status(self) -> str:
        """Return how it stands, in one line for people."""
        if len(self.members) == 1:
            return self.members[0].line()
        return " · ".join(f"{member.namespace}: {member.line()}" for member in self.members)


def run(settings: Settings, namespaces: Sequence[str], folder: Path) -> None:
    """Mirror until a signal ends it; see `Daemon`."""
    Daemon(settings, namespaces, folder).run()
