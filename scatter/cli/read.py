"""Commands that only look: list, log, show, config."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from scatter.bundle.text import text_of
from scatter.cli.app import as_json, client_of, complete_function, settings_of
from scatter.cli.lending import live_of, until
from scatter.cli.output import (
    ago,
    data,
    data_json,
    number_of,
    say,
    short,
    source,
    table,
    who,
)

if TYPE_CHECKING:
    from scatter.model import FunctionState, Release, Version
    from scatter.releases import Releases


@click.command()
@as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the functions of the namespace and their live versions.

    \b
    scatter list
    scatter -n shop list --json
    """
    functions = client_of(ctx).releases.functions()
    if as_json:
        data_json("functions", [function_fields(state) for state in functions.values()])
    elif not functions:
        say("No functions yet. Push some: `scatter watch PATH` or `scatter push PATH`.")
    else:
        rows = [
            (s.function, live_of(s), str(s.last), who(s.author), ago(s.time))
            for s in functions.values()
        ]
        table(("FUNCTION", "LIVE", "NEWEST", "BY", "WHEN"), rows)


def function_fields(state: FunctionState) -> dict[str, Any]:
    """Return what the log says of a function, for JSON."""
    return {
        "function": state.function,
        "version": state.version,
        "last": state.last,
        "previous": state.previous,
        "sequence": state.sequence,
        "author": state.author,
        "time": state.time,
        "expires": state.expires,
        "fallback": state.fallback.live.version if state.fallback is not None else None,
        "rolled_back": state.rolled_back,
    }


@click.command()
@click.argument("name", required=False, shell_complete=complete_function)
@click.option(
    "-l",
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="NUMBER",
    help="How many at most.",
)
@click.option("--raw", type=int, metavar="RELEASE", help="The signed bytes of a release.")
@click.option("--signature", type=int, metavar="RELEASE", help="The signatures over them.")
@as_json
@click.pass_context
def log_(
    ctx: click.Context,
    name: str | None,
    limit: int,
    raw: int | None,
    signature: int | None,
    as_json: bool,
) -> None:
    """Show releases, or the versions of function NAME. The newest come first.

    \b
    scatter log                      what was released, by whom and why
    scatter log score -l 5           the five newest versions of score
    scatter log --raw 7              release 7 as `ssh-keygen -Y verify` wants it
    """
    releases = client_of(ctx).releases
    if raw is not None or signature is not None:
        _log_raw(releases, raw, signature)
        return
    if name:
        _log_versions(releases.history(name, limit), as_json, releases.find(name).expires)
        return
    releases.journal.catch_up()
    found = releases.journal.releases(limit=limit)
    if as_json:
        data_json("releases", [asdict(release) for release in found])
    elif not found:
        say("The log is empty: nothing was released yet.")
    else:
        table(("RELEASE", "ACTION", "WHAT", "BY", "WHEN", "WHY"), map(_release_row, found))


def _log_raw(releases: Releases, raw: int | None, signature: int | None) -> None:
    """Write bytes of a release, as they are in the store: nothing is checked."""
    from scatter.errors import NotFound
    from scatter.log import envelope
    from scatter.trust.sshsig import armor

    sequence = raw if raw is not None else signature or 0
    (entry,) = releases.journal.store.entries([sequence])
    if entry is None:
        raise NotFound(f"There is no release {sequence}.", name=str(sequence))
    text, signatures = envelope.open_(entry)
    if raw is not None:
        data(text, nl=False)
    for one in signatures if signature is not None else ():
        data(armor(one), nl=False)


def _release_row(release: Release) -> tuple[str, ...]:
    what = ", ".join(f"{c.function} {number_of(c.version)}" for c in release.changes)
    ends = f" until {until(release.expires)}" if release.expires else ""
    when, why = ago(release.time), short(release.message, 30)
    what = short(what, 60) + ends
    return str(release.sequence), release.action, what, who(release.author), when, why


def _log_versions(versions: list[Version], as_json: bool, expires: str) -> None:
    if as_json:
        data_json("versions", [asdict(version) for version in versions])
        return
    ends = f" until {until(expires)}" if expires else ""
    rows = [
        (
            f"{'*' if v.live else ' '} v{v.number}{ends * v.live}",
            who(v.author),
            ago(v.time),
            f"{v.size} B",
            v.bundle[:8],
            short(v.message, 40),
        )
        for v in versions
    ]
    table(("  VERSION", "BY", "WHEN", "SIZE", "BUNDLE", "WHY"), rows)


@click.command()
@click.argument("name", shell_complete=complete_function)
@click.option(
    "-v",
    "--version",
    "number",
    type=int,
    metavar="NUMBER",
    help="Which version; default: the live one.",
)
@as_json
@click.pass_context
def show_(ctx: click.Context, name: str, number: int | None, as_json: bool) -> None:
    """Show the source of function NAME, and what travels with it.

    \b
    scatter show score               the live version
    scatter show score -v 3          version 3
    """
    releases = client_of(ctx).releases
    version = releases.version(name, number)
    bundle = releases.fetch(version)
    if as_json:
        data_json("version", asdict(version) | {"source": text_of(bundle)})
        return
    say(
        f"{version.function} v{version.number}{' (live)' if version.live else ''}, "
        f"{version.size} B, by {version.author} {ago(version.time)}"
        + (f": {version.message}" if version.message else "")
    )
    source(text_of(bundle))


_FOUND_OUT = ("author", "application")


@click.command()
@as_json
@click.pass_context
def config_(ctx: click.Context, as_json: bool) -> None:
    """Show each setting, its value and where it came from.

    \b
    scatter config
    scatter -n shop config           with what the command line sets
    """
    rows = list(settings_of(ctx).shown())
    if as_json:
        body = [{"name": n, "value": v, "origin": o} for n, v, o in rows]
        data_json("settings", body)
    else:
        absent = dict.fromkeys(_FOUND_OUT, "(found out when needed)")
        shown = [(n, v or absent.get(n, "(none)"), o) for n, v, o in rows]
        table(("SETTING", "VALUE", "FROM"), shown)
