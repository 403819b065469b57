"""What lies over the screen for a while: a text to read, and a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


class Reading(ModalScreen[None]):
    """A text; the arrow keys scroll it, Escape closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close"),
        Binding("j", "scroll('down')", show=False),
        Binding("k", "scroll('up')", show=False),
    ]

    def __init__(self, title: str, lines: Iterable[str], *, is_diff: bool = False) -> None:
        """Show a title and lines, as they are; those of a diff coloured too."""
        super().__init__()
        self._title = title
        self._lines = list(lines)
        self._is_diff = is_diff

    def compose(self) -> ComposeResult:
        """Make the parts."""
        with VerticalScroll(id="reading") as box:
            box.border_subtitle = "Escape closes, ↑↓ scroll"  # no title: it would be markup
            yield Static(self._title, classes="title", markup=False)
            yield Static(_text(self._lines, self._is_diff), markup=False)

    def on_mount(self) -> None:
        """Have the arrow keys scroll."""
        self.query_one("#reading").focus()

    def action_scroll(self, where: str) -> None:
        """Scroll by a line."""
        box = self.query_one("#reading", VerticalScroll)
        (box.scroll_down if where == "down" else box.scroll_up)(animate=False)


def _text(lines: Sequence[str], is_diff: bool) -> Text:
    found = Text()
    for line in lines:
        found.append(f"{line}\n", style=_COLOURS.get(line[:1], "") if is_diff else "")
    return found


class Asking(ModalScreen[bool]):
    """A question; only `y` says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q,enter", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        """Ask."""
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Make the parts."""
        text = f"{self._question}\n\ny yes    n no, which Escape and Enter mean too"
        yield Static(text, id="asking", markup=False)

    def action_answer(self, answer: bool) -> None:
        """Close with the answer."""
        self.dismiss(answer)
