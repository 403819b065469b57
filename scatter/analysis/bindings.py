"""What a top-level name is when its bindings are put together.

Invariant: a name whose bindings do not amount to one thing is state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from scatter.analysis.kinds import Kind
from scatter.analysis.records import Definition, Target


def merge(bindings: list[Definition]) -> Definition:
    """Return the one definition of a name that is bound one or more times."""
    last = bindings[-1]
    real = [b for b in bindings if not b.typing_only]
    if len(real) == 1:
        return real[0]
    if len(bindings) == 1 or all(b.kind == "function" for b in bindings):
        return last  # overloads, or a later `def` that simply wins
    if all(b.kind == "import" for b in bindings):
        sources = dict.fromkeys(b.source for b in bindings)  # `import xml.dom`, `import xml.sax`
        return replace(last, source="\n".join(sources), targets=targets_of(bindings))
    uses = frozenset[str]().union(*(b.uses for b in bindings))
    source = "\n".join(dict.fromkeys(b.source for b in bindings))
    return Definition(name=last.name, kind="state", source=source, line=last.line, uses=uses)


def demote(definitions: dict[str, Definition]) -> dict[str, Definition]:
    """Make state of every constant whose expression uses something that is no constant."""
    demoted = True
    while demoted:
        demoted = False
        for name, found in definitions.items():
            if found.kind == "constant" and not _is_constant(found, definitions):
                definitions[name] = replace(found, kind="state")
                demoted = True
    return definitions


def _is_constant(definition: Definition, definitions: Mapping[str, Definition]) -> bool:
    """Return whether an expression uses constants alone, and constructors that were imported."""
    for name in definition.uses:
        used = definitions.get(name)
        allowed = {"constant", "import"} if name in definition.constructors else {"constant"}
        if used and used.kind not in allowed:
            return False
    return True


def kind_of_block(bindings: list[Definition]) -> Kind | None:
    """Return what a name is if its source must be the whole block that binds it, else None."""
    kinds = {b.kind for b in bindings}
    if "import" in kinds and kinds <= {"import", "constant", "state"}:
        return "import"
    return "function" if kinds == {"function"} and len(bindings) > 1 else None


def targets_of(bindings: list[Definition]) -> tuple[Target, ...]:
    """Return everything that one of several imports may bind a name to."""
    return tuple(dict.fromkeys(target for b in bindings for target in b.targets))
