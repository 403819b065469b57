"""What a version brings along and what it is refused for, name by name: the less usual names."""

from __future__ import annotations

import pytest
from linking import Lab

HEAD = "import scatter\n\n\n"
PLAIN = HEAD + "@scatter.track\ndef f(x=1): return x\n"


def edited(head: str, body: str) -> str:
    """Return a text with new definitions, and another body of `f`."""
    return f"import scatter\n{head}\n\n@scatter.track\ndef f(x=1): return {body}\n"


# names bound more than once ----------------------------------------------------------------


def test_of_a_conditional_definition_the_branch_that_is_taken_runs(lab: Lab) -> None:
    program = lab.module(PLAIN)
    chosen = "import sys\nif sys.version_info > (3, 8):\n    def h(): return 1\nelse:\n"
    program.push(edited(chosen + "    def h(): return 0\n", "h()"), "f")
    assert program.f() == 1


def test_an_edit_of_the_branch_that_is_not_taken_changes_nothing(lab: Lab) -> None:
    text = edited(
        "try:\n    def h(): return 1\nexcept ImportError:\n    def h(): return 0\n", "h()"
    )
    program = lab.module(text)
    program.push(text.replace("return 0", "return 5"), "f")
    assert program.f() == 1
    program.push(text.replace("return 1", "return 7"), "f")
    assert program.f() == 7


def test_two_imports_under_one_name_both_travel(lab: Lab) -> None:
    program = lab.module(PLAIN)
    head = "import wsgiref.util\nimport wsgiref.headers\n"
    program.push(edited(head, "wsgiref.util.__name__ + wsgiref.headers.__name__"), "f")
    assert program.f() == "wsgiref.utilwsgiref.headers"


# constants -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "body", "result"),
    [
        ("import re\nP = re.compile('A+', re.IGNORECASE)\n", "P.match('aab').group()", "aa"),
        ("from decimal import Decimal\nR = Decimal('0.5') * 2\n", "str(R)", "1.0"),
        ("from pathlib import Path\nP = Path('/a') / 'b'\n", "str(P)", "/a/b"),
        ("import datetime\nT = datetime.timedelta(minutes=2)\n", "T.seconds", 120),
        ("from collections import namedtuple\nP = namedtuple('P', 'x y')\n", "P(1, 2).y", 2),
        ("import functools\nh = functools.partial(int, base=16)\n", "h('ff')", 255),
    ],
    ids=["regular expression", "decimal", "path", "time", "named tuple", "partial"],
)
def test_a_new_value_of_a_well_known_sort_is_made(
    lab: Lab, head: str, body: str, result: object
) -> None:
    program = lab.module(PLAIN)
    program.push(edited(head, body), "f")
    assert program.f() == result


def test_a_changed_regular_expression_travels(lab: Lab) -> None:
    text = edited("import re\nP = re.compile('a')\n", "P.match('aab').group()")
    program = lab.module(text)
    program.push(text.replace("'a'", "'a+'"), "f")
    assert program.f() == "aa"
    program.module.P = program.re.compile("b")
    refusal = program.refusal(text.replace("'a'", "'a*'"), "f")
    assert refusal.reason == "constant-changed-at-run-time"
    assert "re.compile('b')" in refusal.message


def test_a_value_made_through_something_that_is_no_constructor_is_state(lab: Lab) -> None:
    program = lab.module(PLAIN)
    refusal = program.refusal(edited("import os\nP = os.getpid()\n", "P"), "f")
    assert refusal.reason == "missing-state"


# classes ---------------------------------------------------------------------------------------

TWO = HEAD + "@scatter.track\ndef f(x): return x\n\n\n@scatter.track\ndef g(x): return x\n"


def test_a_new_class_is_one_class_for_all_functions_and_versions(lab: Lab) -> None:
    program = lab.module(TWO)
    text = (
        "import enum\nimport scatter\n\n"
        "class Bad(Exception): pass\n"
        "class Worse(Bad): mark = lambda self: Colour.RED\n"
        "class Colour(enum.Enum):\n    RED = 1\n\n"
        "@scatter.track\ndef f(x):\n"
        "    try:\n        return g(x)\n    except Bad as error:\n        return error\n\n"
        "@scatter.track\ndef g(x): raise Worse(Colour.RED)\n"
    )
    program.push(text, "f", "g")
    first = program.f(1)
    assert first.args[0] is first.mark()
    program.push(text.replace("return error", "return error, Colour.RED"), "f")
    again, red = program.f(1)
    assert type(again) is type(first)
    assert red is first.args[0]
    assert "Bad" not in vars(program.module)


def test_a_changed_new_class_is_another_one(lab: Lab) -> None:
    program = lab.module(TWO)
    text = "import scatter\nclass P:\n    v = 1\n\n@scatter.track\ndef f(x): return P\n"
    program.push(text, "f")
    old = program.f(0)
    program.push(text.replace("v = 1", "v = 2"), "f")
    assert (old.v, program.f(0).v) == (1, 2)
    program.push(text.replace("return P", "return  P  # layout"), "f")
    assert program.f(0) is old, "the same code again"


def test_new_classes_that_name_each_other_are_made_together(lab: Lab) -> None:
    program = lab.module(TWO)
    text = (
        "import scatter\n"
        "class Z:\n    def other(self): return a()\n"
        "def a(): return A()\n"
        "class A:\n    def other(self): return Z()\n\n"
        "@scatter.track\ndef f(x): return Z().other(), A().other()\n\n"
        "@scatter.track\ndef g(x): return Z(), A()\n"
    )
    program.push(text, "f", "g")
    assert [type(one) for one in program.f(0)[::-1]] == [type(one) for one in program.g(0)]


def test_a_method_that_needs_what_only_the_edited_class_has_is_refused(lab: Lab) -> None:
    text = HEAD + (
        "class M:\n    LIMIT = 1\n\n    def __init__(self): self.v = 1\n\n"
        "    @scatter.track\n    def f(self): return self.v\n"
    )
    program = lab.module(text)
    more = text.replace("return self.v", "return self._h()") + "\n    def _h(self): return 2\n"
    refusal = program.refusal(more, "M.f")
    assert refusal.reason == "missing-member"
    assert "`_h` of class `M`" in refusal.message
    program.push(text.replace("return self.v", "return self.v + self.LIMIT"), "M.f")
    assert program.M().f() == 2
    mangled = text.replace("return self.v", "return self.__h()") + "\n    def __h(self): return 2\n"
    assert program.refusal(mangled, "M.f").reason == "missing-member"
    program.M._M__h = lambda self: 3
    program.push(mangled, "M.f")
    assert program.M().f() == 3


# what registers -----------------------------------------------------------------------------


def test_a_function_that_others_register_with_is_state(lab: Lab) -> None:
    text = HEAD + (
        "from functools import singledispatch\n\n"
        "@singledispatch\ndef h(x): return 'other'\n\n"
        "@h.register\ndef _(x: int): return 'int'\n\n"
        "@scatter.track\ndef f(x): return h(x)\n"
    )
    program = lab.module(text)
    program.push(text.replace("'other'", "'o2'").replace("return h(x)", "return h(x), 1"), "f")
    assert program.f(1) == ("int", 1)
    assert program.f("s") == ("other", 1), "the live one stays, with all that it knows"


def test_a_decorator_that_returns_nothing_is_refused_in_plain_words(lab: Lab) -> None:
    program = lab.module(PLAIN)
    text = HEAD + "def lost(f): pass\n\n@scatter.track\n@lost\ndef f(x=1): return x\n"
    refusal = program.refusal(text, "f")
    assert refusal.reason == "link-failed"
    assert "A decorator of" in refusal.message
    assert "returned None" in refusal.message


# names that are nowhere -----------------------------------------------------------------------


def test_a_misspelt_name_is_refused_before_the_switch(lab: Lab) -> None:
    program = lab.module(PLAIN)
    refusal = program.refusal(edited("def helper(x): return x\n", "heplre(x)"), "f")
    assert refusal.reason == "missing-name"
    assert "uses `heplre`, defined neither in its module nor in this process" in refusal.message


def test_what_a_new_star_import_brings_travels(lab: Lab) -> None:
    program = lab.module(PLAIN)
    program.push(edited("from json import *\nfrom math import *\n", "floor(x), dumps(x)"), "f")
    assert program.f(1.5) == (1, "1.5")
    assert not hasattr(program.module, "floor")


def test_what_no_star_import_brings_is_refused_before_the_switch(lab: Lab) -> None:
    program = lab.module(PLAIN)
    refusal = program.refusal(edited("from math import *\n", "flor(x)"), "f")
    assert refusal.reason == "missing-import"
    assert "cannot import name 'flor' from 'math'" in refusal.message


def test_a_name_that_may_be_missing_is_no_new_mistake(lab: Lab) -> None:
    text = HEAD + (
        "@scatter.track\ndef f(x=1):\n"
        "    try:\n        return unicode(x)\n    except NameError:\n        return x\n"
    )
    program = lab.module(text)
    program.push(text.replace("return x", "return x + 1"), "f")
    assert program.f() == 2


def test_a_name_that_is_bound_at_run_time_is_known(lab: Lab) -> None:
    text = HEAD + (
        "def begin():\n    global session\n    session = 's'\n\n"
        "@scatter.track\ndef f(x=1): return x\n"
    )
    program = lab.module(text)
    program.push(text.replace("return x", "return session"), "f")
    program.begin()
    assert program.f() == "s"


def test_names_inside_lambdas_and_comprehensions_are_their_own(lab: Lab) -> None:
    program = lab.module(PLAIN)
    head = "double = lambda n, *, m=[q for q in (2, 3) if q][0]: n * m\n"
    program.push(edited(head, "double(x), [y for y in (x, 2)]"), "f")
    assert program.f(3) == (6, [3, 2])


# what is state, and what a class is ---------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        'STATS["hits"]["n"] += 1',
        'STATS["hits"].clear()',
        'STATS["hits"]["n"] = 0',
        'heapq.heappush(STATS["queue"], x)',
        'del STATS["hits"]["n"]',
    ],
)
def test_a_table_that_is_changed_anywhere_inside_is_state(lab: Lab, change: str) -> None:
    text = HEAD + (
        'import heapq\n\nSTATS = {"hits": {"n": 1}, "queue": []}\n\n\n'
        f"def count(x):\n    {change}\n\n\n"
        "@scatter.track\ndef f(x=1): return STATS\n"
    )
    program = lab.module(text)
    program.push(text.replace('"queue": []}', '"queue": [], "new": 1}'), "f")
    assert program.f() is program.STATS, "the live one stays"


def test_a_decorator_of_somebody_else_that_is_called_track_hides_no_edit(lab: Lab) -> None:
    text = HEAD + (
        "class metrics:\n    track = staticmethod(lambda f: f)\n\n\n"
        "class M:\n    @metrics.track\n    def get(self): return 1\n\n\n"
        "@scatter.track\ndef f(x=1): return M().get()\n"
    )
    program = lab.module(text)
    refusal = program.refusal(text.replace("return 1", "return 2"), "f")
    assert refusal.reason == "class-changed"


def test_a_private_method_can_be_pushed(lab: Lab) -> None:
    text = HEAD + (
        "class M:\n    @scatter.track\n    def __score(self): return 1\n\n"
        "    def get(self): return self.__score()\n"
    )
    program = lab.module(text)
    program.push(text.replace("return 1", "return 2"), "M.__score")
    assert program.M().get() == 2


def test_a_default_may_use_whatever_a_class_body_binds(lab: Lab) -> None:
    text = HEAD + (
        "class M:\n    import math\n    if True:\n        LIMIT = 2\n\n"
        "    @scatter.track\n    def f(self, n=LIMIT, m=math): return n\n"
    )
    program = lab.module(text)
    program.push(text.replace("return n", "return n, m.pi > 3"), "M.f")
    assert program.M().f() == (2, True)


def test_a_class_body_that_would_read_the_wrong_name_is_refused(lab: Lab) -> None:
    """A class body looks names up in itself and in the module, where the deployed one is."""
    program = lab.module(HEAD + "LIMIT = 1\n\n@scatter.track\ndef f(x=1): return LIMIT\n")
    edit = program.edit("LIMIT = 1\n", "LIMIT = 2\nclass K: LIMIT = LIMIT\n")
    refusal = program.refusal(edit.replace("return LIMIT", "return LIMIT, K.LIMIT"), "f")
    assert refusal.reason == "shadowed-name"
    assert "Class `K` binds `LIMIT`" in refusal.message


# lambdas ------------------------------------------------------------------------------------------


def test_a_lambda_that_a_name_is_bound_to_is_a_function_like_others(lab: Lab) -> None:
    text = HEAD + (
        "RATE = 2\ndef twice(f): return lambda x: f(f(x))\n"
        'g = scatter.track(name="tripled")(twice(lambda x: x * RATE))\n'
    )
    program = lab.module(text)
    source = program.source(text)
    assert list(source.tracked) == ["g"]
    assert source.tracked["g"].tracked_name == "tripled"
    program.push(text.replace("x * RATE", "x + RATE"), "g")
    assert program.g(1) == 5


# refusals that whoever pushes may go over ------------------------------------------------------

ALLOWED = {
    "kind-changed": ("def f(x=1): return x", "async def f(x=1): return x", "f(1)"),
    "signature-changed": ("def f(x=1): return x", "def f(y, x=1): return y, x", "f(5)"),
    "missing-name": ("def f(x=1): return x", "def f(x=1): return heplre(x)", "f()"),
    "class-changed": ("return C().n, x", "return x, C().n", "f()"),
    "constant-changed-at-run-time": ("N = 1", "N = 2", "f()"),
}


@pytest.mark.parametrize("code", ALLOWED)
def test_a_judgement_is_left_to_whoever_pushes(lab: Lab, code: str) -> None:
    old, new, call = ALLOWED[code]
    text = HEAD + "N = 1\nclass C:\n    n = 1\n@scatter.track\ndef f(x=1): return x\n"
    if "class" in code:
        text = text.replace("return x", "return C().n, x")
    if "constant" in code:
        text = text.replace("return x", "return N, x")
    program = lab.module(text)
    program.module.N = 7 if "constant" in code else 1
    edited = text.replace(old, new)
    if "class" in code:
        edited = edited.replace("n = 1", "n = 2")
    assert program.refusal(edited, "f").reason == code
    program.allow = (code,)
    program.push(edited, "f")
    try:
        found = eval(call, {"f": program.f})
    except NameError as error:
        found = str(error)
    if code == "kind-changed":
        found.close()
        assert found.__name__ == "f"
    else:
        assert (
            found
            == {
                "signature-changed": (5, 1),
                "missing-name": "name 'heplre' is not defined",
                "class-changed": (1, 1),
                "constant-changed-at-run-time": (2, 1),
            }[code]
        )


def test_a_member_that_is_missing_can_be_allowed(lab: Lab) -> None:
    text = HEAD + "class C:\n    @scatter.track\n    def f(self): return 1\n"
    program = lab.module(text)
    edited = text.replace("return 1", "return self.g()") + "    def g(self): return 2\n"
    assert program.refusal(edited, "C.f").reason == "missing-member"
    program.allow = ("missing-member",)
    program.push(edited, "C.f")
    with pytest.raises(AttributeError):
        program.C().f()


def test_what_cannot_be_bound_cannot_be_allowed(lab: Lab) -> None:
    program = lab.module(PLAIN)
    program.allow = ("missing-import", "missing-state")
    assert program.refusal(edited("import nowhere_at_all\n", "nowhere_at_all"), "f").reason == (
        "missing-import"
    )


@pytest.mark.parametrize("when", ["sys.version_info < (3,)", "sys.version_info > (3,)"])
def test_an_import_that_only_some_pythons_need_leaves_the_builtin(lab: Lab, when: str) -> None:
    text = f"import scatter, sys\nif {when}:\n    from builtins import TypeError as ValueError\n"
    text += "@scatter.track\ndef f(x):\n    return isinstance(ValueError(), ValueError), x\n"
    program = lab.module(text)
    program.push(text.replace("return ", "return 1, "), "f")
    assert program.f(2) == (1, True, 2)
    added = "try:\n    from nowhere import KeyError\nexcept ImportError:\n    pass\n@scatter.track"
    program.push(text.replace("@scatter.track", added).replace("return ", "return KeyError, "), "f")
    assert program.f(2) == (KeyError, True, 2)
