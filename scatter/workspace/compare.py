"""Comparing bundles as people would: by what the code does, and by its lines."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import partial

from scatter.analysis import same_class, same_code
from scatter.bundle import Bundle, Item, Part

IsTracked = Callable[[str, str], bool]


def same_bundle(
    one: Bundle, other: Bundle, is_tracked: IsTracked = lambda _module, _key: False
) -> bool:
    """Return whether two bundles are the same code, but for comments, layout and order.

    Args:
        one, other: The bundles.
        is_tracked: Whether the method at a key of a module is tracked: a change of it is none of
            its class.

    """
    return one == other or (
        _facts(one) == _facts(other)
        and same_code(one.source, other.source)
        and all(map(partial(_same_part, is_tracked), one.parts, other.parts))
    )


def _facts(bundle: Bundle) -> tuple[object, ...]:
    return (
        bundle.function,
        bundle.qualname,
        bundle.skip,
        bundle.class_names,
        bundle.python,
        bundle.pickle,
        bundle.cells,
        [(part.module, part.future, len(part.items)) for part in bundle.parts],
    )


def _same_part(is_tracked: IsTracked, one: Part, other: Part) -> bool:
    theirs = {item.name: item for item in other.items}
    tracked = partial(is_tracked, one.module)
    return all(
        item.name in theirs and same_item(item, theirs[item.name], tracked) for item in one.items
    )


def same_item(
    one: Item, other: Item, is_tracked: Callable[[str], bool] = lambda _key: False
) -> bool:
    """Return whether two items are the same code; see `same_bundle`."""
    if one == other:
        return True
    if one.kind != other.kind or one.pickle != other.pickle:
        return False
    if one.kind == "tracked":
        return one.source == other.source
    if one.kind == "class":
        return same_class(one.source, other.source, is_tracked)
    return same_code(one.source, other.source)


def lines_of(bundle: Bundle) -> list[str]:
    """Return the text of a bundle: what the function needs, then the function."""
    sources = [item.source for part in bundle.parts for item in part.items if is_text(item)]
    return "\n".join([*sources, bundle.source]).split("\n")


def is_text(item: Item) -> bool:
    """Return whether an item travels as text."""
    return item.kind not in ("tracked", "captured") and bool(item.source)


def count_lines(before: Bundle | None, after: Bundle) -> tuple[int, int]:
    """Return how many lines a bundle adds to, and removes from, the one before."""
    changed = [line[0] for line in _changed_lines(before, after)]
    return changed.count("+"), changed.count("-")


def diff_lines(before: Bundle | None, after: Bundle, *, context: int = 3) -> Iterator[str]:
    """Yield a unified diff, without file names, from the bundle before to the one after."""
    old = lines_of(before) if before else []
    diff = difflib.unified_diff(old, lines_of(after), lineterm="", n=context)
    for number, line in enumerate(diff):
        if number >= 2:  # the two lines with file names
            yield line


def _changed_lines(before: Bundle | None, after: Bundle) -> Iterator[str]:
    return (line for line in diff_lines(before, after, context=0) if not line.startswith("@@"))
