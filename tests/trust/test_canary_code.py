"""Secrets of a process come out nowhere: not in bundles, logs, status, errors, reports, processes.

One process has a secret in each place: a module's globals, a constant that was set at run time, the
environment, the address of Redis, a closure, a default. It pushes, is refused, fails and follows a
damaged log; everything that it and others say meanwhile is looked through, also inside what is
compressed or in base64.
"""

from __future__ import annotations

import base64
import os
import random
import re
import string
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, wait_until
from trust.people import Files

from scatter.analysis import ModuleSource
from scatter.bundle.build import build
from scatter.config import Settings
from scatter.errors import Refused
from scatter.log import LazySigner, open_journal
from scatter.releases import Candidate, Releases
from scatter.server import EmbeddedServer
from scatter.store.redis import RedisStore
from scatter.trust import home

PLACES = ("global", "constant", "environment", "url", "closure", "default")

VAULT = """\
import os
import scatter

settings = {"password": os.environ["CANARY_GLOBAL"]}
api_key = os.environ["CANARY_GLOBAL"]
API_TOKEN = ""
API_TOKEN = API_TOKEN or os.environ["CANARY_CONSTANT"]
LIMIT_TOKEN = "none"


@scatter.track
def plain(x=1):
    return f"plain0 {len(settings)} {len(os.environ['CANARY_ENVIRONMENT'])}"


@scatter.track
def limit():
    return len(LIMIT_TOKEN)


def make(password):
    def inner():
        return len(password)

    return scatter.track(inner, name="vault:closed")


def make_default(value):
    def with_default(password=value):
        return len(password)

    return scatter.track(with_default, name="vault:defaulted")


closed = make(os.environ["CANARY_CLOSURE"])
defaulted = make_default(os.environ["CANARY_DEFAULT"])
"""

RUN = """\
import logging, os, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
import scatter, scatter_agent, vault
vault.LIMIT_TOKEN = os.environ["CANARY_CONSTANT"]
agent = scatter_agent.start(wait=20)
print("started", flush=True)
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        print(repr(error), vars(error))
    print(repr(agent), scatter_agent.status(), flush=True)
    print("done", flush=True)
"""


def canary() -> str:
    """Return a secret that looks like one, and that nothing else has."""
    letters = string.ascii_letters + string.digits
    return "".join(random.SystemRandom().choice(letters) for _ in range(32))


class Vault:
    """The process with secrets, and all that it said."""

    def __init__(self, folder: Path, server: EmbeddedServer, namespace: str) -> None:
        self.folder, self.namespace = folder, namespace
        self.canaries = {place: canary() for place in PLACES}
        (folder / "vault.py").write_text(VAULT)
        (folder / "run.py").write_text(RUN)
        self.admin = RedisStore(server.url, namespace)
        password = self.canaries["url"]
        self.user = f"u{os.getpid()}"
        rights = ("~*", "&*", "+@all")
        self.admin.link.run([("ACL", "SETUSER", self.user, "on", f">{password}", *rights)])
        self.url = f"redis://{self.user}:{password}@127.0.0.1:{server.port}/0"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}{os.pathsep}{ROOT / 'agent'}",
            "HOME": str(folder),
            "XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"],
            "SCATTER_STATE": str(folder / "state"),
            "SCATTER_CACHE": str(folder / "cache"),
            "SCATTER_REDIS_URL": self.url,
            "SCATTER_NAMESPACE": namespace,
            "SCATTER_AUTHOR": "ann",
        } | {f"CANARY_{place.upper()}": value for place, value in self.canaries.items()}
        self.process = subprocess.Popen(
            [sys.executable, "run.py"],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = list[str]()
        self._until("started")
        journal = open_journal(Settings(namespace=namespace), self.admin, signer=LazySigner())
        self.releases = Releases(journal, author="ann")

    def _until(self, word: str) -> str:
        assert self.process.stdout is not None
        said = list[str]()
        while not said or said[-1].strip() != word:
            line = self.process.stdout.readline()
            assert line, "".join(said)
            said.append(line)
        self.said += said
        return "".join(said)

    def do(self, expression: str) -> str:
        """Have the process do something; return what it said."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{expression}\n")
        self.process.stdin.flush()
        return self._until("done")

    def push(self, name: str, *replacements: tuple[str, str]) -> None:
        """Release an edited function from elsewhere."""
        text = VAULT
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        built = build(ModuleSource(text, name="vault", file="vault.py"), name)
        candidate = Candidate(bundle=built.bundle, lines=built.lines)
        self.releases.push([candidate], force=True)

    def until(self, pattern: str) -> None:
        """Wait until the status says something."""
        wait_until(lambda: re.search(pattern, self.do("None")), pattern)

    def command(self, *words: str) -> None:
        """Run a command of the command line, whatever comes of it, and keep what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "scatter", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        self.said.append(done.stdout)

    def stored(self) -> Iterator[bytes]:
        """Yield all that Redis has of the namespace, and what is kept on the disk."""
        (keys,) = self.admin.link.run([("KEYS", f"scatter:{{{self.namespace}}}:*")])
        reading = {b"hash": "HGETALL", b"string": "GET"}
        for key in keys:
            yield key
            (kind,) = self.admin.link.run([("TYPE", key)])
            kind = kind.encode() if isinstance(kind, str) else kind
            words = ("ZRANGE", key, 0, -1) if kind == b"zset" else (reading[kind], key)
            (found,) = self.admin.link.run([words])
            parts = found.items() if isinstance(found, dict) else [(found,)]
            yield from (one for part in parts for one in _flat(part))
        for folder in (self.folder / "state", self.folder / "cache"):
            yield from (file.read_bytes() for file in folder.rglob("*") if file.is_file())

    def commands(self) -> Iterator[bytes]:
        """Yield the command lines of all processes."""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                yield file.read_bytes()
            except OSError:
                continue

    def check(self) -> None:
        """Fail if a secret is anywhere."""
        seen = 0
        for data in (*map(str.encode, self.said), *self.stored(), *self.commands()):
            for form in _opened(data):
                seen += 1
                for place, value in self.canaries.items():
                    for piece in (value[:12], value[-12:]):
                        assert piece.encode() not in form, (place, form[:2000])
        assert seen > 20

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.admin.link.run([("ACL", "DELUSER", self.user)])
        self.admin.close()


def _flat(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _flat(one)


def _opened(data: bytes) -> Iterator[bytes]:
    """Yield data as they are, and what is compressed or in base64 in them."""
    yield data
    if data[:4] in (b"SCB1", b"SCS2"):
        text = zlib.decompress(data[4:])
        yield text
        for word in re.findall(rb"[A-Za-z0-9+/=]{24,}", text):
            yield base64.b64decode(word + b"=" * (-len(word) % 4))


@pytest.fixture
def vault(
    files: Files, redis_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> Iterator[Vault]:
    """A process that has secrets; its user has a key."""
    home.ensure_key()
    folder = tmp_path / "vault"
    folder.mkdir()
    made = Vault(folder, redis_server, namespace)
    yield made
    made.end()


def test_a_canary_is_found_where_it_is(vault: Vault) -> None:
    vault.do("vault.settings")
    with pytest.raises(AssertionError, match="global"):
        vault.check()


def test_secrets_are_found_nowhere_after_pushes_refusals_and_failures(vault: Vault) -> None:
    assert "secret" in vault.do("vault.closed.push()")
    vault.do("vault.defaulted.push()")  # its source is shipped, which has a name there
    vault.do("vault.plain.push()")
    vault.push("plain", ("plain0", "plain1"))
    wait_until(lambda: "plain1" in vault.do("vault.plain()"), "an honest push")

    # what is refused while it is bound
    vault.push("limit", ('LIMIT_TOKEN = "none"', 'LIMIT_TOKEN = "some"'))
    vault.until("constant-changed-at-run-time")
    vault.push("plain", ("x=1", 'x=int(settings["password"])'), ("plain0", "plain2"))
    vault.until("link-failed")
    vault.push("plain", ("x=1", "x={}[api_key]"), ("plain0", "plain3"))
    vault.until("KeyError")
    vault.push("plain", ("x=1", "x=not_there"), ("plain0", "plain4"))
    vault.until("missing-name")
    assert vault.do("vault.limit()").startswith("32\n")

    # what is refused while it is read, and what is not there
    key = vault.admin.key("log")
    tip = vault.releases.journal.ledger.sequence
    vault.admin.link.run([("HSET", key, tip + 1, b"SCE1 garbage")])
    vault.until("bad-envelope")
    for words in (["status"], ["log"], ["history", "vault:plain"], ["push", "vault.py"]):
        vault.command(*words)
    vault.admin.link.run([("HDEL", key, tip + 1), ("ACL", "SETUSER", vault.user, "-@all")])
    vault.admin.link.run([("CLIENT", "KILL", "USER", vault.user)])
    vault.until("state='(stale|error)'|stale|refused")
    vault.command("status")
    vault.check()


def test_source_with_a_credential_is_not_pushed_and_the_refusal_does_not_show_it() -> None:
    value = canary()
    text = f'import scatter\n\n@scatter.track\ndef f(password="{value}"):\n    return password\n'
    with pytest.raises(Refused) as caught:
        build(ModuleSource(text, name="m", file="m.py"), "f")
    assert caught.value.reason == "secret"
    assert value[:8] not in str(caught.value) + repr(vars(caught.value))
