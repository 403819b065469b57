"""Checks of trust: whose code would run here, who signs, and whether the log goes on from here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from scatter.doctor.visit import Finding, Visit
from scatter.errors import ScatterError
from scatter.trust import home, signing
from scatter.trust.home import purpose
from scatter.trust.position import state_home
from scatter.trust.trusted import Trusted, load


def check_trusted(visit: Visit) -> Iterator[Finding]:
    """Say whose releases would run here, in this namespace and now."""
    if visit.settings.trust == "off":
        yield Finding(
            check="trusted keys",
            state="warning",
            found=f"Trust is off ({visit.settings.origins.get('trust', 'argument')}): whoever can "
            "write to the store can run code here",
            advice="Unset SCATTER_TRUST.",
        )
        return
    trusted = load()
    names = ", ".join(map(str, (*home.signers_files(), *home.policy_files())))
    good, expired = _counted(trusted, visit.settings.namespace)
    if not good:
        yield Finding(
            check="trusted keys",
            state="warning",
            found=f"No key may sign for {visit.settings.namespace} here, so nothing that is "
            f"released runs ({names or 'there is no file of trusted keys'})",
            advice="Trust those who release: scatter keys trust KEY; your own first push makes "
            "and trusts a key.",
        )
        return
    found = f"{good} key{'s' * (good != 1)} may sign for {visit.settings.namespace} ({names})"
    if expired:
        found += f", {expired} more have expired or are revoked"
    yield Finding(check="trusted keys", state="ok", found=found)


def _counted(trusted: Trusted, namespace: str) -> tuple[int, int]:
    """Return how many lines allow a signature now, and how many did."""
    now, for_ = time.time(), purpose(namespace)
    lines = trusted.signers.lines
    good = [n for n in lines if not n.why_not(for_, now) and not trusted.revoked.where(n.key)]
    return len(good), len(lines) - len(good)


def check_signing(visit: Visit) -> Iterator[Finding]:
    """Say with which key a release from here would be signed, and whether it counts here."""
    if visit.settings.trust == "off":
        return
    named = os.environ.get(signing.VARIABLE)
    if not named and not os.path.lexists(home.key_path()):
        yield Finding(
            check="signing key",
            state="ok",
            found="There is none yet: the first push makes one",
        )
        return
    keyring = signing.open_keyring()
    trusted, purpose_ = load(), purpose(visit.settings.namespace)
    for key in keyring.keys:
        where = f"{key.fingerprint}, of {signing.VARIABLE if named else home.key_path()}"
        try:
            signed = trusted.signers.find(key, purpose_, time.time(), trusted.revoked)
        except ScatterError as error:
            yield Finding(
                check="signing key",
                state="warning",
                found=f"{where}, may not sign for {visit.settings.namespace} here: "
                + str(error).partition(".")[0],
                advice="Where it is trusted, this is as it should be; to release from here, "
                "scatter keys trust it here too.",
            )
        else:
            found = f"{where}, signs as {', '.join(signed.principals)}"
            yield Finding(check="signing key", state="ok", found=found)


def check_position(visit: Visit) -> Iterator[Finding]:
    """Say whether an older log would be noticed after a restart."""
    if visit.settings.trust == "off" or visit.settings.redis_url.startswith("memory:"):
        return
    folder = state_home()
    existing = next((p for p in _upward(folder) if p.exists()), None) if folder else None
    if existing is None or not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir():
        yield Finding(
            check="position",
            state="warning",
            found=f"How far the log was believed cannot be kept ({folder or 'there is no home'}), "
            "so after a restart an older log would be believed",
            advice="Name a directory of this user in SCATTER_STATE.",
        )
        return
    yield Finding(check="position", state="ok", found=f"How far the log was believed: {folder}")


def _upward(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents
