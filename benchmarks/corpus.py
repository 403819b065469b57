"""Replaces every function of packages that nobody here wrote, and runs their own suites.

    python -m benchmarks.corpus                 all of them; writes benchmarks/results/corpus.*
    python -m benchmarks.corpus --quick         a few fast ones, as a check
    python -m benchmarks.corpus click httpx     some; updates their part of the results

For each package its suite runs without scatter (twice, to know its flaky tests), with every
function replaced by a pushed copy of itself (`same`), by an edited copy (`edited`), and with all
functions edited but every second one of a module's own replaced, so that the others travel with
their callers (`helpers`). Exits with 1 if a test ends otherwise than without scatter and
`corpus_limits` does not say why, if fewer than 99 % of the functions were replaced, or if an
interpreter crashed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.corpus_packages import PACKAGES, QUICK, Package
from benchmarks.corpus_report import MODES, compared, keep, mode_of, plain_of, verdict
from benchmarks.corpus_runs import Place, Run, Unavailable, prepare, python_of, reference, run

CACHE = Path(__file__).parent.parent / ".corpus"


def main() -> int:
    """Run what was asked for; return 1 if something is not as it should be."""
    arguments = _arguments()
    python = python_of(arguments.python)
    results = {}
    for package in arguments.packages:
        _say(f"{package.name} {package.version}")
        try:
            place = prepare(package, arguments.cache, python)
            results[package.name] = _measure(package, place, arguments)
        except Unavailable as error:
            _say(f"  {error}")
            results[package.name] = {"version": package.version, "unavailable": str(error)}
        if not arguments.quick:
            keep(python, {package.name: results[package.name]}, arguments.cache)
    problems = verdict(results)
    for line in problems:
        print(line)
    print("All as without scatter." if not problems else f"{len(problems)} problems.")
    return int(bool(problems))


def _arguments() -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = {package.name: package for package in PACKAGES}
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}; no results")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR")
    parser.add_argument("--python", default="", metavar="EXE", help="for the environments")
    parser.add_argument("--fresh", action="store_true", help="run the suites without scatter anew")
    parser.add_argument("--once", action="store_true", help="do not run twice what differs")
    parser.add_argument("--modes", default=",".join(MODES), metavar="MODE,...")
    arguments = parser.parse_args()
    names = arguments.packages or (QUICK if arguments.quick else known)
    if unknown := set(names) - known.keys():
        parser.error(f"there is no package {sorted(unknown)[0]!r}; known: {', '.join(known)}")
    arguments.packages = [known[name] for name in names]
    arguments.cache = arguments.cache.resolve()
    arguments.modes = arguments.modes.split(",")
    return arguments


def _measure(package: Package, place: Place, arguments: Any) -> dict[str, Any]:
    """Return what all runs of one package give."""
    logs = place.tests.parent / "logs"
    first, second = reference(package, place, logs, fresh=arguments.fresh)
    _tell("plain", first)
    plain = plain_of(first, second)
    modes = {}
    for mode in arguments.modes:
        once = again = run(package, place, mode, logs)
        _tell(mode, once)
        if compared(plain, once) and not arguments.once:
            again = run(package, place, f"{mode}-again", logs)
        modes[mode] = mode_of(package.name, mode, plain, once, again)
        for found in modes[mode]["differences"]:
            _say(f"    {found['id']}: {found['plain']} → {found['now']}")
    return {"version": package.version, "style": package.style, "plain": plain, "modes": modes}


def _tell(mode: str, done: Run) -> None:
    shipped = f"{done.report.get('shipped')}/{done.report.get('tried')} functions, "
    passed = sum(outcome == "passed" for outcome in done.outcomes.values())
    status = f", exit {done.status}" if done.status else ""
    tests = f"{passed}/{len(done.outcomes)} tests passed"
    _say(f"  {mode}: {'' if mode == 'plain' else shipped}{tests}{status}, {done.seconds:.1f} s")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
