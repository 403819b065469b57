"""A lab for the linker and the switch: a module that runs, and edited texts pushed into it.

    def test_something(lab: Lab) -> None:
        program = lab.module("import scatter\\n\\n@scatter.track\\ndef f(): return 1\\n")
        program.push(program.text.replace("1", "2"), "f")
        assert program.f() == 2

Everything goes the real way: the module is a file that was imported, the edited text is analysed,
built, encoded, decoded, linked and switched to. Only the store is missing.
"""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from scatter import apply
from scatter.analysis import ModuleSource
from scatter.apply import Prepared, Wanted
from scatter.bundle import Bundle, digest_of, encode
from scatter.bundle.build import Built, build
from scatter.model import Change, Refusal
from scatter.registry import REGISTRY
from scatter.slot import Slot

_numbers = itertools.count(1)


class RefusedPush(AssertionError):
    """A push in a test was refused, and the test did not expect it."""


class Program:
    """One imported module and the versions that were pushed into it."""

    def __init__(self, module: ModuleType, text: str, project: Project) -> None:
        self.module = module
        self.text = text
        self.allow: tuple[str, ...] = ()
        self._project = project
        self.versions: dict[tuple[str, int], Wanted] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    @property
    def name(self) -> str:
        """The module's name."""
        return self.module.__name__

    def edit(self, *replacements: str) -> str:
        """Return the text with each (old, new) replaced; `old` must be there."""
        text = self.text
        for old, new in zip(replacements[::2], replacements[1::2], strict=True):
            assert old in text, f"{old!r} is not in the program"
            text = text.replace(old, new)
        return text

    def slot(self, qualname: str) -> Slot:
        """Return the slot of one of the module's functions."""
        slot = REGISTRY.get(f"{self.name}:{qualname}")
        assert slot is not None
        return slot

    def source(self, text: str) -> ModuleSource:
        """Return an edited text, analysed as this module."""
        return self._project.analysed(self.name, text)

    def wanted(self, text: str, *qualnames: str) -> list[Wanted]:
        """Return the next version of each function, made from `text`; nothing is linked yet."""
        source = self.source(text)
        find = self._project.find
        return [
            self._wanted(build(source, qualname, find=find), qualname) for qualname in qualnames
        ]

    def _wanted(self, built: Built, qualname: str) -> Wanted:
        number = 1 + sum(1 for known, _ in self.versions if known == qualname)
        built = replace(built, bundle=replace(built.bundle, allow=self.allow))
        wanted = wanted_from(built, number)
        self.versions[qualname, number] = wanted
        return wanted

    def prepare(self, text: str, *qualnames: str) -> Prepared:
        """Link versions beside what runs; refusals are in what is returned."""
        return apply.prepare(REGISTRY, self.wanted(text, *qualnames))

    def push(self, text: str, *qualnames: str) -> Prepared:
        """Make `text` the running code of these functions, in one switch; all must be accepted."""
        prepared = self.prepare(text, *qualnames)
        if prepared.refusals:
            raise RefusedPush("\n".join(map(str, prepared.refusals)))
        apply.switch(REGISTRY, prepared)
        return prepared

    def refusal(self, text: str, qualname: str) -> Refusal:
        """Return why a push is refused; it must be, and leave the process as it was."""
        before = self._fingerprint()
        prepared = self.prepare(text, qualname)
        apply.switch(REGISTRY, prepared)
        assert not prepared.linked, "expected a refusal"
        assert self._fingerprint() == before, "a refusal changed something"
        (refusal,) = prepared.refusals
        return refusal

    def go(self, **versions: int) -> None:
        """Switch functions to versions that were pushed before; 0 is the deployed code."""
        self.go_to({name.replace("__", "."): number for name, number in versions.items()})

    def go_to(self, versions: Mapping[str, int]) -> None:
        """Switch functions, by qualname, to versions that were pushed before."""
        wanted = [self._pushed(name, number) for name, number in versions.items()]
        prepared = apply.prepare(REGISTRY, wanted)
        if prepared.refusals:
            raise RefusedPush("\n".join(map(str, prepared.refusals)))
        apply.switch(REGISTRY, prepared)

    def _pushed(self, qualname: str, number: int) -> Wanted:
        if number == 0:
            return Wanted(change=Change(function=f"{self.name}:{qualname}", version=0))
        return self.versions[qualname, number]

    def _fingerprint(self) -> object:
        """Return all that a refused push must leave alone."""
        functions = {
            name: (slot.function.__code__, slot.running, slot.function.__defaults__)
            for name, slot in REGISTRY.slots().items()
            if name.startswith(f"{self.name}:")
        }
        names = {name: id(value) for name, value in vars(self.module).items()}
        return functions, names


def wanted_from(built: Built, number: int) -> Wanted:
    """Return a version as the store would hand it over."""
    bundle: Bundle = built.bundle
    data = encode(bundle)
    change = Change(
        function=bundle.function,
        version=number,
        bundle=digest_of(data),
        size=len(data),
        created=True,
        lines=built.lines,
        file=built.file,
    )
    return Wanted(change=change, data=data)


class Project:
    """The modules of a lab as the developer has them: edited or not."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.packages: set[str] = set()
        self.whole: set[str] = set()

    def analysed(self, module: str, text: str) -> ModuleSource:
        """Return a text, analysed as a module."""
        path = module.replace(".", "/")
        file = f"{path}/__init__.py" if module in self.packages else f"{path}.py"
        whole = module in self.whole
        return ModuleSource(textwrap.dedent(text), name=module, file=file, track_all=whole)

    def find(self, module: str) -> ModuleSource | None:
        """Return the source of a module of the project."""
        text = self.texts.get(module)
        return None if text is None else self.analysed(module, text)


class Lab:
    """Makes modules in a directory of their own and imports them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = Project()
        self._names: list[str] = []

    def write(self, text: str, name: str) -> Path:
        """Write a module without importing it; a package is named `pack.__init__`."""
        file = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        name, is_package = name.removesuffix(".__init__"), name.endswith(".__init__")
        self.project.texts[name] = text
        if is_package:
            self.project.packages.add(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        importlib.invalidate_caches()
        self._names.append(name)
        return file

    def edit(self, name: str, text: str) -> None:
        """Let the developer's text of a module be another; nothing is written or pushed."""
        self.project.texts[name] = text

    def module(self, text: str, name: str = "") -> Program:
        """Write a module and import it; its name is new unless one is given."""
        name = name or f"program_{next(_numbers)}"
        text = textwrap.dedent(text)
        self.write(text, name)
        return Program(importlib.import_module(name), text, self.project)

    def close(self) -> None:
        """Forget the modules; their slots stay in the registry, under names nobody uses again."""
        for name in self._names:
            sys.modules.pop(name, None)
