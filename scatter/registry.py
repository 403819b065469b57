"""The registry: this process's table name → slot, and the atomic switch.

Invariants
1. Writers are serialised by one lock; readers (calls, and `get`) never take it.
2. A switch of several functions is one call into C: the stores follow each other with no chance
   for another thread to run in between. Once any call has seen one of the new versions, no later
   call in any thread sees an old one.
3. A process has one registry (`REGISTRY`). Others exist in tests only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat
from types import CodeType, FunctionType, MappingProxyType

from scatter.errors import NameTaken
from scatter.locks import ForkSafeLock
from scatter.names import SHIPPED
from scatter.slot import Linked, Slot
from scatter.trampoline import kind_of

OnTrack = Callable[[Slot], None]


class Registry:
    """A thread-safe table of slots."""

    def __init__(self) -> None:
        """Begin with no slot."""
        self._lock = ForkSafeLock()
        self._slots: dict[str, Slot] = {}
        self._by_function: dict[int, Slot] = {}
        self._listeners: tuple[OnTrack, ...] = ()
        self._modules: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Registry of {len(self._slots)} functions>"

    def slots(self) -> Mapping[str, Slot]:
        """Return name → slot of every function, as of now."""
        return MappingProxyType(self._slots.copy())

    @property
    def modules(self) -> frozenset[str]:
        """The modules that functions belong to, or did before they were defined anew elsewhere."""
        return self._modules

    def get(self, name: str) -> Slot | None:
        """Return the slot of a full name, if there is one."""
        return self._slots.get(name)

    def slot_of(self, function: object) -> Slot | None:
        """Return the slot that a function object is, if it is one."""
        slot = self._by_function.get(id(function))
        return slot if slot is not None and slot.function is function else None

    def on_track(self, callback: OnTrack) -> None:
        """Call `callback` with each slot that is added or redefined. It must not raise."""
        with self._lock:
            self._listeners = (*self._listeners, callback)

    def off_track(self, callback: OnTrack) -> None:
        """Stop calling `callback`. Unknown ones are no error."""
        with self._lock:
            self._listeners = tuple(c for c in self._listeners if c != callback)

    def add(
        self,
        name: str,
        function: FunctionType,
        *,
        source: str = "",
        fetched: bool = False,
        bare: bool = False,
    ) -> Slot:
        """Make `function` the slot of `name`, as deployed; or return the slot that it is already.

        A function that was defined anew (a notebook cell run again, a reloaded module) takes over
        the slot; what was known of the name stays.

        Args:
            name: Full name.
            function: The function.
            source: Text of its definition.
            fetched: It was obtained by `get`.
            bare: It gets no attributes: it was tracked with its module.

        Raises:
            NameTaken: Another function of this process has that name.

        """
        with self._lock:
            before = self._slots.get(name)
            if before and before.function is function:
                return before
            if before and not before.fetched and not _is_redefinition(before.function, function):
                raise _name_taken(name, before.function, function)
            slot = _new_slot(name, function, source, fetched, before)
            slot.bare = bare
            slot.show()
            if before:
                self._by_function.pop(id(before.function), None)
            self._put(slot)
            listeners = self._listeners
        for listener in listeners:
            listener(slot)
        return slot

    def switch(
        self,
        linked: Mapping[str, Linked],
        fetched: Mapping[str, FunctionType] | None = None,
        *,
        since: Mapping[str, tuple[Slot, Linked]] | None = None,
        hold: bool | None = None,
    ) -> bool:
        """Make all of these versions the running ones, in one step.

        Args:
            linked: Name → version. Names that are not in the registry any more are passed over.
            fetched: Name → function of those that the process did not have before.
            since: Name → slot and what it ran when the switch was decided. If anything else runs
                by now, or a function was put on hold, nothing is switched.
            hold: Put these functions on hold, or let them follow the log again; None: leave that.

        Returns:
            Whether it was done.

        """
        with self._lock:
            if since is not None and not all(map(self._is_as_before, since.items())):
                return False
            for name, function in (fetched or {}).items():
                if name not in self._slots:
                    self._put(_new_slot(name, function, "", True, None))
            known = self._slots
            moves = [
                (known[name], version)
                for name, version in linked.items()
                if name in known and known[name].running is not version
            ]
            steps = [slot.steps_to(version) for slot, version in moves]
            functions = [slot.function for slot, _ in moves]
            codes = [step.first for step in steps]
            before = [function.__code__ for function in functions]  # no destructor runs in between
            with _unwarned(before, codes):
                deque(map(setattr, functions, repeat("__code__"), codes), maxlen=0)
            for (slot, version), step in zip(moves, steps, strict=True):
                slot.finish(version, step)
            before.clear()
            for name in linked if hold is not None else ():
                self._slots[name].held = bool(hold)
            return True

    def _put(self, slot: Slot) -> None:
        self._slots[slot.name] = slot
        self._by_function[id(slot.function)] = slot
        module = slot.function.__module__ or ""
        if module not in self._modules:
            self._modules |= {module}

    def _is_as_before(self, known: tuple[str, tuple[Slot, Linked]]) -> bool:
        name, (slot, running) = known
        return self._slots.get(name) is slot and slot.running is running and not slot.held

    def hold(self, name: str, held: bool) -> None:
        """Keep a function where it is, or let it follow the log again."""
        with self._lock:
            self._slots[name].held = held

    def dress(self, name: str) -> None:
        """Give a function that was tracked with its module the attributes that others have."""
        with self._lock:
            slot = self._slots[name]
            slot.bare = False
            slot.show()

    def saw(
        self,
        name: str,
        version: int | None,
        linked: Linked | None = None,
        *,
        instead_of: Linked | None = None,
    ) -> None:
        """Note the newest version that this process knows to be live.

        Args:
            name: Full name.
            version: The version.
            linked: That same version, if what ran was its code already (it was pushed from here).
            instead_of: What ran then; if something else runs by now, that stays.

        """
        with self._lock:
            slot = self._slots.get(name)
            if slot is None:
                return
            slot.seen = version
            if linked is not None and slot.running is instead_of:
                slot.running = linked
                slot.loaded[linked.version] = linked
                slot.show()


def _unwarned(before: list[CodeType], after: list[CodeType]) -> AbstractContextManager[object]:
    """Return what keeps CPython 3.13 from warning that a function becomes one of another kind.

    Where warnings are errors it would end a switch in the middle. Whoever allowed the change of
    kind knows of it.
    """
    if list(map(kind_of, before)) == list(map(kind_of, after)):
        return nullcontext()
    import warnings

    return warnings.catch_warnings(action="ignore", category=DeprecationWarning)


def _new_slot(
    name: str, function: FunctionType, source: str, fetched: bool, before: Slot | None
) -> Slot:
    shipped = Linked(
        function=name,
        version=SHIPPED,
        bundle="",
        target=_copy(function),
        source=source,
        file=function.__code__.co_filename,
    )
    slot = Slot(name, function, shipped, fetched=fetched)
    slot.seen = before.seen if before else None
    slot.redefined = before is not None and not before.fetched
    return slot


def _copy(function: FunctionType) -> FunctionType:
    """Return a function with the same code, globals, defaults and closure: the way back."""
    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__doc__ = function.__doc__
    copy.__annotations__ = function.__annotations__
    copy.__qualname__ = function.__qualname__
    copy.__module__ = function.__module__
    for name in ("__wrapped__", "__type_params__", "__signature__"):
        if hasattr(function, name):
            setattr(copy, name, getattr(function, name))
    return copy


def _is_redefinition(old: FunctionType, new: FunctionType) -> bool:
    """Return whether `new` is the same definition, run again."""
    return (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)


def _name_taken(name: str, old: FunctionType, new: FunctionType) -> NameTaken:
    if _place(old) == _place(new):  # `python shop.py`, where another module imports `shop`
        return NameTaken(
            f"`{name}` is tracked already: {_place(old)} is loaded twice, as `{old.__module__}` "
            f"and as `{new.__module__}`, and a version could reach only one of the two. "
            "Move what is tracked into a module of its own that both import."
        )
    return NameTaken(
        f"`{name}` is already tracked at {_place(old)}; found another function of that name at "
        f"{_place(new)}. Give one of them `@track(name=...)`."
    )


def _place(function: FunctionType) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


REGISTRY = Registry()
"""The registry of this process."""
