"""Settings, resolved in one place: argument, then environment, then files, then default.

The file is `[tool.scatter]` of the project; of the worker side, an administrator's goes over it
(`scatter_agent.settings`).

Not here: connecting to anything. Nothing is read at import; `resolve` reads the environment and
the nearest `pyproject.toml` when it is called.

Invariant: each value knows where it came from, and no `repr` shows a password.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from scatter.access import Access
from scatter.errors import UsageError
from scatter.groups import GROUP_SCHEMES, is_group, parse_group

DEFAULT_URL = "redis://localhost:6379"
DEFAULT_NAMESPACE = "default"

_OF_ACCESS = tuple(f.name for f in fields(Access))
_ENVIRONMENT = {
    "redis_url": ("SCATTER_STORE", "SCATTER_REDIS_URL", "REDIS_URL"),
    "namespace": ("SCATTER_NAMESPACE",),
    "author": ("SCATTER_AUTHOR",),
    "paths": ("SCATTER_PATHS",),
    "track": ("SCATTER_TRACK",),
    "checks": ("SCATTER_CHECKS",),
    "labels": ("SCATTER_LABELS",),
    "application": ("SCATTER_APPLICATION",),
    "cache": ("SCATTER_CACHE",),
    "trust": ("SCATTER_TRUST",),
    "redis_username": ("SCATTER_REDIS_USERNAME",),
    "redis_password_file": ("SCATTER_REDIS_PASSWORD_FILE",),
    "redis_ca_file": ("SCATTER_REDIS_CA_FILE",),
    "redis_cert_file": ("SCATTER_REDIS_CERT_FILE",),
    "redis_key_file": ("SCATTER_REDIS_KEY_FILE",),
}
_DEFAULTS: dict[str, Any] = {
    "redis_url": DEFAULT_URL,
    "namespace": DEFAULT_NAMESPACE,
    "author": "",
    "paths": (".",),
    "track": (),
    "checks": (),
    "labels": (),
    "application": "",
    "cache": "",
    "trust": "on",
    **dict.fromkeys(_OF_ACCESS, ""),
}
_JOINTS = {"paths": os.pathsep, "track": ",", "labels": ",", "checks": "\n"}
_LISTS = {
    "paths": re.escape(os.pathsep),
    "track": r"[,\s]+",
    "labels": r"\s*,\s*",
    "checks": r"\s*\n\s*",
}
"""Settings that are lists, and what separates their values in one text."""
_NOT_IN_FILES = frozenset({"trust"})
"""Settings that each process says for itself: no file of a project turns the checks off."""
_ALIASES = {"prefix": "namespace", "url": "redis_url"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where functions are kept, and in whose name.

    Attributes:
        redis_url: Address of the store (`redis://`, `rediss://`, `unix://`, `local://`,
            `memory://`, `dir:PATH`; `redis+sentinel://` and `redis+cluster://`, also with
            `rediss+`).
        namespace: Which application's functions.
        author: Who releases; empty: found out when needed.
        paths: Files and directories that `watch` and `push` read by default.
        track: Patterns of modules of which every function is tracked.
        checks: Commands that must pass before something is pushed; `[PATTERN] COMMAND` for one that
            concerns only files of some paths.
        labels: What a process is, as `key=value`, for rollouts and for people.
        application: How `scatter status` names a process; empty: by its program.
        cache: Directory in which agents keep the last known good versions; empty: nowhere.
        trust: `on`: releases are signed, and only those of trusted keys are run; or `off`.
        redis_username, redis_password_file, redis_ca_file, redis_cert_file, redis_key_file: As in
            `Access`.
        origins: Setting → where its value came from.

    """

    redis_url: str = DEFAULT_URL
    namespace: str = DEFAULT_NAMESPACE
    author: str = ""
    paths: tuple[str, ...] = (".",)
    track: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    application: str = ""
    cache: str = ""
    trust: str = "on"
    redis_username: str = ""
    redis_password_file: str = ""
    redis_ca_file: str = ""
    redis_cert_file: str = ""
    redis_key_file: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Settings({redact(self.redis_url)!r}, namespace={self.namespace!r})"

    def but(self, **arguments: object) -> Settings:
        """Return these settings with others for those that are given.

        Args:
            **arguments: Setting → its value; None: as it is.

        Raises:
            UsageError: A value has the wrong type or form.

        """
        given = {name: value for name, value in arguments.items() if value is not None}
        values = {name: checked(name, value, "argument") for name, value in given.items()}
        changed: dict[str, Any] = {
            **values,
            "origins": {**self.origins, **dict.fromkeys(given, "argument")},
        }
        return replace(self, **changed)

    def same_as(self, other: Settings) -> bool:
        """Return whether all values are the same, wherever they came from."""
        return replace(self, origins={}) == replace(other, origins={})

    @property
    def access(self) -> Access:
        """What gets one into the server beside its URL."""
        return Access(**{name: getattr(self, name) for name in _OF_ACCESS})

    def environment(self) -> dict[str, str]:
        """Return the variables by which another process comes to the same settings.

        What is a default, and what this process has from its own environment, is left out; so are
        checks, which are for whoever pushes.
        """
        told = [
            name
            for name in _DEFAULTS
            if not self.origins.get(name, "default").startswith(("default", "environment"))
            and name != "checks"
        ]
        texts = {name: getattr(self, name) for name in told}
        return {
            _ENVIRONMENT[name][0]: text if isinstance(text, str) else _JOINTS[name].join(text)
            for name, text in texts.items()
        }

    def shown(self) -> Iterator[tuple[str, str, str]]:
        """Yield (setting, value for people, origin); passwords are hidden."""
        for name in _DEFAULTS:
            value = getattr(self, name)
            text = redact(value) if name == "redis_url" else value
            text = ", ".join(text) if isinstance(text, tuple) else text
            yield name, text, self.origins.get(name, "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Settings of one file.

    Attributes:
        values: Setting → its value, as it stands there.
        places: Setting → where it stands, for people.

    """

    values: Mapping[str, Any]
    places: Mapping[str, str]


def resolve(
    *, start: Path | None = None, above: Sequence[Table] = (), **arguments: object
) -> Settings:
    """Return the settings in force.

    Args:
        start: Directory from which `pyproject.toml` is looked for upward; default: the current.
        above: What goes over that file, as of an administrator; the first goes over the others.
        **arguments: Settings given by the caller; None counts as not given. `prefix` is an
            alias of `namespace`.

    Raises:
        UsageError: Values have the wrong type or form; the message says where they came from.

    """
    file = _project_file(start or Path.cwd())
    values = _read_table(file) if file else {}
    project = Table(values=values, places=dict.fromkeys(values, str(file)))
    found, origins = choose(
        _DEFAULTS, _ENVIRONMENT, given=arguments, tables=(*above, project), check=checked
    )
    return Settings(**found, origins=origins)


def choose(
    defaults: Mapping[str, Any],
    variables: Mapping[str, Sequence[str]],
    *,
    given: Mapping[str, object],
    tables: Sequence[Table],
    check: Callable[[str, object, str], object],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of some settings, and where each came from.

    Args:
        defaults: Setting → its default, for each setting.
        variables: Setting → variables of the environment that may have it, the first that is set.
        given: Arguments; None counts as not given.
        tables: Files, the one that goes over the others first.
        check: Takes setting, value and origin, and returns the value in its type.

    Raises:
        UsageError: Values are wrong; the message has a line for each.

    """
    given = {_ALIASES.get(k, k): v for k, v in given.items() if v is not None}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    wrong: list[str] = []
    for name, default in defaults.items():
        variable = next((v for v in variables[name] if os.environ.get(v)), "")
        table = next((t for t in tables if name in t.values), None)
        if name in given:
            values[name], origins[name] = given[name], "argument"
        elif variable:
            values[name], origins[name] = os.environ[variable], f"environment {variable}"
        elif table is not None:
            values[name], origins[name] = table.values[name], table.places[name]
        else:
            values[name], origins[name] = default, "default"
        try:
            values[name] = check(name, values[name], origins[name])
        except UsageError as error:
            wrong.append(str(error))
    if wrong:
        raise UsageError("\n".join(wrong))
    return values, origins


def redact(url: str) -> str:
    """Return a URL with its password, and any secret in its query, replaced by `***`.

    A password reaches to the last `@`: people paste `@`, `/`, `#` and `?` as they are.
    """
    if re.search(rf"{_HIDDEN_VALUE}[^&]*@", url, flags=re.I | re.S):
        # nobody knows whether that `@` ends a password or is in the middle of another
        return re.sub(r"(://[^/@:,?]*).*", r"\1:***", url, flags=re.S)
    url = re.sub(r"(://[^/@:]*):.*(?=@)", r"\1:***", url, flags=re.S)
    return re.sub(rf"({_HIDDEN_VALUE})[^&]*", r"\1***", url, flags=re.I)


def has_secret(url: str) -> bool:
    """Return whether an address has something in it that must not be shown."""
    return redact(url) != url


def _project_file(folder: Path) -> Path | None:
    """Return the nearest `pyproject.toml` upward that has a `[tool.scatter]` table."""
    for parent in (folder.absolute(), *folder.absolute().parents):
        file = parent / "pyproject.toml"
        if file.is_file() and "scatter" in _table(_load(file), "tool", file):
            return file
    return None


def _table(parent: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    """Return a table of a file; empty if it has none."""
    found = parent.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(
            f"{file}: expected `{name}` to be a table, found {type(found).__name__}. Correct it."
        )
    return found


def _load(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}. Correct it.") from error


def _read_table(file: Path) -> dict[str, Any]:
    found = _table(_table(_load(file), "tool", file), "scatter", file)
    table = {_ALIASES.get(k, k): v for k, v in found.items()}
    unknown = sorted(table.keys() - _DEFAULTS.keys())
    if unknown:
        raise UsageError(
            f"{file}: [tool.scatter] has the unknown setting {unknown[0]!r}. "
            f"Known are: {', '.join(name for name in _DEFAULTS if name not in _NOT_IN_FILES)}."
        )
    for name in table.keys() & _NOT_IN_FILES:
        raise UsageError(
            f"{file}: [tool.scatter] cannot set {name!r}: each process says it for itself. "
            f"Set {_ENVIRONMENT[name][0]} where it is meant."
        )
    return table


def checked(name: str, value: object, origin: str) -> object:
    """Return a setting's value in its type.

    Args:
        name: Of the setting.
        value: As it was found.
        origin: Where it was found, for the error.

    Raises:
        UsageError: It has the wrong type or form.

    """
    if name in _LISTS:
        if isinstance(value, str):
            value = [text for text in re.split(_LISTS[name], value.strip()) if text]
        if name == "labels" and isinstance(value, Mapping):
            value = [f"{key}={text}" for key, text in value.items()]
        if name == "checks" and isinstance(value, Mapping):
            value = _checks_of(value)
        is_good = name != "labels" or _are_labels(value)
        if is_good and isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            return tuple(value)
    elif isinstance(value, str) and _FORMS.get(name, _ANY).fullmatch(value):
        return check_url(value, f"redis_url ({origin})") if name == "redis_url" else value
    expected = {
        "paths": "a list of paths",
        "track": "a list of patterns",
        "checks": "a list of commands, or a table of them by patterns of paths",
        "labels": "a list of `key=value`",
        "namespace": "1 to 100 letters, digits, dots, dashes or underscores",
        "trust": "'on' or 'off'",
    }.get(name, "text")
    raise UsageError(f"{name} ({origin}): expected {expected}, found {value!r}.")


def _checks_of(table: Mapping[Any, Any]) -> list[str] | None:
    """Return checks that are a table, pattern of paths → a command or several, as a list."""
    lists = {p: [found] if isinstance(found, str) else found for p, found in table.items()}
    if not all(isinstance(found, list) for found in lists.values()):
        return None
    pairs = [(pattern, command) for pattern, found in lists.items() for command in found]
    if not all(isinstance(text, str) for pair in pairs for text in pair):
        return None
    return [command if pattern == "*" else f"[{pattern}] {command}" for pattern, command in pairs]


def _are_labels(value: object) -> bool:
    texts = value if isinstance(value, (list, tuple)) else ()
    return all(isinstance(text, str) and re.fullmatch(r"[\w./-]+=.*", text) for text in texts)


def checked_labels(labels: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Return labels as a table.

    Raises:
        UsageError: They are no `key=value` texts, or no table of texts.

    """
    if isinstance(labels, Mapping):
        if not all(isinstance(text, str) for item in labels.items() for text in item):
            raise UsageError(f"labels: expected a table of texts, found {labels!r}.")
        return dict(labels)
    pairs = (text.partition("=") for text in labels)
    return {key.strip(): value.strip() for key, _, value in pairs}


_FORMS = {"namespace": re.compile(r"[A-Za-z0-9._-]{1,100}"), "trust": re.compile("on|off")}
_ANY = re.compile(r".*", re.S)


def check_url(url: str, what: str = "redis_url") -> str:
    """Return `url` if it can be the address of a store. Nothing is connected.

    Args:
        url: The address.
        what: How the error calls it.

    Raises:
        UsageError: It is malformed; the message shows no password.

    """
    if url.startswith("dir:"):
        if not url.removeprefix("dir:").partition("?")[0]:
            raise UsageError(f"{what}: expected dir:PATH, found {url!r}.")
        return url
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        # What is no URL is not shown at all: nobody knows where the password is in it.
        found = f"{scheme}://" if separator else "text without `://`"
        expected = ", ".join([*(f"{one}://" for one in _SCHEMES), "dir:"])
        raise UsageError(f"{what}: expected an address that begins with {expected}; found {found}.")
    expected = _url_lacks(url)
    if expected:
        raise UsageError(
            f"{what}: expected {expected}, found {redact(url)}. It looks like {_looks(url)}; "
            "characters such as / # ? @ of a password are written as %2F %23 %3F %40."
        )
    return url


def _url_lacks(url: str) -> str:
    """Return what a URL of a known scheme should have and has not; empty if it is well-formed."""
    if is_group(url):
        return _group_lacks(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may hold a piece of the password
        return _HOST_AND_PORT
    if port is not None and not (port and parts.hostname):
        return _HOST_AND_PORT
    if parts.scheme == "unix" and not parts.path.strip("/"):
        return "the path of a socket"
    if not all(text.isdecimal() for text in _databases(parts)):
        return "a database that is a whole number"
    return ""


def _group_lacks(url: str) -> str:
    try:
        parse_group(url)
    except UsageError as lack:
        return str(lack)
    return ""


def _looks(url: str) -> str:
    """Return what a URL of this one's kind looks like."""
    scheme = url.partition("://")[0]
    if scheme.endswith("sentinel"):
        return f"{scheme}://user:password@host1:26379,host2:26379/mymaster/0"
    if scheme.endswith("cluster"):
        return f"{scheme}://user:password@host1:6379,host2:6379"
    return "redis://user:password@host:6379/0 or unix:///run/redis.sock?db=0"


def _databases(parts: SplitResult) -> list[str]:
    """Return the texts that choose a database in a URL."""
    path = parts.path.strip("/") if parts.scheme in ("redis", "rediss") else ""
    return [*([path] if path else []), *parse_qs(parts.query).get("db", [])]


def database_of(url: str) -> int:
    """Return the number of the database that an address chooses."""
    if is_group(url):
        return int(parse_group(url).url.partition("?")[0].rpartition("/")[2])
    return int((_databases(urlsplit(url)) or ["0"])[-1])


_HIDDEN_VALUE = r"[?&][^=&]*(?:password|secret|token)[^=&]*="
_HOST_AND_PORT = "a host, and a port from 1 to 65535"
_SCHEMES = ("redis", "rediss", "unix", "local", "memory", *GROUP_SCHEMES)


SETTINGS = tuple(f.name for f in fields(Settings) if f.name != "origins")
"""Names of all settings, in the order in which they are shown."""
