"""Generated edits: pushing an edit into a running program equals starting the edited program.

Hypothesis writes small programs of one project and edits of them. Each program runs, an edit of it
is pushed into it through the real path (workspace → build → encode → decode → link → switch), and
then it must do exactly what a fresh process does that imported the edited source, knows nothing of
scatter, and was given the state that the running program had: the same results, exceptions and
state afterwards. A push may be refused only for a reason that is documented for that very edit, and
then the program must go on as before.

    SCATTER_GENERATED_CASES=5000 pytest tests/test_generated_edits.py     # other cases each time

Every program runs in a forked child of one process that has imported what they need: it may crash
the interpreter, and all programs can have the same names.

Left out on purpose, since scatter documents that it goes on with the deployed thing: an edit of
what an untracked part of a class, a decorator above `@track`, or state took up (`pinned`).
"""

from __future__ import annotations

import collections
import copy
import difflib
import functools
import gc
import importlib
import io
import itertools
import os
import pickle
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from linking import Lab, wanted_from

import scatter
from scatter import apply, bases
from scatter.registry import REGISTRY
from scatter.whole import track_matching
from scatter.workspace import Workspace

T = TypeVar("T")

# what happens to a program -----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, repr=False)
class Stage:
    """A program as it stands at one time, and what is done with it then.

    Attributes:
        files: Its files, by path.
        modules: Names of its modules; the first stage's are imported.
        calls: (module, expression): what is called of it.
        state: (module, name) of what is state in it.
        held: The same for what was state when deployed and is an unchanged constant now.
        may: Reasons for which the push may be refused.
        what: What the edit was, for people.
        back: Go back to the deployed code in place of a push.
        whole: The modules are tracked whole; nothing in them says so.

    """

    files: dict[str, str]
    modules: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]
    state: tuple[tuple[str, str], ...]
    may: frozenset[str] = frozenset()
    what: tuple[str, ...] = ()
    back: bool = False
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one stage did.

    Attributes:
        program: Number of the stage whose program ran: an earlier one if the push was refused.
        refusals: (function, reason, message).
        before: The state when the calls began, to be given to another process.
        results: Of the calls.
        after: The state after them, as text.

    """

    program: int
    refusals: tuple[tuple[str, str, str], ...] = ()
    before: bytes = b""
    results: tuple[str, ...] = ()
    after: dict[tuple[str, str], str] = field(default_factory=dict)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    importlib.invalidate_caches()


def run_live(folder: Path, stages: Sequence[Stage]) -> list[Run]:
    """Run a program, and push each of the other stages into it."""
    patterns = [f"{root}.*" for root in ROOTS] if stages[0].whole else []
    track_matching(patterns)
    write(folder, stages[0].files)
    for name in stages[0].modules:
        importlib.import_module(name)
    bases.remember_project()  # as the agent does when it starts
    workspace = Workspace([folder], track=patterns, settle_s=0)
    workspace.load()
    runs = [run_calls(stages, 0, ())]
    pending = set[str]()
    for number, stage in enumerate(stages[1:], start=1):
        program = runs[-1].program
        if stage.back:
            slots = {n: s.shipped for n, s in REGISTRY.slots().items() if not s.fetched}
            REGISTRY.switch(slots)
            runs.append(run_calls(stages, number, ()))
            continue
        write(folder, stage.files)
        changes = workspace.refresh()
        refusals = [("", str(p.kind), str(p)) for p in changes.problems]
        pending = (pending | {c.name for c in changes.changed}) & workspace.functions.keys()
        wanted = [wanted_from(workspace.functions[n], number) for n in sorted(pending)]
        prepared = apply.prepare(REGISTRY, wanted)
        refusals += [(r.function, r.reason, r.message) for r in prepared.refusals]
        if not refusals:
            apply.switch(REGISTRY, prepared)
            pending.clear()
            program = number
        runs.append(run_calls(stages, program, tuple(refusals)))
    return runs


def run_calls(
    stages: Sequence[Stage],
    program: int,
    refusals: tuple[tuple[str, str, str], ...],
) -> Run:
    stage = stages[program]
    return Run(
        program=program,
        refusals=refusals,
        before=dump_state(stage.state),
        results=tuple(outcome(*call) for call in stage.calls),
        after=shown_state(stage.state),
    )


def run_fresh(folder: Path, stage: Stage, before: bytes) -> Run:
    """Import a program in a process that does not know scatter, give it state, and run it."""
    stub = ModuleType("scatter")
    stub.track = lambda function=None, **_: function or (lambda inner: inner)  # type: ignore[attr-defined]
    sys.modules["scatter"] = stub
    write(folder, stage.files)
    for name in stage.modules:
        importlib.import_module(name)
    load_state(before)
    return Run(
        program=0,
        results=tuple(outcome(*call) for call in stage.calls),
        after=shown_state(stage.state),
    )


def outcome(module: str, expression: str) -> str:
    """Return what a call does, as text."""
    try:
        value = eval(expression, vars(sys.modules[module]))
        return re.sub(r" at 0x[0-9a-f]+", "", shown(value))
    except RecursionError:
        return "RecursionError"
    except Exception as error:
        return f"{type(error).__qualname__}: {error}"


def shown(value: Any) -> str:
    """Return a value as text, equal for equal values of two processes."""
    kind = type(value)
    if isinstance(value, dict):
        return f"{kind.__name__}{{{', '.join(f'{k!r}: {shown(v)}' for k, v in value.items())}}}"
    if isinstance(value, (list, tuple, collections.deque)):
        return f"{kind.__name__}[{', '.join(map(shown, value))}]"
    if isinstance(value, (set, frozenset)):
        return f"{kind.__name__}({sorted(map(shown, value))})"
    if isinstance(value, functools.partial):
        return f"partial({shown((value.func, value.args, value.keywords))})"
    if hasattr(value, "__qualname__"):
        return f"<{value.__qualname__}>"
    if hasattr(value, "__dict__") and getattr(kind, "__repr__", None) is object.__repr__:
        return f"{kind.__qualname__}({shown(vars(value))})"
    return repr(value)


# state from one process to another ---------------------------------------------------------


class _Dumper(pickle.Pickler):
    """Pickles one value of state; other state in it stays a reference."""

    def __init__(self, stream: io.BytesIO, root: object, places: dict[int, tuple[str, str]]):
        super().__init__(stream)
        self._root = root
        self._places = places

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        return None if obj is self._root else self._places.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if isinstance(obj, FunctionType) and obj.__module__.partition(".")[0] in ROOTS:
            return thing_at, (obj.__module__, name_of(obj))
        if is_plain_instance(obj):
            return make_instance, (kind.__module__, kind.__qualname__, vars(obj))
        return NotImplemented


def name_of(function: FunctionType) -> str:
    """Return the name under which a module has a function; a lambda does not know it."""
    found = vars(sys.modules[function.__module__]).items()
    return next(name for name, value in found if value is function)


def thing_at(module: str, qualname: str) -> Any:
    return functools.reduce(getattr, qualname.split("."), sys.modules[module])


def is_plain_instance(value: object) -> bool:
    kind = type(value)
    own = kind.__module__.partition(".")[0] in ROOTS
    return own and kind.__reduce_ex__ is object.__reduce_ex__ and hasattr(value, "__dict__")


def make_instance(module: str, qualname: str, values: dict[str, Any]) -> object:
    made: Any = object.__new__(thing_at(module, qualname))
    vars(made).update(values)
    return made


class _Loader(pickle.Unpickler):
    def persistent_load(self, pid: tuple[str, str]) -> Any:
        return getattr(sys.modules[pid[0]], pid[1])


def state_there(names: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, Any]]:
    for module, name in names:
        if module in sys.modules and name in vars(sys.modules[module]):
            yield module, name, vars(sys.modules[module])[name]


def dump_state(names: Iterable[tuple[str, str]]) -> bytes:
    found = list(state_there(names))
    places = {id(v): (m, n) for m, n, v in reversed(found) if can_fill(v)}
    dumped = []
    for module, name, value in found:
        stream = io.BytesIO()
        _Dumper(stream, value, places).dump(value)
        dumped.append((module, name, stream.getvalue()))
    return pickle.dumps(dumped)


def can_fill(value: object) -> bool:
    return isinstance(value, (dict, list, set, collections.deque)) or is_plain_instance(value)


def load_state(data: bytes) -> None:
    """Give the modules of this process state: objects that are there are filled, not replaced."""
    for module, name, one in pickle.loads(data) if data else ():
        value = _Loader(io.BytesIO(one)).load()
        there: Any = vars(sys.modules[module]).get(name)
        is_same = type(there) is type(value) and can_fill(value)
        if not is_same or getattr(there, "maxlen", None) != getattr(value, "maxlen", None):
            setattr(sys.modules[module], name, value)
        elif isinstance(there, (list, collections.deque)):
            there.clear()
            there.extend(value)
        elif isinstance(there, (dict, set)):
            there.clear()
            there.update(value)
        else:
            vars(there).clear()
            vars(there).update(vars(value))


def shown_state(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    return {(module, name): shown(value) for module, name, value in state_there(names)}


# the process that runs them ------------------------------------------------------------------

ROOTS = ("app", "extra", "low", "mid", "shop")


def serve() -> None:
    """Answer requests from standard input until it ends, each in a child of its own."""
    sys.dont_write_bytecode = True
    gc.freeze()  # what is here is shared with the children
    while len(size := sys.stdin.buffer.read(4)) == 4:
        request = sys.stdin.buffer.read(*struct.unpack("!I", size))
        answer = in_child(request)
        sys.stdout.buffer.write(struct.pack("!I", len(answer)) + answer)
        sys.stdout.buffer.flush()


def in_child(request: bytes) -> bytes:
    folder = tempfile.mkdtemp(prefix="scatter-gen-")
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer_in_child(request, folder, write_end)
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        answer = pipe.read()
    status = os.waitpid(child, 0)[1]
    shutil.rmtree(folder, ignore_errors=True)
    return answer or pickle.dumps(("died", f"exit status {status}"))


def answer_in_child(request: bytes, folder: str, pipe: int) -> None:
    signal.alarm(30)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    sys.path.insert(0, folder)
    kind, *arguments = pickle.loads(request)
    try:
        run = run_live if kind == "live" else run_fresh
        answer: object = ("ok", run(Path(folder), *arguments))
    except BaseException:
        answer = ("error", traceback.format_exc())
    with open(pipe, "wb") as stream:
        stream.write(pickle.dumps(answer))


class Runner:
    """Talks to the process that runs programs."""

    def __init__(self) -> None:
        self.told = collections.Counter[str]()
        tests = Path(__file__).parent
        path = os.pathsep.join(filter(None, [str(tests), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", "import test_generated_edits as t; t.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout

    def live(self, stages: Sequence[Stage]) -> Any:
        return self._ask("live", stages)

    def fresh(self, stage: Stage, before: bytes) -> Any:
        return self._ask("fresh", stage, before)

    def _ask(self, *request: object) -> Any:
        data = pickle.dumps(request)
        self._questions.write(struct.pack("!I", len(data)) + data)
        self._questions.flush()
        (size,) = struct.unpack("!I", self._answers.read(4))
        return pickle.loads(self._answers.read(size))

    def close(self) -> None:
        self._questions.close()
        self._answers.close()
        self._process.wait(20)


# programs ------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Thing:
    """Something that a module defines.

    Attributes:
        name: Its name; no two things of a program have the same.
        kind: What scatter's documents call it: function, class, constant, state, import, code.
        rank: Code uses things of a smaller rank only, so that calls come to an end.
        forms: How to get a number from it: `{f}` is the thing, `{a}` and `{b}` are numbers.
        cost: About how many calls using it makes.
        pure: Whether using it neither reads nor changes state.

    """

    name: str
    kind: str
    rank: float = 0
    forms: tuple[str, ...] = ()
    cost: int = 1
    pure: bool = True

    def text(self) -> str:
        raise NotImplementedError

    def early(self) -> str:
        """Return the part of the text that is evaluated where it stands."""
        return self.text()


@dataclass(kw_only=True)
class Line(Thing):
    """A constant, state, or a line of code.

    Attributes:
        line: Its text.
        steps: Statements that change it: `{f}` and `{a}` as in forms.
        declared: Whether those need a `global` declaration.

    """

    line: str
    steps: tuple[str, ...] = ()
    declared: bool = False
    carried: bool = True

    def text(self) -> str:
        return self.line

    def is_rebound(self) -> bool:
        """Return whether its name is bound again: importing it by name takes a snapshot."""
        return self.declared or (self.kind == "state" and (not self.steps or "deque" in self.line))


@dataclass(kw_only=True)
class Function(Thing):
    """A function or method.

    Attributes:
        flavour: plain, generator, async, asyncgen, lambda, context.
        tracked: Whether it is tracked.
        marked: Whether `@scatter.track` is there to say so.
        outer, inner: Decorators above and below it.
        first: `self`, `cls` or nothing.
        params: Its other parameters.
        variables: Expressions that its body can use.
        declared: Names declared `global`.
        steps: Statements, the result, then what is made of the result by the flavour.
        notes: Comment lines in front of the steps.
        guard: Whether it stands in an `if` or a `try`.

    """

    flavour: str = "plain"
    tracked: bool = False
    marked: bool = True
    outer: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    first: str = ""
    params: tuple[str, ...] = ("x",)
    variables: tuple[str, ...] = ("x",)
    declared: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    result: str = "x"
    notes: tuple[str, ...] = ()
    guard: str = ""
    fixed: bool = False
    given: str = ""
    doc: str = ""

    @property
    def is_simple(self) -> bool:
        """Return whether a method is called with one argument and gives a number."""
        return self.first == "self" and self.forms[:1] == (f"{{f}}(3).{self.name}({{a}})",)

    def head(self) -> str:
        track = f"scatter.track(name='{self.given}')" if self.given else "scatter.track"
        marks = [*self.outer, *([track] if self.tracked and self.marked else []), *self.inner]
        return "".join(f"@{mark}\n" for mark in marks)

    def early(self) -> str:
        return self.head() + ", ".join(self.params)

    def text(self) -> str:
        params = ", ".join(filter(None, (self.first, *self.params)))
        if self.flavour == "lambda":
            return f"{self.name} = lambda {params}: {self.result}"
        is_async = "async " if self.flavour in ("async", "asyncgen") else ""
        lines = [repr(self.doc)] if self.doc else []
        lines += [f"# {note}" for note in self.notes]
        lines += [f"global {name}" for name in dict.fromkeys(self.declared)]
        lines += [line for step in self.steps for line in step.split("\n")]
        if self.flavour in ("generator", "asyncgen", "context"):
            lines += [f"yield {self.result}"]
            lines += ["yield 1"] if self.flavour != "context" else []
        elif self.flavour == "init":
            lines += [f"self.n = n + {self.result}"]
        else:
            lines += [f"return {self.result}"]
        body = "\n".join(f"    {line}" if line else "" for line in lines)
        return guarded(f"{self.head()}{is_async}def {self.name}({params}):\n{body}", self.guard)


@dataclass(kw_only=True)
class Class(Thing):
    """A class.

    Attributes:
        head: Its first line, with decorators.
        lines: Other lines of its body.
        methods: Its methods; their forms use an instance.
        flavour: plain, dataclass, enum, tuple, error.

    """

    head: str
    lines: tuple[str, ...] = ()
    methods: list[Function] = field(default_factory=list)
    flavour: str = "plain"

    def text(self) -> str:
        parts = [*self.lines, *(m.text() for m in self.methods)] or ["pass"]
        body = "\n".join(parts).split("\n")
        return self.head + "\n" + "\n".join(f"    {line}" if line else "" for line in body)

    def early(self) -> str:
        return "\n".join([self.head, *self.lines, *(m.early() for m in self.methods)])

    def held(self) -> str:
        """Return the parts that no version replaces."""
        parts = [m.head() if m.tracked else m.text() for m in self.methods]
        return "\n".join([self.head, *self.lines, *parts])


STANDARD = "import collections, contextlib, dataclasses, decimal, enum, functools, re, sys, typing"


def guarded(text: str, guard: str) -> str:
    inside = "\n".join(f"    {line}" if line else "" for line in text.split("\n"))
    if guard == "if":
        return f"if sys.version_info > (3, 8):\n{inside}"
    if guard == "try":
        return f"try:\n{inside}\nexcept ImportError:\n    raise"
    return text


@dataclass(kw_only=True)
class Module:
    """A module: its imports, then what it defines, in order."""

    name: str
    imports: list[str] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    layout: str = ""
    future: bool = False

    def text(self) -> str:
        head = ["from __future__ import annotations"] if self.future else []
        head += [STANDARD, "import scatter", *self.imports]
        gap = "\n\n" if not self.layout else f"\n{self.layout}\n"
        return gap.join(["\n".join(head), *(thing.text() for thing in self.things)]) + "\n"


@dataclass(kw_only=True)
class Program:
    """Modules, of which each imports from those before it."""

    modules: list[Module]
    package: bool = False
    whole: bool = False
    numbers: int = 0

    def things(self) -> Iterator[tuple[Module, Thing]]:
        for module in self.modules:
            for thing in module.things:
                yield module, thing

    def functions(self) -> Iterator[tuple[Module, Function]]:
        """Yield all functions and methods."""
        for module, thing in self.things():
            if isinstance(thing, Function):
                yield module, thing
            elif isinstance(thing, Class):
                yield from ((module, method) for method in thing.methods)

    def find(self, name: str) -> Thing | None:
        return next((thing for _, thing in self.things() if thing.name == name), None)

    def files(self) -> dict[str, str]:
        files = {"shop/__init__.py": "", "shop/parts/__init__.py": ""} if self.package else {}
        for module in self.modules:
            files[module.name.replace(".", "/") + ".py"] = module.text()
        return files

    def is_state(self, module: Module, thing: Thing) -> bool:
        """Return whether scatter's documents call a thing state: some function changes it."""
        if thing.kind == "state" or not isinstance(thing, Line):
            return thing.kind == "state"
        if thing.kind != "constant":
            return False
        others = "\n".join(other.text() for other in module.things if other is not thing)
        if re.search(rf"global {thing.name}\b", others):
            return True
        uses = names_in(thing.text()) - {thing.name}
        return any(self.is_state(module, t) for t in module.things if t.name in uses)

    def state(self) -> set[tuple[str, str]]:
        return {
            (module.name, thing.name)
            for module, thing in self.things()
            if isinstance(thing, Line) and thing.carried and self.is_state(module, thing)
        }

    def constants(self) -> dict[tuple[str, str], str]:
        return {
            (module.name, thing.name): thing.text()
            for module, thing in self.things()
            if thing.kind == "constant" and not self.is_state(module, thing)
        }

    def value_text(self, thing: Thing) -> str:
        """Return the text that gives a constant its value, with that of all it uses."""
        names = sorted(self._reached({thing.name}, through_tracked=True))
        return "\n".join(found.text() for name in names if (found := self.find(name)))

    def pinned(self) -> set[str]:
        """Return the things that state, classes and decorators took up when they were made."""
        todo = set[str]()
        for _, thing in self.things():
            if isinstance(thing, Class):
                todo |= names_in(thing.held())
            elif isinstance(thing, Line) and thing.kind == "state":
                todo |= {n for n in names_in(thing.text()) if self._is_code(n)}
            elif isinstance(thing, Line) and thing.kind == "code":
                todo |= names_in(thing.text())
        for _, function in self.functions():
            marks = (*function.outer, *(function.inner if self.whole else ()))
            todo |= {n for mark in marks for n in names_in(mark)}
        return self._reached(todo, through_tracked=False)

    def frozen(self) -> set[str]:
        """Return what a tracked function that is called by a default or class body needs.

        What was made of its result stays: a tracked function is no part of a version that uses it.
        """
        reached = self._reached(self._early_names(), through_tracked=False)
        tracked = {n for n in reached if getattr(self.find(n), "tracked", False)}
        tracked |= {
            n for n in reached if any(m.tracked for m in getattr(self.find(n), "methods", ()))
        }
        return self._reached(tracked, through_tracked=True)

    def used_early(self) -> set[str]:
        """Return what runs when a module is imported: it must not depend on state."""
        return self._reached(self._early_names(), through_tracked=True)

    def _early_names(self) -> set[str]:
        early = [" ".join(f.params) for _, f in self.functions()]
        early += ["\n".join(t.lines) for _, t in self.things() if isinstance(t, Class)]
        # and what a cache goes on to have, whatever becomes of the function inside
        early += [f.name for _, f in self.functions() if "lru_cache" in "".join(f.inner)]
        return names_in("\n".join(early))

    def reached(self) -> set[str]:
        """Return what tracked functions use, directly or not."""
        texts = [f.text() for _, f in self.functions() if f.tracked]
        return self._reached(names_in("\n".join(texts)), through_tracked=True)

    def _reached(self, todo: set[str], *, through_tracked: bool) -> set[str]:
        found = set[str]()
        while todo:
            name = todo.pop()
            thing = self.find(name)
            if name in found or thing is None:
                continue
            found.add(name)
            if through_tracked or not getattr(thing, "tracked", False):
                todo |= names_in(thing.text())
        return found

    def _is_code(self, name: str) -> bool:
        return isinstance(self.find(name), (Function, Class))

    def tracked(self) -> set[str]:
        """Return the qualnames of what is tracked."""
        return {
            f"{thing.name}.{f.name}" if isinstance(thing, Class) else f.name
            for _, thing in self.things()
            for f in (thing.methods if isinstance(thing, Class) else [thing])
            if isinstance(f, Function) and f.tracked
        }

    def calls(self, tracked: set[str]) -> tuple[tuple[str, str], ...]:
        """Return calls of the functions and methods that are tracked and were when deployed."""
        calls = []
        for module, thing in self.things():
            if isinstance(thing, Function) and thing.tracked and thing.name in tracked:
                if not thing.outer and not (self.whole and thing.inner):
                    calls.append((module.name, FACE.format(f=thing.name)))
                for number in (1, 4):
                    form = thing.forms[number % len(thing.forms)]
                    calls.append((module.name, form.format(f=thing.name, a=number, b=3)))
            elif isinstance(thing, Class):
                calls += [
                    (module.name, form.format(f=thing.name, a=2, b=5))
                    for method in thing.methods
                    if method.tracked and f"{thing.name}.{method.name}" in tracked
                    for form in method.forms[:2]
                ]
        return tuple(calls)


FACE = "[{f}.__name__, {f}.__qualname__, {f}.__doc__, str(__import__('inspect').signature({f}))]"


def names_in(text: str) -> set[str]:
    """Return the names in a text; `fun3_` is how an import calls `fun3`."""
    found = set(re.findall(r"[A-Za-z_]\w*", text))
    return found | {name.removesuffix("_") for name in found}


# writing programs ----------------------------------------------------------------------------


class Choices:
    """What hypothesis decides, in the words of a writer of programs.

    It decides bytes, since a draw for each of some thousand choices takes longer than running the
    program. Where they end, the first of all options is chosen.
    """

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def number(self, low: int, high: int) -> int:
        return low + next(self._bytes, 0) % (high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.number(0, 99) >= 100 - percent


@dataclass(kw_only=True)
class Place:
    """Where an expression stands.

    Attributes:
        module: The module.
        rank: Things of a smaller rank can be used.
        variables: Expressions at hand.
        budget: How many calls it may still make.
        factor: How often a call that stands there is made.
        is_async: Whether `await` is allowed.
        early: Evaluated where it stands: only pure things can be used.
        inside: Whether it is inside a function, which may import for itself.
        declared: `global` declarations that steps need.
        first: Imports that must stand before them.
        pure: Whether no state was used so far.

    """

    module: Module
    rank: float
    variables: list[str]
    budget: int = 60
    factor: int = 1
    is_async: bool = False
    early: bool = False
    inside: bool = False
    declared: list[str] = field(default_factory=list)
    first: list[str] = field(default_factory=list)
    pure: bool = True


SIGNATURES: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (("x",), ("x",), ("{f}({a})", "{f}(x={a})", "{f}(*[{a}])")),
    (("x", "y={d}"), ("x", "y"), ("{f}({a})", "{f}({a}, {b})", "{f}(y={b}, x={a})")),
    (("x", "/"), ("x",), ("{f}({a})",)),
    (("x", "*", "k={d}"), ("x", "k"), ("{f}({a})", "{f}({a}, k={b})")),
    (("x", "/", "y={d}", "*", "k={d}"), ("x", "y", "k"), ("{f}({a})", "{f}({a}, {b}, k={a})")),
    (
        ("x", "*rest", "k={d}", "**named"),
        ("x", "k", "len(rest)", "sum(named.values())"),
        ("{f}({a})", "{f}({a}, {b}, k={b}, z=1)"),
    ),
    (("x", "y"), ("x", "y"), ("{f}({a}, {b})", "{f}({a}, y={b})")),
    (("x: int", "y: int | None = {d}"), ("x", "y"), ("{f}({a})", "{f}({a}, {b})")),
)
LAMBDA_SIGNATURES = SIGNATURES[:7]
FLAVOURS = {
    "plain": "{}",
    "lambda": "{}",
    "generator": "sum({})",
    "async": "drive({})",
    "asyncgen": "sum(drive(collect({})))",
    "context": "enter({})",
}
DRIVE = """\
def drive(co):
    try:
        co.send(None)
    except StopIteration as stop:
        return stop.value"""
COLLECT = """\
async def collect(items):
    return [item async for item in items]"""
ENTER = """\
def enter(manager):
    with manager as value:
        return value"""


STATEMENTS = (
    "{v} = {e}",
    "{v} = 0\nfor n in range(2):\n    {v} += {e} + n",
    "{v} = 1\ndef inner(z={e}):\n    nonlocal {v}\n    {v} += z\n    return {v}\n"
    "{v} = inner() + inner({other})",
    "try:\n    {v} = 10 // ({e} % 3)\nexcept ZeroDivisionError:\n    {v} = 4",
    "try:\n    {v} = {e}\nexcept {error_kind} as error:\n    {v} = len(error.args)",
    "if {e} % 7 == 3:\n    raise {error}\n{v} = 5",
    "match {e} % 3:\n    case 0:\n        {v} = {other}\n    case _:\n        {v} = 2",
    "class Local:\n    size = {e}\n    def get(self): return self.size\n"
    "{v} = Local().get() + len(Local.__qualname__)",
    "import math\n{v} = math.gcd({e}, 6)",
    "from math import gcd as g\n{v} = g({e}, 4)",
    "import os.path as p\n{v} = len(p.join('a', str({e})))",
    "with contextlib.nullcontext({e}) as {v}:\n    pass",
)
"""Statements: `{v}` is the variable they bind, `{e}` and `{other}` are expressions."""


CONSTANTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("{f} = {of} + {n}", ("{f}",)),
    ("{f} = {n}", ("{f}",)),
    ("{f}: int = {of}", ("{f}",)),
    ("{f} = ({of}, {n})", ("{f}[0]", "sum({f})", "{f}[{a} % 2]")),
    ("{f} = 'a' * {of} + '{n}'", ("len({f})", "sum({f}.encode())")),
    ('{f} = f"{{{of}}}-{n}"', ("len({f})", "sum({f}.encode())")),
    ("{f} = {of} > 3 and {n} or -1", ("{f}",)),
    ("{f} = frozenset({{{of}, {n}}})", ("len({f})", "max({f})")),
    ("{f} = 1 if {of} % 2 else {n}", ("{f}",)),
    ("{f}, {f}_b = {of}, {n}", ("{f}",)),
    ("{f} = {f}_b = {of}", ("{f}",)),
    ("{f} = re.compile('a' * {of})", ("len({f}.pattern)",)),
    ("{f} = decimal.Decimal('0.5') * {of}", ("int({f} * 2)",)),
)
TABLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("{f} = {{'a': {of}, 'b': ({n}, 2)}}", ("{f}['a']", "len({f})", "{f}['b'][0]")),
    ("{f} = [{of}, {n}, *(1, 2)]", ("{f}[{a} % 3]", "sum({f})")),
    ("{f} = {{'a': [{of}], **{{'c': [{n}]}}}}", ("{f}['a'][0]", "{f}['c'][0]")),
)
"""Constants, and those whose name must be upper-case: definition, and forms. `{f}` is the name,
`{n}` a digit, and `{of}` a number, maybe another constant."""

CREATABLE: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("{f} = {{}}", ("{f}.get({a} % 3, 7)", "len({f})"), ("{f}[{a} % 3] = {a}",)),
    ("{f} = []", ("len({f})", "sum({f}[-2:])"), ("{f}.append({a} % 50)", "{f}[:] = [1]")),
    ("{f} = set()", ("len({f})", "({a} in {f})"), ("{f}.add({a} % 9)",)),
    ("{f} = list((5,))", ("len({f})",), ("{f}.append({a} % 50)",)),
    ("{f} = dict(a=1)", ("{f}['a']",), ("{f}['a'] = {a}", "{f}.update(b={a})")),
)
STATE: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("{f} = {{'n': 1}}", ("{f}['n']",), ("{f}['n'] += {a} % 5",)),
    ("{f} = [1, 2]", ("{f}[0]",), ("{f}[0] = {a}", "{f}.insert(0, {a} % 9)")),
    ("{f} = collections.deque([0], maxlen=3)", ("{f}[0]",), ("{f}.append({a} % 9)",)),
    ("{f} = collections.Counter()", ("{f}[{a} % 3]",), ("{f}[{a} % 3] += 1",)),
    ("{f} = collections.defaultdict(int)", ("{f}[2]",), ("{f}[{a} % 3] += 1",)),
    ("{f} = None", ("({f} or 3)",), ("{f} = {a} % 7",)),
    ("{f} = 0", ("{f}",), ("{f} += {a} % 7", "{f} = {a} % 5")),
    ("# {f} is set by functions", ("{f}",), ("{f} = {a} % 7",)),
    ("{f} = 1\n{f} += 2", ("{f}",), ()),
    ("if sys.version_info > (3, 8):\n    {f} = 3\nelse:\n    {f} = 4", ("{f}",), ()),
    ("for {f} in range(3):\n    pass", ("{f}",), ()),
)
"""State that a process makes if it lacks it, and other state: definition, forms, and statements
that change it."""

HELD: tuple[tuple[str, str], ...] = (
    ("{f} = {{'a': {of}}}", "{f}['a']"),
    ("{f} = [None, {of}]", "{f}[1]"),
    ("{f} = {of}", "{f}"),
    ("{f} = functools.partial({of})", "{f}"),
)
"""State that holds a function: definition, and how to get at the function."""


class Writer:
    """Writes programs and edits of them."""

    def __init__(self, choices: Choices, program: Program) -> None:
        self.choose = choices
        self.program = program

    def name(self, prefix: str) -> str:
        self.program.numbers += 1
        return f"{prefix}{self.program.numbers}"

    def rank(self) -> float:
        self.program.numbers += 1
        return self.program.numbers

    # expressions

    def ref(self, place: Place, module: Module, thing: Thing) -> str:
        """Return how code in one module names a thing of its own or of another."""
        if module is place.module:
            return thing.name
        return self.imported(place, module, thing)

    def imported(self, place: Place, module: Module, thing: Thing) -> str:
        """Import a thing in one of all ways, and return how it is called then."""
        last = module.name.rpartition(".")[2]
        here = place.module.name.rpartition(".")[0]
        name = thing.name
        styles = ["from", "module", "module as", "from as", "star"]
        if self.program.package:
            styles += ["relative", "relative module"]
        if place.inside:
            styles += ["inside"]
        if isinstance(thing, Line) and thing.is_rebound():
            styles = ["module", "module as"]
        style = self.choose.pick(styles)
        alias = {"module as": f"{last}_", "from as": f"{name}_"}.get(style, "")
        parent = module.name.rpartition(".")[0]
        dots = relative(here, parent)
        inner = f"{dots}{last}" if dots[-1] == "." else f"{dots}.{last}"
        line, spelled = {
            "from": (f"from {module.name} import {name}", name),
            "module": (f"import {module.name}", f"{module.name}.{name}"),
            "module as": (f"import {module.name} as {alias}", f"{alias}.{name}"),
            "from as": (f"from {module.name} import {name} as {alias}", alias),
            "star": (f"from {module.name} import *", name),
            "relative": (f"from {inner} import {name}", name),
            "relative module": (f"from {dots} import {last}", f"{last}.{name}"),
            "inside": (f"from {module.name} import {name}", name),
        }[style]
        if style == "inside":
            place.first.append(line)
        elif line not in place.module.imports:
            place.module.imports.append(line)
        return spelled

    def usable(self, place: Place) -> list[tuple[Module, Thing]]:
        """Return what an expression can use: of its own module, and of those before."""
        found = []
        for module in self.program.modules:
            for thing in module.things:
                if not thing.forms or thing.rank >= place.rank:
                    continue
                if thing.cost * place.factor > place.budget or (place.early and not thing.pure):
                    continue
                found.append((module, thing))
            if module is place.module:
                break
        return found

    def expression(self, place: Place, depth: int = 2) -> str:
        choose = self.choose
        if depth <= 0:
            return choose.pick([*place.variables, str(choose.number(0, 9))])
        kind = choose.number(0, 11)
        if kind <= 6:
            return self.use(place, depth)
        one = self.expression(place, depth - 1)
        if kind == 7:
            return f"({one} {choose.pick(['+', '-', '^'])} {self.expression(place, depth - 1)})"
        if kind == 8:
            return f"({one} if {self.expression(place, 0)} % 2 else {self.expression(place, 0)})"
        if kind == 9:
            local = choose.pick(["v", "x", "w", "sys"])
            return f"(lambda {local}={one}: {local} + {self.expression(place, 0)})()"
        if kind == 10:
            return self.comprehension(place, one, depth)
        return f"(w := {one})" if not place.early else one

    def comprehension(self, place: Place, one: str, depth: int) -> str:
        local = self.choose.pick(["i", "j"])
        inner = copy.copy(place)
        inner.variables = [*place.variables, local]
        inner.factor = place.factor * 2
        item = self.expression(inner, depth - 1) if "await" not in one else local
        place.budget, place.pure = inner.budget, inner.pure
        if "await" in item:
            item = local
        item = item.replace("(w := ", "(")
        return self.choose.pick([
            f"sum({item} for {local} in range(2))",
            f"sum([{item} for {local} in (1, 2) if {local} > 1])",
            f"len({{{item}: {local} for {local} in range(2)}})",
            f"max({{{item} for {local} in [3]}})",
        ])  # fmt: skip

    def use(self, place: Place, depth: int) -> str:
        """Return an expression that uses some thing of the program."""
        usable = self.usable(place)
        if not usable:
            return self.expression(place, 0)
        module, thing = self.choose.pick(usable[::-1])
        form = self.choose.pick(thing.forms)
        place.budget -= thing.cost * place.factor
        place.pure = place.pure and thing.pure
        if module is not place.module and re.match("sum.drive|drive|enter", form):
            self.need(place.module, DRIVE, COLLECT, ENTER)
        spelled = self.ref(place, module, thing)
        a = self.expression(place, depth - 1) if "{a}" in form else ""
        b = self.expression(place, 0) if "{b}" in form else ""
        if place.is_async and form.startswith("drive({f}") and place.factor == 1:
            form = f"(await {form.removeprefix('drive')})"
        return form.format(f=spelled, a=a, b=b)

    # statements

    def steps(self, place: Place, most: int = 3) -> list[str]:
        return [self.step(place) for _ in range(self.choose.number(0, most))]

    def step(self, place: Place) -> str:
        choose = self.choose
        changed = self.change(place) if choose.chance(35) else ""
        if changed:
            return changed
        text, v = choose.pick(STATEMENTS), choose.pick(["v", "t"])
        e = self.expression(place)
        other = self.expression(place, 1) if "{other}" in text else ""
        if "def " in text and ("await" in e or ":=" in e):
            text = STATEMENTS[0]  # they are not allowed in a default or a class body
        error = self.error(place) if "{error" in text else ""
        if v not in place.variables:
            place.variables.append(v)
        kind = error.partition("(")[0]
        return text.format(v=v, e=e, other=other, error=error, error_kind=kind)

    def error(self, place: Place) -> str:
        own = [t for t in place.module.things if isinstance(t, Class) and t.flavour == "error"]
        kind = self.choose.pick(["ValueError", *(t.name for t in own if t.rank < place.rank)])
        return f"{kind}({self.expression(place, 0)})"

    def change(self, place: Place) -> str:
        """Return a statement that changes state of the module; empty if there is none."""
        found = [
            t
            for t in place.module.things
            if isinstance(t, Line) and t.steps and t.rank < place.rank
        ]
        if not found or place.early:
            return ""
        thing = self.choose.pick(found)
        place.pure = False
        if thing.declared:
            place.declared.append(thing.name)
        e = self.expression(place, 1)
        return self.choose.pick(thing.steps).format(f=thing.name, a=e)

    # things

    def constant(self, module: Module, rank: float | None = None) -> Line:
        """Return a constant, built of another one or not."""
        rank = self.rank() if rank is None else rank
        built_of = [
            t.forms[0].format(f=t.name, a=1)
            for t in module.things
            if t.kind == "constant" and t.rank < rank and not self.program.is_state(module, t)
            if "(" not in t.forms[0]
        ]
        is_upper = self.choose.chance(50)
        name = self.name("RATE" if is_upper else "rate")
        n = self.choose.number(1, 9)
        of = self.choose.pick([str(n), *built_of])
        line, forms = self.choose.pick(CONSTANTS + (TABLES if is_upper else ()))
        return Line(
            name=name, kind="constant", rank=rank, line=line.format(f=name, n=n, of=of), forms=forms
        )

    def state(self, _: Module, *, creatable: bool = False) -> Line:
        """Return state; a scalar becomes it by the functions that assign it."""
        name = self.name("store")
        line, forms, steps = self.choose.pick(CREATABLE + (() if creatable else STATE))
        is_scalar = bool(steps) and steps[0].startswith(("{f} =", "{f} +="))
        return Line(
            name=name,
            kind="constant" if is_scalar and "=" in line else "state",
            rank=self.rank(),
            line=line.format(f=name),
            forms=forms,
            steps=steps,
            declared=is_scalar,
            pure=False,
        )

    def held_state(self, module: Module) -> Line | None:
        """Return state that holds functions or an instance of a class."""
        rank = self.rank()
        own = [t for t in module.things if isinstance(t, (Function, Class)) and t.forms]
        own = [t for t in own if t.cost < 30]
        if not own:
            return None
        thing = self.choose.pick(own)
        name = self.name("held")
        if isinstance(thing, Class):
            if thing.flavour != "plain":
                return None
            forms = tuple(f.replace("{f}(3)", "{f}") for f in thing.forms if "{f}(3)" in f)
            forms += ("{f}.n",)
            return Line(
                name=name, kind="state", rank=rank, line=f"{name} = {thing.name}(3)", forms=forms,
                steps=("{f}.n += {a} % 5",), cost=thing.cost, pure=False,
            )  # fmt: skip
        line, use = self.choose.pick(HELD)
        line = line.format(f=name, of=thing.name)
        forms = tuple(f.replace("{f}", use) for f in thing.forms)
        return Line(
            name=name, kind="state", rank=rank, line=line, forms=forms, cost=thing.cost, pure=False
        )

    def default(self, module: Module, rank: float) -> str:
        place = Place(
            module=module, rank=rank, variables=["2", "3"], budget=8, early=True, inside=False
        )
        return self.expression(place, self.choose.number(0, 1))

    def function(
        self,
        module: Module,
        *,
        prefix: str = "fun",
        tracked: bool | None = None,
        flavour: str = "",
        rank: float | None = None,
        owner: Class | None = None,
    ) -> Function:
        choose = self.choose
        rank = self.rank() if rank is None else rank
        if not flavour:
            flavour = choose.pick(
                ["plain"] * 6 + ["generator", "async", "asyncgen", "lambda", "context"]
            )
        if tracked is None:
            tracked = flavour != "lambda" and choose.chance(40)
        tracked = tracked or self.program.whole
        params, variables, calls = choose.pick(
            LAMBDA_SIGNATURES if flavour == "lambda" else SIGNATURES
        )
        params = tuple(p.format(d=self.default(module, rank)) for p in params)
        forms = tuple(FLAVOURS[flavour].format(call) for call in calls)
        function = Function(
            name=self.name(prefix),
            kind="function",
            rank=rank,
            flavour=flavour,
            tracked=tracked,
            marked=not self.program.whole,
            params=params,
            variables=variables,
            forms=forms,
        )
        if flavour in ("async", "asyncgen", "context"):
            self.need(module, DRIVE, COLLECT, ENTER)
        if flavour == "context":
            function.inner = ("contextlib.contextmanager",)
        if owner is None and flavour == "plain":
            self.decorate(module, function)
        self.body(module, function, owner)
        if tracked and function.marked and owner is None and choose.chance(10):
            function.given = f"custom.{function.name}"
        if owner is None and flavour == "plain" and choose.chance(10):
            function.guard = choose.pick(["if", "try"])
        return function

    def need(self, module: Module, *texts: str) -> None:
        """Define the functions that drive coroutines, once for each module."""
        for text in texts:
            name = re.findall(r"def (\w+)", text)[0]
            if all(thing.name != name for thing in module.things):
                module.things.insert(0, Line(name=name, kind="function", line=text, rank=0))

    def decorate(self, module: Module, function: Function) -> None:
        choose = self.choose
        if not choose.chance(20):
            return
        found = [
            t for t in module.things if isinstance(t, Line) and t.name.startswith("deco")
            and t.rank < function.rank
        ]  # fmt: skip
        below = [
            t.name if "(n)" not in t.line else f"{t.name}({choose.number(1, 4)})" for t in found
        ]
        if not below or (not function.tracked and choose.chance(30)):
            cache = choose.pick(["functools.lru_cache", "functools.lru_cache(maxsize=4)"])
            function.inner = () if function.tracked else (cache,)
        elif function.tracked and choose.chance(30):
            function.outer = (choose.pick(below),)
        else:
            function.inner = (choose.pick(below),)

    def decorator(self, module: Module) -> Line:
        rank = self.rank()
        name = self.name("deco")
        place = Place(module=module, rank=rank, variables=["2"], budget=8)
        e = self.expression(place, 1)
        plain = (
            f"def {name}(fn):\n    @functools.wraps(fn)\n    def wrapper(*args, **kwargs):\n"
            f"        return fn(*args, **kwargs) + {e}\n    return wrapper"
        )
        factory = (
            f"def {name}(n):\n    def decorate(fn):\n        @functools.wraps(fn)\n"
            f"        def wrapper(*args, **kwargs):\n"
            f"            return fn(*args, **kwargs) + n * {e}\n        return wrapper\n"
            f"    return decorate"
        )
        line = self.choose.pick([plain, factory])
        return Line(name=name, kind="function", rank=rank, line=line, pure=place.pure)

    def body(self, module: Module, function: Function, owner: Class | None = None) -> None:
        """Write a body for a function, new or again."""
        is_cached = "lru_cache" in "".join(function.inner)
        is_lambda = function.flavour == "lambda"
        place = Place(
            module=module,
            rank=function.rank,
            variables=list(function.variables),
            is_async=function.flavour in ("async", "asyncgen"),
            inside=not is_lambda,
            early=is_cached or function.name in self.program.used_early(),
        )
        if owner is not None:
            place.variables += self.members(owner, function)
        steps = [] if is_cached or is_lambda else self.steps(place)
        function.result = self.expression(place)
        used = [v for v in ("v", "t") if v in place.variables]
        if used:
            function.result = f"({' + '.join([function.result, *used])})"
        if is_lambda:
            function.result = function.result.replace("(w := ", "(")
        else:
            function.doc = self.choose.pick(["", "", "", "What it is.", "What it was."])
        function.steps = (*place.first, *steps)
        function.declared = tuple(place.declared)
        function.cost = 61 - place.budget
        function.pure = place.pure and "raise " not in "".join(steps)
        marks = names_in("".join(function.inner))
        function.pure &= all(t.pure for _, t in self.program.things() if t.name in marks)

    def members(self, owner: Class, function: Function) -> list[str]:
        """Return what a method can use of its object."""
        if function.first == "cls":
            return ["cls.size", "len(cls.__name__)"]
        if function.first != "self":
            return []
        own = ["self.n", "self.size", "self.__secret", "len(__class__.__name__)"]
        own += [
            f"self.{m.name}(1)" for m in owner.methods if m.is_simple and m.rank < function.rank
        ]
        bases = names_in(owner.head) - {owner.name}
        for _, base in self.program.things():
            if isinstance(base, Class) and base.name in bases:
                own += ["super().base(2)"]
                own += [f"super().{m.name}(1)" for m in base.methods if m.is_simple]
        return own

    def klass(self, module: Module, *, tracked: int = 70, rank: float | None = None) -> Class:
        choose = self.choose
        rank = self.rank() if rank is None else rank
        name = self.name("Kind")
        flavour = choose.pick(["plain"] * 5 + ["dataclass", "enum", "tuple", "error"])
        if flavour == "error":
            base = choose.pick(["ValueError", "Exception"])
            return Class(
                name=name, kind="class", rank=rank, head=f"class {name}({base}):", flavour=flavour
            )
        if flavour == "enum":
            return Class(
                name=name, kind="class", rank=rank, head=f"class {name}(enum.Enum):",
                lines=(f"A = {choose.number(1, 5)}", "B = 7"), flavour=flavour,
                forms=("{f}.A.value", "len({f})", "len({f}(7).name)"),
            )  # fmt: skip
        if flavour == "tuple":
            return Class(
                name=name, kind="class", rank=rank, head=f"class {name}(typing.NamedTuple):",
                lines=("x: int", f"y: int = {choose.number(1, 5)}"), flavour=flavour,
                forms=("{f}({a}).y", "sum({f}({a}, 2))", "{f}(1)._replace(x={a}).x"),
            )  # fmt: skip
        if flavour == "dataclass":
            made = Class(
                name=name, kind="class", rank=rank, head=f"@dataclasses.dataclass\nclass {name}:",
                lines=("n: int", f"size: int = {choose.number(1, 5)}", "__secret = 3"),
                flavour=flavour, forms=("{f}({a}).size", "{f}({a}, size=2).n"),
            )  # fmt: skip
        else:
            made = self.plain_class(module, name, rank)
        for _ in range(choose.number(1, 3)):
            made.methods.append(self.method(module, made, tracked=choose.chance(tracked)))
        made.forms += tuple(f for m in made.methods for f in m.forms)
        made.cost = 1 + sum(m.cost for m in made.methods[-2:])
        made.pure = all(m.pure for m in made.methods)
        return made

    def plain_class(self, module: Module, name: str, rank: float) -> Class:
        bases = [
            (m, t)
            for m, t in self.program.things()
            if isinstance(t, Class) and t.flavour == "plain" and t.rank < rank
        ]
        base = ""
        if bases and self.choose.chance(50):
            place = Place(module=module, rank=rank, variables=[])
            base = f"({self.ref(place, *self.choose.pick(bases))})"
        size = self.default(module, rank)
        secret = self.choose.number(1, 9)
        init = "def __init__(self, n=1):\n    self.n = n"
        made = Class(
            name=name, kind="class", rank=rank, head=f"class {name}{base}:",
            lines=(f"size = {size}", f"__secret = {secret}", init, BASE),
            forms=("{f}({a}).n", "{f}.size", "{f}(3).base({a})", "isinstance({f}(1), {f})"),
        )  # fmt: skip
        if self.choose.chance(30):
            made.lines = tuple(line for line in made.lines if line != init)
            method = Function(
                name="__init__", kind="function", rank=rank, flavour="init", first="self",
                tracked=True, marked=not self.program.whole, params=("n=1",), variables=("n",),
            )  # fmt: skip
            made.methods.append(method)
            self.body(module, method)
            made.cost, made.pure = method.cost, method.pure
        return made

    def method(self, module: Module, owner: Class, *, tracked: bool) -> Function:
        choose = self.choose
        rank = owner.rank + len(owner.methods) / 100_000
        kind = choose.pick(["method"] * 4 + ["static", "class", "property", "call", "private"])
        flavour = (
            choose.pick(["plain"] * 5 + ["generator", "async"]) if kind == "method" else "plain"
        )
        prefix = {"private": "__own", "call": "x"}.get(kind, "met")
        function = self.function(module, prefix=prefix, tracked=tracked, flavour=flavour, rank=rank)
        function.first = {"static": "", "class": "cls"}.get(kind, "self")
        function.inner = ()
        if kind in ("property", "call"):
            function.params, function.variables = (), ("1",)
        one = "{f}(3)"
        is_call = kind == "call" and all(m.name != "__call__" for m in owner.methods)
        calls = {
            "property": (f"{one}.{function.name}",),
            "call": (f"{one}()",) if is_call else (f"{one}.{function.name}()",),
            "private": (),
            "static": tuple(f.replace("{f}", f"{{f}}.{function.name}") for f in function.forms),
            "class": tuple(f.replace("{f}", f"{{f}}.{function.name}") for f in function.forms),
        }.get(kind, tuple(f.replace("{f}", f"{one}.{function.name}") for f in function.forms))
        if is_call:
            function.name = "__call__"
        mark = {"static": "staticmethod", "class": "classmethod", "property": "property"}.get(kind)
        if mark and (choose.chance(60) or not function.marked or not tracked):
            function.outer = (mark,)
        elif mark:
            function.inner = (mark,)
        function.forms = calls
        self.body(module, function, owner)
        return function

    def fill(self, module: Module) -> None:
        """Write a module; the last one has the function that uses as much as possible."""
        choose = self.choose
        module.future = choose.chance(15)
        makers: list[Callable[[Module], Thing | None]] = [
            self.constant,
            self.function,
            self.constant,
            self.state,
            self.function,
            self.klass,
            self.held_state,
            self.decorator,
            self.pair,
            self.imported_name,
            self.dispatcher,
        ]
        for _ in range(choose.number(3, 8)):
            thing = choose.pick(makers)(module)
            if thing is not None:
                module.things.append(thing)
        if module is self.program.modules[-1]:
            module.things.append(self.entry(module))

    def imported_name(self, module: Module) -> Line:
        name = self.name("lib")
        line, forms = self.choose.pick(IMPORTS)
        return Line(
            name=name, kind="import", rank=self.rank(), line=line.replace("NAME", name), forms=forms
        )

    def dispatcher(self, module: Module) -> Line:
        """Return a generic function: what is registered with it makes it state."""
        rank, name = self.rank(), self.name("shows")
        place = Place(module=module, rank=rank, variables=["x", "2"], budget=8)
        two = self.expression(place, 1)
        place.variables = ["3"]
        one = self.expression(place, 1)
        line = (
            f"@functools.singledispatch\ndef {name}(x):\n    return {one}\n"
            f"@{name}.register\ndef {name}_int(x: int):\n    return {two}"
        )
        forms = ("{f}({a})", "{f}('a')")
        return Line(name=name, kind="code", rank=rank, line=line, forms=forms, cost=9, pure=False)

    def pair(self, module: Module) -> Function:
        """Append one of two functions that call each other, and return the other."""
        rank = self.rank()
        one, two = self.name("ping"), self.name("pong")
        place = Place(module=module, rank=rank, variables=["x", "2"], budget=8)
        made = []
        for own, other in ((one, two), (two, one)):
            made.append(
                Function(
                    name=own, kind="function", rank=rank, marked=not self.program.whole,
                    tracked=self.program.whole or self.choose.chance(50),
                    result=f"1 + {other}(x - 1) if x > 0 else {self.expression(place, 1)}",
                    forms=("{f}({a} % 4)",), cost=6, pure=place.pure, fixed=True,
                )
            )  # fmt: skip
        module.things.append(made[0])
        made[0].pure = False
        return made[1]

    def entry(self, module: Module) -> Function:
        """Return a function that uses as much as possible."""
        function = Function(
            name="entry", kind="function", rank=self.rank(), tracked=True, forms=("{f}({a})",),
            marked=not self.program.whole,
        )  # fmt: skip
        self.entry_body(module, function)
        return function

    def entry_body(self, module: Module, function: Function) -> None:
        place = Place(module=module, rank=function.rank, variables=["x"], budget=200, inside=True)
        steps = self.steps(place)
        items = [self.use(place, 1) for _ in range(self.choose.number(2, 7))]
        items += [v for v in ("v", "t") if v in place.variables]
        function.steps = (*place.first, *steps)
        function.declared = tuple(place.declared)
        function.result = f"[{', '.join(items)}]"


BASE = "def base(self, x): return x + self.n"
IMPORTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("import math as NAME", ("{f}.gcd({a}, 6)",)),
    ("from math import gcd as NAME", ("{f}({a}, 6)",)),
    ("import os.path as NAME", ("len({f}.join('a', str({a})))",)),
    ("try:\n    import nowhere as NAME\nexcept ImportError:\n    NAME = None", ("({f} or {a})",)),
    (
        "try:\n    from operator import neg as NAME\nexcept ImportError:\n    NAME = None",
        ("{f}({a})",),
    ),
    (
        "if sys.version_info > (3, 1):\n    from operator import pos as NAME\nelse:\n    NAME = 3",
        ("{f}({a})",),
    ),
)


def relative(here: str, parent: str) -> str:
    """Return how a module in package `here` writes package `parent`: `.`, `.parts`, `..`."""
    if parent == here or parent.startswith(f"{here}."):
        return "." + parent.removeprefix(here).removeprefix(".")
    return "." + relative(here.rpartition(".")[0], parent)


# edits -----------------------------------------------------------------------------------------

CLASS = frozenset({"class-changed"})
Edit = Callable[["Editor"], "frozenset[str] | None"]


class NotHere(Exception):
    """The program has nothing that an edit could be made of."""


class Editor(Writer):
    """Edits a program in place. An edit that may be refused returns the reasons."""

    def __init__(self, choices: Choices, program: Program, pinned: set[str]) -> None:
        super().__init__(choices, program)
        self.frozen = program.frozen()
        self.pinned = pinned | program.pinned() | self.frozen
        self.near = program.reached() if choices.chance(85) else None

    def free_functions(self, *, tracked: bool | None = None) -> list[tuple[Module, Function]]:
        """Return the functions that may be edited."""
        found = []
        for module, thing in self.program.things():
            if isinstance(thing, Function) and not thing.fixed:
                if thing.name not in (self.frozen if thing.tracked else self.pinned):
                    found.append((module, thing))
            elif isinstance(thing, Class) and thing.name not in self.frozen:
                found += [(module, m) for m in thing.methods if m.tracked]
        found = [f for f in found if tracked is None or f[1].tracked == tracked]
        return [f for f in found if f[1].tracked or self.matters(f[1].name)]

    def free(self, kind: str) -> list[tuple[Module, Thing]]:
        return [
            (m, t)
            for m, t in self.program.things()
            if t.kind == kind and t.name not in self.pinned and not self.program.is_state(m, t)
            if self.matters(t.name)
        ]

    def matters(self, name: str) -> bool:
        """Return whether an edit of a thing shows, or is made where it does not on purpose."""
        return self.near is None or name in self.near

    def owner_of(self, function: Function) -> Class | None:
        for _, thing in self.program.things():
            if isinstance(thing, Class) and function in thing.methods:
                return thing
        return None

    def rewrite(self, module: Module, function: Function) -> None:
        if function.name == "entry":
            self.entry_body(module, function)
        else:
            self.body(module, function, self.owner_of(function))

    def some(self, options: Sequence[T]) -> T:
        """Return one of what can be edited.

        Raises:
            NotHere: There is none.

        """
        if not options:
            raise NotHere
        return self.choose.pick(options)

    # one edit each

    def change_body(self) -> None:
        found = self.free_functions()
        module, function = self.some(found)
        self.rewrite(module, function)

    def change_helper(self) -> None:
        module, function = self.some(self.free_functions(tracked=False))
        self.rewrite(module, function)

    def change_literal(self) -> None:
        found = [f for _, f in self.free_functions() if re.search(r"\b\d\b", f.result)]
        function = self.some(found)
        digit = str(self.choose.number(0, 9))
        function.result = re.sub(r"\b\d\b", digit, function.result, count=1)

    def change_constant(self) -> None:
        found = self.free("constant")
        module, thing = self.some(found)
        assert isinstance(thing, Line)
        if self.choose.chance(60):
            thing.line = re.sub(r"\b\d\b", str(self.choose.number(1, 9)), thing.line)
        else:
            fresh = self.constant(module, thing.rank)
            if fresh.name.isupper() == thing.name.isupper() and fresh.forms == thing.forms:
                thing.line = fresh.line.replace(fresh.name, thing.name)

    def change_default(self) -> None:
        found = [(m, f) for m, f in self.free_functions() if any("=" in p for p in f.params)]
        module, function = self.some(found)
        function.params = tuple(
            f"{p.partition('=')[0]}={self.default(module, function.rank)}" if "=" in p else p
            for p in function.params
        )

    def add_helper(self) -> None:
        """Add a helper, maybe with a constant and a helper of its own, and use it."""
        module, function = self.some(self.free_functions())
        if function.flavour == "context" or "lru_cache" in "".join(function.inner):
            raise NotHere
        things: list[Thing] = []
        for _ in range(self.choose.number(1, 3)):
            rank = (self.owner_of(function) or function).rank - 0.0001 * (5 - len(things))
            if self.choose.chance(40):
                things.append(self.constant(module, rank))
            else:
                things.append(self.function(module, prefix="new", tracked=False, rank=rank))
            self.put(module, things[-1], function)
        place = Place(
            module=module, rank=function.rank, variables=list(function.variables),
            is_async=function.flavour in ("async", "asyncgen"),
        )  # fmt: skip
        used = things[-1]
        a, b = self.expression(place, 1), self.expression(place, 0)
        one = self.choose.pick(used.forms).format(f=used.name, a=a, b=b)
        if function.flavour == "lambda":
            one = one.replace("(w := ", "(")
        if function.name == "entry":
            function.result = f"[{one}, {function.result}]"
        else:
            function.result = f"({one} + {function.result})"

    def put(self, module: Module, thing: Thing, before: Function) -> None:
        """Define a thing before another, or at the end where nothing needs it earlier."""
        owner = self.owner_of(before) or before
        index = module.things.index(owner)
        if isinstance(thing, Function) and self.choose.chance(30) and not before.params:
            index = len(module.things)
        module.things.insert(index, thing)

    def remove(self) -> None:
        """Remove what nothing uses."""
        text = "\n".join(m.text() for m in self.program.modules)
        found = [
            (m, t)
            for m, t in self.program.things()
            if len(re.findall(rf"\b{re.escape(t.name)}\b", text)) == 1
            and t.name != "entry"
            and not getattr(t, "tracked", False)
            and not isinstance(t, Class)
            and t.name not in ("drive", "collect", "enter")
        ]
        module, thing = self.some(found)
        module.things.remove(thing)

    def add_import(self) -> None:
        found = [
            f for f in self.free_functions() if f[1].flavour == "plain" and f[1].name != "entry"
        ]
        found = [f for f in found if not f[1].inner]
        module, function = self.some(found)
        line, use = self.choose.pick(NEW_IMPORTS)
        if line not in module.imports:
            module.imports.append(line)
        function.result = use.format(function.result)

    def remove_import(self) -> None:
        for module in self.program.modules:
            text = "\n".join(
                [*(t.text() for _, t in self.program.things())]
                + [line for m in self.program.modules if m is not module for line in m.imports]
            )
            for line in module.imports:
                name = line.split()[-1].partition(".")[0]
                if (
                    name.isidentifier()
                    and "*" not in line
                    and "\n" not in line
                    and not re.search(rf"\b{name}\b", text)
                ):
                    module.imports.remove(line)
                    return
        raise NotHere

    def add_parameter(self) -> None:
        module, function = self.some(self.free_functions())
        if any(p.startswith("*") for p in function.params):
            raise NotHere
        if not function.params and self.owner_of(function):
            raise NotHere
        default = self.default(module, function.rank)
        name = self.name("extra")
        function.params += (f"{name}={default}",)
        function.variables += (name,)
        if function.name != "entry" and function.flavour != "context":
            function.result = f"({name} + {function.result})"

    def rename_local(self) -> None:
        found = [f for _, f in self.free_functions() if any(re.match(r"v = ", s) for s in f.steps)]
        function = self.some(found)
        function.steps = tuple(re.sub(r"\bv\b", "value", s) for s in function.steps)
        function.result = re.sub(r"\bv\b", "value", function.result)

    def extract(self) -> None:
        """Move the result of a function into a helper."""
        found = [
            (m, f)
            for m, f in self.free_functions()
            if f.flavour in ("plain", "generator", "context")
            and not f.steps
            and not self.owner_of(f)
            and all(v.isidentifier() for v in f.variables)
        ]
        module, function = self.some(found)
        name = self.name("part")
        helper = Function(
            name=name, kind="function", rank=function.rank - 0.001, params=function.variables,
            variables=function.variables, result=function.result, cost=function.cost, fixed=True,
            tracked=self.program.whole, marked=not self.program.whole,
        )  # fmt: skip
        self.put(module, helper, function)
        function.result = f"{name}({', '.join(function.variables)})"

    def reorder(self) -> None:
        module = self.choose.pick(self.program.modules)
        things = module.things
        for _ in range(self.choose.number(1, 6)):
            at = self.choose.number(0, len(things) - 1)
            if at and not self.needs(things[at], things[at - 1]):
                things[at - 1], things[at] = things[at], things[at - 1]

    def needs(self, later: Thing, earlier: Thing) -> bool:
        """Return whether a thing must stand after another."""
        todo, found = names_in(later.early()), set[str]()
        while todo:
            name = todo.pop()
            thing = self.program.find(name)
            if thing is not None and name not in found:
                found.add(name)
                todo |= names_in(thing.text())
        return earlier.name in found

    def layout(self) -> None:
        module = self.choose.pick(self.program.modules)
        module.layout = self.choose.pick(["\n", "# a comment\n", "\n\n\n", "# one\n\n# other"])
        for _, function in self.program.functions():
            is_free = function.tracked or function.name not in self.pinned
            if is_free and function.flavour != "lambda" and self.choose.chance(30):
                function.notes = (self.choose.pick(["why", "what it does", "TODO"]),)

    def rename(self) -> None:
        """Rename a helper or constant, wherever it is used."""
        things = [t for _, t in [*self.free("function"), *self.free("constant")]]
        things = [
            t
            for t in things
            if not getattr(t, "tracked", False) and t.name not in ("drive", "collect", "enter")
        ]
        held = "\n".join(t.held() for _, t in self.program.things() if isinstance(t, Class))
        things = [t for t in things if t.name not in names_in(held)]
        old = self.some(things).name
        new = self.name("NEW" if old.isupper() else "new")
        rename_everywhere(self.program, old, new)

    def change_import(self) -> None:
        found = self.free("import")
        thing = self.some(found)[1]
        assert isinstance(thing, Line)
        line, _ = self.choose.pick([i for i in IMPORTS if i[1][0] == thing.forms[0]] or IMPORTS)
        thing.line = line.replace("NAME", thing.name)

    def toggle_future(self) -> None:
        module = self.choose.pick(self.program.modules)
        module.future = not module.future

    def change_doc(self) -> None:
        found = [f for _, f in self.free_functions() if f.flavour != "lambda"]
        self.some(found).doc = self.choose.pick(["", "Another text.", "A third one."])

    def make_counter(self) -> frozenset[str]:
        """Let a function assign what was a constant: it becomes state."""
        found = [
            (m, t) for m, t in self.free("constant") if re.fullmatch(r"\w+(: int)? = \d", t.text())
        ]
        users = [
            (f, t) for m, f in self.free_functions() for n, t in found
            if m is n and f.flavour in ("plain", "generator") and f.name != "entry"
            and f.name not in self.program.used_early()
            and t.name not in names_in(f.early())
            and t.rank < f.rank and "lru" not in "".join(f.inner)
        ]  # fmt: skip
        function, thing = self.some(users)
        function.declared += (thing.name,)
        function.steps += (f"{thing.name} += 1",)
        return frozenset({"missing-state"})  # what new constants are built of it is state too

    def move(self) -> None:
        """Move something to another module, maybe a new one, and import it from there."""
        module = self.choose.pick(self.program.modules)
        own = {t.name for t in module.things} | set(re.findall(r"\w+", "\n".join(module.imports)))
        found = [
            t for _, t in [*self.free("function"), *self.free("constant")]
            if t in module.things and not getattr(t, "tracked", False) and t.forms
            and not (names_in(t.text()) & own - {t.name})
        ]  # fmt: skip
        lines = "\n".join(t.text() for t in module.things if isinstance(t, Line))
        found = [t for t in found if lines.count(t.name) < 2]
        thing = self.some(found)
        index = self.program.modules.index(module)
        if not index or self.choose.chance(40):
            name = "shop.extra" if self.program.package else "extra"
            if all(m.name != name for m in self.program.modules):
                self.program.modules.insert(0, Module(name=name))
        target = self.program.modules[0]
        if target is module:
            raise NotHere
        module.things.remove(thing)
        target.things.append(thing)
        module.imports.append(f"from {target.name} import {thing.name}")

    def to_lambda(self) -> None:
        found = [
            f
            for _, f in self.free_functions(tracked=False)
            if f.flavour == "plain" and not f.steps and not f.inner and not f.declared
            and not f.guard and not self.owner_of(f) and ":" not in "".join(f.params)
        ]  # fmt: skip
        function = self.some(found)
        function.flavour, function.notes = "lambda", ()
        function.result = function.result.replace("(w := ", "(")

    def track_more(self) -> None:
        found = [
            f
            for _, f in self.free_functions(tracked=False)
            if f.flavour != "lambda" and "cache" not in "".join(f.inner) and not f.guard
        ]
        self.some(found).tracked = True

    def decorate_more(self) -> None:
        """Put a decorator below `@track`, or take it away."""
        if self.program.whole:
            raise NotHere
        found = [
            (m, f) for m, f in self.free_functions()
            if f.flavour == "plain" and not self.owner_of(f) and not f.outer and f.name != "entry"
        ]  # fmt: skip
        module, function = self.some(found)
        if function.inner:
            function.inner = ()
        else:
            self.decorate(module, function)
            if function.outer or any("lru" in mark for mark in function.inner):
                function.outer, function.inner = (), ()
                raise NotHere

    def change_decorator(self) -> None:
        found = [
            t for _, t in self.program.things()
            if isinstance(t, Line) and t.name.startswith("deco") and t.name not in self.pinned
        ]  # fmt: skip
        thing = self.some(found)
        thing.line = thing.line.replace(" + ", f" + {self.choose.number(1, 9)} + ", 1)

    def change_class(self) -> frozenset[str]:
        """Change what no version replaces of a class, but for one that a table's function uses."""
        found = [
            (m, t) for m, t in self.program.things()
            if isinstance(t, Class) and t.lines and t.name not in self.pinned
        ]  # fmt: skip
        module, thing = self.some(found)
        if self.choose.chance(50) or thing.flavour != "plain":
            thing.lines = (*thing.lines, f"more = {self.choose.number(1, 9)}")
            return CLASS
        method = self.method(module, thing, tracked=False)
        thing.methods.append(method)
        for other in thing.methods[:-1]:
            if other.tracked and other.first == "self":
                self.body(module, other, thing)
                return CLASS | {"missing-member"}
        return CLASS

    def add_tracked_method(self) -> frozenset[str]:
        found = [(m, t) for m, t in self.program.things() if isinstance(t, Class) and t.methods]
        module, thing = self.some(found)
        thing.methods.append(self.method(module, thing, tracked=True))
        return CLASS | {"missing-member", "missing-class", "missing-function"}

    def add_class(self) -> frozenset[str]:
        found = [
            f for f in self.free_functions() if f[1].flavour == "plain" and f[1].name != "entry"
        ]
        found = [(m, f) for m, f in found if not self.owner_of(f) and not f.inner]
        module, function = self.some(found)
        tracked = self.choose.pick([0, 100])
        thing = self.klass(module, tracked=tracked, rank=function.rank - 0.001)
        if not thing.forms:
            raise NotHere
        module.things.insert(module.things.index(function), thing)
        form = self.choose.pick(thing.forms)
        function.result = f"({form.format(f=thing.name, a='x', b='2')} + {function.result})"
        if any(m.tracked for m in thing.methods):
            return frozenset(
                {"missing-class", "missing-function", "missing-member", "shadowed-name"}
            )
        return frozenset({"shadowed-name"})

    def add_state(self) -> frozenset[str]:
        early = self.program.used_early()
        found = [
            (m, f)
            for m, f in self.free_functions()
            if f.flavour == "plain" and f.name != "entry" and f.name not in early
            and not self.owner_of(f) and not f.inner
        ]  # fmt: skip
        module, function = self.some(found)
        creatable = self.choose.chance(50)
        thing = self.state(module, creatable=creatable)
        module.things.insert(module.things.index(function), thing)
        thing.rank = function.rank - 0.001
        if thing.declared:
            function.declared += (thing.name,)
        if thing.steps:
            step = self.choose.pick(thing.steps).format(f=thing.name, a="x")
            function.steps += (step,)
        form = self.choose.pick(thing.forms).format(f=thing.name, a="x", b="2")
        function.result = f"({form} + {function.result})"
        return frozenset({"missing-state"})

    def change_state(self) -> None:
        """Change what state begins with: it goes on with what it has."""
        found = [
            t for m, t in self.program.things()
            if isinstance(t, Line) and self.program.is_state(m, t)
            and "held" not in t.name and "deque" not in t.text()
        ]  # fmt: skip
        thing = self.some(found)
        thing.line = re.sub(r"\b\d\b", str(self.choose.number(1, 9)), thing.line)

    def to_generator(self) -> frozenset[str]:
        found = [f for _, f in self.free_functions() if f.flavour == "plain" and f.name != "entry"]
        function = self.some(found)
        function.flavour = self.choose.pick(["generator", "async"])
        return frozenset({"kind-changed"})


def rename_everywhere(program: Program, old: str, new: str) -> None:
    pattern = re.compile(rf"\b{re.escape(old)}(?=_?\b|_b\b|_int\b)")

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(new, value)
        if isinstance(value, (tuple, list)):
            return type(value)(map(renamed, value))
        return value

    for module in program.modules:
        module.imports = renamed(module.imports)
        owned = [m for t in module.things if isinstance(t, Class) for m in t.methods]
        for thing in (*module.things, *owned):
            for key, value in vars(thing).items():
                if key != "methods":
                    setattr(thing, key, renamed(value))


NEW_IMPORTS = (
    ("import math", "math.gcd({}, 6)"),
    ("from math import gcd as greatest", "greatest({}, 4)"),
    ("import os.path", "len(os.path.join('a', str({})))"),
    ("from operator import neg", "neg({})"),
    ("import xml.dom\nimport xml.sax", "len(xml.dom.__name__ + xml.sax.__name__) + {}"),
    (
        "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None",
        "({} if nowhere is None else 0)",
    ),
    (
        "if sys.version_info > (3, 1):\n    from operator import pos as sign\nelse:\n    sign = 3",
        "sign({})",
    ),
)
EDITS: tuple[Edit, ...] = (
    Editor.change_body,
    Editor.change_helper,
    Editor.change_helper,
    Editor.change_constant,
    Editor.change_constant,
    Editor.change_literal,
    Editor.change_default,
    Editor.add_helper,
    Editor.remove,
    Editor.add_import,
    Editor.remove_import,
    Editor.add_parameter,
    Editor.rename_local,
    Editor.extract,
    Editor.reorder,
    Editor.layout,
    Editor.rename,
    Editor.to_lambda,
    Editor.move,
    Editor.change_import,
    Editor.toggle_future,
    Editor.change_doc,
    Editor.make_counter,
    Editor.track_more,
    Editor.decorate_more,
    Editor.change_decorator,
    Editor.add_state,
    Editor.change_state,
    Editor.add_class,
    Editor.add_tracked_method,
    Editor.change_class,
    Editor.to_generator,
)
LAYOUTS = (
    (("app",), False),
    (("low", "app"), False),
    (("shop.low", "shop.app"), True),
    (("shop.parts.low", "shop.mid", "shop.app"), True),
    (("shop.low", "shop.parts.mid", "shop.parts.app"), True),
)


def written(choose: Choices) -> list[Stage]:
    """Write a program, and one to three edits of it."""
    names, package = choose.pick(LAYOUTS)
    program = Program(
        modules=[Module(name=name) for name in names], package=package, whole=choose.chance(30)
    )
    for module in program.modules:
        Writer(choose, program).fill(module)
    deployed = copy.deepcopy(program)
    ever = program.state()
    stages = [stage_of(program, deployed, ever)]
    pinned = program.pinned()
    may = frozenset[str]()
    for _ in range(choose.number(1, 3)):
        if len(stages) > 1 and choose.chance(15):
            back = stage_of(deployed, deployed, ever)
            stages.append(replace(back, back=True, what=("back to what was deployed",)))
            break
        program = copy.deepcopy(program)
        what = list[str]()
        for _ in range(choose.number(1, 3)):
            for edit in (choose.pick(EDITS) for _ in range(4)):
                try:
                    may |= edit(Editor(choose, program, pinned)) or frozenset()
                except NotHere:
                    continue
                what.append(edit.__name__)
                break
        ever |= program.state()
        if any(
            text != deployed.constants()[place]
            for place, text in program.constants().items()
            if place in ever and place in deployed.constants()
        ):
            may |= {"constant-changed-at-run-time"}
        stages.append(replace(stage_of(program, deployed, ever), may=may, what=tuple(what)))
    return stages


def stage_of(program: Program, deployed: Program, ever: set[tuple[str, str]]) -> Stage:
    """Return a program as a stage; `ever` is what was state in it or before."""
    state = program.state()
    state |= {
        (m.name, t.name) for m, t in program.things()
        if (m.name, t.name) in ever and program.value_text(t) == deployed.value_text(t)
    }  # fmt: skip
    return Stage(
        files=program.files(),
        modules=tuple(module.name for module in program.modules),
        calls=program.calls(deployed.tracked()),
        state=tuple(sorted(state)),
        whole=program.whole,
    )


# the property ------------------------------------------------------------------------------

CASES = int(os.environ.get("SCATTER_GENERATED_CASES", "0"))


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.close()
    told = made.told
    if told.total() > 100:  # else the run was cut short
        assert told["switched"] > 3 * told["refused"], told
        assert told["invalid"] < told.total() / 20, told


@settings(
    max_examples=CASES or 200,
    derandomize=not CASES,
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.generate, *([Phase.shrink] if CASES else [])],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.binary(min_size=1500, max_size=1500))
def test_an_edit_pushed_into_a_program_does_what_the_edited_program_does(
    runner: Runner, data: bytes
) -> None:
    stages = written(Choices(data))
    kind, runs = runner.live(stages)
    if kind != "ok":
        is_program_bad = runner.fresh(stages[0], b"")[0] != "ok"
        assert is_program_bad, explained(stages, len(stages) - 1, str(runs))
        runner.told["invalid"] += 1
        return
    for number, run in enumerate(runs[1:], start=1):
        compare(runner, stages, number, run)


def compare(runner: Runner, stages: Sequence[Stage], number: int, run: Run) -> None:
    """Compare one stage with a fresh process; a program that cannot be imported proves nothing."""
    if run.refusals:
        if runner.fresh(stages[number], run.before)[0] != "ok":
            runner.told["invalid"] += 1
            return
        for function, reason, message in run.refusals:
            assert reason in stages[number].may, explained(
                stages, number, f"refused: {function}: {reason}: {message}"
            )
    program = stages[run.program]
    kind, fresh = runner.fresh(program, run.before)
    if kind != "ok":
        runner.told["invalid"] += 1
        return
    runner.told["refused" if run.refusals else "switched"] += 1
    differences = [
        f"{call[0]}: {call[1]}\n    pushed: {mine}\n    fresh:  {theirs}"
        for call, mine, theirs in zip(program.calls, run.results, fresh.results, strict=True)
        if mine != theirs
    ]
    differences += [
        f"state {'.'.join(place)}\n    pushed: {value}\n    fresh:  {fresh.after.get(place)}"
        for place, value in run.after.items()
        if value != fresh.after.get(place)
    ]
    assert not differences, explained(stages, number, "\n".join(differences))


def explained(stages: Sequence[Stage], number: int, what: str) -> str:
    """Return the program, its edits up to a stage, and what went wrong there."""
    parts = ["", "=== deployed" + (", tracked whole" if stages[0].whole else "")]
    parts += [f"--- {name}\n{text}" for name, text in stages[0].files.items()]
    for before, stage in itertools.pairwise(stages[: number + 1]):
        parts.append(f"\n=== edit: {', '.join(stage.what)}")
        for name, text in stage.files.items():
            old = before.files.get(name, "").splitlines()
            parts += difflib.unified_diff(old, text.splitlines(), name, name, lineterm="", n=2)
    return "\n".join([*parts, f"\n=== after stage {number}", what])


# what it found --------------------------------------------------------------------------------

HEAD = "import scatter\n\n"


def test_a_function_that_an_edit_begins_to_track_follows_its_versions(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}RATE = 1\ndef part(x): return x * RATE\n\n\n"
        "@scatter.track\ndef f(x): return part(x)\n"
    )
    tracked = program.edit("def part", "@scatter.track\ndef part")
    for rate in (2, 3):
        program.push(tracked.replace("RATE = 1", f"RATE = {rate}"), "f", "part")
        assert program.f(1) == rate


def test_a_default_can_call_a_function_that_the_release_begins_to_track(lab: Lab) -> None:
    program = lab.module(
        f"{HEAD}def part(x): return x + 1\n\n@scatter.track\ndef f(x=part(1)): return x\n"
    )
    edited = program.edit("def part", "@scatter.track\ndef part", "x + 1", "x + 2")
    program.push(edited, "part", "f")
    assert program.f() == 3


def test_a_default_calls_the_version_that_runs_while_it_is_bound(lab: Lab) -> None:
    """Its neighbour of the same release is not switched to yet: a limit."""
    program = lab.module(
        HEAD
        + "@scatter.track\ndef part(x): return x + 1\n\n"
        + "@scatter.track\ndef f(x=part(1)): return x\n"
    )
    program.push(program.edit("x + 1", "x + 2", "return x\n", "return x, 'new'\n"), "part", "f")
    assert program.f() == (2, "new")


def test_a_class_inside_a_pushed_function_is_named_after_it(lab: Lab) -> None:
    program = lab.module(
        """
        import scatter

        @scatter.track
        def f():
            class Local: pass
            return Local.__qualname__

        class Model:
            @scatter.track
            def method(self):
                class Local: pass
                return Local.__qualname__
        """
    )
    program.push(program.edit("return Local", "return 'new', Local"), "f", "Model.method")
    assert program.f() == ("new", "f.<locals>.Local")
    assert program.Model().method() == ("new", "Model.method.<locals>.Local")


def test_postponed_annotations_are_postponed_where_nothing_else_changed(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(x: int): return x\n")
    program.push(f"from __future__ import annotations\n{program.text}", "f")
    assert program.f.__annotations__ == {"x": "int"}


def test_taking_a_decorator_away_is_no_changed_signature(lab: Lab) -> None:
    program = lab.module(
        """
        import functools
        import scatter

        def doubled(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return 2 * function(*args, **kwargs)
            return wrapper

        @scatter.track
        @doubled
        def f(x): return x
        """
    )
    program.push(program.edit("@doubled\n", ""), "f")
    assert program.f(3) == 3


@pytest.mark.parametrize(
    "line", ["for found in range(3): pass", "with open('/dev/null') as found: pass"]
)
def test_a_name_that_a_block_of_the_module_binds_is_state(lab: Lab, line: str) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 1\n")
    refusal = program.refusal(f"{HEAD}{line}\n\n@scatter.track\ndef f(): return found\n", "f")
    assert refusal.reason == "missing-state"


@pytest.mark.parametrize("old", ["def limits(): pass", "from os import sep as limits"])
def test_what_was_a_function_or_an_import_does_not_pass_for_state(lab: Lab, old: str) -> None:
    program = lab.module(f"{HEAD}{old}\n\n@scatter.track\ndef f(): return limits\n")
    edited = program.edit(old, "limits = {}", "return limits", "return limits, 'new'")
    prepared = program.prepare(edited, "f")
    apply.switch(REGISTRY, prepared)
    assert prepared.refusals or program.f() == ({}, "new")


NEW_NAMES = ["RATE = 7", "from math import pi as RATE", "import os.path as RATE", "RATE = set()"]


@pytest.mark.parametrize("name", NEW_NAMES)
@pytest.mark.parametrize("method", ["def m(self): return RATE", "def m(self, x=RATE): return x"])
def test_a_tracked_method_of_a_new_class_has_the_names_that_it_needs(
    lab: Lab, method: str, name: str
) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 1\n")
    edited = (
        f"{HEAD}{name}\n\nclass New:\n    @scatter.track\n    {method}\n\n"
        "@scatter.track\ndef f(): return New().m()\n"
    )
    expected = lab.module(edited).f()
    program.push(edited, "New.m", "f")
    assert program.f() == expected


def test_a_tracked_method_of_a_new_class_follows_its_versions(lab: Lab) -> None:
    program = lab.module(f"{HEAD}@scatter.track\ndef f(): return 0\n")
    edited = (
        f"{HEAD}class New:\n    @scatter.track\n    def m(self): return 1\n\n"
        "@scatter.track\ndef f(): return New().m()\n"
    )
    program.push(edited, "New.m", "f")
    assert program.f() == 1
    program.push(edited.replace("return 1", "return 2"), "New.m")
    assert program.f() == 2


def test_a_new_function_of_a_module_tracked_whole_has_its_decorators(lab: Lab) -> None:
    program = lab.module("import contextlib\n\n\ndef f(): return 0\n")
    lab.project.whole.add(program.name)
    scatter.track_module(program.module)
    opened = "@contextlib.contextmanager\ndef opened(): yield 1\n\n\n"
    edited = program.edit(
        "def f(): return 0", f"{opened}def f():\n    with opened() as x: return x"
    )
    program.push(edited, "opened", "f")
    assert program.f() == 1


def test_a_new_import_travels_to_a_module_that_has_a_star_import(lab: Lab) -> None:
    lab.module("RATE = 3\n", "starred")
    program = lab.module(f"from starred import *\n{HEAD}@scatter.track\ndef f(x): return x\n")
    edited = f"import math\n{program.edit('return x', 'return math.gcd(x, RATE)')}"
    program.push(edited, "f")
    assert program.f(6) == 3


def test_what_is_built_of_another_modules_constant_is_state(lab: Lab) -> None:
    """One module's text does not tell what it imports: the live value stays."""
    lab.module("RATE = 2\n", "rates")
    program = lab.module(
        f"from rates import RATE\n{HEAD}LIMIT = RATE * 3\n\n@scatter.track\ndef f(): return LIMIT\n"
    )
    lab.edit("rates", "RATE = 5\n")
    program.push(program.edit("return LIMIT", "return LIMIT, RATE"), "f")
    assert program.f() == (6, 5)
