"""What changed in a file and stays behind when its functions are pushed: state, and classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from scatter.analysis import Definition, ModuleSource, same_class, same_code
from scatter.bundle.build import Built
from scatter.workspace.changes import Note


def notes_between(
    before: ModuleSource, after: ModuleSource, built: Mapping[str, Built], file: str
) -> Iterator[Note]:
    """Yield a note for each changed state initialiser or class that a tracked function uses."""
    for name, definition in after.definitions.items():
        old = before.definitions.get(name)
        kind = _changed_kind(old, definition) if old else None
        users = tuple(f for f, b in built.items() if _uses(b, name)) if kind else ()
        if kind and users:
            yield Note(kind=kind, name=name, file=file, line=definition.line, functions=users)


def _changed_kind(old: Definition, new: Definition) -> Literal["state", "class"] | None:
    if old.kind == new.kind == "state" and not same_code(old.source, new.source):
        return "state"
    if old.kind == new.kind == "class" and not same_class(old.source, new.source):
        return "class"
    return None


def _uses(built: Built, name: str) -> bool:
    return any(item.name == name for item in built.bundle.items)
