"""The state of a log ⇄ a snapshot: strict JSON, compressed, that a release names by its digest.

Invariants
1. Parsing accepts exactly the fields below with exactly their types: a function that has nothing
   temporary has none of the fields for that.
2. Pure: no I/O, no clock.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from scatter.log import statement
from scatter.model import Fallback, FunctionState

MAGIC = b"SCS2"
MAX_SNAPSHOT_BYTES = 256 << 20
"""Largest snapshot, inflated."""


def write(began: int, functions: Mapping[str, FunctionState]) -> bytes:
    """Return a state as bytes.

    Args:
        began: Sequence at which the epoch began.
        functions: Every function that the log ever named.

    """
    rows = [
        {
            "live": statement.change_fields(state.live),
            **{name: getattr(state, name) for name in _STATE_FIELDS},
            "kept": list(state.kept),
            "keys": list(state.keys),
            **_extras(state),
        }
        for _, state in sorted(functions.items())
    ]
    return MAGIC + zlib.compress(statement.write_json({"began": began, "functions": rows}), 6)


def _extras(state: FunctionState) -> dict[str, Any]:
    """Return the fields that most functions do not have in a snapshot."""
    found: dict[str, Any] = {"rolled_back": True} if state.rolled_back else {}
    if state.fallback is not None:
        found |= {"expires": state.expires, "fallback": _fallback_fields(state.fallback)}
    return found


def _fallback_fields(fallback: Fallback) -> dict[str, Any]:
    return {
        "live": statement.change_fields(fallback.live),
        **{name: getattr(fallback, name) for name in _FALLBACK_FIELDS},
        "keys": list(fallback.keys),
    }


_FALLBACK_FIELDS = {
    "sequence": int,
    "author": str,
    "time": str,
    "previous": int,
    "rolled_back": bool,
}
_STATE_FIELDS = {
    "sequence": int,
    "author": str,
    "time": str,
    "last": int,
    "previous": int,
    "floor": int,
}


def read(snapshot: bytes) -> tuple[int, dict[str, FunctionState]]:
    """Return the sequence at which the epoch began, and the functions.

    Raises:
        ValueError, TypeError, KeyError, RecursionError, Untrusted, zlib.error: It is no snapshot.

    """
    if snapshot[:4] != MAGIC:
        raise ValueError("it does not begin with SCS2")
    inflater = zlib.decompressobj()
    text = inflater.decompress(snapshot[4:], MAX_SNAPSHOT_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("it is cut short or too long, or followed by more")
    state = json.loads(text.decode("utf-8"))
    statement.check_text(state)
    if type(state) is not dict or state.keys() != {"began", "functions"}:
        raise TypeError("it has other fields than expected")
    began, rows = state["began"], state["functions"]
    if type(began) is not int or type(rows) is not list:
        raise TypeError("a number and a list were expected")
    if not 0 <= began <= statement.MAX_NUMBER:
        raise ValueError("a number is out of range")
    states = [_read_state(row) for row in rows]
    found = {state.function: state for state in states}
    if len(found) != len(states):
        raise ValueError("a function occurs twice")
    return began, found


def _read_state(row: Any) -> FunctionState:
    must = {"live", "kept", "keys", *_STATE_FIELDS}
    extras = {} if type(row) is not dict else {n: row.pop(n) for n in _EXTRAS & row.keys()}
    if (
        type(row) is not dict
        or row.keys() != must
        or ("expires" in extras) != ("fallback" in extras)
    ):
        raise TypeError("a row has other fields than expected")
    live, kept = statement.read_change(row.pop("live")), row.pop("kept")
    keys = _read_keys(row.pop("keys"))
    if type(kept) is not list or not all(type(n) is int and n > 0 for n in kept):
        raise TypeError("kept versions are numbers")
    _check_types(row, _STATE_FIELDS)
    state = FunctionState(
        function=live.function,
        live=live,
        kept=tuple(kept),
        keys=keys,
        **row,
        **_read_extras(extras),
    )
    least = (state.sequence - 1, state.previous, state.floor - 1, state.last - (live.version or 0))
    most = max(state.sequence, state.last, state.previous, state.floor - 1, *kept)
    if min(least) < 0 or most > statement.MAX_NUMBER:
        raise ValueError("a number is out of range")
    _check_fallback(state)
    return state


_EXTRAS = {"expires", "fallback", "rolled_back"}


def _read_extras(extras: dict[str, Any]) -> dict[str, Any]:
    if extras.get("rolled_back", True) is not True:
        raise TypeError("what was not rolled back does not say so")
    if "fallback" not in extras:
        return extras
    if type(extras["expires"]) is not str or not statement.is_time(extras["expires"]):
        raise TypeError("a temporary version has no time at which it is over")
    return extras | {"fallback": _read_fallback(extras["fallback"])}


def _read_fallback(row: Any) -> Fallback:
    if type(row) is not dict or row.keys() != {"live", "keys", *_FALLBACK_FIELDS}:
        raise TypeError("a fallback has other fields than expected")
    live, keys = statement.read_change(row.pop("live")), _read_keys(row.pop("keys"))
    _check_types(row, _FALLBACK_FIELDS)
    return Fallback(live=live, keys=keys, **row)


def _check_fallback(state: FunctionState) -> None:
    """Return if what a state falls back to is of the same function, and was there before."""
    fallback = state.fallback
    if fallback is None:
        return
    if not statement.is_time(state.time):
        raise ValueError("a temporary version has no time at which it began")
    numbers = (fallback.sequence, fallback.previous, fallback.live.version or 0)
    if fallback.live.function != state.function or fallback.live.version is None:
        raise ValueError("a fallback is of another function, or of none")
    if min(numbers) < 0 or numbers[0] > state.sequence or max(numbers[1:]) > state.last:
        raise ValueError("a number of a fallback is out of range")


def _read_keys(keys: Any) -> tuple[str, ...]:
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise TypeError("keys are texts")
    return tuple(keys)


def _check_types(row: dict[str, Any], types: Mapping[str, type]) -> None:
    for name, value in row.items():
        if type(value) is not types[name]:
            raise TypeError(f"{name} has the wrong type")
