"""Dead letters: what can't be published, unchanged, with the reason."""

from __future__ import annotations

from typing import Any

import msgspec

from dedup_service.core.clean_events import CleanEvent
from dedup_service.core.events import BadReading, InputEvent, Reading
from dedup_service.core.outgoing import (
    INDEXES_PROPERTY,
    ORIGIN_PROPERTY,
    OutgoingEvent,
    array,
    kept_properties,
    outgoing,
    ranges,
)

REASON_PROPERTY = "dedup_reason"
DETAIL_PROPERTY = "dedup_detail"
ORIGINAL_SIZE_PROPERTY = "dedup_original_size"


def dead_letter(event: InputEvent, reason: str, detail: str, kept: frozenset[str], origin: str) -> OutgoingEvent:
    """The whole event, unchanged, with the reason."""
    properties = _dead_letter_properties(event, reason, detail, kept, origin)
    return outgoing(event, event.body, event.content_type, event.content_encoding, properties, 1)


def dead_readings(
    event: InputEvent, reason: str, bad: list[BadReading] | list[Reading], kept: frozenset[str], origin: str
) -> OutgoingEvent:
    """Those elements of a batch that share a reason, each with its bytes unchanged. `kept`: ADX properties that may stay."""
    properties = _dead_letter_properties(event, reason, "", kept, origin)
    properties[INDEXES_PROPERTY] = ranges(item.index for item in bad)
    parts = tuple((item.index, item.raw) for item in bad)
    return msgspec.structs.replace(
        outgoing(event, array(parts), event.content_type, None, properties, len(bad)), parts=parts
    )


def undeliverable(clean: CleanEvent, reason: str, detail: str) -> OutgoingEvent:
    """A clean event that the clean hub will never accept. Its readings keep their claims, because they end here."""
    properties = {**clean.event.properties, REASON_PROPERTY: reason, DETAIL_PROPERTY: detail[:256]}
    return msgspec.structs.replace(clean.event, properties=properties)


def truncated(letter: OutgoingEvent) -> OutgoingEvent:
    """A smaller letter for a dead-letter hub that does not accept it: half the body, and in the end only the service's
    properties.

    Raises ValueError when there is nothing left to cut.
    """
    if letter.body:
        properties = {ORIGINAL_SIZE_PROPERTY: len(letter.body), **letter.properties}
        return msgspec.structs.replace(letter, body=letter.body[: len(letter.body) // 2], properties=properties)
    own = {name: value for name, value in letter.properties.items() if name.startswith("dedup_")}
    if letter.message_id is None and own == letter.properties:
        raise ValueError("the dead-letter hub does not even accept the service's own properties")
    return OutgoingEvent(b"", None, None, None, None, own, letter.readings)


def _dead_letter_properties(
    event: InputEvent, reason: str, detail: str, kept: frozenset[str], origin: str
) -> dict[str, Any]:
    return {
        **kept_properties(event, kept),
        ORIGIN_PROPERTY: origin,
        REASON_PROPERTY: reason,
        DETAIL_PROPERTY: detail[:256],
    }
