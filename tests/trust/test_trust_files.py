"""Files that decide whom to trust: read only where nobody else could have written them."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from scatter import ways
from scatter.errors import Untrusted
from scatter.trust import files

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SOMEBODY = 4242


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory below a sticky /tmp, as tests and people have."""
    found = tmp_path / "etc" / "scatter"
    found.mkdir(parents=True)
    (found / "signers").write_text("ann ssh-ed25519 AAAA\n")
    return found


def refusal(path: Path) -> str:
    with pytest.raises(Untrusted) as caught:
        files.read(path)
    assert caught.value.reason == "unsafe-trust-file"
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_of_this_user_is_read_with_its_identity(folder: Path) -> None:
    read = files.read(folder / "signers")
    status = (folder / "signers").stat()

    assert read.text == "ann ssh-ed25519 AAAA\n"
    assert read.identity == files.Identity(
        mtime_ns=status.st_mtime_ns,
        size=status.st_size,
        inode=status.st_ino,
        mode=status.st_mode,
        owner=status.st_uid,
    )
    assert read.identity == files.identity_of(folder / "signers")
    assert "AAAA" not in repr(read)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_can_write_is_refused_with_the_command_to_run(
    folder: Path, mode: int
) -> None:
    (folder / "signers").chmod(mode)

    assert f"(mode {mode:o})" in refusal(folder / "signers")
    assert f"chmod go-w {folder / 'signers'}" in refusal(folder / "signers")
    (folder / "signers").chmod(mode & ~0o022)
    assert files.read(folder / "signers").data


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1770])
@pytest.mark.parametrize("up", [0, 1])
def test_a_directory_that_others_can_write_is_refused(
    folder: Path, mode: int, up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "is_of_one", lambda gid: False)
    loose = [folder, folder.parent][up]
    loose.chmod(mode)
    if mode == 0o1770:  # sticky: what is in it is safe as long as it is ours
        assert files.read(folder / "signers").data
        return
    assert f"chmod go-w {loose}" in refusal(folder / "signers")


def test_a_directory_that_only_the_group_of_this_user_alone_can_write_is_good(
    folder: Path,
) -> None:
    name = pwd.getpwuid(os.geteuid()).pw_name
    own = pwd.getpwuid(os.geteuid()).pw_gid
    members = {*grp.getgrgid(own).gr_mem, *(u.pw_name for u in pwd.getpwall() if u.pw_gid == own)}
    is_alone = grp.getgrgid(own).gr_name == name and members <= {name}
    folder.chmod(0o770)
    os.chown(folder, -1, own)
    assert ways.is_of_one(own) is is_alone
    if is_alone:
        assert files.read(folder / "signers").data
    (folder / "signers").chmod(0o660)
    assert refusal(folder / "signers")


@ROOT_ONLY
def test_a_group_of_others_is_no_group_of_one(folder: Path) -> None:
    folder.chmod(0o770)
    os.chown(folder, -1, SOMEBODY)
    assert f"chmod go-w {folder}" in refusal(folder / "signers")


@ROOT_ONLY
def test_a_file_of_somebody_else_is_refused(folder: Path) -> None:
    os.chown(folder / "signers", SOMEBODY, SOMEBODY)
    assert f"belongs to user {SOMEBODY}" in refusal(folder / "signers")
    assert "chown" in refusal(folder / "signers")


@ROOT_ONLY
@pytest.mark.parametrize("up", [0, 1])
def test_a_directory_of_somebody_else_is_refused(folder: Path, up: int) -> None:
    os.chown([folder, folder.parent][up], SOMEBODY, SOMEBODY)
    assert f"belongs to user {SOMEBODY}" in refusal(folder / "signers")


@ROOT_ONLY
def test_in_a_sticky_directory_what_belongs_to_somebody_else_is_refused(folder: Path) -> None:
    folder.parent.chmod(0o1777)
    assert files.read(folder / "signers").data
    os.chown(folder, SOMEBODY, SOMEBODY)
    assert refusal(folder / "signers")


@ROOT_ONLY
def test_in_a_sticky_directory_a_link_of_somebody_else_is_not_followed(
    folder: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "link").symlink_to(folder / "signers")
    assert files.read(shared / "link").data
    os.lchown(shared / "link", SOMEBODY, SOMEBODY)
    ours, kernels = f"chmod go-w {shared}", "it cannot be read: Permission denied"
    found = refusal(shared / "link")
    assert ours in found or kernels in found, "fs.protected_symlinks refuses it too"


def test_links_are_followed_and_everything_on_their_way_is_looked_at(
    folder: Path, tmp_path: Path
) -> None:
    way = tmp_path / "way"
    way.mkdir()
    (way / "first").symlink_to("second")
    (way / "second").symlink_to(folder)
    link = tmp_path / "link"
    link.symlink_to("way/first/../scatter/signers")
    assert files.read(link).data

    way.chmod(0o777)
    assert f"chmod go-w {way}" in refusal(link)
    way.chmod(0o755)
    folder.chmod(0o777)
    assert f"chmod go-w {folder}" in refusal(link)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert refusal(tmp_path / "a")


KINDS: dict[str, Callable[[Path], object]] = {
    "a directory": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / "signers")
    assert "not a regular file" in refusal(tmp_path / "signers")


def test_a_file_that_is_too_large_is_refused(folder: Path) -> None:
    (folder / "signers").write_bytes(bytes(files.MAX_BYTES + 1))
    assert "1,048,576 bytes" in refusal(folder / "signers")


def test_a_missing_file_is_not_found(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read(folder / "other")
    assert files.identity_of(folder / "other") is None


def test_what_is_no_text_names_the_line(folder: Path) -> None:
    (folder / "signers").write_bytes(b"# trusted\nann \xff\n")
    with pytest.raises(Untrusted, match=r"signers:2: expected text in UTF-8") as caught:
        _ = files.read(folder / "signers").text
    assert caught.value.reason == "bad-trust-file"


@pytest.mark.parametrize("how", ["written", "replaced", "touched", "opened"])
def test_a_change_is_seen_by_the_identity(folder: Path, how: str) -> None:
    path = folder / "signers"
    before = files.read(path).identity
    if how == "written":
        path.write_text("bob ssh-ed25519 AAAAAAAA\n")
    elif how == "replaced":
        (folder / "new").write_bytes(path.read_bytes())
        os.utime(folder / "new", ns=(before.mtime_ns, before.mtime_ns))
        (folder / "new").replace(path)
    elif how == "opened":
        path.chmod(0o666)
    else:
        os.utime(path, ns=(1, 1))
    assert files.identity_of(path) != before
