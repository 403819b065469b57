"""The verbs: what a push, a pull, a step back, a delete and a release do, on a real server."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import free_port, signed

import scatter
from scatter import client
from scatter.analysis import ModuleSource
from scatter.bundle import Bundle
from scatter.bundle.build import build
from scatter.client import Client
from scatter.commit import head_commit
from scatter.config import Settings
from scatter.errors import (
    Ambiguous,
    Conflict,
    NotFound,
    NotTrackable,
    Refused,
    StoreUnavailable,
    UsageError,
)
from scatter.model import Release
from scatter.registry import REGISTRY, Registry
from scatter.releases import Candidate, Releases
from scatter.store.redis import RedisStore

_numbers = itertools.count(1)

PRICING = """
import scatter

RATE = 1


@scatter.track
def score(x):
    return x * RATE


@scatter.track
def rank(xs):
    return sorted(xs, key=score)
"""


class Program:
    """A module of this process, whose file is edited and run again."""

    def __init__(self, folder: Path, text: str) -> None:
        self.name = f"client_program_{next(_numbers)}"
        self.file = folder / f"{self.name}.py"
        self.file.write_text(textwrap.dedent(text))
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            self.module: ModuleType = importlib.import_module(self.name)
        finally:
            sys.path.remove(str(folder))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def full(self, qualname: str) -> str:
        return f"{self.name}:{qualname}"

    def edit(self, old: str, new: str) -> None:
        """Change the file, and define everything anew, as a reload does."""
        text = self.file.read_text()
        assert old in text
        text = text.replace(old, new)
        self.file.write_text(text)
        code = compile(text, str(self.file), "exec", dont_inherit=True)
        exec(code, vars(self.module))


class Colleague:
    """Somebody elsewhere, who pushes functions of files that need not be here."""

    def __init__(self, url: str, namespace: str, author: str = "bob@example.org") -> None:
        self.store = RedisStore(url, namespace)
        self.releases = Releases(signed(self.store), author=author)

    def push(self, module: str, text: str, *qualnames: str, message: str = "") -> dict[str, int]:
        """Push functions of a text, made from what is live now."""
        known = self.releases.functions()
        candidates = [
            Candidate(bundle=bundle, seen=state.version if state else None)
            for bundle in bundles_of(module, text, *qualnames)
            for state in [known.get(bundle.function)]
        ]
        return dict(self.releases.push(candidates, message=message).versions)


def bundles_of(module: str, text: str, *qualnames: str) -> list[Bundle]:
    source = ModuleSource(textwrap.dedent(text), name=module, file=f"{module}.py")
    return [build(source, name).bundle for name in qualnames or tuple(source.tracked)]


def version_of(number: int, module: str = "elsewhere", name: str = "score") -> Bundle:
    """Return the bundle of a function that returns `number`."""
    text = f"import scatter\n@scatter.track\ndef {name}():\n    return {number}\n"
    return bundles_of(module, text, name)[0]


@pytest.fixture(autouse=True)
def _own_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a process that nobody called `init` in."""
    monkeypatch.setattr(client, "_current", None)
    yield
    scatter.cleanup()


@pytest.fixture
def here(redis_url: str, namespace: str) -> None:
    """Point this process at the test's namespace; its author is ann@example.org."""
    scatter.init(redis_url, namespace=namespace)


@pytest.fixture
def bob(redis_url: str, namespace: str) -> Iterator[Colleague]:
    colleague = Colleague(redis_url, namespace)
    yield colleague
    colleague.store.close()


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Program]:
    return lambda text: Program(tmp_path, text)


@pytest.fixture
def elsewhere() -> str:
    """The name of a module that this process does not have."""
    return f"elsewhere_{next(_numbers)}"


def everything(colleague: Colleague) -> dict[bytes, object]:
    """Return all that the namespace holds, byte for byte."""
    link = colleague.store.link
    (keys,) = link.run([("KEYS", colleague.store.key("*"))])
    kinds = link.run([("TYPE", key) for key in keys]) if keys else []
    read = {b"hash": "HGETALL", b"string": "GET", b"zset": "ZRANGE"}
    found: dict[bytes, object] = {}
    for key, kind in zip(keys, kinds, strict=True):
        rest = (0, -1, "WITHSCORES") if kind == b"zset" else ()
        (found[key],) = link.run([(read[kind], key, *rest)])
    return found


def bundle_keys(colleague: Colleague) -> int:
    (keys,) = colleague.store.link.run([("KEYS", colleague.store.key("bundle", "*"))])
    return len(keys)


# init ---------------------------------------------------------------------------------------


def test_init_takes_arguments(redis_url: str, namespace: str) -> None:
    scatter.init(redis_url, namespace=namespace, author="carl")
    found = client.current_settings()
    assert (found.redis_url, found.namespace, found.author) == (redis_url, namespace, "carl")


def test_without_init_the_environment_says_where(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SCATTER_NAMESPACE", namespace)
    assert scatter.functions() == {}
    assert client.current_settings().origins["redis_url"] == "environment REDIS_URL"


def test_prefix_is_the_old_word_for_namespace(redis_url: str, namespace: str) -> None:
    scatter.init(redis_url, prefix=namespace)
    assert client.current_settings().namespace == namespace


def test_prefix_and_namespace_together_are_refused(redis_url: str, namespace: str) -> None:
    scatter.init(redis_url, namespace=namespace)
    with pytest.raises(UsageError) as caught:
        scatter.init(redis_url, namespace="one", prefix="other")
    assert str(caught.value) == "`prefix` is another name of `namespace`; give one of them."
    assert client.current_settings().namespace == namespace


def test_a_refused_init_leaves_the_one_before_in_force(redis_url: str, namespace: str) -> None:
    scatter.init(redis_url, namespace=namespace)
    with pytest.raises(UsageError, match=r"namespace \(argument\)"):
        scatter.init(redis_url, namespace="no good")
    assert client.current_settings().namespace == namespace
    assert scatter.functions() == {}


def test_init_again_moves_to_another_namespace_and_closes_the_connection(
    redis_url: str, namespace: str, bob: Colleague, elsewhere: str
) -> None:
    bob.releases.push([Candidate(bundle=version_of(1, elsewhere))])
    scatter.init(redis_url, namespace=f"{namespace}-other")
    assert scatter.functions() == {}
    store = client.current().journal.store
    scatter.init(redis_url, namespace=namespace)
    assert scatter.functions() == {f"{elsewhere}:score": 1}
    assert isinstance(store, RedisStore)
    assert not store.link.connected


def test_init_connects_to_nothing_and_the_first_verb_says_that_nobody_is_there() -> None:
    url = f"redis://:Qhunter2Q@127.0.0.1:{free_port()}"
    scatter.init(url, namespace="n")
    with pytest.raises(StoreUnavailable) as caught:
        scatter.functions()
    assert "use the address local://" in str(caught.value)
    assert "local://" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {client.current()!r}"


def test_a_closed_client_connects_again_when_a_verb_needs_it(here: None) -> None:
    assert scatter.functions() == {}
    scatter.cleanup()
    scatter.cleanup()
    assert scatter.functions() == {}


@pytest.mark.usefixtures("here")
def test_the_server_of_any_kind_takes_a_push(
    any_server: Any, namespace: str, program: Callable[[str], Program]
) -> None:
    scatter.init(any_server.url, namespace=namespace)
    mine = program(PRICING)
    assert mine.score.push() == 1
    assert scatter.functions()[mine.full("score")] == 1


# push ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_a_push_is_version_1_and_what_runs_here_is_that_version(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    before = mine.score
    assert mine.score.loaded_version == 0
    assert mine.score.push("first") == 1
    assert mine.score is before
    assert mine.score.loaded_version == mine.score.latest_version() == 1
    assert mine.score.source == "@scatter.track\ndef score(x):\n    return x * RATE"
    (version,) = mine.score.history()
    assert (version.number, version.message, version.author) == (1, "first", "ann@example.org")
    assert (version.live, version.base, version.sequence) == (True, None, 1)
    assert version.python == sys.implementation.cache_tag
    assert bob.releases.functions()[mine.full("score")].version == 1


@pytest.mark.usefixtures("here")
def test_identical_code_is_no_new_version(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    assert mine.score.push() == 1
    before = everything(bob)
    assert mine.score.push("again") == 1
    mine.edit("RATE = 1", "RATE = 1\n\n\n# the code only moves\n")
    assert mine.score.push() == 1
    assert everything(bob) == before


@pytest.mark.usefixtures("here")
def test_code_that_comes_back_is_a_new_version_of_the_old_bundle(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    mine.score.push()
    mine.edit("x * RATE", "x + RATE")
    assert mine.score.push() == 2
    mine.edit("x + RATE", "x * RATE")
    assert mine.score.push() == 3
    newest, middle, oldest = mine.score.history()
    assert newest.bundle == oldest.bundle != middle.bundle
    assert (newest.base, middle.base, oldest.base) == (2, 1, None)
    assert bundle_keys(bob) == 2


@pytest.mark.usefixtures("here")
def test_several_functions_are_one_release(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    pushed = scatter.push(mine.score, mine.rank, message="both")
    assert pushed == {mine.full("score"): 1, mine.full("rank"): 1}
    bob.releases.functions()
    (release,) = bob.releases.journal.releases()
    assert [change.function for change in release.changes] == sorted(pushed)
    assert (release.action, release.message, release.sequence) == ("push", "both", 1)


@pytest.mark.usefixtures("here")
def test_of_several_functions_only_the_changed_ones_get_a_version(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    scatter.push(mine.score, mine.rank)
    mine.edit("sorted(xs", "sorted(set(xs)")
    assert scatter.push(mine.score, mine.rank) == {mine.full("score"): 1, mine.full("rank"): 2}
    bob.releases.functions()
    newest = bob.releases.journal.releases()[0]
    assert [change.function for change in newest.changes] == [mine.full("rank")]


@pytest.mark.usefixtures("here")
def test_a_function_that_calls_another_tracked_one_brings_it_along_once(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    mine.rank.push()
    assert scatter.functions() == {mine.full("rank"): 1, mine.full("score"): 1}
    mine.edit("x * RATE", "x + RATE")
    mine.edit("sorted(xs", "sorted(set(xs)")
    mine.rank.push()
    assert scatter.functions() == {mine.full("rank"): 2, mine.full("score"): 1}


@pytest.mark.usefixtures("here")
def test_functions_are_pushed_by_object_full_name_or_short_name(
    program: Callable[[str], Program],
) -> None:
    mine = program("import scatter\n@scatter.track\ndef only_of_its_name(): return 1\n")
    full = mine.full("only_of_its_name")
    assert scatter.push(mine.only_of_its_name) == {full: 1}
    assert scatter.push(full) == {full: 1}
    assert scatter.push("only_of_its_name") == {full: 1}


@pytest.mark.usefixtures("here")
def test_a_method_is_pushed_through_its_class_or_an_instance(
    program: Callable[[str], Program],
) -> None:
    mine = program(
        """
        import scatter


        class Model:
            @scatter.track
            def predict(self):
                return 1

            @scatter.track
            @staticmethod
            def fit():
                return 2

            @scatter.track
            @classmethod
            def load(cls):
                return 3
        """
    )
    full = mine.full("Model.predict")
    assert scatter.push(mine.Model.predict) == {full: 1}
    assert scatter.push(mine.Model().predict) == {full: 1}
    assert mine.Model().predict.push() == 1
    assert scatter.push(mine.Model.fit, mine.Model.load) == {
        mine.full("Model.fit"): 1,
        mine.full("Model.load"): 1,
    }


@pytest.mark.usefixtures("here")
def test_what_is_not_tracked_cannot_be_pushed(bob: Colleague) -> None:
    with pytest.raises(NotTrackable) as caught:
        scatter.push(len)
    assert str(caught.value) == (
        "<built-in function len> is not tracked. Put @scatter.track above its `def`."
    )
    assert everything(bob) == {}


@pytest.mark.usefixtures("here")
def test_a_name_that_this_process_does_not_have_cannot_be_pushed(bob: Colleague) -> None:
    with pytest.raises(NotFound, match="Function `nowhere:nothing` doesn't exist"):
        scatter.push("nowhere:nothing")
    assert everything(bob) == {}


@pytest.mark.usefixtures("here")
def test_the_same_function_given_twice_is_pushed_once(program: Callable[[str], Program]) -> None:
    mine = program(PRICING)
    assert scatter.push(mine.score, mine.full("score")) == {mine.full("score"): 1}
    assert len(mine.score.history()) == 1


@pytest.mark.usefixtures("here")
def test_a_push_of_several_of_which_one_is_refused_changes_nothing(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    scatter.push(mine.score, mine.rank)
    bob.push(mine.name, PRICING.replace("x * RATE", "x - RATE"), "score")
    mine.edit("sorted(xs", "sorted(set(xs)")
    mine.edit("x * RATE", "x + RATE")
    before = everything(bob)
    with pytest.raises(Conflict, match="score"):
        scatter.push(mine.rank, mine.score)
    assert everything(bob) == before
    assert (mine.score.loaded_version, mine.rank.loaded_version) == (0, 0)


def test_a_push_to_nobody_leaves_what_runs(program: Callable[[str], Program]) -> None:
    scatter.init(f"redis://127.0.0.1:{free_port()}", namespace="n")
    mine = program(PRICING)
    with pytest.raises(StoreUnavailable, match="use the address local://"):
        mine.score.push()
    assert mine.score(3) == 3
    assert mine.score.loaded_version == 0


@pytest.mark.usefixtures("here")
def test_one_bundle_twice_in_a_push_is_refused(bob: Colleague) -> None:
    twice = [Candidate(bundle=version_of(1)), Candidate(bundle=version_of(2))]
    with pytest.raises(UsageError) as caught:
        bob.releases.push(twice)
    assert str(caught.value) == "A function occurs twice in one push. Push each once."
    assert everything(bob) == {}


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; return what it prints."""
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.usefixtures("here")
def test_a_push_records_the_commit_that_is_checked_out_at_that_moment(
    tmp_path: Path, program: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(PRICING)
    monkeypatch.chdir(tmp_path)
    mine.score.push()
    git(tmp_path, "init", "-b", "main")
    mine.edit("x * RATE", "x + RATE")
    mine.score.push()
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    commits = []
    for number in (1, 2):
        git(tmp_path, "commit", "--allow-empty", "-m", str(number))
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
        mine.edit("x + RATE", "x + RATE + 1")
        mine.score.push()
    assert [version.git for version in mine.score.history()] == [*reversed(commits), "", ""]
    done = scatter.rollback("score")
    assert done is not None
    assert done.git == ""  # it comes from no code


@pytest.mark.parametrize("case", ["branch", "packed", "detached", "worktree", "packed worktree"])
def test_the_commit_is_read_as_git_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    tree = tmp_path / "main"
    tree.mkdir()
    git(tree, "init", "-b", "topic/one")
    git(tree, "commit", "--allow-empty", "-m", "first")
    if "worktree" in case:
        git(tree, "worktree", "add", "-b", "topic/two", "../other")
        tree = tmp_path / "other"
        git(tree, "commit", "--allow-empty", "-m", "second")
    if "packed" in case:
        git(tree, "pack-refs", "--all")
    if case == "detached":
        git(tree, "checkout", "--detach")
    monkeypatch.chdir(tree)
    assert head_commit() == git(tree, "rev-parse", "HEAD") != ""


@pytest.mark.parametrize("head", [None, "", "ref: refs/heads/none", "ref: ../../../secret", "\xff"])
def test_a_git_that_cannot_be_read_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str | None
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "secret").write_text("hunter2")
    if head is not None:
        (tmp_path / ".git" / "HEAD").write_text(head, "latin-1")
    monkeypatch.chdir(tmp_path)
    assert head_commit() == ""


def test_a_dry_run_says_the_number_and_writes_nothing(bob: Colleague) -> None:
    done = bob.releases.push([Candidate(bundle=version_of(1))], dry_run=True)
    assert done.release is not None
    assert (done.release.sequence, done.versions) == (1, {"elsewhere:score": 1})
    assert everything(bob) == {}
    bob.releases.push([Candidate(bundle=version_of(1))])
    assert bob.releases.push([Candidate(bundle=version_of(1))], dry_run=True).release is None


@pytest.mark.usefixtures("here")
def test_a_dry_run_returns_the_release_that_would_be_made(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    before = everything(bob)
    for verb, action, version in (
        (lambda: bob.releases.release({"score": 1}, message="why", dry_run=True), "release", 1),
        (lambda: bob.releases.rollback("score", message="why", dry_run=True), "rollback", 2),
        (lambda: bob.releases.rollback(to=0, message="why", dry_run=True), "rollback", 0),
    ):
        done = verb()
        assert done is not None
        assert (done.sequence, done.action, done.message) == (4, action, "why")
        assert [(change.function, change.version) for change in done.changes] == [(name, version)]
    assert bob.releases.release({"score": 3}, dry_run=True) is None
    assert bob.releases.rollback(to=3, dry_run=True) is None
    with pytest.raises(NotFound, match="has no version 9"):
        bob.releases.release({"score": 9}, dry_run=True)
    assert everything(bob) == before
    assert bob.releases.find("score").sequence == 3


@pytest.mark.usefixtures("here")
def test_a_dry_run_sees_what_a_colleague_released_meanwhile(
    bob: Colleague, redis_url: str, namespace: str
) -> None:
    carl = Colleague(redis_url, namespace, author="carl")
    bob.releases.push([Candidate(bundle=version_of(1))])
    carl.releases.push([Candidate(bundle=version_of(2), seen=1)])
    carl.store.close()
    done = bob.releases.rollback(dry_run=True)
    assert done is not None
    assert (done.sequence, done.changes[0].version) == (3, 1)
    with pytest.raises(Conflict):
        bob.releases.push([Candidate(bundle=version_of(3), seen=1)], dry_run=True)


# conflict -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_a_push_over_a_version_that_was_not_seen_is_a_conflict(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    mine.score.push()
    bob.push(mine.name, PRICING.replace("x * RATE", "x - RATE"), "score")
    state = bob.releases.find(mine.full("score"))
    mine.edit("x * RATE", "x + RATE")
    before = everything(bob)
    with pytest.raises(Conflict) as caught:
        mine.score.push()
    error, name = caught.value, mine.full("score")
    assert str(error) == (
        f"`{name}` version 2 was released by bob@example.org at {state.time}; your code was made "
        f"from version 1. See `scatter diff {name}`, then pull it, or push with force."
    )
    assert (error.function, error.seen, error.live) == (name, 1, 2)
    assert (error.author, error.time) == ("bob@example.org", state.time)
    assert everything(bob) == before
    assert mine.score(3) == 4
    assert mine.score.loaded_version == 0


@pytest.mark.usefixtures("here")
def test_force_goes_over_a_conflict(program: Callable[[str], Program], bob: Colleague) -> None:
    mine = program(PRICING)
    mine.score.push()
    bob.push(mine.name, PRICING.replace("x * RATE", "x - RATE"), "score")
    mine.edit("x * RATE", "x + RATE")
    assert mine.score.push(force=True) == 3
    assert mine.score.history()[0].base == 2
    mine.edit("x + RATE", "x * 7")
    assert mine.score.push() == 4


@pytest.mark.usefixtures("here")
def test_after_a_conflict_one_looks_pulls_and_pushes(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    mine.score.push()
    bob.push(mine.name, PRICING.replace("x * RATE", "x - RATE"), "score")
    mine.edit("x * RATE", "x + RATE")
    with pytest.raises(Conflict):
        mine.score.push()
    assert mine.score.pull() == 2
    assert mine.score(3) == 2
    mine.edit("x + RATE", "x - RATE * 2")
    assert mine.score.push() == 3


@pytest.mark.usefixtures("here")
def test_whoever_stepped_to_the_live_version_has_seen_it(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    """`upgrade` runs the colleague's version here: an edit after it is made from that."""
    mine = program(PRICING)
    mine.score.push()
    bob.push(mine.name, PRICING.replace("x * RATE", "x - RATE"), "score")
    assert mine.score.upgrade() == 2
    mine.edit("x * RATE", "x - RATE * 2")
    assert mine.score.push() == 3


@pytest.mark.usefixtures("here")
def test_whoever_never_saw_a_version_of_another_author_is_told_so(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    bob.push(mine.name, PRICING.replace("x * RATE", "x - RATE"), "score")
    before = everything(bob)
    with pytest.raises(Conflict, match="; you have not seen it") as caught:
        mine.score.push()
    assert caught.value.seen is None
    assert everything(bob) == before


@pytest.mark.usefixtures("here")
def test_nobody_conflicts_with_a_version_of_their_own_that_this_process_did_not_see(
    program: Callable[[str], Program], redis_url: str, namespace: str
) -> None:
    mine = program(PRICING)
    ann = Colleague(redis_url, namespace, author="ann@example.org")
    ann.push(mine.name, PRICING.replace("x * RATE", "x - RATE"), "score")
    assert mine.score.push() == 2
    ann.store.close()


@pytest.mark.usefixtures("here")
def test_code_that_is_live_already_is_no_conflict(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    bob.push(mine.name, PRICING, "score")
    assert mine.score.push() == 1
    mine.edit("x * RATE", "x + RATE")
    assert mine.score.push() == 2


@pytest.mark.usefixtures("here")
def test_a_rollback_by_a_colleague_is_a_conflict_too(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    """Who rolled back had a reason; a push would undo it unseen."""
    mine = program(PRICING)
    mine.score.push()
    mine.edit("x * RATE", "x + RATE")
    mine.score.push()
    bob.releases.rollback("score")
    mine.edit("x + RATE", "x + RATE + 1")
    with pytest.raises(Conflict, match=r"version 1 was released by bob.*made from version 2"):
        mine.score.push()


@pytest.mark.usefixtures("here")
def test_a_rollback_to_the_deployed_code_is_a_conflict_until_it_is_seen(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    mine.score.push()
    bob.releases.rollback("score")
    mine.edit("x * RATE", "x + RATE")
    with pytest.raises(Conflict) as caught:
        mine.score.push()
    assert (caught.value.seen, caught.value.live) == (1, 0)
    assert str(caught.value).startswith(
        f"`{mine.full('score')}` (the deployed code) was released by bob@example.org at "
    )
    assert mine.score.pull() == 0
    assert mine.score.push() == 2


# races --------------------------------------------------------------------------------------


class Interrupted:
    """Lets something happen between a journal's read and its write, once."""

    def __init__(self, releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attempts = 0
        self.then: Callable[[], object] = lambda: None
        self._append = releases.journal.store.append
        monkeypatch.setattr(releases.journal.store, "append", self)

    def __call__(self, *arguments: Any, **options: Any) -> bool:
        self.attempts += 1
        if self.attempts == 1:
            self.then()
        return self._append(*arguments, **options)


@pytest.mark.usefixtures("here")
def test_a_race_lost_to_another_function_is_tried_again(
    bob: Colleague, program: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(PRICING)
    race = Interrupted(client.current().releases, monkeypatch)
    race.then = lambda: bob.push("other", PRICING, "score")
    assert mine.score.push() == 1
    assert race.attempts == 2
    assert scatter.functions() == {mine.full("score"): 1, "other:score": 1}
    newest, before = bob_sees(bob)
    assert newest.changes[0].function == mine.full("score")
    assert before.changes[0].function == "other:score"


def bob_sees(bob: Colleague) -> list[Release]:
    bob.releases.functions()
    return bob.releases.journal.releases()


@pytest.mark.usefixtures("here")
def test_a_lost_race_over_the_same_function_is_a_conflict(
    bob: Colleague, program: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(PRICING)
    mine.score.push()
    mine.edit("x * RATE", "x + RATE")
    race = Interrupted(client.current().releases, monkeypatch)
    race.then = lambda: bob.push(mine.name, PRICING.replace("x * RATE", "x - RATE"), "score")
    with pytest.raises(Conflict, match=r"version 2 was released by bob.*made from version 1"):
        mine.score.push()
    assert race.attempts == 1
    assert [len(release.changes) for release in bob_sees(bob)] == [1, 1]
    assert bob.releases.version(mine.full("score")).author == "bob@example.org"
    assert mine.score.loaded_version == 0
    assert mine.score(3) == 4


@pytest.mark.usefixtures("here")
def test_a_lost_race_against_the_same_code_is_no_conflict(
    bob: Colleague, program: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(PRICING)
    race = Interrupted(client.current().releases, monkeypatch)
    race.then = lambda: bob.push(mine.name, PRICING, "score")
    assert mine.score.push() == 1
    assert len(bob_sees(bob)) == 1


def test_people_who_push_different_functions_at_once_all_land(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    people, rounds = 4, 10
    started = threading.Barrier(people)

    def work(number: int) -> list[int]:
        text = "import scatter\n@scatter.track\ndef score(): return 0\n"
        mine = Program(tmp_path, text)
        registry = Registry()
        registry.add(mine.full("score"), mine.score)
        settings = Settings(redis_url=redis_url, namespace=namespace, author=f"{number}@x")
        person = Client(settings, registry=registry)
        started.wait()
        versions = []
        for turn in range(1, rounds + 1):
            mine.edit(f"return {turn - 1}", f"return {turn}")
            registry.add(mine.full("score"), mine.score)
            versions.append(person.push([mine.full("score")])[mine.full("score")])
        person.close()
        return versions

    with ThreadPoolExecutor(people) as pool:
        assert list(pool.map(work, range(people))) == [list(range(1, rounds + 1))] * people
    reader = Colleague(redis_url, namespace)
    live = {name: state.version for name, state in reader.releases.functions().items()}
    assert list(live.values()) == [rounds] * people
    assert reader.releases.journal.ledger.sequence == people * rounds
    reader.store.close()


def test_of_people_who_push_the_same_function_at_once_all_but_one_conflict(
    redis_url: str, namespace: str
) -> None:
    people, rounds = 3, 8
    started = threading.Barrier(people)

    def work(number: int) -> list[str]:
        person = Colleague(redis_url, namespace, author=f"{number}@x")
        outcomes = []
        for turn in range(rounds):
            candidate = Candidate(bundle=version_of(turn * 10 + number), seen=turn or None)
            started.wait()
            try:
                person.releases.push([candidate])
                outcomes.append("landed")
            except Conflict as conflict:
                outcomes.append(f"{conflict.seen} {conflict.live}")
            started.wait()
        person.store.close()
        return outcomes

    with ThreadPoolExecutor(people) as pool:
        outcomes = list(pool.map(work, range(people)))
    for turn, found in enumerate(zip(*outcomes, strict=True)):
        lost = f"{turn or None} {turn + 1}"
        assert sorted(found) == sorted(["landed", *[lost] * (people - 1)])
    reader = Colleague(redis_url, namespace)
    assert [v.number for v in reader.releases.history("score")] == list(range(rounds, 0, -1))
    reader.store.close()


@pytest.mark.usefixtures("here")
def test_threads_of_one_process_share_its_client(program: Callable[[str], Program]) -> None:
    names = [f"f{number}" for number in range(8)]
    text = "import scatter\n" + "".join(
        f"@scatter.track\ndef {name}(): return 1\n" for name in names
    )
    mine = program(text)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda name: getattr(mine, name).push(), names)) == {1}
        found = list(pool.map(lambda name: getattr(mine, name).history()[0].number, names * 3))
    assert set(found) == {1}
    assert scatter.functions() == {mine.full(name): 1 for name in names}


@pytest.mark.usefixtures("here")
def test_a_version_that_is_deleted_during_a_release_of_it_is_not_made_live(
    bob: Colleague, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seen in range(2):
        bob.releases.push([Candidate(bundle=version_of(seen), seen=seen or None)])
    carl = Colleague(redis_url, namespace, author="carl")
    race = Interrupted(bob.releases, monkeypatch)
    race.then = lambda: carl.releases.delete("score", older_than=2)
    with pytest.raises(NotFound, match="has no version 1"):
        bob.releases.release({"score": 1})
    carl.store.close()
    assert scatter.functions() == {"elsewhere:score": 2}


@pytest.mark.usefixtures("here")
def test_of_two_people_who_delete_a_function_at_once_one_is_told_that_it_is_gone(
    bob: Colleague, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.releases.push([Candidate(bundle=version_of(1))])
    carl = Colleague(redis_url, namespace, author="carl")
    race = Interrupted(bob.releases, monkeypatch)
    race.then = lambda: carl.releases.delete("score")
    with pytest.raises(NotFound, match="Function `score` doesn't exist"):
        bob.releases.delete("score")
    carl.store.close()
    assert len(bob_sees(bob)) == 2


# pull and step ------------------------------------------------------------------------------


def three_versions(bob: Colleague, mine: Program) -> str:
    """Give `score` versions 1, 2 and 3, which multiply by 1, 2 and 3 more."""
    for number in (1, 2, 3):
        bob.push(mine.name, PRICING.replace("x * RATE", f"x * RATE * {number}"), "score")
    return mine.full("score")


@pytest.mark.usefixtures("here")
def test_pull_runs_what_is_live(program: Callable[[str], Program], bob: Colleague) -> None:
    mine = program(PRICING)
    three_versions(bob, mine)
    held_by_others = mine.score
    assert mine.score(5) == 5
    assert mine.score.pull() == 3
    assert (held_by_others(5), held_by_others.loaded_version) == (15, 3)
    assert "x * RATE * 3" in mine.score.source


@pytest.mark.usefixtures("here")
def test_steps_go_one_version_and_stay_at_the_ends(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    three_versions(bob, mine)
    mine.score.pull()
    down = [(mine.score.downgrade(), mine.score(5), mine.score.loaded_version) for _ in range(3)]
    assert down == [(2, 10, 2), (1, 5, 1), (1, 5, 1)]
    up = [(mine.score.upgrade(), mine.score(5), mine.score.loaded_version) for _ in range(3)]
    assert up == [(2, 10, 2), (3, 15, 3), (3, 15, 3)]


@pytest.mark.usefixtures("here")
def test_a_step_back_from_code_that_was_not_pushed_is_the_newest_version(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    scatter.release({name: 1})
    mine.score.pull(3)
    mine.edit("x * RATE", "x + RATE * 100")
    assert (mine.score.upgrade(), mine.score(5)) == (0, 105)
    down = [(mine.score.downgrade(), mine.score(5)) for _ in range(3)]
    assert down == [(3, 15), (2, 10), (1, 5)]


@pytest.mark.usefixtures("here")
def test_a_step_changes_this_process_only(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    mine.score.pull()
    before = everything(bob)
    mine.score.downgrade()
    assert everything(bob) == before
    assert scatter.functions() == {name: 3}


@pytest.mark.usefixtures("here")
def test_what_was_stepped_is_held_until_it_is_pulled(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    slot = REGISTRY.get(name)
    assert slot is not None
    mine.score.pull()
    assert not slot.held
    mine.score.downgrade()
    assert slot.held
    bob.push(mine.name, PRICING.replace("x * RATE", "x * RATE * 4"), "score")
    assert scatter.get(name)(5) == 10
    assert slot.held
    assert mine.score.pull() == 4
    assert mine.score(5) == 20
    assert not slot.held


@pytest.mark.usefixtures("here")
def test_a_pulled_number_is_held_too(program: Callable[[str], Program], bob: Colleague) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    assert mine.score.pull(1) == 1
    assert mine.score(5) == 5
    assert REGISTRY.slots()[name].held
    assert scatter.get(name).loaded_version == 1
    assert mine.score.pull(version=3) == 3
    assert REGISTRY.slots()[name].held


@pytest.mark.usefixtures("here")
def test_a_function_without_versions_cannot_be_stepped(program: Callable[[str], Program]) -> None:
    mine = program(PRICING)
    for verb in (mine.score.downgrade, mine.score.upgrade, mine.score.pull):
        with pytest.raises(KeyError) as caught:
            verb()
        assert str(caught.value) == f"Function `{mine.full('score')}` doesn't exist"
    assert mine.score.loaded_version == 0
    assert not REGISTRY.slots()[mine.full("score")].held


@pytest.mark.usefixtures("here")
def test_a_version_that_never_was_is_refused_with_the_newest(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    mine.score.pull()
    with pytest.raises(KeyError) as caught:
        mine.score.pull(9)
    assert str(caught.value) == (
        f"`{name}` has no version 9 (the newest is 3). See `scatter log {name}`."
    )
    assert mine.score(5) == 15
    assert not REGISTRY.slots()[name].held


@pytest.mark.usefixtures("here")
def test_a_version_that_cannot_run_here_is_refused_and_what_ran_goes_on(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    mine.score.push()
    bad = PRICING.replace("import scatter\n", "import no_such_module\nimport scatter\n").replace(
        "x * RATE", "no_such_module.f(x)"
    )
    bob.push(mine.name, bad, "score")
    for verb in (mine.score.pull, mine.score.upgrade, lambda: scatter.get(mine.full("score"))):
        with pytest.raises(Refused, match="no_such_module") as caught:
            verb()
        assert caught.value.reason == "missing-import"
        assert (caught.value.function, caught.value.version) == (mine.full("score"), 2)
        assert (mine.score(3), mine.score.loaded_version) == (3, 1)
        assert not REGISTRY.slots()[mine.full("score")].held


@pytest.mark.usefixtures("here")
def test_an_old_version_is_made_the_newest_by_pulling_and_pushing_it(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    mine.score.pull()
    mine.score.pull(1)
    assert mine.score.push("version 1 was better") == 4
    newest, *_, oldest = mine.score.history()
    assert newest.bundle == oldest.bundle
    assert scatter.functions() == {name: 4}


@pytest.mark.usefixtures("here")
def test_a_step_back_needs_no_server_for_what_is_loaded_but_the_log(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    """Its bundle may be gone from the store: what was loaded here can still be gone back to."""
    mine = program(PRICING)
    three_versions(bob, mine)
    mine.score.pull(2)
    mine.score.pull(3)
    bob.store.remove_bundles([version.bundle for version in bob.releases.history("score")])
    assert mine.score.downgrade() == 2
    assert mine.score(5) == 10


# get ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_an_unknown_function_is_a_key_error_with_its_name(bob: Colleague) -> None:
    with pytest.raises(KeyError) as caught:
        scatter.get("sample_task_1")
    assert str(caught.value) == "Function `sample_task_1` doesn't exist"
    assert caught.value.args == ("Function `sample_task_1` doesn't exist",)
    assert isinstance(caught.value, NotFound)
    assert caught.value.candidates == ()
    assert everything(bob) == {}


@pytest.mark.usefixtures("here")
def test_a_mistyped_function_is_answered_with_suggestions(bob: Colleague, elsewhere: str) -> None:
    bob.push(elsewhere, PRICING)
    with pytest.raises(NotFound) as caught:
        scatter.get("scoer")
    assert str(caught.value) == "Function `scoer` doesn't exist"
    assert caught.value.candidates == (f"{elsewhere}:score",)
    assert caught.value.__notes__ == [f"Did you mean `{elsewhere}:score`?"]


@pytest.mark.usefixtures("here")
def test_an_ambiguous_short_name_lists_the_candidates(bob: Colleague) -> None:
    bob.push("one", PRICING, "score")
    bob.push("two", PRICING, "score")
    for verb in (scatter.get, scatter.rollback):
        with pytest.raises(Ambiguous) as caught:
            verb("score")
        assert str(caught.value) == (
            "`score` could be any of: one:score, two:score. Use the full name."
        )
        assert caught.value.candidates == ("one:score", "two:score")


@pytest.mark.usefixtures("here")
def test_a_function_that_this_process_does_not_have_is_fetched(
    bob: Colleague, elsewhere: str
) -> None:
    bob.push(elsewhere, PRICING, "score")
    score = scatter.get("score")
    assert score(5) == 5
    assert (score.__name__, score.__module__) == ("score", elsewhere)
    assert (score.loaded_version, score.latest_version()) == (1, 1)
    assert score.source == "@scatter.track\ndef score(x):\n    return x * RATE"
    assert elsewhere not in sys.modules


@pytest.mark.usefixtures("here")
def test_a_fetched_function_is_one_object_that_follows(bob: Colleague, elsewhere: str) -> None:
    bob.push(elsewhere, PRICING, "score")
    score = scatter.get(f"{elsewhere}:score")
    bob.push(elsewhere, PRICING.replace("x * RATE", "x * 7"), "score")
    assert score(5) == 5
    assert score.pull() == 2
    assert score(5) == 35
    bob.push(elsewhere, PRICING.replace("x * RATE", "x * 8"), "score")
    assert scatter.get("score") is score
    assert score(5) == 40
    assert (score.downgrade(), score(5)) == (2, 35)
    assert [version.number for version in score.history()] == [3, 2, 1]


@pytest.mark.usefixtures("here")
def test_a_fetched_function_brings_the_tracked_ones_that_it_calls(
    bob: Colleague, elsewhere: str
) -> None:
    bob.push(elsewhere, PRICING.replace("x * RATE", "-x"))
    rank = scatter.get("rank")
    assert rank([1, 3, 2]) == [3, 2, 1]
    score = scatter.get("score")
    bob.push(elsewhere, PRICING, "score")
    score.pull()
    assert rank([1, 3, 2]) == [1, 2, 3]


@pytest.mark.usefixtures("here")
def test_a_fetched_function_may_call_itself(bob: Colleague, elsewhere: str) -> None:
    text = """
    import scatter

    @scatter.track
    def total(xs): return xs[0] + total(xs[1:]) if xs else 0
    """
    bob.push(elsewhere, text)
    assert scatter.get("total")([1, 2, 3]) == 6
    assert scatter.get("total", 1)([1, 2, 3]) == 6


@pytest.mark.usefixtures("here")
def test_a_function_of_two_names_may_call_itself(bob: Colleague, elsewhere: str) -> None:
    text = """
    import scatter

    @scatter.track(name="sums:total")
    def total(xs): return xs[0] + total(xs[1:]) if xs else 0
    """
    bob.push(elsewhere, text)
    assert scatter.get("sums:total")([1, 2, 3]) == 6


@pytest.mark.usefixtures("here")
def test_fetched_functions_may_call_each_other_in_a_circle(bob: Colleague, elsewhere: str) -> None:
    text = """
    import scatter

    @scatter.track
    def even(n): return n == 0 or odd(n - 1)

    @scatter.track
    def odd(n): return n != 0 and even(n - 1)
    """
    bob.push(elsewhere, text)
    even = scatter.get("even")
    assert even(10)
    assert not even(7)


@pytest.mark.usefixtures("here")
def test_a_tracked_function_is_what_get_returns_where_it_is(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    three_versions(bob, mine)
    assert scatter.get(mine.full("score")) is mine.score
    assert mine.score(5) == 15


@pytest.mark.usefixtures("here")
def test_a_version_that_is_asked_for_stays_at_that_version(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    mine.score.pull()
    pinned = scatter.get(name, version=1)
    assert pinned is not mine.score
    assert (pinned(5), pinned.loaded_version) == (5, 1)
    assert "x * RATE * 1" in pinned.source
    assert (mine.score(5), mine.score.loaded_version) == (15, 3)
    bob.push(mine.name, PRICING.replace("x * RATE", "x * RATE * 4"), "score")
    mine.score.pull()
    assert pinned(5) == 5
    assert scatter.get(name, 2)(5) == 10


@pytest.mark.usefixtures("here")
def test_a_version_of_a_function_that_is_not_here_can_be_asked_for(
    bob: Colleague, elsewhere: str
) -> None:
    bob.push(elsewhere, PRICING, "score")
    bob.push(elsewhere, PRICING.replace("x * RATE", "x * 7"), "score")
    assert scatter.get("score", 1)(5) == 5
    assert f"{elsewhere}:score" not in REGISTRY.slots()
    with pytest.raises(NotFound, match=r"has no version 3 \(the newest is 2\)"):
        scatter.get("score", 3)


@pytest.mark.usefixtures("here")
def test_a_pinned_version_can_be_asked_about_its_history(bob: Colleague, elsewhere: str) -> None:
    """Its type promises the verbs, as that of every function that `get` returns."""
    bob.push(elsewhere, PRICING, "score")
    pinned = scatter.get("score", 1)
    assert pinned.latest_version() == 1
    assert [version.number for version in pinned.history()] == [1]
    assert [version.number for version in asyncio.run(pinned.ahistory())] == [1]


@pytest.mark.usefixtures("here")
def test_a_pinned_version_cannot_be_moved_and_moves_nothing_else(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    mine.score.pull()
    pinned = scatter.get(name, 2)
    before = everything(bob)
    moving = (pinned.push, pinned.pull, pinned.upgrade, pinned.downgrade)
    for verb in (*moving, lambda: pinned.pull(1), lambda: asyncio.run(_awaited(pinned.apull()))):
        with pytest.raises(UsageError) as caught:
            verb()
        assert str(caught.value) == (
            f"This function is version 2 of `{name}` for good, since it was asked for by number. "
            f"Use scatter.get({name!r}) for one that moves, or scatter.release to make the version "
            "live."
        )
    with pytest.raises(NotTrackable):
        scatter.push(pinned)
    assert everything(bob) == before
    assert (mine.score(5), pinned(5), pinned.loaded_version) == (15, 10, 2)
    assert pinned.delete(older_than=2) == (1,)


async def _awaited(verb: Awaitable[int]) -> int:
    return await verb


@pytest.mark.usefixtures("here")
def test_a_function_at_its_deployed_code_can_only_be_had_where_it_is_deployed(
    program: Callable[[str], Program], bob: Colleague, elsewhere: str
) -> None:
    mine = program(PRICING)
    bob.push(mine.name, PRICING.replace("x * RATE", "x * 7"), "score")
    bob.push(elsewhere, PRICING)
    bob.releases.release({mine.full("score"): 0, f"{elsewhere}:rank": 0})
    assert scatter.get(mine.full("score"))(5) == 5
    with pytest.raises(NotFound) as caught:
        scatter.get(f"{elsewhere}:rank")
    assert str(caught.value).startswith(
        f"`{elsewhere}:rank` runs the deployed code; no version of it is live."
    )
    assert "only in the processes that were deployed with it" in str(caught.value)
    assert scatter.get(f"{elsewhere}:rank", 1)([2, 1]) == [1, 2]


@pytest.mark.usefixtures("here")
def test_version_0_is_not_in_the_namespace_whatever_is_live(bob: Colleague) -> None:
    bob.releases.push([Candidate(bundle=version_of(1))])
    for live in (1, 0):
        bob.releases.release({"score": live})
        with pytest.raises(NotFound) as caught:
            bob.releases.version("score", 0)
        assert str(caught.value) == (
            "Version 0 of `elsewhere:score` is the deployed code, which is not in the namespace. "
            "See `scatter log elsewhere:score`."
        )
    with pytest.raises(NotFound, match="runs the deployed code; no version of it is live"):
        bob.releases.version("score")


# history and delete ---------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_history_is_newest_first_and_knows_what_is_live(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    scatter.release({name: 2})
    found = mine.score.history()
    assert [(v.number, v.live, v.base) for v in found] == [
        (3, False, 2),
        (2, True, 1),
        (1, False, None),
    ]
    assert [v.number for v in mine.score.history(limit=2)] == [3, 2]
    assert mine.score.latest_version() == 3


@pytest.mark.usefixtures("here")
def test_a_deleted_function_is_gone_for_everyone(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    mine.score.pull()
    assert mine.score.delete() == (3, 2, 1)
    assert scatter.functions() == {}
    assert bundle_keys(bob) == 0
    for verb in (mine.score.history, mine.score.latest_version, mine.score.pull):
        with pytest.raises(KeyError) as caught:
            verb()
        assert str(caught.value) == f"Function `{name}` doesn't exist"
    with pytest.raises(KeyError) as caught:
        scatter.get("score")
    assert str(caught.value) == "Function `score` doesn't exist"
    assert (mine.score(5), mine.score.loaded_version) == (5, 0)
    assert bob_sees(bob)[0].action == "delete"


@pytest.mark.usefixtures("here")
def test_a_number_is_never_given_again(program: Callable[[str], Program], bob: Colleague) -> None:
    mine = program(PRICING)
    three_versions(bob, mine)
    mine.score.pull()
    mine.score.delete()
    assert mine.score.push() == 4
    assert [version.number for version in mine.score.history()] == [4]


@pytest.mark.usefixtures("here")
def test_a_fetched_function_that_is_deleted_keeps_running_here(
    bob: Colleague, elsewhere: str
) -> None:
    bob.push(elsewhere, PRICING, "score")
    score = scatter.get("score")
    score.delete()
    assert score(5) == 5
    with pytest.raises(KeyError, match="Function `score` doesn't exist"):
        scatter.get("score")


@pytest.mark.usefixtures("here")
def test_old_versions_are_deleted_and_the_rest_stays(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    assert mine.score.delete(older_than=3) == (2, 1)
    assert [version.number for version in mine.score.history()] == [3]
    assert bundle_keys(bob) == 1
    assert mine.score.pull() == 3
    assert mine.score.downgrade() == 3
    with pytest.raises(NotFound) as caught:
        scatter.get(name, 1)
    assert str(caught.value).startswith(f"`{name}` has no version 1 (the newest is 3).")
    assert mine.score.delete(older_than=3) == ()
    assert len(bob_sees(bob)) == 4


@pytest.mark.usefixtures("here")
def test_the_live_version_outlives_the_deletion_of_older_ones(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    scatter.release({name: 1})
    assert mine.score.delete(older_than=3) == (2,)
    assert [version.number for version in mine.score.history()] == [3, 1]
    assert scatter.functions() == {name: 1}
    assert mine.score.pull() == 1


@pytest.mark.usefixtures("here")
def test_deleting_old_versions_keeps_code_that_a_newer_one_shares(bob: Colleague) -> None:
    """Version 3 is version 1's code again: one bundle, which only seems to be old."""
    for seen, body in enumerate((1, 2, 1, 4)):
        bob.releases.push([Candidate(bundle=version_of(body), seen=seen or None)])
    assert bob.releases.delete("score", older_than=3) == (2, 1)
    assert scatter.get("score", 4)() == 4
    assert scatter.get("score", 3)() == 1


@pytest.mark.usefixtures("here")
def test_a_version_that_becomes_live_during_a_deletion_is_kept(
    bob: Colleague, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seen in range(3):
        bob.releases.push([Candidate(bundle=version_of(seen), seen=seen or None)])
    carl = Colleague(redis_url, namespace, author="carl")
    race = Interrupted(bob.releases, monkeypatch)
    race.then = lambda: carl.releases.release({"score": 1})
    bob.releases.delete("score", older_than=3)
    carl.store.close()
    assert scatter.functions() == {"elsewhere:score": 1}
    assert scatter.get("score", 1)() == 0
    assert 1 in [version.number for version in bob.releases.history("score")]


@pytest.mark.usefixtures("here")
def test_a_version_that_is_pushed_during_a_deletion_leaves_no_code_behind(
    bob: Colleague, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.releases.push([Candidate(bundle=version_of(1))])
    carl = Colleague(redis_url, namespace, author="carl")
    race = Interrupted(bob.releases, monkeypatch)
    race.then = lambda: carl.releases.push([Candidate(bundle=version_of(2), seen=1)])
    bob.releases.delete("score")
    carl.store.close()
    assert scatter.functions() == {}
    assert bundle_keys(bob) == 0


@pytest.mark.usefixtures("here")
def test_code_that_is_pushed_again_as_soon_as_it_was_deleted_is_there(
    bob: Colleague, redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.releases.push([Candidate(bundle=version_of(1))])
    carl = Colleague(redis_url, namespace, author="carl")
    append = bob.store.append

    def followed(*arguments: Any) -> bool:
        written = append(*arguments)
        carl.releases.push([Candidate(bundle=version_of(1))])
        return written

    monkeypatch.setattr(bob.store, "append", followed)
    bob.releases.delete("score")
    carl.store.close()
    assert scatter.get("score")() == 1


@pytest.mark.usefixtures("here")
def test_a_deletion_that_is_only_tried_says_what_would_go(bob: Colleague) -> None:
    bob.releases.push([Candidate(bundle=version_of(1))])
    before = everything(bob)
    assert bob.releases.delete("score", dry_run=True) == (1,)
    assert everything(bob) == before


# release and rollback -------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_a_release_makes_versions_live_together(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    scatter.push(mine.score, mine.rank)
    mine.edit("x * RATE", "x + RATE")
    mine.edit("sorted(xs", "sorted(set(xs)")
    scatter.push(mine.score, mine.rank)
    done = scatter.release({mine.full("score"): 1, mine.full("rank"): 1}, message="as before")
    assert done is not None
    assert (done.action, done.message, done.author) == ("release", "as before", "ann@example.org")
    assert {change.version for change in done.changes} == {1}
    assert scatter.functions() == {mine.full("score"): 1, mine.full("rank"): 1}
    assert mine.score.loaded_version == 2  # a release runs where it is pulled or followed
    assert mine.score.pull() == 1


@pytest.mark.usefixtures("here")
def test_a_release_of_what_is_live_is_none(bob: Colleague, elsewhere: str) -> None:
    bob.push(elsewhere, PRICING, "score")
    before = everything(bob)
    assert scatter.release({"score": 1}) is None
    assert everything(bob) == before


@pytest.mark.usefixtures("here")
def test_a_release_with_one_wrong_version_changes_nothing(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    three_versions(bob, mine)
    bob.push(mine.name, PRICING, "rank")
    before = everything(bob)
    with pytest.raises(NotFound, match=r"has no version 5 \(the newest is 1\)"):
        scatter.release({"score": 1, "rank": 5})
    with pytest.raises(NotFound, match="Function `nothing` doesn't exist"):
        scatter.release({"score": 1, "nothing": 1})
    assert everything(bob) == before


@pytest.mark.usefixtures("here")
def test_release_0_is_the_deployed_code(program: Callable[[str], Program], bob: Colleague) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    mine.score.pull()
    assert scatter.release({name: 0}) is not None
    assert scatter.functions() == {name: 0}
    assert mine.score.pull() == 0
    assert (mine.score(5), mine.score.loaded_version) == (5, 0)
    assert [version.live for version in mine.score.history()] == [False] * 3
    assert scatter.release({name: 0}) is None


@pytest.mark.usefixtures("here")
def test_rollback_goes_one_step_back_for_everyone(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)
    done = scatter.rollback("score", message="too high")
    assert done is not None
    assert (done.action, done.message) == ("rollback", "too high")
    assert [(change.function, change.version) for change in done.changes] == [(name, 2)]
    assert scatter.functions() == {name: 2}
    assert mine.score.pull() == 2


@pytest.mark.usefixtures("here")
def test_rollback_of_a_first_version_is_the_deployed_code(bob: Colleague, elsewhere: str) -> None:
    bob.push(elsewhere, PRICING, "score")
    scatter.rollback("score")
    assert scatter.functions() == {f"{elsewhere}:score": 0}


@pytest.mark.usefixtures("here")
def test_rollback_without_a_name_takes_the_newest_release_back(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    scatter.push(mine.score, mine.rank)
    bob.push("other", PRICING, "score")
    mine.edit("x * RATE", "x + RATE")
    mine.edit("sorted(xs", "sorted(set(xs)")
    scatter.push(mine.score, mine.rank)
    scatter.rollback()
    assert scatter.functions() == {mine.full("score"): 1, mine.full("rank"): 1, "other:score": 1}


@pytest.mark.usefixtures("here")
def test_rollback_to_a_release_restores_what_was_live_right_after_it(
    program: Callable[[str], Program], bob: Colleague
) -> None:
    mine = program(PRICING)
    name = three_versions(bob, mine)  # releases 1 to 3
    bob.push("other", PRICING, "score")  # release 4
    done = scatter.rollback(to=2)
    assert done is not None
    assert done.message == "back to release 2"
    assert scatter.functions() == {name: 2, "other:score": 0}
    assert scatter.rollback(to=2) is None
    scatter.rollback(to=4)
    assert scatter.functions() == {name: 3, "other:score": 1}
    scatter.rollback("other:score", to=0)
    assert scatter.functions() == {name: 3, "other:score": 0}


@pytest.mark.usefixtures("here")
def test_rollback_to_a_release_that_never_was_is_refused(bob: Colleague, elsewhere: str) -> None:
    bob.push(elsewhere, PRICING, "score")
    before = everything(bob)
    for sequence in (2, -1):
        with pytest.raises(NotFound) as caught:
            scatter.rollback(to=sequence)
        assert str(caught.value) == f"There is no release {sequence}: the newest is 1."
    assert everything(bob) == before


@pytest.mark.usefixtures("here")
def test_rollback_in_an_empty_namespace_does_nothing(bob: Colleague) -> None:
    assert scatter.rollback() is None
    assert everything(bob) == {}


@pytest.mark.usefixtures("here")
def test_rollback_to_a_version_that_was_deleted_is_refused(bob: Colleague) -> None:
    for seen in range(2):
        bob.releases.push([Candidate(bundle=version_of(seen), seen=seen or None)])
    bob.releases.delete("score", older_than=2)
    before = everything(bob)
    with pytest.raises(NotFound, match=r"has no version 1 \(the newest is 2\)"):
        scatter.rollback("score")
    assert everything(bob) == before


# awaitable forms ------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_the_awaitable_forms_do_the_same(program: Callable[[str], Program], bob: Colleague) -> None:
    mine = program(PRICING)

    async def story() -> list[object]:
        seen: list[object] = [await mine.score.apush("first")]
        bob.push(mine.name, PRICING.replace("x * RATE", "x * 7"), "score")
        seen += [await mine.score.apull(), mine.score(5)]
        seen += [await mine.score.adowngrade(), await mine.score.aupgrade()]
        seen += [await mine.score.alatest_version()]
        seen += [[version.number for version in await mine.score.ahistory(limit=1)]]
        seen += [await mine.score.adelete(older_than=2), await mine.score.adelete()]
        return seen

    assert asyncio.run(story()) == [1, 2, 35, 1, 2, 2, [2], (1,), (2,)]
    assert scatter.functions() == {}


@pytest.mark.usefixtures("here")
def test_an_awaited_verb_raises_what_the_verb_raises(program: Callable[[str], Program]) -> None:
    mine = program(PRICING)

    async def pull() -> None:
        await mine.score.apull()

    with pytest.raises(KeyError, match="doesn't exist"):
        asyncio.run(pull())


@pytest.mark.usefixtures("here")
def test_the_event_loop_goes_on_while_a_verb_is_awaited(
    program: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verb waits for the loop to do something: it never ends if it blocks the loop."""
    mine = program(PRICING)
    mine.score.push()
    turned = threading.Event()
    journal = client.current().journal
    catch_up = journal.catch_up

    def slow() -> object:
        assert turned.wait(10), "the event loop stood still"
        return catch_up()

    monkeypatch.setattr(journal, "catch_up", slow)

    async def story() -> int:
        asking = asyncio.ensure_future(mine.score.alatest_version())
        asyncio.get_running_loop().call_soon(turned.set)
        return int(await asking)

    assert asyncio.run(story()) == 1


# cost -----------------------------------------------------------------------------------------


class Meter:
    """Counts what goes over one link: round trips, commands, bytes of replies."""

    def __init__(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trips: list[list[str]] = []
        self.reply_bytes = 0
        self._run = store.link.run
        monkeypatch.setattr(store.link, "run", self)

    def __call__(self, commands: Any, **options: Any) -> Any:
        self.trips.append([str(command[0]) for command in commands])
        replies = self._run(commands, **options)
        self.reply_bytes += _size(replies)
        return replies

    def of(self, verb: Callable[[], object]) -> tuple[list[list[str]], int]:
        """Return the round trips of a verb and the bytes that came back."""
        self.trips, self.reply_bytes = [], 0
        verb()
        return self.trips, self.reply_bytes


def _size(reply: object) -> int:
    if isinstance(reply, (bytes, str)):
        return len(reply)
    if isinstance(reply, dict):
        return sum(_size(key) + _size(value) for key, value in reply.items())
    if isinstance(reply, (list, tuple, set)):
        return sum(map(_size, reply))
    return 8


def _reads_and_writes(trips: list[list[str]]) -> tuple[int, int]:
    writes = sum("MULTI" in trip for trip in trips)
    return len(trips) - writes, writes


@pytest.mark.usefixtures("here")
def test_a_push_is_one_read_and_one_write(
    program: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(PRICING)
    mine.score.push()
    mine.edit("x * RATE", "x + RATE")
    meter = Meter(client.current().journal.store, monkeypatch)
    trips, _ = meter.of(mine.score.push)
    assert _reads_and_writes(trips) == (1, 1)
    assert mine.score.loaded_version == 2


def test_a_push_of_a_bundle_after_another_is_one_write(
    bob: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.releases.push([Candidate(bundle=version_of(1))])
    meter = Meter(bob.store, monkeypatch)
    trips, _ = meter.of(lambda: bob.releases.push([Candidate(bundle=version_of(2), seen=1)]))
    assert _reads_and_writes(trips) == (0, 1)
    assert bob.releases.find("score").version == 2


@pytest.mark.usefixtures("here")
def test_a_pull_reads_the_log_and_a_bundle_and_nothing_again_that_is_here(
    bob: Colleague, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.push(elsewhere, PRICING, "score")
    score = scatter.get("score")
    bob.push(elsewhere, PRICING.replace("x * RATE", "x * 7"), "score")
    meter = Meter(client.current().journal.store, monkeypatch)
    trips, _ = meter.of(score.pull)
    assert len(trips) <= 2
    assert score(5) == 35
    trips, _ = meter.of(score.pull)
    assert len(trips) == 1


def test_no_verb_costs_more_with_a_long_history(
    redis_url: str, namespace: str, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Colleague(redis_url, namespace, author="ann@example.org")
    function = f"{elsewhere}:score"
    made = 0

    def grow(to: int) -> None:
        nonlocal made
        while made < to:
            made += 1
            writer.releases.push([Candidate(bundle=version_of(made, elsewhere))])

    def costs() -> dict[str, tuple[int, int]]:
        """Return what each verb costs a process that is up to date."""
        scatter.init(redis_url, namespace=namespace)
        score = scatter.get(function)
        score.pull(made - 3)
        score.pull()
        meter = Meter(client.current().journal.store, monkeypatch)
        verbs: dict[str, Callable[[], object]] = {
            "downgrade": score.downgrade,
            "upgrade": score.upgrade,
            "pull": score.pull,
            "pull 1": lambda: score.pull(1),
            "get": lambda: scatter.get(function),
            "get 1": lambda: scatter.get(function, 1),
            "functions": scatter.functions,
            "latest": score.latest_version,
            "history 3": lambda: score.history(3),
            "release": lambda: scatter.release({function: 1}),
            "rollback": lambda: scatter.rollback(function),
        }
        found = {}
        for name, verb in verbs.items():
            trips, size = meter.of(verb)
            found[name] = (len(trips), size)
        push = lambda: writer.releases.push([Candidate(bundle=version_of(-made, elsewhere))])
        meter = Meter(writer.store, monkeypatch)
        writer.releases.functions()
        trips, size = meter.of(push)
        return found | {"push": (len(trips), size)}

    grow(8)
    short = costs()
    grow(2000)
    long = costs()
    writer.store.close()
    assert {verb: trips for verb, (trips, _) in long.items()} == {
        verb: trips for verb, (trips, _) in short.items()
    }
    for verb, (_, size) in long.items():
        assert size <= short[verb][1] + 500, verb


def test_a_newcomer_reads_a_bounded_part_of_a_long_log(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Colleague(redis_url, namespace)
    for number in range(600):
        writer.releases.push([Candidate(bundle=version_of(number), seen=number or None)])
    newcomer = Colleague(redis_url, namespace)
    meter = Meter(newcomer.store, monkeypatch)
    trips, size = meter.of(newcomer.releases.functions)
    assert newcomer.releases.journal.ledger.sequence == 600
    assert len(trips) <= 5
    assert newcomer.releases.find("score").version == 600
    (entry,) = (e for e in newcomer.store.entries([600]) if e)
    assert size < 400 * len(entry)
    writer.store.close()
    newcomer.store.close()


def test_get_gives_a_function_that_was_tracked_with_its_module_its_verbs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bob: Colleague, here: None
) -> None:
    (tmp_path / "tracked_whole.py").write_text("def score():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("tracked_whole")
    assert scatter.track_module(module) == ("tracked_whole:score",)
    assert not hasattr(module.score, "pull")
    assert scatter.push("tracked_whole:score") == {"tracked_whole:score": 1}
    text = "import scatter\n@scatter.track\ndef score():\n    return 2\n"
    bob.push("tracked_whole", text)
    assert scatter.get("tracked_whole:score") is module.score
    assert (module.score(), module.score.loaded_version) == (2, 2)
    assert module.score.downgrade() == 1
    assert module.score() == 1
