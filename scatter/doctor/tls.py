"""Checks of TLS: whether others can read what is sent, and how long certificates last."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from scatter.doctor.visit import Finding, State, Visit
from scatter.groups import is_group, parse_group

SOON = timedelta(days=30)
"""A certificate that ends within this is worth a warning."""


def check_encryption(visit: Visit) -> Iterator[Finding]:
    """Say whether what is sent can be read on the way."""
    scheme = visit.settings.redis_url.partition("://")[0]
    if scheme in ("unix", "local"):
        yield Finding(check="encryption", state="ok", found="It is a socket of this machine")
        return
    if scheme.startswith("rediss"):
        yield _of_tls(visit)
        return
    far = far_hosts(visit.settings.redis_url)
    if far:
        yield Finding(
            check="encryption",
            state="warning",
            found=f"There is no TLS to {', '.join(far)}: password and code can be read, and "
            "changed, on the way",
            advice="Switch TLS on at the server, and write rediss:// in place of redis://.",
        )
    else:
        yield Finding(check="encryption", state="ok", found="No TLS, and none needed: it is local")


def _of_tls(visit: Visit) -> Finding:
    connection = visit.link.socket
    version, cipher = connection.version(), (connection.cipher() or ("",))[0]
    context = connection.context
    found = f"{version}, {cipher}"
    if context.verify_mode == ssl.CERT_NONE:
        found += "; nobody checks the server's certificate"
        advice = "Take ssl_cert_reqs out of the address, and set SCATTER_REDIS_CA_FILE."
        return Finding(check="encryption", state="problem", found=found, advice=advice)
    if not context.check_hostname:
        found += "; the host's name is not checked"
        advice = "Take ssl_check_hostname out of the address."
        return Finding(check="encryption", state="warning", found=found, advice=advice)
    return Finding(check="encryption", state="ok", found=f"{found}, certificate and name checked")


def far_hosts(url: str) -> list[str]:
    """Return the hosts of an address that are not this machine."""
    return [host for host in _hosts(url) if not _is_local(host)]


def _hosts(url: str) -> list[str]:
    if url.startswith(("unix:", "local:")):
        return []
    if is_group(url):
        return [host for host, _ in parse_group(url).nodes]
    return [urlsplit(url).hostname or "localhost"]


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_certificates(visit: Visit) -> Iterator[Finding]:
    """Say how long the server's certificate lasts, and this client's."""
    if not visit.settings.redis_url.startswith("rediss"):
        return
    data = visit.link.socket.getpeercert(binary_form=True)
    yield _lasting("The server's certificate", data, is_pem=False)
    file = _own(visit)
    if file:
        yield _lasting(f"This client's certificate {file}", Path(file).read_bytes(), is_pem=True)


def _own(visit: Visit) -> str:
    query = parse_qs(visit.settings.redis_url.partition("?")[2])
    return query.get("ssl_certfile", [visit.settings.redis_cert_file])[0]


def _lasting(what: str, data: bytes, *, is_pem: bool) -> Finding:
    from cryptography import x509

    read: Any = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
    ends = _end_of(read(data))
    left = ends - datetime.now(UTC)
    state: State = "ok" if left > SOON else "warning" if left > timedelta() else "problem"
    verb = "ended" if state == "problem" else "ends"
    advice = "" if state == "ok" else "Renew it: nobody can connect with it after that day."
    found = f"{what} {verb} on {ends:%Y-%m-%d} ({abs(left.days)} days)"
    return Finding(check="certificates", state=state, found=found, advice=advice)


def _end_of(certificate: Any) -> datetime:
    """Return when a certificate ends; older releases of `cryptography` give a time without zone."""
    try:
        return certificate.not_valid_after_utc  # type: ignore[no-any-return]
    except AttributeError:
        return certificate.not_valid_after.replace(tzinfo=UTC)  # type: ignore[no-any-return]
