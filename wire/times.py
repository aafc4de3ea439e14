"""Parses and formats source times, exact to the nanosecond. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

TimeFormat = Literal["rfc3339", "s", "ms", "us", "ns"]
_NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"^(.*T\d\d:\d\d:\d\d)\.(\d{1,9})(.*)$", re.IGNORECASE)


def nanoseconds(stamp: datetime) -> int:
    """Nanoseconds since 1970, exactly: datetime's float conversion would lose digits. A stamp without a time zone is UTC."""
    delta = (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)) - _EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


def parse_time(value: Any, form: TimeFormat) -> int:
    """Nanoseconds since 1970, from a number of units since then or from RFC 3339 text. Raises ValueError."""
    if form == "rfc3339":
        return _parse_rfc3339(str(value).strip())
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a time")  # noqa: TRY004  # a wrong reading, not a wrong program
    try:
        return int(Decimal(str(value)) * _NS_PER_UNIT[form])
    except (ArithmeticError, ValueError):
        raise ValueError("the time is not a number") from None


def _parse_rfc3339(text: str) -> int:
    fraction = 0
    if (match := _FRACTION.match(text)) is not None:
        text, fraction = match[1] + match[3], int(match[2].ljust(9, "0"))
    try:
        return nanoseconds(datetime.fromisoformat(text)) + fraction
    except OverflowError:
        raise ValueError("the time is out of range") from None


def rfc3339(time_ns: int) -> str:
    """RFC 3339 text in UTC, with microseconds, or with nanoseconds where the source has them."""
    microseconds, rest = divmod(time_ns, 1000)
    text = (_EPOCH + timedelta(microseconds=microseconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text}{rest:03d}Z" if rest else f"{text}Z"
