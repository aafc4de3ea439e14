"""Values, statuses and times of OPC UA servers, as OPC Publisher writes them into JSON. Pure.

Sources: OPC 10000-4 7.11 (DataValue) and 7.39 (StatusCode), OPC 10000-6 5.2.2.5 (DateTime) and 5.4 (JSON).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote

from wire.formats.bodies import known_time
from wire.formats.messages import Found, NotReading, Part, Path, Refused
from wire.times import parse_rfc3339

Reason = Literal[
    "unreadable-body", "binary-encoding", "unknown-shape", "no-source", "source-too-long", "no-node", "without-time",
    "unreadable-time", "unreadable-status", "no-event-id", "too-deep",
]  # fmt: skip
"""Why a part is refused."""
What = Literal[
    "metadata", "keep-alive", "runtime-state", "diagnostics", "discovery", "model-change", "constant", "no-value", "empty"
]
"""What a part is that is no reading."""

STATUS_MASK = 0xFFFF0000
"""Severity and subcode. The rest is added by each subscription for itself, such as the bit that tells of its full queue."""
MAX_SOURCE_LENGTH = 2048
"""Of the whole text; more is never published."""
MAX_DEPTH = 64
"""Deeper values are refused, because whoever makes ids of them or compares them does so by recursion."""
_KNOWN_SOURCES = 10_000
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,19}")
_SAFE_INTEGERS = 2**53
"""Below it every reader of JSON, and RFC 8785, keeps integers exact."""
_VARIANT = {"Type", "Body", "Dimensions"}
_URI_SAFE, _NAME_SAFE = "!$&'()*+,;=:@/?[]", "!$&'()*+,;=:@"


Names = tuple[str, ...]
"""What makes a source: the server, and names in it."""


class FaultError(Exception):
    """The part can't be a reading."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


@lru_cache(maxsize=_KNOWN_SOURCES)
def source_name(server: str, *names: str) -> str:
    """`server#name/name`, percent-encoded such that no two lists of names give one text. A URI, or relative to one.

    Raises FaultError when it is too long: many readings of one message may share a name that fills half of its body.
    """
    source = ""
    if sum(map(len, names), len(server)) <= MAX_SOURCE_LENGTH:
        path = "/".join(_quoted(name, _NAME_SAFE) for name in names)
        source = f"{_quoted(server, _URI_SAFE)}#{path}"
    if not source or len(source) > MAX_SOURCE_LENGTH:
        raise FaultError("source-too-long", f"the names of the source make more than {MAX_SOURCE_LENGTH} characters")
    return source


def _quoted(text: str, safe: str) -> str:
    return quote(text, safe, errors="surrogatepass")  # which a property may hold, if not the body


def as_text(value: Any) -> str:
    """Empty for what is no text."""
    return value if isinstance(value, str) else ""


def not_reading(place: Path, what: What) -> NotReading:
    return NotReading(place, what)


def refused(place: Path, reason: Reason, detail: str) -> Refused:
    return Refused(place, reason, detail)


def data_value(place: Path, names: Names, field: Mapping[str, Any], *, is_repetition: bool = False) -> Part:
    """What an object with `Value`, `StatusCode` and `SourceTimestamp` is, each of which may be missing."""
    try:
        source = source_name(*names)
        status = status_code(field)
        stamp, value = field.get("SourceTimestamp"), field.get("Value")
        time_ns = source_time(stamp)
        value = canonical(plain(value) if isinstance(value, dict) else value)
    except FaultError as fault:
        return refused(place, fault.reason, fault.detail)
    if time_ns is None:
        if value is None and status != 0:
            return not_reading(place, "no-value")
        return refused(place, "without-time", "the value has no SourceTimestamp, so its copies can't be told from new ones")
    agreed, data = {"value": value, "status": status}, {"value": value, "status": status, "time": stamp}
    return Found(place, source, agreed, time_ns, data, is_repetition)


def plain(value: Any) -> Any:
    """Without the type that the reversible encoding writes around a value."""
    if isinstance(value, dict) and value.keys() <= _VARIANT and "Type" in value and "Body" in value:
        return value["Body"]
    return value


def canonical(value: Any, depth: int = 0) -> Any:
    """The same for all ways to write a number: 5, 5.0 and "5", which is how some encoders write integers of 64 bits.
    Integers that not every reader keeps exact become text. Raises FaultError for what is nested too deep."""
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _number(int(value)) if _INTEGER.fullmatch(value) else value
    if isinstance(value, int):
        return _number(value)
    if depth == MAX_DEPTH:
        raise FaultError("too-deep", f"the value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [canonical(element, depth + 1) for element in value]
    return {name: canonical(member, depth + 1) for name, member in value.items()}


def _number(number: float) -> float | str:
    if -_SAFE_INTEGERS < number < _SAFE_INTEGERS:
        return number if isinstance(number, float) and not number.is_integer() else int(number)
    if abs(number) < 2**64:
        return str(int(number))
    return float(number) if abs(number) <= sys.float_info.max else str(number)


def status_code(field: Mapping[str, Any]) -> int | str:
    """The masked code, 0 for Good; the symbol where there is no code. Raises FaultError for anything else.

    It is an object, a number or text, or left out, and called `Status` by some versions."""
    status = field.get("StatusCode")
    if status is None:
        status = field.get("Status")
        if status is None:
            return 0
    if isinstance(status, dict):
        status = status.get("Code", status.get("Symbol"))
    if status is None or status == "Good":
        return 0
    status = canonical(status) if isinstance(status, str | int | float) else status
    if isinstance(status, int) and not isinstance(status, bool):
        return status & STATUS_MASK
    if isinstance(status, str):
        return status
    raise FaultError("unreadable-status", "the StatusCode is neither a code nor a symbol")


def source_time(stamp: Any) -> int | None:
    """Nanoseconds since 1970; None for no time, also where it is written as the earliest or latest time there is. Raises
    FaultError for what is no time."""
    if stamp is None:
        return None
    time_ns = parse_rfc3339(stamp) if isinstance(stamp, str) else None
    # A leap second would get the identity of the second behind it.
    if time_ns is None or stamp.startswith("60", 17):
        raise FaultError("unreadable-time", "the time is not RFC 3339")
    return known_time(time_ns)
