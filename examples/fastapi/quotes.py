"""What a purchase costs. Edit me, save, and ask the service again."""

from pydantic import BaseModel

import scatter

PRICES = {"coffee": 3.50, "tea": 2.80}
answered = 0  # state: it goes on counting when the code changes


class Quote(BaseModel):
    """A price, and the how many-th answer it is."""

    item: str
    total: float
    answered: int


def rebate(quantity: int) -> float:
    """Return the share that a buyer of many is let off."""
    return 0.10 if quantity >= 10 else 0.0


@scatter.track
async def quote(item: str, quantity: int) -> Quote:
    """Quote a price."""
    global answered
    answered += 1
    total = PRICES[item] * quantity * (1 - rebate(quantity))
    return Quote(item=item, total=round(total, 2), answered=answered)
