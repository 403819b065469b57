"""What is known to differ, and why it is none to mend.

Two sorts: tests that end otherwise, and functions that must not travel privately with their
callers in the `helpers` run, since the suite looks at the module's own function.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Difference(NamedTuple):
    """Tests of a package that end otherwise in some runs; `tests` is a regular expression."""

    package: str
    modes: tuple[str, ...]
    tests: str
    reason: str


class Shared(NamedTuple):
    """Functions (patterns) that the `helpers` run replaces, whether or not their turn comes."""

    functions: tuple[str, ...]
    reason: str


_CODE = "a decorator of its own keeps the code object, which an edited function does not have"
_PATCHED = "it is patched in its module; a private copy does not see that"
_IDENTITY = "it is compared by identity, or pickled by name; a private copy is another object"
_CACHED = "its tests empty its cache; a private copy has a cache of its own"
_FRAMES = "it counts stack frames; a version with private helpers has one more"

DIFFERENCES = (
    Difference("jinja2", ("edited", "helpers"), r"TestDebug::test_runtime_error$", _CODE),
)

SHARED = (
    Shared(("toolz.functoolz:_restore_curry",), _IDENTITY),
    Shared(("attr.setters:convert", "attr.setters:validate"), _IDENTITY),
    Shared(("structlog.threadlocal:_deprecated",), _FRAMES),
    Shared(
        (
            "click._compat:_is_jupyter_kernel_output",
            "click._compat:isatty",
            "click._compat:should_strip_ansi",
            "click._termui_impl:_pager_contextmanager",
            "click.termui:hidden_prompt_func",
        ),
        _PATCHED,
    ),
    Shared(("click.utils:_get_binary_stream",), _IDENTITY),
    Shared(("dateutil.tz._tzfile:_unpickle", "networkx.classes.function:frozen"), _IDENTITY),
    Shared(
        ("packaging._manylinux:*", "packaging._musllinux:*", "packaging.tags:*"),
        _PATCHED,
    ),
    Shared(("packaging.markers:_cached_default_environment",), _CACHED),
)

REGISTERING = {
    "_dispatchable": "networkx registers what it decorates by name, and refuses a second one",
}
"""Decorators that are run once a name: what stands below them cannot travel as a helper."""


def reason_for(package: str, mode: str, test: str) -> str:
    """Return why a test may end otherwise; empty if nothing says so."""
    for limit in DIFFERENCES:
        if limit.package == package and mode in limit.modes and re.search(limit.tests, test):
            return limit.reason
    return ""


def shared() -> tuple[str, ...]:
    """Return the full names of the functions that must not travel privately."""
    return tuple(name for found in SHARED for name in found.functions)
