"""The examples do what their pages say: real processes, an edit that is pushed, the new behaviour.

Each is run in a copy of its folder, against the server of the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integrations.queues import Program, Yard
from support import ROOT, free_port, needs, wait_until

from scatter.server import EmbeddedServer

EXAMPLES = ROOT / "examples"
RUNNING = sorted(file.parent.name for file in EXAMPLES.glob("*/pyproject.toml"))
"""Those that `dev.py example` runs."""
ALL = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())


class Example(Yard):
    """A copy of an example in a yard, and the command that runs it."""

    def __init__(self, name: str, folder: Path, server: EmbeddedServer, namespace: str) -> None:
        shutil.copytree(
            EXAMPLES / name,
            folder,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", ".broker"),
        )
        super().__init__(folder, server, namespace)

    def command(self) -> list[str]:
        text = (self.folder / "pyproject.toml").read_text("utf-8")
        run: str = tomllib.loads(text)["tool"]["example"]["run"]
        return run.split()

    def start(self, *more: str) -> Program:
        return self.run(*self.command(), *more, PYTHONUNBUFFERED="1")

    def edit(self, name: str, old: str, new: str) -> None:
        """Save a file of the example with something changed, and push what that changed."""
        text = (self.folder / name).read_text("utf-8")
        assert old in text, f"{name} has no {old!r}"
        (self.folder / name).write_text(text.replace(old, new), "utf-8")
        self.push_files(name)

    def push_files(self, *names: str) -> None:
        push = self.run("scatter", "push", *names, "--wait", "20")
        assert push.wait(40) == 0, push.output()

    def shows(self, program: Program, pattern: str) -> re.Match[str]:
        """Wait until a program has printed something."""
        found: re.Match[str] = self.until(
            lambda: re.search(pattern, program.output()), f"{pattern!r}", 40
        )
        return found


Make = Callable[[str], Example]


@pytest.fixture
def example(tmp_path: Path, redis_server: EmbeddedServer, namespace: str) -> Iterator[Make]:
    """Copies an example into a yard; its programs end with the test."""
    made: list[Example] = []

    def make(name: str) -> Example:
        made.append(Example(name, tmp_path / name, redis_server, namespace))
        return made[-1]

    yield make
    for one in made:
        one.close()


# what all have ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_page_begins_with_what_is_shown_and_one_command(name: str) -> None:
    page = (EXAMPLES / name / "README.md").read_text("utf-8")
    text = re.sub(r"^<!-- not run: [^\n]+ -->\n", "", page, flags=re.MULTILINE)
    title, shows, command, *_ = re.split(r"\n\n+", text)

    assert re.fullmatch(r"# .+", title)
    assert shows[0].isalpha(), "the first paragraph says what it shows"
    assert re.fullmatch(r"```console\n[^\n]+\n```", command), "the second is one command"
    if name in RUNNING:
        assert f"python3 dev.py example {name}" in command
    assert f"({name}/README.md)" in (EXAMPLES / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", RUNNING)
def test_an_example_needs_no_server_and_has_a_namespace_of_its_own(name: str) -> None:
    settings = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text("utf-8"))["tool"]

    assert settings["scatter"] == {"redis_url": "local://", "namespace": f"example-{name}"}
    assert set(settings) == {"scatter", "example"}


def test_dev_py_runs_an_example_with_a_watcher_and_ends_both(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    environment = os.environ | {
        "SCATTER_REDIS_URL": redis_url,
        "SCATTER_NAMESPACE": namespace,
        "SCATTER_DEV_VENV": sys.prefix,
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        run = subprocess.Popen(
            [sys.executable, "-c", "import sys, dev; sys.exit(dev.example(['bot']))"],
            cwd=ROOT,
            env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        wait_until(
            lambda: all(text in log.read_text() for text in ("watching .", "bot: hello ann")),
            "the bot and the watcher",
            40,
        )
        os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does
        assert run.wait(20) == 0
        assert "Traceback" not in log.read_text()
        with pytest.raises(ProcessLookupError):
            os.killpg(run.pid, 0)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)


def test_dev_py_names_the_examples_when_it_does_not_know_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, dev; sys.exit(dev.example(['bto']))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert ", ".join(RUNNING) in done.stdout


# programs ---------------------------------------------------------------------------------


def asked(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_fastapi_a_route_is_changed_under_its_server(example: Make) -> None:
    needs("fastapi", "uvicorn")
    service = example("fastapi")
    port = free_port()
    service.run(*(str(port) if word == "8000" else word for word in service.command()))
    url = f"http://127.0.0.1:{port}"
    service.until(lambda: asked(f"{url}/health") == {"agent": "ready"}, "the service")

    quote = f"{url}/quote?item=coffee&quantity=3"
    assert asked(quote) == {"item": "coffee", "total": 10.5, "answered": 1}
    service.edit("quotes.py", "quantity >= 10", "quantity >= 3")
    assert asked(quote) == {"item": "coffee", "total": 9.45, "answered": 2}
    assert asked(f"{url}/quote?item=milk") == 404


def test_celery_both_workers_take_a_task_as_it_was_edited(example: Make) -> None:
    needs("celery")
    tasks = example("celery")
    worker = tasks.start()
    tasks.shows(worker, r"order 1: fee 2\.00")
    tasks.edit("tasks.py", "0.02", "0.03")
    later = tasks.shows(worker, r"worker (\d+), order (\d+): fee 3\.00")
    before = re.findall(rf"worker {later[1]}, order (\d+): fee 2\.00", worker.output())
    assert int(later[2]) == 1 + max(map(int, before), default=0), "the state went on"
    assert worker.stop() == 0


def test_training_takes_an_edit_between_two_steps_and_keeps_what_it_learnt(example: Make) -> None:
    training = example("training")
    run = training.start("--pause", "0.005")
    training.shows(run, r"step 100: loss [\d.]+ rate 0\.0004")
    training.edit("step.py", "0.0005", "0.05")
    training.shows(run, r"step \d+: step:learning_rate is v1\n")
    training.shows(run, r"rate 0\.0\d+ y = 3\.0\dx \+ (1\.0|0\.99)")
    slopes = [float(slope) for slope in re.findall(r"y = ([\d.]+)x", run.output())]
    switch = run.output().partition("is v1")[0].count(" y = ")
    assert slopes[switch] > slopes[switch - 1], "it went on from what it had learnt"
    assert run.stop(signal.SIGINT) == 0


def test_a_training_ends_after_so_many_steps(example: Make) -> None:
    run = example("training").start("--steps", "3", "--pause", "0")

    assert run.wait(40) == 0
    assert run.output().startswith("step 0: loss ")


def test_bot_answers_anew_in_the_connection_that_it_has(example: Make) -> None:
    chat = example("bot")
    room = chat.start("--pause", "0.05")
    chat.shows(room, r"bot: ann has 3 points")
    chat.edit("replies.py", "hello {who}", "good day, {who}")
    chat.shows(room, r"bot: good day, ann")
    found = re.findall(r"bot: ann has (\d+) points", room.output())
    assert found == [str(number) for number in range(1, len(found) + 1)], "it forgot"
    assert room.stop(signal.SIGINT) == 0


# the notebook -----------------------------------------------------------------------------


def shown(notebook: Path) -> list[tuple[str, str]]:
    """Return each code cell and all that it shows; how long something took is masked."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    found = []
    for cell in cells:
        texts = [
            "".join(output.get("text") or output.get("data", {}).get("text/plain") or "Error")
            for output in cell.get("outputs", ())
        ]
        found.append(("".join(cell["source"]), re.sub(r"\d+ ms", "N ms", "".join(texts))))
    return found


def test_notebook_shows_when_it_is_executed_what_it_has_on_its_page(example: Make) -> None:
    needs("nbclient", "ipykernel")
    notebook = example("notebook")
    run = notebook.start()

    assert run.wait(120) == 0, run.output()
    assert shown(notebook.folder / "executed.ipynb") == shown(EXAMPLES / "notebook" / "live.ipynb")
