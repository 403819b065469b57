"""The acknowledger: a thread that asks the running processes about each push.

A push must not wait for stragglers before the next save is handled, so they are asked about here,
one push after the other. Whoever took a later release has taken this one, so a push that is
overtaken is answered at once.

Invariants
1. Owned by one `watch` call: started with the first push, joined when the call returns.
2. It waits at most `PATIENCE_S` for a push. When stopped it has `_LAST_S` to finish; what it
   would tell after that is dropped.
3. Not fork-safe, and need not be: the watcher never forks.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from scatter.acks import Acks, label
from scatter.errors import ScatterError
from scatter.watch.events import Acknowledged, Pushed

PATIENCE_S = 2.0
"""How long a push waits for processes that do not answer before they are named."""
_LAST_S = 0.25


Ask = Callable[[Pushed, float], Acks]
"""Waits until every process has answered a push, at most so many seconds."""


class Acknowledger:
    """Asks about pushes on a thread of its own, and tells what was answered."""

    def __init__(
        self, ask: Ask, *, tell: Callable[[Acknowledged], None], clock: Callable[[], float]
    ) -> None:
        """Remember whom to ask; the thread starts with the first push."""
        self._ask = ask
        self._tell = tell
        self._clock = clock
        self._pushes: queue.SimpleQueue[Pushed | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, pushed: Pushed) -> None:
        """Ask about a push, soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="scatter-acks", daemon=True)
            self._thread.start()
        self._pushes.put(pushed)

    def stop(self) -> None:
        """Answer what can be answered quickly, and end. Idempotent."""
        if self._thread is not None:
            self._pushes.put(None)
            self._thread.join(_LAST_S)
            self._stopped = True

    def _run(self) -> None:
        while (pushed := self._pushes.get()) is not None:
            answered = self._answered(pushed)
            if not self._stopped:
                self._tell(answered)

    def _answered(self, pushed: Pushed) -> Acknowledged:
        """Return what the processes did about one push."""
        acks, error = Acks(), ""
        try:
            acks = self._ask(pushed, PATIENCE_S)
        except ScatterError as failure:
            error = str(failure)
        return Acknowledged(
            pushed=pushed,
            applied=len(acks.applied),
            total=acks.total,
            elapsed_s=self._clock() - pushed.noticed_at,
            behind=tuple(map(label, acks.behind)),
            held=tuple(map(label, acks.held)),
            refused=tuple((tuple(who), why) for why, who in acks.refusals().items()),
            error=error,
        )
