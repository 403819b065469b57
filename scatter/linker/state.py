"""State that a version needs and this process lacks: made once, empty, and never again."""

from __future__ import annotations

from scatter.bundle import Bundle, Item, Part
from scatter.bundle.secrets import without_secrets
from scatter.errors import Refused
from scatter.linker.assemble import execute
from scatter.linker.decide import Decision
from scatter.linker.home import Home


def create_state(
    bundle: Bundle, part: Part, decision: Decision, home: Home, file: str
) -> list[str]:
    """Make state of one module that this process lacks: an empty container, a lock.

    Returns:
        The names that were added to the module.

    Raises:
        Refused: `missing-import` or `link-failed`.

    """
    items = decision.items(part, "created")
    if not items:
        return []
    scope = dict(home.globals)
    needed = _reach(items, part.items)
    travelling = [item for item in decision.items(part, "travels") if item.name in needed]
    try:
        for item in [*travelling, *items]:
            execute(item.source, file, scope)
    except Exception as error:
        raise link_failed(error, bundle) from error
    made = {item.name: scope[item.name] for item in items}
    return [name for name, new in made.items() if home.globals.setdefault(name, new) is new]


def _reach(items: list[Item], known: tuple[Item, ...]) -> set[str]:
    """Return the names that items use, directly or through others."""
    uses = {item.name: item.uses for item in known}
    reached, todo = set[str](), [use for item in items for use in item.uses]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += uses.get(name, ())
    return reached


def link_failed(error: BaseException, bundle: Bundle) -> Refused:
    """Return the refusal of code that raises while it is bound."""
    missing = isinstance(error, ImportError)
    return Refused(
        "missing-import" if missing else "link-failed",
        f"Binding `{bundle.function}` raised {type(error).__name__}: "
        f"{without_secrets(str(error))}.",
        hint="Install what it imports where it runs, or deploy that module, then push again."
        if missing
        else "A default, a decorator or an import of the new code fails in this process. "
        "Decorators that register something belong above @scatter.track: those below are run "
        "with each version.",
    )
