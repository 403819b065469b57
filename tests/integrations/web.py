"""What the tests of web servers share: a site on disk, servers that run it, questions to them.

A site's page says which process answered and which price it has; the price is what is pushed. Every
server runs twice at once, with an agent and without, so that both can be stopped at the same moment
and compared.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import free_port, signed, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.releases import Candidate, Releases
from scatter.store.redis import RedisStore

BIN = Path(sys.executable).parent

SHOP = """\
import scatter


@scatter.track
def price():
    return 0
"""

FLASK = """\
import os
import time

import scatter_agent
import shop
from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def index():
    time.sleep(float(request.args.get("hold", 0)))
    return {"pid": os.getpid(), "price": shop.price()}


@app.get("/status")
def status():
    found = scatter_agent.status()
    return {"state": found.state, "reason": found.reason}


if not os.environ.get("WITHOUT_AGENT"):
    scatter_agent.start()

if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]), debug=True)
"""

FASTAPI = """\
import os
import time

import scatter_agent
import shop
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def index(hold: float = 0):
    time.sleep(hold)  # holds this worker up, so that others are asked too
    return {"pid": os.getpid(), "price": shop.price()}


if not os.environ.get("WITHOUT_AGENT"):
    scatter_agent.start()
"""

DJANGO = """\
import os
import sys
import time

import scatter_agent
import shop
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

if not settings.configured:
    settings.configure(
        DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], WSGI_APPLICATION="manage.app"
    )


def index(request):
    time.sleep(float(request.GET.get("hold", 0)))
    return JsonResponse({"pid": os.getpid(), "price": shop.price()})


urlpatterns = [path("", index)]

if not os.environ.get("WITHOUT_AGENT"):
    scatter_agent.start()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
else:
    app = get_wsgi_application()
"""

FILES = {"shop.py": SHOP, "wsgi.py": FLASK, "asgi.py": FASTAPI, "manage.py": DJANGO}


class Running:
    """A server that runs a site."""

    def __init__(self, site: Site, command: Sequence[str], port: int, **environment: str) -> None:
        self.port = port
        self.log = site.folder / f"server-{port}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=site.folder,
                env=site.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def ask(self, hold_s: float = 0.0, path: str = "/") -> dict[str, Any]:
        """Return the page, or nothing if no worker answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"{path}?hold={hold_s}", headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read()
            return dict(json.loads(body)) if response.status == 200 else {}
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        finally:
            connection.close()

    def pages(self) -> list[dict[str, Any]]:
        """Ask several times at once, so that several workers answer."""
        with ThreadPoolExecutor(6) as pool:
            return [page for page in pool.map(self.ask, [0.02] * 6) if page]

    def answers(self) -> dict[int, int]:
        """Return pid → price of some workers."""
        return {page["pid"]: page["price"] for page in self.pages()}

    def pids(self, count: int, price: int, *, without: frozenset[int] = frozenset()) -> set[int]:
        """Wait until that many workers have answered, each with this price at last; return them."""
        seen: dict[int, int] = {}

        def all_have() -> set[int]:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.output()}")
            seen.update(self.answers())
            alive = {pid for pid in seen if pid not in without}
            return alive if len(alive) == count and all(seen[p] == price for p in alive) else set()

        try:
            return wait_until(all_have, f"{count} workers with price {price}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nseen {seen}\n{self.output()}") from None

    def stop(self, number: int = signal.SIGTERM, *, group: bool = False) -> None:
        """Send a signal to the server, or to all of its processes."""
        send = os.killpg if group else os.kill
        send(self.process.pid, number)

    def ended(self, timeout_s: float = 20.0) -> tuple[int, float]:
        """Return the exit status, and the moment at which it was there."""
        return self.process.wait(timeout_s), time.monotonic()

    def close(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Site:
    """The files of a site, its releases, and the servers that run it."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self.folder, self.namespace = folder, namespace
        for name, text in FILES.items():
            (folder / name).write_text(text)
        self.open(url)
        self.servers: list[Running] = []
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            "SCATTER_REDIS_URL": url,
            "SCATTER_NAMESPACE": namespace,
        }

    def open(self, url: str) -> None:
        """Use this server for releases."""
        self.store = RedisStore(url, self.namespace)
        self.releases = Releases(signed(self.store), author="ann")

    def push(self, price: int) -> float:
        """Release a price; return when."""
        self.push_text(SHOP.replace("0", str(price)), "shop", "price")
        return time.monotonic()

    def push_text(self, text: str, module: str, *names: str, track_all: bool = False) -> None:
        """Release functions of a module as they stand in an edited text."""
        source = ModuleSource(text, name=module, file=f"{module}.py", track_all=track_all)
        bundles = [Candidate(bundle=build(source, name).bundle) for name in names]
        self.releases.push(bundles, force=True)

    def run(self, command: Sequence[str], **environment: str) -> Running:
        """Start a server; `PORT` in its command stands for a free port."""
        port = free_port()
        words = [word.replace("PORT", str(port)) for word in command]
        program = BIN / words[0]
        if not program.exists() and not shutil.which(words[0]):
            pytest.skip(f"{words[0]} is not installed: pip install 'scatter[integrations]'")
        words[0] = str(program) if program.exists() else words[0]
        self.servers.append(Running(self, words, port, **{"PORT": str(port), **environment}))
        return self.servers[-1]

    def agents(self) -> list[int]:
        """Return the pid of each connection of an agent, as their names tell."""
        (found,) = self.store.link.run([("CLIENT", "LIST")])
        names = [
            part.removeprefix("name=")
            for line in found.decode().splitlines()
            for part in line.split()
            if part.startswith("name=scatter-agent-")
        ]
        return sorted(int(name.rpartition("-")[2]) for name in names)

    def only(self, pids: set[int]) -> None:
        """Wait until these processes have one connection each, and no other process has one."""
        wait_until(lambda: self.agents() == sorted(pids), f"one connection for each of {pids}")

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.store.close()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A server as it is started, and what is expected of it."""

    command: str
    workers: int = 2
    needs: tuple[str, ...] = ()
    heals: bool = False  # it starts another worker in place of one that was killed
    group: bool = False  # its workers end only when they are told, each of them


@pytest.fixture
def site(tmp_path: Path, redis_url: str, namespace: str) -> Iterator[Site]:
    made = Site(tmp_path, redis_url, namespace)
    yield made
    made.close()
