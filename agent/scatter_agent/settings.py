"""The settings of the worker side, with the administrator's file: `/etc/scatter/agent.toml`.

One file for all commands of `scatter-agent`; each of its keys is a flag and a variable of the
environment too. A flag goes over the environment, that over systemd's credentials, those over the
file, that over `[tool.scatter]` of the project, and that over the default.

Not here: the resolver (`scatter.config.choose`), the settings that the library has too.

Invariants
1. The file names whom to trust, so it is read as trust files are: only this user or root may be
   able to write it.
2. Errors say file, line, key, what was found and what was expected; all of them at once.
3. No file turns the checks of trust off.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scatter.config import SETTINGS, Settings, Table, checked, choose, has_secret, resolve
from scatter.errors import ScatterError, Untrusted, UsageError

FILE = Path("/etc/scatter/agent.toml")
FILE_VARIABLE = "SCATTER_CONFIG"
CREDENTIALS = {
    "redis_password_file": "scatter.redis-password",
    "allowed_signers": "scatter.allowed-signers",
    "revoked_keys": "scatter.revoked-keys",
}
"""Setting → credential of the unit (`LoadCredential=`) that is used where there is one."""

VARIABLES: dict[str, tuple[str, ...]] = {
    "namespaces": ("SCATTER_NAMESPACES",),
    "directory": ("SCATTER_MIRROR", "STATE_DIRECTORY"),
    "allowed_signers": ("SCATTER_ALLOWED_SIGNERS",),
    "revoked_keys": ("SCATTER_REVOKED_KEYS",),
    "policy": ("SCATTER_POLICY",),
    "state": ("SCATTER_STATE",),
}
_DEFAULTS: dict[str, Any] = {
    "namespaces": (),
    "directory": "/var/lib/scatter",
    "allowed_signers": (),
    "revoked_keys": (),
    "policy": "",
    "state": "",
}
_SEPARATORS = {"namespaces": r"[,\s]+", "allowed_signers": os.pathsep, "revoked_keys": os.pathsep}
_NOT_IN_FILE = ("author", "paths", "checks", "trust")
KEYS = (*(name for name in SETTINGS if name not in _NOT_IN_FILE), *VARIABLES)
"""What the file may say, in the order in which it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Settings of the commands of `scatter-agent`.

    Attributes:
        common: What the library has too: store, namespace, patterns, labels, access.
        namespaces: Of which the mirror keeps copies; empty: that of `common`.
        directory: Where it keeps them.
        allowed_signers, revoked_keys, policy: Files of trust, in place of the usual ones; empty:
            those.
        state: Directory in which it is kept how far logs were believed; empty: the usual one.
        file: The administrator's file, if there is one.
        origins: Setting → where its value came from.

    """

    common: Settings
    namespaces: tuple[str, ...] = ()
    directory: str = ""
    allowed_signers: tuple[str, ...] = ()
    revoked_keys: tuple[str, ...] = ()
    policy: str = ""
    state: str = ""
    file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Return the variables by which another process comes to the same settings."""
        told = {
            VARIABLES[name][0]: value if isinstance(value, str) else _joint(name).join(value)
            for name in VARIABLES
            if (value := getattr(self, name)) and not self._is_known(name)
        }
        return self.common.environment() | told

    def _is_known(self, name: str) -> bool:
        return self.origins.get(name, "default").startswith(("default", "environment"))

    def shown(self) -> Iterator[tuple[str, str, str]]:
        """Yield (setting, value for people, origin); passwords are hidden."""
        for name, text, origin in self.common.shown():
            if name in KEYS or name == "trust":
                yield name, text, origin
        for name in VARIABLES:
            value = getattr(self, name)
            text = value if isinstance(value, str) else ", ".join(value)
            yield name, text, self.origins.get(name, "default")


def _joint(name: str) -> str:
    return "," if name == "namespaces" else os.pathsep


def resolve_agent(*, config: Path | None = None, **arguments: object) -> AgentSettings:
    """Return the settings in force for a command of `scatter-agent`.

    Args:
        config: The administrator's file; default: that of SCATTER_CONFIG, else
            `/etc/scatter/agent.toml` if there is one.
        **arguments: Setting → its value, as flags give them; None: not given.

    Raises:
        UsageError: Values are wrong, or the file is; the message has a line for each.

    """
    file = _file(config)
    table, wrong = _read(file) if file else (Table(values={}, places={}), [])
    tables = [_credentials(), table]
    own = {name: value for name, value in arguments.items() if name in VARIABLES}
    rest = {name: value for name, value in arguments.items() if name not in VARIABLES}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    common = Settings()
    try:
        common = resolve(above=tables, **rest)  # type: ignore[arg-type]
    except UsageError as error:
        wrong += str(error).splitlines()
    try:
        values, origins = choose(_DEFAULTS, VARIABLES, given=own, tables=tables, check=_checked)
    except UsageError as error:
        wrong += str(error).splitlines()
    if wrong:
        raise UsageError("\n".join(sorted(wrong, key=_line)))
    return AgentSettings(common=common, **values, file=file, origins=origins)


def _line(error: str) -> int:
    """Return the line of the file that an error is about; 0: it is about something else."""
    found = re.search(r"^\w+ \([^)]*:(\d+)\): ", error)
    return int(found[1]) if found else 0


def _file(config: Path | None) -> Path | None:
    """Return the administrator's file; None if none is named and there is none."""
    named = config or os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    return FILE if os.path.lexists(FILE) else None


def _credentials() -> Table:
    """Return the settings that systemd's credentials of this unit are."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    there = {
        name: os.path.join(folder, file)
        for name, file in CREDENTIALS.items()
        if folder and os.path.isfile(os.path.join(folder, file))
    }
    places = {name: f"credential {CREDENTIALS[name]}" for name in there}
    return Table(values=there, places=places)


def _read(file: Path) -> tuple[Table, list[str]]:
    """Return the settings of an administrator's file, and what is wrong with its other keys.

    Raises:
        UsageError: It is not there, others could have written it, or it is no TOML.

    """
    from scatter.trust.files import read as read_safely

    try:
        text = read_safely(file).text
    except FileNotFoundError as error:
        raise UsageError(
            f"{file}: expected the settings of scatter-agent, found no file. Correct --config or "
            f"{FILE_VARIABLE}."
        ) from error
    except Untrusted as error:
        raise UsageError(str(error)) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{_place_of(error, file, text)}: expected TOML: {error}.") from error
    places = {name: f"{file}:{_line_of(name, text)}" for name in values}
    wrong = [f"{name} ({places[name]}): {_unknown(name)}" for name in values if name not in KEYS]
    known = {name: value for name, value in values.items() if name in KEYS}
    return Table(values=known, places=places), wrong


def _unknown(name: str) -> str:
    if name in SETTINGS:
        return "expected no such key in this file: it is set by flag or environment."
    close = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.7)
    if close:
        return f"there is no such key. Did you mean {close[0]}?"
    return f"there is no such key; expected one of {', '.join(KEYS)}."


def _place_of(error: tomllib.TOMLDecodeError, file: Path, text: str) -> str:
    """Return file and line of a mistake in the form."""
    found = re.search(r"at line (\d+)", str(error))
    return f"{file}:{found[1] if found else text.count(chr(10)) + 1}"


def _line_of(name: str, text: str) -> int:
    """Return the line in which a key of the top level begins."""
    key = re.escape(name)
    found = re.search(rf"""^\s*\[?\s*["']?{key}["']?\s*[=.\]]""", text, re.M)
    return text.count("\n", 0, found.end()) + 1 if found else 1


def _checked(name: str, value: object, origin: str) -> object:
    """Return the value of a setting that only this side has, in its type."""
    if name not in _SEPARATORS:
        if isinstance(value, str):
            return value
        raise UsageError(f"{name} ({origin}): expected a path, found {value!r}.")
    if isinstance(value, str):
        value = [text for text in re.split(_SEPARATORS[name], value.strip()) if text]
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        what = "namespaces" if name == "namespaces" else "paths"
        raise UsageError(f"{name} ({origin}): expected a list of {what}, found {value!r}.")
    if name == "namespaces":
        for text in value:
            checked("namespace", text, f"{name}, {origin}")
    return tuple(value)


def problems(settings: AgentSettings) -> list[str]:
    """Return what is wrong with files that settings name, a line for each; they are only read."""
    from scatter.access import read_password
    from scatter.trust.files import read as read_safely

    found = []
    if settings.common.redis_password_file:
        try:
            read_password(Path(settings.common.redis_password_file))
        except ScatterError as error:
            found.append(f"{_named(settings, 'redis_password_file')}: {error}")
    for name in ("allowed_signers", "revoked_keys", "policy"):
        value = getattr(settings, name)
        for file in [value] if isinstance(value, str) and value else value:
            try:
                read_safely(Path(file).expanduser())
            except FileNotFoundError:
                found.append(f"{_named(settings, name)}: expected a file, found none at {file}.")
            except ScatterError as error:
                found.append(f"{_named(settings, name)}: {error}")
    return found


def _named(settings: AgentSettings, name: str) -> str:
    origins = {**settings.common.origins, **settings.origins}
    return f"{name} ({origins.get(name, 'default')})"


def warnings(settings: AgentSettings) -> list[str]:
    """Return which secrets every user of the machine can read, a line for each with what to do."""
    common, found = settings.common, []
    origin = Path(re.sub(r":\d+$", "", common.origins.get("redis_url", "")))
    if has_secret(common.redis_url) and _is_for_all(origin):
        found.append(
            f"{_named(settings, 'redis_url')} has a password, and everybody can read {origin}. "
            f"Put it into a file of its own, and name that as redis_password_file; or, if nobody "
            f"else needs to read the settings: chmod 600 {origin}"
        )
    for name in ("redis_password_file", "redis_key_file"):
        file = Path(getattr(common, name) or "/")
        if _is_for_all(file):
            found.append(
                f"{_named(settings, name)}: everybody can read {file}. Let only its owner, or one "
                f"group, do that: chmod o-rwx {file}"
            )
    return found


def _is_for_all(file: Path) -> bool:
    """Return whether it is a file that any user can read."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & stat.S_IROTH)
