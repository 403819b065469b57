"""Fixtures of the tests of trust: OpenSSH in a directory, a home of one's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from openssh import OpenSSH
from support import needs_program
from trust.hostile import Scene, Worker, goes_on
from trust.people import Files

from scatter.server import EmbeddedServer
from scatter.trust import home


@pytest.fixture
def ssh(tmp_path: Path) -> OpenSSH:
    """OpenSSH's tools, in a directory of their own."""
    needs_program("ssh-keygen", "openssh-client")
    return OpenSSH(tmp_path)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's directory for scatter; the machine has none."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(home, "MACHINE", tmp_path / "etc" / "scatter")
    return tmp_path / "config" / "scatter"


@pytest.fixture
def files(own_home: Path) -> Files:
    """The files that say whom this user trusts."""
    return Files(own_home)


class Battlefield:
    """A scene and its worker; after a test that failed, others."""

    def __init__(self, url: str, name: str, tmp: pytest.TempPathFactory) -> None:
        self._url, self._name, self._tmp = url, name, tmp
        self._numbers = itertools.count(1)
        self.build()

    def build(self) -> None:
        """Make a namespace with a history, and a worker that has been refused and restarted."""
        name = f"{self._name}-{next(self._numbers)}"
        self.scene = scene = Scene(self._tmp.mktemp(name), self._url, name)
        for names in ("f", "g", "fg"):
            scene.push(*names)
        self.worker = worker = Worker(scene.folder, scene.url, scene.namespace)
        worker.until("the honest log", state="ready", values=scene.values)
        saved = scene.save()
        scene.put(b"warm")  # what is imported for a first refusal is no event
        worker.until("a refusal", code="bad-envelope")
        worker.ask("restart")
        worker.until("a refusal", code="bad-envelope")
        scene.restore(saved)
        goes_on(scene, worker)

    def clear(self) -> None:
        """Take all away."""
        self.worker.end()
        self.scene.restore({})
        self.scene.close()


@pytest.fixture(scope="module")
def battlefield(
    request: pytest.FixtureRequest,
    redis_server: EmbeddedServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Battlefield]:
    """Where one module's attacks are made."""
    name = request.module.__name__.rpartition(".")[2]
    field = Battlefield(redis_server.url, name, tmp_path_factory)
    yield field
    field.clear()


@pytest.fixture
def scene(battlefield: Battlefield) -> Iterator[Scene]:
    """The namespace."""
    yield battlefield.scene
    if battlefield.scene.is_changed:
        battlefield.clear()
        battlefield.build()


@pytest.fixture
def worker(battlefield: Battlefield, scene: Scene) -> Worker:
    """The process that follows it."""
    return battlefield.worker
