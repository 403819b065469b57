"""The flags of all commands: one for each key of the configuration file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from scatter_agent.settings import AgentSettings

F = TypeVar("F", bound=Callable[..., Any])

_FLAGS: dict[str, tuple[tuple[str, ...], str, str, bool]] = {
    "redis_url": (("-u", "--redis-url"), "URL", "redis://, rediss://, unix:// or local://", False),
    "namespace": (("-n", "--namespace"), "NAME", "Which application's functions.", False),
    "track": (
        ("--track",),
        "PATTERN",
        "Track every function of modules such as `pricing.*`; may be repeated.",
        True,
    ),
    "labels": (
        ("--label", "labels"),
        "KEY=VALUE",
        "What its processes are, such as region=eu; may be repeated.",
        True,
    ),
    "application": (
        ("--application",),
        "NAME",
        "How `scatter status` names its processes.",
        False,
    ),
    "cache": (("--cache",), "DIR", "Where the last known good versions are kept.", False),
    "redis_username": (("--redis-username",), "NAME", "User, where the URL has none.", False),
    "redis_password_file": (
        ("--redis-password-file",),
        "FILE",
        "File whose first line is the password.",
        False,
    ),
    "redis_ca_file": (("--redis-ca-file",), "FILE", "Certificates of rediss:// servers.", False),
    "redis_cert_file": (("--redis-cert-file",), "FILE", "This client's certificate.", False),
    "redis_key_file": (("--redis-key-file",), "FILE", "The key of that certificate.", False),
    "namespaces": (
        ("--namespaces", "namespaces"),
        "NAME",
        "A namespace of which the mirror keeps a copy; may be repeated.",
        True,
    ),
    "directory": (("-d", "--directory"), "DIR", "Where the mirror keeps its copies.", False),
    "allowed_signers": (
        ("--allowed-signers",),
        "FILE",
        "Keys that are trusted, in place of the usual files; may be repeated.",
        True,
    ),
    "revoked_keys": (
        ("--revoked-keys",),
        "FILE",
        "Keys that are revoked, in place of the usual files; may be repeated.",
        True,
    ),
    "policy": (("--policy",), "FILE", "What signers may do, in place of the usual file.", False),
    "state": (("--state",), "DIR", "Where it is kept how far logs were believed.", False),
}
"""Key → names of its flag, what its value is called, its help, and whether it may be repeated."""


def configured(*without: str) -> Callable[[F], F]:
    """Return a decorator that gives a command `--config` and the flags of all keys.

    Args:
        without: Keys of no use to the command.

    """

    def decorate(function: F) -> F:
        for key, (names, metavar, text, multiple) in reversed(_FLAGS.items()):
            if key not in without:
                is_mirrors = key == "namespaces" and "namespace" in without
                flags = ("-n", "--namespace", key) if is_mirrors else names
                option = click.option(*flags, metavar=metavar, help=text, multiple=multiple)
                function = option(function)
        return click.option(
            "--config",
            metavar="FILE",
            help="Settings (TOML); default: SCATTER_CONFIG, else /etc/scatter/agent.toml.",
        )(function)

    return decorate


def settings_of(given: dict[str, Any]) -> AgentSettings:
    """Return the settings in force for a command, from all of its flags; warn on stderr.

    Raises:
        UsageError: As `resolve_agent`.

    """
    from scatter_agent.settings import resolve_agent, warnings

    config = given.pop("config", None)
    flags = {key: value or None for key, value in given.items()}
    found = resolve_agent(config=Path(config) if config else None, **flags)
    for text in warnings(found):
        click.echo(f"Warning: {text}", err=True)
    return found
