"""The page on managed Redis says what follows from commands that a provider refuses."""

from __future__ import annotations

from collections.abc import Callable

from pages import DOCS

from scatter.server import EmbeddedServer
from scatter.store.redis import RedisStore

PAGE = (DOCS / "how-to" / "managed-redis.md").read_text("utf-8")


def refusing(*commands: str) -> list[str]:
    """Return what has a server refuse commands, as those of providers do."""
    return [word for command in commands for word in ("--rename-command", command, "")]


def test_without_config_and_acl_releases_are_read_and_the_log_is_polled(
    own_server: Callable[..., EmbeddedServer],
) -> None:
    server = own_server(*refusing("CONFIG", "ACL"), "--notify-keyspace-events", "")
    store = RedisStore(server.url, "shop")
    bell = store.doorbell()

    assert store.read(0).tip == 0
    bell.listen()
    assert not bell.works
    assert "Until then the log is read every 0.5 s" in PAGE
    store.close()


def test_without_client_nothing_is_missing_but_names(
    own_server: Callable[..., EmbeddedServer],
) -> None:
    server = own_server(*refusing("CLIENT"))
    store = RedisStore(server.url, "shop")
    bell = store.doorbell()

    bell.listen()
    assert bell.works
    assert store.append(1, b"entry", {})
    assert bell.wait(5).log
    assert "| `CLIENT SETNAME` | connections have no names" in PAGE
    store.close()
