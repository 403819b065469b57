"""The position of a log in a file: kept from one process to the next, and never taken back."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from scatter.trust import Position
from scatter.trust.position import PositionFile


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of this user's state."""
    monkeypatch.setenv("SCATTER_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def at(sequence: int, epoch: int = 0) -> Position:
    return Position(epoch=epoch, sequence=sequence, head=f"{epoch}-{sequence}")


def test_what_is_kept_is_there_for_the_next_process_and_for_that_log_alone(state: Path) -> None:
    keeper = PositionFile("redis://host", "shop")
    assert keeper.read() is None
    keeper.write(at(7))
    assert PositionFile("redis://host", "shop").read() == at(7)
    assert PositionFile("redis://host", "other").read() is None
    assert PositionFile("redis://other", "shop").read() is None
    assert keeper.path is not None
    assert keeper.path.stat().st_mode & 0o777 == 0o600
    assert keeper.path.is_relative_to(state)


def test_an_earlier_position_replaces_no_later_one(state: Path) -> None:
    keeper = PositionFile("redis://host", "shop")
    for position, kept in [
        (at(7), at(7)),
        (at(6), at(7)),
        (at(8), at(8)),
        (at(2, 1), at(2, 1)),
        (at(99), at(2, 1)),
        (at(3, 1), at(3, 1)),
    ]:
        keeper.write(position)
        assert keeper.read() == kept


def test_many_who_write_at_once_keep_the_latest(state: Path) -> None:
    def write(first: int) -> None:
        keeper = PositionFile("redis://host", "shop")
        for number in range(first, 200, 4):
            keeper.write(at(number))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert PositionFile("redis://host", "shop").read() == at(199)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'{"epoch": 0}', b"\xff", b'{"epoch": "0", "sequence": 1, "head": ""}'],
)
def test_what_cannot_be_read_is_nothing_and_is_written_anew(state: Path, text: bytes) -> None:
    keeper = PositionFile("redis://host", "shop")
    keeper.write(at(1))
    assert keeper.path is not None
    keeper.path.write_bytes(text)
    assert keeper.read() is None
    keeper.write(at(2))
    assert keeper.read() == at(2)


def test_a_place_that_cannot_be_written_is_said_once_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "scatter")
    (tmp_path / "file").touch()
    monkeypatch.setenv("SCATTER_STATE", str(tmp_path / "file"))
    keeper = PositionFile("redis://host", "shop")
    for number in (1, 2):
        keeper.write(at(number))
    assert keeper.read() is None
    assert [r.getMessage().count("scatter.position_not_kept") for r in caplog.records] == [1]


def test_a_user_without_a_home_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("SCATTER_STATE", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    keeper = PositionFile("redis://host", "shop")
    keeper.write(at(1))
    assert keeper.read() is None
    assert "set SCATTER_STATE to a directory" in caplog.text


def test_the_address_in_the_file_has_no_password(state: Path) -> None:
    keeper = PositionFile("redis://user:***@host", "shop")
    keeper.write(at(1))
    assert keeper.path is not None
    assert b"***" in keeper.path.read_bytes()
    assert os.listdir(state) == ["positions"]


def test_who_reads_while_it_is_written_finds_a_whole_position(state: Path) -> None:
    keeper, reader = PositionFile("redis://host", "shop"), PositionFile("redis://host", "shop")
    keeper.write(at(1))
    thread = threading.Thread(target=lambda: [keeper.write(at(n)) for n in range(2, 600)])
    thread.start()
    found = [at(1)]
    while thread.is_alive():
        position = reader.read()
        assert position is not None
        assert position == at(position.sequence)
        assert position.sequence >= found[-1].sequence
        found.append(position)
    thread.join()
    assert reader.read() == at(599)


@pytest.mark.parametrize("name", ["x", "x" * 2000])
def test_a_file_of_another_size_is_replaced_whole(state: Path, name: str) -> None:
    keeper = PositionFile("redis://host", name)
    keeper.write(at(1))
    assert keeper.path is not None
    for number, size in ((2, 10), (3, 5000)):
        text = keeper.path.read_text().rstrip()
        keeper.path.write_text(text.ljust(size))
        keeper.write(at(number))
        assert keeper.read() == at(number)
