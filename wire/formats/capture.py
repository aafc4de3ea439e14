"""Captured messages in a file: a JSON object with `events`, each with annotations, system, properties and a body.

`each` holds what all events share. A body is either JSON (`body`), which stands for its own text, or `body_base64`.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec

from wire.content_encoding import UnreadableBodyError
from wire.formats.codings import uncoded
from wire.formats.messages import Message, Refused
from wire.formats.names import named

MAX_BODY_BYTES = 16 * 1024 * 1024


class CaptureError(ValueError):
    """The file does not have the form of captured messages."""


class _Event(msgspec.Struct):
    annotations: dict[str, Any] = {}
    system: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    body: msgspec.Raw = msgspec.Raw()
    body_base64: str | None = None


class _Capture(msgspec.Struct):
    events: list[_Event]
    each: _Event = msgspec.field(default_factory=_Event)


def captured(text: bytes) -> list[Message | Refused]:
    """The messages in order; Refused in the place of one whose codings can't be undone. Raises CaptureError."""
    try:
        capture = msgspec.json.decode(text, type=_Capture)
        return [_message(capture.each, event) for event in capture.events]
    except (ValueError, RecursionError) as error:
        raise CaptureError(str(error)) from None


def _message(each: _Event, event: _Event) -> Message | Refused:
    system = {**each.system, **event.system}
    body = bytes(event.body) if event.body_base64 is None else b64decode(event.body_base64, validate=True)
    content_type, encoding = named(system, "content-type"), named(system, "content-encoding")
    try:
        body, _ = uncoded(body, content_type, encoding, MAX_BODY_BYTES)
    except UnreadableBodyError as error:
        return Refused((), error.reason, error.detail)
    properties = {**each.properties, **event.properties}
    return Message(body, content_type, properties, system, {**each.annotations, **event.annotations})
