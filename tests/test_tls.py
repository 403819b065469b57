"""TLS: `rediss://`, with a certificate that is checked, against a real server that speaks it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support import free_port

from scatter.errors import StoreUnavailable
from scatter.server import EmbeddedServer, ServerFailed, find_binary
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


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with TLS; its address, and the certificate to check it by."""
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
            yield f"rediss://127.0.0.1:{port}/0", cert
        return
    pytest.skip("no server on this machine was built with TLS; Debian's redis-server is")


def test_a_store_works_over_tls_and_hears_its_doorbell(secure: tuple[str, Path]) -> None:
    url, cert = secure
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


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: tuple[str, Path]) -> None:
    store = RedisStore(secure[0], "app")
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        store.read(0)
    store.close()
