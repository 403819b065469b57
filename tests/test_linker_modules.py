"""Versions whose helpers stand in other modules of the project."""

from __future__ import annotations

import sys
import textwrap

import pytest
from linking import Lab, Program

from scatter import bases

UTIL = """
import threading
RATE = 2
TABLE = {"a": 1}
calls = 0
lock = threading.Lock()
cache = {}

def clean(x):
    global calls
    calls += 1
    return deep(x) * RATE

def deep(x):
    return x

def other():
    return "other"

class Money:
    def __init__(self, amount): self.amount = amount
"""

FORMS = {
    "from": ("from {m} import clean", "clean(x)"),
    "from as": ("from {m} import clean as tidy", "tidy(x)"),
    "module": ("import {m}", "{m}.clean(x)"),
    "module as": ("import {m} as u", "u.clean(x)"),
    "star": ("from {m} import *", "clean(x)"),
    "try": (
        "try:\n    from nowhere_at_all import clean\nexcept ImportError:\n"
        "    from {m} import clean",
        "clean(x)",
    ),
    "inside": ("", "(lambda: __import__('builtins').int(clean(x)))()"),
}


def two(lab: Lab, name: str, form: str, util: str = UTIL) -> Program:
    """Return a program whose `f` uses `clean` of a module `util_NAME`."""
    module = f"util_{name}"
    head, call = (text.format(m=module) for text in FORMS[form])
    inside = f"    from {module} import clean\n" if form == "inside" else ""
    text = f"import scatter\n{head}\n\n@scatter.track\ndef f(x=1):\n{inside}    return {call}\n"
    lab.module(util, module)
    return lab.module(text, f"app_{name}")


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_helper_of_another_module_is_seen_by_the_version_alone(
    lab: Lab, form: str
) -> None:
    name = form.replace(" ", "_")
    program = two(lab, name, form)
    util = sys.modules[f"util_{name}"]
    assert program.f(3) == 6
    lab.edit(f"util_{name}", UTIL.replace("deep(x) * RATE", "deep(x) * RATE + 1"))
    program.push(program.text, "f")
    assert program.f(3) == 7
    assert util.clean(3) == 6, "nobody else sees the changed helper"
    assert util.calls == 3, "the counter is the live one"
    program.go(f=0)
    assert program.f(3) == 6


@pytest.mark.parametrize("form", FORMS)
def test_a_helper_two_levels_down_in_another_module_takes_those_between_along(
    lab: Lab, form: str
) -> None:
    name = f"deep_{form.replace(' ', '_')}"
    program = two(lab, name, form)
    lab.edit(f"util_{name}", UTIL.replace("return x\n", "return x + 10\n"))
    program.push(program.text, "f")
    assert program.f(3) == 26
    assert sys.modules[f"util_{name}"].clean(3) == 6


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_constant_of_another_module_travels(lab: Lab, form: str) -> None:
    name = f"rate_{form.replace(' ', '_')}"
    program = two(lab, name, form)
    lab.edit(f"util_{name}", UTIL.replace("RATE = 2", "RATE = 5"))
    program.push(program.text, "f")
    assert program.f(3) == 15
    assert sys.modules[f"util_{name}"].RATE == 2


@pytest.mark.parametrize("form", FORMS)
def test_an_unchanged_helper_of_another_module_is_the_live_one(
    lab: Lab, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"same_{form.replace(' ', '_')}"
    program = two(lab, name, form)
    program.push(program.text.replace("return ", "return -"), "f")
    assert program.f(3) == -6
    assert f"util_{name}:" not in str(program.slot("f").running.private)
    monkeypatch.setattr(sys.modules[f"util_{name}"], "deep", lambda x: 100)
    assert program.f(3) == -200


def test_a_view_of_a_module_is_the_live_module_in_all_that_does_not_travel(lab: Lab) -> None:
    lab.module(UTIL, "util_view")
    text = (
        "import scatter\nimport util_view\n\n@scatter.track\n"
        "def f(x):\n    util_view.cache[x] = util_view.clean(x)\n"
        "    util_view.calls += 100\n    return util_view.cache, util_view.lock, util_view.other\n"
    )
    program = lab.module(text, "app_view")
    lab.edit("util_view", UTIL.replace("deep(x) * RATE", "deep(x) - RATE"))
    program.push(text, "f")
    util = sys.modules["util_view"]
    cache, lock, other = program.f(3)
    assert cache == {3: 1}
    assert cache is util.cache
    assert lock is util.lock
    assert other is util.other
    assert util.calls == 101


def test_submodules_are_seen_through_their_package(lab: Lab) -> None:
    lab.write("from . import rates\nfrom .names import *\n", "shop_a.__init__")
    lab.write("def tax(x): return x * 2\n", "shop_a.rates")
    lab.write("def title(x): return f'<{x}>'\n", "shop_a.names")
    text = (
        "import scatter\nimport shop_a.rates\nimport shop_a as s\nfrom shop_a import title, rates\n"
        "from shop_a.rates import tax\n\n@scatter.track\ndef f(x):\n"
        "    import shop_a.rates as r\n    from shop_a import rates as q\n"
        "    return shop_a.rates.tax(x), s.rates.tax(x), rates.tax(x), tax(x), r.tax(x), "
        "q.tax(x), title(x), s.title(x)\n"
    )
    program = lab.module(text, "app_sub")
    assert program.f(3) == (6, 6, 6, 6, 6, 6, "<3>", "<3>")
    lab.edit("shop_a.rates", "def tax(x): return x * 3\n")
    program.push(text, "f")
    assert program.f(3) == (9, 9, 9, 9, 9, 9, "<3>", "<3>")
    lab.edit("shop_a.names", "def title(x): return f'[{x}]'\n")
    program.push(text, "f")
    assert program.f(3) == (9, 9, 9, 9, 9, 9, "[3]", "[3]")
    assert sys.modules["shop_a"].rates.tax(3) == 6
    assert sys.modules["shop_a"].title(3) == "<3>"


def test_relative_imports_travel(lab: Lab) -> None:
    lab.write("", "shop_b.__init__")
    lab.write("", "shop_b.inner.__init__")
    lab.write("from ..low import base\ndef tax(x): return base(x) * 2\n", "shop_b.inner.rates")
    lab.write("def base(x): return x\n", "shop_b.low")
    text = (
        "import scatter\nfrom .inner import rates\nfrom .inner.rates import tax as t\n\n"
        "@scatter.track\ndef f(x):\n    from . import low\n"
        "    return rates.tax(x), t(x), low.base(x)\n"
    )
    program = lab.module(text, "shop_b.app")
    lab.edit("shop_b.low", "def base(x): return x + 1\n")
    program.push(text, "f")
    assert program.f(3) == (8, 8, 4)
    assert sys.modules["shop_b.inner.rates"].tax(3) == 6


def test_a_module_that_the_process_does_not_have_travels_whole(lab: Lab) -> None:
    program = lab.module("import scatter\n\n@scatter.track\ndef f(x): return x\n", "app_new")
    new = (
        "import math\nLIMIT = 10\nseen = []\n\nclass Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "    def cut(self): return min(self.x, LIMIT)\n\ndef use(x):\n    seen.append(x)\n"
        "    return Point(math.floor(x)).cut(), len(seen)\n"
    )
    lab.edit("brand_new", new)
    text = (
        "import scatter\nimport brand_new\nfrom brand_new import use as u\n\n@scatter.track\n"
        "def f(x):\n    from brand_new import Point\n"
        "    return brand_new.use(x), u(x), isinstance(brand_new.Point(1), Point)\n"
    )
    program.push(text, "f")
    assert program.f(70.5) == ((10, 1), (10, 2), True)
    assert "brand_new" not in sys.modules
    lab.edit("brand_new", new.replace("LIMIT = 10", "LIMIT = 20"))
    program.push(text, "f")
    assert program.f(70.5) == ((20, 3), (20, 4), True), "its state stays from version to version"


def test_a_module_that_is_there_and_not_imported_yet_is_imported_only_if_it_changed(
    lab: Lab,
) -> None:
    lab.write("def tax(x): return x * 2\ndef more(x): return x\n", "not_yet")
    text = (
        "import scatter\n\n@scatter.track\ndef f(x):\n    from not_yet import tax\n"
        "    return tax(x)\n"
    )
    program = lab.module(text, "app_not_yet")
    program.push(text.replace("tax(x)\n", "tax(x) + 1\n"), "f")
    assert "not_yet" not in sys.modules
    assert program.f(3) == 7
    lab.close()
    lab.write("def tax(x): return x * 2\ndef more(x): return x\n", "not_yet")
    lab.edit("not_yet", "def tax(x): return x * 3\ndef more(x): return x\n")
    program.push(text, "f")
    assert program.f(3) == 9
    assert sys.modules["not_yet"].tax(3) == 6


def test_modules_that_lead_to_each_other_in_a_circle(lab: Lab) -> None:
    lab.write(
        "import ring_b\ndef even(n): return True if n == 0 else ring_b.odd(n - 1)\n"
        "def one(): return 1\n",
        "ring_a",
    )
    lab.write(
        "def odd(n):\n    from ring_a import even\n    return False if n == 0 else even(n - 1)\n",
        "ring_b",
    )
    text = "import scatter\nfrom ring_a import even\n\n@scatter.track\ndef f(n): return even(n)\n"
    program = lab.module(text, "app_ring")
    assert program.f(3) is False
    lab.edit(
        "ring_b",
        "def odd(n):\n    from ring_a import even\n    return 'no' if n == 0 else even(n - 1)\n",
    )
    program.push(text, "f")
    assert program.f(3) == "no"
    assert program.f(4) is True
    assert sys.modules["ring_a"].even(3) is False


def test_a_circle_of_top_level_imports(lab: Lab) -> None:
    lab.write(
        "def even(n): return True if n == 0 else odd(n - 1)\nfrom loop_b import odd\n", "loop_a"
    )
    lab.write(
        "def odd(n): return False if n == 0 else even(n - 1)\nfrom loop_a import even\n", "loop_b"
    )
    text = "import scatter\nfrom loop_a import even\n\n@scatter.track\ndef f(n): return even(n)\n"
    program = lab.module(text, "app_loop")
    lab.edit(
        "loop_b", "def odd(n): return 'no' if n == 0 else even(n - 1)\nfrom loop_a import even\n"
    )
    program.push(text, "f")
    assert [program.f(n) for n in range(4)] == [True, "no", True, "no"]


@pytest.mark.parametrize(
    ("imported", "decorator"),
    [
        ("from {0} import check", "check"),
        ("import {0}", "{0}.check"),
        ("import {0} as n", "n.check"),
    ],
)
def test_a_decorator_that_a_package_hands_on_in_a_circle(
    lab: Lab, imported: str, decorator: str
) -> None:
    net = f"net_{len(imported)}"
    handing_on = f"from {net}.deco import *\nfrom {net}.algo import run\n"
    lab.write(handing_on, f"{net}.__init__")
    deco = (
        f"import {net}\n\ndef check(f):\n    return lambda x: (prepare(f)(x), {net}.algo.TOP)\n\n"
        "def prepare(f): return f\n"
    )
    lab.write(deco, f"{net}.deco")
    algo = f"{imported}\n\nTOP = 9\n\n@{decorator}\ndef run(x): return x\n".format(net)
    lab.write(algo, f"{net}.algo")
    text = f"import scatter\nimport {net}\n\n@scatter.track\ndef f(x): return {net}.run(x)\n"
    program = lab.module(text, f"app_{net}")
    assert program.f(1) == (1, 9)
    lab.edit(f"{net}.deco", deco.replace("return f\n", "return lambda x: f(x) + 1\n"))
    program.push(text, "f")
    assert program.f(1) == (2, 9)
    lab.edit(f"{net}.algo", algo.replace("return x", "return x * 10").replace("9", "8"))
    program.push(text, "f")
    assert program.f(1) == (11, 8)


def test_a_block_of_imports_that_was_run_is_not_run_again(lab: Lab) -> None:
    """As in packages that import lazily, whose block cannot be run a second time."""
    lab.write(
        "import sys\nRUN = []\ndef install():\n    RUN.append(1)\n"
        "    del sys._getframe(1).f_globals['ONCE']\n    return False\n",
        "lazy_h",
    )
    lab.write(
        "from lazy_h import install\nfrom lazy_h import RUN as ONCE\n"
        "if not install() or ONCE:\n    from . import inner\n    from .inner import f\n",
        "lazy_p.__init__",
    )
    lab.write("def f(x): return helper(x)\ndef helper(x): return x\n", "lazy_p.inner")
    text = (
        "import scatter\nimport lazy_p\nfrom lazy_p import f, inner\n\n@scatter.track\n"
        "def g(x): return f(x), lazy_p.f(x), inner.f(x), lazy_p.inner.helper(x)\n"
    )
    program = lab.module(text, "lazy_user")
    bases.remember_project()  # as an agent does when it starts
    lab.edit("lazy_p.inner", "def f(x): return helper(x)\ndef helper(x): return x + 1\n")
    program.push(text, "g")
    assert program.g(1) == (2, 2, 2, 2)
    assert sys.modules["lazy_h"].RUN == [1]
    assert sys.modules["lazy_p"].f(1) == 1


def test_a_tracked_function_of_another_module_is_always_its_newest_version(lab: Lab) -> None:
    rates = lab.module("import scatter\n\n@scatter.track\ndef tax(x): return x * 2\n", "tracked_b")
    text = (
        "import scatter\nimport tracked_b\nfrom tracked_b import tax\n\n@scatter.track\n"
        "def f(x): return tax(x), tracked_b.tax(x)\n"
    )
    program = lab.module(text, "tracked_a")
    program.push(text.replace("return ", "return 1, "), "f")
    assert program.f(3) == (1, 6, 6)
    rates.push(rates.text.replace("2", "3"), "tax")
    assert program.f(3) == (1, 9, 9)


def test_a_live_class_of_another_module_stays_and_a_change_of_it_is_refused_where_it_is_used(
    lab: Lab,
) -> None:
    lab.module(UTIL, "util_class")
    text = (
        "import scatter\nimport util_class\n\n@scatter.track\n"
        "def f(x): return util_class.Money(x)\n\n@scatter.track\n"
        "def g(x): return util_class.clean(x)\n"
    )
    program = lab.module(text, "app_class")
    lab.edit("util_class", UTIL.replace("self.amount = amount", "self.amount = -amount"))
    program.push(text.replace("return util_class.clean", "return 1 + util_class.clean"), "g")
    refusal = program.refusal(text.replace("Money(x)", "Money(x + 1)"), "f")
    assert refusal.reason == "class-changed"
    lab.edit("util_class", UTIL)
    program.push(text.replace("Money(x)", "Money(x + 1)"), "f")
    assert isinstance(program.f(1), sys.modules["util_class"].Money)


def test_what_a_live_helper_uses_is_its_own_affair(lab: Lab) -> None:
    util = UTIL + "\ndef price(x): return Money(x).amount\n"
    lab.module(util, "util_affair")
    text = (
        "import scatter\nfrom util_affair import price\n\n@scatter.track\n"
        "def f(x): return price(x)\n"
    )
    program = lab.module(text, "app_affair")
    lab.edit("util_affair", util.replace("self.amount = amount", "self.amount = -amount"))
    program.push(text.replace("price(x)", "price(x) + 1"), "f")
    assert program.f(1) == 2, "the class is live, and its change waits for a restart"


def test_tracebacks_show_the_lines_of_the_other_module(lab: Lab) -> None:
    import traceback

    lab.module(UTIL, "util_trace")
    text = (
        "import scatter\nfrom util_trace import clean\n\n@scatter.track\n"
        "def f(x): return clean(x)\n"
    )
    program = lab.module(text, "app_trace")
    edited = UTIL.replace("return deep(x) * RATE", "return deep(x) / 0")
    lab.edit("util_trace", edited)
    program.push(text, "f")
    with pytest.raises(ZeroDivisionError) as caught:
        program.f(1)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.line == "return deep(x) / 0"
    assert last.filename == "<scatter app_trace:f v1 in util_trace>"
    lines = textwrap.dedent(edited).split("\n")
    assert last.lineno == lines.index("    return deep(x) / 0") + 1


def test_a_dead_version_leaves_nothing_in_the_other_module(lab: Lab) -> None:
    program = two(lab, "leaves", "from")
    before = dict(vars(sys.modules["util_leaves"]))
    for n in range(20):
        lab.edit("util_leaves", UTIL.replace("RATE = 2", f"RATE = {n + 3}"))
        program.push(program.text, "f")
    assert program.f(1) == 22
    after = dict(vars(sys.modules["util_leaves"]))
    assert after.keys() == before.keys()
    assert [k for k in after if after[k] is not before[k]] == ["calls"]


def test_a_constant_of_a_file_that_was_edited_after_the_import_is_not_taken_for_live(
    lab: Lab,
) -> None:
    file = lab.write(UTIL, "util_late")
    text = (
        "import scatter\nfrom util_late import clean\n\n@scatter.track\ndef f(x): return clean(x)\n"
    )
    program = lab.module(text, "app_late")
    edited = UTIL.replace("RATE = 2", "RATE = 7")
    file.write_text(edited)  # before anything read what was imported
    lab.edit("util_late", edited)
    program.push(text, "f")
    assert program.f(1) == 7


@pytest.mark.parametrize("form", ["from same_{n}.deco import deco", "from same_{n}.deco import *"])
def test_a_function_that_is_called_as_its_module_is(lab: Lab, form: str) -> None:
    n = "star" if "*" in form else "name"
    lab.write(form.format(n=n) + "\n", f"same_{n}.__init__")
    lab.write("def deco(): return 1\n", f"same_{n}.deco")
    text = f"import scatter\nimport same_{n} as nx\n\n@scatter.track\ndef f(): return nx.deco()\n"
    program = lab.module(text, f"same_{n}.use")
    lab.edit(f"same_{n}.deco", "def deco(): return 2\n")
    program.push(text, "f")
    assert program.f() == 2
