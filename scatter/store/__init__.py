"""Where releases and bundles are kept: bytes and records, nothing callable.

`port` is the contract; `memory`, `redis` and `directory` keep it. Importing this
package imports no Redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scatter.access import NO_ACCESS, Access
from scatter.config import check_url
from scatter.locks import ForkSafeLock

if TYPE_CHECKING:
    from scatter.store.memory import MemoryStore
    from scatter.store.port import Store

_memories: dict[tuple[str, str], MemoryStore] = {}
_lock = ForkSafeLock()


def open_store(url: str, namespace: str, *, access: Access = NO_ACCESS, **options: Any) -> Store:
    """Return the store at a URL. Nothing is connected yet, but for `local://`.

    Args:
        url: `redis://`, `rediss://` or `unix://`; `redis+sentinel://` or `redis+cluster://`, also
            with `rediss+`, for the right one of several servers; `local://` for this user's
            embedded server, which is started if need be; `memory://NAME` for one in this process,
            shared by that name; `dir:PATH` for a mirror's directory, which is only read.
        namespace: The namespace.
        access: Log-in and certificates beside the URL; only for servers that have a URL.
        **options: Of `RedisStore`.

    Raises:
        UsageError: The URL has another scheme, or is malformed.
        ServerNotFound: `local://`, and there is no server to start.

    """
    scheme = check_url(url).partition("://")[0]
    if scheme == "memory":
        return _memory(url, namespace)
    if scheme.startswith("dir:"):
        from scatter.store.directory import open_directory

        return open_directory(url, namespace)
    if scheme == "local":
        from scatter.server import local_url

        url, access = local_url(), NO_ACCESS
    from scatter.store.redis import RedisStore

    return RedisStore(url, namespace, access=access, **options)


def _memory(url: str, namespace: str) -> MemoryStore:
    from scatter.store.memory import MemoryStore

    with _lock:
        return _memories.setdefault((url, namespace), MemoryStore(namespace))
