"""Code as people read it: a bundle as one text."""

from __future__ import annotations

from collections.abc import Iterator

from scatter.bundle.model import Bundle


def text_of(bundle: Bundle) -> str:
    """Return a bundle as one text: what travels with the function, then the function.

    What travels from other modules comes first, each under its module's name.
    """
    parts = list(_travelling(bundle))
    items = [item for part in bundle.parts for item in part.items]
    tracked = [item.source for item in items if item.kind == "tracked"]
    live = [item.name for item in items if item.kind == "state"]
    if bundle.python:
        captured = [item.name for item in (*items, *bundle.cells) if item.pickle]
        parts.append(f"# captured for {bundle.python}: {', '.join(captured) or 'the function'}")
    if live:
        parts.append(f"# used live: {', '.join(live)}")
    if tracked:
        parts.append(f"# calls tracked: {', '.join(tracked)}")
    return "\n\n".join([*parts, bundle.source])


def _travelling(bundle: Bundle) -> Iterator[str]:
    own, *others = bundle.parts or (None,)
    for part in (*others, own) if own is not None else ():
        sources = [item.source for item in part.items if item.source and item.kind != "tracked"]
        if sources and part is not own:
            yield f"# from {part.module}"
        yield from sources
