"""A module of many functions, as people write them, of which one is edited."""

from __future__ import annotations

_HEAD = '''"""Rules for orders."""

from __future__ import annotations

import logging
import re
from decimal import Decimal

log = logging.getLogger(__name__)
RATES = {"de": Decimal("0.19"), "fr": Decimal("0.20"), "it": Decimal("0.22")}
_CODE = re.compile(r"[a-z]{2}")
'''
_RULE = """def rule_{number}(country: str, quantity: int = 1) -> Decimal:
    if not _CODE.fullmatch(country):
        raise ValueError(f"no country: {{country}}")
    return {before} + RATES[country] * quantity{edit}
"""
_STRETCH = 5
"""So many rules make use of each other."""


def edited(functions: int) -> int:
    """Return the number of the function that edits change: the first of a stretch in the middle."""
    return functions // 2 // _STRETCH * _STRETCH


def text(functions: int, stamp: int) -> str:
    """Return the module: six lines a function; the edited one returns 0.19 and `stamp` for "de"."""
    rules = [_HEAD]
    for number in range(functions):
        before = f"rule_{number - 1}(country)" if number % _STRETCH else "Decimal(0)"
        edit = f" + {stamp}" if number == edited(functions) else ""
        rules.append(_RULE.format(number=number, before=before, edit=edit))
    return "\n\n".join(rules)
