"""A pytest plugin: replaces every function of a package by a pushed copy, and records outcomes.

It runs inside the environment of a foreign package, where nothing but pytest and scatter's own
sources is there. What to do is in the file that `CORPUS_JOB` names (see `Job`).

Invariants
1. The reference run imports the same modules in the same order: the only difference between two
   runs is the replacement.
2. What is known is on disk at once, so that a crash of the interpreter hides nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TextIO

import pytest

from .corpus_job import JOB, Job, Report  # the folder has another name in foreign environments
from .corpus_replace import count_running, import_all, replace_all


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder, if a job was given."""
    if file := os.environ.pop(JOB, ""):
        fields = json.loads(Path(file).read_text("utf-8"))
        config.pluginmanager.register(Recorder(Job(**fields)), "scatter-corpus")


class Recorder:
    """Replaces at the start of the session, and writes down how each test ends."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._report = Report()
        self._file: TextIO = Path(job.outcomes).open("w", encoding="utf-8")  # noqa: SIM115

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        modules = import_all(self._job, self._report)
        if self._job.mode != "plain":
            replace_all(modules, self._job, self._report)
        self._report.write(self._job.report)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(id=nodeid, outcome="started")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = outcome_of(report)
        if outcome:
            text = "" if outcome in ("passed", "skipped", "xfailed") else report.longreprtext
            self._write(id=report.nodeid, outcome=outcome, text=text[-4000:])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(id=report.nodeid, outcome="error", text=report.longreprtext[-4000:])

    def pytest_sessionfinish(self) -> None:
        if self._job.mode != "plain":
            self._report.running = count_running()
            self._report.write(self._job.report)
        self._file.close()

    def _write(self, **fields: str) -> None:
        self._file.write(json.dumps(fields) + "\n")
        self._file.flush()


def outcome_of(report: pytest.TestReport) -> str:
    """Return how a phase of a test ended; empty where it says nothing about the test."""
    if hasattr(report, "wasxfail"):
        return "xpassed" if report.passed else "xfailed"
    if report.when == "call" or report.skipped:
        return report.outcome
    return "error" if report.failed else ""
