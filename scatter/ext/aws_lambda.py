"""AWS Lambda, and whatever else freezes processes between two calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import scatter_agent

P = ParamSpec("P")
R = TypeVar("R")


def fresh(handler: Callable[P, R], *, timeout_s: float = 0.1) -> Callable[P, R]:
    """Return a handler that begins on the newest version, though its process was frozen.

    It costs one round trip to the store for each call.

    Args:
        handler: What is called when the process wakes.
        timeout_s: How long to wait at most; then the version that is there runs.

    """

    @functools.wraps(handler)
    def fresh_handler(*args: P.args, **kwargs: P.kwargs) -> R:
        scatter_agent.look(timeout_s)
        return handler(*args, **kwargs)

    return fresh_handler
