"""AMQP messages as a hub stores them: sections are sliced, never re-encoded, so that bodies keep their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.amqp.codec import AmqpDecodeError, Encoded, Symbol, decode, described, encode, map_of_encoded, skip

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, AMQP_SEQUENCE, AMQP_VALUE, FOOTER = range(0x75, 0x79)

BATCH_FORMAT = 0x80013700
"""message-format of a transfer whose data sections are whole encoded messages (Event Hubs batch)."""

_PROPERTY_NAMES = (
    "message_id",
    "user_id",
    "to",
    "subject",
    "reply_to",
    "correlation_id",
    "content_type",
    "content_encoding",
    "absolute_expiry_time",
    "creation_time",
    "group_id",
    "group_sequence",
    "reply_to_group_id",
)


@dataclass(frozen=True, slots=True)
class BareMessage:
    """A message as its sender wrote it: annotations with encoded values, and the bytes from the properties section on."""

    annotations: Mapping[Any, Encoded]
    bare: bytes
    delivery_annotations: Mapping[Any, Encoded] = field(default_factory=dict)


def sections(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (code, start, start of the value, end) of each section. Raises AmqpDecodeError."""
    position = 0
    while position < len(data):
        start = position
        if data[position] != 0x00:
            raise AmqpDecodeError("a message section does not start with a descriptor")
        code, value_at = decode(data, position + 1)
        if not isinstance(code, int) or not HEADER <= code <= FOOTER:
            raise AmqpDecodeError(f"unknown message section {code!r}")
        position = skip(data, value_at)
        yield code, start, value_at, position


def split(data: bytes) -> BareMessage:
    """Drop the header, which is the hop's, and decode the sender's annotations.

    Raises AmqpDecodeError.
    """
    annotations: dict[int, dict[Any, Encoded]] = {}
    kept: list[bytes] = []
    for code, start, value_at, end in sections(data):
        if code in (DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS):
            annotations[code] = map_of_encoded(data, value_at)
        elif code in (PROPERTIES, APPLICATION_PROPERTIES):
            decode(data, value_at)  # refuse an unreadable type here: no receiver could read the event
            kept.append(data[start:end])
        elif code >= DATA:
            kept.append(data[start:end])
    own = annotations.get(MESSAGE_ANNOTATIONS, {})
    return BareMessage(own, b"".join(kept), annotations.get(DELIVERY_ANNOTATIONS, {}))


def unpack(message_format: int, payload: bytes) -> list[BareMessage]:
    """The messages of a transfer: one, or those of a batch. Raises AmqpDecodeError."""
    if message_format != BATCH_FORMAT:
        return [split(payload)]
    messages: list[BareMessage] = []
    for code, _, value_at, _ in sections(payload):
        if code == DATA:
            inner, _ = decode(payload, value_at)
            if not isinstance(inner, bytes):
                raise AmqpDecodeError("a data section of a batch does not hold binary data")
            messages.append(split(inner))
    return messages


@dataclass(frozen=True, slots=True)
class Request:
    """A request to `$cbs` or `$management`."""

    message_id: Any
    reply_to: str | None
    properties: dict[str, Any]
    value: Any


def read_request(payload: bytes) -> Request:
    properties: list[Any] = []
    application: dict[str, Any] = {}
    value: Any = None
    for code, _, value_at, _ in sections(payload):
        if code in (PROPERTIES, APPLICATION_PROPERTIES, AMQP_VALUE):
            content, _ = decode(payload, value_at)
            if code == PROPERTIES and isinstance(content, list):
                properties = content
            elif code == APPLICATION_PROPERTIES and isinstance(content, dict):
                application = {str(key): item for key, item in content.items()}
            elif code == AMQP_VALUE:
                value = content
    named = dict(zip(_PROPERTY_NAMES, properties, strict=False))
    return Request(named.get("message_id"), named.get("reply_to"), application, value)


def section(code: int, content: Mapping[Any, Any]) -> bytes:
    return b"\x00\x53" + bytes((code,)) + encode(content)


def properties_section(**named: Any) -> bytes:
    return described(PROPERTIES, [encode(named.get(name)) for name in _PROPERTY_NAMES])


def data_section(body: bytes) -> bytes:
    return b"\x00\x53\x75" + encode(body)


def response(correlation_id: Any, application: Mapping[str, Any], value: Any) -> bytes:
    return b"".join(
        (
            properties_section(correlation_id=correlation_id),
            section(APPLICATION_PROPERTIES, application),
            b"\x00\x53\x77" + encode(value),
        )
    )


def annotated(annotations: Mapping[Any, Any], bare: bytes) -> bytes:
    """The message as a receiver gets it: annotations, then the sender's bytes."""
    return section(MESSAGE_ANNOTATIONS, symbolic(annotations)) + bare


def symbolic(annotations: Mapping[Any, Any]) -> dict[Any, Any]:
    """Annotations have symbols as their keys; senders write strings, too."""
    return {Symbol(key) if isinstance(key, str) else key: value for key, value in annotations.items()}
