"""Events and readings as the core sees them: plain values, no SDK types.

They are structs rather than dataclasses, because there is one of each for every copy, and a struct is created in a tenth of
the time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import msgspec

from dedup_service.core.property_types import MessageId, Timestamp, text_of
from dedup_service.errors import UndeliverableError
from wire.cloudevents import PROPERTY_PREFIXES, REPLICA_ATTRIBUTE

DEVICE_ID = "iothub-connection-device-id"
MODULE_ID = "iothub-connection-module-id"
IOTHUB_ENQUEUED_TIME = "iothub-enqueuedtime"
MESSAGE_SOURCE = "iothub-message-source"
REPLICA_PROPERTIES = tuple(prefix + REPLICA_ATTRIBUTE for prefix in PROPERTY_PREFIXES)
UNKNOWN_REPLICA = "unknown"


class InputEvent(msgspec.Struct, frozen=True, gc=False):
    """One message of an input hub."""

    partition_id: str
    sequence_number: int
    offset: str
    enqueued_ms: int
    body: bytes
    body_is_binary: bool = True
    """False when the AMQP body is a value or a sequence, which IoT Hub never sends, or when the event can't be decoded;
    `body` then holds its bytes as AMQP encodes them."""
    content_type: str | None = None
    content_encoding: str | None = None
    message_id: MessageId | None = None
    correlation_id: MessageId | None = None
    application_properties: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Set by the sender; hostile. Values have the types of core/property_types.py."""
    annotations: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Set by the hub, including IoT Hub's system properties."""
    user_id: str | None = None
    creation_time: Timestamp | None = None
    """As the sender says; None also where it is no timestamp."""

    @property
    def replica(self) -> str:
        """The sender as identified by IoT Hub; without it, as it identifies itself."""
        device = self.annotations.get(DEVICE_ID)
        if device:
            module = self.annotations.get(MODULE_ID)
            return f"{device}/{module}" if module else str(device)
        for name in REPLICA_PROPERTIES:
            if text := text_of(self.application_properties.get(name)):
                return text[:128]
        return UNKNOWN_REPLICA


class Elements(Protocol):
    """The bytes of an event's readings, by index."""

    def __getitem__(self, index: int, /) -> bytes: ...


class Container(Protocol):
    """A body that holds several readings, and can be made again with some of them (core/containers.py)."""

    @property
    def content_type(self) -> str | None:
        """Of a body that was made again."""
        ...

    @property
    def content_encoding(self) -> str | None: ...

    def holding(self, indexes: Collection[int]) -> bytes:
        """The body with these readings only, of which there is at least one."""
        ...


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One copy of a reading, found in an event."""

    index: int
    """Its place in the event."""
    source: str
    id: str
    elements: Elements
    """The elements of its event: those of a batch, or the whole body as the only one."""
    content_hash: bytes
    """Hash of what two copies of one reading must agree on: the data, or the parts of it that the group lists."""
    time: str | int | None = None
    """The source time as the sender wrote it (RFC 3339), an empty text if that was not even text; or in ns since 1970, where
    the format has other times."""
    sequence: str | None = None
    epoch: str | None = None
    """Epoch of the sequence; it changes when the source's counter starts over."""

    @property
    def raw(self) -> bytes:
        """The reading's bytes."""
        return self.elements[self.index]


class BadReading(msgspec.Struct, frozen=True, gc=False):
    """A copy that can't be deduplicated, and therefore never claims."""

    index: int
    reason: str
    detail: str = ""


class Extraction(msgspec.Struct, frozen=True, gc=False):
    """The readings of an event."""

    readings: list[Reading]
    bad: list[BadReading] = msgspec.field(default_factory=list)
    container: Container | None = None
    """None where the body is one reading, or holds none."""
    binary: bool = False
    """The attributes are application properties, and the body is the data."""
    format_name: str | None = None
    """The sender's format; None for CloudEvents."""
    not_readings: list[str] = msgspec.field(default_factory=list)
    """What else is in the body, such as `metadata`, from a fixed set."""
    text_bytes: int = 0
    """How much memory the extraction takes up in addition to the body, about."""
    opaque: UndeliverableError | None = None
    """Why the body of a binary event can't be decoded; `raw` is then the body as it came."""
    forms: Mapping[int, bytes] = msgspec.field(default_factory=dict)
    """In structured mode, each reading by its index as it is published, but for the service's own members."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Identifies a copy, so that it recognises itself when it is read again; a mere flag would not."""

    incarnation: int
    """Incarnation of the input hub: 32 bits hashed from its name and creation time."""
    partition: int
    sequence_number: int
    index: int
