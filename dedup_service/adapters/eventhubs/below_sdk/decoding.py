"""Decodes received events once, straight into what the pipeline works on. The SDK decodes each into a message, wraps that in
an annotated message and that in event data, most of which is never used.

This is below the SDK's public interface and therefore checked against it: `agrees_with_the_sdk` says whether an event
decoded here equals the SDK's result. What can't be decoded here is left to the SDK.

Source: AMQP 1.0, parts 1.6 and 3.2.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from azure.eventhub import EventData
from azure.eventhub._pyamqp import _decode
from azure.eventhub._pyamqp._encode import encode_payload
from azure.eventhub._pyamqp.message import Message, Properties

from dedup_service.adapters.eventhubs.below_sdk.values import (
    FIXED,
    NULL,
    PLAIN,
    SYMBOL,
    TEXT,
    NotDecodableError,
    Read,
    Unpack,
    bytes_of,
    plain,
    typed,
)
from dedup_service.core.events import InputEvent
from dedup_service.core.property_types import MessageId, Timestamp, Ulong, text_of

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)
DESCRIBED, SMALL_ULONG = 0x00, 0x53
NAME = (SYMBOL, TEXT)
LIST, LONG_LIST, EMPTY_LIST = 0xC0, 0xD0, 0x45
MAP, LONG_MAP = 0xC1, 0xD1
MESSAGE_ID, USER_ID, CORRELATION_ID, CONTENT_TYPE, CONTENT_ENCODING, CREATION_TIME = 0, 1, 5, 6, 7, 9
MESSAGE_ID_TYPES = (str, bytes, uuid.UUID, Ulong)
MAX_NAMES = 1000
"""How many property names are kept decoded. A sender that makes up more of them costs time, not memory."""

_names: dict[bytes, str] = {}
_unsigned_4 = struct.Struct(">I").unpack_from


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
    is_binary = True
    while at < end:
        if data[at] != DESCRIBED or data[at + 1] != SMALL_ULONG:
            raise NotDecodableError("a section has an unusual descriptor")
        section, at = data[at + 2], at + 3
        if section == DATA:
            content, at = bytes_of(data, at)
            body.append(content)
        elif section == APPLICATION_PROPERTIES:
            application_properties, at = _map(data, at, PLAIN, typed)
        elif section == MESSAGE_ANNOTATIONS:
            annotations, at = _map(data, at, FIXED, plain)
        elif section == PROPERTIES:
            properties, at = _list(data, at)
        elif section in (SEQUENCE, VALUE):
            is_binary, start, at = False, at, _end(data, at)
            body.append(data[start:at])
        elif section in (HEADER, DELIVERY_ANNOTATIONS, FOOTER):
            at = _end(data, at)
        else:
            raise NotDecodableError("an unknown section")
    if at != end:
        raise NotDecodableError("truncated")
    properties += [None] * (CREATION_TIME + 1 - len(properties))
    creation_time = properties[CREATION_TIME]
    return InputEvent(
        partition_id,
        int(annotations["x-opt-sequence-number"]),
        str(annotations["x-opt-offset"]),
        int(annotations["x-opt-enqueued-time"]),
        body[0] if len(body) == 1 else b"".join(body),
        is_binary,
        _text(properties[CONTENT_TYPE]),
        _text(properties[CONTENT_ENCODING]),
        _message_id(properties[MESSAGE_ID]),
        _message_id(properties[CORRELATION_ID]),
        application_properties,
        annotations,
        text_of(properties[USER_ID]),
        creation_time if type(creation_time) is Timestamp else None,
    )


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    text = text_of(value)
    if text is None:
        raise NotDecodableError("a content type or encoding that is not text")
    return text


def _message_id(value: Any) -> MessageId | None:
    if value is None or type(value) in MESSAGE_ID_TYPES:
        message_id: MessageId | None = value
        return message_id
    if isinstance(value, str | int):
        return str(value)
    raise NotDecodableError("a message-id of a type that it can't have")


def _map(data: bytes, at: int, numbers: dict[int, tuple[int, Unpack]], other: Read) -> tuple[dict[str, Any], int]:
    """`numbers`: those that are read as Python's own types; `other` reads everything else but short strings."""
    code = data[at]
    if code == MAP:
        count, at = data[at + 2], at + 3
    elif code == LONG_MAP:
        count, at = _unsigned_4(data, at + 5)[0], at + 9
    else:
        raise NotDecodableError("not a map")
    items: dict[str, Any] = {}
    names = _names
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
            name, at = _unusual_name(data, at)
        code = data[at]
        if code == TEXT:
            start = at + 2
            stop = start + data[at + 1]
            try:
                items[name] = data[start:stop].decode()
                at = stop
            except UnicodeDecodeError:
                items[name], at = other(data, at)
        elif code in numbers:
            size, unpack = numbers[code]
            (items[name],) = unpack(data, at + 1)
            at += 1 + size
        else:
            items[name], at = other(data, at)
    return items, at


def _unusual_name(data: bytes, at: int) -> tuple[str, int]:
    """A long name, or a number: annotations may have those."""
    value, at = plain(data, at)
    if not isinstance(value, str | int):
        raise NotDecodableError("a name that is not text")
    return str(value), at


def _learn(raw: bytes) -> str:
    name = raw.decode()
    if len(_names) >= MAX_NAMES:
        _names.clear()
    _names[raw] = name
    return name


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    """The fields of the properties section; symbols among them come as plain text."""
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
        code = data[at]
        if code == NULL:
            value, at = None, at + 1
        elif code in NAME:
            start = at + 2
            at = start + data[at + 1]
            value = data[start:at].decode()
        else:
            value, at = typed(data, at)
        values.append(value)
    return values, at


def _end(data: bytes, at: int) -> int:
    """The position behind a section's value, which is not needed itself."""
    return typed(data, at)[1]


SAMPLE = Message(
    message_annotations={
        "x-opt-sequence-number": {"TYPE": "LONG", "VALUE": 2**40},
        "x-opt-offset": "42",
        "x-opt-enqueued-time": {"TYPE": "TIMESTAMP", "VALUE": 1_700_000_000_000},
        "iothub-connection-device-id": "edge-\u00b5",
    },
    properties=Properties(
        message_id="m",
        correlation_id="c",
        content_type="application/json",
        content_encoding="utf-8",
        creation_time=1_700_000_000_000,
    ),
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
