"""The few AMQP types that the SDK's codec lacks or chooses wrongly.

Senders may put any AMQP type into application properties. Where the SDK has no decoder (char, decimal32, decimal64), it
fails on the whole event, and the partition would be stuck on it forever. Where it picks a type by the Python value (a whole
number above 31 bits), it can't encode what it has just decoded. `tests/unit/service/adapters/test_amqp_types.py` checks both
against the SDK in use. If the SDK's table looks different, nothing is changed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from azure.eventhub._pyamqp.message import Message

MESSAGE_ANNOTATIONS = 0x72
CHAR, DECIMAL32, DECIMAL64 = 0x73, 0x74, 0x84
_INT_MAX, _LONG_MAX = 2**31, 2**63


def make_decoding_total() -> None:
    """Makes the SDK deliver every event, so that none can block those behind it.

    The missing types become text or bytes. An event that the SDK can't decode at all is delivered with its annotations,
    which the hub wrote, and with its bytes as the AMQP value. If the SDK's internals look different, nothing is changed.
    """
    from azure.eventhub._pyamqp import _decode
    from azure.eventhub._pyamqp.aio import _receiver_async

    table = getattr(_decode, "_DECODE_BY_CONSTRUCTOR", None)
    original = getattr(_receiver_async, "decode_payload", None)
    if not isinstance(table, list) or len(table) != 256 or original is None:
        return
    for constructor, decoder in _MISSING.items():
        if table[constructor] is None:
            table[constructor] = decoder
    if not isinstance(original, _TotalDecoder):
        _receiver_async.decode_payload = _TotalDecoder(original, table)  # type: ignore[assignment,attr-defined]  # a guarded patch of the SDK


_MISSING = {
    CHAR: lambda buffer: (buffer[4:], bytes(buffer[:4]).decode("utf-32-be", "replace").encode()),
    DECIMAL32: lambda buffer: (buffer[4:], bytes(buffer[:4])),
    DECIMAL64: lambda buffer: (buffer[8:], bytes(buffer[:8])),
}


class _TotalDecoder:
    def __init__(self, original: Callable[[memoryview], Any], table: list[Any]) -> None:
        self._original = original
        self._table = table

    def __call__(self, payload: memoryview) -> Any:
        try:
            return self._original(payload)
        except Exception:  # noqa: BLE001  # whatever it is, the event must be delivered
            return Message(message_annotations=self._annotations(payload), value=bytes(payload))

    def _annotations(self, payload: memoryview) -> dict[Any, Any]:
        """Found among the first sections: a hub writes its annotations before what the sender wrote."""
        rest = payload
        while True:
            code, rest = rest[2], rest[3:]
            rest, value = self._table[rest[0]](rest[1:])
            if code == MESSAGE_ANNOTATIONS:
                annotations: dict[Any, Any] = value
                return annotations


def readable(value: Any) -> Any:
    """A decoded value with text as str: the SDK returns strings, symbols and binaries alike as bytes."""
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
    """A value that the SDK can encode as an application property: simple types, and integers in a width that fits."""
    if isinstance(value, bool) or value is None or isinstance(value, str | bytes | float | uuid.UUID | datetime):
        return value
    if isinstance(value, int):
        if -_INT_MAX <= value < _INT_MAX:
            return value
        return {"TYPE": "LONG" if -_LONG_MAX <= value < _LONG_MAX else "ULONG", "VALUE": value}
    return str(value)
