"""Checks of a mirror's directory that is followed: its mirror, its code, who reads it.

Not here: whose it is (`server`), reading the log in it (`namespace`), the mirror's own connection
(that is for a doctor with the settings of the mirror).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import datetime

from scatter.doctor.visit import Finding, Visit
from scatter.errors import ScatterError
from scatter.log import open_journal
from scatter.reports import read_reports
from scatter.store.directory import DirectoryStore

_NAMED = 3


def check_mirror(visit: Visit) -> Iterator[Finding]:
    """Say whether there is a mirror, and since when not."""
    store = _directory(visit)
    mirror = store.contact()
    if mirror.is_online:
        age_s = max(0.0, time.time() - mirror.at)
        found = f"A mirror writes {store.folder}, and could ask its server {age_s:.0f} s ago"
        yield Finding(check="mirror", state="ok", found=found)
        return
    yield Finding(
        check="mirror",
        state="warning",
        found=f"The mirror that writes {store.folder} is not running, or cannot ask its server, "
        f"since {datetime.fromtimestamp(mirror.at).astimezone():%Y-%m-%d %H:%M:%S}",
        advice="See what it says: systemctl status scatter-agent. Until then processes run and "
        "start on what is there, and hear of nothing newer.",
    )


def check_bundles(visit: Visit) -> Iterator[Finding]:
    """Say whether the code of all live versions is there, and undamaged."""
    store = _directory(visit)
    journal = open_journal(visit.settings, store)
    try:
        journal.catch_up()
    except ScatterError:
        yield Finding(check="bundles", state="unchecked", found="The log says which are needed")
        return
    live = {s.live.bundle: name for name, s in journal.ledger.functions.items() if s.live.bundle}
    found = store.bundles(live)
    wrong = sorted(n for d, n in live.items() if hashlib.sha256(found.get(d, b"")).hexdigest() != d)
    if wrong:
        yield Finding(
            check="bundles",
            state="problem",
            found=f"The code of {_some(wrong)} is missing or damaged in {store.folder}/bundles",
            advice="Restart the mirror, which mends it: systemctl restart scatter-agent.",
        )
    else:
        number = f"{len(live)} function{'s' * (len(live) != 1)}"
        yield Finding(check="bundles", state="ok", found=f"The code of {number} is whole")


def check_reports(visit: Visit) -> Iterator[Finding]:
    """Say whether processes can be seen, and which of them are behind."""
    store = _directory(visit)
    if not store.takes_reports:
        yield Finding(
            check="reports",
            state="warning",
            found=f"{store.folder}/reports cannot be written by this user: its processes are not "
            "seen, and a deploy of theirs is not told from a restart",
            advice="Have the mirror run, or mount that directory so that it can be written.",
        )
    tip = store.read(0, 0).tip
    reports = read_reports(store)
    behind = [f"{r.application} {r.host}:{r.pid}" for r in reports if r.sequence < tip]
    if behind:
        yield Finding(
            check="reports",
            state="warning",
            found=f"Of {len(reports)} of this host, behind release {tip}: {_some(behind)}",
            advice="See what they say: their log, or scatter_agent.status().",
        )
    elif store.takes_reports:
        number = f"{len(reports)} process{'es' * (len(reports) != 1)}"
        found = f"{number} of this host, none behind release {tip}"
        yield Finding(check="reports", state="ok", found=found)


def _directory(visit: Visit) -> DirectoryStore:
    assert isinstance(visit.store, DirectoryStore)
    return visit.store


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
