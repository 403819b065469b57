"""Servers that this process may be part of, and whether it serves or only starts those that do.

The masters of servers and reloaders import the application too: gunicorn with `--preload`, uWSGI,
the reloaders of Flask and Django. They call none of its functions, so an agent in them would hold a
connection for nothing, and its thread would live through every fork. `master` tells them by what
their threads are doing: whoever's stack says that it starts workers is one. The agent of a master
rests; forked workers begin theirs, and started ones import the application anew.

Invariant: nothing here imports a server, and an unknown one is taken for a process that serves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_ROLES: dict[tuple[str, str], str] = {
    ("multiprocessing.process", "_bootstrap"): "",
    ("gunicorn.arbiter", "spawn_worker"): "",
    ("gunicorn.arbiter", "spawn_dirty_arbiter"): "",
    ("gunicorn.arbiter", "setup"): "gunicorn's arbiter",
    ("gunicorn.arbiter", "run"): "gunicorn's arbiter",
    ("uvicorn.supervisors.multiprocess", "run"): "uvicorn's supervisor",
    ("uvicorn.supervisors.basereload", "run"): "uvicorn's reloader",
    ("hypercorn.asyncio.run", "asyncio_worker"): "",
    ("hypercorn.asyncio.run", "uvloop_worker"): "",
    ("hypercorn.trio.run", "trio_worker"): "",
    ("hypercorn.run", "run"): "hypercorn's master",
    ("granian.server.mp", "_serve"): "granian's master",
    ("granian.server.common", "_serve"): "granian's master",
    ("granian.server.common", "_serve_with_reloader"): "granian's master",
    ("werkzeug._reloader", "restart_with_reloader"): "Flask's reloader",
    ("django.utils.autoreload", "restart_with_reloader"): "Django's reloader",
}
"""Function of a server → what a process is while a thread is inside; empty: a worker. Of several
on one stack the innermost counts: a forked worker has its master's frames below its own."""


_FORKING = ("gunicorn's arbiter", "uWSGI's master")


def master() -> str:
    """Return which server's master this process is now; empty if it serves, as far as is known."""
    return _master_of_uwsgi() or _before_a_reloader() or _by_stacks()


def _by_stacks() -> str:
    return next(filter(None, map(_role, sys._current_frames().values())), "")


def _role(frame: FrameType | None) -> str:
    while frame is not None:
        role = _ROLES.get((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
        if role is not None:
            return role
        frame = frame.f_back
    return ""


def has_booted() -> Callable[[], bool]:
    """Return what tells whether this process, which was just forked, is a whole worker yet.

    gunicorn's worker for gevent patches the modules after the fork. A thread that imports something
    meanwhile never gets its import lock back (3.13): the number of the thread is another then.
    """
    frame: FrameType | None = sys._getframe() if "gevent" in sys.modules else None
    while frame is not None:
        place = frame.f_globals.get("__name__"), frame.f_code.co_name
        if place == ("gunicorn.arbiter", "spawn_worker"):
            worker = frame.f_locals.get("worker")
            return lambda: bool(getattr(worker, "booted", True))
        frame = frame.f_back
    return lambda: True


def forks_from(master: str) -> bool:
    """Return whether what a master has imported is there in its workers, and may be.

    Not where gevent is going to patch: it warns of each module that took hold of TLS before.
    """
    return master in _FORKING and "gevent" not in sys.modules


def _before_a_reloader() -> str:
    """Return the reloader that this process is going to be, by its command line.

    `manage.py runserver` and `flask run` import the application before they start its server.
    """
    words = sys.argv
    program = os.path.basename(words[0]) if words else ""
    if program in ("manage.py", "django-admin", "__main__.py") and words[1:2] == ["runserver"]:
        reloads = "--noreload" not in words and os.environ.get("RUN_MAIN") != "true"
        return "Django's reloader" if reloads and "django" in sys.modules else ""
    if "flask.cli" in sys.modules and os.environ.get("WERKZEUG_RUN_MAIN") != "true":
        return "Flask's reloader" if _is_flask_reloading() else ""
    return ""


def _is_flask_reloading() -> bool:
    """Return whether `flask run` is loading the application for a reloader."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == ("flask.cli", "run_command"):
            wanted = frame.f_locals.get("reload")
            debug = os.environ.get("FLASK_DEBUG", "").lower() not in ("", "0", "false", "no")
            return debug if wanted is None else bool(wanted)
        frame = frame.f_back
    return False


# uWSGI, whose masters are no Python programs ----------------------------------------------


def _uwsgi() -> Any:
    found = sys.modules.get("uwsgi")
    return found if hasattr(found, "worker_id") and hasattr(found, "opt") else None


def _master_of_uwsgi() -> str:
    uwsgi = _uwsgi()
    if uwsgi is None or uwsgi.worker_id() or uwsgi.mule_id() or uwsgi.i_am_the_spooler():
        return ""
    return "uWSGI's master"


def trouble() -> str:
    """Return why no thread can run here; empty if threads can."""
    uwsgi = _uwsgi()
    if uwsgi is None or uwsgi.opt.keys() & _UWSGI_THREADS:
        return ""
    return "uWSGI runs no threads of Python without --enable-threads. Add it to its options."


_UWSGI_THREADS = {"enable-threads", "enable_threads", "threads"}


def after_fork_in_uwsgi(begin: Callable[[], None]) -> None:
    """Have `begin` called in each worker that uWSGI forks: its forks run no hooks of Python's."""
    uwsgi = _uwsgi()
    if uwsgi is None:
        return
    try:
        from uwsgidecorators import postfork  # it would replace a hook of ours
    except Exception:  # it raises this very class where uWSGI has no master
        before = getattr(uwsgi, "post_fork_hook", lambda: None)

        def both() -> None:
            before()
            begin()

        uwsgi.post_fork_hook = both
    else:
        postfork(begin)
