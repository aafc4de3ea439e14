"""Finds the readings of an event: CloudEvents 1.0, singly or in batches.

All input is hostile: sizes are capped, and a bad reading affects only itself, not the rest of its batch.
Source: CloudEvents 1.0 JSON event format and AMQP binding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, NamedTuple

import msgspec

from dedup_service.core.attributes import canonical_text, prefix_of
from dedup_service.core.containers import Batch
from dedup_service.core.content_encoding import decoded
from dedup_service.core.events import BadReading, Extraction, InputEvent, Reading
from dedup_service.core.json_array import split_elements
from dedup_service.core.media_types import media_type
from dedup_service.core.property_types import text_of
from dedup_service.core.unknown_formats import without_key
from dedup_service.errors import UndeliverableError
from wire.cloudevents import BATCH_CONTENT_TYPE, PROPERTY_PREFIXES, STRUCTURED_CONTENT_TYPE

MAX_ID_LENGTH = 256
MAX_SOURCE_LENGTH = 2048
CONTENT_HASH_BYTES = 8
MAX_ATTRIBUTE_LENGTH = 64
MAX_READINGS = 65_535
"""An index must fit into two bytes of a claim."""


_Attribute = Annotated[str, msgspec.Meta(max_length=MAX_ATTRIBUTE_LENGTH)]


class _CloudEvent(msgspec.Struct, gc=False):
    """A well-formed event. A batch that contains others is decoded one by one, as `_AnyEvent`."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SOURCE_LENGTH)]
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None
    time: _Attribute | None = None
    sequence: _Attribute | None = None
    sequenceepoch: _Attribute | None = None


class _AnyEvent(msgspec.Struct):
    id: object = None
    source: object = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: object = None
    time: object = None
    sequence: object = None
    sequenceepoch: object = None


class _Names(NamedTuple):
    """Of the application properties of an event in binary mode."""

    id: str
    source: str
    time: str
    sequence: str
    epoch: str


_NAMES = {
    prefix: _Names(*[prefix + name for name in ("id", "source", "time", "sequence", "sequenceepoch")])
    for prefix in PROPERTY_PREFIXES
}
LAZY_BYTES = 256 * 1024
"""Larger texts, which were compressed, are split into elements at once."""
JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_events = msgspec.json.Decoder(list[_CloudEvent]).decode
_decode_any_event = msgspec.json.Decoder(_AnyEvent).decode


@dataclass(frozen=True, slots=True)
class CloudEventsExtractor:
    """Finds the readings of an event.

    Raises UndeliverableError when the event as a whole can't be read (the reason names why).
    """

    max_decompressed_bytes: int

    def extract(self, event: InputEvent, pointers: Sequence[str] = ()) -> Extraction:
        """`pointers`: the parts of the data that copies must agree on; empty for all of it."""
        if not event.body_is_binary:
            raise UndeliverableError("body-not-binary", "the AMQP body is a value or a sequence, not data")
        content_type = event.content_type
        if content_type != BATCH_CONTENT_TYPE:
            content_type = media_type(content_type)
        if content_type == BATCH_CONTENT_TYPE:
            return self._batch(event.body, event.content_encoding, pointers)
        if content_type == STRUCTURED_CONTENT_TYPE:
            return _structured(self._text(event.body, event.content_encoding), pointers)
        return self._binary(event, pointers)

    def _batch(self, body: bytes, encoding: str | None, pointers: Sequence[str]) -> Extraction:
        text = self._text(body, encoding)
        if not pointers and (readings := _well_formed_readings(text)):
            return Extraction(readings, container=Batch(readings[0].elements), text_bytes=len(text))
        elements = _elements(text)
        if not elements:
            raise UndeliverableError("empty-batch", "the batch holds no events")
        if len(elements) > MAX_READINGS:
            raise UndeliverableError("too-many-readings", f"{len(elements)} readings in one event")
        items = [_element(index, elements, pointers) for index in range(len(elements))]
        return Extraction(
            readings=[item for item in items if isinstance(item, Reading)],
            bad=[item for item in items if isinstance(item, BadReading)],
            container=Batch(elements),
            text_bytes=len(text),
        )

    def _binary(self, event: InputEvent, pointers: Sequence[str]) -> Extraction:
        properties = event.application_properties
        prefix = prefix_of(properties)
        if prefix is None:
            raise without_key(event)
        names = _NAMES[prefix]
        reading_id, source = _key_text(properties[names.id]), _key_text(properties.get(names.source))
        reason = _fault(reading_id, source)
        if reason is not None:
            raise UndeliverableError(reason, "the CloudEvents attributes give no key")
        assert isinstance(reading_id, str)
        assert isinstance(source, str)
        data, opaque = self._data(event)
        reading = Reading(
            0,
            source,
            reading_id,
            [data],
            content_hash(chosen(data, pointers)),
            _time(properties.get(names.time)),
            _optional(properties.get(names.sequence)),
            _optional(properties.get(names.epoch)),
        )
        return Extraction([reading], binary=True, text_bytes=0 if data is event.body else len(data), opaque=opaque)

    def _data(self, event: InputEvent) -> tuple[bytes, UndeliverableError | None]:
        """The body without its content-encoding, which two replicas may have applied differently to the same data; as it is,
        with the error, when it can't be decoded."""
        if event.content_encoding is None:
            return event.body, None
        try:
            return self._text(event.body, event.content_encoding), None
        except UndeliverableError as error:
            return event.body, error

    def _text(self, body: bytes, encoding: str | None) -> bytes:
        return decoded(body, encoding, self.max_decompressed_bytes)


def _elements(text: bytes) -> list[bytes]:
    """The elements of a batch; when it does not parse, those that can be separated. Raises UndeliverableError."""
    try:
        return [bytes(raw) for raw in _decode_elements(text)]
    except JSON_ERRORS as error:
        elements = split_elements(text)
        if not any(isinstance(_element(0, [raw], ()), Reading) for raw in elements[: MAX_READINGS + 1]):
            raise UndeliverableError("unreadable-body", f"the batch is not a JSON array: {error}") from None
        return elements


def _structured(text: bytes, pointers: Sequence[str]) -> Extraction:
    item = _element(0, [text], pointers)
    if isinstance(item, BadReading):
        raise UndeliverableError(item.reason, "the structured event can't be read as a reading")
    return Extraction([item], text_bytes=len(text))


class _LazyElements:
    """The elements of a batch, split at the first access, because those of duplicates are never accessed."""

    __slots__ = ("_split", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._split: Sequence[msgspec.Raw | bytes] = ()

    def __getitem__(self, index: int, /) -> bytes:
        if not self._split:
            self._split = self._cut()
        return bytes(self._split[index])

    def _cut(self) -> Sequence[msgspec.Raw | bytes]:
        try:
            return _decode_elements(self._text)
        except RecursionError:  # decoding succeeded on arrival, but less of the stack is left here
            return split_elements(self._text, len(self._text))


def _well_formed_readings(text: bytes) -> list[Reading]:
    """Decodes a well-formed batch at once; empty when one of its events is not well-formed."""
    try:
        events = _decode_events(text)
        elements = _LazyElements(text) if len(text) <= LAZY_BYTES else [bytes(raw) for raw in _decode_elements(text)]
    except JSON_ERRORS:
        return []
    if len(events) > MAX_READINGS:
        return []
    return [
        Reading(
            index,
            event.source,
            event.id,
            elements,
            content_hash(event.data) if event.data_base64 is None else content_hash(event.data_base64.encode()),
            event.time,
            event.sequence,
            event.sequenceepoch,
        )
        for index, event in enumerate(events)
    ]


def _element(index: int, elements: Sequence[bytes], pointers: Sequence[str]) -> Reading | BadReading:
    raw = elements[index]
    try:
        event = _decode_any_event(raw)
    except JSON_ERRORS:
        return BadReading(index, "unreadable-reading")
    reason = _fault(event.id, event.source)
    if reason is not None:
        return BadReading(index, reason)
    content = event.data_base64.encode() if isinstance(event.data_base64, str) else bytes(event.data)
    return Reading(
        index,
        str(event.source),
        str(event.id),
        elements,
        content_hash(chosen(content, pointers)),
        _time(event.time),
        _optional(event.sequence),
        _optional(event.sequenceepoch),
    )


def _key_text(value: object) -> object:
    if type(value) is str:
        return value
    text = text_of(value)
    return value if text is None else text


def _time(value: object) -> str | None:
    """What can't be a time counts as one that is unreadable, unlike a time that is missing."""
    return None if value is None else _optional(value) or ""


def _optional(value: object) -> str | None:
    """For optional attributes: a wrong type or an overlong text counts as missing."""
    if value is None:
        return None
    text = value if type(value) is str else canonical_text(value)
    return text if text is not None and len(text) <= MAX_ATTRIBUTE_LENGTH else None


def chosen(data: bytes, pointers: Sequence[str]) -> bytes:
    """The parts of the data that copies must agree on; all of it when it is not JSON."""
    if not pointers:
        return data
    try:
        document = _decode_any(data)
    except JSON_ERRORS:
        return data
    return msgspec.json.encode([_resolve(document, pointer) for pointer in pointers], order="deterministic")


def _resolve(document: Any, pointer: str) -> Any:
    """The value that a JSON pointer (RFC 6901) names, in a list so that null differs from absent."""
    value = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return []
    return [value]


def content_hash(content: bytes | msgspec.Raw) -> bytes:
    return blake2b(content, digest_size=CONTENT_HASH_BYTES).digest()


def _fault(reading_id: object, source: object) -> str | None:
    """The reason why these attributes give no key, or None. There is no fallback: a shared key would merge readings."""
    if reading_id is None or reading_id == "":
        return "missing-id"
    if source is None or source == "":
        return "missing-source"
    if not isinstance(reading_id, str) or len(reading_id) > MAX_ID_LENGTH:
        return "invalid-id"
    if not isinstance(source, str) or len(source) > MAX_SOURCE_LENGTH:
        return "invalid-source"
    return None
