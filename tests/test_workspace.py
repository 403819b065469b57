"""The workspace: what a save changed, whatever way it was saved, and never a torn function."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import wait_until

from scatter.errors import UsageError
from scatter.names import matches
from scatter.workspace import Changes, Workspace, count_lines

PRICING = """\
import math

import scatter

RATE = 3
cache = {}


def helper(x):
    return math.floor(x) * RATE


class Model:
    size = 1

    @scatter.track
    def predict(self, x):
        return x * self.size


@scatter.track
def score(x):
    cache[x] = helper(x)
    return cache[x]


@scatter.track
def rank(xs):
    return sorted(xs, key=score), Model()
"""


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A workspace of one directory, and hands to edit it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.file = folder / "pricing.py"
        self.file.write_text(PRICING)
        self.workspace = Workspace([folder], clock=self.clock)
        self.loaded = self.workspace.load()

    def save(self, text: str, name: str = "pricing.py") -> Changes:
        """Write a file in place, and look at it at once."""
        (self.folder / name).write_text(text)
        return self.workspace.refresh([self.folder / name])

    def edit(self, old: str, new: str) -> Changes:
        """Replace a piece of the file, and look at it at once."""
        text = self.file.read_text()
        assert old in text
        return self.save(text.replace(old, new))

    def settle(self) -> Changes:
        """Let the settle time pass, and look again."""
        self.clock.now += 0.2
        return self.workspace.refresh([])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def names(changes: Changes) -> list[str]:
    return [change.name for change in changes.changed]


# what is found ---------------------------------------------------------------------------


def test_loading_finds_every_tracked_function(desk: Desk) -> None:
    assert names(desk.loaded) == ["pricing:Model.predict", "pricing:rank", "pricing:score"]
    assert all(change.before is None for change in desk.loaded.changed)
    assert list(desk.workspace.functions) == names(desk.loaded)


def test_a_package_gives_its_modules_their_dotted_names(tmp_path: Path) -> None:
    package = tmp_path / "src" / "shop" / "prices"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "rates.py").write_text("import scatter\n@scatter.track\ndef f(): pass\n")
    assert names(Workspace([tmp_path]).load()) == ["shop.prices.rates:f"]


@pytest.mark.parametrize(
    "place",
    [".venv/x.py", "env/x.py", "node_modules/x.py", "__pycache__/x.py", ".hidden.py", "a-b.py",
     "build/lib/x.py", "lib/site-packages/x.py", "score.py~", "#x.py#", "score (copy).py"],
)  # fmt: skip
def test_files_of_others_and_copies_are_left_alone(tmp_path: Path, place: str) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "pyvenv.cfg").write_text("") if file.parent.name == "env" else None
    file.write_text("import scatter\n@scatter.track\ndef f(): pass\n")
    assert not Workspace([tmp_path]).load()


def test_huge_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("import scatter\n" + "# x\n" * 600_000)
    changes = Workspace([tmp_path]).load()
    assert (changes.read, changes.problems) == (0, ())


def test_a_file_that_became_unreadable_is_a_problem_and_keeps_its_functions(desk: Desk) -> None:
    desk.file.write_text(PRICING + "# x\n" * 600_000)
    assert not desk.workspace.refresh([desk.file])
    (problem,) = desk.settle().problems
    assert str(problem) == "pricing.py: it is larger than 2 MB"
    assert len(desk.workspace.functions) == 3


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere does not exist\. Name files or directories"):
        Workspace([tmp_path / "nowhere"])


def test_a_single_file_can_be_a_workspace(desk: Desk) -> None:
    assert len(Workspace([desk.file]).load().changed) == 3


def test_source_in_another_encoding_with_other_line_ends_is_read(tmp_path: Path) -> None:
    text = "# coding: latin-1\r\nimport scatter\r\n@scatter.track\r\ndef f():\r\n  return 'é'\r\n"
    (tmp_path / "old.py").write_bytes(text.encode("latin-1"))
    (change,) = Workspace([tmp_path]).load().changed
    assert change.built.bundle.source == "@scatter.track\ndef f():\n  return 'é'"


def test_bytes_that_are_not_in_their_encoding_are_a_problem_with_a_line(desk: Desk) -> None:
    desk.file.write_bytes(PRICING.encode() + b"\n# \xff\n")
    desk.workspace.refresh([desk.file])
    (problem,) = desk.settle().problems
    assert str(problem) == f"pricing.py:{PRICING.count(chr(10)) + 2}: byte 0xff is not utf-8"


# what is a change ------------------------------------------------------------------------


def test_an_edit_changes_the_functions_that_it_reaches(desk: Desk) -> None:
    changes = desk.edit("return cache[x]", "return cache[x] + 1")
    assert names(changes) == ["pricing:score"]
    (change,) = changes.changed
    assert change.before is not None
    assert count_lines(change.before, change.built.bundle) == (1, 1)


def test_an_edit_of_a_helper_changes_who_uses_it(desk: Desk) -> None:
    assert names(desk.edit("math.floor", "math.ceil")) == ["pricing:score"]


def test_two_edits_in_one_save_come_together(desk: Desk) -> None:
    text = PRICING.replace("cache[x]\n", "cache[x] - 1\n").replace("sorted(xs,", "sorted(xs[1:],")
    assert names(desk.save(text)) == ["pricing:rank", "pricing:score"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return cache[x]\n", "    # a comment\n    return cache[x]\n"),
        ("def helper(x):\n", "def helper(x):\n\n"),
        ("import math\n", "'''Docs of the module.'''\n\n\n\nimport math\n"),
        ("cache[x] = helper(x)", "cache[x] = helper( x )"),
        ("import math\n\nimport scatter\n", "import scatter\nimport math\n"),
        ("RATE = 3\ncache = {}\n", "cache = {}\nRATE = 3\n"),
    ],
)
def test_comments_layout_and_moved_lines_are_no_change(desk: Desk, old: str, new: str) -> None:
    assert not desk.edit(old, new)
    assert not desk.settle()


def test_a_tracked_method_is_no_change_of_who_uses_its_class(desk: Desk) -> None:
    assert names(desk.edit("x * self.size", "x + self.size")) == ["pricing:Model.predict"]


def test_a_reverted_edit_is_the_old_bundle_again(desk: Desk) -> None:
    first = {c.name: c.built.bundle for c in desk.loaded.changed}
    desk.edit("helper(x)\n", "helper(x) + 1\n")
    (change,) = desk.save(PRICING).changed
    assert change.built.bundle == first["pricing:score"]


def test_the_same_text_saved_again_is_no_change(desk: Desk) -> None:
    assert not desk.save(PRICING)
    other = desk.folder / "pricing.new"
    other.write_text(PRICING)
    other.replace(desk.file)
    assert not desk.workspace.refresh([desk.file])


def test_a_later_edit_is_compared_with_what_was_said_last(desk: Desk) -> None:
    desk.edit("RATE = 3", "RATE = 4")
    assert not desk.edit("RATE = 4", "RATE = 4  # percent")
    assert names(desk.edit("RATE = 4", "RATE = 5")) == ["pricing:score"]


def test_a_new_function_is_reported_as_new(desk: Desk) -> None:
    new = "\n\n@scatter.track\ndef fresh():\n    return 1\n"
    assert not desk.save(PRICING + new)  # its end is new, so it settles first
    (change,) = desk.settle().changed
    assert (change.name, change.before) == ("pricing:fresh", None)


def test_changed_state_is_noted_and_no_change(desk: Desk) -> None:
    changes = desk.edit("cache = {}", "cache = {1: 2}")
    assert [(n.kind, n.name, n.line, n.functions) for n in changes.notes] == [
        ("state", "cache", 6, ("pricing:score",))
    ]


def test_a_changed_class_is_noted_and_changes_who_uses_it(desk: Desk) -> None:
    changes = desk.edit("size = 1", "size = 2")
    assert [(n.kind, n.name, n.functions) for n in changes.notes] == [
        ("class", "Model", ("pricing:rank",))
    ]
    assert names(changes) == ["pricing:rank"]


NOTES = """\
import scatter

STEP = 1

if STEP:
    SIGN = 1
else:
    SIGN = -1


def helper(x): return x


def lonely(x): return x


TABLE = {"h": helper}


class Model:
    size = 1

    @scatter.track
    def predict(self): return 1


@scatter.track
def use(x): return TABLE["h"](x) + STEP * SIGN
"""


@pytest.mark.parametrize(
    ("old", "new", "kind", "name", "holders"),
    [
        ("size = 1", "size = 2", "body", "Model", ()),
        ("SIGN = 1", "SIGN = 2", "state", "SIGN", ()),
        ("def helper(x): return x", "def helper(x): return -x", "held", "helper", ("TABLE",)),
        ("def lonely(x): return x", "def lonely(x): return -x", "unused", "lonely", ()),
    ],
)
def test_what_no_push_carries_is_noted(
    desk: Desk, old: str, new: str, kind: str, name: str, holders: tuple[str, ...]
) -> None:
    desk.save(NOTES)
    desk.settle()
    changes = desk.edit(old, new)
    found = [(n.kind, n.name, n.holders) for n in changes.notes]
    assert found == [(kind, name, holders)]
    assert not changes.changed


def test_what_a_push_carries_needs_no_note(desk: Desk) -> None:
    desk.save(NOTES)
    desk.settle()
    assert not desk.edit("STEP = 1", "STEP = 2").notes
    assert not desk.edit("STEP = 2", "STEP = 2  # layout").notes


# what is a problem -----------------------------------------------------------------------


def test_a_syntax_error_names_the_place_once_and_changes_nothing(desk: Desk) -> None:
    before = dict(desk.workspace.functions)
    assert not desk.edit("def rank(xs):", "def rank(xs:")
    (problem,) = desk.settle().problems
    assert (problem.kind, problem.file, problem.text) == ("syntax", "pricing.py", "def rank(xs:")
    assert str(problem) == f"pricing.py:28:9: {problem.message}"
    assert not desk.settle()
    assert desk.workspace.functions == before


def test_a_mended_file_is_compared_with_what_it_was_before(desk: Desk) -> None:
    desk.edit("def rank(xs):", "def rank(xs:")
    desk.settle()
    assert desk.save(PRICING).mended == ("pricing.py",)
    desk.edit("def rank(xs):", "def rank(xs:")
    desk.settle()
    assert names(desk.save(PRICING.replace("RATE = 3", "RATE = 4"))) == ["pricing:score"]


def test_a_name_in_two_files_is_an_error_naming_both_places(desk: Desk) -> None:
    twin = desk.folder / "vendor"
    twin.mkdir()
    desk.save(PRICING, "vendor/pricing.py")
    problems = desk.settle().problems
    assert [p.kind for p in problems] == ["duplicate"] * 3
    assert problems[2].message.startswith(
        "`pricing:score` is defined in pricing.py and vendor/pricing.py, so neither is pushed."
    )
    assert not desk.edit("RATE = 3", "RATE = 4").changed
    (twin / "pricing.py").unlink()
    assert not desk.workspace.refresh()
    assert names(desk.settle()) == ["pricing:score"]


def test_a_name_twice_in_one_file_is_an_error_naming_both_lines(tmp_path: Path) -> None:
    twins = "".join(f"@scatter.track(name='twin')\ndef f{i}(): pass\n" for i in range(2))
    (tmp_path / "m.py").write_text("import scatter\n" + twins)
    workspace = Workspace([tmp_path])
    (problem,) = workspace.load().problems
    assert str(problem).startswith("m.py:4: `twin` is defined here and in line 2.")
    assert not workspace.functions


# what is in doubt ------------------------------------------------------------------------


def test_a_vanished_function_is_reported_when_the_save_has_settled(desk: Desk) -> None:
    without = PRICING[: PRICING.index("@scatter.track\ndef rank")].rstrip() + "\n"
    changes = desk.save(without)
    assert not changes
    assert changes.ask_again_at == pytest.approx(desk.clock.now + 0.15)
    (vanished,) = desk.settle().vanished
    assert (vanished.name, vanished.file) == ("pricing:rank", "pricing.py")
    desk.save(PRICING)
    assert not desk.settle().changed  # back as it was: nothing to push


@pytest.mark.parametrize("cut", range(0, len(PRICING) - 1, 7))
def test_a_beginning_of_a_file_is_never_believed_at_once(desk: Desk, cut: int) -> None:
    assert not desk.save(PRICING[:cut])
    assert not desk.save(PRICING)
    assert not desk.settle()


def test_a_file_that_is_moved_away_and_created_again_is_an_ordinary_save(desk: Desk) -> None:
    desk.file.rename(desk.folder / "pricing.py~")
    assert not desk.workspace.refresh([desk.file])
    assert names(desk.save(PRICING.replace("RATE = 3", "RATE = 4"))) == ["pricing:score"]
    assert not desk.settle()


def test_a_file_that_is_gone_for_good_has_vanished_functions(desk: Desk) -> None:
    desk.file.unlink()
    assert not desk.workspace.refresh([desk.file])
    assert [v.name for v in desk.settle().vanished] == names(desk.loaded)
    assert not desk.settle()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells who writes")
def test_a_file_that_is_open_for_writing_is_waited_for(desk: Desk) -> None:
    whole = PRICING.replace("RATE = 3", "RATE = 4")
    with desk.file.open("w") as file:
        file.write(whole)
        file.flush()
        changes = desk.workspace.refresh([desk.file])
        assert not changes
        assert changes.ask_again_at == pytest.approx(desk.clock.now + 0.005)
    assert names(desk.workspace.refresh([])) == ["pricing:score"]


def test_a_file_that_stays_open_is_believed_in_the_end(desk: Desk) -> None:
    with desk.file.open("w") as file:
        file.write(PRICING.replace("RATE = 3", "RATE = 4"))
        file.flush()
        desk.workspace.refresh([desk.file])
        desk.clock.now += 2
        assert names(desk.workspace.refresh([])) == ["pricing:score"]


# what it costs ---------------------------------------------------------------------------


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    for number in range(300):
        file = tmp_path / f"m{number}.py"
        file.write_text(f"import scatter\n@scatter.track\ndef f():\n    return {number}\n")
        os.utime(file, (1, 1))
    workspace = Workspace([tmp_path])
    assert workspace.load().read == 300
    for number in range(300):  # what was changed a moment ago is read once more
        assert len(workspace.refresh([tmp_path / f"m{number}.py"]).changed) == 0
    while workspace.refresh().read:
        pass
    assert workspace.refresh().read == 0
    assert workspace.refresh(tmp_path.iterdir()).read == 0


# any edits, saved in any way ------------------------------------------------------------

VALUES = st.integers(0, 9)


@st.composite
def modules(draw: st.DrawFn) -> str:
    """A module whose functions each return their name and a number twice: torn is visible."""
    lines = ["import scatter", ""]
    for name in ("alpha", "beta", "gamma"):
        value, length = draw(VALUES), draw(st.integers(0, 3))
        lines += ["", "@scatter.track", f"def {name}():", f"    first = {value}"]
        lines += [f"    step = {value}"] * length
        lines += [f"    return '{name}', first, {value}", ""]
    if draw(st.booleans()):
        lines += ["", "if __name__ == '__main__':", "    print(alpha())"]
    return "\n".join(lines) + "\n"


def in_place(file: Path, text: str) -> Iterator[None]:
    file.write_text(text)
    yield


def in_parts(file: Path, text: str, cut: float) -> Iterator[None]:
    with file.open("w") as out:
        yield
        out.write(text[: int(len(text) * cut)])
        out.flush()
        yield
        out.write(text[int(len(text) * cut) :])
        out.flush()
        yield
    yield


def in_two_goes(file: Path, text: str, line: int) -> Iterator[None]:
    lines = text.splitlines(keepends=True)
    file.write_text("".join(lines[:line]))
    yield
    with file.open("a") as out:
        out.write("".join(lines[line:]))
    yield


def over_the_old(file: Path, text: str, cut: float) -> Iterator[None]:
    with file.open("r+") as out:
        out.write(text[: int(len(text) * cut)])
        out.flush()
        yield
        out.write(text[int(len(text) * cut) :])
        out.flush()
        yield
        out.truncate()
    yield


def by_rename(file: Path, text: str) -> Iterator[None]:
    other = file.with_suffix(".tmp")
    other.write_text(text)
    yield
    other.replace(file)
    yield


def away_and_new(file: Path, text: str) -> Iterator[None]:
    file.replace(file.with_suffix(".py~"))
    yield
    with file.open("w") as out:
        yield
        out.write(text)
    yield


def truncated_first(file: Path, text: str) -> Iterator[None]:
    os.truncate(file, 0)
    yield
    file.write_text(text)
    yield


def like_git(file: Path, text: str) -> Iterator[None]:
    file.unlink()
    yield
    file.write_text(text)
    yield


WAYS = st.sampled_from([in_place, by_rename, away_and_new, truncated_first, like_git])
WAYS_IN_PARTS = st.sampled_from([in_parts, over_the_old])


@st.composite
def saves(draw: st.DrawFn) -> tuple[str, object, float | None]:
    if draw(st.booleans()):
        return draw(modules()), draw(WAYS), None
    return draw(modules()), draw(WAYS_IN_PARTS), draw(st.floats(0, 1))


def meant(text: str) -> dict[str, str]:
    """Return the source of each function of a text that somebody meant to save."""
    parts = text.split("\n@scatter.track\n")[1:]
    return {p[4 : p.index("(")]: "@scatter.track\n" + p.partition("\n\n")[0] for p in parts}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=modules(), edits=st.lists(saves(), min_size=1, max_size=5))
def test_no_torn_function_is_ever_seen_and_the_last_state_always_arrives(
    tmp_path: Path, first: str, edits: list[tuple[str, object, float | None]]
) -> None:
    file = tmp_path / "shop.py"
    file.write_text(first)
    clock = Clock()
    workspace = Workspace([tmp_path], clock=clock)
    workspace.load()
    allowed = {name: {source} for name, source in meant(first).items()}
    known = meant(first)

    def look() -> None:
        for change in workspace.refresh([file]).changed:
            source = change.built.bundle.source.rstrip()
            name = change.name.partition(":")[2]
            assert source in allowed[name], "a torn function was seen"
            known[name] = source

    for text, way, cut in edits:
        for name, source in meant(text).items():
            allowed[name].add(source)
        steps = way(file, text) if cut is None else way(file, text, cut)  # type: ignore[operator]
        for _ in steps:
            clock.now += 0.003
            look()
    clock.now += 0.2
    look()
    assert known == meant(edits[-1][0])
    assert {n.partition(":")[2] for n in workspace.functions} == set(known)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=modules(), second=modules(), line=st.integers(0, 30))
def test_a_save_in_two_goes_is_known_by_its_end(
    tmp_path: Path, first: str, second: str, line: int
) -> None:
    """Without the kernel's word on who writes, the shape of the text must do."""
    file = tmp_path / "shop.py"
    file.write_text(first)
    clock = Clock()
    workspace = Workspace([tmp_path], clock=clock)
    workspace.load()
    sources = set(meant(first).values()) | set(meant(second).values())
    for _ in in_two_goes(file, second, line):
        for change in workspace.refresh([file]).changed:
            assert change.built.bundle.source.rstrip() in sources
    clock.now += 0.2
    workspace.refresh([])
    now = {n.partition(":")[2]: b.bundle.source.rstrip() for n, b in workspace.functions.items()}
    assert now == meant(second)


def test_a_directory_that_cannot_be_read_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    workspace = Workspace([tmp_path / "gone"])
    workspace.load()
    with contextlib.suppress(OSError):
        (tmp_path / "gone").rmdir()
    assert not workspace.refresh()


# helpers in other files -------------------------------------------------------------------------

UTIL = "RATE = 2\n\n\ndef clean(x):\n    return deep(x) * RATE\n\n\ndef deep(x):\n    return x\n"
SHOP = (
    "import scatter\nimport util\nfrom lib.low import floor\n\n\n@scatter.track\ndef f(x):\n"
    "    return util.clean(floor(x))\n\n\n@scatter.track\ndef g(x):\n    return x\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Desk:
    """A project whose tracked functions use other files, in which nothing is tracked."""
    (tmp_path / "util.py").write_text(UTIL)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("")
    (tmp_path / "lib" / "low.py").write_text("def floor(x):\n    return x // 1\n")
    (tmp_path / "alone.py").write_text("def nobody(x):\n    return x\n")
    (tmp_path / "shop.py").write_text(SHOP)
    return Desk(tmp_path)


def parts_of(desk: Desk, name: str) -> dict[str, list[str]]:
    bundle = desk.workspace.functions[name].bundle
    return {part.module: [item.name for item in part.items] for part in bundle.parts}


def test_helpers_of_other_modules_are_in_the_bundle(project: Desk) -> None:
    assert parts_of(project, "shop:f") == {
        "shop": ["util", "floor"],
        "lib.low": ["floor"],
        "util": ["RATE", "clean", "deep"],
    }
    assert parts_of(project, "shop:g") == {"shop": []}


def test_an_edit_of_a_helper_changes_the_functions_that_reach_it(project: Desk) -> None:
    changes = project.save(UTIL.replace("return x\n", "return x + 1\n"), "util.py")
    assert names(changes) == ["shop:f"]
    assert names(project.save("def floor(x):\n    return x // 2\n", "lib/low.py")) == ["shop:f"]
    assert not names(project.save("def nobody(x):\n    return 2\n", "alone.py"))


def test_an_edit_of_a_helpers_layout_changes_nothing(project: Desk) -> None:
    assert not project.save("# a comment\n" + UTIL, "util.py")


def test_a_helper_module_that_appears_later_is_taken_up(project: Desk) -> None:
    project.save(
        SHOP.replace(
            "def g(x):\n    return x", "def g(x):\n    import fresh\n    return fresh.h(x)"
        ),
        "shop.py",
    )
    project.settle()
    assert parts_of(project, "shop:g") == {"shop": []}
    (project.folder / "fresh.py").write_text("def h(x):\n    return x\n")
    project.workspace.refresh()
    project.clock.now += 0.2
    assert names(project.workspace.refresh()) == ["shop:g"]
    assert parts_of(project, "shop:g") == {"shop": [], "fresh": ["h"]}


def test_a_helper_that_cannot_be_parsed_is_a_problem_and_the_last_good_one_stays(
    project: Desk,
) -> None:
    project.save(UTIL.replace("return x\n", "return (x\n"), "util.py")
    (problem,) = project.settle().problems
    assert (problem.kind, problem.file) == ("syntax", "util.py")
    assert parts_of(project, "shop:f")["util"] == ["RATE", "clean", "deep"]


def test_an_edited_helper_has_no_other_file_read(project: Desk) -> None:
    for path in project.folder.rglob("*.py"):
        os.utime(path, (1, 1))
    wait_until(lambda: not project.workspace.refresh().read, "all files stand still")
    (project.folder / "util.py").write_text(UTIL.replace("RATE = 2", "RATE = 3"))
    changes = project.workspace.refresh()
    assert (names(changes), changes.read) == (["shop:f"], 1)


def test_a_helper_outside_of_what_is_watched_is_used_and_followed(project: Desk) -> None:
    workspace = Workspace([project.folder / "shop.py"], clock=project.clock)
    workspace.load()
    assert list(workspace.functions) == ["shop:f", "shop:g"]
    (project.folder / "util.py").write_text(UTIL.replace("RATE = 2", "RATE = 3"))
    assert names(workspace.refresh([project.folder / "util.py"])) == ["shop:f"]
    workspace.refresh()
    assert project.folder in workspace.directories


def test_state_of_another_module_that_changed_is_noted(project: Desk) -> None:
    project.save(UTIL + "\n\ncache = {}\n", "util.py")
    project.settle()
    project.save(SHOP.replace("util.clean(floor(x))", "util.cache"), "shop.py")
    (note,) = project.save(UTIL + "\n\ncache = {1: 2}\n", "util.py").notes
    assert (note.kind, note.name, note.file, note.functions) == (
        "state",
        "cache",
        "util.py",
        ("shop:f",),
    )


# modules that are tracked whole -----------------------------------------------------------------

WHOLE = """\
import functools


def first(x):
    return second(x)


@functools.lru_cache
def second(x):
    return x


class Model:
    rate = 2

    @property
    def size(self):
        return self._size

    @size.setter
    def size(self, size):
        self._size = size

    async def fetch(self):
        return Model()


double = lambda x: 2 * x
"""


def test_every_function_of_a_module_that_matches_is_tracked(tmp_path: Path) -> None:
    (tmp_path / "whole.py").write_text(WHOLE)
    (tmp_path / "other.py").write_text(WHOLE)
    workspace = Workspace([tmp_path], track=("whole",))
    workspace.load()
    assert list(workspace.functions) == [
        "whole:Model.fetch",
        "whole:Model.size",
        "whole:Model.size.setter",
        "whole:double",
        "whole:first",
        "whole:second",
    ]
    assert workspace.functions["whole:second"].bundle.skip == 1


def test_an_edit_of_a_tracked_method_changes_it_and_not_who_uses_its_class(tmp_path: Path) -> None:
    file = tmp_path / "whole.py"
    file.write_text(WHOLE)
    workspace = Workspace([tmp_path], track=("whole",))
    workspace.load()
    file.write_text(WHOLE.replace("self._size = size", "self._size = -size"))
    assert names(workspace.refresh([file])) == ["whole:Model.size.setter"]
    file.write_text(WHOLE.replace("rate = 2", "rate = 3"))
    assert "whole:Model.fetch" in names(workspace.refresh([file]))


@pytest.mark.parametrize(
    ("pattern", "module", "expected"),
    [
        ("shop", "shop", True),
        ("shop", "shop.rates", False),
        ("shop.*", "shop", True),
        ("shop.*", "shop.rates.low", True),
        ("shop.*", "shopping", False),
        ("*.rates", "shop.rates", True),
        ("*", "anything", True),
    ],
)
def test_patterns_match_modules(pattern: str, module: str, expected: bool) -> None:
    assert matches(module, [pattern]) is expected


# what a push does -------------------------------------------------------------------------------


def test_an_explanation_says_what_travels_and_what_changed(project: Desk) -> None:
    before = project.workspace.functions["shop:f"].bundle
    project.save(UTIL.replace("return x\n", "return x + 1\n"), "util.py")
    explanation = project.workspace.explain("shop:f", before)
    assert [(p.name, p.place, p.change) for p in explanation.changed] == [
        ("util.deep", "util.py:8", "changed")
    ]
    assert [p.name for p in explanation.of("function", "constant")] == [
        "lib.low.floor",
        "util.RATE",
        "util.clean",
        "util.deep",
    ]
    assert not explanation.strangers


def test_untracked_callers_of_a_changed_helper_are_told(project: Desk) -> None:
    (project.folder / "report.py").write_text(
        "from util import clean\n\n\ndef total():\n    return clean(1)\n\n\n"
        "def main():\n    return total()\n"
    )
    (project.folder / "test_util.py").write_text("import util\n\n\ndef test():\n    util.deep(1)\n")
    project.workspace.refresh()
    before = project.workspace.functions["shop:f"].bundle
    project.save(UTIL.replace("return x\n", "return x + 1\n"), "util.py")
    (stranger,) = project.workspace.explain("shop:f", before).strangers
    assert (stranger.helper, stranger.user, stranger.file, stranger.line) == (
        "deep",
        "main",
        "report.py",
        8,
    )
    assert not project.workspace.explain("shop:g", None).strangers


def test_a_helper_that_reaches_half_of_its_callers_is_noted(project: Desk) -> None:
    (project.folder / "report.py").write_text(
        "from util import clean\n\n\ndef total():\n    return clean(1)\n"
    )
    project.workspace.refresh()
    changes = project.save(UTIL.replace("return x\n", "return x + 1\n"), "util.py")
    (note,) = project.workspace.half_reached(changes.changed)
    assert (note.kind, note.name, note.file, note.line) == ("half", "deep", "util.py", 8)
    assert (note.functions, note.holders) == (("shop:f",), ("total (report.py:4)",))
    changes = project.save(SHOP.replace("return x\n", "return x + 1\n"), "shop.py")
    assert not project.workspace.half_reached(changes.changed)


# whose module a name is ---------------------------------------------------------------------------


def service(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "util.py").write_text(text)
    (folder / name / f"{name}.py").write_text(
        "import scatter\nimport util\n\n\n@scatter.track\ndef f():\n    return util.clean()\n"
    )


def test_each_of_two_services_has_its_own_helpers(tmp_path: Path) -> None:
    service(tmp_path, "one", "def clean():\n    return 1\n")
    service(tmp_path, "two", "def clean():\n    return 2\n")
    workspace = Workspace([tmp_path])
    workspace.load()
    for number, name in ((1, "one"), (2, "two")):
        bundle = workspace.functions[f"{name}:f"].bundle
        (clean,) = bundle.parts[1].items
        assert clean.source == f"def clean():\n    return {number}"


def test_a_file_that_has_the_name_of_something_installed_is_not_meant(tmp_path: Path) -> None:
    service(
        tmp_path, "one", "import redis\nimport json\n\n\ndef clean():\n    return redis, json\n"
    )
    (tmp_path / "examples").mkdir()
    for name in ("redis", "json"):
        (tmp_path / "examples" / f"{name}.py").write_text("def dumps(): pass\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "shared_by_all.py").write_text("def low():\n    return 1\n")
    (tmp_path / "one" / "more.py").write_text(
        "import scatter\nfrom shared_by_all import low\n\n\n@scatter.track\ndef g():\n"
        "    return low()\n"
    )
    workspace = Workspace([tmp_path])
    workspace.load()
    parts = [part.module for part in workspace.functions["one:f"].bundle.parts]
    assert parts == ["one", "util"]
    parts = [part.module for part in workspace.functions["more:g"].bundle.parts]
    assert parts == ["more", "shared_by_all"]
