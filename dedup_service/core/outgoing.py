"""Outgoing events and what all of them have in common: no forged properties, and nothing that republishing would lose."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from dedup_service.core.events import DEVICE_ID, IOTHUB_ENQUEUED_TIME, MODULE_ID, Container, InputEvent, Reading
from dedup_service.core.memo import NAMES, MemoDict
from dedup_service.core.property_types import MessageId, Timestamp

ORIGIN_PROPERTY = "dedup_origin"
INDEXES_PROPERTY = "dedup_indexes"
LATE_PROPERTY = "dedup_late"
DUPLICATE_PROPERTY = "dedup_duplicate"
DEPLOYMENT_PROPERTY = "dedup_deployment"
"""The namespace of whoever published it: several deployments may share a clean hub, and read each other's keys there."""

KEPT_ANNOTATIONS = (DEVICE_ID, MODULE_ID, IOTHUB_ENQUEUED_TIME)
"""System annotations that republishing would lose; they become application properties of the same name."""
KEPT_SYSTEM = ("content-type", "content-encoding", "message-id", "correlation-id")
FORGEABLE_PREFIXES = ("dedup_", "iothub-")
ADX_PROPERTIES = frozenset(
    name.lower() for name in ("Table", "Database", "Format", "IngestionMappingReference", "Compression", "Encoding", "Tags")
)
"""Application properties that control Azure Data Explorer's ingestion: a device must not choose where its data goes."""


class OutgoingEvent(msgspec.Struct, frozen=True, gc=False):
    body: bytes
    content_type: str | None
    content_encoding: str | None
    message_id: MessageId | None
    correlation_id: MessageId | None
    properties: Mapping[str, Any]
    """Values have the types of core/property_types.py."""
    readings: int
    indexes: tuple[int, ...] = ()
    """Those of its readings in the input event."""
    container: Container | None = None
    """Makes the body of some of the readings, if a body that is too large can be split."""
    late: frozenset[int] = frozenset()
    """Indexes of readings that arrived later than their window."""


def output_partition(by: str, partition_ids: list[str]) -> str:
    """The same text always goes to the same partition, on every pod, as long as the number of partitions stays."""
    digest = hashlib.blake2b(by.encode(), digest_size=8).digest()
    return partition_ids[int.from_bytes(digest, "big") % len(partition_ids)]


@dataclass(frozen=True, slots=True)
class OutputPolicy:
    partition_ids: list[str]
    partition_by: str
    """`source`: a source's readings stay on one partition, and batches are split where necessary; `group`: all on one."""
    group: str
    kept_adx_properties: frozenset[str] = frozenset()
    """Lower-case names that devices may use."""
    content_mode: str = "as-received"
    """`structured`: all that is known about a reading is in the body, for consumers that see nothing else."""
    deployment: str = ""
    """The deployment's namespace; empty where clean events need not tell it."""
    _partitions: MemoDict[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_partitions", MemoDict(lambda by: output_partition(by, self.partition_ids)))

    @property
    def written_partitions(self) -> list[str]:
        """Those to which anything can go."""
        return [self._partitions[self.group]] if self.partition_by == "group" else self.partition_ids

    def partition_of(self, reading: Reading) -> str:
        return self.partitions_of([reading])[0]

    def partitions_of(self, readings: Sequence[Reading]) -> list[str]:
        partitions = self._partitions
        if self.partition_by == "group":
            return [partitions[self.group]] * len(readings)
        return [partitions[reading.source] for reading in readings]


def outgoing(
    event: InputEvent,
    body: bytes,
    content_type: str | None,
    content_encoding: str | None,
    properties: Mapping[str, Any],
    readings: int,
    indexes: tuple[int, ...] = (),
    container: Container | None = None,
    late: frozenset[int] = frozenset(),
) -> OutgoingEvent:
    return OutgoingEvent(
        body,
        content_type,
        content_encoding,
        event.message_id,
        event.correlation_id,
        properties,
        readings,
        indexes,
        container,
        late,
    )


def kept_properties(event: InputEvent, kept_adx: frozenset[str]) -> dict[str, Any]:
    """The sender's properties without those that only the service, IoT Hub or the operator may set, plus IoT Hub's own."""
    is_kept = _kept_names(kept_adx)
    kept = {name: value for name, value in event.application_properties.items() if is_kept[name]}
    for name in KEPT_ANNOTATIONS:
        if name in event.annotations:
            kept[name] = event.annotations[name]
    enqueued = kept.get(IOTHUB_ENQUEUED_TIME)
    if type(enqueued) is int:  # annotations are read without their types
        kept[IOTHUB_ENQUEUED_TIME] = Timestamp(enqueued)
    return kept


def is_in_clean_events(kind: str, name: str, kept_adx: frozenset[str]) -> bool:
    """Whether clean events that are published as received have what a message has beside its body: a `property`, an
    `annotation`, or a `system` property, which may be an annotation, too. Names are not case-sensitive."""
    if kind == "property":
        return _kept_names(kept_adx)[name]
    plain = name.casefold()
    return plain in KEPT_ANNOTATIONS or (kind == "system" and plain in KEPT_SYSTEM)


@cache
def _kept_names(kept_adx: frozenset[str]) -> MemoDict[bool]:
    """By name, whether clean events keep a property of the sender."""

    def is_kept(name: str) -> bool:
        plain = name.lower()
        return not plain.startswith(FORGEABLE_PREFIXES) and (plain not in ADX_PROPERTIES or plain in kept_adx)

    return MemoDict(is_kept, NAMES)


def ranges(indexes: Sequence[int]) -> str:
    """`0-4,7` for 0, 1, 2, 3, 4, 7."""
    if len(indexes) == 1:
        return str(indexes[0])
    spans: list[str] = []
    first = last = -2
    for index in indexes:
        if index != last + 1:
            spans.append(_span(first, last))
            first = index
        last = index
    return ",".join([*spans[1:], _span(first, last)] if last >= 0 else [])


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def index_properties(indexes: Sequence[int], late: frozenset[int]) -> dict[str, str]:
    """Properties that say which readings of the input event these are, and which of them are late."""
    properties = {INDEXES_PROPERTY: ranges(indexes)}
    if late and (marked := [index for index in indexes if index in late]):
        properties[LATE_PROPERTY] = ranges(marked)
    return properties


def halves(event: OutgoingEvent) -> list[OutgoingEvent]:
    """Splits an event that is too large into two; empty for a single reading."""
    container = event.container
    if container is None or len(event.indexes) < 2:
        return []
    middle = len(event.indexes) // 2
    common = {name: value for name, value in event.properties.items() if name != LATE_PROPERTY}
    return [
        msgspec.structs.replace(
            event,
            body=container.holding(indexes),
            content_type=container.content_type,
            content_encoding=container.content_encoding,
            properties={**common, **index_properties(indexes, event.late)},
            readings=len(indexes),
            indexes=indexes,
        )
        for indexes in (event.indexes[:middle], event.indexes[middle:])
    ]
