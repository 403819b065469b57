"""What the keys of the screen ask the log for. It may take its time: no method is for the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scatter.cli.diff import differences
from scatter.cli.output import ago, number_of, short, visible, who
from scatter.cli.sides import BEFORE, LIVE, Sides
from scatter.errors import Conflict, NotFound
from scatter.names import printable

if TYPE_CHECKING:
    from scatter.client import Client
    from scatter.model import FunctionState


class Actions:
    """The verbs, on a connection of their own."""

    def __init__(self, client: Client, notes: list[str] | None = None) -> None:
        """Take a client that nobody else uses.

        Args:
            client: The client.
            notes: What its signer has to say: each is said with what was done.

        """
        self._client = client
        self._notes = notes if notes is not None else []

    def diff(self, function: str) -> list[str]:
        """Return what the live version of a function changed, as lines of a unified diff.

        Raises:
            NotFound: No version of it is live.
            StoreUnavailable: The store cannot be asked.

        """
        releases = self._client.releases
        releases.version(function)  # says so where the deployed code is live
        sides = Sides(releases, self._client.settings)
        one, other = sides.read(BEFORE, [function]), sides.read(LIVE, [function])
        found = differences([function], one, other)
        lines = [visible(click.unstyle(line)) for each in found for line in each.lines()]
        return lines or ["No difference."]

    def log(self, function: str) -> list[str]:
        """Return the newest versions of a function, a line each.

        Raises:
            NotFound: There is no such function.
            StoreUnavailable: The store cannot be asked.

        """
        found = [
            f"{'*' if v.live else ' '} v{v.number:<4} {who(v.author):<16} {ago(v.time):<11} "
            f"{short(v.message, 40)}"
            for v in self._client.releases.history(function)
        ]
        return [*map(printable, found)] or ["No version of it exists."]

    def question(self, function: str) -> tuple[FunctionState, str]:
        """Return what a rollback of a function would start from, and the question to ask.

        Raises:
            NotFound: There is no such function, or no version to go back to.
            StoreUnavailable: The store cannot be asked.

        """
        releases = self._client.releases
        plan = releases.rollback(function, dry_run=True)
        state = releases.known()[function]
        if plan is None:
            raise NotFound(f"`{function}` has no version before this one.", name=function)
        back = number_of(plan.changes[0].version)
        live = f"{number_of(state.version)} by {who(state.author)}, {ago(state.time)}"
        return state, printable(f"Roll {function} back to {back}, everywhere? Live is {live}.")

    def rollback(self, function: str, seen: FunctionState) -> str:
        """Roll a function back, and return what was done.

        Args:
            function: Its name.
            seen: What it was when the question was asked.

        Raises:
            Conflict: Somebody has released it meanwhile.
            ScatterError: Nothing was released, and why.

        """
        releases = self._client.releases
        now = releases.find(function)
        if now.sequence != seen.sequence:
            raise Conflict(
                f"`{function}` {number_of(now.version)} was released by {now.author} meanwhile; "
                "nothing was rolled back. Look, and ask again.",
                function=function,
                seen=seen.version,
                live=now.version,
                author=now.author,
                time=now.time,
            )
        release = releases.rollback(function)
        if release is None:
            return "Nothing changes: it is live already."
        now_live = number_of(release.changes[0].version)
        notes, self._notes[:] = list(self._notes), []
        done = f"Release {release.sequence}: {function} {now_live}"
        return printable(". ".join([done, *notes]))
