"""One process of the fault run: calls the application all the time, and checks every result.

    python -m benchmarks.faults_worker URL NAMESPACE FOLDER NAME

Prints lines of JSON. `state` lines say what the functions return and what the agent says of
itself, whenever that changes, and twice a second; `switch` lines are the agent's `on_switch`. Takes
lines on stdin: `spin SECONDS` keeps the main thread busy, `fork FILE` forks a child that writes the
same to FILE until FILE.stop is there, `end` ends it.

Checked for each thread: all places of a function that carry its stamp have the same one, or a call
was torn; and what the thread saw, one after the other, is explained by the states that this
process went through, in their order, or functions of one release were seen apart.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from collections import deque
from typing import Any

from benchmarks.faults_app import HOMES, INNER, NAMES

CALLERS = 3
PAUSE_S = 0.003
EXPLAIN_ROUNDS = 300
"""How many rounds of a caller `on_switch` may come after the first one that saw the switch. Not
seconds: a process that is frozen in between makes no rounds."""

Seen = tuple[tuple[str, int], ...]
_states: list[dict[str, int]] = [dict.fromkeys(NAMES, 0)]
_wrong: list[str] = []
_functions: dict[str, Any] = {}
_out = [1]
_lock = threading.Lock()
_calls = [0] * (CALLERS + 2)


def main(url: str, namespace: str, folder: str, name: str) -> None:
    """Run until told to end."""
    sys.path.insert(0, folder)
    for module, shorts in HOMES.items():
        loaded = importlib.import_module(module)
        _functions.update({short: getattr(loaded, short) for short in shorts})
    import scatter_agent

    scatter_agent.start(url, namespace=namespace, application=name, wait=10, on_switch=_switched)
    for number in range(CALLERS):
        threading.Thread(target=_call_always, args=(number,), daemon=True).start()
    threading.Thread(target=_tell_always, daemon=True).start()
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        if word == "spin":
            _spin(float(argument))
        elif word == "fork" and os.fork() == 0:
            _be_child(argument)
        elif word == "end":
            break
    while any(explainer.has_open for explainer in _explainers) and not _wrong:
        time.sleep(0.01)
    _say(_state())


def _spin(time_s: float) -> None:
    until = time.monotonic() + time_s
    while time.monotonic() < until:
        _round(CALLERS)


def _be_child(file: str) -> None:
    """Say what a forked child runs, until nobody wants to know any more."""
    global _lock
    _lock = threading.Lock()
    _out[0] = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    until = time.monotonic() + 60
    while not os.path.exists(file + ".stop") and time.monotonic() < until:
        _say(_state())
        time.sleep(0.02)
    os._exit(0)


# calls -----------------------------------------------------------------------------------


def _round(number: int) -> Seen:
    """Call every function once; return (function, stamp) of all that took part, in order."""
    seen: list[tuple[str, int]] = []
    for short, function in _functions.items():
        for part in function():
            if len(set(part[1:])) != 1:
                _wrong.append(f"torn: {part} in a call of {short}")
            seen.append((part[0], part[1]))
    _calls[number] += 1
    return tuple(seen)


class _Explainer:
    """Explains what one thread saw by the states of the process, never going back."""

    def __init__(self) -> None:
        self._at = 0
        self._open: deque[Seen] = deque()

    def see(self, seen: Seen) -> None:
        state = _states[self._at]
        if not self._open and all(state[name] == stamp for name, stamp in seen):
            return
        self._open.append(seen)
        while self._open and self._explain(self._open[0]):
            self._open.popleft()
        if len(self._open) > EXPLAIN_ROUNDS:
            _wrong.append(f"mixed: {self._open.popleft()} after state {_states[self._at]}")

    @property
    def has_open(self) -> bool:
        """Whether something that was seen is not explained yet."""
        return bool(self._open)

    def _explain(self, seen: Seen) -> bool:
        at, states = self._at, _states
        for name, stamp in seen:
            while states[at][name] != stamp:
                at += 1
                if at == len(states):
                    return False
        self._at = at
        return True


_explainers: list[_Explainer] = []


def _call_always(number: int) -> None:
    explainer = _Explainer()
    _explainers.append(explainer)
    while True:
        try:
            explainer.see(_round(number))
        except BaseException as error:
            _wrong.append(f"a caller got {type(error).__name__}: {error}")
        time.sleep(PAUSE_S)


def _vector() -> dict[str, int]:
    """Return function → the stamp that it returns of itself."""
    return {short: function()[0][1] for short, function in _functions.items()}


# telling ---------------------------------------------------------------------------------


def _switched(switch: Any) -> None:
    """Note a state of this process. Only the agent's thread switches, and it is the one here."""
    stamps = _vector()
    _states.append(stamps)
    changed = {name: stamps[name.partition(":")[2]] for name in switch.versions}
    line = {"kind": "switch", "t": time.time(), "sequence": switch.sequence, "stamps": changed}
    _say(line | {"versions": dict(switch.versions), "before": dict(switch.before)})


def _state() -> dict[str, Any]:
    import scatter_agent

    status = scatter_agent.status()
    return {
        "kind": "state",
        "t": time.time(),
        "vector": _vector(),
        "state": status.state,
        "sequence": status.sequence,
        "reason": f"{status.code} {status.reason}".strip(),
        "refused": [f"{r.function} v{r.version} {r.reason}" for r in status.refused],
        "doorbell": status.doorbell,
        "contact_at": status.contact_at,
        "calls": sum(_calls),
        "wrong": _wrong[:5],
        "wrong_count": len(_wrong),
    }


def _tell_always() -> None:
    last: tuple[Any, ...] = ()
    told_at = 0.0
    while True:
        state = _state()
        now = tuple(str(state[key]) for key in ("vector", "state", "sequence", "reason", "refused"))
        if now != last or state["t"] - told_at > 0.5:
            last, told_at = now, state["t"]
            _say(state)
        time.sleep(0.01)


def _say(line: dict[str, Any]) -> None:
    with _lock:
        os.write(_out[0], (json.dumps(line) + "\n").encode())


assert INNER.keys() == NAMES.keys()
if __name__ == "__main__":
    main(*sys.argv[1:])
