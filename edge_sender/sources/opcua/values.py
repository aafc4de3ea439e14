"""Values as JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID


class UnencodableError(ValueError):
    """There is no JSON for this value (yet)."""


def plain(value: Any) -> Any:
    """A value as JSON. Numbers that JSON lacks become text, as in OPC UA's own JSON encoding. Raises UnencodableError."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    raise UnencodableError(f"a value of the type {type(value).__name__} has no JSON encoding yet")


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnencodableError("a text is no UTF-8") from None
    return value
