"""The doctor: looks at everything that scatter needs, and says what to do about what it finds.

Not here: how it is shown (`scatter.cli.doctor`).

`CHECKS` is the list. A check is a function that is given the `Visit` and yields findings; it says
with `needs` whether it can be made without a server. To add one, write it and put it on the list.

Invariants
1. Nothing is changed: no setting of the server, no key that would outlive the look.
2. A check that cannot be made says so; it is no problem, and never taken for a good sign.
3. No finding has a password in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from scatter.config import Settings
from scatter.doctor import client, directory, doorbell, namespace, rights, server, tls, trust
from scatter.doctor.visit import Check, Finding, State, Visit, in_two
from scatter.errors import ScatterError
from scatter.store import open_store
from scatter.store.acl import Role

CHECKS: tuple[Check, ...] = (
    Check("libraries", client.check_libraries),
    Check("log-in", client.check_login),
    Check("trusted keys", trust.check_trusted),
    Check("signing key", trust.check_signing),
    Check("position", trust.check_position),
    Check("reach", server.check_reach, needs="store"),
    Check("version", server.check_version, needs="server"),
    Check("part", server.check_part, needs="server"),
    Check("group", server.check_group, needs="server"),
    Check("latency", server.check_latency, needs="server"),
    Check("clock", server.check_clock, needs="server"),
    Check("keeping", server.check_keeping, needs="server"),
    Check("memory", server.check_memory, needs="server"),
    Check("encryption", tls.check_encryption, needs="server"),
    Check("certificates", tls.check_certificates, needs="server"),
    Check("account", rights.check_account, needs="server"),
    Check("notifications", doorbell.check_notifications, needs="server"),
    Check("mirror", directory.check_mirror, needs="directory"),
    Check("namespace", namespace.check_namespace, needs="store"),
    Check("bundles", directory.check_bundles, needs="directory"),
    Check("reports", directory.check_reports, needs="directory"),
)
"""All checks, in the order in which they are made and shown."""


def examine(settings: Settings, role: Role | None = None) -> Iterator[Finding]:
    """Make all checks that can be made, and yield what they find.

    Args:
        settings: Where, and in whose name.
        role: What the account is meant for; None: say what it is good for.

    """
    visit = Visit(settings, role)
    try:
        for check in CHECKS:
            yield from _made(check, visit)
    finally:
        visit.close()


def _made(check: Check, visit: Visit) -> Iterator[Finding]:
    try:
        if check.needs != "nothing" and visit.store is None and not visit.is_away:
            access = visit.settings.access
            visit.store = open_store(
                visit.settings.redis_url, visit.settings.namespace, access=access
            )
        if check.needs == "nothing" or visit.can(check.needs):
            yield from check.run(visit)
    except ScatterError as error:
        visit.is_away = visit.is_away or check.name == "reach"
        found, advice = in_two(str(error))
        yield Finding(check=check.name, state="problem", found=found, advice=advice)


__all__ = ["CHECKS", "Check", "Finding", "State", "Visit", "examine"]
