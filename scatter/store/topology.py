"""Which server to talk to: the one of the URL, a master that sentinels name, a cluster's owner.

A route is asked for a connection whenever there is none, and every few seconds whether the one at
hand still leads to the right server: who only reads and listens would never notice that a failover
went past it.

Not here: what is sent over the connection (`link`). No pool, no cluster client: all keys of a
namespace are in one slot, so that one connection is all that is ever needed.

Invariants
1. A master is believed only if it says itself that it is one.
2. Of what the sentinels say, the newest counts (the highest configuration epoch), not the first.
3. A server that does not answer is asked last for a while, and only by who has no connection.
4. Where nobody can be asked, the connection at hand is right.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

import redis

from scatter.groups import Group, Node, is_group, parse_group
from scatter.store.dial import Dialer, ask, code_of, hang_up

SENTINEL_TIMEOUT_S = 0.5
"""How long a sentinel may take to connect, and to answer."""
SILENT_S = 10.0
"""How long a server that did not answer is asked last."""
_HOPS = 5
_FAILURES = (redis.RedisError, OSError, AttributeError, TypeError, ValueError, LookupError)
"""What comes of asking something that may not even be a Redis."""


class Route(Protocol):
    """Finds the server to talk to. Used by one thread at a time; errors are redis-py's."""

    @property
    def may_move(self) -> bool:
        """Whether the right server may be another one some day."""
        ...

    def connect(self) -> Any:
        """Return a new connection to the right server, connected."""
        ...

    def is_right(self, connection: Any, /) -> bool:
        """Return whether a connection made here still leads to the right server."""
        ...


def route_to(url: str, key: str, **options: Any) -> Route:
    """Return the route that a URL describes.

    Args:
        url: Any that `scatter.config.check_url` lets pass, but for `local://` and `memory://`.
        key: A hash of the namespace, by which a cluster knows the slot.
        **options: Of `Dialer`.

    Raises:
        UsageError: The URL is malformed.

    """
    if not is_group(url):
        return _OneServer(Dialer(url, **options))
    group = parse_group(url)
    dial = Dialer(group.url, login=group.login, shown=url, **options)
    return _Cluster(group, dial, key) if group.is_cluster else _Sentinels(group, dial)


class _OneServer:
    """The server of the URL, whatever it is."""

    may_move = False

    def __init__(self, dial: Dialer) -> None:
        self._dial = dial

    def connect(self) -> Any:
        connection = self._dial()
        connection.connect()
        return connection

    def is_right(self, _connection: Any, /) -> bool:
        return True


class _Silent:
    """Servers that did not answer of late."""

    def __init__(self) -> None:
        self._until: dict[Node, float] = {}

    def __contains__(self, node: object) -> bool:
        return self._until.get(node, 0.0) > time.monotonic()  # type: ignore[call-overload, no-any-return]

    def note(self, node: Node) -> None:
        self._until[node] = time.monotonic() + SILENT_S

    def last(self, nodes: Iterable[Node]) -> list[Node]:
        """Return each node once, those that did not answer after the others."""
        return sorted(dict.fromkeys(nodes), key=self.__contains__)


class _Sentinels:
    """The master that sentinels name."""

    may_move = True

    def __init__(self, group: Group, dial: Dialer) -> None:
        self._group = group
        self._dial = dial
        self._silent = _Silent()
        self._master: Node | None = None

    def connect(self) -> Any:
        host, port = self._master = self._named()
        connection = _open(self._dial, (host, port))
        try:
            role = _role(connection)
        except BaseException:
            hang_up(connection)
            raise
        if role not in ("master", ""):
            hang_up(connection)
            raise redis.ConnectionError(
                f"the sentinels name {host}:{port}, which is a {role}: a failover may be under way"
            )
        return connection

    def is_right(self, connection: Any, /) -> bool:
        try:
            is_named = self._named(patiently=False) == self._master
        except _FAILURES:
            is_named = True  # nobody says otherwise
        return is_named and _role(connection) in ("master", "")

    def _named(self, *, patiently: bool = True) -> Node:
        """Return the master, by the sentinel that heard of the last failover.

        Those that were silent of late are asked only if the others are too, and `patiently`.
        """
        found: list[tuple[int, Node]] = []
        failure: BaseException | None = None
        for node in self._silent.last(self._group.nodes):
            if node in self._silent and (found or not patiently):
                break
            try:
                found.append(self._ask(node))
            except _FAILURES as error:
                self._silent.note(node)
                failure = error
        if found:
            return max(found, key=lambda answer: answer[0])[1]
        raise _placed(failure, "no sentinel knows the master", self._group.master)

    def _ask(self, node: Node) -> tuple[int, Node]:
        """Return what a sentinel says: configuration epoch and address."""
        host, port = node
        login = {"username": None, "password": None, **self._group.sentinel_login}
        sentinel = self._dial(
            host=host, port=port, db=0, protocol=2, **login,
            socket_timeout=SENTINEL_TIMEOUT_S, socket_connect_timeout=SENTINEL_TIMEOUT_S,
        )  # fmt: skip
        try:
            sentinel.connect()
            flat = ask(sentinel, "SENTINEL", "MASTER", self._group.master)
        finally:
            hang_up(sentinel)
        answer = dict(zip(flat[::2], flat[1::2], strict=True))
        return int(answer[b"config-epoch"]), (answer[b"ip"].decode(), int(answer[b"port"]))


class _Cluster:
    """The node that owns the namespace's slot.

    It is found by a read: who owns the slot answers, and everybody else says who does. That needs
    no right beyond those that a reader of the log has.
    """

    may_move = True

    def __init__(self, group: Group, dial: Dialer, key: str) -> None:
        self._seeds = group.nodes
        self._dial = dial
        self._key = key
        self._silent = _Silent()
        self._owner: Node = group.nodes[0]
        self._others: tuple[Node, ...] = ()

    def connect(self) -> Any:
        failure: BaseException | None = None
        dead: set[Node] = set()
        for node in self._silent.last([self._owner, *self._others, *self._seeds]):
            try:
                return self._follow(node, dead)
            except _FAILURES as error:
                failure = error
        raise _placed(failure, "no node of the cluster leads to the owner of", self._key)

    def _follow(self, node: Node, dead: set[Node]) -> Any:
        """Return a connection to the owner, asking from `node` on; `dead` are not asked again."""
        for _ in range(_HOPS):
            if node in dead:
                raise redis.ConnectionError(f"{node[0]}:{node[1]} does not answer")
            try:
                connection, owner = self._asked(node)
            except _FAILURES:
                dead.add(node)
                raise
            if owner == node:
                self._owner = node
                self._others = _nodes_by(connection, node) or self._others
                return connection
            hang_up(connection)
            node = owner
        raise redis.ConnectionError(f"its nodes do not agree who owns {self._key}")

    def _asked(self, node: Node) -> tuple[Any, Node]:
        """Return a connection to a node, and the owner by what that says."""
        try:
            connection = _open(self._dial, node)
            try:
                return connection, _owner_by(connection, node, self._key)
            except BaseException:
                hang_up(connection)
                raise
        except _FAILURES:
            self._silent.note(node)
            raise

    def is_right(self, _connection: Any, /) -> bool:
        """Ask another node: an owner that was cut off from the others may not know better."""
        others = self._silent.last([*self._others, *self._seeds])
        witness = next((node for node in others if node != self._owner), None)
        if witness is None or witness in self._silent:
            return True
        try:
            other, owner = self._asked(witness)
        except _FAILURES:
            return True
        hang_up(other)
        was_right, self._owner = owner == self._owner, owner
        return was_right


def _open(dial: Dialer, node: Node) -> Any:
    """Return a connection to a node, connected."""
    host, port = node
    connection = dial(host=host, port=port)
    try:
        connection.connect()
    except BaseException:
        hang_up(connection)
        raise
    return connection


def _role(connection: Any) -> str:
    """Return `master`, `slave` or `sentinel`; empty where the user may not ask."""
    try:
        return str(ask(connection, "ROLE")[0].decode())
    except redis.ResponseError:
        return ""


def _owner_by(connection: Any, node: Node, key: str) -> Node:
    """Return the owner of a key's slot by what `node` says."""
    try:
        ask(connection, "HLEN", key)
    except redis.ResponseError as error:
        code = code_of(error)
        if code == "MOVED":
            return _place(str(error.args[0]).split()[-1], node)
        if code == "CLUSTERDOWN":
            raise redis.ConnectionError(
                f"{node[0]}:{node[1]} says that the cluster is down: {error}"
            ) from error
        # else it is the owner: of a slot that is on its way, or of a key that we may not read
    return node


def _place(text: str, asked: Node) -> Node:
    """Return the node of a redirection; without a host it is on the host that was asked."""
    host, _, port = text.rpartition(":")
    return (asked[0] if host in ("", "?") else host.strip("[]")), int(port)


def _nodes_by(connection: Any, node: Node) -> tuple[Node, ...]:
    """Return the nodes that a node knows; empty where it does not say."""
    try:
        slots = ask(connection, "CLUSTER", "SLOTS")
        found = [place[:2] for slot in slots for place in slot[2:]]
        return tuple(_place(f"{(host or b'').decode()}:{int(port)}", node) for host, port in found)
    except _FAILURES:
        return ()


def _placed(failure: BaseException | None, what: str, whom: str) -> BaseException:
    """Return what to raise after the last of several servers failed."""
    if isinstance(failure, redis.AuthenticationError):
        return failure
    error = redis.ConnectionError(f"{what} {whom}: {failure or 'nobody answers'}")
    error.__cause__ = failure
    return error
