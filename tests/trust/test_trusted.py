"""All files of trust together: what is read, what is noticed, and who may change them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from openssh import Token

from scatter.errors import Untrusted, UsageError
from scatter.trust import home, trusted


@pytest.fixture
def machine(own_home: Path) -> Path:
    """The machine's directory, and one's own."""
    home.MACHINE.mkdir(parents=True)
    own_home.mkdir(parents=True)
    return home.MACHINE


def test_nobody_is_trusted_where_there_are_no_files(own_home: Path) -> None:
    found = trusted.load()
    assert (found.signers.lines, found.files) == ((), ())
    assert found.is_current()


def test_files_of_machine_and_user_are_read_together(machine: Path, own_home: Path) -> None:
    ann, bob, eve = Token(), Token(), Token()
    (machine / "allowed_signers").write_text(f"ann {ann.key.line()}\neve {eve.key.line()}\n")
    (own_home / "allowed_signers").write_text(f"bob {bob.key.line()}\n")
    (machine / "revoked_keys").write_text(f"{eve.key.fingerprint}\n")
    (own_home / "revoked_keys").write_text("# nobody\n")
    found = trusted.load()

    assert [line.principals for line in found.signers.lines] == ["ann", "eve", "bob"]
    assert found.revoked.where(eve.key) == f"{machine / 'revoked_keys'}:1"
    assert len(found.files) == 4


@pytest.mark.parametrize("change", ["append", "replace", "remove", "add", "revoke"])
def test_a_change_is_noticed(machine: Path, own_home: Path, change: str) -> None:
    path = machine / "allowed_signers"
    path.write_text(f"ann {Token().key.line()}\n")
    found = trusted.load()
    assert found.is_current()

    if change == "append":
        path.write_text(path.read_text() + "# more\n")
    elif change == "replace":
        home.write(path, path.read_bytes())
    elif change == "remove":
        path.unlink()
    else:
        (own_home / {"add": "allowed_signers", "revoke": "revoked_keys"}[change]).write_text("")
    assert not found.is_current()
    assert trusted.load().is_current()


@pytest.mark.parametrize("name", ["allowed_signers", "revoked_keys"])
def test_a_file_that_leads_nowhere_or_is_unsafe_stops_everything(machine: Path, name: str) -> None:
    (machine / name).symlink_to("nowhere")
    with pytest.raises(Untrusted, match="it is not there") as caught:
        trusted.load()
    assert caught.value.reason == "unsafe-trust-file"
    (machine / name).unlink()
    (machine / name).write_text("")
    (machine / name).chmod(0o666)
    with pytest.raises(Untrusted, match="chmod go-w"):
        trusted.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_revoked_list_that_may_not_be_looked_at_does_not_count_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        hidden = Path(folder) / "scatter"
        hidden.mkdir(mode=0o700)
        (hidden / "revoked_keys").write_text("")
        Path(folder).chmod(0o755)
        monkeypatch.setattr(home, "MACHINE", hidden)
        child = os.fork()
        if not child:
            os.setuid(4242)
            os._exit(0 if hidden / "revoked_keys" in home.revoked_files() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_that_is_named_and_missing_is_an_error(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SCATTER_ALLOWED_SIGNERS", "SCATTER_REVOKED_KEYS"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "/nowhere/at/all")
            with pytest.raises(Untrusted, match=f"unset .*{variable}"):
                trusted.load()


def test_processes_that_trust_at_once_lose_nothing(own_home: Path) -> None:
    code = (
        "import sys; from scatter.trust import keys, trusted; sys.stdin.readline();"
        "trusted.trust(keys.parse_key(sys.argv[1]), principal=sys.argv[2]);"
        "trusted.revoke(sys.argv[1])"
    )
    tokens = [Token() for _ in range(6)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, token.key.line(), f"p{number}"],
            stdin=subprocess.PIPE,
            text=True,
        )
        for number, token in enumerate(tokens)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=60)
        assert process.returncode == 0
    found = trusted.load()

    assert sorted(line.principals for line in found.signers.lines) == [f"p{n}" for n in range(6)]
    assert all(found.revoked.where(token.key) for token in tokens)


def test_what_cannot_be_written_says_so(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_home.parent.mkdir(parents=True)
    own_home.write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        trusted.trust(Token().key, principal="ann")
