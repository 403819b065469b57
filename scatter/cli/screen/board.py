"""What is always on the screen: functions above, the processes of one below, and a reason.

Not here: keys that ask the store for something (`scatter.cli.screen.app`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from scatter.cli.fleet import NOBODY
from scatter.cli.follow import View
from scatter.cli.screen import rows
from scatter.cli.screen.dialogs import Reading
from scatter.cli.screen.table import Table
from scatter.cli.watching import stale_text
from scatter.names import printable


class Board(Vertical):
    """Shows a view of the fleet, as the user wants to see it."""

    def __init__(self, title: str, now: Callable[[], datetime]) -> None:
        """Show nothing yet.

        Args:
            title: Which fleet this is.
            now: The clock, for ages.

        """
        super().__init__()
        self._title = printable(title)
        self._now = now
        self._view = View()
        self._sort = next(iter(rows.SORTS))
        self._all = self._each = False
        self._message = self._pointed = ""

    def compose(self) -> ComposeResult:
        """Make the parts."""
        yield Static(id="head", markup=False)
        yield Input(id="filter", placeholder="any text of a row; Enter keeps it, Escape ends it")
        yield Static(id="above", classes="title", markup=False)
        yield Table(id="functions")
        yield Static(id="below", classes="title", markup=False)
        yield Table(id="processes")
        yield Static(id="why", markup=False)

    def on_mount(self) -> None:
        """Have the arrow keys lead through the functions; go on with the ages."""
        self._filter.display = False
        self._functions.focus()
        self.set_interval(1.0, self.draw)

    @property
    def function(self) -> str:
        """The function with the cursor; empty if there is none."""
        chosen = self._functions.chosen
        return chosen.key if chosen else ""

    def show(self, view: View) -> None:
        """Show another view."""
        self._view = view
        self.draw()

    def say(self, message: str) -> None:
        """Show a message, until the cursor is moved to another function."""
        self._message = printable(message)
        self._draw_below()

    # drawing -----------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Draw when the parts have their new size."""
        self.call_after_refresh(self.draw)

    def on_descendant_focus(self) -> None:
        """Show where the arrow keys lead."""
        self.draw()

    def draw(self) -> None:
        """Show the view: titles and tables."""
        fleet, wanted = self._view.fleet, self._wanted
        functions = rows.function_lines(fleet, self._sort, wanted, self._now())
        self._functions.show(rows.FUNCTIONS, functions)
        self._put("#head", "\n".join(map(printable, self._head())))
        only = f' of {len(fleet.spreads)} with "{wanted}"' if wanted else ""
        title = f"FUNCTIONS {len(functions)}{only}, {self._sort}"
        self._put_title("#above", "#functions", title)
        self._draw_below()

    def _head(self) -> list[str]:
        view = self._view
        lines = [self._title]
        if view.error or view.doubt:
            lines += stale_text(view, self._now())
        if view.is_known:
            lines.append(view.fleet.headline() if view.fleet.reports else NOBODY)
        elif not view.error:
            lines.append("Asking…")
        return lines

    def _draw_below(self) -> None:
        """Show the processes: of the chosen function, or all."""
        if self._all or not self.function:
            lines = rows.process_lines(self._view.fleet, self._wanted, each=self._each)
            self._processes.show(rows.PROCESSES, lines)
            title = "ALL PROCESSES"
        else:
            lines = rows.share_lines(self._view.fleet, self.function, each=self._each)
            self._processes.show(rows.SHARES, lines)
            title = f"PROCESSES OF {self.function}"
        alike = "" if self._each else ", those alike together"
        self._put_title("#below", "#processes", title + alike)
        self._put("#why", self._message or self._why())

    def _why(self) -> str:
        """Return what is to be said of the rows with the cursor."""
        chosen = self._processes.chosen
        if chosen is not None and self._processes.has_focus:
            return chosen.cells[-1] or "All is well there."
        lines = () if self._all else self._processes.lines
        return next((line.cells[-1] for line in lines if line.cells[-1]), "")

    def _put_title(self, part: str, table: str, text: str) -> None:
        mark = ">" if self.query_one(table).has_focus else " "
        self._put(part, printable(f"{mark} {text}"))

    def _put(self, part: str, text: str) -> None:
        widget = self.query_one(part, Static)
        if widget.content != text:
            widget.update(text)

    @property
    def _functions(self) -> Table:
        return self.query_one("#functions", Table)

    @property
    def _processes(self) -> Table:
        return self.query_one("#processes", Table)

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    @property
    def _wanted(self) -> str:
        return self._filter.value.strip()

    # what the user wants to see ------------------------------------------------------------

    def on_data_table_row_highlighted(self) -> None:
        """Show the processes of another function, or another reason."""
        if self.function != self._pointed:
            self._pointed, self._message = self.function, ""
        self._draw_below()

    def on_data_table_row_selected(self, event: Table.RowSelected) -> None:
        """Show all there is to say of a row."""
        fleet, chosen = self._view.fleet, self._processes.chosen
        if event.data_table is self._functions and self.function:
            lines = rows.function_details(fleet, self.function, self._now())
            self.app.push_screen(Reading(self.function, lines))
        elif event.data_table is self._processes and chosen:
            lines = rows.process_details(fleet, chosen.reports)
            self.app.push_screen(Reading("Processes", lines))

    def on_input_changed(self) -> None:
        """Show what has the text that was typed so far."""
        self.draw()

    def on_input_submitted(self) -> None:
        """Keep the filter, and go back to the rows."""
        self._filter.display = False
        self._functions.focus()

    def filter(self) -> None:
        """Let the user type what to show."""
        self._filter.display = True
        self._filter.focus()

    def unfilter(self) -> None:
        """Show everything again."""
        self._filter.value, self._filter.display = "", False
        self._functions.focus()

    def sort(self) -> None:
        """Sort in the next way."""
        names = list(rows.SORTS)
        self._sort = names[(names.index(self._sort) + 1) % len(names)]
        self.draw()

    def turn(self) -> None:
        """Show all processes, or those of the function."""
        self._all = not self._all
        self._draw_below()

    def spread(self) -> None:
        """Show each process, or those alike together."""
        self._each = not self._each
        self._draw_below()
