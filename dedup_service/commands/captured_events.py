"""Input events as captured messages, and back: what `capture` writes, `try` reads as `run` would have received it. Pure."""

from __future__ import annotations

import math
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dedup_service.core.events import InputEvent
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
from wire.formats.capture import Captured, CaptureError, Typed, read
from wire.formats.names import named

LEFT_OUT = frozenset(("iothub-connection-auth-method", "iothub-connection-auth-generation-id"))
"""Annotations about how a device authenticates, which are nobody's business here."""
BINARY, BINARY_BASE64, ENCODING, DOUBLE, FLOAT = "binary", "binary-base64", "amqp-base64", "double", "float"
_IDS = ("message-id", "correlation-id")
_TEXTS = ("content-type", "content-encoding", "user-id")
_CREATION_TIME = "creation-time"
_NUMBERS = (Ubyte, Ushort, Uint, Ulong, Byte, Short, Long, Timestamp)
_WORDS = (Char, Symbol)
_READ: dict[str, Callable[[Any], Any]] = {
    **{kind.__name__.lower(): kind for kind in (*_NUMBERS, *_WORDS)},
    DOUBLE: float,
    FLOAT: Float,
    "uuid": uuid.UUID,
    BINARY: str.encode,
    BINARY_BASE64: lambda text: b64decode(text, validate=True),
    ENCODING: lambda text: Encoded(b64decode(text, validate=True)),
}
"""By the name of a type: its value from what stands in a file (docs/formats.md)."""


def captured_event(event: InputEvent) -> Captured:
    system = {
        "content-type": event.content_type,
        "content-encoding": event.content_encoding,
        "message-id": event.message_id,
        "correlation-id": event.correlation_id,
        "user-id": event.user_id,
        _CREATION_TIME: event.creation_time,
    }
    return Captured(
        event.body,
        {name: _told(value) for name, value in event.annotations.items() if name not in LEFT_OUT},
        {name: _told(value) for name, value in system.items() if value is not None},
        {name: _told(value) for name, value in event.application_properties.items()},
        event.body_is_binary,
    )


def _told(value: Any) -> Any:
    """The value as a file has it. What the SDK has made of a list or map has no type of its own; its text stands for
    it, as for a format that asks for it."""
    kind = type(value)
    if kind in (type(None), bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind in _NUMBERS:
        return Typed(kind.__name__.lower(), int(value))
    if kind in _WORDS:
        return Typed(kind.__name__.lower(), str(value))
    if kind in (float, Float):
        return Typed(FLOAT if kind is Float else DOUBLE, float(value) if math.isfinite(value) else repr(float(value)))
    if kind is uuid.UUID:
        return Typed("uuid", str(value))
    if kind is Encoded:
        return Typed(ENCODING, b64encode(value.data).decode())
    return _bytes_told(value) if kind is bytes else str(value)


def _bytes_told(value: bytes) -> Typed:
    """Text that came through the Kafka protocol is binary, and stays legible."""
    try:
        return Typed(BINARY, value.decode())
    except UnicodeDecodeError:
        return Typed(BINARY_BASE64, b64encode(value).decode())


def input_events(text: bytes) -> list[InputEvent]:
    """The events of a file, in order. Raises CaptureError."""
    return [_input_event(number, captured) for number, captured in enumerate(read(text), 1)]


def _input_event(number: int, captured: Captured) -> InputEvent:
    where = f"event {number}, "
    system = dict(_values(where + "system", captured.system))
    known = {name: _taken(system, name) for name in (*_IDS, *_TEXTS)}
    creation_time = _creation_time(where + "system", _taken(system, _CREATION_TIME))
    texts = {name: named({name: known[name]}, name) for name in _TEXTS}
    return InputEvent(
        partition_id="0",
        sequence_number=number,
        offset=str(number),
        enqueued_ms=0,
        body=captured.body,
        body_is_binary=captured.body_is_binary,
        content_type=texts["content-type"],
        content_encoding=texts["content-encoding"],
        message_id=known["message-id"],
        correlation_id=known["correlation-id"],
        application_properties=dict(_values(where + "properties", captured.properties)),
        annotations={**system, **dict(_values(where + "annotations", captured.annotations))},
        user_id=texts["user-id"],
        creation_time=creation_time,
    )


def _creation_time(where: str, value: Any) -> Timestamp | None:
    """Raises CaptureError."""
    if value is None or type(value) is Timestamp:
        return value
    if type(value) is int:
        return Timestamp(value)
    raise CaptureError(f"{where}, {_CREATION_TIME}: {value!r} is no timestamp, that is, milliseconds since 1970")


def _taken(values: dict[str, Any], wanted: str) -> Any:
    """The value of this name, in whatever case, which is then no longer among the others."""
    name = next((name for name in values if name.casefold() == wanted), None)
    return None if name is None else values.pop(name)


def _values(where: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield name, _value(f"{where}, {name}", value) if isinstance(value, Typed) else value


def _value(where: str, value: Typed) -> Any:
    """Raises CaptureError."""
    if value.type not in _READ:
        raise CaptureError(f"{where}: the type {value.type!r} is none of {', '.join(sorted(_READ))}")
    try:
        return _READ[value.type](value.value)
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise CaptureError(f"{where}: {value.value!r} is no {value.type}: {error}") from None
