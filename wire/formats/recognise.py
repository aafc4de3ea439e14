"""Tells by its shape what an event is that nobody has configured a format for. Pure; a guess, for people.

A storm of such events must stay cheap, whatever they hold: only the first element of an array is looked at, and which
members an object has, but hardly any of their values.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from wire.cloudevents import BATCH_CONTENT_TYPE, PROPERTY_PREFIXES, STRUCTURED_CONTENT_TYPE
from wire.formats.messages import Message

MAX_BYTES = 1024 * 1024
"""The most that is unpacked and looked at of a body, which is as much as a hub takes."""
MAX_FIRST = 32 * 1024
"""The most that the first element of an array may take up."""
MAX_PROPERTIES = 64
GZIP, GZIP_BYTES = 31, b"\x1f\x8b"
NAMES = [
    "MessageType", "NodeId", "Value", "EndpointUrl", "Payload", "MetaDataVersion", "Messages", "PublisherId",
    "DataSetWriterGroup", "WriterGroupName", "topic", "payload", "namespace", "metrics", "fields", "tags", "name",
    "timestamp", "tagname", "value", "values", "v", "t", "vals", "records", "val", "qc", "connections", "dataPoints",
    "hashVersion", "DataItems", "Variable", "SourceTimestamp", "StatusCode", "specversion", "id", "source", "type",
]  # fmt: skip
"""Of the members that tell a format. All others are skipped where they stand, and none is read."""
Members = dict[str, bytes]
_scan = json.JSONDecoder().raw_decode
_decode = msgspec.json.Decoder(
    msgspec.defstruct("Members", [(name, msgspec.Raw, msgspec.Raw()) for name in NAMES], gc=False)
).decode


class Shape(msgspec.Struct, frozen=True):
    """What messages look like."""

    title: str
    """For people, such as "OPC Publisher's Samples"."""
    format: str | None = None
    """The name of the format that reads them."""
    advice: str = ""
    """What to do where no format would help, or more than naming it."""

    @property
    def remedy(self) -> str:
        setting = f"set `format: {self.format}` for this group in DEDUP_CONFIG_FILE" if self.format else ""
        return ", ".join(filter(None, (setting, self.advice)))


SHAPES = {
    "opc-publisher-samples": Shape("OPC Publisher's Samples", "opc-publisher"),
    "opc-publisher-pubsub": Shape("OPC Publisher's PubSub messages", "opc-publisher"),
    "opc-publisher-data-sets": Shape("OPC Publisher's data sets", "opc-publisher"),
    "opc-publisher-binary": Shape("OPC Publisher's binary messages", None, "let the publishers send JSON"),
    "azure-iot-operations": Shape("Azure IoT Operations", "azure-iot-operations"),
    "ignition": Shape("Ignition's Azure Injector", "ignition"),
    "telegraf": Shape("Telegraf's JSON", "telegraf"),
    "kepware": Shape("Kepware's IoT Gateway", "kepware"),
    "siemens-databus": Shape("Siemens' databus payload", "siemens"),
    "siemens-cc7": Shape("Siemens' CloudConnect CC7", "siemens"),
    "sparkplug": Shape("Sparkplug B", "sparkplug"),
    "text-of-json": Shape("JSON inside a text", "json", "with the option `inside`"),
    "cloudevents-without-id": Shape("CloudEvents without an id", None, "let the sender give each event its id"),
    "cloudevents-unlabelled": Shape(
        "CloudEvents without their content type", None, f"let the sender set the content type {STRUCTURED_CONTENT_TYPE}"
    ),
}
"""By name: a fixed set, which may be counted."""

_SCHEMA_PROPERTIES = ("$$ContentType", "$$MessageSchema", "iothub-message-schema", "dt-dataschema")
_SCHEMAS = (
    ("application/x-monitored-item-json", "opc-publisher-samples"),
    ("application/x-network-message-uadp", "opc-publisher-binary"),
    ("application/x-network-message-json", "opc-publisher-pubsub"),
    ("application/opcua+uadp", "opc-publisher-binary"),
    ("application/x-runtimestate-message", "opc-publisher-pubsub"),
    ("application/x-writergroup-diagnostics-message", "opc-publisher-pubsub"),
    ("application/x-discovery-", "opc-publisher-pubsub"),
)
_IOT_OPERATIONS = ("ua-keyframe", "ua-deltaframe", "ua-event")
_SPARKPLUG, _SIEMENS = "spBv1.0/", "ie/"


def recognised(message: Message) -> str | None:
    """A name of SHAPES, or None. The body may still be compressed with gzip. Never raises; takes time linear in the body's
    size up to MAX_BYTES."""
    media = _text(message.content_type).partition(";")[0].strip().lower()
    properties = message.properties
    if media in (BATCH_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE) or _has_attribute(properties, "id"):
        return None
    if _has_attribute(properties, "source") or _has_attribute(properties, "type"):
        return "cloudevents-without-id"
    schema = _by_schema([media, *_labels(message)])
    # A schema tells that it is PubSub, and the body which of its shapes.
    if schema is not None and schema != "opc-publisher-pubsub":
        return schema
    return _by_properties(properties) or _by_body(message.body) or schema


def _has_attribute(properties: Mapping[str, Any], name: str) -> bool:
    return any(prefix + name in properties for prefix in PROPERTY_PREFIXES)


def _labels(message: Message) -> Iterator[str]:
    for values in (message.properties, message.system, message.annotations):
        yield from (_text(values.get(name)).lower() for name in _SCHEMA_PROPERTIES if name in values)


def _by_schema(labels: list[str]) -> str | None:
    return next((shape for label in labels for schema, shape in _SCHEMAS if label.startswith(schema)), None)


def _by_properties(properties: Mapping[str, Any]) -> str | None:
    if not properties:
        return None
    kind = next((_text(properties[name]) for name in ("type", "ce_type", "ce-type") if name in properties), "")
    if kind in _IOT_OPERATIONS:
        return "azure-iot-operations"
    for _, value in zip(range(MAX_PROPERTIES), properties.values(), strict=False):
        # Bridges differ in the name of the property that holds the topic.
        topic = _text(value)
        if topic.startswith(_SPARKPLUG):
            return "sparkplug"
        if topic.startswith(_SIEMENS) and "/simatic/v1/" in topic:
            return "siemens-databus"
    return None


def _by_body(body: bytes) -> str | None:
    text = _beginning(body)
    if text.startswith((b'"{', b'"[')):
        return "text-of-json"
    if text.startswith(b"["):
        element = _first_element(text)
        members = _members(element)
        return _of_element(members, element) or _of_array(members)
    members = _members(text)
    return _of_element(members, text) or _of_object(members)


def _beginning(body: bytes) -> bytes:
    """As UTF-8, also of UTF-16 and UTF-32, which some gateways can be set to; empty where there is none."""
    if body.startswith(GZIP_BYTES):
        try:
            body = zlib.decompressobj(GZIP).decompress(body, MAX_BYTES)
        except zlib.error:
            return b""
    body = body[:MAX_BYTES]
    encoding = json.detect_encoding(body)
    return (body if encoding == "utf-8" else body.decode(encoding, errors="replace").encode()).lstrip()


def _members(text: bytes) -> Members:
    """The members of an object, unread; those with other names are left out. None where the text is no object."""
    try:
        found = msgspec.structs.asdict(_decode(text))
    except (ValueError, RecursionError):
        return {}
    return {name: raw for name, value in found.items() if (raw := bytes(value))}


def _first_element(array: bytes) -> bytes:
    """Unread; empty where there is none, or a very large one."""
    text = array[1:MAX_FIRST].decode(errors="replace").lstrip() if array.startswith(b"[") else ""
    return text[: _end(text)].encode()


def _first_member(members: bytes) -> bytes:
    """The value of an object's first member, whatever its name."""
    text = members[1:MAX_FIRST].decode(errors="replace").lstrip()
    text = text[_end(text) :].lstrip().removeprefix(":").lstrip()
    return text[: _end(text)].encode()


def _end(text: str) -> int:
    """Where the first value of a text ends; 0 where there is none."""
    try:
        return _scan(text)[1]
    except (ValueError, RecursionError):
        return 0


def _of_element(members: Members, text: bytes) -> str | None:
    """Shapes that come alone as well as in arrays."""
    names, kind = members.keys(), members.get("MessageType", b"")
    if members.get("NodeId", b"").startswith(b'"') and ("Value" in names or "EndpointUrl" in names):
        return "opc-publisher-samples"
    if kind.startswith(b'"ua-') or kind == b'"RestartAnnouncement"' or {"Payload", "MetaDataVersion"} <= names:
        return "opc-publisher-pubsub"
    if "Messages" in names and not names.isdisjoint(("PublisherId", "DataSetWriterGroup", "WriterGroupName")):
        return "opc-publisher-pubsub"
    if {"specversion", "source", "type"} <= names:
        has_id = members.get("id", b"null") not in (b"null", b'""')
        return "cloudevents-unlabelled" if has_id else "cloudevents-without-id"
    if _is_metric(members):
        return "telegraf"
    value = _members(_first_member(text)).keys()
    is_data_value = "SourceTimestamp" in value and ("Value" in value or "StatusCode" in value)
    return "opc-publisher-data-sets" if is_data_value else None


def _of_array(members: Members) -> str | None:
    return "kepware" if {"tagname", "timestamp", "value"} <= members.keys() else None


def _of_object(members: Members) -> str | None:
    names = members.keys()
    if "payload" in names and _members(members.get("topic", b"")).get("namespace") == b'"spBv1.0"':
        return "ignition"
    if _is_metric(_first(members, "metrics")):
        return "telegraf"
    if {"id", "v", "t"} <= _first(members, "values").keys():
        return "kepware"
    if {"Variable", "Value"} <= _first(members, "DataItems").keys():
        return "siemens-cc7"
    values = _first(members, "vals") or _first(_first(members, "records"), "vals")
    if {"id", "val"} <= values.keys() or {"val", "qc"} <= names:
        return "siemens-databus"
    return "siemens-databus" if "hashVersion" in names and "dataPoints" in _first(members, "connections") else None


def _first(members: Members, name: str) -> Members:
    """Of the first element of the array `name`."""
    return _members(_first_element(members.get(name, b"")))


def _is_metric(members: Members) -> bool:
    return {"fields", "tags", "name", "timestamp"} <= members.keys() and members["fields"].startswith(b"{")


def _text(value: Any) -> str:
    """What came through the Kafka protocol has bytes as values."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""
