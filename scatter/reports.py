"""Process reports as bytes: what one process runs, written by its agent, read by everybody.

A report comes from a process that may be broken or hostile: reading is strict, and whatever is
not a report is passed over.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any

from scatter.model import ProcessReport, Refusal
from scatter.store.port import Store

FORMAT = 1
MAX_BYTES = 4 << 20
_NUMBERS = frozenset({"pid", "sequence", "version", "epoch"})


def write_report(report: ProcessReport) -> bytes:
    """Return a report as bytes.

    Its fields are taken as they are: `asdict` would copy each of the functions, which takes several
    times as long as all the rest of a turn where there are thousands.
    """
    body = {"format": FORMAT, **{one.name: getattr(report, one.name) for one in fields(report)}}
    body["refused"] = [asdict(refusal) for refusal in report.refused]
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def read_report(data: bytes) -> ProcessReport | None:
    """Return the report in bytes; None when it is none."""
    try:
        if len(data) > MAX_BYTES:
            return None
        body = json.loads(data)
        json.dumps(body, ensure_ascii=False).encode()  # JSON can write half a character
        if body.pop("format") != FORMAT:
            return None
        return _report(body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _report(body: dict[str, Any]) -> ProcessReport:
    refused = tuple(Refusal(**_checked(Refusal, refusal)) for refusal in body.pop("refused"))
    switched_at = body.pop("switched_at")
    if type(switched_at) not in (int, float):
        raise TypeError("a moment is a number")
    rest: dict[str, Any] = {
        n: _names(body.pop(n, [])) for n in ("held", "superseded", "distrusted")
    }
    rest |= {
        "functions": _table(body.pop("functions"), int),
        "pending": _table(body.pop("pending", {}), int),
        "labels": _table(body.pop("labels", {}), str),
    }
    return ProcessReport(
        **_checked(ProcessReport, body),
        **rest,
        refused=refused,
        switched_at=float(switched_at),
    )


def _names(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(type(name) is str for name in value):
        raise TypeError("expected a list of names")
    return tuple(value)


def _table(value: Any, kind: type) -> dict[str, Any]:
    if type(value) is not dict or not all(type(entry) is kind for entry in value.values()):
        raise TypeError(f"expected a table of {kind.__name__}")
    return value


def _checked(record: type, body: dict[str, Any]) -> dict[str, Any]:
    """Return fields whose types are those of a record's texts and numbers."""
    known = {f.name for f in fields(record)}
    for name, value in body.items():
        if name not in known or type(value) is not (int if name in _NUMBERS else str):
            raise TypeError(f"field {name!r} is unknown or has the wrong type")
    return body


def read_reports(store: Store) -> list[ProcessReport]:
    """Return the reports of all live processes, by application, host and pid.

    The store knows whose a report is: one that gives the name of another process is none.
    """
    return Reader().read(store)


class Reader:
    """Reads the reports again and again; what has not changed is not parsed anew."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[bytes, ProcessReport | None]] = {}

    def read(self, store: Store) -> list[ProcessReport]:
        """Return what `read_reports` does."""
        last, found = self._last, store.reports()
        self._last = {
            process: last[process]
            if process in last and last[process][0] == data
            else (data, _of_process(process, read_report(data)))
            for process, data in found.items()
        }
        reports = [report for _, report in self._last.values() if report is not None]
        return sorted(reports, key=lambda r: (r.application, r.host, r.pid))


def _of_process(name: str, report: ProcessReport | None) -> ProcessReport | None:
    """Return a report by the name under which the store has it, a process or `process@user`."""
    if report is None or report.id == name:
        return report
    return replace(report, id=name) if report.id == name.rpartition("@")[0] else None
