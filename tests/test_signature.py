"""Which calls a new signature breaks, in words; compared with really calling both functions."""

from __future__ import annotations

import itertools
import re
from types import FunctionType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scatter.linker.signature import broken_call

NAMES = ("a", "b", "c", "d", "_u", "_v")
STRANGER = "other"
MOST = 5


def made(parameters: str) -> FunctionType:
    """Return a function with these parameters that returns what they got."""
    scope: dict[str, FunctionType] = {}
    exec(f"def f({parameters}): return locals()", scope)
    return scope["f"]


def said(old: str, new: str) -> str:
    return broken_call(made(old), made(new))


# what it says -----------------------------------------------------------------------------------

BROKEN = [
    # old, new, what is said
    ("price", "price, quantity", "`quantity` is a new required parameter"),
    ("price", "price, *, quantity", "`quantity` is a new required parameter"),
    (
        "price",
        "price, quantity, /",
        "`price` is positional-only now: calls that pass it by name fail",
    ),
    ("", "price, /", "`price` is a new required parameter"),
    ("price, rate=1", "price, rate", "`rate` is required now"),
    ("*, rate=1", "*, rate", "`rate` is required now"),
    ("rate=1, /", "rate, /", "`rate` is required now"),
    ("rate=1", "factor", "`factor` is a new required parameter"),
    ("price, rate=1", "price", "parameter `rate` is gone: calls that pass it fail"),
    ("price, rate", "price", "parameter `rate` is gone: calls that pass it fail"),
    ("price, rate, /", "price, /", "parameter `rate` is gone: calls that pass it fail"),
    ("price, *, rate=1", "price", "parameter `rate` is gone: calls that pass it by name fail"),
    ("price, rate", "price, *rest", "parameter `rate` is gone: calls that pass it by name fail"),
    ("price, rate", "rate", "parameter `price` is gone: calls that pass it by name fail"),
    ("price, rate, /", "rate, /", "it took 2 positional arguments, and takes at most 1 now"),
    ("_price, rate=1", "rate=1", "it took 2 positional arguments, and takes at most 1 now"),
    ("x", "value", "`x` is called `value` now: calls that pass it by name fail"),
    ("x=1", "value=1", "`x` is called `value` now: calls that pass it by name fail"),
    ("self, x", "self, value", "`x` is called `value` now: calls that pass it by name fail"),
    ("x", "value, **more", "`x` is called `value` now: calls that pass it by name fail"),
    ("x", "_x", "`x` is called `_x` now: calls that pass it by name fail"),
    ("rate", "rate, /", "`rate` is positional-only now: calls that pass it by name fail"),
    ("rate", "factor, /", "`rate` is positional-only now: calls that pass it by name fail"),
    (
        "price, rate",
        "price, *, rate",
        "`rate` is keyword-only now: calls that pass it by position fail",
    ),
    (
        "price, rate",
        "price, *x, rate",
        "`rate` is keyword-only now: calls that pass it by position fail",
    ),
    ("a, rate, /", "a, *, rate", "`rate` is keyword-only now: calls that pass it by position fail"),
    ("*args", "a=1, b=2", "it took any number of positional arguments, and takes at most 2 now"),
    ("*args", "", "it took any number of positional arguments, and takes none now"),
    ("a, *args", "a", "it took any number of positional arguments, and takes at most 1 now"),
    ("**more", "a=1", "it took any keyword argument, and takes only those that it names now"),
    (
        "*args, **more",
        "a=1, *args, **more",
        "`a` takes an argument by position now: calls that give it twice fail",
    ),
    (
        "a, /, **more",
        "a, **more",
        "`a` takes an argument by position now: calls that give it twice fail",
    ),
    ("*, _key", "*, _other", "`_other` is a new required parameter"),
    ("*, _key=1", "", "parameter `_key` is gone: calls that pass it by name fail"),
]


@pytest.mark.parametrize(("old", "new", "words"), BROKEN, ids=lambda text: text or "-")
def test_a_call_that_would_fail_is_told_in_words(old: str, new: str, words: str) -> None:
    assert said(old, new) == words


MOVED = [
    ("a, b", "b, a", "`a, b` is now `b, a`"),
    ("a, b, /", "b, a, /", "`a, b` is now `b, a`"),
    ("self, a, b", "self, b, a", "`a, b` is now `b, a`"),
    ("x, a, b, y", "x, b, a, y", "`a, b` is now `b, a`"),
    ("x, a, b, *, y", "x, b, a, *, y", "`a, b` is now `b, a`"),
    ("a", "x=0, a=1", "`a` is now `x, a`"),
    ("a, b=1", "a, *rest, b=1", "`b` is now `*rest, b`"),
    ("a=1, *, b=1", "b=1, **more", "`a, *, b` is now `b, **more`"),
    ("_a, _b", "_b, _a", "`_a, _b` is now `_b, _a`"),
    ("x", "self, x", "`x` is now `self, x`"),
]


@pytest.mark.parametrize(("old", "new", "words"), MOVED, ids=lambda text: text)
def test_a_call_by_position_that_means_something_else_is_told(
    old: str, new: str, words: str
) -> None:
    assert said(old, new) == f"parameters changed places: {words}"


STILL_VALID = [
    ("a, b=1", "a, b=1"),
    ("a, b=1", "a, b=2"),
    ("a, b", "a, b=1, c=2"),
    ("a, b", "a, b, *rest, c=1, **more"),
    ("a, /", "b, /"),
    ("a, /", "a"),
    ("a, *, b", "a, b"),
    ("*args, **more", "*rest, **others"),
    ("*, a, b", "*, b, a"),
    ("x=1", "value=1, **more"),
    ("self, x", "this, x"),
    ("cls, x", "klass, x"),
    ("self, x", "self, x, *, y=1"),
    ("*args", "self, *args"),
    ("_x", "x"),
    ("a, _x=1", "a, _y=1"),
    ("a, **more", "a, b=1, **more"),
]


@pytest.mark.parametrize(("old", "new"), STILL_VALID)
def test_nothing_is_said_if_every_call_stays_valid(old: str, new: str) -> None:
    assert said(old, new) == ""


def test_defaults_are_those_of_the_function_and_not_those_of_its_text() -> None:
    old, new = made("a, b, c, *, d"), made("a, b, c, *, d")
    old.__defaults__, old.__kwdefaults__ = (1, 2, 3), {"d": 1}
    assert broken_call(old, new) == "`a` is required now"
    new.__defaults__ = (1, 2, 3, 4)  # CPython takes more than there are parameters
    assert broken_call(old, new) == "`d` is required now"
    new.__kwdefaults__ = {"d": 2, "none such": 3}
    assert broken_call(old, new) == broken_call(new, old) == ""


def test_coroutines_generators_and_lambdas_have_signatures_like_any_function() -> None:
    scope: dict[str, Any] = {}
    exec("async def f(a): yield a", scope)
    exec("g = lambda b: b", scope)
    assert broken_call(scope["f"], scope["g"]).startswith("`a` is called `b` now")


# compared with calling ---------------------------------------------------------------------------


@st.composite
def names_of_parameters(draw: st.DrawFn) -> list[str]:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    return ["self", *names[1:]] if names and draw(st.integers(0, 5)) == 0 else names


@st.composite
def signatures(draw: st.DrawFn, names: list[str] | None = None) -> str:
    """Draw a parameter list: up to four parameters of all kinds, `*args` and `**kwargs`."""
    names = draw(names_of_parameters()) if names is None else names
    named = draw(st.integers(0, len(names)))  # from here on, keyword-only
    only = draw(st.integers(0, named))
    plain = draw(st.integers(0, named))  # from here on, with defaults
    star, double = draw(st.booleans()), draw(st.booleans())
    parts = [f"{name}=0" if place >= plain else name for place, name in enumerate(names[:named])]
    if only:
        parts.insert(only, "/")
    if star or named < len(names):
        parts.append("*args" if star else "*")
    parts += [f"{name}=0" if draw(st.booleans()) else name for name in names[named:]]
    return ", ".join([*parts, *["**kwargs"] * double])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Draw two parameter lists, half of the time of the same names."""
    names = draw(names_of_parameters())
    others = names if draw(st.booleans()) else draw(names_of_parameters())
    return draw(signatures(names)), draw(signatures(others))


class Function:
    """One side of a comparison: a function, and where the arguments of a call go."""

    def __init__(self, parameters: str) -> None:
        code = made(parameters).__code__
        self.call: Any = made(parameters)
        self.positional = code.co_varnames[: code.co_argcount]
        count = code.co_argcount + code.co_kwonlyargcount
        self.keywords = code.co_varnames[code.co_argcount : count]
        self.names = {*self.positional, *self.keywords}
        self.has_self = self.positional[:1] == ("self",)

    def places(self, given: int, names: tuple[str, ...]) -> list[str] | None:
        """Return what takes each argument that is given by position; None if the call fails."""
        try:
            got = self.call(*range(100, 100 + given), **dict.fromkeys(names, -1))
        except TypeError:
            return None
        rest = dict.fromkeys(got.pop("args", ()), "*")
        got.pop("kwargs", None)
        taken = {value: name for name, value in got.items()} | rest
        return [taken[100 + place] for place in range(given)]


def compared(old: Function, new: Function) -> tuple[list[tuple[int, tuple[str, ...]]], bool]:
    """Return the calls that only `old` takes, of those that count; whether others mean another."""
    unwritten = {name for name in (*old.positional, *new.positional) if name[0] == "_"}
    unwritten |= {"self"} if old.has_self or new.has_self else set()
    names = sorted((old.names | new.names | {STRANGER}) - (unwritten - set(old.keywords)))
    broken, moved = [], False
    for count in range(old.has_self or new.has_self, MOST + 1):
        for some in range(len(names) + 1):
            for named in itertools.combinations(names, some):
                before, after = old.places(count, named), new.places(count, named)
                if before is not None and after is None:
                    broken.append((count, named))
                if before is not None and after is not None:
                    moved |= any(
                        was != now and (was in new.names or now in old.names)
                        for was, now in zip(before, after, strict=True)
                    )
    return broken, moved


@settings(deadline=None, max_examples=700)
@given(pairs())
def test_something_is_said_exactly_if_some_call_breaks_or_means_something_else(
    pair: tuple[str, str],
) -> None:
    old, new = pair
    words = said(old, new)
    broken, moved = compared(Function(old), Function(new))
    assert bool(words) == bool(broken or moved), (words, broken[:3])
    if not words.startswith("parameters changed places"):
        assert bool(words) == bool(broken), "a call that stays valid was said to fail"


@settings(deadline=None, max_examples=700)
@given(pairs())
def test_the_calls_that_it_says_fail_do_fail(pair: tuple[str, str]) -> None:
    old, new = pair
    words = said(old, new)
    before, after = Function(old), Function(new)
    broken, _ = compared(before, after)
    name = (re.findall("`([^`]+)`", words) or [""])[0]
    if words.endswith("pass it by name fail"):
        assert any(name in named for _, named in broken)
    elif words.endswith(("pass it by position fail", "pass it fail")):
        place = before.positional.index(name)
        assert any(count > place for count, _ in broken)
    elif words.endswith("is required now"):
        assert any(name not in named for _, named in broken)
    elif words.endswith("is a new required parameter"):
        assert name not in before.names
        assert any(name not in named for _, named in broken)
    elif words.endswith("give it twice fail"):
        assert any(name in named and count for count, named in broken)
    elif "any keyword argument" in words:
        assert any(STRANGER in named for _, named in broken)
    elif "positional arguments, and takes" in words:
        assert any(count > len(after.positional) for count, _ in broken)
    else:
        assert not words or words.startswith("parameters changed places")


@settings(deadline=None)
@given(signatures())
def test_a_function_breaks_no_call_of_itself(parameters: str) -> None:
    assert said(parameters, parameters) == ""


@pytest.mark.parametrize("count", [40, 200])
def test_functions_with_many_parameters_are_no_burden(count: int) -> None:
    many = ", ".join(f"p{n}=0" for n in range(count))
    assert said(many, f"{many}, extra=0") == ""
    assert said(f"{many}, last=0", many) == "parameter `last` is gone: calls that pass it fail"
