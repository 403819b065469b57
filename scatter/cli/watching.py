"""`status --watch`: the fleet, again after each change.

On a terminal a screen that is redrawn; elsewhere, and as JSON, one snapshot for each change.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from scatter.cli.fleet import NOBODY, fitted, lines
from scatter.cli.follow import LOOK_S, Follower, View
from scatter.cli.output import ago, data, data_json, note_lines
from scatter.cli.read import function_fields
from scatter.cli.redraw import Redrawn

if TYPE_CHECKING:
    from scatter.fleet import Fleet
    from scatter.releases import Releases

Views = SimpleQueue[View | None]
"""What the follower has handed on; None: show the last one again."""


def watch_fleet(releases: Releases, *, everything: bool, as_json: bool) -> None:
    """Show the fleet until Ctrl-C, or until nobody reads any more.

    Args:
        releases: Of the namespace; used by the thread that follows it alone.
        everything: A row for each function and each process.
        as_json: One document on a line for each change.

    """
    views = Views()
    on_screen = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not as_json
    with Follower(releases, views.put):
        if on_screen:
            _redraw(views, releases, everything)
        elif as_json:
            for view in _changes(views):
                data_json("status", fields(view), on_a_line=True)
        else:
            for view in _changes(views):
                _print(view, everything)


# on a terminal ---------------------------------------------------------------------------


def _redraw(views: Views, releases: Releases, everything: bool) -> None:
    ledger, store = releases.journal.ledger, releases.journal.store
    title = f"{ledger.namespace} on {store.address}"
    view: View | None = None
    with Redrawn(lambda: views.put(None)) as screen:
        while True:
            screen.draw(_frame(view, title, screen.height(), everything))
            view = _next(views) or view


def _frame(view: View | None, title: str, height: int, everything: bool) -> list[str]:
    """Return the lines of a frame."""
    head = note_lines(f"{title}, {datetime.now():%H:%M:%S}, end with Ctrl-C")
    if view is None:
        return [*head, "", "Asking…"]
    head += [*trouble_lines(view), ""]
    if view.is_known:
        head += fitted(view.fleet, max(height - len(head), 1), everything=everything)
        head += note_lines(NOBODY) if not view.fleet.reports else []
    return head


def trouble_lines(view: View) -> list[str]:
    """Return what `stale_text` says, folded to the terminal."""
    return [line for text in stale_text(view) for line in note_lines(text)]


def stale_text(view: View, now: datetime | None = None) -> list[str]:
    """Return what keeps a view from being the newest state of things, and since when."""
    found = [f"Not all of the log can be believed here: {view.doubt}"] if view.doubt else []
    if view.error:
        since = datetime.fromtimestamp(view.failing_since, UTC)
        when = f"{since.astimezone():%H:%M:%S} ({ago(since.isoformat(), now)})"
        if view.is_known:
            what = f"STALE since {when}, trying again. This is the last known state."
        else:
            what = f"Nothing is known yet; trying since {when}."
        found.append(f"{what} {view.error}")
    return found


def _next(views: Views) -> View | None:
    """Return the newest view, after a second at most; None if there is none, or time for ages."""
    try:
        view = views.get(timeout=LOOK_S)
        while not views.empty():
            view = views.get() or view
    except Empty:
        return None
    return view


# elsewhere -------------------------------------------------------------------------------


def _changes(views: Views) -> Iterator[View]:
    """Yield each change, until nobody reads."""
    while not _is_unread():
        view = _next(views)
        if view is not None:
            yield view


def _is_unread() -> bool:
    """Return whether stdout is a pipe whose reader is gone: `head` has had its line."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):  # it is no file: a test's
        return False


def _print(view: View, everything: bool) -> None:
    """Print a view as text, with an empty line behind it."""
    data(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    shown = [*trouble_lines(view), *lines(view.fleet, everything=everything)]
    for line in shown if view.fleet.reports else [*shown, NOBODY]:
        data(line)
    data("")


def fields(view: View) -> dict[str, Any]:
    """Return a view as JSON has it: what `status` has, and whether it is the newest."""
    since = datetime.fromtimestamp(view.failing_since, UTC).isoformat() if view.error else None
    unreachable = {"since": since, "error": view.error} if view.error else None
    return fleet_fields(view.fleet) | {"unreachable": unreachable, "doubt": view.doubt or None}


def fleet_fields(fleet: Fleet) -> dict[str, Any]:
    """Return a fleet as JSON has it."""
    return {
        "sequence": fleet.tip,
        "functions": [function_fields(state) for state in fleet.functions.values()],
        "processes": [asdict(report) for report in fleet.reports],
    }
