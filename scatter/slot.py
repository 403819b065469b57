"""A slot: one tracked function of this process, and the versions of it that are loaded.

Not here: the table of slots and the atomic switch of several (`scatter.registry`).

Invariants
1. The function object never changes: it is the one that routes, partials and callers hold.
2. A call runs one version whole: its code, defaults and globals come from one store.
3. The running version and the one before stay loaded, so that going back links nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FunctionType

from scatter import trampoline
from scatter.names import SHIPPED

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from typing import Any

    from scatter.linker.world import Version

KEPT = 3
"""Versions that stay loaded in a slot besides the deployed code."""


class Linked:
    """One version of one function, bound in this process and ready to run. Treat as frozen.

    Attributes:
        function: Full name.
        version: Number; `SHIPPED` for the deployed code.
        bundle: Digest of the bundle; empty for the deployed code.
        target: What a call runs.
        source: Text of the definition; empty if it is not known.
        file: Name under which tracebacks find the source.
        private: Names that travelled with the version.
        notes: What was used live or left behind, for people.
        code: What it was made from; None for the deployed code.
        breaks: Which calls that the deployed function takes it does not; empty if there is none.
        fixed: Nothing that the target's closure holds is ever replaced there.
        ready: A function, and the code with which it runs this version; see `Slot.make_ready`.

    """

    # No dataclass: `dataclasses` alone takes 12 ms, and this is imported with `import scatter`.
    __slots__ = (
        "breaks",
        "bundle",
        "code",
        "file",
        "fixed",
        "function",
        "notes",
        "private",
        "ready",
        "source",
        "target",
        "version",
    )

    def __init__(  # noqa: PLR0913 - a record
        self,
        *,
        function: str,
        version: int,
        bundle: str,
        target: Callable[..., Any],
        source: str = "",
        file: str = "",
        private: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        code: Version | None = None,
        breaks: str = "",
        fixed: bool = False,
    ) -> None:
        """Keep the values."""
        self.function = function
        self.version = version
        self.bundle = bundle
        self.target = target
        self.source = source
        self.file = file
        self.private = private
        self.notes = notes
        self.fixed = fixed
        self.ready: tuple[FunctionType, CodeType] | None = None
        self.code = code
        self.breaks = breaks

    def __repr__(self) -> str:
        return f"<Linked {self.function} v{self.version}>"


class Steps:
    """How a function comes to run a version: one decisive store, then what follows from it.

    Attributes:
        first: Code that makes the version the running one, whatever the defaults are.
        final: Code that is faster, right once the defaults are the version's; or None.

    """

    __slots__ = ("final", "first")

    def __init__(self, *, first: CodeType, final: CodeType | None = None) -> None:
        """Keep the values."""
        self.first = first
        self.final = final


class Slot:
    """One tracked or fetched function. Only the registry writes to it, under its lock.

    Attributes:
        name: Full name.
        function: The function object that everyone holds.
        shipped: The deployed code.
        running: What runs now.
        fetched: The function was obtained by `get`; it has no deployed code.
        bare: The function has no attributes of ours: it was tracked with its module.
        held: The function was moved by hand and does not follow the log.
        redefined: The function was defined anew in this process (a notebook cell run again).
        seen: Newest version that this process knows to be live; None: it never saw one.
        loaded: Version → what stays loaded.

    """

    __slots__ = (
        "bare",
        "fetched",
        "function",
        "held",
        "loaded",
        "name",
        "redefined",
        "running",
        "seen",
        "shipped",
    )

    def __init__(
        self, name: str, function: FunctionType, shipped: Linked, *, fetched: bool = False
    ) -> None:
        """Begin with the deployed code running."""
        self.name = name
        self.function = function
        self.shipped = shipped
        self.running = shipped
        self.fetched = fetched
        self.bare = False
        self.held = False
        self.redefined = False
        self.seen: int | None = None
        self.loaded: dict[int, Linked] = {}

    def __repr__(self) -> str:
        held = ", held" if self.held else ""
        return f"<Slot {self.name} at v{self.version}{held}>"

    @property
    def version(self) -> int:
        """Number of the running version; `SHIPPED` for the deployed code."""
        return self.running.version

    @property
    def bundle(self) -> str:
        """Digest of the running version's bundle; empty for the deployed code."""
        return self.running.bundle

    def steps_to(self, linked: Linked) -> Steps:
        """Return how this slot's function comes to run `linked`."""
        function, target = self.function, linked.target
        self._adopt(target)
        code = self.make_ready(linked)
        if not isinstance(target, FunctionType) or same_defaults(function, target):
            return Steps(first=code)
        return Steps(first=trampoline.passthrough(function, target), final=code)

    def make_ready(self, linked: Linked) -> CodeType:
        """Return the code with which this slot's function runs `linked`; made once, beforehand."""
        function, ready = self.function, linked.ready
        if ready is not None and ready[0] is function:
            return ready[1]
        code = self._code_for(linked)
        linked.ready = function, code
        return code

    def _code_for(self, linked: Linked) -> CodeType:
        function, target = self.function, linked.target
        if not isinstance(target, FunctionType):
            return trampoline.passthrough(function, target)
        direct = trampoline.direct_code(function, target, fixed=linked.fixed)
        return direct or trampoline.forwarder(function, target)

    def _adopt(self, target: Any) -> None:
        """Let a wrapper that names itself name the function: what it keeps there is kept on."""
        if not isinstance(target, FunctionType) or not (target.__closure__ or target.__dict__):
            return
        names = target.__code__.co_freevars
        for name, cell in zip(names, target.__closure__ or (), strict=True):
            try:
                if cell.cell_contents is target and name != self.name.rpartition(":")[2]:
                    cell.cell_contents = self.function
            except ValueError:  # an empty cell
                continue
        for name, value in target.__dict__.items():
            self.function.__dict__.setdefault(name, value)

    def finish(self, linked: Linked, steps: Steps) -> None:
        """Do what follows the decisive store. Each step alone leaves calls right."""
        function, target = self.function, linked.target
        if steps.final is not None and isinstance(target, FunctionType):
            function.__defaults__ = target.__defaults__
            function.__kwdefaults__ = target.__kwdefaults__
            function.__code__ = steps.final
        self._keep(linked)
        self._show_faces(target)

    def _show_faces(self, target: Any) -> None:
        """Let the function look like what it runs. Calls do not depend on it."""
        function = self.function
        try:
            function.__doc__ = target.__doc__
            function.__annotations__ = target.__annotations__
        except Exception:  # noqa: S110 - a decorator of the application's made a strange face
            pass
        own, other = function.__dict__, getattr(target, "__dict__", {})
        plain = isinstance(target, FunctionType) and not (own or other or _GENERICS)
        for face in () if plain else _FACES:
            try:
                _copy_face(face, target, function)
            except Exception:  # noqa: S112 - as above
                continue

    def _keep(self, linked: Linked) -> None:
        """Make `linked` the running version and let go of the oldest loaded ones."""
        self.running = linked
        if linked.version != SHIPPED:
            self.loaded.pop(linked.version, None)
            self.loaded[linked.version] = linked
        while len(self.loaded) > KEPT:
            del self.loaded[next(iter(self.loaded))]
        self.show()

    def show(self) -> None:
        """Set the attributes that people read on the function."""
        if self.bare:
            return
        self.function.loaded_version = self.version  # type: ignore[attr-defined]
        self.function.source = self.running.source  # type: ignore[attr-defined]


_GENERICS = hasattr(lambda: None, "__type_params__")
_FACES = (
    *("__wrapped__", "__type_params__", "__signature__"),
    *("cache_clear", "cache_info", "cache_parameters"),  # of a cache below `@track`
)


def _copy_face(name: str, source: object, function: FunctionType) -> None:
    """Let `function` have the attribute `name` as `source` has it, or not have it."""
    if hasattr(source, name):
        setattr(function, name, getattr(source, name))
    elif name in function.__dict__:
        delattr(function, name)


def same_defaults(one: FunctionType, other: FunctionType) -> bool:
    """Return whether two functions have interchangeable defaults.

    Equal is not enough: `True == 1 == 1.0`, and two empty lists are two objects.
    """
    mine, theirs = one.__defaults__, other.__defaults__
    named, others = one.__kwdefaults__, other.__kwdefaults__
    return (mine is theirs or _same(mine, theirs)) and (named is others or _same(named, others))


_PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...))


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[k], other[k]) for k in one)
    return type(one) in _PLAIN and repr(one) == repr(other)  # repr: -0.0 and nan differ too
