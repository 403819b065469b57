"""The command group, and what all commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from scatter._version import __version__
from scatter.cli.lazy import Lazy

_COMMANDS = {
    "watch": "run",
    "push": "change",
    "release": "change",
    "rollback": "change",
    "undo": "undo",
    "delete": "change",
    "sign": "cosign",
    "publish": "cosign",
    "renew": "reset",
    "reset": "reset",
    "list": "read",
    "log": "read",
    "show": "read",
    "diff": "diff",
    "blame": "blame",
    "drift": "drift",
    "patch": "drift",
    "explain": "explain",
    "status": "status",
    "top": "top",
    "keys": "keys",
    "config": "read",
    "acl": "acl",
    "doctor": "doctor",
    "server": "run",
    "demo": "run",
    "completion": "run",
}


@click.group(
    cls=Lazy,
    package="scatter.cli",
    modules=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 Redis unreachable, 4 partial, 5 conflict, "
    "130 interrupted.",
)
@click.option("-u", "--redis-url", metavar="URL", help="redis://, rediss://, unix:// or local://")
@click.option("-n", "--namespace", metavar="NAME", help="Which application's functions.")
@click.version_option(__version__, "-V", "--version", message="scatter %(version)s")
def cli(redis_url: str | None, namespace: str | None) -> None:  # noqa: ARG001 - see `settings_of`
    """Live-reloadable functions for Python, through Redis.

    \b
    scatter demo                     see it work, in 20 seconds
    scatter watch src/               push functions as they are saved
    scatter log score                who changed it, when and why
    scatter diff score               what the live version changed
    scatter rollback score           back to the version before, everywhere
    scatter status                   which process runs what
    scatter doctor                   what is in the way, and what to do
    """
    from scatter.config import has_secret

    if redis_url and has_secret(redis_url):
        from scatter.cli.output import say

        say(
            "The password in --redis-url can be read by all users of this machine. Use "
            "SCATTER_REDIS_URL, or SCATTER_REDIS_PASSWORD_FILE with a file of yours."
        )


as_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")

track = click.option(
    "--track",
    multiple=True,
    metavar="PATTERN",
    help="Take every function of modules such as `pricing.*` as tracked; may be repeated.",
)

secrets = click.option(
    "--secrets", is_flag=True, help="Push values that look like credentials: they are meant."
)
allow = click.option(
    "--allow",
    multiple=True,
    metavar="CODE",
    help="Push it, and have processes take it, although it would be refused for this reason, such "
    "as `signature-changed`; may be repeated.",
)


def check_allow(codes: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return reason codes over which processes are to go, sorted, and all that the gates let pass.

    A module that is not installed here may be so elsewhere: that passes the gate, and processes
    decide for themselves.

    Raises:
        UsageError: One may not, or there is no such code.

    """
    from scatter.bundle import ALLOWABLE
    from scatter.errors import UsageError

    known = sorted({*ALLOWABLE, *_AT_GATE})
    for code in codes:
        if code not in known:
            raise UsageError(
                f"--allow {code}: a version that is refused so cannot be bound at all. What can be "
                f"allowed: {', '.join(known)}."
            )
    return tuple(sorted({*codes} - _AT_GATE)), frozenset(codes)


_AT_GATE = frozenset({"missing-import"})


def settings_of(ctx: click.Context) -> Any:
    """Return the settings in force for a command, from the options of `scatter` itself.

    They are read off the parameters: while a shell completes, `cli` is not called. Who calls `cli`
    from Python may give settings as the context's object.
    """
    from scatter.config import resolve

    root = ctx.find_root()
    return root.obj or resolve(**root.params)


def client_of(ctx: click.Context) -> Any:
    """Return the client for a command; it connects when it is first used."""
    from scatter.client import Client
    from scatter.log import LazySigner
    from scatter.registry import Registry

    settings = settings_of(ctx)
    if settings.trust == "off" and not ctx.resilient_parsing:
        click.echo("SCATTER_TRUST=off: nothing is signed or checked here.", err=True)
    signer = LazySigner(ask=ask_passphrase, on_made=_say_made)
    client = Client(settings, registry=Registry(), signer=signer)
    ctx.call_on_close(client.close)
    return client


def ask_passphrase(path: Path) -> str | None:
    """Ask on the terminal for the passphrase of a key; None where there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    answer: str = click.prompt(
        f"Passphrase of {path}", hide_input=True, err=True, default="", show_default=False
    )
    return answer


def _say_made(own: Any) -> None:
    """Say that a first key was made."""
    click.echo(made_text(own), err=True)


def made_text(own: Any) -> str:
    """Return what there is to say of a key that was made."""
    return (
        f"Made a key to sign releases with, and trusted it on this account: {own.path} "
        f"({own.key.fingerprint})"
    )


def complete_function(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the functions whose name begins so, for a shell; none when the store is away.

    Short forms where they are unique: bash takes a colon for the end of a word.
    """
    from scatter.errors import ScatterError

    try:
        names = client_of(ctx).releases.functions()
    except ScatterError:
        return []
    typed = names if ":" in begun else [_shortest(name, names) for name in names]
    return [name for name in typed if name.startswith(begun)]


def _shortest(name: str, names: Iterable[str]) -> str:
    from scatter.errors import Ambiguous
    from scatter.names import resolve, split

    short = split(name)[1]
    try:
        return short if resolve(short, names) == name else name
    except Ambiguous:
        return name
