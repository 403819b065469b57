"""Callers and signatures: a parameter may come, go or change its name if everybody who calls the
function is known, and calls it so in the code that will run. Otherwise the version is refused."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from contextlib import nullcontext
from types import FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linking import Lab, Program, wanted_from
from scatter_agent.follower import Follower
from support import signed

import scatter
from scatter import apply, bases
from scatter.analysis import ModuleSource
from scatter.bundle import decode
from scatter.bundle.build import build
from scatter.linker.signature import misfit
from scatter.registry import REGISTRY, Registry
from scatter.releases import Candidate, Releases
from scatter.store.memory import MemoryStore

HEAD = "import scatter\n\n"
F = "@scatter.track\ndef f(x):\n    return x\n\n"
NEW_F = "@scatter.track\ndef f(x, y):\n    return x + y\n\n"
G = "@scatter.track\ndef g(x):\n    return f(x)\n\n"
NEW_G = "@scatter.track\ndef g(x):\n    return f(x, 1)\n\n"


@pytest.fixture(autouse=True)
def _nothing_runs_of_other_tests() -> None:
    """Go back to the deployed code everywhere: what other tests left counts as callers."""
    REGISTRY.switch({name: slot.shipped for name, slot in REGISTRY.slots().items()})


def refusals(program: Program, text: str, *qualnames: str) -> dict[str, str]:
    """Return function → why it is refused, and see that nothing has changed."""
    before = program._fingerprint()
    prepared = program.prepare(text, *qualnames)
    assert program._fingerprint() == before, "preparing changed something"
    for refusal in prepared.refusals:
        assert refusal.reason == "signature-changed", refusal
    return {r.function.rpartition(":")[2]: r.message for r in prepared.refusals}


def note(program: Program, text: str, *qualnames: str) -> str:
    """Push, and return what is noted about the signature of the first function."""
    prepared = program.push(text, *qualnames)
    linked = prepared.linked[f"{program.name}:{qualnames[0]}"]
    (found,) = [one for one in linked.notes if one.startswith("signature changed")]
    return found


# what it is for ----------------------------------------------------------------------------


def test_a_required_parameter_may_come_with_all_who_call_the_function(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    assert note(program, HEAD + NEW_F + NEW_G, "f", "g") == (
        "signature changed; its one call here fits"
    )
    assert (program.g(1), program.f(2, 3)) == (2, 5)
    program.go(f=0, g=0)
    assert (program.g(1), program.f(2)) == (1, 2)


def test_without_its_caller_it_is_refused_and_the_call_is_named(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    refusal = program.refusal(HEAD + NEW_F + NEW_G, "f")
    assert refusal.reason == "signature-changed"
    assert refusal.message == (
        f"Callers of `{program.name}:f` in this process would break: `y` is a new required "
        f"parameter. `f(x)` at {program.name}.py:9: it does not give `y`. Release it together with "
        "its callers, give new parameters a default and keep the old ones, or push it with "
        "`--allow signature-changed` if nobody here calls it so."
    )
    assert program.g(1) == 1


def test_a_caller_that_was_released_before_counts_with_the_code_that_it_runs(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    program.push(HEAD + NEW_F + NEW_G, "g")
    note(program, HEAD + NEW_F + NEW_G, "f")
    assert program.g(1) == 2


def test_the_new_code_of_a_caller_must_fit_too(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    wrong = HEAD + NEW_F + NEW_G.replace("f(x, 1)", "f(x, z=1)")
    found = refusals(program, wrong, "f", "g")
    assert f"`f(x, z=1)` at {program.name}.py:9: it gives `z` by name" in found["f"]


def test_a_function_that_nothing_deployed_calls_has_callers_that_nobody_knows(lab: Lab) -> None:
    program = lab.module(HEAD + F + G.replace("f(x)", "x"))
    found = refusals(program, HEAD + NEW_F + NEW_G, "f", "g")
    assert "Who calls it is not known: no deployed code calls it by its name." in found["f"]


def test_a_call_of_itself_tells_nothing_of_who_calls_it_but_must_fit(lab: Lab) -> None:
    old = "@scatter.track\ndef f(x):\n    return f(x - 1) if x else 0\n\n"
    new = "@scatter.track\ndef f(x, y):\n    return f(x - 1, y) if x else y\n\n"
    alone = lab.module(HEAD + old)
    assert "not known" in refusals(alone, HEAD + new, "f")["f"]
    called = lab.module(HEAD + old + G)
    assert note(called, HEAD + new + NEW_G, "f", "g").endswith("its 2 calls here fit")
    assert called.g(3) == 1
    again = lab.module(HEAD + old + G)
    wrong = new.replace("f(x - 1, y)", "f(x - 1)")
    assert "`f(x - 1)`" in refusals(again, HEAD + wrong + NEW_G, "f", "g")["f"]


def test_callers_may_all_have_gone(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    said = note(program, HEAD + NEW_F + G.replace("f(x)", "x"), "f", "g")
    assert said == "signature changed; nothing here calls it any more"


def test_what_was_allowed_needs_no_callers(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    program.allow = ("signature-changed",)
    program.push(HEAD + NEW_F, "f")
    program.allow = ()
    program.push(HEAD + F + G.replace("return", "return 1 +"), "g")
    with pytest.raises(TypeError):
        program.g(1)


CHANGES = [
    # parameters of the deployed and the new function, calls that fit it
    ("x, y=1", "x", "f(x, 2)", "f(x)"),
    ("x", "value", "f(x=x)", "f(value=x)"),
    ("x, y=1", "y, x=1", "f(x)", "f(y=x)"),
    ("x", "*, x", "f(x)", "f(x=x)"),
    ("x", "x, /", "f(x=x)", "f(x)"),
    ("*args", "a, b", "f(x)", "f(x, x)"),
    ("x, **more", "x", "f(x, a=1)", "f(x)"),
    ("x, y=1", "x, y", "f(x)", "f(*[x, 1])"),
    ("x", "x, *, y", "f(x)", "f(x, **dict(y=2))"),
]


@pytest.mark.parametrize(("old", "new", "before", "after"), CHANGES)
def test_any_change_of_parameters_is_judged_by_the_calls(
    lab: Lab, old: str, new: str, before: str, after: str
) -> None:
    deployed = HEAD + F.replace("f(x)", f"f({old})").replace("return x", "return 1")
    edited = HEAD + F.replace("f(x)", f"f({new})").replace("return x", "return 2")
    program = lab.module(deployed + G.replace("f(x)", before))
    assert before in refusals(program, edited + G, "f")["f"]
    note(program, edited + G.replace("f(x)", after), "f", "g")
    assert program.g(1) == 2


# which calls there are ---------------------------------------------------------------------

WAYS = {
    # how a function of the module calls `f`; {y} is what the new code gives as well
    "plain": "return f(x{y})",
    "nested": "def inner():\n        return f(x{y})\n    return inner()",
    "lambda": "return (lambda: f(x{y}))()",
    "comprehension": "return [f(a{y}) for a in [x]][0]",
    "comprehension in a call": "return sum(f(a{y}) for a in [x])",
    "lambda in a call": "return max([x], key=lambda a: f(a{y}))",
    "condition": "return f(x{y}) if x else 0",
    "argument": "return int(f(x{y}))",
    "default": "def inner(a=f(x{y})):\n        return a\n    return inner()",
    "class": "class Local:\n        a = f(x{y})\n    return Local.a",
    "walrus": "return [b for a in [x] if (b := f(a{y})) is not None][0]",
    "text": "return int(f'{{f(x{y})}}')",
    "own import": "import {m} as m\n    return m.f(x{y})",
    "own name": "from {m} import f as h\n    return h(x{y})",
    "global": "global f\n    return f(x{y})",
    "method of it": "f.note = 1\n    return f(x{y})",
    "identity": "return f(x{y}) if f is f else 0",
    "assertion": "assert callable(print), f(x{y})\n    return f(x{y})",
    "match": "match f(x{y}):\n        case a:\n            return a",
    "try": "try:\n        return f(x{y})\n    except ValueError:\n        return 0",
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_a_call_is_seen(lab: Lab, way: str) -> None:
    name = f"ways_{way.replace(' ', '_')}"

    def text(y: str) -> str:
        return f"@scatter.track\ndef g(x):\n    {WAYS[way].format(m=name, y=y)}\n"

    program = lab.module(HEAD + F + text(""), name)
    assert program.g(1) == 1
    assert "it does not give `y`" in refusals(program, HEAD + NEW_F + text(""), "f")["f"]
    assert "it does not give `y`" in refusals(program, HEAD + NEW_F + text(""), "f", "g")["f"]
    assert "fit" in note(program, HEAD + NEW_F + text(", 0"), "f", "g")
    assert program.g(1) == 1


SHADOWS = {
    "parameter": "def g(f):\n    return f(1)",
    "variable": "def g(x):\n    f = len\n    return f('a')",
    "loop": "def g(x):\n    return [f('a') for f in [len]][0]",
    "lambda": "def g(x):\n    return (lambda f: f('a'))(len)",
    "import": "def g(x):\n    from math import floor as f\n    return f(1.5)",
    "function": "def g(x):\n    def f(a):\n        return a\n    return f(1)",
    "exception": "def g(x):\n    try:\n        return 1 / x\n    except Exception as f:\n"
    "        return f(1)",
    "with": "def g(x):\n    with open(x) as f:\n        return f(1)",
    "pattern": "def g(x):\n    match x:\n        case [f]:\n            return f(1)",
    "walrus": "def g(x):\n    print([f := len for _ in [1]])\n    return f('a')",
    "outer": "def g(f):\n    def inner():\n        return f(1)\n    return inner",
    "other object": "def g(x):\n    return x.f(1)",
    "other module": "import json\ndef g(x):\n    return json.f(1)",
}


@pytest.mark.parametrize("shadow", SHADOWS)
def test_a_call_of_another_thing_of_that_name_is_no_call(lab: Lab, shadow: str) -> None:
    other = f"{SHADOWS[shadow]}\n\n".replace("def g", "@scatter.track\ndef other", 1)
    program = lab.module(HEAD + F + G + other)
    note(program, HEAD + NEW_F + NEW_G + other, "f", "g")


def test_a_name_of_a_class_body_is_not_seen_by_its_methods(lab: Lab) -> None:
    other = "class C:\n    f = len\n    def g(self):\n        return f(1)\n\n"
    program = lab.module(HEAD + F + G + other)
    assert (
        f"`f(1)` at {program.name}.py:14" in refusals(program, HEAD + NEW_F + NEW_G, "f", "g")["f"]
    )


STAYS = {
    "a function that is not tracked": "def other(x):\n    return f(x)\n",
    "a method that is not tracked": "class C:\n    def other(self):\n        return f(1)\n",
    "the top of the module": "RESULT = f(1)\n",
    "a class body": "class C:\n    a = f(1)\n",
    "a default": "def other(a=f(1)):\n    return a\n",
    "a decorator": "@f\ndef other():\n    return 1\n",
    "an entry that is never reached": "if __name__ == '__main__':\n    f(1)\n",
}


@pytest.mark.parametrize("place", STAYS)
def test_calls_in_code_that_stays_as_it_was_deployed_must_fit(lab: Lab, place: str) -> None:
    program = lab.module(HEAD + F + G + STAYS[place])
    found = refusals(
        program, HEAD + NEW_F + NEW_G + STAYS[place].replace("f(1)", "f(1, 2)"), "f", "g"
    )
    assert "it does not give `y`" in found["f"]
    fitting = STAYS[place].replace("f(1)", "f(1, y=2)").replace("f(x)", "f(x, 1)")
    if "@f" not in fitting:
        two = "@scatter.track\ndef f(x, y=2):\n    return x\n\n"
        again = lab.module(HEAD + two + G + fitting)
        note(again, HEAD + NEW_F + NEW_G + fitting, "f", "g")


def test_a_helper_that_travels_with_a_caller_counts_as_the_caller_has_it(lab: Lab) -> None:
    program = lab.module(HEAD + F + G.replace("f(x)", "f(x) + 0"))
    new = G.replace("f(x)", "helper(x)") + "def helper(x):\n    return f(x, 1)\n"
    note(program, HEAD + NEW_F + new, "f", "g")
    assert program.g(1) == 2
    wrong = new.replace("f(x, 1)", "f(x)")
    again = lab.module(HEAD + F + G)
    assert f"`f(x)` at {again.name}.py:12" in refusals(again, HEAD + NEW_F + wrong, "f", "g")["f"]


def test_the_deployed_helper_still_counts_where_a_changed_one_travels(lab: Lab) -> None:
    helper = "def helper(x):\n    return f(x)\n"
    g = G.replace("f(x)", "helper(x)")
    program = lab.module(HEAD + F + g + helper)
    found = refusals(program, HEAD + NEW_F + g + helper.replace("f(x)", "f(x, 1)"), "f", "g")
    assert f"`f(x)` at {program.name}.py:12" in found["f"], "others may call it"


def test_a_helper_that_travelled_with_a_version_that_runs_counts(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    helper = "def helper(x):\n    return f(x)\n"
    program.push(HEAD + F + G.replace("f(x)", "helper(x)") + helper, "g")
    found = refusals(program, HEAD + NEW_F + G, "f")
    assert f"`f(x)` at {program.name}.py:12" in found["f"]


def test_lines_of_what_was_pushed_are_those_of_its_file(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    moved = HEAD + "# one\n# two\n" + NEW_F + G.replace("f(x)", "f(x) + 0")
    found = refusals(program, moved, "f", "g")
    assert f"{program.name}.py:11" in found["f"]


# other modules -----------------------------------------------------------------------------

IMPORTS = {
    "from": "from {m} import f\n@scatter.track\ndef g(x):\n    return f(x{y})\n",
    "from as": "from {m} import f as h\n@scatter.track\ndef g(x):\n    return h(x{y})\n",
    "module": "import {m}\n@scatter.track\ndef g(x):\n    return {m}.f(x{y})\n",
    "module as": "import {m} as m\n@scatter.track\ndef g(x):\n    return m.f(x{y})\n",
    "star": "from {m} import *\n@scatter.track\ndef g(x):\n    return f(x{y})\n",
    "inside": "@scatter.track\ndef g(x):\n    from {m} import f\n    return f(x{y})\n",
    "try": "try:\n    from nowhere_at_all import f\nexcept ImportError:\n    from {m} import f\n"
    "@scatter.track\ndef g(x):\n    return f(x{y})\n",
    "late": "def start():\n    global h\n    from {m} import f as h\nstart()\n"
    "@scatter.track\ndef g(x):\n    return h(x{y})\n",
}


@pytest.mark.parametrize("form", IMPORTS)
def test_callers_in_other_modules_are_found_through_their_imports(lab: Lab, form: str) -> None:
    name = form.replace(" ", "_")
    home = lab.module(HEAD + F, f"home_{name}")
    text = HEAD + IMPORTS[form]
    user = lab.module(text.format(m=home.name, y=""), f"user_{name}")
    lab.edit(home.name, HEAD + NEW_F)
    assert user.g(1) == 1
    found = refusals(home, HEAD + NEW_F, "f")
    assert f"at {user.name}.py:" in found["f"]
    wanted = [*home.wanted(HEAD + NEW_F, "f"), *user.wanted(text.format(m=home.name, y=", 1"), "g")]
    prepared = apply.prepare(REGISTRY, wanted)
    assert prepared.refusals == ()
    apply.switch(REGISTRY, prepared)
    assert user.g(1) == 2


PACKAGE = {
    "relative": ("pack.user", "from .core import f\n", "f(x{y})"),
    "relative module": ("pack.user", "from . import core\n", "core.f(x{y})"),
    "up": ("pack.inner.user", "from ..core import f\n", "f(x{y})"),
    "through the package": ("pack.user", "from pack import f\n", "f(x{y})"),
    "by another name": ("pack.user", "from pack import g as h\n", "h(x{y})"),
    "whole path": ("pack.user", "import pack.core\n", "pack.core.f(x{y})"),
    "package's name": ("pack.user", "import pack\n", "pack.f(x{y})"),
    "star of the package": ("pack.user", "from pack import *\n", "f(x{y})"),
    "another one's import": ("pack.user", "from pack import middle\n", "middle.f(x{y})"),
}


@pytest.mark.parametrize("form", PACKAGE)
def test_callers_in_a_package_are_found_through_re_exports(lab: Lab, form: str) -> None:
    pack = f"pack_{form.replace(' ', '_').replace(chr(39), '')}"
    user, head, call = (part.replace("pack", pack) for part in PACKAGE[form])
    lab.write("", f"{pack}.inner.__init__")
    lab.write("from .core import f\nfrom .core import f as g\n", f"{pack}.__init__")
    lab.write(f"from {pack}.core import f\n", f"{pack}.middle")
    core = lab.module(HEAD + F, f"{pack}.core")
    text = f"{HEAD}{head}@scatter.track\ndef g(x):\n    return {call}\n"
    program = lab.module(text.format(y=""), user)
    assert program.g(1) == 1
    bases.remember_project()  # as an agent does when it starts
    found = refusals(core, HEAD + NEW_F, "f")["f"]
    assert f"at {user.replace('.', '/')}.py:" in found, found
    wanted = [*core.wanted(HEAD + NEW_F, "f"), *program.wanted(text.format(y=", 1"), "g")]
    prepared = apply.prepare(REGISTRY, wanted)
    assert prepared.refusals == ()
    apply.switch(REGISTRY, prepared)
    assert program.g(1) == 2


def test_a_call_through_a_new_import_of_the_version_is_seen(lab: Lab) -> None:
    home = lab.module(HEAD + F + G, "home_new_import")
    user = lab.module(HEAD + G.replace("f(x)", "x"), "user_new_import")
    lab.edit(home.name, HEAD + NEW_F + NEW_G)
    text = f"{HEAD}from {home.name} import f as h\n" + G.replace("f(x)", "h(x)")
    wanted = [*home.wanted(HEAD + NEW_F + NEW_G, "f", "g"), *user.wanted(text, "g")]
    (refusal,) = apply.prepare(REGISTRY, wanted).refusals
    assert f"`h(x)` at {user.name}.py:6" in refusal.message


def test_a_script_beside_the_project_that_calls_the_function_is_seen(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = lab.module(HEAD + F + G)
    folder = tmp_path_factory.mktemp("scripts")
    monkeypatch.syspath_prepend(str(folder))
    for number, text in enumerate(("from {m} import f\nf(1)\n", "import {m}\n{m}.f(1)\n")):
        name = f"script_{program.name}_{number}"
        (folder / f"{name}.py").write_text(text.format(m=program.name) + "def own(): pass\n")
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
        found = refusals(program, HEAD + NEW_F + NEW_G, "f", "g")
        assert f"f(1)` at {name}.py:2" in found["f"]
        monkeypatch.delitem(sys.modules, name)
    note(program, HEAD + NEW_F + NEW_G, "f", "g")


def test_a_notebook_that_has_the_function_leaves_callers_unknown(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = lab.module(HEAD + F + G)
    notebook = ModuleType("a_notebook")
    monkeypatch.setitem(sys.modules, "a_notebook", notebook)
    notebook.f = program.f  # type: ignore[attr-defined]
    found = refusals(program, HEAD + NEW_F + NEW_G, "f", "g")
    assert "`a_notebook` mentions it, and does not run its source" in found["f"]


def test_a_notebook_that_has_another_modules_function_is_no_matter(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, other = lab.module(HEAD + F + G), lab.module(HEAD + F)
    notebook = ModuleType("another_notebook")
    monkeypatch.setitem(sys.modules, "another_notebook", notebook)
    notebook.f = other.f  # type: ignore[attr-defined]
    note(program, HEAD + NEW_F + NEW_G, "f", "g")


def test_a_module_that_was_edited_before_it_was_read_leaves_callers_unknown(lab: Lab) -> None:
    file = lab.write("from home_edited import f\ndef h(x):\n    return f(x)\n", "user_edited")
    home = lab.module(HEAD + F + G, "home_edited")
    __import__("user_edited")
    file.write_text("from home_edited import f\ndef h(x):\n    return f(x, 1)\n")
    found = refusals(home, HEAD + NEW_F + NEW_G, "f", "g")
    assert "`user_edited` mentions it, and does not run its source" in found["f"]


# what else is done with it -----------------------------------------------------------------

USES = {
    "passed": "def use(pool):\n    return pool.submit(f, 1)\n",
    "passed by name": "def use(pool):\n    return pool.submit(function=f)\n",
    "partial": "from functools import partial\nH = partial(f, 1)\n",
    "map": "def use(xs):\n    return list(map(f, xs))\n",
    "table": "TABLE = {'f': f}\n",
    "list": "ALL = [f]\n",
    "alias": "h = f\n",
    "local alias": "def use(x):\n    h = f\n    return h(x)\n",
    "returned": "def use():\n    return f\n",
    "default": "def use(how=f):\n    return how(1)\n",
    "attribute": "class C:\n    how = f\n",
    "name as text": "import sys\ndef use(x):\n    return getattr(sys.modules[__name__], 'f')(x)\n",
    "its code": "def use(x):\n    return f.__call__(x)\n",
    "annotation": "from typing import Annotated\ndef use(x: Annotated[int, f]):\n    return x\n",
    "spread": "def use(x):\n    return print(*[f])\n",
    "yielded": "def use():\n    yield f\n",
    "bound again": "f = len\n",
}


@pytest.mark.parametrize("use", USES)
def test_a_function_that_is_handed_on_has_unknown_callers(lab: Lab, use: str) -> None:
    program = lab.module(HEAD + F + G + USES[use])
    found = refusals(program, HEAD + NEW_F + NEW_G + USES[use], "f", "g")
    assert "whoever it is handed to may call it" in found["f"]


def test_a_new_version_that_hands_the_function_on_leaves_callers_unknown(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    text = HEAD + NEW_F + NEW_G.replace("f(x, 1)", "print(f)")
    assert "`print(f)`" in refusals(program, text, "f", "g")["f"]


def test_what_a_replaced_function_may_have_kept_leaves_callers_unknown(lab: Lab) -> None:
    keeps = G.replace("f(x)", "TABLE.append(f) or f(x)") + "TABLE = []\n"
    program = lab.module(HEAD + F + keeps)
    assert "`TABLE.append(f)`" in refusals(program, HEAD + NEW_F + NEW_G, "f", "g")["f"]


@pytest.mark.parametrize("call", ["sum(map(f, [x]))", "max([x], key=f)", "sorted([x], key=f)[0]"])
def test_what_a_replaced_function_only_lent_is_forgotten(lab: Lab, call: str) -> None:
    program = lab.module(HEAD + F + G.replace("f(x)", f"{call} and f(x)"))
    note(program, HEAD + NEW_F + NEW_G, "f", "g")


HARMLESS = {
    "a verb of it": "def use():\n    return f.loaded_version\n",
    "its name": "def use():\n    return f.__name__\n",
    "compared": "def use(h):\n    return h is f or f == h\n",
    "exported": "__all__ = ['f', 'g']\n",
    "imported": "def use():\n    from {m} import f\n",
    "mentioned": "# f(1)\nTEXT = 'f(1)'\n",
}


@pytest.mark.parametrize("use", HARMLESS)
def test_what_does_not_hand_it_on_is_no_matter(lab: Lab, use: str) -> None:
    name = f"harmless_{use.replace(' ', '_')}"
    text = HARMLESS[use].format(m=name)
    program = lab.module(HEAD + F + G + text, name)
    note(program, HEAD + NEW_F + NEW_G + text, "f", "g")


DECORATORS = """
import functools

TABLE = []

def register(function):
    TABLE.append(function)
    return function

def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        print("call of", function.__name__)
        return function(*args, **kwargs)
    return wrapper

def repeated(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            for _ in range(times):
                result = function(*args, **kwargs)
            return result
        return wrapper
    return decorate

def kept(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    TABLE.append(wrapper)
    return wrapper

def given(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, 1, **kwargs)
    return wrapper

def dropped(function):
    @functools.wraps(function)
    def wrapper(x, *args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

def first(function):
    @functools.wraps(function)
    def wrapper(x, *args, **kwargs):
        return function(x, *args, **kwargs)
    return wrapper

"""


@pytest.mark.parametrize(
    ("decorator", "is_known"),
    [
        ("register", False),
        ("logged", True),
        ("repeated(2)", True),
        ("functools.lru_cache(maxsize=None)", True),
        ("functools.cache", True),
        ("kept", False),
        ("given", False),
        ("first", False),
        ("dropped", False),
        ("functools.partial(lambda function: function)", False),
    ],
)
def test_what_stands_above_track_may_have_handed_it_on(
    lab: Lab, decorator: str, is_known: bool
) -> None:
    old, new = (f"@{decorator}\n{text}" for text in (F, NEW_F))
    program = lab.module(HEAD + DECORATORS + old + G)
    if is_known:
        note(program, HEAD + DECORATORS + new + NEW_G, "f", "g")
        assert program.g(1) == 2
    else:
        found = refusals(program, HEAD + DECORATORS + new + NEW_G, "f", "g")
        assert f"`@{decorator}` may have handed it on" in found["f"]


def test_what_stands_below_track_may_have_handed_it_on_too(lab: Lab) -> None:
    old, new = (t.replace("def f", "@register\ndef f") for t in (F, NEW_F))
    program = lab.module(HEAD + DECORATORS + old + G)
    found = refusals(program, HEAD + DECORATORS + new + NEW_G, "f", "g")
    assert "`@register` may have handed it on" in found["f"]


def test_decorators_that_are_edited_in_do_not_count_since_they_are_not_run(lab: Lab) -> None:
    program = lab.module(HEAD + DECORATORS + F + G)
    note(program, HEAD + DECORATORS + "@register\n" + NEW_F + NEW_G, "f", "g")


# methods -----------------------------------------------------------------------------------

CLASS = """
class Model:
    def __init__(self, rate):
        self.rate = rate

    {above}@scatter.track
    def predict({first}x):
        return x

"""
NEW_CLASS = CLASS.replace("x):\n        return x", "x, y):\n        return x + y")


def model(text: str, above: str = "", first: str = "self, ") -> str:
    return text.format(above=f"@{above}\n    " if above else "", first=first)


METHODS = {
    "on an object": ("", "self, ", "return Model(1).predict(x{y})"),
    "on anything": ("", "self, ", "m = Model(1)\n    return m.predict(x{y})"),
    "through the class": ("", "self, ", "return Model.predict(Model(1), x{y})"),
    "of the class": ("classmethod", "cls, ", "return Model.predict(x{y})"),
    "of the class, on an object": ("classmethod", "cls, ", "return Model(1).predict(x{y})"),
    "static": ("staticmethod", "", "return Model.predict(x{y})"),
    "static, on an object": ("staticmethod", "", "return Model(1).predict(x{y})"),
}


@pytest.mark.parametrize("way", METHODS)
def test_methods_are_called_with_what_they_are_taken_from(lab: Lab, way: str) -> None:
    above, first, body = METHODS[way]
    user = f"@scatter.track\ndef g(x):\n    {body}\n"
    old, new = (model(text, above, first) for text in (CLASS, NEW_CLASS))
    program = lab.module(HEAD + old + user.format(y=""))
    assert program.g(1) == 1
    found = refusals(program, HEAD + new + user.format(y=""), "Model.predict")
    assert "it does not give `y`" in found["Model.predict"]
    text = HEAD + new + user.format(y=", 1")
    assert "one call here fits" in note(program, text, "Model.predict", "g")
    assert program.g(1) == 2


INSIDE = {
    "self": "def g(self, x):\n        return self.predict(x{y})",
    "cls": "def g(cls, x):\n        return cls.predict(cls(1), x{y})",
    "super": "def g(self, x):\n        return super().predict(x{y})",
    "other": "def g(self, x, other=None):\n        return (other or self).predict(x{y})",
}


@pytest.mark.parametrize("way", INSIDE)
@pytest.mark.parametrize("where", ["own class", "subclass"])
def test_methods_call_each_other(lab: Lab, way: str, where: str) -> None:
    above = "@classmethod\n    " if way == "cls" else ""
    sub = "" if where == "own class" else "class Sub(Model):\n"
    if way == "super" and not sub:
        pytest.skip("there is nothing above")
    user = f"{sub}    {above}@scatter.track\n    {INSIDE[way]}\n"
    key = "Sub.g" if sub else "Model.g"
    program = lab.module(HEAD + model(CLASS) + user.format(y=""))
    wrong = HEAD + model(NEW_CLASS) + user.format(y="")
    assert "it does not give `y`" in refusals(program, wrong, "Model.predict", key)["Model.predict"]
    note(program, HEAD + model(NEW_CLASS) + user.format(y=", 1"), "Model.predict", key)


@pytest.mark.parametrize("use", ["return m.predict", "return list(map(m.predict, []))"])
def test_a_method_that_is_handed_on_has_unknown_callers(lab: Lab, use: str) -> None:
    user = "@scatter.track\ndef g(m):\n    return m.predict(1)\n\n"
    use = f"def use(m):\n    {use}\n"
    program = lab.module(HEAD + model(CLASS) + user + use)
    text = HEAD + model(NEW_CLASS) + user.replace("(1)", "(1, 2)") + use
    found = refusals(program, text, "Model.predict", "g")
    assert "whoever it is handed to may call it" in found["Model.predict"]


@pytest.mark.parametrize("alias", ["again = predict", "again = print(predict)"])
def test_a_method_that_its_class_has_twice_has_unknown_callers(lab: Lab, alias: str) -> None:
    user = f"    {alias}\n\n@scatter.track\ndef g(m):\n    return m.predict(1)\n\n"
    program = lab.module(HEAD + model(CLASS) + user)
    text = HEAD + model(NEW_CLASS) + user.replace("(1)", "(1, 2)")
    found = refusals(program, text, "Model.predict", "g")
    assert "whoever it is handed to" in found["Model.predict"]


def test_private_methods_are_found_by_both_of_their_names(lab: Lab) -> None:
    own = "    @scatter.track\n    def g(self):\n        return self.__hidden(1{y})\n"
    other = "@scatter.track\ndef h(m):\n    return m._Model__hidden(1{y})\n"
    old, new = (model(c).replace("predict", "__hidden") for c in (CLASS, NEW_CLASS))
    program = lab.module(HEAD + old + (own + other).format(y=""))
    for half in (
        own.format(y="") + other.format(y=", 2"),
        own.format(y=", 2") + other.format(y=""),
    ):
        found = refusals(program, HEAD + new + half, "Model.__hidden", "Model.g", "h")
        assert "it does not give `y`" in found["Model.__hidden"]
    text = HEAD + new + (own + other).format(y=", 2")
    assert "2 calls" in note(program, text, "Model.__hidden", "Model.g", "h")
    assert program.h(program.Model(1)) == 3


def test_a_function_of_a_module_is_no_method_of_that_name(lab: Lab) -> None:
    user = "import math\n@scatter.track\ndef g(m):\n    return m.sqrt(1{y}) + math.sqrt(4)\n"
    old, new = (model(c).replace("predict", "sqrt") for c in (CLASS, NEW_CLASS))
    program = lab.module(HEAD + old + user.format(y=""))
    note(program, HEAD + new + user.format(y=", 2"), "Model.sqrt", "g")
    assert program.g(program.Model(1)) == 5


def test_the_functions_of_a_property_are_called_unseen(lab: Lab) -> None:
    user = "@scatter.track\ndef g(m):\n    return m.predict\n"
    old = model(CLASS, "property", "self, ").replace("self, x", "self, x=1")
    program = lab.module(HEAD + old + user)
    text = HEAD + old.replace("x=1", "x") + user
    assert "it belongs to a property" in refusals(program, text, "Model.predict")["Model.predict"]


def test_methods_that_python_calls_have_unknown_callers(lab: Lab) -> None:
    user = "@scatter.track\ndef g(m):\n    return m.__len__()\n"
    old = model(CLASS).replace("predict(self, x)", "__len__(self)").replace("return x", "return 1")
    new = old.replace("__len__(self)", "__len__(self, y)")
    program = lab.module(HEAD + old + user)
    found = refusals(program, HEAD + new + user.replace("()", "(1)"), "Model.__len__", "g")
    assert "Python itself calls `__len__`" in found["Model.__len__"]


def test_a_method_that_stands_in_for_one_of_other_people_has_unknown_callers(lab: Lab) -> None:
    head = HEAD + "import threading\n"
    old = model(CLASS).replace("Model:", "Model(threading.Thread):").replace("predict", "run")
    new = model(NEW_CLASS).replace("Model:", "Model(threading.Thread):").replace("predict", "run")
    user = "@scatter.track\ndef g(m):\n    return m.run(1)\n"
    program = lab.module(head + old + user)
    found = refusals(program, head + new + user.replace("(1)", "(1, 2)"), "Model.run", "g")
    assert "it stands in for `threading.Thread.run`" in found["Model.run"]


def test_a_method_that_stands_in_for_one_of_the_project_is_called_by_the_project(lab: Lab) -> None:
    base = "class Base:\n    @scatter.track\n    def g(self):\n        return self.predict(1{y})\n"
    old, new = (model(c).replace("Model:", "Model(Base):") for c in (CLASS, NEW_CLASS))
    program = lab.module(HEAD + base.format(y="") + old)
    wrong = HEAD + base.format(y="") + new
    assert "self.predict(1)" in refusals(program, wrong, "Model.predict")["Model.predict"]
    text = HEAD + base.format(y=", 1") + new
    note(program, text, "Model.predict", "Base.g")
    assert program.Model(1).g() == 2


@pytest.mark.parametrize("decorator", ["register", "dataclasses.dataclass"])
def test_a_class_that_was_handed_on_has_methods_with_unknown_callers(
    lab: Lab, decorator: str
) -> None:
    head = HEAD + "import dataclasses\ndef register(c):\n    return c\n"
    old, new = (model(c).replace("class", f"@{decorator}\nclass") for c in (CLASS, NEW_CLASS))
    user = "@scatter.track\ndef g(m):\n    return m.predict(1)\n"
    program = lab.module(head + old + user)
    text = head + new + user.replace("(1)", "(1, 2)")
    if decorator == "register":
        found = refusals(program, text, "Model.predict", "g")
        assert "`@register` may have handed its class on" in found["Model.predict"]
    else:
        note(program, text, "Model.predict", "g")


# __init__ ----------------------------------------------------------------------------------

INIT = """
class Model:
    @scatter.track
    def __init__(self, rate):
        self.rate = rate

"""
NEW_INIT = INIT.replace(
    "rate):\n        self.rate = rate", "rate, y):\n        self.rate = rate + y"
)

MAKES = {
    "the class": "@scatter.track\ndef g(x):\n    return Model(x{y}).rate\n",
    "generic": "@scatter.track\ndef g(x):\n    return Model[int](x{y}).rate\n",
    "its name elsewhere": "import {m} as m\n@scatter.track\ndef g(x):\n"
    "    return m.Model(x{y}).rate\n",
    "type(self)": "    @scatter.track\n    def again(self, x):\n"
    "        return type(self)(x{y}).rate\n",
    "__class__": "    @scatter.track\n    def again(self, x):\n"
    "        return self.__class__(x{y}).rate\n",
    "cls": "    @classmethod\n    @scatter.track\n    def again(cls, x):\n"
    "        return cls(x{y}).rate\n",
    "heir": "class Sub(Model):\n    pass\n@scatter.track\ndef g(x):\n    return Sub(x{y}).rate\n",
    "heir of an heir": "class Sub(Model):\n    pass\nclass Low(Sub):\n    pass\n"
    "@scatter.track\ndef g(x):\n    return Low(x{y}).rate\n",
    "super": "class Sub(Model):\n    @scatter.track\n    def __init__(self, x):\n"
    "        super().__init__(x{y})\n",
    "super of an heir": "class Sub(Model):\n    pass\nclass Low(Sub):\n    @scatter.track\n"
    "    def __init__(self, x):\n        super().__init__(x{y})\n",
    "by hand": "class Sub(Model):\n    @scatter.track\n    def __init__(self, x):\n"
    "        Model.__init__(self, x{y})\n",
    "self": "    @scatter.track\n    def again(self, x):\n        self.__init__(x{y})\n",
    "cls of an heir": "class Sub(Model):\n    @classmethod\n    @scatter.track\n"
    "    def again(cls, x):\n        return cls(x{y})\n",
}
KEYS = {
    "type(self)": "Model.again",
    "__class__": "Model.again",
    "cls": "Model.again",
    "super": "Sub.__init__",
    "super of an heir": "Low.__init__",
    "by hand": "Sub.__init__",
    "self": "Model.again",
    "cls of an heir": "Sub.again",
}


@pytest.mark.parametrize("way", MAKES)
def test_every_way_to_make_an_instance_is_a_call_of_init(lab: Lab, way: str) -> None:
    name = f"makes_{way.translate(str.maketrans(' ()', '___'))}"
    key = KEYS.get(way, "g")
    text = MAKES[way].replace("{m}", name)
    class_ = INIT.replace("Model:", "Model(Generic[T]):") if way == "generic" else INIT
    head = HEAD + "from typing import Generic, TypeVar\nT = TypeVar('T')\n"
    program = lab.module(head + class_ + text.replace("{y}", ""), name)
    new = NEW_INIT.replace("Model:", "Model(Generic[T]):") if way == "generic" else NEW_INIT
    wrong = head + new + text.replace("{y}", "")
    found = refusals(program, wrong, "Model.__init__", key)
    assert "it does not give `y`" in found["Model.__init__"]
    wrong = head + new + text.replace("{y}", ", z=1")
    assert "it gives `z`" in refusals(program, wrong, "Model.__init__", key)["Model.__init__"]
    note(program, head + new + text.replace("{y}", ", 1"), "Model.__init__", key)
    if key == "g":
        assert program.g(1) == 2


NO_CALLS = {
    "another class": "class Other:\n    def __init__(self, m: Model = None):\n"
    "        super().__init__()\n",
    "an heir with its own": "class Sub(Model):\n    def __init__(self):\n        pass\nSub()\n",
    "a test": "def use(m):\n    return isinstance(m, Model) or type(m) is Model\n",
    "annotations": "def use(m: Model, n: 'Model' = None) -> list[Model] | None:\n"
    "    a: Model = m\n",
    "an attribute": "def use():\n    return Model.__name__, Model.rates\n",
    "a type": "from typing import cast\ndef use(x):\n    return cast(Model, x)\n",
    "an alias of a type": "Models = dict[str, Model]\n",
    "a pattern": "def use(m):\n    match m:\n        case Model(rate=r):\n            return r\n",
    "an except": "def use():\n    try:\n        pass\n"
    "    except (Model, ValueError):\n        pass\n",
}


@pytest.mark.parametrize("use", NO_CALLS)
def test_a_class_that_stands_for_its_instances_is_not_called(lab: Lab, use: str) -> None:
    text = NO_CALLS[use] + MAKES["the class"]
    class_ = INIT.replace("Model:", "Model(Exception):\n    rates = 1")
    new = NEW_INIT.replace("Model:", "Model(Exception):\n    rates = 1")
    program = lab.module(HEAD + class_ + text.replace("{y}", ""))
    note(program, HEAD + new + text.replace("{y}", ", 1"), "Model.__init__", "g")


UNSEEN = {
    "passed": "def use(make):\n    return make(Model)\n",
    "heir passed": "class Sub(Model):\n    pass\ndef use(make):\n    return make(Sub)\n",
    "table": "TABLE = {'m': Model}\n",
    "dependency": "from typing import Annotated\n"
    "def use(m: Annotated[int, print(Model)]):\n    pass\n",
    "decorated": "",
    "metaclass": "",
    "two bases": "class Mixin:\n    pass\nclass Sub(Mixin, Model):\n    pass\n",
    "inside": "def use():\n    class Sub(Model):\n        pass\n    return Sub\n",
}


@pytest.mark.parametrize("use", UNSEEN)
def test_a_class_that_is_handed_on_may_be_called_by_anybody(lab: Lab, use: str) -> None:
    head = HEAD + "class Meta(type):\n    pass\ndef register(c):\n    return c\n"
    changes = {"decorated": ("class Model", "@register\nclass Model")}
    changes["metaclass"] = ("Model:", "Model(metaclass=Meta):")
    old, new = (text.replace(*changes.get(use, ("", ""))) for text in (INIT, NEW_INIT))
    text = UNSEEN[use] + MAKES["the class"]
    program = lab.module(head + old + text.replace("{y}", ""))
    found = refusals(program, head + new + text.replace("{y}", ", 1"), "Model.__init__", "g")
    assert "Model.__init__" in found


def test_raising_a_class_makes_an_instance_without_arguments(lab: Lab) -> None:
    old = INIT.replace("Model:", "Model(Exception):").replace("rate)", "rate=1)")
    new = NEW_INIT.replace("Model:", "Model(Exception):")
    user = "@scatter.track\ndef g():\n    raise Model\n"
    program = lab.module(HEAD + old + user)
    found = refusals(program, HEAD + new + user, "Model.__init__", "g")
    assert "`raise Model` at" in found["Model.__init__"]
    note(
        program,
        HEAD + new + user.replace("raise Model", "raise Model(1, 2)"),
        "Model.__init__",
        "g",
    )


def test_a_class_may_be_made_by_those_that_it_inherits_from(lab: Lab) -> None:
    base = "class Base:\n    @classmethod\n    @scatter.track\n    def make(cls, x):\n"
    base += "        return cls(x{y})\n\n"
    old, new = (text.replace("Model:", "Model(Base):") for text in (INIT, NEW_INIT))
    program = lab.module(HEAD + base.format(y="") + old)
    found = refusals(program, HEAD + base.format(y="") + new, "Model.__init__")
    assert "`cls(x)`" in found["Model.__init__"]
    note(program, HEAD + base.format(y=", 1") + new, "Model.__init__", "Base.make")
    assert program.Model.make(1).rate == 2


def test_the_classes_of_a_class_are_found_in_other_modules(lab: Lab) -> None:
    home = lab.module(HEAD + INIT, "home_init")
    text = (
        f"{HEAD}from {home.name} import Model as Basic\nclass Sub(Basic):\n    pass\n"
        "@scatter.track\ndef g(x):\n    return Sub(x{y}).rate\n"
    )
    user = lab.module(text.format(y=""), "user_init")
    lab.edit(home.name, HEAD + NEW_INIT)
    assert "`Sub(x)`" in refusals(home, HEAD + NEW_INIT, "Model.__init__")["Model.__init__"]
    wanted = home.wanted(HEAD + NEW_INIT, "Model.__init__")
    wanted += user.wanted(text.format(y=", 1"), "g")
    assert apply.prepare(REGISTRY, wanted).refusals == ()


def test_a_class_inside_a_class_is_found_by_its_name(lab: Lab) -> None:
    def text(init: str, y: str) -> str:
        inner = textwrap.indent(init.strip("\n"), "    ")
        user = f"@scatter.track\ndef g(x):\n    return Outer.Model(x{y}).rate\n"
        return f"{HEAD}class Outer:\n{inner}\n\n{user}"

    program = lab.module(text(INIT, ""))
    wrong = refusals(program, text(NEW_INIT, ""), "Outer.Model.__init__", "g")
    assert "it does not give `y`" in wrong["Outer.Model.__init__"]
    note(program, text(NEW_INIT, ", 1"), "Outer.Model.__init__", "g")
    assert program.g(1) == 2


# modules that are tracked whole ------------------------------------------------------------


def whole(lab: Lab, text: str) -> Program:
    program = lab.module(text)
    scatter.track_module(program.module)
    return program


def wanted_whole(program: Program, text: str, *keys: str) -> list[apply.Wanted]:
    source = ModuleSource(text, name=program.name, file=f"{program.name}.py", track_all=True)
    return [program._wanted(build(source, key), key) for key in keys]


def test_in_a_module_that_is_tracked_whole_all_callers_are_functions_of_their_own(
    lab: Lab,
) -> None:
    text = (
        "def f(x):\n    return x\n\ndef g(x):\n    return f(x)\n\n"
        "class C:\n    @staticmethod\n    def h(x):\n        return f(x)\n"
    )
    program = whole(lab, text)
    new = text.replace("f(x)", "f(x, y)", 1).replace("return f(x)", "return f(x, 1)")
    (refusal,) = apply.prepare(REGISTRY, wanted_whole(program, new, "f", "g")).refusals
    assert f"`f(x)` at {program.name}.py:10" in refusal.message
    prepared = apply.prepare(REGISTRY, wanted_whole(program, new, "f", "g", "C.h"))
    assert prepared.refusals == ()
    apply.switch(REGISTRY, prepared)
    assert (program.g(1), program.C.h(2)) == (1, 2)


@pytest.mark.parametrize("decorator", ["register", "logged", "repeated(2)", "kept"])
def test_in_a_module_that_is_tracked_whole_decorators_may_have_handed_it_on(
    lab: Lab, decorator: str
) -> None:
    text = f"{DECORATORS}@{decorator}\ndef f(x):\n    return x\n\ndef g(x):\n    return f(x)\n"
    program = whole(lab, text)
    new = text.replace("def f(x)", "def f(x, y)").replace("return f(x)", "return f(x, 1)")
    found = apply.prepare(REGISTRY, wanted_whole(program, new, "f", "g")).refusals
    assert [r.reason for r in found] == ["signature-changed"] * (decorator in ("register", "kept"))


# releases, one after another ---------------------------------------------------------------


def test_a_caller_cannot_go_back_alone(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    program.push(HEAD + F + G.replace("f(x)", "f(x) + 0"), "g")
    program.push(HEAD + NEW_F + NEW_G, "f", "g")
    for number in (0, 1):
        wanted = [program._pushed("g", number)]
        (refusal,) = apply.prepare(REGISTRY, wanted).refusals
        assert (refusal.function, refusal.version) == (f"{program.name}:g", number)
        assert refusal.reason == "signature-changed"
        assert f"`{program.name}:f` has another signature than it was deployed" in refusal.message
        assert f"`f(x)` at {program.name}.py:9" in refusal.message
    assert program.g(1) == 2
    program.go(f=0, g=1)
    assert program.g(1) == 1


def test_a_function_can_always_go_back_to_the_signature_that_it_was_deployed_with(
    lab: Lab,
) -> None:
    program = lab.module(HEAD + F + G)
    program.push(HEAD + NEW_F + NEW_G, "f", "g")
    program.go(f=0)
    program.go(g=0)
    assert program.g(1) == 1


def test_a_new_version_of_a_caller_must_fit_what_runs(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    program.push(HEAD + NEW_F + NEW_G, "f", "g")
    found = refusals(program, HEAD + NEW_F + NEW_G.replace("f(x, 1)", "f(x)"), "g")
    assert "would not fit it" in found["g"]
    found = refusals(program, HEAD + NEW_F + NEW_G.replace("f(x, 1)", "print(f)"), "g")
    assert "whoever it is handed to may call it" in found["g"]
    program.push(HEAD + NEW_F + NEW_G.replace("f(x, 1)", "f(x, y=5)"), "g")
    assert program.g(1) == 6


def test_a_function_that_begins_to_call_must_fit_what_runs(lab: Lab) -> None:
    other = "@scatter.track\ndef other(x):\n    return x\n\n"
    program = lab.module(HEAD + F + G + other)
    program.push(HEAD + NEW_F + NEW_G + other, "f", "g")
    calls = other.replace("return x", "return f(x)")
    assert "would not fit it" in refusals(program, HEAD + NEW_F + NEW_G + calls, "other")["other"]
    program.push(HEAD + NEW_F + NEW_G + calls.replace("f(x)", "f(x, 2)"), "other")
    assert program.other(1) == 3


def test_a_version_that_is_loaded_is_judged_again(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    program.push(HEAD + NEW_F + NEW_G, "f", "g")
    program.go(f=0, g=0)
    (refusal,) = apply.prepare(REGISTRY, [program._pushed("f", 1)]).refusals
    assert refusal.reason == "signature-changed"
    program.go(f=1, g=1)
    assert program.g(1) == 2
    assert program.slot("f").running.notes == ("signature changed; its one call here fits",)


def test_who_is_refused_with_another_reason_is_a_caller_as_before(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    text = HEAD + NEW_F + NEW_G.replace("return", "import not_here_at_all as n; return n and")
    wrong = "import not_here_at_all\n" + text.replace("n and", "not_here_at_all and")
    prepared = program.prepare(wrong, "f", "g")
    reasons = {r.function.rpartition(":")[2]: r.reason for r in prepared.refusals}
    assert reasons == {"f": "signature-changed", "g": "missing-import"}


def test_refusing_one_refuses_who_needed_it(lab: Lab) -> None:
    text = HEAD + F + G + "@scatter.track\ndef h(x):\n    return g(x)\n\nTABLE = [h]\n"
    program = lab.module(text)
    # `h` is in a table, so it must stay; then it calls `g` as before, so that must stay too; ...
    new = (
        HEAD + NEW_F + "@scatter.track\ndef g(x, y):\n    return f(x, y)\n\n"
        "@scatter.track\ndef h(x, y):\n    return g(x, y)\n\nTABLE = [h]\n"
    )
    assert set(refusals(program, new, "f", "g", "h")) == {"f", "g", "h"}


@pytest.mark.parametrize("order", list(itertools.permutations("fgh")))
def test_the_order_of_a_release_is_no_matter(lab: Lab, order: tuple[str, ...]) -> None:
    text = HEAD + F + G + "@scatter.track\ndef h(x):\n    return g(x)\n"
    new = (
        HEAD + NEW_F + "@scatter.track\ndef g(x, y):\n    return f(x, y)\n\n"
        "@scatter.track\ndef h(x):\n    return g(x, 1)\n"
    )
    program = lab.module(text)
    program.push(new, *order)
    assert program.h(1) == 2


def test_two_that_call_each_other_change_together(lab: Lab) -> None:
    old = (
        "@scatter.track\ndef f(x):\n    return x and g(x - 1)\n\n"
        "@scatter.track\ndef g(x):\n    return x and f(x - 1)\n"
    )
    new = old.replace("(x)", "(x, y)").replace("(x - 1)", "(x - 1, y)")
    program = lab.module(HEAD + old)
    assert set(refusals(program, HEAD + new, "f")) == {"f"}
    program.push(HEAD + new, "f", "g")
    assert program.f(3, 1) == 0


def test_a_fetched_function_counts_with_what_it_runs(lab: Lab) -> None:
    program = lab.module(HEAD + F + G)
    source = f"{HEAD}from {program.name} import f\n" + G
    program._project.texts["fetched_caller"] = source
    built = program._project.analysed("fetched_caller", source)
    caller = wanted_from(build(built, "g", find=program._project.find), 1)
    apply.switch(REGISTRY, apply.prepare(REGISTRY, [caller]))
    found = refusals(program, HEAD + NEW_F + NEW_G, "f", "g")
    assert "`f(x)` at fetched_caller.py:6" in found["f"]


# following a log ---------------------------------------------------------------------------

H = "@scatter.track\ndef h(x):\n    return f(x) + 1\n\n"
NEW_H = "@scatter.track\ndef h(x):\n    return f(x, 2) + 1\n\n"
K = "@scatter.track\ndef k():\n    return 0\n\n"
NEW_K = "@scatter.track\ndef k():\n    return 1\n\n"
BAD_K = "@scatter.track\ndef k(x=1 / 0):\n    return 2\n\n"
TEXTS = {"f": (F, NEW_F), "g": (G, NEW_G), "h": (H, NEW_H), "k": (K, NEW_K, BAD_K)}
_numbers = itertools.count(1)


class Fleet:
    """A log, somebody who releases, and a process that follows."""

    def __init__(self, lab: Lab) -> None:
        self.program = lab.module(HEAD + F + G + H + K)
        store = MemoryStore(f"callers-{next(_numbers)}")
        self.store = store
        self.releases = Releases(signed(store), author="ann")
        self.registry = Registry()
        for name in TEXTS:
            self.registry.add(self.program.slot(name).name, getattr(self.program, name))
        self.restart()

    def restart(self) -> None:
        """Begin as a process does: with the deployed code, knowing nothing of the log."""
        slots = self.registry.slots()
        self.registry.switch({name: slot.shipped for name, slot in slots.items()})
        self.journal = signed(self.store)
        self.follower = Follower(self.registry, nullcontext())

    def push(self, **texts: int) -> None:
        """Release functions with their deployed text (0), or another one."""
        text = HEAD + "".join(TEXTS[name][texts.get(name, 0)] for name in TEXTS)
        wanted = self.program.wanted(text, *texts)
        candidates = [
            Candidate(bundle=decode(w.data or b""), lines=w.change.lines, file=w.change.file)
            for w in wanted
        ]
        self.releases.push(candidates, force=True)

    def step(self) -> None:
        self.follower.step(self.journal, self.journal.catch_up())

    def runs(self) -> dict[str, int]:
        """Return function → which of its texts it runs."""
        return {name: self._text_of(name) for name in TEXTS}

    def _text_of(self, name: str) -> int:
        slot = self.registry.slots()[self.program.slot(name).name]
        texts = [text.strip() for text in TEXTS[name]]
        return texts.index(slot.running.source.strip()) if slot.version else 0

    def refused(self) -> dict[str, str]:
        return {r.function.rpartition(":")[2]: r.reason for r in self.follower.refusals()}


def test_a_process_takes_a_function_and_its_callers_in_one_release(lab: Lab) -> None:
    fleet = Fleet(lab)
    fleet.push(f=1, g=1, h=1)
    fleet.step()
    assert fleet.runs() == {"f": 1, "g": 1, "h": 1, "k": 0}
    assert fleet.refused() == {}
    assert (fleet.program.g(1), fleet.program.h(1)) == (2, 4)


def test_a_process_waits_for_the_callers_and_takes_all_with_the_last_of_them(lab: Lab) -> None:
    fleet = Fleet(lab)
    fleet.push(f=1, k=1)
    fleet.step()
    assert fleet.refused() == {"f": "signature-changed", "k": "released-together"}
    assert fleet.follower.next_retry() is not None
    fleet.push(g=1)
    fleet.step()
    assert fleet.runs() == {"f": 0, "g": 1, "h": 0, "k": 0}
    fleet.push(h=1)
    fleet.step()
    assert fleet.runs() == {"f": 1, "g": 1, "h": 1, "k": 1}
    fleet.step()
    assert fleet.refused() == {}


def test_callers_that_came_one_by_one_are_all_there_when_a_later_release_is_bad(lab: Lab) -> None:
    fleet = Fleet(lab)
    for one in ({"g": 1}, {"h": 1}, {"f": 1}, {"k": 2}):
        fleet.push(**one)
    fleet.step()
    assert fleet.runs() == {"f": 1, "g": 1, "h": 1, "k": 0}
    assert fleet.refused() == {"k": "link-failed"}


def test_a_caller_that_went_back_alone_waits_for_the_function(lab: Lab) -> None:
    fleet = Fleet(lab)
    fleet.push(f=1, g=1, h=1)
    fleet.step()
    fleet.push(g=0)
    fleet.step()
    assert fleet.refused() == {"g": "signature-changed"}
    assert fleet.program.g(1) == 2
    fleet.push(f=0)
    fleet.step()
    assert fleet.runs() == {"f": 0, "g": 0, "h": 1, "k": 0}


pushes = st.lists(
    st.dictionaries(st.sampled_from("fgh"), st.integers(0, 1), min_size=1), min_size=1, max_size=6
)
slow = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@slow
@given(pushes, st.frozensets(st.integers(0, 5)))
def test_it_makes_no_difference_when_a_process_looked(
    lab: Lab, log: list[dict[str, int]], looks: frozenset[int]
) -> None:
    fleet = Fleet(lab)
    tip = {"f": 0, "g": 0, "h": 0, "k": 0}
    for number, one in enumerate(log):
        fleet.push(**one)
        tip |= one
        if number in looks:
            fleet.step()
            assert_fits(fleet)
    for _ in range(2):
        fleet.step()
        assert_fits(fleet)
    live = fleet.runs()
    fleet.restart()
    for _ in range(2):
        fleet.step()
        assert_fits(fleet)
    if not tip["f"] or (tip["g"] and tip["h"]):
        assert live == fleet.runs() == tip
        assert fleet.refused() == {}


def assert_fits(fleet: Fleet) -> None:
    """See that both callers can call the function, if it is the one that they were made for."""
    if fleet.runs()["f"]:
        assert (fleet.program.g(1), fleet.program.h(1)) == (2, 4)


# any program -------------------------------------------------------------------------------

OLD_CALLS = ("f(1)", "f(x=1)", "me.f(1)", "h(1)", "h(x=1)", "(lambda: f(1))()")
NEW_CALLS = ("f(1, 2)", "f(1, y=2)", "f(y=1, x=2)", "me.f(1, 2)", "h(x=1, y=2)", "0", "len('f')")


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, str, tuple[str, ...]]:
    """Return a deployed text, an edited one, and which functions of it are released with `f`."""
    old, new, released = "", "", ["f"]
    for number in range(draw(st.integers(1, 4))):
        before = draw(st.sampled_from((*OLD_CALLS, "0")))
        after = draw(st.sampled_from((*OLD_CALLS, *NEW_CALLS)))
        is_tracked = draw(st.booleans()) or number == 0
        head = "@scatter.track\n" if is_tracked else ""
        old += f"{head}def c{number}():\n    return {before}\n\n"
        new += f"{head}def c{number}():\n    return {after}\n\n"
        if is_tracked and draw(st.booleans()):
            released.append(f"c{number}")
    return old, new, tuple(released)


@slow
@given(programs())
def test_a_release_is_taken_if_and_only_if_every_call_works_afterwards(
    lab: Lab, texts: tuple[str, str, tuple[str, ...]]
) -> None:
    old, new, released = texts
    name = f"any_{next(_numbers)}"
    tail = f"import {name} as me\nfrom {name} import f as h\n"
    program = lab.module(HEAD + F + tail + old, name)
    prepared = program.prepare(HEAD + NEW_F + tail + new, *released)
    twin = lab.module(HEAD + F + tail.replace(name, f"{name}_twin") + old, f"{name}_twin")
    twin.allow = ("signature-changed",)
    twin.push(HEAD + NEW_F + tail.replace(name, f"{name}_twin") + new, *released)
    works = all(_works(caller) for key, caller in vars(twin.module).items() if key[:1] == "c")
    is_called = any(call in old for call in OLD_CALLS)
    assert (prepared.refusals == ()) == (works and is_called), (prepared.refusals, works)


def _works(function: Any) -> bool:
    try:
        function()
    except TypeError:
        return False
    return True


# a call and a signature --------------------------------------------------------------------

NAMES = ("a", "b", "c", "k", "m")
STRANGER = "z"


@st.composite
def signatures(draw: st.DrawFn) -> str:
    count = draw(st.integers(0, 3))
    only, plain = draw(st.integers(0, count)), draw(st.integers(0, count))
    parts: list[str] = []
    for number, name in enumerate(NAMES[:count]):
        parts += [name if number < plain else f"{name}=1"]
        parts += ["/"] if number + 1 == only else []
    keywords = NAMES[3 : 3 + draw(st.integers(0, 2))]
    star = draw(st.booleans())
    parts += ["*rest"] if star else ["*"] if keywords else []
    parts += [f"{name}{draw(st.sampled_from(['', '=1']))}" for name in keywords]
    return ", ".join([*parts, *(["**options"] if draw(st.booleans()) else [])])


@settings(deadline=None, max_examples=400)
@given(
    signatures(),
    st.integers(0, 4),
    st.lists(st.sampled_from([*NAMES, STRANGER]), unique=True, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_a_call_fits_if_and_only_if_some_call_of_that_shape_works(
    parameters: str, count: int, names: list[str], more: bool, others: bool
) -> None:
    scope: dict[str, FunctionType] = {}
    exec(f"def f({parameters}): pass", scope)
    said = misfit(scope["f"], count, names, more=more, others=others)
    works = any(
        _takes(scope["f"], count + extra, (*names, *further))
        for extra in (range(5) if more else [0])
        for further in (_subsets(set(NAMES) - set(names)) if others else [()])
    )
    assert (said == "") == works, said


def _subsets(names: set[str]) -> list[tuple[str, ...]]:
    return [c for n in range(len(names) + 1) for c in itertools.combinations(sorted(names), n)]


def _takes(function: FunctionType, count: int, names: tuple[str, ...]) -> bool:
    try:
        function(*[0] * count, **dict.fromkeys(names, 0))
    except TypeError:
        return False
    return True


MISFITS = [
    ("x, y", 1, [], "it does not give `y`"),
    ("x, y", 3, [], "it gives 3 arguments by position, and at most 2 are taken"),
    ("self, x", 3, [], "it gives 2 arguments by position, and at most 1 is taken"),
    ("x", 1, ["x"], "it gives `x` twice"),
    ("x", 1, ["y"], "it gives `y` by name, which is no parameter"),
    ("x, /", 0, ["x"], "it gives `x` by name"),
    ("x, *, y", 1, [], "it does not give `y`"),
]


@pytest.mark.parametrize(("parameters", "count", "names", "said"), MISFITS)
def test_what_is_wrong_with_a_call_is_said(
    parameters: str, count: int, names: list[str], said: str
) -> None:
    scope: dict[str, FunctionType] = {}
    exec(f"def f({parameters}): pass", scope)
    assert misfit(scope["f"], count, names, more=False, others=False) == said
