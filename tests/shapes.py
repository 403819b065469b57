# ruff: noqa: PIE800, PLC3002, UP008, UP028
# mypy: ignore-errors
"""Function shapes that every supported Python can parse: what `test_across_pythons` pushes.

The test writes this text to a file of its own, imports it, and pushes what it becomes when
"deployed" is "pushed" throughout. Half of the functions say the word themselves, and half by way
of something that travels with them. `CALLS` says how each is called; each result has the word.
"""

import asyncio
import collections
import contextlib
import dataclasses
import enum
import functools
import os.path as paths
import re
import string as text_tools
import typing
import xml.dom
from decimal import Decimal
from math import gcd as greatest

import shapes_tools
import shapes_tools as tools
from shapes_tools import polish
from shapes_tools import polish as finish

import scatter

try:
    from operator import neg
except ImportError:  # a Python without it
    neg = None

T = typing.TypeVar("T")
EDITION = "deployed"
TITLE = f"the {EDITION} edition"
PAIR = (EDITION, -0.0)
TABLE = {"edition": EDITION, "pairs": [PAIR, (1, 2)], **{"more": {"deep": EDITION}}}
LETTERS = frozenset({"a", "b"})
WORD = re.compile("deployed|pushed", re.IGNORECASE)
HALF = Decimal("0.5") * 3
LIMIT: int = 3 if LETTERS else 4

counter = 0
cache: dict[str, int] = {}
seen: list[str] = []
recent: collections.deque[int] = collections.deque(maxlen=2)
registered = {}


# helpers, which travel -------------------------------------------------------------------------


def helper(x):
    return f"{x} {EDITION}"


def deeper(x):
    return helper(x) + "!"


shout = lambda x, mark=EDITION: f"{x.upper()} {mark}"


def doubled(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return [function(*args, **kwargs), EDITION]

    return wrapper


def tagged(tag):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return f"{tag} {function(*args, **kwargs)}"

        return wrapper

    return decorate


def register(function):
    registered[function.__name__] = function
    return function


def is_even(n):
    return EDITION if n == 0 else is_odd(n - 1)


def is_odd(n):
    return "" if n == 0 else is_even(n - 1)


if LIMIT > 2:

    def chosen():
        return "deployed, big"

else:

    def chosen():
        return "deployed, small"


@functools.lru_cache(maxsize=4)
def remembered(x):
    return x, EDITION


@contextlib.contextmanager
def opened(name):
    yield f"{name} {EDITION}"


class Quiet(Exception):
    pass


class Suit(enum.Enum):
    HEARTS = 1
    SPADES = 2


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2

    @scatter.track
    def named(self):
        return "deployed", self.x, self.y, dataclasses.astuple(self)


class Row(typing.NamedTuple):
    key: str
    value: int = 7


# functions -------------------------------------------------------------------------------------


@scatter.track
def plain(x):
    return "deployed", x


@scatter.track
def defaults(a, b=2, c=(1, 2), d=None):
    return "deployed", a, b, c, d


@scatter.track
def default_of_the_module(x, edition=EDITION, where=cache, pair=PAIR):
    return edition, where is cache, pair, x


@scatter.track
def keyword_only(a, *, b, c=4):
    return EDITION, a, b, c


@scatter.track
def positional_only(a, b=1, /, c=2, *, d=3):
    return "deployed", a, b, c, d


@scatter.track
def all_sorts(a, *args, b=1, **kwargs):
    return EDITION, a, args, b, sorted(kwargs.items())


@scatter.track
def annotated(x: int, y: "Point | None" = None) -> "list[Row]":
    return ["deployed", x, y, annotated.__annotations__]


@scatter.track
def generic(items: typing.Sequence[T], default: T | None = None) -> tuple[str, T | None]:
    return EDITION, items[0] if items else default


@scatter.track
def documented():
    """Say deployed."""
    return documented.__doc__


@scatter.track
def generator(n):
    for i in range(n):
        yield i
    yield "deployed"


@scatter.track
def delegating(n):
    got = yield from generator(n)
    yield got, EDITION


@scatter.track
def conversation():
    said = yield "deployed"
    while said:
        said = yield said * 2
    return "over"


@scatter.track
async def coroutine(x):
    await asyncio.sleep(0)
    return "deployed", x


@scatter.track
async def awaiting(x):
    return await coroutine(x), EDITION, [await coroutine(i) for i in range(2)]


@scatter.track
async def async_generator(n):
    for i in range(n):
        yield i
    yield "deployed"


@scatter.track
async def async_comprehension(n):
    found = [i async for i in async_generator(n) if i]
    return found, {str(i): i async for i in async_generator(1)}, EDITION


@scatter.track
async def async_with():
    @contextlib.asynccontextmanager
    async def manager():
        yield "deployed"

    async with manager() as value:
        return value


@scatter.track
def nested(x):
    total = x

    def add(y):
        nonlocal total
        total += y
        return lambda z: (total + z, EDITION)

    return add(1)(2), total


@scatter.track
def local_class(x):
    class Local:
        edition = EDITION
        size = x

        def get(self):
            return self.edition, self.size, __name__

    return Local().get()


@scatter.track
def comprehensions(xs):
    names = {x: [y for y in range(x) if y % 2] for x in xs}
    return names, {x * 2 for x in xs}, sum(x for x in xs for _ in LETTERS), "deployed"


@scatter.track
def comprehension_of_constants():
    return [EDITION + letter for letter in sorted(LETTERS)], [(lambda: EDITION)() for _ in "a"]


@scatter.track
def walrus(xs):
    return [last := x for x in xs], last, (edition := EDITION), edition


@scatter.track
def matching(thing):
    match thing:
        case {"key": value, **rest}:
            return "deployed", value, rest
        case [first, *others] if others:
            return EDITION, first, others
        case Point(x=0) | Row("a", _):
            return "deployed", "origin"
        case Suit.HEARTS:
            return EDITION, "red"
        case _:
            return "deployed", None


@scatter.track
def trying(x):
    notes = []
    try:
        notes.append(10 // x)
        if x == 5:
            raise Quiet("deployed")
    except ZeroDivisionError:
        notes.append("zero")
    except (Quiet, KeyError) as error:
        notes.append(str(error))
    else:
        notes.append("fine")
    finally:
        notes.append(EDITION)
    return notes


@scatter.track
def groups():
    found = []
    try:
        raise ExceptionGroup("some", [ValueError("deployed"), KeyError("k")])
    except* ValueError as group:
        found.append(group.exceptions[0].args[0])
    except* KeyError:
        found.append(EDITION)
    return found


@scatter.track
def raising(x):
    raise Quiet(f"deployed {x}")


@scatter.track
def with_blocks():
    with opened("one") as one, opened("two") as two, contextlib.suppress(Quiet):
        raising(1)
    return one, two


@scatter.track
def loops(n):
    out = []
    for i in range(n):
        if i == 2:
            continue
        out.append(i)
    else:
        out.append("deployed")
    while out:
        if len(out) < 3:
            break
        del out[0]
    return out


@scatter.track
def unpacking(pair):
    first, (second, *rest) = pair
    one, *_ = [*rest, EDITION]
    return first, second, rest, one, {**{"a": 1}, "edition": "deployed"}, pair[::-1]


@scatter.track
def formatted(x):
    return f"{x!r:>6} {EDITION:^{10}} {x=} {'deployed'}"


@scatter.track
def counting():
    global counter
    counter += 1
    return "deployed", counter


@scatter.track
def caching(key):
    cache[key] = cache.get(key, 0) + 1
    seen.append(key)
    recent.append(len(seen))
    return EDITION, cache, seen, list(recent)


@scatter.track
def tables():
    return TABLE, PAIR[0], LIMIT, HALF, TITLE


@scatter.track
def words(text):
    return WORD.findall(text), "deployed"


@scatter.track
def helped(x):
    return helper(x), deeper(x), shout(x)


@scatter.track
def conditional():
    return chosen()


@scatter.track
def remembering(x):
    return remembered(x), remembered(x) is remembered(x)


@scatter.track
def imports():
    import json as encoder
    from textwrap import dedent as strip

    named = xml.dom.__name__, paths.join("a", "b"), greatest(12, 18), neg(3)
    return encoder.dumps(["deployed"]), strip("  x"), named, text_tools.digits[:2]


@scatter.track
def other_module(x):
    from shapes_tools import later

    return polish(x), finish(x), tools.polish(x), shapes_tools.EDITION, later(x)


@scatter.track
def recursion(n):
    return ["deployed"] if n == 0 else [n, *recursion(n - 1)]


@scatter.track
def mutual(n):
    return is_even(n), even(n)


@scatter.track
def even(n):
    return "deployed" if n == 0 else odd(n - 1)


@scatter.track
def odd(n):
    return EDITION if n == 0 else even(n - 1)


@scatter.track
@doubled
def decorated(x):
    return "deployed", x


@scatter.track
@tagged(TITLE)
@doubled
def decorated_twice(x):
    return x


@scatter.track
@contextlib.contextmanager
def managing(x):
    yield EDITION, x


@register
@scatter.track
def routed(x):
    return "deployed", x


@doubled
@scatter.track
def wrapped(x):
    return "deployed", x


@scatter.track
def higher(xs):
    by_length = sorted(xs, key=lambda x: (len(x), EDITION))
    add = functools.partial(helper)
    return by_length, list(map(add, xs)), functools.reduce(lambda a, b: a + b, xs, "deployed")


@scatter.track
def values():
    row = Row("deployed")
    return row, row._replace(value=1), Suit(1), Suit["SPADES"].name, Point(1)


@scatter.track
def edges():
    return (
        -0.0,
        1e400,
        1_000,
        0x1F,
        1j,
        b"deployed",
        "\N{SNOWMAN} \x00",
        ...,
        not 1 < 2 < 3,
        EDITION,
    )


@scatter.track(name="shapes.given:renamed")
def named_otherwise():
    return "deployed"


@scatter.track
def chained(x, y):
    assert x < y <= 9, "deployed"
    x, y = y, x
    return (x if x > y else y) or None, x ^ y, x @ Matrix(), EDITION


class Matrix:
    def __rmatmul__(self, other):
        return other, "times"


# classes ---------------------------------------------------------------------------------------


class Base:
    size = 2
    __secret = "base"
    edition = "an edition"

    @scatter.track
    def __init__(self, n=1):
        self.n = n
        self.note = "deployed"

    @scatter.track
    def method(self, x, size=size):
        return "deployed", self.n, x, size, self.note

    @scatter.track
    def secret(self):
        return self.__secret, self.__private(), EDITION

    @scatter.track
    def __private(self):
        return "deployed", __class__.__name__

    @scatter.track
    @property
    def both(self):
        return EDITION, self.n

    @property
    @scatter.track
    def other(self):
        return "deployed", self.n

    @scatter.track
    @staticmethod
    def static(x):
        return "deployed", x

    @classmethod
    @scatter.track
    def klass(cls, x):
        return EDITION, cls.__name__, x, cls.size

    @scatter.track
    def __call__(self, x):
        return "deployed", x

    @scatter.track
    def __getitem__(self, key):
        return EDITION, key

    @scatter.track
    def __eq__(self, other):
        return isinstance(other, Base) and self.n == other.n and "deployed"

    __hash__ = None

    @scatter.track
    def __iter__(self):
        yield from (self.n, EDITION)

    @scatter.track
    async def later(self):
        return await coroutine(self.n)

    class Inner:
        @scatter.track
        def deep(self):
            return EDITION, type(self).__qualname__


class Child(Base):
    @scatter.track
    def __init__(self, n):
        super().__init__(n)
        self.child = EDITION

    @scatter.track
    def method(self, x):
        return super().method(x), "deployed", super(Child, self).both, self.child

    @classmethod
    @scatter.track
    def klass(cls, x):
        return super().klass(x), "deployed"


CALLS = {
    "plain": "plain(1)",
    "defaults": "[defaults(1), defaults(1, d=5)]",
    "default_of_the_module": "[default_of_the_module(1), default_of_the_module(1, 2)]",
    "keyword_only": "keyword_only(1, b=2)",
    "positional_only": "[positional_only(1), positional_only(1, 2, 3, d=4)]",
    "all_sorts": "[all_sorts(1), all_sorts(1, 2, b=3, c=4)]",
    "annotated": "annotated(1)",
    "generic": "[generic([5, 6]), generic([], 7)]",
    "documented": "documented()",
    "generator": "list(generator(2))",
    "delegating": "list(delegating(2))",
    "conversation": "[(g := conversation(), next(g), g.send('a'), g.send('b'))[1:]]",
    "coroutine": "asyncio.run(coroutine(1))",
    "awaiting": "asyncio.run(awaiting(1))",
    "async_generator": "asyncio.run(async_comprehension(2))",
    "async_comprehension": "asyncio.run(async_comprehension(3))",
    "async_with": "asyncio.run(async_with())",
    "nested": "nested(3)",
    "local_class": "local_class(4)",
    "comprehensions": "comprehensions([1, 2, 3])",
    "comprehension_of_constants": "comprehension_of_constants()",
    "walrus": "walrus([1, 2])",
    "matching": "[matching(t) for t in ({'key': 1, 'b': 2}, [1, 2], Point(0), Suit.HEARTS, 5)]",
    "trying": "[trying(0), trying(3), trying(5)]",
    "groups": "groups()",
    "raising": "(lambda: [raising(1)])()",
    "with_blocks": "with_blocks()",
    "loops": "loops(4)",
    "unpacking": "unpacking((1, [2, 3]))",
    "formatted": "formatted('x')",
    "counting": "[counting(), counting()]",
    "caching": "[caching('a'), caching('b'), caching('a')][-1]",
    "tables": "tables()",
    "words": "words('a Pushed and deployed')",
    "helped": "helped('x')",
    "conditional": "conditional()",
    "remembering": "remembering(1)",
    "imports": "imports()",
    "other_module": "other_module(' x ')",
    "recursion": "recursion(2)",
    "mutual": "mutual(4)",
    "even": "even(2)",
    "odd": "odd(0)",
    "decorated": "decorated(1)",
    "decorated_twice": "decorated_twice(1)",
    "managing": "managing(3).__enter__()",
    "routed": "[routed(1), registered['routed'](2)]",
    "wrapped": "wrapped(1)[0]",
    "higher": "higher(['aa', 'b'])",
    "values": "values()",
    "edges": "edges()",
    "named_otherwise": "named_otherwise()",
    "chained": "chained(1, 2)",
    "Point.named": "Point(1).named()",
    "Base.__init__": "Base(3).note",
    "Base.method": "[Base(3).method(1), Base(3).method(1, 5)]",
    "Base.secret": "Base(3).secret()",
    "Base.__private": "Base(3)._Base__private()",
    "Base.both": "Base(3).both",
    "Base.other": "Base(3).other",
    "Base.static": "[Base.static(1), Base(3).static(2)]",
    "Base.klass": "Base.klass(1)",
    "Base.__call__": "Base(3)(4)",
    "Base.__getitem__": "Base(3)['k']",
    "Base.__eq__": "[Base(3) == Base(3), Base(3) == Base(4), Base(1) == 1]",
    "Base.__iter__": "list(Base(3))",
    "Base.later": "asyncio.run(Base(3).later())",
    "Base.Inner.deep": "Base.Inner().deep()",
    "Child.__init__": "Child(5).child",
    "Child.method": "Child(5).method(1)",
    "Child.klass": "Child.klass(1)",
}
