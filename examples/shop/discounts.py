"""What a customer saves."""

import scatter

VOLUME = 10
RATE = 0.10


@scatter.track
def discount(total: float, quantity: int) -> float:
    """Return what is taken off a total."""
    return total * RATE if quantity >= VOLUME else 0.0
