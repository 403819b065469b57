"""RQ: a worker whose jobs begin on the newest version: `rq worker -w scatter.ext.rq.Worker`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import rq
import scatter_agent

LOOK_S = 1.0
"""How long a job waits for the newest version at most."""
GOODBYE_S = 0.25


class Worker(rq.Worker):
    """Imports the tasks itself, so that its agent follows; each job is forked from that.

    RQ's own worker leaves the import to each job, which would begin with deployed code.
    """

    def fork_work_horse(self, job: Any, queue: Any) -> None:
        """Have the newest version here, then fork."""
        with suppress(Exception):  # the job will fail with it, and tell
            _ = job.func
        scatter_agent.look(LOOK_S)
        super().fork_work_horse(job, queue)

    def perform_job(self, *args: Any, **kwargs: Any) -> bool:
        """Run a job; its process ends without `atexit`, so its agent says goodbye here."""
        try:
            return bool(super().perform_job(*args, **kwargs))
        finally:
            scatter_agent.stop(GOODBYE_S)
