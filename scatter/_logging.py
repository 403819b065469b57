"""The library's log: structlog events through the standard logger `scatter`.

Silent by default, and part of the application's log as soon as the application configures
`logging`; nothing of the application's own logging or structlog set-up is touched. Event names are
stable (listed in `docs/events.md`); field names are never those of a LogRecord.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any


@cache
def log() -> Any:
    """Return the structured logger; structlog is imported when something is first logged."""
    import structlog

    logger = logging.getLogger("scatter")
    logger.addHandler(logging.NullHandler())
    return structlog.wrap_logger(
        logger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
