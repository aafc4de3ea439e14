"""CloudEvents attributes in binary mode: application properties, each in the AMQP type of its value or as canonical text.

Source: CloudEvents 1.0.2, type system; AMQP binding §3.1.3; JSON event format §2.2.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any

from dedup_service.core.property_types import Timestamp, text_of, type_name
from dedup_service.core.times import rfc3339
from dedup_service.errors import UNSUPPORTED_PROPERTY, UndeliverableError
from wire.cloudevents import PROPERTY_PREFIXES

TEXTS = frozenset(("specversion", "type", "subject", "time", "dataschema", "sequence", "sequenceepoch"))
"""Attributes that can't be binary: if one is, it is text that a relay has sent as bytes (see `text_of`)."""
NOT_ATTRIBUTES = frozenset(("data", "data_base64", "datacontenttype"))
"""What is not among the properties: the data are the body, and `datacontenttype` is the message's content type."""
_PREFIX_BY_ID = {f"{prefix}id": prefix for prefix in PROPERTY_PREFIXES}
INTEGER_LIMIT = 2**31
MAX_LENGTH = 64
"""Of names in messages."""


def prefix_of(properties: Mapping[str, Any]) -> str | None:
    """The prefix of the attributes; None when there are none."""
    for name, prefix in _PREFIX_BY_ID.items():
        if name in properties:
            return prefix
    return None


def canonical_text(value: object) -> str | None:
    """The text of an attribute that was sent as text, timestamp or number; None for anything else."""
    if isinstance(value, Timestamp):
        try:
            return rfc3339(value)
        except ValueError:
            return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    return text_of(value)


def json_attributes(properties: Mapping[str, Any]) -> dict[str, bool | int | str]:
    """The attributes as members of a JSON object. Raises UndeliverableError for a value that has no type in CloudEvents.

    All attributes of a message must have the same prefix. Where they do not, those with the prefix of the id take
    precedence."""
    used = prefix_of(properties)
    members: dict[str, bool | int | str] = {}
    for prefix in sorted(PROPERTY_PREFIXES, key=lambda prefix: prefix == used):
        for name, value in properties.items():
            attribute = name.removeprefix(prefix)
            if attribute != name and value is not None and attribute not in NOT_ATTRIBUTES:
                members[attribute] = _json_value(name, attribute, value)
    return members


def _json_value(name: str, attribute: str, value: object) -> bool | int | str:
    """CloudEvents has integers of 32 bits only; other numbers are texts."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and not isinstance(value, Timestamp) and -INTEGER_LIMIT <= value < INTEGER_LIMIT:
        return int(value)
    if isinstance(value, bytes) and attribute not in TEXTS:
        return base64.b64encode(value).decode()
    if isinstance(value, float | uuid.UUID):
        return str(value)
    text = canonical_text(value)
    if text is None:
        detail = f"application property {name[:MAX_LENGTH]!r} has the AMQP type {type_name(value)}"
        raise UndeliverableError(
            UNSUPPORTED_PROPERTY, f"{detail} and a value that no CloudEvents attribute in JSON can have"
        )
    return text
