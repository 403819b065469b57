"""The watcher: a save in any way, by any tool, is one release; and what it says about it."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support import signed, wait_until

from scatter.acks import Acks
from scatter.bundle import Bundle
from scatter.errors import StoreRefused, StoreUnavailable
from scatter.model import ProcessReport, Refusal, Release
from scatter.releases import Candidate, Releases
from scatter.server import EmbeddedServer
from scatter.store import open_store
from scatter.store.memory import MemoryStore
from scatter.store.port import NO_HINTS, Hints, Store, Tail
from scatter.watch import (
    Acknowledged,
    AlreadyLive,
    Conflicted,
    Ended,
    Event,
    Failed,
    Held,
    Manner,
    Mended,
    Polling,
    Pushed,
    Reconnected,
    Reconnecting,
    Restored,
    Started,
    Text,
    Watcher,
)
from scatter.watch.acknowledger import Ask
from scatter.workspace import Note, Problem, Vanished, Workspace

E = TypeVar("E")

PRICING = """\
import scatter

RATE = 1
cache = {}


@scatter.track
def score(x):
    cache[x] = x * RATE
    return cache[x]


@scatter.track
def rank(xs):
    return sorted(xs, key=score)
"""


class FlakyStore:
    """A store that can be away, lose its answer, or deny writing."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self.away = False
        self.lose_answer = False
        self.deny = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read(self, after: int, limit: int = 64, **options: bool) -> Tail:
        self._check()
        return self.inner.read(after, limit, **options)

    def append(
        self, sequence: int, entry: bytes, bundles: Mapping[str, bytes], hints: Hints = NO_HINTS
    ) -> bool:
        self._check()
        if self.deny:
            raise StoreRefused("The store denies writing. Ask for the right to push.")
        done = self.inner.append(sequence, entry, bundles, hints)
        if self.lose_answer:
            self.lose_answer, self.away = False, True
            self._check()
        return done

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("redis://here does not answer.", url="redis://here")


class Watching:
    """A watcher in a thread over a directory, and what it told."""

    def __init__(
        self,
        folder: Path,
        store: Any,
        *,
        ask: Ask | None = None,
        paths: Sequence[Path] = (),
        manner: Manner | None = None,
    ) -> None:
        self.folder = folder
        self.file = folder / "pricing.py"
        self.store = store
        self.events: list[Event] = []
        self._seen = 0
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._watcher = Watcher(
            Workspace(paths or [folder]),
            Releases(signed(store), author="me"),
            on_event=self._note,
            ask=ask,
            manner=manner,
        )
        self._thread = threading.Thread(target=self._watcher.run, args=(self._stop,), daemon=True)
        self._thread.start()
        self.started = self.until(Started)

    def _note(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def until(self, kind: type[E], test: Callable[[E], bool] = lambda _: True) -> E:
        """Return the next event of a kind, and skip those before it."""
        deadline = time.monotonic() + 10
        with self._news:
            while True:
                for number in range(self._seen, len(self.events)):
                    event = self.events[number]
                    if isinstance(event, kind) and test(event):
                        self._seen = number + 1
                        return event
                left = deadline - time.monotonic()
                assert self._news.wait(left), f"no {kind.__name__} in {self.events[self._seen :]}"

    def pushed(self) -> tuple[int, list[str]]:
        """Return sequence and functions of the next push."""
        event = self.until(Pushed)
        return event.sequence, [one.name for one in event.functions]

    def live(self, name: str) -> str:
        """Return the live source of a function."""
        return self._bundle(name).source

    def constant(self, name: str, constant: str) -> str:
        """Return the live source of a constant that a function uses; empty if it has none."""
        items = self._bundle(name).items if self.log() else ()
        return "".join(item.source for item in items if item.name == constant)

    def _bundle(self, name: str) -> Bundle:
        releases = self.colleague("reader")
        return releases.fetch(releases.version(name))

    def colleague(self, author: str) -> Releases:
        """Return somebody else's hands on the same log."""
        store = self.store.inner if isinstance(self.store, FlakyStore) else self.store
        return Releases(signed(store), author=author)

    def log(self) -> list[Release]:
        releases = self.colleague("reader")
        releases.functions()
        return releases.journal.releases(limit=1000)[::-1]

    def save(self, text: str) -> None:
        self.file.write_text(text)

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.save(text.replace(old, new))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore(MemoryStore("shop"))


@pytest.fixture
def start(tmp_path: Path, store: FlakyStore) -> Iterator[Callable[..., Watching]]:
    """Start watchers over a project with `pricing.py`, and stop them afterwards."""
    started: list[Watching] = []

    def start_one(**options: Any) -> Watching:
        (tmp_path / "pricing.py").write_text(PRICING)
        started.append(Watching(tmp_path, options.pop("store", store), **options))
        return started[-1]

    yield start_one
    for one in started:
        one.stop()


@pytest.fixture
def watching(start: Callable[..., Watching]) -> Watching:
    return start()


def push(releases: Releases, folder: Path, text: str, name: str) -> None:
    """Push a function as a colleague would, who has another text in the file."""
    (folder / "elsewhere").mkdir(exist_ok=True)
    (folder / "elsewhere" / "pricing.py").write_text(text)
    workspace = Workspace([folder / "elsewhere"])
    workspace.load()
    built = workspace.functions[name]
    releases.push([Candidate(bundle=built.bundle)], force=True)


# one save, one release -------------------------------------------------------------------


def test_a_saved_edit_is_released_with_what_it_changed(watching: Watching) -> None:
    watching.edit("return cache[x]", "print(x)\n    return cache[x] + 1")
    event = watching.until(Pushed)
    (one,) = event.functions
    assert (event.sequence, one.name, one.version) == (1, "pricing:score", 1)
    assert (one.added, one.removed) == (2, 1)
    assert one.size_bytes == watching.log()[0].changes[0].size
    assert watching.live("score").endswith("return cache[x] + 1")
    assert 0 < event.logged_s < 5


def test_functions_saved_together_are_one_release(watching: Watching) -> None:
    watching.save(PRICING.replace("return cache", "return 1 + cache").replace("xs, key", "xs,key"))
    assert watching.pushed() == (1, ["pricing:score"])
    watching.save(PRICING.replace("x * RATE", "x + RATE").replace("sorted(xs", "sorted(xs[1:]"))
    assert watching.pushed() == (2, ["pricing:rank", "pricing:score"])


def test_an_edit_of_a_constant_pushes_who_uses_it(watching: Watching) -> None:
    watching.edit("RATE = 1", "RATE = 2")
    assert watching.pushed() == (1, ["pricing:score"])


def test_comments_and_layout_are_no_release(watching: Watching) -> None:
    watching.edit("    return cache[x]", "    # why\n    return cache[x]")
    watching.edit("import scatter\n", "import scatter\n\n\n")
    watching.edit("x * RATE", "x * RATE * 1")
    assert watching.pushed() == (1, ["pricing:score"])
    assert len(watching.log()) == 1


def test_a_reverted_edit_is_the_old_bundle_again(watching: Watching) -> None:
    for old, new in (("RATE = 1", "RATE = 2"), ("RATE = 2", "RATE = 3"), ("RATE = 3", "RATE = 2")):
        watching.edit(old, new)
        watching.until(Pushed)
    first, _, third = (release.changes[0] for release in watching.log())
    assert (first.version, third.version) == (1, 3)
    assert first.bundle == third.bundle


def test_new_functions_files_and_directories_are_pushed(watching: Watching) -> None:
    watching.save(PRICING + "\n\n@scatter.track\ndef fresh():\n    return 1\n")
    assert watching.pushed() == (1, ["pricing:fresh"])
    folder = watching.folder / "deep" / "er"
    folder.mkdir(parents=True)
    (folder / "tax.py").write_text("import scatter\n@scatter.track\ndef vat():\n    return 1\n")
    assert watching.pushed() == (2, ["tax:vat"])
    (folder / "tax.py").write_text("import scatter\n@scatter.track\ndef vat():\n    return 2\n")
    assert watching.pushed() == (3, ["tax:vat"])


def test_a_watched_file_does_not_bring_its_neighbours(tmp_path: Path, store: FlakyStore) -> None:
    file = tmp_path / "pricing.py"
    file.write_text(PRICING)
    watching = Watching(tmp_path, store, paths=[file])
    (tmp_path / "other.py").write_text("import scatter\n@scatter.track\ndef f(): pass\n")
    watching.edit("return cache[x]", "return 1 + cache[x]")
    assert watching.pushed() == (1, ["pricing:score"])
    other = file.with_suffix(".new")
    other.write_text(PRICING)
    other.rename(file)
    assert watching.pushed() == (2, ["pricing:score"])
    watching.stop()


# every way to save -----------------------------------------------------------------------


def run(*command: str | Path, cwd: Path) -> None:
    subprocess.run(list(map(str, command)), cwd=cwd, check=True, capture_output=True)


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def in_parts(file: Path, text: str) -> None:
    with file.open("w") as out:
        for line in text.splitlines(keepends=True):
            out.write(line)
            out.flush()
            os.sched_yield()


def in_two_goes(file: Path, text: str) -> None:
    half = text.index("@scatter.track\ndef rank")
    file.write_text(text[:half])
    with file.open("a") as out:
        out.write(text[half:])


def by_rename(file: Path, text: str) -> None:
    other = file.with_name(f".{file.name}.swp")
    other.write_text(text)
    other.rename(file)


def away_and_new(file: Path, text: str) -> None:
    file.rename(file.with_name(file.name + "~"))
    file.write_text(text)


def truncate_then_write(file: Path, text: str) -> None:
    os.truncate(file, 0)
    file.write_text(text)


def with_mv(file: Path, text: str) -> None:
    (file.parent / "new.txt").write_text(text)
    run("mv", "new.txt", file, cwd=file.parent)


def with_cp(file: Path, text: str) -> None:
    (file.parent / "new.txt").write_text(text)
    run("cp", "new.txt", file, cwd=file.parent)


def with_sed(file: Path, text: str) -> None:
    rate = next(line for line in text.splitlines() if line.startswith("RATE"))
    run("sed", "-i", f"s/^RATE.*/{rate}/", file, cwd=file.parent)


def with_git(file: Path, text: str) -> None:
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@here")
    if not (file.parent / ".git").exists():
        run(*git, "init", "-q", cwd=file.parent)
        run(*git, "commit", "-q", "--allow-empty", "-m", "first", cwd=file.parent)
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        input=text, text=True, cwd=file.parent, check=True, capture_output=True,
    ).stdout.strip()  # fmt: skip
    run(*git, "update-index", "--add", "--cacheinfo", f"100644,{blob},{file.name}", cwd=file.parent)
    run(*git, "checkout", "--", file.name, cwd=file.parent)


WAYS = [
    in_place, in_parts, in_two_goes, by_rename, away_and_new, truncate_then_write,
    with_mv, with_cp, with_sed, with_git,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_to_save_is_noticed_every_time(
    watching: Watching, way: Callable[[Path, str], None]
) -> None:
    for rate in (2, 3, 4):
        way(watching.file, PRICING.replace("RATE = 1", f"RATE = {rate}"))
        assert watching.pushed() == (rate - 1, ["pricing:score"])
    assert watching.constant("score", "RATE") == "RATE = 4"


def test_saves_in_quick_succession_never_tear_and_the_last_arrives(watching: Watching) -> None:
    seed = random.Random(7)
    meant: set[str] = set()
    for number in range(60):
        body = "".join(f"    x += {number}\n" for _ in range(seed.randrange(1, 4)))
        score = f"@scatter.track\ndef score(x):\n{body}    return x, {number}"
        meant.add(score)
        rank = PRICING[PRICING.index("@scatter.track\ndef rank") :]
        seed.choice(WAYS[:-2])(watching.file, f"import scatter\n\n{score}\n\n\n{rank}")
        if seed.random() < 0.3:
            watching.until(Pushed)
    watching.until(Pushed, lambda e: e.functions[0].after.source.endswith("return x, 59"))
    reader = watching.colleague("reader")
    for version in reader.history("score"):
        assert reader.fetch(version).source in meant
    assert {change.function for release in watching.log() for change in release.changes} == {
        "pricing:score"
    }


def test_a_git_checkout_of_several_files_is_one_release(watching: Watching) -> None:
    folder = watching.folder
    names = [f"part{number}" for number in range(8)]
    text = "import scatter\n@scatter.track\ndef f():\n    return {0}\n"
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@here")
    for branch, value in (("one", 1), ("two", 2)):
        for name in names:
            (folder / f"{name}.py").write_text(text.format(value))
        if branch == "one":
            assert watching.pushed() == (1, [f"{name}:f" for name in names])
            run(*git, "init", "-q", cwd=folder)
        else:
            while watching.live("part7:f").endswith("1"):
                watching.until(Pushed)
        run(*git, "checkout", "-q", "-b", branch, cwd=folder)
        run(*git, "add", ".", cwd=folder)
        run(*git, "commit", "-q", "-m", branch, cwd=folder)
    before = len(watching.log())
    run(*git, "checkout", "-q", "one", cwd=folder)
    assert watching.pushed() == (before + 1, [f"{name}:f" for name in names])


def test_polling_sees_two_saves_within_a_second(
    start: Callable[..., Watching], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "true")
    watching = start()
    watching.until(Polling)
    for rate in (2, 3):
        watching.save(PRICING.replace("RATE = 1", f"RATE = {rate}"))
        assert watching.pushed() == (rate - 1, ["pricing:score"])


# what is not pushed ----------------------------------------------------------------------


def test_a_syntax_error_names_the_place_and_pushes_nothing(watching: Watching) -> None:
    watching.edit("def rank(xs):", "def rank(xs:")
    problem = watching.until(Problem)
    assert (problem.file, problem.line, problem.text) == ("pricing.py", 14, "def rank(xs:")
    watching.save(PRICING)
    watching.until(Mended)
    assert watching.log() == []


def test_a_vanished_function_is_reported_and_stays_live(watching: Watching) -> None:
    watching.edit("xs, key", "xs[1:], key")
    watching.until(Pushed)
    watching.save(PRICING[: PRICING.index("\n\n@scatter.track\ndef rank")])
    assert watching.until(Vanished).name == "pricing:rank"
    assert watching.live("rank").endswith("sorted(xs[1:], key=score)")


def test_changed_state_is_noted_and_not_pushed(watching: Watching) -> None:
    watching.edit("cache = {}", "cache = {1: 2}")
    note = watching.until(Note)
    assert (note.kind, note.name, note.functions) == ("state", "cache", ("pricing:score",))
    watching.edit("RATE = 1", "RATE = 2")
    assert watching.pushed() == (1, ["pricing:score"])


# with others -----------------------------------------------------------------------------


def test_drift_and_what_was_never_pushed_are_told_at_the_start(
    start: Callable[..., Watching], store: FlakyStore, tmp_path: Path
) -> None:
    ann = Releases(signed(store.inner), author="ann")
    changed = PRICING.replace("x * RATE", "x + RATE").replace("(xs, key", "( xs,key")
    push(ann, tmp_path, changed, "pricing:score")
    (tmp_path / "elsewhere" / "pricing.py").unlink()
    survey = start().started.survey
    assert survey is not None
    assert [(d.name, d.version, d.author) for d in survey.drifted] == [("pricing:score", 1, "ann")]
    assert survey.unpushed == ("pricing:rank",)


def test_live_code_that_differs_by_a_comment_is_no_drift(
    start: Callable[..., Watching], store: FlakyStore, tmp_path: Path
) -> None:
    ann = Releases(signed(store.inner), author="ann")
    push(ann, tmp_path, PRICING.replace("x * RATE", "x*RATE  # why"), "pricing:score")
    (tmp_path / "elsewhere" / "pricing.py").unlink()
    watching = start()
    assert watching.started.survey is not None
    assert watching.started.survey.drifted == ()
    watching.edit("RATE = 1", "RATE = 2")
    assert watching.pushed() == (2, ["pricing:score"])


def test_a_colleagues_release_in_between_is_a_conflict_and_the_watcher_goes_on(
    watching: Watching, tmp_path_factory: pytest.TempPathFactory
) -> None:
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Pushed)
    ann = watching.colleague("ann")
    push(ann, tmp_path_factory.mktemp("ann"), PRICING.replace("x *", "x -"), "pricing:score")
    watching.edit("RATE = 2", "RATE = 3")
    conflict = watching.until(Conflicted)
    assert (conflict.function, conflict.seen, conflict.live) == ("pricing:score", 1, 2)
    assert conflict.author == "ann"
    assert conflict.kept_back == ("pricing:score",)
    watching.edit("sorted(xs", "sorted(xs[1:]")
    assert watching.pushed() == (3, ["pricing:rank"])
    assert "x - RATE" in watching.live("score")


def test_after_the_conflict_was_forced_by_hand_the_watcher_has_seen_it(
    watching: Watching, tmp_path_factory: pytest.TempPathFactory
) -> None:
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Pushed)
    ann, me = watching.colleague("ann"), watching.colleague("me")
    push(ann, tmp_path_factory.mktemp("ann"), PRICING.replace("x *", "x -"), "pricing:score")
    watching.edit("RATE = 2", "RATE = 3")
    watching.until(Conflicted)
    push(me, tmp_path_factory.mktemp("me"), watching.file.read_text(), "pricing:score")
    watching.edit("RATE = 3", "RATE = 4")
    assert watching.pushed() == (4, ["pricing:score"])


def test_what_was_pushed_by_hand_from_the_same_file_is_no_conflict(
    start: Callable[..., Watching], store: FlakyStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ann = Releases(signed(store.inner), author="ann")
    push(ann, tmp_path_factory.mktemp("ann"), PRICING.replace("x *", "x -"), "pricing:score")
    watching = start()
    me = watching.colleague("me")
    push(me, tmp_path_factory.mktemp("me"), PRICING.replace("x *", "x  *"), "pricing:score")
    watching.edit("RATE = 1", "RATE = 2")
    assert watching.pushed() == (3, ["pricing:score"])


def test_a_rollback_is_not_overrun_by_the_next_save(watching: Watching) -> None:
    for rate in (2, 3):
        watching.edit(f"RATE = {rate - 1}", f"RATE = {rate}")
        watching.until(Pushed)
    watching.colleague("ops").rollback("score")
    watching.edit("RATE = 3", "RATE = 4")
    held = watching.until(Held)
    assert (held.live, held.author, held.kept_back) == (1, "ops", ("pricing:score",))


@pytest.mark.parametrize("whose", ["ops", "me"])
def test_a_rollback_holds_a_function_until_somebody_lifts_that(
    watching: Watching, whose: str
) -> None:
    for rate in (2, 3):
        watching.edit(f"RATE = {rate - 1}", f"RATE = {rate}")
        watching.until(Pushed)
    watching.colleague(whose).rollback("score")
    watching.edit("RATE = 3", "RATE = 4")
    assert watching.until(Held).is_new
    watching.edit("RATE = 4", "RATE = 5")
    assert not watching.until(Held).is_new, "it is explained once"
    assert watching.colleague("me").find("score").version == 1
    watching.colleague("ops").release({"score": 1})
    watching.edit("RATE = 5", "RATE = 6")
    assert watching.pushed() == (5, ["pricing:score"])
    assert watching.constant("score", "RATE") == "RATE = 6"


def test_a_watcher_that_starts_after_a_rollback_says_so_and_heeds_it(
    start: Callable[..., Watching], store: FlakyStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ann = Releases(signed(store.inner), author="ann")
    for sign in "-+":
        text = PRICING.replace("x *", f"x {sign}")
        push(ann, tmp_path_factory.mktemp("ann"), text, "pricing:score")
    ann.rollback("score")
    watching = start()
    assert watching.started.survey is not None
    (held,) = watching.started.survey.held
    assert (held.function, held.live, held.author) == ("pricing:score", 1, "ann")
    watching.edit("RATE = 1", "RATE = 2")
    assert not watching.until(Held).is_new
    lines = list(Text().lines(watching.started))
    assert any("score is held: ann rolled it back to v1" in line for line in lines)
    assert "  nothing is pushed over that; `scatter push -f score` lifts it" in lines


def test_what_was_saved_with_a_held_function_waits_too(watching: Watching) -> None:
    for rate in (2, 3):
        watching.edit(f"RATE = {rate - 1}", f"RATE = {rate}")
        watching.until(Pushed)
    ops = watching.colleague("ops")
    ops.rollback("score")
    text = watching.file.read_text()
    watching.save(text.replace("RATE = 3", "RATE = 4").replace("sorted(xs", "sorted(xs[1:]"))
    assert watching.until(Held).kept_back == ("pricing:rank", "pricing:score")
    ops.release({"score": 1})
    watching.edit("xs[1:]", "xs[2:]")
    assert watching.pushed() == (5, ["pricing:rank", "pricing:score"])


def test_what_is_wrong_and_was_made_live_meanwhile_is_no_news(
    start: Callable[..., Watching], store: FlakyStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    watching = start(manner=Manner(checks=()))
    ann = Releases(signed(store.inner), author="ann")
    wrong = PRICING.replace("sorted(xs", "sorted(ys")
    push(ann, tmp_path_factory.mktemp("ann"), wrong, "pricing:rank")
    watching.edit("sorted(xs", "sorted(ys")
    assert watching.until(AlreadyLive).functions == (("pricing:rank", 1),)


# for a while -----------------------------------------------------------------------------


def lent(store: FlakyStore) -> dict[str, tuple[int, bool]]:
    """Return function → its live version, and whether that is temporary."""
    known = Releases(signed(store.inner), author="reader").functions()
    return {name: (s.version or 0, bool(s.expires)) for name, s in known.items()}


def test_a_temporary_watch_restores_what_was_live_before(
    start: Callable[..., Watching], store: FlakyStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    me = Releases(signed(store.inner), author="me")
    push(me, tmp_path_factory.mktemp("me"), PRICING, "pricing:score")
    watching = start(manner=Manner(lease_s=600))
    assert watching.started.lease_s == 600
    for rate in (2, 3):
        watching.edit(f"RATE = {rate - 1}", f"RATE = {rate}")
        watching.until(Pushed)
    watching.edit("sorted(xs", "sorted(xs[1:]")
    watching.until(Pushed)
    assert lent(store) == {"pricing:score": (3, True), "pricing:rank": (1, True)}
    watching.stop()
    restored = watching.until(Restored)
    assert restored.functions == (("pricing:rank", 0), ("pricing:score", 1))
    assert list(Text().lines(restored)) == ["live again: rank as deployed, score v1"]
    assert lent(store) == {"pricing:score": (1, False), "pricing:rank": (0, False)}


def test_a_temporary_watch_puts_the_end_off_while_it_lives(
    start: Callable[..., Watching], store: FlakyStore
) -> None:
    watching = start(manner=Manner(lease_s=2.0))
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Pushed)

    def is_put_off() -> bool:
        return [r.message for r in watching.log()].count("goes on") >= 3

    wait_until(is_put_off, "a lease and a half")
    assert lent(store) == {"pricing:score": (1, True)}
    watching.stop()
    assert lent(store) == {"pricing:score": (0, False)}


def test_a_temporary_watch_takes_back_nothing_that_somebody_released_meanwhile(
    start: Callable[..., Watching], store: FlakyStore
) -> None:
    watching = start(manner=Manner(lease_s=1.0))
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Pushed)
    watching.colleague("ops").rollback("score")
    ended = watching.until(Ended)
    assert ended.functions == (("pricing:score", 1),)
    assert list(Text().lines(ended)) == [
        "score v1 no longer live: its time was over, or others released"
    ]
    watching.stop()
    assert [type(e) for e in watching.events].count(Restored) == 0
    assert [r.action for r in watching.log()][-1] == "rollback"


def test_what_ended_while_the_store_was_away_is_pushed_again_by_the_next_save(
    start: Callable[..., Watching], store: FlakyStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ann = Releases(signed(store.inner), author="ann")
    push(ann, tmp_path_factory.mktemp("ann"), PRICING, "pricing:score")
    watching = start(manner=Manner(lease_s=0.6))
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Pushed)
    store.away = True
    wait_until(lambda: lent(store) == {"pricing:score": (1, False)}, "the end")
    store.away = False
    watching.until(Ended)
    watching.edit("RATE = 2", "RATE = 3")
    watching.until(Pushed)
    assert lent(store) == {"pricing:score": (3, True)}


def test_a_restore_that_cannot_be_says_when_it_will_be(
    start: Callable[..., Watching], store: FlakyStore
) -> None:
    watching = start(manner=Manner(lease_s=600))
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Pushed)
    store.away = True
    watching.stop()
    assert "is so again in 600 s at most" in watching.until(Failed).message


@pytest.mark.parametrize("back", [1, 0], ids=["a version", "the deployed code"])
def test_after_a_rollback_of_my_own_the_next_save_is_pushed(watching: Watching, back: int) -> None:
    """Whoever rolls back and then edits knows what they edit."""
    for rate in (2, 3):
        watching.edit(f"RATE = {rate - 1}", f"RATE = {rate}")
        watching.until(Pushed)
    watching.colleague("me").release({"score": back})
    watching.edit("RATE = 3", "RATE = 4")
    assert watching.pushed() == (4, ["pricing:score"])


def test_a_rollback_to_the_deployed_code_is_not_overrun_either(watching: Watching) -> None:
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Pushed)
    watching.colleague("ops").release({"score": 0})
    watching.edit("RATE = 2", "RATE = 3")
    conflict = watching.until(Conflicted)
    assert (conflict.seen, conflict.live, conflict.author) == (1, 0, "ops")


def test_a_file_that_becomes_what_is_live_needs_no_push(
    watching: Watching, tmp_path_factory: pytest.TempPathFactory
) -> None:
    theirs = PRICING.replace("x *", "x -")
    push(watching.colleague("ann"), tmp_path_factory.mktemp("ann"), theirs, "pricing:score")
    watching.save(theirs)
    assert watching.until(AlreadyLive).functions == (("pricing:score", 1),)
    watching.edit("x -", "x +")
    assert watching.pushed() == (2, ["pricing:score"])


def test_functions_kept_back_by_a_conflict_go_out_with_the_next_edit_of_one_of_them(
    watching: Watching, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ann = watching.colleague("ann")
    push(ann, tmp_path_factory.mktemp("ann"), PRICING.replace("x *", "x -"), "pricing:score")
    watching.save(PRICING.replace("x *", "x +").replace("sorted(xs", "sorted(xs[1:]"))
    assert watching.until(Conflicted).kept_back == ("pricing:rank", "pricing:score")
    ann.delete("score")
    watching.edit("xs[1:]", "xs[2:]")
    assert watching.pushed() == (3, ["pricing:rank", "pricing:score"])


# when the store is away ------------------------------------------------------------------


def test_edits_while_the_store_is_away_land_when_it_is_back(
    watching: Watching, store: FlakyStore
) -> None:
    store.away = True
    watching.edit("RATE = 1", "RATE = 2")
    assert watching.until(Reconnecting).waiting == ("pricing:score",)
    watching.edit("sorted(xs", "sorted(xs[1:]")
    watching.edit("RATE = 2", "RATE = 3")
    store.away = False
    watching.until(Reconnected)
    while watching.constant("score", "RATE") != "RATE = 3":
        watching.until(Pushed)
    assert watching.live("rank").endswith("sorted(xs[1:], key=score)")
    assert [type(e) for e in watching.events].count(Reconnecting) == 1


def test_many_functions_edited_while_the_store_is_away_are_one_release(
    watching: Watching, store: FlakyStore
) -> None:
    store.away = True
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Reconnecting)
    watching.edit("sorted(xs", "sorted(xs[1:]")
    (watching.folder / "other.py").write_text("import scatter\ndef f(:\n")
    watching.until(Problem)  # so the edits before it were seen
    store.away = False
    assert watching.pushed() == (1, ["pricing:rank", "pricing:score"])


def test_a_push_whose_answer_was_lost_is_told_as_done_once(
    watching: Watching, store: FlakyStore
) -> None:
    store.lose_answer = True
    watching.edit("RATE = 1", "RATE = 2")
    watching.until(Reconnecting)
    store.away = False
    assert watching.pushed() == (1, ["pricing:score"])
    assert len(watching.log()) == 1


def test_a_watcher_starts_without_the_store_and_tells_drift_later(
    start: Callable[..., Watching], store: FlakyStore
) -> None:
    store.away = True
    watching = start()
    assert watching.started.survey is None
    store.away = False
    assert watching.until(Reconnected).survey.unpushed == ("pricing:rank", "pricing:score")
    watching.edit("RATE = 1", "RATE = 2")
    assert watching.pushed() == (1, ["pricing:score"])


def test_a_store_that_denies_writing_is_told_and_the_edit_goes_out_with_the_next(
    watching: Watching, store: FlakyStore
) -> None:
    store.deny = True
    watching.edit("RATE = 1", "RATE = 2")
    failed = watching.until(Failed)
    assert failed.message == "The store denies writing. Ask for the right to push."
    store.deny = False
    watching.edit("RATE = 2", "RATE = 3")
    assert watching.pushed() == (1, ["pricing:score"])


# acknowledgements ------------------------------------------------------------------------


def process(pid: int) -> ProcessReport:
    return ProcessReport(
        id=f"p{pid}", host="web", pid=pid, application="shop", python="cpython-311",
        state="ready", sequence=1,
    )  # fmt: skip


def test_processes_that_lag_or_refuse_are_named(start: Callable[..., Watching]) -> None:
    def ask(pushed: Pushed, patience_s: float) -> Acks:
        assert (pushed.sequence, patience_s) == (1, 2.0)
        refusal = Refusal(
            function="pricing:score", version=1, reason="missing-name", message="no `tax` here"
        )
        return Acks(
            applied=(process(1), process(2)),
            behind=(process(3),),
            refused=((process(4), (refusal,)),),
        )

    watching = start(ask=ask)
    watching.edit("RATE = 1", "RATE = 2")
    done = watching.until(Acknowledged)
    assert (done.applied, done.total) == (2, 4)
    assert done.elapsed_s >= done.pushed.logged_s
    assert list(Text().lines(done))[1:] == [
        "  refused by shop web:4: no `tax` here",
        "  no answer yet from shop web:3",
    ]


def test_the_next_save_does_not_wait_for_stragglers(start: Callable[..., Watching]) -> None:
    answer = threading.Event()

    def ask(pushed: Pushed, patience_s: float) -> Acks:
        answer.wait(10)
        return Acks(applied=(process(1),))

    watching = start(ask=ask)
    for rate in (2, 3):
        watching.edit(f"RATE = {rate - 1}", f"RATE = {rate}")
        watching.until(Pushed)
    answer.set()
    assert [watching.until(Acknowledged).pushed.sequence for _ in range(2)] == [1, 2]


def test_that_nobody_can_be_asked_is_told(start: Callable[..., Watching]) -> None:
    def ask(pushed: Pushed, patience_s: float) -> Acks:
        raise StoreUnavailable("redis://here does not answer.")

    watching = start(ask=ask)
    watching.edit("RATE = 1", "RATE = 2")
    assert watching.until(Acknowledged).error == "redis://here does not answer."


# on a real server ------------------------------------------------------------------------


def test_on_redis_each_save_is_a_release(
    redis_url: str, namespace: str, start: Callable[..., Watching]
) -> None:
    watching = start(store=open_store(redis_url, namespace))
    for number in range(2, 6):
        watching.edit(f"RATE = {number - 1}", f"RATE = {number}")
        assert watching.pushed() == (number - 1, ["pricing:score"])
    assert watching.constant("score", "RATE") == "RATE = 5"


def test_edits_outlive_a_server_that_is_restarted(start: Callable[..., Watching]) -> None:
    with tempfile.TemporaryDirectory(prefix="scatter-") as name:
        folder = Path(name)
        with EmbeddedServer.start(folder / "data", socket=folder / "s") as server:
            watching = start(store=open_store(server.url, "shop"))
            watching.edit("RATE = 1", "RATE = 2")
            assert watching.pushed() == (1, ["pricing:score"])
        watching.edit("RATE = 2", "RATE = 3")
        watching.until(Reconnecting)
        watching.edit("RATE = 3", "RATE = 4")
        with EmbeddedServer.start(folder / "data", socket=folder / "s"):
            while watching.constant("score", "RATE") != "RATE = 4":
                watching.until(Pushed)
            watching.stop()
    assert [type(e) for e in watching.events].count(Reconnecting) == 1


# words -----------------------------------------------------------------------------------


def test_a_push_is_one_line(watching: Watching) -> None:
    text = Text()
    list(text.lines(watching.started))
    watching.edit("return cache[x]", "return cache[x] + 1")
    event = watching.until(Pushed)
    assert list(text.lines(event)) == []  # the acknowledgement stands for both
    done = Acknowledged(pushed=event, applied=2, total=2, elapsed_s=0.0312)
    size = event.functions[0].size_bytes
    assert list(text.lines(done)) == [f"score v1 (+1 −1, {size} B) → 2/2 processes in 31 ms"]
    nobody = Acknowledged(pushed=event, applied=0, total=0, elapsed_s=2.0)
    assert next(text.lines(nobody)).endswith("ms; no process under an agent has it")


def test_a_diff_is_shown_on_request_and_in_colour_where_wanted(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.edit("return cache[x]", "return cache[x] + 1")
    event = watching.until(Pushed)
    lines = list(Text(show_diff=True).lines(event))
    assert lines[0] == "pricing:score v1"
    assert "-    return cache[x]" in lines
    assert "+    return cache[x] + 1" in lines
    assert "\x1b[32m+    return cache[x] + 1\x1b[0m" in Text(show_diff=True, colour=True).lines(
        event
    )

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" in "".join(Text.on(Terminal(), show_diff=True).lines(event))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "".join(Text.on(Terminal(), show_diff=True).lines(event))


def test_every_event_has_its_words(watching: Watching) -> None:
    text = Text()
    first = list(text.lines(watching.started))
    assert first[0].endswith("2 tracked functions → shop on memory://")
    assert first[1] == "never pushed: rank, score"
    time_ = "2026-11-23T08:31:00.000Z"
    words: dict[Event, list[str]] = {
        Conflicted(
            function="pricing:score", seen=7, live=8, author="ann", time=time_,
            kept_back=("pricing:rank", "pricing:score"),
        ): [
            "score not pushed: ann released v8 at 2026-11-23 08:31, your code is from v7",
            "  rank was saved with it, and waits too",
            "  see `scatter diff score`; go over it with `scatter push --force -f score`",
        ],
        Vanished(name="pricing:rank", file="pricing.py"): [
            "rank is gone from pricing.py and stays live; `scatter delete rank` removes it"
        ],
        Note(kind="state", name="cache", file="pricing.py", line=4, functions=("pricing:score",)): [
            "cache (pricing.py:4) changed, but it is state:",
            "  it stays as it is in running processes",
        ],
        Problem(
            kind="syntax", file="pricing.py", line=3, column=7, text="  def f(:", message="bad"
        ): ["pricing.py:3:7: bad, nothing pushed", "    def f(:", "        ^"],
        Reconnecting(message="redis://here does not answer.", waiting=("pricing:score",)): [
            "redis://here does not answer. score will be pushed when it is back."
        ],
        AlreadyLive(functions=(("pricing:score", 3),)): [
            "score is live as v3 already, nothing to push"
        ],
    }  # fmt: skip
    for event, lines in words.items():
        assert list(text.lines(event)) == lines
        assert all(len(line) <= 80 for line in lines)
