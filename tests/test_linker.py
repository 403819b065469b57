"""The linker: code travels, state stays. Each row of the table in DESIGN section 5, and each kind
of function, as a stranger's module would use them."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import sys
import threading
import traceback
from typing import Any

import pytest
from linking import Lab, Program

from scatter.slot import KEPT

HEAD = "import scatter\n\n"


# a function's own code ---------------------------------------------------------------------


def test_a_pushed_body_runs_and_the_deployed_one_comes_back(lab: Lab) -> None:
    program = lab.module(
        """
        import scatter

        @scatter.track
        def score(x):
            return x + 1
        """
    )
    score = program.score
    program.push(program.edit("x + 1", "x + 2"), "score")
    assert program.score is score
    assert (score(1), score.loaded_version) == (3, 1)
    program.go(score=0)
    assert (score(1), score.loaded_version) == (2, 0)


KINDS = {
    "plain": ("def f(a, b=2): return [a, b, 1]", lambda f: f(1)),
    "generator": ("def f(a, b=2):\n    yield a\n    yield b\n    yield 1", lambda f: list(f(1))),
    "coroutine": ("async def f(a, b=2): return [a, b, 1]", lambda f: asyncio.run(f(1))),
    "async generator": (
        "async def f(a, b=2):\n    yield a\n    yield b\n    yield 1",
        lambda f: asyncio.run(_collect(f(1))),
    ),
}


async def _collect(items: Any) -> list[Any]:
    return [item async for item in items]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("helper", [False, True], ids=["alone", "with a private helper"])
def test_each_kind_of_function_is_replaced_and_keeps_its_kind(
    lab: Lab, kind: str, helper: bool
) -> None:
    text, run = KINDS[kind]
    program = lab.module(f"{HEAD}@scatter.track\n{text}\n")
    flags = _kinds_of(program.f)
    edited = program.edit("b=2", "b=3", "1", "7" if not helper else "add(7)")
    if helper:
        edited += "\ndef add(x): return x + 1\n"
    program.push(edited, "f")
    assert run(program.f) == [1, 3, 8 if helper else 7]
    assert _kinds_of(program.f) == flags


def _kinds_of(function: Any) -> tuple[bool, ...]:
    return (
        inspect.iscoroutinefunction(function),
        inspect.isgeneratorfunction(function),
        inspect.isasyncgenfunction(function),
    )


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_another_kind_of_function_is_refused(lab: Lab, old: str, new: str) -> None:
    program = lab.module(f"{HEAD}@scatter.track\n{KINDS[old][0]}\n")
    edited = f"{HEAD}@scatter.track\n{KINDS[new][0]}\n"
    if old == new:
        program.push(edited, "f")
        return
    refusal = program.refusal(edited, "f")
    assert refusal.reason == "kind-changed"
    assert "Callers would break" in refusal.message
    assert KINDS[old][1](program.f) == [1, 2, 1]


SIGNATURES = [
    "a, b=1",
    "a, /, b=1",
    "a, *, b=1",
    "a, *, b",
    "a, b=1, /, c=2, *, d=3",
    "*args, **kwargs",
    "a, /, **kwargs",
    "a=(1, 2), *args, b=None, **kwargs",
    "*, a=1.5, b='x'",
    "",
    "args, kwargs=1, *target",
]


@pytest.mark.parametrize("helper", ["", "helper"])
@pytest.mark.parametrize("new", SIGNATURES)
@pytest.mark.parametrize("old", SIGNATURES[:5])
def test_signatures_and_defaults_are_those_of_the_running_version(
    lab: Lab, old: str, new: str, helper: str
) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f({old}): return sorted(locals().items())\n")
    program.allow = ("signature-changed",)
    deployed = inspect.signature(program.f)
    fresh: dict[str, Any] = {}
    body = "return sorted(locals().items())"
    exec(f"def f({new}): {body}", fresh)
    edited = f"{HEAD}@scatter.track\ndef f({new}): {helper and 'helper();'}{body}\n"
    program.push(edited + "def helper(): pass\n", "f")
    assert inspect.signature(program.f) == inspect.signature(fresh["f"])
    for args, kwargs in itertools.product(
        [(), (1,), (1, 2), (1, 2, 3)], [{}, {"a": 5}, {"b": 6}, {"d": 7, "zz": 8}]
    ):
        assert _outcome(program.f, args, kwargs) == _outcome(fresh["f"], args, kwargs)
    program.go(f=0)
    assert inspect.signature(program.f) == deployed


def _outcome(function: Any, args: Any, kwargs: Any) -> Any:
    try:
        return [item for item in function(*args, **kwargs) if item[0] != "helper"]
    except TypeError as error:
        return str(error)


def test_defaults_see_the_live_module_and_what_travels(lab: Lab) -> None:
    program = lab.module(
        """
        import scatter
        cache = {}
        RATE = 2

        @scatter.track
        def f(x, where=cache): return where is cache, x
        """
    )
    program.push(
        program.edit("x, where=cache", "x=RATE + 1, where=cache", "RATE = 2", "RATE = 5"), "f"
    )
    assert program.f() == (True, 6)
    assert program.RATE == 2


def test_equal_defaults_of_another_type_are_replaced(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(a=1, *, b=0.0): return repr((a, b))\n")
    for a, b in [("1.0", "0.0"), ("True", "0"), ("1", "-0.0"), ("1", "False"), ("1", "0.0")]:
        program.push(program.edit("a=1", f"a={a}", "b=0.0", f"b={b}"), "f")
        assert program.f() == f"({a}, {b})"


def test_a_mutable_default_belongs_to_its_version(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(x, seen=[]): seen.append(x); return seen\n")
    assert program.f(1) == [1]
    program.push(program.edit("return seen", "return seen  + ['new']"), "f")
    assert program.f(2) == [2, "new"]
    program.go(f=0)
    assert program.f(3) == [1, 3]
    program.go(f=1)
    assert program.f(4) == [2, 4, "new"]


def test_nested_functions_lambdas_and_comprehensions_reach_what_travels(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(xs): return xs\n")
    program.push(
        HEAD
        + """
K = 3
def double(x): return 2 * x
@scatter.track
def f(xs):
    total = 0
    def inner():
        nonlocal total
        total += K
        return {double(x): [(lambda: K * x)() for _ in "a"] for x in xs}
    return inner(), total, [y for y in map(double, xs) if (z := y) > K]
""",
        "f",
    )
    assert program.f([1, 2]) == ({2: [3], 4: [6]}, 3, [4])
    assert not hasattr(program.module, "double")
    assert not hasattr(program.module, "K")


def test_recursion_goes_to_the_newest_version(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}@scatter.track\ndef fact(n): return 1 if n < 2 else n * fact(n - 1)\n"
    )
    program.push(program.edit("1 if n < 2", "10 if n < 2"), "fact")
    assert program.fact(4) == 240


def test_a_travelling_helper_may_call_itself_and_its_neighbours(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(n): return n\n")
    program.push(
        f"{HEAD}@scatter.track\ndef f(n): return even(n)\n"
        "def even(n): return n == 0 or odd(n - 1)\n"
        "def odd(n): return n != 0 and even(n - 1)\n",
        "f",
    )
    assert (program.f(10), program.f(7)) == (True, False)


def test_the_function_can_be_one_line_with_tabs_and_odd_strings(lab: Lab) -> None:
    program = lab.module(f"{HEAD}class M:\n\t@scatter.track\n\tdef f(self): return 1\n")
    edited = f"{HEAD}class M:\n\t@scatter.track\n\tdef f(self):\n\t\treturn '''a\nb\n\tc\x0cd'''\n"
    program.push(edited, "M.f")
    assert program.M().f() == "a\nb\n\tc\x0cd"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="generics of Python 3.12")
def test_generics_and_type_aliases_travel(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(x): return x\n")
    program.push(
        f"{HEAD}class Base: pass\ntype Pair[T] = tuple[T, T]\n"
        "@scatter.track\n"
        "def f[T: Base](x: T, *more: Pair[T]) -> list[T]: return [x, Pair.__name__]\n",
        "f",
    )
    assert program.f(1) == [1, "Pair"]
    assert [t.__name__ for t in program.f.__type_params__] == ["T"]
    program.go(f=0)
    assert program.f.__type_params__ == ()


def test_annotations_are_those_of_the_running_version(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(x: int) -> str: return x\n")
    program.push(program.edit("x: int", "x: float"), "f")
    assert program.f.__annotations__ == {"x": float, "return": str}
    program.go(f=0)
    assert program.f.__annotations__ == {"x": int, "return": str}


def test_postponed_annotations_and_typing_only_imports_stay_strings(lab: Lab) -> None:
    program = lab.module(
        """
        from __future__ import annotations
        import scatter
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from nowhere import Thing

        @scatter.track
        def f(x: Thing): return 1
        """
    )
    program.push(program.edit("return 1", "return 2"), "f")
    assert program.f(0) == 2
    assert program.f.__annotations__ == {"x": "Thing"}


def test_the_docstring_is_that_of_the_running_version(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): 'old'\n")
    program.push(program.edit("'old'", "'new'"), "f")
    assert program.f.__doc__ == "new"
    program.go(f=0)
    assert program.f.__doc__ == "old"


# methods -------------------------------------------------------------------------------------

METHODS = """
import scatter

class Base:
    def greet(self, x): return ("base", x)

class Model(Base):
    limit = 5
    __secret = 7

    def __init__(self): self.v = 1

    @scatter.track
    def plain(self, x): return self.v + x

    @staticmethod
    @scatter.track
    def static(x): return x

    @scatter.track
    @staticmethod
    def static_below(x): return x

    @classmethod
    @scatter.track
    def klass(cls, x): return cls.__name__, x

    @scatter.track
    @classmethod
    def klass_below(cls, x): return cls.__name__, x

    @property
    @scatter.track
    def prop(self): return self.v

    @prop.setter
    def prop(self, value): self.v = value

    @scatter.track
    @property
    def prop_below(self): return self.v

    @scatter.track
    def greet(self, x): return super().greet(x)

    @scatter.track
    def who(self): return __class__, type(self)

    @scatter.track
    def mangled(self): return self.__secret

    @scatter.track
    def with_default(self, n=limit): return n

    @scatter.track
    def __call__(self, x): return x

    class Inner:
        @scatter.track
        def deep(self): return "deep"

class Child(Model):
    @scatter.track
    def greet(self, x): return ("child", super().greet(x))
"""


def test_methods_of_every_sort_are_replaced_for_objects_that_exist_already(lab: Lab) -> None:
    program = lab.module(METHODS)
    model, bound = program.Model(), program.Model().plain
    edits = {
        "plain": ("return self.v + x", "return self.v + x + 100", lambda: model.plain(1), 102),
        "static": (
            "def static(x): return x",
            "def static(x): return -x",
            lambda: model.static(3),
            -3,
        ),
        "static_below": (
            "def static_below(x): return x",
            "def static_below(x): return -x",
            lambda: program.Model.static_below(3),
            -3,
        ),
        "klass": (
            "cls.__name__, x\n\n    @scatter.track\n    @class",
            "cls.__name__, -x\n\n    @scatter.track\n    @class",
            lambda: model.klass(2),
            ("Model", -2),
        ),
        "klass_below": (
            "def klass_below(cls, x): return cls.__name__, x",
            "def klass_below(cls, x): return cls.__name__, -x",
            lambda: program.Child.klass_below(2),
            ("Child", -2),
        ),
        "prop": (
            "def prop(self): return self.v",
            "def prop(self): return -self.v",
            lambda: model.prop,
            -1,
        ),
        "prop_below": (
            "def prop_below(self): return self.v",
            "def prop_below(self): return -self.v",
            lambda: model.prop_below,
            -1,
        ),
        "greet": (
            "def greet(self, x): return super().greet(x)\n\n    @scatter.track\n    def who",
            "def greet(self, x): return [super().greet(x)]\n\n    @scatter.track\n    def who",
            lambda: program.Child().greet(1),
            ("child", [("base", 1)]),
        ),
        "who": (
            "return __class__, type(self)",
            "return type(self), __class__",
            lambda: program.Child().who(),
            (None, None),
        ),
        "mangled": ("return self.__secret", "return -self.__secret", lambda: model.mangled(), -7),
        "with_default": (
            "n=limit): return n",
            "n=limit): return -n",
            lambda: model.with_default(),
            -5,
        ),
        "__call__": (
            "def __call__(self, x): return x",
            "def __call__(self, x): return -x",
            lambda: model(1),
            -1,
        ),
        "Inner.deep": (
            'return "deep"',
            'return "deeper"',
            lambda: program.Model.Inner().deep(),
            "deeper",
        ),
    }
    for name, (old, new, call, expected) in edits.items():
        program.push(program.edit(old, new), f"Model.{name}")
        if name == "who":
            expected = (program.Child, program.Model)
        assert call() == expected, name
    assert bound(1) == 102
    model.prop = 50
    assert model.v == 50


def test_methods_reach_private_helpers_and_super_at_the_same_time(lab: Lab) -> None:
    program = lab.module(METHODS)
    edited = program.edit(
        'return ("child", super().greet(x))', 'return ("child", wrap(super().greet(x)))'
    )
    program.push(edited + "\ndef wrap(x): return [x]\n", "Child.greet")
    assert program.Child().greet(1) == ("child", [("base", 1)])


def test_super_begins_to_be_used_and_stops_to_be_used(lab: Lab) -> None:
    program = lab.module(METHODS)
    program.push(program.edit("return self.v + x", "return super().greet(x)"), "Model.plain")
    assert program.Child().plain(1) == ("base", 1)
    edited = program.edit('return ("child", super().greet(x))', 'return "alone"')
    program.push(edited, "Child.greet")
    assert program.Child().greet(1) == "alone"
    program.go_to({"Child.greet": 0, "Model.plain": 0})
    assert (program.Child().greet(1), program.Child().plain(1)) == (("child", ("base", 1)), 2)


def test_a_method_may_use_a_global_whose_name_is_its_class_with_an_underscore(lab: Lab) -> None:
    program = lab.module(
        """
        import scatter
        class _Model:
            name = "underscore"
        class Model(_Model):
            __x = 1
            @scatter.track
            def f(self): return _Model.name, self.__x
        """
    )
    program.push(program.edit("return _Model.name", "return _Model.name.upper()"), "Model.f")
    assert program.Model().f() == ("UNDERSCORE", 1)


def test_a_class_level_name_and_a_global_of_the_same_name_are_told_apart(lab: Lab) -> None:
    program = lab.module(
        """
        import scatter
        limit = frozenset({1})
        class M:
            limit = 5
            @scatter.track
            def f(self, n=limit): return n
        """
    )
    program.push(program.edit("return n", "return n, limit", "{1}", "{2}"), "M.f")
    assert program.M().f() == (5, frozenset({2}))


def test_super_works_in_a_method_with_a_decorator_below_track(lab: Lab) -> None:
    program = lab.module(
        """
        import scatter
        def plain(function):
            def wrapper(*args): return function(*args)
            wrapper.__qualname__ = function.__qualname__
            return wrapper
        class Base:
            def f(self): return 1
        class M(Base):
            @scatter.track
            @plain
            def f(self): return super().f() + 1
        """
    )
    assert program.M().f() == 2
    program.push(program.edit("super().f() + 1", "super().f() + 10"), "M.f")
    assert program.M().f() == 11


def test_a_getter_is_not_taken_for_its_setter(lab: Lab) -> None:
    program = lab.module(METHODS)
    source = program.source(program.text)
    assert "return self.v" in source.functions["Model.prop"].source
    assert source.functions["Model.prop"].tracked


def test_init_is_replaced_under_hot_call_sites(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}class M:\n    @scatter.track\n    def __init__(self, a=1): self.v = a\n"
    )

    def make() -> Any:
        return [program.M().v for _ in range(100)]

    assert set(make()) == {1}
    for n in range(2, 30):
        if n % 2:
            program.push(program.edit("self.v = a", f"self.v = a + {n}"), "M.__init__")
            assert set(make()) == {1 + n}
        else:
            edited = program.edit("a=1): self.v = a", f"a=2, *rest: int): self.v = up(a) + {n}")
            program.push(edited + "\ndef up(x): return x\n", "M.__init__")
            assert set(make()) == {2 + n}


# the table: functions ------------------------------------------------------------------------

HELPERS = """
import scatter
import functools

def low(x): return x + 1

@functools.lru_cache(maxsize=None)
def cached(x): return [x]

def helper(x): return low(x)

@scatter.track
def f(x): return helper(x)

@scatter.track
def g(x): return helper(x)

def untracked(x): return helper(x)
"""


def test_an_unchanged_helper_is_the_live_object(lab: Lab) -> None:
    program = lab.module(HELPERS)
    program.cached("warm").append("kept")
    prepared = program.push(
        program.edit("def f(x): return helper(x)", "def f(x): return cached(x)"), "f"
    )
    assert program.f("warm") == ["warm", "kept"]
    assert prepared.linked[f"{program.name}:f"].private == ()


def test_a_changed_helper_is_private_to_the_version(lab: Lab) -> None:
    program = lab.module(HELPERS)
    program.push(program.edit("return low(x)", "return low(x) * 10"), "f")
    assert program.f(1) == 20
    assert (program.g(1), program.untracked(1), program.helper(1)) == (2, 2, 2)


def test_a_helper_two_levels_down_takes_those_between_along(lab: Lab) -> None:
    program = lab.module(HELPERS)
    prepared = program.push(program.edit("return x + 1", "return x + 5"), "f")
    assert (program.f(1), program.g(1)) == (6, 2)
    assert set(prepared.linked[f"{program.name}:f"].private) == {"low", "helper"}


def test_layout_and_comments_make_no_helper_travel(lab: Lab) -> None:
    program = lab.module(HELPERS)
    edited = program.edit("def low(x): return x + 1", "def low( x ):  # why\n\n    return (x + 1)")
    prepared = program.push(edited, "f")
    assert prepared.linked[f"{program.name}:f"].private == ()


def test_a_monkeypatch_of_an_unchanged_helper_is_kept(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = lab.module(HELPERS)
    monkeypatch.setattr(program.module, "helper", lambda x: "patched")
    program.push(program.edit("def f(x): return helper(x)", "def f(x): return [helper(x)]"), "f")
    assert program.f(1) == ["patched"]


def test_a_tracked_neighbour_is_always_its_newest_version(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}@scatter.track\ndef f(): return g()\n@scatter.track\ndef g(): return 1\n"
    )
    edited = program.edit("return g()", "return [g()]", "return 1", "return 2")
    program.push(edited, "f")
    assert program.f() == [1], "another tracked function is not shipped along"
    program.push(edited, "g")
    assert program.f() == [2]
    program.go(g=0)
    assert program.f() == [1]


def test_a_new_lambda_helper_travels(lab: Lab) -> None:
    program = lab.module(HELPERS)
    edited = program.edit("def f(x): return helper(x)", "def f(x): return triple(x)")
    program.push(edited + "\ntriple = lambda x: 3 * x\n", "f")
    assert program.f(2) == 6


def test_a_helper_that_a_decorator_made_travels_with_its_decorator(lab: Lab) -> None:
    program = lab.module(HELPERS)
    edited = program.edit("def f(x): return helper(x)", "def f(x): return shout(x)")
    edited += (
        "\nimport functools as ft\n"
        "def loud(function):\n"
        "    @ft.wraps(function)\n"
        "    def inner(*args): return str(function(*args)).upper()\n"
        "    return inner\n"
        "@loud\ndef shout(x): return 'a' * x\n"
    )
    program.push(edited, "f")
    assert program.f(2) == "AA"


def test_a_decorator_below_track_is_run_and_one_above_is_not(lab: Lab) -> None:
    program = lab.module(
        """
        import scatter
        routes = []
        def route(function):
            routes.append(function)
            return function
        def twice(function):
            def inner(x): return [function(x), function(x)]
            inner.__qualname__ = function.__qualname__
            return inner

        @route
        @scatter.track
        @twice
        def f(x): return x
        """
    )
    program.push(program.edit("return x\n", "return -x\n"), "f")
    assert program.f(1) == [-1, -1]
    assert program.routes == [program.f]


def test_a_decorator_from_another_module_leaves_the_base_right(lab: Lab) -> None:
    lab.write(
        "import functools\n"
        "def helper(): return 'not this one'\n"
        "def deco(function):\n"
        "    @functools.wraps(function)\n"
        "    def wrapper(*args): return ['deco', function(*args)]\n"
        "    return wrapper\n",
        "deco_module",
    )
    program = lab.module(
        """
        import scatter
        from deco_module import deco
        count = 0
        cache = {}
        def helper(x): return x

        @scatter.track
        @deco
        def f(x):
            global count
            count += 1
            return helper(x), cache

        @scatter.track
        def g(): return 1
        """
    )
    program.f(1)
    prepared = program.push(
        program.edit("return helper(x), cache", "return helper(-x), cache"), "f"
    )
    assert program.f(1) == ["deco", (-1, program.cache)]
    assert program.f(1)[1][1] is program.cache
    assert program.count == 3
    assert prepared.linked[f"{program.name}:f"].private == ()
    program.push(program.edit("return 1", "return 2"), "g")
    assert program.g() == 2
    assert list(inspect.signature(program.f).parameters) == ["x"]
    program.push(program.edit("def f(x):", "def f(x, *y):"), "f")
    assert list(inspect.signature(program.f).parameters) == ["x", "y"]
    program.go(f=0)
    assert list(inspect.signature(program.f).parameters) == ["x"]


# the table: classes --------------------------------------------------------------------------

CLASSES = """
import scatter
import dataclasses
import enum

class Point:
    scale = 1
    def __init__(self, x): self.x = x
    def size(self): return self.x * self.scale
    @scatter.track
    def live(self): return 1

@scatter.track
def f(x): return Point(x).size()
"""


def test_an_unchanged_class_is_the_live_one(lab: Lab) -> None:
    program = lab.module(CLASSES)
    program.push(program.edit("return Point(x).size()", "return Point(x)"), "f")
    assert type(program.f(1)) is program.Point


def test_a_changed_class_is_refused_with_advice(lab: Lab) -> None:
    program = lab.module(CLASSES)
    refusal = program.refusal(program.edit("scale = 1", "scale = 2"), "f")
    assert refusal.reason == "class-changed"
    assert "Track its methods" in refusal.message
    assert program.f(3) == 3


def test_a_change_of_a_tracked_method_is_no_change_of_its_class(lab: Lab) -> None:
    program = lab.module(CLASSES)
    edited = program.edit("live(self): return 1", "live(self): return 2", "size()", "size() + 1")
    program.push(edited, "f")
    assert (program.f(3), program.Point(1).live()) == (4, 1)


def test_a_new_class_travels_with_right_names(lab: Lab) -> None:
    program = lab.module(CLASSES)
    edited = program.edit("return Point(x).size()", "return Box(x)") + (
        "\n@dataclasses.dataclass(frozen=True)\n"
        "class Box(Point):\n    x: int\n    class Inner: pass\n"
        "    def size(self): return super().size() * 10\n"
        "class Color(enum.Enum):\n    RED = 1\n"
    )
    program.push(edited, "f")
    box = program.f(3)
    assert isinstance(box, program.Point)
    assert (box.size(), repr(box)) == (30, "Box(x=3)")
    names = type(box).__module__, type(box).__qualname__, type(box).Inner.__qualname__
    assert names == (program.name, "Box", "Box.Inner")
    assert not hasattr(program.module, "Box")


def test_a_new_class_never_takes_state_of_that_name_for_a_class(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 1\n")
    program.push(f"{HEAD}Store = {{}}\n@scatter.track\ndef f(): return Store\n", "f")
    program.push(f"{HEAD}class Store: pass\n@scatter.track\ndef f(): return Store()\n", "f")
    assert type(program.f()).__name__ == "Store"


# the table: imports --------------------------------------------------------------------------


def test_imports_travel_when_new_and_stay_live_when_not(lab: Lab) -> None:
    program = lab.module(
        """
        import json
        import scatter

        @scatter.track
        def f(x): return json.dumps(x)
        """
    )
    program.module.json = type("Fake", (), {"dumps": staticmethod(lambda x: "fake")})
    edited = program.edit(
        "import json",
        "import json\nimport os.path\nfrom math import floor as down",
        "return json.dumps(x)",
        "return json.dumps(x), os.path.basename('a/b'), down(x)",
    )
    program.push(edited, "f")
    assert program.f(1.5) == ("fake", "b", 1)
    assert not hasattr(program.module, "down")


def test_imports_of_every_form_work(lab: Lab) -> None:
    lab.write("", "pack.__init__")
    lab.write("def clean(x): return x.strip()\nVALUE = 1\n", "pack.util")
    lab.write("", "pack.sub.__init__")
    lab.write("NAME = 'deep'\n", "pack.sub.deep")
    program = lab.module(
        "import scatter\n@scatter.track\ndef f(x): return x\n", name="pack.service"
    )
    edited = """
import scatter
from .util import clean
from . import util as u
from .sub.deep import *
from .sub import deep
import pack.sub.deep
try:
    import quick_json as json
except ImportError:
    import json
if True:
    from collections import OrderedDict as OD
@scatter.track
def f(x):
    from .util import VALUE
    return clean(x), u.VALUE, deep.NAME, pack.sub.deep.NAME, json.dumps(VALUE), OD
"""
    program.push(edited, "f")
    assert program.f(" a ")[:-1] == ("a", 1, "deep", "deep", "1")


def test_a_missing_module_is_refused_before_the_switch(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 1\n")
    edited = f"import no_such_module\n{HEAD}@scatter.track\ndef f(): return no_such_module.x\n"
    refusal = program.refusal(edited, "f")
    assert refusal.reason == "missing-import"
    assert "No module named 'no_such_module'" in refusal.message
    assert "Install what it imports" in refusal.message
    assert program.f() == 1


def test_a_missing_name_in_a_module_is_refused_before_the_switch(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 1\n")
    edited = f"from math import no_such\n{HEAD}@scatter.track\ndef f(): return no_such\n"
    assert program.refusal(edited, "f").reason == "missing-import"


# the table: constants ------------------------------------------------------------------------

CONSTANTS = """
import scatter
from typing import Final

RATE = 2
DOUBLE = RATE * 2
TYPED: Final[int] = 1
TABLE = {"a": RATE, "b": [1, 2]}
if True:
    INSIDE = 1
ONE, TWO = 1, 2

def helper(): return DOUBLE

@scatter.track
def f(): return RATE, DOUBLE, helper(), TABLE["a"], TYPED, INSIDE, ONE + TWO
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("RATE = 2", "RATE = 3", (3, 6, 6, 3, 1, 1, 3)),
        ("DOUBLE = RATE * 2", "DOUBLE = RATE * 5", (2, 10, 10, 2, 1, 1, 3)),
        ("TYPED: Final[int] = 1", "TYPED: Final[int] = 9", (2, 4, 4, 2, 9, 1, 3)),
        ('"a": RATE', '"a": 7', (2, 4, 4, 7, 1, 1, 3)),
        ("INSIDE = 1", "INSIDE = 5", (2, 4, 4, 2, 1, 5, 3)),
        ("ONE, TWO = 1, 2", "ONE, TWO = 1, 5", (2, 4, 4, 2, 1, 1, 6)),
    ],
)
def test_a_changed_constant_travels_with_what_is_made_of_it(
    lab: Lab, old: str, new: str, expected: tuple[int, ...]
) -> None:
    program = lab.module(CONSTANTS)
    deployed = program.f()
    program.push(program.edit(old, new), "f")
    assert program.f() == expected
    program.go(f=0)
    assert program.f() == deployed


def test_an_unchanged_constant_is_the_live_value(lab: Lab) -> None:
    program = lab.module(CONSTANTS)
    program.module.RATE = 50
    program.push(program.edit("return RATE, DOUBLE", "return RATE, -DOUBLE"), "f")
    assert program.f()[:2] == (50, -4)


def test_a_constant_changed_here_and_there_is_refused_naming_both_values(lab: Lab) -> None:
    program = lab.module(CONSTANTS)
    program.module.RATE = 50
    refusal = program.refusal(program.edit("RATE = 2", "RATE = 3"), "f")
    assert refusal.reason == "constant-changed-at-run-time"
    assert "deployed as 2" in refusal.message
    assert "is 50 in this process" in refusal.message
    assert "`RATE = 3`" in refusal.message


def test_a_constant_that_a_star_import_feeds_is_no_internal_error(lab: Lab) -> None:
    lab.write("PI = 3\n", "numbers_of_ours")
    program = lab.module(
        """
        import scatter
        from numbers_of_ours import *
        TWO_PI = 2 * PI
        @scatter.track
        def f(): return TWO_PI
        """
    )
    prepared = program.prepare(program.edit("2 * PI", "4 * PI"), "f")
    assert all(refusal.reason != "internal" for refusal in prepared.refusals)


def test_statements_that_share_a_line_do_not_travel_together(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}cache = {{}}; LIMIT = 3\n@scatter.track\ndef f(): return cache, LIMIT\n"
    )
    program.push(program.edit("LIMIT = 3", "LIMIT = 4"), "f")
    assert program.f()[0] is program.cache
    assert program.f()[1] == 4


# the table: state ----------------------------------------------------------------------------

STATE = """
import logging
import scatter
import threading

count = 0
cache = {}
lock = threading.Lock()
log = logging.getLogger("app")
connection = object()
LIMITS = {"a": 1}
LIMITS["b"] = 2

@scatter.track
def f(x):
    global count
    with lock:
        count += 1
        cache[x] = count
    return connection, LIMITS
"""


def test_state_stays_live_whatever_the_new_text_says(lab: Lab) -> None:
    program = lab.module(STATE)
    program.f("a")
    edited = program.edit(
        "count = 0",
        "count = 1000",
        "cache = {}",
        "cache = {'other': 1}",
        "object()",
        "object().__class__()",
        'LIMITS["b"] = 2',
        'LIMITS["b"] = 3',
        "count += 1",
        "count += 10",
    )
    program.push(edited, "f")
    connection, limits = program.f("b")
    assert (program.count, program.cache) == (11, {"a": 1, "b": 11})
    assert connection is program.connection
    assert limits is program.LIMITS
    program.go(f=0)
    program.f("c")
    assert program.count == 12


def test_missing_state_is_made_once_and_shared_by_all_versions(lab: Lab) -> None:
    program = lab.module(STATE)
    new = program.edit("count = 0", "count = 0\nseen = set()\nguard = threading.RLock()")
    new = new.replace("return connection", "seen.add(x); guard.acquire(); return seen")
    program.push(new, "f")
    program.f("a")
    program.push(new.replace("return seen", "return list(seen)"), "f")
    assert program.f("b")[0] in (["a", "b"], ["b", "a"])
    assert program.seen == {"a", "b"}


def test_state_made_with_a_new_import_is_created(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(x): return x\n")
    program.push(
        f"from collections import defaultdict\nSIZE = 3\nfrom collections import deque\n{HEAD}"
        "hits = defaultdict(int)\nlast = deque([], SIZE)\n"
        "@scatter.track\ndef f(x):\n    hits[x] += 1\n    return hits[x]\n",
        "f",
    )
    assert [program.f(1), program.f(1)] == [1, 2]


def test_state_that_cannot_be_made_here_is_refused(lab: Lab) -> None:
    program = lab.module(STATE)
    edited = program.edit("count = 0", "count = 0\npool = open_pool('secret')")
    refusal = program.refusal(edited.replace("return connection", "return pool"), "f")
    assert refusal.reason == "missing-state"
    assert "`pool`" in refusal.message
    assert "Deploy the module" in refusal.message


def test_the_text_of_state_never_leaves_the_machine(lab: Lab) -> None:
    program = lab.module(STATE)
    text = program.edit("object()", "object() or 'postgres://me:hunter2@db'")
    (wanted,) = program.wanted(text, "f")
    from scatter.bundle import decode

    assert wanted.data is not None
    assert "hunter2" not in repr(decode(wanted.data))


def test_a_refused_version_leaves_no_state_behind(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(x): return x\n")
    edited = (
        f"{HEAD}import no_such_module\nfresh = {{}}\n"
        "@scatter.track\ndef f(x): return fresh, no_such_module\n"
    )
    assert program.refusal(edited, "f").reason == "missing-import"
    assert not hasattr(program.module, "fresh")


def test_a_default_that_fails_here_is_refused(lab: Lab) -> None:
    program = lab.module(f"{HEAD}settings = {{}}\n@scatter.track\ndef f(x): return x\n")
    edited = program.edit("def f(x)", "def f(x, y=settings['port'])")
    refusal = program.refusal(edited, "f")
    assert refusal.reason == "link-failed"
    assert "KeyError: 'port'" in refusal.message
    assert program.f(1) == 1


def test_a_release_in_which_one_is_refused_prepares_the_others(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}@scatter.track\ndef f(): return 1\n@scatter.track\ndef g(): return 1\n"
    )
    edited = f"{HEAD}import nothing_here\n" + (
        "@scatter.track\ndef f(): return 2\n@scatter.track\ndef g(): return nothing_here\n"
    )
    prepared = program.prepare(edited, "f", "g")
    assert list(prepared.linked) == [f"{program.name}:f"]
    assert [r.function for r in prepared.refusals] == [f"{program.name}:g"]


def test_a_file_edited_before_it_was_tracked_is_no_base(lab: Lab) -> None:
    """What was imported is not what the file says: nothing in the file may pass for live."""
    program = lab.module(
        """
        import scatter
        import pathlib
        HERE = pathlib.Path(__file__)
        HERE.write_text(HERE.read_text().replace("return x + 1", "return x + 2"))
        def helper(x): return x + 1
        def f(x): return helper(x)
        f = scatter.track(f)
        """
    )
    edited = program.text.replace("return x + 1", "return x + 2").replace(
        "def f(x): return helper(x)", "@scatter.track\ndef f(x): return helper(x), 0"
    ).replace("f = scatter.track(f)", "").split("HERE.write")[0] + (
        "\ndef helper(x): return x + 2\n@scatter.track\ndef f(x): return helper(x), 0\n"
    )
    program.push(edited, "f")
    assert program.f(1) == (3, 0)


# order of versions ---------------------------------------------------------------------------

ORDER = """
import scatter
A = 1
B = A + 1
def low(): return A
def helper(): return [low(), B]
state = []
@scatter.track
def f(x=A): return "v0", x, helper()
class M:
    @scatter.track
    def m(self): return "v0", helper()
"""
EDITS = {
    1: ('"v0"', '"v1"'),
    2: ('"v0"', '"v2"', "A = 1", "A = 10"),
    3: ('"v0"', '"v3"', "return A", "return -A"),
    4: ('"v0"', '"v4"', "x=A", "x=B, *, y=5"),
    5: ('"v0"', '"v5"', "B = A + 1", "B = A + 2", "[low(), B]", "(low(), B, added())"),
}


def test_any_order_of_versions_gives_the_same_result(lab: Lab) -> None:
    program = lab.module(ORDER)
    expected = {0: (program.f(), program.M().m())}
    for number, edit in EDITS.items():
        text = program.edit(*edit) + "\ndef added(): return len(state)\n"
        program.push(text, "f", "M.m")
        expected[number] = (program.f(), program.M().m())
    assert len({repr(value) for value in expected.values()}) == 6
    orders = list(itertools.permutations(range(6)))
    for order in orders[:: len(orders) // 60]:
        for number in order:
            program.go_to({"f": number, "M.m": number})
            assert (program.f(), program.M().m()) == expected[number]


def test_the_last_versions_stay_loaded_and_older_ones_are_linked_again(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 0\n")
    for number in range(1, 8):
        program.push(program.edit("return 0", f"return {number}"), "f")
    assert list(program.slot("f").loaded) == list(range(8 - KEPT, 8))
    program.go(f=1)
    assert program.f() == 1


# faces ---------------------------------------------------------------------------------------


def test_tracebacks_and_getsource_show_the_pushed_source_and_its_lines(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 1\n")
    edited = (
        f"{HEAD}# a comment\n\ndef boom(x):\n    raise ValueError(x)\n\n"
        "@scatter.track\ndef f():\n    a = 1\n    return boom(a)\n"
    )
    program.push(edited, "f")
    with pytest.raises(ValueError) as caught:
        program.f()
    frames = traceback.extract_tb(caught.value.__traceback__)[-2:]
    file = f"<scatter {program.name}:f v1>"
    assert [(f.filename, f.name, f.line) for f in frames] == [
        (file, "f", "return boom(a)"),
        (file, "boom", "raise ValueError(x)"),
    ]
    lines = edited.split("\n")
    assert [lines[f.lineno - 1].strip() for f in frames if f.lineno] == [f.line for f in frames]
    assert inspect.getsource(program.f).startswith("@scatter.track\ndef f():\n    a = 1\n")
    assert "boom(a)" in program.f.source


def test_names_of_nested_functions_are_those_of_the_file(lab: Lab) -> None:
    program = lab.module(METHODS)
    edited = program.edit("return self.v + x", "return (lambda: 0).__qualname__, up.__qualname__")
    program.push(edited + "\ndef up():\n    def inner(): pass\n    return inner\n", "Model.plain")
    assert program.Model().plain(0) == ("Model.plain.<locals>.<lambda>", "up")
    assert program.Model.plain.__qualname__ == "Model.plain"
    assert program.Model.plain.__module__ == program.name


# closures ------------------------------------------------------------------------------------


def test_a_tracked_closure_runs_versions_whatever_their_parameters_are_called(lab: Lab) -> None:
    """The trampoline keeps the closure's free variables beside the target's parameters."""
    program = lab.module(
        """
        import scatter
        from scatter.registry import REGISTRY
        def make(args, kwargs, x):
            def inner(y): return args, kwargs, x, y
            return inner
        """
    )
    from scatter.registry import Registry
    from scatter.slot import Linked

    registry = Registry()
    function = program.make(1, 2, 3)
    registry.add("inner", function)

    def take(x: int, args: int = 5, *more: int, kwargs: int = 6) -> tuple[Any, ...]:
        return x, args, more, kwargs

    registry.switch({"inner": Linked(function="inner", version=1, bundle="", target=take)})
    assert function(1) == (1, 5, (), 6)
    assert function(1, 2, 3, kwargs=4) == (1, 2, (3,), 4)
    slot = registry.get("inner")
    assert slot is not None
    registry.switch({"inner": slot.shipped})
    assert function(4) == (1, 2, 3, 4)


# generated edits -----------------------------------------------------------------------------


def test_linking_from_many_threads_at_once_leaves_each_function_right(lab: Lab) -> None:
    names = [f"f{n}" for n in range(6)]
    program = lab.module(HEAD + "".join(f"@scatter.track\ndef {n}(): return 0\n" for n in names))
    edited = program.text.replace("return 0", "return one()") + "\ndef one(): return 1\n"
    wanted = {name: program.wanted(edited, name) for name in names}
    from scatter import apply
    from scatter.registry import REGISTRY

    def work(name: str) -> None:
        apply.switch(REGISTRY, apply.prepare(REGISTRY, wanted[name]))

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [getattr(program, name)() for name in names] == [1] * 6


def test_the_program_of_the_lab_is_the_module(lab: Lab) -> None:
    assert isinstance(lab.module("x = 1\n"), Program)
