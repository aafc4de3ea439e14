"""Text for a terminal. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from wire.times import rfc3339

Say = Callable[[str], None]
"""Prints a line. Raises OSError, if nobody reads it any more."""


def shown(text: str, most: int | None = None) -> str:
    """Text from a plant as one line that no terminal takes for commands; no longer than `most` characters."""
    plain = "".join(symbol if symbol.isprintable() else symbol.encode("unicode_escape").decode() for symbol in text)
    return plain if most is None or len(plain) <= most else f"{plain[: most - 1]}…"


def as_json(value: Any) -> str:
    """For programs."""
    return json.dumps(value, separators=(",", ":"))


def time_text(time_ns: int | None) -> str:
    """Also of a time that can't be sent."""
    if time_ns is None:
        return "no time"
    try:
        return rfc3339(time_ns)
    except ValueError:
        return f"{time_ns} ns since 1970"


def number_of(count: int, what: str) -> str:
    """`1 variable`, `2 variables`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
