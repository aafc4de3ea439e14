"""Makes up for the types in which the SDK's codec falls short.

It decodes strings, symbols and binaries alike to bytes, numbers of any width to int, and a described value to what it
describes; a type that it does not know (char, decimal32, decimal64), or a malformed value, makes it fail on the whole event,
and the partition would be stuck on it forever. Therefore events keep their bytes beside what the SDK makes of them, and are
decoded from those (decoding.py). If the SDK's internals look different, nothing is changed, and properties have the types
that it gives them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from azure.eventhub._pyamqp.message import Message

from dedup_service.core.property_types import (
    Byte,
    Float,
    Long,
    Short,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
    type_name,
)
from dedup_service.errors import UNSUPPORTED_PROPERTY, UndeliverableError

MESSAGE_ANNOTATIONS = 0x72
CHAR, DECIMAL32, DECIMAL64, DECIMAL128 = 0x73, 0x74, 0x84, 0x94


def make_decoding_total() -> None:
    """Makes the SDK deliver every event, with its bytes, so that none can block those behind it.

    Of an event that the SDK can't decode at all, it delivers the annotations, which the hub wrote, and the bytes as the AMQP
    value. If the SDK's internals look different, nothing is changed.
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


class WholeMessage(Message):
    """A message as the SDK decodes it, with the bytes that it was decoded from."""

    payload: bytes


class _TotalDecoder:
    def __init__(self, original: Callable[[memoryview], Any], table: list[Any]) -> None:
        self._original = original
        self._table = table

    def __call__(self, payload: memoryview) -> WholeMessage:
        try:
            message = WholeMessage(*self._original(payload))
        except Exception:  # noqa: BLE001  # whatever it is, the event must be delivered
            message = WholeMessage(message_annotations=self._annotations(payload), value=bytes(payload))
        message.payload = bytes(payload)
        return message

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


_SDK_TYPES: dict[type, str] = {
    Ubyte: "UBYTE",
    Ushort: "USHORT",
    Uint: "UINT",
    Ulong: "ULONG",
    Byte: "BYTE",
    Short: "SHORT",
    Long: "LONG",
    Timestamp: "TIMESTAMP",
    Float: "FLOAT",
    Symbol: "SYMBOL",
}
_SAME_IN_THE_SDK = (type(None), bool, int, float, str, bytes, uuid.UUID)
_INT_MAX, _LONG_MAX = 2**31, 2**63


def unsupported(name: str, value: object) -> UndeliverableError:
    return UndeliverableError(
        UNSUPPORTED_PROPERTY, f"application property {name[:64]!r} has the AMQP type {type_name(value)}, which can't be sent"
    )


def encodable(name: str, value: Any) -> Any:
    """An application property as the SDK can encode it. Raises UndeliverableError for a value that it can't: its text would
    be another value."""
    kind = type(value)
    if kind in _SDK_TYPES:
        return {"TYPE": _SDK_TYPES[kind], "VALUE": value}
    if kind not in _SAME_IN_THE_SDK:
        raise unsupported(name, value)
    if kind is int and not -_INT_MAX <= value < _INT_MAX:
        return {"TYPE": "LONG" if value < _LONG_MAX else "ULONG", "VALUE": value}
    return value
