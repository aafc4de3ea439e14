"""Source times, and which readings are late. What a time is decides wire/times.py: RFC 3339 exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

import msgspec

from wire.times import parse_rfc3339
from wire.times import rfc3339 as rfc3339_ns

SECONDS = len("2026-01-31T06:00:00")
MILLISECONDS = len("2026-01-31T06:00:00.000")
T = len("2026-01-31")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
NS_PER_MS = 1_000_000
KNOWN_TIMES = 10_000
"""How many are cached: all copies of a reading have the same time, as have many readings of one moment."""


Time = str | int | None
"""A reading's source time: RFC 3339 text, or ns since 1970."""


class _Moments(msgspec.Struct, array_like=True, gc=False):
    """A struct, because msgspec prepares its type only once."""

    times: list[Annotated[datetime, msgspec.Meta(tz=True)] | None]


def source_time_ms(time: Time) -> int | None:
    """Milliseconds since the epoch; None when the time is missing, or is a text that is not a time."""
    return time // NS_PER_MS if isinstance(time, int) else _text_ms(time)


@lru_cache(KNOWN_TIMES)
def _text_ms(text: str | None) -> int | None:
    time_ns = None if text is None else parse_rfc3339(text)
    return None if time_ns is None else time_ns // NS_PER_MS


def is_late(time: Time, enqueued_ms: int, window_ms: int) -> bool:
    """Whether a reading was stored and forwarded for longer than its window, so that the claims of other copies may have
    expired."""
    at_ms = source_time_ms(time)
    return at_ms is not None and enqueued_ms - at_ms > window_ms


def late_and_unreadable(
    times: Sequence[Time], enqueued_ms: int, window_ms: int, *, are_times: bool = False
) -> tuple[list[int], int]:
    """The places of an event's readings that are late (see `is_late`), and how many have a text in place of a time.
    `are_times`: whether `all_times` has said so of them.

    This runs for every copy. Most are not late, and times in UTC order like their texts, which are far quicker to compare
    than to parse.
    """
    from_then_on = _plain(max(0, enqueued_ms - window_ms) // 1000 + 1)
    are_times = are_times or all_times(times)
    late, unreadable = [], 0
    for place, time in enumerate(times):
        if time is None:
            continue
        if are_times and type(time) is str and time > from_then_on and time[T] == "T" and time[-1] == "Z":
            continue
        if source_time_ms(time) is None:
            unreadable += 1
        elif is_late(time, enqueued_ms, window_ms):
            late.append(place)
    return late, unreadable


def all_times(times: Sequence[Time]) -> bool:
    """Whether msgspec, which is quick, and quickest with many at once, reads them all. Of what ends in `Z` it accepts
    nothing that `parse_rfc3339` refuses; otherwise it also accepts an offset without a colon."""
    try:
        msgspec.convert((times,), _Moments)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False
    return True


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
    """Raises ValueError beyond the years 1 to 9999."""
    return f"{rfc3339_ns(at_ms * NS_PER_MS)[:MILLISECONDS]}Z"
