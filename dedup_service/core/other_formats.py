"""Finds the readings of an event in a format that its sender has always used, and mints their ids as the edge would.

The formats themselves are in wire/formats. What they refuse is hostile or incomplete, and becomes dead letters; what is no
reading passes as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from dedup_service.core.containers import SendersBody
from dedup_service.core.events import BadReading, Extraction, InputEvent, Reading
from dedup_service.core.extract import CONTENT_HASH_BYTES, MAX_READINGS, MAX_SOURCE_LENGTH, content_hash
from dedup_service.errors import UndeliverableError
from wire.canonical_json import canonical_json
from wire.content_encoding import UnreadableBodyError
from wire.formats.codings import Codings, uncoded
from wire.formats.messages import Found, Message, NotReading, Part, Refused
from wire.formats.minting import NO_IDENTITY, Minted, mint
from wire.formats.registry import LEARNING, layout_of, make_format
from wire.ids import Identity, sequence_of

HASH_DIGITS = 2 * CONTENT_HASH_BYTES
SOURCE_TIME_VALUE, SEQUENCE = "source-time+value", "sequence"
OTHER_SHAPE = "other-shape"
"""What a format says of a body that is not its own."""
READING_BYTES = 512
"""The most that is kept of a reading and its place, apart from its source."""


class FormatExtractor:
    """Finds the readings of an event in one format, with one strategy for their ids."""

    def __init__(self, name: str, options: bytes, strategy: Identity, max_decompressed_bytes: int) -> None:
        """Raises ValueError, which says what is wrong with the options."""
        self.name = name
        self._strategy = strategy
        self._max_bytes = max_decompressed_bytes
        self._make_layout = layout_of(name)
        self._format = make_format(name, options)
        # What is learned from one message for others would be forgotten by the next owner of the partition.
        self._make_format = partial(make_format, name, options) if name in LEARNING else None

    def extract(self, event: InputEvent, pointers: Sequence[str] = ()) -> Extraction:
        """`pointers` are for CloudEvents: a format knows by itself what copies must agree on.

        Raises UndeliverableError when the event as a whole can't be read."""
        message, codings = message_of(event, self._max_bytes)
        text, parts = message.body, self._parts(message)
        candidates, not_readings = _told_apart(parts)
        _refuse_the_whole(parts, candidates)
        body = SendersBody(text, codings, candidates, self._make_layout, event)
        readings: list[Reading] = []
        bad: list[BadReading] = []
        for index, part in enumerate(candidates):
            item = self._item(index, part, body)
            if isinstance(item, Reading):
                readings.append(item)
            else:
                bad.append(item)
        kept_bytes = READING_BYTES * len(candidates) + sum([len(reading.source) for reading in readings])
        return Extraction(
            readings,
            bad,
            body,
            format_name=self.name,
            not_readings=not_readings,
            text_bytes=(0 if text is event.body else len(text)) + kept_bytes,
        )

    def candidates(self, event: InputEvent) -> list[Found | Refused]:
        """What is or should be a reading, by index, with its value. Raises UndeliverableError."""
        return _told_apart(self._parts(message_of(event, self._max_bytes)[0]))[0]

    def _parts(self, message: Message) -> list[Part]:
        return list((self._format if self._make_format is None else self._make_format()).read(message))

    def _item(self, index: int, part: Found | Refused, elements: SendersBody) -> Reading | BadReading:
        if not isinstance(part, Found):
            return BadReading(index, part.reason, part.detail)
        if len(part.source) > MAX_SOURCE_LENGTH:
            return BadReading(index, "source-too-long", f"its source has {len(part.source)} characters")
        key = mint(part, self._strategy)
        if not isinstance(key, Minted):
            return BadReading(index, key.reason, key.detail)
        if key.strategy == SOURCE_TIME_VALUE:  # the value is in the id
            return Reading(index, part.source, key.id, elements, bytes.fromhex(key.id[:HASH_DIGITS]), part.time_ns)
        try:
            compared = content_hash(canonical_json(part.value, exact=True))
        except ValueError:
            return BadReading(index, NO_IDENTITY, "the value has no canonical form, so that copies could not be compared")
        epoch, sequence = _sequence(part, key)
        return Reading(index, part.source, key.id, elements, compared, part.time_ns, sequence, epoch)


def message_of(event: InputEvent, max_decompressed_bytes: int) -> tuple[Message, Codings]:
    """The event as formats see it, and how its body was coded. Raises UndeliverableError."""
    if not event.body_is_binary:
        raise UndeliverableError("body-not-binary", "the AMQP body is a value or a sequence, not data")
    try:
        text, codings = uncoded(event.body, event.content_type, event.content_encoding, max_decompressed_bytes)
    except UnreadableBodyError as error:
        raise UndeliverableError(error.reason, error.detail) from None
    own = {
        "content-type": event.content_type,
        "content-encoding": event.content_encoding,
        "message-id": event.message_id,
        "correlation-id": event.correlation_id,
        "user-id": event.user_id,
        "creation-time": event.creation_time,
    }
    system = {**event.annotations, **own}
    return Message(text, event.content_type, event.application_properties, system, event.annotations), codings


def _told_apart(parts: list[Part]) -> tuple[list[Found | Refused], list[str]]:
    """What is or should be a reading, and what the others are. A struct's class is told quickly if it is the one asked for,
    and slowly if not: so the usual one is asked for first, here and above."""
    candidates: list[Found | Refused] = []
    others = []
    for part in parts:
        if isinstance(part, Found) or isinstance(part, Refused):  # noqa: SIM101  # a union is slow, too
            candidates.append(part)
        else:
            others.append(part.what)
    return candidates, others


def _refuse_the_whole(parts: list[Part], candidates: list[Found | Refused]) -> None:
    """Raises UndeliverableError for a body without readings of which something is wrong."""
    if len(candidates) > MAX_READINGS:
        raise UndeliverableError("too-many-readings", f"{len(candidates)} readings in one event")
    (part,) = parts if len(parts) == 1 else (None,)
    if isinstance(part, Refused):
        raise UndeliverableError(part.reason, part.detail)
    if isinstance(part, NotReading) and part.what == OTHER_SHAPE:
        raise UndeliverableError(OTHER_SHAPE, "the body does not have the shape of the group's format")


def _sequence(found: Found, key: Minted) -> tuple[str | None, str | None]:
    """Epoch and number, where the source counts its readings."""
    if key.strategy != SEQUENCE or (count := sequence_of(found.data)) is None:
        return None, None
    return count[0], str(count[1])
