"""Right faces: whoever looks at a function after a push sees what a plain function would show.

Tracebacks, `inspect`, `pdb`, `logging`, profilers and the like show the pushed source, true lines
and the version's name; what takes functions apart or stores them (pickling, mocks, registries,
other decorators) meets the same function object as before.
"""

from __future__ import annotations

import abc
import copy
import cProfile
import dataclasses
import doctest
import functools
import gc
import inspect
import json
import linecache
import logging
import os
import pickle
import pydoc
import re
import subprocess
import sys
import textwrap
import traceback
import types
import typing
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from linking import Lab, Program
from support import ROOT

import scatter
from scatter.errors import NotTrackable
from scatter.slot import KEPT

HEAD = "import scatter\n\n"
HERE = "  # here"
PLAINTEXT = vars(pydoc)["plaintext"]
Act = Callable[[str], Any]


# the functions that are looked at ------------------------------------------------------------


class Shape(typing.NamedTuple):
    """One sort of function; `{n}` in its texts is the number of the version.

    Every function calls what it is given on the line that is marked as here, with the name of its
    version.
    """

    deployed: str
    pushed: str
    run: Callable[[Any, Act], Any]
    qualname: str = "f"
    whole: bool = False
    """Whether it is tracked with its module, without a word in the source."""


BODY = '''
@scatter.track
def f(act):
    """Doc v{n}."""
    where = {name}
    return act(where)  # here
'''
METHOD = '''
class M:
    @scatter.track
    def f(self, act):
        """Doc v{n}."""
        where = {name}
        return act(where)  # here
'''
DEFAULTS = '''
@scatter.track
def f(act, where="v{n}"):
    """Doc v{n}."""
    where = str(where)
    return act(where)  # here
'''
DECORATED = """
def forward(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper
""" + BODY.replace("track\n", "track\n@forward\n")
CONSTANT = "\nNAME_{n} = 'v{n}'\n"
PRIVATE = "\ndef name_{n}():\n    return 'v{n}'\n"


def _drive(coroutine: Any) -> Any:
    """Run a coroutine that awaits nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


def _alone(text: str) -> str:
    return text.replace("{name}", '"v{n}"')


def _helped(text: str) -> str:
    return PRIVATE + text.replace("{name}", "name_{n}()")


def _bare(text: str) -> str:
    return text.replace("    @scatter.track\n", "").replace("@scatter.track\n", "")


def _plain(program: Any, act: Act) -> Any:
    return program.f(act)


def _method(program: Any, act: Act) -> Any:
    return program.M().f(act)


def _coroutine(program: Any, act: Act) -> Any:
    return _drive(program.f(act))


def _generator(program: Any, act: Act) -> Any:
    return next(iter(list(program.f(act))))


def _async_generator(program: Any, act: Act) -> Any:
    return _drive(anext(program.f(act)))


ASYNC = BODY.replace("def f", "async def f")
GENERATOR = BODY.replace("return", "yield")
ASYNC_GENERATOR = ASYNC.replace("return", "yield")
SHAPES = {
    "direct": Shape(_alone(BODY), _alone(BODY), _plain),
    "with a private helper": Shape(_alone(BODY), _helped(BODY), _plain),
    "changed defaults": Shape(DEFAULTS, DEFAULTS, _plain),
    "method": Shape(_alone(METHOD), _alone(METHOD), _method, "M.f"),
    "method with a private helper": Shape(_alone(METHOD), _helped(METHOD), _method, "M.f"),
    "coroutine": Shape(_alone(ASYNC), _alone(ASYNC), _coroutine),
    "coroutine with a private helper": Shape(_alone(ASYNC), _helped(ASYNC), _coroutine),
    "generator": Shape(_alone(GENERATOR), _alone(GENERATOR), _generator),
    "generator with a private helper": Shape(_alone(GENERATOR), _helped(GENERATOR), _generator),
    "async generator": Shape(_alone(ASYNC_GENERATOR), _alone(ASYNC_GENERATOR), _async_generator),
    "decorated": Shape(_alone(DECORATED), _alone(DECORATED), _plain),
    "of a module": Shape(_bare(_alone(BODY)), _bare(_alone(BODY)), _plain, whole=True),
    "of a module with a private constant": Shape(
        _bare(_alone(BODY)),
        _bare(CONSTANT + BODY).replace("{name}", "NAME_{n}"),
        _plain,
        whole=True,
    ),
    "method of a module": Shape(
        _bare(_alone(METHOD)), _bare(_alone(METHOD)), _method, "M.f", whole=True
    ),
    "decorated in a module": Shape(
        _bare(_alone(DECORATED)), _bare(_alone(DECORATED)), _plain, whole=True
    ),
}
every_shape = pytest.mark.parametrize("shape", SHAPES)
undecorated_shapes = pytest.mark.parametrize("shape", [s for s in SHAPES if "decorated" not in s])


class Stage(typing.NamedTuple):
    """What runs at one point of the story, and what its source says."""

    program: Program
    shape: Shape
    text: str
    number: int

    @property
    def function(self) -> Any:
        return _at(self.program.module, self.shape.qualname)

    @property
    def here(self) -> int:
        """Number of the line that calls `act`."""
        return 1 + next(n for n, line in enumerate(self.text.split("\n")) if HERE in line)

    @property
    def first(self) -> int:
        """Number of the line on which the definition begins, with its decorators."""
        lines = enumerate(self.text.split("\n"), 1)
        starts = ["@scatter", "@forward"] if "@" in self.text else ["def f"]
        return next(n for n, line in lines if any(start in line for start in starts))

    @property
    def definition(self) -> str:
        lines = self.text.split("\n")[self.first - 1 : self.here]
        return "\n".join(lines) + "\n"

    def run(self, act: Act) -> Any:
        return self.shape.run(self.program, act)

    def is_file(self, file: str) -> bool:
        """Return whether a file's name is that of this version."""
        if self.number == 0:
            return file == self.program.module.__file__
        return f"{self.program.name}:{self.shape.qualname} v{self.number}" in file

    def is_here(self, file: str, line: int | None) -> bool:
        return self.is_file(file) and line == self.here


def _at(module: types.ModuleType, qualname: str) -> Any:
    return functools.reduce(getattr, qualname.split("."), module)


def text_of(shape: Shape, number: int) -> str:
    """Return the module with version `number`; each version begins on other lines."""
    head = "import functools\nimport logging\nimport scatter\n" + "# moved\n" * (3 * number)
    body = shape.pushed if number else shape.deployed
    return head + body.replace("{n}", str(number))


def story(lab: Lab, name: str) -> Iterator[Stage]:
    """Deploy a function, push it twice, go back, and forward once more."""
    shape = SHAPES[name]
    program = lab.module(text_of(shape, 0))
    if shape.whole:
        lab.project.whole.add(program.name)
        scatter.track_module(program.module)
    yield Stage(program, shape, program.text, 0)
    for number in (1, 2):
        text = text_of(shape, number)
        program.push(text, shape.qualname)
        yield Stage(program, shape, text, number)
    for number in (0, 1):
        program.go_to({shape.qualname: number})
        yield Stage(program, shape, text_of(shape, number), number)


# source, lines and names ---------------------------------------------------------------------


@every_shape
def test_the_story_runs_each_version(lab: Lab, shape: str) -> None:
    assert [stage.run(str) for stage in story(lab, shape)] == ["v0", "v1", "v2", "v0", "v1"]


@every_shape
def test_a_traceback_ends_on_the_true_line_of_the_version(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        with pytest.raises(ZeroDivisionError) as caught:
            stage.run(lambda _: 1 / 0)
        *_, last, _ = traceback.extract_tb(caught.tb)
        assert stage.is_here(last.filename, last.lineno), last
        assert last.line == _stripped(stage, stage.here)
        assert last.name == "f"


def _stripped(stage: Stage, line: int) -> str:
    return stage.text.split("\n")[line - 1].strip()


@every_shape
def test_every_frame_of_a_traceback_has_its_source_line(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        with pytest.raises(ZeroDivisionError) as caught:
            stage.run(lambda _: 1 / 0)
        for frame in traceback.extract_tb(caught.tb):
            assert frame.line, frame
            assert frame.lineno, frame


@every_shape
def test_getsource_returns_the_text_of_the_version(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        assert inspect.getsource(stage.function) == stage.definition
        lines, first = inspect.getsourcelines(stage.function)
        assert ("".join(lines), first) == (stage.definition, stage.first)
        assert stage.is_file(inspect.getsourcefile(inspect.unwrap(stage.function)) or "")
        assert inspect.getmodule(stage.function) is stage.program.module
        if not stage.shape.whole:
            assert stage.function.source + "\n" == stage.definition
            assert stage.function.loaded_version == stage.number


@every_shape
def test_logging_names_function_line_and_version(
    lab: Lab, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("faces")
    for stage in story(lab, shape):
        caplog.clear()
        stage.run(log.warning)
        (record,) = caplog.records
        assert stage.is_here(record.pathname, record.lineno), record.pathname
        formatted = logging.Formatter("%(funcName)s:%(lineno)d %(filename)s").format(record)
        assert formatted == f"f:{stage.here} {os.path.basename(record.pathname)}"


@undecorated_shapes
def test_logging_that_names_the_caller_names_the_caller(
    lab: Lab, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("faces")
    for stage in story(lab, shape):
        caplog.clear()
        stage.run(functools.partial(log.warning, stacklevel=2))
        (record,) = caplog.records
        assert record.pathname == __file__, record.pathname


@every_shape
def test_a_warning_is_located_in_the_version(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stage.run(functools.partial(warnings.warn, stacklevel=1))
        (warning,) = caught
        assert stage.is_here(warning.filename, warning.lineno), warning
        assert _stripped(stage, stage.here) in warnings.formatwarning(
            warning.message, warning.category, warning.filename, warning.lineno
        )


@undecorated_shapes
def test_a_deprecation_is_blamed_on_the_caller(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stage.run(functools.partial(warnings.warn, stacklevel=2))
        (warning,) = caught
        assert warning.filename == __file__, warning


@every_shape
def test_the_stack_shows_the_version(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        frame = stage.run(lambda _: inspect.stack())[1]
        assert stage.is_here(frame.filename, frame.lineno), frame
        assert (frame.function, frame.code_context[0].strip()) == (
            "f",
            _stripped(stage, stage.here),
        )


@every_shape
def test_locals_of_a_frame_are_those_of_the_version(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        found = stage.run(lambda _: dict(sys._getframe(1).f_locals))
        assert found["where"] == f"v{stage.number}"


@undecorated_shapes
def test_the_callers_frame_is_found_one_step_up(lab: Lab, shape: str) -> None:
    """Named tuples, enums, and loggers find out in this way who calls them."""
    for stage in story(lab, shape):
        frame = stage.run(lambda _: sys._getframe(2).f_code)
        assert frame.co_filename == __file__, frame


@every_shape
def test_line_events_are_those_of_the_version(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        seen = _lines_traced(functools.partial(stage.run, str))
        assert all(stage.is_file(file) for file, _ in seen), seen
        assert [line for _, line in seen if line > stage.first] == [stage.here - 1, stage.here]


def _lines_traced(action: Callable[[], object]) -> list[tuple[str, int]]:
    """Return (file, line) of each line event in functions called `f`."""
    seen: list[tuple[str, int]] = []

    def trace(frame: types.FrameType, event: str, arg: object) -> Any:
        if event == "line" and frame.f_code.co_name == "f":
            seen.append((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return seen


def test_line_events_of_an_argument_default_are_no_calls(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(x=1):\n    return x\n")
    program.push(f"{HEAD}# moved\n@scatter.track\ndef f(x=2):\n    return x\n", "f")
    assert [line for _, line in _lines_traced(program.f)] == [6]


@every_shape
def test_a_profile_has_the_version_and_who_called_it(lab: Lab, shape: str) -> None:
    """Two entries under one name would hide one another in `pstats`."""
    deployed = None
    for stage in story(lab, shape):
        profile = cProfile.Profile()
        profile.runcall(stage.run, str)
        profile.create_stats()
        entries = [e.code for e in profile.getstats() if isinstance(e.code, types.CodeType)]
        (own,) = [c for c in entries if c.co_name == "f" and stage.is_file(c.co_filename)]
        calls, primitive, _, _, callers = vars(profile)["stats"][
            own.co_filename, own.co_firstlineno, "f"
        ]
        assert own.co_firstlineno == stage.first
        found = calls, primitive, sorted(name for _, _, name in callers)
        deployed = deployed or found
        assert found == deployed


# what no reader of source sees again ---------------------------------------------------------


def test_versions_have_sources_of_their_own_at_the_same_time(lab: Lab) -> None:
    """A generator of the version before is still suspended while the next one runs."""
    program = lab.module(f"{HEAD}@scatter.track\ndef f():\n    yield 0\n    yield 1 / 0\n")
    running = [program.f()]
    next(running[0])
    for number in (1, 2):
        text = HEAD + "# moved\n" * number
        program.push(f"{text}@scatter.track\ndef f():\n    yield {number}\n    yield 1 / 0\n", "f")
        running.append(program.f())
        next(running[-1])
    found = []
    for generator in running:
        with pytest.raises(ZeroDivisionError) as caught:
            next(generator)
        found.append(traceback.extract_tb(caught.tb)[-1])
    assert [(frame.lineno, frame.line) for frame in found] == [
        (n, "yield 1 / 0") for n in (6, 7, 8)
    ]
    assert len({frame.filename for frame in found}) == 3


@pytest.mark.parametrize("helper", ["", "helper();"], ids=["direct", "with a private helper"])
def test_a_generator_of_a_dropped_version_still_shows_its_source(lab: Lab, helper: str) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f():\n    yield 0\n    yield 1 / 0\n")
    text = "def helper(): pass\n" + program.text.replace("yield 0", f"{helper} yield 1".strip())
    program.push(text, "f")
    running = program.f()
    assert next(running) == 1
    _push_more(program)
    with pytest.raises(ZeroDivisionError) as caught:
        next(running)
    frame = traceback.extract_tb(caught.tb)[-1]
    assert (frame.name, frame.line) == ("f", "yield 1 / 0")


def _push_more(program: Program) -> None:
    """Push so many versions that the first one is loaded no more."""
    for number in range(KEPT + 1):
        program.push(program.text.replace("yield 0", f"yield {number + 100}"), "f")
    gc.collect()
    assert 1 not in program.slot("f").loaded


def test_what_a_dropped_version_left_in_state_still_shows_its_source(lab: Lab) -> None:
    """Callbacks that a version registered, and objects of a class that travelled with it."""
    text = f"{HEAD}kept = []\n@scatter.track\ndef f():\n    yield 0\n"
    program = lab.module(text)
    pushed = text.replace(
        "    yield 0\n",
        "    def inner():\n        return 1 / 0\n    kept.append(inner)\n"
        "    kept.append(Box())\n    kept.append(helper)\n    yield 1\n",
    )
    pushed += "class Box:\n    def __call__(self):\n        return 2 / 0\n"
    pushed += "def helper():\n    return 3 / 0\n"
    program.push(pushed, "f")
    list(program.f())
    _push_more(program)
    found = []
    for kept in program.kept:
        with pytest.raises(ZeroDivisionError) as caught:
            kept()
        found.append(traceback.extract_tb(caught.tb)[-1].line)
    assert found == ["return 1 / 0", "return 2 / 0", "return 3 / 0"]


def test_checking_the_line_cache_keeps_the_source_of_a_version(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 0\n")
    program.push(program.edit("return 0", "return 1"), "f")
    linecache.checkcache()
    assert inspect.getsource(program.f) == "@scatter.track\ndef f(): return 1\n"


def test_code_that_travels_shows_its_own_lines(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}def low():\n    return 0\n\n@scatter.track\ndef f(): return low()\n"
    )
    edited = program.edit("    return 0", "    # why\n    return 1 / 0") + (
        "\n\nclass Box:\n    def go(self):\n        return low()\n"
    )
    program.push(edited.replace("f(): return low()", "f(): return Box().go()"), "f")
    with pytest.raises(ZeroDivisionError) as caught:
        program.f()
    frames = [frame for frame in traceback.extract_tb(caught.tb) if "scatter" in frame.filename]
    lines = edited.split("\n")
    assert [(f.name, f.line) for f in frames[-2:]] == [
        ("go", "return low()"),
        ("low", "return 1 / 0"),
    ]
    assert [lines[(f.lineno or 0) - 1].strip() for f in frames[-2:]] == [
        f.line for f in frames[-2:]
    ]
    assert inspect.getsource(_code_of(caught.tb, "low")).startswith("def low():")


def _code_of(tb: types.TracebackType | None, name: str) -> types.CodeType:
    return next(f.f_code for f, _ in traceback.walk_tb(tb) if f.f_code.co_name == name)


# pdb and coverage, as people start them -------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path

folder, name, first, second = Path(sys.argv[1]), *sys.argv[2:]
sys.path.insert(0, str(folder))
from linking import Lab

program = Lab(folder).module(Path(folder, name + ".py").read_text(), name)
module = program.module
for text in (first, second):
    if text:
        program.push(text, {qualname!r})

def main():
    act = str
    print("answer", {call})
"""


def _in_a_process(
    lab: Lab, shape: Shape, number: int, rest: str, stdin: str = ""
) -> tuple[str, str]:
    """Run a script in which version `number` runs; return its output and the version's text."""
    name = f"faces_{os.path.basename(lab.folder).replace('-', '_')}"
    lab.write(text_of(shape, 0), name)
    call = "module.M().f(act)" if shape.qualname == "M.f" else "module.f(act)"
    script = SCRIPT.format(qualname=shape.qualname, call=call) + textwrap.dedent(rest)
    file = lab.folder / "script.py"
    file.write_text(script)
    texts = [text_of(shape, n) if n and n <= number else "" for n in (1, 2)]
    done = subprocess.run(
        [sys.executable, str(file), str(lab.folder), name, *texts],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=_with_the_tests(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, texts[number - 1] if number else text_of(shape, 0)


def _with_the_tests() -> dict[str, str]:
    """Return an environment in which a process finds what this one finds."""
    path = [str(ROOT / "tests"), str(ROOT), str(ROOT / "agent"), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


debugged = pytest.mark.parametrize(
    "name",
    [
        "direct",
        "with a private helper",
        "changed defaults",
        "method",
        "method with a private helper",
    ],
)
versions = pytest.mark.parametrize("number", [0, 1, 2])


@debugged
@versions
def test_pdb_breaks_by_name_on_the_first_line_of_the_version(
    lab: Lab, name: str, number: int
) -> None:
    shape = SHAPES[name]
    commands = f"b module.{shape.qualname}\nc\nwhere\nlist\nn\np [where]\nc\n"
    output, text = _in_a_process(
        lab, shape, number, "import pdb\npdb.Pdb().runcall(main)\n", commands
    )
    first_of_body = text.split("\n").index(f'{_indent(text)}"""Doc v{number}."""') + 2
    stops = re.findall(r"^> (.*)\((\d+)\)(\S+)\(.*\n-> (.*)$", output, re.M)
    at_break = stops[1]
    assert (int(at_break[1]), at_break[2]) == (first_of_body, "f"), output
    assert at_break[3] == text.split("\n")[first_of_body - 1].strip(), output
    assert f"{HERE}" in output, "`list` shows the source"
    assert f"['v{number}']" in output, output
    assert f"answer v{number}" in output


def _indent(text: str) -> str:
    return next(line.split('"')[0] for line in text.split("\n") if '"""Doc' in line)


@debugged
@versions
def test_pdb_steps_into_the_source_of_the_version(lab: Lab, name: str, number: int) -> None:
    """From the line that calls it, stepping never shows a line that has no source."""
    shape = SHAPES[name]
    commands = "n\n" + "s\n" * 14 + "c\n"
    output, text = _in_a_process(
        lab, shape, number, "import pdb\npdb.Pdb().runcall(main)\n", commands
    )
    stops = re.findall(r"^> (.*)\((\S+)\)(\S+)\(.*\n(?:-> (.*)$)?", output, re.M)
    own = [stop for stop in stops if stop[2] == "f" and "module" not in stop[0]]
    assert own, output
    lines = text.split("\n")
    for file, line, _, shown in own:
        assert shown, f"no source of {file}:{line}"
        assert shown == lines[int(line) - 1].strip(), output
    assert any(HERE in stop[3] for stop in own), output


@pytest.mark.parametrize("name", ["direct", "with a private helper", "changed defaults"])
@versions
def test_pdb_breaks_by_line_in_the_version(lab: Lab, name: str, number: int) -> None:
    shape = SHAPES[name]
    text = text_of(shape, number)
    here = 1 + next(n for n, line in enumerate(text.split("\n")) if HERE in line)
    script = f"""
    import pdb
    debugger = pdb.Pdb()
    error = debugger.set_break(module.f.__code__.co_filename, {here})
    assert not error, error
    debugger.runcall(main)
    """
    output, _ = _in_a_process(lab, shape, number, script, "c\nwhere\np [where]\nc\n")
    assert f"({here})f()" in output, output
    assert f"['v{number}']" in output, output


@pytest.mark.parametrize("name", ["direct", "with a private helper", "changed defaults"])
def test_post_mortem_shows_the_frames_of_the_version(lab: Lab, name: str) -> None:
    script = """
    import pdb, sys
    try:
        module.f(lambda where: 1 / 0)
    except ZeroDivisionError:
        pdb.post_mortem(sys.exc_info()[2])
    """
    output, _ = _in_a_process(lab, SHAPES[name], 2, script, "up\np [where]\nlist\nq\n")
    assert "['v2']" in output, output
    assert f"return act(where){HERE}" in output, output


def test_coverage_counts_a_pushed_version_as_no_line_of_the_file(lab: Lab) -> None:
    """It leaves out what has no file; a report can be made all the same."""
    pytest.importorskip("coverage")
    script = """
    import coverage, io, json
    measured = coverage.Coverage(data_file=None, config_file=False)
    measured.start()
    main()
    measured.stop()
    measured.report(file=io.StringIO())
    data = measured.get_data()
    print(json.dumps({name: data.lines(name) for name in data.measured_files()}))
    """
    for number in (0, 1):
        output, text = _in_a_process(lab, SHAPES["direct"], number, script)
        counted = json.loads(output.splitlines()[-1])
        lines = [sorted(found) for file, found in counted.items() if "faces_" in file]
        body = [n for n, line in enumerate(text.split("\n"), 1) if "where" in line]
        assert lines == ([] if number else [body])


# pickling, copying, other processes -----------------------------------------------------------


@every_shape
def test_a_pickle_holds_the_name_and_gives_the_same_object_back(lab: Lab, shape: str) -> None:
    pickles: list[bytes] = []
    for stage in story(lab, shape):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            pickles.append(pickle.dumps(stage.function, protocol))
            assert len(pickles[-1]) < 100
        for data in pickles:
            assert pickle.loads(data) is stage.function


@pytest.mark.parametrize("shape", ["method", "method with a private helper"])
def test_a_bound_method_is_pickled_with_its_object(lab: Lab, shape: str) -> None:
    pickles = []
    for stage in story(lab, shape):
        pickles.append(pickle.dumps(stage.program.M().f))
        for data in pickles:
            again = pickle.loads(data)
            assert again.__func__ is stage.function
            assert isinstance(again.__self__, stage.program.M)
            assert again(str) == f"v{stage.number}"


@every_shape
def test_copies_are_the_function_itself(lab: Lab, shape: str) -> None:
    for stage in story(lab, shape):
        function = stage.function
        assert copy.copy(function) is function
        assert copy.deepcopy({"in": [function]})["in"][0] is function


SENT = """
import scatter

@scatter.track
def f(x): return x, "v0"

class M:
    @scatter.track
    def f(self, x): return x, "v0"

def is_own(function, method):
    return function is f, method.__func__ is M.f
"""
PROCESSES = """
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import sent

def main():
    from linking import Lab

    program = Lab(Path(sys.argv[1])).module(Path(sent.__file__).read_text(), "sent")
    program.push(sys.argv[3], "f", "M.f")
    assert (sent.f(1), sent.M().f(1)) == ((1, "v1"), (1, "v1"))
    context = multiprocessing.get_context(sys.argv[2])
    with context.Pool(2) as pool:
        print(pool.map(sent.f, [1, 2]), pool.map(sent.M().f, [3]))
        print(pool.apply(sent.is_own, [sent.f, sent.M().f]))
        pool.close()
        pool.join()
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        print(list(executor.map(sent.f, [1, 2])), executor.submit(sent.M().f, 3).result())
    process = context.Process(target=sent.f, args=(1,))
    process.start()
    process.join()
    print(process.exitcode)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("helper", [False, True], ids=["direct", "with a private helper"])
def test_processes_are_sent_the_function_and_the_method_by_name(
    lab: Lab, method: str, helper: bool
) -> None:
    """A forked process runs what its parent ran; a new one runs what it was deployed with."""
    lab.write(SENT, "sent")
    script = lab.folder / "send.py"
    script.write_text(PROCESSES)
    edited = SENT.replace('"v0"', "name()" if helper else '"v1"') + "def name(): return 'v1'\n"
    done = subprocess.run(
        [sys.executable, "-Wignore::DeprecationWarning", script, lab.folder, method, edited],
        env=_with_the_tests(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    ran = "v1" if method == "fork" else "v0"
    pair = f"[(1, '{ran}'), (2, '{ran}')]"
    assert done.stdout.splitlines() == [
        f"{pair} [(3, '{ran}')]",
        "(True, True)",
        f"{pair} (3, '{ran}')",
        "0",
    ]


# what inspect and typing say ------------------------------------------------------------------

SIGNED = """
import scatter

class Live: pass

@scatter.track
{prefix}def f({parameters}, *, b: "Live" = None) -> list[int]:
    '''Doc v{n}.

    >>> answer()
    {n}
    '''
    {body}

def name(): return {n}
"""
KINDS = {
    "plain": ("", "return {name}"),
    "coroutine": ("async ", "return {name}"),
    "generator": ("", "yield {name}"),
    "async generator": ("async ", "yield {name}"),
}
with_helper = pytest.mark.parametrize("helper", [False, True], ids=["direct", "private helper"])


def _signed(kind: str, number: int, helper: bool = False) -> str:
    """Return version `number` of a function with annotations, defaults and a docstring."""
    prefix, body = KINDS[kind]
    parameters = "a: float = 2.5, c: str = 'c'" if number == 2 else f"a: int = {number}"
    text = SIGNED.replace("{prefix}", prefix).replace("{body}", body)
    text = text.replace("{parameters}", parameters)
    text = text.replace("{name}", "name()" if helper and number else str(number))
    return text.replace("{n}", str(number))


def _run_signed(lab: Lab, kind: str, helper: bool, numbers: tuple[int, ...]) -> Iterator[Any]:
    """Yield (program, number) while the versions of `_signed` run one after the other."""
    program = lab.module(_signed(kind, 0))
    yield program, 0
    for number in numbers:
        if number and ("f", number) not in program.versions:
            program.push(_signed(kind, number, helper), "f")
        else:
            program.go(f=number)
        yield program, number


@pytest.mark.parametrize("kind", KINDS)
@with_helper
def test_every_question_about_a_function_is_answered_as_for_a_plain_one(
    lab: Lab, kind: str, helper: bool
) -> None:
    for program, number in _run_signed(lab, kind, helper, (1, 2, 0, 2, 1, 0)):
        plain: dict[str, Any] = {"__name__": program.name}
        text = _signed(kind, number, helper).replace("@scatter.track", "")
        exec(compile(text, "plain", "exec", dont_inherit=True), plain)
        expected = _answers(plain["f"], plain["Live"])
        assert _answers(program.f, program.Live) == expected, number


def _answers(f: Any, live: Any) -> dict[str, Any]:
    """Return what can be asked of a function, in a form that does not depend on identities."""
    hints = typing.get_type_hints(f)
    assert hints.pop("b") is live
    return {
        "signature": str(inspect.signature(f)),
        "arguments": str(inspect.getfullargspec(f)[:6]),
        "hints": hints,
        "annotations": f.__annotations__,
        "defaults": (f.__defaults__, f.__kwdefaults__),
        "doc": (f.__doc__, inspect.getdoc(f)),
        "names": (f.__name__, f.__qualname__, f.__module__),
        "coroutine": inspect.iscoroutinefunction(f),
        "generator": (inspect.isgeneratorfunction(f), inspect.isasyncgenfunction(f)),
        "function": (inspect.isfunction(f), isinstance(f, types.FunctionType), callable(f)),
        "wrapped": (hasattr(f, "__wrapped__"), inspect.unwrap(f) is f),
        "closure": f.__closure__,
        "parameters": f.__code__.co_varnames[: f.__code__.co_argcount],
        "code": (f.__code__.co_name, f.__code__.co_qualname),
        "help": pydoc.render_doc(f, renderer=PLAINTEXT).split("\n", 1)[1],
    }


@with_helper
def test_annotations_of_a_class_that_travels_are_that_class(lab: Lab, helper: bool) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(x: int): return x\n")
    text = f"{HEAD}class Box: pass\ndef name(): return 1\n@scatter.track\n"
    program.push(f"{text}def f(x: Box): return Box, {'name()' if helper else 1}\n", "f")
    box = program.f(0)[0]
    assert program.f.__annotations__ == {"x": box}
    assert typing.get_type_hints(program.f) == {"x": box}
    program.go(f=0)
    assert typing.get_type_hints(program.f) == {"x": int}


@with_helper
def test_identity_hash_and_weak_references_outlast_every_switch(lab: Lab, helper: bool) -> None:
    f: Any = None
    for program, number in _run_signed(lab, "plain", helper, (1, 2, 0, 1)):
        if f is None:
            f = program.f
            reference, table, hashed, proxy = (
                weakref.ref(f),
                {f: "found"},
                hash(f),
                weakref.proxy(f),
            )
            finalizer = weakref.finalize(f, print)
        assert reference() is program.f is f
        assert (table[f], hash(f), f == program.f) == ("found", hashed, True)
        assert proxy(0) == number
        assert finalizer.alive
    finalizer.detach()


def test_bound_methods_are_equal_before_and_after(lab: Lab) -> None:
    program = lab.module(text_of(SHAPES["method"], 0))
    model = program.M()
    before = model.f
    program.push(text_of(SHAPES["method with a private helper"], 1), "M.f")
    assert before == model.f
    assert hash(before) == hash(model.f)
    assert weakref.WeakMethod(before)() == model.f
    assert inspect.ismethod(before)
    assert before(str) == "v1"


# help and doctest -----------------------------------------------------------------------------


@with_helper
def test_doctest_runs_the_examples_of_the_running_version(lab: Lab, helper: bool) -> None:
    for program, number in _run_signed(lab, "plain", helper, (1, 2, 0)):
        found = doctest.DocTestFinder().find(program.module)
        (test,) = [test for test in found if test.examples]
        assert test.name == f"{program.name}.f"
        for answer, failures in ((number, 0), (number + 1, 1)):
            test.globs = {"answer": lambda answer=answer: answer}
            shown: list[str] = []
            runner = doctest.DocTestRunner(verbose=False)
            result = runner.run(test, out=shown.append, clear_globs=False)
            assert (result.attempted, result.failed) == (1, failures)


def test_a_doctest_of_lines_that_the_file_does_not_have_runs(lab: Lab) -> None:
    program = lab.module(_signed("plain", 0))
    program.push("# moved\n" * 100 + _signed("plain", 1), "f")
    result = doctest.testmod(program.module, extraglobs={"answer": lambda: 1})
    assert (result.attempted, result.failed) == (1, 0)


def test_help_of_a_class_and_of_a_module_shows_the_running_version(lab: Lab) -> None:
    program = lab.module(text_of(SHAPES["method"], 0))
    program.push(text_of(SHAPES["method with a private helper"], 1), "M.f")
    for thing in (program.M, program.module):
        page = pydoc.render_doc(thing, renderer=PLAINTEXT)
        assert "f(self, act)" in page
        assert "Doc v1." in page
        assert "Doc v0." not in page


# what wraps, or is wrapped --------------------------------------------------------------------

EXPECTED = ["v0", "v1", "v1", "v0"]


def both_sorts(
    lab: Lab, text: str, old: str = "'v0'", new: str = "'v1'", qualname: str = "f"
) -> Iterator[Program]:
    """Yield a program as deployed, with `new`, with `new` and a private helper, and as deployed."""
    program = lab.module(text)
    yield program
    program.push(program.edit(old, new), qualname)
    yield program
    helped = program.edit(old, new.replace("'v1'", "name_of_v1()"))
    program.push(helped + "\ndef name_of_v1(): return 'v1'\n", qualname)
    yield program
    program.go_to({qualname: 0})
    yield program


SIMPLE = f"{HEAD}@scatter.track\ndef f(x=1, y=2):\n    'Doc.'\n    return 'v0'\n"


def test_wraps_around_a_tracked_function_follows_it(lab: Lab) -> None:
    found, wrappers = [], []
    old, new = "y=2):\n    'Doc.'\n    return 'v0'", "y=3):\n    'Dac.'\n    return 'v1'"
    for program in both_sorts(lab, SIMPLE, old, new):
        f = program.f

        @functools.wraps(f)
        def wrapper(*args: Any) -> Any:
            return f(*args)

        wrappers.append(wrapper)
        found.append(wrapper())
        assert (wrapper.__wrapped__, wrapper.__doc__, wrapper.__name__) == (f, f.__doc__, "f")
        assert {str(inspect.signature(w)) for w in wrappers} == {str(inspect.signature(f))}
        assert inspect.getsource(wrapper) == f"{f.source}\n"
    assert found == EXPECTED


def test_partials_call_the_running_version(lab: Lab) -> None:
    text = f"{HEAD}@scatter.track\ndef f(x, y=2, *, z=3): return 'v0', x, y, z\n"
    partials: list[Any] = []
    old, new = "y=2, *, z=3): return 'v0'", "y=5, *, z=6): return 'v1'"
    for program, name in zip(both_sorts(lab, text, old, new), EXPECTED, strict=True):
        partials += [functools.partial(program.f, 1), functools.partial(program.f, 1, z=9)]
        y, z = (2, 3) if name == "v0" else (5, 6)
        for plain, named in zip(partials[::2], partials[1::2], strict=True):
            assert (plain(), named()) == ((name, 1, y, z), (name, 1, y, 9))
            assert str(inspect.signature(plain)) == f"(y={y}, *, z={z})"


def test_partialmethods_call_the_running_version(lab: Lab) -> None:
    text = f"""{HEAD}import functools
class M:
    @scatter.track
    def f(self, x): return 'v0', x
    one = functools.partialmethod(f, 1)
"""
    found = [p.M().one() for p in both_sorts(lab, text, qualname="M.f")]
    assert found == [(version, 1) for version in EXPECTED]


def test_singledispatch_finds_the_running_versions(lab: Lab) -> None:
    text = f"""{HEAD}import functools
@functools.singledispatch
@scatter.track
def f(x): return 'v0'

@f.register(int)
@scatter.track
def on_int(x): return 'int v0'

@f.register
@scatter.track
def on_str(x: str): return 'str v0'
"""
    program = lab.module(text)

    def ask() -> tuple[str, ...]:
        return program.f(1), program.f("a"), program.f(None)

    assert ask() == ("int v0", "str v0", "v0")
    edited = program.edit(
        "'int v0'", "name()", "'str v0'", "'str v1'", "return 'v0'", "return 'v1'"
    )
    program.push(edited + "\ndef name(): return 'int v1'\n", "f", "on_int", "on_str")
    assert ask() == ("int v1", "str v1", "v1")
    assert program.f.dispatch(int) is program.on_int
    assert set(program.f.registry) == {object, int, str}
    program.go(f=0, on_int=0, on_str=0)
    assert ask() == ("int v0", "str v0", "v0")


def test_singledispatchmethod_finds_the_running_version(lab: Lab) -> None:
    text = f"""{HEAD}import functools
class M:
    @functools.singledispatchmethod
    def go(self, x): return 'other'
    @go.register
    @scatter.track
    def f(self, x: int): return 'v0'
"""
    assert [p.M().go(1) for p in both_sorts(lab, text, qualname="M.f")] == EXPECTED


def test_a_cache_above_keeps_what_it_has_and_asks_the_running_version_for_the_rest(
    lab: Lab,
) -> None:
    cached = "import functools\n@functools.lru_cache\n@scatter.track\n"
    program = None
    for number, program in enumerate(
        both_sorts(lab, f"{HEAD}{cached}def f(x): return 'v0'\n"), start=1
    ):
        assert [program.f(n) for n in range(number)] == EXPECTED[:number]
        assert program.f.cache_info().misses == number
    assert program is not None
    program.f.cache_clear()
    assert program.f(1) == "v0"


@pytest.mark.parametrize(
    ("decorator", "kind"),
    [("lru_cache", "_lru_cache_wrapper"), ("cached_property", "cached_property")],
)
def test_a_decorator_below_that_makes_no_function_is_refused_where_it_stands(
    lab: Lab, decorator: str, kind: str
) -> None:
    text = f"{HEAD}import functools\nclass M:\n    @scatter.track\n    @functools.{decorator}\n"
    with pytest.raises(NotTrackable, match=f"found {kind} .*directly above the `def`"):
        lab.module(f"{text}    def f(self): return 1\n")


def test_a_version_may_add_a_cache_below_and_drop_it_again(lab: Lab) -> None:
    text = f"{HEAD}calls = []\n@scatter.track\ndef f(x): calls.append(x); return 'v0'\n"
    program = lab.module(text)
    f = program.f
    cache = "scatter.track\n@functools.lru_cache\n"
    program.push("import functools\n" + program.edit("scatter.track\n", cache, "'v0'", "'v1'"), "f")
    assert [f(1), f(1), f(2)] == ["v1"] * 3
    assert program.calls == [1, 2]
    assert str(inspect.signature(f)) == "(x)"
    assert inspect.getsource(f).startswith(f"@{cache}def f(x)")
    assert isinstance(f, types.FunctionType)
    assert pickle.loads(pickle.dumps(f)) is f
    program.go(f=0)
    assert [f(1), f(1)] == ["v0"] * 2
    assert program.calls == [1, 2, 1, 1]
    assert not hasattr(f, "__wrapped__")


def test_a_cache_that_a_version_adds_below_can_be_cleared(lab: Lab) -> None:
    text = f"{HEAD}calls = []\n@scatter.track\ndef f(x): calls.append(x); return 'v0'\n"
    program = lab.module(text)
    cache = "scatter.track\n@functools.lru_cache\n"
    program.push("import functools\n" + program.edit("scatter.track\n", cache), "f")
    program.f(1)
    program.f.cache_clear()
    program.f(1)
    assert program.calls == [1, 1]


CONTEXT = f"""{HEAD}from contextlib import contextmanager
log = []
DECORATORS
def f(x):
    log.append('v0')
    yield x, 'v0'
    log.append('end v0')
"""


@pytest.mark.parametrize("order", ["above", "below"])
def test_context_managers_work_with_track_on_either_side(lab: Lab, order: str) -> None:
    lines = ["@contextmanager", "@scatter.track"]
    text = CONTEXT.replace("DECORATORS", "\n".join(lines if order == "above" else lines[::-1]))
    found = []
    for program in both_sorts(lab, text, "yield x, 'v0'", "yield x, 'v1'"):
        with program.f(1) as value:
            found.append(value)
        assert program.f(2)(lambda: 3)() == 3
        assert program.f.__name__ == "f"
        assert str(inspect.signature(program.f)) == "(x)"
    assert found == [(1, version) for version in EXPECTED]
    assert program.log == ["v0", "end v0"] * 8


def test_a_context_that_is_open_ends_with_the_version_it_began_with(lab: Lab) -> None:
    program = lab.module(CONTEXT.replace("DECORATORS", "@scatter.track\n@contextmanager"))
    with program.f(1):
        program.push(program.edit("'v0'", "'v1'", "'end v0'", "'end v1'"), "f")
        with program.f(2):
            program.go(f=0)
    assert program.log == ["v0", "v1", "end v1", "end v0"]


def test_a_signature_that_a_decorator_sets_is_that_of_the_running_version(lab: Lab) -> None:
    text = f"""{HEAD}import inspect
def signed(function):
    def wrapper(*args, **kwargs): return function(*args, **kwargs)
    wrapper.__qualname__ = function.__qualname__
    wrapper.__signature__ = inspect.signature(function)
    return wrapper

@scatter.track
@signed
def f(x): return 'v0'
"""
    programs = both_sorts(lab, text, "f(x): return 'v0'", "f(x, y=1): return 'v1'")
    found = [(program.f(0), str(inspect.signature(program.f))) for program in programs]
    assert found == [("v0", "(x)"), ("v1", "(x, y=1)"), ("v1", "(x, y=1)"), ("v0", "(x)")]


@pytest.mark.parametrize("inner", ["scatter.track", "ours"])
def test_a_function_that_is_tracked_twice_is_replaced(lab: Lab, inner: str) -> None:
    """A decorator of the project may track, too; linking a version tracks nothing."""
    text = f"""{HEAD}
def ours(function): return scatter.track(function)

@scatter.track
@{inner}
def f(): return 'v0'
"""
    for program, version in zip(both_sorts(lab, text), EXPECTED, strict=True):
        assert program.f() == version
        assert program.slot("f").function is program.f


def test_what_a_decorator_keeps_on_its_wrapper_is_seen_on_the_function(lab: Lab) -> None:
    text = f"""{HEAD}
def counted(function):
    def wrapper(*args):
        wrapper.calls += 1
        return function(*args)
    wrapper.__qualname__ = function.__qualname__
    wrapper.calls = 0
    return wrapper

@scatter.track
@counted
def f(x): return 'v0'
"""
    for program in both_sorts(lab, text):
        before = program.f.calls
        program.f(0)
        assert program.f.calls == before + 1, program.f.loaded_version


def test_attributes_that_somebody_set_stay_over_every_switch(lab: Lab) -> None:
    for number, program in enumerate(both_sorts(lab, SIMPLE + "f.route = '/f'\n")):
        assert program.f.route == "/f"
        assert getattr(program.f, "seen", 0) == number
        program.f.seen = number + 1


# mocks ----------------------------------------------------------------------------------------


def test_a_patch_is_undone_to_the_function_that_runs_by_then(lab: Lab) -> None:
    program = lab.module(SIMPLE)
    f = program.f
    with mock.patch(f"{program.name}.f", return_value="patched"):
        program.push(program.edit("'v0'", "'v1'"), "f")
        assert program.f() == "patched"
    assert program.f is f
    assert f() == "v1"
    with mock.patch.object(program.module, "f", wraps=f) as patched:
        assert program.f() == "v1"
    patched.assert_called_once_with()


def test_an_autospec_has_the_signature_of_the_running_version(lab: Lab) -> None:
    old, new = "y=2):\n    'Doc.'\n    return 'v0'", "y=2, z=3):\n    'Doc.'\n    return 'v1'"
    for program, name in zip(both_sorts(lab, SIMPLE, old, new), EXPECTED, strict=True):
        spec = mock.create_autospec(program.f, return_value="spec")
        allowed = 2 if name == "v0" else 3
        assert spec(*range(allowed)) == "spec"
        with pytest.raises(TypeError, match="too many positional arguments"):
            spec(*range(allowed + 1))
        assert isinstance(spec, types.FunctionType)


def test_methods_and_coroutines_are_specified_as_such(lab: Lab) -> None:
    text = f"{HEAD}class M:\n    @scatter.track\n    async def f(self, x): return 'v0'\n"
    found = []
    for program in both_sorts(lab, text, qualname="M.f"):
        with mock.patch.object(program.M, "f", autospec=True) as patched:
            coroutine = patched(None, 1)
            assert inspect.iscoroutine(coroutine)
            coroutine.close()
        spec = mock.create_autospec(program.M, instance=True)
        assert isinstance(spec.f, mock.AsyncMock)
        found.append(_drive(program.M().f(1)))
    assert found == EXPECTED


# classes that do something with their functions -----------------------------------------------


@pytest.mark.parametrize("order", ["above", "below"])
def test_abstract_methods_stay_abstract_and_can_be_called_by_super(lab: Lab, order: str) -> None:
    lines = ["    @abc.abstractmethod", "    @scatter.track"]
    decorators = "\n".join(lines if order == "above" else lines[::-1])
    text = f"""{HEAD}import abc
class Base(abc.ABC):
{decorators}
    def f(self): return 'v0'
class Child(Base):
    def f(self): return super().f()
"""
    found = []
    for program in both_sorts(lab, text, qualname="Base.f"):
        found.append(program.Child().f())
        abc.update_abstractmethods(program.Base)
        assert program.Base.__abstractmethods__ == {"f"}
        with pytest.raises(TypeError, match="abstract"):
            program.Base()
    assert found == EXPECTED


def test_overloads_stay_and_the_implementation_is_what_is_replaced(lab: Lab) -> None:
    text = f"""{HEAD}import typing
@typing.overload
def f(x: int) -> int: ...
@typing.overload
def f(x: str) -> str: ...
@scatter.track
def f(x): return 'v0'
"""
    found = []
    for program in both_sorts(lab, text):
        found.append(program.f(1))
        overloads = [str(inspect.signature(o)) for o in typing.get_overloads(program.f)]
        assert overloads == ["(x: int) -> int", "(x: str) -> str"]
    assert found == EXPECTED


class Member(typing.NamedTuple):
    """A function that its class treats in a way of its own; `ask` returns the version's name."""

    body: str
    qualname: str
    ask: Callable[[Any], Any]


def _ask_dataclass(cls: Any) -> Any:
    assert cls(1) < cls(2)
    assert [field.name for field in dataclasses.fields(cls)] == ["x"]
    return dataclasses.replace(cls(1), x=3).f()


def _owner_of(cls: Any) -> Any:
    return type("Owner", (), {"field": cls()})


def _ask_setter(cls: Any) -> Any:
    owner = _owner_of(cls)()
    owner.field = 1
    return owner.kept


def _ask_enum(cls: Any) -> Any:
    assert list(cls) == [cls.A]
    return cls.A.f()


def _ask_property(cls: Any) -> Any:
    made = cls()
    made.f = 1
    assert made.got == 1
    return made.f


MEMBERS = {
    "dataclass method": Member(
        "@dataclasses.dataclass(order=True)\nclass M:\n    x: int = 1\n    @scatter.track\n"
        "    def f(self): return 'v0'\n",
        "M.f",
        _ask_dataclass,
    ),
    "dataclass __post_init__": Member(
        "@dataclasses.dataclass\nclass M:\n    x: int = 1\n    y: str = ''\n    @scatter.track\n"
        "    def __post_init__(self): self.y = 'v0'\n",
        "M.__post_init__",
        lambda cls: cls(5).y,
    ),
    "enum method": Member(
        "class M(enum.Enum):\n    A = 1\n    @scatter.track\n    def f(self): return 'v0'\n",
        "M.f",
        _ask_enum,
    ),
    "enum property": Member(
        "class M(enum.Enum):\n    A = 1\n    @property\n    @scatter.track\n"
        "    def f(self): return 'v0'\n",
        "M.f",
        lambda cls: cls.A.f,
    ),
    "enum _missing_": Member(
        "class M(enum.Enum):\n    v0 = 1\n    v1 = 2\n    @classmethod\n    @scatter.track\n"
        "    def _missing_(cls, value): return cls['v0']\n",
        "M._missing_",
        lambda cls: cls(77).name,
    ),
    "__init_subclass__": Member(
        "class M:\n    @scatter.track\n    def __init_subclass__(cls, **kw):\n"
        "        super().__init_subclass__(**kw)\n        cls.made = 'v0'\n",
        "M.__init_subclass__",
        lambda cls: type("Sub", (cls,), {}).made,  # type: ignore[attr-defined]
    ),
    "__class_getitem__": Member(
        "class M:\n    @scatter.track\n    def __class_getitem__(cls, item):\n"
        "        assert cls is M\n        return 'v0'\n",
        "M.__class_getitem__",
        lambda cls: cls[int],
    ),
    "__set_name__": Member(
        "class M:\n    @scatter.track\n    def __set_name__(self, owner, name):\n"
        "        self.name = 'v0'\n",
        "M.__set_name__",
        lambda cls: _owner_of(cls).field.name,
    ),
    "__get__": Member(
        "class M:\n    @scatter.track\n    def __get__(self, instance, owner): return 'v0'\n"
        "    def __set__(self, instance, value): raise AttributeError\n",
        "M.__get__",
        lambda cls: _owner_of(cls)().field,
    ),
    "__set__": Member(
        "class M:\n    @scatter.track\n    def __set__(self, instance, value):\n"
        "        instance.kept = 'v0'\n",
        "M.__set__",
        _ask_setter,
    ),
    "cached property": Member(
        "class M:\n    @functools.cached_property\n    @scatter.track\n"
        "    def f(self): return 'v0'\n",
        "M.f",
        lambda cls: cls().f,
    ),
    "property with a setter": Member(
        "class M:\n    @property\n    @scatter.track\n    def f(self): return 'v0'\n"
        "    @f.setter\n    def f(self, value): self.got = value\n",
        "M.f",
        _ask_property,
    ),
    "static method": Member(
        "class M:\n    @staticmethod\n    @scatter.track\n    def f(): return 'v0'\n",
        "M.f",
        lambda cls: cls().f(),
    ),
    "class method": Member(
        "class M:\n    @scatter.track\n    @classmethod\n    def f(cls): return cls and 'v0'\n",
        "M.f",
        lambda cls: cls.f(),
    ),
    "named tuple method": Member(
        "class M(typing.NamedTuple):\n    x: int = 1\n    @scatter.track\n"
        "    def f(self): return (self.x, 'v0')[self.x]\n",
        "M.f",
        lambda cls: cls().f(),
    ),
    "metaclass method": Member(
        "class Meta(type):\n    @scatter.track\n    def f(cls): return 'v0'\n"
        "class M(metaclass=Meta): pass\n",
        "Meta.f",
        lambda cls: cls.f(),
    ),
    "method of a class with slots": Member(
        "class M:\n    __slots__ = ('x',)\n    @scatter.track\n"
        "    def f(self):\n        self.x = 'v0'\n        return self.x\n",
        "M.f",
        lambda cls: cls().f(),
    ),
    "method of a generic class": Member(
        "T = typing.TypeVar('T')\nclass M(typing.Generic[T]):\n    @scatter.track\n"
        "    def f(self): return 'v0'\n",
        "M.f",
        lambda cls: cls[int]().f(),
    ),
    "method of a protocol": Member(
        "@typing.runtime_checkable\nclass P(typing.Protocol):\n    @scatter.track\n"
        "    def f(self): return 'v0'\nclass M(P): pass\n",
        "P.f",
        lambda cls: isinstance(cls(), cls.__mro__[1]) and cls().f(),
    ),
}


@pytest.mark.parametrize("member", MEMBERS)
def test_members_that_a_class_treats_in_its_own_way_are_replaced(lab: Lab, member: str) -> None:
    body, qualname, ask = MEMBERS[member]
    text = f"{HEAD}import dataclasses\nimport enum\nimport functools\nimport typing\n{body}"
    assert [ask(p.M) for p in both_sorts(lab, text, qualname=qualname)] == EXPECTED


def test_a_cached_property_keeps_what_an_object_has_already(lab: Lab) -> None:
    member = MEMBERS["cached property"]
    program = lab.module(f"{HEAD}import functools\n{member.body}")
    old = program.M()
    assert old.f == "v0"
    program.push(program.edit("'v0'", "'v1'"), member.qualname)
    assert (old.f, program.M().f) == ("v0", "v1")
    del old.f
    assert old.f == "v1"


# registries -----------------------------------------------------------------------------------

ROUTES = f"""{HEAD}
class App:
    def __init__(self):
        self.routes = {{}}
    def route(self, path):
        def register(function):
            self.routes[path] = function
            return function
        return register
    def get(self, path, **arguments):
        return self.routes[path](**arguments)

app = App()

@app.route("/f")
@scatter.track
def f(): return 'v0'
"""


def test_a_table_of_routes_calls_the_running_version_and_is_not_filled_again(lab: Lab) -> None:
    found = []
    for program in both_sorts(lab, ROUTES):
        found.append(program.app.get("/f"))
        assert program.app.routes == {"/f": program.f}
    assert found == EXPECTED


TASKS = f"""{HEAD}
class Task:
    def __init__(self, function):
        self.run = self.__wrapped__ = function
        self.name = f"{{function.__module__}}.{{function.__name__}}"
    def __call__(self, *args, **kwargs):
        return self.run(*args, **kwargs)
    def delay(self, *args):
        queue.append((self.name, args))

tasks, queue = {{}}, []

def task(function):
    made = Task(function)
    tasks[made.name] = made
    return made

def work():
    while queue:
        name, args = queue.pop(0)
        yield tasks[name](*args)

@task
@scatter.track
def f(x): return 'v0'

@scatter.track
def caller(): return f(1)
"""


def test_a_queue_of_tasks_runs_the_running_version(lab: Lab) -> None:
    found = []
    for program in both_sorts(lab, TASKS):
        program.f.delay(1)
        found += program.work()
        assert program.f(1) == program.caller() == found[-1]
        assert list(program.tasks) == [f"{program.name}.f"]
        assert inspect.getsource(inspect.unwrap(program.f)) == f"{program.f.run.source}\n"
    assert found == EXPECTED


def test_a_task_that_was_queued_before_the_push_runs_the_new_version(lab: Lab) -> None:
    program = lab.module(TASKS)
    program.f.delay(1)
    program.push(program.edit("'v0'", "'v1'"), "f")
    assert list(program.work()) == ["v1"]


def test_a_pushed_caller_of_a_task_finds_the_task(lab: Lab) -> None:
    program = lab.module(TASKS)
    program.push(program.edit("return f(1)", "return f.delay(2)"), "caller")
    program.caller()
    assert program.queue == [(f"{program.name}.f", (2,))]


def test_click_commands_run_the_running_version(lab: Lab) -> None:
    pytest.importorskip("click")
    from click.testing import CliRunner

    text = f"""{HEAD}import click
@click.command()
@click.option("--n", default=1)
@scatter.track
def f(n):
    "Says which."
    click.echo(('v0', n))
"""
    found = []
    for program in both_sorts(lab, text):
        result = CliRunner().invoke(program.f, ["--n", "5"])
        assert result.exit_code == 0, result.output
        found.append(result.output)
    assert found == [f"('{version}', 5)\n" for version in EXPECTED]


def test_flask_routes_run_the_running_version(lab: Lab) -> None:
    pytest.importorskip("flask")
    text = f"""{HEAD}import flask
app = flask.Flask(__name__)

@app.route("/f/<int:n>")
@scatter.track
def f(n):
    return flask.jsonify(['v0', n, flask.request.endpoint])
"""
    found = []
    for program in both_sorts(lab, text):
        with program.app.test_client() as client:
            found.append(client.get("/f/5").json)
    assert found == [[version, 5, "f"] for version in EXPECTED]
