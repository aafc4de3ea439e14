"""Examples of what is counted, for people who look into it: who, what, when, hashes and sizes, and never a payload."""

from __future__ import annotations

from typing import Any

from dedup_service.core.claims import Claim
from dedup_service.core.events import Reading
from dedup_service.core.groups import Group
from dedup_service.core.outgoing import ORIGIN_PROPERTY, OutgoingEvent
from dedup_service.processing.event_work import EventWork

CONFLICT = "conflict"
DEAD_LETTER = "dead-letter"


def conflict_example(item: EventWork, group: Group, reading: Reading, winner: Claim) -> dict[str, Any]:
    return {
        "group": group.name,
        "source": reading.source,
        "id": reading.id,
        "replica": item.replica,
        "enqueued_ms": item.event.enqueued_ms,
        "content": reading.content_hash.hex(),
        "bytes": len(reading.raw),
        "winner_replicas": winner.replicas,
        "winner_enqueued_ms": winner.enqueued_ms,
        "winner_content": winner.content.hex(),
    }


def dead_letter_example(item: EventWork, reason: str, letter: OutgoingEvent) -> dict[str, Any]:
    return {
        "group": item.group.name if item.group is not None else "",
        "reason": reason,
        "replica": item.replica,
        "enqueued_ms": item.event.enqueued_ms,
        "origin": str(letter.properties.get(ORIGIN_PROPERTY, "")),
        "readings": letter.readings,
        "bytes": len(letter.body),
    }
