"""The agent: keeps the tracked functions of this process on the log.

    import scatter_agent
    scatter_agent.start()

Importing this package starts nothing; `start` returns at once, whether the store is there or not.
"""

from __future__ import annotations

from scatter.locks import ForkSafeLock

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    from scatter.config import Settings
    from scatter.model import Refusal
    from scatter_agent.agent import Agent
    from scatter_agent.health import AgentStatus
    from scatter_agent.terms import Callbacks, Switch

__all__ = ["look", "start", "status", "stop"]

_agent: Agent | None = None
_is_launched = False
"""Whether the agent was started by `scatter-agent run`, and not by the program itself."""
_lock = ForkSafeLock()
_GIVE_WAY_S = 1.0


def start(  # noqa: PLR0913 - all are keywords, and most are left out
    redis_url: str | None = None,
    *,
    namespace: str | None = None,
    prefix: str | None = None,
    application: str = "",
    track: Sequence[str] | None = None,
    wait: float | None = None,
    apply: Literal["at_once", "manual"] | None = None,
    labels: Mapping[str, str] | None = None,
    on_switch: Callable[[Switch], object] | None = None,
    on_refused: Callable[[Refusal], object] | None = None,
    on_health: Callable[[AgentStatus], object] | None = None,
) -> Agent:
    """Start following the log in a background thread. Never waits for the store unless told to.

    Args:
        redis_url, namespace, prefix: As for `scatter.init`; all that is not given is what `init`
            was given, else what the environment and `[tool.scatter]` say.
        application: How `scatter status` names this process; default: the setting `application`,
            else its program's name.
        track: Patterns of modules, such as `pricing.*`, of which every function is tracked, also of
            those that are imported later; default: the setting `track`.
        wait: Seconds to wait at most until the process is on the log; None: do not wait.
        apply: `at_once` (the default), or `manual`: versions are only prepared, and `agent.apply()`
            switches to them where the application calls it, such as between two steps of a
            training loop.
        labels: What this process is (`{"region": "eu"}`), for rollouts and for people; default:
            the setting `labels`.
        on_switch: Called after each switch, in the agent's thread or in that which calls
            `agent.apply()`. What a callback raises is logged and does no harm.
        on_refused: Called for each version that cannot run here, once.
        on_health: Called with the status whenever its state changes.

    Returns:
        The agent of this process; the same one when it runs already.

    Raises:
        UsageError: It runs already in another way than this, or a setting or argument has the
            wrong form.

    """
    global _agent, _is_launched
    from scatter.client import current_settings
    from scatter.config import checked_labels
    from scatter.errors import UsageError
    from scatter.registry import REGISTRY
    from scatter.whole import track_matching
    from scatter_agent.agent import Agent
    from scatter_agent.terms import Callbacks, Terms

    if namespace and prefix:
        raise UsageError("`prefix` is another name of `namespace`; give one of them.")
    settings = current_settings().but(redis_url=redis_url, namespace=namespace or prefix)
    if apply not in (None, "at_once", "manual"):
        raise UsageError(f"apply: expected 'at_once' or 'manual', found {apply!r}.")
    callbacks = Callbacks(on_switch=on_switch, on_refused=on_refused, on_health=on_health)
    with _lock:
        if _agent is not None and _is_launched:
            _give_way(_agent, settings, application, apply, labels, callbacks)
        _is_launched = False
        if _agent is None or _agent.stopped:
            _agent = Agent(
                settings,
                registry=REGISTRY,
                application=application or settings.application,
                terms=Terms(
                    manual=apply == "manual",
                    labels=checked_labels(settings.labels if labels is None else labels),
                    callbacks=callbacks,
                ),
            )
        else:
            _agent.check_is(settings, apply=apply, labels=labels, callbacks=callbacks)
        agent = _agent
        patterns = settings.track if track is None else track
        if patterns:
            track_matching(patterns)
        agent.start()
    if wait is not None:
        agent.wait(wait)
    return agent


def _give_way(
    agent: Agent,
    settings: Settings,
    application: str,
    apply: str | None,
    labels: Mapping[str, str] | None,
    callbacks: Callbacks,
) -> None:
    """Stop the agent that `scatter-agent run` started, if the program wants another one."""
    from scatter.errors import UsageError

    try:
        agent.check_is(settings, apply=apply, labels=labels, callbacks=callbacks)
        is_other = bool(application) and application != agent.settings.application
    except UsageError:
        is_other = True
    if is_other:
        agent.stop(_GIVE_WAY_S)


def launch() -> None:
    """Start as `scatter-agent run` does: with the settings, and giving way to the program's own."""
    global _is_launched
    if _agent is None:
        start()
        _is_launched = True


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
