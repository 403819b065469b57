"""TLS: `rediss://`, with a certificate that is checked, against a real server that speaks it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support import free_port, wait_until

from scatter.errors import StoreUnavailable
from scatter.server import EmbeddedServer, ServerFailed, death_with_parent, find_binary
from scatter.store.redis import RedisStore


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that is its own authority; return it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scatter tests")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class Secure(NamedTuple):
    """A server with TLS: its address, the certificate to check it by, and its program."""

    url: str
    cert: Path
    binary: str


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    """A server with TLS."""
    cert, key = certificate(tmp_path)
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    tls += ["--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no"]
    found = [str(find_binary()), shutil.which("redis-server"), shutil.which("valkey-server")]
    for binary in filter(None, found):
        try:
            server = EmbeddedServer.start(
                tmp_path / "data", socket=tmp_path / "s", extra=tls, binary=Path(binary)
            )
        except ServerFailed:
            continue  # it was built without
        with server:
            yield Secure(f"rediss://127.0.0.1:{port}/0", cert, binary)
        return
    pytest.skip("no server on this machine was built with TLS; Debian's redis-server is")


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
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        store.read(0)
    store.close()
