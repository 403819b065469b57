"""After an edit, most of a file is not read again, nor are most functions built again.

What comes of it must be what reading and building everything gives.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scatter.analysis import ModuleSource, SourceError
from scatter.workspace import Workspace

HEAD = '"""Orders."""\n\nfrom __future__ import annotations\nimport scatter\nimport util\n'
STATEMENTS = (
    "RATE = 3\n",
    "RATE = [1,\n  2]\n",
    "LIMIT = RATE * 2\n",
    "cache = {}\n",
    "one = 1; two = 2\n",
    "from util import clean\n",
    "from util import *\n",
    "# a note\n",
    "\n",
    "def helper(x):\n    return x * RATE\n",
    "def helper(x: 'Model') -> int:\n    global cache\n    cache = x\n"
    "    def inner(y: Model): return y\n",
    "@scatter.track\ndef f(x):\n    return helper(x) + util.count(x)\n",
    "@scatter.track\ndef f(x):\n    return missing(x)\n",
    "@scatter.track\n@property\n\ndef g(x):\n\n    return f(x), cache, Model\n",
    "@scatter.track(name='other')\ndef g(x):\n    RATE.append(x)\n",
    "class Model:\n    size = RATE\n    @scatter.track\n"
    "    def get(self):\n        return self.size\n",
    "class Model:\n    def get(self):\n        return LIMIT\n",
    "    stray = 1\n",
    "else:\n    pass\n",
    "if RATE:\n    def helper(x):\n        return LIMIT\n",
    'text = """\ndef f(x): pass\n"""\n',
    "x = 1 \\\n",
    "\\\n",
    "@scatter.track\n",
    "global RATE\n",
    "from __future__ import division\n",
    "'''",
    "last = 1",
)
UTIL = (
    "def clean(x):\n    return x\n",
    "def clean(x):\n    return count(x)\n",
    "def count(x):\n    return 1\n",
    "def count(x):\n    return 2\n",
    "from scatter import track\n",
    "__all__ = ['count']\n",
    "missing = len\n",
    "RATE = 4\n",
    "STEP = 5\n",
)
READINGS = ("future", "definitions", "stars", "exported", "functions", "tracked", "looked_up")
MORE = ("class_bodies", "assigned_later", "package", "text")
picks = st.lists(st.sampled_from(STATEMENTS), max_size=12)
edits = st.lists(
    st.tuples(
        st.integers(0, 14), st.integers(0, 3), st.lists(st.sampled_from(STATEMENTS), max_size=3)
    ),
    min_size=1,
    max_size=4,
)


def edited(parts: list[str], at: int, gone: int, new: list[str]) -> list[str]:
    return [*parts[:at], *new, *parts[at + gone :]]


def read(text: str, before: ModuleSource | None) -> ModuleSource | tuple[object, ...]:
    try:
        return ModuleSource(text, name="shop", file="shop.py", before=before)
    except SourceError as error:
        return error.msg, error.lineno, error.offset


@given(first=picks, changes=edits)
@settings(max_examples=200, deadline=None)
def test_what_is_read_of_an_edited_file_is_what_reading_it_whole_gives(
    first: list[str], changes: list[tuple[int, int, list[str]]]
) -> None:
    parts = [HEAD, *first]
    before = None
    for step, change in enumerate([(0, 0, []), *changes]):
        parts = edited(parts, *change)
        quick, whole = read("".join(parts), before), read("".join(parts), None)
        if not isinstance(whole, ModuleSource) or not isinstance(quick, ModuleSource):
            assert quick == whole
            continue
        for reading in (*READINGS, *MORE):
            assert getattr(quick, reading) == getattr(whole, reading), reading
        before = before if step % 2 else quick  # else: two edits, in two places, are one


def test_characters_at_the_seams_are_no_new_statements() -> None:
    before = ModuleSource("a = 1\nb = 2", name="m", file="m.py")
    for text in (
        "a = 1\nb = 23",
        "a = 1b = 2",
        "a = 1\n\nb = 2",
        " a = 1\nb = 2",
        "",
        "a = 1\n#b = 2",
    ):
        assert str(read(text, None)) == str(read(text, before))


def test_an_edit_of_one_function_of_a_standard_module_is_read_alone() -> None:
    text = Path(pickle.__file__).read_text("utf-8")
    before = ModuleSource(text, name="pickle", file="pickle.py")
    new = text.replace("    if x == 0:\n", "    # more\n    if x == 1:\n", 1)
    quick, whole = (
        ModuleSource(new, name="pickle", file="pickle.py", before=b) for b in (before, None)
    )
    assert quick.functions == whole.functions
    assert quick.definitions == whole.definitions
    for line, name in ((f.line, k) for k, f in whole.functions.items()):
        assert quick.inner_function(line, name) == whole.inner_function(line, name)
    told = [quick.definitions[n] is before.definitions[n] for n in ("bytes_types", "_Framer")]
    assert all(told), "what stands before the edit was read again"


def bundles(workspace: Workspace) -> dict[str, object]:
    return {n: replace(b, looked_at=frozenset()) for n, b in workspace.functions.items()}


@given(
    first=picks,
    util=st.lists(st.sampled_from(UTIL), max_size=5),
    changes=st.lists(st.one_of(st.tuples(st.just("shop"), st.integers(0, 12), st.integers(0, 2),
             st.lists(st.sampled_from(STATEMENTS), max_size=2)),
             st.tuples(st.just("util"), st.integers(0, 5), st.integers(0, 2),
             st.lists(st.sampled_from(UTIL), max_size=2))), min_size=1, max_size=5),
)  # fmt: skip
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_a_workspace_has_after_edits_is_what_a_new_one_finds(
    tmp_path: Path,
    first: list[str],
    util: list[str],
    changes: list[tuple[str, int, int, list[str]]],
) -> None:
    texts = {"shop": [HEAD, *first], "util": util}
    for name, parts in texts.items():
        (tmp_path / f"{name}.py").write_text("".join(parts))
    workspace = Workspace([tmp_path], settle_s=0.0)
    workspace.load()
    for name, *change in changes:
        parts = edited(texts[name], *change)
        try:
            compile("".join(parts), name, "exec", dont_inherit=True)
        except SyntaxError:
            continue  # functions stay as they were: nothing to compare with
        texts[name] = parts
        (tmp_path / f"{name}.py").write_text("".join(parts))
        workspace.refresh()
        fresh = Workspace([tmp_path])
        fresh.load()
        assert bundles(workspace) == bundles(fresh)


@pytest.mark.parametrize("name", ["rates:tax", "rates:total"])
def test_a_function_that_an_edit_does_not_concern_is_not_built_again(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / "rates.py"
    total, tax = (f"@scatter.track\ndef {n}(x):\n    return x\n\n\n" for n in ("total", "tax"))
    file.write_text(f"import scatter\n\n\n{total}{tax}")
    workspace = Workspace([tmp_path])
    workspace.load()
    before = workspace.functions[name]
    file.write_text(f"import scatter\n\nSTEP = 1\n\n\n{total}# more\n{tax}")
    workspace.refresh()
    after = workspace.functions[name]
    assert after.bundle is before.bundle
    assert after.lines == (before.lines[0] + (3 if name == "rates:tax" else 2),)
