"""The agent: keeps the tracked functions of this process on the log.

    import scatter_agent
    scatter_agent.start()

Importing this package starts nothing; `start` returns at once, whether the store is there or not.
"""

from __future__ import annotations

from scatter.locks import ForkSafeLock

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from collections.abc import Sequence

    from scatter_agent.agent import Agent
    from scatter_agent.health import AgentStatus

__all__ = ["look", "start", "status", "stop"]

_agent: Agent | None = None
_lock = ForkSafeLock()


def start(
    redis_url: str | None = None,
    *,
    namespace: str | None = None,
    prefix: str | None = None,
    application: str = "",
    track: Sequence[str] | None = None,
    wait: float | None = None,
) -> Agent:
    """Start following the log in a background thread. Never waits for the store unless told to.

    Args:
        redis_url, namespace, prefix: As for `scatter.init`; what is not given is what `init` was
            given, else what the environment and `[tool.scatter]` say.
        application: How `scatter status` names this process; default: its program's name.
        track: Patterns of modules, such as `pricing.*`, of which every function is tracked, also of
            those that are imported later; default: the setting `track`.
        wait: Seconds to wait at most until the process is on the log; None: do not wait.

    Returns:
        The agent of this process; the same one when it runs already.

    Raises:
        UsageError: It runs already with other settings, or a setting has the wrong form.

    """
    global _agent
    from dataclasses import replace

    from scatter.client import current_settings
    from scatter.config import resolve
    from scatter.errors import UsageError
    from scatter.registry import REGISTRY
    from scatter.whole import track_matching
    from scatter_agent.agent import Agent

    if namespace and prefix:
        raise UsageError("`prefix` is another name of `namespace`; give one of them.")
    settings = current_settings()
    if redis_url or namespace or prefix:
        settings = resolve(
            redis_url=redis_url or settings.redis_url,
            namespace=namespace or prefix or settings.namespace,
        )
    with _lock:
        if _agent is None or _agent.stopped:
            _agent = Agent(settings, registry=REGISTRY, application=application)
        elif replace(_agent.settings, origins={}) != replace(settings, origins={}):
            raise UsageError(
                f"An agent runs already with {_agent.settings!r}; found {settings!r}. "
                "Call scatter_agent.stop() first."
            )
        agent = _agent
        patterns = settings.track if track is None else track
        if patterns:
            track_matching(patterns)
        agent.start()
    if wait is not None:
        agent.wait(wait)
    return agent


def stop(timeout_s: float = 5.0) -> None:
    """Stop following the log. What runs stays as it is. Idempotent."""
    if _agent is not None:
        _agent.stop(timeout_s)


def look(timeout_s: float = 1.0) -> bool:
    """Read the log now, and wait until this process follows it; return whether it does.

    For what must run the newest version: before a fork, or when a frozen process wakes. Without an
    agent, or where the store is known to be away, it returns False at once.
    """
    return _agent is not None and _agent.look(timeout_s)


def status() -> AgentStatus:
    """Return what the agent of this process says of itself."""
    if _agent is None:
        from scatter_agent.health import STOPPED

        return STOPPED
    return _agent.status()
