"""What one run of a foreign suite is told, and what it reports, as values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

JOB = "CORPUS_JOB"
"""The environment variable that names the file of a `Job`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one run does.

    Attributes:
        packages: Names of the packages to import whole, and to replace.
        leave: Modules that are not imported, by name.
        mode: `plain`, `same`, `edited` or `helpers`.
        shared: Functions that `helpers` replaces in any case, as patterns.
        registering: Decorators whose functions it replaces in any case.
        outcomes: File for the outcome of each test, one JSON object a line.
        report: File for what was replaced, as JSON.

    """

    packages: tuple[str, ...]
    leave: tuple[str, ...]
    mode: str
    shared: tuple[str, ...]
    registering: tuple[str, ...]
    outcomes: str
    report: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of the functions of a package.

    Attributes:
        found: How many functions and methods the static reading finds.
        absent: Of those, what this process never defined, or dropped: the branch for another
            platform, a definition that a later one replaces.
        tried: How many were to be replaced.
        shipped: How many were replaced.
        running: How many of those still ran the pushed version at the end.
        not_edited: Those that were to run an edited copy and do not.
        refused: Reason → (function, message).
        left_out: Modules that do not import here → why.
        seconds: What took how long.
        objects: How many objects the collector knew before and after; they are what it walks
            while everything else waits.

    """

    found: int = 0
    absent: list[str] = field(default_factory=list)
    tried: int = 0
    shipped: int = 0
    running: int = 0
    not_edited: list[str] = field(default_factory=list)
    refused: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str, name: str, message: str) -> None:
        """Note that a function was not replaced."""
        self.refused.setdefault(reason, []).append((name, message))

    def write(self, file: str) -> None:
        """Write it, so that a reader never sees half of it."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        Path(file + ".part").write_text(json.dumps(fields, indent=1), "utf-8")
        Path(file + ".part").replace(file)
