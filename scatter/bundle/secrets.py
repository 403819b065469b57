"""Whether a value that is about to be shipped looks like a credential, by its name and randomness.

A guess: it errs on the side of asking, and whoever means to ship the value says so.
"""

from __future__ import annotations

import math
import re
from collections import Counter

_NAME = re.compile(r"pass(word|wd)?|secret|token|api_?key|credential|private_?key", re.I)
_LEAST = 6
_RANDOM_LENGTH, _RANDOM_BITS = 20, 4.3
"""From this length on, text without spaces and with so many bits a character is no language."""
_MOST_VALUES = 10_000


def looks_secret(name: str, value: object) -> bool:
    """Return whether a value, or one inside it, looks like a credential."""
    todo: list[tuple[str, object]] = [(name, value)]
    looked_at = 0
    while todo and looked_at < _MOST_VALUES:
        looked_at += 1
        called, inner = todo.pop()
        if _is_secret(called, inner):
            return True
        if isinstance(inner, dict):
            todo += [(key if isinstance(key, str) else called, v) for key, v in inner.items()]
        elif isinstance(inner, (list, tuple, set, frozenset)):
            todo += [(called, v) for v in inner]
    return False


def _is_secret(name: str, value: object) -> bool:
    if not isinstance(value, (str, bytes)) or len(value) < _LEAST:
        return False
    if _NAME.search(name):
        return True
    text = value if isinstance(value, str) else value.decode("latin-1")
    return len(text) >= _RANDOM_LENGTH and " " not in text and _bits(text) > _RANDOM_BITS


def _bits(text: str) -> float:
    """Return the bits of a character, by how often each occurs."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)
