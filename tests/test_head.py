"""What is live and not in git HEAD: real repositories, read without running anything of them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from scatter.bundle import Bundle, Item
from scatter.errors import ScatterError
from scatter.workspace import AtHead, Live, Workspace, compare_with_head, head

PRICING = """\
import scatter
from rates import rate


def cents(x):
    return round(x, 2)


@scatter.track
def price(x):
    return cents(x * rate())


@scatter.track
def name(x):
    return x.title()
"""
RATES = "def rate():\n    return 2\n"


class Repository:
    """A working tree; what is live is what its files hold now, until `deploy` is called again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live: dict[str, Live] = {}
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / f"{name}.py").read_text()
        assert old in text
        self.write(**{name: text.replace(old, new)})

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "work")
        return self.git("rev-parse", "HEAD")

    def push(self, *paths: str, track: tuple[str, ...] = ()) -> None:
        workspace = Workspace([self.folder / path for path in paths or (".",)], track=track)
        assert not workspace.load().problems
        self.live |= {n: Live(bundle=b.bundle, file=b.file) for n, b in workspace.functions.items()}

    def compare(self, inside: str = ".", **options: tuple[str, ...]) -> AtHead:
        found = compare_with_head(self.folder / inside, self.live, **options)
        assert found is not None
        return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository of two modules, committed and live."""
    made = Repository(tmp_path)
    made.write(pricing=PRICING, rates=RATES)
    made.commit()
    made.push()
    return made


def test_what_is_live_as_it_was_committed_is_the_same(repository: Repository) -> None:
    found = repository.compare()

    assert found == AtHead(
        commit=repository.git("rev-parse", "HEAD"), same=("pricing:name", "pricing:price")
    )


def test_what_was_pushed_and_not_committed_differs_until_it_is_committed(
    repository: Repository,
) -> None:
    repository.edit("pricing", "x.title()", "x.upper()")
    repository.push()
    assert repository.compare().differs == ("pricing:name",)
    assert repository.compare().same == ("pricing:price",)

    repository.commit()

    assert repository.compare().differs == ()


@pytest.mark.parametrize(("module", "old", "new"), [("rates", "2", "3"), ("pricing", "2)", "3)")])
def test_a_helper_that_was_not_committed_counts_in_whatever_module(
    repository: Repository, module: str, old: str, new: str
) -> None:
    repository.edit(module, old, new)
    repository.push()

    assert repository.compare().differs == ("pricing:price",)


def test_the_working_tree_and_the_index_are_not_looked_at(repository: Repository) -> None:
    repository.edit("pricing", "x.title()", "x.upper()")
    repository.git("add", "-A")
    (repository.folder / "rates.py").unlink()

    assert repository.compare().same == ("pricing:name", "pricing:price")


def test_comments_and_layout_are_no_difference(repository: Repository) -> None:
    repository.edit("pricing", "return x.title()", "# loud\n    return (x.title())")
    repository.push()

    assert repository.compare().differs == ()


def test_a_function_that_was_never_committed_is_missing(repository: Repository) -> None:
    repository.edit(
        "pricing", "def name", "def fresh(x):\n    return x\n\n\n@scatter.track\ndef name"
    )
    repository.write(other=PRICING)
    repository.push()

    found = repository.compare()
    assert found.missing == ("other:name", "other:price", "pricing:fresh")
    assert found.unclear == {}


def test_a_function_of_a_notebook_is_missing(repository: Repository) -> None:
    bundle = repository.live["pricing:name"].bundle
    part = replace(bundle.parts[0], module="")
    own = replace(bundle, function="name", parts=(part, *bundle.parts[1:]))
    repository.live = {"name": Live(bundle=own)}

    assert repository.compare().missing == ("name",)


def test_modules_are_found_below_source_directories_and_in_packages(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    (tmp_path / "src/shop").mkdir(parents=True)
    (tmp_path / "src/shop/pricing.py").write_text(PRICING.replace("from rates", "from .rates"))
    (tmp_path / "src/shop/__init__.py").write_text("")
    (tmp_path / "src/shop/rates.py").write_text(RATES)
    repository.commit()
    repository.push("src")

    names = ("shop.pricing:name", "shop.pricing:price")
    assert tuple(repository.live) == names
    for paths in ((".",), ("src",), ("nothing",)):
        assert repository.compare(paths=paths).same == names
    assert repository.compare("src/shop").same == names


@pytest.mark.parametrize("is_installed", [False, True])
def test_a_helper_below_another_source_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    if is_installed:  # as by `pip install --editable`: it is the project's own all the same
        monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    repository = Repository(tmp_path)
    for folder in ("app", "lib"):
        (tmp_path / folder).mkdir()
    (tmp_path / "app/pricing.py").write_text(PRICING)
    (tmp_path / "lib/rates.py").write_text(RATES)
    repository.commit()
    repository.push()
    assert "return 2" in str(repository.live["pricing:price"].bundle)

    assert repository.compare().same == ("pricing:name", "pricing:price")


def test_two_modules_of_one_name_are_told_apart_by_what_is_pushed(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for folder, text in (("one", PRICING), ("two", PRICING.replace("title", "upper"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pricing.py").write_text(text)
        (tmp_path / folder / "rates.py").write_text(RATES)
    repository.commit()
    repository.push("two")

    assert repository.compare(paths=("two",)).same == ("pricing:name", "pricing:price")
    assert repository.compare(paths=("one",)).differs == ("pricing:name",)
    unclear = repository.compare(paths=(".",)).unclear
    assert unclear.keys() == repository.live.keys()
    assert "one/pricing.py and two/pricing.py" in unclear["pricing:name"]


def test_modules_that_were_tracked_whole_are_read_so(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.write(rates=RATES)
    repository.commit()
    repository.push(track=("rates",))

    assert tuple(repository.live) == ("rates:rate",)
    assert repository.compare(track=("rates",)).same == ("rates:rate",)
    assert repository.compare().same == ("rates:rate",), "it was pushed with --track"


def test_a_name_of_its_own_is_found_by_the_file_of_the_version(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.write(rates=f'import scatter\n\n\n@scatter.track(name="billing:rate")\n{RATES}')
    repository.commit()
    repository.push()

    assert tuple(repository.live) == ("billing:rate",)
    assert repository.compare().same == ("billing:rate",)


def test_credentials_in_head_are_no_trouble(repository: Repository) -> None:
    repository.edit("rates", "return 2", 'return "AKIAIOSFODNN7EXAMPLQ" and 2')
    repository.commit()

    assert repository.compare().differs == ("pricing:price",)


def test_what_cannot_be_read_is_unclear_and_says_why(repository: Repository) -> None:
    repository.edit("pricing", "def cents(x):", "def cents(x:")
    repository.commit()

    unclear = repository.compare().unclear
    assert unclear.keys() == {"pricing:name", "pricing:price"}
    assert unclear["pricing:name"].startswith("pricing.py:")


def test_what_a_running_process_has_made_is_unclear(repository: Repository) -> None:
    def captured(bundle: Bundle) -> Bundle:
        item = Item(kind="captured", name="seen", pickle=b"x")
        first, *rest = bundle.parts
        return replace(bundle, parts=(replace(first, items=(*first.items, item)), *rest))

    one = repository.live["pricing:name"]
    repository.live = {"pricing:name": replace(one, bundle=captured(one.bundle))}

    assert "running process" in repository.compare().unclear["pricing:name"]


def test_nothing_of_the_project_runs_and_nothing_is_left_behind(
    repository: Repository,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    repository.write(conftest="raise SystemExit\n", pricing=f"raise SystemExit\n{PRICING}")
    repository.commit()
    before = sorted(repository.folder.rglob("*.py"))

    assert repository.compare().same == ("pricing:name", "pricing:price")

    assert sorted(repository.folder.rglob("*.py")) == before
    assert list(temporary.iterdir()) == []
    assert repository.git("status", "--porcelain") == ""


def test_links_in_a_commit_lead_nowhere(repository: Repository, tmp_path: Path) -> None:
    (repository.folder / "escape.py").symlink_to("/etc/hostname")
    repository.commit()

    assert repository.compare().same == ("pricing:name", "pricing:price")


def test_only_modules_of_live_functions_are_parsed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write(**{f"other{n}": PRICING for n in range(5)})
    repository.commit()
    parsed: list[str] = []
    parse = Workspace._parse

    def noted(self: Workspace, file: object, text: str) -> object:
        parsed.append(file.label)  # type: ignore[attr-defined]
        return parse(self, file, text)  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "_parse", noted)
    repository.compare()

    assert set(parsed) == {"pricing.py", "rates.py"}


# without git -------------------------------------------------------------------------------


@pytest.mark.parametrize("there_is", [False, True], ids=["no tree", "no commit"])
def test_without_a_commit_there_is_nothing_to_compare_with(tmp_path: Path, there_is: bool) -> None:
    if there_is:
        Repository(tmp_path)

    assert compare_with_head(tmp_path, {}) is None


def test_without_git_there_is_nothing_to_compare_with(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(repository.folder))

    assert compare_with_head(repository.folder, repository.live) is None


def test_a_commit_without_python_has_no_function(tmp_path: Path, repository: Repository) -> None:
    repository.git("rm", "-q", "-r", ".")
    (repository.folder / "notes.txt").write_text("nothing\n")
    repository.commit()

    assert repository.compare().missing == ("pricing:name", "pricing:price")


def test_a_git_that_hangs_is_left_alone(
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    slow = tmp_path_factory.mktemp("bin") / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    monkeypatch.setattr(head, "GIT_TIMEOUT_S", 0.1)

    with pytest.raises(ScatterError, match=r"took longer than 0.1 s.*--no-git"):
        repository.compare()


def test_a_git_that_fails_says_why(repository: Repository) -> None:
    objects = repository.folder / ".git/objects"
    tree = repository.git("rev-parse", "HEAD^{tree}")
    (objects / tree[:2] / tree[2:]).unlink()

    with pytest.raises(ScatterError, match=r"`git archive` failed: .+"):
        repository.compare()
