"""The command `mirror`."""

from __future__ import annotations

from pathlib import Path

import click

DEFAULT_FOLDER = "/var/lib/scatter"


@click.command()
@click.option(
    "-d",
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=["SCATTER_MIRROR", "STATE_DIRECTORY"],
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where the copy is kept; or SCATTER_MIRROR.",
)
@click.option("-u", "--redis-url", metavar="URL", help="The server; or SCATTER_REDIS_URL.")
@click.option(
    "-n",
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="Which application's functions; may be repeated. Default: SCATTER_NAMESPACE.",
)
def mirror_(directory: Path, redis_url: str | None, namespaces: tuple[str, ...]) -> None:
    """Keep a verified copy of namespaces in a directory, for all processes of this host.

    They follow it with SCATTER_STORE=dir:DIRECTORY, and need no Redis and no password. It runs
    until SIGTERM or Ctrl-C; SIGHUP has it read the files of trust again.

    \b
    scatter-agent mirror -u redis://redis.internal:6379/0 -n shop
    scatter-agent mirror -d ./mirror -n shop -n lab
    """
    import logging

    from scatter.config import resolve
    from scatter_agent.mirror.daemon import run

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    settings = resolve(redis_url=redis_url)
    run(settings, namespaces, directory.expanduser().absolute())
