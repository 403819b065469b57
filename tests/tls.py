"""Certificates and servers with TLS, for tests."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support import free_port

from scatter.server import EmbeddedServer, ServerFailed, find_binary


def certificate(folder: Path, *, host: str = "127.0.0.1", days: float = 1) -> tuple[Path, Path]:
    """Make a certificate for a host that is its own authority; return it and its key."""
    folder.mkdir(exist_ok=True)
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
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]),
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


def tls_server(folder: Path, cert: Path, key: Path, *extra: str) -> tuple[EmbeddedServer, int, str]:
    """Start a server with TLS; return it, its port and its program. Skip where none has TLS."""
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    tls += ["--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no", *extra]
    found = [str(find_binary()), shutil.which("redis-server"), shutil.which("valkey-server")]
    for binary in filter(None, found):
        try:
            server = EmbeddedServer.start(
                folder / "data", socket=folder / "s", extra=tls, binary=Path(binary)
            )
        except ServerFailed:
            continue  # it was built without
        return server, port, binary
    pytest.skip("no server on this machine was built with TLS; Debian's redis-server is")
