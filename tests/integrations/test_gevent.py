"""The agent lives beside gevent: on a thread of the system, with the interpreter's own sockets."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from integrations.web import Site, site
from support import free_port, needs

from scatter.server import EmbeddedServer

__all__ = ["site"]

COMPUTING = """
import os, shop
print("computing", os.getpid(), flush=True)
while shop.price() != 1:  # no greenlet can run before this is over
    pass
print("seen", flush=True)
"""

PATCHED = "from gevent import monkey; monkey.patch_all()\n"

BEGINNINGS = {
    "before": PATCHED + "import scatter_agent; assert scatter_agent.start(wait=20).wait(20)\n",
    "after": "import gevent.monkey, scatter_agent; assert scatter_agent.start(wait=20).wait(20)\n"
    + PATCHED,
    "between": "import shop, scatter, scatter_agent, scatter_agent.agent, scatter.store.redis\n"
    + PATCHED
    + "assert scatter_agent.start(wait=20).wait(20)\n",
    "in a fork": PATCHED
    + "import os, sys, scatter_agent; scatter_agent.start(wait=20)\n"
    + "child = os.fork()\n"
    + "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n",
}


def run(site: Site, code: str) -> subprocess.Popen[str]:
    needs("gevent")
    script = Path(site.folder, "script.py")
    script.write_text(textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=site.folder,
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("moment", BEGINNINGS, ids=lambda name: name.replace(" ", "-"))
def test_a_greenlet_that_computes_and_never_yields_gets_the_new_version(
    site: Site, moment: str
) -> None:
    process = run(site, BEGINNINGS[moment] + COMPUTING)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("computing")
        site.push(1)
        said, complained = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (said, process.returncode) == ("seen\n", 0), complained
    assert "Traceback" not in complained, complained


def test_the_same_by_tcp_and_with_a_host_name_to_look_up(
    site: Site, own_server: Callable[..., EmbeddedServer]
) -> None:
    port = free_port()
    server = own_server("--port", str(port))
    site.store.close()
    site.open(server.url)
    site.environment["SCATTER_REDIS_URL"] = f"redis://localhost:{port}"
    process = run(site, BEGINNINGS["before"] + COMPUTING)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("computing")
        site.push(1)
        said, complained = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (said, process.returncode) == ("seen\n", 0), complained


def test_functions_that_greenlets_share_can_be_pushed_and_pulled_by_them(site: Site) -> None:
    process = run(
        site,
        PATCHED
        + """
        import gevent, shop
        shop.price.push()
        jobs = [gevent.spawn(shop.price.pull) for _ in range(20)]
        print(sorted({job.get(timeout=20) for job in jobs}), flush=True)
        """.replace("\n        ", "\n"),
    )
    said, complained = process.communicate(timeout=30)
    assert (said, process.returncode) == ("[1]\n", 0), complained


def test_the_agent_rests_without_a_hub_of_gevent_on_its_thread(site: Site) -> None:
    """`time.sleep` is gevent's there: it would make a hub for the agent, and wait for its loop."""
    process = run(
        site,
        PATCHED
        + "import gc, scatter_agent, scatter.apply, gevent.hub\n"
        + "scatter.apply._WORK_S = 0.0  # rest between any two functions\n"
        + "assert scatter_agent.start(wait=20).wait(20)\n"
        + COMPUTING
        + "print(sum(isinstance(o, gevent.hub.Hub) for o in gc.get_objects()), flush=True)\n",
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("computing")
        site.push(1)
        said, complained = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (said, process.returncode) == ("seen\n0\n", 0), complained
