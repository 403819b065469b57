"""Celery: an agent in each process that runs tasks, and none in the master of a prefork pool."""

from __future__ import annotations

from typing import Any

import scatter_agent
from celery import signals
from celery.concurrency.prefork import TaskPool


def start(wait: float = 1.0, **arguments: Any) -> None:
    """Start an agent in a worker's processes as they begin; for the module of the tasks.

    Other programs that import the module, to send tasks, get none.

    Args:
        wait: Seconds that a process waits at most for the newest versions before its first task.
        **arguments: Those of `scatter_agent.start`.

    """

    def begin(**_: Any) -> None:
        scatter_agent.start(wait=wait, **arguments)

    def begin_without_children(sender: Any, **_: Any) -> None:
        if not isinstance(sender.pool, TaskPool):
            begin()

    signals.worker_process_init.connect(begin, weak=False)
    signals.worker_ready.connect(begin_without_children, weak=False)
