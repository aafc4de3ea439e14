"""Clean events: the winners of an input event, with unchanged bytes unless the group wants them structured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from dedup_service.core.containers import Batch
from dedup_service.core.events import Extraction, InputEvent, Reading
from dedup_service.core.outgoing import (
    DEPLOYMENT_PROPERTY,
    DUPLICATE_PROPERTY,
    ORIGIN_PROPERTY,
    OutgoingEvent,
    OutputPolicy,
    halves,
    index_properties,
    kept_properties,
    outgoing,
    output_partition,
)
from dedup_service.core.structured import own_members, structured
from wire.cloudevents import BATCH_CONTENT_TYPE, PROPERTY_PREFIXES

STRUCTURED = "structured"


@dataclass(frozen=True, slots=True)
class PublishFlags:
    """What consumers are told about the readings of one clean event."""

    late: frozenset[int] = frozenset()
    """Indexes of readings that were stored and forwarded for longer than their window."""
    duplicate: bool = False
    """In mode `mark`: another copy has won."""


PLAIN = PublishFlags()


class CleanEvent(msgspec.Struct, frozen=True, gc=False):
    """The winners of one input event that belong to one output partition."""

    output_partition: str
    readings: tuple[Reading, ...]
    event: OutgoingEvent


def clean_events(
    event: InputEvent,
    extraction: Extraction,
    chosen: list[Reading],
    policy: OutputPolicy,
    origin: str,
    flags: PublishFlags = PLAIN,
) -> list[CleanEvent]:
    """The clean events of one input event, at most one for each output partition. `origin`: see InputLog.event_text."""
    by_partition: dict[str, list[Reading]] = {}
    for partition, reading in zip(policy.partitions_of(chosen), chosen, strict=True):
        by_partition.setdefault(partition, []).append(reading)
    whole = len(chosen) == len(extraction.readings) and not extraction.bad and len(by_partition) == 1
    render = _structured_event if policy.content_mode == STRUCTURED else _as_received
    common = {**kept_properties(event, policy.kept_adx_properties), ORIGIN_PROPERTY: origin}
    if policy.deployment:
        common[DEPLOYMENT_PROPERTY] = policy.deployment
    if flags.duplicate:
        common[DUPLICATE_PROPERTY] = True
    return [
        CleanEvent(partition, tuple(readings), render(event, extraction, readings, whole, common, flags))
        for partition, readings in by_partition.items()
    ]


def _with_indexes(common: dict[str, Any], indexes: tuple[int, ...], flags: PublishFlags) -> dict[str, Any]:
    return {**common, **index_properties(indexes, flags.late)}


def _as_received(
    event: InputEvent,
    extraction: Extraction,
    readings: list[Reading],
    whole: bool,
    common: dict[str, Any],
    flags: PublishFlags,
) -> OutgoingEvent:
    indexes, container = tuple([reading.index for reading in readings]), extraction.container
    properties = _with_indexes(common, indexes, flags)
    if whole or container is None:
        body, content_type, encoding = event.body, event.content_type, event.content_encoding
    else:
        body, content_type, encoding = container.holding(indexes), container.content_type, container.content_encoding
    return outgoing(event, body, content_type, encoding, properties, len(readings), indexes, container, flags.late)


def _structured_event(
    event: InputEvent,
    extraction: Extraction,
    readings: list[Reading],
    whole: bool,
    common: dict[str, Any],
    flags: PublishFlags,
) -> OutgoingEvent:
    """Always a batch, so that consumers need to expect one format only. The attributes move from the properties to the
    body; the forms of the readings must be `rendered`."""
    added = {late: own_members(event, late=late, duplicate=flags.duplicate) for late in (False, True)}
    forms = {r.index: structured(extraction.forms[r.index], added[r.index in flags.late]) for r in readings}
    batch, indexes = Batch(forms), tuple(forms)
    properties = _with_indexes(common, indexes, flags)
    kept = {name: value for name, value in properties.items() if not name.startswith(PROPERTY_PREFIXES)}
    return outgoing(event, batch.holding(indexes), BATCH_CONTENT_TYPE, None, kept, len(readings), indexes, batch, flags.late)


def split(clean: CleanEvent) -> list[CleanEvent]:
    """Like `halves`, with the readings that belong to each part."""
    middle = len(clean.readings) // 2
    readings = (clean.readings[:middle], clean.readings[middle:])
    return [
        msgspec.structs.replace(clean, event=half, readings=own)
        for half, own in zip(halves(clean.event), readings, strict=False)
    ]


def forwarded(event: InputEvent, policy: OutputPolicy, origin: str) -> CleanEvent:
    """An event that is not telemetry, passed on unchanged (`unmatched: forward`) and in order per sender."""
    properties = {
        **kept_properties(event, policy.kept_adx_properties),
        ORIGIN_PROPERTY: origin,
    }
    passed_on = outgoing(event, event.body, event.content_type, event.content_encoding, properties, 0)
    return CleanEvent(output_partition(event.replica, policy.partition_ids), (), passed_on)
