"""The switch: one function object everywhere, calls that finish as they began, nothing torn."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any
from unittest import mock

import pytest
from linking import Lab
from support import Edited

import scatter
from scatter import apply
from scatter.apply import Wanted
from scatter.errors import NameTaken, NotTrackable
from scatter.registry import REGISTRY, Registry
from scatter.slot import Linked
from scatter.track import track_function

Edit = Callable[[str], Edited]

ONE = """
import scatter

K = 0

def mark():
    return K

@scatter.track
def f(a=0, *, b=0):
    return 0, a, b, mark()
"""


def test_track_returns_the_very_same_function_with_the_verbs_on_it(edited: Edit) -> None:
    one = edited("def f(x):\n    return x\n")
    plain = one.f
    code = plain.__code__
    assert track_function(plain) is plain
    assert plain.__code__ is code
    for verb in ("push", "pull", "upgrade", "downgrade", "delete", "history", "latest_version"):
        assert callable(getattr(plain, verb))
        assert callable(getattr(plain, f"a{verb}"))
    assert plain.loaded_version == 0
    assert plain.source == "def f(x):\n    return x"


def test_everyone_who_holds_the_function_sees_the_new_version(edited: Edit) -> None:
    one = edited("import scatter\n\n@scatter.track\ndef f(x, y=1):\n    return x + y\n")
    f = one.f
    held = [f, functools.partial(f, y=1), {"route": f}["route"], copy.copy(f), pickle.loads]
    unpickled = pickle.loads(pickle.dumps(f))
    one.edit(("x + y", "x * 100 + y"), ("y=1", "y=2"))
    assert held[0](1) == 102
    assert held[1](1) == 101
    assert held[2](1) == 102
    assert held[3](1) == 102
    assert unpickled is f
    assert str(inspect.signature(f)) == "(x, y=2)"


def test_mock_patch_and_wraps_treat_it_as_the_plain_function(edited: Edit) -> None:
    one = edited("import scatter\n\n@scatter.track\ndef f(x):\n    'Doc.'\n    return x\n")

    @functools.wraps(one.f)
    def wrapper(*args: Any) -> Any:
        return one.f(*args)

    one.edit(("return x", "return x + 1"), ("Doc.", "New doc."))
    assert wrapper(1) == 2
    assert one.f.__doc__ == "New doc."
    with mock.patch.object(one.module, "f", return_value="patched"):
        assert one.f(1) == "patched"
    assert one.f(1) == 2


def test_calls_in_flight_finish_on_the_version_they_began_with(edited: Edit) -> None:
    flight = edited("""
        import scatter

        @scatter.track
        def plain(gate, other):
            gate.set()
            other.wait()
            return "old"

        @scatter.track
        def generate():
            yield "old 1"
            yield "old 2"

        @scatter.track
        async def wait(event):
            await event.wait()
            return "old"
        """)
    gate, other, results = threading.Event(), threading.Event(), list[str]()
    thread = threading.Thread(target=lambda: results.append(flight.plain(gate, other)))
    thread.start()
    gate.wait()
    running = flight.generate()
    next(running)

    async def story() -> tuple[str, str]:
        event = asyncio.Event()
        task = asyncio.create_task(flight.wait(event))
        await asyncio.sleep(0)
        flight.push(flight.text.replace("old", "new"))
        event.set()
        return await task, await flight.wait(event)

    assert asyncio.run(story()) == ("old", "new")
    other.set()
    thread.join()
    assert results == ["old"]
    assert list(running) == ["old 2"]
    assert list(flight.generate()) == ["new 1", "new 2"]
    assert flight.plain(gate, other) == "new"


def test_a_version_that_brings_nothing_private_runs_as_direct_code(edited: Edit) -> None:
    one = edited(ONE)
    prepared = one.edit(("return 0, a", "return 1, a"))
    (linked,) = prepared.linked.values()
    assert one.f.__code__ is linked.target.__code__
    one.edit(("return 0, a", "return 2, a"), ("a=0", "a=7"))
    assert one.f.__code__ is not linked.target.__code__
    assert one.f() == (2, 7, 0, 0)
    assert one.f.__defaults__ == (7,)


def test_recursion_is_as_deep_as_before_where_the_code_is_direct(edited: Edit) -> None:
    deep = edited("import scatter\n\n@scatter.track\ndef f(n):\n    return n and f(n - 1)\n")
    deep.edit(("n and f", "n and 0 + f"))
    frames = len(inspect.stack())
    depth = sys.getrecursionlimit() - frames - 50
    assert deep.f(depth) == 0


def test_what_is_no_function_is_refused_with_advice() -> None:
    with pytest.raises(NotTrackable, match=r"directly above the `def`"):
        scatter.track(functools.lru_cache(lambda: 1))  # type: ignore[arg-type]
    with pytest.raises(NotTrackable, match=r"@scatter\.track\(name=\.\.\.\)"):

        @scatter.track
        def inner() -> None: ...


def test_two_functions_cannot_have_one_name(edited: Edit) -> None:
    one, other = edited("def f():\n    return 1\n"), edited("def f():\n    return 2\n")
    track_function(one.f, name="shared_name")
    with pytest.raises(NameTaken, match=r"already tracked at .*edited_"):
        track_function(other.f, name="shared_name")
    assert REGISTRY.get("shared_name").function is one.f


def test_a_function_that_is_defined_anew_takes_over_its_slot(edited: Edit) -> None:
    one = edited("import scatter\n\n@scatter.track\ndef f():\n    return 1\n")
    first = one.f
    exec(compile(one.text.replace("1", "2"), one.module.__file__, "exec"), vars(one.module))
    slot = REGISTRY.get(one.full("f"))
    assert slot.function is one.f
    assert slot.redefined
    assert (first(), one.f()) == (1, 2)


def test_listeners_hear_of_new_functions_until_they_leave() -> None:
    registry, heard = Registry(), list[str]()

    def listen(slot: Any) -> None:
        heard.append(slot.name)

    registry.on_track(listen)
    registry.add("a", FunctionType(_hurried.__wrapped__.__code__, {}, "a"))
    registry.off_track(listen)
    registry.add("b", FunctionType(_hurried.__wrapped__.__code__, {}, "b"))
    assert heard == ["a"]


def test_old_versions_are_freed(edited: Edit) -> None:
    one = edited(ONE)
    gone = []
    for number in range(10):
        prepared = one.edit(("return K", f"return {number}"))
        (linked,) = prepared.linked.values()
        gone.append(weakref.ref(linked.target))
        del prepared, linked
    gc.collect()
    assert sum(ref() is not None for ref in gone) <= 4


# torn results ------------------------------------------------------------------------------


@contextmanager
def _hurried() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _yielding() -> Iterator[None]:
    """Let other threads run after every opcode, in this thread and in those that begin inside."""

    def trace(frame: Any, event: str, arg: object) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode":
            time.sleep(0)
        return trace

    sys.settrace(trace)
    threading.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)


def _while_switching(
    check: Callable[[], object], switch: Callable[[int], None], switches: int, threads: int = 4
) -> list[object]:
    """Call `check` in threads while switching; return every result that is not None."""
    wrong: list[object] = []
    done = threading.Event()
    started = threading.Barrier(threads + 1)

    def call() -> None:
        started.wait()
        while not done.is_set():
            found = check()
            if found is not None:
                wrong.append(found)

    callers = [threading.Thread(target=call) for _ in range(threads)]
    for caller in callers:
        caller.start()
    started.wait()
    for number in range(switches):
        switch(number)
    done.set()
    for caller in callers:
        caller.join()
    return wrong


def _versions(module: Edited, count: int) -> list[dict[str, Linked]]:
    """Return versions in which code, defaults, keyword defaults and private constant agree."""
    made = []
    for n in range(1, count + 1):
        text = module.edited(
            ("return 0, a", f"return {n}, a"),
            ("a=0, *, b=0", f"a={n}, *, b={n}"),
            ("K = 0", f"K = {n}"),
        )
        made.append(dict(module.prepare(text).linked))
    return made


def _torn(module: Edited) -> Callable[[], object]:
    def check() -> object:
        result = module.f()
        return result if len(set(result)) > 1 else None

    return check


def _careless(module: Edited, linked: Linked) -> None:
    """Switch as one should not: one attribute after the other."""
    target = linked.target
    for name in ("__defaults__", "__kwdefaults__", "__code__"):
        setattr(module.f, name, getattr(target, name))


MODES = pytest.mark.parametrize(
    ("mode", "switches"), [(_hurried, 20_000), (_yielding, 80)], ids=["hurried", "yielding"]
)


@MODES
def test_no_call_sees_half_of_a_switch(edited: Edit, mode: Any, switches: int) -> None:
    one = edited(ONE)
    versions = [{one.full("f"): REGISTRY.get(one.full("f")).shipped}, *_versions(one, 4)]
    with mode():
        wrong = _while_switching(
            _torn(one), lambda n: REGISTRY.switch(versions[n % len(versions)]), switches
        )
    assert wrong == []


def test_the_check_for_torn_calls_finds_them(edited: Edit) -> None:
    one = edited(ONE.replace("b, mark()", "b, 0"))
    targets = []
    for n in (1, 2):
        text = one.edited(
            ("return 0, a, b, 0", f"return {n}, a, b, {n}"), ("a=0, *, b=0", f"a={n}, *, b={n}")
        )
        targets.append(next(iter(one.prepare(text).linked.values())))
    with _yielding():
        wrong = _while_switching(_torn(one), lambda n: _careless(one, targets[n % 2]), 200)
    assert wrong, "the careless switch should have been seen torn"


TWO = """
import scatter

@scatter.track
def first():
    return 0

@scatter.track
def second():
    return 0

@scatter.track
def outer():
    return 0, second()
"""


def _two(module: Edited, count: int) -> list[dict[str, Linked]]:
    """Return releases of three functions, numbered upward."""
    made = []
    for n in range(1, count + 1):
        linked = module.prepare(module.text.replace("return 0", f"return {n}")).linked
        made.append(dict(linked))
    return made


def _backward(module: Edited) -> Callable[[], object]:
    """Find a later call that sees an older version than an earlier one did."""
    first, second, outer = module.first, module.second, module.outer

    def check() -> object:
        one = first()
        two = second()
        three, four = outer()
        return None if one <= two <= three <= four else (one, two, three, four)

    return check


@pytest.mark.parametrize(
    ("mode", "count"), [(_hurried, 1000), (_yielding, 60)], ids=["hurried", "yielding"]
)
def test_functions_of_one_release_are_switched_together(
    edited: Edit, mode: Any, count: int
) -> None:
    two = edited(TWO)
    releases = _two(two, count)
    with mode():
        wrong = _while_switching(
            _backward(two), lambda n: REGISTRY.switch(releases[n]), len(releases)
        )
    assert wrong == []


def test_the_check_for_mixed_releases_finds_them(edited: Edit) -> None:
    two = edited(TWO)
    releases = _two(two, 60)

    def one_by_one(n: int) -> None:
        for name, linked in releases[n].items():  # first, second, outer: the order of the calls
            REGISTRY.switch({name: linked})

    with _yielding():
        wrong = _while_switching(_backward(two), one_by_one, len(releases))
    assert wrong, "switching one by one should have been seen mixed"


def test_many_swaps_leave_no_growth(edited: Edit) -> None:
    one = edited(ONE)
    versions = _versions(one, 2)
    for n in range(500):
        REGISTRY.switch(versions[n % 2])
    gc.collect()
    before = len(gc.get_objects())
    for n in range(10_000):
        REGISTRY.switch(versions[n % 2])
    gc.collect()
    assert len(gc.get_objects()) - before < 100


def test_going_back_to_the_deployed_code_is_a_version_like_any_other(edited: Edit) -> None:
    one = edited(ONE)
    one.edit(("K = 0", "K = 5"), ("a=0", "a=9"))
    assert one.f() == (0, 9, 0, 5)
    from scatter.model import Change

    wanted = Wanted(change=Change(function=one.full("f"), version=0))
    apply.switch(REGISTRY, apply.prepare(REGISTRY, [wanted]))
    assert one.f() == (0, 0, 0, 0)
    assert one.f.loaded_version == 0


def test_dunder_init_can_be_switched_under_a_specialised_call_site(edited: Edit) -> None:
    made = edited("""
        import scatter

        class Point:
            @scatter.track
            def __init__(self, x):
                self.x = x

        def make(n):
            return [Point(i).x for i in range(n)]
        """)
    assert made.make(200) == list(range(200))
    for n in range(1, 30):
        made.edit(("self.x = x", f"self.x = x + {n}"))
        assert made.make(200) == [i + n for i in range(200)]


def test_the_module_that_was_tracked_is_untouched(edited: Edit) -> None:
    one = edited(ONE)
    assert isinstance(one.module, ModuleType)
    names = set(vars(one.module))
    one.edit(("K = 0", "K = 5"))
    assert set(vars(one.module)) == names


def test_variables_that_a_decorator_shares_with_others_go_on_to_change(lab: Lab) -> None:
    counted = (
        "import functools\ndef counted(f):\n    n = 0\n    def bump():\n        nonlocal n\n"
        "        n += 1\n    @functools.wraps(f)\n    def wrapper(*a):\n        bump()\n"
        "        return n, f(*a)\n    return wrapper\n"
    )
    text = f"import scatter\n{counted}\n@scatter.track\n@counted\ndef f(x): return x\n"
    program = lab.module(text)
    program.push(text.replace("return x", "return helper(x)") + "\ndef helper(x): return -x\n", "f")
    assert [program.f(5), program.f(5)] == [(1, -5), (2, -5)]
