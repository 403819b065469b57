"""Which file a module of the project is.

A module is looked for where Python would look: first below the directory from which the file that
imports it is imported, then below the others of the project. Those are not all on one path, so a
name is taken from there only if just one of them has it, and nothing else goes by it: an
`examples/redis.py` is not what `import redis` means. Not here: reading.

Invariant: only files of the project are found, never installed packages.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from scatter.names import import_root, module_of_file

_NOT_OURS = frozenset({"site-packages", "dist-packages"})


class Modules:
    """Module names → files."""

    def __init__(self, project: Path, copy_of: Path | None = None) -> None:
        """Know no file yet.

        Args:
            project: The directory of the project.
            copy_of: The directory that it is a copy of, if it is one.

        """
        self._project = project
        self._copy_of = copy_of or project
        self._roots: dict[Path, None] = {}
        self._found: dict[tuple[str, Path], Path | None] = {}
        self._foreign: dict[str, bool] = {}

    def add(self, path: Path) -> None:
        """Take up a file of the project: others are imported from where it is."""
        self._roots.setdefault(self.root_of(path))
        self._found.clear()

    def root_of(self, path: Path) -> Path:
        """Return the directory from which a file is imported."""
        return Path(import_root(path, module_of_file(path)))

    def path_of(self, module: str, root: Path) -> Path | None:
        """Return the file of a module; None if the project has none of that name.

        Args:
            module: Absolute name.
            root: The directory from which the file that imports it is imported.

        """
        key = module, root
        if key not in self._found:
            self._found[key] = self._look_for(module, root)
        return self._found[key]

    def _look_for(self, module: str, root: Path) -> Path | None:
        if not module or not all(part.isidentifier() for part in module.split(".")):
            return None
        near = next(self._below(root, module), None)
        if near is not None:
            return near
        others = [p for r in self._roots if r != root for p in self._below(r, module)]
        return others[0] if len(others) == 1 and not self._is_foreign(module) else None

    def _below(self, root: Path, module: str) -> Iterator[Path]:
        inner = module.replace(".", "/")
        for path in (root / f"{inner}.py", root / inner / "__init__.py"):
            is_ours = not _NOT_OURS & set(path.relative_to(root).parts)
            if is_ours and path.is_file() and module_of_file(path) == module:
                yield path

    def _is_foreign(self, module: str) -> bool:
        """Return whether a name is that of the standard library, or of something installed here."""
        top = module.partition(".")[0]
        if top not in self._foreign:
            self._foreign[top] = top in sys.stdlib_module_names or self._is_installed(top)
        return self._foreign[top]

    def _is_installed(self, top: str) -> bool:
        try:
            spec = importlib.util.find_spec(top)  # of a top-level name: nothing is imported
        except (ImportError, ValueError, AttributeError):
            return False
        origin = spec.origin if spec else None
        if origin is None:
            return False
        return not any(map(Path(origin).is_relative_to, (self._project, self._copy_of)))
