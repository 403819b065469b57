"""`scatter keys`: what people type, what they see, and what is in the files then."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from openssh import CANARY, OpenSSH, Token, public

from scatter.cli import main
from scatter.trust import home, keys


class Done(NamedTuple):
    code: object
    out: str
    err: str

    def json(self, kind: str) -> Any:
        assert self.code == 0, self.err
        found = json.loads(self.out)
        assert found["kind"] == kind
        return found[kind]


Run = Callable[..., Done]


@pytest.fixture
def run(own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `scatter keys …` with a home of one's own."""

    def run(*arguments: object, data: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(data))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["keys", *map(str, arguments)])
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def signers(own_home: Path) -> Path:
    return own_home / "allowed_signers"


def test_a_key_is_made_once_and_says_how_others_trust_it(run: Run, own_home: Path) -> None:
    made, again = run("new"), run("new")
    line = public(own_home / "signing_key").line()

    assert (made.code, made.out) == (0, f"scatter keys trust '{line}'\n")
    assert f"Made {own_home / 'signing_key'}, trusted on this account." in made.err
    assert (again.code, again.out) == (0, made.out)
    assert "There is a key already" in again.err
    assert run("new", "--json").json("key")["made"] is False


def test_what_is_printed_is_what_the_other_side_types(
    run: Run, own_home: Path, signers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    run("new")
    key = public(own_home / "signing_key")
    words = shlex.split(run("new").out)[2:]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    done = run(*words)

    assert done.code == 0, done.err
    trusted = (tmp_path / "elsewhere" / "scatter" / "allowed_signers").read_text()
    assert trusted == f'{key.comment} namespaces="scatter-release-v1:*" {key.line()}\n'


def test_the_keys_that_sign_are_shown(
    run: Run, ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = run("show")
    assert (missing.code, missing.out) == (1, "")
    assert "scatter keys new" in missing.err

    run("new")
    own = public(home.key_path())
    assert run("show").out == f"{own.line()}\n"
    assert own.fingerprint in run("show").err

    ann, bob = ssh.key("ann", "ed25519", CANARY), ssh.key("bob")
    monkeypatch.setenv("SCATTER_SIGNING_KEY_FILE", f"{ann}{os.pathsep}{bob}.pub")
    assert run("show").out == f"{public(ann).line()}\n{public(bob).line()}\n"
    shown = run("show", "--json").json("keys")
    assert [one["fingerprint"] for one in shown] == [
        public(ann).fingerprint,
        public(bob).fingerprint,
    ]
    Path(f"{ann}.pub").unlink()
    assert "nobody here to ask" in run("show").err
    (ssh.folder / "bob.pub").write_text(bob.read_text())
    assert "OPENSSH" not in "".join(map(str, run("show")))


@pytest.mark.parametrize("how", ["file", "line", "stdin"])
def test_a_key_is_trusted_from_a_file_a_line_or_standard_input(
    run: Run, ssh: OpenSSH, signers: Path, how: str
) -> None:
    path = ssh.key("ann")
    line = f"{public(path).line()}@example.org"
    path.with_suffix(".pub").write_text(f"{line}\n")
    source = {"file": f"{path}.pub", "line": line, "stdin": "-"}[how]
    done = run("trust", source, data=f"# keys of ann\n\n{line}\n")

    assert (done.code, done.out) == (0, "")
    assert f"Trusts {public(path).fingerprint} (ann@example.org), all: {signers}:1" in done.err
    assert signers.read_text() == f'ann@example.org namespaces="scatter-release-v1:*" {line}\n'
    assert stat.S_IMODE(signers.stat().st_mode) == 0o600


def test_what_a_key_may_do_is_narrowed(run: Run, signers: Path) -> None:
    token = Token()
    done = run(
        *("trust", token.key.line(), "--principal", "ann", "--namespace", "shop"),
        *("--namespace", "test-*", "--valid-before", "20300101Z"),
    )

    assert done.code == 0, done.err
    assert signers.read_text() == (
        'ann namespaces="scatter-release-v1:shop,scatter-release-v1:test-*",'
        f'valid-before="20300101Z" {token.key.line()}\n'
    )
    (listed,) = run("list", "--json").json("trusted")
    assert listed["namespaces"] == ["scatter-release-v1:shop", "scatter-release-v1:test-*"]
    assert listed["valid_before"] == "2030-01-01T00:00:00Z"
    assert (listed["cert_authority"], listed["revoked"], listed["line"]) == (False, None, 1)
    row = run("list").out
    assert "shop, test-*" in row
    assert "until 2030-01-01  own:1  no" in row


def test_an_authority_is_trusted_with_a_pattern_of_principals(
    run: Run, ssh: OpenSSH, signers: Path
) -> None:
    ca = ssh.key("ca", "rsa")
    line = public(ca).line()
    assert run("trust", f"{ca}.pub").code == 1, "an RSA key signs no releases"
    options = ("--cert-authority", "--principal", "*@example.org")
    done = run("trust", f"{ca}.pub", *options)

    assert done.code == 0, done.err
    assert signers.read_text() == (
        f'*@example.org cert-authority,namespaces="scatter-release-v1:*" {line}\n'
    )
    assert "(authority)" in run("list").out


def test_a_key_that_is_trusted_already_is_left_as_it_is(run: Run, signers: Path) -> None:
    line = Token().key.line()
    run("trust", line)
    before = signers.read_text()
    again = run("trust", line)
    other = run("trust", line, "--namespace", "shop")

    assert (again.code, other.code) == (0, 2)
    assert "Trusted already" in again.err
    assert f"{signers}:1 trusts" in other.err
    assert signers.read_text() == before


def test_a_key_that_the_machine_trusts_is_not_added_again(run: Run, signers: Path) -> None:
    token = Token()
    home.MACHINE.mkdir(parents=True)
    machine = home.MACHINE / "allowed_signers"
    machine.write_text(f'token namespaces="scatter-release-v1:*" {token.key.line()}\n')
    done = run("trust", token.key.line())

    assert f"Trusted already: {token.key.fingerprint} (token), all: {machine}:1" in done.err
    assert not signers.exists()


BAD = {
    "no such file": ("nothing.pub", "There is no file nothing.pub"),
    "no key": ("ssh-ed25519 AAAA ann", "the key:1: "),
    "a comment of blanks": (f"{Token().key.line()} of ann", "--principal"),
    "a comment for everybody": (Token().key.line().replace(" token", " *"), "--principal"),
    "a weak key": (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ann",
        "could forge",
    ),
    "nothing": ("-", "- has no public key"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_trusted_changes_nothing(run: Run, signers: Path, what: str) -> None:
    source, message = BAD[what]
    done = run("trust", source)

    assert done.code in (1, 2)
    assert done.out == ""
    assert message in done.err
    assert not signers.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--principal", "ann b"),
        ("--principal", 'ann"'),
        ("--principal", "#ann"),
        ("--principal", "ann\nbob"),
        ("--principal", ""),
        ("--namespace", 'shop" cert-authority'),
        ("--namespace", "shop,*"),
        ("--valid-before", "tomorrow"),
        ("--valid-before", '20300101",namespaces="*'),
    ],
)
def test_no_option_gets_into_the_file_by_the_back_door(
    run: Run, signers: Path, options: tuple[str, ...]
) -> None:
    line = Token().key.line().removesuffix(" token")
    done = run(
        "trust", line, *(("--principal", "ann") if options[0] != "--principal" else ()), *options
    )

    assert done.code == 2, done
    assert not signers.exists()


def test_a_private_key_is_not_taken_for_a_public_one(run: Run, ssh: OpenSSH) -> None:
    key = ssh.key("ann")
    done = run("trust", key)

    assert done.code == 2
    assert f"Give its public one: {key}.pub" in done.err
    assert key.read_text().splitlines()[2] not in done.err


def test_a_certificate_is_trusted_by_its_authority(run: Run, ssh: OpenSSH) -> None:
    ssh.certify(ssh.key("ann"), ssh.key("ca"))
    done = run("trust", ssh.folder / "ann-cert.pub")

    assert done.code == 2
    assert "A certificate is trusted by its authority's key." in done.err


def test_a_broken_or_unsafe_file_is_not_added_to(run: Run, signers: Path) -> None:
    signers.parent.mkdir(parents=True)
    signers.write_text("ann\n")
    assert f"{signers}:1: expected a key" in run("trust", Token().key.line()).err
    signers.write_text("")
    signers.chmod(0o666)
    assert f"chmod go-w {signers}" in run("trust", Token().key.line()).err
    assert signers.read_text() == ""


def test_a_file_that_is_named_is_changed_in_place_of_ones_own(
    run: Run, signers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    named.write_text("# of the machine")
    named.chmod(0o644)
    (tmp_path / "link").symlink_to(named)
    monkeypatch.setenv("SCATTER_ALLOWED_SIGNERS", str(tmp_path / "link"))
    run("trust", Token().key.line())

    assert named.read_text().startswith("# of the machine\ntoken ")
    assert stat.S_IMODE(named.stat().st_mode) == 0o644, "others go on reading it"
    assert not signers.exists()
    assert str(tmp_path / "link") in run("list").out


def test_the_list_says_who_is_trusted_and_who_was(run: Run, signers: Path) -> None:
    empty = run("list")
    assert (empty.code, empty.out) == (0, "")
    assert "Nobody is trusted here" in empty.err

    token = Token()
    signers.parent.mkdir(parents=True)
    signers.write_text(
        f'ann,bob valid-before="20200101" {token.key.line()}\n'
        f'eve namespaces="git",valid-after="20300101Z" {Token().key.line()}\n'
    )
    home.MACHINE.mkdir(parents=True)
    (home.MACHINE / "allowed_signers").write_text(f"joe {Token().key.line()}\n")
    run("revoke", "eve")
    header, machine, first, second = run("list").out.splitlines()
    assert header.split() == ["KEY", "WHO", "NAMESPACES", "VALID", "WHERE", "REVOKED"]
    assert re.search(
        rf"^{re.escape(token.key.fingerprint)}  ann,bob .*expired 20\S+ .*  no$", first
    )
    assert re.search(r"  eve .*  git  +from 2030-01-01 +own:2  +yes$", second)
    assert re.search(r"  joe .*  all  .*machine:1  +no$", machine)
    listed = run("list", "--json").json("trusted")
    assert [one["principals"] for one in listed] == [["joe"], ["ann", "bob"], ["eve"]]
    assert listed[2]["revoked"].endswith("revoked_keys:2")


@pytest.mark.parametrize("how", ["principal", "fingerprint", "line", "file"])
def test_a_key_is_revoked_by_any_of_its_names(
    run: Run, ssh: OpenSSH, own_home: Path, how: str
) -> None:
    path = ssh.key("ann")
    key = public(path)
    run("trust", f"{path}.pub")
    named = {"principal": "ann", "fingerprint": key.fingerprint, "line": key.line()}
    done = run("revoke", named.get(how, f"{path}.pub"))
    revoked = own_home / "revoked_keys"

    assert (done.code, done.out) == (0, "")
    assert f"Revoked {key.fingerprint} in {revoked}" in done.err
    comment, line = revoked.read_text().splitlines()
    assert re.fullmatch(r"# revoked \S+Z by \S+@\S+", comment)
    assert line == key.line()
    assert run("list", "--json").json("trusted")[0]["revoked"] == f"{revoked}:2"
    assert "Revoked already" in run("revoke", key.fingerprint).err
    assert run("revoke", "ann", "--json").json("revoked")["fingerprints"] == []
    assert len(revoked.read_text().splitlines()) == 2
    signature = ssh.sign(path, b"m")
    from scatter.trust import sshsig

    trusted = (own_home / "allowed_signers").read_text()
    data = sshsig.dearmor(signature)
    assert ssh.verifies(data, b"m", trusted, who="ann")
    assert not ssh.verifies(data, b"m", trusted, "-r", revoked, who="ann")


def test_a_key_that_nobody_trusts_is_revoked_by_its_fingerprint(run: Run, own_home: Path) -> None:
    fingerprint = f"SHA256:{'A' * 43}"
    assert run("revoke", fingerprint).code == 0
    assert (own_home / "revoked_keys").read_text().splitlines()[1] == fingerprint


def test_who_is_unknown_cannot_be_revoked(run: Run, own_home: Path) -> None:
    run("trust", Token().key.line())
    done = run("revoke", "eve")

    assert done.code == 2
    assert "(token); found 'eve'" in done.err
    assert not (own_home / "revoked_keys").exists()


def test_a_binary_list_is_left_to_ssh_keygen(run: Run, ssh: OpenSSH, own_home: Path) -> None:
    own_home.mkdir(parents=True)
    ssh.run("ssh-keygen", "-q", "-k", "-f", own_home / "revoked_keys", f"{ssh.key('ann')}.pub")
    before = (own_home / "revoked_keys").read_bytes()
    done = run("revoke", Token().key.line())

    assert done.code == 2
    assert "ssh-keygen -k -u -f" in done.err
    assert (own_home / "revoked_keys").read_bytes() == before


COMMANDS = ["new", "show", "trust", "list", "revoke"]


def test_the_help_lists_the_commands_in_whole_lines(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = run("--help").out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == COMMANDS
    assert not [line for line in listed if line.endswith("...")]
    for command in COMMANDS:
        text = run(command, "--help").out
        assert [line for line in text.splitlines() if len(line) > 80] == []
        assert re.search(rf"^  scatter keys {command}\b", text, re.M)


def test_a_passphrase_is_asked_for_on_a_terminal_and_not_shown(
    own_home: Path, ssh: OpenSSH
) -> None:
    key = ssh.key("ann", "ed25519", CANARY)
    line = public(key).line().removesuffix(" ann")
    Path(f"{key}.pub").unlink()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "scatter", "keys", "show"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "SCATTER_SIGNING_KEY_FILE": str(key)},
        text=True,
    )
    os.close(theirs)
    shown = b""
    while b"Passphrase of" not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, f"{CANARY}\n".encode())
    out, _ = process.communicate(timeout=60)
    while select.select([ours], [], [], 0)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
    os.close(ours)

    assert (process.returncode, out) == (0, f"{line}\n")
    assert f"Passphrase of {key}" in shown.decode()
    assert CANARY not in shown.decode()


def test_the_hint_of_a_refusal_is_a_command_that_works(run: Run, signers: Path) -> None:
    import shlex

    from scatter.errors import Untrusted
    from scatter.trust.allowed_signers import AllowedSigners

    token = Token()
    with pytest.raises(Untrusted) as caught:
        AllowedSigners().find(keys.read_key(token.key.blob), "scatter-release-v1:shop", 0)
    words = shlex.split(caught.value.hint[caught.value.hint.rindex("scatter keys trust") :])
    done = run(*words[2:])

    assert done.code == 0, done.err
    bare = token.key.line().removesuffix(" token")
    whose = token.key.fingerprint  # nobody said more
    assert signers.read_text() == f'{whose} namespaces="scatter-release-v1:*" {bare}\n'
