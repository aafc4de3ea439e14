"""Structured mode: one reading as a CloudEvent in JSON, which includes everything that is otherwise in properties.

Azure Data Explorer, for one, sees only bodies. What this service adds has the prefix `dedup`; members that a device wrote
under such names are removed. Source: CloudEvents 1.0.2, JSON event format §3.1.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec

from dedup_service.core.attributes import json_attributes
from dedup_service.core.events import DEVICE_ID, MODULE_ID, Extraction, InputEvent, Reading
from dedup_service.core.extract import JSON_ERRORS
from dedup_service.core.media_types import CODECS, TEXT, charset, is_json, media_type
from dedup_service.core.times import rfc3339
from dedup_service.errors import UndeliverableError
from wire.cloudevents import READING_TYPE, SEQUENCE_DIGITS, SPEC_VERSION
from wire.times import rfc3339 as rfc3339_ns

OWN_PREFIX = "dedup"

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_encode = msgspec.json.Encoder().encode

Refused = dict[str, tuple[str, list[Reading]]]
"""By reason: a detail, and the readings."""


def rendered(event: InputEvent, extraction: Extraction) -> tuple[Extraction, Refused]:
    """The extraction with its readings' forms, and the readings that have none.

    Forms are made before the readings claim (R10), since afterwards their copies are duplicates, and since here alone making
    them can fail."""
    forms: dict[int, bytes] = {}
    refused: Refused = {}
    for reading in extraction.readings:
        try:
            forms[reading.index] = _form(event, extraction, reading)
        except UndeliverableError as error:
            refused.setdefault(error.reason, (error.detail, []))[1].append(reading)
    size = extraction.text_bytes + sum(map(len, forms.values()))
    return msgspec.structs.replace(extraction, forms=forms, text_bytes=size), refused


def structured(form: bytes, own_members: bytes) -> bytes:
    """A reading's form, completed. It is not parsed for that, which might fail."""
    return b"%b,%b" % (form[:-1], own_members[1:])


def own_members(event: InputEvent, *, late: bool, duplicate: bool) -> bytes:
    """What this service adds, as a JSON object."""
    module = event.annotations.get(MODULE_ID)
    members = {
        "dedupdevice": str(event.annotations.get(DEVICE_ID) or event.replica),
        **({"dedupmodule": str(module)} if module else {}),
        "dedupenqueuedtime": rfc3339(event.enqueued_ms),
        "deduplate": late,
        "dedupduplicate": duplicate,
    }
    return _encode(members)


def _form(event: InputEvent, extraction: Extraction, reading: Reading) -> bytes:
    """A JSON object with all members but this service's own. Raises UndeliverableError."""
    if extraction.format_name is not None:
        members = _other_members(event, reading)
    else:
        members = _binary_members(event, extraction, reading) if extraction.binary else _json_members(reading)
    return _encode({name: value for name, value in members.items() if not name.lower().startswith(OWN_PREFIX)})


def _json_members(reading: Reading) -> dict[str, Any]:
    try:
        reading.raw.decode()  # what is decoded as raw JSON is not checked for this
        return dict(_decode_members(reading.raw))
    except JSON_ERRORS as error:
        raise UndeliverableError("unreadable-reading", f"it is not JSON: {error}") from None


def _binary_members(event: InputEvent, extraction: Extraction, reading: Reading) -> dict[str, Any]:
    if extraction.opaque is not None:
        raise extraction.opaque
    content_type = {"datacontenttype": event.content_type} if event.content_type else {}
    return {
        "specversion": SPEC_VERSION,
        **json_attributes(event.application_properties),
        "id": reading.id,
        "source": reading.source,
        **content_type,
        **_data(reading.raw, event.content_type or ""),
    }


def _other_members(event: InputEvent, reading: Reading) -> dict[str, Any]:
    """Of a reading in its sender's own format. The data are its part of the body."""
    counted = {"sequence": reading.sequence.zfill(SEQUENCE_DIGITS)} if reading.sequence is not None else {}
    data = _data(_in_utf8(reading.raw), "")
    return {
        "specversion": SPEC_VERSION,
        "type": READING_TYPE,
        "id": reading.id,
        "source": reading.source,
        **({"time": rfc3339_ns(reading.time)} if isinstance(reading.time, int) else {}),
        **counted,
        **({"sequenceepoch": reading.epoch} if reading.epoch else {}),
        **({"datacontenttype": event.content_type} if event.content_type and "data" not in data else {}),
        **data,
    }


def _in_utf8(text: bytes) -> bytes:
    """JSON may be in another encoding. What is no text stays as it is."""
    encoding = json.detect_encoding(text)
    try:
        return text if encoding == "utf-8" else text.decode(encoding).encode()
    except UnicodeDecodeError:
        return text


def _data(body: bytes, content_type: str) -> dict[str, Any]:
    """JSON if that is what the content type says, or if there is none; text as a string; anything else in base64.

    So is what is called JSON and is not: in a JSON string its consumers would find another value, namely that string, while
    from base64 they get the very bytes, and see that these are not JSON. The same goes for text that its charset does not
    allow.
    """
    media = media_type(content_type)
    try:
        if not media or is_json(media):
            body.decode()
            return {"data": _decode_raw(body)}
        if media.startswith(TEXT) and (codec := CODECS.get(charset(content_type))):
            return {"data": body.decode(codec)}
    except JSON_ERRORS:
        pass
    return {"data_base64": base64.b64encode(body).decode()}
