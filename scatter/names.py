"""Names of functions: `module:qualname`, and the short forms that people type.

Not here: finding a function's code. Invariant: a name is decided by the place of the code alone,
so that the watcher (which only sees files) and the process (which only sees modules) agree.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable

from scatter.errors import Ambiguous, NotFound, UsageError

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = 0
"""Version number that stands for the code a process was deployed with."""


def function_name(module: str, qualname: str) -> str:
    """Return the full name of a function; notebooks and the REPL have no module."""
    return f"{module}:{qualname}" if module else qualname


def number_of(version: int | None) -> str:
    """Return a version for people: `v7`, `deployed`, `deleted`."""
    if version is None:
        return "deleted"
    return f"v{version}" if version else "deployed"


def split(name: str) -> tuple[str, str]:
    """Return (module, qualname) of a full name; module is empty where there is none."""
    module, colon, qualname = name.rpartition(":")
    return (module, qualname) if colon else ("", name)


def is_name(name: str) -> bool:
    """Return whether `name` can name a function."""
    parts = name.replace(":", ".", 1).split(".")
    return len(name) <= 500 and all(part.isidentifier() for part in parts)


def check(name: str) -> str:
    """Return `name` if it can name a function.

    Raises:
        UsageError: It is empty, too long, or has characters that a name cannot have.

    """
    if not is_name(name):
        raise UsageError(
            f"A function's name looks like `module:qualname` or `qualname`; found {name!r}. "
            "Use identifiers joined by dots, at most 500 characters."
        )
    return name


def module_of_file(file: Path | str) -> str:
    """Return the module name that importing `file` would give.

    The import root is the nearest directory above the file that is no package (has no
    `__init__.py`), so `shop/src/pricing/rates.py` is `pricing.rates`.
    """
    folder, base = os.path.split(os.path.abspath(file))
    stem = base.rpartition(".")[0] or base
    parts = [] if stem == "__init__" else [stem]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.append(package)
    return ".".join(reversed(parts))


def import_root(file: Path | str, module: str) -> str:
    """Return the directory from which importing gives `file` the name `module`."""
    folder, base = os.path.split(os.path.abspath(file))
    for _ in range(module.count(".") + (base == "__init__.py")):
        folder = os.path.dirname(folder)
    return folder


def matches(module: str, patterns: Iterable[str]) -> bool:
    """Return whether a module's name matches one of some patterns.

    `*` stands for any text, dots too; `pricing.*` is the package `pricing` and all that is in it.
    """
    import fnmatch

    return any(
        fnmatch.fnmatchcase(module, pattern) or module == pattern.removesuffix(".*")
        for pattern in patterns
    )


def resolve(asked: str, names: Iterable[str]) -> str:
    """Return the full name that `asked` (full or short) means among `names`.

    Raises:
        Ambiguous: Several names have that short form; they are listed.
        NotFound: None has; the closest ones are in `candidates`.

    """
    known = set(names)
    if asked in known:
        return asked
    matches = sorted(n for n in known if n.endswith((f":{asked}", f".{asked}")))
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise Ambiguous(
            f"`{asked}` could be any of: {', '.join(matches)}. Use the full name.",
            name=asked,
            candidates=matches,
        )
    raise not_found(asked, known)


def not_found(asked: str, names: Iterable[str]) -> NotFound:
    """Return the error for a function that does not exist, with the closest names there are."""
    import difflib

    forms: dict[str, list[str]] = {}
    for name in sorted(names):
        for form in {split(name)[1], name}:
            forms.setdefault(form, []).append(name)
    matches = difflib.get_close_matches(asked, forms, n=3)
    close = list(dict.fromkeys(name for form in matches for name in forms[form]))
    error = NotFound(f"Function `{asked}` doesn't exist", name=asked, candidates=close)
    if close:
        error.add_note(f"Did you mean {' or '.join(f'`{c}`' for c in close)}?")
    return error


def printable(text: str) -> str:
    """Return a text with its control characters, line ends too, replaced by spaces.

    For what other processes say of themselves: it must not steer a terminal.
    """
    return "".join(c if c.isprintable() else " " for c in text)
