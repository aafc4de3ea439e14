"""Events and readings as the core sees them: plain values, no SDK types.

Structs and not dataclasses, since there is one of each for every copy: they are made in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

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
    """False where the AMQP body is a value or a sequence, which no IoT Hub sends; `body` is then its text."""
    content_type: str | None = None
    content_encoding: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    application_properties: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What the sender said; hostile."""
    annotations: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What the hub said, IoT Hub's system properties among it."""

    @property
    def replica(self) -> str:
        """IoT Hub's word for who sent it; where there is no IoT Hub, the sender's own."""
        device = self.annotations.get(DEVICE_ID)
        if device:
            module = self.annotations.get(MODULE_ID)
            return f"{device}/{module}" if module else str(device)
        for name in REPLICA_PROPERTIES:
            if isinstance(value := self.application_properties.get(name), str) and value:
                return value[:128]
        return UNKNOWN_REPLICA


class Elements(Protocol):
    """The bytes of an event's readings, in order."""

    def __getitem__(self, index: int, /) -> bytes: ...


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One copy of a reading, found in an event."""

    index: int
    """Its place in the event."""
    source: str
    id: str
    elements: Elements
    """Of its event: the elements of a batch, or the whole body as the only one."""
    content_hash: bytes
    """Of what two copies of one reading must agree on: the data, or the group's choice of it."""
    time: str | None = None
    """The source time as the sender wrote it (RFC 3339)."""
    sequence: str | None = None
    epoch: str | None = None
    """Of the sequence: another one when the source's counter started over."""

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return self.elements[self.index]


class BadReading(msgspec.Struct, frozen=True, gc=False):
    """A copy that can't be deduplicated; it never claims."""

    index: int
    reason: str
    raw: bytes


class Extraction(msgspec.Struct, frozen=True, gc=False):
    """What an event holds. `batch`: the body is a JSON array, of which a part can be published. `binary`: the attributes are
    application properties, and the body is the data."""

    readings: list[Reading]
    bad: list[BadReading] = msgspec.field(default_factory=list)
    batch: bool = False
    binary: bool = False
    text_bytes: int = 0
    """What the readings' bytes take up besides the body."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Which copy: it recognises itself when it is read again, which a mere flag could not."""

    incarnation: int
    """Of the input hub: a hash of its name and creation time (32 bits)."""
    partition: int
    sequence_number: int
    index: int
