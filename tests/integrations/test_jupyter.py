"""Jupyter: a real kernel, spoken to as a notebook speaks to it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integrations.queues import Yard

from scatter.server import EmbeddedServer


class Notebook:
    """A kernel of its own process, and what it shows of each cell."""

    def __init__(self, yard: Yard) -> None:
        manager = pytest.importorskip("jupyter_client.manager")
        pytest.importorskip("ipykernel")
        environment = os.environ | yard.environment() | {"IPYTHONDIR": str(yard.folder)}
        self._kernel, self._client = manager.start_new_kernel(
            cwd=str(yard.folder), env=environment, startup_timeout=60
        )

    def run(self, cell: str) -> str:
        """Run a cell; return what it printed and its value, or its error's last line."""
        shown: list[str] = []

        def show(message: dict[str, Any]) -> None:
            content = message["content"]
            kind = message["msg_type"]
            if kind == "stream":
                shown.append(content["text"])
            elif kind == "execute_result":
                shown.append(content["data"]["text/plain"] + "\n")
            elif kind == "error":
                shown.append(f"{content['ename']}: {content['evalue']}\n")

        self._client.execute_interactive(textwrap.dedent(cell), output_hook=show, timeout=60)
        return "".join(shown)

    def close(self) -> None:
        self._client.stop_channels()
        self._kernel.shutdown_kernel()


@pytest.fixture
def yard(tmp_path: Path, redis_server: EmbeddedServer, namespace: str) -> Iterator[Yard]:
    made = Yard(tmp_path, redis_server, namespace)
    yield made
    made.close()


@pytest.fixture
def notebook(yard: Yard) -> Iterator[Notebook]:
    made = Notebook(yard)
    assert made.run("import scatter\n%load_ext scatter.ext.jupyter") == ""
    yield made
    made.close()


SAMPLE = """
%%push {}
@scatter.track
def sample(x):
    return x + {}
"""


def test_a_cell_is_run_and_what_it_defines_is_pushed(notebook: Notebook, yard: Yard) -> None:
    assert notebook.run(SAMPLE.format("first try", 1)) == "sample v1\n"
    assert notebook.run("sample(1)") == "2\n"
    assert notebook.run(SAMPLE.format("", 1)) == "sample v1, as it was\n"
    assert notebook.run(SAMPLE.format("more", 2)) == "sample v2\n"
    assert [v.message for v in yard.releases.history("sample")] == ["more", "first try"]

    both = """
        %%push
        @scatter.track
        def one():
            return 1

        @scatter.track
        def two():
            return one() + 1
        two()
        """
    assert notebook.run(both).splitlines() == ["2", "one v1", "two v1"]


def test_what_cannot_be_pushed_is_said(notebook: Notebook, yard: Yard) -> None:
    assert notebook.run("%%push\nx = 1") == (
        "Nothing to push: put @scatter.track above a `def` of the cell.\n"
    )
    failed = notebook.run("%%push\n@scatter.track\ndef broken():\n    return 1\n1 / 0")
    assert failed.startswith("ZeroDivisionError")
    assert failed.endswith("Nothing was pushed.\n")
    assert not yard.releases.functions()


def test_another_process_follows_the_notebook(notebook: Notebook, yard: Yard) -> None:
    notebook.run(SAMPLE.format("", 1))
    yard.python("""
        import time
        import scatter, scatter_agent
        from said import say
        sample = scatter.get("sample")
        scatter_agent.start(wait=20)
        while True:
            say("task", sample(0))
            time.sleep(0.01)
        """)
    yard.until(lambda: yard.pids(1), "version 1")
    notebook.run(SAMPLE.format("", 5))
    yard.until(lambda: yard.pids(5), "version 2")
    assert "Release 3" in notebook.run("%scatter rollback sample")
    said = len(yard.said())
    yard.until(lambda: yard.said()[said:] and yard.said()[-1]["value"] == 1, "the rollback")


def test_the_commands_act_on_the_namespace_of_the_notebook(notebook: Notebook, yard: Yard) -> None:
    assert notebook.run("%scatter list").startswith("No functions yet.")
    notebook.run(SAMPLE.format("why not", 1))
    notebook.run(SAMPLE.format("", 2))
    assert "sample" in notebook.run("%scatter list")
    assert "why not" in notebook.run("%scatter log sample")
    assert "+    return x + 2" in notebook.run("%scatter diff sample")
    assert "sample" in notebook.run("%scatter status")
    assert notebook.run("%scatter") == (
        "Use %scatter with one of: status, list, log, show, diff, blame, drift, release, "
        "rollback, undo.\n"
    )
    assert "NotFound: Function `nothing`" in notebook.run("%scatter log nothing")
    assert "No such option" in notebook.run("%scatter log --nothing")
    notebook.run(f"scatter.init({yard.server.url!r}, namespace='t-none', author='bea')")
    assert notebook.run("%scatter list").startswith("No functions yet.")


def test_an_agent_in_a_kernel_follows_between_cells(notebook: Notebook, yard: Yard) -> None:
    yard.write(
        "tasks.py",
        "import scatter\n\n@scatter.track\ndef report():\n    price = 0\n    return price\n",
    )
    notebook.run("import tasks, scatter_agent; scatter_agent.start(wait=20)")
    assert notebook.run("tasks.report()") == "0\n"
    yard.push(1)
    yard.until(lambda: notebook.run("tasks.report()") == "1\n", "version 1")
