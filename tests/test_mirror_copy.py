"""A mirror's copy: whenever its writer is killed it is whole; and what others leave in it."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scatter_agent.mirror import relay
from scatter_agent.mirror.chain import Known, copy_log
from scatter_agent.mirror.copy import Copy
from scatter_agent.mirror.relay import Relay

from scatter import files
from scatter.errors import StoreRefused, StoreUnavailable
from scatter.log import Journal, journal
from scatter.model import ProcessReport
from scatter.reports import read_reports, write_report
from scatter.store import inbox, open_store, writer
from scatter.store.directory import DirectoryStore
from scatter.store.memory import MemoryStore
from scatter.store.port import Tail
from scatter.store.writer import Writer

from test_log import push  # isort: skip


def copied(store: MemoryStore, folder: Path) -> Copy:
    """Keep a store's log as a mirror does, once."""
    copy = Copy(folder, store.namespace, lambda: None)
    log = Journal(store)
    log.catch_up()
    copy.keep(log, frozenset(), {})
    return copy


def read(folder: Path) -> Journal:
    """Return what a process reads of a directory that it follows."""
    found = Journal(open_store(f"dir:{folder}", "app"))
    found.catch_up()
    return found


# kills -----------------------------------------------------------------------------------


class Growing(MemoryStore):
    """A log of which more and more is shown."""

    def __init__(self) -> None:
        super().__init__("app")
        self.shown = 0
        self.snapshots = [0]

    def read(self, after: int, limit: int = 64, **options: bool) -> Tail:
        whole = super().read(after, max(0, min(limit, self.shown - after)), **options)
        snapshot = max(n for n in self.snapshots if n <= self.shown)
        return Tail(entries=whole.entries, tip=self.shown, snapshot=0 if after else snapshot)


class Killed:
    """A writer in processes that are killed, one after the other, and a log that goes on."""

    AHEAD = 30

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.store = folder, Growing()
        self.synced = folder.parent / f"{folder.name}.synced"
        self.log = Journal(self.store)

    def push(self, last: int) -> None:
        """Have releases up to one."""
        self.store.shown = len(self.store._entries)
        while self.log.ledger.sequence < last:
            push(self.log, random.choice("fghijk"))
            self.store.shown += 1
            self.store.snapshots.append(self.log.ledger.snapshot_sequence)

    def kill(self, newest: int, after_s: float) -> None:
        """Have a new process write, and kill it after a moment; what was not synced is cut."""
        self.push(newest + self.AHEAD)
        child = os.fork()
        if not child:
            try:
                self._write(newest)
            finally:
                os._exit(0)
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self._lose_what_was_not_synced()

    def _write(self, newest: int) -> None:
        """Mirror the log as it was, and then release after release."""
        real = os.fsync
        with self.synced.open("a") as synced:

            def fsync(handle: int) -> None:
                real(handle)
                found = os.fstat(handle)
                synced.write(f"{found.st_ino} {found.st_size}\n")
                synced.flush()

            files.os.fsync = fsync  # type: ignore[attr-defined]
            copy = Copy(self.folder, "app", lambda: None)
            log = Journal(self.store)
            for shown in range(max(newest, 1), newest + self.AHEAD):
                self.store.shown = shown
                log.catch_up()
                copy.keep(log, frozenset(), {})

    def _lose_what_was_not_synced(self) -> None:
        """Cut every file of which the disk was not told: what is left after a loss of power."""
        text = self.synced.read_text() if self.synced.exists() else ""
        lines = (line.split() for line in text.splitlines(keepends=True) if line.endswith("\n"))
        synced = {(int(inode), int(size)) for inode, size in lines}
        for file in self.folder.rglob("*"):
            found = file.lstat()
            if file.is_file() and found.st_size and (found.st_ino, found.st_size) not in synced:
                os.truncate(file, random.randrange(found.st_size))


def judge(folder: Path) -> int:
    """Read what is there as a process does: it must be whole; return the newest release."""
    try:
        found = read(folder)
    except StoreUnavailable:
        return 0  # nothing was made yet
    live = [state.live for state in found.ledger.functions.values()]
    assert set(found.bundles(live)) == {change.bundle for change in live}
    return found.ledger.sequence


def kill_often(folder: Path, kills: int) -> tuple[int, int]:
    """Kill so many writers; return how many releases were written, by how many of them."""
    killed, last, useful = Killed(folder), 0, 0
    for _ in range(kills):
        killed.kill(last, random.uniform(0.0, 0.06))
        newest = judge(folder)
        assert newest >= last, "the last good state stays"
        last, useful = newest, useful + (newest > last)
    killed.push(0)
    copied(killed.store, folder).close()
    found = read(folder)
    assert found.ledger.head == killed.log.ledger.head, "the next one mends all"
    assert dict(found.ledger.functions) == dict(killed.log.ledger.functions)
    numbers = sorted(int(f.name) for f in (folder / "app" / "log").iterdir())
    assert numbers == [*range(1, found.ledger.sequence + 1)]
    assert not [f for f in (folder / "app").iterdir() if f.name.startswith(".")]
    return last, useful


@pytest.mark.parametrize(
    "rounds", [10, pytest.param(50, marks=pytest.mark.slow)], ids=["200 kills", "1000 kills"]
)
def test_whenever_it_is_killed_a_whole_state_is_read_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 7)
    found = [kill_often(tmp_path / f"mirror{number}", 20) for number in range(rounds)]
    assert sum(useful for _, useful in found) > rounds, "most had the time to write something"


# where it writes -------------------------------------------------------------------------


ME = os.geteuid()
as_root = pytest.mark.skipif(ME != 0, reason="only root can give files away")


def files_of_another(folder: Path) -> dict[str, str]:
    """Make a directory with what a writer would find needless, were it its own."""
    for name in ("log", "log-2", "bundles"):
        (folder / name).mkdir(parents=True)
        (folder / name / "notes").write_text("of another")
    (folder / ".profile").write_text("of another")
    return {str(file): file.read_text() for file in folder.rglob("*") if file.is_file()}


@as_root
@pytest.mark.parametrize("harm", ["foreign", "writable", "sticky"])
def test_who_can_write_on_the_way_has_a_mirror_write_nowhere_else(
    tmp_path: Path, harm: str
) -> None:
    store, eve = MemoryStore("app"), tmp_path / "eve"
    push(Journal(store), "f")
    before = files_of_another(tmp_path / "victim")
    eve.mkdir()
    (eve / "app").symlink_to(tmp_path / "victim")
    (eve / "link").symlink_to(tmp_path / "later")
    if harm == "foreign":
        os.chown(eve, 4321, 4321)
    else:
        eve.chmod(0o777 if harm == "writable" else 0o1777)
        os.lchown(eve / "app", 4321, 4321)
        os.lchown(eve / "link", 4321, 4321)
    for folder in [eve, eve / "link"] + [eve / "new"] * (harm != "sticky"):
        copy = copied(store, folder)
        assert "nobody else can write to" in copy.trouble
        copy.close()
    found = {str(f): f.read_text() for f in (tmp_path / "victim").rglob("*") if f.is_file()}
    assert found == before
    assert not (tmp_path / "later").exists()
    assert not (eve / "new").exists()


def test_what_a_mirror_did_not_write_it_does_not_remove(tmp_path: Path) -> None:
    store = MemoryStore("app")
    push(Journal(store), "f")
    before = files_of_another(tmp_path / "app")
    (tmp_path / "app" / "logs").mkdir()
    (tmp_path / "app" / "log" / "sub").mkdir()
    (tmp_path / "app" / ".git").mkdir()
    copied(store, tmp_path).close()
    push(Journal(store), "f")
    copy = copied(store, tmp_path)
    assert (copy.trouble, read(tmp_path).ledger.sequence) == ("", 2)
    left = {name for name in before if Path(name).exists()}
    assert before.keys() - left == {str(tmp_path / "app" / "log-2" / "notes")}, "a log of its own"
    assert (tmp_path / "app" / "logs").is_dir()
    assert (tmp_path / "app" / ".git").is_dir()
    copy.close()


def test_what_an_older_tip_needs_is_removed_once_the_newer_one_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, remove, put = writer.sync_folder, writer._remove, writer.write_whole
    monkeypatch.setattr(writer, "sync_folder", lambda f: (done.append(f"sync {f.name}"), sync(f)))
    monkeypatch.setattr(writer, "_remove", lambda f: (done.append(f"remove {f.name}"), remove(f)))
    monkeypatch.setattr(
        writer, "write_whole", lambda f, *a, **o: (done.append(f"write {f.name}"), put(f, *a, **o))
    )
    mine = Writer(tmp_path / "mirror", "app", shared=True)
    with mine.writing():
        mine.keep({1: b"1"}, {"ab" * 32: b"old"}, tip=1, snapshot=0)
        assert done[:3] == ["sync " + tmp_path.name, "sync mirror", "sync app"], "what was made"
        done.clear()
        mine.begin_anew()
        mine.keep({1: b"one"}, {}, tip=1, snapshot=0)
        mine.drop([], below=0)
    expected = ["sync app", "write 1", "sync log-2", "sync bundles", "sync app", "write tip"]
    assert done[:7] == [*expected, "sync app"]
    assert sorted(done[7:]) == [f"remove {'ab' * 32}", "remove log"]


# the log ---------------------------------------------------------------------------------


@pytest.fixture
def short_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 4)


def test_the_log_is_copied_whole_and_read_from_the_newest_snapshot(
    tmp_path: Path, short_snapshots: None
) -> None:
    store = MemoryStore("app")
    log = Journal(store)
    for number in range(11):
        push(log, f"f{number % 3}")
    copied(store, tmp_path).close()
    numbers = sorted(int(f.name) for f in (tmp_path / "app" / "log").iterdir())
    assert numbers == [*range(1, 12)]
    found = read(tmp_path)
    assert found.ledger.snapshot_sequence == log.ledger.snapshot_sequence > 0
    assert dict(found.ledger.functions) == dict(log.ledger.functions)


def test_a_process_that_was_stopped_for_long_finds_its_way(
    tmp_path: Path, short_snapshots: None
) -> None:
    store = MemoryStore("app")
    log = Journal(store)
    push(log, "f")
    copied(store, tmp_path).close()
    late = read(tmp_path)
    for _ in range(20):
        push(log, "f")
    copied(store, tmp_path).close()
    assert [release.sequence for release in late.catch_up()] == [*range(2, 22)]


@pytest.mark.parametrize("harm", ["cut", "empty", "gone", "other"])
@pytest.mark.parametrize("sequence", [2, 9, 11])
def test_entries_that_are_wrong_are_fetched_again(
    tmp_path: Path, short_snapshots: None, harm: str, sequence: int
) -> None:
    store = MemoryStore("app")
    log = Journal(store)
    for _ in range(11):
        push(log, "f")
    copied(store, tmp_path).close()
    file = tmp_path / "app" / "log" / str(sequence)
    good = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        other = (tmp_path / "app" / "log" / str(sequence - 1)).read_bytes()
        file.write_bytes({"cut": good[:-3], "empty": b"", "other": other}[harm])
    copied(store, tmp_path).close()
    (kept,) = [*(tmp_path / "app").glob(f"log*/{sequence}")]
    assert kept.read_bytes() == good
    assert read(tmp_path).ledger.head == log.ledger.head


def test_a_log_that_changes_while_it_is_copied_is_not_copied(tmp_path: Path) -> None:
    store, other = MemoryStore("app"), MemoryStore("app")
    push(Journal(store), "f")
    push(Journal(other), "g", author="somebody else")
    log = Journal(store)
    log.catch_up()
    store._entries[:] = other._entries
    mine = Writer(tmp_path, "app", shared=True)
    with mine.writing(), pytest.raises(StoreUnavailable, match="changed while it was copied"):
        copy_log(log, mine, Known())
    assert DirectoryStore(tmp_path, "app").read(0).tip == 0


@pytest.mark.parametrize("junk", [b"junk", b"", b"x" * (2 << 20)])
def test_what_a_server_has_in_the_place_of_old_entries_is_not_kept(
    tmp_path: Path, short_snapshots: None, junk: bytes
) -> None:
    store = MemoryStore("app")
    log = Journal(store)
    for _ in range(11):
        push(log, "f")
    assert log.ledger.snapshot_sequence > 3
    store._entries[2] = junk
    copy = copied(store, tmp_path)
    kept = {int(file.name) for file in (tmp_path / "app" / "log").iterdir()}
    assert kept == {*range(4, 12)}, "nobody can tell what came before what is wrong"
    push(log, "f")
    copy.keep(log, frozenset(), {})
    assert read(tmp_path).ledger.head == log.ledger.head
    assert {int(f.name) for f in (tmp_path / "app" / "log").iterdir()} == {*kept, 12}
    copy.close()


# what processes leave --------------------------------------------------------------------


class Box:
    """A mirror's `reports`, a relay, and the store that it relays to."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore("app")
        push(Journal(self.store), "f")
        self.copy = copied(self.store, folder)
        self.folder = self.copy.reports
        self.relay: Relay = self.copy._relay
        self.process = DirectoryStore(folder, "app", is_mirror=True)

    def turn(self) -> list[str]:
        """Have what is there relayed; return the ids of the processes that the store knows."""
        self.relay._sweep_at = self.relay._rest_until = 0.0
        self.relay.turn(self.store, 1)
        return [report.id for report in read_reports(self.store)]

    def leave(self, process: str, **fields: object) -> Path:
        self.process.write_report(process, report(process, **fields), 15)
        return self.folder / f"{process}.report"


def report(process: str, **fields: object) -> bytes:
    default = {"host": "h", "pid": 1, "application": "a", "python": "3", "state": "ready"}
    values = default | {"reason": "", "sequence": 1, "functions": {}, "held": (), "refused": ()}
    return write_report(ProcessReport(id=process, switched_at=0.0, **(values | fields)))  # type: ignore[arg-type]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr(relay, "KEEP_EVERY_S", 0.0)
    made = Box(tmp_path)
    yield made
    made.copy.close()


def test_anybody_may_write_where_nobody_can_touch_what_is_anothers(box: Box) -> None:
    assert box.folder.stat().st_mode & 0o7777 == 0o1777


def test_a_process_is_known_by_its_id_and_by_whose_file_it_is(box: Box) -> None:
    box.leave("web-1")
    assert box.turn() == [f"web-1@{ME}"]


@as_root
def test_no_user_speaks_for_a_process_of_another(box: Box) -> None:
    box.leave("web-1", sequence=7)
    box.turn()
    os.rename(box.folder / "web-1.report", box.folder / "x")
    os.unlink(box.folder / "x")
    os.chown(box.leave("web-1", sequence=9), 4321, -1)
    assert box.turn() == ["web-1@4321"], "it is another process now"


def test_who_gives_another_name_than_its_own_is_not_heard(box: Box) -> None:
    (box.folder / "web-1.report").write_bytes(report("web-2"))
    assert box.turn() == []


def test_a_report_lives_as_long_as_its_file_is_touched(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = box.leave("web-1")
    box.turn()
    kept: list[str] = []
    real = box.store.keep_report
    monkeypatch.setattr(
        box.store, "keep_report", lambda name, ttl_s: (kept.append(name), real(name, ttl_s))[1]
    )
    box.turn()
    assert kept == []
    os.utime(file, (time.time() - 1, time.time() - 1))
    assert box.turn() == [f"web-1@{ME}"]
    assert kept == [f"web-1@{ME}"]
    os.utime(file, (0, 0))
    assert box.turn() == []
    assert not file.exists()


def test_a_report_that_the_store_lost_is_written_again(box: Box) -> None:
    file = box.leave("web-1")
    box.turn()
    box.store.remove_report(f"web-1@{ME}")
    os.utime(file, (time.time() - 1, time.time() - 1))
    assert box.turn() == [f"web-1@{ME}"]


def _link(box: Box, file: Path) -> None:
    box.leave("victim")
    file.symlink_to(box.folder / "victim.report")


def _second_name(box: Box, file: Path) -> None:
    os.link(box.leave("junk"), box.folder / "second")


JUNK: dict[str, Callable[[Box, Path], object]] = {
    "text": lambda _, file: file.write_text("junk"),
    "nothing": lambda _, file: file.touch(),
    "fifo": lambda _, file: os.mkfifo(file),
    "directory": lambda _, file: file.mkdir(),
    "link": _link,
    "link to nowhere": lambda _, file: file.symlink_to("/nowhere"),
    "link to a device": lambda _, file: file.symlink_to("/dev/zero"),
    "second name": _second_name,
    "huge": lambda _, file: os.truncate(file.touch() or file, 1 << 40),
    "deep": lambda _, file: file.write_text("[" * 100_000),
    "from the future": lambda box, file: os.utime(box.leave("junk"), (1e10, 1e10)),
}


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize("suffix", [".report", ".seen"])
def test_junk_is_passed_over_and_goes_when_it_is_old(box: Box, kind: str, suffix: str) -> None:
    box.leave("good")
    file = box.folder / f"junk{suffix}"
    JUNK[kind](box, file)
    assert f"good@{ME}" in box.turn()
    assert f"junk@{ME}" not in box.turn()
    if kind != "directory" and file.is_symlink() | file.exists():
        os.utime(file, (0, 0), follow_symlinks=False)
        box.turn()
        assert not file.is_symlink()
        assert not file.exists()


def test_a_file_that_was_put_in_the_place_of_another_is_not_taken_for_it(box: Box) -> None:
    file = box.leave("web-1")
    (letter,) = inbox.letters(box.folder, ".report")
    assert inbox.read(box.folder, letter) == file.read_bytes()
    assert inbox.read(box.folder, letter._replace(owner=letter.owner + 1)) is None
    other = box.folder / "other"
    other.write_bytes(file.read_bytes())
    other.replace(file)
    assert inbox.read(box.folder, letter) is None
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert inbox.read(box.folder, letter) is None


def test_what_is_no_text_harms_nobody(box: Box) -> None:
    """JSON, and names of files, can have halves of characters, which no server can be told."""
    box.leave("good")
    name = os.fsdecode(b"\xff")
    (box.folder / f"{name}.report").write_bytes(json.dumps(_fields(name)).encode())
    (box.folder / "half.report").write_bytes(
        json.dumps(_fields("half") | {"application": "\ud800"}).encode()
    )
    (box.folder / "half.seen").write_text(json.dumps({"app:\ud800 ab": None, "app:f ab": None}))
    assert box.turn() == [f"good@{ME}"]
    assert box.store.first_seen(["app:\ud800 ab", "app:f ab"]) == {}


def _fields(name: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(report("x"))
    return fields | {"id": name}


@as_root
@pytest.mark.parametrize("suffix", [".report", ".seen", ".x", ""])
def test_one_user_crowds_nobody_out_and_fills_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(inbox, "MOST_OF_ONE", 3)
    for number in range(60):
        file = box.folder / f"junk{number}{suffix}"
        (file.mkdir, file.touch, lambda file=file: file.symlink_to("/nowhere"))[number % 3]()
        os.lchown(file, 4321, -1)
    box.leave("web-1")
    assert f"web-1@{ME}" in box.turn()
    assert len([*box.folder.iterdir()]) <= 3 + 1


def test_reports_of_one_user_do_not_fill_the_server(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(report("web-0"))
    monkeypatch.setattr(inbox, "MOST_BYTES_OF_ONE", 3 * size)
    for number in range(9):
        box.leave(f"web-{number}")
    assert len(box.turn()) == 3
    monkeypatch.setattr(inbox, "MOST_BYTES", size - 1)
    assert box.turn() == []


def test_who_leaves_much_at_once_waits_and_loses_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MOST_BYTES", 3 * 5000)
    monkeypatch.setattr(relay, "SWEEP_S", 0.0)
    for number in range(4):
        box.leave(f"web-{number}")
        (box.folder / f"{number}.seen").write_text(json.dumps({f"app:f {number}": None}))
    found = [len(box.turn()) for _ in range(4)]
    assert found == sorted(found)
    assert found[0] < 4 == found[-1]
    assert len(box.store.first_seen([f"app:f {number}" for number in range(4)])) == 4


def test_a_report_that_is_touched_all_the_time_is_kept_alive_now_and_then(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "KEEP_EVERY_S", 60.0)
    file = box.leave("web-1")
    box.turn()
    monkeypatch.setattr(box.store, "keep_report", lambda *_: pytest.fail("too often"))
    os.utime(file, (time.time() - 1, time.time() - 1))
    assert box.turn() == [f"web-1@{ME}"]


def test_a_file_that_grows_after_it_was_found_is_not_read(box: Box) -> None:
    file = box.leave("web-1")
    (letter,) = inbox.letters(box.folder, ".report")
    with file.open("ab") as stream:
        stream.write(b" ")
    assert inbox.read(box.folder, letter) is None


def test_a_directory_in_the_place_of_a_question_is_no_trouble(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = box.folder / "x.seen"
    file.write_text(json.dumps({"app:f ab": None}))
    real = box.store.first_seen

    def swap(codes: Any) -> dict[str, int]:
        if file.is_file():
            file.unlink()
            file.mkdir()
        return real(codes)

    monkeypatch.setattr(box.store, "first_seen", swap)
    assert box.turn() == []
    assert box.process.first_seen(["app:f ab"]) == {"app:f ab": 0}
    box.turn()
    assert not file.exists()


def test_after_a_turn_that_took_long_the_log_has_the_thread_for_itself(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("scatter_agent.mirror.relay.time.thread_time", lambda: next(clock))
    box.turn()
    assert box.relay._rest_until > time.monotonic() + 1
    box.leave("web-1")
    box.relay.turn(box.store, 1)
    assert read_reports(box.store) == []
    monkeypatch.setattr("scatter_agent.mirror.relay.time.thread_time", lambda: 0.0)
    assert box.turn() == [f"web-1@{ME}"]


def test_where_anybody_could_touch_what_is_anothers_nobody_can_any_more(box: Box) -> None:
    for mode, expected in ((0o777, 0o1777), (0o770, 0o1770), (0o755, 0o755)):
        box.folder.chmod(mode)
        box.relay.begin()
        assert box.folder.stat().st_mode & 0o7777 == expected


def test_nobody_makes_a_deploy_older_than_it_is(box: Box) -> None:
    """A question can be read by all, and answered by who would have old pushes go over it."""
    log = Journal(box.store)
    box.store.note_seen({"app:f": 0, "app:f ab": 0})
    for _ in range(3):
        push(log, "f")
    box.copy.keep(log, frozenset(), {})
    for first, second in (("1", "2"), ("2", "1")):
        (box.folder / f"{first}.seen").write_text(json.dumps({f"app:f c{first}": None}))
        (box.folder / f"{second}.seen").write_text(json.dumps({f"app:f c{first}": 0}))
        box.relay.turn(box.store, 4)
    (box.folder / "3.seen").write_text(json.dumps({"app:f c3": 0}))
    box.relay.turn(box.store, 4)
    (box.folder / "4.seen").write_text(json.dumps({"app:f c4": 3}))
    (box.folder / "5.seen").write_text(json.dumps({"app:f c4": 0}))
    push(log, "f")
    box.relay.turn(box.store, 5)
    found = box.store.first_seen([f"app:f c{number}" for number in range(1, 5)])
    assert found == {f"app:f c{number}": 4 for number in range(1, 5)}


def test_what_was_left_while_the_mirror_was_away_is_as_old_as_the_directory(
    box: Box, tmp_path: Path
) -> None:
    box.store.note_seen({"app:f": 0, "app:f ab": 0})
    box.copy.close()
    log = Journal(box.store)
    for _ in range(3):
        push(log, "f")
    (box.folder / "1.seen").write_text(json.dumps({"app:f cd": 1}))
    (box.folder / "2.seen").write_text(json.dumps({"app:f ef": 0}))
    copied(box.store, tmp_path).close()
    assert box.store.first_seen(["app:f cd", "app:f ef"]) == {"app:f cd": 1, "app:f ef": 1}


def test_the_server_keeps_only_so_much_new_code_of_one_user(
    box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay, "MOST_NEW", 5)
    codes = [f"app:f {number:x}" for number in range(16)]
    box.store.note_seen({"app:f": 0, codes[0]: 0})
    for code in codes:
        (box.folder / f"{secrets.token_hex(4)}.seen").write_text(json.dumps({code: None}))
        box.turn()
    assert len(box.store.first_seen(codes)) == 1 + 5, "what it has already does not count"
    assert f"user {ME} has asked about more than 5 pieces of new code" in caplog.text
    box.relay._new_until = 0.0
    (box.folder / "x.seen").write_text(json.dumps({codes[-1]: None}))
    box.turn()
    assert box.process.first_seen([codes[-1]]) == {codes[-1]: 1}


def test_a_question_is_answered_by_what_the_store_knows(box: Box) -> None:
    box.store.note_seen({"app:f": 0, "app:f ab": 1})
    (box.folder / "x.seen").write_text(json.dumps({"app:f ab": None, "app:f cd": None}))
    (box.folder / "y.seen").write_text(json.dumps({"app:g ab": None, "app:f ef": 9}))
    box.turn()
    assert box.process.first_seen(["app:f", "app:f ab", "app:f cd", "app:g ab", "app:f ef"]) == {
        "app:f": 0,
        "app:f ab": 1,
        "app:f cd": 1,
        "app:g ab": 0,
        "app:f ef": 1,
    }
    assert box.store.first_seen(["app:f cd", "app:g", "app:g ab"]) == {
        "app:f cd": 1,
        "app:g": 0,
        "app:g ab": 0,
    }
    assert list(box.folder.iterdir()) == []


def test_where_the_store_takes_no_notes_the_directory_keeps_its_own(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise StoreRefused("no")

    monkeypatch.setattr(box.store, "note_seen", refuse)
    (box.folder / "x.seen").write_text(json.dumps({"app:f ab": None}))
    box.turn()
    (box.folder / "x.seen").write_text(json.dumps({"app:f cd": None}))
    box.turn()
    assert box.process.first_seen(["app:f ab", "app:f cd"]) == {"app:f ab": 0, "app:f cd": 1}


def test_trouble_with_reports_is_told_and_the_log_is_copied_all_the_same(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    box.folder.rmdir()
    log = Journal(box.store)
    push(log, "f")
    box.copy.keep(log, frozenset(), {})
    assert box.copy.sequence == 2
    assert "scatter.not_mirrored" in caplog.text
    box.copy.keep(log, frozenset(), {})
    assert box.copy.trouble == ""
    assert box.folder.is_dir()
