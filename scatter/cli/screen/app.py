"""The screen itself: it follows the fleet, and does what keys ask for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, ClassVar

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Footer

from scatter.cli.follow import View
from scatter.cli.screen.actions import Actions
from scatter.cli.screen.board import Board
from scatter.cli.screen.dialogs import Asking, Reading
from scatter.errors import ScatterError
from scatter.names import printable

Follow = Callable[[Callable[[View], object]], AbstractContextManager[Any]]
"""Given whom to tell of views, what follows the fleet from `with` on."""
_DRAW_S = 0.05
"""How long changes are gathered before they are drawn."""
_KEYS = """\
Enter     all there is to say of the row
Tab       between functions and processes
d         diff: what the live version changed
r         roll the function back, everywhere; asks first
l         log: the newest versions of the function
p         below: processes of the function, or all
a         below: each process in a row, or those alike together
/         filter by any text; Enter keeps it, Escape ends it
s         sort: trouble first, by name, newest first
q         quit

! marks what does not run everywhere. "held" is what a process keeps
by itself, after score.downgrade() there; no key does that to all.
"""


class Seen(Message):
    """The fleet has changed."""

    def __init__(self, view: View) -> None:
        """Carry what was seen."""
        super().__init__()
        self.view = view


class Top(App[None]):
    """The screen of one namespace."""

    CSS_PATH = "top.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "diff", "Diff"),
        Binding("r", "rollback", "Roll back"),
        Binding("l", "log", "Log"),
        Binding("p", "board('turn')", "Processes"),
        Binding("a", "board('spread')", "Each", show=False),
        Binding("slash", "board('filter')", "Filter", key_display="/"),
        Binding("s", "board('sort')", "Sort"),
        Binding("question_mark", "keys", "Keys", key_display="?"),
        Binding("escape", "board('unfilter')", "End the filter", show=False),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True),
        Binding("ctrl+c", "end(130)", "Interrupt", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        follow: Follow,
        actions: Actions,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare.

        Args:
            title: Which fleet this is.
            follow: Follows it; told to begin when the screen is there.
            actions: What the keys ask for.
            now: The clock, for ages.

        """
        super().__init__()
        self._board = Board(title, now)
        self._follow, self._actions = follow, actions
        self._view = View()
        self._following: AbstractContextManager[Any] | None = None
        self._is_due = self._is_rolling_back = False

    def compose(self) -> ComposeResult:
        """Make the parts."""
        yield self._board
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to follow."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._end_on(number)
        self.app_resume_signal.subscribe(self, self._repaint)
        self._following = self._follow(lambda view: self.post_message(Seen(view)))
        self._following.__enter__()

    def _end_on(self, number: int) -> None:
        """Have a signal end the screen as a key does: the terminal is left as it was."""
        try:
            asyncio.get_running_loop().add_signal_handler(number, self.action_end, 128 + number)
        except (RuntimeError, ValueError):  # only the main thread can
            pass

    def _repaint(self, _: object) -> None:
        """Draw everything after Ctrl-Z and `fg`: the terminal has shown something else since."""
        self.refresh(layout=True)

    async def on_unmount(self) -> None:
        """Let the thread end; it may be waiting for a store that does not answer."""
        if self._following is not None:
            await asyncio.to_thread(self._following.__exit__, None, None, None)

    def on_seen(self, message: Seen) -> None:
        """Draw soon: processes answer a release one after the other."""
        self._view = message.view
        if not self._is_due:
            self._is_due = True
            self.set_timer(_DRAW_S, self._draw)

    def _draw(self) -> None:
        self._is_due = False
        self._board.show(self._view)

    # keys --------------------------------------------------------------------------------

    def action_end(self, code: int) -> None:
        """End with an exit code."""
        self.exit(return_code=code)

    def action_board(self, what: str) -> None:
        """Show something else of what is known."""
        getattr(self._board, what)()

    def action_keys(self) -> None:
        """Show the keys."""
        self.push_screen(Reading("Keys", _KEYS.splitlines()))

    def action_diff(self) -> None:
        """Show what the live version changed."""
        if function := self._board.function:
            self._read("diff", function, self._actions.diff)

    def action_log(self) -> None:
        """Show the newest versions."""
        if function := self._board.function:
            self._read("log", function, self._actions.log)

    def action_rollback(self) -> None:
        """Ask, and roll back."""
        if self._is_rolling_back:
            self._board.say("The rollback before is not done yet.")
        elif function := self._board.function:
            self._is_rolling_back = True
            self._roll_back(function)

    @work(exclusive=True, group="reading")
    async def _read(self, verb: str, function: str, ask: Callable[[str], list[str]]) -> None:
        """Ask the store for something to read, beside the loop, and show it."""
        lines = await self._asked(f"{verb} of {function}", ask, function)
        if lines is not None:
            self.push_screen(Reading(f"{verb} {function}", lines, is_diff=verb == "diff"))

    @work(group="rollback")
    async def _roll_back(self, function: str) -> None:
        """Ask the user, then the log. No other key cuts it short: it would go on unseen."""
        what = f"rollback of {function}"
        try:
            asked = await self._asked(what, self._actions.question, function)
            if asked is None:
                return
            seen, question = asked
            if not await self.push_screen_wait(Asking(question)):
                self._board.say("Nothing was rolled back.")
                return
            done = await self._asked(what, self._actions.rollback, function, seen)
            self._board.say(done or "")
        finally:
            self._is_rolling_back = False

    async def _asked(self, what: str, verb: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a verb returns, from a thread; None where it failed, which is shown."""
        self._board.say(f"Asking for the {what}…")
        try:
            found = await asyncio.to_thread(verb, *arguments)
        except Exception as error:  # whatever it is: it is shown, and the screen stays
            text = str(error) if isinstance(error, ScatterError) else repr(error)
            lines = "\n".join([text, *getattr(error, "__notes__", ())]).splitlines()
            self._board.say("")
            self.push_screen(Reading(f"No {what}", map(printable, lines)))
            return None
        self._board.say("")
        return found
