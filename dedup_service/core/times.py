"""Source times, as senders write them (RFC 3339)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

SECONDS = len("2026-01-31T06:00:00")
KNOWN_TIMES = 10_000
"""All copies of a reading have the same time, and many readings of one moment."""


@lru_cache(KNOWN_TIMES)
def source_time_ms(text: str | None) -> int | None:
    """Milliseconds since the epoch; None where there is no time or no one can tell which."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return int(time.timestamp() * 1000) if time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def is_late(time: str | None, enqueued_ms: int, window_ms: int) -> bool:
    """Whether a reading was stored and forwarded for longer than its window: the other copies may have come and gone."""
    if time is None:
        return False
    # Most are not late, and to compare texts of one form is far quicker than to read times.
    is_plain = time[-1:] == "Z" and time[4:11:3] == "--T"
    if is_plain and time[:SECONDS] > _seconds((enqueued_ms - window_ms) // 1000):
        return False
    at_ms = source_time_ms(time)
    return at_ms is not None and enqueued_ms - at_ms > window_ms


@lru_cache(KNOWN_TIMES)
def _seconds(at: int) -> str:
    """In UTC, without fractions and offset: as texts such times have the same order as the times themselves."""
    return datetime.fromtimestamp(max(0, at), UTC).isoformat()[:SECONDS]


def rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
