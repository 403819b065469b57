"""`watch`: a watcher with everything it needs, from settings alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from scatter.client import Client
from scatter.config import Settings
from scatter.watch.acknowledger import Answers, Ask
from scatter.watch.events import Event
from scatter.watch.watcher import Watcher
from scatter.workspace import Workspace


def watch(
    paths: Iterable[Path | str],
    *,
    settings: Settings,
    on_event: Callable[[Event], None],
    stop_event: threading.Event | None = None,
) -> None:
    """Push every saved change of a tracked function, until `stop_event` is set.

    Blocks; may run in any thread. Nothing of the project is imported or run.

    Args:
        paths: Files and directories to watch.
        settings: Where to push, and in whose name.
        on_event: Called with everything that happens, by one thread at a time; must not block.
        stop_event: Ends the watch within about 25 ms. None: only an exception does.

    Raises:
        UsageError: A path does not exist.
        KeyboardInterrupt: In the main thread, on Ctrl-C.
    """
    client = Client(settings)
    workspace = Workspace(paths)
    watcher = Watcher(workspace, client.releases, on_event=on_event, ask=ask_by(settings))
    try:
        watcher.run(stop_event or threading.Event())
    finally:
        client.close()


