"""Code objects that pass a call on to another function, and whether one is needed at all.

A tracked function is one function object that everyone holds; the switch is one store to its
`__code__`. Where the new code runs with the function's own globals, closure and defaults, that
code itself is stored. Else a trampoline is: code whose only work is to call a target, a constant
of that code. Code and target are then one object, so no caller can see one without the other.

Two shapes. The *passthrough* takes `*args, **kwargs` and does not depend on the function's
defaults, so it is right whatever they are while they are being replaced. The *forwarder* has the
target's exact parameters: three times faster, and right only once the defaults are the target's.

Rejected: reading the target from a cell or a slot (torn when the switch falls between binding the
arguments and reading the target), an object with `__call__` (8 to 11 times a plain call), and
building bytecode by hand (differs in each Python).

Invariants
1. A trampoline has the same free variables, in number and order, as the function that it is for:
   CPython refuses another number, and silently permutes other names.
2. Its flags tell what its target is, so `inspect` and `asyncio` see a coroutine function.
"""

from __future__ import annotations

from functools import lru_cache
from types import CodeType, FunctionType

TYPE_CHECKING = False  # as `typing.TYPE_CHECKING`, without the 5 ms that `typing` takes
if TYPE_CHECKING:
    from typing import Any

_HOLE = "\0scatter target\0"
# As in `inspect`, which takes 8 ms to import.
CO_VARARGS, CO_VARKEYWORDS = 0x4, 0x8
CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
_KIND_FLAGS = CO_GENERATOR | CO_COROUTINE | CO_ITERABLE_COROUTINE | CO_ASYNC_GENERATOR


def kind_of(code: CodeType) -> int:
    """Return the flags that tell plain, coroutine, generator and async generator code apart."""
    return code.co_flags & _KIND_FLAGS


def runs_direct(function: FunctionType, target: FunctionType) -> bool:
    """Return whether `function` can run the code of `target` itself."""
    same_globals = function.__globals__ is target.__globals__
    names = function.__code__.co_freevars
    if not same_globals or names != target.__code__.co_freevars:
        return False
    mine, theirs = function.__closure__ or (), target.__closure__ or ()
    return all(a is b or is_same_cell(n, a, b) for n, a, b in zip(names, mine, theirs, strict=True))


def is_same_cell(name: str, one: Any, other: Any) -> bool:
    """Return whether both cells are the `__class__` of the same class (what `super()` reads)."""
    try:
        return name == "__class__" and one.cell_contents is other.cell_contents
    except ValueError:  # an empty cell: the class statement is still running
        return False


def direct_code(function: FunctionType, target: FunctionType, *, fixed: bool) -> CodeType | None:
    """Return code of `target` that `function` can run itself; None where only a trampoline can.

    What the target's closure holds and that of `function` does not becomes constants of the code,
    so callers, debuggers and profilers see one function, at full speed and depth.

    Args:
        function: The function that everyone holds.
        target: What it shall do.
        fixed: Whether nothing that the target's closure holds is ever replaced there.

    """
    if function.__globals__ is not target.__globals__:
        return None
    if runs_direct(function, target):
        return target.__code__
    if not fixed:
        return None
    from scatter.constants import with_constants  # only where something travels

    return with_constants(function, target, is_same_cell)


def passthrough(function: FunctionType, target: Any) -> CodeType:
    """Return code for `function` that calls `target` with whatever it is called with."""
    template = _template("*args, **kwargs", "*args, **kwargs", function.__code__.co_freevars)
    return _fill(template, function, target)


def forwarder(function: FunctionType, target: FunctionType) -> CodeType:
    """Return code for `function` with the parameters of `target`, which it calls.

    The defaults of `function` must be those of `target` while this code is in place.
    """
    parameters, arguments = _signature(target.__code__)
    return _fill(_template(parameters, arguments, function.__code__.co_freevars), function, target)


def _signature(code: CodeType) -> tuple[str, str]:
    """Return the parameter list of `code`, and the arguments that pass all of them on."""
    count, only = code.co_argcount, code.co_kwonlyargcount
    positional, keywords = code.co_varnames[:count], code.co_varnames[count : count + only]
    rest = iter(code.co_varnames[count + only :])
    star = next(rest) if code.co_flags & CO_VARARGS else ""
    double = next(rest) if code.co_flags & CO_VARKEYWORDS else ""
    parameters, arguments = list(positional), list(positional)
    if code.co_posonlyargcount:
        parameters.insert(code.co_posonlyargcount, "/")
    if star or keywords:
        parameters.append(f"*{star}")
    arguments += [f"*{star}"] * bool(star)
    parameters += keywords
    arguments += [f"{name}={name}" for name in keywords]
    parameters += [f"**{double}"] * bool(double)
    arguments += [f"**{double}"] * bool(double)
    return ", ".join(parameters), ", ".join(arguments)


@lru_cache(maxsize=2048)
def _template(parameters: str, arguments: str, free: tuple[str, ...]) -> CodeType:
    """Return the code of a trampoline whose target is the constant `_HOLE`.

    The `if 1 else 0` is folded away; it keeps the compiler from warning that a string is called.
    What stands after the return never runs; it makes the names free variables of the code.
    """
    own = [f"__scatter_free_{n:03}" for n in range(len(free))]  # `free` may clash with parameters
    source = (
        f"def outer({', '.join(own)}):\n"
        f" def inner({parameters}): return ({_HOLE!r} if 1 else 0)({arguments}); "
        f"{'; '.join(own) or 'pass'}\n"
    )
    outer = _only_code(compile(source, "<scatter trampoline>", "exec", dont_inherit=True))
    return _only_code(outer).replace(co_freevars=free)


def _only_code(code: CodeType) -> CodeType:
    return next(const for const in code.co_consts if isinstance(const, CodeType))


def _fill(template: CodeType, function: FunctionType, target: Any) -> CodeType:
    """Return a template as the code of `function`, calling `target`."""
    code: CodeType | None = getattr(target, "__code__", None)
    own = function.__code__
    consts = tuple(target if const == _HOLE else const for const in template.co_consts)
    return template.replace(
        co_consts=consts,
        co_flags=template.co_flags | (kind_of(code) if code else _kind_of_callable(target)),
        co_name=own.co_name,
        co_qualname=own.co_qualname,
        co_filename=(code or own).co_filename,
        co_firstlineno=(code or own).co_firstlineno,
    )


def _kind_of_callable(target: Any) -> int:
    """Return the kind flags of a callable that is no plain function."""
    import inspect

    return CO_COROUTINE if inspect.iscoroutinefunction(target) else 0
