"""Memory: a process that is edited all day is no larger in the evening.

Versions go when neither a slot nor a frame needs them, with all that was theirs. What is counted is
objects and entries after a collection, never the size of the process.
"""

from __future__ import annotations

import ast
import functools
import gc
import itertools
import linecache
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from linking import Lab, wanted_from

import scatter
from scatter import apply, bases, client
from scatter.apply import Prepared, Wanted
from scatter.bundle.build import build
from scatter.registry import REGISTRY
from scatter.slot import KEPT, Linked

HEAD = "import scatter\n\n"
# `{n}` is the number of the version; `{m}` makes a few names, since CPython 3.12 and later keep
# every name that they met.
SHAPES = {
    "direct": "@scatter.track\ndef f(x=0): return {n}\n",
    "private helper": "def help(): return {n}\n@scatter.track\ndef f(x=0): return help()\n",
    "helpers in a circle": (
        "def even(n): return {n} if n == 0 else odd(n - 1)\n"
        "def odd(n): return {n} if n == 0 else even(n - 1)\n"
        "@scatter.track\ndef f(x=3): return even(x)\n"
    ),
    "helper that calls itself": (
        "def down(n): return {n} if n == 0 else down(n - 1)\n"
        "@scatter.track\ndef f(x=3): return down(x)\n"
    ),
    "helper that calls back": (
        "def help(x): return {n} if x else f(1)\n@scatter.track\ndef f(x=0): return help(x)\n"
    ),
    "changed defaults": "@scatter.track\ndef f(x={n}, *, y=({n},)): return x\n",
    "changed parameters": "@scatter.track\ndef f(x=0, y{m}=1, *rest{m}): return {n}\n",
    "decorator": (
        "import functools\n"
        "def kept(function):\n"
        "    @functools.wraps(function)\n"
        "    def wrapper(*args, **kwargs): return function(*args, **kwargs)\n"
        "    wrapper.calls = []\n"
        "    return wrapper\n"
        "@scatter.track\n@kept\ndef f(x=0): return {n}\n"
    ),
    "cache": (
        "import functools\n@functools.lru_cache\ndef help(x): return {n}\n"
        "@scatter.track\ndef f(x=0): return help(x)\n"
    ),
    "new class": (
        "class Box{m}:\n    def __init__(self): self.me = self\n    def get(self): return {n}\n"
        "@scatter.track\ndef f(x=0): return Box{m}().get()\n"
    ),
    "new class of one name": (
        "class Box:\n    def get(self): return {n}\n"
        "@scatter.track\ndef f(x=0): return Box().get()\n"
    ),
    "classes and helpers in a circle": (
        "class Box:\n    def get(self): return help()\n"
        "def help(): return Box and other()\ndef other(): return {n} or help\n"
        "@scatter.track\ndef f(x=0): return Box().get()\n"
    ),
    "constant": (
        "RATE = {n}\nTABLE = {'a': RATE}\n@scatter.track\ndef f(x=0): return TABLE['a']\n"
    ),
    "import": "import math as m{m}\n@scatter.track\ndef f(x=0): return m{m}.floor({n})\n",
    "state": "kept = {}\n@scatter.track\ndef f(x=0): kept[x] = {n}; return kept[x]\n",
    "inner functions": (
        "def help(): return {n}\n@scatter.track\ndef f(x=0):\n"
        "    def inner(): return [help() for _ in 'a'][0]\n    return (lambda: inner())()\n"
    ),
    "annotations": "@scatter.track\ndef f(x: {'a': {n}} = 0) -> ({n},): return {n}\n",
}
METHODS = {
    "method": "class M:\n    @scatter.track\n    def f(self, x=0): return {n}\n",
    "method with a helper": (
        "def help(): return {n}\n"
        "class M:\n    @scatter.track\n    def f(self, x=0): return help()\n"
    ),
    "method that names its class": (
        "class Base:\n    def f(self): return 0\n"
        "class M(Base):\n    @scatter.track\n    def f(self, x=0):"
        " return super().f() + ({n} if __class__ else 0)\n"
    ),
}
DEPLOYED = "@scatter.track\ndef f(x=0): return 0\n"
DEPLOYED_METHOD = "class Base:\n    def f(self): return 0\n"
every_shape = pytest.mark.parametrize("shape", [*SHAPES, *METHODS])


class Worker:
    """A process that gets version after version of one function, and keeps no pushed bytes."""

    def __init__(self, lab: Lab, shape: str) -> None:
        self._text = HEAD + (SHAPES | METHODS)[shape]
        self.qualname = "M.f" if shape in METHODS else "f"
        self.program = lab.module(self._deployed(shape))
        self.name = f"{self.program.name}:{self.qualname}"
        self._numbers = itertools.count(1)
        self._stock: list[Wanted] = []

    def _deployed(self, shape: str) -> str:
        """Return a module that lacks what the versions bring; of a method it has the classes."""
        if shape in SHAPES:
            return HEAD + DEPLOYED
        text = METHODS[shape].replace("def help(): return {n}\n", "").replace("help()", "0")
        return HEAD + text.replace("{n}", "0")

    def call(self) -> Any:
        module = self.program.module
        return module.M().f() if self.qualname == "M.f" else module.f()

    @property
    def function(self) -> Any:
        module = self.program.module
        return module.M.f if self.qualname == "M.f" else module.f

    def stock(self, count: int) -> None:
        """Build versions ahead, and keep them: what a developer's side does is not counted here."""
        for number in range(len(self._stock) + 1, len(self._stock) + count + 1):
            text = self._text.replace("{n}", str(number)).replace("{m}", str(number % 5))
            built = build(self.program.source(text), self.qualname)
            self._stock.append(wanted_from(built, number))

    def prepare(self) -> tuple[int, Prepared]:
        """Link the next version."""
        number = next(self._numbers)
        if number > len(self._stock):
            self.stock(1)
        prepared = apply.prepare(REGISTRY, [self._stock[number - 1]])
        assert not prepared.refusals, prepared.refusals
        return number, prepared

    def push(self) -> Linked:
        """Run the next version, and call it."""
        number, prepared = self.prepare()
        apply.switch(REGISTRY, prepared)
        assert self.call() == number
        return prepared.linked[self.name]

    def push_many(self, count: int) -> None:
        for _ in range(count):
            self.push()


def entries() -> dict[str, int]:
    """Return how many things of each sort there are in tables of the whole process."""
    gc.collect()
    return {
        "source texts": sum(file.startswith("<") for file in linecache.cache),
        "finalizers": len(weakref.finalize._registry),  # type: ignore[attr-defined]
        "modules": len(sys.modules),
        "functions": len(REGISTRY.slots()),
    }


class Count(NamedTuple):
    """How much there is in the whole process.

    Blocks are what the allocator has handed out, so strings and code objects count too, which no
    collector sees. `tracemalloc` is no use here: it keeps the name of every file that it met.
    """

    objects: int
    blocks: int

    @classmethod
    def now(cls) -> Count:
        gc.collect()
        found = gc.get_objects()
        for cache in found:  # they are bounded, and not full yet
            if isinstance(cache, CACHE) and cache.__module__.startswith("scatter"):
                cache.cache_clear()
        del found
        gc.collect()
        return cls(len(gc.get_objects()), sys.getallocatedblocks())

    def fits(self, before: Count, more: int) -> bool:
        return all(now - then <= more for now, then in zip(self, before, strict=True))


CACHE = type(functools.lru_cache(print))


def assert_leaves_nothing(action: Callable[[], object], more: int = 50) -> None:
    """Fail if each of three runs of `action` leaves more things than a few.

    A leak grows with every run. What is filled once, by the first run of anything, does not.
    """
    for _ in range(3):
        before, table = Count.now(), entries()
        action()
        found = Count.now()
        assert entries() == table
        if found.fits(before, more):
            return
    raise AssertionError(f"{found} after {before}")


# growth ---------------------------------------------------------------------------------------


@every_shape
def test_ten_thousand_swaps_leave_nothing(lab: Lab, shape: str) -> None:
    worker = Worker(lab, shape)
    name, slot = worker.name, worker.program.slot(worker.qualname)
    versions = [slot.shipped, worker.push(), worker.push()]

    def swap(count: int) -> None:
        for n in range(count):
            REGISTRY.switch({name: versions[n % 3]})

    swap(300)
    assert_leaves_nothing(lambda: swap(10_000))
    assert worker.call() == 0


@every_shape
def test_many_versions_leave_the_kept_ones(lab: Lab, shape: str) -> None:
    worker = Worker(lab, shape)
    worker.stock(230)
    worker.push_many(20)
    assert_leaves_nothing(lambda: worker.push_many(70))


@pytest.mark.slow
def test_ten_thousand_versions_leave_the_kept_ones(lab: Lab) -> None:
    worker = Worker(lab, "new class")
    worker.stock(10_050)
    worker.push_many(50)
    assert_leaves_nothing(lambda: worker.push_many(10_000), 200)


def _source_texts(name: str) -> list[str]:
    return [file for file in linecache.cache if f"<scatter {name} " in file]


@every_shape
def test_source_is_kept_for_the_loaded_versions_alone(lab: Lab, shape: str) -> None:
    worker = Worker(lab, shape)
    worker.push_many(KEPT + 5)
    gc.collect()
    assert len(_source_texts(worker.name)) == KEPT


@every_shape
def test_a_module_gets_no_name_of_a_version(lab: Lab, shape: str) -> None:
    worker = Worker(lab, shape)
    module = worker.program.module
    before = set(vars(module)), set(vars(worker.function))
    members = set(vars(module.M)) if worker.qualname == "M.f" else set()
    worker.push_many(20)
    state = {"kept"} if shape == "state" else set()
    assert set(vars(module)) == before[0] | state
    assert set(vars(worker.function)) - before[1] <= {"__wrapped__", "calls"}
    if members:
        assert set(vars(module.M)) == members


def test_versions_that_are_refused_leave_nothing(lab: Lab) -> None:
    program = lab.module(HEAD + DEPLOYED)
    stock = []
    for number in range(1, 71):
        text = f"{HEAD}class Box: pass\nkept_{number % 5} = {{}}\ndef help(): return Box\n"
        text += f"@scatter.track\ndef f(x=[].pop()): return kept_{number % 5}, help(), {number}\n"
        stock.append(wanted_from(build(program.source(text), "f"), number))

    def refuse(some: list[Wanted]) -> None:
        for wanted in some:
            assert apply.prepare(REGISTRY, [wanted]).refusals

    names = set(vars(program.module))
    refuse(stock)
    assert_leaves_nothing(lambda: refuse(stock))
    assert set(vars(program.module)) == names


@every_shape
def test_versions_that_are_prepared_and_never_run_leave_nothing(lab: Lab, shape: str) -> None:
    worker = Worker(lab, shape)
    worker.stock(240)
    gone = []

    def prepare(count: int) -> None:
        for _ in range(count):
            target = worker.prepare()[1].linked[worker.name].target
        gone.append(weakref.ref(target))

    prepare(20)
    assert_leaves_nothing(lambda: prepare(70))
    assert not any(reference() for reference in gone)


@pytest.mark.parametrize("shape", ["direct", "private helper", "new class"])
def test_going_back_to_dropped_versions_again_and_again_leaves_nothing(
    lab: Lab, shape: str
) -> None:
    text = HEAD + SHAPES[shape]
    program = lab.module(HEAD + DEPLOYED)
    numbers = range(1, 2 * KEPT + 1)
    for number in numbers:
        program.push(text.replace("{n}", str(number)).replace("{m}", "1"), "f")

    def tour(count: int) -> None:
        for number in list(numbers) * count:
            program.go(f=number)
            assert program.f() == number

    tour(5)
    assert_leaves_nothing(lambda: tour(12))


# what goes, and when --------------------------------------------------------------------------


@every_shape
def test_a_version_goes_when_enough_newer_ones_came(lab: Lab, shape: str) -> None:
    worker = Worker(lab, shape)
    targets, codes = [], []
    for _ in range(2 * KEPT):
        target = worker.push().target
        targets.append(weakref.ref(target))
        codes.append(weakref.ref(target.__code__))
        del target
    gc.collect()
    for references in (targets, codes):
        alive = [bool(reference()) for reference in references]
        assert alive == [False] * KEPT + [True] * KEPT


@pytest.mark.parametrize(
    "shape", ["private helper", "helpers in a circle", "classes and helpers in a circle", "cache"]
)
def test_the_helpers_of_a_version_go_with_it(lab: Lab, shape: str) -> None:
    worker = Worker(lab, shape)
    linked = worker.push()
    inside = [weakref.ref(cell.cell_contents) for cell in linked.target.__closure__ or ()]
    assert inside
    del linked
    gc.collect()
    assert all(reference() for reference in inside), "it runs"
    worker.push_many(KEPT)
    gc.collect()
    assert not any(reference() for reference in inside)


CLASSES = f"""{HEAD}
class Box:
    number = {{n}}
    def __init__(self, inner=None): self.inner = inner
    def get(self): return self.number
@scatter.track
def f(x=0): return Box
"""


def test_a_class_without_instances_goes_with_the_last_version_that_uses_it(lab: Lab) -> None:
    program = lab.module(HEAD + DEPLOYED)
    classes = []
    for number in range(1, 2 * KEPT + 1):
        program.push(CLASSES.replace("{n}", str(number)), "f")
        classes.append(weakref.ref(program.f()))
    gc.collect()
    assert [bool(reference()) for reference in classes] == [False] * KEPT + [True] * KEPT


def test_a_class_stays_as_long_as_an_instance_does(lab: Lab) -> None:
    program = lab.module(HEAD + DEPLOYED)
    program.push(CLASSES.replace("{n}", "1"), "f")
    kept, box = program.f()(), weakref.ref(program.f())
    for number in range(2, 2 * KEPT + 2):
        program.push(CLASSES.replace("{n}", str(number)), "f")
    gc.collect()
    assert box() is type(kept)
    assert kept.get() == 1
    program.push(CLASSES.replace("{n}", "1").replace("return Box", "return Box, 'again'"), "f")
    assert program.f()[0] is type(kept), "as long as it lives it is that class"
    del kept
    for number in range(2, 2 * KEPT + 2):
        program.push(CLASSES.replace("{n}", str(number)), "f")
    gc.collect()
    assert box() is None


SUSPENDED = {
    "generator": ("def f(x=0):\n    yield {n}\n    yield {name}", "{name}"),
    "coroutine": ("async def f(x=0):\n    await pause()\n    return {name}", "{name}"),
    "async generator": ("async def f(x=0):\n    yield {n}\n    yield {name}", "{name}"),
}


class _Pause:
    def __await__(self) -> Iterator[None]:
        yield


def _start(kind: str, function: Any) -> tuple[Any, Callable[[], Any]]:
    """Begin a call that then is suspended; return it, and how to end it."""
    running = function()
    if kind == "generator":
        next(running)
        return running, lambda: next(running)
    if kind == "coroutine":
        running.send(None)
        return running, lambda: _finish(running)
    _finish(anext(running))
    return running, lambda: _finish(anext(running))


def _code_of(running: Any) -> Any:
    return next(
        getattr(running, n) for n in ("gi_code", "cr_code", "ag_code") if hasattr(running, n)
    )


def _finish(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


@pytest.mark.parametrize("kind", SUSPENDED)
@pytest.mark.parametrize("helper", [False, True], ids=["direct", "private helper"])
def test_what_a_suspended_call_runs_stays_until_that_ends(
    lab: Lab, kind: str, helper: bool
) -> None:
    def text(number: int) -> str:
        body = SUSPENDED[kind][0].replace("{name}", "help()" if helper and number else "{n}")
        text = f"{HEAD}pause = None\ndef help(): return {number}\n@scatter.track\n{body}\n"
        return text.replace("{n}", str(number))

    program = lab.module(text(0))
    vars(program.module)["pause"] = _Pause
    program.push(text(1), "f")
    running, end = _start(kind, program.f)
    code = weakref.ref(_code_of(running))
    for number in range(2, 2 * KEPT):
        program.push(text(number), "f")
    gc.collect()
    assert 1 not in program.slot("f").loaded
    assert code() is not None
    assert end() == 1
    if kind != "coroutine":
        assert code() is not None
    del running, end
    gc.collect()
    assert code() is None


@pytest.mark.parametrize("helper", [False, True], ids=["direct", "private helper"])
def test_what_a_thread_is_inside_of_stays_until_it_returns(lab: Lab, helper: bool) -> None:
    body = "def f(enter, leave):\n    enter()\n    leave.wait()\n    return {name}\n"

    def text(number: int) -> str:
        name = "help()" if helper and number else str(number)
        head = f"{HEAD}def help(): return {number}\n@scatter.track\n"
        return head + body.replace("{name}", name)

    program = lab.module(text(0))
    program.push(text(1), "f")
    inside, leave = threading.Event(), threading.Event()
    codes, results = list[weakref.ref[Any]](), list[int]()

    def enter() -> None:
        codes.append(weakref.ref(sys._getframe(1).f_code))
        inside.set()

    thread = threading.Thread(target=lambda: results.append(program.f(enter, leave)))
    thread.start()
    try:
        assert inside.wait(20)
        for number in range(2, 2 * KEPT):
            program.push(text(number), "f")
        gc.collect()
        assert codes[0]() is not None
    finally:
        leave.set()
        thread.join()
    assert results == [1]
    gc.collect()
    assert codes[0]() is None


def test_a_callback_that_a_version_left_keeps_what_it_needs_and_no_more(lab: Lab) -> None:
    program = lab.module(f"{HEAD}kept = []\n{DEPLOYED}")
    text = (
        f"{HEAD}kept = []\ndef used(): return 'used'\nclass Unused: pass\n@scatter.track\n"
        "def f(x=0):\n    def callback(): return used()\n"
        "    kept.append(callback)\n    return used, Unused\n"
    )
    program.push(text, "f")
    used, unused = map(weakref.ref, program.f())
    for number in range(2 * KEPT):
        program.push(text.replace("Unused\n", f"{number}\n").replace("kept.append", "bool"), "f")
    gc.collect()
    assert unused() is None
    assert [callback() for callback in program.kept] == ["used"]
    program.kept.clear()
    gc.collect()
    assert used() is None


def test_the_deployed_code_stays_for_good(lab: Lab) -> None:
    program = lab.module(HEAD + DEPLOYED)
    code = weakref.ref(program.f.__code__)
    for number in range(2 * KEPT):
        program.push(program.edit("return 0", f"return {number}"), "f")
    gc.collect()
    assert code() is not None
    program.go(f=0)
    assert program.f.__code__ is code()


# a module that goes ---------------------------------------------------------------------------


class Marker:
    """Lies in a module, and goes when the module's names go."""


@pytest.mark.parametrize("shape", ["direct", "changed defaults"])
def test_a_module_that_was_imported_anew_is_freed_with_its_versions(lab: Lab, shape: str) -> None:
    """Not where a version brings helpers: they are constants of code, which no collector sees."""
    text = HEAD + SHAPES[shape]
    name = "imported_anew"
    markers = []
    for number in range(4):
        sys.modules.pop(name, None)
        program = lab.module(text.replace("{n}", "0"), name)
        vars(program.module)["marker"] = Marker()
        markers.append(weakref.ref(program.marker))
        program.push(text.replace("{n}", str(number + 1)), "f")
        assert program.f() == number + 1
        del program
    gc.collect()
    assert [bool(reference()) for reference in markers] == [False] * 3 + [True]


def test_a_function_that_was_defined_anew_goes_with_its_versions(lab: Lab) -> None:
    """As a notebook does all day: run the cell again, after a version of it was pulled."""
    text = HEAD + SHAPES["private helper"]
    program = lab.module(text.replace("{n}", "0"))
    functions = []
    for number in range(4):
        code = compile(program.text, str(program.module.__file__), "exec", dont_inherit=True)
        exec(code, vars(program.module))
        functions.append(weakref.ref(program.f))
        program.push(text.replace("{n}", str(number + 1)), "f")
        assert program.f() == number + 1
    gc.collect()
    assert [bool(reference()) for reference in functions] == [False] * 3 + [True]


# fetched functions ----------------------------------------------------------------------------

FETCHED = {
    "direct": "def f(x=0): return {n}",
    "private helper": "def help(): return {n}\ndef f(x=0): return help()",
    "helper that calls itself": (
        "def help(x): return help(x - 1) if x else {n}\ndef f(x=0): return help(x)"
    ),
    "recursion": "def f(x=3): return {n} if x == 0 else f(x - 1)",
    "changed defaults": "def f(x={n}): return x",
    "new class": "class Box:\n    def get(self): return {n}\ndef f(x=0): return Box().get()",
}


@pytest.fixture
def pushed() -> Iterator[Callable[[str], str]]:
    """Push three versions to a store in memory from source that this process does not import."""
    numbers = itertools.count(1)
    client.init(redis_url=f"memory://{id(numbers)}", namespace="memory")

    def push(text: str) -> str:
        module = f"never_imported_{id(numbers)}_{next(numbers)}"
        for number in (1, 2, 3):
            _release(module, text.replace("{n}", str(number)))
        return f"{module}:f"

    yield push
    client.current().close()
    client.init()


def _release(module: str, text: str) -> None:
    text = HEAD + text.replace("def f(", "@scatter.track\ndef f(")
    from scatter.analysis import ModuleSource
    from scatter.releases import Candidate

    built = build(ModuleSource(text, name=module, file=f"{module}.py"), "f")
    releases = client.current().releases
    state = releases.functions().get(built.bundle.function)
    seen = state.version if state else None
    releases.push([Candidate(bundle=built.bundle, seen=seen, lines=built.lines)])


@pytest.mark.parametrize("shape", FETCHED)
def test_a_version_that_was_asked_for_by_number_goes_when_it_is_dropped(
    pushed: Callable[[str], str], shape: str
) -> None:
    name = pushed(FETCHED[shape])
    pinned = [scatter.get(name, number) for number in (1, 2, 3)]
    assert [function() for function in pinned] == [1, 2, 3]
    gone = [weakref.ref(function) for function in pinned]
    gc.collect()
    assert len(_source_texts(name)) == 3
    del pinned
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3
    assert not _source_texts(name)


@pytest.mark.parametrize("shape", FETCHED)
def test_asking_for_versions_by_number_again_and_again_leaves_nothing(
    pushed: Callable[[str], str], shape: str
) -> None:
    name = pushed(FETCHED[shape])

    def ask(count: int) -> None:
        for number in (1, 2, 3) * count:
            assert scatter.get(name, number)() == number

    ask(5)
    assert_leaves_nothing(lambda: ask(20))


def test_versions_of_a_fetched_function_go_when_newer_ones_came(
    pushed: Callable[[str], str],
) -> None:
    name = pushed(FETCHED["private helper"])
    function = scatter.get(name)
    gone = []
    module = name.partition(":")[0]
    for number in range(4, 4 + 2 * KEPT):
        _release(module, FETCHED["private helper"].replace("{n}", str(number)))
        function.pull()
        assert function() == number
        slot = REGISTRY.get(name)
        assert slot is not None
        gone.append(weakref.ref(slot.running.target))
    gc.collect()
    assert [bool(reference()) for reference in gone] == [False] * KEPT + [True] * KEPT


# recursion ------------------------------------------------------------------------------------

# Every argument is given: CPython 3.13.0 does not count calls that fill in defaults.
DEPTH = f"""{HEAD}
depth = [0]

@scatter.track
def f(n, m=0):
    assert n < 9999, "there is no limit"
    depth[0] = n
    return f(n + 1, m)
"""


def _depth(program: Any, *rest: int) -> int:
    """Return how often `f` was entered when the interpreter had enough."""
    with pytest.raises(RecursionError):
        program.f(0, *rest)
    depth: int = program.depth[0]
    return depth


@pytest.mark.parametrize(
    "edit", [("return f(", "return 0 + f("), ("m=0", "m=1")], ids=["body", "defaults"]
)
def test_recursion_is_as_deep_as_before_where_code_is_direct(
    lab: Lab, edit: tuple[str, str]
) -> None:
    program = lab.module(DEPTH)
    deployed = _depth(program, 0)
    program.push(program.edit(*edit), "f")
    assert _depth(program, 0) == deployed
    program.go(f=0)
    assert _depth(program, 0) == deployed


def test_recursion_of_a_method_is_as_deep_as_before(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}depth = [0]\nclass M:\n    @scatter.track\n    def f(self, n):\n"
        "        depth[0] = n\n        return self.f(n + 1)\n"
    )
    model: Any = types.SimpleNamespace(f=program.M().f, depth=program.depth)
    deployed = _depth(model)
    program.push(program.edit("return self", "return 0 + self"), "M.f")
    assert _depth(model) == deployed


def test_recursion_through_a_private_helper_costs_one_frame_more_a_call(lab: Lab) -> None:
    """What a trampoline costs: half of the depth for a function that only calls itself."""
    program = lab.module(DEPTH)
    deployed = _depth(program, 0)
    edited = program.edit("return f(n + 1, m)", "return f(step(n), m)")
    program.push(edited + "\ndef step(n): return n + 1\n", "f")
    assert deployed // 2 - 5 <= _depth(program, 0) <= deployed
    program.go(f=0)
    assert _depth(program, 0) == deployed


def test_recursion_inside_a_private_helper_is_not_reduced(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}depth = [0]\n@scatter.track\ndef f(n): return down(n)\n"
        "def down(n):\n    depth[0] = n\n    return down(n + 1)\n"
    )
    deployed = _depth(program)
    program.push(program.edit("return down(n + 1)", "return 0 + down(n + 1)"), "f")
    assert deployed - 5 <= _depth(program) <= deployed


def test_a_process_keeps_no_syntax_trees(lab: Lab) -> None:
    """They are a hundred times as large as the text, and the collector walks all of them."""
    filler = "".join(f"def g{n}(x): return x\n" for n in range(300))
    program = lab.module(HEAD + filler + "@scatter.track\ndef f(): return 1\n")
    program.push(program.edit("return 1", "return g1(2)"), "f")
    bases.settle()  # as agents and clients do after each step
    del program._project.texts[program.name]
    gc.collect()
    assert not [o for o in gc.get_objects() if isinstance(o, ast.Module) and len(o.body) > 300]
