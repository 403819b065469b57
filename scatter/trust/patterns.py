"""OpenSSH's patterns: `*`, `?`, lists with commas, `!` before what is left out.

Not here: what they are compared with. Invariants

1. A `?` is one byte, of UTF-8, as it is for C programs.
2. Time grows with text times pattern, never faster, whatever the pattern is.
"""

from __future__ import annotations

_MAX_PATTERN = 1022
"""Bytes; OpenSSH 9.2 takes a list with a longer pattern to match nothing."""


def fits(text: str, pattern: str) -> bool:
    """Return whether a text fits one pattern."""
    return _fits(_bytes(text), _bytes(pattern))


def _bytes(text: str) -> str:
    """Return a text of one character for each byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _fits(text: str, pattern: str) -> bool:
    at = place = 0
    star, kept = -1, 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, kept = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in (text[at], "?"):
            at, place = at + 1, place + 1
        elif star >= 0:  # let the last star take one character more
            kept += 1
            at, place = kept, star + 1
        else:
            return False
    return not pattern[place:].strip("*")


def fits_list(text: str, patterns: str) -> bool:
    """Return whether a text fits one of some patterns, and none that begins with `!`."""
    text, found = _bytes(text), False
    for pattern in _bytes(patterns).split(","):
        is_negated = pattern.startswith("!")
        bare = pattern[is_negated:]
        if len(bare) > _MAX_PATTERN:
            return False
        if _fits(text, bare):
            if is_negated:
                return False
            found = True
    return found
