"""The pages of task queues and processes do what they say: their files are run as they stand.

A page has files (blocks that begin with their name), the command of a worker, perhaps a `send.py`,
and a push. Only the broker's address is another one here.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from integrations.queues import Program, Yard, install_arq
from support import ROOT, needs

from scatter.server import EmbeddedServer

PAGES = ROOT / "docs" / "integrations"


@pytest.fixture
def yard(tmp_path: Path, redis_server: EmbeddedServer, namespace: str) -> Iterator[Yard]:
    made = Yard(tmp_path, redis_server, namespace)
    yield made
    made.close()


@pytest.fixture
def arq_packages(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_arq(pytestconfig, tmp_path_factory)


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """Return (language, text) of the fenced blocks of a page."""
    text = (PAGES / f"{page}.md").read_text("utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)
    return [(language, block) for language, block in found if language in languages]


def set_up(yard: Yard, page: str) -> list[list[str]]:
    """Write the files of a page; return its commands."""
    for _, block in blocks(page, "python"):
        name = re.match(r"# (\w+\.py)\n", block)
        assert name, f"a block of {page}.md has no name:\n{block}"
        yard.write(name[1], block.replace("redis://localhost:6379/1", yard.broker))
    lines = "".join(block for _, block in blocks(page, "console")).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [
        shlex.split(line[2:].replace("redis://localhost:6379/1", yard.broker)) for line in lines
    ]


def until_shown(yard: Yard, worker: Program, text: str) -> None:
    """Send tasks, if the page has somebody who does, until the worker shows a text."""
    sends = (yard.folder / "send.py").exists()

    def shown() -> bool:
        if sends:
            assert yard.run("python", "send.py").wait() == 0
        return text in worker.output()

    yard.until(shown, f"{text!r}")


@pytest.mark.parametrize(
    "page",
    [
        "celery",
        "rq",
        "dramatiq",
        "huey",
        "multiprocessing",
        pytest.param("arq", marks=[pytest.mark.slow]),
    ],
)
def test_the_worker_of_a_page_takes_what_the_page_pushes(
    yard: Yard, page: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page == "arq":
        packages = request.getfixturevalue("arq_packages")
        monkeypatch.setenv("PYTHONPATH", str(packages))
        monkeypatch.setenv("PATH", f"{packages}/bin", prepend=os.pathsep)
    elif page != "multiprocessing":
        needs(page)
    worker_command, push_command = set_up(yard, page)
    worker = yard.run(*worker_command, PYTHONUNBUFFERED="1")
    until_shown(yard, worker, "charged order 7: 10")

    file = yard.folder / push_command[-1]
    file.write_text(file.read_text().replace("price = 10", "price = 11"))
    push = yard.run(*push_command)
    assert push.wait() == 0, push.output()
    until_shown(yard, worker, "charged order 7: 11")
    worker.process.send_signal(signal.SIGTERM)


def test_the_cells_of_the_notebooks_page_show_what_it_says(yard: Yard) -> None:
    from integrations.test_jupyter import Notebook

    notebook = Notebook(yard)
    try:
        shown = ""
        for language, block in blocks("jupyter", "ipython", "text"):
            if language == "text":
                assert shown == block
            else:
                address = block.replace("redis://localhost:6379/0", yard.server.url)
                shown = notebook.run(address.replace('"lab"', repr(yard.namespace)))
                assert "Error" not in shown
    finally:
        notebook.close()


def test_the_handler_of_the_lambda_page_begins_on_the_newest_version(yard: Yard) -> None:
    set_up(yard, "lambda")
    process = yard.python("""
        import os, signal
        import handler
        from said import say
        assert handler.scatter_agent.start().wait(20)
        for call in range(5):
            say("charged", handler.handler({"order": call}, None))
            os.kill(os.getpid(), signal.SIGSTOP)  # as Lambda does, until the next call
        """)
    for call in range(5):
        yard.until_said("charged", call + 1)
        yard.until(lambda: process.state() == "T", "it to be frozen")
        file = yard.folder / "handler.py"
        file.write_text(re.sub(r"price = \d+", f"price = {call + 1}", file.read_text()))
        assert yard.run("scatter", "push", "--wait", "0", "handler.py").wait() == 0
        process.process.send_signal(signal.SIGCONT)
    assert (process.wait(), process.output()) == (0, "")
    prices = [line["value"].rpartition(": ")[2] for line in yard.said("charged")]
    assert prices == ["10", "1", "2", "3", "4"]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_every_relative_link_of_a_page_points_at_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert not missing
