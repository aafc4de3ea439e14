"""The few AMQP types that the SDK's codec lacks, or picks wrongly.

Senders may put any AMQP type into application properties. Where the SDK has no decoder (char, decimal32, decimal64) it fails
on the whole event, and the partition would stand still on it for ever; where it has no choice (a whole number above 31
bits) it can't encode what it has just decoded. `tests/unit/test_amqp_types.py` holds both against the SDK in use; with
an SDK whose table looks different nothing is changed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

CHAR, DECIMAL32, DECIMAL64 = 0x73, 0x74, 0x84
_INT_MAX, _LONG_MAX = 2**31, 2**63


def extend_decoder() -> None:
    """Teach the SDK's decoder the missing types: a char becomes text, the decimals their bytes."""
    from azure.eventhub._pyamqp import _decode

    table = getattr(_decode, "_DECODE_BY_CONSTRUCTOR", None)
    if not isinstance(table, list) or len(table) != 256:
        return
    missing = {
        CHAR: lambda buffer: (buffer[4:], bytes(buffer[:4]).decode("utf-32-be", "replace").encode()),
        DECIMAL32: lambda buffer: (buffer[4:], bytes(buffer[:4])),
        DECIMAL64: lambda buffer: (buffer[8:], bytes(buffer[:8])),
    }
    for constructor, decoder in missing.items():
        if table[constructor] is None:
            table[constructor] = decoder


def readable(value: Any) -> Any:
    """A decoded value with text as str: the SDK gives strings, symbols and binaries as bytes, all alike."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def readable_map(properties: Mapping[Any, Any] | None) -> dict[str, Any]:
    if not properties:
        return {}
    return {str(readable(name)): readable(value) for name, value in properties.items()}


def encodable(value: Any) -> Any:
    """A value that the SDK can encode as an application property: simple types, whole numbers in a width that fits."""
    if isinstance(value, bool) or value is None or isinstance(value, str | bytes | float | uuid.UUID | datetime | Decimal):
        return value
    if isinstance(value, int):
        if -_INT_MAX <= value < _INT_MAX:
            return value
        return {"TYPE": "LONG" if -_LONG_MAX <= value < _LONG_MAX else "ULONG", "VALUE": value}
    return str(value)
