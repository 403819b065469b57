"""Special methods are replaced under call sites that the interpreter has specialised for them.

CPython rewrites a hot `M(x)`, `x[0]` or `x.name` so that it enters the method's code directly. New
code under such a place, perhaps with other parameters, must neither be missed nor crash it. So each
method is replaced in the middle of a loop, in a process of its own, where a crash is seen as a
signal, by every Python that is found here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import ROOT

PYTHONS = ["3.11", "3.12", "3.13"]


class Case(NamedTuple):
    """A method and what calls it.

    Attributes:
        head: The parameters, as they are deployed.
        result: What the method does and returns when it has said which version it is.
        use: The statements in a hot loop that call it; `i` counts.
        qualname: The method's name.
        setup: What stands in front of the loop.
        bases: Of the class.
        above: Decorator above `@track`.
        rest: Other members of the class.

    """

    head: str
    result: str
    use: str
    qualname: str = ""
    setup: str = "x = M()"
    bases: str = ""
    above: str = ""
    rest: str = ""


CASES = {
    "__init__": Case("self, x", "self.v = x", "assert M(i).v == i", setup=""),
    "__init__ of a class with slots": Case(
        "self, x", "self.v = x", "assert M(i).v == i", setup="", rest="__slots__ = ('v',)"
    ),
    "__init__ that uses super": Case(
        "self, x", "super().__init__(x)", "assert M(i).args == (i,)", setup="", bases="Exception"
    ),
    "__new__": Case("cls, x", "return object.__new__(cls)", "M(i)", setup=""),
    "__call__": Case("self, x", "return x", "assert x(i) == i"),
    "__getattr__": Case("self, name", "return name", "assert x.missing == 'missing'"),
    "__setattr__": Case(
        "self, name, value", "object.__setattr__(self, name, value)", "x.y = i\nassert x.y == i"
    ),
    "__delattr__": Case("self, name", "object.__delattr__(self, name)", "x.y = i\ndel x.y"),
    "__getattribute__": Case(
        "self, name", "return object.__getattribute__(self, name)", "assert x.y == 1", rest="y = 1"
    ),
    "__eq__": Case(
        "self, other", "return other is None", "assert x == None", rest="__hash__ = None"
    ),
    "__eq__ in a dict": Case(
        "self, other", "return True", "assert d[x]", setup="x = M(); d = {M(): 1}",
        qualname="__eq__", rest="def __hash__(self): return 5",
    ),
    "__hash__": Case("self", "return 5", "assert hash(x) == 5"),
    "__hash__ in a dict": Case(
        "self", "return 5", "assert d[x] == 1", setup="x = M(); d = {x: 1}", qualname="__hash__"
    ),
    "__lt__": Case("self, other", "return False", "assert not x < x"),
    "__len__": Case("self", "return 7", "assert len(x) == 7"),
    "__bool__": Case("self", "return True", "assert x"),
    "__iter__": Case("self", "return iter('ab')", "assert [*x] == ['a', 'b']"),
    "__iter__ as a generator": Case(
        "self", "yield 'a'", "for y in x: assert y == 'a'", qualname="__iter__"
    ),
    "__next__": Case(
        "self", "return 3", "for y in x:\n    break\nassert y == 3",
        rest="def __iter__(self): return self",
    ),
    "__enter__": Case(
        "self", "return 4", "with x as y: assert y == 4",
        rest="def __exit__(self, *error): return None",
    ),
    "__exit__": Case(
        "self, kind, value, trace", "return True", "with x: 1 / 0",
        rest="def __enter__(self): return None",
    ),
    "__add__": Case("self, other", "return other", "assert x + i == i"),
    "__radd__": Case("self, other", "return other", "assert i + x == i"),
    "__iadd__": Case("self, other", "return self", "x += i"),
    "__neg__": Case("self", "return 9", "assert -x == 9"),
    "__index__": Case("self", "return 1", "assert 'ab'[x] == 'b'"),
    "__getitem__": Case("self, key", "return key", "assert x[i] == i"),
    "__setitem__": Case("self, key, value", "self.y = value", "x[i] = i\nassert x.y == i"),
    "__delitem__": Case("self, key", "self.y = key", "del x[i]\nassert x.y == i"),
    "__missing__": Case("self, key", "return key", "assert x[i] == i", bases="dict"),
    "__contains__": Case("self, item", "return True", "assert i in x"),
    "__repr__": Case("self", "return 'me'", "assert f'{x!r}' == 'me'"),
    "__str__": Case("self", "return 'me'", "assert f'{x}' == 'me'"),
    "__format__": Case("self, how", "return how", "assert f'{x:abc}' == 'abc'"),
    "__del__": Case("self", "pass", "M()", setup=""),
    "__init_subclass__": Case("cls", "pass", "class Sub(M): pass", setup=""),
    "__class_getitem__": Case("cls, item", "return item", "assert M[i] == i", setup=""),
    "__instancecheck__": Case(
        "cls, it", "return True", "assert isinstance(i, x)",
        setup="x = M('X', (), {})", bases="type",
    ),
    "__call__ of a metaclass": Case(
        "cls, x", "return x", "assert x(i) == i", setup="x = M('X', (), {})", bases="type"
    ),
    "property": Case("self", "return 8", "assert x.f == 8", "f", above="@property"),
    "property setter": Case(
        "self, value", "self.y = value", "x.f = i\nassert x.y == i", "_set_f",
        rest="f = property(None, lambda self, value: self._set_f(value))",
    ),
    "cached property": Case(
        "self", "return 8", "del x.__dict__['f']\nassert x.f == 8", "f",
        setup="x = M(); x.f", above="@functools.cached_property",
    ),
    "__get__": Case(
        "self, owner, kind", "return 6", "assert x.d == 6",
        setup="x = type('Owner', (), {'d': M()})()",
    ),
    "__set__": Case(
        "self, owner, value", "owner.y = value", "x.d = i\nassert x.y == i",
        setup="x = type('Owner', (), {'d': M()})()",
    ),
    "method": Case("self, x", "return x", "assert x.f(i) == i", "f"),
    "bound method": Case("self, x", "return x", "assert x(i) == i", "f", setup="x = M().f"),
    "static method": Case("x", "return x", "assert x.f(i) == i", "f", above="@staticmethod"),
    "class method": Case("cls, x", "return x", "assert x.f(i) == i", "f", above="@classmethod"),
    "sort key": Case(
        "self, x", "return x", "assert sorted([2], key=x) == [2]", "f", setup="x = M().f"
    ),
}  # fmt: skip

# Version → more parameters, and the expression that says which version it is. The first one is
# deployed, and has the parameters for which interpreters specialise.
VERSIONS = [
    ("", "'v0'"),
    ("", "'v1'"),
    (", tag='v2'", "tag"),
    ("", "name_v3()"),
    (", tag='v4'", "name_v4(tag)"),
    (", *more", "(more and '' or 'v5')"),
    (", tag='v6', **more", "(more and '' or tag)"),
    (", *, tag='v7'", "tag"),
    (", *more, tag='v8', **rest", "name_v4(tag)"),
]
TEXT = """
import functools
import scatter

said, meanwhile = [""], []

class M({bases}):
    {rest}
    {above}
    @scatter.track
    def {name}({head}{more}):
        meanwhile and meanwhile.pop()()
        said[0] = "v{number} " + {says}
        {result}

def hot(count, tick):
    found = []
    {setup}
    for i in range(count):
        tick(i)
{use}
        found.append(said[0])
    return found
"""


def _text(name: str, number: int) -> str:
    case = CASES[name]
    more, says = VERSIONS[number]
    text = TEXT.format(
        **case._asdict() | {"use": textwrap.indent(case.use, " " * 8)},
        name=_qualname(name),
        more=more,
        number=number,
        says=says,
    )
    helpers = "def name_v3(): return 'v3'\ndef name_v4(tag): return tag\n"
    return text + (helpers if "name_" in says else "")


def _qualname(name: str) -> str:
    return CASES[name].qualname or name.split(maxsplit=1)[0]


CHILD = """
import json
import sys
import threading
import time
from pathlib import Path
from types import FunctionType

sys.path.insert(0, sys.argv[1])
from linking import Lab
from scatter.registry import REGISTRY

lab = Lab(Path(sys.argv[1]))
WARM, EACH = 1000, 100


class Story:
    def __init__(self, texts, qualname):
        self.program = lab.module(texts[0])
        self.texts, self.qualname = texts, qualname
        self.hot, self.meanwhile = self.program.hot, self.program.meanwhile
        self.name = f"{self.program.name}:{qualname}"
        self.linked = [self.program.slot(qualname).shipped]

    def run(self, number):
        "Push a version, or return to one."
        if number >= len(self.linked):
            prepared = self.program.push(self.texts[number], self.qualname)
            self.linked.append(prepared.linked[self.name])
        else:
            self.program.go_to({self.qualname: number})

    def fresh(self):
        "Return the hot loop with call sites that were never specialised."
        return FunctionType(self.hot.__code__.replace(), vars(self.program.module))

    def in_the_loop(self):
        "The loop itself changes the version, between two calls."
        return [self.try_version(number, self.run) for number in range(1, len(self.texts))]

    def in_the_method(self):
        "The method changes its own version, in the middle of a call."
        def later(number):
            self.meanwhile.append(lambda: self.run(number))
        return [self.try_version(number, later) for number in range(1, len(self.texts))]

    def try_version(self, number, run):
        "Begin as deployed, then run a version, the deployed code, the version again."
        self.run(0)
        order = [number, 0, number]
        def tick(i):
            if i >= WARM and (i - WARM) % EACH == 0:
                run(order.pop(0))
        return self.shorten(self.fresh()(WARM + EACH * len(order), tick))

    def in_a_thread(self):
        "Another thread changes the version all the time."
        for number in range(1, len(self.texts)):
            self.run(number)
        done, switched, failed = threading.Event(), [0], []
        def switch():
            try:
                while not done.is_set():
                    switched[0] += 1
                    REGISTRY.switch({self.name: self.linked[switched[0] % len(self.linked)]})
            except BaseException as error:
                failed.append(repr(error))
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        thread = threading.Thread(target=switch)
        thread.start()
        seen, deadline = set(), time.monotonic() + 60
        try:
            while len(seen) < 3 or switched[0] < 400:
                seen.update(self.hot(300, lambda i: None))
                if time.monotonic() > deadline:
                    failed.append(f"waited in vain after {switched[0]} switches")
                    break
        finally:
            done.set()
            thread.join()
            sys.setswitchinterval(interval)
        self.run(2)
        return sorted(seen), sorted(set(self.hot(1000, lambda i: None))), failed

    def shorten(self, found):
        "Return each version and how often it was called in a row."
        short = []
        for said in found:
            if not short or short[-1][0] != said:
                short.append([said, 0])
            short[-1][1] += 1
        return short


for line in sys.stdin:
    name, how, qualname, texts = json.loads(line)
    print(json.dumps(["begin", name, how]), flush=True)
    try:
        answer = getattr(Story(texts, qualname), how)()
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(["end", answer]), flush=True)
"""
HOW = ["in_the_loop", "in_the_method", "in_a_thread"]


class Python:
    """One interpreter, and what it made of every case."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self.answers = dict[tuple[str, str], Any]()
        todo = [(name, how) for name in CASES for how in HOW]
        while todo:
            self._run(todo)
            todo = [asked for asked in todo if asked not in self.answers]

    def _run(self, todo: list[tuple[str, str]]) -> None:
        """Run cases in one process; when it dies, its case gets the reason for an answer."""
        folder = self._folder / str(len(self.answers))
        folder.mkdir()
        asked = [
            [name, how, f"M.{_qualname(name)}", [_text(name, n) for n in range(len(VERSIONS))]]
            for name, how in todo
        ]
        packages = [entry for entry in sys.path if entry.endswith("site-packages")]
        path = [ROOT, ROOT / "agent", ROOT / "tests", *packages]  # not the library of this Python
        done = subprocess.run(
            [self._binary, "-X", "dev", "-X", "faulthandler", "-c", CHILD, str(folder)],
            input="\n".join(map(json.dumps, asked)),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        begun = None
        for kind, *rest in map(json.loads, done.stdout.splitlines()):
            if kind == "begin":
                begun = tuple(rest)
            elif begun is not None:
                self.answers[begun], begun = rest[0], None
        if begun is not None:
            self.answers[begun] = f"died of {done.returncode}: {done.stderr}"
        elif done.returncode:
            self.answers |= dict.fromkeys(todo, f"died of {done.returncode}: {done.stderr}")


@pytest.fixture(scope="session")
def python_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Python]:
    """Return what the interpreter of a version made of the cases; each is run once."""
    known: dict[str, Python] = {}

    def find(version: str) -> Python:
        if version not in known:
            binary = _find(version)
            if binary is None:
                pytest.skip(f"no Python {version} found: neither on PATH nor installed by pyenv")
            known[version] = Python(binary, tmp_path_factory.mktemp("dunders"))
        return known[version]

    return find


_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"


def _find(version: str) -> str | None:
    """Return an interpreter of this version that runs."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    installed = sorted(map(str, _PYENV.glob(f"{version}.*/bin/python")), reverse=True)
    return next(filter(_runs(version), [shutil.which(f"python{version}"), *installed]), None)


def _runs(version: str) -> Callable[[str | None], bool]:
    def runs(binary: str | None) -> bool:
        code = "import sys; print('%s.%s' % sys.version_info[:2])"
        if binary is None:
            return False
        done = subprocess.run([binary, "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.strip() == version

    return runs


@pytest.fixture
def answer(python_of: Callable[[str], Python], python: str, case: str) -> Callable[[str], Any]:
    """Return what came of replacing a method in one of the ways."""
    made = python_of(python)
    return lambda how: made.answers[case, how]


def _every(test: Any) -> Any:
    """Parametrize a test by Python and case."""
    test = pytest.mark.parametrize("case", CASES)(test)
    return pytest.mark.parametrize("python", PYTHONS)(test)


def _say(number: int) -> str:
    return f"v{number} v{number}"


@_every
def test_a_method_is_replaced_in_the_middle_of_a_hot_loop(
    answer: Callable[[str], Any], case: str
) -> None:
    for number, found in enumerate(answer("in_the_loop"), start=1):
        new = [_say(number), 100]
        assert found == [[_say(0), 1000], new, [_say(0), 100], new]


@_every
def test_a_method_that_replaces_itself_ends_as_what_it_began(
    answer: Callable[[str], Any], case: str
) -> None:
    """The call in whose middle it happens is the last one of the old version."""
    for number, found in enumerate(answer("in_the_method"), start=1):
        new = _say(number)
        assert found == [[_say(0), 1001], [new, 100], [_say(0), 100], [new, 99]]


@_every
def test_a_method_is_replaced_by_another_thread_while_it_is_called(
    answer: Callable[[str], Any], case: str
) -> None:
    seen, at_last, failed = answer("in_a_thread")
    assert not failed
    assert set(seen) <= {_say(number) for number in range(len(VERSIONS))}
    assert at_last == [_say(2)]
