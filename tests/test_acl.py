"""Accounts of Redis: what each may do and what not, and that each can do its work.

On every kind of server that there is; the rules are those that `scatter acl` prints.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fleets import Cluster, Sentinels
from support import start_python, wait_until

from scatter.access import Access
from scatter.cli.app import cli
from scatter.errors import StoreRefused, StoreUnavailable, UsageError
from scatter.log import Journal
from scatter.releases import Releases
from scatter.reports import read_reports
from scatter.server import EmbeddedServer
from scatter.store.acl import RIGHTS, ROLES, Role, roles_that_may, rules
from scatter.store.link import Link
from scatter.store.port import Hints
from scatter.store.redis import RedisStore

PASSWORD = "s3cret"
DIGEST = "ab" * 32
KEYS = (
    "log",
    "bundle:ab",
    "recent",
    "snapshot",
    "versions:m:f",
    "shipped",
    "deploy:m",
    "processes",
)
KEYS += ("process:web-1-7-x", "process:db-9-7-x", "config", "")
"""One key of each kind, and two that there are not."""

RELEASES = ("log", "bundle:ab", "recent", "snapshot", "versions:m:f")
PROCESSES = ("processes", "process:web-1-7-x", "process:db-9-7-x")
GETS = "get hgetall hlen hmget mget zrangebyscore zrevrangebyscore"
ADDS = {
    "log": "hsetnx",
    "bundle:ab": "setnx",
    "versions:m:f": "zadd",
    "snapshot": "set",
    "recent": "hset del",
}
REPORTS = dict.fromkeys(PROCESSES[1:], "hset pexpire del") | {
    "processes": "zadd zrem zremrangebyscore",
    "shipped": "hsetnx",
    "deploy:m": "hset expire",
}
READS: dict[Role, tuple[str, tuple[str, ...]]] = {
    "reader": (f"{GETS} hget zrange", (*RELEASES, *PROCESSES)),
    "agent": (GETS, (*RELEASES, "shipped", "deploy:m")),
    "pusher": (f"{GETS} hget zrange hexists watch", (*RELEASES, *PROCESSES)),
    "janitor": (f"{GETS} hget zrange hexists watch", (*RELEASES, *PROCESSES)),
}
WRITES: dict[Role, Mapping[str, str]] = {
    "reader": {},
    "agent": REPORTS,
    "pusher": ADDS,
    "janitor": ADDS | {"bundle:ab": "setnx del", "versions:m:f": "zadd del zremrangebyscore"},
}
ANYBODY = "auth hello quit reset"  # of all users of a server
KEYLESS: dict[Role, str] = {
    role: f"{ANYBODY} ping client|setname subscribe unsubscribe {more}"
    for role, more in zip(
        ROLES, ("", "exec multi", "exec multi unwatch", "exec multi unwatch"), strict=True
    )
}
COUNTS: dict[Role, int] = {"reader": 17, "agent": 25, "pusher": 28, "janitor": 29}
"""How many different commands of the server each may use at all, those of everybody included."""


class Accounts:
    """A server, its administrator, and accounts made as `scatter acl` says."""

    def __init__(self, server: EmbeddedServer, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        self.admin = Link(server.url)
        self._stores: list[RedisStore] = []
        self._users: list[str] = []

    def user(self, role: Role, **options: Any) -> str:
        """Make an account; return its name."""
        name = f"{self.namespace}-{role}{len(self._users)}"
        words = rules([role], self.namespace, **options)
        (done,) = self.admin.run([("ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *words)])
        assert done == b"OK"
        self._users.append(name)
        return name

    def url(self, role: Role, **options: Any) -> str:
        """Make an account; return the address for it."""
        database = options.get("database", 0)
        return f"unix://{self.user(role, **options)}:{PASSWORD}@{self.server.socket}?db={database}"

    def store(self, role: Role, namespace: str = "", **options: Any) -> RedisStore:
        """Make an account; return a store in its name."""
        made = RedisStore(self.url(role, **options), namespace or self.namespace)
        self._stores.append(made)
        return made

    def owner(self) -> RedisStore:
        """Return a store in the administrator's name."""
        made = RedisStore(self.server.url, self.namespace)
        self._stores.append(made)
        return made

    def releases(self, role: Role) -> Releases:
        """Make an account; return the verbs in its name."""
        return Releases(Journal(self.store(role)), author=f"{role}@example.org")

    def may(self, user: str, *commands: tuple[Any, ...]) -> list[bool]:
        """Return whether an account may do each of these."""
        asked = [("ACL", "DRYRUN", user, *command) for command in commands]
        replies = self.admin.run(asked, lenient=range(len(asked)))
        return [reply == b"OK" for reply in replies]

    def denied(self, role: Role) -> set[str]:
        """Return the commands that the server denied to accounts of a role."""
        (entries,) = self.admin.run([("ACL", "LOG", 100)])
        found = set[str]()
        for entry in entries:
            texts = {key.decode(): value for key, value in entry.items()}
            if texts["username"].decode().startswith(f"{self.namespace}-{role}"):
                what = texts["object"].decode()
                found.add("probe" if "-probe-" in what else what)
        return found

    def close(self) -> None:
        for store in self._stores:
            store.close()
        self.admin.run([("ACL", "DELUSER", *self._users)] if self._users else [])
        (keys,) = self.admin.run([("KEYS", f"scatter:{{{self.namespace}}}:*")])
        self.admin.run([("DEL", *keys)] if keys else [])
        self.admin.close()


@pytest.fixture
def accounts(any_server: EmbeddedServer, request: pytest.FixtureRequest) -> Iterator[Accounts]:
    """Accounts on each kind of server."""
    made = Accounts(any_server, f"acl{os.getpid()}-{id(request)}")
    yield made
    made.close()


# the table --------------------------------------------------------------------------------


def commands_of(link: Link) -> dict[str, tuple[int, int, set[bytes]]]:
    """Return every command of a server, subcommands too: arity, position of its key, flags."""
    found: dict[str, tuple[int, int, set[bytes]]] = {}
    todo: list[Any] = link.run([("COMMAND",)])[0]
    for name, arity, flags, first, *rest in todo:
        subcommands = rest[-1] if isinstance(rest[-1], list) else []
        if subcommands:
            todo.extend(subcommands)
        else:
            found[name.decode()] = (arity, first, {bytes(flag) for flag in flags})
    return found


def spellings(name: str, shape: tuple[int, int, set[bytes]], key: str) -> list[tuple[str, ...]]:
    """Return ways to write a command that concerns a key; those of no key only where that is ''."""
    arity, first, flags = shape
    words = name.split("|")
    if not first and b"movablekeys" not in flags:
        return [(*words, *["1"] * (abs(arity) - len(words)))] if not key else []
    if not key:
        return []
    tails = [["1"] * count for count in range(abs(arity) + 3)]
    heads = [["1"] * count for count in range(4)]
    made = [(*words, *head, key, *tail) for head in heads for tail in tails]
    return [m for m in made if len(m) == arity or (arity < 0 and -arity <= len(m) < 3 - arity)]


def allowed(accounts: Accounts, user: str, namespace: str) -> set[tuple[str, str]]:
    """Return (command, kind of key) of all that an account may do."""
    shapes = commands_of(accounts.admin)
    assert len(shapes) > 300
    asked: list[tuple[str, str]] = []
    commands: list[tuple[str, ...]] = []
    for kind in KEYS:
        key = f"scatter:{{{namespace}}}:{kind}" if kind else ""
        for name, shape in shapes.items():
            for command in spellings(name, shape, key):
                # a command that takes another place for its key has the text "1" for it
                commands.append(command)
                asked.append((name, kind))
    answers = accounts.may(user, *commands)
    return {what for what, answer in zip(asked, answers, strict=True) if answer}


def expected(role: Role) -> set[tuple[str, str]]:
    """Return the same, as it should be."""
    names, kinds = READS[role]
    found = {(name, kind) for name in names.split() for kind in kinds}
    found |= {(name, kind) for kind, names in WRITES[role].items() for name in names.split()}
    return found | {(name, "") for name in KEYLESS[role].split()}


@pytest.mark.parametrize("role", ROLES)
def test_of_all_commands_and_keys_a_role_may_use_exactly_these(
    accounts: Accounts, role: Role
) -> None:
    found = allowed(accounts, accounts.user(role), accounts.namespace)

    assert found - {("subscribe", ""), ("unsubscribe", "")} == expected(role) - {
        ("subscribe", ""),
        ("unsubscribe", ""),
    }
    assert len({name for name, _ in found} | {"subscribe", "unsubscribe"}) == COUNTS[role]


def test_an_administrator_may_do_what_the_roles_may_not(accounts: Accounts) -> None:
    """That what is asked is well-formed: else the server would refuse it to everybody."""
    found = allowed(accounts, "default", accounts.namespace)

    missed = {("set", "log"), ("hdel", "log"), ("del", "log"), ("expire", "bundle:ab")}
    missed |= {("eval", "log"), ("restore", "log"), ("rename", "log"), ("copy", "bundle:ab")}
    missed |= {("config|get", ""), ("flushall", ""), ("keys", ""), ("acl|setuser", "")}
    missed |= {("sort", "log"), ("zunionstore", "log"), ("xread", "log"), ("migrate", "log")}
    assert missed <= found
    for role in ROLES:
        assert expected(role) - {("unsubscribe", "")} <= found | {("auth", ""), ("hello", "")}


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_touch_another_namespace(accounts: Accounts, role: Role) -> None:
    user = accounts.user(role)
    for other in (f"{accounts.namespace}2", "other", "*"):
        found = allowed(accounts, user, other)
        assert {what for what in found if what[1]} == set()


@pytest.mark.parametrize("role", ROLES)
def test_a_command_of_several_keys_needs_the_right_to_each(accounts: Accounts, role: Role) -> None:
    user, mine = accounts.user(role), f"scatter:{{{accounts.namespace}}}:"
    commands = [
        ("MGET", f"{mine}bundle:ab", "scatter:{other}:bundle:ab"),
        ("DEL", f"{mine}recent", f"{mine}log"),
        ("DEL", f"{mine}bundle:ab", f"{mine}log"),
        ("RENAME", f"{mine}recent", f"{mine}log"),
        ("COPY", f"{mine}recent", f"{mine}log"),
        ("SET", f"{mine}snapshot", "1", "GET"),
    ]
    # GET with SET reads and writes: only the two rights together would do
    assert accounts.may(user, *commands) == [False] * len(commands)


@pytest.mark.parametrize("role", ROLES)
def test_only_notifications_of_the_namespace_may_be_listened_for(
    accounts: Accounts, role: Role
) -> None:
    user, prefix = accounts.user(role), f"__keyspace@0__:scatter:{{{accounts.namespace}}}:"
    mine = [("SUBSCRIBE", f"{prefix}{key}") for key in ("log", "process:web-1-7-x")]
    others = [
        ("SUBSCRIBE", f"{prefix}bundle:ab"),
        ("SUBSCRIBE", "__keyspace@0__:scatter:{other}:log"),
        ("SUBSCRIBE", "__keyevent@0__:hset"),
        ("SUBSCRIBE", f"__keyspace@1__:scatter:{{{accounts.namespace}}}:log"),
        ("PSUBSCRIBE", f"{prefix}log"),
        ("PSUBSCRIBE", "*"),
        ("PUBLISH", f"{prefix}log", "hset"),
        ("SSUBSCRIBE", f"{prefix}log"),
    ]
    assert accounts.may(user, *mine) == [True] * len(mine)
    assert accounts.may(user, *others) == [False] * len(others)


def test_an_agent_may_be_narrowed_to_the_reports_of_one_host(accounts: Accounts) -> None:
    user = accounts.user("agent", process="web-1-")
    found = allowed(accounts, user, accounts.namespace)

    assert {kind for name, kind in found if name == "pexpire"} == {"process:web-1-7-x"}
    prefix = f"__keyspace@0__:scatter:{{{accounts.namespace}}}:process:"
    asked = [("SUBSCRIBE", f"{prefix}{who}") for who in ("web-1-7-x", "db-9-7-x")]
    assert accounts.may(user, *asked) == [True, False]


@pytest.mark.parametrize("process", ["web*", "we?b", "[ab]", "a b", "a)", "^x", "a\\"])
def test_what_means_something_in_a_pattern_is_no_process(process: str) -> None:
    with pytest.raises(UsageError, match="what a process id begins with"):
        rules(["agent"], "app", process=process)


def test_an_account_of_two_roles_has_the_rights_of_both(accounts: Accounts) -> None:
    name = f"{accounts.namespace}-both"
    words = rules(["pusher", "agent"], accounts.namespace)
    accounts.admin.run([("ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *words)])
    found = allowed(accounts, name, accounts.namespace)
    accounts.admin.run([("ACL", "DELUSER", name)])

    assert {w for w in found if w[1]} >= {
        w for role in ("pusher", "agent") for w in expected(role) if w[1]
    }
    assert ("del", "log") not in found
    assert ("hset", "log") not in found
    assert ("del", "bundle:ab") not in found


def test_a_group_of_servers_and_another_database_need_a_command_more() -> None:
    plain = set(rules(["reader"], "app"))
    assert set(rules(["reader"], "app", scheme="redis+sentinel")) - plain == {"+role"}
    assert set(rules(["reader"], "app", scheme="rediss+cluster")) - plain == {"+cluster|slots"}
    more = set(rules(["reader"], "app", database=3)) - plain
    assert more == {
        "+select",
        "&__keyspace@3__:scatter:{app}:log",
        "&__keyspace@3__:scatter:{app}:process:*",
    }


def test_who_may_what_is_known_for_messages() -> None:
    assert roles_that_may("DEL", "scatter:{app}:bundle:ab") == ["janitor"]
    assert roles_that_may("HSETNX", "scatter:{app}:log") == ["pusher", "janitor"]
    assert roles_that_may("HSET", "scatter:{app}:process:p") == ["agent"]
    assert roles_that_may("DEL", "scatter:{app}:log") == []
    assert roles_that_may("CONFIG", "GET") == []
    assert roles_that_may("HMGET", "scatter:{app}:log") == list(ROLES)
    assert set(RIGHTS) == set(ROLES)


# each does its work -----------------------------------------------------------------------

SHOP = """\
import scatter


@scatter.track
def price(quantity):
    return quantity * {rate}
"""
WORKER = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import shop, scatter_agent
    agent = scatter_agent.start(application="shop", wait=20)
    print("ready", flush=True)
    for line in sys.stdin:
        print(eval(line), flush=True)
    scatter_agent.stop()
"""


class Worker:
    """A process under its agent, in the name of an account."""

    def __init__(self, accounts: Accounts, folder: Path, url: str) -> None:
        self.process = start_python(
            WORKER, str(folder), env=environment(accounts, url), stderr=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    def ask(self, expression: str) -> str:
        """Evaluate something in the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stop(self) -> str:
        """End it; return what it said on stderr."""
        return self.process.communicate(timeout=30)[1]


def environment(accounts: Accounts, url: str) -> dict[str, str]:
    return os.environ | {"SCATTER_REDIS_URL": url, "SCATTER_NAMESPACE": accounts.namespace}


def scatter(accounts: Accounts, role: Role, *arguments: str, url: str = "") -> tuple[int, str, str]:
    """Run a command in the name of an account; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "scatter", *arguments],
        env=environment(accounts, url or accounts.url(role)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def shop(tmp_path: Path) -> Callable[[int], Path]:
    """Writes the module of a shop with a rate; returns its folder."""

    def write(rate: int) -> Path:
        (tmp_path / "shop.py").write_text(SHOP.format(rate=rate))
        return tmp_path

    return write


def test_four_accounts_run_a_fleet_and_each_does_its_work(
    accounts: Accounts, shop: Callable[[int], Path]
) -> None:
    worker = Worker(accounts, shop(2), accounts.url("agent"))
    assert worker.ask("shop.price(10)") == "20"

    for rate in (3, 4):
        code, _, err = scatter(accounts, "pusher", "push", str(shop(rate)), "-m", "dearer")
        assert code == 0, err
        answer = str(rate * 10)
        wait_until(lambda a=answer: worker.ask("shop.price(10)") == a, "the push")

    code, out, err = scatter(accounts, "reader", "status", "--json", "--no-git")
    assert code == 0, err
    (process,) = json.loads(out)["status"]["processes"]
    assert process["functions"] == {"shop:price": 2}
    assert (process["application"], process["state"]) == ("shop", "ready")
    assert worker.ask("agent.status().doorbell") == "notifications"
    assert worker.ask("agent.status().unreported") == ""
    for look in (["list"], ["log"], ["log", "price"], ["diff", "price"], ["status", "--wait"]):
        code, out, err = scatter(accounts, "reader", *look)
        assert code == 0, f"{look}: {err}"
        assert out

    code, _, err = scatter(accounts, "pusher", "rollback")
    assert code == 0, err
    wait_until(lambda: worker.ask("shop.price(10)") == "30", "the rollback")

    code, _, err = scatter(accounts, "janitor", "delete", "price", "--yes")
    assert code == 0, err
    wait_until(lambda: worker.ask("shop.price(10)") == "20", "the deletion")
    assert accounts.admin.run([("KEYS", f"scatter:{{{accounts.namespace}}}:bundle:*")]) == [[]]

    assert worker.stop() == ""
    assert read_reports(accounts.owner()) == []
    assert accounts.denied("agent") == {"config|get"}
    trying = {"config|get", "hset", "pexpire", "del", "probe"}  # of the doorbell, by who listens
    others = set[str]().union(*(accounts.denied(role) for role in ROLES if role != "agent"))
    assert others <= trying, "they were denied what they need"


VERBS = {
    "delete": ("delete", "price", "--yes"),
    "delete-old": ("delete", "price", "--older-than", "2", "--yes"),
    "rollback": ("rollback",),
    "release": ("release", "price=1"),
    "push": ("push",),
}


@pytest.mark.parametrize("role", ["reader", "agent", "pusher"])
def test_a_verb_that_a_role_does_not_have_is_refused_with_the_role_to_use_and_nothing_done(
    accounts: Accounts, shop: Callable[[int], Path], role: Role
) -> None:
    pusher, url = accounts.url("pusher"), accounts.url(role)
    for rate in (2, 3):
        assert scatter(accounts, "pusher", "push", str(shop(rate)), url=pusher)[0] == 0
    before, folder = everything(accounts), str(shop(4))
    verbs = [verb for verb in VERBS if role != "pusher" or verb.startswith("delete")]
    for verb in verbs:
        words = [*VERBS[verb], *([folder] if verb == "push" else [])]
        code, out, err = scatter(accounts, role, *words, url=url)
        assert (code, out) == (1, ""), verb
        assert err.startswith("Error: ")
        wanted = "janitor" if role == "pusher" else "pusher or janitor"
        assert "Check the rights of its user (ACL): an account with the role" in err
        assert f"with the role {wanted} may" in err
        assert PASSWORD not in err
        assert everything(accounts) == before, verb


def everything(accounts: Accounts) -> dict[bytes, bytes]:
    """Return all keys of the namespace with what is in them."""
    (keys,) = accounts.admin.run([("KEYS", f"scatter:{{{accounts.namespace}}}:*")])
    values = accounts.admin.run([("DUMP", key) for key in keys])
    return dict(zip(keys, values, strict=True))


@pytest.mark.parametrize("hint", ["versions", "snapshot", "recent", "versions snapshot recent"])
def test_hints_that_may_not_be_written_cost_time_and_are_no_error(
    accounts: Accounts, hint: str
) -> None:
    name = accounts.user("pusher")
    words = [
        word
        for word in rules(["pusher"], accounts.namespace)
        if not (word.startswith("(") and any(f"}}:{kind}" in word for kind in hint.split()))
    ]
    accounts.admin.run([("ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *words)])
    store = RedisStore(
        f"unix://{name}:{PASSWORD}@{accounts.server.socket}?db=0", accounts.namespace
    )
    written = Hints(versions={"m:f": 1}, snapshot=True)

    assert store.append(1, b"one", {DIGEST: b"bundle"}, written)
    assert store.append(2, b"two", {}, written)
    assert not store.append(2, b"again", {}, written)
    assert store.read(0).entries == (b"one", b"two")
    assert store.bundles([DIGEST]) == {DIGEST: b"bundle"}
    (keys,) = accounts.admin.run([("KEYS", f"scatter:{{{accounts.namespace}}}:*")])
    kinds = {key.decode().partition("}:")[2].partition(":")[0] for key in keys}
    left = {"versions", "snapshot"} - set(hint.split())
    assert kinds == {"log", "bundle"} | left, "the last append had no bundle for `recent`"
    store.close()


def test_an_agent_without_the_index_still_reports_and_without_the_hint_still_knows_its_deploy(
    accounts: Accounts,
) -> None:
    name = accounts.user("agent")
    words = [
        word
        for word in rules(["agent"], accounts.namespace)
        if "}:processes +" not in word and "}:deploy:* +" not in word
    ]
    accounts.admin.run([("ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *words)])
    store = RedisStore(
        f"unix://{name}:{PASSWORD}@{accounts.server.socket}?db=0", accounts.namespace
    )
    store.write_report("p", b"report", 60)
    assert store.keep_report("p", 60)
    store.note_digests("m:text", {"m:f": "[]"})
    store.note_seen({"m:f": 3})
    assert store.first_seen(["m:f"]) == {"m:f": 3}
    key = f"scatter:{{{accounts.namespace}}}:process:p"
    assert accounts.admin.run([("HGET", key, "report")]) == [b"report"]
    store.remove_report("p")
    assert accounts.admin.run([("EXISTS", key)]) == [0]
    store.close()


def test_an_agent_that_may_not_report_follows_all_the_same_and_says_so(
    accounts: Accounts, shop: Callable[[int], Path]
) -> None:
    worker = Worker(accounts, shop(2), accounts.url("reader"))
    assert scatter(accounts, "pusher", "push", str(shop(3)))[0] == 0
    wait_until(lambda: worker.ask("shop.price(10)") == "30", "the push")
    assert "with the role agent may" in worker.ask("agent.status().unreported")
    worker.stop()


def test_who_may_not_see_the_processes_is_told_so_and_not_that_there_are_none(
    accounts: Accounts,
) -> None:
    with pytest.raises(StoreRefused, match="with the role reader, pusher or janitor may"):
        accounts.store("agent").reports()
    code, _, err = scatter(accounts, "agent", "status", "--no-git")
    assert code == 1
    assert "refused ZRANGE" in err


def test_a_pusher_and_a_reader_hear_the_doorbell_without_a_right_to_try_it(
    accounts: Accounts,
) -> None:
    bell = accounts.store("reader").doorbell()
    bell.listen(processes=["web-1-7-x"])
    pusher = accounts.store("pusher")
    assert pusher.append(1, b"one", {})
    assert wait_until(lambda: bell.wait(0.05), "the ring").log
    accounts.store("agent").write_report("web-1-7-x", b"report", 60)
    assert wait_until(lambda: bell.wait(0.05), "the report").processes == {"web-1-7-x"}


def test_a_narrowed_agent_tries_the_doorbell_with_a_key_of_its_host(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "web-1")
    accounts.admin.run([("CONFIG", "SET", "notify-keyspace-events", "Kh")])
    here = accounts.store("agent", process="web-1-").doorbell()
    here.listen()
    assert here.works
    elsewhere = accounts.store("agent", process="db-9-").doorbell()
    elsewhere.listen()
    assert not elsewhere.works, "it may not write what a probe needs, and polls"


def test_in_another_database_all_of_it_works_too(accounts: Accounts) -> None:
    pusher = accounts.store("pusher", database=3)
    bell = accounts.store("agent", database=3).doorbell()
    bell.listen()
    assert bell.works
    assert pusher.append(1, b"one", {})
    assert wait_until(lambda: bell.wait(0.05), "the ring").log
    mover = Link(f"{accounts.server.url.partition('?')[0]}?db=3")
    mover.run([("DEL", f"scatter:{{{accounts.namespace}}}:log")])
    mover.close()


def test_a_wrong_password_is_no_refusal_of_a_right(accounts: Accounts) -> None:
    user = accounts.user("reader")
    store = RedisStore(f"unix://{user}:wrong@{accounts.server.socket}", accounts.namespace)
    with pytest.raises((StoreRefused, StoreUnavailable), match="denied the log-in") as caught:
        store.read(0)
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")
    store.close()


# groups of servers ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Sentinels, Cluster])
def test_in_a_group_of_servers_each_account_does_its_work_and_lacks_nothing(
    kind: type[Sentinels] | type[Cluster], tmp_path: Path
) -> None:
    group = kind(tmp_path, "shop") if issubclass(kind, Cluster) else kind(tmp_path)
    try:
        scheme, _, rest = group.url.partition("://")
        nodes = group.nodes if isinstance(group, Cluster) else [group.master, group.replica]
        for node in nodes:
            for role in ROLES:
                words = rules([role], "shop", scheme=scheme)
                node.run("ACL", "SETUSER", role, "reset", "on", f">{PASSWORD}", *words)
            node.run("CONFIG", "SET", "notify-keyspace-events", "Kh")
        file = tmp_path / "password"
        file.write_text(PASSWORD)
        stores = {
            role: RedisStore(
                f"{scheme}://{role}@{rest}",
                "shop",
                access=Access(redis_password_file=str(file)),
            )
            for role in ROLES
        }
        bell = stores["agent"].doorbell()
        bell.listen()
        assert bell.works
        assert stores["pusher"].append(1, b"one", {DIGEST: b"bundle"})
        assert wait_until(lambda: bell.wait(0.05), "the ring").log
        stores["agent"].write_report("p", b"report", 60)
        assert stores["reader"].reports() == {"p": b"report"}
        assert stores["reader"].bundles([DIGEST]) == {DIGEST: b"bundle"}
        with pytest.raises(StoreRefused, match="with the role janitor may"):
            stores["pusher"].append(2, b"two", {}, Hints(remove=[DIGEST]))
        assert stores["janitor"].append(2, b"two", {}, Hints(remove=[DIGEST]))
        assert stores["reader"].bundles([DIGEST]) == {}
        for store in stores.values():
            store.close()
    finally:
        group.close()


# the command ------------------------------------------------------------------------------


def acl(*arguments: str, answer: str = "") -> Result:
    """Run `scatter acl` for the namespace `shop`."""
    return CliRunner().invoke(cli, ["-u", "redis://h/2", "-n", "shop", "acl", *arguments], answer)


def test_the_command_prints_a_line_for_each_role_that_a_server_takes_when_it_is_completed(
    own_server: Callable[..., EmbeddedServer],
) -> None:
    lines = acl().stdout.splitlines()
    link = Link(own_server().url)

    assert [line.split()[2] for line in lines] == [f"scatter-shop-{role}" for role in ROLES]
    for line in lines:
        with pytest.raises(StoreRefused, match="64 characters"):
            link.run([tuple(line.split(" "))])
        done = line.replace("#SHA256-OF-THE-PASSWORD", f">{PASSWORD}")
        assert link.run([tuple(done.split(" "))]) == [b"OK"]
    link.close()


def test_the_password_comes_from_a_file_or_the_terminal_and_only_its_hash_is_printed(
    tmp_path: Path,
) -> None:
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    typed = f"{PASSWORD}\n{PASSWORD}\n"
    for done in (
        acl("--role", "agent", "--password-file", str(file)),
        acl("--role", "agent", "--ask", answer=typed),
        acl("--role", "agent", "--role", "pusher", "--user", "ann", "--ask", answer=typed),
    ):
        assert done.exit_code == 0, done.output
        (line,) = [text for text in done.stdout.splitlines() if text.startswith("ACL ")]
        assert f" #{digest} " in line
        assert PASSWORD not in done.output
        assert "SHA256-OF" not in done.output
        assert "&__keyspace@2__:" in line, "the database of the address"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ask"], "A password is for one account"),
        (["--role", "agent", "--user", "a b"], "--user: expected a name without blanks"),
        (["--user", ""], "--user: expected a name"),
        (
            ["--role", "reader", "--process", "web-1-"],
            "--process is for accounts of the role agent",
        ),
        (["--role", "agent", "--process", "*"], "what a process id begins with"),
        (["--role", "agent", "--password-file", "missing"], "password file missing cannot be read"),
    ],
)
def test_what_makes_no_account_is_a_usage_error(arguments: list[str], message: str) -> None:
    done = acl(*arguments)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
    assert done.stdout == ""


def test_lines_for_a_file_are_taken_by_a_server_that_starts_with_it(
    own_server: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    lines = ["user default on nopass ~* &* +@all\n"]
    for role in ROLES:
        done = acl("--role", role, "--file", "--db", "0", "--password-file", str(password))
        lines.append(done.stdout)
    file = tmp_path / "users.acl"
    file.write_text("".join(lines))
    server = own_server("--aclfile", str(file))
    made = Accounts(server, "shop")
    for role in ROLES:
        assert allowed(made, f"scatter-shop-{role}", "shop") >= {
            what for what in expected(role) if what[1]
        }
    made.close()
