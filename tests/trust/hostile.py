"""A Redis in the hands of somebody who may do anything there, and a worker that follows it.

The attacker has all rights on the server and no trusted key. Honest people release through the same
server; the worker is a process of its own (`trust/worker.py`), watched by an audit hook.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import ROOT, wait_until
from trust.people import Files, Person, Together, a_release, entry

from scatter.analysis import ModuleSource
from scatter.bundle import digest_of, encode
from scatter.bundle.build import Built, build
from scatter.log import Draft, Journal, Ledger, envelope, statement
from scatter.model import Change, Release
from scatter.releases import Candidate, Releases
from scatter.store.link import Link
from scatter.store.redis import RedisStore
from scatter.trust import Unsigned

ANN, BOB, CAROL, DAVE, EVE, FRANK, MALLORY = (
    Person(name) for name in ("ann", "bob", "carol", "dave", "eve", "frank", "mallory")
)
"""Ann and Bob are trusted. Carol's key has expired, Dave's is not valid yet, Eve is unknown, Frank
is trusted for something else, and Mallory's key was stolen and revoked."""

POLICY = """\
admins = ["ann@*", "mallory@*"]

[[rule]]
functions = ["shop:guarded"]
signers = ["bob@*"]

[[rule]]
functions = ["shop:double"]
threshold = 2
"""

SHOP = """\
import scatter


@scatter.track
def f():
    return "f0"


@scatter.track
def g():
    return "g0"
"""


_HARMLESS = re.compile(
    r"socket\.connect |(open|os\.chmod) \d|(open|os\.listdir) \S+(\.zip|/redis-\S+/METADATA)( |$)"
)
"""Its own connection; a file by its descriptor, whose name was told before; and that redis-py looks
up its own version when it connects."""


class Worker:
    """The process."""

    def __init__(
        self, folder: Path, url: str, namespace: str, *, wait: str = "0", text: str = SHOP
    ) -> None:
        self._folder = folder
        (folder / "shop.py").write_text(text)
        self.log = folder / f"worker-{len(list(folder.iterdir()))}.log"
        given = {k: v for k, v in os.environ.items() if not k.startswith(("SCATTER_", "XDG_"))}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("worker.py")), wait],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=given
                | {
                    "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}{os.pathsep}{ROOT / 'agent'}",
                    "HOME": str(folder),
                    "XDG_CONFIG_HOME": str(folder / "config"),
                    "SCATTER_STATE": str(folder / "state"),
                    "SCATTER_REDIS_URL": url,
                    "SCATTER_NAMESPACE": namespace,
                },
            )
        self._answer()

    def ask(self, command: str) -> dict[str, Any]:
        """Have the process do something, and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the worker died: {self.log.read_text()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def tell(self) -> dict[str, Any]:
        """Return what the process says of itself."""
        return self.ask("tell")

    def until(self, what: str, **expected: Any) -> dict[str, Any]:
        """Wait until the process says this."""

        def found() -> dict[str, Any]:
            told = self.tell()
            return told if all(told[name] == value for name, value in expected.items()) else {}

        try:
            return wait_until(found, what, 8)
        except AssertionError as error:
            log = self.log.read_text()[-2000:]
            raise AssertionError(f"{what}: {expected}; found {self.tell()}\n{log}") from error

    def uninvited(self) -> list[str]:
        """Return the events since the mark, but for its own files and its own connection."""
        state = f"{self._folder}/state/"
        own = (f"open {state}", f"os.rename {state}", f"open {self._folder}/config/scatter/")
        events = [e for e in self.tell()["events"] if not e.startswith(own)]
        return [event for event in events if not _HARMLESS.match(event)]

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


class Scene:
    """A namespace: honest people, an attacker, and the files of whoever runs the worker."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self.folder, self.url, self.namespace = folder, url, namespace
        self.files = Files(folder / "config" / "scatter")
        self.files.trust(
            ANN,
            BOB,
            CAROL.line('valid-before="20200101"'),
            DAVE.line('valid-after="20980101"'),
            FRANK.line('namespaces="file"'),
            MALLORY,
        )
        self.files.revoke(MALLORY)
        self.files.policy(POLICY)
        self.store = RedisStore(url, namespace)
        self.journal = Journal(self.store, verifier=Unsigned(), signer=Together(ANN))
        self.releases = Releases(self.journal, author="ann")
        self._admin = Link(url, name="attacker")
        self.is_changed = False  # by the attacker, and not known to be healed
        self._count = 0
        self._values = {"f": "f0", "g": "g0"}

    def close(self) -> None:
        self._admin.close()
        self.store.close()

    # honest people -----------------------------------------------------------------------

    def push(self, *names: str) -> list[str]:
        """Release new versions of functions; return what all return from then on."""
        candidates = [Candidate(bundle=one.bundle, lines=one.lines) for one in self._edit(*names)]
        assert self.releases.push(candidates, force=True).release is not None
        return self.values

    def made(self, name: str) -> tuple[Change, bytes]:
        """Return the next version of a function and its bundle, to be released by hand."""
        (one,) = self._edit(name)
        data = encode(one.bundle)
        return self.next_version(data, name, lines=one.lines), data

    def _edit(self, *names: str) -> list[Built]:
        self._count += 1
        text = SHOP
        for name in names:
            text = text.replace(f'"{name}0"', f'"{name}{self._count}"')
            self._values[name] = f"{name}{self._count}"
        source = ModuleSource(text, name="shop", file="shop.py")
        return [build(source, name) for name in names]

    @property
    def values(self) -> list[str]:
        """What the functions return if a worker runs what honest people released."""
        return [*self._values.values()]

    @property
    def ledger(self) -> Ledger:
        """What the honest log adds up to."""
        return self.journal.ledger

    @property
    def tip(self) -> int:
        """Its length."""
        return self.ledger.sequence

    def commit(self, change: Change, data: bytes, at: str = "") -> None:
        """Release a change as it is: a trusted person may have a broken tool."""
        draft = Draft(action="push", changes=(change,), bundles={at or change.bundle: data})
        assert self.journal.append(lambda _: draft) is not None

    def next_version(self, data: bytes, function: str = "f", **fields: Any) -> Change:
        """Return the change that makes some bytes the next version."""
        name = f"shop:{function}"
        known = self.ledger.functions.get(name)
        given: dict[str, Any] = {"version": (known.last if known else 0) + 1, "size": len(data)}
        given |= {"function": name, "bundle": digest_of(data), "created": True}
        return Change(**(given | fields))

    # the attacker ------------------------------------------------------------------------

    def run(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Do something on the server, in one transaction, and ring."""
        self.is_changed = True
        self._admin.run([("MULTI",), *commands, ("EXEC",)])
        return self.ring()

    def ring(self) -> list[Any]:
        """Forge the ring of the log."""
        channel = f"__keyspace@0__:{self.key('log')}"
        return self._admin.run([("PUBLISH", channel, "hset")])

    def ask(self, *command: Any) -> Any:
        """Return one reply."""
        return self._admin.run([command])[0]

    def key(self, *parts: str) -> str:
        """Return a key of the namespace."""
        return self.store.key(*parts)

    def entries(self) -> list[bytes]:
        """Return the log."""
        found = self.store.entries(range(1, self.tip + 1))
        return [one for one in found if one is not None]

    def put(self, *entries: bytes, at: int = 0) -> None:
        """Write entries at a place of the log; default: behind its end."""
        at = at or self.tip + 1
        self.run(*[("HSET", self.key("log"), at + n, data) for n, data in enumerate(entries)])

    def put_log(self, entries: Sequence[bytes]) -> None:
        """Replace the whole log."""
        fields = [part for item in enumerate(entries, 1) for part in item]
        self.run(("DEL", self.key("log")), ("HSET", self.key("log"), *fields))

    def forge(self, *people: Person, **fields: Any) -> bytes:
        """Return an entry that would come next, signed by people."""
        return entry(self.release(**fields), *people)

    def release(self, **fields: Any) -> Release:
        """Return a release that would come next."""
        change = Change(function="shop:f", version=0)
        given: dict[str, Any] = {"namespace": self.namespace, "changes": (change,)}
        return a_release(self.ledger, **(given | fields))

    def sealed(self, text: bytes, *people: Person) -> bytes:
        """Return an entry of any bytes, signed by people for this namespace."""
        signatures = [s for p in people for s in p.sign(text, namespace=self.namespace)]
        return envelope.seal(text, tuple(signatures))

    def save(self) -> dict[bytes, bytes]:
        """Return all that the server has of the namespace but reports."""
        keys = self.ask("KEYS", f"scatter:{{{self.namespace}}}:*")
        kept = [key for key in keys if b":process" not in key]
        dumps = self._admin.run([("DUMP", key) for key in kept])
        return dict(zip(kept, dumps, strict=True))

    def restore(self, saved: dict[bytes, bytes]) -> None:
        """Have the server be as it was."""
        gone = list(self.ask("KEYS", f"scatter:{{{self.namespace}}}:*"))
        commands: list[tuple[Any, ...]] = [("DEL", *gone)] if gone else []
        self.run(*commands, *[("RESTORE", key, 0, data) for key, data in saved.items()])

    def hash_of_tip(self) -> str:
        """Return what the next release must name."""
        return statement.hash_of(envelope.open_(self.entries()[-1])[0])


def goes_on(scene: Scene, worker: Worker) -> None:
    """Assert that the worker takes the next honest release, and that no caller saw anything."""
    values = scene.push("f", "g")
    told = worker.until("the next honest release", state="ready", values=values)
    assert told["errors"] == []
    scene.is_changed = False


@contextmanager
def a_new_worker(scene: Scene, folder: Path, text: str = SHOP) -> Iterator[Worker]:
    """Start a worker that knows nothing; `text` is its code."""
    shutil.copytree(scene.folder / "config", folder / "config")
    worker = Worker(folder, scene.url, scene.namespace, text=text)
    try:
        yield worker
    finally:
        worker.end()
