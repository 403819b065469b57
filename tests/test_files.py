"""Files that are written whole and one after the other, also while processes fork and stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import start_python, wait_until

from scatter.files import locked, write_whole

HOLD = """
import sys
from pathlib import Path
from scatter.files import locked
with locked(Path(sys.argv[1]), 5) as is_ours:
    print(is_ours, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def forked() -> Iterator[list[int]]:
    """Children, ended at the end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_threads_and_processes_wait_for_each_other(file: Path) -> None:
    with locked(file, 0) as is_ours:
        assert is_ours
        with locked(file, 0.01) as again:
            assert not again, "not even for the same thread"
        other = start_python(HOLD, str(file))
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    with locked(file, 0) as is_ours:
        assert not is_ours
    other.communicate("\n", timeout=20)
    with locked(file, 0) as is_ours:
        assert is_ours


def test_a_child_that_is_forked_meanwhile_does_not_hold_it(file: Path, forked: list[int]) -> None:
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(file, 0):
            taken.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    forked.append(pid)
    release.set()
    thread.join()
    other = start_python(HOLD, str(file))
    output, _ = other.communicate("\n", timeout=20)
    assert output == "True\n"


def test_a_forked_child_takes_what_its_parent_has_when_that_is_done(file: Path) -> None:
    read, write = os.pipe()
    with locked(file, 0):
        pid = os.fork()
        if pid == 0:
            with locked(file, 0) as early:
                os.write(write, b"1" if early else b"0")
            with locked(file, 20) as late:
                os.write(write, b"1" if late else b"0")
            os._exit(0)
        assert os.read(read, 1) == b"0"
    assert os.read(read, 1) == b"1"
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)


def test_nobody_waits_for_a_process_that_is_stopped_longer_than_told(file: Path) -> None:
    holder = start_python(HOLD, str(file))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    holder.send_signal(signal.SIGSTOP)
    with locked(file, 0.05) as is_ours:
        assert not is_ours
    holder.kill()
    holder.communicate(timeout=20)

    def is_free() -> bool:
        with locked(file, 0) as is_ours:
            return is_ours

    wait_until(is_free, "what a killed process held")


def test_a_file_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    write_whole(file, b"old")
    assert file.stat().st_mode & 0o777 == 0o600

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    write_whole(file, b"new", durably=False)
    assert file.read_bytes() == b"new"


def test_a_link_that_somebody_put_there_is_not_written_through(tmp_path: Path) -> None:
    for name in (f".file.{os.getpid()}", ".file"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write_whole(tmp_path / "file", b"text")
    assert (tmp_path / "file").read_bytes() == b"text"
    assert not (tmp_path / "file").is_symlink()
    assert not (tmp_path / "elsewhere").exists()
