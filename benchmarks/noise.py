"""How far a machine can be trusted just now: what others take of it, and how even its time is.

A fixed loop is timed many times. On a quiet machine its median is near its minimum; what lies over
it is somebody else's work, a clock that changes, or a hypervisor. Linux tells besides how much
time others took of this machine, and the hypervisor of it (`/proc/stat`).
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LOOPS, TURNS = 200, 20_000
WATCHES_S = 0.5
MOST_MEDIAN, MOST_P99, MOST_OTHERS = 1.15, 2.0, 0.15
_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What was seen while nothing was measured.

    Attributes:
        p50, p99: Of a fixed loop, as multiples of its least time.
        others: Cores that others took while this program slept; None where nothing tells.

    """

    p50: float
    p99: float
    others: float | None

    @property
    def is_quiet(self) -> bool:
        """Whether figures of now are worth keeping."""
        even = self.p50 <= MOST_MEDIAN and self.p99 <= MOST_P99
        return even and (self.others is None or self.others <= MOST_OTHERS)

    def __str__(self) -> str:
        others = "" if self.others is None else f", others took {self.others:.0%} of a core"
        loop = f"a fixed loop took {self.p50:.2f}× its least time (p99 {self.p99:.2f}×)"
        return f"{'quiet' if self.is_quiet else 'too noisy'}: {loop}{others}"

    def fields(self) -> dict[str, Any]:
        """Return it as JSON fields."""
        return asdict(self)


def listen() -> Noise:
    """Listen for about two thirds of a second."""
    before, began = _busy_s(), time.perf_counter()
    time.sleep(WATCHES_S)
    after, took = _busy_s(), time.perf_counter() - began
    times = sorted(_loop() for _ in range(LOOPS))
    return Noise(
        p50=statistics.median(times) / times[0],
        p99=times[int(LOOPS * 0.99)] / times[0],
        others=None if before is None or after is None else (after - before) / took,
    )


def worse(one: Noise, other: Noise) -> Noise:
    """Return the worst of both."""
    shares = [noise.others for noise in (one, other) if noise.others is not None]
    return Noise(
        p50=max(one.p50, other.p50),
        p99=max(one.p99, other.p99),
        others=max(shares) if shares else None,
    )


def _loop() -> float:
    began = time.perf_counter()
    for _ in range(TURNS):
        pass
    return time.perf_counter() - began


def _busy_s() -> float | None:
    """Return the processor time that this machine has spent, that of the hypervisor with it."""
    try:
        user, nice, system, _, _, irq, soft, steal = map(
            int, _STAT.read_text().split("\n", 1)[0].split()[1:9]
        )
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
