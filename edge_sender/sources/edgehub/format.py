"""Finds the readings in a message of another module, by the formats that the service reads, too. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Literal

from edge_sender.ports import ModuleMessage
from edge_sender.sources.misfits import Misfit
from wire.cloudevents import PROPERTY_PREFIXES
from wire.content_encoding import UnreadableBodyError
from wire.formats.codings import uncoded
from wire.formats.cutting import Layout
from wire.formats.messages import Found, Message, NotReading, Part, Refused
from wire.formats.registry import layout_of, make_format
from wire.ids import Sample, Sent
from wire.uris import encoded, joined

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Of a body that was compressed; edgeHub itself accepts 256 KB."""
MAX_SOURCE_LENGTH = 2048
"""Of a source's URI; the service takes no longer ones."""
BINARY = frozenset(("sparkplug",))
WITH_URIS = frozenset(("opc-publisher",))
"""Formats that name sources by URI references already."""
OF_THE_BODY = frozenset(
    ("$$contenttype", "$$messageschema", "iothub-message-schema", "content-type", "content-encoding", "dt-dataschema")
)
"""Properties, in lower case, that say how the body is written. That of a reading is another one."""
OF_THE_EVENT = frozenset(("specversion", "type", "source", "id", "time", "subject", "datacontenttype", "dataschema"))
"""Attributes of the message, if it is a CloudEvent; a reading has its own."""


class ModuleFormat:
    """One format for one input: some learn names from one message for others."""

    def __init__(self, name: str, options: bytes, uri_prefix: str, data: Literal["as-sent", "value"]) -> None:
        """Raises ValueError for options that do not fit."""
        self._format = make_format(name, options)
        self._make_layout = layout_of(name)
        self._uri_prefix = uri_prefix
        self._has_uris = name in WITH_URIS
        self._keeps_parts = data == "as-sent" and name not in BINARY

    def samples(self, message: ModuleMessage) -> Iterator[Sample | Misfit]:
        """Every part of the message once. Never raises."""
        try:
            body, _ = uncoded(message.body, message.content_type, message.content_encoding, MAX_BODY_BYTES)
        except UnreadableBodyError as error:
            yield Misfit("unreadable", error.detail)
            return
        parts = list(self._format.read(_as_formats_see_it(message, body)))
        found = [part for part in parts if isinstance(part, Found)]
        layout = self._layout(body, found)
        properties = _passed_on(message.properties)
        yield from (misfit for part in parts if (misfit := _misfit(part)) is not None)
        for index, part in enumerate(found):
            try:
                source = self._source(part.source)
                payload = _dumps(part.value) if layout is None else _in_utf8(layout.part(index))
                sent = Sent(part.value, payload, properties, part.is_event)
                yield Sample(source, part.time_ns, part.data, sent)
            except (ValueError, ArithmeticError, RecursionError) as error:
                yield Misfit("refused", f"{part.source[:200]}: {error}")

    def _layout(self, body: bytes, found: list[Found]) -> Layout | None:
        if not (self._keeps_parts and found):
            return None
        return self._make_layout(body, [part.place for part in found], ())

    def _source(self, name: str) -> str:
        source = joined(self._uri_prefix, name if self._has_uris else encoded(name))
        if len(source) > MAX_SOURCE_LENGTH:
            raise ValueError(f"the source's URI has {len(source)} characters")
        return source


def _as_formats_see_it(message: ModuleMessage, body: bytes) -> Message:
    sender = {
        "iothub-connection-device-id": message.system.get("$.cdid", ""),
        "iothub-connection-module-id": message.system.get("$.cmid", ""),
    }
    return Message(body, message.content_type, message.properties, {**message.system, **sender}, sender)


def _misfit(part: Part) -> Misfit | None:
    if isinstance(part, Refused):
        return Misfit("refused", f"{part.reason}: {part.detail}")
    return Misfit("no-reading", part.what) if isinstance(part, NotReading) else None


def _passed_on(properties: Mapping[str, str]) -> bytes:
    """As a JSON object in one order; empty if there are none."""
    left_out = OF_THE_BODY | (OF_THE_EVENT if "specversion" in properties else frozenset())
    kept = {
        name: value
        for name, value in sorted(properties.items())
        if name.lower() not in left_out and not name.startswith(PROPERTY_PREFIXES)
    }
    return json.dumps(kept).encode() if kept else b""


def _in_utf8(part: bytes) -> bytes:
    """Bodies may be UTF-16 or UTF-32, too."""
    return part.decode(json.detect_encoding(part)).encode()


def _dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
