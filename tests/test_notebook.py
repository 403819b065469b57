"""The notebook story, in real sessions: IPython's shell and `python -i`, and a process that gets.

A cell of IPython has source; what is typed into `python -i` has none before Python 3.13, and is
captured whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import signed

from scatter.bundle import Bundle
from scatter.model import Version
from scatter.releases import Candidate, Releases
from scatter.store.redis import RedisStore

IPYTHON = """
import json, os, sys

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
shell.showtraceback = lambda *arguments, **options: None
for line in sys.stdin:
    done = shell.run_cell(json.loads(line), store_history=True)
    error = done.error_before_exec or done.error_in_exec
    found = f"{type(error).__name__}: {error}" if error else repr(done.result)
    answers.write(json.dumps(found) + "\\n")
    answers.flush()
"""
REPL_START = """
import sys
sys.ps1 = sys.ps2 = ""
"""
MARK = "-- the cell is done --"


class Session:
    """A person at a prompt."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        arguments = ["-c", IPYTHON] if kind == "ipython" else ["-q", "-i", "-u"]
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if kind == "ipython" else subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "IPYTHONDIR": str(folder)},
        )
        if kind == "repl":
            self.run(REPL_START)

    def run(self, cell: str) -> str:
        """Run a cell; return the repr of its value, or `Error: message`."""
        cell = textwrap.dedent(cell).strip("\n")
        if self.kind == "ipython":
            self._send(json.dumps(cell) + "\n")
            found: str = json.loads(self._line())
            return found
        self._send(f"{cell}\n\nprint({MARK!r})\n")
        lines: list[str] = []
        while not (line := self._line()).endswith(MARK):
            lines.append(line)
        return self._said(lines)

    @staticmethod
    def _said(lines: list[str]) -> str:
        """Return the last thing that was printed; of a traceback, its error without module."""
        errors = [n for n, line in enumerate(lines) if line.startswith("scatter.errors.")]
        if errors:
            return lines[errors[-1]].removeprefix("scatter.errors.")
        return lines[-1] if lines else "None"

    def init(self, url: str, namespace: str, author: str = "ann@example.org") -> None:
        answer = self.run(
            f"import scatter; scatter.init({url!r}, namespace={namespace!r}, author={author!r})"
        )
        assert answer == "None"

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the session ended"
        return line.rstrip("\n")

    def close(self) -> None:
        """Leave, as Ctrl-D does; whoever holds the session up is a failure."""
        self._process.communicate(timeout=20)
        assert self._process.returncode == 0


Start = Callable[[str], Session]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts sessions; all end with the module."""
    sessions: list[Session] = []

    def started(kind: str) -> Session:
        sessions.append(Session(kind, tmp_path_factory.mktemp("session")))
        return sessions[-1]

    yield started
    for session in sessions:
        session.close()


@pytest.fixture(scope="module")
def _people(start: Start) -> dict[str, Session]:
    """The sessions that tests share; each test has names of its own."""
    return {"ipython": start("ipython"), "repl": start("repl"), "worker": start("repl")}


@pytest.fixture(params=["ipython", "repl"])
def notebook(
    request: pytest.FixtureRequest, _people: dict[str, Session], redis_url: str, namespace: str
) -> Session:
    """Who writes functions."""
    session = _people[request.param]
    session.init(redis_url, namespace)
    return session


@pytest.fixture
def ipython(_people: dict[str, Session], redis_url: str, namespace: str) -> Session:
    """Who writes functions in cells that have source."""
    _people["ipython"].init(redis_url, namespace)
    return _people["ipython"]


@pytest.fixture
def worker(_people: dict[str, Session], redis_url: str, namespace: str) -> Session:
    """Who gets and calls them."""
    _people["worker"].init(redis_url, namespace, author="worker")
    return _people["worker"]


@pytest.fixture
def releases(redis_url: str, namespace: str) -> Iterator[Releases]:
    """The namespace, as the test looks at it."""
    store = RedisStore(redis_url, namespace)
    yield Releases(signed(store), author="test")
    store.close()


# the story ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ipython", "repl"])
def test_the_story_of_the_readme(
    start: Start, kind: str, redis_url: str, namespace: str, releases: Releases
) -> None:
    author, other = start(kind), start("repl")
    author.init(redis_url, namespace)
    other.init(redis_url, namespace, author="other")
    author.run(
        """
        @scatter.track
        def sample_task_1(x):
            return x + 1
        """
    )
    assert author.run("sample_task_1(1)") == "2"
    assert author.run("sample_task_1.push()") == "1"
    assert author.run("sample_task_1.loaded_version, sample_task_1.latest_version()") == "(1, 1)"

    assert other.run("task = scatter.get('sample_task_1')") == "None"
    assert other.run("task(1)") == "2"

    author.run(
        """
        @scatter.track
        def sample_task_1(x):
            return x + 100
        """
    )
    assert author.run("sample_task_1.loaded_version") == "0"  # not pushed yet
    assert author.run("sample_task_1.push('more')") == "2"
    assert other.run("task(1)") == "2"
    assert other.run("task.pull()") == "2"
    assert other.run("task(1)") == "101"

    assert other.run("task.downgrade(), task(1), task.loaded_version") == "(1, 2, 1)"
    assert other.run("task.downgrade(), task(1)") == "(1, 2)"
    assert other.run("task.upgrade(), task(1)") == "(2, 101)"
    assert other.run("task.upgrade(), task(1), task.loaded_version") == "(2, 101, 2)"
    assert other.run("[v.message for v in task.history()]") == "['more', '']"
    assert author.run("sample_task_1(1)") == "101"

    assert author.run("sample_task_1.delete()") == "(2, 1)"
    error = "NotFound: Function `sample_task_1` doesn't exist"
    assert other.run("scatter.get('sample_task_1')") == error
    assert other.run("try: scatter.get('sample_task_1')\nexcept KeyError as e: print(e)") == (
        "Function `sample_task_1` doesn't exist"
    )
    assert other.run("task(1)") == "101"
    assert releases.functions() == {}


def test_two_people_who_edit_the_same_function_hear_of_each_other(
    notebook: Session, worker: Session
) -> None:
    name = f"shared_{notebook.kind}"
    define = "@scatter.track\ndef {}(x):\n    return x + {}"
    notebook.run(define.format(name, 1))
    assert notebook.run(f"{name}.push()") == "1"
    worker.run(define.format(name, 2))
    said = worker.run(f"{name}.push()")
    assert said.startswith(f"Conflict: `{name}` version 1 was released by ann@example.org at ")
    assert said.endswith(
        f"; you have not seen it. See `scatter diff {name}`, then pull it, or push with force."
    )
    assert worker.run(f"{name}(1)") == "3"
    assert worker.run(f"{name}.push(force=True)") == "2"
    notebook.run(define.format(name, 3))
    assert "version 2 was released by worker at " in notebook.run(f"{name}.push()")
    assert notebook.run(f"{name}.pull(), {name}(1)") == "(2, 3)"
    notebook.run(define.format(name, 4))
    assert notebook.run(f"{name}.push()") == "3"


def test_a_cell_that_is_run_again_unchanged_is_no_new_version(notebook: Session) -> None:
    name = f"again_{notebook.kind}"
    cell = f"@scatter.track\ndef {name}(x):\n    return x + 1"
    for _ in range(3):
        notebook.run(cell)
        assert notebook.run(f"{name}.push()") == "1"


def test_a_step_back_before_the_new_cell_was_pushed_is_the_version_before_it(
    notebook: Session,
) -> None:
    """What was just typed is newer than everything that was pushed."""
    name = f"unpushed_{notebook.kind}"
    define = "@scatter.track\ndef {}(x):\n    return x + {}"
    notebook.run(define.format(name, 1))
    notebook.run(f"{name}.push()")
    notebook.run(define.format(name, 2))
    assert notebook.run(f"{name}(0)") == "2"
    assert notebook.run(f"{name}.downgrade(), {name}(0)") == "(1, 1)"


# what is captured -----------------------------------------------------------------------------

CASES = {
    "literal": ("RATE = 3", "@scatter.track\ndef NAME(x):\n    return x * RATE", "NAME(2)", "6"),
    "list": ("ROWS = [1, 2]", "@scatter.track\ndef NAME():\n    return ROWS", "NAME()", "[1, 2]"),
    "dict": (
        "table = {'a': {1}}",
        "@scatter.track\ndef NAME():\n    return table",
        "NAME()",
        "{'a': {1}}",
    ),
    "special floats": (
        "ends = (float('inf'), -0.0)",
        "@scatter.track\ndef NAME():\n    return ends",
        "NAME()",
        "(inf, -0.0)",
    ),
    "import": (
        "import math",
        "@scatter.track\ndef NAME(x):\n    return math.floor(x)",
        "NAME(2.5)",
        "2",
    ),
    "import as": (
        "import os.path as place",
        "@scatter.track\ndef NAME(x):\n    return place.basename(x)",
        "NAME('a/b')",
        "'b'",
    ),
    "import of a submodule": (
        "import xml.dom.minidom",
        "@scatter.track\ndef NAME():\n    return xml.dom.minidom.parseString('<a/>').toxml()[-4:]",
        "NAME()",
        "'<a/>'",
    ),
    "from import": (
        "from math import floor as down",
        "@scatter.track\ndef NAME(x):\n    return down(x)",
        "NAME(2.5)",
        "2",
    ),
    "helper": (
        "def twice_NAME(x):\n    return once_NAME(x) * 2\n\ndef once_NAME(x):\n    return x",
        "@scatter.track\ndef NAME(x):\n    return twice_NAME(x)",
        "NAME(2)",
        "4",
    ),
    "helper with a value of its own": (
        "FACTOR_NAME = 5\n\ndef times_NAME(x, by=FACTOR_NAME):\n    return x * by",
        "@scatter.track\ndef NAME(x):\n    return times_NAME(x)",
        "NAME(2)",
        "10",
    ),
    "recursion": (
        "",
        "@scatter.track\ndef NAME(n):\n    return 1 if n == 0 else n * NAME(n - 1)",
        "NAME(5)",
        "120",
    ),
    "helper that calls back": (
        "def back_NAME(n):\n    return NAME(n - 1)",
        "@scatter.track\ndef NAME(n):\n    return 'end' if n == 0 else back_NAME(n)",
        "NAME(3)",
        "'end'",
    ),
    "class": (
        "class Point_NAME:\n    def __init__(self, x):\n        self.x = x",
        "@scatter.track\ndef NAME(x):\n    return Point_NAME(x).x",
        "NAME(4)",
        "4",
    ),
    "class that refers to itself": (
        "class Node_NAME:\n    def next(self):\n        return Node_NAME()",
        "@scatter.track\ndef NAME():\n    return type(Node_NAME().next()) is Node_NAME",
        "NAME()",
        "True",
    ),
    "class with super": (
        "class A_NAME:\n    def f(self):\n        return 1\n\n"
        "class B_NAME(A_NAME):\n    def f(self):\n        return super().f() + 1",
        "@scatter.track\ndef NAME():\n    return B_NAME().f()",
        "NAME()",
        "2",
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass Row_NAME:\n    x: int = 7",
        "@scatter.track\ndef NAME():\n    return Row_NAME().x",
        "NAME()",
        "7",
    ),
    "enum": (
        "import enum\nclass Kind_NAME(enum.Enum):\n    A = 1",
        "@scatter.track\ndef NAME():\n    return Kind_NAME.A.value",
        "NAME()",
        "1",
    ),
    "closure": (
        "def make_NAME(n, rows):\n    @scatter.track(name='NAME')\n    def inner(x):\n"
        "        return x + n, rows\n    return inner",
        "NAME = make_NAME(5, [1])",
        "NAME(1)",
        "(6, [1])",
    ),
    "closure over itself": (
        "def make_NAME():\n    @scatter.track(name='NAME')\n    def inner(n):\n"
        "        return n if n == 0 else inner(n - 1)\n    return inner",
        "NAME = make_NAME()",
        "NAME(3)",
        "0",
    ),
    "lambda": ("", "NAME = scatter.track(name='NAME')(lambda x: x + 9)", "NAME(1)", "10"),
    "defaults": (
        "BASE = 2",
        "@scatter.track\ndef NAME(x, y=BASE, *rest, z=[3], **more):\n"
        "    return x, y, rest, z, more",
        "NAME(1), NAME(1, 5, 6, z=0, k=1)",
        "((1, 2, (), [3], {}), (1, 5, (6,), 0, {'k': 1}))",
    ),
    "decorated": (
        "import functools\ndef shout_NAME(inner):\n    @functools.wraps(inner)\n"
        "    def outer(*args):\n        return inner(*args) + '!'\n    return outer",
        "@scatter.track\n@shout_NAME\ndef NAME(x):\n    return x",
        "NAME('hey')",
        "'hey!'",
    ),
    "async": (
        "import asyncio",
        "@scatter.track\nasync def NAME(x):\n    await asyncio.sleep(0)\n    return x",
        "__import__('asyncio').run(NAME(3))",
        "3",
    ),
    "generator": (
        "",
        "@scatter.track\ndef NAME(n):\n    yield from range(n)",
        "list(NAME(3))",
        "[0, 1, 2]",
    ),
    "async generator": (
        "",
        "@scatter.track\nasync def NAME(n):\n    for x in range(n):\n        yield x",
        "type(NAME(1)).__name__",
        "'async_generator'",
    ),
    "inner scopes": (
        "LIMIT = 3",
        "@scatter.track\ndef NAME():\n    pick = lambda x: x < LIMIT\n"
        "    return [x for x in range(9) if pick(x)]",
        "NAME()",
        "[0, 1, 2]",
    ),
    "annotations": (
        "class Money_NAME(int):\n    def cents(self):\n        return self * 100",
        "@scatter.track\ndef NAME(x: 'Money_NAME') -> Money_NAME:\n    return x",
        "NAME(3)",
        "3",
    ),
    "global that is written": (
        "count_NAME = 0",
        "@scatter.track\ndef NAME():\n    global count_NAME\n    count_NAME += 1\n"
        "    return count_NAME",
        "NAME(), NAME()",
        "(1, 2)",
    ),
    "umlauts and quotes": (
        "grüße = 'ß\\'\"\\n'",
        "@scatter.track\ndef NAME():\n    return grüße  # ☃",
        "NAME()",
        repr("ß'\"\n"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_function_needs_goes_along(notebook: Session, worker: Session, case: str) -> None:
    name = f"{case.replace(' ', '_')}_{notebook.kind}"
    before, define, call, expected = (part.replace("NAME", name) for part in CASES[case])
    notebook.run(before)
    notebook.run(define)
    assert notebook.run(f"{name}.push()") == "1"
    worker.run(f"{name} = scatter.get('{name}')")
    assert worker.run(call) == expected


def test_a_tracked_function_of_another_cell_stays_the_newest(
    notebook: Session, worker: Session
) -> None:
    kind = notebook.kind
    inner, outer = f"inner_{kind}", f"outer_{kind}"
    notebook.run(f"@scatter.track\ndef {inner}(x):\n    return x + 1")
    notebook.run(f"@scatter.track\ndef {outer}(x):\n    return {inner}(x) * 10")
    assert notebook.run(f"{outer}.push()") == "1"
    worker.run(f"{outer} = scatter.get('{outer}')")
    assert worker.run(f"{outer}(1)") == "20"
    notebook.run(f"@scatter.track\ndef {inner}(x):\n    return x + 2")
    assert notebook.run(f"{inner}.push()") == "2"
    assert worker.run(f"scatter.get('{inner}').pull(), {outer}(1)") == "(2, 30)"


def test_values_are_those_of_the_moment_of_the_push(notebook: Session, worker: Session) -> None:
    name = f"moment_{notebook.kind}"
    notebook.run(f"value_{name} = [1]")
    notebook.run(f"@scatter.track\ndef {name}():\n    return value_{name}")
    notebook.run(f"{name}.push()")
    notebook.run(f"value_{name}.append(2)")
    worker.run(f"{name} = scatter.get('{name}')")
    assert worker.run(f"{name}()") == "[1]"
    assert notebook.run(f"{name}()") == "[1, 2]"


def test_a_value_that_changed_is_pushed_by_running_the_cell_again(
    notebook: Session, worker: Session
) -> None:
    name = f"changed_{notebook.kind}"
    cell = f"@scatter.track\ndef {name}():\n    return value_{name}"
    notebook.run(f"value_{name} = 1")
    notebook.run(cell)
    notebook.run(f"{name}.push()")
    notebook.run(f"value_{name} = 2")
    notebook.run(cell)
    assert notebook.run(f"{name}.push()") == "2"
    assert worker.run(f"scatter.get('{name}')()") == "2"


def test_a_method_that_needs_its_class_is_refused_where_that_is_not(
    ipython: Session, worker: Session
) -> None:
    ipython.run(
        """
        class Model:
            @scatter.track
            def predict(self, x):
                return x + 1
            @scatter.track
            def name(self):
                return super().__repr__()
        """
    )
    assert ipython.run("Model.predict.push(), Model.name.push()") == "(1, 1)"
    assert worker.run("scatter.get('Model.predict')(None, 1)") == "2"
    assert worker.run("scatter.get('Model.name')") == (
        "Refused: `Model.name` is a method of `Model`, and this process has no such class. "
        "Deploy the class first."
    )


def test_the_source_of_a_cell_travels_and_shows_in_tracebacks(
    ipython: Session, worker: Session
) -> None:
    ipython.run("@scatter.track\ndef visible(x):\n    # why\n    return 1 / x")
    ipython.run("visible.push()")
    worker.run("visible = scatter.get('visible')")
    text = "@scatter.track\ndef visible(x):\n    # why\n    return 1 / x"
    assert worker.run("visible.source") == repr(text)
    assert worker.run("import inspect; inspect.getsource(visible)") == repr(text + "\n")
    worker.run("import traceback")
    said = worker.run(
        "try: visible(0)\nexcept ZeroDivisionError: lines = traceback.format_exc().splitlines()"
    )
    assert said == "None"
    assert "    return 1 / x" in worker.run("lines")


def test_a_traceback_shows_the_lines_of_a_helper_of_another_cell(
    ipython: Session, worker: Session
) -> None:
    """Each cell begins at line 1; in the version they must not lie over each other."""
    ipython.run("def deep_helper(x):\n    y = x\n    return 1 / y")
    ipython.run("@scatter.track\ndef above_helper(x):\n    z = x\n    return deep_helper(z)")
    ipython.run("above_helper.push()")
    worker.run("above_helper = scatter.get('above_helper')")
    worker.run("import traceback")
    worker.run("try: above_helper(0)\nexcept ZeroDivisionError: said = traceback.format_exc()")
    lines = worker.run("[line.strip() for line in said.splitlines() if line[:4] == '    ']")
    assert "'return deep_helper(z)'" in lines
    assert "'return 1 / y'" in lines


def test_a_cell_with_magics_is_captured_too(ipython: Session, worker: Session) -> None:
    ipython.run("%pwd\nwhere = %pwd\n@scatter.track\ndef beside_a_magic(x):\n    return x + 1")
    assert ipython.run("beside_a_magic.push()") == "1"
    assert worker.run("scatter.get('beside_a_magic')(1)") == "2"
    assert worker.run("scatter.get('beside_a_magic').source") == repr(
        "@scatter.track\ndef beside_a_magic(x):\n    return x + 1"
    )


def test_a_timed_cell_is_captured_too(ipython: Session, worker: Session) -> None:
    ipython.run("%%time\n@scatter.track\ndef in_timed_cell(x):\n    return x + 1\n")
    assert ipython.run("in_timed_cell.push()") == "1"
    assert worker.run("scatter.get('in_timed_cell')(1)") == "2"


# what is refused ------------------------------------------------------------------------------

SECRETS = {
    "by name": ("API_KEY = 'abc-123-def'", "@scatter.track\ndef NAME():\n    return API_KEY"),
    "by randomness": (
        "opaque = 'hV7q2LxPz9RtYw3KdBn8MfGs5JcAe1Uo'",
        "@scatter.track\ndef NAME():\n    return opaque",
    ),
    "of a helper": (
        "DB_PASSWORD = 'abc-123-def'\ndef connect_NAME():\n    return DB_PASSWORD",
        "@scatter.track\ndef NAME():\n    return connect_NAME()",
    ),
    "in a closure": (
        "def make_NAME(auth_token):\n    @scatter.track(name='NAME')\n    def inner():\n"
        "        return auth_token\n    return inner",
        "NAME = make_NAME('abc-123-def')",
    ),
    "in a dict": (
        "settings_NAME = {'host': 'db', 'password': 'abc-123-def'}",
        "@scatter.track\ndef NAME():\n    return settings_NAME",
    ),
}


@pytest.mark.parametrize("case", SECRETS)
def test_a_secret_is_refused_unless_it_is_meant(
    notebook: Session, worker: Session, releases: Releases, case: str
) -> None:
    name = f"secret_{case.replace(' ', '_')}_{notebook.kind}"
    before, define = (part.replace("NAME", name) for part in SECRETS[case])
    notebook.run(before)
    notebook.run(define)
    said = notebook.run(f"{name}.push()")
    assert said.startswith("Refused: `")
    assert f"`{name}` uses, looks like a credential and would be shipped. Read it" in said
    assert said.endswith("or push with secrets=True if it is meant.")
    assert "abc-123" not in said
    assert releases.functions() == {}
    assert notebook.run(f"{name}.loaded_version") == "0"
    assert notebook.run(f"{name}.push(secrets=True)") == "1"
    assert worker.run(f"scatter.get('{name}')() is not None") == "True"


def test_an_ordinary_text_is_no_secret(notebook: Session) -> None:
    name = f"harmless_{notebook.kind}"
    notebook.run(f"greeting_{name} = 'Dear customers, we are closed on Monday and on Tuesday'")
    notebook.run(f"@scatter.track\ndef {name}():\n    return greeting_{name}")
    assert notebook.run(f"{name}.push()") == "1"


def test_a_value_that_cannot_be_captured_is_refused(notebook: Session, releases: Releases) -> None:
    name = f"locked_{notebook.kind}"
    notebook.run(f"import threading; lock_{name} = threading.Lock()")
    notebook.run(f"@scatter.track\ndef {name}():\n    return lock_{name}.locked()")
    said = notebook.run(f"{name}.push()")
    assert said.startswith("Refused: ")
    assert "cannot be captured: TypeError: cannot pickle '_thread.lock' object" in said
    assert said.endswith("Create it inside the function, or where the function runs.")
    if notebook.kind == "ipython":
        assert f"The value of `lock_{name}`" in said
    assert releases.functions() == {}
    assert notebook.run(f"{name}()") == "False"


def test_a_value_that_is_too_big_is_refused(notebook: Session, releases: Releases) -> None:
    name = f"big_{notebook.kind}"
    notebook.run(f"import os; data_{name} = [os.urandom(5 << 20)]")
    notebook.run(f"@scatter.track\ndef {name}():\n    return len(data_{name}[0])")
    said = notebook.run(f"{name}.push()")
    assert said.startswith(f"Refused: The bundle of `{name}` has ")
    assert said.endswith("Load large data at run time instead of capturing it.")
    assert releases.functions() == {}


def test_a_value_whose_module_is_missing_elsewhere_is_refused_there(
    notebook: Session, worker: Session
) -> None:
    """The worker keeps what it had."""
    name = f"missing_{notebook.kind}"
    notebook.run(f"@scatter.track\ndef {name}():\n    return 1")
    notebook.run(f"{name}.push()")
    worker.run(f"{name} = scatter.get('{name}')")
    notebook.run(
        f"import sys, types; only_{name} = types.ModuleType('only_here_{name}'); "
        f"sys.modules['only_here_{name}'] = only_{name}"
    )
    notebook.run(f"@scatter.track\ndef {name}():\n    return only_{name}.__name__")
    if notebook.run(f"{name}.push()") != "2":
        pytest.fail("the push was refused where the module is there")
    said = worker.run(f"{name}.pull()")
    assert said.startswith("Refused: ")
    assert f"No module named 'only_here_{name}'" in said
    assert worker.run(f"{name}(), {name}.loaded_version") == "(1, 1)"


def _forged(releases: Releases, name: str, change: Callable[[Bundle], Bundle]) -> Version:
    """Push a changed copy of a function's live bundle over it."""
    bundle = change(releases.fetch(releases.version(name)))
    releases.push([Candidate(bundle=bundle)], force=True)
    return releases.version(name)


def test_captured_values_of_another_python_are_refused_before_they_are_loaded(
    notebook: Session, worker: Session, releases: Releases
) -> None:
    name = f"foreign_{notebook.kind}"
    notebook.run(f"rows_{name} = [1]")
    notebook.run(f"@scatter.track\ndef {name}():\n    return rows_{name}")
    notebook.run(f"{name}.push()")
    worker.run(f"{name} = scatter.get('{name}')")
    assert releases.fetch(releases.version(name)).python == sys.implementation.cache_tag
    forged = _forged(releases, name, lambda b: dataclasses.replace(b, python="cpython-399"))
    assert worker.run(f"{name}.pull()") == (
        f"Refused: `{name}` carries captured values of cpython-399; this process is "
        f"{sys.implementation.cache_tag}. Push it from a file, or from the same Python version."
    )
    assert forged.number == 2
    assert worker.run(f"{name}(), {name}.loaded_version") == "([1], 1)"
    assert worker.run(f"scatter.get('{name}', 2)").startswith("Refused: ")


def test_a_function_of_source_alone_runs_on_any_python(
    ipython: Session, worker: Session, releases: Releases
) -> None:
    ipython.run("import math; RATE_any = 3")
    ipython.run("@scatter.track\ndef any_python(x):\n    return math.floor(x) * RATE_any")
    ipython.run("any_python.push()")
    assert releases.fetch(releases.version("any_python")).python == ""
    assert worker.run("scatter.get('any_python')(2.5)") == "6"


def test_what_is_no_function_is_not_tracked(notebook: Session) -> None:
    said = notebook.run("scatter.track(len)")
    assert said.startswith("NotTrackable: @scatter.track expects a Python function; found ")
    said = notebook.run("def outer():\n    @scatter.track\n    def inner(): pass\n\nouter()")
    assert said.endswith("Give it one: @scatter.track(name=...).")
