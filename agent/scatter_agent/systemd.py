"""What a service tells systemd of itself (`sd_notify(3)`); nothing where nobody listens."""

from __future__ import annotations

import os
import socket
import time


def notify(**fields: str | int) -> bool:
    """Tell systemd something, such as `READY=1` or `STATUS="12 functions"`.

    A text is told as one line: what others wrote, such as an error of theirs, tells nothing else.

    Returns:
        Whether somebody was told.

    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    # a value of two lines would be two fields: what a status repeats may be anybody's
    text = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in fields.items())
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire:
            wire.sendto(text.encode("utf-8", "replace"), address)
    except OSError:
        return False  # whoever listened is gone; that ends no service
    return True


def reloading() -> bool:
    """Tell systemd that a reload has begun; `notify(READY=1)` ends it."""
    now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return notify(RELOADING=1, MONOTONIC_USEC=now_us)


def watchdog_s() -> float | None:
    """Return within how many seconds systemd wants to hear `WATCHDOG=1`; None: it does not."""
    wanted, of = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or of not in ("", str(os.getpid())):
        return None
    return int(wanted) / 1_000_000
