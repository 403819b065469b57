"""What happens in between: somebody else moves a function while this process works on it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from linking import Lab
from scatter_agent.agent import Agent
from support import signed, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.client import Client
from scatter.config import Settings
from scatter.registry import Registry
from scatter.releases import Candidate, Releases
from scatter.store import open_store

TEXT = (
    "import scatter\n\n\n@scatter.track\ndef f(): return 0\n\n\n@scatter.track\ndef g(): return 0\n"
)
GATE = "import threading\nentered, open = threading.Event(), threading.Event()\n"
SLOW = "import gate\ngate.entered.set()\ngate.open.wait(20)\n"


class Scene:
    """A module, its registry, a client and an agent of this process, and a colleague."""

    def __init__(self, lab: Lab, url: str, namespace: str) -> None:
        self.program = lab.module(TEXT)
        self.registry = Registry()
        for name in "fg":
            self.registry.add(self.name(name), getattr(self.program, name))
        settings = Settings(redis_url=url, namespace=namespace, author="me")
        self.client = Client(settings, registry=self.registry)
        self.agent = Agent(settings, registry=self.registry)
        self.store = open_store(url, namespace)
        self.colleague = Releases(signed(self.store), author="ann")

    def name(self, qualname: str) -> str:
        return f"{self.program.name}:{qualname}"

    def push(self, text: str, *qualnames: str) -> None:
        """Release functions of an edited text, as a colleague."""
        source = ModuleSource(text, name=self.program.name, file="m.py")
        made = [Candidate(bundle=build(source, q).bundle) for q in qualnames or ("f",)]
        self.colleague.push(made, force=True)

    def returns(self, value: int, qualname: str = "f") -> str:
        return TEXT.replace(f"def {qualname}(): return 0", f"def {qualname}(): return {value}")

    def close(self) -> None:
        self.agent.stop()
        self.client.close()
        self.store.close()


@pytest.fixture
def scene(lab: Lab, redis_url: str, namespace: str) -> Iterator[Scene]:
    made = Scene(lab, redis_url, namespace)
    yield made
    made.close()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Callable[[], object]]:
    """Modules of which one waits, while it is imported, until the test opens a gate."""
    (tmp_path / "gate.py").write_text(GATE)
    (tmp_path / "slow_one.py").write_text(SLOW)
    yield lambda: __import__("gate")
    for name in ("gate", "slow_one"):
        sys.modules.pop(name, None)


def _whole(name: str) -> Any:
    """Return a module once it is there with all its names; another thread imports it."""
    module = sys.modules.get(name)
    return module if hasattr(module, "entered") else None


def test_a_push_does_not_take_a_colleagues_code_for_its_own(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the push and its noting, the agent switches to what a colleague released then."""
    noted = Client._note_pushed

    def late(client: Client, *arguments: object) -> None:
        scene.push(scene.returns(2))
        client.pull(scene.name("f"))
        noted(client, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "_note_pushed", late)
    scene.client.push([scene.name("f")])
    slot = scene.registry.get(scene.name("f"))
    assert slot is not None
    assert (scene.program.f(), slot.version) == (2, 2)
    scene.colleague.release({"f": 1})
    scene.client.pull(scene.name("f"))
    assert (scene.program.f(), slot.version) == (0, 1)


def test_a_step_by_hand_while_the_agent_links_is_not_overridden(
    scene: Scene, slow: Callable[[], object]
) -> None:
    for value in (1, 2):
        scene.push(scene.returns(value))
    scene.agent.start()
    wait_until(lambda: scene.program.f() == 2, "version 2")
    scene.push(
        scene.returns(3)
        .replace("import scatter", "import scatter, slow_one")
        .replace("return 3", "return 3, slow_one")
    )
    gate = wait_until(lambda: _whole("gate"), "the agent to begin to link")
    assert gate.entered.wait(10)
    assert scene.client.step(scene.name("f"), -1) == 1
    gate.open.set()
    wait_until(lambda: scene.agent.status().sequence == 3, "the agent to have answered")
    assert scene.program.f() == 1
    assert scene.agent.status().held == (scene.name("f"),)


def test_old_versions_of_others_do_not_run_in_between_when_one_is_refused(scene: Scene) -> None:
    seen: list[int] = []
    text = TEXT.replace("def f(): return 0", "def f(): return note(VALUE)")
    for value in (1, 2, 3):
        scene.push(scene.returns(value))
    bad = text.replace("def g(): return 0", "def g(): return nowhere")
    scene.push(bad, "g")
    switched = scene.registry.switch

    def watched(*arguments: object, **options: object) -> bool:
        done = switched(*arguments, **options)  # type: ignore[arg-type]
        seen.append(scene.program.f())
        return done

    scene.registry.switch = watched  # type: ignore[method-assign]
    scene.agent.start()
    assert scene.agent.wait(20)
    assert seen == [3], "one switch, to the newest"
    assert [r.reason for r in scene.agent.status().refused] == ["missing-name"]


def test_a_process_in_the_middle_of_an_import_has_not_answered_yet(
    scene: Scene, lab: Lab, tmp_path: Path, slow: Callable[[], object]
) -> None:
    lab.write(TEXT + "\nimport slow_one\nlater = 7\n", "half")
    scene.push(scene.returns(1))
    scene.agent.start()
    assert scene.agent.wait(20)
    thread = threading.Thread(target=lambda: __import__("half"))
    thread.start()
    gate = wait_until(lambda: _whole("gate"), "the import to reach its middle")
    assert gate.entered.wait(10)
    scene.registry.add("half:f", sys.modules["half"].f)
    source = ModuleSource(
        TEXT.replace("def f(): return 0", "def f(): return later"), name="half", file="half.py"
    )
    scene.colleague.push([Candidate(bundle=build(source, "f").bundle)], force=True)
    scene.push(scene.returns(2))
    wait_until(lambda: scene.program.f() == 2, "what can be switched")
    assert scene.agent.status().sequence < 3, "half:f has not been"
    gate.open.set()
    thread.join()
    wait_until(lambda: sys.modules["half"].f() == 7, "the function of the whole module")
    wait_until(lambda: scene.agent.status().sequence == 3, "the answer")


def test_code_that_was_defined_anew_before_the_first_look_stays(scene: Scene) -> None:
    scene.push(scene.returns(1))
    scope = {"__name__": scene.program.name}
    exec("def f(): return 'newer'", scope)
    scene.registry.add(scene.name("f"), scope["f"])  # type: ignore[arg-type]
    scene.agent.start()
    assert scene.agent.wait(20)
    assert scope["f"]() == "newer"  # type: ignore[operator]
    scene.push(scene.returns(2))
    wait_until(lambda: scope["f"]() == 2, "what is released afterwards")  # type: ignore[operator]


def test_an_upgrade_of_the_deployed_code_goes_forward_and_one_that_moves_nothing_holds_nothing(
    scene: Scene,
) -> None:
    for value in (1, 2):
        scene.push(scene.returns(value))
    name = scene.name("f")
    slot = scene.registry.get(name)
    assert slot is not None
    assert scene.client.step(name, +1) == 1
    assert scene.client.step(name, +1) == 2
    scene.client.pull(name)
    assert scene.client.step(name, +1) == 2
    assert not slot.held


def test_an_agent_that_was_stopped_can_be_started_again(scene: Scene) -> None:
    scene.agent.start()
    assert scene.agent.wait(20)
    scene.agent.stop()
    scene.agent.start()
    scene.push(scene.returns(1))
    wait_until(lambda: scene.program.f() == 1, "the version")
    assert scene.agent.status().state == "ready"


def test_what_was_released_while_a_redefined_functions_agent_was_stopped_applies(
    scene: Scene,
) -> None:
    scene.push(scene.returns(1))
    scene.agent.start()
    assert scene.agent.wait(20)
    scope = {"__name__": scene.program.name}
    exec("def f(): return 'newer'", scope)
    scene.registry.add(scene.name("f"), scope["f"])  # type: ignore[arg-type]
    scene.agent.stop()
    scene.push(scene.returns(2))
    scene.agent.start()
    assert scene.agent.wait(20)
    assert scope["f"]() == 2  # type: ignore[operator]
