"""A directory that is followed: whose it may be, what wakes who follows it, what is left in it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support import wait_until

from scatter.errors import StoreRefused, StoreUnavailable, UsageError
from scatter.log import Journal
from scatter.model import ProcessReport
from scatter.reports import read_reports, write_report
from scatter.store import inbox, open_store
from scatter.store.directory import DirectoryStore
from scatter.store.inotify import InotifyNotices
from scatter.store.layout import place_of, seen_in
from scatter.store.notices import Notices
from scatter.store.port import Ring
from scatter.store.watching import WatchfilesNotices
from scatter.store.writer import Writer

DIGEST = "ab" * 32


def write(folder: Path, tip: int, *, bundles: dict[str, bytes] | None = None) -> None:
    """Write entries that are their numbers, up to a tip."""
    writer = Writer(folder, "app", shared=True)
    with writer.writing() as mine:
        assert mine
        entries = {n: b"%d" % n for n in writer.missing(1, tip)}
        writer.keep(entries, bundles or {}, tip=tip, snapshot=0)


def followed(folder: Path) -> DirectoryStore:
    store = open_store(f"dir:{folder}", "app")
    assert isinstance(store, DirectoryStore)
    return store


# addresses -------------------------------------------------------------------------------


def test_an_address_names_a_path_and_perhaps_who_owns_it() -> None:
    assert place_of("dir:/var/lib/scatter") == (Path("/var/lib/scatter"), None)
    assert place_of("dir:/var/lib/scatter?owner=root") == (Path("/var/lib/scatter"), 0)
    assert place_of("dir:/var/lib/scatter?owner=4321") == (Path("/var/lib/scatter"), 4321)


@pytest.mark.parametrize(
    "url", ["dir:", "dir:/x?owner=", "dir:/x?user=root", "dir:/x?owner=nobo-dy"]
)
def test_an_address_that_says_something_else_is_an_error(url: str) -> None:
    with pytest.raises(UsageError, match="dir:"):
        open_store(url, "app").read(0)


# what is read ----------------------------------------------------------------------------


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, 3, bundles={DIGEST: b"code"})
    store = followed(tmp_path)
    assert store.read(1).entries == (b"2", b"3")
    assert store.read(0).tip == 3
    assert store.entries([3, 9]) == [b"3", None]
    assert store.bundles([DIGEST, "cd" * 32]) == {DIGEST: b"code"}


@pytest.mark.parametrize("limit", [0, 1, 3, 5, 6, 100])
def test_a_read_is_cut_at_its_limit_and_tells_where_the_log_ends(
    tmp_path: Path, limit: int
) -> None:
    write(tmp_path, 7)
    tail = followed(tmp_path).read(2, limit)
    assert tail.entries == tuple(b"%d" % n for n in range(3, 8))[:limit]
    assert tail.tip == 7


def test_a_reader_that_is_ahead_of_the_log_sees_that_it_went_back(tmp_path: Path) -> None:
    write(tmp_path, 2)
    tail = followed(tmp_path).read(7)
    assert (tail.entries, tail.tip) == ((), 2)


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.append(2, b"2", {}),
        lambda store: store.cut(0),
        lambda store: store.remove_bundles([DIGEST]),
    ],
)
def test_a_copy_is_not_for_writing(tmp_path: Path, use: Callable[[DirectoryStore], object]) -> None:
    write(tmp_path, 1, bundles={DIGEST: b"code"})
    store = followed(tmp_path)
    with pytest.raises(StoreRefused, match=r"is a copy and takes no .* Give the server's address"):
        use(store)
    assert (store.read(0).entries, store.bundles([DIGEST])) == ((b"1",), {DIGEST: b"code"})


def test_a_bundle_that_is_not_what_its_name_says_is_written_again(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"code").hexdigest()
    write(tmp_path, 1, bundles={digest: b"code"})
    file = tmp_path / "app" / "bundles" / digest
    assert Writer(tmp_path, "app").has(digest)
    file.write_bytes(b"co")
    writer = Writer(tmp_path, "app")
    assert not writer.has(digest)
    with writer.writing():
        writer.add({}, {digest: b"code"})
    assert writer.has(digest)
    file.unlink()
    assert not writer.has(digest)


def test_entries_behind_the_tip_are_not_there_yet(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (tmp_path / "app" / "log" / "4").write_bytes(b"4")
    assert followed(tmp_path).read(0).entries == (b"1", b"2", b"3")


def test_another_log_takes_the_place_of_the_first_in_one_step(tmp_path: Path) -> None:
    write(tmp_path, 3)
    store, writer = followed(tmp_path), Writer(tmp_path, "app", shared=True)
    with writer.writing():
        writer.begin_anew()
        writer.add({1: b"one", 2: b"two"}, {})
        assert store.read(0).entries == (b"1", b"2", b"3")
        writer.finish(tip=2, snapshot=0)
        assert store.read(0).entries == (b"one", b"two")
        writer.drop([], below=0)
    assert store.read(0).entries == (b"one", b"two")
    assert not (tmp_path / "app" / "log").exists()


def test_a_layout_of_another_version_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "app" / "FORMAT").write_text("scatter directory 9\n")
    with pytest.raises(StoreUnavailable, match="same version of scatter"):
        followed(tmp_path).read(0)


def test_a_directory_that_is_not_there_is_away(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be read: No such file"):
        followed(tmp_path).read(0)


HARM: dict[str, Callable[[Path], object]] = {
    "fifo": lambda file: os.mkfifo(file),
    "endless": lambda file: file.symlink_to("/dev/zero"),
    "link": lambda file: file.symlink_to("/etc/passwd"),
    "huge": lambda file: os.truncate(file.touch() or file, 1 << 40),
    "directory": lambda file: file.mkdir(),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["FORMAT", "tip", "log/2", f"bundles/{DIGEST}", "seen.json"])
def test_who_owns_the_directory_cannot_hold_up_or_fill_who_reads_it(
    tmp_path: Path, name: str, harm: str
) -> None:
    write(tmp_path, 3, bundles={DIGEST: b"code"})
    file = tmp_path / "app" / name
    file.unlink(missing_ok=True)
    HARM[harm](file)
    store = followed(tmp_path)
    assert store.read(1).entries == {"log/2": (), "tip": ()}.get(name, (b"2", b"3"))
    assert store.bundles([DIGEST]) == ({} if "bundles" in name else {DIGEST: b"code"})
    assert store.first_seen(["app:f ab"]) == {}


@pytest.mark.parametrize("log", ["..", ".", "", "/etc", "bundles", "log-0", "log-2/..", "log\0"])
def test_a_tip_that_names_another_folder_says_nothing(tmp_path: Path, log: str) -> None:
    write(tmp_path, 3)
    (tmp_path / "app" / "3").write_bytes(b"elsewhere")
    (tmp_path / "app" / "tip").write_text(f"3\n0\n{log}\n")
    assert followed(tmp_path).read(2).entries == ()
    assert followed(tmp_path).entries([3]) == [b"3"]


# whose it is -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
@pytest.mark.parametrize("which", ["app", "."])
def test_a_directory_that_others_can_write_to_is_refused_on_the_whole_way(
    tmp_path: Path, which: str, mode: int
) -> None:
    folder = tmp_path / "mirror"
    write(folder, 1)
    (folder / which).chmod(mode)
    store = followed(folder)
    if mode == 0o1777 and which == ".":
        assert store.read(0).tip == 1, "nobody can rename what is another's, as in /tmp"
        return
    for use in (lambda: store.read(0), lambda: store.bundles([]), store.doorbell().listen):
        with pytest.raises(StoreRefused, match="nobody else can write to") as caught:
            use()
        assert caught.value.reason == "unsafe-trust-file"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
@pytest.mark.parametrize("which", ["app", "."])
def test_a_directory_of_another_user_is_refused_unless_it_is_named(
    tmp_path: Path, which: str
) -> None:
    folder = tmp_path / "mirror"
    write(folder, 1)
    os.chown(folder / which, 4321, 4321)
    with pytest.raises(StoreRefused, match="of user 4321"):
        followed(folder).read(0)
    assert open_store(f"dir:{folder}?owner=4321", "app").read(0).tip == 1


# the doorbell ----------------------------------------------------------------------------


def test_a_new_tip_rings_and_nothing_else_does(tmp_path: Path) -> None:
    write(tmp_path, 1)
    bell = followed(tmp_path).doorbell()
    bell.listen()
    threading.Timer(0.05, write, (tmp_path, 2)).start()
    assert bell.wait(20) == Ring(log=True)
    (tmp_path / "app" / "seen.json").write_text("{}")
    assert bell.wait(0.2) == Ring()
    bell.wake()
    assert bell.wait(20) == Ring(woken=True)


def test_what_is_written_while_nobody_waits_rings_later(tmp_path: Path) -> None:
    write(tmp_path, 1)
    bell = followed(tmp_path).doorbell()
    bell.listen()
    bell.wake()
    assert bell.wait(20).woken
    write(tmp_path, 2)
    assert bell.wait(20) == Ring(log=True)
    bell.wake()
    bell.wait(20)


def test_a_directory_that_was_put_in_its_place_rings_too(tmp_path: Path) -> None:
    write(tmp_path, 1)
    bell = followed(tmp_path).doorbell()
    bell.listen()
    (tmp_path / "app").rename(tmp_path / "old")
    write(tmp_path, 1)
    bell.check()
    assert bell.wait(20) == Ring(log=True)
    threading.Timer(0.05, write, (tmp_path, 2)).start()
    assert bell.wait(20) == Ring(log=True)
    bell.wake()
    bell.wait(20)


BOTH = pytest.mark.parametrize("kind", [InotifyNotices, WatchfilesNotices])


@BOTH
def test_notices_come_and_wakes_too(tmp_path: Path, kind: type[Notices]) -> None:
    notices = kind(tmp_path)  # type: ignore[call-arg]
    notices.watch()
    assert notices.wait(0.05) == "time"
    (tmp_path / "part").touch()
    (tmp_path / "part").rename(tmp_path / "whole")
    assert notices.wait(20) == "written"
    threading.Timer(0.05, notices.wake).start()
    wait_until(lambda: notices.wait(20) == "woken", "the wake")
    notices.watch()
    (tmp_path / "whole").rename(tmp_path / "other")
    assert notices.wait(20) == "written"
    notices.close()
    notices.wake()
    assert notices.wait(20) == "woken"


@BOTH
def test_a_directory_that_is_not_there_is_trouble_until_it_is(
    tmp_path: Path, kind: type[Notices]
) -> None:
    notices = kind(tmp_path / "later")  # type: ignore[call-arg]
    notices.watch()
    assert notices.trouble
    assert notices.wait(0.01) == "time"
    (tmp_path / "later").mkdir()
    notices.watch()
    assert notices.trouble == ""
    notices.close()


@BOTH
def test_who_waits_leaves_no_thread_once_woken(tmp_path: Path, kind: type[Notices]) -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    notices = kind(tmp_path)  # type: ignore[call-arg]
    notices.watch()
    notices.wake()
    assert notices.wait(20) == "woken"
    wait_until(lambda: threads() == before, "its thread to end")


def test_a_forked_child_wakes_nobody_of_its_parent(tmp_path: Path) -> None:
    notices = InotifyNotices(tmp_path)
    notices.watch()
    child = os.fork()
    if not child:
        notices.wake()
        notices.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert notices.wait(0.05) == "time"
    (tmp_path / "part").touch()
    (tmp_path / "part").rename(tmp_path / "whole")
    assert notices.wait(20) == "written"


def test_a_directory_that_cannot_be_watched_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "no instances left")

    monkeypatch.setattr("scatter.store.inotify._begin", none_left)
    write(tmp_path, 1)
    bell = followed(tmp_path).doorbell()
    bell.listen()
    assert not bell.works
    assert "no instances left" in bell.trouble
    write(tmp_path, 2)
    assert bell.wait(0.1) == Ring(log=True)
    bell.wake()
    assert bell.wait(3600).woken


# what is left for the mirror -------------------------------------------------------------


def open_reports(folder: Path) -> Path:
    reports = folder / "app" / "reports"
    Writer(folder, "app").make_folder(reports, 0o1777)
    return reports


def test_reports_are_left_touched_and_taken_back(tmp_path: Path) -> None:
    write(tmp_path, 1)
    store = followed(tmp_path)
    with pytest.raises(StoreRefused, match="Have the mirror run"):
        store.write_report("me", b"{}", 15)
    assert not store.keep_report("me", 15)
    file = open_reports(tmp_path) / "me.report"
    store.write_report("me", b"{}", 15)
    assert file.read_bytes() == b"{}"
    os.utime(file, (0, 0))
    assert store.keep_report("me", 15)
    assert file.stat().st_mtime > 0
    store.remove_report("me")
    assert list(file.parent.iterdir()) == []


def test_a_report_goes_nowhere_else(tmp_path: Path) -> None:
    write(tmp_path, 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "me.report").write_bytes(b"another's")
    before = (elsewhere / "me.report").stat()
    (tmp_path / "app" / "reports").symlink_to(elsewhere)
    store = followed(tmp_path)
    with pytest.raises(StoreRefused, match="reports cannot be written"):
        store.write_report("me", b"{}", 15)
    assert not store.keep_report("me", 15)
    store.remove_report("me")
    (tmp_path / "app" / "reports").unlink()
    (open_reports(tmp_path) / "me.report").symlink_to(elsewhere / "me.report")
    store.keep_report("me", 15)
    assert [*elsewhere.iterdir()] == [elsewhere / "me.report"]
    assert (elsewhere / "me.report").stat() == before
    store.write_report("me", b"{}", 15)
    assert (elsewhere / "me.report").read_bytes() == b"another's"


def test_reports_of_this_host_are_read_by_whose_file_they_are(tmp_path: Path) -> None:
    write(tmp_path, 1)
    store = followed(tmp_path)
    assert store.reports() == {}, "there is no mirror's directory for them"
    folder = open_reports(tmp_path)
    store.write_report("me", b"{}", 15)
    store.write_report("old", b"{}", 15)
    os.utime(folder / "old.report", (0, 0))
    (folder / "link.report").symlink_to(folder / "me.report")
    os.mkfifo(folder / "fifo.report")
    (folder / "huge.report").write_bytes(b" " * (inbox.MOST_BYTES + 1))
    assert store.reports() == {f"me@{os.geteuid()}": b"{}"}


def test_of_one_users_reports_no_more_is_held_than_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1)
    store = followed(tmp_path)
    open_reports(tmp_path)
    for name in "abcd":
        store.write_report(name, b"12345", 15)
    monkeypatch.setattr(inbox, "MOST_BYTES_OF_ONE", 12)
    assert len(store.reports()) == 2


def test_a_report_that_gives_the_name_of_another_process_is_none(tmp_path: Path) -> None:
    write(tmp_path, 1)
    store, folder = followed(tmp_path), open_reports(tmp_path)
    report = ProcessReport(
        id="me", host="h", pid=1, application="a", python="3", state="ready", sequence=1
    )
    store.write_report("me", write_report(report), 15)
    store.write_report("you", write_report(report), 15)
    (found,) = read_reports(store)
    assert found == replace(report, id=f"me@{os.geteuid()}")
    assert (folder / "you.report").exists()


def test_it_knows_since_when_the_mirror_could_not_ask_its_server(tmp_path: Path) -> None:
    store = followed(tmp_path)
    assert store.contact() == (False, 0.0)
    write(tmp_path, 1)
    writer = Writer(tmp_path, "app", shared=True)
    writer.be_online(True)
    assert store.contact().is_online
    os.utime(store.folder / "online", (1000, 1000))
    assert store.contact() == (False, 1000.0), "it was killed"
    writer.be_online(False)
    assert not store.contact().is_online
    assert abs(store.contact().at - time.time()) < 60, "it took leave"


def test_a_question_waits_for_nobody_where_no_mirror_is_online(tmp_path: Path) -> None:
    write(tmp_path, 1)
    reports = open_reports(tmp_path)
    store = followed(tmp_path)
    assert store.first_seen(["app:f", "app:f ab"]) == {}
    assert list(reports.iterdir()) == []
    store.note_seen({"app:f ab": 1, "app:f": 1})
    (note,) = reports.iterdir()
    assert note.read_text() == '{"app:f ab": 1}'


def test_a_question_is_answered_by_what_the_mirror_writes(tmp_path: Path) -> None:
    write(tmp_path, 1)
    reports = open_reports(tmp_path)
    writer = Writer(tmp_path, "app", shared=True)
    writer.be_online(True)

    def answer() -> None:
        wait_until(lambda: list(reports.glob("*.seen")), "the question")
        writer.note_seen({"app:f": 0, "app:f ab": 7})

    thread = threading.Thread(target=answer)
    thread.start()
    assert followed(tmp_path).first_seen(["app:f", "app:f ab"]) == {"app:f": 0, "app:f ab": 7}
    thread.join()


def test_where_nothing_can_be_noted_code_that_is_not_known_is_older_than_all_pushes(
    tmp_path: Path,
) -> None:
    write(tmp_path, 1)
    with Writer(tmp_path, "app", shared=True).writing():
        Writer(tmp_path, "app", shared=True).note_seen({"app:f": 0, "app:f ab": 7})
    store = followed(tmp_path)
    assert seen_in(tmp_path / "app") == {"app:f": 0, "app:f ab": 7}
    assert store.first_seen(["app:f", "app:f cd"]) == {}
    assert store.first_seen(["app:f", "app:f ab"]) == {"app:f": 0, "app:f ab": 7}


def test_a_journal_of_it_reads_no_half_of_a_release(tmp_path: Path) -> None:
    with Writer(tmp_path, "app", shared=True).writing() as mine:
        assert mine
    assert Journal(followed(tmp_path)).catch_up() == []
