"""Structured mode: one reading as a CloudEvent in JSON, which includes everything that is otherwise in properties.

Azure Data Explorer, for one, sees only bodies. What this service adds has the prefix `dedup`; members that a device wrote
under such names are removed.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from dedup_service.core.events import DEVICE_ID, MODULE_ID, InputEvent, Reading
from dedup_service.core.extract import JSON_ERRORS
from dedup_service.core.times import rfc3339
from wire.cloudevents import PROPERTY_PREFIXES

ATTRIBUTE_PREFIXES = PROPERTY_PREFIXES
OWN_PREFIX = "dedup"

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_encode = msgspec.json.Encoder().encode


def structured(event: InputEvent, reading: Reading, *, is_binary: bool, late: bool, duplicate: bool) -> bytes:
    """Returns JSON. `is_binary`: the attributes are application properties of the event, and the reading's bytes are the
    data."""
    members: dict[str, Any] = _binary_members(event, reading) if is_binary else dict(_decode_members(reading.raw))
    members = {name: value for name, value in members.items() if not name.lower().startswith(OWN_PREFIX)}
    return _encode(members | _own_members(event, late=late, duplicate=duplicate))


def is_structurable(reading: Reading, *, is_binary: bool) -> bool:
    """Whether `structured` can render the reading. This must be known before the reading claims (R10): afterwards its copies
    are duplicates."""
    try:
        if not is_binary:
            reading.raw.decode()
            _decode_members(reading.raw)
    except JSON_ERRORS:
        return False
    return True


def _own_members(event: InputEvent, *, late: bool, duplicate: bool) -> dict[str, Any]:
    module = event.annotations.get(MODULE_ID)
    return {
        "dedupdevice": str(event.annotations.get(DEVICE_ID) or event.replica),
        **({"dedupmodule": str(module)} if module else {}),
        "dedupenqueuedtime": rfc3339(event.enqueued_ms),
        "deduplate": late,
        "dedupduplicate": duplicate,
    }


def _binary_members(event: InputEvent, reading: Reading) -> dict[str, Any]:
    members: dict[str, Any] = {"specversion": "1.0"}
    for name, value in event.application_properties.items():
        for prefix in ATTRIBUTE_PREFIXES:
            if name.startswith(prefix) and isinstance(value, str | int | bool):
                members[name.removeprefix(prefix)] = value
    return members | _data(reading.raw)


def _data(body: bytes) -> dict[str, Any]:
    try:
        body.decode()  # what is decoded as raw JSON is not checked for this
        return {"data": _decode_raw(body)}
    except JSON_ERRORS:
        return {"data_base64": base64.b64encode(body).decode()}
