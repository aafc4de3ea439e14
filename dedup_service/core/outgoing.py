"""What goes out: clean events and dead letters, built from an input event without touching a reading's bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dedup_service.core.events import (
    DEVICE_ID,
    IOTHUB_ENQUEUED_TIME,
    MODULE_ID,
    BadReading,
    Extraction,
    InputEvent,
    Reading,
)
from dedup_service.core.extract import BATCH_CONTENT_TYPE

ORIGIN_PROPERTY = "dedup_origin"
INDEXES_PROPERTY = "dedup_indexes"
REASON_PROPERTY = "dedup_reason"
DETAIL_PROPERTY = "dedup_detail"
DUPLICATE_PROPERTY = "dedup_duplicate"
ORIGINAL_SIZE_PROPERTY = "dedup_original_size"

KEPT_ANNOTATIONS = (DEVICE_ID, MODULE_ID, IOTHUB_ENQUEUED_TIME)
"""System annotations that republishing would lose; they become application properties of the same name."""
FORGEABLE_PREFIXES = ("dedup_", "iothub-")
ADX_PROPERTIES = frozenset(
    name.lower() for name in ("Table", "Database", "Format", "IngestionMappingReference", "Compression", "Encoding", "Tags")
)
"""Application properties that steer Azure Data Explorer's ingestion: a device must not choose where its data lands."""


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    body: bytes
    content_type: str | None
    content_encoding: str | None
    message_id: str | None
    correlation_id: str | None
    properties: Mapping[str, Any]
    readings: int
    parts: tuple[tuple[int, bytes], ...] = ()
    """(index, bytes) of each reading, where a body that is too large can be split."""


@dataclass(frozen=True, slots=True)
class CleanEvent:
    """The winners of one input event that belong to one output partition."""

    output_partition: str
    readings: tuple[Reading, ...]
    event: OutgoingEvent


def output_partition(by: str, partition_ids: list[str]) -> str:
    """Stable in the number of partitions: the same text goes to the same partition, on every pod, for good."""
    digest = hashlib.blake2b(by.encode(), digest_size=8).digest()
    return partition_ids[int.from_bytes(digest, "big") % len(partition_ids)]


@dataclass(frozen=True, slots=True)
class OutputPolicy:
    partition_ids: list[str]
    partition_by: str
    """`source`: a source's readings stay on one partition, and a batch is split where it must be; `group`: all on one."""
    group: str
    kept_adx_properties: frozenset[str] = frozenset()
    """Lower-case names that devices may use."""

    def partition_of(self, reading: Reading) -> str:
        return output_partition(reading.source if self.partition_by == "source" else self.group, self.partition_ids)


def clean_events(
    event: InputEvent, extraction: Extraction, winners: list[Reading], policy: OutputPolicy, incarnation: int
) -> list[CleanEvent]:
    """The clean events of one input event, at most one for each output partition."""
    by_partition: dict[str, list[Reading]] = {}
    for reading in winners:
        by_partition.setdefault(policy.partition_of(reading), []).append(reading)
    whole = len(winners) == len(extraction.readings) and not extraction.bad and len(by_partition) == 1
    return [
        CleanEvent(partition, tuple(readings), _clean_event(event, extraction, readings, whole, policy, incarnation))
        for partition, readings in by_partition.items()
    ]


def _clean_event(
    event: InputEvent,
    extraction: Extraction,
    readings: list[Reading],
    whole: bool,
    policy: OutputPolicy,
    incarnation: int,
) -> OutgoingEvent:
    properties = {
        **kept_properties(event, policy.kept_adx_properties),
        ORIGIN_PROPERTY: origin_text(event, incarnation),
        INDEXES_PROPERTY: ranges(reading.index for reading in readings),
    }
    parts = tuple((reading.index, reading.raw) for reading in readings) if extraction.batch else ()
    if whole:
        body, content_type, encoding = event.body, event.content_type, event.content_encoding
    else:
        body, content_type, encoding = _array(parts), BATCH_CONTENT_TYPE, None
    return replace(_outgoing(event, body, content_type, encoding, properties, len(readings)), parts=parts)


def _array(parts: Sequence[tuple[int, bytes]]) -> bytes:
    return b"[" + b",".join(raw for _, raw in parts) + b"]"


def halves(event: OutgoingEvent) -> list[OutgoingEvent]:
    """Two batches in place of one that is too large; nothing where it is a single reading."""
    if len(event.parts) < 2:
        return []
    middle = len(event.parts) // 2
    return [
        replace(
            event,
            body=_array(parts),
            content_type=BATCH_CONTENT_TYPE,
            content_encoding=None,
            properties={**event.properties, INDEXES_PROPERTY: ranges(index for index, _ in parts)},
            readings=len(parts),
            parts=parts,
        )
        for parts in (event.parts[:middle], event.parts[middle:])
    ]


def split(clean: CleanEvent) -> list[CleanEvent]:
    """As `halves`, with the readings that belong to each."""
    middle = len(clean.readings) // 2
    readings = (clean.readings[:middle], clean.readings[middle:])
    return [replace(clean, event=half, readings=own) for half, own in zip(halves(clean.event), readings, strict=False)]


def marked(cleans: list[CleanEvent]) -> list[CleanEvent]:
    """Duplicates, told from winners by a property (mode `mark`)."""
    return [
        replace(clean, event=replace(clean.event, properties={**clean.event.properties, DUPLICATE_PROPERTY: True}))
        for clean in cleans
    ]


def forwarded(event: InputEvent, policy: OutputPolicy, incarnation: int) -> CleanEvent:
    """An event that is no telemetry, passed on as it came (`unmatched: forward`); kept in order by its sender."""
    properties = {
        **kept_properties(event, policy.kept_adx_properties),
        ORIGIN_PROPERTY: origin_text(event, incarnation),
    }
    outgoing = _outgoing(event, event.body, event.content_type, event.content_encoding, properties, 0)
    return CleanEvent(output_partition(event.replica, policy.partition_ids), (), outgoing)


def _outgoing(
    event: InputEvent,
    body: bytes,
    content_type: str | None,
    content_encoding: str | None,
    properties: Mapping[str, Any],
    readings: int,
) -> OutgoingEvent:
    return OutgoingEvent(body, content_type, content_encoding, event.message_id, event.correlation_id, properties, readings)


def kept_properties(event: InputEvent, kept_adx: frozenset[str]) -> dict[str, Any]:
    """The sender's properties without those that only the service, IoT Hub or the operator may set, and IoT Hub's own."""
    kept = {
        name: value
        for name, value in event.application_properties.items()
        if not name.lower().startswith(FORGEABLE_PREFIXES)
        and (name.lower() not in ADX_PROPERTIES or name.lower() in kept_adx)
    }
    for name in KEPT_ANNOTATIONS:
        if name in event.annotations:
            kept[name] = event.annotations[name]
    return kept


def origin_text(event: InputEvent, incarnation: int) -> str:
    """`incarnation/partition/sequence number` of the input event."""
    return f"{incarnation:08x}/{event.partition_id}/{event.sequence_number}"


def ranges(indexes: Iterable[int]) -> str:
    """`0-4,7` for 0, 1, 2, 3, 4, 7."""
    spans: list[list[int]] = []
    for index in indexes:
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def dead_letter(event: InputEvent, reason: str, detail: str, policy: OutputPolicy, incarnation: int) -> OutgoingEvent:
    """The whole event, as it came, with the reason."""
    properties = _dead_letter_properties(event, reason, detail, policy, incarnation)
    return _outgoing(event, event.body, event.content_type, event.content_encoding, properties, 1)


def dead_readings(
    event: InputEvent, reason: str, bad: list[BadReading], policy: OutputPolicy, incarnation: int
) -> OutgoingEvent:
    """Those elements of a batch that share a reason, each with its bytes unchanged."""
    properties = _dead_letter_properties(event, reason, "", policy, incarnation)
    properties[INDEXES_PROPERTY] = ranges(item.index for item in bad)
    parts = tuple((item.index, item.raw) for item in bad)
    return replace(_outgoing(event, _array(parts), event.content_type, None, properties, len(bad)), parts=parts)


def undeliverable(clean: CleanEvent, reason: str, detail: str) -> OutgoingEvent:
    """A clean event that the clean hub will never take. Its readings keep their claims: this is where they end."""
    properties = {**clean.event.properties, REASON_PROPERTY: reason, DETAIL_PROPERTY: detail[:256]}
    return replace(clean.event, properties=properties)


def truncated(letter: OutgoingEvent) -> OutgoingEvent:
    """Smaller, for a dead-letter hub that does not take all of it: half the body, at last only the service's own words.

    Raises ValueError when there is nothing left to cut.
    """
    if letter.body:
        properties = {ORIGINAL_SIZE_PROPERTY: len(letter.body), **letter.properties}
        return replace(letter, body=letter.body[: len(letter.body) // 2], properties=properties)
    own = {name: value for name, value in letter.properties.items() if name.startswith("dedup_")}
    if letter.message_id is None and own == letter.properties:
        raise ValueError("the dead-letter hub does not even take the service's own words")
    return OutgoingEvent(b"", None, None, None, None, own, letter.readings)


def _dead_letter_properties(
    event: InputEvent, reason: str, detail: str, policy: OutputPolicy, incarnation: int
) -> dict[str, Any]:
    return {
        **kept_properties(event, policy.kept_adx_properties),
        ORIGIN_PROPERTY: origin_text(event, incarnation),
        REASON_PROPERTY: reason,
        DETAIL_PROPERTY: detail[:256],
    }
