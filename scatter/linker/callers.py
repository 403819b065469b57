"""Who calls a function in this process, and whether its new version takes those calls.

Whoever adds a required parameter edits the callers in the same save; so a signature may change if
everybody who calls the function is known, and calls it as the new version has it. What counts is
the code that will run: the deployed text of the project's modules, without the functions that run
another version, and the code of those versions.

Not here: which calls of the deployed function the new one would not take (`signature`), modules and
registries (`scatter.homes`, `scatter.apply`).

Invariants
1. The verdict follows from the deployed code and the versions that will run, alone.
2. Callers that cannot be seen count as callers that would break. A function that no deployed code
   calls has such: something calls it, or it would not be there.
3. A call that may be one of the function is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import FunctionType

from scatter.analysis import FunctionSource, Target
from scatter.linker.handed_on import handed_on, role_of
from scatter.linker.mentions import Mention, Wanted, mentions_in
from scatter.linker.scoping import Imports, Scope
from scatter.linker.signature import misfit, moved_argument
from scatter.linker.walk import Class, Code, classes_in
from scatter.linker.world import Module, Piece, Text, World
from scatter.names import split

SIGNATURE_NOTE = "signature changed"
"""How a note about a new signature begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A function whose signature changes.

    Attributes:
        function, module: Its full name, and the module that it is defined in.
        source: Its deployed definition.
        runs: What its calls run as deployed, and what they will run.
        broken: Which calls of the deployed function break; see `signature.broken_call`.
        overrides: What of other people's code the method stands in for; empty if nothing.
        ancestors: For a method: the classes of the project that its class inherits from.

    """

    function: str
    module: str
    source: FunctionSource
    runs: tuple[FunctionType, FunctionType]
    broken: str
    overrides: str = ""
    ancestors: frozenset[Target] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place that speaks against a new signature, or for it.

    Attributes:
        where: File and line.
        text: The code.
        function: The tracked function in whose code it is; empty if in none.
        trouble: What is wrong; empty for a call that fits.

    """

    where: str
    text: str
    function: str = ""
    trouble: str = ""

    def __str__(self) -> str:
        return f"`{self.text}` at {self.where}: {self.trouble}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a new signature fits those who call the function.

    Attributes:
        calls: How many calls were found that fit.
        against: Calls that do not fit, then places that leave callers unknown.
        unknown: Why callers cannot be known at all; empty if that is not so.

    """

    calls: int = 0
    against: tuple[Place, ...] = ()
    unknown: str = ""

    @property
    def is_good(self) -> bool:
        """Whether every caller is known, and fits."""
        return not (self.against or self.unknown)

    @property
    def words(self) -> str:
        """The verdict in words, without a full stop."""
        if self.unknown:
            return f"who calls it is not known: {self.unknown}"
        if self.against:
            return str(self.against[0])
        if not self.calls:
            return f"{SIGNATURE_NOTE}; nothing here calls it any more"
        its = "one call here fits" if self.calls == 1 else f"{self.calls} calls here fit"
        return f"{SIGNATURE_NOTE}; its {its}"


def judge(subject: Subject, world: World, only: Mapping[str, str] | None = None) -> Verdict:
    """Return whether those who call a function can call its new version.

    Args:
        subject: The function.
        world: All code that will run.
        only: Full name → module of functions: look at their code alone, since all else was judged
            before.

    """
    try:
        return _Judging(subject, world, only).run()
    except RecursionError:
        return Verdict(unknown="code here is nested too deeply to be read")


class _Judging:
    """One run of `judge`."""

    def __init__(self, subject: Subject, world: World, only: Mapping[str, str] | None) -> None:
        self._subject = subject
        self._world = world
        self._only = only
        self._names: set[str] = set()
        self._wanted = Wanted(
            module=subject.module, qualname=subject.source.qualname, role=role_of(subject.source)
        )
        self._calls = 0
        self._misfits: list[Place] = []
        self._uses: list[Place] = []
        self._is_called = only is not None

    def run(self) -> Verdict:
        subject = self._subject
        unknown = (
            f"it stands in for `{subject.overrides}`"
            if subject.overrides
            else handed_on(subject.source, subject.module, self._world)
        )
        if not unknown and self._wanted.role == "init":
            unknown = self._find_heirs()
        return Verdict(unknown=unknown) if unknown else self._look()

    def _look(self) -> Verdict:
        """Look at every mention in the code; up to the first call that does not fit, if it may."""
        for text in self._texts():
            mentions = mentions_in(self._code(text), self._wanted)
            if text.is_doubtful(bool(mentions)):
                return Verdict(unknown=f"`{text.module}` mentions it, and does not run its source")
            for mention in mentions:
                self._count(text, mention)
            if self._misfits and self._only is None:
                break
        against = (*self._misfits, *self._uses)
        unknown = "" if against or self._is_called else "no deployed code calls it by its name"
        return Verdict(calls=self._calls, against=against, unknown=unknown)

    def _count(self, text: Text, mention: Mention) -> None:
        """Take one mention into account."""
        function = self._function_at(text, mention)
        is_gone = isinstance(text, Module) and function in self._world.versions
        self._is_called |= self._is_evidence(text, mention, function)
        if self._only is not None and function not in self._only:
            return
        place = self._place(text, mention, function)
        if mention.shape is None:
            self._uses += [] if is_gone and mention.fleeting else [place]
        elif not is_gone:
            self._misfits += [place] if place.trouble else []
            self._calls += not place.trouble

    def _is_evidence(self, text: Text, mention: Mention, function: str) -> bool:
        """Return whether a mention shows that the function is called by code that is known."""
        is_call = mention.shape is not None and isinstance(text, Module)
        return is_call and function != self._subject.function

    def _place(self, text: Text, mention: Mention, function: str) -> Place:
        trouble = "whoever it is handed to may call it"
        if mention.shape is not None:
            given, names, more, others = mention.shape
            old, new = self._subject.runs
            trouble = misfit(new, given, names, more=more, others=others)
            if isinstance(text, Module):  # it was written for the deployed function
                trouble = trouble or moved_argument(old, new, given, more=more)
        return Place(
            where=text.where(mention.line), text=mention.text, function=function, trouble=trouble
        )

    def _function_at(self, text: Text, mention: Mention) -> str:
        if isinstance(text, Module):
            return text.function_at(mention.line)
        return text.function if isinstance(text, Piece) else ""

    # which code ------------------------------------------------------------------------------

    def _texts(self) -> list[Text]:
        """Return the code that may mention the function."""
        if self._only is not None and self._wanted.role != "init":
            return self._some_texts(self._only)
        self._learn_names()
        related = self._wanted.related
        said = self._said().search
        pieces = (
            piece
            for piece in self._world.pieces()
            if said(piece.text) or Target(piece.module, piece.within) in related
        )
        return [*self._modules(), *pieces]

    def _learn_names(self) -> None:
        """Find out by which names the function goes in modules that import it."""
        known = -1
        self._names |= self._first_names()
        while known != len(self._names):
            known = len(self._names)
            renamed = re.compile(rf"{self._said().pattern}\s+as\b").search
            for module in self._modules():
                if renamed(module.text):
                    self._names |= self._aliases(module.scope.imports)
            for piece in self._world.pieces():
                self._names |= self._aliases(piece.imports_that(renamed))
                self._names |= {n for n, t in self._tracked(piece).items() if self._is_it(t)}

    def _said(self) -> re.Pattern[str]:
        """Return the names as a pattern: a text has one of them as a word."""
        names = "|".join(map(re.escape, sorted(self._names)))
        return re.compile(rf"\b(?:{names})\b")

    def _modules(self) -> list[Module]:
        """Return the modules that may mention the function, its own first."""
        said, own = self._said().search, self._wanted.module
        modules = (m for m in self._world.modules.values() if m.can_reach(own))
        found = [m for m in modules if said(m.text) or self._is_related(m.module)]
        return sorted(found, key=lambda m: (m.module != own, m.module))

    def _first_names(self) -> set[str]:
        wanted = self._wanted
        if wanted.role == "function":
            return {wanted.qualname}
        if wanted.role == "init":
            return {wanted.owner.rpartition(".")[2]}
        return set(wanted.attributes)

    def _is_related(self, module: str) -> bool:
        is_init = self._wanted.role == "init"
        return is_init and any(above.module == module for above in self._subject.ancestors)

    def _some_texts(self, functions: Mapping[str, str]) -> list[Text]:
        """Return the code of some functions."""
        world = self._world
        deployed = {functions[name] for name in functions if name not in world.versions}
        modules = [world.modules[module] for module in deployed if module in world.modules]
        return [*modules, *self._world.pieces(functions)]

    def _aliases(self, imports: Imports) -> set[str]:
        """Return the names that imports give to what is wanted."""
        if self._wanted.role not in ("function", "init"):
            return set()
        meanings = self._world.names.meanings
        return {
            name
            for name, targets in imports.items()
            if any(self._is_it(found) for target in targets for found in meanings(target))
        }

    def _is_it(self, target: Target) -> bool:
        """Return whether a name of a module is that through which the function is called."""
        wanted = self._wanted
        if wanted.role == "init":
            return target in (wanted.heirs or {Target(wanted.module, wanted.owner)})
        return wanted.role == "function" and target == wanted.target

    def _tracked(self, piece: Piece) -> dict[str, Target]:
        """Return the names that a version has for tracked functions."""
        return {name: self._target_of(full) for name, full in piece.tracked.items()}

    def _code(self, text: Text) -> Code:
        world, related = self._world, self._wanted.related
        module = isinstance(text, Module)
        overlay: Imports = {}
        tracked: dict[str, Target] = {}
        if isinstance(text, Piece):
            overlay, tracked = text.overlay, self._tracked(text)
        return Code(
            module=text.module,
            package=text.package,
            body=text.statements(self._said(), {t.name.partition(".")[0] for t in related}),
            scope=text.scope if isinstance(text, Module) else Scope(kind="module"),
            overlay=overlay,
            tracked=tracked,
            within="" if module else text.within,
            names=world.names,
            is_class=world.is_class,
        )

    def _target_of(self, full: str) -> Target:
        return self._wanted.target if full == self._subject.function else Target(*split(full))

    # classes ---------------------------------------------------------------------------------

    def _find_heirs(self) -> str:
        """Find the classes whose call runs the wanted `__init__`.

        Returns:
            Why that cannot be told; empty if it can.

        """
        own = Target(self._wanted.module, self._wanted.owner)
        below, known = {own}, -1
        while known != len(below):
            known = len(below)
            classes = [c for text in self._texts() for c in classes_in(self._code(text))]
            found = [c for c in classes if any(base & below for base in c.bases)]
            if any(c.place is None or len(c.bases) > 1 for c in found):
                return "a class inside a function, or one with more bases, inherits it"
            below |= {c.place for c in found if c.place is not None}
            self._note_heirs(own, found)
            self._names |= {place.name.rpartition(".")[2] for place in below}
        return ""

    def _note_heirs(self, own: Target, found: list[Class]) -> None:
        heirs, size = {own}, 0
        while size != len(heirs):
            size = len(heirs)
            heirs |= {
                c.place
                for c in found
                if c.place and not c.makes_init and any(base & heirs for base in c.bases)
            }
        places = {c.place for c in found if c.place}
        self._wanted = replace(
            self._wanted,
            heirs=frozenset(heirs),
            below=frozenset(
                c.place for c in found if c.place and any(base & heirs for base in c.bases)
            ),
            related=frozenset({own, *places, *self._subject.ancestors}),
        )
