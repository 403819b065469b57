"""Commands that run until they are stopped: watch, server, demo; and shell completion."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from scatter.cli.app import client_of, secrets, settings_of, track
from scatter.cli.gate import check, checks_of, no_check
from scatter.cli.lending import temporary
from scatter.cli.output import data, in_colour, say


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@track
@secrets
@temporary
@check
@no_check
@click.option("--diff", "show_diff", is_flag=True, help="Show what each push changed.")
@click.pass_context
def watch_(
    ctx: click.Context,
    paths: tuple[Path, ...],
    track: tuple[str, ...],
    secrets: bool,
    lasts_s: float,
    checks: tuple[str, ...],
    no_check: bool,
    show_diff: bool,
) -> None:
    """Push functions as they are saved. What one save changed is one release.

    Files are read, never imported or run. Stop with Ctrl-C.

    \b
    scatter watch src/
    scatter -n shop watch . --diff
    scatter watch src/ --temporary   try something; Ctrl-C takes it back
    """
    from scatter.watch import Event, Manner, Text, watch
    from scatter.watch.ask import asker

    client, settings = client_of(ctx), settings_of(ctx)
    chosen = paths or tuple(Path(p) for p in settings.paths)
    text = Text(colour=in_colour(sys.stdout), show_diff=show_diff)

    def show(event: Event) -> None:
        for line in text.lines(event):
            data(line)

    try:
        watch(
            chosen,
            releases=client.releases,
            on_event=show,
            ask=asker(settings),
            track=track or settings.track,
            manner=Manner(
                lease_s=lasts_s,
                secrets=secrets,
                checks=None if no_check else checks_of(settings, checks),
            ),
        )
    except KeyboardInterrupt:
        say("Stopped.")


@click.command()
@click.option("--data", "data_dir", type=click.Path(path_type=Path), help="Where data is kept.")
def server_(data_dir: Path | None) -> None:
    """Run this user's embedded server in the foreground. It is the one that local:// uses.

    It listens on a private unix socket, keeps its data in the user's data directory, and ends
    with Ctrl-C.

    \b
    scatter server
    scatter server --data ./data     keep the data here
    """
    from scatter.server import serve_forever

    serve_forever(
        on_ready=lambda url: say(f"Serving local:// at {url}. Stop with Ctrl-C."), data=data_dir
    )


@click.command()
@click.option("--keep", is_flag=True, help="Stay, so that you can edit the file yourself.")
def demo_(keep: bool) -> None:
    """See the whole thing work, in 20 seconds. Two workers, traffic, edits, a refusal, a rollback.

    Needs nothing but a server to start (`pip install 'scatter[local]'`), and leaves nothing.

    \b
    scatter demo
    scatter demo --keep              then edit and save the file that it names
    """
    from scatter.demo import run

    run(keep=keep, say=data)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_(shell: str) -> None:
    """Print the script that makes SHELL complete scatter's commands.

    \b
    eval "$(scatter completion bash)"
    """
    from click.shell_completion import get_completion_class

    from scatter.cli.app import cli

    found = get_completion_class(shell)
    assert found is not None
    data(found(cli, {}, "scatter", "_SCATTER_COMPLETE").source())
