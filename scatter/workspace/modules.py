"""Which file a module of the project is.

A module is looked for where Python would look: below the directories from which the files that are
known are imported. Not here: reading.

Invariant: only files of the project are found, never installed packages.
"""

from __future__ import annotations

from pathlib import Path

from scatter.names import import_root, module_of_file

_NOT_OURS = frozenset({"site-packages", "dist-packages"})


class Modules:
    """Module names → files."""

    def __init__(self, project: Path) -> None:
        """Know no file yet.

        Args:
            project: The directory of the project; what is outside is found only beside known files.

        """
        self._project = project
        self._roots: dict[Path, None] = {}
        self._found: dict[str, Path | None] = {}

    def add(self, path: Path) -> None:
        """Take up a file of the project: others are imported from where it is."""
        module = module_of_file(path)
        self._roots.setdefault(Path(import_root(path, module)))
        if self._found.get(module) is None:
            self._found = {name: known for name, known in self._found.items() if known is not None}

    def path_of(self, module: str) -> Path | None:
        """Return the file of a module; None if the project has none of that name."""
        if module not in self._found:
            self._found[module] = self._look_for(module)
        return self._found[module]

    def _look_for(self, module: str) -> Path | None:
        if not module or not all(part.isidentifier() for part in module.split(".")):
            return None
        inner = module.replace(".", "/")
        for root in self._roots:
            for path in (root / f"{inner}.py", root / inner / "__init__.py"):
                is_ours = not _NOT_OURS & set(path.relative_to(root).parts)
                if is_ours and path.is_file() and module_of_file(path) == module:
                    return path
        return None
