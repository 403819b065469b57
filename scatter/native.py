"""Threads, locks and sockets as the interpreter made them, also where gevent has patched them.

In a process that gevent patched, `threading.Thread` starts a greenlet, and `threading.Lock` waits
for greenlets: what runs on such a "thread" waits behind every handler that computes (m: half a
second). What works beside the application asks here for the originals. gevent is never imported;
since they are asked for each time, it may also come later.

Not here: TLS. A patched `ssl` makes gevent's sockets, which work on a thread of their own as well,
though slower.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, Protocol

    class Thread(Protocol):
        """A daemon thread that was started."""

        def is_alive(self) -> bool:
            """Return whether it runs still."""
            ...

        def join(self, timeout: float | None = None) -> None:
            """Wait until it has ended, `timeout` seconds at most."""
            ...


def original(module: str, name: str) -> Any:
    """Return what a module of the standard library had under a name before gevent patched it."""
    found = _monkey()
    if found is not None:
        return found.get_original(module, name)
    return getattr(__import__(module), name)


def is_patched() -> bool:
    """Return whether threads or sockets of this process are gevent's."""
    found = _monkey()
    return found is not None and any(map(found.is_module_patched, ("threading", "socket")))


def _monkey() -> Any:
    found = sys.modules.get("gevent.monkey")
    return found if hasattr(found, "get_original") else None  # it may be half imported


def rlock() -> Any:
    """Return a re-entrant lock between threads, as `threading.RLock()`."""
    return original("_thread", "RLock")()


def ident() -> int:
    """Return the number of the thread that this runs on, as the system's threads count."""
    return int(original("_thread", "get_ident")())


def sleep(seconds: float) -> None:
    """Hold this thread up, and no other."""
    original("time", "sleep")(seconds)


def start_thread(target: Callable[..., None], *args: Any, name: str) -> Thread:
    """Start a daemon thread that the system schedules."""
    if _monkey() is not None:
        return _Unseen(target, args)
    import threading

    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread


class _Unseen:
    """A thread that `threading` does not know: once patched, all that it starts are greenlets.

    Where gevent is at hand it is used before the patch as well: gunicorn patches its workers late,
    and a thread that `threading` began under one number ends with a KeyError under another.
    """

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._alive = original("_thread", "allocate_lock")()
        self._alive.acquire()
        original("_thread", "start_new_thread")(self._run, (target, args))

    def _run(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        try:
            target(*args)
        finally:
            self._alive.release()

    def is_alive(self) -> bool:
        return bool(self._alive.locked())

    def join(self, timeout: float | None = None) -> None:
        if self._alive.acquire(timeout=-1 if timeout is None else timeout):
            self._alive.release()


class Flag:
    """An event that happens once: `threading.Event` without `clear`."""

    def __init__(self) -> None:
        """Begin unset."""
        self._gate = original("_thread", "allocate_lock")()
        self._gate.acquire()
        self._is_set = False

    def __repr__(self) -> str:
        return f"<Flag, {'set' if self._is_set else 'unset'}>"

    def is_set(self) -> bool:
        """Return whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Let all that wait go on. Idempotent; any thread."""
        self._is_set = True
        try:
            self._gate.release()
        except RuntimeError:
            pass  # it was open

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is set, `timeout_s` at most; return whether it is."""
        if not self._is_set and self._gate.acquire(timeout=max(0.0, timeout_s)):
            self.set()  # through the gate one by one: each opens it for the next
        return self._is_set


def poll() -> Any:
    """Return a new `select.poll` object."""
    return original("select", "poll")()


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Return two sockets that are connected, of which reading and waiting block the thread."""
    make: Any = original("socket", "socket")
    if not is_patched():
        return original("socket", "socketpair")()  # type: ignore[no-any-return]
    import _socket

    one, other = _socket.socketpair()
    return make(fileno=one.detach()), make(fileno=other.detach())


class _Sockets:
    """The module `socket`, with its originals."""

    def __getattr__(self, name: str) -> Any:
        return original("socket", name)


def with_native_sockets(kind: type[Any]) -> type[Any]:
    """Return a class of redis-py's connections that connects as it does, by the original sockets.

    A method's globals are where it finds `socket`: the same code gets others. Connections by TLS
    come back as they are.
    """
    from types import FunctionType

    connect = kind.__dict__.get("_connect")
    if not is_patched() or not isinstance(connect, FunctionType) or connect.__closure__:
        return kind
    scope = {**connect.__globals__, "socket": _Sockets()}
    method = FunctionType(connect.__code__, scope, "_connect", connect.__defaults__)
    return type(kind.__name__, (kind,), {"_connect": method})
