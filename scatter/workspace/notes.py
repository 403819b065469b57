"""What changed in a file and stays behind when its functions are pushed.

Every changed definition is pushed with a function that uses it, or told here: nothing of an edit is
passed over in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scatter.analysis import Definition, ModuleSource, same_class, same_code
from scatter.bundle import Item
from scatter.bundle.build import Built
from scatter.workspace.changes import Note, NoteKind


def notes_between(
    before: ModuleSource, after: ModuleSource, built: Mapping[str, Built], file: str
) -> Iterator[Note]:
    """Yield a note for each changed definition that does not go out whole.

    Args:
        before, after: The module, before and after the edit.
        built: Every tracked function of the project, by name.
        file: The module's file, for people.

    """
    for name, definition in after.definitions.items():
        old = before.definitions.get(name)
        if old is None or name in after.tracked or not _changed(old, definition, after):
            continue
        users = tuple(f for f, b in built.items() if _item(b, after.name, name))
        holders = _holders(after, name, built)
        kind = _kind(definition, users, holders, after)
        if kind:
            yield Note(
                kind=kind,
                name=name,
                file=file,
                line=definition.line,
                functions=users,
                holders=holders if kind == "held" else (),
            )


def _changed(old: Definition, new: Definition, after: ModuleSource) -> bool:
    if old.kind == new.kind == "class":
        return not same_class(old.source, new.source, after.tracked.__contains__)
    return not same_code(old.source, new.source)


def _kind(
    definition: Definition, users: tuple[str, ...], holders: tuple[str, ...], after: ModuleSource
) -> NoteKind | None:
    """Return why a changed definition stays behind; None if it goes out."""
    if definition.kind == "import" or definition.typing_only:
        return None
    if definition.kind == "state" and users:
        return "state"
    if definition.kind == "class" and users:
        return "class"
    if definition.kind == "class" and any(
        qualname.startswith(f"{definition.name}.") for qualname in after.tracked
    ):
        return "body"
    if holders:
        return "held"
    return None if users else "unused"


def _holders(after: ModuleSource, name: str, built: Mapping[str, Built]) -> tuple[str, ...]:
    """Return the state and classes in use whose making took up `name`."""
    return tuple(
        holder
        for holder, definition in after.definitions.items()
        if definition.kind in ("state", "class")
        and name in definition.uses
        and any(_item(b, after.name, holder) for b in built.values())
    )


def _item(built: Built, module: str, name: str) -> Item | None:
    """Return the item of a definition in a bundle, if it has one."""
    parts = (part for part in built.bundle.parts if part.module == module)
    return next((item for part in parts for item in part.items if item.name == name), None)
