"""What a proposal would change, for whoever is to sign it: all of it, and nothing that deceives.

Invariants
1. All that a bundle holds is shown, also what travels from other modules; what cannot be shown (a
   pickled value) is named, with its size and digest. Bundles that differ differ here.
2. Characters that a terminal would not show as they are (control characters, those that turn the
   direction of text) are shown as escapes.
3. Nothing is unpickled or compiled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from scatter.cli.output import diff_lines, number_of, visible
from scatter.errors import Refused

if TYPE_CHECKING:
    from scatter.bundle import Bundle, Item
    from scatter.log.cosign import Considered
    from scatter.log.journal import Journal
    from scatter.model import Change


def headline(change: Change, live: Change | None, removed: tuple[int, ...]) -> str:
    """Return what becomes of a function, in one line."""
    was = number_of(live.version) if live and live.version is not None else "nothing"
    text = f"{change.function}: {number_of(change.version)}, where {was} is live"
    if live and live.version == change.version:
        text = f"{change.function}: {number_of(change.version)} stays live"
    if removed:
        numbers = ", ".join(map(str, sorted(removed)))
        text += f"; of its versions these go for good: {numbers}"
    return visible(text)


def diff_of(journal: Journal, considered: Considered, change: Change) -> list[str]:
    """Return the lines of the difference between what is live and what would be."""
    from scatter.log.cosign import code_of

    state = journal.current().get(change.function)
    live = state.live if state else None
    old, lost = _live_code(journal, considered, live)
    new = code_of(journal, considered.proposal, change)
    names = [
        f"{change.function} {number_of(one.version)}" if one and code else "/dev/null"
        for one, code in ((live, old), (change, new))
    ]
    names[0] += " (the live code is lost: all is shown)" if lost else ""
    texts = ["\n".join(map(visible, lines_of(code))) if code else "" for code in (old, new)]
    return list(diff_lines(texts[0], texts[1], names[0], names[1]))


def _live_code(
    journal: Journal, considered: Considered, live: Change | None
) -> tuple[Bundle | None, bool]:
    """Return the live code of a function, and whether there should be some and it is lost."""
    from scatter.log.cosign import code_of

    try:
        return (code_of(journal, considered.proposal, live) if live else None), False
    except Refused:
        return None, True


def lines_of(bundle: Bundle) -> list[str]:
    """Return everything that a bundle holds, as lines."""
    return [line for text in _texts(bundle) for line in text.split("\n")]


def _texts(bundle: Bundle) -> Iterator[str]:
    """Yield what travels, module by module, and then the function."""
    for part in bundle.parts:
        yield f"# from the {'package' if part.is_package else 'module'} {part.module or '(none)'}"
        yield from _listed("from __future__", part.future)
        for item in part.items:
            yield from _item_texts(item)
    yield f"# the function {bundle.function}, as {bundle.qualname}"
    yield from _listed("decorators not run again", [str(bundle.skip)] if bundle.skip else [])
    yield from _listed("allowed although refused otherwise", bundle.allow)
    yield from _listed("uses", bundle.uses)
    yield from _listed("uses of its class", bundle.class_names)
    yield from _listed("members of its object", bundle.members)
    yield from _listed("names defined nowhere", bundle.unknown)
    yield from _listed("only for", [bundle.python] if bundle.python else [])
    yield from _pickled("the whole function", bundle.pickle)
    for cell in bundle.cells:
        yield from _item_texts(cell)
    yield bundle.source


def _item_texts(item: Item) -> Iterator[str]:
    yield f"# {item.kind} {item.name}"
    yield from _listed("uses", item.uses)
    yield from _pickled(item.name, item.pickle)
    yield from [item.source] if item.source else []


def _listed(label: str, names: Iterable[str]) -> Iterator[str]:
    found = ", ".join(names)
    if found:
        yield f"#   {label}: {found}"


def _pickled(name: str, data: bytes) -> Iterator[str]:
    if data:
        digest = hashlib.sha256(data).hexdigest()
        yield f"#   {name} was pickled, and CANNOT BE SHOWN: {len(data)} bytes, SHA-256 {digest}"
