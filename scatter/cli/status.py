"""The command `status`: which process runs what, and why it does not run something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from scatter.cli.app import as_json, client_of
from scatter.cli.output import ago, data, data_json, note, number_of, say, table, who
from scatter.cli.read import function_fields

if TYPE_CHECKING:
    from scatter.model import FunctionState, ProcessReport

_NAMED = 3
"""How many processes a note names before it says how many more there are."""


@click.command()
@as_json
@click.pass_context
def status_(ctx: click.Context, as_json: bool) -> None:
    """Show which process runs what. Also who is behind, and what was refused and why.

    \b
    scatter status
    scatter status --json            all that the processes report
    """
    from scatter.reports import read_reports

    releases = client_of(ctx).releases
    functions = releases.functions()
    tip = releases.journal.ledger.sequence
    reports = read_reports(releases.journal.store)
    if as_json:
        body = {
            "sequence": tip,
            "functions": [function_fields(s) for s in functions.values()],
            "processes": [asdict(r) for r in reports],
        }
        data_json("status", body)
    elif not functions and not reports:
        say("No functions and no processes yet. Start with `scatter demo`.")
    else:
        _show(functions, reports, tip)


def _show(
    functions: Mapping[str, FunctionState], reports: Sequence[ProcessReport], tip: int
) -> None:
    if functions:
        _show_functions(functions, reports)
        data("")
    if reports:
        _show_processes(reports, tip)
        _show_troubles(reports)
    else:
        say("No process has reported. Does your application call scatter_agent.start()?")


def _show_functions(
    functions: Mapping[str, FunctionState], reports: Sequence[ProcessReport]
) -> None:
    rows = []
    for name, state in functions.items():
        running = [r.functions[name] for r in reports if name in r.functions]
        on_live = sum(version == state.version for version in running)
        others = sorted({v for v in running if v != state.version})
        rest = f" ({', '.join(number_of(v) for v in others)})" if others else ""
        rows.append(
            (
                name,
                number_of(state.version),
                f"{on_live}/{len(running)}{rest}",
                who(state.author),
                ago(state.time),
            )
        )
    table(("FUNCTION", "LIVE", "RUNNING IT", "BY", "WHEN"), rows)


def _show_processes(reports: Sequence[ProcessReport], tip: int) -> None:
    rows = []
    for report in reports:
        behind = tip - report.sequence
        notes = [f"{len(report.refused)} refused"] * bool(report.refused)
        notes += [f"{name} held" for name in report.held]
        rows.append(
            (
                f"{report.host}:{report.pid}",
                report.application,
                report.python,
                report.state,
                "current" if not behind else f"{abs(behind)} {'behind' if behind > 0 else 'ahead'}",
                ", ".join(notes),
            )
        )
    headers = ("PROCESS", "APPLICATION", "PYTHON", "STATE", f"RELEASE {tip}", "NOTES")
    table(headers, rows)


def _show_troubles(reports: Sequence[ProcessReport]) -> None:
    """Say each trouble once, with the processes that have it: a fleet refuses with one voice."""
    found: dict[tuple[str, str], list[str]] = {}
    for report in reports:
        for trouble in _troubles(report):
            found.setdefault(trouble, []).append(f"{report.host}:{report.pid}")
    for (what, why), processes in found.items():
        rest = len(processes) - _NAMED
        more = f" and {rest} more" if rest > 0 else ""
        data("")
        note(f"{what}, in {', '.join(processes[:_NAMED])}{more}", why)


def _troubles(report: ProcessReport) -> Iterator[tuple[str, str]]:
    """Yield (what, why) of all that a process has trouble with."""
    if report.reason:
        yield report.state, report.reason
    for refusal in report.refused:
        yield f"{refusal.function} v{refusal.version} refused: {refusal.reason}", refusal.message
