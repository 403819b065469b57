"""Trust on the command line: first key, refusals with the command to run, reset, renew, off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shells import PRICING, Shell
from trust.people import Files, Person

from scatter.log import Journal
from scatter.releases import Releases
from scatter.store.redis import RedisStore

EVE = Person("eve")


@pytest.fixture
def fresh(shell: Shell, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The terminal of somebody who never released anything."""
    shell.environment["XDG_CONFIG_HOME"] = str(own_home.parent)
    shell.environment["SCATTER_STATE"] = str(shell.folder / "state")
    return shell


def store_of(shell: Shell) -> RedisStore:
    environment = shell.environment
    return RedisStore(environment["SCATTER_REDIS_URL"], environment["SCATTER_NAMESPACE"])


def test_the_first_push_makes_a_key_and_says_so_once(fresh: Shell, own_home: Path) -> None:
    first = fresh("push")
    assert first.code == 0
    line, rest = first.err.split("\n", 1)
    assert re.fullmatch(
        r"Made a key to sign releases with, and trusted it on this account: "
        rf"{own_home}/signing_key \(SHA256:[\w+/]{{43}}\)",
        line,
    )
    assert rest.startswith("Pushed ")
    assert (own_home / "signing_key").stat().st_mode & 0o777 == 0o600
    fresh.file.write_text(PRICING.replace("return", "return 1 +", 1))
    assert "Made a key" not in fresh("push").err


def test_a_stranger_is_refused_with_the_one_command_and_that_command_works(fresh: Shell) -> None:
    assert fresh("push").code == 0
    store = store_of(fresh)
    Releases(Journal(store, signer=EVE), author="eve").renew()
    refused = fresh("list")
    assert refused.code == 1
    command = refused.err.splitlines()[-1].strip()
    assert command.startswith("scatter keys trust 'ssh-ed25519 ")
    assert fresh(*command.removeprefix("scatter ").replace("'", "").split(" ", 2)).code == 0
    assert fresh("list").code == 0
    store.close()


def test_status_shows_the_processes_also_of_a_log_that_is_not_believed(fresh: Shell) -> None:
    assert fresh("push").code == 0
    store = store_of(fresh)
    Releases(Journal(store), author="eve").renew()
    done = fresh("status", "--no-git")
    assert done.code == 1
    assert "Error: Nobody has signed the release" in done.err
    assert "pricing:score" in done.out
    store.close()


def test_reset_says_what_it_would_do_and_does_it_when_it_is_confirmed(fresh: Shell) -> None:
    assert fresh("push").code == 0
    store = store_of(fresh)
    store.append(2, b"poison", {})
    store.append(3, b"poison", {})
    assert fresh("list").code == 1
    asked = fresh("reset", answer="n\n")
    assert asked.code == 1
    assert ": 1 of 3 releases can be believed." in asked.err
    assert "After that: A log entry is no release" in asked.err
    assert "Epoch 1 would begin with release 2; live would be:" in asked.err
    assert "  pricing:score v1, by ann@example.org" in asked.err
    assert "Nothing was changed." in asked.err
    assert store.read(0).tip == 3
    done = fresh("reset", "-m", "poisoned", answer="y\n")
    assert done.code == 0
    assert done.err.endswith("Release 2 begins epoch 1 of the log.\n")
    assert fresh("list").code == 0
    assert "poisoned" in fresh("log").out
    assert fresh("reset", "--yes", "--json").json("reset")["epoch"] == 2
    store.close()


def test_reset_says_that_this_account_knew_more(fresh: Shell) -> None:
    assert fresh("push").code == 0
    assert fresh("renew").code == 0
    store = store_of(fresh)
    store.cut(1)
    asked = fresh("reset", answer="n\n")
    assert "This account knew release 2 of epoch 0: what came after release 1 would" in asked.err
    store.close()


def test_a_log_of_before_releases_were_signed_is_adopted(fresh: Shell) -> None:
    off = fresh("push", SCATTER_TRUST="off")
    assert off.code == 0
    assert off.err.startswith("SCATTER_TRUST=off: nothing is signed or checked here.\n")
    refused = fresh("list")
    assert refused.code == 1
    assert "`scatter reset --adopt`" in refused.err
    assert fresh("reset", "--adopt", "--yes").code == 0
    assert fresh("list").code == 0
    assert fresh("push").code == 0


def test_renew_releases_nothing(fresh: Shell) -> None:
    assert fresh("push").code == 0
    done = fresh("renew", "--json")
    assert done.json("renewed")["sequence"] == 2
    assert re.search(r"^2 +renew ", fresh("log").out, re.M)
    back = fresh("rollback")
    assert back.code == 0
    assert "pricing:score" in back.err, "what was released before"


def test_the_bytes_of_a_release_are_those_of_the_store(fresh: Shell) -> None:
    assert fresh("push").code == 0
    store = store_of(fresh)
    (entry,) = store.entries([1])
    assert entry is not None
    raw = fresh("log", "--raw", "1")
    assert raw.out.encode() in entry
    assert not raw.out.endswith("\n")
    assert fresh("log", "--signature", "1").out.startswith("-----BEGIN SSH SIGNATURE-----\n")
    missing = fresh("log", "--raw", "7")
    assert (missing.code, missing.err) == (1, "Error: There is no release 7.\n")
    store.close()


def test_a_key_that_is_not_trusted_here_releases_nothing(fresh: Shell, files: Files) -> None:
    files.trust(EVE)
    fresh("keys", "new")
    files.trust(EVE)  # whoever manages this machine has taken the new one out again
    refused = fresh("push")
    assert refused.code == 1
    assert "Nobody here trusts the key" in refused.err
    store = store_of(fresh)
    assert store.read(0).tip == 0
    store.close()
