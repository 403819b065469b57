"""TLS: `rediss://`, with a certificate that is checked, against a real server that speaks it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import free_port, wait_until
from tls import certificate, tls_server

from scatter.access import Access
from scatter.config import resolve
from scatter.errors import StoreUnavailable, UsageError
from scatter.server import death_with_parent
from scatter.store import open_store
from scatter.store.redis import RedisStore


class Secure(NamedTuple):
    """A server with TLS: its address, the certificate to check it by, and its program."""

    url: str
    cert: Path
    binary: str


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    """A server with TLS."""
    cert, key = certificate(tmp_path)
    server, port, binary = tls_server(tmp_path, cert, key)
    with server:
        yield Secure(f"rediss://127.0.0.1:{port}/0", cert, binary)


def test_a_store_works_over_tls_and_hears_its_doorbell(secure: Secure) -> None:
    url, cert, _ = secure
    store = RedisStore(f"{url}?ssl_ca_certs={cert}", "app")
    writer = RedisStore(f"{url}?ssl_ca_certs={cert}", "app")
    bell = store.doorbell()
    bell.listen()
    for number in range(1, 6):
        assert writer.append(number, b"x" * 20_000, {})
        assert bell.wait(10).log
    assert len(store.read(0).entries) == 5
    store.close()
    writer.close()


@pytest.fixture
def secure_sentinel(secure: Secure, tmp_path: Path) -> Iterator[str]:
    """A sentinel with TLS that knows the server; the address of both."""
    url, cert, binary = secure
    master, port = url.rpartition(":")[2].partition("/")[0], free_port()
    conf = tmp_path / "sentinel.conf"
    conf.write_text(
        f"port 0\ntls-port {port}\ntls-cert-file {cert}\ntls-key-file {tmp_path / 'key.pem'}\n"
        f"tls-ca-cert-file {cert}\ntls-auth-clients no\ntls-replication yes\n"
        f"bind 127.0.0.1\nsentinel monitor m 127.0.0.1 {master} 1\n"
    )
    with (tmp_path / "sentinel.log").open("wb") as log:
        process = subprocess.Popen(
            [binary, str(conf), "--sentinel"],
            stdout=log,
            stderr=log,
            preexec_fn=death_with_parent(),
        )
    yield f"rediss+sentinel://127.0.0.1:{port}/m?ssl_ca_certs={cert}"
    process.kill()
    process.wait()


def test_sentinels_and_their_master_are_reached_over_tls(secure_sentinel: str) -> None:
    store = RedisStore(secure_sentinel, "app")
    bell = store.doorbell()

    def listens() -> bool:
        try:
            bell.listen()
        except StoreUnavailable:
            return False
        return True

    wait_until(listens, "the sentinel")
    assert store.append(1, b"1", {})
    assert bell.wait(20).log
    store.close()
    stranger = RedisStore(secure_sentinel.partition("?")[0], "app")
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        stranger.read(0)


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Secure) -> None:
    store = RedisStore(secure.url, "app")
    with pytest.raises(StoreUnavailable, match="certificate verify failed") as caught:
        store.read(0)
    assert str(caught.value).startswith("TLS with rediss://127.0.0.1:")
    assert "SCATTER_REDIS_CA_FILE" in str(caught.value)
    store.close()


def test_certificates_come_from_settings_and_the_url_counts_where_it_has_them(
    secure: Secure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger, _ = certificate(tmp_path / "stranger")
    monkeypatch.setenv("SCATTER_REDIS_CA_FILE", str(secure.cert))
    settings = resolve(redis_url=secure.url, start=tmp_path)
    store = open_store(settings.redis_url, "app", access=settings.access)
    assert store.append(1, b"one", {})
    store.close()
    monkeypatch.setenv("SCATTER_REDIS_CA_FILE", str(stranger))
    access = resolve(redis_url=secure.url, start=tmp_path).access
    wrong = open_store(secure.url, "app", access=access)
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        wrong.read(0)
    right = open_store(f"{secure.url}?ssl_ca_certs={secure.cert}", "app", access=access)
    assert right.read(0).tip == 1
    right.close()


def test_a_command_takes_its_certificates_from_the_environment(secure: Secure) -> None:
    environment = os.environ | {
        "SCATTER_REDIS_URL": secure.url,
        "SCATTER_REDIS_CA_FILE": str(secure.cert),
    }
    command = [sys.executable, "-m", "scatter", "list", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    del environment["SCATTER_REDIS_CA_FILE"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "certificate verify failed" in done.stderr


@pytest.fixture
def mutual(tmp_path: Path) -> Iterator[Secure]:
    """A server that asks its clients for a certificate, and vouches for its own alone."""
    cert, key = certificate(tmp_path)
    server, port, binary = tls_server(tmp_path, cert, key, "--tls-auth-clients", "yes")
    with server:
        yield Secure(f"rediss://127.0.0.1:{port}/0", cert, binary)


def test_a_client_shows_its_certificate_where_it_is_asked_for_one(
    mutual: Secure, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    both = tmp_path / "both.pem"
    both.write_bytes(mutual.cert.read_bytes() + key.read_bytes())
    ca = {"redis_ca_file": str(mutual.cert)}
    ways = [
        Access(**ca, redis_cert_file=str(mutual.cert), redis_key_file=str(key)),
        Access(**ca, redis_cert_file=str(both)),
    ]
    for number, access in enumerate(ways, 1):
        store = open_store(mutual.url, "app", access=access)
        bell = store.doorbell()
        bell.listen()
        assert store.append(number, b"entry", {})
        assert bell.wait(10).log
        store.close()
    url = f"{mutual.url}?ssl_ca_certs={mutual.cert}&ssl_certfile={mutual.cert}&ssl_keyfile={key}"
    store = open_store(url, "app")
    assert store.read(0).tip == 2
    store.close()


def test_a_client_without_a_certificate_or_with_a_strangers_is_turned_away(
    mutual: Secure, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path / "stranger")
    ca = {"redis_ca_file": str(mutual.cert)}
    strangers = [
        Access(**ca),
        Access(**ca, redis_cert_file=str(cert), redis_key_file=str(key)),
    ]
    for access in strangers:
        store = open_store(mutual.url, "app", access=access)
        with pytest.raises(StoreUnavailable):
            store.read(0)
        store.close()


def test_a_certificate_of_another_host_is_refused_unless_the_url_says_otherwise(
    tmp_path: Path,
) -> None:
    cert, key = certificate(tmp_path, host="192.0.2.7")
    server, port, _ = tls_server(tmp_path, cert, key)
    access = Access(redis_ca_file=str(cert))
    url = f"rediss://127.0.0.1:{port}/0"
    with server:
        store = open_store(url, "app", access=access)
        with pytest.raises(StoreUnavailable, match="IP address mismatch"):
            store.read(0)
        for way in ("ssl_check_hostname=false", "ssl_cert_reqs=none"):
            lenient = open_store(f"{url}?{way}", "app", access=access)
            assert lenient.read(0).tip == 0
            lenient.close()


def test_a_server_that_only_speaks_tls_1_1_is_refused(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    old = ("--tls-protocols", "TLSv1.1", "--tls-ciphers", "DEFAULT@SECLEVEL=0")
    server, port, _ = tls_server(tmp_path, cert, key, *old)
    with server:
        store = open_store(
            f"rediss://127.0.0.1:{port}/0?ssl_ciphers=DEFAULT@SECLEVEL=0",
            "app",
            access=Access(redis_ca_file=str(cert)),
        )
        with pytest.raises(StoreUnavailable, match=r"SSL: .*(?i:version|protocol)"):
            store.read(0)


@pytest.mark.parametrize("scheme", ["redis://h", "redis+sentinel://h/m", "redis+cluster://h"])
def test_certificates_for_an_address_without_tls_are_an_error(scheme: str, tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    with pytest.raises(UsageError, match="redis_ca_file is set, and the address has no TLS"):
        open_store(scheme, "app", access=Access(redis_ca_file=str(cert)))
    open_store("unix:///run/x.sock", "app", access=Access(redis_ca_file=str(cert)))
    open_store("memory://", "app", access=Access(redis_ca_file=str(cert)))


@pytest.mark.parametrize("name", ["redis_ca_file", "redis_cert_file", "redis_key_file"])
def test_a_file_that_is_not_there_is_named_with_its_setting(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(UsageError, match=rf"{name}: expected a file in PEM form, .*missing\.pem"):
        open_store("rediss://127.0.0.1:1", "app", access=Access(**{name: str(missing)}))
