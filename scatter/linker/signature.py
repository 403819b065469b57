"""Tells in words which calls a new version of a function would no longer take.

Not here: what to do about it (the caller's choice), and changed kinds of functions (`link`).

What counts
1. A call counts if the old function takes it; it is broken if the new one does not.
2. A call that both take, and whose arguments by position go to other parameters than before, is
   told too if the old or the new parameter is one that both functions have: they changed places.
   (If neither is, it was renamed, and what is given by position means what it meant.)
3. Calls that nobody writes do not count: those that give `self` or `cls` by name or not at all, or
   a positional parameter by a name that begins with an underscore.

How: beside a given number of positional arguments, a function takes each set of keyword arguments
that holds the names it needs and none that it does not allow. So one function takes all that
another does if, for every number, it needs no more and allows no less. That is exact, and no call
need be tried.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import FunctionType

# As in `inspect`, which takes 8 ms to import.
CO_VARARGS, CO_VARKEYWORDS = 0x4, 0x8


def broken_call(old: FunctionType, new: FunctionType) -> str:
    """Return what is wrong with the first call that `old` takes and `new` does not.

    If there is none, what is wrong with a call that both take and that means something else; empty
    if there is none of these either. One sentence without a full stop.
    """
    return broken_between(_parameters_of(old), _parameters_of(new))


def broken_between(before: Parameters, after: Parameters) -> str:
    """Return what `broken_call` does, of the parameters of two functions."""
    if before == after:
        return ""
    return next(filter(None, _broken(before, after)), "") or _moved(before, after)


def misfit(
    function: FunctionType, count: int, names: Collection[str], *, more: bool, others: bool
) -> str:
    """Return why a function does not take a call; empty if it does.

    Args:
        function: The function.
        count: How many arguments the call gives by position, `self` included.
        names: Those that it gives by name.
        more: It spreads a sequence (`*rest`), which may hold any number of arguments.
        others: It spreads a mapping (`**options`), which may hold any names.

    """
    return misfit_of(_parameters_of(function), count, names, more=more, others=others)


def misfit_of(
    taker: Parameters, count: int, names: Collection[str], *, more: bool, others: bool
) -> str:
    """Return what `misfit` does, of a function's parameters."""
    counts = range(count, max(count, len(taker.positional)) + 1) if more else (count,)
    if any(_fits(taker, n, names, others) for n in counts):
        return ""
    return _why_not(taker, count, names, more)


def moved_argument(old: FunctionType, new: FunctionType, count: int, *, more: bool) -> str:
    """Return which argument by position a call to `old` would give to another parameter of `new`.

    One sentence without a full stop; empty if there is none. See point 2 above.

    Args:
        old, new: The functions.
        count: How many arguments the call gives by position, `self` included.
        more: It spreads a sequence.

    """
    before, after = _parameters_of(old), _parameters_of(new)
    for place in range(_most(before, after) if more else count):
        was, now = before.at(place), after.at(place)
        if _is_another(was, now, before, after):
            return f"it gives `{was}` where `{now}` is taken now"
    return ""


def _fits(taker: Parameters, count: int, names: Collection[str], others: bool) -> bool:
    enough = others or set(taker.needs(count)).issubset(names)
    return taker.takes(count) and enough and all(taker.allows(name, count) for name in names)


def _why_not(taker: Parameters, count: int, names: Collection[str], more: bool) -> str:
    most = len(taker.positional)
    if count > most and not taker.star:
        given, taken = count - taker.has_self, most - taker.has_self
        are = "is" if taken == 1 else "are"
        return f"it gives {given} arguments by position, and at most {taken} {are} taken"
    for name in names:
        if name in taker.filled(count):
            return f"it gives `{name}` twice"
        if not taker.allows(name, count):
            other = "" if taker.knows(name) else ", which is no parameter"
            return f"it gives `{name}` by name{other}"
    by_position_only = taker.positional[: taker.only]
    lacking = [n for n in taker.needs(count) if n not in names or n in by_position_only]
    certain = [n for n in lacking if n in taker.keywords] if more else lacking
    return f"it does not give `{(certain or lacking)[0]}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The parameters of a function, and which calls it takes.

    Attributes:
        positional: Names of those that take positional arguments.
        only: How many of them, from the first on, cannot be given by name.
        keywords: Names of the keyword-only ones.
        required: Names of those without a default.
        star: `*args` as it is named; empty if there is none.
        double: `**kwargs` likewise.

    """

    positional: tuple[str, ...]
    only: int
    keywords: tuple[str, ...]
    required: frozenset[str]
    star: str
    double: str

    @property
    def has_self(self) -> bool:
        return self.positional[:1] in (("self",), ("cls",))

    def takes(self, count: int) -> bool:
        """Return whether any call with so many positional arguments is taken."""
        lacking = self.required.intersection(self.positional[count : self.only])
        return not lacking and (count <= len(self.positional) or bool(self.star))

    def needs(self, count: int) -> list[str]:
        """Return the parameters that must be given beside so many positional arguments."""
        left = (*self.positional[count:], *self.keywords)
        return [name for name in left if name in self.required]

    def names(self, count: int) -> tuple[str, ...]:
        """Return the parameters that may be given by name beside so many positional arguments."""
        return (*self.positional[max(count, self.only) :], *self.keywords)

    def filled(self, count: int) -> tuple[str, ...]:
        """Return the parameters that would be given twice if they were given by name as well."""
        return self.positional[self.only : count]

    def allows(self, name: str, count: int) -> bool:
        """Return whether a name may be given beside so many positional arguments."""
        return name in self.names(count) or (bool(self.double) and name not in self.filled(count))

    def at(self, place: int) -> str:
        """Return what takes the positional argument at an index; empty if nothing does."""
        return self.positional[place] if place < len(self.positional) else self.star

    def knows(self, name: str) -> bool:
        """Return whether there is a parameter of that name; `*args` and `**kwargs` are none."""
        return name in self.positional or name in self.keywords


def _parameters_of(function: FunctionType) -> Parameters:
    code = function.__code__
    count, end = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    positional, keywords = code.co_varnames[:count], code.co_varnames[count:end]
    rest = iter(code.co_varnames[end:])
    plain = positional[: max(0, count - len(function.__defaults__ or ()))]
    return Parameters(
        positional=positional,
        only=code.co_posonlyargcount,
        keywords=keywords,
        required=frozenset(plain) | set(keywords).difference(function.__kwdefaults__ or ()),
        star=f"*{next(rest)}" if code.co_flags & CO_VARARGS else "",
        double=f"**{next(rest)}" if code.co_flags & CO_VARKEYWORDS else "",
    )


def parameters_in(written: ast.arguments) -> Parameters:
    """Return the parameters that a `def` has in its source."""
    positional = (*written.posonlyargs, *written.args)
    given = zip(written.kwonlyargs, written.kw_defaults, strict=True)
    plain = positional[: len(positional) - len(written.defaults)]
    return Parameters(
        positional=tuple(one.arg for one in positional),
        only=len(written.posonlyargs),
        keywords=tuple(one.arg for one in written.kwonlyargs),
        required=frozenset(
            [one.arg for one in plain] + [one.arg for one, default in given if default is None]
        ),
        star=f"*{written.vararg.arg}" if written.vararg else "",
        double=f"**{written.kwarg.arg}" if written.kwarg else "",
    )


def _broken(old: Parameters, new: Parameters) -> Iterator[str]:
    """Yield what is wrong with calls that are no longer taken; empty if parameters moved."""
    unnamed = _unnamed(old, new)
    for count in range(old.has_self or new.has_self, _most(old, new) + 2):
        if not old.takes(count) or unnamed.intersection(old.needs(count)):
            continue  # no call with so many positional arguments counts
        if count > len(new.positional) and not new.star:
            yield _too_many(old, new)
            continue
        yield from _lacking(old, new, count)
        yield from _unexpected(old, new, count, unnamed)


def _unnamed(old: Parameters, new: Parameters) -> frozenset[str]:
    """Return the names that nobody passes by name."""
    names = {name for name in (*old.positional, *new.positional) if name.startswith("_")}
    names |= {one.positional[0] for one in (old, new) if one.has_self}
    return frozenset(names.difference(old.keywords))  # which have no other way


def _most(old: Parameters, new: Parameters) -> int:
    return max(len(old.positional), len(new.positional))


def _too_many(old: Parameters, new: Parameters) -> str:
    """Say that `new` takes fewer positional arguments."""
    most = len(new.positional)
    if old.star:
        at_most = f"at most {most}" if most else "none"
        return f"it took any number of positional arguments, and takes {at_most} now"
    name = old.positional[most]
    if name in new.keywords:
        return f"`{name}` is keyword-only now: calls that pass it by position fail"
    if not new.knows(name):
        return f"parameter `{name}` is gone: calls that pass it fail"
    return f"it took {len(old.positional)} positional arguments, and takes at most {most} now"


def _lacking(old: Parameters, new: Parameters, count: int) -> Iterator[str]:
    """Yield the parameters that `new` needs and that calls to `old` need not give."""
    needed = old.needs(count)
    for name in new.needs(count):
        by_position_only = name in new.positional[: new.only]
        if name in needed and not by_position_only:
            continue
        if name in new.keywords and name in old.required:
            yield f"`{name}` is keyword-only now: calls that pass it by position fail"
        elif name in old.required:
            yield _gone(name, old, new) if name in needed else ""
        elif old.knows(name):
            yield f"`{name}` is required now"
        else:
            former = _former(name, old, new)
            yield _gone(former, old, new) if former else f"`{name}` is a new required parameter"


def _former(name: str, old: Parameters, new: Parameters) -> str:
    """Return how a required parameter of `new` that `old` does not know was called before."""
    former = old.at(new.positional.index(name)) if name in new.positional else ""
    return former if former in old.required and not new.knows(former) else ""


def _unexpected(
    old: Parameters, new: Parameters, count: int, unnamed: frozenset[str]
) -> Iterator[str]:
    """Yield the names that calls to `old` may give and calls to `new` may not."""
    for name in old.names(count):
        if name not in unnamed and not new.allows(name, count):
            yield "" if name in new.filled(count) else _gone(name, old, new)
    if not old.double:
        return
    if not new.double:
        yield "it took any keyword argument, and takes only those that it names now"
    for name in new.filled(count):
        also = name not in old.names(count) and old.allows(name, count)
        if also and name not in unnamed:
            yield f"`{name}` takes an argument by position now: calls that give it twice fail"


def _gone(name: str, old: Parameters, new: Parameters) -> str:
    """Say why a parameter of `old` can no longer be given by name."""
    place = old.positional.index(name) if name in old.positional else -1
    instead = new.at(place) if place >= 0 else ""
    is_replaced = instead in new.positional and not old.knows(instead)
    if new.knows(name) or (is_replaced and place < new.only):
        return f"`{name}` is positional-only now: calls that pass it by name fail"
    if is_replaced:
        return f"`{name}` is called `{instead}` now: calls that pass it by name fail"
    how = "" if place >= 0 and not instead else " by name"
    return f"parameter `{name}` is gone: calls that pass it{how} fail"


def _moved(old: Parameters, new: Parameters) -> str:
    """Say that an argument by position goes to another parameter that both functions have."""
    for place in range(_most(old, new)):
        if _is_another(old.at(place), new.at(place), old, new):
            before, after = _differing(_listed(old), _listed(new))
            return f"parameters changed places: `{before}` is now `{after}`"
    return ""


def _is_another(was: str, now: str, old: Parameters, new: Parameters) -> bool:
    """Return whether two parameters at one place are two that changed places."""
    return bool(was and now) and was != now and (new.knows(was) or old.knows(now))


def _listed(one: Parameters) -> list[str]:
    """Return the parameters as they are written, without their defaults."""
    rest = one.star or ("*" if one.keywords else "")
    return [name for name in (*one.positional, rest, *one.keywords, one.double) if name]


def _differing(before: list[str], after: list[str]) -> tuple[str, str]:
    """Return both lists without their common ends; at least one name is left in each."""
    before, after = before[:], after[:]
    for end in (0, -1):
        while min(len(before), len(after)) > 1 and before[end] == after[end]:
            del before[end], after[end]
    return ", ".join(before), ", ".join(after)
