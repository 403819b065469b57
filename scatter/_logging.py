"""The library's log: structlog events through the standard logger `scatter`.

Silent by default, and part of the application's log as soon as the application configures
`logging`; nothing of the application's own logging or structlog set-up is touched. Event names are
stable (listed in `docs/reference/events.md`); field names are never those of a LogRecord.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any


def is_heard(level: str) -> bool:
    """Return whether the application does anything with events of a level.

    While it does not, structlog is not imported: that is 2 MB, and 7 where rich is installed.

    Args:
        level: Name of a logger's method: `info`, `warning`, `error`, `exception`.

    """
    logger = logging.getLogger("scatter")
    number = logging.ERROR if level == "exception" else logging.getLevelName(level.upper())
    if not logger.isEnabledFor(number):
        return False
    here: logging.Logger | None = logger
    while here is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in here.handlers):
            return True
        here = here.parent if here.propagate else None
    return False


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
