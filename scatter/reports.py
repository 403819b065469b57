"""Process reports as bytes: what one process runs, written by its agent, read by everybody.

A report comes from a process that may be broken or hostile: reading is strict, and whatever is
not a report is passed over.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from scatter.model import ProcessReport, Refusal
from scatter.store.port import Store

FORMAT = 1
MAX_BYTES = 4 << 20


def write_report(report: ProcessReport) -> bytes:
    """Return a report as bytes."""
    fields = {"format": FORMAT, **asdict(report)}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def read_report(data: bytes) -> ProcessReport | None:
    """Return the report in bytes; None when it is none."""
    try:
        if len(data) > MAX_BYTES:
            return None
        fields: dict[str, Any] = json.loads(data)
        if fields.pop("format") != FORMAT:
            return None
        refused = tuple(Refusal(**refusal) for refusal in fields.pop("refused"))
        held = tuple(map(str, fields.pop("held")))
        functions = {str(n): int(v) for n, v in fields.pop("functions").items()}
        sequence, pid = int(fields.pop("sequence")), int(fields.pop("pid"))
        return ProcessReport(
            **fields, refused=refused, held=held, functions=functions, sequence=sequence, pid=pid
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def read_reports(store: Store) -> list[ProcessReport]:
    """Return the reports of all live processes, by application, host and pid."""
    found = (read_report(data) for data in store.reports().values())
    reports = [report for report in found if report is not None]
    return sorted(reports, key=lambda r: (r.application, r.host, r.pid))
