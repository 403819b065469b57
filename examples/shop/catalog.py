"""What the shop sells."""

PRICES = {"coffee": 2.50, "tea": 2.00, "cake": 3.75}


def unit_price(item: str) -> float:
    """Return the price of one piece.

    Raises:
        KeyError: The shop does not sell it.

    """
    return PRICES[item]
