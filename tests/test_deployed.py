"""Deploys and pushes: which of them wins, played out with processes that start and stop."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
from linking import Lab
from scatter_agent.deployed import Deployed
from support import signed, start_python, wait_until

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.registry import REGISTRY
from scatter.releases import Candidate, Releases
from scatter.reports import read_reports
from scatter.store.memory import MemoryStore
from scatter.store.redis import RedisStore

SHOP = """\
import scatter
from help import rate


@scatter.track
def price():
    return "{0}" + rate()


@scatter.track
def other():
    return "{0}o"
"""

HELP = "def rate():\n    return '{0}'\n"

RUN = """
import os, sys, threading
import scatter_agent
{before}
import shop
agent = scatter_agent.start(application=sys.argv[1])
assert agent.wait(20), agent.status()
print("ready", flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "go":
        answer = agent.status().sequence
    elif word == "superseded":
        answer = ",".join(agent.status().superseded)
    else:
        answer = eval(word)
    print(answer, flush=True)
"""


class Image:
    """One build of an application; processes of it can be started."""

    def __init__(self, folder: Path, price: str, rate: str) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "shop.py").write_text(SHOP.format(price))
        (folder / "help.py").write_text(HELP.format(rate))


class Process:
    """A running process of an image, which can be asked things."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.answer(0)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def answer(self, number: int) -> str:
        return wait_until(
            lambda: self.lines[number : number + 1] or ["ended"] * bool(self.process.poll()),
            "an answer",
        )[0]

    def ask(self, word: str) -> str:
        assert self.process.stdin is not None
        number = len(self.lines)
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.answer(number)

    def until(self, word: str, answer: str) -> None:
        last = ""

        def is_it() -> bool:
            nonlocal last
            last = self.ask(word)
            return last == answer

        wait_until(is_it, f"{word} to be {answer}; it is {last}")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Fleet:
    """The processes of some images in one namespace, and somebody who pushes."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self.folder, self.url, self.namespace = folder, url, namespace
        self.store = RedisStore(url, namespace)
        self.releases = Releases(signed(self.store), author="ann")
        self._running: list[Process] = []

    def image(self, price: str, rate: str = "") -> Image:
        return Image(self.folder / f"{price}{rate or '-'}", price, rate)

    def start(self, image: Image, *, before: str = "") -> Process:
        import os

        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(image.folder), os.environ.get("PYTHONPATH", "")]),
            "SCATTER_REDIS_URL": self.url,
            "SCATTER_NAMESPACE": self.namespace,
        }
        process = start_python(
            RUN.format(before=before), image.folder.name, cwd=image.folder, env=environment
        )
        self._running.append(Process(process))
        return self._running[-1]

    def stop(self, process: Process) -> None:
        process.end()
        self._running.remove(process)

    def push(self, price: str, name: str = "price") -> None:
        """Push a version whose code says `price`, whatever else is deployed."""
        source = ModuleSource(SHOP.format(price), name="shop", file="shop.py")
        bundle = build(source, name, find=lambda _: None).bundle
        self.releases.push([Candidate(bundle=bundle)], force=True)

    def close(self) -> None:
        for process in self._running:
            process.process.kill()
            process.process.wait()
            for pipe in (process.process.stdin, process.process.stdout):
                if pipe is not None:
                    pipe.close()
        self.store.close()


@pytest.fixture
def fleet(tmp_path: Path, redis_url: str, namespace: str) -> Iterator[Fleet]:
    made = Fleet(tmp_path, redis_url, namespace)
    yield made
    made.close()


def test_a_push_wins_over_the_deploy_before_it_and_survives_restarts(fleet: Fleet) -> None:
    image = fleet.image("A")
    first = fleet.start(image)
    assert first.ask("shop.price()") == "A"
    fleet.push("A1")
    first.until("shop.price()", "A1")
    fleet.stop(first)
    again, more = fleet.start(image), fleet.start(image)
    assert again.ask("shop.price()") == more.ask("shop.price()") == "A1"


def test_a_deploy_wins_over_the_pushes_before_it(fleet: Fleet) -> None:
    old = fleet.image("A")
    running = fleet.start(old)
    running.until("len(agent._work._course.deployed.digests)", "2")
    fleet.push("A1")
    running.until("shop.price()", "A1")
    new = fleet.start(fleet.image("B"))
    assert new.ask("shop.price()") == "B"
    assert new.ask("superseded") == "shop:price"
    (report,) = [r for r in read_reports(fleet.store) if r.application == "B-"]
    assert report.superseded == ("shop:price",)
    assert running.ask("shop.price()") == "A1", "the old image runs on beside it"
    fleet.push("B1")
    running.until("shop.price()", "B1")
    new.until("shop.price()", "B1")
    assert new.ask("superseded") == ""


def test_a_deploy_that_is_rolled_back_has_its_pushes_again(fleet: Fleet) -> None:
    old = fleet.image("A")
    running = fleet.start(old)
    running.until("len(agent._work._course.deployed.digests)", "2")
    fleet.push("A1")
    fleet.stop(running)
    fleet.stop(fleet.start(fleet.image("B")))
    back = fleet.start(old)
    assert back.ask("shop.price()") == "A1"
    fleet.push("A2")
    back.until("shop.price()", "A2")


def test_a_deploy_of_what_was_pushed_is_not_called_superseded(fleet: Fleet) -> None:
    running = fleet.start(fleet.image("A"))
    running.until("len(agent._work._course.deployed.digests)", "2")
    source = ModuleSource(SHOP.format("B"), name="shop", file="shop.py")
    helper = ModuleSource(HELP.format(""), name="help", file="help.py")
    find = {"help": helper}.get
    fleet.releases.push([Candidate(bundle=build(source, "price", find=find).bundle)], force=True)
    running.until("shop.price()", "B")
    deployed = fleet.start(fleet.image("B"))
    assert deployed.ask("shop.price()") == "B"
    assert deployed.ask("superseded") == ""


def test_a_deploy_of_another_helper_is_newer_code_of_its_callers_alone(fleet: Fleet) -> None:
    running = fleet.start(fleet.image("A"))
    running.until("len(agent._work._course.deployed.digests)", "2")
    fleet.push("A1")
    fleet.push("A1", "other")
    running.until("shop.price() + shop.other()", "A1A1o")
    new = fleet.start(fleet.image("A", "9"))
    assert new.ask("shop.price() + shop.other()") == "A9A1o"
    assert new.ask("superseded") == "shop:price"


def test_the_first_code_that_is_seen_takes_what_was_pushed_before(fleet: Fleet) -> None:
    fleet.push("A1")
    assert fleet.start(fleet.image("A")).ask("shop.price()") == "A1"


def test_a_restart_reads_nothing_that_was_read_before(fleet: Fleet) -> None:
    image = fleet.image("A")
    first = fleet.start(image)
    first.until("len(agent._work._course.deployed.digests)", "2")
    read = "[b.module for b in sys.modules['scatter.bases']._bases.values() if b and b._source]"
    assert "shop" in first.ask(read)
    fleet.stop(first)
    again = fleet.start(image)
    again.until("len(agent._work._course.deployed.digests)", "2")
    assert again.ask(read) == "[]"


def test_the_digest_does_not_depend_on_what_is_imported(fleet: Fleet) -> None:
    image = fleet.image("A")
    (image.folder / "shop.py").write_text(
        "import scatter\n\n\n@scatter.track\ndef price():\n"
        "    from help import rate\n    return 'A' + rate()\n\n\n"
        "@scatter.track\ndef other(): pass\n"
    )
    one = fleet.start(image)
    two = fleet.start(image, before="import help")
    for process in (one, two):
        process.until("len(agent._work._course.deployed.digests)", "2")
    digests = "sorted(agent._work._course.deployed.digests.items())"
    assert one.ask(digests) == two.ask(digests)
    assert one.ask("'help' in sys.modules") == "False"


def test_a_process_without_the_right_to_note_its_code_runs_what_is_pushed(
    fleet: Fleet, tmp_path: Path
) -> None:
    (name,) = fleet.store.link.run(
        [("ACL", "SETUSER", "poor", "reset", "on", ">pw", "~*", "&*", "+@all", "-hsetnx")]
    )
    assert name == b"OK"
    scheme, _, rest = fleet.url.partition("://")
    poor = Fleet(tmp_path / "poor", f"{scheme}://poor:pw@{rest}", fleet.namespace)
    poor.folder.mkdir()
    try:
        process = poor.start(poor.image("A"))
        fleet.push("A1")
        process.until("shop.price()", "A1")
    finally:
        poor.close()
        fleet.store.link.run([("ACL", "DELUSER", "poor")])


def test_many_functions_are_looked_up_a_few_at_a_time_and_each_file_is_asked_for_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import scatter\n" + "".join(
        f"@scatter.track\ndef f{number}(): return {number}\n" for number in range(40)
    )
    program = lab.module(text)
    slots = {n: s for n, s in REGISTRY.slots().items() if n.startswith(f"{program.name}:")}
    asked: list[int] = []

    class Counting(MemoryStore):
        def digests(self, files: Sequence[str]) -> list[dict[str, str]]:
            asked.append(len(files))
            return super().digests(files)

    store = Counting("many")
    found = Deployed(nullcontext())
    found.look_up(store, 7, slots, first={f"{program.name}:f3"})
    assert list(found.digests) == [f"{program.name}:f3"]
    rounds = 1
    found.look_up(store, 7, slots)
    while found.is_behind:
        found.look_up(store, 7, slots)
        rounds += 1
    assert found.digests.keys() == slots.keys()
    assert found.floor == dict.fromkeys(slots, 0)
    assert rounds == 3
    assert sum(asked) == 2

    again = Deployed(nullcontext())
    monkeypatch.setattr(again, "_build", lambda *_: pytest.fail("it read the source again"))
    again.look_up(store, 9, slots, first=slots)
    assert again.digests == found.digests
    assert again.floor == found.floor
