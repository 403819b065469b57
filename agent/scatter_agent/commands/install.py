"""The command `install`: units for systemd."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from scatter.cli.output import data, say

_DONE = {"new": "wrote", "same": "unchanged", "older": "updated", "changed": "replaced"}
_WOULD = {"new": "would write", "same": "unchanged", "older": "would update", "changed": "changed"}


@click.command()
@click.option("--systemd", is_flag=True, help="Units for systemd; the only kind there is.")
@click.option("--user", is_flag=True, help="For this user's systemd: scatter-watch.service.")
@click.option("--root", metavar="DIR", default="/", help="Write below DIR, as for an image.")
@click.option(
    "--programs", metavar="DIR", help="Where scatter and scatter-agent are; default: beside Python."
)
@click.option("--force", is_flag=True, help="Also replace files that somebody has changed.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def install_(
    systemd: bool, user: bool, root: str, programs: str | None, force: bool, dry_run: bool
) -> None:
    """Write the units of systemd, with the right paths. Starts nothing.

    For the machine: scatter-agent.service and scatter-agent@.service (the mirror),
    scatter-worker@.service (an application under `scatter-agent run`), a user in sysusers.d and a
    directory in tmpfiles.d. Files that somebody has changed are not touched.

    \b
    scatter-agent install --systemd
    scatter-agent install --systemd --dry-run
    scatter-agent install --systemd --user
    """
    from scatter_agent.installing import doubts, pieces, write

    if not systemd:
        raise click.UsageError("Expected --systemd: it is the only kind of unit there is.")
    place = Path(programs) if programs else Path(sys.executable).parent
    found = pieces(user=user, root=Path(root), programs=place.absolute())
    if not dry_run:
        write(found, force=force)
    for piece in found:
        data(f"{(_WOULD if dry_run else _DONE)[piece.state]}  {piece.path}")
    for text in doubts(place.absolute(), user=user, is_image=root != "/"):
        say(f"Warning: {text}")
    if not dry_run:
        say(_next(user, root))


def _next(user: bool, root: str) -> str:
    if root != "/":
        unit = "scatter-watch" if user else "scatter-agent"
        scope = "--global " if user else ""
        return (
            "Next: write the settings into it as well, and have the unit started at boot:\n"
            f"    systemctl --root {root} {scope}enable {unit}"
        )
    if user:
        return (
            "Next: write ~/.config/scatter/watch.env, then\n"
            "    systemctl --user daemon-reload && systemctl --user enable --now scatter-watch"
        )
    return (
        "Next:\n"
        "    systemd-sysusers scatter.conf && systemd-tmpfiles --create scatter.conf\n"
        "    systemctl daemon-reload\n"
        "then write /etc/scatter/agent.toml, which `scatter-agent check` reads, and\n"
        "    systemctl enable --now scatter-agent"
    )
