"""Events as lines for people: one line a push, then what is wrong, within 80 columns where it can.

Not here: where the lines go. Colour is used when it is asked for; `Text.on` decides for a stream
(terminal, `NO_COLOR`, `TERM=dumb`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatchmethod
from typing import TextIO

from scatter.names import split
from scatter.watch.events import (
    Acknowledged,
    AlreadyLive,
    Conflicted,
    Ended,
    Event,
    Failed,
    Held,
    Mended,
    Polling,
    Pushed,
    PushedFunction,
    Reconnected,
    Reconnecting,
    Restored,
    Started,
    Survey,
)
from scatter.workspace import Note, Problem, Vanished, diff_lines

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
_NOTES = {
    "state": "changed, but it is state:\n  it stays as it is in running processes",
    "class": "changed, and it is a class:\n"
    "  processes that may hold instances of the old one will say so, and refuse",
    "body": "changed outside of its tracked methods:\n  that stays as it is in running processes",
    "held": "changed, but what keeps the old one stays in running processes:",
    "half": "is used by untracked code too, which keeps the deployed one:",
    "unused": "changed, but no tracked function here uses it:\n  nothing was pushed of it",
}
_ROOM = 50
"""Characters for what was pushed, so that what became of it fits into 80 columns."""
_LISTED = 5
"""How many names a line lists before it says how many more there are."""


class Text:
    """Makes lines of events. Remembers which short names are unique."""

    def __init__(
        self, *, colour: bool = False, show_diff: bool = False, acknowledged: bool = True
    ) -> None:
        """Choose what the lines look like.

        Args:
            colour: Use ANSI colours.
            show_diff: Show what each push changed.
            acknowledged: `Acknowledged` will follow each push, and its line stands for both.

        """
        self._colour = colour
        self._show_diff = show_diff
        self._acknowledged = acknowledged
        self._known: set[str] = set()
        self._short: Counter[str] = Counter()

    @classmethod
    def on(cls, stream: TextIO, *, show_diff: bool = False, acknowledged: bool = True) -> Text:
        """Return a `Text` that suits a stream."""
        dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
        colour = stream.isatty() and not dumb
        return cls(colour=colour, show_diff=show_diff, acknowledged=acknowledged)

    def lines(self, event: Event) -> Iterator[str]:
        """Yield the lines of an event, without line ends; there may be none."""
        yield from self._lines(event)

    @singledispatchmethod
    def _lines(self, event: Event) -> Iterator[str]:
        raise TypeError(f"expected an event of scatter.watch, found {event!r}")

    @_lines.register
    def _(self, event: Started) -> Iterator[str]:
        self._learn(event.functions)
        count = len(event.functions)
        paths = ", ".join(map(_from_here, event.paths))
        found = f"{count} tracked function{'' if count == 1 else 's'}"
        found = found if count else "no function with @scatter.track yet"
        yield f"watching {paths}: {found} → {event.namespace} on {event.address}"
        if event.lease_s:
            yield "what is pushed is temporary: Ctrl-C brings back what was live before"
        yield from self._survey(event.survey or Survey())

    def _survey(self, survey: Survey) -> Iterator[str]:
        for drift in survey.drifted:
            what = f"{self.short(drift.name)} differs from live v{drift.version} by {drift.author}"
            yield self._paint("yellow", f"{what}: an edit here will push over it")
        for held in survey.held:
            yield from self._lines(held)
        if survey.unpushed:
            yield self._paint("dim", f"never pushed: {self._names(survey.unpushed)}")

    @_lines.register
    def _(self, event: Pushed) -> Iterator[str]:
        self._learn(one.name for one in event.functions)
        if not self._acknowledged:
            yield f"{self._versions(event)} in {_ms(event.logged_s)}"
        if self._show_diff:
            yield from self._diff(event)

    @_lines.register
    def _(self, event: Acknowledged) -> Iterator[str]:
        versions = self._versions(event.pushed)
        if event.error:
            yield f"{versions} → nobody could be asked: {event.error}"
            return
        if not event.total:
            yield f"{versions} in {_ms(event.pushed.logged_s)}; no process under an agent has it"
            return
        whole = event.applied == event.total
        count = self._paint("green" if whole else "yellow", f"{event.applied}/{event.total}")
        noun = "process" if event.total == 1 else "processes"
        yield f"{versions} → {count} {noun} in {_ms(event.elapsed_s)}"
        for processes, why in event.refused:
            yield self._paint("red", f"  refused by {_some(processes)}: {why}")
        if event.held:
            yield self._paint("yellow", f"  held by {_some(event.held)}: it stays where it is")
        if event.behind:
            yield self._paint("yellow", f"  no answer yet from {_some(event.behind)}")

    @_lines.register
    def _(self, event: AlreadyLive) -> Iterator[str]:
        for name, version in event.functions:
            yield f"{self.short(name)} is live as v{version} already, nothing to push"

    @_lines.register
    def _(self, event: Conflicted) -> Iterator[str]:
        name = self.short(event.function)
        seen = f"your code is from v{event.seen}" if event.seen else "you have not seen it"
        what = f"v{event.live}" if event.live else "the deployed code"
        who = f"{event.author} released {what} at {_minute(event.time)}"
        yield self._paint("red", f"{name} not pushed: {who}, {seen}")
        others = [n for n in event.kept_back if n != event.function]
        if others:
            were = "was saved with it, and waits too"
            if len(others) > 1:
                were = "were saved with it, and wait too"
            yield f"  {self._names(others)} {were}"
        yield f"  see `scatter diff {name}`; go over it with `scatter push --force -f {name}`"

    @_lines.register
    def _(self, event: Held) -> Iterator[str]:
        name = self.short(event.function)
        if not event.is_new:
            yield self._paint("yellow", f"{name} not pushed: it is held")
        else:
            what = f"v{event.live}" if event.live else "the deployed code"
            who = f"{event.author} rolled it back to {what} at {_minute(event.time)}"
            yield self._paint("red", f"{name} is held: {who}")
            yield f"  nothing is pushed over that; `scatter push -f {name}` lifts it"
        others = [n for n in event.kept_back if n != event.function]
        if others:
            were = "was saved with it, and waits too"
            if len(others) > 1:
                were = "were saved with it, and wait too"
            yield f"  {self._names(others)} {were}"

    @_lines.register
    def _(self, event: Ended) -> Iterator[str]:
        names = ", ".join(f"{self.short(name)} v{version}" for name, version in event.functions)
        yield self._paint(
            "yellow", f"{names} no longer live: its time was over, or others released"
        )

    @_lines.register
    def _(self, event: Restored) -> Iterator[str]:
        yield f"live again: {_some([self._number(*one) for one in event.functions])}"

    @_lines.register
    def _(self, event: Failed) -> Iterator[str]:
        names = f"{self._names(event.functions)} not pushed: " if event.functions else ""
        yield self._paint("red", f"{names}{event.message}")

    @_lines.register
    def _(self, event: Reconnecting) -> Iterator[str]:
        kept = f" {self._names(event.waiting)} will be pushed" if event.waiting else " Trying again"
        yield self._paint("yellow", f"{event.message}{kept} when it is back.")

    @_lines.register
    def _(self, event: Reconnected) -> Iterator[str]:
        yield f"connected to {event.address}"
        yield from self._survey(event.survey)

    @_lines.register
    def _(self, event: Mended) -> Iterator[str]:
        yield f"{event.file} is in order again, nothing to push"

    @_lines.register
    def _(self, event: Polling) -> Iterator[str]:
        yield self._paint(
            "yellow", f"looking at the files every {_ms(event.every_s)}: {event.reason}"
        )

    @_lines.register
    def _(self, event: Problem) -> Iterator[str]:
        what = "" if event.kind == "duplicate" else ", nothing pushed"
        yield self._paint("red", f"{str(event).rstrip('.')}{what}")
        if event.text:
            text = event.text.lstrip()
            yield f"    {text}"
            at = event.column - 1 - (len(event.text) - len(text))
            if 0 <= at <= len(text):
                yield "    " + " " * at + "^"

    @_lines.register
    def _(self, event: Vanished) -> Iterator[str]:
        name = self.short(event.name)
        advice = f"stays live; `scatter delete {name}` removes it"
        yield self._paint("yellow", f"{name} is gone from {event.file} and {advice}")

    @_lines.register
    def _(self, event: Note) -> Iterator[str]:
        yield from f"{event.name} ({event.file}:{event.line}) {_NOTES[event.kind]}".split("\n")
        if event.holders:
            by = "used" if event.kind == "half" else "held"
            yield f"  {by} by {_some(event.holders)}"

    # parts of lines ----------------------------------------------------------------------

    def _learn(self, names: Iterable[str]) -> None:
        self._known.update(names)
        self._short = Counter(split(name)[1] for name in self._known)

    def short(self, name: str) -> str:
        """Return the shortest form of a name that is unique among the functions found."""
        module, qualname = split(name)
        return qualname if module and self._short[qualname] <= 1 else name

    def _number(self, name: str, version: int) -> str:
        return f"{self.short(name)} {f'v{version}' if version else 'as deployed'}"

    def _names(self, names: Sequence[str]) -> str:
        return _some([self.short(name) for name in names])

    def _versions(self, pushed: Pushed) -> str:
        """Return `score v8 (+3 −1, 412 B), rank v3 (…)`; without the counts when it gets long."""
        texts = [f"{self.short(one.name)} v{one.version}" for one in pushed.functions]
        counts = [_counts(one) for one in pushed.functions]
        if sum(map(len, texts + counts)) > _ROOM:
            counts = [""] * len(texts)
        bold = [self._paint("bold", text) for text in texts]
        return _some([f"{name}{count}" for name, count in zip(bold, counts, strict=True)])

    def _diff(self, pushed: Pushed) -> Iterator[str]:
        colours = {"+": "green", "-": "red", "@": "cyan"}
        for one in pushed.functions:
            yield self._paint("bold", f"{one.name} v{one.version}")
            for line in diff_lines(one.before, one.after):
                yield self._paint(colours.get(line[:1], ""), line)

    def _paint(self, colour: str, text: str) -> str:
        code = _COLOURS.get(colour)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


def _counts(one: PushedFunction) -> str:
    return f" (+{one.added} −{one.removed}, {_bytes(one.size_bytes)})"


def _some(names: Sequence[str]) -> str:
    """Return names separated by commas; of many, the first ones and a count."""
    rest = len(names) - _LISTED
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(names[:_LISTED]) + more


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _bytes(size: int) -> str:
    return f"{size} B" if size < 10_000 else f"{size / 1024:.0f} KB"


def _minute(time: str) -> str:
    """Return `2026-11-23 08:31` of an ISO time."""
    return time[:16].replace("T", " ")


def _from_here(path: str) -> str:
    """Return a path relative to the working directory, where it is inside."""
    inside = os.path.relpath(path)
    return path if inside.startswith("..") else inside
