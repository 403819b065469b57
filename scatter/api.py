"""The functions of `import scatter` that act on a namespace: a thin shell over `scatter.client`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scatter import client
from scatter.errors import NotTrackable
from scatter.model import Release
from scatter.tracked import Tracked
from scatter.verbs import tracked_name


def init(
    redis_url: str | None = None,
    *,
    namespace: str | None = None,
    prefix: str | None = None,
    author: str | None = None,
) -> None:
    """Say where this process's functions are kept. Nothing is connected yet.

    Called again, the verbs go there from then on; an agent that runs stays where it was started.

    What is not given comes from the environment, then `[tool.scatter]` of the nearest
    `pyproject.toml`, then the default.

    Args:
        redis_url: `redis://`, `rediss://`, `unix://`, or `local://` for this user's own embedded
            server. Default: `SCATTER_REDIS_URL`, `REDIS_URL`, `redis://localhost:6379`.
        namespace: Which application's functions. Default: `SCATTER_NAMESPACE`, `default`.
        prefix: Alias of `namespace`.
        author: Who releases. Default: git's user, else user and host.

    Raises:
        UsageError: A value has the wrong form.

    """
    client.init(redis_url=redis_url, namespace=namespace, prefix=prefix, author=author)


def get(name: str, version: int | None = None) -> Tracked[..., Any]:
    """Return a function of the namespace by its full or short name, loaded into this process.

    Args:
        name: `module:qualname`, or a short form if it is unique.
        version: A number gives a function of its own that stays at that version: its verbs that
            would move it (`push`, `pull`, `upgrade`, `downgrade`) raise `UsageError`.

    Raises:
        NotFound: There is none, or its deployed code is live, which only processes that were
            deployed with it have; it is a `KeyError`.
        Refused: It cannot run in this process.
        StoreUnavailable: The store cannot be reached.

    """
    return client.current().get(name, version)  # type: ignore[return-value]


def push(
    *functions: Callable[..., Any] | str,
    message: str = "",
    force: bool = False,
    secrets: bool = False,
) -> dict[str, int]:
    """Publish several functions of this process in one release.

    Args:
        *functions: Tracked functions, or their names (full or short).
        message: Why.
        force: Go over a `Conflict`.
        secrets: Ship captured values that look like credentials.

    Returns:
        Function → its live version.

    """
    names = [_name_of(function) for function in functions]
    return client.current().push(names, message=message, force=force, secrets=secrets)


def _name_of(function: Callable[..., Any] | str) -> str:
    if isinstance(function, str):
        return function
    name = tracked_name(getattr(function, "__func__", function))
    if name is None:
        raise NotTrackable(f"{function!r} is not tracked. Put @scatter.track above its `def`.")
    return name


def functions() -> dict[str, int]:
    """Return name → live version of every function of the namespace; 0: the deployed code."""
    return {name: s.version or 0 for name, s in client.current().releases.functions().items()}


def release(versions: Mapping[str, int], *, message: str = "") -> Release | None:
    """Make existing versions live in every process, all in one release.

    Args:
        versions: Name (full or short) → version; 0 for the deployed code.
        message: Why.

    Returns:
        The release; None when all of it was live already.

    Raises:
        NotFound: A function or version does not exist; nothing was released.

    """
    return client.current().releases.release(versions, message=message)


def rollback(*names: str, to: int | None = None, message: str = "") -> Release | None:
    """Go back in every process.

    Args:
        *names: Functions to take back to the version that was live before, whether or not any
            process ran it. None: those of the newest release.
        to: Go back to how things were right after this release, instead of one step.
        message: Why.

    Returns:
        The release; None when nothing would change.

    Raises:
        NotFound: No such function, or an earlier version is gone; nothing was released.

    """
    return client.current().releases.rollback(*names, to=to, message=message)


def cleanup() -> None:
    """Close this process's connection to the store; the next verb opens one again."""
    client.current().close()
