"""The command line: `scatter`, or `python -m scatter`.

Data goes to stdout, messages to stderr. Not here: what the commands do (`scatter.releases`,
`scatter.watch`, `scatter.client`); each is imported when its command runs, so that
`scatter --version` loads no Redis client.

Exit codes: 0 done, 1 failed, 2 usage, 3 store unreachable, 4 partial, 5 conflict, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    from scatter.cli.app import cli
    from scatter.cli.lazy import perform

    perform(cli, "scatter", arguments)
