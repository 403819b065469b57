"""Whether two definitions are the same code: layout and comments apart."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scatter.analysis import same_code


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x): return x", "def f(x):  # a comment\n    return (x)"),
        ("    def f(self): ...", "    def f(self):\n        ..."),
        ("def f(): return 'a'", 'def f(): return "a"'),
    ],
)
def test_layout_and_comments_make_no_difference(one: str, other: str) -> None:
    assert same_code(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x): return x", "def f(y): return y"),
        ("def f(): return 0.0", "def f(): return -0.0"),
        ("def f(): return 1", "def f(): return True"),
        ("def f(): return 1", "def f(): return 1.0"),
        ("def f(x): return x", "def f(x, /): return x"),
        ("def f(): a; b", "def f(): b; a"),
        ("def f(): a", "def f(): a; b"),
        ("def f(): return x", "async def f(): return x"),
        ("def f(): ...", "def f( is no Python"),
    ],
)
def test_anything_else_does(one: str, other: str) -> None:
    assert not same_code(one, other)


def test_code_as_deep_as_python_takes_is_compared() -> None:
    deep = " + ".join(["x"] * 900)
    assert same_code(f"def f(x): return {deep}", f"def f(x): return ({deep})")
    assert not same_code(f"def f(x): return {deep}", f"def f(x): return {deep} + y")


EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "y", "1", "1.0", "True", "'a'", "b'a'", "None", "[]", "x.y"]),
    lambda inner: st.one_of(
        st.builds("({} + {})".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("f({}, k={})".format, inner, inner),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS, EXPRESSIONS)
def test_it_agrees_with_what_python_dumps(one: str, other: str) -> None:
    first, second = f"def f(): return {one}", f"def f():  # c\n    return {other}"
    assert same_code(first, second) == (ast.dump(ast.parse(first)) == ast.dump(ast.parse(second)))
