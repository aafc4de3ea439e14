"""Reads and writes source times, exact to the nanosecond. Pure. Both ends read every text of a time with `parse_rfc3339`.

Source: RFC 3339 §5.6 (grammar), §5.7 (restrictions) and appendix D (leap seconds).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

TimeFormat = Literal["rfc3339", "s", "ms", "us", "ns"]
_NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAYS_OF_400_YEARS = 146_097
_LEAP_SECOND_DATES = ((6, 30), (12, 31))
_SECOND = re.compile(r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)", re.ASCII).fullmatch
_SECOND_LENGTH = len("2026-01-31T06:00:00")
_FRACTION_AND_OFFSET = re.compile(r"(?:\.(\d{1,9}+)\d*+)?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII).fullmatch
_NS_OF_DIGITS = [10 ** (9 - digits) for digits in range(10)]
"""What the last of so many digits of a fraction counts."""
_KNOWN_SECONDS = 10_000
"""How many are kept: readings of many sources come in one second."""


def parse_rfc3339(text: str) -> int | None:
    """Nanoseconds since 1970, without leap seconds; None for anything that is not a time by RFC 3339. Never raises.

    Further digits of the fraction are cut off. A space may stand for the `T`: the RFC leaves that to the application, and
    databases and languages write times in this way, with the same meaning. A leap second is read as the second behind it, as
    POSIX does, where there can be one: in the last minute of June or December in UTC. The year 0000 is a year.
    """
    fraction, offset = text[_SECOND_LENGTH + 1 : -1], None
    if text.startswith(".", _SECOND_LENGTH) and text.endswith("Z") and fraction.isdecimal() and fraction.isascii():
        fraction = fraction[:9]  # nearly all times are written like this, which needs no search
    else:
        match = _FRACTION_AND_OFFSET(text, _SECOND_LENGTH)
        if match is None:
            return None
        fraction, offset = match.groups()
    second_ns = _second_ns(text[:_SECOND_LENGTH], offset)
    return second_ns if second_ns is None or fraction is None else second_ns + int(fraction) * _NS_OF_DIGITS[len(fraction)]


@lru_cache(_KNOWN_SECONDS)
def _second_ns(text: str, offset: str | None) -> int | None:
    """Nanoseconds since 1970, of `2026-01-31T06:00:30` and `+01:00`; None for what is no second of a day that there is."""
    if _SECOND(text) is None:
        return None
    year, second = int(text[:4]), int(text[17:])
    try:
        # The calendar repeats after 400 years, and Python has no year 0.
        days = date(year or 400, int(text[5:7]), int(text[8:10])).toordinal() - (0 if year else _DAYS_OF_400_YEARS)
    except ValueError:
        return None
    minutes = (days - _EPOCH_DAY) * 1440 + int(text[11:13]) * 60 + int(text[14:16])
    if offset is not None:
        minutes -= int(offset[0] + "1") * (int(offset[1:3]) * 60 + int(offset[4:6]))
    return None if second == 60 and not _may_have_leap_second(minutes) else (minutes * 60 + second) * 10**9


def _may_have_leap_second(minutes: int) -> bool:
    """Whether this minute, counted from 1970 in UTC, is the last one of June or December."""
    try:
        day = date.fromordinal(_EPOCH_DAY + minutes // 1440)
    except (ValueError, OverflowError):  # Python has no such year
        return False
    return minutes % 1440 == 1439 and (day.month, day.day) in _LEAP_SECOND_DATES


def nanoseconds(stamp: datetime) -> int:
    """Nanoseconds since 1970, exactly: datetime's float conversion would lose digits. A stamp without a time zone is UTC."""
    delta = (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)) - _EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


FIRST_NS, LAST_NS = nanoseconds(datetime.min), nanoseconds(datetime.max) + 999
"""The times that `rfc3339` can write, those of the years 1 to 9999, in nanoseconds."""


def parse_time(value: Any, form: TimeFormat) -> int:
    """Nanoseconds since 1970, from a number of units since then or from text (see `_parse_plant_time`), for readings that
    are still to be sent. Raises ValueError, also for a time that no reading could carry."""
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a time")  # noqa: TRY004  # a wrong reading, not a wrong program
    if form == "rfc3339":
        return _writable(_parse_plant_time(str(value).strip()))
    unit_ns = _NS_PER_UNIT[form]
    return _writable(value * unit_ns if isinstance(value, int) else _scaled(str(value), unit_ns))


def _scaled(number: str, unit_ns: int) -> int:
    try:
        scaled = Decimal(number) * unit_ns
        # It is compared as it is, because to make an int of 1e999999 takes long.
        return int(scaled) if abs(scaled) <= LAST_NS else LAST_NS + 1
    except ArithmeticError:
        raise ValueError("the time is not a number") from None


def _parse_plant_time(text: str) -> int:
    """RFC 3339 as the sources of a plant write it: a time without an offset is UTC. Files and payloads often leave it out,
    while times on the wire must have it.

    A leap second is refused, because an id is made from this number: the reading would get the id of the one that the same
    source measures a second later, and one of the two would be dropped as a duplicate.
    """
    time_ns = parse_rfc3339(text)
    if time_ns is None:
        time_ns = parse_rfc3339(text + "Z")
    if time_ns is None or text[17:19] == "60":
        raise ValueError("the time is not RFC 3339")
    return time_ns


def rfc3339(time_ns: int) -> str:
    """RFC 3339 text in UTC, with microseconds, or with nanoseconds where the source has them. Raises ValueError for a time
    of other years than 1 to 9999."""
    microseconds, rest = divmod(_writable(time_ns), 1000)
    text = (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds").removesuffix("+00:00")
    return f"{text}{rest:03d}Z" if rest else f"{text}Z"


def _writable(time_ns: int) -> int:
    if not FIRST_NS <= time_ns <= LAST_NS:
        raise ValueError("the time is out of range")
    return time_ns
