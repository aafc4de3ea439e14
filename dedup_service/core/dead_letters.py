"""Dead letters: what can't be published, unchanged, with the reason."""

from __future__ import annotations

from typing import Any

import msgspec

from dedup_service.core.clean_events import CleanEvent
from dedup_service.core.events import BadReading, Container, InputEvent
from dedup_service.core.outgoing import (
    INDEXES_PROPERTY,
    ORIGIN_PROPERTY,
    OutgoingEvent,
    kept_properties,
    outgoing,
    ranges,
)

REASON_PROPERTY = "dedup_reason"
DETAIL_PROPERTY = "dedup_detail"
ORIGINAL_SIZE_PROPERTY = "dedup_original_size"


def dead_letter(
    event: InputEvent, reason: str, detail: str, kept: frozenset[str], origin: str, readings: int = 1
) -> OutgoingEvent:
    """The whole event, unchanged, with the reason. `readings`: how many it counts for."""
    properties = _dead_letter_properties(event, reason, detail, kept, origin)
    return outgoing(event, event.body, event.content_type, event.content_encoding, properties, readings)


def dead_readings(
    event: InputEvent, container: Container, reason: str, bad: list[BadReading], kept: frozenset[str], origin: str
) -> OutgoingEvent:
    """Those readings of an event that share a reason, with their bytes unchanged. `kept`: ADX properties that may stay."""
    properties = _dead_letter_properties(event, reason, next((item.detail for item in bad if item.detail), ""), kept, origin)
    indexes = tuple(item.index for item in bad)
    properties[INDEXES_PROPERTY] = ranges(indexes)
    body, content_type, encoding = container.holding(indexes), container.content_type, container.content_encoding
    return outgoing(event, body, content_type, encoding, properties, len(bad), indexes, container)


def undeliverable(clean: CleanEvent, reason: str, detail: str) -> OutgoingEvent:
    """A clean event that the clean hub will never accept. Its readings keep their claims, because they end here."""
    properties = {**clean.event.properties, REASON_PROPERTY: reason, DETAIL_PROPERTY: detail[:256]}
    return msgspec.structs.replace(clean.event, properties=properties)


def can_shrink(letter: OutgoingEvent) -> bool:
    """Whether `halves` or `truncated` makes the letter smaller."""
    return bool(letter.body) or letter.message_id is not None or _own_properties(letter) != letter.properties


def truncated(letter: OutgoingEvent) -> OutgoingEvent:
    """A smaller letter, if it `can_shrink`: half the body, and in the end only the service's properties."""
    if letter.body:
        properties = {ORIGINAL_SIZE_PROPERTY: len(letter.body), **letter.properties}
        return msgspec.structs.replace(letter, body=letter.body[: len(letter.body) // 2], properties=properties)
    return OutgoingEvent(b"", None, None, None, None, _own_properties(letter), letter.readings)


def without_senders_properties(letter: OutgoingEvent) -> OutgoingEvent:
    return msgspec.structs.replace(letter, properties=_own_properties(letter))


def _own_properties(letter: OutgoingEvent) -> dict[str, Any]:
    return {name: value for name, value in letter.properties.items() if name.startswith("dedup_")}


def _dead_letter_properties(
    event: InputEvent, reason: str, detail: str, kept: frozenset[str], origin: str
) -> dict[str, Any]:
    return {
        **kept_properties(event, kept),
        ORIGIN_PROPERTY: origin,
        REASON_PROPERTY: reason,
        DETAIL_PROPERTY: detail[:256],
    }
