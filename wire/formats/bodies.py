"""Bodies as JSON values, and times and numbers in them."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from wire.formats.messages import Refused
from wire.times import TimeFormat, parse_time

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,299})(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_EARLIEST_NS, _LATEST_NS = -11_644_473_600 * 10**9, 253_402_300_799 * 10**9
"""1601-01-01T00:00:00Z and 9999-12-31T23:59:59Z: OPC UA and .NET write these, and times beyond, for "none"."""
_decode = msgspec.json.Decoder().decode


def json_of(body: bytes) -> Any | Refused:
    """The value, also of UTF-16 and UTF-32, which some gateways can be set to, or why there is none."""
    try:
        encoding = json.detect_encoding(body)
        return _decode(body if encoding == "utf-8" else body.decode(encoding))
    except (ValueError, RecursionError) as error:
        return Refused((), "unreadable-body", f"the body is not JSON: {error}")


class BadTimeError(ValueError):
    """There is a time, and it can't be read."""


def time_of(value: Any, form: TimeFormat) -> int | None:
    """Nanoseconds since 1970; None where there is no time. Raises BadTimeError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadTimeError(f"a {type(value).__name__} is not a time")
    try:
        return known_time(parse_time(value, form))
    except (ValueError, ArithmeticError) as error:
        raise BadTimeError(f"{str(value)[:64]!r} as {form}: {error}") from None


def known_time(time_ns: int) -> int | None:
    """None for the earliest and the latest times there are, which stand for no time: all values of such a source would have
    the same."""
    return time_ns if _EARLIEST_NS < time_ns < _LATEST_NS else None


def number_of(value: Any) -> Any:
    """The number that a text is; anything else as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        try:
            return _decode(value)
        except ValueError:  # out of a double's range
            return value
    return value
