"""Decodes received events once, straight into what the pipeline works on. The SDK decodes each into a message, wraps that in
an annotated message and that in event data, most of which is never used.

This is below the SDK's public interface and therefore checked against it: `agrees_with_the_sdk` says whether an event
decoded here equals the SDK's result. Whatever is not decoded here is left to the SDK.

Source: AMQP 1.0, parts 1.6 and 3.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from azure.eventhub import EventData
from azure.eventhub._pyamqp import _decode
from azure.eventhub._pyamqp._encode import encode_payload
from azure.eventhub._pyamqp.message import Message, Properties

from dedup_service.adapters.eventhubs.below_sdk.amqp_types import readable
from dedup_service.core.events import InputEvent

MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, DATA = range(0x72, 0x76)
DESCRIBED, SMALL_ULONG = 0x00, 0x53
BINARY, TEXT, SYMBOL = 0xA0, 0xA1, 0xA3
NAME = (SYMBOL, TEXT)
BYTES, LONG_BYTES = (BINARY, TEXT, SYMBOL), (0xB0, 0xB1, 0xB3)
LIST, LONG_LIST, EMPTY_LIST = 0xC0, 0xD0, 0x45
MAP, LONG_MAP = 0xC1, 0xD1
MESSAGE_ID, CORRELATION_ID, CONTENT_TYPE, CONTENT_ENCODING = 0, 5, 6, 7
MAX_NAMES = 1000
"""How many property names are kept decoded. A sender that makes up more of them costs time, not memory."""

_names: dict[bytes, str] = {}
_unsigned_4 = struct.Struct(">I").unpack_from
_FIXED: dict[int, tuple[int, Callable[[bytes, int], tuple[Any, ...]]]] = {
    code: (layout.size, layout.unpack_from)
    for code, layout in {
        0x50: struct.Struct(">B"),
        0x51: struct.Struct(">b"),
        0x52: struct.Struct(">B"),
        0x53: struct.Struct(">B"),
        0x54: struct.Struct(">b"),
        0x55: struct.Struct(">b"),
        0x60: struct.Struct(">H"),
        0x61: struct.Struct(">h"),
        0x70: struct.Struct(">I"),
        0x71: struct.Struct(">i"),
        0x80: struct.Struct(">Q"),
        0x81: struct.Struct(">q"),
        0x82: struct.Struct(">d"),
        0x83: struct.Struct(">q"),
    }.items()
}
"""For numbers and timestamps: their size, and the function that reads them."""
_CONSTANTS = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}


class NotDecodableError(Exception):
    """The event is of a kind that is left to the SDK."""


def decode(partition_id: str, data: bytes, at: int, end: int) -> InputEvent:
    """Decodes the AMQP message in `data` from `at` to `end`. Raises NotDecodableError."""
    try:
        return _decode_event(partition_id, data, at, end)
    except Exception as error:  # whatever a sender made up, no event may block those behind it
        raise NotDecodableError(str(error)) from error


def _decode_event(partition_id: str, data: bytes, at: int, end: int) -> InputEvent:
    annotations: dict[str, Any] = {}
    application_properties: dict[str, Any] = {}
    properties: list[Any] = []
    body: list[bytes] = []
    while at < end:
        if data[at] != DESCRIBED or data[at + 1] != SMALL_ULONG:
            raise NotDecodableError("a section has an unusual descriptor")
        section, at = data[at + 2], at + 3
        if section == DATA:
            content, at = _bytes(data, at)
            body.append(content)
        elif section == APPLICATION_PROPERTIES:
            application_properties, at = _map(data, at)
        elif section == MESSAGE_ANNOTATIONS:
            annotations, at = _map(data, at)
        elif section == PROPERTIES:
            properties, at = _list(data, at)
        else:
            raise NotDecodableError("an unusual section")
    if at != end or not body:
        raise NotDecodableError("truncated, or without data")
    properties += [None] * (CONTENT_ENCODING + 1 - len(properties))
    return InputEvent(
        partition_id,
        int(annotations["x-opt-sequence-number"]),
        str(annotations["x-opt-offset"]),
        int(annotations["x-opt-enqueued-time"]),
        body[0] if len(body) == 1 else b"".join(body),
        True,
        _text(properties[CONTENT_TYPE]),
        _text(properties[CONTENT_ENCODING]),
        _text(properties[MESSAGE_ID]),
        _text(properties[CORRELATION_ID]),
        application_properties,
        annotations,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """The bytes of a binary, string or symbol, and the position behind it."""
    code = data[at]
    if code in BYTES:
        start = at + 2
        stop = start + data[at + 1]
    elif code in LONG_BYTES:
        start = at + 5
        stop = start + _unsigned_4(data, at + 1)[0]
    else:
        raise NotDecodableError("not bytes")
    return data[start:stop], stop


def _map(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    code = data[at]
    if code == MAP:
        count, at = data[at + 2], at + 3
    elif code == LONG_MAP:
        count, at = _unsigned_4(data, at + 5)[0], at + 9
    else:
        raise NotDecodableError("not a map")
    items: dict[str, Any] = {}
    names, fixed = _names, _FIXED
    for _ in range(count // 2):
        code = data[at]
        if code in NAME:  # this runs for every property of every event
            start = at + 2
            at = start + data[at + 1]
            raw = data[start:at]
            try:
                name = names[raw]
            except KeyError:
                name = _learn(raw)
        else:
            value, at = _value(data, at)
            name = str(value)
        code = data[at]
        if code == TEXT:
            start = at + 2
            at = start + data[at + 1]
            try:
                items[name] = data[start:at].decode()
            except UnicodeDecodeError:
                items[name] = data[start:at]
        elif code in fixed:
            size, unpack = fixed[code]
            (items[name],) = unpack(data, at + 1)
            at += 1 + size
        else:
            items[name], at = _value(data, at)
    return items, at


def _learn(raw: bytes) -> str:
    name = str(readable(raw))
    if len(_names) >= MAX_NAMES:
        _names.clear()
    _names[raw] = name
    return name


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    code = data[at]
    if code == LIST:
        count, at = data[at + 2], at + 3
    elif code == LONG_LIST:
        count, at = _unsigned_4(data, at + 5)[0], at + 9
    elif code == EMPTY_LIST:
        count, at = 0, at + 1
    else:
        raise NotDecodableError("not a list")
    values = []
    for _ in range(count):
        if data[at] == 0x40:
            value, at = None, at + 1
        else:
            value, at = _value(data, at)
        values.append(value)
    return values, at


def _value(data: bytes, at: int) -> tuple[Any, int]:
    """Any value, with text as str, and the position behind it."""
    code = data[at]
    if code in BYTES or code in LONG_BYTES:
        raw, at = _bytes(data, at)
        return readable(raw), at
    if code in _FIXED:
        size, unpack = _FIXED[code]
        return unpack(data, at + 1)[0], at + 1 + size
    if code in _CONSTANTS:
        return _CONSTANTS[code], at + 1
    rest, value = _decode._DECODE_BY_CONSTRUCTOR[code](memoryview(data)[at + 1 :])
    return readable(value), len(data) - len(rest)


SAMPLE = Message(
    message_annotations={
        "x-opt-sequence-number": {"TYPE": "LONG", "VALUE": 2**40},
        "x-opt-offset": "42",
        "x-opt-enqueued-time": {"TYPE": "TIMESTAMP", "VALUE": 1_700_000_000_000},
        "iothub-connection-device-id": "edge-\u00b5",
    },
    properties=Properties(message_id="m", correlation_id=b"c", content_type="application/json", content_encoding="utf-8"),
    application_properties={"text": "t" * 300, "bytes": b"\xff", "int": -1, "float": 0.5, "bool": True, "none": None},
    data=[b'{"value":1}'],
)


def agrees_with_the_sdk(to_input_event: Callable[[str, EventData], InputEvent]) -> bool:
    """Whether both ways decode an event to the same result. `to_input_event` converts the SDK's event data."""
    try:
        payload = bytes(encode_payload(bytearray(), SAMPLE))
        theirs = to_input_event("0", EventData._from_message(_decode.decode_payload(memoryview(payload))))
        return decode("0", b"?" + payload, 1, len(payload) + 1) == theirs
    except Exception:  # noqa: BLE001  # an SDK with other internals may fail in any way; then it is used as it is
        return False
