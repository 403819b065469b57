"""What a purchase costs. Edit me, save, and ask the shop again."""

from catalog import unit_price
from discounts import discount

import scatter

asked = 0  # state: it stays when the code changes


def rounded(amount: float) -> float:
    """Return an amount as it is paid."""
    return round(amount, 2)


@scatter.track
def price(item: str, quantity: int) -> float:
    """Return what `quantity` pieces of `item` cost."""
    global asked
    asked += 1
    total = unit_price(item) * quantity
    return rounded(total - discount(total, quantity))
