"""Who signs: key files, the ssh-agent, the first key of all; and what is never shown."""

from __future__ import annotations

import logging
import os
import pickle
import pwd
import socket
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from openssh import CANARY, PURPOSE, OpenSSH, Token, public
from support import wait_until

from scatter.errors import Refused, ScatterError, Untrusted, UsageError
from scatter.trust import Signer, allowed_signers, files, home, private, signing, sshsig, wire
from scatter.trust.certificate import Certificate
from scatter.trust.signing import Keyring, open_keyring
from scatter.trust.ssh_agent import Agent


def pem(private_key: Ed25519PrivateKey, phrase: str = "") -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if phrase:
        encryption = serialization.BestAvailableEncryption(phrase.encode())
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def use(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    monkeypatch.setenv("SCATTER_SIGNING_KEY_FILE", os.pathsep.join(map(str, paths)))


def check(ring: Keyring, message: bytes = b"m") -> None:
    """Check that each key of a keyring signs, and for the namespace only."""
    as_signer: Signer = ring
    signatures = as_signer.sign(message, namespace="shop")
    assert len(signatures) == len(ring.keys)
    for data, key in zip(signatures, ring.keys, strict=True):
        found = sshsig.read(data)
        assert found.key == key
        found.verify(message, PURPOSE)
        with pytest.raises(Untrusted):
            found.verify(message, "scatter-release-v1:other")


@pytest.fixture
def agent(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real ssh-agent, without keys."""
    path = short_tmp / f"agent-{os.getpid()}-{time.monotonic_ns()}"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0

    wait_until(listens, "the ssh-agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield path
    process.terminate()
    process.wait(10)


# files -----------------------------------------------------------------------------------


def test_an_openssh_key_signs_as_ssh_keygen_does(
    ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ssh.key("ann")
    use(monkeypatch, key)
    ring = open_keyring()

    assert ring.keys == (public(key),)
    check(ring)
    assert sshsig.armor(ring.sign(b"m", namespace="shop")[0]) == ssh.sign(key, b"m")


def test_a_pkcs8_key_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(Ed25519PrivateKey.generate()))
    path.chmod(0o600)
    use(monkeypatch, path)
    check(open_keyring())


def test_several_keys_sign_each_once(ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = ssh.key("ann"), ssh.key("bob")
    use(monkeypatch, ann, bob, ann)
    ring = open_keyring()

    assert ring.keys == (public(ann), public(bob))
    check(ring)


@pytest.mark.parametrize("form", ["openssh", "pkcs8"])
def test_a_key_with_a_passphrase_is_asked_for(
    ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = ssh.folder / "ann"
    if form == "openssh":
        ssh.key("ann", "ed25519", CANARY)
    else:
        path.write_bytes(pem(Ed25519PrivateKey.generate(), CANARY))
        path.chmod(0o600)
    use(monkeypatch, path)
    asked = []

    def ask(file: Path) -> str:
        asked.append(file)
        return CANARY

    check(open_keyring(ask=ask))
    assert asked == [path]
    with pytest.raises(Refused, match="ssh-agent keep it") as caught:
        open_keyring()
    assert caught.value.reason == "cannot-sign"
    with pytest.raises(Refused, match="wrong"):
        open_keyring(ask=lambda _: f"not {CANARY}")
    with pytest.raises(Refused, match="empty"):
        open_keyring(ask=lambda _: "")
    with pytest.raises(Refused, match="ssh-agent keep it"):
        open_keyring(ask=lambda _: None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_private_key_that_others_can_read_is_refused_as_ssh_does(
    ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    key = ssh.key("ann")
    key.chmod(mode)
    use(monkeypatch, key)
    with pytest.raises(Refused, match=f"chmod 600 {key}"):
        open_keyring()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_a_private_key_of_another_kind_is_refused(
    ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    use(monkeypatch, ssh.key("ann", kind))
    with pytest.raises(Refused, match="no Ed25519 key"):
        open_keyring()


def test_a_missing_file_and_a_directory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        use(monkeypatch, path)
        with pytest.raises(Refused, match=why):
            open_keyring()


def test_a_certificate_beside_a_key_signs_in_its_place(
    ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, ca = ssh.key("ann"), ssh.key("ca")
    signed = ssh.certify(key, ca)
    use(monkeypatch, key)
    ring = open_keyring()
    signers = f"ann@example.org cert-authority {public(ca).line()}\n"

    assert ring.keys == (signed,)
    assert isinstance(ring.keys[0], Certificate)
    check(ring)
    assert ssh.verifies(ring.sign(b"m", namespace="shop")[0], b"m", signers)


def test_a_certificate_that_does_not_hold_is_refused_while_signing(
    ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, ca = ssh.key("ann"), ssh.key("ca")
    use(monkeypatch, key)
    ssh.certify(key, ca, "-V", "20200101Z:20200102Z")
    with pytest.raises(Untrusted) as caught:
        open_keyring()
    assert caught.value.reason == "expired-key"

    ssh.certify(ssh.key("bob"), ca)
    (ssh.folder / "bob-cert.pub").replace(ssh.folder / "ann-cert.pub")
    with pytest.raises(Refused, match="no certificate of"):
        open_keyring()


# the agent -------------------------------------------------------------------------------


def test_a_public_key_means_that_the_agent_has_the_private_one(
    ssh: OpenSSH, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ssh.key("ann", "ed25519", "")
    ssh.run("ssh-add", "-q", key)
    key.unlink()
    use(monkeypatch, Path(f"{key}.pub"))
    ring = open_keyring()

    check(ring)
    assert ssh.verifies(
        ring.sign(b"m", namespace="shop")[0], b"m", f"ann@example.org {public(key).line()}\n"
    )


@pytest.mark.parametrize("form", ["line", "fingerprint"])
def test_a_setting_names_a_key_of_the_agent(ssh: OpenSSH, agent: Path, form: str) -> None:
    key = ssh.key("ann")
    ssh.run("ssh-add", "-q", key, ssh.key("other", "rsa"))
    setting = public(key).line() if form == "line" else public(key).fingerprint

    check(open_keyring(setting))
    with pytest.raises(UsageError, match="public key or its SHA256"):
        open_keyring("ann")
    with pytest.raises(Refused, match="does not have the key") as caught:
        open_keyring(f"SHA256:{'A' * 43}")
    assert public(key).fingerprint in str(caught.value)


def test_a_certificate_of_a_key_in_the_agent_signs(
    ssh: OpenSSH, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, ca = ssh.key("ann"), ssh.key("ca")
    ssh.certify(key, ca)
    ssh.run("ssh-add", "-q", key)
    use(monkeypatch, Path(f"{key}.pub"))
    ring = open_keyring()

    assert isinstance(ring.keys[0], Certificate)
    check(ring)


def test_an_rsa_key_in_the_agent_is_refused(ssh: OpenSSH, agent: Path) -> None:
    key = ssh.key("ann", "rsa")
    ssh.run("ssh-add", "-q", key)
    with pytest.raises(Untrusted, match="Expected an Ed25519 key"):
        open_keyring(public(key).fingerprint)


def test_without_an_agent_it_says_so(ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = public(ssh.key("ann")).fingerprint
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(Refused, match="SSH_AUTH_SOCK unset"):
        open_keyring(fingerprint)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh.folder / "gone"))
    with pytest.raises(Refused, match="No such file"):
        open_keyring(fingerprint)


def test_a_locked_agent_refuses_to_sign(ssh: OpenSSH, agent: Path) -> None:
    key = ssh.key("ann")
    ssh.run("ssh-add", "-q", key)
    ring = open_keyring(public(key).fingerprint)
    ssh.run("ssh-add", "-D")
    with pytest.raises(Refused, match="it refused"):
        ring.sign(b"m", namespace="shop")


ANSWERS = {
    "hangs up": b"",
    "no length": b"\0\0",
    "endless": b"\xff\xff\xff\xff",
    "empty": wire.u32(0),
    "another kind": wire.string(b"\x63"),
    "too many keys": wire.string(b"\x0c" + wire.u32(1 << 30)),
    "cut short": wire.string(b"\x0c" + wire.u32(1) + wire.u32(9) + b"abc"),
    "and more": wire.string(b"\x0c" + wire.u32(0) + b"\0"),
    "a failure": wire.string(b"\x05"),
}


def serve(path: Path, answer: bytes, done: threading.Event) -> threading.Thread:
    """Answer one question as a broken agent would."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def run() -> None:
        connection, _ = server.accept()
        with server, connection:
            connection.recv(4096)
            connection.sendall(answer)
            if answer == b"waits":
                done.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("how", ANSWERS)
def test_an_agent_that_answers_nonsense_is_refused(short_tmp: Path, how: str) -> None:
    path = short_tmp / f"broken-{time.monotonic_ns()}"
    thread = serve(path, ANSWERS[how], threading.Event())
    with pytest.raises(Refused, match="did not sign") as caught:
        Agent(str(path)).identities()
    thread.join(10)
    assert caught.value.reason == "cannot-sign"


def test_an_agent_that_never_answers_is_given_up(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scatter.trust.ssh_agent._LIST_S", 0.05)
    path, done = short_tmp / f"slow-{time.monotonic_ns()}", threading.Event()
    thread = serve(path, wire.u32(9), done)
    with pytest.raises(Refused, match=r"hung up|did not answer"):
        Agent(str(path)).identities()
    done.set()
    thread.join(10)


def test_what_a_token_signed_without_a_touch_is_refused_before_it_is_sent() -> None:
    class Untouched:
        path = "agent"

        def sign(self, _blob: bytes, data: bytes) -> bytes:
            return token.sign(data, flags=0)

    token = Token()
    held = signing._InAgent(Untouched(), token.key.blob, token.key)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="nobody touched it"):
        Keyring([signing._Signer(held, token.key)]).sign(b"m", namespace="shop")


# the first key ---------------------------------------------------------------------------


def test_the_first_key_is_made_and_trusted_on_this_account(own_home: Path, ssh: OpenSSH) -> None:
    with pytest.raises(Refused, match="scatter keys new"):
        open_keyring()
    ring = open_keyring(make=True)

    assert ring.own is not None
    assert (ring.own.made, ring.own.path) == (True, own_home / "signing_key")
    check(ring)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in own_home.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(own_home.stat().st_mode) == 0o700
    assert stat.S_IMODE(own_home.parent.stat().st_mode) == 0o700
    assert home.signers_files() == (own_home / "allowed_signers",)
    trusted = files.read(own_home / "allowed_signers").text
    found = allowed_signers.parse(trusted, "s").find(ring.keys[0], PURPOSE, time.time())
    assert found.principals == (home.user_at_host(),)
    assert found.line.namespaces == "scatter-release-v1:*"
    signature = ring.sign(b"m", namespace="shop")[0]
    assert ssh.verifies(signature, b"m", trusted, who=home.user_at_host())
    assert public(ring.own.path) == ring.keys[0]
    assert (
        ssh.run("ssh-keygen", "-yf", ring.own.path).split()[:2] == ring.keys[0].line().split()[:2]
    )


def test_a_key_that_exists_is_used_and_nothing_is_trusted_again(own_home: Path) -> None:
    first = home.ensure_key()
    (own_home / "allowed_signers").write_text("# nobody\n")
    again = home.ensure_key()

    assert (again.key, again.made) == (first.key, False)
    assert (own_home / "allowed_signers").read_text() == "# nobody\n"
    (own_home / "signing_key.pub").unlink()
    assert home.ensure_key().key == first.key
    check(open_keyring())


def test_the_first_key_keeps_what_was_trusted_before(own_home: Path) -> None:
    own_home.mkdir(parents=True)
    (own_home / "allowed_signers").write_text("# without an end")
    home.ensure_key()

    lines = (own_home / "allowed_signers").read_text().splitlines()
    assert lines[0] == "# without an end"
    assert len(lines) == 2


def test_processes_that_make_the_first_key_at_once_end_with_one(own_home: Path) -> None:
    code = (
        "import sys; from scatter.trust import home, signing; sys.stdin.readline();"
        "ring = signing.open_keyring(make=True);"
        "print(ring.own.made, ring.keys[0].fingerprint, ring.own.key.fingerprint)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in started]

    assert sorted(made for made, _, _ in said) == ["False"] * 5 + ["True"]
    assert len({name for _, *both in said for name in both}) == 1
    trusted = (own_home / "allowed_signers").read_text().splitlines()
    assert len(trusted) == 1
    assert not [p for p in own_home.iterdir() if p.name.startswith(".") and p.name != ".lock"]


def test_a_key_that_cannot_be_made_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="SCATTER_SIGNING_KEY_FILE"):
        home.ensure_key()


def test_files_of_trust_are_those_of_machine_and_user_or_those_that_are_named(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (home.MACHINE, own_home):
        folder.mkdir(parents=True)
        (folder / "allowed_signers").write_text("")
    assert home.signers_files() == (home.MACHINE / "allowed_signers", own_home / "allowed_signers")
    assert home.revoked_files() == ()
    (own_home / "revoked_keys").symlink_to("nowhere")
    assert home.revoked_files() == (own_home / "revoked_keys",)

    monkeypatch.setenv("SCATTER_ALLOWED_SIGNERS", "/srv/a:/srv/b")
    monkeypatch.setenv("SCATTER_REVOKED_KEYS", "/srv/r")
    assert home.signers_files() == (Path("/srv/a"), Path("/srv/b"))
    assert home.revoked_files() == (Path("/srv/r"),)


def test_a_relative_config_home_is_ignored_and_a_missing_one_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home.config_home() == tmp_path / ".config" / "scatter"

    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert home.config_home() is None
    assert home.places("allowed_signers") == (home.MACHINE / "allowed_signers",)
    with pytest.raises(UsageError, match="no home directory"):
        home.ensure_key()


# the canary ------------------------------------------------------------------------------


def secrets_of(path: Path, phrase: str) -> list[str]:
    """Return what must be seen nowhere: pieces of the file, of the key itself, the passphrase."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("-----")]
    own = private.read(path, lambda _: phrase)
    seed = own._private.private_bytes_raw()
    return [*(line[:20] for line in lines[1:]), seed.hex(), repr(seed)[2:-1], CANARY]


def shown(error: BaseException) -> str:
    """Return all that a crash report could show of an error."""
    found = [repr(error), str(error), *map(str, getattr(error, "__notes__", ()))]
    found += [*map(repr, vars(error).values()), *traceback.format_exception(error)]
    if isinstance(error, ScatterError):
        found.append(repr(pickle.loads(pickle.dumps(error))))
    return "\n".join(found)


def test_no_private_key_is_shown_by_an_error_a_repr_or_a_log(
    ssh: OpenSSH, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = ssh.key("ann", "ed25519", CANARY)
    hidden = secrets_of(key, CANARY)
    text = key.read_text()
    use(monkeypatch, key)
    ring = open_keyring(ask=lambda _: CANARY)
    own = private.read(key, lambda _: CANARY)
    said = [repr(ring), str(ring), repr(own), repr(ring.keys), repr(ring._signers)]
    with pytest.raises(TypeError) as unpickled:
        pickle.dumps(own)
    said.append(shown(unpickled.value))

    damaged = ["", text[:200], text.replace("A", "B"), text.replace("-----BEGIN", "----BEGIN")]
    damaged += [text[:n] + "\n" + text[n + 9 :] for n in range(40, 400, 60)]
    damaged += [text.replace("OPENSSH ", ""), "ssh-ed25519 " + text, text.encode().hex()]
    for broken in damaged:
        key.write_text(broken)
        for phrase in (CANARY, f"no-{CANARY}", "", None):
            try:
                open_keyring(ask=lambda _, phrase=phrase: phrase)
            except ScatterError as error:
                said.append(shown(error))
    said.append(caplog.text)

    assert len(said) > 30
    for piece in hidden:
        assert all(piece not in one for one in said), piece
    # and the test would see one
    assert hidden[0] in text or hidden[0] in f"{text}"
