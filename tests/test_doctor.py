"""The doctor: what it finds on real servers, what it advises, and that it leaves all as it was."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleets import Cluster, Sentinels
from support import free_port, signed, wait_until
from tls import certificate, tls_server

from scatter import doctor
from scatter.config import Settings, resolve
from scatter.doctor import CHECKS, Check, Finding, examine
from scatter.doctor.rights import READS, trials
from scatter.errors import StoreRefused
from scatter.log.journal import Draft
from scatter.model import Change
from scatter.server import EmbeddedServer
from scatter.store.acl import RIGHTS, ROLES, Role, rules
from scatter.store.link import Link
from scatter.store.redis import RedisStore

Starts = Callable[..., EmbeddedServer]
PASSWORD = "Qs3cretQ"


def settings(url: str, namespace: str = "shop", **more: str) -> Settings:
    return resolve(redis_url=url, namespace=namespace, **more)


def found(url: str, check: str = "", role: Role | None = None, **more: str) -> list[Finding]:
    """Return what the doctor finds, of one check if it is named."""
    return [f for f in examine(settings(url, **more), role) if check in ("", f.check)]


def only(url: str, check: str, role: Role | None = None, **more: str) -> Finding:
    """Return the one finding of a check."""
    (finding,) = found(url, check, role, **more)
    return finding


def account(server: EmbeddedServer, role: Role, namespace: str = "shop") -> str:
    """Make an account; return the address for it."""
    link, name = Link(server.url), f"doctor-{role}"
    words = rules([role], namespace)
    link.run([("ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *words)])
    link.close()
    return f"unix://{name}:{PASSWORD}@{server.socket}?db=0"


def everything(server: EmbeddedServer) -> tuple[Any, ...]:
    """Return all keys with what is in them, and the settings that the doctor looks at."""
    link = Link(server.url)
    (keys,) = link.run([("KEYS", "*")])
    values = link.run([("DUMP", key) for key in sorted(keys)])
    (config,) = link.run([("CONFIG", "GET", "*")])
    link.close()
    return sorted(keys), values, sorted(config.items())


# what it finds ----------------------------------------------------------------------------


def test_on_a_good_server_there_is_no_problem_and_every_check_that_applies_was_made(
    any_server: EmbeddedServer,
) -> None:
    made = found(any_server.url)
    states = {finding.check: finding.state for finding in made}

    assert "problem" not in states.values(), made
    others = {"log-in", "group", "certificates"}  # nothing to say of an address without them
    others |= {check.name for check in CHECKS if check.needs == "directory"}
    assert {check.name for check in CHECKS} - set(states) == others
    assert only(any_server.url, "version").found.split()[0] in ("Redis", "Valkey")
    assert "master" in only(any_server.url, "part").found
    assert "A change was heard after" in only(any_server.url, "notifications").found


@pytest.mark.parametrize("role", ROLES)
def test_an_account_is_fit_for_its_role_and_that_is_found_out_without_a_trace(
    any_server: EmbeddedServer, role: Role
) -> None:
    url = account(any_server, role)
    before = everything(any_server)
    finding = only(url, "account", role)

    assert finding.state == "ok", finding
    assert f"doctor-{role} may do what the role {role} needs" in finding.found
    assert everything(any_server) == before


@pytest.mark.parametrize(
    ("has", "needs", "missing"),
    [
        ("reader", "pusher", "MULTI"),
        ("reader", "agent", "MULTI"),
        ("agent", "pusher", "HSETNX on log"),
        ("agent", "reader", "ZRANGE on processes"),
        ("pusher", "agent", "HMGET on shipped"),
        ("pusher", "janitor", "DEL on bundle:*"),
    ],
)
def test_an_account_that_lacks_a_right_of_the_role_is_a_problem_that_names_it(
    any_server: EmbeddedServer, has: Role, needs: Role, missing: str
) -> None:
    url = account(any_server, has)
    before = everything(any_server)
    finding = only(url, "account", needs)

    assert finding.state == "problem"
    assert missing in finding.found
    assert "scatter acl" in finding.advice
    assert everything(any_server) == before


def test_without_a_role_it_says_what_the_account_is_good_for(any_server: EmbeddedServer) -> None:
    assert (
        "good for: reader, pusher, janitor ("
        in only(account(any_server, "janitor"), "account").found
    )
    assert "good for: reader (" in only(account(any_server, "reader"), "account").found
    stranger = account(any_server, "reader", "another")
    assert only(stranger, "account").state == "problem"
    owner = found(any_server.url, "account")
    assert [f.state for f in owner] == ["ok", "warning"]
    assert "good for: reader, agent, pusher, janitor (by ACL DRYRUN)" in owner[0].found
    assert "may change and remove releases" in owner[1].found


@pytest.mark.parametrize("role", ROLES)
def test_what_a_narrow_account_may_not_ask_is_no_problem_and_not_called_good(
    any_server: EmbeddedServer, role: Role
) -> None:
    states = {f.check: f.state for f in found(account(any_server, role), role=role)}

    assert states["clock"] == states["keeping"] == states["memory"] == "unchecked"
    assert "problem" not in states.values()
    assert states["notifications"] == ("ok" if role == "agent" else "unchecked")


def test_an_agent_is_not_told_that_there_are_no_processes(
    redis_server: EmbeddedServer, namespace: str
) -> None:
    store = RedisStore(redis_server.url, namespace)
    journal = signed(store)
    journal.append(lambda _: Draft(action="release", changes=(Change(function="m:f", version=0),)))
    store.close()
    seen = only(account(redis_server, "agent", namespace), "namespace", namespace=namespace)
    assert seen.state == "ok"
    assert seen.found.endswith("at release 1, with 1 function, no snapshot yet; this account may "
                               "not see the processes")  # fmt: skip
    seen = only(account(redis_server, "reader", namespace), "namespace", namespace=namespace)
    assert seen.found.endswith(", 0 processes")


def test_a_server_elsewhere_that_asks_for_no_password_is_a_problem(
    redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("scatter.doctor.rights.far_hosts", lambda _: ["redis.internal"])
    _, almighty = found(redis_server.url, "account")
    assert almighty.state == "problem"
    assert "default has no password" in almighty.found
    file = tmp_path / "password"
    file.write_text("any")  # the default user takes every password
    _, almighty = found(redis_server.url, "account", redis_password_file=str(file))
    assert almighty.state == "warning"


def test_a_role_is_tried_with_commands_that_it_has() -> None:
    for role in ROLES:
        right = RIGHTS[role]
        for command, key in trials(role):
            writes = {(c, w.key) for w in right.writes for c in w.commands}
            assert command in right.commands or (command, key) in writes
        assert set(right.reads) <= set(READS)
        assert len(trials(role)) == len(set(trials(role)))


def test_notifications_that_are_off_are_a_warning_and_stay_off(own_server: Starts) -> None:
    server = own_server("--notify-keyspace-events", "Ex")
    for url in (server.url, account(server, "agent")):
        finding = only(url, "notifications")
        assert finding.state == "warning"
        assert "The server sends none" in finding.found
    assert "CONFIG SET notify-keyspace-events " in finding.advice
    link = Link(server.url)
    (setting,) = link.run([("CONFIG", "GET", "notify-keyspace-events")])
    assert set(next(iter(setting.values()))) == set(b"Ex") or b"xE" in setting.values()
    link.close()


def test_an_agent_that_may_not_listen_is_a_problem_and_a_reader_a_warning(
    own_server: Starts,
) -> None:
    server = own_server()
    link = Link(server.url)
    for role in ("agent", "reader"):
        url = account(server, role)
        link.run([("ACL", "SETUSER", f"doctor-{role}", "resetchannels")])
        finding = only(url, "notifications", role)
        assert finding.state == ("problem" if role == "agent" else "warning")
        assert "may not listen" in finding.found
    link.close()


def test_a_replica_is_a_problem(own_server: Starts) -> None:
    server = own_server()
    link = Link(server.url)
    link.run([("REPLICAOF", "127.0.0.1", free_port())])
    finding = only(server.url, "part")
    assert finding.state == "problem"
    assert "replica" in finding.found
    assert "redis+sentinel://" in finding.advice
    link.run([("REPLICAOF", "NO", "ONE")])
    link.close()


@pytest.mark.parametrize(
    ("policy", "limit", "state"),
    [
        ("noeviction", "0", "ok"),
        ("noeviction", "1gb", "ok"),
        ("volatile-lru", "1gb", "ok"),
        ("allkeys-lru", "0", "warning"),
        ("allkeys-lru", "1gb", "problem"),
    ],
)
def test_a_server_that_throws_releases_away_is_a_problem(
    own_server: Starts, policy: str, limit: str, state: str
) -> None:
    server = own_server("--maxmemory-policy", policy, "--maxmemory", limit)
    finding = only(server.url, "memory")
    assert finding.state == state
    assert policy in finding.found
    assert bool(finding.advice) == (state != "ok")


def test_a_server_without_a_log_of_writes_is_a_warning(own_server: Starts) -> None:
    assert only(own_server().url, "keeping").state == "ok"
    finding = only(own_server(name="t", append_only=False).url, "keeping")
    assert finding.state == "warning"
    assert "appendonly yes" in finding.advice


def test_a_clock_that_is_off_is_a_warning(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(redis_url, "clock").state == "ok"
    now = time.time
    monkeypatch.setattr("scatter.doctor.server.time.time", lambda: now() - 100)
    finding = only(redis_url, "clock")
    monkeypatch.undo()
    assert finding.state == "warning"
    assert "s ahead" in finding.found
    assert "NTP" in finding.advice


def test_a_log_that_fails_a_check_is_a_problem(redis_url: str, namespace: str) -> None:
    store = RedisStore(redis_url, namespace)
    assert store.append(1, b"no envelope", {})
    finding = only(redis_url, "namespace", namespace=namespace)
    store.close()
    assert finding.state == "problem"


# where it looks ---------------------------------------------------------------------------


def test_a_store_in_memory_has_no_server_to_look_at() -> None:
    states = {f.check: f.state for f in found("memory://doctor")}
    trust = {"trusted keys": "ok", "signing key": "ok"}
    assert states == {"libraries": "ok", **trust, "reach": "ok", "namespace": "ok"}


def test_sentinels_are_counted_and_their_master_is_looked_at(tmp_path: Path) -> None:
    group = Sentinels(tmp_path)
    try:
        assert only(group.url, "part").state == "ok"
        finding = only(group.url, "group")
        assert finding.state == "ok"
        assert "sentinels of the address take connections" in finding.found
        dead = group.url.replace("://", f"://127.0.0.1:{free_port()},")
        assert only(dead, "group").state == "warning"
        host = group.url.partition("://")[2].partition(",")[0].partition("/")[0]
        direct = only(f"redis://{host}", "part")
        assert direct.state == "problem"
        assert "redis+sentinel://" in direct.advice
    finally:
        group.close()


def test_a_cluster_is_looked_at_and_a_node_alone_is_a_problem(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "shop")
    try:
        assert only(cluster.url, "part").found == "It is a master, cluster"
        assert "nodes of the address take connections" in only(cluster.url, "group").found
        assert only(cluster.url, "namespace").state == "ok"
        states = [f.state for f in found(cluster.url, "account", "janitor")]
        assert states == ["ok", "warning"], "it may do more than a janitor needs"
        direct = only(f"redis://127.0.0.1:{cluster.owner.port}", "part")
        assert direct.state == "problem"
        assert "redis+cluster://" in direct.advice
    finally:
        cluster.close()


# TLS --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "state"), [(90.5, "ok"), (5.5, "warning")])
def test_a_certificate_that_ends_soon_is_a_warning(tmp_path: Path, days: float, state: str) -> None:
    cert, key = certificate(tmp_path, days=days)
    server, port, _ = tls_server(tmp_path, cert, key)
    url = f"rediss://127.0.0.1:{port}/0"
    files = {"redis_ca_file": str(cert), "redis_cert_file": str(cert), "redis_key_file": str(key)}
    with server:
        made = found(url, "certificates", **files)
        assert [f.state for f in made] == [state, state], "the server's, and this client's"
        assert f"({int(days)} days)" in made[0].found
        assert only(url, "encryption", **files).state == "ok"
        assert "certificate and name checked" in only(url, "encryption", **files).found


def test_tls_that_checks_nothing_is_a_problem_and_a_stranger_is_not_reached(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    server, port, _ = tls_server(tmp_path, cert, key)
    url = f"rediss://127.0.0.1:{port}/0"
    with server:
        finding = only(f"{url}?ssl_cert_reqs=none", "encryption")
        assert finding.state == "problem"
        assert "nobody checks" in finding.found
        unnamed = f"{url}?ssl_check_hostname=false&ssl_ca_certs={cert}"
        assert only(unnamed, "encryption").state == "warning"
        reach = only(url, "reach")
        assert reach.state == "problem"
        assert "certificate verify failed" in reach.found
        assert "SCATTER_REDIS_CA_FILE" in reach.advice


@pytest.mark.parametrize(
    ("url", "far"),
    [
        ("redis://localhost:6379", []),
        ("redis://127.0.0.7", []),
        ("redis://[::1]:6379", []),
        ("unix:///run/redis.sock", []),
        ("local://", []),
        ("redis://redis.internal:6379", ["redis.internal"]),
        ("redis+sentinel://localhost,10.0.0.7/m", ["10.0.0.7"]),
    ],
)
def test_which_hosts_are_far(url: str, far: list[str]) -> None:
    assert doctor.tls.far_hosts(url) == far


# the command ------------------------------------------------------------------------------


def run(url: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scatter", "-n", "shop", "doctor", *arguments],
        env=os.environ | {"SCATTER_REDIS_URL": url} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_fits_80_columns_and_its_exit_code_says_whether_there_is_a_problem(
    redis_url: str,
) -> None:
    good, bad = run(redis_url), run("redis://127.0.0.1:1")

    assert (good.returncode, bad.returncode) == (0, 1), good.stdout
    for line in (good.stdout + bad.stdout).splitlines():
        assert len(line) <= 80, line
    assert "problem    reach          No Redis answers at redis://127.0.0.1:1" in bad.stdout
    assert "→ Is it running?" in bad.stdout
    assert "1 problem" in bad.stderr
    assert "Traceback" not in bad.stderr + good.stderr


def test_json_has_all_findings(redis_url: str) -> None:
    done = run(redis_url, "--json", "--role", "agent")
    body = json.loads(done.stdout)["doctor"]

    assert done.returncode == 0
    fields = {field.name for field in dataclasses.fields(Finding)}
    assert all(set(finding) == fields for finding in body["findings"])
    assert body["counts"]["problem"] == 0
    assert sum(body["counts"].values()) == len(body["findings"])


def test_a_wrong_log_in_is_a_problem_and_no_password_is_shown(redis_server: EmbeddedServer) -> None:
    url = f"unix://nobody:{PASSWORD}@{redis_server.socket}?db=0"
    done = run(url)
    assert done.returncode == 1
    assert "denied the log-in" in " ".join(done.stdout.split())
    assert PASSWORD not in done.stdout + done.stderr


def test_a_password_that_others_can_read_is_a_warning(
    redis_server: EmbeddedServer, tmp_path: Path
) -> None:
    account(redis_server, "reader")
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o640)
    url = f"unix://doctor-reader@{redis_server.socket}?db=0"
    finding = only(url, "log-in", redis_password_file=str(file))
    assert finding.state == "warning"
    assert "mode 640" in finding.found
    assert f"chmod 600 {file}" in finding.advice
    file.chmod(0o600)
    assert only(url, "log-in", redis_password_file=str(file)).state == "ok"
    assert only(url, "reach", redis_password_file=str(file)).state == "ok"
    missing = found(url, redis_password_file=str(tmp_path / "missing"))
    assert {f.check for f in missing if f.state == "problem"} == {"log-in", "reach"}
    given = f"unix://doctor-reader:{PASSWORD}@{redis_server.socket}?db=0"
    assert "the command line" in only(given, "log-in").found


def test_another_check_is_put_on_the_list_and_what_it_raises_is_a_problem(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_trust(visit: doctor.Visit) -> Iterator[Finding]:
        yield Finding(check="trust", state="ok", found=visit.settings.namespace)
        raise StoreRefused("The key is not known. Use another.")

    monkeypatch.setattr(doctor, "CHECKS", (*CHECKS, Check("trust", check_trust)))
    first, second = found(redis_url, "trust")
    assert (first.state, first.found) == ("ok", "shop")
    assert second == Finding(
        check="trust", state="problem", found="The key is not known", advice="Use another."
    )


def test_local_is_looked_at_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "scatter", "server", "--data", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: run("local://").returncode == 0, "the doctor to be content")
        assert only("local://", "encryption").state == "ok"
    finally:
        server.terminate()
        server.communicate(timeout=10)
