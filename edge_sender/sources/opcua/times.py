"""Times as OPC UA has them: units of 100 ns ("ticks") since 1601. Pure.

Source: OPC 10000-6, 5.2.2.5 (DateTime) and 5.4.2.6 (its JSON).
"""

from __future__ import annotations

from wire.times import LAST_NS, rfc3339

NS_PER_TICK = 100
TICKS_UNTIL_1970 = 116_444_736_000_000_000
LAST_SECOND_NS = LAST_NS - LAST_NS % 10**9
EARLIEST, LATEST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
"""Texts of times that have no value, and of those behind the last one that can be written."""


def time_ns(ticks: int | None) -> int | None:
    """Nanoseconds since 1970, exactly. Where the count begins and where it ends is how servers write "no time"."""
    if ticks is None or ticks <= 0:
        return None
    ns = (ticks - TICKS_UNTIL_1970) * NS_PER_TICK
    return ns if ns < LAST_SECOND_NS else None


def iso8601(ticks: int) -> str:
    """With as many decimal places as the time needs."""
    if ticks <= 0:
        return EARLIEST
    ns = time_ns(ticks)
    if ns is None:
        return LATEST
    seconds, fraction = rfc3339(ns).removesuffix("Z").split(".")
    fraction = fraction.rstrip("0")
    return f"{seconds}.{fraction}Z" if fraction else f"{seconds}Z"
