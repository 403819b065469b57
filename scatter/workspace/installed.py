"""Whether a module that the project does not have is installed where the project runs from.

Looked for by its top-level name: in the standard library, where this Python looks, and in the
project's own environment, if there is one. Nothing is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

_FOLDERS = (".venv", "venv", "env")
_VARIABLES = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "CONDA_PREFIX")


class Installed:
    """What is installed beside a project, looked up when it is asked for."""

    def __init__(self, project: Path) -> None:
        """Remember the project's directory."""
        self._project = project
        self._known: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"<Installed for {self._project}>"

    def has(self, module: str) -> bool:
        """Return whether the top-level package of a module is there."""
        top = module.partition(".")[0]
        if top not in self._known:
            self._known[top] = self._looked_up(top)
        return self._known[top]

    def _looked_up(self, top: str) -> bool:
        if top in sys.stdlib_module_names or top in sys.builtin_module_names:
            return True
        try:
            if importlib.util.find_spec(top) is not None:  # a top-level name: nothing is imported
                return True
        except (ImportError, ValueError, AttributeError):
            return True  # it is there, and odd
        return any(_is_in(folder, top) for folder in self._folders)

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        """The directories that the project's environments look for packages in."""
        roots = [self._project / name for name in _FOLDERS]
        roots += [Path(value) for name in _VARIABLES if (value := os.environ.get(name))]
        found = [
            folder
            for root in dict.fromkeys(roots)
            for pattern in ("lib/python*/site-packages", "Lib/site-packages")
            for folder in root.glob(pattern)
        ]
        return (*found, *(extra for folder in found for extra in _added(folder)))


def _added(folder: Path) -> Iterator[Path]:
    """Yield the directories that `.pth` files of an environment add: projects under work."""
    for file in folder.glob("*.pth"):
        for line in _lines(file):
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                yield folder / line.strip()


def _is_in(folder: Path, top: str) -> bool:
    if (folder / top).is_dir() or (folder / f"{top}.py").is_file():
        return True
    if any(folder.glob(f"{top}.*.so")) or any(folder.glob(f"{top}.*.pyd")):
        return True
    finders = folder.glob("__editable___*_finder.py")
    return any(f"'{top}'" in line for file in finders for line in _lines(file))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
