"""What of the files a push takes, what it is compared with, and what it has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scatter.names import resolve

if TYPE_CHECKING:
    from scatter.bundle import Bundle
    from scatter.bundle.build import Built
    from scatter.model import FunctionState
    from scatter.releases import Candidate, Pushed, Releases
    from scatter.workspace import Workspace


def candidates_of(
    releases: Releases, workspace: Workspace, only: tuple[str, ...], allow: tuple[str, ...]
) -> list[Candidate]:
    """Return what the files hold and is not live as it is, as candidates."""
    from scatter.releases import Candidate

    built = workspace.functions
    names = [resolve(name, built) for name in only] or list(built)
    known = releases.functions()
    live = releases.live_bundles([known[n] for n in names if n in known])
    return [
        Candidate(
            bundle=replace(built[n].bundle, allow=allow), lines=built[n].lines, file=built[n].file
        )
        for n in _with_called(names, built, known.keys())
        if n not in live
        or not workspace.is_same(built[n].bundle, live[n])
        or (only and n in names and (allow != live[n].allow or known[n].rolled_back))
        or known[n].expires  # its end is put off, or it is to stay
    ]


def _with_called(names: list[str], built: Any, live: Any) -> list[str]:
    """Return the names, and the tracked functions they call that the namespace lacks."""
    chosen: dict[str, None] = {}
    todo = list(names)
    while todo:
        name = todo.pop(0)
        chosen[name] = None
        called = [i.source for i in built[name].bundle.items if i.kind == "tracked"]
        todo += [n for n in called if n in built and n not in live and n not in chosen]
    return list(chosen)


def against_live(
    releases: Releases,
    workspace: Workspace,
    before: Mapping[str, FunctionState],
    candidates: Sequence[Candidate],
) -> dict[str, tuple[Built, Bundle | None]]:
    """Return function → as it would be pushed, and what is live of it."""
    names = [candidate.bundle.function for candidate in candidates]
    live = releases.live_bundles([before[n] for n in names if n in before])
    return {name: (workspace.functions[name], live.get(name)) for name in names}


def changed_by(pushed: Pushed, before: Mapping[str, FunctionState]) -> dict[str, int]:
    """Return function → version of what a push made live, or changed the end or a hold of."""
    known = {name: state for name, state in before.items() if pushed.release is not None}
    again = {name for name, state in known.items() if state.expires or state.rolled_back}
    return {
        name: version
        for name, version in pushed.versions.items()
        if name not in before or before[name].version != version or name in again
    }
