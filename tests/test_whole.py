"""Modules that are tracked whole: the process's side, and classes that grow with their module."""

from __future__ import annotations

import gc
import importlib
import linecache
import sys
from pathlib import Path
from typing import Any

import pytest
from linking import Lab, Program
from support import start_python

import scatter
from scatter import bases
from scatter.errors import UsageError
from scatter.finding import functions_of
from scatter.registry import REGISTRY

WHOLE = """
import contextlib
import functools
import sys
from dataclasses import dataclass

REGISTERED = {}

def register(name):
    def add(function):
        REGISTERED[name] = function
        return function
    return add

def logged(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        return ("logged", function(*args, **kwargs))
    return call

def plain(x): return x

@functools.lru_cache
def cached(x): return [x]

@register("hidden")
def _handler(x): return x

@register("twice")
def _(x): return 1

@register("again")
def _(x): return 2

@logged
def wrapped(x): return x

@contextlib.contextmanager
def managed(x): yield x

@functools.singledispatch
def dispatched(x): return "any"

@dispatched.register
def dispatched_int(x: int): return "int"

double = lambda x: 2 * x

class Model:
    factor = 3

    def __init__(self, x): self.x = x
    def get(self): return self.x * self.factor
    @classmethod
    def make(cls, x): return cls(x)
    @staticmethod
    def zero(): return 0
    @property
    def size(self): return self.x
    @size.setter
    def size(self, x): self.x = x
    @size.deleter
    def size(self): self.x = None
    @functools.cached_property
    def slow(self): return self.x + 1
    @logged
    def told(self): return self.x
    class Inner:
        def deep(self): return "deep"
    short = lambda self: self.x

class Child(Model):
    def get(self): return super().get() + 1

@dataclass
class Point:
    x: int
    def moved(self, by): return Point(self.x + by)

async def fetched(x): return x

def outer(x):
    def inner(): return x
    return inner
"""


def whole(lab: Lab, name: str, text: str = WHOLE) -> Program:
    """Return a program that is tracked whole."""
    program = lab.module(text, name)
    lab.project.whole.add(name)
    scatter.track_module(program.module)
    return program


def test_every_function_and_method_is_found_whatever_holds_it(lab: Lab) -> None:
    program = lab.module(WHOLE, "whole_all")
    names = scatter.track_module(program.module)
    own = {name.removeprefix("whole_all:") for name in names}
    assert own == {
        *("register", "logged", "plain", "cached", "_handler", "wrapped", "managed"),
        *("dispatched", "dispatched_int", "double", "fetched", "outer"),
        *("Model.__init__", "Model.get", "Model.make", "Model.zero", "Model.slow", "Model.told"),
        *("Model.size", "Model.size.setter", "Model.size.deleter", "Model.Inner.deep"),
        *("Model.short", "Child.get", "Point.moved"),
    }
    assert scatter.track_module("whole_all") == names, "again is the same"


def test_what_the_text_calls_tracked_is_what_the_process_found(lab: Lab) -> None:
    program = whole(lab, "whole_same")
    source = lab.project.find("whole_same")
    assert source is not None
    in_text = {key for key, function in source.tracked.items() if not function.twice}
    assert in_text == set(functions_of(program.module))


def test_functions_of_a_module_that_is_tracked_whole_get_no_attributes(lab: Lab) -> None:
    program = whole(lab, "whole_bare")
    assert vars(program.plain) == {}
    program.push(WHOLE.replace("def plain(x): return x", "def plain(x): return -x"), "plain")
    assert program.plain(1) == -1
    assert vars(program.plain) == {}
    assert REGISTRY.slot_of(program.plain) is program.slot("plain")


EDITS = {
    "plain": ("def plain(x): return x", "def plain(x): return -x", "m.plain(5)", -5),
    "cached": ("return [x]", "return [x, x]", "m.cached(7)", [7, 7]),
    "_handler": ("def _handler(x): return x", "def _handler(x): return -x",
                 "m.REGISTERED['hidden'](5)", -5),
    "wrapped": ("def wrapped(x): return x", "def wrapped(x): return -x",
                "m.wrapped(5)", ("logged", -5)),
    "dispatched_int": ("'int'".replace("'", '"'), '"whole"', "m.dispatched(1)", "whole"),
    "double": ("2 * x", "3 * x", "m.double(5)", 15),
    "Model.get": ("self.x * self.factor", "self.x + self.factor", "model.get()", 8),
    "Child.get": ("super().get() + 1", "super().get() + 2", "m.Child(5).get()", 17),
    "Model.make": ("return cls(x)", "return cls(-x)", "m.Model.make(5).x", -5),
    "Model.zero": ("return 0", "return 1", "model.zero()", 1),
    "Model.size": ("def size(self): return self.x", "def size(self): return -self.x",
                   "model.size", -5),
    "Model.size.setter": ("def size(self, x): self.x = x", "def size(self, x): self.x = -x",
                          "setattr(model, 'size', 6) or model.x", -6),
    "Model.size.deleter": ("self.x = None", "self.x = 'gone'",
                           "delattr(model, 'size') or model.x", "gone"),
    "Model.slow": ("return self.x + 1", "return self.x + 2", "model.slow", 7),
    "Model.told": ("def told(self): return self.x", "def told(self): return -self.x",
                   "model.told()", ("logged", -5)),
    "Model.Inner.deep": ('"deep"', '"deeper"', "m.Model.Inner().deep()", "deeper"),
    "Model.short": ("lambda self: self.x", "lambda self: -self.x", "model.short()", -5),
    "Model.__init__": ("def __init__(self, x): self.x = x", "def __init__(self, x): self.x = -x",
                       "m.Model(5).x", -5),
    "Point.moved": ("self.x + by", "self.x - by", "m.Point(5).moved(1)", "Point(x=4)"),
}  # fmt: skip


@pytest.mark.parametrize("key", EDITS)
def test_each_of_them_is_switched_where_it_is(lab: Lab, key: str) -> None:
    old, new, call, expected = EDITS[key]
    program = whole(lab, f"whole_{abs(hash(key))}")
    model = program.Model(5)
    program.push(program.edit(old, new), key)
    found = eval(call, {"m": program.module, "model": model})
    assert (
        repr(found) if isinstance(expected, str) and key == "Point.moved" else found
    ) == expected
    program.go_to({key: 0})
    fresh = eval(call, {"m": program.module, "model": program.Model(5)})
    assert fresh != found or key == "cached"


def test_an_edit_of_the_whole_file_is_one_release(lab: Lab) -> None:
    program = whole(lab, "whole_many", "def a(x): return b(x) + 1\ndef b(x): return x\n")
    program.push("def a(x): return b(x, 2) + 2\ndef b(x, y=1): return x * y\n", "a", "b")
    assert program.a(5) == 12


def test_a_new_function_that_a_pushed_one_calls_comes_along(lab: Lab) -> None:
    program = whole(lab, "whole_new", "def a(x): return x\n")
    program.push("def a(x): return fresh(x)\ndef fresh(x): return x + 1\n", "a", "fresh")
    assert program.a(1) == 2


NEW_CLASS = """
class Cart:
    rate = 2
    def __init__(self, n): self._n = n
    def total(self): return self._n * self.rate
    @property
    def n(self): return self._n
    @n.setter
    def n(self, n): self._n = n
    @staticmethod
    def zero(): return 0

class Big(Cart):
    def total(self): return super().total() + 100
"""


def test_a_new_class_has_the_versions_of_its_methods_and_follows_them(lab: Lab) -> None:
    program = whole(lab, "whole_cart", "def a(n): return n\n")
    text = "def a(n): return Big(n)\n" + NEW_CLASS
    methods = ["Cart.__init__", "Cart.total", "Cart.n", "Cart.n.setter", "Cart.zero", "Big.total"]
    program.push(text, "a", *methods)
    cart = program.a(3)
    assert (cart.total(), cart.n, cart.zero()) == (106, 3, 0)
    cart.n = 4
    assert cart.n == 4
    assert program.slot("Cart.total").version == 1
    program.push(text.replace("self._n * self.rate", "self._n - self.rate"), "Cart.total")
    assert cart.total() == 102, "an instance that lives follows"
    assert isinstance(cart, type(program.a(1))), "and the class is still the same"
    program.push(text.replace("+ 100", "+ 200"), "Big.total")
    assert cart.total() == 202
    assert not hasattr(program.module, "Cart")


def test_a_new_class_whose_methods_nobody_pushed_is_refused(lab: Lab) -> None:
    program = whole(lab, "whole_unpushed", "def a(n): return n\n")
    refusal = program.refusal("def a(n): return Cart(n)\n" + NEW_CLASS, "a")
    assert refusal.reason == "missing-function"
    assert "its tracked method `whole_unpushed:Cart.__init__` has no version" in refusal.message


def test_a_new_class_with_methods_tracked_one_by_one(lab: Lab) -> None:
    program = lab.module("import scatter\n\n@scatter.track\ndef a(n): return n\n", "one_by_one")
    text = (
        "import scatter\n\n@scatter.track\ndef a(n): return Cart(n)\n\nclass Cart:\n"
        "    def __init__(self, n): self.n = n\n    @property\n    @scatter.track\n"
        "    def double(self): return 2 * self.n\n"
    )
    program.push(text, "a", "Cart.double")
    cart = program.a(3)
    assert cart.double == 6
    program.push(text.replace("2 * self.n", "3 * self.n"), "Cart.double")
    assert cart.double == 9


def test_an_edit_of_a_tracked_method_leaves_the_bundles_of_others_as_they_are(lab: Lab) -> None:
    from scatter.bundle import encode
    from scatter.bundle.build import build

    def bytes_of(text: str) -> bytes:
        lab.project.whole.add("whole_bytes")
        source = lab.project.analysed("whole_bytes", text)
        return encode(build(source, "a").bundle)

    text = "def a(n): return Big(n)\n" + NEW_CLASS
    assert bytes_of(text) == bytes_of(text.replace("self._n * self.rate", "self._n"))
    assert bytes_of(text) != bytes_of(text.replace("rate = 2", "rate = 3"))


def test_a_method_that_no_branch_defines_here_is_no_change_of_its_class(lab: Lab) -> None:
    text = (
        "import sys\nclass A:\n    if sys.version_info >= (3, 99):\n"
        "        def g(self): return 1\n    def f(self): return type(self) is A\n"
        "def make(): return A()\n"
    )
    program = whole(lab, "whole_branch", text)
    program.push(text.replace("return 1", "return 2").replace("is A", "is not A"), "A.f", "make")
    assert program.make().f() is False


def test_a_method_of_a_class_that_a_decorator_replaced(lab: Lab) -> None:
    text = (
        "import functools\ndef deprecated(cls):\n    @functools.wraps(cls, updated=())\n"
        "    def make(*a): return cls(*a)\n    return make\n@deprecated\nclass A:\n"
        "    def __init__(self): super().__init__(); self.x = 1\n"
    )
    program = whole(lab, "whole_replaced", text)
    program.push(text.replace("self.x = 1", "self.x = 2"), "A.__init__")
    assert program.A().x == 2


def test_a_version_that_is_the_deployed_code_is_the_deployed_code(lab: Lab) -> None:
    text = (
        "codes = set()\ndef internal(f):\n    codes.add(f.__code__)\n    return f\n"
        "@internal\ndef f(): return 1\n"
    )
    program = whole(lab, "whole_codes", text)
    program.push(text + "\n\n# a comment\n", "f")
    assert program.slot("f").version == 1
    assert program.f.__code__ in program.codes
    program.push(text.replace("return 1", "return 2"), "f")
    program.push(text, "f")
    assert program.f.__code__ in program.codes
    assert program.f() == 1


def test_a_module_without_source_cannot_be_tracked_whole() -> None:
    with pytest.raises(UsageError, match="has no source file that can be read"):
        scatter.track_module(sys)
    with pytest.raises(UsageError, match="expects an imported module; found 'nowhere_at_all'"):
        scatter.track_module("nowhere_at_all")


def test_a_reloaded_module_keeps_its_slots(lab: Lab) -> None:
    program = whole(lab, "whole_again", "def f(): return 1\n")
    lab.write("def f(): return 2  # of another size: times of files tick slowly\n", "whole_again")
    importlib.reload(program.module)
    assert scatter.track_module(program.module) == ("whole_again:f",)
    assert program.slot("f").function is program.f
    program.push("def f(): return 3\n", "f")
    assert program.f() == 3
    program.go(f=0)
    assert program.f() == 2


def test_the_search_holds_nothing_back(lab: Lab) -> None:
    program = lab.module("class Big: pass\nthing = Big()\ndef f(): return 1\n", "whole_free")
    import weakref

    scatter.track_module(program.module)
    gone = weakref.ref(program.thing)
    del program.module.thing
    gc.collect()
    assert gone() is None


PATTERNS = """
import sys
from pathlib import Path
from typing import Any
import scatter_agent
folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
import early.one
scatter_agent.start("redis://127.0.0.1:1", namespace="n", track=["early.*", "late"])
from scatter.registry import REGISTRY
print(sorted(REGISTRY.slots()))
import late, other
print(sorted(REGISTRY.slots()))
print(type(late.__loader__).__name__, late.__spec__.loader is late.__loader__)
scatter_agent.stop()
"""


def test_an_agent_tracks_modules_that_match_also_those_imported_later(tmp_path: Path) -> None:
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "__init__.py").write_text("def top(): pass\n")
    (tmp_path / "early" / "one.py").write_text("def one(): pass\n")
    (tmp_path / "late.py").write_text("def late(): pass\nclass L:\n    def m(self): pass\n")
    (tmp_path / "other.py").write_text("def other(): pass\n")
    process = start_python(PATTERNS, str(tmp_path))
    out, _ = process.communicate(timeout=30)
    assert out.splitlines() == [
        "['early.one:one', 'early:top']",
        "['early.one:one', 'early:top', 'late:L.m', 'late:late']",
        "SourceFileLoader True",
    ]


# what the corpus of other people's packages has found --------------------------------------------


def test_a_name_through_stars_is_the_live_one_and_all_is_heeded(lab: Lab) -> None:
    lab.write("from stars.errors import *\nfrom stars.algos import *\n", "stars.__init__")
    lab.write("class E(Exception): pass\n", "stars.errors")
    lab.write("from stars.sub import *\n", "stars.algos")
    sub = '__all__ = ["g"]\nfrom stars import E\ndef g(): raise E("x")\n'
    lab.write(sub, "stars.sub")
    program = whole(lab, "stars.use", 'import stars as nx\ndef f(): return nx.E("y")\n')
    program.push(program.text.replace('"y"', '"z"'), "f")
    assert str(program.f()) == "z"
    assert isinstance(program.f(), sys.modules["stars.errors"].E)


def test_methods_of_a_class_that_says_it_is_of_another_module(lab: Lab) -> None:
    text = 'class A:\n    def f(self): return 1\nA.__module__ = "public"\n'
    program = whole(lab, "says_other", text)
    program.push(text.replace("return 1", "return 2"), "A.f")
    assert program.A().f() == 2


def test_a_function_whose_code_another_one_shares(lab: Lab) -> None:
    text = 'import types\ndef f(): return 1\ng = types.FunctionType(f.__code__, globals(), "g")\n'
    program = whole(lab, "shared_code", text)
    program.push(text.replace("return 1", "return 2"), "f")
    assert (program.f(), program.g()) == (2, 1)


def test_a_class_body_that_uses_its_own_tracked_methods(lab: Lab) -> None:
    text = (
        "class A:\n    def f(self): return 1\n    g = f\n    h = property(f)\n"
        "def make(): return A().g(), A().h\n"
    )
    program = whole(lab, "own_methods", text)
    program.push(text.replace("A().g(),", "A().g(), 0,"), "make")
    assert program.make() == (1, 0, 1)


def test_members_of_a_class_that_cannot_be_found_are_not_asked_for(lab: Lab) -> None:
    text = (
        "import functools\nimport re\ndef deprecated(why):\n    def wrap(cls):\n"
        "        @functools.wraps(cls)\n        def make(*a): return cls(*a)\n"
        "        return make\n    return wrap\n@deprecated('old')\nclass A:\n"
        "    RE = re.compile('x')\n    def run(self, text): return self.RE.sub('y', text)\n"
    )
    program = whole(lab, "lost_class", text)
    program.push(text.replace("'y'", "'z'"), "A.run")
    assert program.A().run("x") == "z"


def test_a_block_with_branches_does_not_need_the_state_that_it_makes_itself(lab: Lab) -> None:
    text = (
        "import os\nimport scatter\nif os.name == 'nt':\n    _replace = os.windll.x\n"
        "    _replace.argtypes = []\n    def rename(a): return _replace\nelse:\n"
        "    def rename(a): return a, 1\n@scatter.track\ndef f(): return rename(0)\n"
    )
    program = lab.module(text, "branches_state")
    program.push(text.replace("a, 1", "a, 2"), "f")
    assert program.f() == (0, 2)


def test_a_block_under_type_checking_is_for_type_checkers_too(lab: Lab) -> None:
    text = (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import sys\n    if sys.version_info >= (3, 11):\n"
        "        from typing import Self\n    else:\n"
        "        from typing_extensions import Self\n"
        "class A:\n    def f(self) -> Self: return 1\n"
    )
    program = whole(lab, "type_checking", text)
    program.push(text.replace("return 1", "return 2"), "A.f")
    assert program.A().f() == 2


ORDERS = [("@x.setter", "@scatter.track"), ("@scatter.track", "@x.setter")]


@pytest.mark.parametrize(("above", "below"), ORDERS)
def test_a_setter_that_is_tracked_by_itself_is_told_from_its_getter(
    lab: Lab, above: str, below: str
) -> None:
    text = (
        "import scatter\nclass A:\n    @property\n    @scatter.track\n"
        f"    def x(self): return self._x\n    {above}\n    {below}\n"
        "    def x(self, x): self._x = x\n"
    )
    program = lab.module(text)
    assert list(program.source(text).tracked) == ["A.x", "A.x.setter"]
    thing = program.A()
    program.push(text.replace("self._x = x", "self._x = 2 * x"), "A.x.setter")
    thing.x = 3
    assert thing.x == 6
    program.push(text.replace("return self._x", "return -self._x"), "A.x")
    assert thing.x == -6


def test_the_lines_of_a_module_are_found_once_for_all_its_functions(lab: Lab) -> None:
    text = "import scatter\n" + "".join(
        f"@scatter.track\ndef f{n}():\n    return {n}\n\n" for n in range(20)
    )
    before = bases._line_starts.cache_info().misses
    program = lab.module(text)
    assert program.f7.source == "@scatter.track\ndef f7():\n    return 7"
    assert bases._line_starts.cache_info().misses == before + 1


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("a = 1\ndef f():\n    x = 1\n    return x\n", "def f():\n    x = 1\n    return x"),
        ("a = 1\ndef f():\n", "def f():"),
        ("a = 1\ndef f():", "def f():"),
        ("a = 1", ""),
        ("", ""),
    ],
    ids=["all", "cut", "cut in a line", "gone", "empty"],
)
def test_text_that_is_shorter_than_its_code_gives_what_is_there(
    lines: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = f"<cell {lines!r}>"  # what was read of a file is kept
    names: dict[str, Any] = {"__name__": "cell"}
    exec(compile("a = 1\ndef f():\n    x = 1\n    return x\n", file, "exec"), names)
    entry = (len(lines), None, lines.splitlines(keepends=True), file)
    monkeypatch.setitem(linecache.cache, file, entry)
    assert bases.definition_text(names["f"]) == text
