"""From the log to the running code: prepare versions beside what runs, then switch.

Not here: deciding which versions a process should run (`scatter_agent.plan`, `scatter.client`).

Invariants
1. `prepare` changes nothing that runs: it checks, decodes, links and compiles. What fails is a
   refusal with its reason; nothing else about the process differs afterwards.
2. The switch of everything that was prepared is one step.
3. It leaves no function with a signature that those who call it do not fit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType, MappingProxyType

from scatter import native, trampoline
from scatter.bases import module_name
from scatter.bundle import Bundle, Part, decode
from scatter.errors import Refused
from scatter.homes import deployed_modules, home_for_fetched, home_of, subject_of
from scatter.linker import (
    SIGNATURE_NOTE,
    Deployed,
    Home,
    Version,
    World,
    check_caller,
    check_callers,
    judge,
    link,
    shell,
    unknown_callers,
)
from scatter.log import Journal
from scatter.model import Change, Refusal
from scatter.names import SHIPPED, split
from scatter.registry import Registry
from scatter.slot import Linked, Slot

Lookup = Callable[[str], "Wanted | None"]
NOTHING: Mapping[str, Linked] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A version that this process should run.

    Attributes:
        change: Function and version; `SHIPPED` for the deployed code.
        data: Bytes of the bundle, size and digest checked; None when the store lost it.
        loaded: The version itself, where it was loaded already: it may be dropped meanwhile.

    """

    change: Change
    data: bytes | None = None
    loaded: Linked | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What `prepare` linked, and what it would not.

    Attributes:
        linked: Function → version, ready to be switched to.
        refusals: The rest, with reasons.
        fetched: Functions that the process did not have before.
        since: Function → its slot, and what ran when this began.

    """

    linked: Mapping[str, Linked]
    refusals: tuple[Refusal, ...]
    fetched: Mapping[str, FunctionType]
    since: Mapping[str, tuple[Slot, Linked]]


def wanted(
    registry: Registry, journal: Journal, changes: Iterable[Change]
) -> tuple[list[Wanted], Lookup]:
    """Return changes with what is needed to prepare them: what is loaded, else what is stored."""
    found = [(change, _loaded(registry, change)) for change in changes]
    data = journal.bundles(change for change, loaded in found if loaded is None)
    asked = [Wanted(change=c, data=data.get(c.bundle), loaded=loaded) for c, loaded in found]

    def lookup(name: str) -> Wanted | None:
        state = journal.current().get(name)
        if state is None or not state.version:
            return None
        return Wanted(change=state.live, data=journal.bundles([state.live]).get(state.live.bundle))

    return asked, lookup


def _loaded(registry: Registry, change: Change) -> Linked | None:
    """Return a version that is loaded here: the number alone does not tell, the bundle does."""
    slot = registry.get(change.function)
    linked = slot.loaded.get(change.version or SHIPPED) if slot else None
    return linked if linked is not None and linked.bundle == change.bundle else None


def prepare(
    registry: Registry,
    wanted: Sequence[Wanted],
    lookup: Lookup = lambda _: None,
    after: Mapping[str, Linked] = NOTHING,
) -> Prepared:
    """Link versions beside the running code. Never raises for a bad version.

    Args:
        registry: The process's registry.
        wanted: Versions to prepare; each function at most once.
        lookup: Returns the live version of a tracked function that a version calls and that the
            process does not have; it is fetched along.
        after: Function → version, of those that will have been switched to by then.

    """
    preparation = _Preparation(registry, wanted, lookup, after)
    try:
        return preparation.run()
    finally:
        vars(preparation).clear()  # it is part of a circle, which would keep versions for long


def switch(
    registry: Registry, prepared: Prepared, *, careful: bool = False, hold: bool | None = None
) -> bool:
    """Make everything that was prepared the running code, in one step.

    Args:
        registry: The process's registry.
        prepared: What to switch to.
        careful: Do nothing if somebody has moved or held one of the functions meanwhile.
        hold: As in `Registry.switch`.

    Returns:
        Whether it was done.

    """
    since = prepared.since if careful else None
    return registry.switch(prepared.linked, prepared.fetched, since=since, hold=hold)


class Rest:
    """Lets other threads work now and then.

    Inflating gives the interpreter away for a moment, and takes it back before a waiting thread is
    awake; doing so often, it would never be asked to give way (m: 400 ms for 1,000 functions).
    """

    def __init__(self) -> None:
        self._next = time.monotonic() + _WORK_S

    def take(self) -> None:
        """Sleep for a moment if others have waited long enough."""
        if time.monotonic() >= self._next:
            native.sleep(_REST_S)
            self._next = time.monotonic() + _WORK_S


_WORK_S, _REST_S = 0.004, 0.0001


class _Preparation:
    """One run of `prepare`. Functions new to the process may call each other in a circle, so
    each gets its function object before any of them is linked.
    """

    def __init__(
        self,
        registry: Registry,
        wanted: Sequence[Wanted],
        lookup: Lookup,
        after: Mapping[str, Linked],
    ) -> None:
        self._registry = registry
        self._todo = {w.change.function: w for w in wanted}
        self._lookup = lookup
        self._after = after
        self._linked: dict[str, Linked] = {}
        self._opened: dict[str, Bundle] = {}
        self._refusals: dict[str, Refusal] = {}
        self._fetched: dict[str, FunctionType] = {}
        self._since: dict[str, tuple[Slot, Linked]] = {}
        self._begun = set[str]()
        self._early = set[str]()

    def run(self) -> Prepared:
        rest = Rest()
        while len(self._begun) < len(self._todo):
            waiting = [name for name in self._todo if name not in self._begun]
            for name in sorted(waiting, key=_is_method):  # a new class comes before its methods
                rest.take()
                self._prepare(self._todo[name])
        _Signatures(self._registry, self._after, self._linked).check(self._refuse_late)
        fetched = {n: f for n, f in self._fetched.items() if n in self._linked}
        return Prepared(
            linked=self._linked,
            refusals=tuple(self._refusals.values()),
            fetched=fetched,
            since=self._since,
        )

    def _prepare(self, wanted: Wanted) -> None:
        name = wanted.change.function
        if name in self._begun:
            return
        self._begun.add(name)
        try:
            linked = self._link(wanted)
            slot = self._registry.get(name)
            if linked is not None and slot is not None:
                slot.make_ready(linked)
        except Refused as refused:
            self._refuse(wanted, refused.reason, str(refused))
        except Exception as error:  # a bug of ours must not end the agent: it is reported
            self._refuse(wanted, "internal", f"{type(error).__name__}: {error}")
        else:
            if linked is not None:
                self._linked[name] = linked

    def _refuse_late(self, refused: Refused) -> None:
        """Refuse what was linked already."""
        del self._linked[refused.function]
        self._refuse(self._todo[refused.function], refused.reason, str(refused))

    def _refuse(self, wanted: Wanted, reason: str, message: str) -> None:
        change = wanted.change
        self._refusals[change.function] = Refusal(
            function=change.function, version=change.version or 0, reason=reason, message=message
        )

    def _link(self, wanted: Wanted) -> Linked | None:
        change = wanted.change
        slot = self._registry.get(change.function)
        if slot is not None:
            self._since[change.function] = slot, slot.running
        if not change.version:
            return slot.shipped if slot and not slot.fetched else None
        loaded = wanted.loaded or _loaded(self._registry, change)
        if loaded is not None:
            return loaded
        bundle = self._open(wanted)
        home = self._home(bundle, slot)
        deployed = slot.shipped.target if slot and not slot.fetched else None
        if slot is None:
            self._shell(bundle, home)
        return link(bundle, change, home, deployed if isinstance(deployed, FunctionType) else None)

    def _open(self, wanted: Wanted) -> Bundle:
        """Return the bundle of a version; each is opened once."""
        name = wanted.change.function
        if name not in self._opened:
            self._opened[name] = self._decoded(wanted)
        return self._opened[name]

    def _decoded(self, wanted: Wanted) -> Bundle:
        change = wanted.change
        if wanted.data is None:
            raise Refused(
                "bundle-missing",
                f"The bundle of `{change.function}` version {change.version} is not in the store, "
                "or is damaged.",
                function=change.function,
                version=change.version,
                hint="Push the function again.",
            )
        bundle = decode(wanted.data)
        if bundle.function != change.function:
            raise Refused(
                "wrong-function",
                f"Release names `{change.function}`, its bundle holds `{bundle.function}`.",
                function=change.function,
                version=change.version,
            )
        return bundle

    def _home(self, bundle: Bundle, slot: Slot | None) -> Home:
        if slot is not None and not slot.fetched:
            return home_of(self._registry, slot.function, self)
        return home_for_fetched(self._registry, _place(bundle), self)

    # what the linker asks for: see `scatter.linker.Functions` -------------------------------------

    def function(self, name: str) -> FunctionType | None:
        """Return the function of a name, fetching it along if the namespace has it."""
        slot = self._registry.get(name)
        if slot is not None:
            return slot.function
        if not self._is_coming(name):
            return None
        if name not in self._fetched:
            bundle = self._open(self._todo[name])
            home = home_for_fetched(self._registry, _place(bundle), self)
            self._shell(bundle, home)
        self._run_early(name)
        return self._fetched[name]

    def _run_early(self, name: str) -> None:
        """Let a function that nobody has yet run already: a default may call it."""
        self._prepare(self._todo[name])
        if name in self._linked and name not in self._early:
            self._early.add(name)
            function = self._fetched[name]
            function.__code__ = trampoline.passthrough(function, self._linked[name].target)

    def bundle(self, name: str) -> Bundle | None:
        """Return the version of a function that is about to run here, if there is one."""
        return self._open(self._todo[name]) if self._is_coming(name) else None

    def adopt(self, name: str, function: FunctionType) -> None:
        """Take a function that a version has made for the one of a name; it is switched along."""
        if self._registry.get(name) is None and self._is_coming(name):
            self._fetched.setdefault(name, function)

    def _is_coming(self, name: str) -> bool:
        """Return whether a version of a function is, or can be, prepared along."""
        if name not in self._todo:
            wanted = self._lookup(name)
            if wanted is None or not wanted.change.version:
                return False
            self._todo[name] = wanted
        return bool(self._todo[name].change.version)

    def _shell(self, bundle: Bundle, home: Home) -> None:
        """Make the function object of a fetched function; the switch gives it its code."""
        if bundle.function not in self._fetched:
            self._fetched[bundle.function] = shell(bundle, home)


def _is_method(name: str) -> bool:
    return "." in split(name)[1]


def _place(bundle: Bundle) -> str:
    """Return `module:qualname` of the code, whatever name the function was given."""
    return f"{bundle.module}:{bundle.qualname}" if bundle.module else bundle.qualname


class _Signatures:
    """Checks the signatures that versions change against those who will call them.

    What is refused stays as it was, and that may refuse others; so the rest is checked again.
    """

    def __init__(
        self, registry: Registry, after: Mapping[str, Linked], linked: Mapping[str, Linked]
    ) -> None:
        self._registry = registry
        self._slots = registry.slots()
        self._before = {name: slot.running for name, slot in self._slots.items()} | dict(after)
        self._linked = linked

    def check(self, refuse: Callable[[Refused], None]) -> None:
        """Refuse what does not fit, until all that is left does."""
        while True:
            will = self._before | dict(self._linked)
            changed = [n for n, linked in will.items() if linked.breaks and n in self._slots]
            found = {refused.function: refused for refused in self._refusals(changed, will)}
            if not found:
                return
            for refused in found.values():
                refuse(refused)

    def _refusals(self, changed: list[str], will: Mapping[str, Linked]) -> Iterator[Refused]:
        """Yield what must not be switched to.

        Args:
            changed: Functions that will have another signature than they were deployed with.
            will: What every function will run.

        """
        moved = [n for n, linked in self._linked.items() if linked is not self._before.get(n)]
        if not moved or not changed:
            return
        world = World(self._modules, self._versions(will))
        for name in changed:
            try:
                if name in moved:
                    self._check(name, will[name], world)
                else:
                    yield from self._misfits(name, will[name], world, moved)
            except Refused as refused:
                yield refused
            except Exception as error:  # a bug of ours must not end the agent: it is reported
                for one in [name] if name in moved else moved:
                    yield Refused("internal", f"{type(error).__name__}: {error}", function=one)

    def _check(self, name: str, linked: Linked, world: World) -> None:
        """Refuse a version whose callers do not fit it."""
        subject = subject_of(self._slots[name], linked)
        if subject is None:
            raise unknown_callers(name, linked.breaks)
        verdict = judge(subject, world)
        check_callers(subject, verdict)
        notes = (note for note in linked.notes if not note.startswith(SIGNATURE_NOTE))
        linked.notes = (*notes, verdict.words)

    def _misfits(
        self, name: str, linked: Linked, world: World, moved: list[str]
    ) -> Iterator[Refused]:
        """Yield the versions that do not fit a function whose signature was changed before."""
        subject = subject_of(self._slots[name], linked)
        if subject is None:
            return
        verdict = judge(subject, world, {n: self._module_of(n) for n in moved})
        for function in moved:
            try:
                check_caller(function, subject, verdict)
            except Refused as refused:
                yield refused

    def _module_of(self, name: str) -> str:
        slot = self._slots.get(name)
        return module_name(slot.function) if slot else ""

    @cached_property
    def _modules(self) -> list[Deployed]:
        """The modules whose code may call what is tracked."""
        return deployed_modules(self._registry)

    def _versions(self, will: Mapping[str, Linked]) -> dict[str, Version]:
        """Return the code of every function that will not run its deployed code."""
        return {
            name: linked.code or _known_code(linked, self._module_of(name))
            for name, linked in will.items()
            if not self._is_deployed(name, linked)
        }

    def _is_deployed(self, name: str, linked: Linked) -> bool:
        slot = self._slots.get(name)
        return slot is not None and linked.target is slot.shipped.target


def _known_code(linked: Linked, module: str) -> Version:
    """Return the code of a version of which only the source is known."""
    qualname = linked.function.rpartition(":")[2]
    bundle = Bundle(
        function=linked.function,
        qualname=qualname,
        source=linked.source,
        parts=(Part(module=module),),
    )
    return Version(bundle=bundle)
