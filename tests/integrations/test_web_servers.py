"""Web servers of all kinds run an application that only calls `scatter_agent.start()`.

Each starts with as many workers as it is told; a push reaches each of them; each has one connection
and nobody else has any; workers that are replaced follow too; stopping takes no longer than without
an agent and ends the same way.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from integrations.web import Case, Running, Site, site
from support import needs, wait_until

__all__ = ["site"]

SLACK_S = 3.0  # the promise is 0.3 s; several servers look once a second whether to end
GUNICORN = "gunicorn -b 127.0.0.1:PORT -w 2"
WSGI, ASGI = "wsgi:app", "asgi:app"
UWSGI = "uwsgi --http-socket 127.0.0.1:PORT --module wsgi:app --die-on-term --need-app"

CASES = {
    "gunicorn-sync": Case(command=f"{GUNICORN} {WSGI}", heals=True),
    "gunicorn-sync-preload": Case(command=f"{GUNICORN} --preload {WSGI}", heals=True),
    "gunicorn-gthread": Case(command=f"{GUNICORN} -k gthread --threads 4 {WSGI}", heals=True),
    "gunicorn-gthread-preload": Case(
        command=f"{GUNICORN} -k gthread --threads 4 --preload {WSGI}", heals=True
    ),
    "gunicorn-gevent": Case(
        command=f"{GUNICORN} -k gevent {WSGI}",
        heals=True,
        needs=("gevent",),
    ),
    "gunicorn-gevent-preload": Case(
        command=f"{GUNICORN} -k gevent --preload {WSGI}",
        heals=True,
        needs=("gevent",),
    ),
    "gunicorn-uvicorn": Case(
        command=f"{GUNICORN} -k uvicorn_worker.UvicornWorker {ASGI}",
        heals=True,
        needs=("uvicorn_worker",),
    ),
    "gunicorn-uvicorn-preload": Case(
        command=f"{GUNICORN} -k uvicorn_worker.UvicornWorker --preload {ASGI}",
        heals=True,
        needs=("uvicorn_worker",),
    ),
    "uvicorn-1": Case(command=f"uvicorn --port PORT {ASGI}", workers=1),
    "uvicorn-2": Case(command=f"uvicorn --port PORT --workers 2 {ASGI}", heals=True),
    "uvicorn-reload": Case(command=f"uvicorn --port PORT --reload {ASGI}", workers=1),
    "hypercorn-1": Case(command=f"hypercorn -b 127.0.0.1:PORT -w 0 {ASGI}", workers=1),
    "hypercorn-2": Case(command=f"hypercorn -b 127.0.0.1:PORT -w 2 {ASGI}"),
    "hypercorn-reload": Case(
        command=f"hypercorn -b 127.0.0.1:PORT --reload {ASGI}",
        workers=1,
    ),
    "granian-asgi": Case(
        command=f"granian --port PORT --interface asgi --workers 2 --respawn-failed-workers {ASGI}"
    ),
    "granian-wsgi": Case(command=f"granian --port PORT --interface wsgi --workers 2 {WSGI}"),
    "uwsgi-master": Case(command=f"{UWSGI} --master -p 2 --enable-threads", heals=True),
    "uwsgi-lazy": Case(command=f"{UWSGI} --master -p 2 --lazy-apps --threads 2", heals=True),
    "uwsgi-no-master": Case(command=f"{UWSGI} -p 2 --enable-threads", group=True),
    "uwsgi-hooks": Case(
        command=f"{UWSGI} --master -p 2 --enable-threads --py-call-osafterfork", heals=True
    ),
    "flask-run": Case(command="flask --app wsgi run --port PORT", workers=1),
    "flask-reloader": Case(command="flask --app wsgi run --port PORT --debug", workers=1),
    "flask-app-run": Case(command="python wsgi.py", workers=1, needs=("flask",)),
    "django-reloader": Case(
        command="python manage.py runserver 127.0.0.1:PORT", workers=1, needs=("django",)
    ),
    "django-noreload": Case(
        command="python manage.py runserver --noreload 127.0.0.1:PORT",
        workers=1,
        needs=("django",),
    ),
}

# Those that differ from another one in little; CI runs them as well, by `-m slow`.
LESS = (
    *("gunicorn-gthread-preload", "gunicorn-uvicorn", "uvicorn-reload", "hypercorn-1"),
    *("hypercorn-reload", "granian-wsgi", "uwsgi-no-master", "uwsgi-hooks", "flask-run"),
    "django-noreload",
)
FAULTS = ("Fatal Python error", "Segmentation fault", "partially initialized")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LESS)) for n in CASES]
)
def test_every_worker_follows_with_one_connection_and_ends_as_it_would_without(
    site: Site, name: str
) -> None:
    case = CASES[name]
    needs(*case.needs)
    if name == "uwsgi-hooks" and sys.version_info >= (3, 13):
        pytest.skip("uWSGI 2.0.30 aborts with --py-call-osafterfork on 3.13, also without scatter")
    server = site.run(case.command.split())
    plain = site.run(case.command.split(), WITHOUT_AGENT="1")

    pids = server.pids(case.workers, 0)
    site.only(pids)
    site.push(1)
    assert server.pids(case.workers, 1) == pids
    if case.heals:
        pids = replace_one(site, server, pids, price=1)
    pushed = site.push(2)
    assert server.pids(case.workers, 2) == pids
    print(f"{name}: every worker {time.monotonic() - pushed:.3f} s after the push")
    site.only(pids)

    plain.pids(case.workers, 0)
    compare_ends(server, plain, case)
    site.only(set())
    assert not any(fault in server.output() for fault in FAULTS), server.output()


def replace_one(site: Site, server: Running, pids: set[int], *, price: int) -> set[int]:
    """Kill a worker, and wait until another has taken its place and is on the newest version."""
    gone = min(pids)
    os.kill(gone, signal.SIGKILL)
    now = server.pids(len(pids), price, without=frozenset({gone}))
    assert gone not in now
    site.only(now)
    return now


def compare_ends(server: Running, plain: Running, case: Case) -> None:
    """Stop a server with an agent and one without at once; they must end alike."""
    server.stop(group=case.group)
    plain.stop(group=case.group)
    with ThreadPoolExecutor(2) as pool:
        (status, at), (expected, plain_at) = pool.map(Running.ended, (server, plain))
    print(f"ended with {status}, {at - plain_at:+.3f} s against one without an agent")
    assert status == expected, server.output()
    assert at - plain_at < SLACK_S, f"it took {at - plain_at:.2f} s longer to stop"


def test_uwsgi_without_threads_is_told_what_to_do(site: Site) -> None:
    server = site.run(f"{UWSGI} --master -p 2".split())
    server.pids(2, 0)
    page = server.ask(path="/status")
    assert page["state"] == "error"
    assert "--enable-threads" in page["reason"]
    assert site.agents() == []


def test_an_arbiter_says_why_it_has_no_agent(site: Site) -> None:
    needs("gunicorn")
    site.folder.joinpath("gunicorn.conf.py").write_text(
        "def when_ready(server):\n"
        "    import scatter_agent\n"
        "    found = scatter_agent.start(wait=60).status()\n"
        "    print('ARBITER', found.state, found.reason, flush=True)\n"
    )
    server = site.run(f"{GUNICORN} --preload {WSGI}".split())
    site.only(server.pids(2, 0))
    assert "ARBITER stopped gunicorn's arbiter calls no function" in server.output()


@pytest.mark.parametrize("name", ["gunicorn", "uwsgi"])
def test_no_worker_serves_deployed_code_where_a_preloading_master_was_told_to_wait(
    site: Site, name: str
) -> None:
    site.push(1)
    app = site.folder / "wsgi.py"
    app.write_text(app.read_text().replace(".start()", ".start(wait=20)"))
    uwsgi = f"{UWSGI} --master -p 2 --enable-threads"
    command = f"{GUNICORN} --preload {WSGI}" if name == "gunicorn" else uwsgi
    server = site.run(command.split())
    prices: set[int] = set()
    pids: set[int] = set()

    def seen() -> set[int]:
        for page in server.pages():
            pids.add(page["pid"])
            prices.add(page["price"])
        return pids

    wait_until(lambda: len(seen()) == 2, "two workers")
    for count in (3, 4):
        os.kill(max(site.agents()), signal.SIGKILL)
        wait_until(lambda count=count: len(seen()) == count, "another worker")
    assert prices == {1}
