"""The command `acl`: accounts of Redis, least right each. The rules are in `scatter.store.acl`.

Invariant: no password is printed, and none is taken from the command line, where every user of the
machine can read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from scatter.cli.app import settings_of
from scatter.cli.output import data, say
from scatter.errors import UsageError
from scatter.store.acl import RIGHTS, ROLES, rules

if TYPE_CHECKING:
    from scatter.store.acl import Role

_PLACEHOLDER = "#SHA256-OF-THE-PASSWORD"
"""The server refuses it: an account whose line nobody completed must not have a known password."""
_EXPLAINED = f"""\
Put the password's SHA-256 in place of {_PLACEHOLDER[1:]}, or have it done:
--ask and --password-file. (`>` and the password itself work as well.)"""
_REMAINS = """\
Then switch notifications on, with CONFIG SET notify-keyspace-events Kh or in the
server's configuration, and the account that needs no password off:
ACL SETUSER default off. See docs/how-to/acl.md."""


@click.command()
@click.option(
    "--role",
    "chosen",
    multiple=True,
    type=click.Choice(ROLES),
    help="What the account is for; may be repeated. Default: an account for each role.",
)
@click.option(
    "--user",
    metavar="NAME",
    help="Name of the account, which then has all roles given. Default: scatter-NAMESPACE-ROLE.",
)
@click.option(
    "--process",
    metavar="PREFIX",
    default="",
    help="The agent reports only processes whose id begins so, such as `web-1-`.",
)
@click.option(
    "--db",
    "database",
    type=click.IntRange(min=0),
    default=None,
    help="Number of the database. Default: that of the Redis URL.",
)
@click.option("--file", "for_file", is_flag=True, help="As lines of the server's aclfile.")
@click.option("--ask", is_flag=True, help="Ask for the password; its SHA-256 is printed.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="Read the password from this file's first line; its SHA-256 is printed.",
)
@click.pass_context
def acl_(
    ctx: click.Context,
    chosen: tuple[str, ...],
    user: str | None,
    process: str,
    database: int | None,
    for_file: bool,
    ask: bool,
    password_file: Path | None,
) -> None:
    """Print rules of Redis accounts, least right for each role.

    The roles: reader (lists and watches), agent (follows the log, and reports what its process
    runs), pusher (releases; adds, and never changes or removes), janitor (releases and deletes).
    Nothing is connected. They need Redis 7 or later, or Valkey.

    \b
    scatter -n shop acl              all four, passwords left open
    scatter -n shop acl --role agent --password-file agent.password | redis-cli
    scatter -n shop acl --role agent --process web-1-
    scatter -n shop acl --role pusher --role agent --user ann --ask
    scatter -n shop acl --file       lines for the server's aclfile
    """
    settings = settings_of(ctx)
    roles = cast("tuple[Role, ...]", tuple(r for r in ROLES if not chosen or r in chosen))
    accounts = _accounts(roles, user, settings.namespace)
    if process and "agent" not in roles:
        raise UsageError("--process is for accounts of the role agent: add --role agent.")
    secret = _secret(ask, password_file, accounts)
    for name, of_account in accounts.items():
        words = rules(
            of_account,
            settings.namespace,
            database=_database(settings.redis_url) if database is None else database,
            process=process,
            scheme=settings.redis_url.partition("://")[0],
        )
        head = f"user {name} on" if for_file else f"ACL SETUSER {name} reset on"
        data(" ".join([head, secret, *words]))
    _explain(accounts, is_complete=secret != _PLACEHOLDER)


def _accounts(roles: Sequence[Role], user: str | None, namespace: str) -> dict[str, Sequence[Role]]:
    """Return name → roles of the accounts to print."""
    if user is None:
        return {f"scatter-{namespace}-{role}": (role,) for role in roles}
    if not user or not user.isprintable() or set(user) & set(" \"'"):
        raise UsageError(f"--user: expected a name without blanks and quotes, found {user!r}.")
    return {user: roles}


def _secret(ask: bool, file: Path | None, accounts: dict[str, Sequence[Role]]) -> str:
    """Return the rule that gives the password."""
    if not ask and file is None:
        return _PLACEHOLDER
    if len(accounts) > 1 or (ask and file is not None):
        raise UsageError(
            "A password is for one account, and comes from one place: give --role, and one of "
            "--ask and --password-file."
        )
    if file is not None:
        from scatter.access import read_password

        password = read_password(file)
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def _database(url: str) -> int:
    """Return the number of the database in the address."""
    from scatter.config import database_of

    return database_of(url)


def _explain(accounts: dict[str, Sequence[Role]], *, is_complete: bool) -> None:
    for name, roles in accounts.items():
        for role in roles:
            say(f"{name}, {role}: {RIGHTS[role].purpose}.")
    if not is_complete:
        say(_EXPLAINED)
    say(_REMAINS)
