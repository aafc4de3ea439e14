"""Messages of Microsoft OPC Publisher, versions 2.5 to 3.0: PubSub JSON in all its containers, and Samples. Pure.

docs/formats/opc-publisher.md shows the shapes, and says what makes copies match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from wire.formats.bodies import json_of
from wire.formats.messages import Found, Message, Part, Path, Refused
from wire.formats.opc_pubsub import DATA_SETS, data_set, data_set_message, network_message
from wire.formats.opc_samples import is_sample, sample
from wire.formats.opc_values import What, as_text, not_reading, refused

SAMPLES_SCHEMA = "application/x-monitored-item-json-v1"
_SCHEMA_PROPERTIES = {"$$contenttype", "$$messageschema", "iothub-message-schema", "content-type", "dt-dataschema"}
"""Names under which versions and transports hand down the schema or the content type."""
_NOT_READINGS: tuple[tuple[str, What], ...] = (
    ("application/x-runtimestate-", "runtime-state"),
    ("application/x-writergroup-diagnostics-", "diagnostics"),
    ("application/x-discovery-", "discovery"),
)
_BINARY = ("application/opcua+uadp", "application/x-network-message-uadp-", "application/avro")
_KINDS: dict[str, What] = {"ua-metadata": "metadata", "ua-keepalive": "keep-alive", "RestartAnnouncement": "runtime-state"}
_LAST_USABLE_VALUE = 0x408F0000
"""UncertainNoCommunicationLastUsableValue."""


class OpcPublisher(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The format `opc-publisher` with its options."""

    constant: str = "server"
    """What names the server where the messages don't; the same for all gateways of a group. Empty: then they are refused,
    because nodes of the same name on two servers would be one source."""
    heartbeats: bool = True
    """Whether publishers send heartbeats. A publisher that lost its server gives these the status
    UncertainNoCommunicationLastUsableValue; then that is read as a repetition of the Good value."""

    @property
    def name(self) -> str:
        return "opc-publisher"

    def read(self, message: Message) -> Iterator[Part]:
        """Every part of the message once. Never raises; takes time linear in the body's size."""
        parts = self._parts(message)
        return map(_good_again, parts) if self.heartbeats else parts

    def _parts(self, message: Message) -> Iterator[Part]:
        labels = list(_labels(message))
        for label in labels:
            if label.startswith(_BINARY):
                yield refused((), "binary-encoding", f"{label} can't be read; let the publishers send JSON")
                return
            for schema, what in _NOT_READINGS:
                if label.startswith(schema):
                    yield not_reading((), what)
                    return
        body = json_of(message.body)
        if isinstance(body, Refused):
            yield body
            return
        server = _cloud_event_source(message) or self.constant
        elements: list[tuple[Path, Any]] = [((), body)]
        if isinstance(body, list) and body:
            elements = [((index,), element) for index, element in enumerate(body)]
        for root, element in elements:
            if isinstance(element, dict):
                yield from _object(root, element, server, samples_only=SAMPLES_SCHEMA in labels)
            elif element == []:
                yield not_reading(root, "empty")
            elif isinstance(element, list):
                yield refused(root, "unknown-shape", "an array in an array")
            else:
                yield refused(root, "without-time", "a bare value has no time, so its copies can't be told from new ones")


def _object(root: Path, element: dict[str, Any], server: str, *, samples_only: bool) -> Iterable[Part]:
    if is_sample(element):
        return [sample(root, element, server)]
    if not element:
        return [not_reading(root, "empty")]
    if samples_only:
        return [refused(root, "no-node", "the schema says that this is a sample, but there are no NodeId and Value")]
    kind = as_text(element.get("MessageType"))
    if kind == "ua-data" or isinstance(element.get("Messages"), list):
        return network_message(root, element, server)
    if kind in _KINDS:
        return [not_reading(root, _KINDS[kind])]
    if "Payload" in element or kind in DATA_SETS:
        return data_set_message(root, root, element, server, "")
    if kind.startswith("ua-"):
        return [not_reading(root, "discovery")]
    return data_set(root, element, server, "", "")


def _labels(message: Message) -> Iterator[str]:
    """Everything that says what the body is. It comes as text, or as bytes where it went through Kafka."""
    values = [message.content_type]
    for names in (message.properties, message.system):
        values += [value for name, value in names.items() if str(name).lower() in _SCHEMA_PROPERTIES]
    yield from (_property(value).partition(";")[0].strip().lower() for value in values)


def _cloud_event_source(message: Message) -> str:
    """With `--ce`, the property `source` is the server's ApplicationUri; where the publisher doesn't know it, it is the
    server's address, which may be another one at each gateway."""
    source = _property(message.properties.get("source")) if "specversion" in message.properties else ""
    return "" if source.startswith("opc.") else source


def _property(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else as_text(value)


def _good_again(part: Part) -> Part:
    """The value as it was before its server was lost, where it is the last usable one. An event has no status."""
    if not isinstance(part, Found) or part.data.get("status") != _LAST_USABLE_VALUE:
        return part
    good = {"status": 0}
    return msgspec.structs.replace(part, value=part.value | good, data=part.data | good, is_repetition=True)
