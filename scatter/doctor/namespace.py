"""The check of the namespace: whether its log can be read, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator

from scatter.doctor.visit import Finding, Visit
from scatter.errors import StoreRefused
from scatter.log import open_journal
from scatter.reports import read_reports


def check_namespace(visit: Visit) -> Iterator[Finding]:
    """Read the log, and check it as every process does."""
    assert visit.store is not None
    name, journal = visit.settings.namespace, open_journal(visit.settings, visit.store)
    journal.catch_up()
    tip = journal.ledger.sequence
    if not tip:
        found = f"{name} is empty: nothing was released yet"
        advice = "" if name != "default" else "Name your application: SCATTER_NAMESPACE, or -n."
        yield Finding(check="namespace", state="ok", found=found, advice=advice)
        return
    alive = sum(state.version is not None for state in journal.current().values())
    found = f"{name} is at release {tip}, with {alive} function{'s' * (alive != 1)}"
    snapshot = journal.ledger.snapshot_sequence
    found += f", the newest snapshot at release {snapshot}" if snapshot else ", no snapshot yet"
    yield Finding(check="namespace", state="ok", found=found + _processes(visit))


def _processes(visit: Visit) -> str:
    assert visit.store is not None
    try:
        reports = read_reports(visit.store)
    except StoreRefused:
        return "; this account may not see the processes"
    return f", {len(reports)} process{'es' * (len(reports) != 1)}"
