"""Captured messages in a file: a JSON object with `events`, each with annotations, system, properties and a body.

`each` holds what all events share. A body is either JSON (`body`), which stands for its own text, or `body_base64`, with
`decoded` beside it for people. `types` names, by section and name, the AMQP types that JSON lacks or can't tell from others.
Whoever reads them knows what they mean; here they are names.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from wire.content_encoding import UnreadableBodyError
from wire.formats.codings import uncoded
from wire.formats.names import named

MAX_DECODED_BYTES = 1024 * 1024
"""A longer text is not shown as `decoded`."""
_SPARE_LEVELS = 100
"""How much deeper than it is a body must be readable, to be written as JSON: in a file it stands deeper, and what reads it
may have less of the stack left."""
_WHITE_SPACE = b" \t\r\n"

Section = Literal["annotations", "system", "properties"]
SECTIONS: tuple[Section, ...] = ("annotations", "system", "properties")


class CaptureError(ValueError):
    """The file does not have the form of captured messages."""


class Typed(msgspec.Struct, frozen=True):
    """A value whose type JSON can't say."""

    type: str
    value: Any
    """As JSON has it: a text or a number."""


class Captured(msgspec.Struct, frozen=True):
    """One message of a hub. Values are what JSON has, or Typed."""

    body: bytes
    """As it was on the wire, with its content codings."""
    annotations: Mapping[str, Any] = {}
    system: Mapping[str, Any] = {}
    properties: Mapping[str, Any] = {}
    body_is_binary: bool = True
    """False where the AMQP body is a value or a sequence; `body` is then its encoding."""


class _Event(msgspec.Struct):
    annotations: dict[str, Any] = {}
    system: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    types: dict[Section, dict[str, str]] = {}
    body: msgspec.Raw = msgspec.Raw()
    body_base64: str | None = None
    body_is_binary: bool = True


class _Capture(msgspec.Struct):
    events: list[_Event]
    each: _Event = msgspec.field(default_factory=_Event)


def read(text: bytes) -> list[Captured]:
    """The messages in order. Raises CaptureError."""
    try:
        capture = msgspec.json.decode(text, type=_Capture)
        return [_captured(capture.each, event) for event in capture.events]
    except (ValueError, RecursionError) as error:
        raise CaptureError(str(error)) from None


def _captured(each: _Event, event: _Event) -> Captured:
    body = bytes(event.body) if event.body_base64 is None else b64decode(event.body_base64, validate=True)
    annotations, system, properties = (_values(each, section) | _values(event, section) for section in SECTIONS)
    return Captured(body, annotations, system, properties, event.body_is_binary)


def _values(event: _Event, section: Section) -> dict[str, Any]:
    types = event.types.get(section, {})
    values: dict[str, Any] = getattr(event, section)
    return {name: Typed(types[name], value) if name in types else value for name, value in values.items()}


def written(messages: Iterable[Captured]) -> bytes:
    """A file from which `read` gives these messages back."""
    return b'{"events": [\n' + b",\n".join(msgspec.json.encode(_members(message)) for message in messages) + b"\n]}\n"


def _members(message: Captured) -> dict[str, Any]:
    members: dict[str, Any] = {}
    types: dict[str, dict[str, str]] = {}
    for section in SECTIONS:
        values: Mapping[str, Any] = getattr(message, section)
        typed = {name: value for name, value in values.items() if isinstance(value, Typed)}
        if values:
            members[section] = {**values, **{name: value.value for name, value in typed.items()}}
        if typed:
            types[section] = {name: value.type for name, value in typed.items()}
    if types:
        members["types"] = types
    if _is_json(message.body):
        members["body"] = msgspec.Raw(message.body)
    else:
        members["body_base64"] = b64encode(message.body).decode()
        members |= _decoded(message)
    return members if message.body_is_binary else members | {"body_is_binary": False}


def _decoded(message: Captured) -> dict[str, msgspec.Raw]:
    """The JSON in a body that is more than its text: it is compressed, or has white space around it."""
    content_type, encoding = named(message.system, "content-type"), named(message.system, "content-encoding")
    try:
        text = uncoded(message.body, content_type, encoding, MAX_DECODED_BYTES)[0].strip(_WHITE_SPACE)
    except UnreadableBodyError:
        return {}
    return {"decoded": msgspec.Raw(text)} if _is_json(text) else {}


def _is_json(text: bytes) -> bool:
    """Whether it is JSON in UTF-8, with nothing around it, and will also be in a file."""
    if text != text.strip(_WHITE_SPACE):
        return False
    try:
        msgspec.json.decode(text)
        msgspec.json.decode(b"[" * _SPARE_LEVELS + text + b"]" * _SPARE_LEVELS)
    except (ValueError, RecursionError):
        return False
    return True
