"""Log events of the agent.

A background thread must not end because the application's logging is broken, or because the
process is half-way through its end: an event that cannot be told is dropped, and the status has
what it said.
"""

from __future__ import annotations

from typing import Any

from scatter._logging import log


def tell(level: str, event: str, **fields: Any) -> None:
    """Log an event; never raises."""
    try:
        getattr(log(), level)(event, **fields)
    except Exception:
        return
