"""PubSub messages of OPC Publisher: network messages, data set messages, and data sets without either header. Pure.

Source: OPC 10000-14 7.2.5 (JSON message mapping), and where OPC Publisher differs from it, its code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wire.formats.messages import Part, Path
from wire.formats.opc_events import event, event_field
from wire.formats.opc_values import as_text, data_value, not_reading, refused

Members = Mapping[str, Any]
EVENTS = {"ua-event", "ua-condition"}
DATA_SETS = {"ua-keyframe", "ua-deltaframe", *EVENTS}
_SERVER_MEMBERS = {"EndpointUrl", "ApplicationUri"}
_NOT_IN_CONSTANTS = {"SourceTimestamp", "ServerTimestamp", "StatusCode", "Status"}
_UNNAMED_GROUP = "<<UnknownWriterGroup>>"


def network_message(root: Path, message: Members, server: str) -> Iterator[Part]:
    group, messages = _group(message), message.get("Messages")
    if isinstance(messages, dict):
        yield from data_set_message(root, (*root, "Messages"), messages, server, group)
    elif isinstance(messages, list) and messages:
        for index, element in enumerate(messages):
            place = (*root, "Messages", index)
            if isinstance(element, dict):
                yield from data_set_message(place, place, element, server, group)
            else:
                yield refused(place, "unknown-shape", "a data set message is an object")
    else:
        yield not_reading(root, "empty") if messages == [] else refused(root, "unknown-shape", "there are no Messages")


def data_set_message(place: Path, at: Path, message: Members, server: str, group: str) -> Iterable[Part]:
    """`at` is where the message stands, `place` what is cut if it is an event."""
    kind, payload, group = as_text(message.get("MessageType")), message.get("Payload"), _group(message) or group
    if kind == "ua-keepalive":
        return [not_reading(place, "keep-alive")]
    if "Payload" not in message and kind not in DATA_SETS:
        return data_set(at, message, server, group, "")
    if not isinstance(payload, dict):
        return [refused(place, "unknown-shape", "the Payload is not an object")]
    if not payload:
        return [not_reading(place, "empty")]
    if kind in EVENTS:
        return [_event(place, payload, server, group, _writer(message))]
    return data_set((*at, "Payload"), payload, server, group, _writer(message))


def data_set(at: Path, fields: Members, server: str, group: str, writer: str) -> Iterator[Part]:
    """Each field is a part. Names of the server, and constants that stand beside values with a time, are no readings."""
    server = _application_uri(fields) or server
    if not fields:
        yield not_reading(at, "empty")
    constants = list(map(_is_constant, fields.values()))
    has_values = not all(constants)
    for (name, field), is_constant in zip(fields.items(), constants, strict=True):
        place = (*at, name)
        if is_constant and (has_values or name in _SERVER_MEMBERS):
            yield not_reading(place, "constant")
        elif not server and not group:
            yield refused(place, "no-source", "neither the message nor the option `constant` names the server")
        elif isinstance(field, dict):
            yield data_value(place, (server, group, writer, name), field)
        else:
            yield refused(place, "without-time", "a raw value has no time, so its copies can't be told from new ones")


def _event(place: Path, payload: Members, server: str, group: str, writer: str) -> Part:
    server = _application_uri(payload) or server
    if not server and not group:
        return refused(place, "no-source", "neither the message nor the option `constant` names the server")
    # Version 2.9 appends the event's type to the writer's name, version 2.8 does not.
    return event(place, (server, group, writer.rpartition("|")[0] or writer), payload)


def _is_constant(field: Any) -> bool:
    return not isinstance(field, dict) or _NOT_IN_CONSTANTS.isdisjoint(field)


def _application_uri(fields: Members) -> str:
    """A variable of the server may have this name, too; then it has a time."""
    field = fields.get("ApplicationUri")
    return as_text(event_field(field)) if _is_constant(field) else ""


def _group(message: Members) -> str:
    """The name of all groups without a name tells nothing."""
    group = as_text(message.get("DataSetWriterGroup")) or as_text(message.get("WriterGroupName"))
    return "" if group == _UNNAMED_GROUP else group


def _writer(message: Members) -> str:
    """As text, `DataSetWriterId` is the writer's name; as a number it is its place in the group, which may change."""
    return as_text(message.get("DataSetWriterName")) or as_text(message.get("DataSetWriterId"))
