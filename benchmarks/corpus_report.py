"""Compares runs of a suite, and writes the results as JSON and as tables.

Not here: running anything.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.corpus_limits import REGISTERING, SHARED, reason_for
from benchmarks.corpus_runs import Run
from benchmarks.units import show

MODES = ("same", "edited", "helpers")
RESULTS = Path(__file__).parent / "results"
GOAL = 0.99


# comparing ---------------------------------------------------------------------------------


def plain_of(first: Run, second: Run) -> dict[str, Any]:
    """Return the reference: how each test ends without scatter, but those that vary."""
    tests = first.outcomes.keys() | second.outcomes.keys()
    flaky = sorted(t for t in tests if first.outcomes.get(t) != second.outcomes.get(t))
    outcomes = {t: o for t, o in first.outcomes.items() if t not in set(flaky)}
    return {
        "tests": Counter(outcomes.values()),
        "flaky": flaky,
        "seconds": round(first.seconds, 2),
        "outcomes": outcomes,
    }


def compared(plain: Mapping[str, Any], now: Run) -> list[dict[str, str]]:
    """Return the tests that end otherwise than in the reference.

    Those that were not reached, since the run was cut short, are no differences of their own.
    """
    found = []
    flaky = set(plain["flaky"])
    renamed = {test.partition("[")[0] for test in flaky}  # the time of day is a parameter
    for test in sorted(plain["outcomes"].keys() | now.outcomes.keys()):
        before, after = plain["outcomes"].get(test, "none"), now.outcomes.get(test, "none")
        unreached = now.status not in (0, 1) and after == "none"
        if before == "none" and test.partition("[")[0] in renamed:
            continue
        if before != after and test not in flaky and not unreached:
            text = now.texts.get(test, "")
            found.append({"id": test, "plain": before, "now": after, "text": text})
    return found


def mode_of(
    package: str, mode: str, plain: Mapping[str, Any], once: Run, again: Run
) -> dict[str, Any]:
    """Return the results of one mode. A difference counts if it was there both times."""
    first, second = compared(plain, once), compared(plain, again)
    both = {d["id"] for d in first} & {d["id"] for d in second}
    stable = [d for d in first if d["id"] in both]
    for difference in stable:
        if reason := reason_for(package, mode, difference["id"]):
            difference["limit"] = reason
    return {
        **once.report,
        "tests": Counter(once.outcomes.values()),
        "status": once.status or again.status,
        "seconds_of_suite": round(once.seconds, 2),
        "differences": stable,
        "unstable": [d for d in (*first, *second) if d["id"] not in both],
    }


def verdict(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what is not as it should be, one line each."""
    return [*_problems(results), *_too_few(results)]


def _problems(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, result in results.items():
        if "unavailable" in result:
            yield f"{name}: {result['unavailable']}"
        for mode, found in result.get("modes", {}).items():
            if found["status"] not in (0, 1):
                kind = f"signal {-found['status']}" if found["status"] < 0 else found["status"]
                yield f"{name}, {mode}: pytest ended with {kind}"
            if not found.get("tried"):
                yield f"{name}, {mode}: nothing was replaced"
            if found.get("not_edited"):
                yield f"{name}, {mode}: not the edited code: {', '.join(found['not_edited'])}"
            for difference in found["differences"]:
                if "limit" not in difference:
                    ends = f"{difference['plain']} → {difference['now']}"
                    yield f"{name}, {mode}: {difference['id']}: {ends}"


def _too_few(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for mode in MODES:
        modes = [r["modes"][mode] for r in results.values() if mode in r.get("modes", {})]
        tried = sum(m.get("tried", 0) for m in modes)
        shipped = sum(m.get("shipped", 0) for m in modes)
        if tried and shipped < GOAL * tried:
            yield f"{mode}: {shipped} of {tried} functions were replaced, under {GOAL:.0%}"


# keeping -----------------------------------------------------------------------------------


def keep(python: str, results: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Add results to those that are kept, under the Python that gave them.

    Paths are kept as they are inside `folder`, where the packages were run.
    """
    code = "import platform; print(platform.python_version())"
    version = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    file = RESULTS / "corpus.json"
    kept = json.loads(file.read_text("utf-8")) if file.exists() else {}
    of_python = kept.setdefault(version.stdout.strip(), {})
    of_python.update({name: _slim(result) for name, result in results.items()})
    text = json.dumps(kept, indent=1, sort_keys=True).replace(f"{folder}/", "")
    file.write_text(text + "\n", "utf-8")
    (RESULTS / "corpus.md").write_text(markdown(kept), "utf-8")


def _slim(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result without the outcome of every test."""
    plain = {k: v for k, v in result.get("plain", {}).items() if k != "outcomes"}
    return {**result, "plain": plain}


def markdown(kept: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return all results as text."""
    parts = [_HEAD]
    for python in sorted(kept):
        results = {name: r for name, r in kept[python].items() if "modes" in r}
        parts.append(f"## Python {python}\n\n{_functions(results)}\n\n{_tests(results)}")
        parts.append(_refusals(results))
        parts.append(_differences(results))
    return "\n\n".join(part for part in (*parts, _shared()) if part) + "\n"


def _shared() -> str:
    lines = [f"- `{name}`: {s.reason}" for s in SHARED for name in s.functions]
    lines += [f"- those under `@{name}`: {why}" for name, why in REGISTERING.items()]
    return "Functions that `helpers` always replaces:\n\n" + "\n".join(lines)


_HEAD = """# Every function of foreign packages, replaced

Written by `python -m benchmarks.corpus`, which says what is done. The names of what was refused,
and the tests that end otherwise, are in `corpus.json`. *Found* counts every function and method
outside other functions; *absent* are those of them that the process never defines, such as the
branch for another platform. `helpers` tries every second function of a module, and all methods.
*Objects* are those that the garbage collector knows, before and after."""


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _functions(results: Mapping[str, Mapping[str, Any]]) -> str:
    head = ["package", "found", "absent", *(f"{m}: shipped/tried" for m in MODES)]
    head += ["build", "link", "switch", "objects"]
    rows = []
    for name, result in sorted(results.items()):
        modes = result["modes"]
        one = modes.get("edited") or next(iter(modes.values()))
        row = [f"{name} {result['version']}", one.get("found", 0), len(one.get("absent", ()))]
        row += [_share(modes.get(mode)) for mode in MODES]
        row += [_time(one.get("seconds", {}).get(k)) for k in ("build", "link", "switch")]
        rows.append([*row, " → ".join(f"{n:,}" for n in one.get("objects", {}).values())])
    rows.append(_sum_of_functions(results))
    return _table(head, rows)


def _sum_of_functions(results: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    row: list[Any] = ["**all**", "", ""]
    for mode in MODES:
        modes = [r["modes"][mode] for r in results.values() if mode in r["modes"]]
        tried, shipped = (sum(m.get(k, 0) for m in modes) for k in ("tried", "shipped"))
        row.append(f"**{shipped}/{tried}** ({shipped / tried:.2%})" if tried else "")
    return [*row, "", "", "", ""]


def _share(mode: Mapping[str, Any] | None) -> str:
    return f"{mode.get('shipped', 0)}/{mode.get('tried', 0)}" if mode else ""


def _time(seconds: float | None) -> str:
    return "" if seconds is None else show(seconds)


def _tests(results: Mapping[str, Mapping[str, Any]]) -> str:
    head = ["package", "plain", *MODES, "differences", "flaky", "crashes"]
    rows = []
    for name, result in sorted(results.items()):
        modes = result["modes"]
        row: list[Any] = [
            name,
            _counts(result["plain"]),
            *(_counts(modes.get(mode)) for mode in MODES),
        ]
        row.append(sum(len(m["differences"]) for m in modes.values()))
        row.append(len(result["plain"]["flaky"]))
        rows.append([*row, sum(m["status"] < 0 for m in modes.values())])
    return "Tests passed/failed/skipped:\n\n" + _table(head, rows)


def _counts(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return ""
    tests = run["tests"]
    failed = sum(tests.get(k, 0) for k in ("failed", "error", "crashed", "xpassed"))
    skipped = sum(tests.get(k, 0) for k in ("skipped", "xfailed"))
    return f"{tests.get('passed', 0)}/{failed}/{skipped}"


def _refusals(results: Mapping[str, Mapping[str, Any]]) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for result in results.values():
        for mode, found in result["modes"].items():
            for reason, functions in found.get("refused", {}).items():
                counts[reason, mode] += len(functions)
    reasons = sorted({reason for reason, _ in counts})
    if not reasons:
        return "Nothing was refused."
    rows = [[f"`{reason}`", *(counts[reason, mode] for mode in MODES)] for reason in reasons]
    return "Refused:\n\n" + _table(["reason", *MODES], rows)


def _differences(results: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, result in sorted(results.items()):
        for mode, found in result["modes"].items():
            for difference in found["differences"]:
                why = difference.get("limit", "**not explained**")
                ends = f"{difference['plain']} → {difference['now']}"
                lines.append(f"- {name}, {mode}: `{difference['id']}`: {ends}: {why}")
    return "Tests that end otherwise:\n\n" + "\n".join(lines) if lines else ""
