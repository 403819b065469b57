"""A table that is shown again and again, of which only what has changed is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual.widgets import DataTable

from scatter.cli.screen.rows import Line, cut, widths

_NAME = 1
"""The column with names."""


class Table(DataTable[Text]):
    """Rows of plain text, as wide as there is room."""

    def __init__(self, **options: Any) -> None:
        """Make an empty one; options as of `DataTable`."""
        super().__init__(cursor_type="row", cell_padding=1, **options)
        self._drawn: tuple[Any, ...] = ()
        self.lines: Sequence[Line] = ()

    @property
    def chosen(self) -> Line | None:
        """The row with the cursor; None if there is no row."""
        place = self.cursor_row
        return self.lines[place] if 0 <= place < len(self.lines) else None

    def show(self, headers: Sequence[str], lines: Sequence[Line]) -> None:
        """Show rows in place of those that are there; the cursor stays on its row.

        Args:
            headers: Of the columns.
            lines: The rows.

        """
        chosen = self.chosen
        wide = widths(headers, lines, max(self.size.width - 1, 20))
        shape = (tuple(headers), tuple(wide), [line.key for line in lines])
        old, self.lines = self.lines, lines
        if shape == self._drawn:
            self._update(old, wide)
        else:
            self._drawn = shape
            self._fill(headers, wide)
            self._go_to(chosen.key if chosen else "")

    def _update(self, old: Sequence[Line], wide: Sequence[int]) -> None:
        for number, (before, line) in enumerate(zip(old, self.lines, strict=True)):
            for column, (was, cell) in enumerate(zip(before.cells, line.cells, strict=True)):
                if was != cell:
                    self.update_cell(str(number), str(column), _text(cell, column, wide))

    def _fill(self, headers: Sequence[str], wide: Sequence[int]) -> None:
        place = self.scroll_offset
        self.clear(columns=True)
        for column, header in enumerate(headers):
            self.add_column(Text(header), width=wide[column], key=str(column))
        for number, line in enumerate(self.lines):
            cells = (_text(cell, column, wide) for column, cell in enumerate(line.cells))
            self.add_row(*cells, key=str(number))
        self.scroll_to(*place, animate=False)

    def _go_to(self, key: str) -> None:
        keys = [line.key for line in self.lines]
        if key in keys:
            self.move_cursor(row=keys.index(key), animate=False)


def _text(cell: str, column: int, wide: Sequence[int]) -> Text:
    return Text(cut(cell, wide[column], at_end=column != _NAME), no_wrap=True)
