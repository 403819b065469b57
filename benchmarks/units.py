"""Figures for people."""

from __future__ import annotations


def show(value: float, unit: str = "s") -> str:
    """Return a figure with its unit.

    Args:
        value: The figure.
        unit: `s`, `share` of one core, `B`, `MB`, or empty for numbers.

    """
    if unit == "s":
        return _scaled(value, (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)), "ns", 1e-9)
    if unit == "B":
        return _scaled(value, (("MB", 1e6), ("kB", 1e3)), "B", 1.0)
    if unit == "share":
        return f"{value:.3%}" if value < 0.005 else f"{value:.2%}"
    return f"{value:.4g} {unit}".strip() if unit != "MB" else f"{value:.1f} MB"


def _scaled(value: float, units: tuple[tuple[str, float], ...], last: str, size: float) -> str:
    for unit, least in units:
        if abs(value) >= least:
            return f"{value / least:.3g} {unit}"
    return f"{value / size:.3g} {last}"
