"""Checks of this side: libraries, and where the password comes from. No server is needed."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from scatter.access import read_password
from scatter.config import has_secret
from scatter.doctor.visit import Finding, Visit

_LIBRARIES = ("redis", "hiredis", "cloudpickle", "cryptography", "structlog", "watchfiles", "click")
_OPTIONAL = frozenset({"hiredis"})
_REDIS_FROM, _REDIS_BELOW = (5, 3), (9,)
"""Versions of redis-py with which scatter is tested (`pyproject.toml`)."""


def check_libraries(_visit: Visit) -> Iterator[Finding]:
    """Say which libraries are in use, and whether they fit."""
    versions = {name: _version(name) for name in ("scatter", *_LIBRARIES)}
    missing = [name for name, v in versions.items() if not v and name not in _OPTIONAL]
    shown = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    found = f"Python {platform.python_version()}, {shown}"
    if missing:
        yield Finding(
            check="libraries",
            state="problem",
            found=f"Not installed: {', '.join(missing)}",
            advice=f"Run `pip install {' '.join(missing)}`.",
        )
    redis = tuple(int(n) for n in re.findall(r"\d+", versions["redis"])[:2])
    if redis and not _REDIS_FROM <= redis < _REDIS_BELOW:
        yield Finding(
            check="libraries",
            state="problem",
            found=f"redis {versions['redis']} is none with which scatter is tested",
            advice="Run `pip install 'redis>=5.3,<9'`.",
        )
    yield Finding(check="libraries", state="ok", found=found)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_login(visit: Visit) -> Iterator[Finding]:
    """Say where the password comes from, and who can read it there."""
    settings = visit.settings
    origin = settings.origins.get("redis_url", "default")
    if has_secret(settings.redis_url):
        if origin == "argument" or not origin.startswith(("environment", "default")):
            yield Finding(
                check="log-in",
                state="warning",
                found=f"The address has a password in it, and comes from {_place(origin)}",
                advice="Others can read it there. Put it into a file of yours, and name that in "
                "SCATTER_REDIS_PASSWORD_FILE.",
            )
        else:
            yield Finding(
                check="log-in", state="ok", found=f"The password is in the address ({origin})"
            )
    elif settings.redis_password_file:
        yield _of_file(Path(settings.redis_password_file))


def _place(origin: str) -> str:
    return "the command line" if origin == "argument" else origin


def _of_file(file: Path) -> Finding:
    read_password(file)
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        return Finding(
            check="log-in",
            state="warning",
            found=f"The password file {file} can be read by others (mode {mode:03o})",
            advice=f"Run `chmod 600 {file}`, if it is not on a volume made for this process.",
        )
    return Finding(check="log-in", state="ok", found=f"The password is in {file}, readable by its "
                   "owner alone")  # fmt: skip
