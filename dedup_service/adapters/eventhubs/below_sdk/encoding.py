"""Encodes outgoing events once. The SDK encodes each event twice: to see whether it fits into its batch, and to add it.

This is below the SDK's public interface and therefore checked against it: `agrees_with_the_sdk` says whether an event added
here equals what the SDK would have added. If it does not, the SDK's own way is used, which can encode fewer types.

Source: AMQP 1.0, parts 1.6 and 3.2.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from azure.eventhub import EventData, EventDataBatch

from dedup_service.adapters.eventhubs.below_sdk.amqp_types import unsupported
from dedup_service.core.memo import NAMES, MemoDict
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.property_types import (
    Byte,
    Char,
    Encoded,
    Float,
    Long,
    Short,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
)

DATA = 5
"""Index of the data sections in the SDK's message."""
SHORT = 256
SHORT_OVERHEAD, LONG_OVERHEAD = 5, 8
"""Bytes that a data section adds to a batch, for a short and for a long event."""
INT_MAX, LONG_MAX = 2**31, 2**63

PROPERTIES = b"\x00\x53\x73"
APPLICATION_PROPERTIES = b"\x00\x53\x74"
DATA_SECTION = b"\x00\x53\x75"
NO_PROPERTIES = (None, None, None, None)
_TEXT_HEADS = [bytes((0xA1, size)) for size in range(SHORT)]
NULL, TRUE, FALSE = b"\x40", b"\x41", b"\x42"
_int = struct.Struct(">Bi").pack
_long = struct.Struct(">Bq").pack
_unsigned_long = struct.Struct(">BQ").pack
_double = struct.Struct(">Bd").pack
_long_size = struct.Struct(">BI").pack
_compound = struct.Struct(">BII").pack


class NotEncodableError(Exception):
    """The value has no encoding: it does not come from AMQP."""


def encode(event: OutgoingEvent) -> bytes:
    """Encodes a whole AMQP message. Raises UndeliverableError, which names the property that has no encoding."""
    try:
        return _encode(event)
    except (NotEncodableError, UnicodeEncodeError):
        for name, value in event.properties.items():
            if not _is_encodable(name, value):
                raise unsupported(name, value) from None
        raise


def _is_encodable(name: str, value: Any) -> bool:
    try:
        return bool(_NAMES[name] + _value(value))
    except (NotEncodableError, UnicodeEncodeError):
        return False


def _encode(event: OutgoingEvent) -> bytes:
    sections = [DATA_SECTION, _binary(event.body)]
    if event.properties:
        pairs = [part for name, value in event.properties.items() for part in (_NAMES[name], _value(value))]
        sections = [APPLICATION_PROPERTIES, _map(b"".join(pairs), len(pairs)), *sections]
    own = (event.message_id, event.correlation_id, event.content_type, event.content_encoding)
    if own != NO_PROPERTIES:
        properties = (
            _value(event.message_id),
            NULL * 4,  # user id, to, subject, reply-to
            _value(event.correlation_id),
            _symbol(event.content_type),
            _symbol(event.content_encoding),
        )
        sections = [PROPERTIES, _list(b"".join(properties), 8), *sections]
    return b"".join(sections)


def _text(text: str | None) -> bytes:
    if text is None:
        return NULL
    encoded = text.encode()
    size = len(encoded)
    return (_TEXT_HEADS[size] if size < SHORT else _long_size(0xB1, size)) + encoded


_NAMES = MemoDict(_text, NAMES)
"""Encoded names of properties."""


def _symbol(text: str | None) -> bytes:
    """Symbols are ASCII, but a sender may have written anything."""
    if text is None:
        return NULL
    encoded = text.encode("ascii", "replace")
    size = len(encoded)
    return (bytes((0xA3, size)) if size < SHORT else _long_size(0xB3, size)) + encoded


def _binary(content: bytes) -> bytes:
    size = len(content)
    return (bytes((0xA0, size)) if size < SHORT else _long_size(0xB0, size)) + content


def _value(value: Any) -> bytes:
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None:
        return NULL
    if kind is int:
        return _integer(value)
    try:
        return _ENCODE[kind](value)
    except KeyError:
        raise NotEncodableError(kind.__name__) from None


def _integer(value: int) -> bytes:
    """Encodes an int, or a longer type if the number needs it."""
    if -INT_MAX <= value < INT_MAX:
        return _int(0x71, value)
    if -LONG_MAX <= value < LONG_MAX:
        return _long(0x81, value)
    if 0 <= value < 2 * LONG_MAX:
        return _unsigned_long(0x80, value)
    raise NotEncodableError("an integer of more than 64 bits")


def _number(code: int, layout: str) -> Callable[[Any], bytes]:
    pack = struct.Struct(f">B{layout}").pack
    return lambda value: pack(code, value)


_ENCODE: dict[type, Callable[[Any], bytes]] = {
    bytes: _binary,
    bool: lambda value: TRUE if value else FALSE,
    float: lambda value: _double(0x82, value),
    uuid.UUID: lambda value: b"\x98" + value.bytes,
    Encoded: lambda value: value.data,
    Symbol: _symbol,
    Char: lambda value: b"\x73" + value.encode("utf-32-be"),
    Timestamp: _number(0x83, "q"),
    Long: _number(0x81, "q"),
    Ulong: _number(0x80, "Q"),
    Uint: _number(0x70, "I"),
    Short: _number(0x61, "h"),
    Ushort: _number(0x60, "H"),
    Byte: _number(0x51, "b"),
    Ubyte: _number(0x50, "B"),
    Float: _number(0x72, "f"),
}


def _list(content: bytes, count: int) -> bytes:
    return _compound(0xD0, len(content) + 4, count) + content


def _map(content: bytes, count: int) -> bytes:
    return _compound(0xD1, len(content) + 4, count) + content


def add_encoded(batch: EventDataBatch, payload: bytes) -> bool:
    """Returns False when the event does not fit."""
    size = batch._size + len(payload) + (SHORT_OVERHEAD if len(payload) < SHORT else LONG_OVERHEAD)
    if size > batch.max_size_in_bytes:
        return False
    message: Any = batch._message
    message[DATA].append(payload)
    batch._size = size
    batch._count += 1
    return True


SAMPLE = OutgoingEvent(
    body=b'{"value":1}',
    content_type="application/json",
    content_encoding="utf-8",
    message_id="m",
    correlation_id="c",
    properties={
        "text": "\u00b5" * SHORT,
        "bytes": b"b",
        "int": -1,
        "float": 0.5,
        "bool": True,
        "none": None,
        "time": Timestamp(2**40),
        "ulong": Ulong(2**63),
    },
    readings=1,
)


def agrees_with_the_sdk(to_event_data: Callable[[OutgoingEvent], EventData]) -> bool:
    """Whether both ways lead to the same batch. `to_event_data` makes what the SDK is given."""
    try:
        from azure.eventhub._pyamqp._decode import decode_payload

        ours, theirs = (EventDataBatch(max_size_in_bytes=1_000_000) for _ in range(2))
        theirs.add(to_event_data(SAMPLE))
        is_added = add_encoded(ours, encode(SAMPLE))
        (mine,), (its,) = (batch._message[DATA] for batch in (ours, theirs))
        same = decode_payload(memoryview(mine)) == decode_payload(memoryview(bytes(its)))
        slack = len(mine) - len(its)  # the SDK encodes lists in their compact form
        return is_added and same and len(ours) == len(theirs) == 1 and ours._size == theirs._size + slack
    except Exception:  # noqa: BLE001  # an SDK with other internals may fail in any way; then it is used as it is
        return False
