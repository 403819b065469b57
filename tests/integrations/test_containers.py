"""The examples of containers, run: a push arrives, and who follows has no way to the server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers import Container, Node, needs_namespaces
from support import ROOT, free_port, signed, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.releases import Candidate, Releases
from scatter.reports import read_reports
from scatter.server import EmbeddedServer
from scatter.store import open_store
from scatter.store.acl import rules
from scatter.store.link import Link

EXAMPLES = ROOT / "examples" / "containers"
PASSWORD = "hush-hush"
ACCOUNT = "scatter-shop-agent"
SHOP = """
import pathlib, time
import scatter, scatter_agent


@scatter.track
def price():
    return 0


def main():
    scatter_agent.start(wait=2)
    for place in ("x", "shop/x", "shop/log/x"):
        try:
            pathlib.Path("/var/lib/scatter", place).touch()
        except OSError:
            continue
        print("wrote", place, flush=True)
    said = ""
    while True:
        says = f"price {price()}\\n{scatter_agent.status().reason}"
        if says != said:
            print(says, flush=True)
        said = says
        time.sleep(0.01)


if __name__ == "__main__":
    main()
"""


class Fleet:
    """A server, a machine with containers on it, and somebody who pushes."""

    def __init__(self, work: Path, server: EmbeddedServer) -> None:
        self.work, self.server = work, server
        link = Link(server.url)
        link.run(
            [("ACL", "SETUSER", ACCOUNT, "reset", "on", f">{PASSWORD}", *rules(["agent"], "shop"))]
        )
        link.close()
        self.address = server.tcp_url.replace("://", f"://{ACCOUNT}@")
        self.signers = Path.home() / ".config" / "scatter" / "allowed_signers"
        trust = {"allowed_signers": self.signers.read_text()}
        files = {"scatter-trust": trust, "scatter-redis": {"password": PASSWORD}}
        self.node = Node(root=work / "host", files=files)
        self.node.root.mkdir()
        (work / "srv").mkdir()
        (work / "srv" / "shop.py").write_text(SHOP)
        self.store = open_store(server.url, "shop")
        self.releases = Releases(signed(self.store), author="ann")
        self._running: list[subprocess.Popen[bytes]] = []

    def log(self, name: str) -> str:
        file = self.work / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def run(
        self, name: str, container: Container, *, network: bool, **environment: str
    ) -> subprocess.Popen[bytes]:
        mounts = [(self.work / "srv", "/srv", "ro"), *container.mounts]
        container = Container(**{**vars(container), "mounts": mounts})
        box, log = self.work / f"box-{name}", self.work / f"{name}.log"
        process = container.start(box, log, network=network, **environment)
        self._running.append(process)
        return process

    def push(self, price: int) -> None:
        source = ModuleSource(
            SHOP.replace("return 0", f"return {price}"), name="shop", file="shop.py"
        )
        self.releases.push([Candidate(bundle=build(source, "price").bundle)], force=True)

    def until(self, done: Callable[[], object], what: str) -> None:
        """Wait; what the containers wrote is shown if it is in vain."""
        try:
            wait_until(done, what, 30)
        except AssertionError as error:
            error.add_note(self.log("mirror")[-2000:] + self.log("app")[-2000:])
            raise

    def until_price(self, price: int) -> None:
        self.until(lambda: f"price {price}\n" in self.log("app"), f"price {price}")

    def follows(self, user: int) -> None:
        """See pushes arrive, and the process in the server's reports, by its user."""
        self.until_price(0)
        self.push(1)
        self.until_price(1)
        self.push(2)
        self.until_price(2)
        wanted = {"shop:price": 2}
        self.until(lambda: wanted in [r.functions for r in read_reports(self.store)], "its report")
        mirror, app = sorted(read_reports(self.store), key=lambda report: len(report.functions))
        assert mirror.application == "scatter-agent mirror"
        assert app.id.endswith(f"@{user}")

    def close(self) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self.store.close()


@pytest.fixture
def fleet(short_tmp: Path, namespace: str) -> Iterator[Fleet]:
    needs_namespaces()
    work = short_tmp / f"containers-{namespace}"
    work.mkdir()
    with EmbeddedServer.start(work / "data", socket=work / "s", port=free_port()) as server:
        made = Fleet(work, server)
        yield made
        made.close()


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text("utf-8")))


def pod(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["spec"]["template"]["spec"]
    return found


def prepare(fleet: Fleet, project: Path) -> None:
    """Do what the head of `compose.yaml` says."""
    project.mkdir()
    text = (EXAMPLES / "compose.yaml").read_text("utf-8")
    lines = re.findall(r"(?m)^#   (?:sudo )?(install .*)$", text)
    assert len(lines) == 3
    for line in lines:
        command = line.replace("/var/lib", str(fleet.node.on_host("/var/lib")))
        subprocess.run(["sh", "-c", command], cwd=project, check=True)


def test_compose(fleet: Fleet) -> None:
    project = fleet.work / "project"
    prepare(fleet, project)
    services = documents("compose.yaml")[0]["services"]
    # An engine makes all containers, and what they mount, before the first one runs.
    made = {name: fleet.node.service(services[name], project) for name in ("mirror", "app")}
    url = fleet.server.tcp_url
    assert services["mirror"]["environment"]["SCATTER_REDIS_URL"].startswith("redis://redis:")
    fleet.run("mirror", made["mirror"], network=True, SCATTER_REDIS_URL=url)
    health = fleet.node.on_host(services["mirror"]["healthcheck"]["test"][-1])
    fleet.until(health.exists, "the mirror to be healthy")
    fleet.run("app", made["app"], network=False)
    fleet.follows(1000)
    assert "wrote" not in fleet.log("app")


def test_one_mirror_a_node(fleet: Fleet) -> None:
    mirror, app = map(pod, documents("daemonset.yaml"))
    (container,) = mirror["containers"]
    box = fleet.node.pods_container(mirror, container)
    fleet.run("mirror", box, network=True, SCATTER_REDIS_URL=fleet.address)
    reports = fleet.node.on_host("/var/lib/scatter/shop/reports")
    fleet.until(reports.is_dir, "what the application mounts")
    (container,) = app["containers"]
    fleet.run("app", fleet.node.pods_container(app, container), network=False)
    fleet.follows(1000)
    assert "wrote" not in fleet.log("app")


def test_a_mirror_in_the_pod(fleet: Fleet) -> None:
    (specification,) = map(pod, documents("sidecar.yaml"))
    (first,) = specification["initContainers"]
    boxes = {
        c["name"]: fleet.node.pods_container(specification, c)
        for c in [first, *specification["containers"]]
    }
    assert fleet.run("init", boxes[first["name"]], network=False).wait(20) == 0, fleet.log("init")
    fleet.run("app", boxes["shop"], network=True)
    password = fleet.server.tcp_url.replace("://", f"://{ACCOUNT}:{PASSWORD}@")
    fleet.run("mirror", boxes["mirror"], network=True, SCATTER_REDIS_URL=password)
    fleet.follows(1000)


@pytest.mark.parametrize("name", ["daemonset.yaml", "sidecar.yaml"])
def test_kubernetes_takes_the_files(name: str) -> None:
    pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", "--strict", str(EXAMPLES / name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
