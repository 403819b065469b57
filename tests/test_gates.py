"""What must be well before a push: what files tell, and what commands say."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from shells import Shell, Watch, live, tip
from support import wait_until

from scatter.analysis import ModuleSource
from scatter.bundle import Bundle
from scatter.config import resolve
from scatter.errors import Refused, UsageError
from scatter.linker.signature import _parameters_of, parameters_in
from scatter.releases import Releases
from scatter.workspace import Workspace
from scatter.workspace.calls import calls_in
from scatter.workspace.checks import check_owner, read_checks, run
from scatter.workspace.gates import GATES, Gates
from scatter.workspace.installed import Installed

PYTHON = shlex.quote(sys.executable)


# what files tell ---------------------------------------------------------------------------


class Tree:
    """A project on disk, and what was live of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pyproject.toml").write_text("")

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def read(self) -> Workspace:
        workspace = Workspace([self.folder])
        workspace.load()
        return workspace

    def bundles(self) -> dict[str, Bundle]:
        return {name: built.bundle for name, built in self.read().functions.items()}

    def wrong(
        self, live: Mapping[str, Bundle] | None = None, allow: tuple[str, ...] = ()
    ) -> list[str]:
        workspace = self.read()
        gates = Gates(workspace, allow=allow)
        found = [
            wrong
            for name, built in workspace.functions.items()
            for wrong in gates.wrong(built, (live or {}).get(name))
        ]
        return [f"{w.file}:{w.line} {w.reason}" for w in found]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


HEAD = "import scatter\n\n"
SCORE = HEAD + "@scatter.track\ndef score(x, y=1):\n    return x * y\n"


def test_code_that_is_well_passes(tree: Tree) -> None:
    tree.write(
        pricing=HEAD
        + "import json, os.path\nimport rates\nfrom rates import VAT, tax as t\n"
        + "try:\n    import orjson\nexcept ImportError:\n    orjson = None\n\n"
        + "@scatter.track\ndef score(x):\n    import collections.abc\n"
        + "    return t(x) * VAT * rates.VAT, json, os.path, orjson, __name__, len\n",
        rates="VAT = 2\n\ndef tax(x):\n    return x\n",
    )
    assert tree.wrong() == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("@scatter.track\ndef score(x):\n    y = 1\n    return taxx(x)\n", 6),
        (
            "def aid(x):\n    return taxx(x)\n\n@scatter.track\ndef score(x):\n    return aid(x)\n",
            4,
        ),
        ("class Model:\n    @scatter.track\n    def predict(self):\n        return taxx\n", 6),
    ],
    ids=["function", "helper", "method"],
)
def test_a_name_that_nothing_defines_is_found_where_it_stands(
    tree: Tree, text: str, line: int
) -> None:
    tree.write(pricing=HEAD + text)
    assert tree.wrong() == [f"pricing.py:{line} missing-name"]
    assert tree.wrong(allow=("missing-name",)) == []
    assert tree.wrong(tree.bundles()) == [], "it is live like that"


@pytest.mark.parametrize(
    ("statement", "is_there"),
    [
        ("import no_such_module as nothing", False),
        ("import no_such_module.inner as nothing", False),
        ("from no_such_module import nothing", False),
        ("from rates import nothing", False),
        ("import rates.inner as nothing", False),
        ("from shop.prices import nothing", False),
        ("from shop import nothing", False),
        ("from . import nothing", True),
        ("from shop import prices as nothing", True),
        ("from shop.prices import VAT as nothing", True),
        ("from space import inner as nothing", True),
        ("import space.inner as nothing", True),
        ("from rates import later as nothing", True),
        ("from open import nothing", True),
        ("from starred import nothing", True),
        ("import email.mime as nothing", True),
        ("import hypothesis as nothing", True),
    ],
)
@pytest.mark.parametrize("inside", [False, True], ids=["module", "function"])
def test_an_import_of_what_there_is_not_is_found(
    tree: Tree, statement: str, is_there: bool, inside: bool
) -> None:
    tree.write(
        rates="VAT = 1\n\ndef change():\n    global later\n    later = 1\n",
        open="def __getattr__(name):\n    return name\n",
        starred="from rates import *\n",
        shop__prices="VAT = 2\n",
        space__inner="VAT = 3\n",
    )
    (tree.folder / "shop/__init__.py").write_text("")
    place = ("", f"    {statement}\n") if inside else (f"{statement}\n", "")
    text = f"{HEAD}{place[0]}@scatter.track\ndef score():\n{place[1]}    return nothing\n"
    tree.write(pricing=text)
    line = text.split("\n").index(place[inside].strip("\n")) + 1
    assert tree.wrong() == ([] if is_there else [f"pricing.py:{line} missing-import"])
    assert tree.wrong(allow=GATES) == []


def test_an_import_that_is_live_passes_and_new_ones_are_not_judged_where_it_cannot_be_found(
    tree: Tree,
) -> None:
    tree.write(pricing=HEAD + "import not_here\n@scatter.track\ndef score():\n    not_here\n")
    live = tree.bundles()
    assert tree.wrong(live) == []
    tree.write(
        pricing=HEAD
        + "import not_here\nimport nor_this\n@scatter.track\ndef score():\n    not_here, nor_this\n"
    )
    assert tree.wrong(live) == [], "its packages are elsewhere"
    assert len(tree.wrong()) == 2


def test_an_import_that_may_fail_is_left_to_the_process(tree: Tree) -> None:
    tree.write(
        pricing=HEAD
        + "try:\n    import not_here as a\nexcept ImportError:\n    import json as a\n"
        + "if a:\n    import not_here as b\n"
        + "@scatter.track\ndef score():\n"
        + "    try:\n        import not_here\n    except ImportError:\n        pass\n"
        + "    return a, b\n"
    )
    assert tree.wrong() == []


def test_what_the_projects_own_environment_has_is_there(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tree.folder / ".venv/lib/python3.11/site-packages"
    other = tree.folder / "other"
    (packages / "one").mkdir(parents=True)
    (packages / "two.py").write_text("")
    (packages / "three.cpython-311-x86_64-linux-gnu.so").write_text("")
    (packages / "work.pth").write_text(f"import this\n{other}\n")
    (packages / "__editable___five_finder.py").write_text("MAPPING = {'five': '/src/five'}\n")
    (other / "four").mkdir(parents=True)
    installed = Installed(tree.folder)
    assert all(map(installed.has, ["one", "two.inner", "three", "four", "five", "json"]))
    assert not installed.has("six_or_seven")
    monkeypatch.setenv("VIRTUAL_ENV", str(tree.folder / "active"))
    (tree.folder / "active/lib/python3.12/site-packages/six_or_seven").mkdir(parents=True)
    assert Installed(tree.folder).has("six_or_seven")


KINDS = {
    "plain": "def score(x):\n    return [(yield_) for yield_ in x]",
    "generator": "def score(x):\n    yield x",
    "coroutine": "async def score(x):\n    return x",
    "async generator": "async def score(x):\n    yield x",
}


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_another_kind_of_function_is_found(tree: Tree, old: str, new: str) -> None:
    tree.write(pricing=f"{HEAD}@scatter.track\n{KINDS[old]}\n")
    live = tree.bundles()
    tree.write(pricing=f"{HEAD}\n\n@scatter.track\n{KINDS[new]}\n")
    assert tree.wrong(live) == ([] if old == new else ["pricing.py:5 kind-changed"])
    assert tree.wrong(live, allow=("kind-changed",)) == []
    assert tree.wrong() == []


def test_a_yield_in_an_inner_function_makes_no_generator(tree: Tree) -> None:
    tree.write(pricing=SCORE)
    inner = "    def each():\n        yield y\n    return list(each()) * x\n"
    live = tree.bundles()
    tree.write(pricing=SCORE.replace("    return x * y\n", inner))
    assert tree.wrong(live) == []


def test_what_decorators_make_of_a_function_is_not_judged(tree: Tree) -> None:
    wrap = "from functools import cache\n\n@scatter.track\n@cache\n"
    tree.write(pricing=HEAD + wrap + "def score(x):\n    return x\n")
    live = tree.bundles()
    tree.write(pricing=HEAD + wrap + "async def score(x, y):\n    return x\n\nscore(1)\n")
    assert tree.wrong(live) == []


CALLERS = {
    "in its module": ("pricing", "def use():\n    return score(1)\n"),
    "from its module": ("web", "from pricing import score\n\nscore(1)\n"),
    "under another name": ("web", "from pricing import score as s\n\nclass A:\n    b = s(1)\n"),
    "through its module": ("web", "import pricing\n\nprint(pricing.score(1))\n"),
    "inside a function": (
        "web",
        "def use():\n    from pricing import score\n    return score(1)\n",
    ),
    "nested": ("web", "from pricing import score\n\nprint(sorted([score(1)]))\n"),
}


@pytest.mark.parametrize("name", CALLERS)
def test_calls_that_a_changed_signature_breaks_are_found(tree: Tree, name: str) -> None:
    file, text = CALLERS[name]
    caller = text if file != "pricing" else ""
    tree.write(pricing=SCORE + (text if file == "pricing" else ""))
    tree.write(web=caller or "pass\n")
    live = tree.bundles()
    assert tree.wrong(live) == []
    tree.write(pricing=SCORE.replace("y=1", "y") + (text if file == "pricing" else ""))
    (wrong,) = tree.wrong(live)
    assert re.fullmatch(rf"{file}\.py:\d+ signature-changed", wrong)
    assert tree.wrong(live, allow=("signature-changed",)) == []
    mended = text.replace("score(1)", "score(1, 2)").replace("s(1)", "s(1, 2)")
    tree.write(pricing=SCORE.replace("y=1", "y") + (mended if file == "pricing" else ""))
    tree.write(web=mended if file == "web" else "pass\n")
    assert tree.wrong(live) == [], "its callers were changed with it"


@pytest.mark.parametrize(
    "text",
    [
        "from pricing import score\n\ndef use(score):\n    return score(1)\n",
        "from pricing import score\n\ndef use():\n    score = print\n    return score(1)\n",
        "from pricing import score\n\ndef use():\n    def score(x): ...\n    return score(1)\n",
        "import pricing\n\nuse = lambda pricing: pricing.score(1)\n",
        "from other import score\n\nscore(1)\n",
        "import other as pricing\n\npricing.score(1)\n",
        "from pricing import score\n\nscore(1, y=2)\nscore(*[1, 2])\nscore(1, **{'y': 2})\n",
        "class A:\n    def score(self):\n        return self.score(1)\n",
    ],
)
def test_calls_of_something_else_or_that_fit_are_not(tree: Tree, text: str) -> None:
    tree.write(pricing=SCORE, web=text, other="def score(x):\n    return x\n")
    live = tree.bundles()
    tree.write(pricing=SCORE.replace("y=1", "y"))
    assert tree.wrong(live) == []


def test_calls_in_tests_are_not_looked_at(tree: Tree) -> None:
    tree.write(pricing=SCORE, tests__test_pricing="from pricing import score\n\nscore(1)\n")
    live = tree.bundles()
    tree.write(pricing=SCORE.replace("y=1", "y"))
    assert tree.wrong(live) == []


SIGNATURES = [
    "()", "(a)", "(a, b=1)", "(a, /, b)", "(a, *, b)", "(a, *, b=2, c)", "(*a, b)", "(**k)",
    "(a, /, b=1, *c, d, e=3, **f)",
]  # fmt: skip


@pytest.mark.parametrize("signature", SIGNATURES)
def test_parameters_are_read_from_source_as_from_a_function(signature: str) -> None:
    import ast

    namespace: dict[str, object] = {}
    exec(f"def f{signature}: pass", namespace)
    (node,) = ast.parse(f"def f{signature}: pass").body
    assert isinstance(node, ast.FunctionDef)
    assert parameters_in(node.args) == _parameters_of(namespace["f"])  # type: ignore[arg-type]


def test_a_call_is_read_with_all_that_it_gives() -> None:
    text = "from m import f\nf(1, *a, 2, k=3, **b)\n"
    (call,) = calls_in(ModuleSource(text, name="web", file="web.py"), "m", "f")
    assert (call.line, call.count, call.names) == (2, 2, ("k",))
    assert (call.more, call.others) == (True, True)


# commands ----------------------------------------------------------------------------------


def test_checks_are_commands_and_may_concern_some_paths() -> None:
    everything, some = read_checks(["pytest -q 'a b'", "[src/pricing/*] ruff check"])
    assert (everything.words, everything.pattern) == (("pytest", "-q", "a b"), "*")
    assert (some.words, some.pattern) == (("ruff", "check"), "src/pricing/*")
    assert some.concerns(["web.py", "src/pricing/vat.py"])
    assert not some.concerns(["src/web.py"])
    assert everything.concerns(["anything.py"])


@pytest.mark.parametrize("text", ["", "  ", "[src/*]", "pytest 'a", "[src/*] "])
def test_what_is_no_command_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="checks: "):
        read_checks([text])


def test_a_check_shows_what_it_prints_and_runs_in_the_project(tmp_path: Path) -> None:
    lines: list[str] = []
    (check,) = read_checks([f"{PYTHON} -c 'import os; print(os.getcwd()); print(\"$HOME;\")'"])
    run(check, tmp_path, lines.append)
    assert lines == [str(tmp_path), "$HOME;"], "there is no shell"


@pytest.mark.parametrize(
    ("command", "how"),
    [
        (f"{PYTHON} -c 'raise SystemExit(3)'", "ended with 3"),
        (f"{PYTHON} -c 'import os; os.kill(os.getpid(), 9)'", "was ended by signal 9"),
        ("no-such-program --all", "cannot be started in .*: No such file or directory"),
    ],
)
def test_a_check_that_fails_says_how(tmp_path: Path, command: str, how: str) -> None:
    (check,) = read_checks([command])
    with pytest.raises(Refused, match=f"{how}; nothing was pushed") as caught:
        run(check, tmp_path, lambda _: None)
    assert caught.value.reason == "check-failed"


TABLES = {
    'checks = ["ruff check", "[src/*] pytest -q"]': ("ruff check", "[src/*] pytest -q"),
    '[tool.scatter.checks]\n"*" = "ruff check"\n"src/*" = ["pytest -q", "mypy"]': (
        "ruff check",
        "[src/*] pytest -q",
        "[src/*] mypy",
    ),
}


@pytest.mark.parametrize("table", TABLES)
def test_checks_are_a_list_or_a_table_by_paths(tmp_path: Path, table: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.scatter]\n{table}\n")
    assert resolve(start=tmp_path).checks == TABLES[table]


@pytest.mark.parametrize(
    "table", ["checks = 1", "checks = [1]", "checks.a = 1", 'checks.a = [["b"]]']
)
def test_checks_in_any_other_form_are_a_mistake(tmp_path: Path, table: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.scatter]\n{table}\n")
    with pytest.raises(UsageError, match="expected a list of commands, or a table of them"):
        resolve(start=tmp_path)


def test_checks_of_the_environment_are_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCATTER_CHECKS", "ruff check .\n pytest -q\n")
    assert resolve(start=tmp_path).checks == ("ruff check .", "pytest -q")


def test_the_commands_of_a_file_that_others_can_write_are_not_run(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("")
    file.chmod(0o644)
    check_owner(file)
    file.chmod(0o666)
    with pytest.raises(UsageError, match="others can write it"):
        check_owner(file)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_the_commands_of_another_users_file_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("")
    os.chown(file, 12345, -1)
    with pytest.raises(UsageError, match="belongs to another user"):
        check_owner(file)


# at the command line -----------------------------------------------------------------------


def test_a_push_of_what_is_wrong_says_all_of_it_and_sends_nothing(
    shell: Shell, releases: Releases
) -> None:
    shell.edit("return x * RATE", "import not_there\n    return x * RATEE")
    done = shell("push")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "Error: Mend this first:\n"
        "  pricing.py:8: missing-name: `RATEE` is used, and neither defined nor imported there. "
        "Correct it, or import it by name.\n"
        "  pricing.py:7: missing-import: there is no module `not_there` in the project, and none "
        "is installed here. Install it where the function runs, or correct the name.\n"
        "If it is meant, push with --allow missing-name --allow missing-import.\n"
    )
    assert tip(releases) == 0
    allowed = ["--allow", "missing-name", "--allow", "missing-import"]
    assert shell("push", *allowed, "--wait", "0").code == 0
    bundle = releases.fetch(releases.version("score"))
    assert bundle.allow == ("missing-name",)


def test_a_change_that_breaks_callers_is_found_before_it_is_sent(
    shell: Shell, releases: Releases
) -> None:
    assert shell("push", "--wait", "0").code == 0
    (shell.folder / "web.py").write_text("import pricing\n\nprint(pricing.score(1))\n")
    shell.edit("def score(x):", "async def score(x, y):")
    done = shell("push")
    assert done.code == 1
    assert "  pricing.py:10: kind-changed: it is a coroutine function now" in done.err
    assert "  web.py:3: signature-changed: this call of `score` does not fit any more" in done.err
    assert tip(releases) == 1
    assert shell("push", "--no-check", "--wait", "0").code == 0


def test_a_check_must_pass_before_a_push(shell: Shell, releases: Releases) -> None:
    failing = f"{PYTHON} -c 'print(\"2 failed\"); raise SystemExit(1)'"
    done = shell("push", "--check", failing)
    assert done.code == 1
    assert done.err == (
        f"2 failed\nError: The check `{failing}` ended with 1; nothing was pushed. Mend what it "
        "found, or push with --no-check.\n"
    )
    assert tip(releases) == 0
    passing = f"{PYTHON} -c 'import pricing; print(pricing.RATE)'"
    done = shell("push", "--check", passing, "--json", "--wait", "0")
    assert done.json("push")["sequence"] == 1
    assert done.err.startswith("2\n"), "it runs on the working tree"
    again = shell("push", "--check", failing)
    assert again.code == 0, "there is nothing to push"


def test_the_checks_of_the_project_run_for_the_files_that_they_concern(
    shell: Shell, releases: Releases
) -> None:
    (shell.folder / "pyproject.toml").write_text(
        "[tool.scatter.checks]\n"
        f"'*' = '''{PYTHON} -c \"print('all')\"'''\n"
        f"'other/*' = '''{PYTHON} -c \"print('other')\"'''\n"
        f"'pric*.py' = ['''{PYTHON} -c \"print('prices')\"''', 'false']\n"
    )
    done = shell("push")
    assert done.code == 1
    assert done.err.startswith("all\nprices\nError: The check `false` ended with 1;")
    assert shell("push", "--no-check", "--wait", "0").code == 0


def test_a_failed_check_keeps_a_save_back_and_is_shown(
    shell: Shell, releases: Releases, watch: Callable[..., Watch]
) -> None:
    test = "import pricing; print('checked', pricing.RATE, flush=True); assert pricing.RATE != 3"
    watching = watch("--check", f'{PYTHON} -B -c "{test}"')
    shell.edit("RATE = 2", "RATE = 3")
    assert "ended with 1; nothing was pushed" in watching.until("^score not pushed: The check")
    assert watching.line() == "  checked 3\n"
    shell.edit("RATE = 3", "RATE = 4")
    watching.until(r"^score v1 ")
    assert live(releases) == {"pricing:score": 1}


def test_a_watch_pushes_nothing_that_is_wrong_and_says_where(
    shell: Shell, releases: Releases, watch: Callable[..., Watch]
) -> None:
    watching = watch()
    shell.edit("return x * RATE", "return x * RATEE")
    assert watching.until("^score not pushed") == "score not pushed: Mend this first:\n"
    assert watching.line().startswith("  pricing.py:7: missing-name: `RATEE` is used")
    shell.edit("return x * RATEE", "return x * RATE * 2")
    watching.until(r"^score v1 ")
    assert live(releases) == {"pricing:score": 1}


def test_a_watch_without_checks_leaves_it_to_the_processes(
    shell: Shell, releases: Releases, watch: Callable[..., Watch]
) -> None:
    watch("--no-check")
    shell.edit("return x * RATE", "return x * RATEE")
    wait_until(lambda: live(releases) == {"pricing:score": 1}, "the push")
