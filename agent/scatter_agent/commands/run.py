"""The command `run`: a program with an agent in it."""

from __future__ import annotations

import os

import click


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--track",
    multiple=True,
    metavar="PATTERN",
    help="Track every function of modules such as `pricing.*`; may be repeated.",
)
@click.option("-u", "--redis-url", metavar="URL", help="redis://, rediss://, unix:// or local://")
@click.option("-n", "--namespace", metavar="NAME", help="Which application's functions.")
@click.option("--application", metavar="NAME", help="How `scatter status` names its processes.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_(
    track: tuple[str, ...],
    redis_url: str | None,
    namespace: str | None,
    application: str | None,
    command: tuple[str, ...],
) -> None:
    """Run a program with the agent in it; its source stays as it is.

    COMMAND replaces this process, so that signals and the exit status are its own. Every Python
    process of it gets an agent as soon as a function in it is tracked: by --track, by the setting
    `track`, or by `@scatter.track` in its source. Interpreters that run with -S, -I or -E get
    none. SCATTER_DISABLED=1 runs COMMAND and nothing else. When something is wrong with scatter,
    that is one line on stderr, and COMMAND runs without an agent.

    \b
    scatter-agent run --track 'pricing.*' -- gunicorn app:app
    scatter-agent run -n shop --track shop -- python -m shop.worker
    """
    from scatter_agent.launch import execute, is_disabled, with_agent

    environment = dict(os.environ)
    if not is_disabled(environment):
        try:
            from scatter.config import resolve

            settings = resolve(
                track=track or None,
                redis_url=redis_url,
                namespace=namespace,
                application=application,
            )
            environment = with_agent(environment, settings)
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            click.echo(f"scatter-agent run: no agent in this program: {text}", err=True)
    execute(command, environment)
