"""Addresses of groups of servers: what a Sentinel or Cluster URL says.

`redis+sentinel://[user:password@]host:port[,host:port...]/MASTER[/DB]` and
`redis+cluster://[user:password@]host:port[,host:port...]`; `rediss+...` with TLS.

Not here: addresses of one server (`config`), finding and connecting to the right one
(`scatter.store.topology`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode

from scatter.errors import UsageError

Node = tuple[str, int]
"""Host and port."""

GROUP_SCHEMES = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_SENTINEL_PORT, _PORT = 26379, 6379
_FORM = re.compile(
    r"rediss?\+(?:sentinel|cluster)://(?:(?P<login>[^/?#]*)@)?(?P<nodes>[^/?#@]*)"
    r"(?:/(?P<path>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)
_NODE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_OF_THE_SENTINELS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of servers, one of which is to be talked to.

    Attributes:
        is_cluster: A Redis Cluster; else sentinels, which know of a master.
        nodes: Sentinels, or nodes of the cluster.
        master: Name by which the sentinels know the master.
        url: What else the URL says, as the URL of one server without host and log-in.
        login: User and password at the servers, as redis-py names them.
        sentinel_login: The same at the sentinels.

    """

    is_cluster: bool
    nodes: tuple[Node, ...]
    master: str = ""
    url: str = ""
    login: dict[str, str] = field(default_factory=dict, repr=False)
    sentinel_login: dict[str, str] = field(default_factory=dict, repr=False)


def is_group(url: str) -> bool:
    """Return whether a URL has the scheme of a group."""
    return url.partition("://")[0] in GROUP_SCHEMES


def parse_group(url: str) -> Group:
    """Return what the URL of a group says.

    Raises:
        UsageError: It is no such URL; the text says what it lacks, and nothing of the URL.

    """
    scheme = url.partition("://")[0]
    is_cluster = scheme.endswith("cluster")
    found = _FORM.fullmatch(url)
    if found is None:
        raise UsageError(_HOSTS)
    nodes = _nodes(found["nodes"], _PORT if is_cluster else _SENTINEL_PORT)
    query = dict(parse_qsl(found["query"] or "", keep_blank_values=True))
    if "db" in query:
        raise UsageError(_CLUSTER_DB if is_cluster else "the database as the path's second part")
    master, database = _cluster_path(found) if is_cluster else _sentinel_path(found)
    others = {key: value for key, value in query.items() if key not in _OF_THE_SENTINELS}
    if is_cluster and len(others) < len(query):
        raise UsageError("no log-in for sentinels in the address of a cluster")
    return Group(
        is_cluster=is_cluster,
        nodes=nodes,
        master=master,
        url=f"{scheme.partition('+')[0]}://localhost/{database}?{urlencode(others)}",
        login=_login(found["login"] or ""),
        sentinel_login={
            key.removeprefix("sentinel_"): query[key] for key in _OF_THE_SENTINELS if query.get(key)
        },
    )


def _nodes(text: str, default_port: int) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for part in text.split(","):
        found = _NODE.fullmatch(part)
        port = int(found["port"] or default_port) if found else 0
        if found is None or not 0 < port < 1 << 16:
            raise UsageError(_HOSTS)
        nodes.append((found["host"].strip("[]"), port))
    return tuple(dict.fromkeys(nodes))


def _cluster_path(found: re.Match[str]) -> tuple[str, int]:
    if (found["path"] or "").strip("/") not in ("", "0"):
        raise UsageError(_CLUSTER_DB)
    return "", 0


def _sentinel_path(found: re.Match[str]) -> tuple[str, int]:
    master, _, database = (found["path"] or "").strip("/").partition("/")
    if not master:
        raise UsageError("the master's name, as the sentinels know it, as the path")
    if database and not (database.isascii() and database.isdecimal()):
        raise UsageError("a database that is a whole number")
    return unquote(master), int(database or 0)


def _login(text: str) -> dict[str, str]:
    user, _, password = text.partition(":")
    given = {"username": unquote(user), "password": unquote(password)}
    return {key: value for key, value in given.items() if value}


_HOSTS = "hosts with ports from 1 to 65535, separated by commas"
_CLUSTER_DB = "no database: a cluster has only number 0"
