"""Source times, as senders write them (RFC 3339)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

SECONDS = len("2026-01-31T06:00:00")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
KNOWN_TIMES = 10_000
"""How many are cached: all copies of a reading have the same time, as have many readings of one moment."""


@lru_cache(KNOWN_TIMES)
def source_time_ms(text: str | None) -> int | None:
    """Milliseconds since the epoch; None when the text is missing, has no offset, or is not a time."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return int(time.timestamp() * 1000) if time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def is_late(time: str | None, enqueued_ms: int, window_ms: int) -> bool:
    """Whether a reading was stored and forwarded for longer than its window, so that the claims of other copies may have
    expired."""
    at_ms = source_time_ms(time)
    return at_ms is not None and enqueued_ms - at_ms > window_ms


def late_places(times: Sequence[str | None], enqueued_ms: int, window_ms: int) -> list[int]:
    """The places of an event's readings that are late (see `is_late`). Most are not, and times in UTC order like their
    texts, which are far quicker to compare than to parse."""
    from_then_on = _plain(max(0, enqueued_ms - window_ms) // 1000 + 1)
    return [
        place
        for place, time in enumerate(times)
        if time is not None
        and not (time > from_then_on and time[4:17:3] == "--T::" and time[-1] == "Z")
        and is_late(time, enqueued_ms, window_ms)
    ]


@lru_cache(KNOWN_TIMES)
def _plain(at_seconds: int) -> str:
    return datetime.fromtimestamp(at_seconds, UTC).isoformat()[:SECONDS]


def duration_seconds(text: str) -> int:
    """Parses `90s`, `90m`, `24h` or `1d`. Raises ValueError."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 90m, 24h or 1d")
    return int(match[1]) * UNIT_SECONDS[match[2]]


def rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
