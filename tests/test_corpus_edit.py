"""The edit that the corpus is replaced with: it must change every function, and nothing else."""

from __future__ import annotations

import ast
import inspect
import sys
import sysconfig
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scatter.analysis import ModuleSource, same_code

sys.path.insert(0, str(Path(__file__).parent.parent))
try:
    from benchmarks.corpus_edit import MARK, edited, functions_in
finally:
    del sys.path[0]

STDLIB = Path(sysconfig.get_path("stdlib"))
MODULES = sorted(f for f in STDLIB.rglob("*.py") if not {"site-packages", "test"} & {*f.parts})


def _read(file: Path) -> str:
    with tokenize.open(file) as stream:
        return stream.read()


def _is_python(text: str) -> bool:
    try:
        compile(text, "<module>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _run(text: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(compile(edited(textwrap.dedent(text)), "<edited>", "exec", dont_inherit=True), scope)
    return scope


def _codes(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _codes(const)


# on modules that nobody here wrote ---------------------------------------------------------


@given(st.sampled_from(MODULES))
@settings(deadline=None, max_examples=60)
def test_every_function_of_a_stdlib_module_is_another_and_nothing_else_is(file: Path) -> None:
    try:
        text = _read(file)
    except (SyntaxError, UnicodeDecodeError):
        return  # lib2to3 and idlelib keep broken files on purpose
    if not _is_python(text):
        return
    new = edited(text)
    compile(new, str(file), "exec", dont_inherit=True)
    before, after = (ModuleSource(t, name="m", file="m.py").functions for t in (text, new))
    assert list(before) == list(after)
    for key, function in before.items():
        assert not same_code(function.source, after[key].source), key
    assert _without_edit(new) == _without_edit(text)


def _without_edit(text: str) -> str:
    """Return a text without what the edit inserts, wherever it comes from."""
    for inserted in (f"{MARK} = 1; ", f"; {MARK} = 1", f"{MARK} = 1", "(1, (", "))[1]"):
        text = text.replace(inserted, "")
    return "\n".join(line for line in text.split("\n") if line.strip())


@given(st.sampled_from(MODULES))
@settings(deadline=None, max_examples=30)
def test_faces_of_edited_functions_stay(file: Path) -> None:
    try:
        text = _read(file)
    except (SyntaxError, UnicodeDecodeError):
        return
    if not _is_python(text):
        return
    before, after = (
        [n for _, n in functions_in(ast.parse(t).body) if not isinstance(n, ast.Lambda)]
        for t in (text, edited(text))
    )
    for one, other in zip(before, after, strict=True):
        assert _face(one) == _face(other)


def _face(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[Any, ...]:
    signature = ast.dump(node.args), [ast.dump(d) for d in node.decorator_list]
    return type(node), node.name, ast.get_docstring(node, clean=False), signature


# shapes ------------------------------------------------------------------------------------


BODIES = {
    "one line": "def f(): return 7",
    "one line with a docstring": "def f(): 'doc'; return 7",
    "a docstring and code on its last line": "def f():\n    '''doc\n    '''; return 7",
    "a docstring in brackets": "def f():\n    ('doc'\n     'more')  # a comment\n    return 7",
    "a block first": "def f():\n    if True:\n        return 7",
    "tabs": "def f():\n\tfor x in [7]:\n\t\treturn x",
    "match first": "def f():\n    match 7:\n        case x: return x",
    "a decorated function first": (
        "def f():\n    @staticmethod\n    def g(): return 7\n    return g()"
    ),
    "a comment first": "def f():\n    # why\n\n    return 7",
    "a signature of many lines": "def f(\n    a=(1,\n    2),\n    *, b=7,\n) -> int:\n    return b",
    "letters of many bytes": "def f(): é = 7; return é",
    "before and after on one line": "def f(): é = 'ß'; return 7",
    "global": "def f():\n    global x\n    x = 7\n    return x",
    "a lambda": "f = lambda é=7: é",
    "a lambda over lines": "f = (lambda: [\n    7\n][0])",
    "a lambda in brackets": "f = lambda: (7)",
    "a decorated lambda": "f = staticmethod(lambda: 7)",
    "a lambda with a walrus": "f = lambda: (x := 7)",
    "in an else": "if False:\n    pass\nelse:\n    def f(): return 7",
    "in a try": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    def f(): return 7",
    "a future import": "from __future__ import annotations\ndef f(x: Nowhere = 7): return x",
    "a form feed": "x = 1\n\x0c\ndef f():\n    return 7",
    "a separator that is no line": "s = '\x85\u2028'\ndef f(): return 7",
}


@pytest.mark.parametrize("name", BODIES)
def test_an_edited_function_does_what_it_did(name: str) -> None:
    scope = _run(BODIES[name])
    assert scope["f"]() == 7
    text = edited(BODIES[name])
    assert MARK in text or "(1, (" in text


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    'doc'",
        "def f(): 'doc'",
        "def f():\n    '''doc\n    '''  # a comment",
        "def f():\n    'doc'; return 1",
        "async def f():\n    'doc'\n    yield 1",
    ],
)
def test_a_docstring_stays_one(text: str) -> None:
    assert _run(text)["f"].__doc__.strip() == "doc"


def test_kinds_of_functions_stay() -> None:
    scope = _run(
        """
        def generator(): yield 1
        async def coroutine():
            async with x: pass
        async def agen():
            yield 1
        lazy = lambda: (yield 1)
        """
    )
    assert inspect.isgeneratorfunction(scope["generator"])
    assert inspect.iscoroutinefunction(scope["coroutine"])
    assert inspect.isasyncgenfunction(scope["agen"])
    assert list(scope["lazy"]()) == [1]


def test_methods_accessors_and_nested_classes_are_edited_and_inner_functions_are_not() -> None:
    text = textwrap.dedent(
        """
        class A:
            @property
            def x(self): return 1

            @x.setter
            def x(self, value): pass

            key = lambda self: 2

            class B:
                @staticmethod
                def f():
                    def inner(): return 3
                    return inner()
        """
    )
    new = edited(text)
    codes = {c.co_qualname: c for c in _codes(compile(new, "", "exec"))}
    marked = {name for name, code in codes.items() if MARK in code.co_varnames}
    assert marked == {"A.x", "A.B.f"}
    assert new.count(MARK) == 3
    assert "lambda self: (1, (2))[1]" in new
    scope = _run(text)
    assert (scope["A"]().x, scope["A"]().key(), scope["A"].B.f()) == (1, 2, 3)


def test_functions_for_type_checkers_are_left_alone() -> None:
    text = "class A:\n    if t.TYPE_CHECKING:\n        def f(self): return 1\n"
    assert edited(text) == text
    assert MARK in edited(f"{text}    else:\n        def f(self): return 2\n")


def test_only_wanted_functions_are_edited() -> None:
    text = "def f(): return 1\ndef g(): return 2\n"
    assert edited(text, {"g"}.__contains__) == (
        f"def f(): return 1\ndef g(): {MARK} = 1; return 2\n"
    )


def test_a_module_without_functions_is_what_it_was() -> None:
    assert edited("x = 1\n") == "x = 1\n"
