"""What `scatter-agent run` does inside a program, once its cue has come (`site/sitecustomize.py`).

A process gets an agent when the first function in it is tracked: by a pattern of the setting
`track`, or by the program's own `@scatter.track`. So whatever is no application (pip, a build, a
shell's helpers) has none, and costs nothing.

Not here: the agent, which takes it from there (`scatter_agent.launch`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from scatter.registry import REGISTRY
from scatter.slot import Slot
from scatter.whole import track_matching

FIRST_PAUSE_S, LAST_PAUSE_S = 0.002, 0.1
"""Between two looks whether the main module has all of its functions."""

_say: Callable[[object], None] = lambda _: None  # noqa: E731


def begin(patterns: Sequence[str], say: Callable[[object], None]) -> None:
    """Track what matches, now and later, and start the agent with the first tracked function.

    Args:
        patterns: As for `scatter.whole.track_matching`.
        say: Called with what is in the way; nothing is raised then.

    """
    global _say
    _say = say
    REGISTRY.off_track(_tracked)
    REGISTRY.on_track(_tracked)
    if patterns:
        track_matching(patterns)


def _tracked(_slot: Slot) -> None:
    REGISTRY.off_track(_tracked)
    try:
        _load()
        import scatter_agent

        scatter_agent.launch()
    except Exception as error:
        _say(error)


def _load() -> None:
    """Import what is compiled, in the thread of the program.

    The agent's thread would be in the middle of it when a short program ends: Python up to 3.13
    ends such a thread by force, which what is written in Rust takes for a reason to abort.
    """
    from scatter.client import current_settings

    if current_settings().trust == "on":
        from scatter.trust import keys

        keys.load()


def watch_main(patterns: Sequence[str]) -> None:
    """Track the functions of `__main__` once its last definition was executed.

    Nothing tells when a script has done that: its last line is often its whole life. So this looks
    now and then, in a thread of its own, until all that the file defines unconditionally is there.
    """
    pause_s = FIRST_PAUSE_S
    while not _is_defined():
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, LAST_PAUSE_S)
    track_matching(patterns)


def _is_defined() -> bool:
    """Return whether `__main__` has all functions and classes of its file."""
    main = vars(sys.modules["__main__"])
    file = main.get("__file__")
    return isinstance(file, str) and os.path.isfile(file) and main.keys() >= _definitions(file)


def _definitions(file: str) -> set[str]:
    import ast
    import tokenize

    with tokenize.open(file) as stream:
        body = ast.parse(stream.read()).body
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in body if isinstance(node, kinds)}
